//! The preflight of tables that are polled: what can be read, in which order, and what would not be seen.

use std::pin::pin;

use futures_util::TryStreamExt;
use tailrace_core::batch::ChangeBatch;
use tailrace_core::check::Finding;
use tailrace_core::position::{Position, Progress};
use tailrace_core::{Error, Result};
use tailrace_sql::check::{notes, table_findings, unknown_overrides};
use tailrace_sql::config::{Acknowledge, QueryConfig};
use tailrace_sql::{GapSafety, PolledTable, QueryMode, Statement, Syntax};
use tokio_postgres::Client;

use super::tables::{dotted, similar};
use super::{encryption, ignored_settings, server};
use crate::config::PostgresConfig;
use crate::connect::{Purpose, connect};
use crate::decode::copy::CopyReader;
use crate::dialect::activity;
use crate::dialect::catalog::TableKind;
use crate::dialect::gap::gap_safety;
use crate::dialect::rows::RowPlan;
use crate::dialect::statement::{PostgresSyntax, begin, copy};
use crate::dialect::tables::{KnownTable, Survey, inherited, survey};
use crate::discover::catalog::Relation;
use crate::discover::server::server_facts;
use crate::error::query_error;
use crate::grants::statement;
use crate::quote::{identifier, literal, qualified};

/// So many rows of each table, the newest, are decoded: values that cannot be carried are found before the start.
const ROWS_SAMPLED: u32 = 1_000;
/// Nobody needs to know the count of more rows that are never seen.
const NULLS_COUNTED: i64 = 10_000;
/// Clocks of two machines that keep time differ by less.
const CLOCK_DIFFERENCE_US: i64 = 60 * 1_000_000;
/// The server's code for a statement that took too long.
const TOO_LONG: &str = "57014";

/// Everything that is judged.
struct Look<'a> {
    client: &'a Client,
    query: &'a QueryConfig,
    survey: Survey,
}

