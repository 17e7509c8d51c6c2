//! What a preflight says of polled tables, whichever database they are in.

use tailrace_core::check::Finding;

use crate::config::{QueryConfig, QueryMode};
use crate::dialect::{GapReport, GapSafety, Syntax};
use crate::plan::{PolledTable, unknown_deleted_column};

/// Everything about one table's cursor that can be told from its description.
pub fn table_findings(table: &PolledTable, gap: &GapReport, config: &QueryConfig, syntax: &dyn Syntax) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = table.name();
    if !table.has_cursor_index() && table.table.query.is_none() && !table.cursor_columns().is_empty() {
        let columns = table.cursor_columns();
        let quoted: Vec<_> = columns.iter().map(|column| syntax.identifier(column)).collect();
        findings.push(Finding::warning(
            "cursor_index_missing",
            format!(
                "table {name} has no index on ({}): every poll reads the whole table",
                columns.join(", ")
            ),
            format!(
                "CREATE INDEX {} ON {} ({});",
                syntax.identifier(&format!("{}_{}", table.table.schema.name.table, columns.join("_"))),
                syntax.table(&table.table.schema.name),
                quoted.join(", ")
            ),
        ));
    }
    if table.table.schema.key.is_empty() {
        findings.push(Finding::warning(
            "no_key",
            format!("table {name} has no primary key: its events have no key, and no order per row in the stream"),
            "name key columns for the connector",
        ));
    }
    findings.extend(gap.refusal(&name, config));
    findings.push(gap_finding(&name, gap));
    findings
}

fn gap_finding(name: &str, gap: &GapReport) -> Finding {
    let problem = format!("gap_safety of table {name}: {}: {}", gap.safety.name(), gap.reason);
    match gap.safety {
        GapSafety::Proven | GapSafety::DelayWindow => Finding::note("gap_safety", problem),
        GapSafety::None => Finding::warning("gap_safety", problem, ""),
    }
}

/// What polling cannot see, said once for all tables.
pub fn notes(config: &QueryConfig, tables: &[PolledTable]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let watched = |mode: QueryMode| tables.iter().any(|table| table.mode == mode);
    if tables
        .iter()
        .any(|table| table.deleted.is_none() && !sees_deletes(table, config))
    {
        findings.push(Finding::note(
            "deletes_not_seen",
            "polling does not see rows that are deleted: no delete events are published",
        ));
    }
    if tables.iter().any(|table| table.mode != QueryMode::Queue) {
        findings.push(Finding::note(
            "versions_not_seen",
            format!(
                "of a row that changes several times between two polls ({} ms) only the last version is seen",
                config.poll_interval_ms
            ),
        ));
    }
    if watched(QueryMode::Queue) {
        findings.push(Finding::note(
            "queue_rows_not_seen",
            "a row that the application deletes again before it was read is not seen; read the log instead where rows are inserted and \
             deleted in one transaction",
        ));
    }
    findings.extend(unknown_deleted_column(config, tables));
    if config.changes_only {
        findings.push(Finding::note(
            "changes_only_in_memory",
            "rows are compared with the poll before, in memory: after each start every row is published once more, and what was \
             deleted meanwhile is not told",
        ));
    }
    let inserts_only: Vec<_> = tables
        .iter()
        .filter(|table| table.mode == QueryMode::Incrementing)
        .collect();
    if !inserts_only.is_empty() {
        let names: Vec<_> = inserts_only.iter().map(|table| table.name()).collect();
        findings.push(Finding::note(
            "updates_not_seen",
            format!(
                "mode incrementing sees only inserts; updates are not seen of {}",
                names.join(", ")
            ),
        ));
    }
    findings
}

/// Rows of a queue are seen one by one; a bulk that compares finds what is gone.
fn sees_deletes(table: &PolledTable, config: &QueryConfig) -> bool {
    table.mode == QueryMode::Queue || (table.mode == QueryMode::Bulk && config.changes_only)
}

/// Overrides that name no table.
pub fn unknown_overrides(config: &QueryConfig, names: &[String]) -> Vec<Finding> {
    let unknown = config.overrides.keys().filter(|name| !names.contains(name));
    unknown
        .map(|name| {
            Finding::blocks(
                "override_unknown",
                format!("query.overrides names table {name}, which is not among the captured ones"),
                format!("captured are: {}", names.join(", ")),
            )
        })
        .collect()
}
