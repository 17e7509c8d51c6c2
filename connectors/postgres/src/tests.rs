//! Servers that are not what they should be: for the connections that ask and for the one that reads the log alike.

#[path = "../../../tests/certificates/shown.rs"]
mod shown;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use rustls::ServerConnection;
use tailrace_core::error::Kind;
use tailrace_core::{Error, Result};

use crate::config::PostgresConfig;
use crate::connect::{Purpose, connect};
use crate::endpoint::Endpoint;
use crate::log::session::Session;
use shown::{certificate, server_config};

const PASSWORD: &str = "c4n4ry";
/// What of a message says how long it is.
const LENGTH_BYTES: usize = 4;

/// What the connection that asks, and the one that reads the log, make of a server.
struct Told {
    asking: Result<()>,
    reading: Result<()>,
}

// === impl Told ===

impl Told {
    /// Both connections, one after the other. `parameters` are the URL's; `serve` is the server's side of each.
    fn of(parameters: &str, serve: impl Fn(TcpStream) + Sync) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("postgres://reader:{PASSWORD}@127.0.0.1:{port}/shop{parameters}");
        let config: PostgresConfig =
            serde_json::from_value(serde_json::json!({ "url": url, "tables": ["t"] })).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2 {
                    serve(listener.accept().unwrap().0);
                }
            });
            let asking = runtime.block_on(connect(&config, "orders", Purpose::Check)).map(drop);
            let endpoint = Endpoint::resolve(&config.access()).unwrap();
            let reading = Session::connect(&endpoint, "tailrace orders log").map(drop);
            Self { asking, reading }
        })
    }

    /// Both fail, in these words.
    fn is(self, kind: Kind, code: &str, words: &str) {
        for (who, outcome) in [("asking", self.asking), ("reading", self.reading)] {
            fails(who, outcome, kind, code, words);
        }
    }
}

fn fails(who: &str, outcome: Result<()>, kind: Kind, code: &str, words: &str) {
    let error: Error = outcome.err().unwrap_or_else(|| panic!("{who} connects"));
    let report = error.report();
    assert_eq!((error.kind(), error.code()), (kind, code), "{who}: {report}");
    assert!(report.contains(words) && !report.contains(PASSWORD), "{who}: {report}");
}

/// A message of the server.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + LENGTH_BYTES).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// What of the protocol has no tag: the request for TLS, and the startup message.
fn read_untagged(socket: &mut impl Read) -> Vec<u8> {
    let mut length = [0; LENGTH_BYTES];
    socket.read_exact(&mut length).unwrap();
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - LENGTH_BYTES];
    socket.read_exact(&mut body).unwrap();
    body
}

/// The next message of the client; `None` where it goes away instead.
fn read_message(socket: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut tag = [0];
    socket.read_exact(&mut tag).ok()?;
    Some((tag[0], read_untagged(socket)))
}

/// Asks for a password by SCRAM, and answers the client's nonce with what `challenge` makes of it. Returns what the client says to that.
fn challenged(socket: &mut TcpStream, challenge: impl Fn(&str) -> String) -> Option<(u8, Vec<u8>)> {
    read_untagged(socket);
    let methods = [&10_u32.to_be_bytes()[..], b"SCRAM-SHA-256\0\0"].concat();
    socket.write_all(&message(b'R', &methods)).unwrap();
    let (_, first) = read_message(socket)?;
    let first = String::from_utf8_lossy(&first).into_owned();
    let (_, nonce) = first.rsplit_once("r=").unwrap();
    let body = [&11_u32.to_be_bytes()[..], challenge(nonce).as_bytes()].concat();
    socket.write_all(&message(b'R', &body)).unwrap();
    read_message(socket)
}

/// Answers the request for TLS with yes, and shows a certificate. Whether the client went on is known from whether it sends a password.
fn show(mut socket: TcpStream, name: &str) {
    read_untagged(&mut socket);
    socket.write_all(b"S").unwrap();
    let mut connection = ServerConnection::new(server_config(name)).unwrap();
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    let mut length = [0; LENGTH_BYTES];
    if stream.read_exact(&mut length).is_err() {
        return;
    }
    let refusal = message(b'E', b"SFATAL\0C28P01\0Mthe certificate was accepted\0\0");
    stream.write_all(&refusal).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
}

