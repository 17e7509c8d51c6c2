//! Changes of tables' definitions are told to a receiver over HTTP, whatever that one does, and capture never waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::events::Event;
use tailrace_tests::published::Published;
use tailrace_tests::servers::{
    Asked, Certificate, FakeRegistry as Receiver, Port, PostgresVersion, Reply, eventually, poll_until,
};

/// As the daemon's own.
const DEADLINE: Duration = Duration::from_secs(90);
const TOKEN: &str = "hunter2-and-more";
/// What follows the host in the URL: chats put secrets there.
const PLACE: &str = "/T0/secret-part?key=secret-part";

/// A table whose definition changes, and a daemon that tells somebody.
struct Shop {
    database: Database,
    daemon: Daemon,
}

impl Shop {
    async fn new() -> Shop {
        let database = Database::shared(PostgresVersion::V17).await.unwrap();
        database
            .execute("create table orders (id int primary key)")
            .await
            .unwrap();
        let daemon = Daemon::new("").unwrap();
        std::fs::write(daemon.path().join("token"), format!("{TOKEN}\n")).unwrap();
        Shop { database, daemon }
    }

    /// Starts with a webhook below `host`; `more` is what else is said of it.
    fn start(&self, host: &str, more: &str) {
        let source = self.database.source(None);
        let source: String = source.lines().map(|line| format!("      {line}\n")).collect();
        let folder = self.daemon.path().display();
        let sections = format!(
            "streams:\n  events: {{ type: file, path: \"{folder}/events\" }}\nconnectors:\n  {}:\n    stream: events\n    \
             schema_changes:\n      webhook: {{ url: \"{host}{PLACE}\", token: \"${{file:{folder}/token}}\"{more} }}\n    \
             source:\n{source}      tables: {}\n",
            self.database.name(),
            self.database.patterns("[public.orders]"),
        );
        self.daemon.configure(&sections).unwrap();
        self.daemon.start().unwrap();
        self.daemon.wait_for_state(self.database.name(), "streaming").unwrap();
    }

    fn stop(&self) {
        assert!(self.daemon.terminate().unwrap().success());
    }

    async fn execute(&self, statements: &str) {
        self.database.execute(statements).await.unwrap();
    }

    async fn topic(&self, topic: &str) -> Vec<Event> {
        let stream = Published::File(self.daemon.path().join("events"));
        stream.events(topic).await.unwrap()
    }

    /// The records of changes of the table, each only the first time.
    async fn changes(&self) -> Vec<Event> {
        let mut changes: Vec<Event> = Vec::new();
        for event in self.topic(&format!("{}.schema_changes", self.database.name())).await {
            if changes.iter().all(|known| known.event_id() != event.event_id()) {
                changes.push(event);
            }
        }
        changes
    }

    /// Adds a column and a row, and waits until the row is in the stream: capture goes on.
    async fn alter(&self, id: usize) {
        self.execute(&format!(
            "alter table orders add column c{id} int; insert into orders (id) values ({id})"
        ))
        .await;
        self.wait_for_order(id).await;
    }

    async fn wait_for_order(&self, id: usize) {
        let key = serde_json::json!({ "id": id });
        let what = format!("order {id}");
        let arrived = eventually(&what, DEADLINE, || async {
            let orders = self.topic(&self.database.topic("orders")).await;
            Ok(orders.iter().any(|order| order.key_json() == key).then_some(()))
        });
        let arrived = arrived.await;
        arrived
            .map_err(|error| self.daemon.with_status(self.database.name(), &error))
            .unwrap();
    }

