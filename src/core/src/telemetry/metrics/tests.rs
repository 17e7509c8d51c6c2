use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::*;
use crate::telemetry::lag::LagMeasure;
use crate::telemetry::{DelayWindow, LogRetention, PartitionProgress, TableProgress};

fn process() -> ProcessNumbers {
    ProcessNumbers {
        version: "1.2.3",
        uptime_seconds: 5.5,
        start_time_seconds: Some(1_790_000_000.0),
        resident_bytes: Some(1024),
        cpu_seconds: Some(0.25),
        open_descriptors: Some(12),
        maximum_descriptors: Some(1024),
        threads: Some(7),
        spans: Some(SpanNumbers { sent: 12, dropped: 3 }),
    }
}

fn example() -> String {
    let telemetry = Arc::new(Telemetry::new("orders"));
    telemetry.numbers.records.store(7, Ordering::Relaxed);
    telemetry.numbers.bytes.store(700, Ordering::Relaxed);
    telemetry.numbers.lag_bytes.store(42, Ordering::Relaxed);
    telemetry.histograms.commit_to_durable.observe(3_000, 2);
    telemetry.enter(Life::Halted("slot_missing".to_owned()), "the slot is gone");
    let other = Arc::new(Telemetry::new("odd\"name\\\n"));
    exposition(&[telemetry, other], process()).unwrap()
}

/// A connector of which everything is known.
fn all_known() -> Arc<Telemetry> {
    let telemetry = Arc::new(Telemetry::new("orders"));
    let numbers = &telemetry.numbers;
    for number in [&numbers.source_seen_us, &numbers.caught_up_us, &numbers.durable_at_us] {
        number.store(1, Ordering::Relaxed);
    }
    numbers.dead_letters_oldest_us.store(1, Ordering::Relaxed);
    numbers.lag_bytes.store(1, Ordering::Relaxed);
    numbers.bytes_in_flight_limit.store(1, Ordering::Relaxed);
    telemetry.begin(LagMeasure::Stream);
    telemetry.set_at_end(true);
    let partition = PartitionProgress {
        lag_records: Some(3),
        ..PartitionProgress::default()
    };
    telemetry.set_partition("a-0", partition);
    telemetry.set_delay_window(DelayWindow {
        delay_ms: 1,
        longest_transaction_ms: Some(1),
    });
    telemetry.set_gap_safety("orders", "none", "");
    telemetry.update_table("orders", |table| table.rows_done = 1);
    telemetry.go_on((1, true), Some("0/1"));
    for histogram in &connector::HISTOGRAMS {
        (histogram.value)(&telemetry.histograms).observe(1, 1);
    }
    telemetry.enter(Life::Degraded("broker".to_owned()), "");
    telemetry
}

/// Names of families, as they are queried.
fn names(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.map(|line| match line.split_once(' ').unwrap() {
        (name, "counter") => format!("{name}_total"),
        (name, _) => name.to_owned(),
    });
    names.collect()
}

