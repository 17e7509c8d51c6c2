//! Measurements as tables. Each table takes the medians of the rounds; the last one has every round.

use crate::latency;
use crate::machine::Machine;
use crate::measurement::{Measurement, median};
use crate::processes::as_float;
use crate::readers::Reader;
use crate::{allocations, codec, large, outage, outbox};

mod sinks;

/// Processes in the order of the tables, and what they are called there.
const PROCESSES: [(&str, &str); 9] = [
    ("tailrace", "Tailrace"),
    ("debezium", "Debezium"),
    ("pg_recvlogical", "`pg_recvlogical`"),
    ("mysqlbinlog", "`mysqlbinlog`"),
    ("walsender", "walsender"),
    ("mysqld", "server"),
    ("postgres", "server"),
    ("client", "client"),
    ("broker", "broker"),
];

/// So many of these are readers themselves.
const OWN_PROCESSES: usize = 4;

/// Rounds of one reader in one workload.
struct Rounds<'a>(Vec<&'a Measurement>);

/// The machine and what ran on it.
pub(super) fn machine(machine: &Machine) -> String {
    let mut text = "\n## Machine\n\n| | |\n|---|---|\n".to_owned();
    let gigabytes = as_float(machine.memory_bytes) / 1e9;
    let rows = [
        ("CPU", format!("{}, {} cores", machine.cpu, machine.cores)),
        ("memory", format!("{gigabytes:.0} GB")),
        ("kernel", format!("Linux {}", machine.kernel)),
        ("commit", machine.commit.clone()),
        ("binary", format!("{:.1} MB", as_float(machine.binary_bytes) / 1e6)),
        ("versions", machine.versions.join("; ")),
        (
            "load before",
            format!(
                "{:.2}; {:.0} % of the CPU used by others",
                machine.load,
                machine.foreign_share * 100.0
            ),
        ),
    ];
    for (name, value) in rows {
        line(&mut text, &[name.to_owned(), value]);
    }
    text
}

/// A section for each workload that was measured, and the raw values.
pub(super) fn all(measurements: &[Measurement]) -> String {
    let mut text = String::new();
    for (name, title) in [
        ("W1-500", "W1: a backlog in transactions of 500 rows"),
        ("W1-bulk", "W1: a backlog in one `INSERT … SELECT`"),
        (
            "W2-postgresql",
            "W2: rows of 600 bytes in transactions of 500, PostgreSQL",
        ),
        ("W2-mysql", "W2: rows of 600 bytes in transactions of 500, MySQL"),
        ("W2-mariadb", "W2: rows of 600 bytes in transactions of 500, MariaDB"),
    ] {
        section(&mut text, title, measurements, name, drains);
    }
    let title = "W3: latency of inserts, updates and deletes at a fixed rate";
    section(&mut text, title, measurements, latency::NAME, latencies);
    for (name, title) in [
        ("W4-postgresql", "W4: a backlog of events into PostgreSQL"),
        ("W4-mysql", "W4: a backlog of events into MySQL"),
        ("W4-mariadb", "W4: a backlog of events into MariaDB"),
    ] {
        section(&mut text, title, measurements, name, sinks::written);
    }
    section(&mut text, "W5: idle", measurements, outage::IDLE_NAME, idle);
    section(
        &mut text,
        "W5: killed in the middle of a backlog",
        measurements,
        outage::KILL_NAME,
        kills,
    );
    section(
        &mut text,
        "W6: one large transaction, followed live",
        measurements,
        large::NAME,
        large_transactions,
    );
    let title = "W7: a backlog of a polled outbox, each row deleted behind its event";
    section(&mut text, title, measurements, outbox::NAME, emptied);
    let title = "W7: single rows of a polled outbox";
    section(&mut text, title, measurements, outbox::LATENCY_NAME, polled);
    let title = "The encoder alone, without database and broker";
    section(&mut text, title, measurements, codec::NAME, codecs);
    section(
        &mut text,
        "Allocations",
        measurements,
        allocations::NAME,
        allocation_counts,
    );
    text.push_str(&raw(measurements));
    text
}

fn section(
    text: &mut String,
    title: &str,
    measurements: &[Measurement],
    workload: &str,
    table: impl Fn(&[&Measurement]) -> String,
) {
    let mine: Vec<&Measurement> = measurements
        .iter()
        .filter(|measurement| measurement.workload == workload)
        .collect();
    if mine.is_empty() {
        return;
    }
    *text += &format!("\n## {title}\n\n{}", table(&mine));
    let mut notes: Vec<String> = mine
        .iter()
        .flat_map(|measurement| {
            measurement
                .notes
                .iter()
                .map(|note| format!("- {}: {note}\n", title_of(&measurement.reader)))
        })
        .collect();
    notes.sort();
    notes.dedup();
    if !notes.is_empty() {
        *text += &format!("\n{}", notes.concat());
    }
}

