//! Preflight of a source that polls: rights, columns, and whether rows can be skipped. Read-only.

use mysql_async::Conn;
use tailrace_core::check::Finding;
use tailrace_core::pattern::TablePattern;
use tailrace_core::{Error, Result};
use tailrace_sql::check::{notes, table_findings, unknown_overrides};
use tailrace_sql::config::Acknowledge;
use tailrace_sql::{GapSafety, PolledTable, QueryConfig, QueryMode};

use super::catalogue::{self, Catalogue, Known, Origin, Strictness};
use super::facts::{Facts, Ledger};
use super::{MySqlSyntax, page, safety, table as quoted};
use crate::check::rights;
use crate::config::MySqlConfig;
use crate::connect::{self, Purpose, texts};
use crate::discover::Needed;
use crate::grants::{Matched, statement};
use crate::quote::{identifier, literal};
use crate::server::{self, Flavour};

/// Clocks of two machines that keep time differ by less.
const CLOCK_DIFFERENCE_S: i64 = 60;
/// Rows without a cursor value are counted up to here: it is enough to know that there are many.
const NULLS_COUNTED: u32 = 10_000;

/// All findings.
pub(crate) async fn check(config: &MySqlConfig, query: &QueryConfig, flavour: Flavour) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = look(config, query, flavour, &mut findings).await {
        findings.push(Finding::from(&error));
    }
    findings
}

async fn look(config: &MySqlConfig, query: &QueryConfig, flavour: Flavour, findings: &mut Vec<Finding>) -> Result<()> {
    let mut connection = connect::connect(config, Purpose::Catalog).await?;
    let server = server::server_facts(&mut connection).await?;
    server.identity.verify_flavour(flavour)?;
    server.identity.verify_version()?;
    let facts = Facts::of(&mut connection, server).await?;
    findings.extend(rights::superuser(&facts.server));
    let catalogue = match catalogue::read(&mut connection, config, &facts.server, Strictness::All).await {
        Err(error) if error.code() == "tables_unmatched" => {
            findings.push(unmatched(&error, config, &facts));
            return Ok(());
        }
        read => read?,
    };
    let Catalogue { discovery, known } = catalogue;
    let names: Vec<String> = known.keys().cloned().collect();
    findings.extend(unknown_overrides(query, &names));
    let mut polled = Vec::new();
    for table in discovery.tables {
        if let Some(finding) = unreadable(&facts, known.get(&table.schema.name.qualified())) {
            findings.push(finding);
            continue;
        }
        match PolledTable::resolve(table, query) {
            Ok(table) => polled.push(table),
            Err(finding) => findings.push(finding),
        }
    }
    for table in &polled {
        let Some(known) = known.get(&table.name()) else {
            continue;
        };
        let gap = safety::gap_safety(&facts, Some(known), table);
        findings.extend(table_findings(table, &gap, query, &MySqlSyntax));
        if gap.safety == GapSafety::DelayWindow && !facts.sees_others {
            findings.push(unseen_transactions(&facts));
        }
        if let Err(error) = page::verify(known, table, config.type_policy()) {
            findings.push(Finding::from(&error));
        }
        findings.extend(not_acknowledged(&facts, query, known, table));
        findings.extend(null_cursors(&mut connection, known, table).await);
        findings.extend(future_timestamps(&mut connection, table).await);
    }
    if polled.iter().any(|table| table.mode == QueryMode::Incrementing) {
        findings.extend(roughly_named(&facts));
    }
    findings.extend(lease(&mut connection, &facts, query).await?);
    findings.extend(notes(query, &polled));
    Ok(())
}

/// A table that the user may not read is not shown to it.
fn unmatched(error: &Error, config: &MySqlConfig, facts: &Facts) -> Finding {
    let user = rights::user(&facts.server);
    let exclude = config.patterns().map(|patterns| patterns.exclude).unwrap_or_default();
    let remedy = |pattern: &String| {
        let matched = Matched {
            pattern: &TablePattern::new(pattern, None),
            exclude: &exclude,
            needed: Needed::Rows,
        };
        matched.remedy(&user)
    };
    let remedies: Vec<String> = config.tables.iter().map(remedy).collect();
    Finding {
        remedy: format!("{} -- or correct `tables`", remedies.join(" ")),
        ..Finding::from(error)
    }
}

/// A table that the user may not read. Its keys are not shown to it either, so that nothing else can be said of it.
fn unreadable(facts: &Facts, known: Option<&Known>) -> Option<Finding> {
    rights::on_tables(&facts.server, "SELECT", &[name_of(known?)?])
}

/// What is acknowledged must be deletable or changeable.
fn not_acknowledged(facts: &Facts, query: &QueryConfig, known: &Known, table: &PolledTable) -> Option<Finding> {
    let name = name_of(known)?;
    match (table.mode, &query.acknowledge) {
        (QueryMode::Queue, Acknowledge::Delete) => rights::on_tables(&facts.server, "DELETE", &[name]),
        (QueryMode::Queue, Acknowledge::Mark(column)) => rights::on_column(&facts.server, &name.0, &name.1, column),
        _ => None,
    }
}

/// Database and name; nothing for a query, which was described already: that takes the right to read all that it reads.
fn name_of(known: &Known) -> Option<(String, String)> {
    let is_query = matches!(known.origin, Origin::Query { .. });
    (!is_query).then(|| (known.definition.schema.clone(), known.definition.table.clone()))
}

