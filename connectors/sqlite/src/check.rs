//! The preflight: every problem at once, each with the statement or setting that fixes it. Nothing is written.

use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use tailrace_core::batch::ChangeBatch;
use tailrace_core::check::Finding;
use tailrace_core::position::{Position, Progress};
use tailrace_core::telemetry::now_us;
use tailrace_core::{Error, Result};
use tailrace_sql::check::{notes, table_findings, unknown_overrides};
use tailrace_sql::{CursorValue, DiscoveredTable, PolledTable};

use crate::config::{SqliteConfig, fits};
use crate::connect;
use crate::decode::{RowPlan, push_row, raw, timestamp_us};
use crate::dialect::gap_safety;
use crate::discover::{self, quote};
use crate::error::classify;
use crate::statement::SqliteSyntax;

/// So many rows of each table, the newest, are decoded: values that do not fit their column are found before the start.
const ROWS_SAMPLED: i64 = 1_000;
/// Clocks of two machines that keep time differ by less.
const CLOCK_DIFFERENCE_US: i64 = 60 * 1_000_000;

/// All findings.
pub(crate) async fn check(config: &SqliteConfig) -> Vec<Finding> {
    let mut connection = match connect::open(config).await {
        Ok(connection) => connection,
        Err(error) => return vec![Finding::from(&error)],
    };
    let mut findings = Vec::new();
    if let Err(error) = check_open(&mut connection, config, &mut findings).await {
        findings.push(Finding::from(&error));
    }
    connect::close(connection).await;
    findings
}

async fn check_open(
    connection: &mut SqliteConnection,
    config: &SqliteConfig,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    findings.extend(journal_mode(connection, config).await?);
    findings.extend(unmatched_patterns(connection, config).await?);
    let discovery = discover::discover(connection, config).await?;
    let names: Vec<_> = discovery
        .tables
        .iter()
        .map(|table| table.schema.name.qualified())
        .collect();
    findings.extend(unknown_overrides(&config.query, &names));
    findings.extend(unknown_columns(config, &discovery.tables));
    let mut polled = Vec::new();
    for table in discovery.tables {
        match PolledTable::resolve(table, &config.query) {
            Ok(plan) => polled.push(plan),
            Err(finding) => findings.push(finding),
        }
    }
    for table in &polled {
        findings.extend(table_findings(table, &gap_safety(table), &config.query, &SqliteSyntax));
        findings.extend(null_cursors(connection, config, table).await?);
        findings.extend(sample(connection, config, table).await?);
    }
    findings.extend(notes(&config.query, &polled));
    Ok(())
}

async fn journal_mode(connection: &mut SqliteConnection, config: &SqliteConfig) -> Result<Option<Finding>> {
    let asked = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(connection).await;
    let mode: String = asked.map_err(|error| classify(error, &config.path))?;
    let path = config.path.display();
    Ok((mode != "wal").then(|| {
        Finding::warning(
            "journal_mode",
            format!("database {path} is in journal mode {mode}: a writer waits while a page of rows is read"),
            "PRAGMA journal_mode = WAL;",
        )
    }))
}

async fn unmatched_patterns(connection: &mut SqliteConnection, config: &SqliteConfig) -> Result<Vec<Finding>> {
    let names = discover::table_names(connection, config).await?;
    let unmatched = config.tables.iter().filter(|pattern| {
        let pattern = std::slice::from_ref(*pattern);
        !names.iter().any(|name| fits(pattern, name))
    });
    let finding = |pattern: &String| {
        let known = if names.is_empty() {
            "no tables".to_owned()
        } else {
            names.join(", ")
        };
        Finding::blocks(
            "tables_missing",
            format!("pattern {pattern} fits no table of {}", config.path.display()),
            format!("the database has {known}"),
        )
    };
    Ok(unmatched.map(finding).collect())
}

fn unknown_columns(config: &SqliteConfig, tables: &[DiscoveredTable]) -> Vec<Finding> {
    let known = |name: &String| {
        tables.iter().any(|table| {
            let column = name
                .strip_prefix(&table.schema.name.qualified())
                .and_then(|rest| rest.strip_prefix('.'));
            column.is_some_and(|column| table.schema.column_index(column).is_some())
        })
    };
    let unknown = config.columns.keys().filter(|name| !known(name));
    unknown
        .map(|name| {
            Finding::blocks(
                "column_unknown",
                format!("columns names {name}, which no captured table has"),
                "",
            )
        })
        .collect()
}

