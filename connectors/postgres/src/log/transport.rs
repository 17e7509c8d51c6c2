//! The byte stream under the replication connection: TCP, Unix socket, or TLS over TCP; blocking, on a thread of its own.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::{ClientConnection, StreamOwned};
use tailrace_core::{Error, Result};
use tailrace_sql::log_config::TlsMode;

use super::session::ANSWER_TIMEOUT;
use crate::endpoint::{Endpoint, Host};
use crate::{error, tls};

/// How long a connection may take before the next address is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connected stream.
pub(crate) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    // Boxed because a TLS connection is a kilobyte larger than the others.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// Ends a transport from another thread: a blocked read returns at once.
pub(crate) enum Hangup {
    Tcp(TcpStream),
    Unix(UnixStream),
}

// === impl Transport ===

impl Transport {
    /// Connects to the first host that answers, encrypted as configured. A server that refuses encryption is refused.
    pub(crate) fn connect(endpoint: &Endpoint) -> Result<Self> {
        let mut last = None;
        for host in &endpoint.hosts {
            match Self::connect_to(endpoint, host) {
                Ok(transport) => return Ok(transport),
                Err(error) => last = Some(error),
            }
        }
        let nowhere = || Error::definite("config", "the URL of the source names no host");
        Err(last.unwrap_or_else(nowhere))
    }

    fn connect_to(endpoint: &Endpoint, host: &Host) -> Result<Self> {
        let unreachable = |error: io::Error| error::io_error(&error, &host.address(endpoint.port));
        match host {
            Host::Unix(_) => UnixStream::connect(host.address(endpoint.port))
                .map(Self::Unix)
                .map_err(unreachable),
            Host::Tcp(name) => {
                let stream = connect_tcp(name, endpoint.port).map_err(unreachable)?;
                stream.set_nodelay(true).map_err(unreachable)?;
                // Whoever never answers the request for TLS is given up too.
                stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(unreachable)?;
                if endpoint.tls_mode == TlsMode::Disable {
                    return Ok(Self::Tcp(stream));
                }
                encrypt(stream, endpoint, name)
            }
        }
    }

    /// How long a read waits before it gives up with `WouldBlock`; `None` for ever.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            Self::Unix(stream) => stream.set_read_timeout(timeout),
            Self::Tls(stream) => stream.sock.set_read_timeout(timeout),
        }
    }

    /// A handle that ends this transport from another thread.
    pub(crate) fn hangup(&self) -> io::Result<Hangup> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Hangup::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Hangup::Unix),
            Self::Tls(stream) => stream.sock.try_clone().map(Hangup::Tcp),
        }
    }
}

fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks for TLS as the protocol has it (manual 55.2.10): eight bytes, one byte of answer, and nothing else before the handshake.
fn encrypt(mut stream: TcpStream, endpoint: &Endpoint, host: &str) -> Result<Transport> {
    let broken = |error: io::Error| error::io_error(&error, &endpoint.server());
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).map_err(broken)?;
    let mut answer = [0];
    stream.read_exact(&mut answer).map_err(broken)?;
    if answer != *b"S" {
        return Err(error::tls_refused(&endpoint.server()));
    }
    let config = tls::client_config(endpoint.tls_mode, &endpoint.tls)?;
    let connection = ClientConnection::new(config, tls::server_name(host)?)
        .map_err(|error| Error::definite("source_tls", format!("TLS to {host} cannot be set up")).with_source(error))?;
    let mut encrypted = StreamOwned::new(connection, stream);
    encrypted.conn.complete_io(&mut encrypted.sock).map_err(broken)?;
    Ok(Transport::Tls(Box::new(encrypted)))
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buffer),
            Self::Unix(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

// === impl Hangup ===

impl Hangup {
    /// Ends the transport. It may have ended already, and that is as good.
    pub(crate) fn hang_up(&self) {
        let ended = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "the replication connection had ended already");
        }
    }
}