#[test]
fn a_server_without_tls_gets_no_word_where_tls_is_asked_for() {
    for mode in ["require", "verify-ca", "verify-full"] {
        let parameters = format!("?sslmode={mode}&sslrootcert={}", certificate("authority.pem").display());
        let told = Told::of(&parameters, |mut socket| {
            read_untagged(&mut socket);
            socket.write_all(b"N").unwrap();
            // Nothing more may come, least of all a password.
            assert!(read_message(&mut socket).is_none(), "{mode}");
        });
        told.is(Kind::Definite, "source_tls", "does not offer TLS; set `ssl = on` there");
    }
}

#[test]
fn a_certificate_that_is_not_the_servers_is_refused() {
    let authority = certificate("authority.pem");
    let accepts = |mode: &str, name: &'static str| {
        let parameters = format!("?sslmode={mode}&sslrootcert={}", authority.display());
        Told::of(&parameters, move |socket| show(socket, name))
    };
    for (mode, name, words) in [
        ("verify-full", "of_another_authority", "UnknownIssuer"),
        ("verify-full", "of_another_host", "not valid for name"),
        ("verify-full", "expired", "expired"),
        ("verify-full", "self_signed", "UnknownIssuer"),
        ("verify-ca", "of_another_authority", "UnknownIssuer"),
        ("verify-ca", "expired", "expired"),
        ("verify-ca", "self_signed", "UnknownIssuer"),
    ] {
        accepts(mode, name).is(Kind::Definite, "source_tls", words);
    }
    for (mode, name) in [
        ("verify-full", "valid"),
        ("verify-ca", "of_another_host"),
        ("require", "of_another_authority"),
        ("require", "expired"),
    ] {
        accepts(mode, name).is(Kind::Transient, "source_authentication", "the certificate was accepted");
    }
}

#[test]
fn a_server_that_does_not_know_the_password_is_noticed() {
    let salt = "s=W22ZaJ0SNY7soEsUEjb6gQ==";
    for (challenge, words) in [
        // A nonce of its own, of which the client's is no part.
        ("r=fyko+d2lbbFgONRv9qkxdawL,{salt},i=4096", "invalid nonce"),
        (
            "r={nonce}more,{salt},i=2147483648",
            "SCRAM iteration count exceeds the maximum",
        ),
        ("r={nonce}more,{salt},i=4294967296", "number too large"),
        ("r={nonce}more,{salt},i=-1", "cannot parse integer"),
        ("e=other-error", "unexpected"),
    ] {
        let told = Told::of("", |mut socket| {
            let answer = challenged(&mut socket, |nonce| {
                challenge.replace("{salt}", salt).replace("{nonce}", nonce)
            });
            assert!(answer.is_none(), "{challenge}: a proof was given");
        });
        let words = format!("shows no knowledge of the password ({words}");
        told.is(Kind::Transient, "source_authentication", &words);
    }
    // It lets the client in, whatever its proof, and cannot show that it knows the password too.
    let told = Told::of("", |mut socket| {
        let (tag, proof) = challenged(&mut socket, |nonce| format!("r={nonce}more,{salt},i=4096")).unwrap();
        assert!(tag == b'p' && String::from_utf8_lossy(&proof).contains(",p="));
        let verifier = b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let body = [&12_u32.to_be_bytes()[..], verifier].concat();
        let welcome = [message(b'R', &body), message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
        socket.write_all(&welcome).unwrap();
        assert!(read_message(&mut socket).is_none());
    });
    told.is(Kind::Transient, "source_authentication", "no knowledge of the password");
}

/// The most that this process ever had in memory, and the most that it ever had addresses for.
fn peaks_kib() -> [u64; 2] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    ["VmHWM:", "VmPeak:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    })
}

/// Two gibibytes less one: the largest length that the client library believes.
#[test]
fn a_length_that_no_message_has_costs_no_memory() {
    let before = peaks_kib();
    let told = Told::of("", |mut socket| {
        read_untagged(&mut socket);
        let _the_client_may_be_gone = socket.write_all(&[b"R\x7f\xff\xff\xff", &[0; 100_000][..]].concat());
    });
    fails(
        "asking",
        told.asking,
        Kind::Transient,
        "source_unreachable",
        "cannot reach 127.0.0.1",
    );
    let words = "claims to have 2147483647 bytes, which PostgreSQL never does; check that the `url` leads to it";
    fails("reading", told.reading, Kind::Transient, "source_protocol", words);
    let after = peaks_kib();
    assert!(after[0] - before[0] < 512 * 1024, "{before:?} {after:?}");
    assert!(after[1] - before[1] < 1536 * 1024, "{before:?} {after:?}");
}
