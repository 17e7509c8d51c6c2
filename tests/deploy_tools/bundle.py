"""The configuration by which runc runs an image of Tailrace: `buildah inspect IMAGE | bundle.py ROOT FOLDER`.

User, command, environment and working folder are the image's own. The root is read-only, no capability is left, and the network is the
machine's. FOLDER holds `state`, which the container may write, and `mounted` with `tailrace.yaml` and `orders_url`.
"""

import json
import sys

root, folder = sys.argv[1:]
image = json.load(sys.stdin)["OCIv1"]["config"]
user, group = (int(number) for number in image["User"].split(":"))


def bound(source, destination, *options):
    return {"destination": destination, "type": "bind", "source": f"{folder}/{source}", "options": ["rbind", "nosuid", "nodev", *options]}


configuration = {
    "ociVersion": "1.0.2",
    "root": {"path": root, "readonly": True},
    "process": {
        "user": {"uid": user, "gid": group},
        "cwd": image["WorkingDir"],
        "args": image["Entrypoint"] + image["Cmd"],
        "env": image["Env"],
        "noNewPrivileges": True,
        "capabilities": {kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")},
    },
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        bound("state", "/var/lib/tailrace", "rw"),
        bound("mounted/tailrace.yaml", "/etc/tailrace/tailrace.yaml", "ro"),
        bound("mounted/orders_url", "/run/secrets/orders_url", "ro"),
    ],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
}
json.dump(configuration, sys.stdout)