/// Rows without a cursor value are never seen.
async fn null_cursors(
    connection: &mut SqliteConnection,
    config: &SqliteConfig,
    table: &PolledTable,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for index in table.timestamp_column.into_iter().chain(table.id_column) {
        let Some(column) = table.table.schema.columns.get(index).filter(|column| column.nullable) else {
            continue;
        };
        let (name, column) = (table.name(), &column.name);
        let counted = discover::count_nulls(connection, &name, column).await;
        let nulls = counted.map_err(|error| classify(error, &config.path))?;
        findings.push(Finding::warning(
            "cursor_column_nullable",
            format!(
                "column {column} of table {name} may be NULL, and rows without it are never seen: now {nulls} rows"
            ),
            format!(
                "UPDATE {} SET {} = … WHERE {1} IS NULL; and declare the column NOT NULL",
                quote(&name),
                quote(column)
            ),
        ));
    }
    Ok(findings)
}

/// Decodes the newest rows, as polling would.
async fn sample(connection: &mut SqliteConnection, config: &SqliteConfig, table: &PolledTable) -> Result<Vec<Finding>> {
    let columns: Vec<_> = table
        .table
        .schema
        .columns
        .iter()
        .map(|column| quote(&column.name))
        .collect();
    let order = table
        .id_column
        .map(|_| format!("ORDER BY {} DESC ", quote(table.id_name())));
    let source = match &table.table.query {
        Some(query) => format!("({query})"),
        None => quote(&table.name()),
    };
    let statement = format!(
        "SELECT {} FROM {source} {}LIMIT {ROWS_SAMPLED}",
        columns.join(", "),
        order.unwrap_or_default()
    );
    let asked = sqlx::query(AssertSqlSafe(statement)).fetch_all(connection).await;
    let rows = asked.map_err(|error| classify(error, &config.path))?;
    let plan = RowPlan::new(table, config);
    let mut findings: Vec<Finding> = Vec::new();
    for row in &rows {
        if let Err(error) = decode_sample(row, table, &plan) {
            findings.push(Finding::from(&error));
            break;
        }
    }
    findings.extend(future_timestamps(&rows, table, &plan)?);
    Ok(findings)
}

fn decode_sample(row: &SqliteRow, table: &PolledTable, plan: &RowPlan<'_>) -> Result<()> {
    let id = match table.id_column.map(|column| raw(row, column)).transpose()? {
        Some(crate::decode::Raw::Integer(id)) => Some(CursorValue::Integer(id)),
        Some(other) => Some(CursorValue::Text(other.describe())),
        None => None,
    };
    let mut batch = ChangeBatch::new("check".into(), Progress::at(Position::new("")));
    push_row(row, plan, id.as_ref(), &mut batch)?;
    let Some(column) = table.timestamp_column else {
        return Ok(());
    };
    let stored = raw(row, column)?;
    if stored == crate::decode::Raw::Null || timestamp_us(&stored, plan.unit).is_some() {
        return Ok(());
    }
    Err(Error::definite(
        "timestamp_unreadable",
        format!(
            "table {}, row {}: {} holds {}, which is no time; see timestamp_unit, or name another timestamp_column",
            table.name(),
            id.as_ref().map(ToString::to_string).unwrap_or_default(),
            table.timestamp_name(),
            stored.describe()
        ),
    ))
}

/// Timestamps ahead of the clock are local time, as a rule, and their rows would wait until the clock is there.
fn future_timestamps(rows: &[SqliteRow], table: &PolledTable, plan: &RowPlan<'_>) -> Result<Option<Finding>> {
    let Some(column) = table.timestamp_column else {
        return Ok(None);
    };
    let mut newest = None;
    for row in rows {
        newest = newest.max(timestamp_us(&raw(row, column)?, plan.unit));
    }
    let ahead_us = newest.map_or(0, |newest| newest.saturating_sub(now_us()));
    Ok((ahead_us > CLOCK_DIFFERENCE_US).then(|| {
        Finding::warning(
            "timestamp_in_future",
            format!(
                "column {} of table {} is ahead of the clock by {} s: its rows are published only then; it may be local time, \
                 which is read as UTC",
                table.timestamp_name(),
                table.name(),
                ahead_us / 1_000_000
            ),
            "store UTC, as CURRENT_TIMESTAMP does",
        )
    }))
}