fn drains(measurements: &[&Measurement]) -> String {
    let mut text = header(&[
        "reader",
        "events/s",
        "× limit",
        "× limit, streaming",
        "MB/s",
        "first event, s",
        "events/s from the first",
        "CPU s per million events",
        "events per CPU-s of its own",
        "peak MB",
    ]);
    for rounds in by_reader(measurements) {
        let ratio = |limit: &[Reader]| number(rounds.median(|one| ratio_to(limit, one, measurements)), 2);
        line(
            &mut text,
            &[
                rounds.title(),
                if rounds.is_slice() {
                    "".to_owned()
                } else {
                    thousands(rounds.median(|one| Some(one.rate())))
                },
                ratio(&[Reader::Limit, Reader::RawDump]),
                ratio(&[Reader::LimitStreaming]),
                number(
                    rounds.median(|one| {
                        if one.notes.is_empty() {
                            one.megabytes_per_second()
                        } else {
                            None
                        }
                    }),
                    1,
                ),
                number(rounds.median(|one| one.first_event_seconds), 2),
                thousands(rounds.median(|one| Some(one.sustained_rate()))),
                rounds.cpu(),
                thousands(rounds.own_cpu().map(|seconds| 1e6 / seconds)),
                megabytes(rounds.own_peak()),
            ],
        );
    }
    text + "\n\"Limit\" is `pg_recvlogical` in the same round, with protocol version 1 or with large transactions \
            streamed (2), or `mysqlbinlog --raw`, which does not decode. MB are 10⁶ bytes of keys, values and headers before \
            compression; of these programs, what they wrote.\n"
}

/// A slice is compared from its first event on, which favours it: what came before is the start.
fn ratio_to(limits: &[Reader], measurement: &Measurement, all: &[&Measurement]) -> Option<f64> {
    let is_limit = |other: &&&Measurement| {
        other.round == measurement.round && limits.iter().any(|limit| limit.name() == other.reader)
    };
    let limit = all.iter().find(is_limit)?.rate();
    let is_debezium = Reader::by_name(&measurement.reader).is_some_and(Reader::is_debezium);
    let rate = if is_debezium {
        measurement.sustained_rate()
    } else {
        measurement.rate()
    };
    Some(rate / limit)
}

fn latencies(measurements: &[&Measurement]) -> String {
    let mut text = header(&[
        "reader",
        "changes/s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "p99 from schedule, ms",
        "of it to the commit, ms",
        "CPU s per million events",
    ]);
    let mut rates: Vec<f64> = measurements
        .iter()
        .filter_map(|one| one.figures.get("rate_per_second").copied())
        .collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    for rate in rates {
        let at_rate = measurements
            .iter()
            .filter(|one| one.figures.get("rate_per_second") == Some(&rate))
            .copied();
        for rounds in by_reader(&at_rate.collect::<Vec<_>>()) {
            let percentile = |name: &str| number(rounds.figure(&format!("commit_to_consumer_{name}_ms")), 1);
            line(
                &mut text,
                &[
                    rounds.title(),
                    format!("{rate:.0}"),
                    percentile("p50"),
                    percentile("p95"),
                    percentile("p99"),
                    percentile("p99_9"),
                    percentile("max"),
                    number(rounds.figure("scheduled_to_consumer_p99_ms"), 1),
                    number(rounds.figure("scheduled_to_commit_p99_ms"), 1),
                    rounds.cpu(),
                ],
            );
        }
    }
    text + "\nFrom the commit's own timestamp to the consumer, on one clock. A thousand transactions a second at every rate, sent when \
            their time has come whether those before were answered or not; rows of 100, 200, 400 and 1600 bytes.\n"
}

fn idle(measurements: &[&Measurement]) -> String {
    let mut text = header(&["process", "memory now, MB", "peak MB", "CPU, % of one core"]);
    for measurement in measurements {
        for process in &measurement.cost.processes {
            let resident = measurement.figures.get(&format!("{}_resident_bytes", process.name));
            let percent = process.cpu_seconds / measurement.cost.seconds * 100.0;
            line(
                &mut text,
                &[
                    process_title(&process.name),
                    megabytes(resident.copied()),
                    megabytes(Some(as_float(process.peak_bytes))),
                    format!("{percent:.2}"),
                ],
            );
        }
    }
    text
}

