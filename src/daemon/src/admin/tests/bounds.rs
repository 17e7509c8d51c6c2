//! Health, and what a connection may do (FM-303…FM-313).

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use tailrace_core::telemetry::Life;

use super::super::Heartbeat;
use super::super::server::HEADER_TIMEOUT;
use super::{connector, endpoint};

/// Three times as many as there are places.
const SLOW: usize = 200;

#[test]
fn health_follows_the_connectors() {
    let table = [
        (Life::Starting, 200, 503),
        (Life::Snapshotting, 200, 200),
        (Life::Streaming, 200, 200),
        (Life::Degraded("source_unreachable".to_owned()), 200, 503),
        (Life::Paused, 200, 200),
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
    let well = endpoint(
        vec![connector(Life::Streaming)],
        Heartbeat::stopped_for(Duration::from_secs(20)),
    );
    assert_eq!(well.get("/livez").0, 200);
    let endpoint = endpoint(
        vec![connector(Life::Streaming)],
        Heartbeat::stopped_for(Duration::from_secs(31)),
    );
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
fn only_a_browser_that_opens_the_address_gets_the_page() {
    let endpoint = endpoint(vec![], Heartbeat::new());
    let table = [
        // A browser on this machine, one elsewhere without TLS, scripts of the page, Java 8, curl.
        (
            "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nSec-Fetch-Dest: document\r\n",
            true,
        ),
        (
            "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n",
            true,
        ),
        ("Accept: */*\r\nSec-Fetch-Dest: empty\r\n", false),
        (
            "Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2\r\n",
            false,
        ),
        ("Accept: */*\r\n", false),
        ("", false),
    ];
    for (headers, is_page) in table {
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", endpoint.address);
        let answer = endpoint.raw(request.as_bytes());
        assert_eq!(
            answer.to_lowercase().contains("content-type: text/html"),
            is_page,
            "{headers}{answer}"
        );
    }
}

#[test]
fn a_slow_header_is_cut_off_and_others_are_answered_meanwhile() {
    let endpoint = endpoint(vec![], Heartbeat::new());
    let mut slow: Vec<_> = (0..SLOW)
        .map(|_| std::net::TcpStream::connect(endpoint.address).unwrap())
        .collect();
    for socket in &mut slow {
        socket.write_all(b"GET /livez HTTP/1.1\r\nHost: ").unwrap();
    }
    let begin = Instant::now();
    let answered = (0..20).map(|_| {
        let asked = Instant::now();
        assert_eq!(endpoint.get("/livez").0, 200);
        asked.elapsed()
    });
    let soonest = answered.min().unwrap();
    // The machine may be busy; the endpoint is not.
    assert!(soonest < Duration::from_millis(50), "{soonest:?}");
    assert!(begin.elapsed() < HEADER_TIMEOUT);
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

#[test]
fn a_body_is_small_complete_and_json() {
    let endpoint = endpoint(vec![], Heartbeat::new());
    let json = "Content-Type: application/json\r\n";
    let table = [
        // FM-306: refused by what it announces, before a byte of it came.
        (format!("{json}Content-Length: 1073741824\r\n"), "", 413),
        (
            format!("{json}Content-Encoding: gzip\r\nContent-Length: 2\r\n"),
            "{}",
            415,
        ),
        (
            "Content-Type: text/plain\r\nContent-Length: 2\r\n".to_owned(),
            "{}",
            415,
        ),
        ("Content-Length: 2\r\n".to_owned(), "{}", 415),
        (format!("{json}Content-Length: 1\r\n"), "{", 400),
        (format!("{json}Content-Length: 2\r\n"), "[]", 400),
        (format!("{json}Content-Length: 9\r\n"), "{\"a\":1e9}", 400),
    ];
    for (headers, body, expected) in table {
        assert_eq!(
            endpoint.put("/connectors/x/config", &headers, body.as_bytes()),
            expected,
            "{headers}{body}"
        );
    }
    let large = "x".repeat(2 << 20);
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let headers = format!("{json}Transfer-Encoding: chunked\r\n");
    assert!([413, 0].contains(&endpoint.put("/connectors/x/config", &headers, chunked.as_bytes())));
}

#[test]
fn hostile_json_is_refused() {
    let endpoint = endpoint(vec![], Heartbeat::new());
    let nested = |open: &str| open.repeat(10_000).into_bytes();
    let corpus: Vec<Vec<u8>> = vec![
        // FM-307.
        nested("["),
        nested("{\"a\":"),
        // FM-308.
        b"{\"a\":1,\"a\":2}".to_vec(),
        b"{\"a\":1e400}".to_vec(),
        b"{\"a\":01}".to_vec(),
        b"{\"a\":\"\xff\"}".to_vec(),
        b"{\"a\":\"\\ud800\"}".to_vec(),
        b"{\"a\":NaN}".to_vec(),
        b"{'a':1}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"{}{}".to_vec(),
        b"\0".to_vec(),
    ];
    for body in corpus {
        let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        let status = endpoint.put("/connectors/x/config", &headers, &body);
        assert_eq!(status, 400, "{}", String::from_utf8_lossy(&body[..body.len().min(40)]));
    }
    // FM-307: a key of many is as deep as objects in objects.
    let dotted = format!("{{\"{}\":1}}", vec!["a"; 32_000].join("."));
    let created = format!("{{\"name\":\"x\",\"config\":{dotted}}}");
    for (method, path, body) in [
        ("POST", "/connectors", &created),
        ("PUT", "/connectors/x/config", &dotted),
        ("PATCH", "/connectors/orders/config", &dotted),
        (
            "PUT",
            "/connector-plugins/tailrace.source.postgres/config/validate",
            &dotted,
        ),
    ] {
        let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        let status = endpoint.send(method, path, &headers, body.as_bytes());
        assert_eq!(status, 400, "{method} {path}");
    }
}

#[test]
fn a_body_that_does_not_come_is_cut_off() {
    let endpoint = endpoint(vec![], Heartbeat::new());
    let begin = Instant::now();
    let headers = "Content-Type: application/json\r\nContent-Length: 100\r\n";
    // FM-304: a part of it, and never the rest.
    assert_eq!(endpoint.put("/connectors/x/config", headers, b"{"), 408);
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn requests_that_proxies_read_differently_are_refused() {
    let endpoint = endpoint(vec![], Heartbeat::new());
    let host = format!("Host: {}\r\n", endpoint.address);
    // FM-310.
    for headers in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: a\r\n b\r\n",
        "Transfer-Encoding: gzip\r\n",
    ] {
        let request = format!("POST /connectors HTTP/1.1\r\n{host}{headers}\r\n{{}}");
        let status = endpoint.status(&request);
        assert!([0, 400].contains(&status), "{headers} {status}");
    }
}

#[test]
fn a_page_of_another_origin_changes_nothing() {
    let endpoint = endpoint(vec![connector(Life::Streaming)], Heartbeat::new());
    let (host, port) = (endpoint.address.to_string(), endpoint.address.port());
    let pause = |headers: &str| endpoint.put("/connectors/orders/pause", headers, b"");
    // FM-311.
    assert_eq!(pause("Origin: http://evil.example\r\n"), 403);
    assert_eq!(pause(&format!("Origin: https://{host}\r\n")), 403);
    assert_eq!(
        pause(&format!("Origin: http://localhost:{port}\r\n")),
        403,
        "the page's host is another name"
    );
    assert_eq!(pause("Origin: null\r\n"), 403);
    assert_eq!(pause("Sec-Fetch-Site: cross-site\r\n"), 403);
    assert_eq!(pause("Sec-Fetch-Site: same-site\r\n"), 403);
    assert_eq!(endpoint.wanted("orders"), "running");
    assert_eq!(
        pause(&format!("Origin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n")),
        202
    );
    assert_eq!(endpoint.wanted("orders"), "paused");
}

#[test]
fn what_only_looks_changes_nothing() {
    let endpoint = endpoint(vec![connector(Life::Streaming)], Heartbeat::new());
    // FM-313.
    for operation in super::super::routes::operations() {
        // A tail goes on for as long as somebody reads it.
        if operation.method == axum::http::Method::GET && !operation.path.ends_with("/tail") {
            let path = super::filled(operation.path);
            let status = endpoint.get(&path).0;
            assert!(status < 500, "{path} {status}");
        }
    }
    assert_eq!(endpoint.wanted("orders"), "running");
    let headers = "X-HTTP-Method-Override: PUT\r\n";
    assert_eq!(endpoint.post("/connectors/orders/pause", headers, b""), 405);
    assert_eq!(endpoint.wanted("orders"), "running");
}
