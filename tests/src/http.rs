//! The least of HTTP: one request to a server of a test, and what it answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::servers::{Result, ServerError};

/// Answering a request may mean starting something.
const TIMEOUT: Duration = Duration::from_secs(90);

/// One request in HTTP/1.0 to a port of 127.0.0.1, so that the answer comes unchunked. The status and the body.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub fn request(port: u16, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    exchange(port, "HTTP/1.0", (method, path), body)
}

/// As [`request`], to a server that wants this version of HTTP.
pub(crate) fn exchange(port: u16, version: &str, (method, path): (&str, &str), body: &str) -> Result<(u16, String)> {
    let failed = || ServerError::doing::<std::io::Error>(format!("{method} {path} of port {port}"));
    let mut connection = TcpStream::connect(("127.0.0.1", port)).map_err(failed())?;
    connection.set_read_timeout(Some(TIMEOUT)).map_err(failed())?;
    let length = body.len();
    let head = format!(
        "{method} {path} {version}\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    );
    connection
        .write_all(format!("{head}\r\n{body}").as_bytes())
        .map_err(failed())?;
    let (head, body) = answer(BufReader::new(connection)).map_err(failed())?;
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| ServerError::new(format!("port {port} did not answer in HTTP: {head:?}")))?;
    Ok((status, body))
}

/// Head and body of an answer, which ends where its head says, or else with the connection.
fn answer(mut connection: BufReader<TcpStream>) -> std::io::Result<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && connection.read_line(&mut head)? > 0 {}
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, length)| length.trim().parse().ok());
    let mut body = Vec::new();
    connection.take(length.unwrap_or(u64::MAX)).read_to_end(&mut body)?;
    Ok((head, String::from_utf8_lossy(&body).into_owned()))
}