/// All findings.
pub(crate) async fn check(config: &PostgresConfig, query: &QueryConfig, connector: &str) -> Vec<Finding> {
    let mut findings = config.problems(connector);
    if !findings.is_empty() {
        return findings;
    }
    findings.extend(encryption(config));
    if let Err(error) = look(config, query, connector, &mut findings).await {
        findings.push(Finding::from(&error));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

async fn look(
    config: &PostgresConfig,
    query: &QueryConfig,
    connector: &str,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let session = connect(config, connector, Purpose::Check).await?;
    findings.extend(server::pooler_in_path(&ignored_settings(&session).await?));
    let server = server_facts(&session).await?;
    findings.extend(server::encoding(&server));
    let survey = survey(&session, config, query, server).await?;
    let look = Look {
        client: &session,
        query,
        survey,
    };
    findings.extend(look.patterns());
    let names: Vec<String> = look.survey.tables.iter().map(KnownTable::name).collect();
    findings.extend(unknown_overrides(query, &names));
    let mut polled = Vec::new();
    for known in &look.survey.tables {
        match PolledTable::resolve(known.table.clone(), query) {
            Ok(table) => {
                look.table(known, &table, findings).await?;
                polled.push(table);
            }
            Err(finding) => findings.push(finding),
        }
    }
    findings.extend(look.standby());
    findings.extend(look.durability().await?);
    findings.extend(look.window(&polled).await?);
    findings.extend(look.lease().await?);
    findings.extend(notes(query, &polled));
    Ok(())
}

// === impl Look ===

impl Look<'_> {
    fn patterns(&self) -> Vec<Finding> {
        let (selection, relations) = (&self.survey.selection, &self.survey.relations);
        let unmatched = selection.unmatched.iter().map(|pattern| {
            let remedy = similar(relations, pattern).map_or_else(
                || "correct `tables`: upper and lower case differ, without a dot the schema is public, and views are named in full".to_owned(),
                |name| format!("write `{name}`"),
            );
            Finding::blocks("tables_unmatched", format!("`{pattern}` in `tables` matches no table"), remedy)
        });
        let idle = selection.idle_exclusions.iter().map(|pattern| {
            let problem = format!("`{pattern}` in `exclude` matches no table");
            Finding::warning("exclude_unmatched", problem, "correct or remove it")
        });
        let partitions = relations
            .iter()
            .filter(|relation| selection.not_excludable.contains(&relation.oid));
        let hopeless = partitions.map(|partition| {
            let problem = format!(
                "the partition {} cannot be excluded, because its rows are read with those of the partitioned table",
                dotted(partition)
            );
            Finding::blocks(
                "exclude_partition",
                problem,
                "remove it from `exclude`, or name the other partitions instead of the table",
            )
        });
        unmatched.chain(idle).chain(hopeless).collect()
    }

    async fn table(&self, known: &KnownTable, table: &PolledTable, findings: &mut Vec<Finding>) -> Result<()> {
        if known.has_heirs() {
            findings.push(Finding::blocks("table_inherited", inherited(known), ""));
        }
        let unreadable = self.rights(known);
        let can_be_read = unreadable.is_empty();
        findings.extend(unreadable);
        let gap = gap_safety(known, table, self.survey.server.in_recovery);
        let has_indexes = known.facts().is_some_and(|facts| facts.kind.has_indexes());
        let told = table_findings(table, &gap, self.query, &PostgresSyntax);
        findings.extend(
            told.into_iter()
                .filter(|finding| has_indexes || finding.code != "cursor_index_missing"),
        );
        findings.extend(uniqueness(known, table));
        findings.extend(self.sequence(known, table));
        findings.extend(left_out(known));
        if table.mode == QueryMode::Queue {
            findings.extend(self.acknowledging(known, table).await?);
        }
        if can_be_read {
            findings.extend(self.values(known, table).await?);
        }
        Ok(())
    }

    fn relation(&self, known: &KnownTable) -> Option<&Relation> {
        let oid = known.oid()?;
        self.survey.relations.iter().find(|relation| relation.oid == oid)
    }

    fn rights(&self, known: &KnownTable) -> Vec<Finding> {
        let role = &self.survey.server.role;
        let Some(relation) = self.relation(known) else {
            return Vec::new();
        };
        let name = qualified(&relation.schema, &relation.name);
        let mut findings = Vec::new();
        if !relation.schema_usable {
            let schema = identifier(&relation.schema);
            findings.push(Finding::blocks(
                "insufficient_privilege",
                format!("the role \"{role}\" may not look into the schema {schema}"),
                format!("{};", statement::on_schemas("USAGE", &schema, role)),
            ));
        }
        if !relation.selectable {
            findings.push(Finding::blocks(
                "insufficient_privilege",
                format!("the role \"{role}\" may not read {name}"),
                format!("{};", statement::on_tables("SELECT", &name, role)),
            ));
        }
        if relation.row_security {
            findings.push(Finding::blocks(
                "row_security",
                format!("row-level security hides rows of {name} from the role \"{role}\"; a poll would miss them"),
                format!("{};", statement::bypass_row_security(role)),
            ));
        }
        findings
    }

    fn sequence(&self, known: &KnownTable, table: &PolledTable) -> Option<Finding> {
        let role = &self.survey.server.role;
        let default = known.facts()?.defaults.get(table.id_name())?;
        let sequence = default.sequence.as_ref().filter(|sequence| !sequence.readable)?;
        (table.mode == QueryMode::Incrementing).then(|| {
            Finding::blocks(
                "insufficient_privilege",
                sequence.unreadable(role),
                format!("{};", sequence.grant(role)),
            )
        })
    }

    /// Rows of a queue are deleted or marked.
    async fn acknowledging(&self, known: &KnownTable, table: &PolledTable) -> Result<Option<Finding>> {
        let (Some(oid), role) = (known.oid(), &self.survey.server.role) else {
            return Ok(None);
        };
        let name = &table.table.schema.name;
        let (asked, right) = match (&self.query.acknowledge, &table.mark_column) {
            (Acknowledge::Mark(_), Some(column)) => (
                format!("has_column_privilege({oid}, {}, 'UPDATE')", literal(column)),
                statement::update_of(column),
            ),
            (Acknowledge::Mark(_) | Acknowledge::Delete, _) => {
                (format!("has_table_privilege({oid}, 'DELETE')"), "DELETE".to_owned())
            }
        };
        let allowed = self.ask_bool(&format!("SELECT pg_catalog.{asked}")).await?;
        let name = qualified(&name.schema, &name.table);
        if self.survey.server.in_recovery {
            return Ok(Some(Finding::blocks(
                "source_is_standby",
                format!("the server is a standby, on which rows of the queue {name} can be neither deleted nor marked"),
                "name the primary in `url`",
            )));
        }
        Ok((!allowed).then(|| {
            Finding::blocks(
                "insufficient_privilege",
                format!("the role \"{role}\" lacks the right {right} on {name}, and rows of a queue that are published stay in it"),
                format!("{};", statement::on_tables(&right, &name, role)),
            )
        }))
    }

    async fn ask_bool(&self, query: &str) -> Result<bool> {
        let wrap = |error| query_error(&error, "look at the rights of our role");
        self.client
            .query_one(query, &[])
            .await
            .map_err(wrap)?
            .try_get(0)
            .map_err(wrap)
    }

    /// What only a look at the rows tells.
    async fn values(&self, known: &KnownTable, table: &PolledTable) -> Result<Vec<Finding>> {
        let plan = match RowPlan::new(table, &known.columns) {
            Ok(plan) => plan,
            Err(error) => return Ok(vec![Finding::from(&error)]),
        };
        let mut findings = Vec::new();
        if known.oid().is_some() {
            findings.extend(self.null_cursors(table).await?);
        }
        let wrap = |error| query_error(&error, "begin to look at rows");
        self.client
            .batch_execute(&begin(known.oid().is_none()))
            .await
            .map_err(wrap)?;
        let sampled = self.sample(table, &plan).await;
        self.client.batch_execute("ROLLBACK").await.map_err(wrap)?;
        findings.extend(sampled);
        Ok(findings)
    }

    /// Rows without a cursor value are never seen.
    async fn null_cursors(&self, table: &PolledTable) -> Result<Vec<Finding>> {
        let (name, mut findings) = (&table.table.schema.name, Vec::new());
        let from = PostgresSyntax.table(name);
        for column in table.cursor_columns() {
            let is_nullable = |it: &&tailrace_core::schema::Column| it.name == column && it.nullable;
            if !table.table.schema.columns.iter().any(|it| is_nullable(&it)) {
                continue;
            }
            let quoted = identifier(column);
            let count =
                format!("SELECT count(*) FROM (SELECT FROM {from} WHERE {quoted} IS NULL LIMIT {NULLS_COUNTED}) AS n");
            let now = match self.client.query_one(&count, &[]).await {
                Ok(row) => {
                    let nulls: i64 = row.try_get(0).map_err(|error| query_error(&error, "count rows"))?;
                    let more = if nulls == NULLS_COUNTED { " or more" } else { "" };
                    format!("now {nulls}{more} rows")
                }
                Err(error) if error.code().is_some_and(|code| code.code() == TOO_LONG) => {
                    "how many there are could not be counted in time".to_owned()
                }
                Err(error) => return Err(query_error(&error, "count rows that are never seen")),
            };
            findings.push(Finding::warning(
                "cursor_column_nullable",
                format!("column {column} of table {} may be NULL, and rows without it are never seen: {now}", name.qualified()),
                format!("UPDATE {from} SET {quoted} = … WHERE {quoted} IS NULL; ALTER TABLE {from} ALTER {quoted} SET NOT NULL;"),
            ));
        }
        Ok(findings)
    }

    /// Decodes the newest rows, as polling would.
    async fn sample(&self, table: &PolledTable, plan: &RowPlan<'_>) -> Vec<Finding> {
        let statement = copy(plan, &newest(table), Some(ROWS_SAMPLED));
        let mut batch = ChangeBatch::new("check".into(), Progress::at(Position::new("")));
        let mut newest_us = None;
        let read = async {
            let mut reader = CopyReader::default();
            let mut chunks = pin!(self.client.copy_out(&statement).await?);
            let mut first_error: Option<Error> = None;
            while let Some(chunk) = chunks.try_next().await? {
                reader.push(&chunk);
                while let Ok(Some(row)) = reader.next_row() {
                    let read = plan.key(&row).and_then(|key| {
                        newest_us = newest_us.max(key.timestamp.as_ref().map(|(_, microseconds)| *microseconds));
                        plan.push(&row, &key, &mut batch)
                    });
                    first_error = first_error.or(read.err());
                }
            }
            Ok::<_, tokio_postgres::Error>(first_error)
        };
        match read.await {
            Ok(first_error) => {
                let mut findings: Vec<Finding> = first_error.iter().map(Finding::from).collect();
                findings.extend(self.future_timestamps(table, newest_us).await);
                findings
            }
            Err(error) => vec![Finding::from(&query_error(
                &error,
                &format!("read rows of {}", table.name()),
            ))],
        }
    }

    /// Timestamps ahead of the clock are local time, as a rule, and their rows would wait until the clock is there.
    async fn future_timestamps(&self, table: &PolledTable, newest_us: Option<i64>) -> Option<Finding> {
        let prepared = activity::prepare_now(self.client, self.survey.server.in_recovery)
            .await
            .ok()?;
        let now = activity::now_us(self.client, &prepared).await.ok()?;
        let ahead_us = newest_us.filter(|newest| *newest != i64::MAX)?.saturating_sub(now);
        (ahead_us > CLOCK_DIFFERENCE_US).then(|| {
            Finding::warning(
                "timestamp_in_future",
                format!(
                    "column {} of table {} is ahead of the clock by {} s: its rows are published only then; a timestamp without time zone \
                     is read as UTC and may be local time",
                    table.timestamp_name(),
                    table.name(),
                    ahead_us / 1_000_000
                ),
                "store timestamptz, or `now() AT TIME ZONE 'UTC'`",
            )
        })
    }

    fn standby(&self) -> Option<Finding> {
        self.survey.server.in_recovery.then(|| {
            Finding::note(
                "source_is_standby",
                "the server is a standby: timestamps are compared with the time up to which it has replayed the primary's changes",
            )
        })
    }

    /// What is visible before it is on the disk can be published and then be taken back by a crash.
    async fn durability(&self) -> Result<Option<Finding>> {
        let wrap = |error| query_error(&error, "look at the server's settings");
        let asked = self
            .client
            .query_one("SELECT current_setting('synchronous_commit')", &[])
            .await;
        let setting: String = asked.and_then(|row| row.try_get(0)).map_err(wrap)?;
        Ok((setting == "off").then(|| {
            Finding::warning(
                "synchronous_commit_off",
                "synchronous_commit is off: rows are seen before they are on the server's disk, and a crash takes some back that are \
                 published already and gives their ids to others, which mode incrementing does not see",
                "ALTER SYSTEM SET synchronous_commit = 'local'; SELECT pg_reload_conf();",
            )
        }))
    }

    /// Whether it can be told how long transactions are open.
    async fn window(&self, tables: &[PolledTable]) -> Result<Option<Finding>> {
        let by_window = |table: &PolledTable| {
            let known = self
                .survey
                .tables
                .iter()
                .find(|known| known.table.schema.name == table.table.schema.name);
            let report = known.map(|known| gap_safety(known, table, self.survey.server.in_recovery));
            report.is_some_and(|report| report.safety == GapSafety::DelayWindow)
        };
        if self.survey.server.in_recovery || !tables.iter().any(by_window) {
            return Ok(None);
        }
        let role = &self.survey.server.role;
        let wrap = |error| query_error(&error, "ask for the oldest transaction");
        let longest = activity::longest_transaction_us(self.client).await.map_err(wrap)?;
        let delay_us = tables.iter().map(|table| table.delay_us).min().unwrap_or_default();
        Ok(match longest {
            None => Some(Finding::warning(
                "window_unmeasured",
                format!(
                    "the role \"{role}\" does not see how long transactions are open, beside which query.delay_ms must hold"
                ),
                format!("{};", statement::read_statistics(role)),
            )),
            Some(longest) if longest > delay_us => Some(Finding::warning(
                "delay_window_exceeded",
                format!(
                    "a transaction has been open for {} ms, longer than query.delay_ms ({} ms): rows that it commits with an older timestamp \
                     are not seen",
                    longest / 1000,
                    delay_us / 1000
                ),
                "set query.delay_ms above the longest transaction",
            )),
            Some(_) => None,
        })
    }

    /// The table of leases must be there and be ours to write.
    async fn lease(&self) -> Result<Option<Finding>> {
        let Some(lease) = &self.query.lease else {
            return Ok(None);
        };
        let role = &self.survey.server.role;
        let (schema, table) = lease.table.split_once('.').unwrap_or(("public", &lease.table));
        let name = qualified(schema, table);
        let asked = format!(
            "SELECT has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'),
                has_table_privilege(c.oid, 'UPDATE')
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = {} AND c.relname = {}",
            literal(schema),
            literal(table)
        );
        let wrap = |error| query_error(&error, "look at the table of leases");
        let row = self.client.query_opt(&asked, &[]).await.map_err(wrap)?;
        let may = |column: usize| row.as_ref().map_or(Ok(false), |row| row.try_get::<_, bool>(column));
        let mut grants = Vec::new();
        if !may(0).map_err(wrap)? {
            grants.push(format!(
                "{};",
                statement::on_schemas("USAGE", &identifier(schema), role)
            ));
        }
        let mut missing = Vec::new();
        for (column, privilege) in [(1, "SELECT"), (2, "INSERT"), (3, "UPDATE")] {
            if !may(column).map_err(wrap)? {
                missing.push(privilege);
            }
        }
        if !missing.is_empty() {
            grants.push(format!("{};", statement::on_tables(&missing.join(", "), &name, role)));
        }
        Ok((!grants.is_empty()).then(|| {
            Finding::blocks(
                "lease_table",
                format!("the table of leases {name} is not there, or the role \"{role}\" may not write to it"),
                format!("`tailrace outbox install` makes it; {}", grants.join(" ")),
            )
        }))
    }
}

/// Nothing in the database says that ids of a view are unique.
fn uniqueness(known: &KnownTable, table: &PolledTable) -> Option<Finding> {
    let (facts, column) = (known.facts()?, table.id_name());
    if table.id_column.is_none() || facts.has_unique_index(column) {
        return None;
    }
    Some(Finding::warning(
        "id_column_unverified",
        format!(
            "no unique index says that {column} of the {} {} is unique: of rows with the same value one may be skipped",
            facts.kind.name(),
            table.name()
        ),
        "make sure of it, or name another id_column",
    ))
}

fn left_out(known: &KnownTable) -> Option<Finding> {
    (!known.generated_columns.is_empty()).then(|| {
        Finding::note(
            "unseen_columns",
            format!(
                "the generated columns {} of {} are left out, so that events are those that the log would give; a query under \
                 `query.queries` may select them",
                known.generated_columns.join(", "),
                known.name()
            ),
        )
    })
}

/// What follows the columns in a statement for the newest rows, as far as an index finds them.
fn newest(table: &PolledTable) -> Statement {
    let name = &table.table.schema.name;
    let from = match &table.table.query {
        Some(query) => format!("FROM ({query}) AS {}", identifier(&name.table)),
        None => format!("FROM {}", PostgresSyntax.table(name)),
    };
    let columns: Vec<String> = table.cursor_columns().into_iter().map(identifier).collect();
    if columns.is_empty() {
        return Statement::text(from);
    }
    let known: Vec<String> = columns.iter().map(|column| format!("{column} IS NOT NULL")).collect();
    let order: Vec<String> = columns.iter().map(|column| format!("{column} DESC")).collect();
    let order = match table.has_cursor_index() {
        true => format!(" ORDER BY {}", order.join(", ")),
        false => String::new(),
    };
    Statement::text(format!("{from} WHERE {}{order}", known.join(" AND ")))
}

// === impl TableKind ===

impl TableKind {
    fn has_indexes(self) -> bool {
        matches!(self, Self::Table | Self::Partitioned | Self::MaterializedView)
    }
}