fn kills(measurements: &[&Measurement]) -> String {
    let mut text = header(&[
        "round",
        "records before the kill",
        "restart to first new event, s",
        "duplicates",
        "missing",
    ]);
    for measurement in measurements {
        let figure = |name: &str, digits| number(measurement.figures.get(name).copied(), digits);
        line(
            &mut text,
            &[
                measurement.round.to_string(),
                figure("records_before_kill", 0),
                figure("restart_to_first_new_event_seconds", 2),
                figure("duplicates", 0),
                figure("missing", 0),
            ],
        );
    }
    text + "\nSIGKILL when two fifths of the backlog were there, and a new start at once.\n"
}

fn large_transactions(measurements: &[&Measurement]) -> String {
    let mut text = header(&[
        "reader",
        "insert, s",
        "commit to first event, s",
        "commit to last event, s",
        "events/s from the commit",
        "CPU s per million events",
        "peak MB",
    ]);
    for rounds in by_reader(measurements) {
        line(
            &mut text,
            &[
                rounds.title(),
                number(rounds.figure("insert_seconds"), 1),
                number(rounds.median(|one| one.first_event_seconds), 2),
                number(rounds.median(|one| Some(one.seconds)), 1),
                thousands(rounds.median(|one| Some(one.rate()))),
                rounds.cpu(),
                megabytes(rounds.own_peak()),
            ],
        );
    }
    text
}

fn emptied(measurements: &[&Measurement]) -> String {
    let mut text = header(&[
        "reader",
        "events/s",
        "rows/s until the table is empty",
        "first event, s",
        "CPU s per million events",
        "peak MB",
    ]);
    for rounds in by_reader(measurements) {
        line(
            &mut text,
            &[
                rounds.title(),
                thousands(rounds.median(|one| Some(one.rate()))),
                thousands(rounds.median(outbox::emptied_rate)),
                number(rounds.median(|one| one.first_event_seconds), 2),
                rounds.cpu(),
                megabytes(rounds.own_peak()),
            ],
        );
    }
    text
}

fn polled(measurements: &[&Measurement]) -> String {
    let percentiles = ["p50", "p95", "p99", "max"];
    let mut text = header(&[
        "reader",
        "poll interval, ms",
        "p50, ms",
        "p95, ms",
        "p99, ms",
        "max, ms",
    ]);
    for rounds in by_reader(measurements) {
        let figures = percentiles.map(|name| number(rounds.figure(&format!("commit_to_consumer_{name}_ms")), 0));
        let mut cells = vec![rounds.title(), number(rounds.figure("poll_interval_ms"), 0)];
        cells.extend(figures);
        line(&mut text, &cells);
    }
    text
}

fn allocation_counts(measurements: &[&Measurement]) -> String {
    let mut text = header(&[
        "reader",
        "allocations per event",
        "of these by Rust",
        "by C (librdkafka and others)",
        "bytes per event",
    ]);
    for rounds in by_reader(measurements) {
        line(
            &mut text,
            &[
                rounds.title(),
                number(rounds.figure("allocations_per_event"), 3),
                number(rounds.figure("allocations_per_event_rust"), 3),
                number(
                    rounds
                        .figure("allocations_per_event")
                        .zip(rounds.figure("allocations_per_event_rust"))
                        .map(|(all, rust)| all - rust),
                    3,
                ),
                number(rounds.figure("allocated_bytes_per_event"), 0),
            ],
        );
    }
    text + "\nOf the whole process, in a pass of its own: the difference between two backlogs, so that the start cancels out.\n"
}

fn codecs(measurements: &[&Measurement]) -> String {
    let mut text = header(&[
        "codec, envelope",
        "events per CPU second",
        "× JSON",
        "bytes per event",
        "allocations per event",
        "allocated bytes per event",
    ]);
    let rounds_of = |reader: &str| {
        let mine = measurements.iter().copied().filter(|one| one.reader == reader);
        Rounds(mine.collect())
    };
    let first_round = measurements.iter().filter(|one| one.round == 1);
    for rounds in first_round.map(|one| rounds_of(&one.reader)) {
        let speed = rounds.figure("events_per_cpu_second");
        let envelope = rounds.title().split(", ").nth(1).unwrap_or_default().to_owned();
        let json = rounds_of(&format!("json, {envelope}")).figure("events_per_cpu_second");
        line(
            &mut text,
            &[
                rounds.title(),
                thousands(speed),
                number(speed.zip(json).map(|(speed, json)| speed / json), 2),
                number(rounds.figure("bytes_per_event"), 0),
                number(rounds.figure("allocations_per_event"), 3),
                number(rounds.figure("allocated_bytes_per_event"), 0),
            ],
        );
    }
    text + "\nRows with nine columns in transactions of ten, in batches of 5000, encoded on one thread; keys, values and headers count as bytes.\n"
}

