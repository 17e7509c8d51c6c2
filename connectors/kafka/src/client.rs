//! What every librdkafka client of ours shares: its log lines, and the newest thing that it complained about.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::Level;

use crate::error::{Class, Cluster, Failure, code_of};

/// Where librdkafka's log lines go; `RUST_LOG=librdkafka=debug` together with the property `debug` shows its inside.
const LOG_TARGET: &str = "librdkafka";

/// librdkafka's name for log lines about a connection that failed or was closed.
const FAILED_CONNECTION: &str = "FAIL";

/// A cluster that answers at all does so within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// When every broker has failed once, so much longer is waited: a name may have a second address that works, and
/// librdkafka tries one after the other.
const SECOND_ADDRESS: Duration = Duration::from_secs(2);

/// How long librdkafka is asked at a time.
pub(crate) const CONNECT_POLL: Duration = Duration::from_millis(50);

/// Gathers what one librdkafka client says about its brokers.
///
/// "All brokers down" is all that a caller is told when nothing answers. Why — refused, not resolved, not
/// authenticated — was said earlier, in an error of one broker; so the newest of those is kept.
#[derive(Debug)]
pub(crate) struct Complaints {
    secrets: Vec<String>,
    newest: Mutex<Option<Complaint>>,
    all_down: AtomicBool,
}

/// One complaint about a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// Which error.
    pub code: RDKafkaErrorCode,
    /// In librdkafka's words, which name host and port.
    pub text: String,
}

/// Waits until some broker has told the cluster's id, which comes with the first answer of all. `ask` serves the
/// client's events and asks for [`CONNECT_POLL`]; `stop` gives up early.
pub(crate) fn await_cluster(
    cluster: &Cluster,
    complaints: &Complaints,
    mut ask: impl FnMut() -> bool,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let since = Instant::now();
    while !ask() {
        let newest = complaints.newest();
        let refused = newest
            .as_ref()
            .is_some_and(|complaint| Class::of(complaint.code) == Class::Authentication);
        let patience = if complaints.all_down() {
            SECOND_ADDRESS
        } else {
            CONNECT_TIMEOUT
        };
        if refused || since.elapsed() >= patience || stop.load(Ordering::Acquire) {
            let code = newest.map_or(RDKafkaErrorCode::OperationTimedOut, |complaint| complaint.code);
            return Err(cluster.failure(code, None, &complaints.text()));
        }
    }
    Ok(())
}

/// A line without the thread's name before it and the connection's state behind it.
fn essence(line: &str) -> &str {
    let line = line
        .strip_prefix("[thrd:")
        .and_then(|rest| rest.split_once("]: "))
        .map_or(line, |(_, rest)| rest);
    line.rsplit_once(" (after ").map_or(line, |(before, _)| before)
}

/// How much librdkafka shall say, which is decided when a client is made.
pub(crate) fn native_log_level() -> RDKafkaLogLevel {
    if tracing::enabled!(target: LOG_TARGET, Level::DEBUG) {
        RDKafkaLogLevel::Debug
    } else {
        RDKafkaLogLevel::Info
    }
}

// === impl Complaints ===

impl Complaints {
    /// Nothing was said yet. `secrets` are taken out of every line, although librdkafka does not print them.
    pub(crate) fn new(secrets: Vec<String>) -> Self {
        Self {
            secrets,
            newest: Mutex::new(None),
            all_down: AtomicBool::new(false),
        }
    }

    /// The newest complaint.
    pub(crate) fn newest(&self) -> Option<Complaint> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest complaint in words; empty where nothing was said.
    pub(crate) fn text(&self) -> String {
        self.newest().map(|complaint| complaint.text).unwrap_or_default()
    }

    fn all_down(&self) -> bool {
        self.all_down.load(Ordering::Relaxed)
    }

