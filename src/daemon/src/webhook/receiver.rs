//! Whoever is told: where it is, and what its answers mean.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::schema_change::SchemaChangeNotice;
use tailrace_core::secret::Secret;
use tailrace_core::setting::LocalFile;
use tailrace_http::{ClientSettings, Failure, HttpClient, HttpRequest, HttpUrl, sensitive};

use super::{Post, Unsent};

/// A receiver answers when it has written the change down; a slow one within a second.
const TIMEOUT_MS: u64 = 10_000;
/// Under which a receiver recognises what it was told before.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// What is told: the record's value.
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/json");

/// A receiver that each change of a table's definition is posted to, when its record is durable.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookConfig {
    /// Where changes are posted, `http://` or `https://`. Only its host is ever shown: paths of webhooks are often secret. A name and
    /// password do not stand in it.
    pub(crate) url: Secret,
    /// Token for bearer authentication.
    #[serde(default)]
    pub(crate) token: Option<Secret>,
    /// Authorities that signed the receiver's certificate, PEM. Default: the system's.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub(crate) ca_file: Option<PathBuf>,
    /// How long one answer may take, from connecting, milliseconds. Default: 10000.
    #[serde(default = "timeout_ms")]
    #[schemars(range(min = 1))]
    pub(crate) timeout_ms: u64,
}

/// A receiver as configured.
#[derive(Debug)]
pub(crate) struct Receiver {
    url: HttpUrl,
    client: HttpClient,
}

fn timeout_ms() -> u64 {
    TIMEOUT_MS
}

// === impl Receiver ===

impl Receiver {
    /// From configuration alone; nobody is asked.
    ///
    /// # Errors
    /// The key that is wrong, and a sentence.
    pub(crate) fn new(config: &WebhookConfig) -> Result<Self, (&'static str, String)> {
        let url = HttpUrl::parse(config.url.expose()).map_err(|problem| {
            let remedy = "write `http://host:port/path` or `https://host/path`, and credentials as `token`";
            ("url", format!("{problem}; {remedy}"))
        })?;
        let authorization = match &config.token {
            Some(token) => Some(sensitive(&format!("Bearer {}", token.expose())).ok_or_else(|| {
                let sentence = "it has characters that no header may hold; check where it comes from: a line break at its end is the \
                                usual reason";
                ("token", sentence.to_owned())
            })?),
            None => None,
        };
        if config.timeout_ms == 0 {
            return Err((
                "timeout_ms",
                "nothing is answered within 0 ms; write at least 1".to_owned(),
            ));
        }
        if config.ca_file.is_some() && !url.is_tls() {
            let sentence = "it is given and `url` is not `https://`; leave it out, or use https";
            return Err(("ca_file", sentence.to_owned()));
        }
        let client = HttpClient::new(ClientSettings {
            is_tls: url.is_tls(),
            ca_file: config.ca_file.as_deref(),
            authorization,
            timeout: Duration::from_millis(config.timeout_ms),
            // The status says all; and a body may hold what was sent, the token included.
            answer_bytes: None,
        });
        let client = client.map_err(|error| ("ca_file", error.report()))?;
        Ok(Self { url, client })
    }
}

#[async_trait]
impl Post for Receiver {
    async fn post(&self, notice: &SchemaChangeNotice) -> Result<(), Unsent> {
        let key = HeaderValue::from_str(&header_text(&notice.event_id));
        let key = key.unwrap_or_else(|_| HeaderValue::from_static(""));
        let request = HttpRequest {
            method: &Method::POST,
            path: "",
            headers: &[(CONTENT_TYPE, MEDIA_TYPE), (IDEMPOTENCY_KEY, key)],
            body: notice.document.clone().into(),
        };
        match self.client.send(&self.url, &request).await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(answered(answer.status)),
            Err(failure) => Err(unanswered(&failure)),
        }
    }

    fn address(&self) -> String {
        self.url.origin()
    }
}

