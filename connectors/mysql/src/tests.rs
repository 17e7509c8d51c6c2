//! Servers that are not what they should be: for the connections that ask and for the one that reads the log alike.

#[path = "../../../tests/certificates/shown.rs"]
mod shown;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};
use tailrace_core::error::Kind;
use tailrace_core::{Error, Result};

use crate::config::MySqlConfig;
use crate::connect::{Purpose, connect, options};
use crate::endpoint::Endpoint;
use crate::error::dump_error;
use crate::log::dump::{BinlogDump, DumpStart, Replica};
use shown::{certificate, server_config};

const PASSWORD: &str = "c4n4ry";
const OK: &[u8] = b"\0\0\0\x02\0\0\0";

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
        let url = format!("mysql://reader:{PASSWORD}@127.0.0.1:{port}/{parameters}");
        let config: MySqlConfig =
            serde_json::from_value(serde_json::json!({ "url": url, "tables": ["shop.t"] })).unwrap();
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
            let asking = runtime.block_on(connect(&config, Purpose::Catalog)).map(drop);
            let reading = runtime.block_on(read_log(&config));
            Self { asking, reading }
        })
    }

    /// Both fail, in these words.
    fn is(self, kind: Kind, code: &str, words: &str) {
        for (who, outcome) in [("asking", self.asking), ("reading", self.reading)] {
            let error: Error = outcome.err().unwrap_or_else(|| panic!("{who} connects"));
            let report = error.report();
            assert_eq!((error.kind(), error.code()), (kind, code), "{who}: {report}");
            assert!(report.contains(words) && !report.contains(PASSWORD), "{who}: {report}");
        }
    }
}

async fn read_log(config: &MySqlConfig) -> Result<()> {
    let endpoint = Endpoint::resolve(config)?;
    let start = DumpStart::File {
        file: "bin.000001".to_owned(),
        offset: 4,
    };
    let replica = Replica {
        server_id: 7,
        heartbeat: Duration::from_secs(1),
    };
    let dump = BinlogDump::start(&options(&endpoint)?.into(), &start, replica).await;
    dump.map(drop)
        .map_err(|error| dump_error(&error, &endpoint, "read the binary log"))
}

/// A packet with its header.
fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b, c, _] = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&[a, b, c, sequence], payload].concat()
}

/// The client's next packet; `None` where it goes away instead.
fn read_packet(socket: &mut impl Read) -> Option<Vec<u8>> {
    let mut header = [0; 4];
    socket.read_exact(&mut header).ok()?;
    let [a, b, c, _] = header;
    let mut payload = vec![0; usize::try_from(u32::from_le_bytes([a, b, c, 0])).unwrap()];
    socket.read_exact(&mut payload).ok()?;
    Some(payload)
}

/// Everything that the client sends until it goes away.
fn rest(socket: &mut impl Read) -> Vec<u8> {
    let mut rest = Vec::new();
    // An end without a goodbye is one as well.
    let _how_it_ended = socket.read_to_end(&mut rest);
    rest
}

fn holds(bytes: &[u8], words: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(words)
}

/// A greeting of MySQL 8.0, with or without TLS among its capabilities.
fn greeting(offers_tls: bool) -> Vec<u8> {
    let tls = if offers_tls { 0x08 } else { 0 };
    let mut greeting = vec![10];
    greeting.extend(b"8.0.36\0");
    greeting.extend([1, 0, 0, 0]);
    greeting.extend(b"abcdefgh\0");
    // Lower capabilities: PROTOCOL_41, SECURE_CONNECTION; character set; status; upper capabilities: PLUGIN_AUTH.
    greeting.extend([0x00, 0x82 | tls, 33, 2, 0, 0x08, 0x00, 21]);
    greeting.extend([0; 10]);
    greeting.extend(b"ijklmnopqrst\0mysql_native_password\0");
    packet(0, &greeting)
}

/// Greets, and encrypts under a certificate when it is asked to.
fn encrypted(mut socket: TcpStream, name: &str) -> StreamOwned<ServerConnection, TcpStream> {
    socket.write_all(&greeting(true)).unwrap();
    read_packet(&mut socket).unwrap();
    StreamOwned::new(ServerConnection::new(server_config(name)).unwrap(), socket)
}

