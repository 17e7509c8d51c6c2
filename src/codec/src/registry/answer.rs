//! What a registry's answer means, whatever it is.

use std::fmt;

use hyper::{Method, StatusCode};
use serde_json::Value;
use tailrace_core::{Error, Result};
use tailrace_http::{Answer, Failure};

/// Nobody answers.
pub(super) const UNREACHABLE: &str = "registry_unreachable";
/// It answers that it cannot now.
pub(super) const UNAVAILABLE: &str = "registry_unavailable";
/// It wants other credentials, or more rights.
pub(super) const UNAUTHORIZED: &str = "registry_unauthorized";
/// It sends us elsewhere.
pub(super) const REDIRECT: &str = "registry_redirect";
/// It is no registry, or says what no registry says.
pub(super) const INVALID: &str = "registry_answer_invalid";
/// Its certificate cannot be trusted.
pub(super) const CERTIFICATE: &str = "registry_certificate";
/// One number for two schemas.
pub(super) const WRONG_ID: &str = "registry_wrong_id";
/// The schema may not follow the ones before.
pub(super) const INCOMPATIBLE: &str = "schema_incompatible";
/// The registry does not take it for a schema, or takes none.
pub(crate) const REFUSED: &str = "schema_refused";
/// There is no schema of a number.
pub(super) const UNKNOWN: &str = "schema_unknown";

/// Far above any schema or list of versions, and small enough to be held.
pub(super) const ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// As much of a registry's own words as a sentence can hold.
const SHOWN_CHARACTERS: usize = 300;

/// An answer that is one of the API's.
#[derive(Debug)]
pub(super) enum Reply {
    /// The JSON that was asked for.
    Found(Value),
    /// 400, 404, 409 or 422 with the API's own error: whoever asked knows what it means.
    Refused(Refusal),
}

/// The API's own error.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// Confluent's five digits, of which the first three are the status; registries that imitate it give less.
    pub(super) code: i64,
    /// In the registry's words, shortened.
    pub(super) message: String,
}

/// What was asked, for sentences: `POST http://host/subjects/x`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a str,
}

/// An answer that came, judged.
///
/// # Errors
/// Transient `registry_unavailable`; definite `registry_unauthorized`, `registry_redirect`, `registry_answer_invalid`.
pub(super) fn judge(question: Question<'_>, answer: &Answer) -> Result<Reply> {
    let status = answer.status;
    let read: Option<Value> = serde_json::from_slice(&answer.body).ok();
    if status.is_success() {
        return read
            .map(Reply::Found)
            .ok_or_else(|| invalid(question, "its answer is not JSON"));
    }
    if status.is_redirection() {
        return Err(redirected(question, answer.location.as_deref()));
    }
    let refusal = read.and_then(|error| refusal(status, &error));
    let words = refusal.as_ref().map_or_else(
        || "without the API's own error".to_owned(),
        |refusal| format!("with \"{}\"", refusal.message),
    );
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            let message = format!(
                "{question} was refused with {status}, {words}; check `username` and `password` or `token`, and that they may \
                 read and register schemas"
            );
            Err(Error::definite(UNAUTHORIZED, message))
        }
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {
            refusal
                .map(Reply::Refused)
                .ok_or_else(|| invalid(question, &format!("it answered {status} {words}")))
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(unavailable(question, status, &words)),
        _ if status.is_server_error() => Err(unavailable(question, status, &words)),
        _ => Err(invalid(question, &format!("it answered {status} {words}"))),
    }
}

/// An answer that did not come.
pub(super) fn failed(question: Question<'_>, failure: Failure) -> Error {
    match failure {
        Failure::Unreachable(error) => {
            let message = format!(
                "{question}: the registry cannot be reached; start it, or correct its `url`: new schemas wait for it"
            );
            Error::transient(UNREACHABLE, message).with_source(error)
        }
        Failure::Slow(timeout) => {
            let message = format!(
                "{question} was not answered within {} ms; see what the registry is doing, or raise `timeout_ms`",
                timeout.as_millis()
            );
            Error::transient(UNREACHABLE, message)
        }
        Failure::TooLarge => invalid(question, &format!("its answer is larger than {ANSWER_BYTES} bytes")),
        Failure::Certificate(error) => {
            let message =
                format!("{question}: the registry's certificate is not to be trusted; give its authority as `ca_file`");
            Error::definite(CERTIFICATE, message).with_source(error)
        }
    }
}