#[test]
fn names_units_and_labels_are_as_documented() {
    let text = example();
    let lines = [
        "tailrace_records_total{connector=\"orders\"} 7.0",
        "tailrace_record_bytes_total{connector=\"orders\"} 700.0",
        "tailrace_lag_bytes{connector=\"orders\"} 42.0",
        "tailrace_state{connector=\"orders\",state=\"halted\"} 1.0",
        "tailrace_state{connector=\"orders\",state=\"streaming\"} 0.0",
        "tailrace_trouble{connector=\"orders\",code=\"slot_missing\"} 1.0",
        "tailrace_commit_to_durable_seconds_sum{connector=\"orders\"} 0.006",
        "tailrace_commit_to_durable_seconds_count{connector=\"orders\"} 2",
        "tailrace_commit_to_durable_seconds_bucket{le=\"0.0025\",connector=\"orders\"} 0",
        "tailrace_commit_to_durable_seconds_bucket{le=\"0.005\",connector=\"orders\"} 2",
        "tailrace_commit_to_durable_seconds_bucket{le=\"+Inf\",connector=\"orders\"} 2",
        "tailrace_build_info{version=\"1.2.3\"} 1.0",
        "tailrace_uptime_seconds 5.5",
        "process_resident_memory_bytes 1024.0",
        "process_cpu_seconds_total 0.25",
        "process_start_time_seconds 1790000000.0",
        "process_open_fds 12.0",
        "process_max_fds 1024.0",
        "process_threads 7.0",
    ];
    for line in lines {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }
    assert!(
        !text.contains("tailrace_lag_bytes{connector=\"odd"),
        "what is unknown has no series"
    );
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn every_line_is_well_formed_whatever_the_name() {
    for line in example().lines() {
        let series = (line.starts_with("tailrace_") || line.starts_with("process_"))
            && line
                .rsplit_once(' ')
                .is_some_and(|(_, value)| value.parse::<f64>().is_ok());
        assert!(line.starts_with("# ") || series, "{line}");
    }
}

#[test]
fn what_is_described_is_what_is_shown() {
    let text = exposition(&[all_known()], process()).unwrap();
    let described: BTreeSet<_> = described().into_iter().map(|metric| metric.name).collect();
    // Only ten minutes of a log that grows tell when it is lost.
    let mut shown = names(&text);
    assert!(shown.insert("tailrace_log_lost_in_seconds".to_owned()));
    assert!(shown.insert("tailrace_retained_log_bytes".to_owned()));
    assert!(shown.insert("tailrace_safe_log_bytes".to_owned()));
    assert_eq!(described, shown);
}

#[test]
fn names_end_in_their_units_and_labels_are_three() {
    for metric in described() {
        let (name, kind) = (metric.name.as_str(), metric.kind);
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        if let Some(unit) = &metric.unit {
            let name = name.strip_suffix("_total").unwrap_or(name);
            assert!(name.ends_with(&format!("_{unit}")), "{name} is in {unit}");
        }
        for unit in ["_ms", "_us", "_milliseconds", "_kb", "_megabytes", "_percent"] {
            assert!(!name.contains(unit), "{name}");
        }
        let bounded = ["connector", "state", "code", "version"];
        assert!(metric.labels.iter().all(|label| bounded.contains(label)), "{name}");
        assert!(
            !metric.help.ends_with('.') && !metric.help.contains(['|', '\n']),
            "{name}"
        );
    }
}

#[test]
fn ten_thousand_odd_tables_add_no_series() {
    let telemetry = Arc::new(Telemetry::new("orders"));
    let odd = |number: u32| format!("public.\"t{number}\\\n\u{1b}[2J{{le=\"1\"}} # EOF");
    let of_a_table = |telemetry: &Telemetry, table: &str| {
        telemetry.update_table(table, |progress: &mut TableProgress| {
            progress.rows_done = 1;
            progress.rows_estimated = Some(2);
        });
        telemetry.set_gap_safety(table, "none", "a reason");
        telemetry.set_topic(table, crate::telemetry::PublishedTopic::default());
        telemetry.set_partition(table, PartitionProgress::default());
    };
    of_a_table(&telemetry, &odd(0));
    telemetry.set_retention(LogRetention::default());
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let of_one = exposition(&[Arc::clone(&telemetry)], process()).unwrap();
    for number in 1..10_000 {
        of_a_table(&telemetry, &odd(number));
    }
    let of_all = exposition(&[telemetry], process()).unwrap();
    assert_eq!(series(&of_one), series(&of_all));
    assert!(series(&of_all) < 70, "{}", series(&of_all));
    assert!(of_all.contains("tailrace_snapshot_rows_done{connector=\"orders\"} 10000.0\n"));
    assert!(!of_all.contains("public"), "no name of a table is shown");
}
