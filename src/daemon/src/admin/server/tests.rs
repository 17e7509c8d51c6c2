use std::io::{Read, Write};
use std::time::Instant;

use tailrace_codec::contract::ContractRules;
use tailrace_core::telemetry::{Life, Telemetry};
use tailrace_state::StateStore;

use super::super::Heartbeat;
use super::*;

struct Endpoint {
    address: SocketAddr,
    _admin: Admin,
    _state: tempfile::TempDir,
}

fn endpoint(connectors: Vec<Arc<Telemetry>>, heartbeat: Arc<Heartbeat>) -> Endpoint {
    let (listener, address) = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let state = runtime
        .block_on(StateStore::open(&folder.path().join("state.db")))
        .unwrap();
    let shown = Shown {
        connectors,
        letters: Arc::from([]),
        snapshots: Arc::from([]),
        heartbeat,
        started: Instant::now(),
        registry: state.registry(Arc::new(ContractRules)),
        address,
    };
    Endpoint {
        address,
        _state: folder,
        _admin: Admin::start(listener, shown).unwrap(),
    }
}

impl Endpoint {
    fn raw(&self, request: &str) -> String {
        let mut socket = std::net::TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // A refused request may be closed with a reset after its answer.
        while let Ok(read @ 1..) = socket.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8(answer).unwrap()
    }

    fn get(&self, path: &str) -> (u16, String) {
        let answer = self.raw(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (status_of(head), body.to_owned())
    }

    fn status(&self, request: &str) -> u16 {
        status_of(&self.raw(request))
    }
}

fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn connector(life: Life) -> Arc<Telemetry> {
    let telemetry = Arc::new(Telemetry::new("orders"));
    telemetry.enter(life, "because");
    telemetry
}

#[test]
fn health_follows_the_connectors() {
    let table = [
        (Life::Starting, 200, 503),
        (Life::Snapshotting, 200, 200),
        (Life::Streaming, 200, 200),
        (Life::Degraded("source_unreachable".to_owned()), 200, 503),
        (Life::Paused, 200, 503),
        (Life::Halted("slot_missing".to_owned()), 200, 503),
        (Life::Halted("panicked".to_owned()), 503, 503),
        (Life::Stopped, 200, 503),
    ];
    for (life, live, ready) in table {
        let endpoint = endpoint(vec![connector(life.clone())], Heartbeat::new());
        assert_eq!(endpoint.get("/livez").0, live, "{life:?}");
        assert_eq!(endpoint.get("/readyz").0, ready, "{life:?}");
    }
}

#[test]
fn a_runtime_that_stands_still_is_not_alive() {
    let endpoint = endpoint(vec![connector(Life::Streaming)], Heartbeat::stopped_long_ago());
    let (code, body) = endpoint.get("/livez");
    assert_eq!(code, 503);
    assert_eq!(
        body,
        r#"{"status":"unavailable","reasons":[{"state":"runtime_stalled"}]}"#
    );
}

#[test]
fn status_and_metrics_tell_what_is_known() {
    let halted = connector(Life::Halted("slot_missing".to_owned()));
    let endpoint = endpoint(vec![halted], Heartbeat::new());
    let (code, body) = endpoint.get("/status");
    assert_eq!(code, 200);
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status["connectors"][0]["connector"], "orders");
    assert_eq!(status["connectors"][0]["state"], "halted");
    assert_eq!(status["connectors"][0]["code"], "slot_missing");
    assert_eq!(status["connectors"][0]["reason"], "because");
    let (code, body) = endpoint.get("/metrics");
    assert_eq!(code, 200);
    assert!(
        body.contains("tailrace_state{connector=\"orders\",state=\"halted\"} 1.0\n"),
        "{body}"
    );
    assert_eq!(
        endpoint.get("/readyz").1,
        r#"{"status":"unavailable","reasons":[{"connector":"orders","state":"halted:slot_missing"}]}"#
    );
}

#[test]
fn what_no_operator_sends_is_refused() {
    let endpoint = endpoint(vec![], Heartbeat::new());
    let port = endpoint.address.port();
    let get = |headers: String| endpoint.status(&format!("GET /status HTTP/1.1\r\n{headers}\r\n"));
    assert_eq!(get(format!("Host: localhost:{port}\r\n")), 200);
    assert_eq!(get("Host: evil.example\r\n".to_owned()), 421);
    assert_eq!(get(format!("Host: evil.example:{port}\r\n")), 421);
    assert_eq!(get(format!("Host: 127.0.0.1.nip.io:{port}\r\n")), 421);
    assert_eq!(get(String::new()), 421);
    assert_eq!(get(format!("Host: localhost:{port}\r\nHost: evil\r\n")), 400);
    assert_eq!(
        get(format!("Host: localhost:{port}\r\nOrigin: http://evil.example\r\n")),
        403
    );
    assert_eq!(endpoint.get("/nothing").0, 404);
    assert_eq!(endpoint.get("/../etc/passwd").0, 404);
    assert_eq!(
        endpoint.status(&format!(
            "POST /status HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 0\r\n\r\n"
        )),
        405
    );
    let many: String = (0..100).map(|at| format!("X-{at}: y\r\n")).collect();
    assert_eq!(get(format!("Host: localhost:{port}\r\n{many}")), 431);
    let long = "y".repeat(64 * 1024);
    assert!([0, 431].contains(&get(format!("Host: localhost:{port}\r\nX: {long}\r\n"))));
    assert_eq!(endpoint.status("nonsense\r\n\r\n"), 400);
}

#[test]
fn a_slow_header_is_cut_off_and_others_are_answered_meanwhile() {
    let endpoint = endpoint(vec![], Heartbeat::new());
    let mut slow: Vec<_> = (0..20)
        .map(|_| std::net::TcpStream::connect(endpoint.address).unwrap())
        .collect();
    for socket in &mut slow {
        socket.write_all(b"GET /livez HTTP/1.1\r\nHost: ").unwrap();
    }
    let begin = Instant::now();
    assert_eq!(endpoint.get("/livez").0, 200);
    assert!(begin.elapsed() < Duration::from_secs(2));
    for socket in &mut slow {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut rest = Vec::new();
        let ended = socket.read_to_end(&mut rest);
        assert!(
            ended.is_ok() || begin.elapsed() < Duration::from_secs(15),
            "the connection is still open"
        );
    }
    assert!(begin.elapsed() < HEADER_TIMEOUT + Duration::from_secs(5));
}