    /// `delivered`, `retries` or `failed` since the start.
    fn count(&self, of: &str) -> f64 {
        let metrics = self.daemon.get("/metrics").unwrap().body;
        let name = self.database.name();
        let series = format!("tailrace_webhook_{of}_total{{connector=\"{name}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
        line.ok_or_else(|| format!("{series} is not in {metrics}"))
            .unwrap()
            .parse()
            .unwrap()
    }

    fn wait_for_count(&self, of: &str, wanted: f64) {
        let what = format!("{of} {wanted}");
        let reached = poll_until(&what, DEADLINE, || Ok((self.count(of) >= wanted).then_some(())));
        reached
            .map_err(|error| self.daemon.with_status(self.database.name(), &error))
            .unwrap();
    }

    /// Lines of the log that have a text.
    fn logged(&self, text: &str) -> Vec<String> {
        let log = self.daemon.log();
        log.lines()
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect()
    }

    /// Neither the token nor what may be secret of the URL was ever shown.
    fn keeps_secrets(&self) {
        let status = self.daemon.get("/status").unwrap().body;
        for secret in [TOKEN, "secret-part"] {
            assert!(!self.daemon.log().contains(secret), "{}", self.daemon.log());
            assert!(!status.contains(secret), "{status}");
        }
    }
}

fn taken() -> Reply {
    Reply::Json(200, "{}".to_owned())
}

/// The version that somebody was told of.
fn version(asked: &Asked) -> u64 {
    let document: Value = serde_json::from_str(&asked.body).unwrap();
    document["version"].as_u64().unwrap()
}

fn versions(receiver: &Receiver) -> Vec<u64> {
    receiver.asked().iter().map(version).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_told_what_is_published_and_not_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::make(folder.path()).unwrap();
    let receiver = Receiver::start_with_tls(&certificate, |_| taken()).unwrap();
    let authority = format!(", ca_file: \"{}\"", certificate.authority.display());
    let shop = Shop::new().await;
    shop.start(&receiver.url(), &authority);
    shop.execute("insert into orders values (1)").await;
    shop.alter(2).await;
    shop.wait_for_count("delivered", 1.0);
    let asked = receiver.asked();
    let told = &asked[0];
    assert_eq!((told.method.as_str(), told.path.as_str()), ("POST", PLACE));
    assert_eq!(told.authorization, Some(format!("Bearer {TOKEN}")));
    assert_eq!(told.header("content-type"), "application/json");
    let changes = shop.changes().await;
    assert_eq!(told.header("idempotency-key"), changes[0].event_id());
    assert_eq!(told.body.as_bytes(), changes[0].value.as_deref().unwrap());
    shop.keeps_secrets();
    shop.stop();

    // It is known to be told; another change is another telling.
    shop.start(&receiver.url(), &authority);
    shop.execute("insert into orders values (3)").await;
    shop.alter(4).await;
    shop.wait_for_count("delivered", 1.0);
    assert_eq!(versions(&receiver), [2, 3]);
    assert_eq!(shop.count("failed"), 0.0);
    assert_eq!(shop.logged("webhook_failed"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_fails_is_asked_again_and_what_it_refuses_is_logged_and_counted() {
    let elsewhere = Receiver::start_at("127.0.0.2", |_| taken()).unwrap();
    let place = elsewhere.url();
    let failures = AtomicUsize::new(0);
    let receiver = Receiver::start(move |asked| match version(asked) {
        2 if failures.fetch_add(1, Ordering::SeqCst) == 0 => Reply::Html(500, "<html>".to_owned()),
        2 if failures.load(Ordering::SeqCst) == 2 => Reply::CutOff,
        3 => Reply::Html(404, format!("you sent {}", asked.header("authorization"))),
        4 => Reply::Redirect(307, place.clone()),
        5 => Reply::Huge(64 * 1024 * 1024),
        _ => taken(),
    })
    .unwrap();
    let shop = Shop::new().await;
    shop.start(&receiver.url(), "");
    shop.execute("insert into orders values (1)").await;
    // A hiccup: 500, then it is taken; a body that ends too early is nobody's concern.
    shop.alter(2).await;
    shop.wait_for_count("delivered", 1.0);
    assert_eq!((shop.count("retries"), shop.count("failed")), (1.0, 0.0));
    assert_eq!(versions(&receiver), [2, 2]);
    let ids: Vec<String> = receiver
        .asked()
        .iter()
        .map(|asked| asked.header("idempotency-key").to_owned())
        .collect();
    assert_eq!(ids[0], ids[1]);
    // What it does not want is given up, and the next one is told.
    for (id, status) in [(3, 404), (4, 307)] {
        shop.alter(id).await;
        shop.wait_for_count("failed", f64::from(u32::try_from(id - 2).unwrap()));
        let lines = shop.logged("webhook_failed");
        let line = lines.last().unwrap();
        let version = format!("version {id} of public.orders");
        for part in [
            "ERROR",
            &version,
            &format!("\"status\":{status}"),
            &receiver.url(),
            "; ",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }
    assert_eq!(elsewhere.connections(), 0, "no redirect is followed");
    // A body is not read, however much there is of it.
    shop.alter(5).await;
    shop.wait_for_count("delivered", 2.0);
    assert_eq!(versions(&receiver).last(), Some(&5));
    assert_eq!(shop.logged("webhook_failed").len(), 2);
    shop.keeps_secrets();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_a_webhook_that_is_down_or_hangs_and_a_restart_tells_it_again() {
    let nobody = Port::claim().unwrap();
    let shop = Shop::new().await;
    shop.start(&format!("http://127.0.0.1:{}", nobody.number()), "");
    shop.execute("insert into orders values (1)").await;
    shop.alter(2).await;
    shop.wait_for_count("retries", 2.0);
    shop.execute("insert into orders values (3)").await;
    shop.wait_for_order(3).await;
    shop.keeps_secrets();
    shop.stop();

    // It is there now, and answers nothing.
    let silent = Receiver::start(|_| Reply::Never).unwrap();
    shop.start(&silent.url(), ", timeout_ms: 300");
    shop.execute("insert into orders values (4)").await;
    shop.wait_for_order(4).await;
    shop.wait_for_count("retries", 2.0);
    shop.alter(5).await;
    assert_eq!(shop.count("failed"), 0.0);
    assert!(
        versions(&silent).iter().all(|version| *version == 2),
        "they wait in their order"
    );
    assert!(!shop.logged("did not answer within 300 ms").is_empty());
    shop.stop();

    // And now it takes what it is told: also of the version whose rows will not come again.
    let receiver = Receiver::start(|_| taken()).unwrap();
    shop.start(&receiver.url(), "");
    shop.execute("insert into orders values (6)").await;
    shop.wait_for_count("delivered", 2.0);
    assert_eq!(versions(&receiver), [2, 3]);
    for (asked, column) in receiver.asked().iter().zip(["c2", "c5"]) {
        let document: Value = serde_json::from_str(&asked.body).unwrap();
        assert_eq!(document["summary"], format!("column {column} was added (integer)"));
    }
    assert_eq!(shop.logged("webhook_failed"), [""; 0]);
    shop.keeps_secrets();
}
