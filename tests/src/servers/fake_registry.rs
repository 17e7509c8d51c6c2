//! A registry that lies, sleeps, breaks and sends elsewhere, or the receiver of a webhook that does: an HTTP server whose every
//! answer is the test's own, with or without TLS, that remembers what it was asked.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Result, ServerError};

/// Nobody is served longer: a test that hangs ends.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `GET`, `POST`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// The header, where there was one.
    pub authorization: Option<String>,
    /// Every header, its name in small letters.
    pub headers: Vec<(String, String)>,
    /// As text.
    pub body: String,
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A status and JSON.
    Json(u16, String),
    /// A status and HTML, as proxies answer.
    Html(u16, String),
    /// A status that leads to another place.
    Redirect(u16, String),
    /// So many bytes of JSON.
    Huge(usize),
    /// Nothing, until the client has had enough.
    Never,
    /// Half an answer.
    CutOff,
}

// === impl Asked ===

impl Asked {
    /// A header's text; empty where it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, text)| text)
    }
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A running fake. Dropping it ends it.
pub struct FakeRegistry {
    address: SocketAddr,
    is_tls: bool,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<Mutex<usize>>,
    stopping: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

/// What a connection is served with.
#[derive(Clone)]
struct Desk {
    script: Arc<Script>,
    tls: Option<Arc<ServerConfig>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// Both kinds of connection.
trait Connection: Read + Write {}

impl<T: Read + Write> Connection for T {}

// === impl FakeRegistry ===

impl FakeRegistry {
    /// Listens on a free port of 127.0.0.1 and answers as the script says.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Result<FakeRegistry> {
        Self::listen("127.0.0.1", None, Arc::new(script))
    }

    /// As [`FakeRegistry::start`], on another address of this machine.
    ///
    /// # Errors
    /// As [`FakeRegistry::start`].
    pub fn start_at(host: &str, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Result<FakeRegistry> {
        Self::listen(host, None, Arc::new(script))
    }

    /// As [`FakeRegistry::start`], with TLS, under a certificate for 127.0.0.1.
    ///
    /// # Errors
    /// As [`FakeRegistry::start`], and when the certificate cannot be used.
    pub fn start_with_tls(
        certificate: &Certificate,
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Result<FakeRegistry> {
        let failed = || "using the certificate of a fake registry".to_owned();
        let chain = CertificateDer::pem_file_iter(&certificate.certificate).map_err(ServerError::doing(failed()))?;
        let chain = chain
            .collect::<Result<Vec<_>, _>>()
            .map_err(ServerError::doing(failed()))?;
        let key = PrivateKeyDer::from_pem_file(&certificate.key).map_err(ServerError::doing(failed()))?;
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(ServerError::doing(failed()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(ServerError::doing(failed()))?;
        Self::listen("127.0.0.1", Some(Arc::new(config)), Arc::new(script))
    }

    fn listen(host: &str, tls: Option<Arc<ServerConfig>>, script: Arc<Script>) -> Result<FakeRegistry> {
        let listener = TcpListener::bind((host, 0)).map_err(ServerError::doing("starting a fake registry"))?;
        let address = listener
            .local_addr()
            .map_err(ServerError::doing("starting a fake registry"))?;
        let (asked, connections, stopping) = (Arc::default(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let is_tls = tls.is_some();
        let desk = Desk {
            script,
            tls,
            asked: Arc::clone(&asked),
        };
        let (counted, stopped) = (Arc::clone(&connections), Arc::clone(&stopping));
        let listening = std::thread::spawn(move || accept(&listener, &desk, &counted, &stopped));
        Ok(FakeRegistry {
            address,
            is_tls,
            asked,
            connections,
            stopping,
            listening: Some(listening),
        })
    }

    /// For `url` under `registries`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Every request so far, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often somebody has connected, whether or not they asked anything.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; it looks at `stopping` first.
        drop(TcpStream::connect(self.address));
        if let Some(listening) = self.listening.take() {
            drop(listening.join());
        }
    }
}

impl fmt::Debug for FakeRegistry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "fake registry at {}", self.url())
    }
}

fn accept(listener: &TcpListener, desk: &Desk, connections: &Mutex<usize>, stopping: &AtomicBool) {
    for stream in listener.incoming() {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        *connections.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let Ok(stream) = stream else {
            continue;
        };
        let desk = desk.clone();
        // A client that goes away early is what some tests are about.
        std::thread::spawn(move || drop(desk.serve(stream)));
    }
}

// === impl Desk ===

impl Desk {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(CONNECTION_TIMEOUT))?;
        match &self.tls {
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
                self.answer(StreamOwned::new(connection, stream))
            }
            None => self.answer(stream),
        }
    }

    fn answer(&self, connection: impl Connection) -> std::io::Result<()> {
        let mut reader = BufReader::new(connection);
        let asked = read_request(&mut reader)?;
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(asked.clone());
        let connection = reader.get_mut();
        match (self.script)(&asked) {
            Reply::Json(status, body) => write_answer(connection, status, "application/json", body.as_bytes())?,
            Reply::Html(status, body) => write_answer(connection, status, "text/html", body.as_bytes())?,
            Reply::Redirect(status, place) => {
                write!(
                    connection,
                    "HTTP/1.1 {status} Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
                )?;
            }
            Reply::Huge(bytes) => {
                let mut body = vec![b' '; bytes];
                body.extend_from_slice(b"{}");
                write_answer(connection, 200, "application/json", &body)?;
            }
            Reply::CutOff => write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{{\"id\": ")?,
            Reply::Never => {
                // Until the client closes.
                reader.read_to_end(&mut Vec::new())?;
                return Ok(());
            }
        }
        reader.get_mut().flush()
    }
}

fn write_answer(connection: &mut impl Write, status: u16, of: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        connection,
        "HTTP/1.1 {status} Said\r\nContent-Type: {of}\r\nContent-Length: {length}\r\n\r\n"
    )?;
    connection.write_all(body)
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let find = |wanted: &str| {
        headers
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.clone())
    };
    let length = find("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let authorization = find("authorization");
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Asked {
        method,
        path,
        authorization,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

// === certificates ===

/// An authority of our own, and a certificate for 127.0.0.1 that it has signed, as PEM files of a folder.
#[derive(Debug)]
pub struct Certificate {
    /// The authority's.
    pub authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Makes them with `openssl`.
    ///
    /// # Errors
    /// When there is no `openssl`, or it fails.
    pub fn make(folder: &Path) -> Result<Certificate> {
        let script = "set -e; cd \"$0\"; \
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=authority \
                -keyout authority.key -out authority.pem -addext basicConstraints=critical,CA:TRUE; \
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=registry -keyout key.pem -out request.pem; \
            echo subjectAltName=IP:127.0.0.1 >names; \
            openssl x509 -req -in request.pem -CA authority.pem -CAkey authority.key -CAcreateserial -days 30 -extfile names \
                -out certificate.pem";
        let output = Command::new("sh").arg("-c").arg(script).arg(folder).output();
        let output = output.map_err(ServerError::doing("running openssl"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(ServerError::new(format!("openssl made no certificate: {said}")));
        }
        Ok(Certificate {
            authority: folder.join("authority.pem"),
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        })
    }
}
