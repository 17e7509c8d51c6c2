//! Preflight of a target: every problem at once, each with the statement that fixes it. Nothing is written.

use sqlx::sqlite::SqliteConnection;
use tailrace_core::Result;
use tailrace_core::check::Finding;
use tailrace_sql::sink::SinkRules;
use tailrace_sql::sink::check::{named_tables, table_findings};
use tailrace_sql::sink::config::WriteConfig;

use super::config::SqliteSinkConfig;
use super::definitions::SqliteDefinitions;
use super::describe::describe;
use super::error::target_error;
use super::session::open;
use crate::connect;

/// All findings.
pub(super) async fn check(config: &SqliteSinkConfig, rules: &SinkRules, topics: &[String]) -> Vec<Finding> {
    let (mut connection, path) = match open(config, rules.config().foreign_keys).await {
        Ok(opened) => opened,
        Err(error) => return vec![Finding::from(&error)],
    };
    let looked = look(&mut connection, rules.config()).await;
    let looked: Result<Vec<Finding>> = looked.map_err(|error| target_error(error, &path, "look at the database"));
    let mut findings = looked.unwrap_or_else(|error| vec![Finding::from(&error)]);
    for (topic, name) in named_tables(rules, &SqliteDefinitions, topics) {
        match describe(&mut connection, &path, &name.table).await {
            Ok(table) => findings.extend(table_findings(
                rules.config(),
                &SqliteDefinitions,
                (topic, &name),
                table.as_ref(),
            )),
            Err(error) => findings.push(Finding::from(&error)),
        }
    }
    connect::close(connection).await;
    let is_read_only = std::fs::metadata(&path).is_ok_and(|file| file.permissions().readonly());
    if is_read_only {
        findings.push(Finding::blocks(
            "target_read_only",
            format!("{} may not be written", path.display()),
            format!("chmod u+w {}", path.display()),
        ));
    }
    findings
}

async fn look(connection: &mut SqliteConnection, write: &WriteConfig) -> sqlx::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut *connection)
        .await?;
    if mode != "wal" {
        findings.push(Finding::warning(
            "journal_mode",
            format!("the database is in journal mode {mode}: who reads waits while a batch is written, and the other way round"),
            "PRAGMA journal_mode = WAL;",
        ));
    }
    let offsets = write.offsets_name();
    let present: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM pragma_table_list WHERE schema = 'main' AND name = ? COLLATE NOCASE")
            .bind(offsets)
            .fetch_optional(connection)
            .await?;
    if present.is_none() {
        findings.push(Finding::note(
            "offsets_table_missing",
            format!("the table of offsets, {offsets}, is not there; it is made at the first start"),
        ));
    }
    Ok(findings)
}
