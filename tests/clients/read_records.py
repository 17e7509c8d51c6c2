"""Confluent's deserializers for Python over records in hexadecimal digits, one a line of the standard input.

Prints each as JSON. Run as: PYTHONPATH=LIBRARIES python3 read_records.py REGISTRY_URL TOPIC avro|json
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: E402
from confluent_kafka.schema_registry.avro import AvroDeserializer  # noqa: E402
from confluent_kafka.schema_registry.json_schema import JSONDeserializer  # noqa: E402
from confluent_kafka.serialization import MessageField, SerializationContext  # noqa: E402

url, topic, codec = sys.argv[1:]
client = SchemaRegistryClient({"url": url})
if codec == "avro":
    deserializer = AvroDeserializer(client)
else:
    deserializer = JSONDeserializer(None, schema_registry_client=client)
context = SerializationContext(topic, MessageField.VALUE)
for line in sys.stdin:
    value = deserializer(bytes.fromhex(line), context)
    print(json.dumps(value, sort_keys=True, default=str))
