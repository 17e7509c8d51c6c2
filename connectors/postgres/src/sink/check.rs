//! Preflight of a sink: what would keep events from being written, each with the statement that fixes it. Writes nothing.

use tailrace_core::Result;
use tailrace_core::check::{Finding, Severity};
use tailrace_core::schema::TableName;
use tailrace_sql::Syntax;
use tailrace_sql::sink::SinkRules;
use tailrace_sql::sink::check::{named_tables, table_findings};
use tailrace_sql::sink::config::{DeleteMode, ForeignKeys, WriteMode};
use tailrace_sql::sink::error::of_target;
use tailrace_sql::sink::session::Definitions;
use tokio_postgres::Client;

use super::config::PostgresSinkConfig;
use super::definitions::PostgresDefinitions;
use super::describe::describe;
use super::offsets::OffsetStatements;
use super::session::offsets_table;
use crate::connect::{Purpose, connect_sink};
use crate::discover::server::{OLDEST_VERSION, server_facts};
use crate::error::query_error;
use crate::quote::{identifier, literal};

/// Since then the right to set a parameter can be granted.
const RIGHTS_TO_PARAMETERS: u32 = 150_000;

/// Looks at everything and tells all that is wrong.
pub(super) async fn check(
    config: &PostgresSinkConfig,
    rules: &SinkRules,
    connector: &str,
    topics: &[String],
) -> Vec<Finding> {
    let mut findings = match look(config, rules, connector, topics).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::from(&of_target(error))],
    };
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn how_to_ignore_foreign_keys(version: u32, role: &str) -> String {
    if version < RIGHTS_TO_PARAMETERS {
        return "before PostgreSQL 15 only a superuser may set it: connect as one, or take `foreign_keys: ignore` away"
            .to_owned();
    }
    format!(
        "GRANT SET ON PARAMETER session_replication_role TO {}",
        identifier(role)
    )
}

async fn look(
    config: &PostgresSinkConfig,
    rules: &SinkRules,
    connector: &str,
    topics: &[String],
) -> Result<Vec<Finding>> {
    let session = connect_sink(&config.access(), connector, Purpose::Check).await?;
    let server = server_facts(&session).await?;
    let mut findings = Vec::new();
    if server.version < OLDEST_VERSION {
        let problem = format!(
            "the server is PostgreSQL {}, and 13 is the oldest that is known to work",
            server.version_text
        );
        findings.push(Finding::warning("server_old", problem, "upgrade the server"));
    }
    if server.in_recovery {
        let problem = "the server is a standby, which takes no writes";
        findings.push(Finding::blocks(
            "target_read_only",
            problem,
            "point `url` at the primary",
        ));
    }
    findings.extend(offsets(&session, rules, &server.role).await?);
    if rules.config().foreign_keys == ForeignKeys::Ignore && !server.superuser {
        let may_set = may(
            &session,
            "has_parameter_privilege(current_user, 'session_replication_role', 'SET')",
        )
        .await;
        if !may_set.unwrap_or(false) {
            let problem = "`foreign_keys: ignore` sets session_replication_role, which the role may not";
            findings.push(Finding::blocks(
                "insufficient_privilege",
                problem,
                how_to_ignore_foreign_keys(server.version, &server.role),
            ));
        }
    }
    if config.mark_origin && !server.superuser {
        let function = "pg_catalog.pg_replication_origin_session_setup(text)";
        if !may(
            &session,
            &format!("has_function_privilege(current_user, '{function}', 'EXECUTE')"),
        )
        .await?
        {
            let role = identifier(&server.role);
            let functions =
                ["create", "oid", "session_setup"].map(|name| format!("pg_replication_origin_{name}(text)"));
            let grants = functions
                .map(|function| format!("GRANT EXECUTE ON FUNCTION {function} TO {role}"))
                .join("; ");
            findings.push(Finding::blocks(
                "insufficient_privilege",
                "`mark_origin` uses a replication origin, which the role may not",
                grants,
            ));
        }
    }
    for (topic, name) in named_tables(rules, &PostgresDefinitions, topics) {
        findings.extend(table(&session, rules, (topic, &name), &server.role).await?);
    }
    Ok(findings)
}

/// The table of offsets is there and may be written, or may be made.
async fn offsets(client: &Client, rules: &SinkRules, role: &str) -> Result<Vec<Finding>> {
    let table = offsets_table(rules.config());
    let statements = OffsetStatements::new(&table);
    if statements.exist(client).await? {
        return privileges(client, &table, &["SELECT", "INSERT", "UPDATE"], role).await;
    }
    let written = rules.config().offsets_name();
    let schema = PostgresDefinitions.table_name(written).schema;
    let may_create = may(
        client,
        &format!("has_schema_privilege(current_user, {}, 'CREATE')", literal(&schema)),
    )
    .await?;
    Ok(if may_create {
        vec![Finding::note(
            "offsets_table",
            format!("the table of offsets {table} is made at the first start"),
        )]
    } else {
        let problem = format!("there is no table of offsets {table}, and the role may not make it");
        let remedy = format!(
            "{}; GRANT SELECT, INSERT, UPDATE ON {table} TO {}",
            statements.create.trim_end().trim_end_matches(';'),
            identifier(role)
        );
        vec![Finding::blocks("offsets_table_missing", problem, remedy)]
    })
}

async fn table(client: &Client, rules: &SinkRules, topic: (&str, &TableName), role: &str) -> Result<Vec<Finding>> {
    let config = rules.config();
    let table = describe(client, topic.1).await?;
    let mut findings = table_findings(config, &PostgresDefinitions, topic, table.as_ref());
    if table.is_none() {
        return Ok(findings);
    }
    let mut needed = vec!["SELECT"];
    if config.mode != WriteMode::Update {
        needed.push("INSERT");
    }
    if matches!(config.mode, WriteMode::Upsert | WriteMode::Update) || config.deletes == DeleteMode::Soft {
        needed.push("UPDATE");
    }
    if config.mode != WriteMode::Append && config.deletes == DeleteMode::Hard {
        needed.push("DELETE");
    }
    let quoted = PostgresDefinitions.table(topic.1);
    findings.extend(privileges(client, &quoted, &needed, role).await?);
    Ok(findings)
}

async fn privileges(client: &Client, table: &str, needed: &[&str], role: &str) -> Result<Vec<Finding>> {
    let mut missing = Vec::new();
    for privilege in needed {
        if !may(
            client,
            &format!("has_table_privilege(current_user, {}, '{privilege}')", literal(table)),
        )
        .await?
        {
            missing.push(*privilege);
        }
    }
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let list = missing.join(", ");
    let problem = format!("the role {} may not {list} on table {table}", identifier(role));
    let remedy = format!("GRANT {list} ON {table} TO {}", identifier(role));
    Ok(vec![Finding {
        severity: Severity::Blocks,
        code: "insufficient_privilege",
        problem,
        remedy,
    }])
}

async fn may(client: &Client, expression: &str) -> Result<bool> {
    let wrap = |error| query_error(&error, "look at the rights of the role");
    let row = client
        .query_one(&format!("SELECT pg_catalog.{expression}"), &[])
        .await
        .map_err(wrap)?;
    row.try_get(0).map_err(wrap)
}
