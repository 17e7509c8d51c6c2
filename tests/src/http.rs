//! The least of HTTP: one request to a server of a test, and what it answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::servers::{Result, ServerError};

/// Answering a request may mean starting something.
const TIMEOUT: Duration = Duration::from_secs(90);

/// One request in HTTP/1.0 to a port of 127.0.0.1, so that the answer comes unchunked and ends with the connection. The status and
/// the body.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub fn request(port: u16, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    exchange(port, "HTTP/1.0", (method, path), body)
}

/// As [`request`], to a server that wants this version of HTTP and ends the connection when it is asked to.
pub(crate) fn exchange(port: u16, version: &str, (method, path): (&str, &str), body: &str) -> Result<(u16, String)> {
    let failed = || ServerError::doing::<std::io::Error>(format!("{method} {path} of port {port}"));
    let mut connection = TcpStream::connect(("127.0.0.1", port)).map_err(failed())?;
    connection.set_read_timeout(Some(TIMEOUT)).map_err(failed())?;
    let length = body.len();
    let head = format!(
        "{method} {path} {version}\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n"
    );
    connection
        .write_all(format!("{head}\r\n{body}").as_bytes())
        .map_err(failed())?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).map_err(failed())?;
    let answer = String::from_utf8_lossy(&answer);
    let parsed = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.split_whitespace().nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    });
    parsed.ok_or_else(|| ServerError::new(format!("port {port} did not answer in HTTP: {answer:?}")))
}