    /// Everything works again.
    pub(crate) fn forget(&self) {
        self.all_down.store(false, Ordering::Relaxed);
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn scrub(&self, line: &str) -> String {
        self.secrets
            .iter()
            .fold(line.to_owned(), |line, secret| line.replace(secret.as_str(), "***"))
    }

    fn remember(&self, code: RDKafkaErrorCode, text: String) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let all_down = code == RDKafkaErrorCode::AllBrokersDown;
        self.all_down.fetch_or(all_down, Ordering::Relaxed);
        // "1/1 brokers are down" says less than the error of that broker, which came just before.
        // And a closed connection says less than what a broker answered before it closed it.
        let vague = code == RDKafkaErrorCode::BrokerTransportFailure;
        let said = newest.as_ref().map(|complaint| Class::of(complaint.code));
        let says_less = all_down && said.is_some() || vague && said.is_some_and(|class| class != Class::Unreachable);
        if !says_less {
            *newest = Some(Complaint { code, text });
        }
    }
}

impl ClientContext for Complaints {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let line = self.scrub(line);
        if facility == FAILED_CONNECTION {
            // A broker that closes the connection without a word is logged, but not reported as an error.
            self.remember(RDKafkaErrorCode::BrokerTransportFailure, essence(&line).to_owned());
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: LOG_TARGET, facility, "{line}");
            }
            // One broker of several that is down is news, not yet an error: that is the pipeline's to say.
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(target: LOG_TARGET, facility, "{line}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(target: LOG_TARGET, facility, "{line}"),
            RDKafkaLogLevel::Debug => tracing::debug!(target: LOG_TARGET, facility, "{line}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        tracing::debug!(target: LOG_TARGET, "{}", String::from_utf8_lossy(statistics));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let text = self.scrub(essence(reason));
        tracing::debug!(target: LOG_TARGET, "{error}: {text}");
        self.remember(code_of(&error).unwrap_or(RDKafkaErrorCode::Fail), text);
    }
}

impl ConsumerContext for Complaints {}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(complaints: &Complaints, code: RDKafkaErrorCode, text: &str) {
        complaints.error(KafkaError::Global(code), text);
    }

    #[test]
    fn the_cause_outlives_all_brokers_down() {
        let complaints = Complaints::new(vec![]);
        assert_eq!(complaints.text(), "");
        say(&complaints, RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(complaints.text(), "1/1 brokers are down");
        say(
            &complaints,
            RDKafkaErrorCode::Resolve,
            "b1:9092/1: Failed to resolve 'b1:9092'",
        );
        say(&complaints, RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(complaints.newest().unwrap().code, RDKafkaErrorCode::Resolve);
        complaints.forget();
        assert_eq!(complaints.newest(), None);
    }

    #[test]
    fn a_connection_closed_without_a_word_is_remembered_from_the_log() {
        let complaints = Complaints::new(vec![]);
        let line = "[thrd:b1:9092/bootstrap]: b1:9092/bootstrap: Disconnected: connection closed by peer (after 0ms in state UP)";
        complaints.log(RDKafkaLogLevel::Info, "FAIL", line);
        assert_eq!(
            complaints.text(),
            "b1:9092/bootstrap: Disconnected: connection closed by peer"
        );
        say(
            &complaints,
            RDKafkaErrorCode::Authentication,
            "b1:9092/1: SASL authentication error (after 3ms in state AUTH_REQ)",
        );
        complaints.log(RDKafkaLogLevel::Info, "FAIL", line);
        assert_eq!(complaints.text(), "b1:9092/1: SASL authentication error");
        complaints.log(RDKafkaLogLevel::Info, "GETPID", "something else");
        assert_eq!(complaints.newest().unwrap().code, RDKafkaErrorCode::Authentication);
    }

    #[test]
    fn secrets_are_taken_out() {
        let complaints = Complaints::new(vec!["hunter2".to_owned()]);
        say(
            &complaints,
            RDKafkaErrorCode::Authentication,
            "password hunter2 was refused",
        );
        assert_eq!(complaints.text(), "password *** was refused");
    }
}