/// The table of leases must be there, and be ours to write.
async fn lease(connection: &mut Conn, facts: &Facts, query: &QueryConfig) -> Result<Option<Finding>> {
    let Some(lease) = &query.lease else {
        return Ok(None);
    };
    let (schema, table) = lease.table.split_once('.').unwrap_or(("", &lease.table));
    let asked = format!(
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        literal(schema),
        literal(table)
    );
    let is_there = !texts(connection, &asked, "look for the table of leases")
        .await?
        .is_empty();
    let grants = &facts.server.grants;
    let is_missing = |privilege: &&&str| !is_there || !grants.on_table(privilege, schema, table);
    let missing: Vec<&str> = ["SELECT", "INSERT", "UPDATE"]
        .iter()
        .filter(is_missing)
        .copied()
        .collect();
    Ok((!missing.is_empty()).then(|| {
        let user = rights::user(&facts.server);
        Finding::blocks(
            "lease_table",
            format!(
                "the table of leases {} is not there, or the user {} may not write to it",
                lease.table, facts.server.user
            ),
            format!(
                "`tailrace outbox install` makes it; {};",
                statement::on_table(&missing.join(", "), schema, table, &user)
            ),
        )
    }))
}

fn unseen_transactions(facts: &Facts) -> Finding {
    Finding::note(
        "transactions_unseen",
        format!(
            "the user {} may not see how long transactions of others are open, beside the delay that is to cover them: {};",
            facts.server.user,
            statement::everywhere("PROCESS", &rights::user(&facts.server))
        ),
    )
}

/// Nothing is skipped, but rows behind a gap may wait long.
fn roughly_named(facts: &Facts) -> Option<Finding> {
    let rough = facts.ledger
        == Ledger::Ready {
            tells_transactions: false,
        };
    rough.then(|| {
        Finding::warning(
            "writers_named_roughly",
            "statements are not instrumented, so that transactions of one connection cannot be told apart: rows behind a rolled back id wait until \
             each connection that writes to the table is seen idle",
            "UPDATE performance_schema.setup_consumers SET ENABLED = 'YES' WHERE NAME IN ('thread_instrumentation', 'events_statements_current'); \
             -- and in the server's configuration: performance_schema_consumer_events_statements_current = ON",
        )
    })
}

/// Rows without a cursor value are never seen.
async fn null_cursors(connection: &mut Conn, known: &Known, table: &PolledTable) -> Vec<Finding> {
    let mut findings = Vec::new();
    for index in [table.timestamp_column, table.id_column].into_iter().flatten() {
        let Some(column) = known.definition.columns.get(index).filter(|column| column.nullable) else {
            continue;
        };
        let (name, column) = (table.name(), &column.name);
        let counted = count_nulls(connection, table, column).await;
        let how_many = match &counted {
            Ok(count) if *count >= i64::from(NULLS_COUNTED) => format!("now {count} rows or more"),
            Ok(count) => format!("now {count} rows"),
            Err(error) => format!("how many, could not be counted: {error}"),
        };
        let problem = format!("column {column} of {name} may be NULL, and rows without it are never seen: {how_many}");
        let remedy = match &table.table.query {
            Some(_) => format!("have the query leave out rows without {column}, or give them one"),
            None => format!("declare {column} of {name} NOT NULL"),
        };
        findings.push(Finding::warning("cursor_column_nullable", problem, remedy));
    }
    findings
}

async fn count_nulls(connection: &mut Conn, table: &PolledTable, column: &str) -> Result<i64> {
    let query = format!(
        "SELECT count(*) FROM (SELECT 1 FROM {} WHERE {} IS NULL LIMIT {NULLS_COUNTED}) AS missing",
        from(table),
        identifier(column)
    );
    first_number(connection, &query).await.map(Option::unwrap_or_default)
}

/// Timestamps ahead of the clock are local time, as a rule, and their rows would wait until the clock is there.
async fn future_timestamps(connection: &mut Conn, table: &PolledTable) -> Option<Finding> {
    table.timestamp_column?;
    let name = table.timestamp_name();
    let query = format!(
        "SELECT TIMESTAMPDIFF(SECOND, NOW(), max({})) FROM {}",
        identifier(name),
        from(table)
    );
    // A table that is too large for the answer is polled all the same.
    let ahead_s = first_number(connection, &query).await.ok().flatten()?;
    (ahead_s > CLOCK_DIFFERENCE_S).then(|| {
        Finding::warning(
            "timestamp_in_future",
            format!(
                "column {name} of {} is ahead of the clock by {ahead_s} s: its rows are published only then; it may be local time, which is read as UTC",
                table.name()
            ),
            "store UTC: a TIMESTAMP column, or time_zone = '+00:00' where rows are written",
        )
    })
}

fn from(table: &PolledTable) -> String {
    let name = &table.table.schema.name;
    match &table.table.query {
        Some(query) => format!("({query}) AS {}", identifier(&name.table)),
        None => quoted(name),
    }
}

async fn first_number(connection: &mut Conn, query: &str) -> Result<Option<i64>> {
    let rows = texts(connection, query, "look at cursor columns").await?;
    let text = rows.first().and_then(|row| row.text(0));
    let number = text.map(|text| {
        text.parse()
            .map_err(|_| Error::definite("source_query", "the server gave no number"))
    });
    number.transpose()
}