fn raw(measurements: &[Measurement]) -> String {
    let mut text = "\n## Every round\n\n".to_owned();
    text += &header(&[
        "workload",
        "reader",
        "round",
        "events",
        "s",
        "first, s",
        "CPU s",
        "peak MB",
        "others, %",
        "stolen, %",
        "load before",
        "further figures",
    ]);
    for one in measurements {
        let each = |value: &dyn Fn(&crate::processes::ProcessUse) -> String| {
            let values = one
                .cost
                .processes
                .iter()
                .map(|process| format!("{} {}", process_title(&process.name), value(process)));
            values.collect::<Vec<_>>().join(", ")
        };
        let figures = one.figures.iter().map(|(name, value)| format!("{name} {value:.2}"));
        let mark = if one.is_doubtful() { " **doubtful**" } else { "" };
        line(
            &mut text,
            &[
                one.workload.clone(),
                one.reader.clone(),
                one.round.to_string(),
                one.events.to_string(),
                format!("{:.2}", one.seconds),
                number(one.first_event_seconds, 3),
                each(&|process| format!("{:.2}", process.cpu_seconds)),
                each(&|process| format!("{:.0}", as_float(process.peak_bytes) / 1e6)),
                format!("{:.0}{mark}", one.cost.foreign_share * 100.0),
                format!("{:.0}", one.cost.steal_share * 100.0),
                format!("{:.2}", one.cost.load_before),
                figures.collect::<Vec<_>>().join(", "),
            ],
        );
    }
    text
}

// === impl Rounds ===

impl Rounds<'_> {
    fn title(&self) -> String {
        self.0.first().map_or_else(String::new, |first| title_of(&first.reader))
    }

    fn median(&self, value: impl Fn(&Measurement) -> Option<f64>) -> Option<f64> {
        median(self.0.iter().filter_map(|measurement| value(measurement)))
    }

    fn figure(&self, name: &str) -> Option<f64> {
        self.median(|measurement| measurement.figures.get(name).copied())
    }

    fn is_slice(&self) -> bool {
        self.0
            .iter()
            .any(|measurement| Reader::by_name(&measurement.reader).is_some_and(Reader::is_debezium))
    }

    /// `Tailrace 5.1, walsender 4.9`
    fn cpu(&self) -> String {
        let parts = PROCESSES.into_iter().filter_map(|(name, title)| {
            let seconds = self.median(|measurement| measurement.cpu_seconds_per_million(name))?;
            Some(format!("{title} {seconds:.1}"))
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    /// Of the reader's own process.
    fn own_cpu(&self) -> Option<f64> {
        PROCESSES
            .into_iter()
            .take(OWN_PROCESSES)
            .find_map(|(name, _)| self.median(|measurement| measurement.cpu_seconds_per_million(name)))
    }

    fn own_peak(&self) -> Option<f64> {
        PROCESSES
            .into_iter()
            .take(OWN_PROCESSES)
            .find_map(|(name, _)| self.median(|measurement| Some(as_float(measurement.cost.of(name)?.peak_bytes))))
    }
}

/// In the order in which readers are listed.
fn by_reader<'a>(measurements: &[&'a Measurement]) -> Vec<Rounds<'a>> {
    let of = |reader: Reader| {
        Rounds(
            measurements
                .iter()
                .copied()
                .filter(|one| one.reader == reader.name())
                .collect(),
        )
    };
    Reader::ALL
        .into_iter()
        .map(of)
        .filter(|rounds| !rounds.0.is_empty())
        .collect()
}

fn title_of(reader: &str) -> String {
    Reader::by_name(reader).map_or_else(|| reader.to_owned(), |reader| reader.title().to_owned())
}

fn process_title(name: &str) -> String {
    let known = PROCESSES.into_iter().find(|(process, _)| *process == name);
    known.map_or(name, |(_, title)| title).to_owned()
}

fn header(names: &[&str]) -> String {
    let mut text = String::new();
    line(
        &mut text,
        &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(),
    );
    text + &format!("|{}\n", "---|".repeat(names.len()))
}

fn line(text: &mut String, cells: &[String]) {
    text.push_str(&format!("| {} |\n", cells.join(" | ")));
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

fn thousands(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{:.1} K", value / 1000.0))
}

fn megabytes(bytes: Option<f64>) -> String {
    number(bytes.map(|bytes| bytes / 1e6), 0)
}
