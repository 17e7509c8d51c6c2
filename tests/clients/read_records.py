"""Confluent's deserializers for Python over keys and values, one a line of the standard input, each read as its client would.

A line is `avro|json_schema topic|record|topic_record key|value TOPIC HEX`. Prints each as a line of JSON in which decimals are
digits, bytes hexadecimal digits, and dates and times ISO 8601 with microseconds.
Run as: PYTHONPATH=LIBRARIES python3 read_records.py REGISTRY_URL
"""

import datetime
import decimal
import json
import sys
import warnings

warnings.simplefilter("ignore")

import confluent_kafka.schema_registry as registry  # noqa: E402
from confluent_kafka.schema_registry.avro import AvroDeserializer  # noqa: E402
from confluent_kafka.schema_registry.json_schema import JSONDeserializer  # noqa: E402
from confluent_kafka.serialization import MessageField, SerializationContext  # noqa: E402

STRATEGIES = {
    "topic": registry.topic_subject_name_strategy,
    "record": registry.record_subject_name_strategy,
    "topic_record": registry.topic_record_subject_name_strategy,
}

client = registry.SchemaRegistryClient({"url": sys.argv[1]})
deserializers = {}


def deserializer(codec, subjects):
    """One for each codec and kind of subject, kept as a consumer keeps it."""
    if (codec, subjects) not in deserializers:
        conf = {"subject.name.strategy": STRATEGIES[subjects]}
        if codec == "avro":
            made = AvroDeserializer(client, conf=conf)
        else:
            made = JSONDeserializer(None, conf=conf, schema_registry_client=client)
        deserializers[codec, subjects] = made
    return deserializers[codec, subjects]


def plain(value):
    """What JSON has no form of."""
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.datetime):
        local = value.replace(tzinfo=None).isoformat(timespec="microseconds")
        if value.tzinfo is None:
            return local
        assert not value.utcoffset()
        return local + "Z"
    if isinstance(value, datetime.time):
        return value.isoformat(timespec="microseconds")
    return str(value)


for line in sys.stdin:
    codec, subjects, part, topic, digits = line.split()
    field = MessageField.KEY if part == "key" else MessageField.VALUE
    value = deserializer(codec, subjects)(bytes.fromhex(digits), SerializationContext(topic, field))
    print(json.dumps(value, default=plain))
