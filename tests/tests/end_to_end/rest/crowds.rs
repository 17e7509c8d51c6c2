//! Capture goes on, whoever crowds around the endpoint.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tailrace_tests::servers::{PostgresVersion, poll_until};

use super::{DEADLINE, Shop};

/// Connections that say nothing.
const IDLE: usize = 10_000;
/// Rows of one round.
const ROWS: u64 = 20_000;

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
    shop.settle().await;
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
