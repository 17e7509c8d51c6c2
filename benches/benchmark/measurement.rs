//! What one reader did in one round, and what several rounds say together.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use crate::processes::{Cost, as_float};
use crate::topic::Arrivals;

/// More CPU than this spent by others makes a measurement doubtful.
pub(crate) const FOREIGN_SHARE_LIMIT: f64 = 0.10;

/// One reader in one round of one workload.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measurement {
    pub(crate) workload: String,
    pub(crate) reader: String,
    pub(crate) round: u32,
    /// Events that arrived.
    pub(crate) events: u64,
    /// From the reader's start to the last event.
    pub(crate) seconds: f64,
    /// From the reader's start to the first event.
    pub(crate) first_event_seconds: Option<f64>,
    /// Events that had arrived when the first were noticed.
    pub(crate) first_events: u64,
    /// Keys, values and headers, uncompressed.
    pub(crate) record_bytes: Option<u64>,
    /// What the reader's output was found to hold, where it was read.
    pub(crate) found: Option<Found>,
    pub(crate) cost: Cost,
    /// Whatever else the workload is about, by a name that ends in its unit.
    pub(crate) figures: BTreeMap<String, f64>,
    /// What a reader of the figures has to know.
    pub(crate) notes: Vec<String>,
}

/// What a reader's output held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Found {
    pub(crate) records: u64,
    pub(crate) distinct: u64,
    /// Of the first to the last that were expected.
    pub(crate) missing: u64,
    pub(crate) bytes: u64,
}

// === impl Measurement ===

impl Measurement {
    /// Nothing arrived yet.
    pub(crate) fn new(workload: &str, reader: &str, round: u32, cost: Cost) -> Measurement {
        Measurement {
            workload: workload.to_owned(),
            reader: reader.to_owned(),
            round,
            events: 0,
            seconds: 0.0,
            first_event_seconds: None,
            first_events: 0,
            record_bytes: None,
            found: None,
            cost,
            figures: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// Takes over when records arrived, counted from `began`.
    pub(crate) fn arrived(&mut self, began: Instant, arrivals: &Arrivals) {
        self.events = arrivals.count;
        self.seconds = arrivals.last.duration_since(began).as_secs_f64();
        self.first_event_seconds = arrivals.first.map(|first| first.duration_since(began).as_secs_f64());
        self.first_events = arrivals.first_count;
    }

    /// Takes over what was found in the stream.
    pub(crate) fn holds(&mut self, found: Found) {
        self.record_bytes = Some(found.bytes);
        self.found = Some(found);
    }

    /// One more figure; its name ends in its unit.
    pub(crate) fn figure(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }

    /// Events per second from the reader's start to the last event.
    pub(crate) fn rate(&self) -> f64 {
        as_float(self.events) / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// Events per second from the first event to the last: what start and decoding of the first transaction cost is left
    /// out.
    pub(crate) fn sustained_rate(&self) -> f64 {
        let first = self.first_event_seconds.unwrap_or(0.0);
        let events = self.events.saturating_sub(self.first_events);
        as_float(events) / (self.seconds - first).max(f64::MIN_POSITIVE)
    }

    /// Megabytes (10^6) of records per second.
    pub(crate) fn megabytes_per_second(&self) -> Option<f64> {
        Some(as_float(self.record_bytes?) / 1e6 / self.seconds)
    }

    /// CPU seconds that a process spent per million events.
    pub(crate) fn cpu_seconds_per_million(&self, process: &str) -> Option<f64> {
        Some(self.cost.of(process)?.cpu_seconds * 1e6 / as_float(self.events.max(1)))
    }

    /// Whether others used the machine too much meanwhile.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.cost.foreign_share + self.cost.steal_share > FOREIGN_SHARE_LIMIT
    }

    /// One line for the terminal.
    pub(crate) fn line(&self) -> String {
        let processes = self.cost.processes.iter().map(|process| {
            format!(
                "{} {:.2} s/M, {:.0} MB",
                process.name,
                process.cpu_seconds * 1e6 / as_float(self.events.max(1)),
                as_float(process.peak_bytes) / 1e6
            )
        });
        let first = self.first_event_seconds.map(|seconds| {
            let rate = self.sustained_rate();
            format!(", first after {seconds:.3} s, from then on {rate:.0}/s")
        });
        let figures = self.figures.iter().map(|(name, value)| format!("; {name} {value:.3}"));
        format!(
            "{} {} round {}: {} events in {:.2} s, {:.0}/s{}; CPU: {}; foreign {:.0} %, steal {:.0} %{}{}",
            self.workload,
            self.reader,
            self.round,
            self.events,
            self.seconds,
            self.rate(),
            first.unwrap_or_default(),
            processes.collect::<Vec<_>>().join("; "),
            self.cost.foreign_share * 100.0,
            self.cost.steal_share * 100.0,
            if self.is_doubtful() { " (doubtful)" } else { "" },
            figures.collect::<String>()
        )
    }

    /// CPU seconds by thread of the process that is measured, for those who want to make it faster.
    pub(crate) fn thread_line(&self) -> Option<String> {
        let process = self.cost.of("tailrace")?;
        let mut threads: Vec<(&String, &f64)> = process.threads.iter().collect();
        threads.sort_by(|one, other| other.1.total_cmp(one.1));
        let threads = threads
            .into_iter()
            .map(|(name, seconds)| format!("{name} {seconds:.2} s"));
        let threads: Vec<String> = threads.collect();
        (!threads.is_empty()).then(|| format!("  tailrace by thread: {}", threads.join(", ")))
    }
}

/// The middle value; the mean of both middle ones where there is none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*values.get(values.len() / 2 - 1)?, upper))
}
