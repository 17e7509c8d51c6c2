//! Kafka with an authorizer: what is written and read takes the rules that are printed for the stream.

use tailrace_tests::clients::create_acls;
use tailrace_tests::daemon::Daemon;
use tailrace_tests::servers::{Kafka, KafkaOptions, PostgresVersion, eventually};

use super::DEADLINE;
use crate::capture::database_with;

/// Whoever comes by the broker's own listener may do everything; clients have a name.
fn broker() -> Kafka {
    let login = "org.apache.kafka.common.security.plain.PlainLoginModule required user_tailrace=\"secret\";";
    let options = KafkaOptions {
        client_protocol: "SASL_PLAINTEXT".to_owned(),
        ..KafkaOptions::default()
    }
    .setting("listener.name.client.sasl.enabled.mechanisms=PLAIN")
    .setting(&format!("listener.name.client.plain.sasl.jaas.config={login}"))
    .setting("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer")
    .setting("super.users=User:ANONYMOUS");
    Kafka::start(options).unwrap()
}

/// Sources of one table whose topics begin as the prefix of the connector does, and with what the table is called.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_written_and_read() {
    let kafka = broker();
    written_and_read(&kafka, "{prefix}.{schema}.{table}").await;
    let commands = written_and_read(&kafka, "{table}-{prefix}").await;
    assert!(!commands.contains('*') && !commands.contains("prefixed"), "{commands}");
}

/// The commands that were run.
async fn written_and_read(kafka: &Kafka, template: &str) -> String {
    let source = "create table orders (id int primary key, note text); insert into orders values (1, 'one')";
    let source = database_with(PostgresVersion::V17, source).await;
    let target = database_with(
        PostgresVersion::V17,
        "create table orders (id int primary key, note text)",
    )
    .await;
    let topic = [
        ("{prefix}", source.name()),
        ("{schema}", "public"),
        ("{table}", "orders"),
    ];
    let topic = topic
        .iter()
        .fold(template.to_owned(), |topic, (part, name)| topic.replace(part, name));
    let daemon = Daemon::new("").unwrap();
    let sections = format!(
        "streams:\n  events: {{ type: kafka, bootstrap_servers: [\"{}\"], sasl: {{ mechanism: plain, username: tailrace, password: secret }} }}\n\
         connectors:\n  {}: {{ stream: events, topic: \"{template}\", source: {{ type: postgres, url: \"{}\", tables: [public.orders] }}, \
         dead_letters: {{ policy: topic }} }}\n  \
         mirror: {{ stream: events, topics: [\"{topic}\"], sink: {{ type: postgres, url: \"{}\", table: orders }} }}\n",
        kafka.bootstrap(),
        source.name(),
        source.url(),
        target.url(),
    );
    daemon.configure(&sections).unwrap();
    let before = daemon.command("check", &[]).unwrap();
    assert_eq!(before.code, Some(3), "{}", before.all());
    assert!(before.all().contains("kafka-acls.sh"), "{}", before.all());
    let printed = daemon.command("grants", &["--stream", "events"]).unwrap();
    let commands = printed.stdout.lines().filter(|line| line.starts_with("kafka-acls.sh"));
    let commands = Vec::from_iter(commands).join("\n");
    create_acls(&kafka.internal_bootstrap(), &commands).unwrap();
    let ready = eventually("the rules reach the broker", DEADLINE, || async {
        Ok((daemon.command("check", &[])?.code == Some(0)).then_some(()))
    });
    assert!(ready.await.is_ok(), "{}", daemon.command("check", &[]).unwrap().all());
    daemon.start().unwrap();
    let row = eventually("the row in the target", DEADLINE, || async {
        let found = target.query_value("select count(*) from orders").await?;
        Ok((found == "1").then_some(()))
    });
    assert!(row.await.is_ok(), "{}", daemon.log());
    commands
}
