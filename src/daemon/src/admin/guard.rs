//! What every request must pass, before anything is looked up: host, origin, who it is, and a body that is small and comes in time.
//!
//! A browser that was led here by a foreign page sends that page's host (DNS rebinding) or origin (CSRF). Nothing here reads a cookie, so
//! that no page can borrow who somebody is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HOST, HeaderName, ORIGIN, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Shown;
use super::answer::{Refused, refuse};

/// A connector with a hundred tables has some kilobytes.
const BODY_BYTES: usize = 64 * 1024;
/// Who sends so little for so long is not one of ours.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than a stop takes, for those requests that wait for one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);
/// Wrong tokens from one address before it has to wait.
const FAILURES_MAXIMUM: u32 = 20;
/// For how long wrong tokens are remembered.
const FAILURES_WINDOW: Duration = Duration::from_secs(10);
/// Addresses that are remembered; more than these share one count.
const ADDRESSES_REMEMBERED: usize = 1024;

const FETCH_DESTINATION: HeaderName = HeaderName::from_static("sec-fetch-dest");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who a connection comes from.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    /// Names of the certificate that it showed, as far as they are known here.
    pub(super) certificate_names: Vec<String>,
    /// It speaks TLS.
    pub(super) is_encrypted: bool,
}

/// Wrong tokens, by address.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<IpAddr, (u32, Instant)>>);

/// Refuses what no operator sends, says who asks, and sets the headers of every answer.
pub(super) async fn guard(State(shown): State<Shown>, request: Request, next: Next) -> Response {
    let answer = match admit(&shown, request).await {
        Ok(request) => match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
            Ok(answer) => answer,
            // In the words of Kafka Connect.
            Err(_) => refuse(
                500,
                "timed_out",
                "Request timed out; what was asked for may still happen",
            )
            .into_response(),
        },
        Err(refused) => refused.into_response(),
    };
    with_headers(answer)
}

async fn admit(shown: &Shown, request: Request) -> Result<Request, Refused> {
    let headers = request.headers();
    let peer = request.extensions().get::<Peer>().cloned();
    let peer = peer.ok_or_else(|| refuse(500, "internal", "the connection is not known"))?;
    let host = host(headers, shown)?;
    same_origin(headers, &host, peer.is_encrypted)?;
    let authorization = single(headers, &AUTHORIZATION)?;
    let caller = shown.access.caller(&peer.certificate_names, authorization);
    let is_public = is_public(&request);
    if caller.is_none() && authorization.is_some() {
        // Who has the right one does not wait for others behind the same address.
        if shown.failures.must_wait(peer.address) {
            return Err(refuse(
                429,
                "too_many_failures",
                "too many wrong tokens from this address; wait ten seconds",
            ));
        }
        shown.failures.count(peer.address);
    }
    if caller.is_none() && !is_public {
        let refused = refuse(401, "unauthorized", "Unauthorized");
        return Err(refused.header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
    }
    let mut request = with_body(request).await?;
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    Ok(request)
}

/// The console's page holds nothing but itself, and asks for a token.
fn is_public(request: &Request) -> bool {
    request.method() == Method::GET && request.uri().path() == "/" && wants_page(request.headers())
}

/// A browser that opens the address, and not a program: Java's `HttpURLConnection` asks for `text/html` too. Browsers say so themselves, but
/// for those that came over the network in the clear; all of them know XHTML.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match text(&FETCH_DESTINATION) {
        Some(destination) => destination == "document",
        None => text(&ACCEPT).is_some_and(|accept| accept.contains("application/xhtml+xml")),
    }
}

/// A header that is there once at the most.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refused> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(refuse(
            400,
            "header_repeated",
            format!("the header {name} is there twice"),
        ));
    }
    match first.map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => Err(refuse(400, "header_invalid", format!("the header {name} is not ASCII"))),
    }
}

