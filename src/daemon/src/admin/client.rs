//! Asks the endpoint of a daemon that runs on this machine.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header::HOST};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tailrace_core::{Error, Result};
use tokio::net::TcpStream;

/// Longer than the endpoint takes for any answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// A list of the largest letters that there may be.
const ANSWER_BYTES: usize = 256 << 20;

/// Why the daemon did nothing.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// The body of the answer to a request without one.
///
/// # Errors
/// Transient `daemon_unreachable`; definite `daemon_refused` with what the daemon said.
pub(crate) async fn ask(address: SocketAddr, method: Method, path: &str) -> Result<String> {
    let (status, body) = match tokio::time::timeout(TIMEOUT, exchange(address, method, path)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(unreachable(address).with_source(error)),
        Err(_) => return Err(unreachable(address)),
    };
    if status.is_success() {
        return Ok(body);
    }
    let message = match serde_json::from_str(&body) {
        Ok(Refusal { message }) => message,
        Err(_) => format!("the daemon at http://{address} answers {status}: {body}"),
    };
    Err(Error::definite("daemon_refused", message))
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(
    address: SocketAddr,
    method: Method,
    path: &str,
) -> std::result::Result<(hyper::StatusCode, String), Failure> {
    let socket = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let request = Request::builder().method(method).uri(path);
    let request = request.header(HOST, address.to_string()).body(Body::empty())?;
    let answered = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES).await?;
        Ok::<_, Failure>((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let (answered, connection) = tokio::join!(answered, connection);
    // The endpoint closes after each answer, also before it has read all.
    drop(connection);
    answered
}

fn unreachable(address: SocketAddr) -> Error {
    let message = format!(
        "the state is in use, and no daemon answers at http://{address}; give the configuration that the daemon runs with, or stop \
         whatever holds the state"
    );
    Error::transient("daemon_unreachable", message)
}
