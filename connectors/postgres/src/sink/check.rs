//! Preflight of a sink: what would keep events from being written, each with the statement that fixes it. Writes nothing.

use tailrace_core::Result;
use tailrace_core::check::{Finding, Severity};
use tailrace_core::schema::TableName;
use tailrace_sql::Syntax;
use tailrace_sql::sink::SinkRules;
use tailrace_sql::sink::check::{named_tables, table_findings};
use tailrace_sql::sink::config::{Evolve, ForeignKeys};
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
use crate::grants::statement as grants;
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
    grants::replication_role(role)
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
        let each = ["create", "oid", "session_setup"].map(|name| {
            format!("has_function_privilege(current_user, 'pg_catalog.pg_replication_origin_{name}(text)', 'EXECUTE')")
        });
        let all = each.join(" AND pg_catalog.");
        if !may(&session, &all).await? {
            findings.push(Finding::blocks(
                "insufficient_privilege",
                "`mark_origin` uses a replication origin, which the role may not",
                grants::origins(&server.role).join("; "),
            ));
        }
    }
    for (topic, name) in named_tables(rules, &PostgresDefinitions, topics) {
        findings.extend(table(&session, rules, (topic, &name), &server.role).await?);
    }
    findings.dedup();
    Ok(findings)
}

/// The table of offsets is there and may be written, or may be made.
async fn offsets(client: &Client, rules: &SinkRules, role: &str) -> Result<Vec<Finding>> {
    let table = offsets_table(rules.config());
    let schema = PostgresDefinitions.table_name(rules.config().offsets_name()).schema;
    if let Some(finding) = hidden_schema(client, &schema, role).await? {
        return Ok(vec![finding]);
    }
    let statements = OffsetStatements::new(&table);
    if statements.exist(client).await? {
        return privileges(client, &table, &["SELECT", "INSERT", "UPDATE"], role).await;
    }
    let may_create = on_schema(client, &schema, "CREATE").await? == Some(true);
    Ok(if may_create {
        vec![Finding::note(
            "offsets_table",
            format!("the table of offsets {table} is made at the first start"),
        )]
    } else {
        let problem = format!("there is no table of offsets {table}, and the role may not make it");
        let remedy = format!(
            "{}; {}",
            statements.create,
            grants::on_tables("SELECT, INSERT, UPDATE", &table, role)
        );
        vec![Finding::blocks("offsets_table_missing", problem, remedy)]
    })
}

async fn table(client: &Client, rules: &SinkRules, topic: (&str, &TableName), role: &str) -> Result<Vec<Finding>> {
    let config = rules.config();
    if let Some(finding) = hidden_schema(client, &topic.1.schema, role).await? {
        return Ok(vec![finding]);
    }
    let table = describe(client, topic.1).await?;
    let mut findings = table_findings(config, &PostgresDefinitions, topic, table.as_ref());
    if table.is_none() {
        findings.extend(making(client, config.evolve, &topic.1.schema, role).await?);
        return Ok(findings);
    }
    let quoted = PostgresDefinitions.table(topic.1);
    findings.extend(privileges(client, &quoted, &config.privileges(), role).await?);
    if config.evolve != Evolve::None && !owns(client, &quoted).await? {
        findings.push(Finding::warning(
            "insufficient_privilege",
            format!(
                "the role {} does not own table {quoted}: where events have a column more, the connector halts and does not add it",
                identifier(role)
            ),
            grants::owner(&quoted, role),
        ));
    }
    Ok(findings)
}

/// A table that is missing is made, where it may be.
async fn making(client: &Client, evolve: Evolve, schema: &str, role: &str) -> Result<Option<Finding>> {
    if evolve == Evolve::None || on_schema(client, schema, "CREATE").await? != Some(false) {
        return Ok(None);
    }
    let quoted = identifier(schema);
    let problem = format!(
        "`evolve` makes tables in the schema {quoted}, which the role {} may not",
        identifier(role)
    );
    let remedy = grants::on_schemas("CREATE", &quoted, role);
    Ok(Some(Finding::blocks("insufficient_privilege", problem, remedy)))
}

async fn owns(client: &Client, table: &str) -> Result<bool> {
    let owner = format!(
        "pg_has_role((SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = {}::regclass), 'USAGE')",
        literal(table)
    );
    may(client, &owner).await
}

/// What is in it is not seen either.
async fn hidden_schema(client: &Client, schema: &str, role: &str) -> Result<Option<Finding>> {
    let is_hidden = on_schema(client, schema, "USAGE").await? == Some(false);
    Ok(is_hidden.then(|| {
        let quoted = identifier(schema);
        Finding::blocks(
            "insufficient_privilege",
            format!("the role {} may not look into the schema {quoted}", identifier(role)),
            grants::on_schemas("USAGE", &quoted, role),
        )
    }))
}

/// Whether the role has a right on a schema; `None` where there is no such schema.
async fn on_schema(client: &Client, schema: &str, privilege: &str) -> Result<Option<bool>> {
    let wrap = |error| query_error(&error, "look at the rights of the role");
    let query = "SELECT pg_catalog.has_schema_privilege(n.oid, $2) FROM pg_catalog.pg_namespace n WHERE n.nspname = $1";
    let row = client.query_opt(query, &[&schema, &privilege]).await.map_err(wrap)?;
    row.map(|row| row.try_get(0).map_err(wrap)).transpose()
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
    let remedy = grants::on_tables(&list, table, role);
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
