//! The page of the metrics, from the same tables that they are written from.

use std::fmt::Write;

use tailrace_core::telemetry::metrics::{Described, described};

const HEAD: &str = "# Metrics

Generated from the code with `tailrace schema --metrics`; a test compares it.

`GET /metrics` has them as OpenMetrics 1.0, which Prometheus 2.5 and later asks for and reads. A name ends in its unit: seconds, bytes, or nothing for a
number of things; counters end in `_total`. Labels are `connector`, `state`, `code` and `version`, and no table, topic or position is one: the number of
series grows with the connectors alone. What is not known has no series.

A histogram has `_bucket`, `_sum` and `_count` behind its name. Its series begin with its first value.

[Operations](../operations.md#metrics-and-alerts) has what to do about them; `deploy/grafana` a dashboard, `deploy/prometheus` alerts.

| name | type | unit | labels | meaning |
|---|---|---|---|---|
";

/// Every metric, as a table.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    for metric in described() {
        let Described {
            name,
            kind,
            unit,
            labels,
            help,
        } = metric;
        let unit = unit.unwrap_or_default();
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {help} |").unwrap_or_default();
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_that_is_checked_in_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == page(),
            "docs/reference/metrics.md is not current: cargo run -- schema --metrics > docs/reference/metrics.md"
        );
    }
}
