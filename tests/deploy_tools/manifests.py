"""What tests/deploy asks of manifests of Kubernetes.

    manifests.py check FILE…              each document is what the API's schemas of several versions of Kubernetes say, and nothing more
    manifests.py configurations FILE DIR  writes the configurations of Tailrace in the documents into a folder
    manifests.py monitored FILE           dashboard and alert rules in the documents are those of deploy/grafana and deploy/prometheus
    manifests.py rule                     prints deploy/kubernetes/prometheus_rule.yaml
    manifests.py defaults CHART VALUES    prints the chart's values with these ones in them
"""

import json
import os
import sys

import kubernetes_validate
import yaml

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
# The oldest that the chart is for, and the newest whose schemas there are.
VERSIONS = ["1.29", kubernetes_validate.latest_version()]
# Their kinds are checked by deploy_tools, against the operator's own types.
OPERATED = "monitoring.coreos.com/"


def fail(sentence):
    print(f"manifests.py: {sentence}", file=sys.stderr)
    sys.exit(1)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


class OneKeyEach(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML's own loader takes the last."""


def one_key_each(loader, node):
    seen = set()
    for key, _ in node.value:
        name = loader.construct_object(key)
        if name in seen:
            fail(f"{name} is there twice, {key.start_mark}")
        seen.add(name)
    return loader.construct_mapping(node)


OneKeyEach.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, one_key_each)


def documents(path):
    with open(path, encoding="utf-8") as file:
        return [document for document in yaml.load_all(file, Loader=OneKeyEach) if document]


def check(paths):
    for path in paths:
        found = documents(path)
        if not found:
            fail(f"{path} has no document")
        for document in found:
            name = f"{path}: {document['kind']} {document['metadata']['name']}"
            if document["apiVersion"].startswith(OPERATED):
                continue
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    place = ".".join(str(step) for step in error.absolute_path)
                    fail(f"{name}, Kubernetes {version}, at {place or 'its top'}: {error.message}")
                except kubernetes_validate.SchemaNotFoundError as error:
                    fail(f"{name}: {error.message}")
            hardened(name, document)
        kinds = sorted(document["kind"] for document in found)
        print(f"{os.path.basename(path)}: {len(found)} documents are right in Kubernetes {' and '.join(VERSIONS)}: {', '.join(kinds)}")


def hardened(name, document):
    """What the strictest of the pod security standards asks for, and a little more."""
    if document["kind"] not in ("StatefulSet", "Deployment"):
        return
    pod = document["spec"]["template"]["spec"]
    if pod["securityContext"].get("runAsNonRoot") is not True or pod["securityContext"]["seccompProfile"]["type"] != "RuntimeDefault":
        fail(f"{name}: the pod may run as root, or without seccomp")
    for container in pod["containers"]:
        context = container["securityContext"]
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        for key, value in wanted.items():
            if context.get(key) != value:
                fail(f"{name}, {container['name']}: {key} is not {value}")
        if "memory" not in container["resources"]["limits"]:
            fail(f"{name}, {container['name']}: memory has no limit")


def configurations(path, folder):
    written = 0
    for document in documents(path):
        text = document.get("data", {}).get("tailrace.yaml") if document["kind"] == "ConfigMap" else None
        if text:
            with open(os.path.join(folder, f"{document['metadata']['name']}.yaml"), "w", encoding="utf-8") as file:
                file.write(text)
            written += 1
    if written != 1:
        fail(f"{path} has {written} configurations of Tailrace")


def monitored(path):
    groups = yaml.safe_load(read("deploy/prometheus/alerts.yml"))["groups"]
    dashboard = json.loads(read("deploy/grafana/tailrace.json"))
    found = []
    for document in documents(path):
        if document["kind"] == "PrometheusRule":
            found.append("alert rules")
            if document["spec"] != {"groups": groups}:
                fail(f"{path}: the alert rules are not those of deploy/prometheus/alerts.yml")
        elif document["kind"] == "ConfigMap" and "tailrace.json" in document["data"]:
            found.append("dashboard")
            if json.loads(document["data"]["tailrace.json"]) != dashboard:
                fail(f"{path}: the dashboard is not that of deploy/grafana")
            if document["metadata"]["labels"].get("grafana_dashboard") != "1":
                fail(f"{path}: the dashboard has not the label that Grafana's sidecar looks for")
    if sorted(found) != ["alert rules", "dashboard"]:
        fail(f"{path} has {found or 'neither'} and not one dashboard and one set of alert rules")


def rule():
    print("# Made of deploy/prometheus/alerts.yml by `tests/deploy write`: change that.")
    print("apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: tailrace\n  namespace: tailrace")
    print("  labels: { app.kubernetes.io/name: tailrace }\nspec:")
    for line in read("deploy/prometheus/alerts.yml").splitlines():
        if not line.startswith("#"):
            print(f"  {line}".rstrip())


def defaults(chart, path):
    def merged(below, above):
        if not (isinstance(below, dict) and isinstance(above, dict)):
            return above
        return {key: merged(below.get(key), above[key]) if key in above else below[key] for key in {**below, **above}}

    values = [documents(file)[0] for file in (os.path.join(chart, "values.yaml"), path)]
    print(yaml.safe_dump(merged(*values), sort_keys=False), end="")


def main():
    command, *arguments = sys.argv[1:] or [""]
    if command == "check":
        check(arguments)
    elif command == "configurations":
        configurations(*arguments)
    elif command == "monitored":
        monitored(*arguments)
    elif command == "rule":
        rule()
    elif command == "defaults":
        defaults(*arguments)
    else:
        fail(f"{command!r} is not known")


main()
