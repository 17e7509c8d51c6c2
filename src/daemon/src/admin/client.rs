//! Asks the endpoint of a daemon that runs on this machine, as the configuration says that it listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Method;
use serde::Deserialize;
use tailrace_core::secret::Secret;
use tailrace_core::{Error, Result};
use tailrace_http::{ClientSettings, HttpClient, HttpRequest, HttpUrl, sensitive};

use super::access::first_token;
use super::config::AdminPlan;

/// Longer than the endpoint takes for any answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// An answer to a probe says one word; who takes longer is not well.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// A list of the largest letters that there may be.
const ANSWER_BYTES: usize = 256 << 20;
/// Who we are, where the files of tokens cannot be read.
const TOKEN: &str = "TAILRACE_TOKEN";
/// Who signed the endpoint's certificate, where the system does not know them.
const CA_FILE: &str = "TAILRACE_CA_FILE";

/// Where a daemon is asked, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct DaemonEndpoint {
    /// Without a `/` at its end.
    pub(crate) url: String,
    pub(crate) token: Option<Secret>,
    pub(crate) ca_file: Option<PathBuf>,
    timeout: Duration,
}

/// Why the daemon did nothing.
#[derive(Deserialize)]
struct Refusal {
    message: String,
    /// The second step of what destroys something.
    confirm: Option<String>,
}

// === impl DaemonEndpoint ===

impl DaemonEndpoint {
    /// The daemon of a configuration. A token is taken from `TAILRACE_TOKEN`, else from the first of its files that can be read, those
    /// of the highest role first.
    pub(crate) fn of(plan: &AdminPlan) -> Self {
        let scheme = if plan.tls.is_some() { "https" } else { "http" };
        let ip = reached(plan.listen.ip());
        let host = match (plan.hosts.first(), ip) {
            // The name that the certificate is for.
            (Some(name), _) if plan.tls.is_some() => name.clone(),
            (_, IpAddr::V6(ip)) => format!("[{ip}]"),
            (_, ip) => ip.to_string(),
        };
        let port = plan.listen.port();
        let url = match host.starts_with('[') || !host.contains(':') {
            true => format!("{scheme}://{host}:{port}"),
            false => format!("{scheme}://{host}"),
        };
        let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
        Self {
            url,
            token: token.or_else(|| first_token(&plan.tokens)).map(Secret::new),
            ca_file: std::env::var_os(CA_FILE).map(PathBuf::from),
            timeout: TIMEOUT,
        }
    }

    /// Where a daemon answers probes: everybody, in the clear, where there is an address for them; else where it answers everything.
    pub(crate) fn of_probes(plan: &AdminPlan) -> Self {
        match plan.probes_listen {
            Some(listen) => Self {
                url: format!("http://{}", SocketAddr::new(reached(listen.ip()), listen.port())),
                token: None,
                ca_file: None,
                timeout: PROBE_TIMEOUT,
            },
            None => Self {
                timeout: PROBE_TIMEOUT,
                ..Self::of(plan)
            },
        }
    }

    /// Whether the daemon answers a probe with success.
    ///
    /// # Errors
    /// Transient `daemon_unreachable`; transient `daemon_unwell` with what the daemon said.
    pub(crate) async fn probe(&self, path: &str) -> Result<()> {
        match self.exchange(&Method::GET, path).await? {
            Ok(_) => Ok(()),
            Err(refusal) => Err(Error::transient(
                "daemon_unwell",
                format!("{path}: {}; the daemon's log and `/status` say why", refusal.message),
            )),
        }
    }

    /// The body of the answer to a request without one. What takes two steps is confirmed: whoever runs a command has asked for it.
    ///
    /// # Errors
    /// Transient `daemon_unreachable`; definite `daemon_refused` with what the daemon said.
    pub(crate) async fn ask(&self, method: Method, path: &str) -> Result<String> {
        match self.exchange(&method, path).await? {
            Ok(body) => Ok(body),
            Err(Refusal {
                confirm: Some(token), ..
            }) => {
                let sign = if path.contains('?') { '&' } else { '?' };
                let confirmed = self.exchange(&method, &format!("{path}{sign}confirm={token}")).await?;
                confirmed.map_err(|refusal| Error::definite("daemon_refused", refusal.message))
            }
            Err(refusal) => Err(Error::definite("daemon_refused", refusal.message)),
        }
    }

    async fn exchange(&self, method: &Method, path: &str) -> Result<std::result::Result<String, Refusal>> {
        let url = HttpUrl::parse(&self.url)
            .and_then(HttpUrl::into_base)
            .map_err(|fault| Error::definite("daemon_unreachable", fault))?;
        let client = HttpClient::new(ClientSettings {
            is_tls: url.is_tls(),
            ca_file: self.ca_file.as_deref(),
            authorization: self
                .token
                .as_ref()
                .and_then(|token| sensitive(&format!("Bearer {}", token.expose()))),
            timeout: self.timeout,
            answer_bytes: Some(ANSWER_BYTES),
        })?;
        let request = HttpRequest {
            method,
            path,
            headers: &[],
            body: Bytes::new(),
        };
        let answer = client
            .send(&url, &request)
            .await
            .map_err(|failure| self.unreachable(&failure))?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status.is_success() {
            return Ok(Ok(body));
        }
        let refusal = serde_json::from_str(&body).unwrap_or_else(|_| Refusal {
            message: match body.trim() {
                "" => format!("the daemon at {} answers {}", self.url, answer.status),
                body => format!("the daemon at {} answers {}: {body}", self.url, answer.status),
            },
            confirm: None,
        });
        Ok(Err(refusal))
    }

    fn unreachable(&self, failure: &tailrace_http::Failure) -> Error {
        let message = format!(
            "no daemon answers at {} ({}); start it, or give the configuration that it runs with; {TOKEN} and {CA_FILE} say who asks and whose certificates are believed",
            self.url,
            in_words(failure)
        );
        Error::transient("daemon_unreachable", message)
    }
}

/// An endpoint that listens everywhere is reached from this machine.
fn reached(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

fn in_words(failure: &tailrace_http::Failure) -> String {
    use tailrace_http::Failure;
    match failure {
        Failure::Unreachable(error) => error.to_string(),
        Failure::Slow(timeout) => format!("no answer in {} s", timeout.as_secs()),
        Failure::TooLarge => "an answer that is too large".to_owned(),
        Failure::Certificate(error) => error.to_string(),
    }
}
