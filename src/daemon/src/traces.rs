//! Sends spans to a collector of traces: OTLP over HTTP, in protobuf, beside the path of the events.
//!
//! ```text
//!   pipelines ─ spans ─▶ queue (bounded) ─▶ one task ─ POST ─▶ collector
//!                └ full: dropped, counted            └ no answer: again a few times, then dropped and counted
//! ```
//!
//! Capture never waits for it, and traces that are lost are no changes that are lost.

mod otlp;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::backoff::Backoff;
use tailrace_core::secret::Secret;
use tailrace_core::setting::LocalFile;
use tailrace_core::task::spawn_named;
use tailrace_core::telemetry::metrics::SpanNumbers;
use tailrace_core::trace::{Span, Tracer};
use tailrace_http::{Answer, ClientSettings, Failure, HttpClient, HttpRequest, HttpUrl, sensitive};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Spans that wait for the collector, of some 300 bytes each.
const QUEUE_SPANS: usize = 4096;
/// Of one request; what collectors are used to.
const SPANS_PER_REQUEST: usize = 512;
/// How long a request waits until it is full.
const GATHERING: Duration = Duration::from_secs(1);
/// A collector that is started anew is back within the seconds that their waits take; spans are not worth more.
const ATTEMPTS: u32 = 5;
/// From connecting to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What a stop gives to the spans that are left.
const FAREWELL: Duration = Duration::from_secs(2);
/// An answer says how many spans were refused, and why.
const ANSWER_BYTES: usize = 64 * 1024;
/// Where collectors listen, by OTLP's specification.
const USUAL_PATH: &str = "/v1/traces";
/// One batch in a hundred says where the time goes, and nobody pays for it.
const SAMPLE_RATIO: f64 = 0.01;

/// OpenTelemetry: where the time of batches goes, and the spans of events whose outbox row brings a trace.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TracesConfig {
    /// Where a collector takes traces as OTLP over HTTP, `http://` or `https://`; without a path `/v1/traces` is meant.
    pub(crate) url: String,
    /// What else the collector wants to be sent, by the headers' names: mostly credentials.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Secret>,
    /// Authorities that signed the collector's certificate, PEM. Default: the system's.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The share of batches that are traced, from 0 to 1. Events that bring a trace are traced where their trace is kept, whatever
    /// stands here. Default: 0.01.
    #[serde(default = "sample_ratio")]
    #[schemars(range(min = 0, max = 1))]
    pub(crate) sample_ratio: f64,
    /// What the process is called in traces. Default: `tailrace`.
    #[serde(default = "service_name")]
    pub(crate) service_name: String,
}

/// A collector as configured.
#[derive(Debug)]
pub(crate) struct Collector {
    url: HttpUrl,
    client: HttpClient,
    headers: Vec<(HeaderName, HeaderValue)>,
    sample_ratio: f64,
    service_name: String,
}

/// The task that sends spans.
#[derive(Debug)]
pub(crate) struct Exporter {
    tracer: Tracer,
    sent: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What the metrics know of it.
#[derive(Debug, Clone)]
pub(crate) struct SpanCounts {
    tracer: Tracer,
    sent: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

/// The end of the queue that is read.
struct Desk {
    collector: Arc<Collector>,
    spans: mpsc::Receiver<Span>,
    sent: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    /// Said once, until it works again.
    is_failing: bool,
}

/// Why spans were not taken.
struct Unsent {
    may_be_cured: bool,
    reason: String,
}

fn sample_ratio() -> f64 {
    SAMPLE_RATIO
}

fn service_name() -> String {
    "tailrace".to_owned()
}

// === impl Collector ===

impl Collector {
    /// From configuration alone; nobody is asked.
    ///
    /// # Errors
    /// The key that is wrong, and a sentence.
    pub(crate) fn new(config: &TracesConfig) -> Result<Self, (&'static str, String)> {
        let url = HttpUrl::parse(&config.url)
            .and_then(HttpUrl::into_base)
            .map_err(|problem| {
                let remedy = "write `http://host:4318/v1/traces`, and credentials as `headers`";
                ("url", format!("{problem}; {remedy}"))
            })?;
        if !(0.0..=1.0).contains(&config.sample_ratio) {
            let sentence = format!("{} is no share; write a number from 0 to 1", config.sample_ratio);
            return Err(("sample_ratio", sentence));
        }
        if config.ca_file.is_some() && !url.is_tls() {
            let sentence = "it is given and `url` is not `https://`; leave it out, or use https";
            return Err(("ca_file", sentence.to_owned()));
        }
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))];
        for (name, value) in &config.headers {
            headers.push(header(name, value).map_err(|sentence| ("headers", sentence))?);
        }
        let client = HttpClient::new(ClientSettings {
            is_tls: url.is_tls(),
            ca_file: config.ca_file.as_deref(),
            authorization: None,
            timeout: TIMEOUT,
            answer_bytes: Some(ANSWER_BYTES),
        });
        Ok(Self {
            client: client.map_err(|error| ("ca_file", error.report()))?,
            url,
            headers,
            sample_ratio: config.sample_ratio,
            service_name: config.service_name.clone(),
        })
    }

    /// Sends spans once; how many of them the collector refused.
    async fn send(&self, body: Vec<u8>) -> Result<u64, Unsent> {
        let request = HttpRequest {
            method: &Method::POST,
            path: if self.url.has_path() { "" } else { USUAL_PATH },
            headers: &self.headers,
            body: body.into(),
        };
        match self.client.send(&self.url, &request).await {
            Ok(answer) => answered(&answer),
            Err(failure) => Err(unanswered(&failure)),
        }
    }
}

