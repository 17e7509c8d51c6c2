//! One request over one connection, within bounds: time, size of the answer, and nobody else is ever asked.
//!
//! Redirects are not followed at all. A registry's nodes are few and configured; whoever answers with another place could
//! send the credentials there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::config::BaseUrl;

/// What the API is called, and what it is answered in.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Far above any schema or list of versions, and small enough to be held.
pub(super) const ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// As large as a proxy's headers get.
const HEADER_BYTES: usize = 64 * 1024;

/// How a node is spoken to.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Marked as sensitive, so that no log shows it.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) timeout: Duration,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Where a redirect would lead.
    pub(super) location: Option<String>,
    pub(super) body: Bytes,
}

/// Why nothing came back.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody there, cut off, or no HTTP.
    Unreachable(Box<dyn std::error::Error + Send + Sync>),
    /// Longer than the timeout.
    Slow(Duration),
    /// More than [`ANSWER_BYTES`].
    TooLarge,
    /// Its certificate is not to be trusted.
    Certificate(rustls::Error),
}

/// Both kinds of connection.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

// === impl Transport ===

impl Transport {
    /// Sends one request to one node. `path` begins with `/` and is escaped.
    pub(super) async fn send(
        &self,
        node: &BaseUrl,
        method: &Method,
        path: &str,
        body: Option<&str>,
    ) -> Result<Answer, Failure> {
        let exchange = Box::pin(self.exchange(node, method, path, body));
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Slow(self.timeout)),
        }
    }

    async fn exchange(
        &self,
        node: &BaseUrl,
        method: &Method,
        path: &str,
        body: Option<&str>,
    ) -> Result<Answer, Failure> {
        let request = self.request(node, method, path, body)?;
        let stream = self.connect(node).await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEADER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(unreachable)?;
        let conversation = async {
            let answer = sender.send_request(request).await.map_err(unreachable)?;
            let status = answer.status();
            let location = answer.headers().get(LOCATION);
            let location = location.map(|place| String::from_utf8_lossy(place.as_bytes()).into_owned());
            let limited = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
            let body = limited.map_err(|error| match error.downcast::<LengthLimitError>() {
                Ok(_) => Failure::TooLarge,
                Err(other) => Failure::Unreachable(other),
            })?;
            Ok(Answer {
                status,
                location,
                body: body.to_bytes(),
            })
        };
        // The connection moves the bytes; it is polled here, so that nothing outlives the request.
        let mut conversation = std::pin::pin!(conversation);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            outcome = &mut conversation => outcome,
            _ = &mut connection => conversation.await,
        }
    }

    fn request(
        &self,
        node: &BaseUrl,
        method: &Method,
        path: &str,
        body: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", node.path))
            .header(HOST, node.authority.as_str())
            .header(USER_AGENT, concat!("tailrace/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, format!("{MEDIA_TYPE}, application/json;q=0.9"))
            .header(CONNECTION, "close");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, MEDIA_TYPE);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default().to_owned()));
        request.body(body).map_err(unreachable)
    }

    async fn connect(&self, node: &BaseUrl) -> Result<Box<dyn Stream>, Failure> {
        let tcp = TcpStream::connect((node.host(), node.port()))
            .await
            .map_err(unreachable)?;
        let Some(config) = self.tls.as_ref().filter(|_| node.is_tls) else {
            return Ok(Box::new(tcp));
        };
        let name = ServerName::try_from(node.host().to_owned()).map_err(unreachable)?;
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await;
        match handshake {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(from_handshake(error)),
        }
    }
}

fn unreachable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::Unreachable(error.into())
}

fn from_handshake(error: std::io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(error @ rustls::Error::InvalidCertificate(_)) => Failure::Certificate(error.clone()),
        _ => unreachable(error),
    }
}

/// A part of a path, with everything escaped that could end it.
pub(super) fn escaped(part: &str) -> impl fmt::Display {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_part_of_a_path_is_escaped() {
        assert_eq!(
            escaped("legacy.public.orders-value").to_string(),
            "legacy.public.orders-value"
        );
        assert_eq!(escaped("a/../b?c#d é").to_string(), "a%2F..%2Fb%3Fc%23d%20%C3%A9");
    }
}