/// The host that is asked for, which must be one of our names.
fn host(headers: &HeaderMap, shown: &Shown) -> Result<String, Refused> {
    let elsewhere = || {
        refuse(
            421,
            "misdirected",
            "this is not the host that was asked for; add it to `admin.hosts`",
        )
    };
    let host = single(headers, &HOST)?.ok_or_else(elsewhere)?;
    let port = shown.address.port();
    let own = [
        shown.address.to_string(),
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
    ];
    let given = shown.hosts.iter().map(|name| match name.contains(':') {
        true => name.clone(),
        false => format!("{name}:{port}"),
    });
    // A name on the usual port of its scheme is sent without it, as behind a proxy.
    let bare = shown.hosts.iter().cloned();
    let mut names = own.into_iter().chain(given).chain(bare);
    match names.any(|name| name.eq_ignore_ascii_case(host)) {
        true => Ok(host.to_owned()),
        false => Err(elsewhere()),
    }
}

/// Pages of this endpoint may ask, others may not; programs send neither header.
fn same_origin(headers: &HeaderMap, host: &str, is_encrypted: bool) -> Result<(), Refused> {
    let foreign = || Err(refuse(403, "foreign_origin", "pages of another origin may not ask"));
    let scheme = if is_encrypted { "https" } else { "http" };
    if let Some(origin) = single(headers, &ORIGIN)?
        && !origin.eq_ignore_ascii_case(&format!("{scheme}://{host}"))
    {
        return foreign();
    }
    match single(headers, &FETCH_SITE)? {
        None | Some("none" | "same-origin") => Ok(()),
        // A link to the page itself may be followed from anywhere.
        Some(_) if wants_page(headers) && !headers.contains_key(ORIGIN) => Ok(()),
        Some(_) => foreign(),
    }
}

/// The request with its whole body, which is small, came in time, and is what it says.
async fn with_body(request: Request) -> Result<Request, Refused> {
    let too_large = || refuse(413, "body_too_large", format!("a body has at most {BODY_BYTES} bytes"));
    let headers = request.headers();
    let announced = single(headers, &CONTENT_LENGTH)?.and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > u64::try_from(BODY_BYTES).unwrap_or(u64::MAX)) {
        return Err(too_large());
    }
    if single(headers, &CONTENT_ENCODING)?.is_some_and(|encoding| encoding != "identity") {
        return Err(refuse(
            415,
            "body_encoded",
            "bodies are taken as they are, not compressed",
        ));
    }
    let (head, body) = request.into_parts();
    let read = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES)).await;
    let bytes = match read {
        Err(_) => return Err(refuse(408, "body_timed_out", "the body did not come in time")),
        Ok(Err(_)) => return Err(too_large()),
        Ok(Ok(bytes)) => bytes,
    };
    if !bytes.is_empty() && !is_json(single(&head.headers, &CONTENT_TYPE)?) {
        return Err(refuse(415, "body_not_json", "send `Content-Type: application/json`"));
    }
    Ok(Request::from_parts(head, Body::from(bytes)))
}

/// `application/json`, and what Confluent's clients of registries say.
fn is_json(content_type: Option<&str>) -> bool {
    let essence = content_type.and_then(|content_type| content_type.split(';').next());
    essence.is_some_and(|essence| {
        let essence = essence.trim().to_ascii_lowercase();
        essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
    })
}

fn with_headers(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'"));
    answer
}

// === impl Failures ===

impl Failures {
    fn must_wait(&self, address: IpAddr) -> bool {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = failures.get(&address);
        known.is_some_and(|(count, since)| *count >= FAILURES_MAXIMUM && since.elapsed() < FAILURES_WINDOW)
    }

    fn count(&self, address: IpAddr) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES_REMEMBERED {
            failures.retain(|_, (_, since)| since.elapsed() < FAILURES_WINDOW);
        }
        if failures.len() >= ADDRESSES_REMEMBERED && !failures.contains_key(&address) {
            return;
        }
        let (count, since) = failures.entry(address).or_insert((0, Instant::now()));
        if since.elapsed() >= FAILURES_WINDOW {
            (*count, *since) = (0, Instant::now());
        }
        *count += 1;
    }
}
