//! The least of HTTP: one request to a server of a test, and what it answers, with or without TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::servers::{Result, ServerError};

/// Answering a request may mean starting something.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Somebody who asks a server on a port of 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where.
    pub port: u16,
    /// Who: sent as `Authorization: Bearer`.
    pub token: Option<String>,
    /// Speaks TLS, and believes certificates of this authority, PEM.
    pub authority: Option<PathBuf>,
    /// Shows this certificate with this key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200, 503 …
    pub status: u16,
    /// The status line and headers.
    pub head: String,
    /// The body as text.
    pub body: String,
}

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

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
    let json = [("Content-Type", "application/json")];
    let answer = Client::at(port).ask_in(version, (method, path), &json, body)?;
    Ok((answer.status, answer.body))
}

// === impl Answer ===

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).map_err(ServerError::doing(format!("reading `{}`", self.body)))
    }

    /// A header's text; empty where it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(':'));
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, text)| text.trim())
    }
}

// === impl Client ===

impl Client {
    /// Nobody in particular, without TLS.
    #[must_use]
    pub fn at(port: u16) -> Client {
        Client {
            port,
            token: None,
            authority: None,
            identity: None,
        }
    }

    /// The same, with another token or none.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Client {
        Client {
            token: token.map(str::to_owned),
            ..self.clone()
        }
    }

    /// One request in HTTP/1.0, and its answer.
    ///
    /// # Errors
    /// When nobody answers, or not in HTTP.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
        self.ask_in("HTTP/1.0", (method, path), headers, body)
    }

    fn ask_in(
        &self,
        version: &str,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer> {
        let connection = self.send(version, (method, path), headers, body)?;
        let failed = || ServerError::doing::<std::io::Error>(format!("{method} {path} of port {}", self.port));
        let (head, body) = read_answer(BufReader::new(connection)).map_err(failed())?;
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        let status =
            status.ok_or_else(|| ServerError::new(format!("port {} did not answer in HTTP: {head:?}", self.port)))?;
        Ok(Answer { status, head, body })
    }

    /// GET.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.ask("GET", path, &[], "")
    }

    /// A request with JSON; without a body where it is null.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn json(&self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        match body {
            Value::Null => self.ask(method, path, &[], ""),
            body => self.ask(method, path, &[("Content-Type", "application/json")], &body.to_string()),
        }
    }

    /// GET of an answer that goes on, line by line, past its headers.
    ///
    /// # Errors
    /// When nobody answers, or not with 200.
    pub fn lines(&self, path: &str) -> Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
        let mut reader = BufReader::new(self.send("HTTP/1.0", ("GET", path), &[], "")?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = reader.read_line(&mut head).map_err(ServerError::doing(path))?;
            if read == 0 {
                break;
            }
        }
        match head.split_whitespace().nth(1) {
            Some("200") => Ok(reader.lines()),
            _ => Err(ServerError::new(format!("GET {path} is answered with {head}"))),
        }
    }

    fn send(
        &self,
        version: &str,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Box<dyn Stream>> {
        let failed = || ServerError::doing::<std::io::Error>(format!("{method} {path} of port {}", self.port));
        let mut connection = self.connect()?;
        let mut head = format!(
            "{method} {path} {version}\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n",
            self.port
        );
        let token = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let authorization = token.as_deref().map(|token| ("Authorization", token));
        for (name, text) in headers.iter().copied().chain(authorization) {
            head.push_str(&format!("{name}: {text}\r\n"));
        }
        if !body.is_empty() || method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        connection
            .write_all(format!("{head}\r\n{body}").as_bytes())
            .map_err(failed())?;
        Ok(connection)
    }

    fn connect(&self) -> Result<Box<dyn Stream>> {
        let failed = || ServerError::doing::<std::io::Error>(format!("connecting to port {}", self.port));
        let connection = TcpStream::connect(("127.0.0.1", self.port)).map_err(failed())?;
        connection.set_read_timeout(Some(TIMEOUT)).map_err(failed())?;
        let Some(authority) = &self.authority else {
            return Ok(Box::new(connection));
        };
        let config = tls(authority, self.identity.as_ref())?;
        let name = ServerName::try_from("127.0.0.1").map_err(ServerError::doing("naming the server"))?;
        let session = ClientConnection::new(config, name).map_err(ServerError::doing("speaking TLS"))?;
        Ok(Box::new(StreamOwned::new(session, connection)))
    }
}

fn tls(authority: &Path, identity: Option<&(PathBuf, PathBuf)>) -> Result<Arc<ClientConfig>> {
    let failed = || "reading certificates".to_owned();
    let read = |file: &Path| -> Result<Vec<CertificateDer<'static>>> {
        let certificates = CertificateDer::pem_file_iter(file).map_err(ServerError::doing(failed()))?;
        certificates
            .collect::<Result<_, _>>()
            .map_err(ServerError::doing(failed()))
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(read(authority)?);
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(ServerError::doing(failed()))?
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(ServerError::doing(failed()))?;
            let chain = read(certificate)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(ServerError::doing(failed()))?
        }
    };
    Ok(Arc::new(config))
}

/// Head and body of an answer, which ends where its head says, or else with the connection: some leave that open, and some close one of
/// TLS without a farewell.
fn read_answer(mut connection: impl BufRead) -> std::io::Result<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && connection.read_line(&mut head)? > 0 {}
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: Option<u64> = length.and_then(|(_, length)| length.trim().parse().ok());
    let mut body = Vec::new();
    let read = connection.take(length.unwrap_or(u64::MAX)).read_to_end(&mut body);
    match read {
        Err(error) if body.is_empty() => Err(error),
        Ok(_) | Err(_) => Ok((head, String::from_utf8_lossy(&body).into_owned())),
    }
}
