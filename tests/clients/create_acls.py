"""Does what `kafka-acls.sh --add` does, for each such command on standard input: brokers of tests come without Kafka's own tools.

Usage: create_acls.py BOOTSTRAP, in the place of the servers that the commands name.
"""

import argparse
import shlex
import sys

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
PATTERNS = {"literal": ResourcePatternType.LITERAL, "prefixed": ResourcePatternType.PREFIXED}


def options():
    parser = argparse.ArgumentParser(prog="kafka-acls.sh", allow_abbrev=False)
    parser.add_argument("--bootstrap-server", required=True)
    parser.add_argument("--command-config")
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--allow-principal", required=True)
    parser.add_argument("--operation", action="append", required=True, choices=OPERATIONS)
    parser.add_argument("--resource-pattern-type", default="literal", choices=PATTERNS)
    resource = parser.add_mutually_exclusive_group(required=True)
    resource.add_argument("--topic")
    resource.add_argument("--group")
    return parser


def bindings(command):
    words = shlex.split(command)
    assert words[0] == "kafka-acls.sh", command
    given = options().parse_args(words[1:])
    kind, name = (ResourceType.TOPIC, given.topic) if given.topic else (ResourceType.GROUP, given.group)
    pattern = PATTERNS[given.resource_pattern_type]
    for operation in given.operation:
        yield AclBinding(
            kind, name, pattern, given.allow_principal, "*", OPERATIONS[operation], AclPermissionType.ALLOW
        )


def main():
    client = AdminClient({"bootstrap.servers": sys.argv[1]})
    wanted = {binding for command in sys.stdin if command.strip() for binding in bindings(command)}
    for future in client.create_acls(list(wanted)).values():
        future.result()
    print(len(wanted))


main()
