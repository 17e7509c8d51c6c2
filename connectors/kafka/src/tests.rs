//! Brokers that are not what they should be. What is noticed is librdkafka's work: these tests say what an operator is told, and fail when a
//! newer librdkafka, or a property of ours, is less careful.

#[path = "../../../tests/certificates/shown.rs"]
mod shown;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tailrace_core::check::Finding;
use tailrace_core::ports::EventStream;

use crate::KafkaStream;
use shown::{certificate, server_config};

/// Requests that say what the broker knows, and by which method a client logs in.
const API_VERSIONS: [u8; 2] = [0, 18];
const SASL_HANDSHAKE: [u8; 2] = [0, 17];
const UNSUPPORTED_VERSION: [u8; 2] = [0, 35];
/// Where a request has its number within the connection.
const CORRELATION: std::ops::Range<usize> = 4..8;

/// What the preflight says first of a broker. `settings` are the stream's, `serve` is the broker's side of each connection.
async fn finding(settings: Value, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Finding {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    // It ends with the process: nobody knows how often librdkafka connects.
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (serve, socket) = (Arc::clone(&serve), socket.unwrap());
            std::thread::spawn(move || serve(socket));
        }
    });
    let mut config = settings;
    config["bootstrap_servers"] = json!([format!("localhost:{port}")]);
    let stream = KafkaStream::new(serde_json::from_value(config).unwrap()).unwrap();
    stream.check(&[]).await.into_iter().next().unwrap()
}

/// A frame; `None` where the client goes away instead.
fn read_frame(socket: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).ok()?;
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    socket.read_exact(&mut frame).ok()?;
    Some(frame)
}

fn write_frame(socket: &mut impl Write, content: &[u8]) {
    let length = u32::try_from(content.len()).unwrap();
    // A client that has gone away is noticed by the next read.
    let _whether_it_is_there = socket.write_all(&[&length.to_be_bytes(), content].concat());
}

/// Plays a broker up to the client's first message by SCRAM, which is returned.
fn asked_by_scram(socket: &mut TcpStream) -> Option<String> {
    loop {
        let request = read_frame(socket)?;
        let (kind, version) = (&request[..2], &request[2..4]);
        let correlation = &request[CORRELATION];
        if kind == API_VERSIONS {
            let error = if version == [0, 0] { [0, 0] } else { UNSUPPORTED_VERSION };
            let known = [API_VERSIONS, [0; 2], [0; 2], SASL_HANDSHAKE, [0; 2], [0; 2]].concat();
            write_frame(socket, &[correlation, &error, &[0, 0, 0, 2], &known].concat());
        } else if kind == SASL_HANDSHAKE {
            let methods = b"\0\0\0\0\0\x01\0\x0dSCRAM-SHA-256";
            write_frame(socket, &[correlation, methods].concat());
            // From here on there are frames without a header.
            return Some(String::from_utf8(read_frame(socket)?).unwrap());
        } else {
            panic!("not asked for: {request:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_know_the_password_is_noticed() {
    let sasl = json!({ "sasl": { "mechanism": "scram_sha_256", "username": "cdc", "password": "c4n4ry" } });
    let salt = "s=W22ZaJ0SNY7soEsUEjb6gQ==";
    // Whoever knows the password would not do the last one either: it lets the client in whatever its proof, and has none of its own.
    for (challenge, gets_proof, words) in [
        ("r=fyko+d2lbbFgONRv9qkxdawL,{salt},i=4096", false, "nonce mismatch"),
        ("r={nonce}more,{salt},i=1000001", false, "Iteration count"),
        ("r={nonce}more,{salt},i=2147483647", false, "Iteration count"),
        ("r={nonce}more,{salt},i=4096", true, "ServerSignature mismatch"),
    ] {
        let challenge = challenge.replace("{salt}", salt);
        let proven = Arc::new(AtomicBool::new(false));
        let given = Arc::clone(&proven);
        let found = finding(sasl.clone(), move |mut socket| {
            let Some(first) = asked_by_scram(&mut socket) else {
                return;
            };
            let (_, nonce) = first.rsplit_once("r=").unwrap();
            write_frame(&mut socket, challenge.replace("{nonce}", nonce).as_bytes());
            if read_frame(&mut socket).is_some() {
                given.store(true, Ordering::Release);
                write_frame(&mut socket, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
                assert_eq!(read_frame(&mut socket), None);
            }
        });
        let found = found.await;
        assert_eq!(found.code, "kafka_authentication", "{found:?}");
        assert!(found.problem.contains(words), "{words}: {found:?}");
        assert!(!found.problem.contains("c4n4ry"), "{found:?}");
        assert_eq!(proven.load(Ordering::Acquire), gets_proof, "{found:?}");
    }
}

/// Shows a certificate, and tells whether the client went on.
fn accepts(socket: TcpStream, name: &str) -> bool {
    let mut stream = StreamOwned::new(ServerConnection::new(server_config(name)).unwrap(), socket);
    read_frame(&mut stream).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_the_brokers_is_refused() {
    let tls = json!({ "tls": { "ca_file": certificate("authority.pem") } });
    for (name, accepted, words) in [
        ("valid", true, "localhost"),
        ("of_another_authority", false, "certificate verify failed"),
        ("of_another_host", false, "certificate verify failed"),
        ("expired", false, "certificate verify failed"),
        ("self_signed", false, "certificate verify failed"),
    ] {
        let went_on = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&went_on);
        let found = finding(tls.clone(), move |socket| {
            if accepts(socket, name) {
                told.store(true, Ordering::Release);
            }
        });
        let found = found.await;
        assert_eq!(found.code, "kafka_unreachable", "{name}: {found:?}");
        assert!(found.problem.contains(words), "{name}: {found:?}");
        assert_eq!(went_on.load(Ordering::Acquire), accepted, "{name}: {found:?}");
    }
}

/// The most that this process ever had in memory.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_no_answer_has_costs_no_memory() {
    let before = peak_kib();
    let found = finding(json!({}), |mut socket| {
        if read_frame(&mut socket).is_some() {
            let _whether_it_is_there = socket.write_all(b"\x7f\xff\xff\xff\0\0\0\x01");
            read_frame(&mut socket);
        }
    });
    let found = found.await;
    assert_eq!(found.code, "kafka_unreachable", "{found:?}");
    assert!(found.problem.contains("Invalid response size 2147483647"), "{found:?}");
    assert!(peak_kib() - before < 512 * 1024);
}