#[test]
fn a_server_without_tls_gets_no_word_where_tls_is_asked_for() {
    for mode in ["required", "verify_ca", "verify_identity"] {
        let parameters = format!("?ssl-mode={mode}&ssl-ca={}", certificate("authority.pem").display());
        let told = Told::of(&parameters, |mut socket| {
            socket.write_all(&greeting(false)).unwrap();
            // Nothing more may come, least of all a password.
            assert_eq!(rest(&mut socket), b"", "{mode}");
        });
        told.is(
            Kind::Definite,
            "source_tls",
            "does not offer TLS; give it a certificate",
        );
    }
}

#[test]
fn a_certificate_that_is_not_the_servers_is_refused() {
    let authority = certificate("authority.pem");
    let accepts = |mode: &str, name: &'static str| {
        let parameters = format!("?ssl-mode={mode}&ssl-ca={}", authority.display());
        Told::of(&parameters, move |socket| {
            let mut stream = encrypted(socket, name);
            // Who sends a user's name has accepted the certificate.
            if read_packet(&mut stream).is_some() {
                let refusal = packet(3, b"\xff\x15\x04#28000the certificate was accepted");
                stream.write_all(&refusal).unwrap();
                rest(&mut stream);
            }
        })
    };
    for (mode, name, words) in [
        ("verify_identity", "of_another_authority", "UnknownIssuer"),
        ("verify_identity", "of_another_host", "not valid for name"),
        ("verify_identity", "expired", "expired"),
        ("verify_identity", "self_signed", "UnknownIssuer"),
        ("verify_ca", "of_another_authority", "UnknownIssuer"),
        ("verify_ca", "expired", "expired"),
        ("verify_ca", "self_signed", "UnknownIssuer"),
    ] {
        accepts(mode, name).is(Kind::Definite, "source_tls", words);
    }
    for (mode, name) in [
        ("verify_identity", "valid"),
        ("verify_ca", "of_another_host"),
        ("required", "of_another_authority"),
        ("required", "expired"),
    ] {
        accepts(mode, name).is(Kind::Transient, "source_authentication", "the certificate was accepted");
    }
}

/// Asks for the password in plain text, and does not get it.
fn ask_for_password(stream: &mut (impl Read + Write), sequence: u8) {
    let response = read_packet(stream).unwrap();
    let switch = packet(sequence, b"\xfemysql_clear_password\0");
    stream.write_all(&switch).unwrap();
    stream.flush().unwrap();
    let sent = [response, rest(stream)].concat();
    assert!(!holds(&sent, PASSWORD));
}

/// Neither in the clear, nor where nobody has verified the server.
#[test]
fn a_server_that_asks_for_the_password_in_plain_text_does_not_get_it() {
    let in_the_clear = Told::of("", |mut socket| {
        socket.write_all(&greeting(true)).unwrap();
        ask_for_password(&mut socket, 2);
    });
    let unverified = Told::of("?ssl-mode=required", |socket| {
        ask_for_password(&mut encrypted(socket, "valid"), 3);
    });
    for told in [in_the_clear, unverified] {
        told.is(
            Kind::Definite,
            "source_authentication_method",
            "asks for the password in plain text, which is only sent to a server that is verified",
        );
    }
}

#[test]
fn a_server_that_asks_for_a_file_does_not_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "s3cr3t of this machine").unwrap();
    let told = Told::of("", |mut socket| {
        socket.write_all(&greeting(false)).unwrap();
        read_packet(&mut socket).unwrap();
        socket.write_all(&packet(2, OK)).unwrap();
        // Whatever the first statement is.
        read_packet(&mut socket).unwrap();
        let request = [b"\xfb", file.display().to_string().as_bytes()].concat();
        socket.write_all(&packet(1, &request)).unwrap();
        assert!(!holds(&rest(&mut socket), "s3cr3t"));
    });
    told.is(
        Kind::Definite,
        "source_asks_for_file",
        "asks for a file of this machine, and gets none",
    );
}

/// The most that this process ever had in memory.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The protocol has lengths of up to 16 MiB; what is longer comes in several frames.
#[test]
fn a_length_that_nothing_follows_costs_no_memory() {
    let before = peak_kib();
    let told = Told::of("", |mut socket| {
        socket.write_all(b"\xff\xff\xff\0").unwrap();
    });
    told.is(Kind::Transient, "source_unreachable", "cannot reach 127.0.0.1");
    assert!(peak_kib() - before < 512 * 1024);
}