/// An event id as a header holds it: what is not visible ASCII is percent-encoded, as is the percent sign.
fn header_text(event_id: &str) -> String {
    let mut text = String::with_capacity(event_id.len());
    for byte in event_id.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// An answer that is no success.
fn answered(status: StatusCode) -> Unsent {
    let (is_refusal, remedy) = match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            (false, "see why the receiver is busy")
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            (true, "check `schema_changes.webhook.token`, and what it may do")
        }
        _ if status.is_redirection() => (
            true,
            "no redirect is followed, so that nobody else is sent the token: set `schema_changes.webhook.url` to the receiver itself",
        ),
        _ if status.is_server_error() => (false, "see the receiver's own log"),
        _ => (
            true,
            "check `schema_changes.webhook.url`, and that a JSON document may be posted there",
        ),
    };
    Unsent {
        status: Some(status.as_u16()),
        is_refusal,
        reason: format!("it answered {status}"),
        remedy,
    }
}

/// No answer.
fn unanswered(failure: &Failure) -> Unsent {
    let (reason, remedy) = match failure {
        Failure::Unreachable(error) => (
            format!("it cannot be reached ({error})"),
            "start the receiver, or correct `schema_changes.webhook.url`",
        ),
        Failure::Slow(timeout) => (
            format!("it did not answer within {} ms", timeout.as_millis()),
            "see what the receiver is doing, or raise `schema_changes.webhook.timeout_ms`",
        ),
        Failure::TooLarge => ("its answer is too large".to_owned(), "see the receiver's own log"),
        Failure::Certificate(error) => (
            format!("its certificate is not to be trusted ({error})"),
            "give its authority as `schema_changes.webhook.ca_file`",
        ),
    };
    Unsent {
        status: None,
        is_refusal: false,
        reason,
        remedy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> WebhookConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_wrong_is_said_of_its_key_and_without_secrets() {
        for (text, key, problem) in [
            (r#"{"url": "hooks/hunter2"}"#, "url", "is no URL"),
            (r#"{"url": "/hunter2"}"#, "url", "lacks its scheme or host"),
            (r#"{"url": "ftp://h/hunter2"}"#, "url", "begins with `ftp://`"),
            (
                r#"{"url": "http://u:hunter2@h/x"}"#,
                "url",
                "holds a name or a password",
            ),
            (r#"{"url": "http://h", "token": "hunter2\n"}"#, "token", "line break"),
            (r#"{"url": "http://h", "timeout_ms": 0}"#, "timeout_ms", "at least 1"),
            (r#"{"url": "http://h", "ca_file": "ca.pem"}"#, "ca_file", "use https"),
            (
                r#"{"url": "https://h", "ca_file": "/nowhere.pem"}"#,
                "ca_file",
                "cannot read /nowhere.pem",
            ),
        ] {
            let (found, sentence) = Receiver::new(&read(text)).unwrap_err();
            assert_eq!(found, key, "{text}: {sentence}");
            assert!(
                sentence.contains(problem) && sentence.contains("; "),
                "{text}: {sentence}"
            );
            assert!(!sentence.contains("hunter2"), "{sentence}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let config = read(r#"{"url": "http://hooks.example/T0/hunter2?key=hunter2", "token": "hunter2"}"#);
        let receiver = Receiver::new(&config).unwrap();
        let shown = format!("{config:?} {receiver:?} {}", receiver.address());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(receiver.address(), "http://hooks.example");
    }

    #[test]
    fn an_answer_refuses_or_cannot_take_it_now() {
        for (status, is_refusal) in [
            (301, true),
            (307, true),
            (400, true),
            (401, true),
            (404, true),
            (408, false),
            (410, true),
            (425, false),
            (429, false),
            (500, false),
            (503, false),
        ] {
            let unsent = answered(StatusCode::from_u16(status).unwrap());
            assert_eq!(
                (unsent.status, unsent.is_refusal),
                (Some(status), is_refusal),
                "{unsent:?}"
            );
        }
        let unsent = unanswered(&Failure::Slow(Duration::from_millis(7)));
        assert_eq!((unsent.status, unsent.is_refusal), (None, false));
        assert_eq!(unsent.reason, "it did not answer within 7 ms");
    }

    #[test]
    fn any_event_id_is_a_header() {
        assert_eq!(header_text("pg-7:public.orders:2"), "pg-7:public.orders:2");
        assert_eq!(header_text("ü 100%\n"), "%C3%BC%20100%25%0A");
    }
}
