"""Everything that Confluent's client for Python can ask a registry about a subject, as one JSON object.

Run as: PYTHONPATH=LIBRARIES python3 ask_registry.py REGISTRY_URL SUBJECT
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError  # noqa: E402

url, subject = sys.argv[1:]
client = SchemaRegistryClient({"url": url})


def refusal(ask):
    """Code and status of an answer that must be a refusal."""
    try:
        ask()
    except SchemaRegistryError as error:
        return [error.http_status_code, error.error_code]
    return None


latest = client.get_latest_version(subject)
other = Schema('"int"', "AVRO")
print(
    json.dumps(
        {
            "subjects": client.get_subjects(),
            "versions": client.get_versions(subject),
            "latest": [latest.version, latest.schema_id, latest.schema.schema_type],
            "first": client.get_version(subject, 1).schema_id,
            "text": client.get_schema(latest.schema_id).schema_str,
            "looked_up": client.lookup_schema(subject, latest.schema).version,
            "registered": client.register_schema(subject, latest.schema),
            "compatible": client.test_compatibility(subject, latest.schema),
            "incompatible": client.test_compatibility(subject, other),
            "level": client.get_compatibility(),
            "new": refusal(lambda: client.register_schema(subject, other)),
            "no_schema": refusal(lambda: client.get_schema(99)),
            "no_subject": refusal(lambda: client.get_latest_version("nobody")),
            "no_version": refusal(lambda: client.get_version(subject, 99)),
            "deleted": refusal(lambda: client.delete_subject(subject)),
        }
    )
)