fn header(name: &str, value: &Secret) -> Result<(HeaderName, HeaderValue), String> {
    let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no name of a header"))?;
    let value = sensitive(value.expose()).ok_or_else(|| {
        format!(
            "the value of `{name}` has characters that no header may hold; check where it comes from: a line break at its end is the \
             usual reason"
        )
    })?;
    Ok((known, value))
}

fn answered(answer: &Answer) -> Result<u64, Unsent> {
    if answer.status.is_success() {
        return Ok(otlp::refused(&answer.body));
    }
    // The statuses that OTLP lets be tried again.
    let may_be_cured = matches!(
        answer.status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    Err(Unsent {
        may_be_cured,
        reason: format!("it answered {}; check `traces.url` and `traces.headers`", answer.status),
    })
}

fn unanswered(failure: &Failure) -> Unsent {
    let reason = match failure {
        Failure::Unreachable(error) => {
            format!("it cannot be reached ({error}); start the collector, or correct `traces.url`")
        }
        Failure::Slow(timeout) => format!("it did not answer within {} s", timeout.as_secs()),
        Failure::TooLarge => "its answer is too large; check that `traces.url` is a collector's".to_owned(),
        Failure::Certificate(error) => {
            format!("its certificate is not to be trusted ({error}); give its authority as `traces.ca_file`")
        }
    };
    Unsent {
        may_be_cured: true,
        reason,
    }
}

// === impl Exporter ===

impl Exporter {
    /// Starts the task.
    pub(crate) fn start(collector: Arc<Collector>) -> Self {
        let (queue, spans) = mpsc::channel(QUEUE_SPANS);
        let tracer = Tracer::new(queue, collector.sample_ratio);
        let (sent, refused) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (end, ended) = oneshot::channel();
        let desk = Desk {
            collector,
            spans,
            sent: Arc::clone(&sent),
            refused: Arc::clone(&refused),
            is_failing: false,
        };
        let task = spawn_named("traces", desk.work(ended));
        Self {
            tracer,
            sent,
            refused,
            end,
            task,
        }
    }

    /// Where spans go.
    pub(crate) fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// What the metrics read.
    pub(crate) fn counts(&self) -> SpanCounts {
        SpanCounts {
            tracer: self.tracer.clone(),
            sent: Arc::clone(&self.sent),
            refused: Arc::clone(&self.refused),
        }
    }

    /// Sends what is left, within bounds, and ends.
    pub(crate) async fn finish(mut self) {
        // Nobody hears it where the task has ended.
        let _ended_before = self.end.send(());
        if tokio::time::timeout(FAREWELL, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("the last spans were not sent: the collector of traces does not answer");
        }
    }
}

// === impl SpanCounts ===

impl SpanCounts {
    /// As the metrics have it.
    pub(crate) fn numbers(&self) -> SpanNumbers {
        SpanNumbers {
            sent: self.sent.load(Ordering::Relaxed),
            dropped: self.refused.load(Ordering::Relaxed) + self.tracer.dropped(),
        }
    }
}

// === impl Desk ===

impl Desk {
    async fn work(mut self, mut ended: oneshot::Receiver<()>) {
        loop {
            let mut gathered = Vec::with_capacity(SPANS_PER_REQUEST);
            let is_last = tokio::select! {
                () = self.gather(&mut gathered) => false,
                _ = &mut ended => true,
            };
            if is_last {
                self.spans.close();
                // Closed, it gives what it holds and then ends.
                while self.spans.recv_many(&mut gathered, SPANS_PER_REQUEST).await > 0 {}
            }
            for some in gathered.chunks(SPANS_PER_REQUEST) {
                self.export(some).await;
            }
            if is_last {
                return;
            }
        }
    }

    /// Waits for spans, and a moment for more. What was gathered stays where the wait is given up.
    async fn gather(&mut self, gathered: &mut Vec<Span>) {
        if self.spans.recv_many(gathered, SPANS_PER_REQUEST).await == 0 {
            // Every pipeline is gone; the end is near.
            return std::future::pending().await;
        }
        let until = tokio::time::Instant::now() + GATHERING;
        while gathered.len() < SPANS_PER_REQUEST {
            let room = SPANS_PER_REQUEST - gathered.len();
            match tokio::time::timeout_at(until, self.spans.recv_many(gathered, room)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    async fn export(&mut self, spans: &[Span]) {
        let body = otlp::request(&self.collector.service_name, spans);
        let mut backoff = Backoff::default();
        for attempt in 1..=ATTEMPTS {
            match self.collector.send(body.clone()).await {
                Ok(refused) => {
                    let refused = refused.min(number(spans));
                    self.sent.fetch_add(number(spans) - refused, Ordering::Relaxed);
                    self.refused.fetch_add(refused, Ordering::Relaxed);
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!("the collector of traces takes spans again");
                    }
                    return;
                }
                Err(unsent) => {
                    self.tell(&unsent);
                    if !unsent.may_be_cured || attempt == ATTEMPTS {
                        break;
                    }
                }
            }
            // As OTLP asks: a collector that cannot take more is left alone, longer each time.
            tokio::time::sleep(backoff.next_wait()).await;
        }
        self.refused.fetch_add(number(spans), Ordering::Relaxed);
    }

    fn tell(&mut self, unsent: &Unsent) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let collector = self.collector.url.origin();
            tracing::warn!(
                code = "traces_unsent",
                collector,
                "spans are not sent: {}",
                unsent.reason
            );
        }
    }
}

fn number(spans: &[Span]) -> u64 {
    u64::try_from(spans.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
