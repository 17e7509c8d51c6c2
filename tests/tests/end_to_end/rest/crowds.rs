//! Capture goes on, whoever crowds around the endpoint.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tailrace_tests::http::Client;
use tailrace_tests::servers::{PostgresVersion, poll_until};

use super::{DEADLINE, Shop};

/// Connections that say nothing.
const IDLE: usize = 10_000;
/// Those who ask without a pause.
const ATTACKERS: usize = 8;
/// Rows of one round.
const ROWS: u64 = 100_000;

/// Writes rows and waits until each is carried; rows per second.
async fn carry(shop: &Shop, from: u64) -> f64 {
    let started = Instant::now();
    let rows = from..from + ROWS;
    shop.execute(&format!(
        "insert into t select n, repeat('x', 100) from generate_series({}, {}) n",
        rows.start,
        rows.end - 1
    ))
    .await;
    // Of the server, because the endpoint is crowded: it may send away whoever asks.
    let end = shop.database.query_value("select pg_current_wal_lsn()").await.unwrap();
    let carried = format!(
        "select confirmed_flush_lsn >= '{end}' from pg_replication_slots where slot_name = '{}'",
        shop.database.slot()
    );
    shop.database.wait_until(&carried).await.unwrap();
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate that is looked at")]
    let rate = ROWS as f64 / seconds;
    rate
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_cost_capture_nothing() {
    let shop = Shop::new(PostgresVersion::V17, "create table t (id int primary key, v text)").await;
    shop.create();
    carry(&shop, 0).await;
    let alone = carry(&shop, ROWS).await;

    let port = shop.daemon.port();
    let crowd = std::thread::spawn(move || {
        let mut connections = Vec::with_capacity(IDLE);
        let mut refused = 0_usize;
        for _ in 0..IDLE {
            let address = ([127, 0, 0, 1], port).into();
            match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
                Ok(connection) => connections.push(connection),
                // The queue of the system is full, or this process has no file left: as many as can be.
                Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                    refused += 1;
                    if refused > 20 {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        connections
    });
    let crowded = carry(&shop, 2 * ROWS).await;
    let connections = crowd.join().unwrap();
    let still = carry(&shop, 3 * ROWS).await;
    println!(
        "{} idle connections: {:.2} of the rate without while they come, {:.2} while they are there",
        connections.len(),
        crowded / alone,
        still / alone
    );
    assert_eq!(shop.events("t").await.len(), usize::try_from(4 * ROWS).unwrap());
    // Who says nothing is sent away, and who asks is answered soon.
    let answered = poll_until("/livez", DEADLINE, || {
        Ok(shop
            .daemon
            .get("/livez")
            .ok()
            .filter(|answer| answer.status == 200)
            .map(drop))
    });
    answered.unwrap();
    drop(connections);
    let started = Instant::now();
    assert_eq!(shop.daemon.get("/livez").unwrap().status, 200);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

/// Those who ask for whatever costs most, and send what is refused, until they are told to stop.
struct Flood {
    is_over: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    attackers: Vec<JoinHandle<()>>,
}

// === impl Flood ===

impl Flood {
    fn begin(port: u16, connector: &str) -> Flood {
        let (is_over, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let attack = |_| {
            let (is_over, answers) = (Arc::clone(&is_over), Arc::clone(&answers));
            let connector = connector.to_owned();
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    answers.fetch_add(ask_for_much(port, &connector), Ordering::Relaxed);
                }
            })
        };
        Flood {
            attackers: (0..ATTACKERS).map(attack).collect(),
            is_over,
            answers,
        }
    }

    /// How many answers there were.
    fn end(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        for attacker in self.attackers {
            attacker.join().unwrap();
        }
        self.answers.load(Ordering::Relaxed)
    }
}

/// One round of requests; how many were answered.
fn ask_for_much(port: u16, connector: &str) -> usize {
    let client = Client::at(port);
    let deep = "[".repeat(60_000);
    let dotted = format!("{{\"{}\": 1}}", "a.".repeat(16_000));
    let (history, letters) = (
        format!("/connectors/{connector}/history"),
        format!("/connectors/{connector}/dead_letters"),
    );
    let validate = "/connector-plugins/tailrace.source.postgres/config/validate";
    let requests = [
        ("GET", "/metrics", ""),
        ("GET", "/openapi.json", ""),
        ("GET", "/connectors?expand=info&expand=status", ""),
        ("GET", &history, ""),
        ("GET", &letters, ""),
        ("GET", "/connector-plugins/tailrace.source.postgres/config", ""),
        ("POST", "/connectors", &deep),
        ("PUT", validate, &dotted),
    ];
    let answered = requests.into_iter().filter(|(method, path, body)| {
        client
            .ask(method, path, &[("content-type", "application/json")], body)
            .is_ok()
    });
    answered.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_requests_costs_capture_no_more_than_one_on_a_neighbour() {
    let shop = Shop::new(PostgresVersion::V17, "create table t (id int primary key, v text)").await;
    shop.create();
    // What attackers take of the machine they take wherever they ask.
    let neighbour = Shop::new(PostgresVersion::V17, "create table t (id int primary key, v text)").await;
    neighbour.create();
    carry(&shop, 0).await;
    let alone = carry(&shop, ROWS).await;
    let flood = Flood::begin(neighbour.daemon.port(), neighbour.name());
    let beside = carry(&shop, 2 * ROWS).await;
    let beside_answers = flood.end();
    let flood = Flood::begin(shop.daemon.port(), shop.name());
    let under = carry(&shop, 3 * ROWS).await;
    let under_answers = flood.end();
    println!(
        "flood: {under_answers} answers while {ROWS} rows were carried at {:.2} of the rate without; on a neighbour {beside_answers} and {:.2}",
        under / alone,
        beside / alone
    );
    assert!(under_answers > ATTACKERS, "{under_answers}");
    assert_eq!(shop.events("t").await.len(), usize::try_from(4 * ROWS).unwrap());
    assert_eq!(shop.daemon.get("/livez").unwrap().status, 200);
    shop.wait_for("streaming");
}
