//! What deployments lean on: health checks without a shell, and the story that the compose file tells.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tailrace_tests::daemon::{Daemon, Printed};
use tailrace_tests::database::Database;
use tailrace_tests::http::Client;
use tailrace_tests::servers::{
    Kafka, KafkaOptions, MySqlOptions, MySqlVersion, Port, PostgresOptions, PostgresVersion, Registry, eventually,
};

/// Everything that was carried is written soon, on a machine that is not busy.
const DEADLINE: Duration = Duration::from_secs(60);

fn health(daemon: &Daemon, arguments: &[&str]) -> Printed {
    daemon.command("health", arguments).unwrap()
}

/// A daemon whose one database is not there: it lives, and is not ready.
fn with_nothing_to_read() -> (Daemon, String) {
    let nobody = Port::claim().unwrap();
    let sections = format!(
        "streams:\n  events: {{ type: file, path: events }}\nconnectors:\n  orders:\n    stream: events\n    \
         source: {{ type: postgres, url: \"postgres://app@127.0.0.1:{}/shop\", tables: [public.orders] }}",
        nobody.number()
    );
    (Daemon::new(&sections).unwrap(), sections)
}

fn lives_and_is_not_ready(daemon: &Daemon, reason: &str) {
    daemon.wait_for_state("orders", "degraded").unwrap();
    let lives = health(daemon, &[]);
    assert_eq!(
        (lives.code, lives.stdout.as_str()),
        (Some(0), "ok\n"),
        "{}",
        lives.all()
    );
    let ready = health(daemon, &["--ready"]);
    assert_eq!(ready.code, Some(1), "{}", ready.all());
    for said in ["/readyz", "503", reason, "daemon_unwell"] {
        assert!(ready.stderr.contains(said), "{said} in {}", ready.stderr);
    }
}

#[test]
fn health_is_asked_without_a_shell() {
    let (daemon, _) = with_nothing_to_read();
    let nobody = health(&daemon, &[]);
    assert_eq!(nobody.code, Some(1), "{}", nobody.all());
    assert!(nobody.stderr.contains("no daemon answers at"), "{}", nobody.stderr);
    daemon.start().unwrap();
    lives_and_is_not_ready(&daemon, "orders");
    // What somebody stopped is as it should be.
    let stopped = daemon.client().ask("PUT", "/connectors/orders/stop", &[], "").unwrap();
    assert_eq!(stopped.status, 204, "{}", stopped.body);
    assert_eq!(health(&daemon, &["--ready"]).code, Some(0));
}

#[test]
fn health_is_asked_where_probes_are_answered() {
    let (mut daemon, sections) = with_nothing_to_read();
    let probes = Port::claim().unwrap();
    let client = Client::at(daemon.port());
    daemon.set_admin(&format!("probes_listen: \"0.0.0.0:{}\"", probes.number()), client);
    daemon.configure(&sections).unwrap();
    daemon.start().unwrap();
    lives_and_is_not_ready(&daemon, &format!("http://127.0.0.1:{}", probes.number()));
}

/// A file of the compose file's folder.
fn of_compose(name: &str) -> String {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/compose"));
    fs::read_to_string(folder.join(name)).unwrap()
}

/// The compose file's configuration, with its own servers in place of the containers. The harness says where it listens and has its state.
fn story(shop: &Database, reporting: &Database, kafka: &Kafka, registry: &Registry) -> String {
    let configuration = of_compose("tailrace.yaml");
    let (_, sections) = configuration.split_once("\nregistries:").unwrap();
    let mut sections = format!("registries:{sections}");
    let url = |scheme: &str, port: u16, name: &str| format!("{scheme}://tailrace:tailrace@127.0.0.1:{port}/{name}");
    let places = [
        ("http://registry:8080/apis/ccompat/v7", registry.url()),
        ("kafka:9092", kafka.bootstrap()),
        (
            "${file:/run/secrets/shop_url}",
            url("postgres", shop.server().port(), shop.name()),
        ),
        (
            "${file:/run/secrets/reporting_url}",
            url("mysql", reporting.server().port(), "reporting"),
        ),
        ("${file:/run/secrets/email_salt}", "pepper".to_owned()),
    ];
    for (there, here) in places {
        assert!(sections.contains(there), "{there} in\n{sections}");
        sections = sections.replace(there, &here);
    }
    sections
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compose_file_tells_its_story() {
    let shop = Database::own(PostgresOptions::version(PostgresVersion::V17))
        .await
        .unwrap();
    shop.execute(&of_compose("shop.sql")).await.unwrap();
    let reporting = Database::own(MySqlOptions::version(MySqlVersion::MySql97))
        .await
        .unwrap();
    reporting.server().execute(&of_compose("reporting.sql")).await.unwrap();
    let kafka = Kafka::start(KafkaOptions::default()).unwrap();
    let registry = Registry::start().unwrap();
    let daemon = Daemon::new(&story(&shop, &reporting, &kafka, &registry)).unwrap();
    let checked = daemon.command("check", &[]).unwrap();
    assert_eq!(checked.code, Some(0), "{}", checked.all());
    daemon.start().unwrap();
    for connector in ["shop", "reporting"] {
        daemon.wait_for_state(connector, "streaming").unwrap();
    }
    // As the application does, long enough for each kind of change.
    shop.execute(&"CALL work();".repeat(25)).await.unwrap();
    for query in [
        "SELECT count(*), sum(total) FROM orders",
        "SELECT count(*), sum(quantity * price) FROM order_lines",
        "SELECT status, count(*) FROM orders GROUP BY status ORDER BY status",
        "SELECT name FROM customers ORDER BY id",
    ] {
        let wanted = shop.query(query).await.unwrap();
        let written = eventually(query, DEADLINE, || async {
            let server = reporting.mysql()?;
            let found = server.query_in("reporting", query).await.unwrap_or_default();
            Ok((found == wanted).then_some(()))
        });
        let written = written.await;
        assert!(written.is_ok(), "{written:?}: {wanted:?}\n{}", daemon.log());
    }
    let addresses = "SELECT email FROM customers WHERE email LIKE '%@%'";
    let server = reporting.mysql().unwrap();
    assert_eq!(
        server.query_in("reporting", addresses).await.unwrap(),
        Vec::<Vec<Option<String>>>::new()
    );
    assert_eq!(health(&daemon, &["--ready"]).code, Some(0));
}
