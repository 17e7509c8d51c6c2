//! One request and its answer.
//!
//! Redirects are not followed at all. Whom we ask is configured; whoever answers with another place could send the credentials there.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tailrace_core::Result;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls;
use crate::url::HttpUrl;

/// As large as a proxy's headers get.
const HEADER_BYTES: usize = 64 * 1024;

/// What a client is made of.
#[derive(Debug)]
pub struct ClientSettings<'a> {
    /// Whether anybody is asked over `https://`.
    pub is_tls: bool,
    /// Authorities that signed the certificates of others, PEM; the system's where there is none.
    pub ca_file: Option<&'a Path>,
    /// Who we are; see [`sensitive`].
    pub authorization: Option<HeaderValue>,
    /// From connecting to the last byte of the answer.
    pub timeout: Duration,
    /// As much of an answer's body as is taken; `None` where nobody wants to know it and none of it is read.
    pub answer_bytes: Option<usize>,
}

/// How others are spoken to.
#[derive(Debug)]
pub struct HttpClient {
    tls: Option<Arc<ClientConfig>>,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    answer_bytes: Option<usize>,
}

/// What is asked.
#[derive(Debug)]
pub struct HttpRequest<'a> {
    /// The verb.
    pub method: &'a Method,
    /// What follows the path of the URL: empty, or begins with `/` and is escaped.
    pub path: &'a str,
    /// Beside those that every request has.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// Empty where there is none.
    pub body: Bytes,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Where a redirect would lead.
    pub location: Option<String>,
    /// Empty where it was not wanted.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug)]
pub enum Failure {
    /// Nobody there, cut off, or no HTTP.
    Unreachable(Box<dyn std::error::Error + Send + Sync>),
    /// Longer than the timeout.
    Slow(Duration),
    /// More than is taken.
    TooLarge,
    /// Its certificate is not to be trusted.
    Certificate(rustls::Error),
}

/// Both kinds of connection.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

// === impl HttpClient ===

impl HttpClient {
    /// From settings alone; nobody is asked.
    ///
    /// # Errors
    /// Definite `tls_config` where certificates cannot be read.
    pub fn new(settings: ClientSettings<'_>) -> Result<Self> {
        let tls = settings
            .is_tls
            .then(|| tls::client_config(settings.ca_file))
            .transpose()?;
        Ok(Self {
            tls,
            authorization: settings.authorization,
            timeout: settings.timeout,
            answer_bytes: settings.answer_bytes,
        })
    }

    /// Asks once.
    ///
    /// # Errors
    /// Whatever status comes back is an answer; where none comes, why.
    pub async fn send(&self, url: &HttpUrl, request: &HttpRequest<'_>) -> std::result::Result<Answer, Failure> {
        let exchange = Box::pin(self.exchange(url, request));
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Slow(self.timeout)),
        }
    }

    async fn exchange(&self, url: &HttpUrl, request: &HttpRequest<'_>) -> std::result::Result<Answer, Failure> {
        let request = self.request(url, request)?;
        let stream = self.connect(url).await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEADER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(unreachable)?;
        let conversation = async {
            let answer = sender.send_request(request).await.map_err(unreachable)?;
            self.read(answer).await
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

    async fn read(&self, answer: Response<Incoming>) -> std::result::Result<Answer, Failure> {
        let status = answer.status();
        let location = answer.headers().get(LOCATION);
        let location = location.map(|place| String::from_utf8_lossy(place.as_bytes()).into_owned());
        let body = match self.answer_bytes {
            Some(limit) => {
                let limited = Limited::new(answer.into_body(), limit).collect().await;
                let body = limited.map_err(|error| match error.downcast::<LengthLimitError>() {
                    Ok(_) => Failure::TooLarge,
                    Err(other) => Failure::Unreachable(other),
                })?;
                body.to_bytes()
            }
            None => Bytes::new(),
        };
        Ok(Answer { status, location, body })
    }

    fn request(&self, url: &HttpUrl, wanted: &HttpRequest<'_>) -> std::result::Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(wanted.method)
            .uri(url.target(wanted.path))
            .header(HOST, url.authority())
            .header(USER_AGENT, concat!("tailrace/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close");
        for (name, value) in wanted.headers {
            request = request.header(name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(wanted.body.clone())).map_err(unreachable)
    }

    async fn connect(&self, url: &HttpUrl) -> std::result::Result<Box<dyn Stream>, Failure> {
        let tcp = TcpStream::connect((url.host(), url.port()))
            .await
            .map_err(unreachable)?;
        let Some(config) = self.tls.as_ref().filter(|_| url.is_tls()) else {
            return Ok(Box::new(tcp));
        };
        let name = ServerName::try_from(url.host().to_owned()).map_err(unreachable)?;
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

/// A header's value that no log shows; `None` where no header may hold it.
pub fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A part of a path, with everything escaped that could end it.
pub fn escaped(part: &str) -> impl fmt::Display {
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

    #[test]
    fn a_sensitive_header_is_not_shown() {
        let value = sensitive("Bearer hunter2").unwrap();
        assert!(!format!("{value:?}").contains("hunter2"));
        assert_eq!(sensitive("Bearer hunter2\n"), None);
    }
}
