"""Runs a connector through its life with two clients of Kafka Connect's REST that know nothing of Tailrace: `kafka-connect-api` and
`kafkaconnect`. Arguments: the endpoint's URL, a name and a token where it asks for them, else two empty texts, the connector's name.
Standard input: its configuration as JSON. Prints what each step found, as JSON, a line each.
"""

import json
import sys
import time

from kafka_connect_api.errors import GenericNotFound, GenericUnauthorized
from kafka_connect_api.kafka_connect_api import Api, Cluster, Connector
from kafkaconnect.connect import Connect


def say(step, found):
    print(json.dumps({"step": step, "found": found}))


def wait_for(state, wanted):
    deadline = time.monotonic() + 60
    while state() != wanted:
        if time.monotonic() > deadline:
            raise SystemExit(f"{state()} and not {wanted}")
        time.sleep(0.05)
    return wanted


def as_cluster(url, user, token, name, config):
    cluster = Cluster(Api(url=url, username=user or None, password=token or None))
    say("version", cluster.version)
    say("cluster", bool(cluster.kafka_cluster))
    connector = Connector(cluster, name)
    try:
        say("exists before", connector.exists())
    except GenericNotFound:
        say("exists before", False)
    connector.config = config
    say("exists", connector.exists())
    say("names", list(cluster.connectors))
    say("class", connector.connector_class)
    say("running", wait_for(lambda: connector.state, "RUNNING"))
    say("tasks", [(task.id, task.is_running()) for task in connector.tasks])
    connector.pause()
    say("paused", wait_for(lambda: connector.state, "PAUSED"))
    connector.resume()
    say("resumed", wait_for(lambda: connector.state, "RUNNING"))
    connector.restart()
    connector.restart_all_tasks()
    connector.cycle_connector()
    say("restarted", wait_for(lambda: connector.state, "RUNNING"))
    connector.config = {**connector.config, "format.envelope": "entity"}
    say("changed", connector.config["format.envelope"])
    cluster.root_logger = "DEBUG"
    say("logger", cluster.root_logger["level"])
    cluster.root_logger = "INFO"
    connector.delete()
    say("names after", list(cluster.connectors))
    if user:
        stranger = Cluster(Api(url=url, username=user, password=token[:-1]))
        try:
            say("stranger", stranger.version)
        except GenericUnauthorized as refused:
            say("stranger", refused.code)


def as_connect(url, name, config):
    connect = Connect(url)
    text = json.dumps(config)
    say("plugins", len(json.loads(connect.plugins())) > 5)
    wrong = json.loads(connect.validate_and_create(name, json.dumps({**config, "stream": "nosuch"})))
    say("wrong", wrong["error_count"])
    say("created", json.loads(connect.validate_and_create(name, text))["name"])
    say("state", wait_for(lambda: json.loads(connect.status(name))["tasks"][0]["state"], "RUNNING"))
    say("config", json.loads(connect.config(name))["stream"])
    say("info", json.loads(connect.info(name))["type"])
    say("tasks of it", json.loads(connect.tasks(name))[0]["id"]["task"])
    say("pause", connect.pause(name))
    say("resume", connect.resume(name))
    say("restart", connect.restart(name))
    say("list", json.loads(connect.list()))
    say("topics", list(json.loads(connect.topics(name))))
    say("remove", connect.remove(name))
    say("gone", "not found" in connect.info(name))


def main():
    url, user, token, name = sys.argv[1:]
    config = json.load(sys.stdin)
    as_cluster(url, user, token, name, config)
    if not user:
        as_connect(url, name, config)


main()