/// What no registry says.
pub(super) fn invalid(question: Question<'_>, finding: &str) -> Error {
    let message = format!(
        "{question}: {finding}; check that `url` is the registry's API, with its path (Apicurio: `/apis/ccompat/v7`)"
    );
    Error::definite(INVALID, message)
}

fn unavailable(question: Question<'_>, status: StatusCode, words: &str) -> Error {
    let message = format!(
        "{question} was answered with {status}, {words}; see the registry's own log: it is asked again until it can"
    );
    Error::transient(UNAVAILABLE, message)
}

fn redirected(question: Question<'_>, location: Option<&str>) -> Error {
    let place = location.map_or_else(|| "nowhere".to_owned(), |place| format!("to \"{}\"", shown(place)));
    let message = format!(
        "{question} was redirected {place}; Tailrace follows no redirect, so that nobody else is asked or sent credentials: \
         set `url` to the registry itself"
    );
    Error::definite(REDIRECT, message)
}

fn refusal(status: StatusCode, error: &Value) -> Option<Refusal> {
    Some(Refusal {
        status,
        code: error.get("error_code")?.as_i64()?,
        message: shown(error.get("message").and_then(Value::as_str).unwrap_or_default()),
    })
}

/// Words from outside, in one line of bounded length.
pub(super) fn shown(words: &str) -> String {
    let is_plain = |letter: char| !letter.is_control();
    let mut text: String = words
        .chars()
        .map(|letter| if is_plain(letter) { letter } else { ' ' })
        .take(SHOWN_CHARACTERS)
        .collect();
    if words.chars().nth(SHOWN_CHARACTERS).is_some() {
        text.push('…');
    }
    text
}

// === impl Refusal ===

impl Refusal {
    /// No such subject, version or schema: 40401 to 40403, as opposed to a page that is not there.
    pub(super) fn is_not_there(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && (40401..=40403).contains(&self.code)
    }
}

// === impl Question ===

impl fmt::Display for Question<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method, self.url)
    }
}

#[cfg(test)]
mod tests {
    use hyper::body::Bytes;
    use tailrace_core::error::Kind;

    use super::*;

    fn answer(status: u16, body: &str) -> Result<Reply> {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            location: None,
            body: Bytes::from(body.to_owned()),
        };
        let question = Question {
            method: &Method::POST,
            url: "http://registry/subjects",
        };
        judge(question, &answer)
    }

    #[test]
    fn every_answer_has_a_meaning_and_names_the_url() {
        let html = "<html>Bad Gateway</html>";
        let own = r#"{"error_code": 50001, "message": "store\nfailed"}"#;
        for (status, body, kind, code) in [
            (200, html, Kind::Definite, INVALID),
            (200, "", Kind::Definite, INVALID),
            (301, "", Kind::Definite, REDIRECT),
            (307, "{}", Kind::Definite, REDIRECT),
            (401, own, Kind::Definite, UNAUTHORIZED),
            (403, html, Kind::Definite, UNAUTHORIZED),
            (404, html, Kind::Definite, INVALID),
            (409, html, Kind::Definite, INVALID),
            (418, "{}", Kind::Definite, INVALID),
            (429, own, Kind::Transient, UNAVAILABLE),
            (500, own, Kind::Transient, UNAVAILABLE),
            (502, html, Kind::Transient, UNAVAILABLE),
            (503, "", Kind::Transient, UNAVAILABLE),
        ] {
            let error = answer(status, body).unwrap_err();
            assert_eq!((error.kind(), error.code()), (kind, code), "{status} {body}: {error}");
            assert!(
                error.to_string().starts_with("POST http://registry/subjects"),
                "{error}"
            );
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn the_registrys_own_refusals_go_to_who_asked() {
        for (status, code) in [(404, 40401), (409, 409), (422, 42201), (400, 400)] {
            let body = format!(r#"{{"error_code": {code}, "message": "no"}}"#);
            let Reply::Refused(refusal) = answer(status, &body).unwrap() else {
                panic!("{status}");
            };
            assert_eq!((refusal.code, refusal.is_not_there()), (code, code == 40401));
        }
    }

    #[test]
    fn words_from_outside_are_shortened_to_one_line() {
        assert_eq!(shown("a\nb"), "a b");
        assert_eq!(shown(&"é".repeat(400)).chars().count(), SHOWN_CHARACTERS + 1);
    }
}
