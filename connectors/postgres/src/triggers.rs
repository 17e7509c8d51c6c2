//! PostgreSQL's answers about change tables and the triggers that fill them.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::check::Finding;
use tailrace_core::grants::Script;
use tailrace_core::ports::SourceConnector;
use tailrace_core::schema::TableName;
use tailrace_sql::change_table::compare::TriggerState;
use tailrace_sql::change_table::database::{Reading, exact_pattern, reading_query};
use tailrace_sql::change_table::{
    CHANGED_AT, CapturedTable, Engine, InstalledTable, InstalledTrigger, OPERATION, SEQUENCE, Survey, TRANSACTION,
    TriggerDatabase, VERSION, name,
};
use tokio_postgres::{Client, Row};

use crate::PostgresConnector;
use crate::config::PostgresConfig;
use crate::connect::{self, Purpose};
use crate::discover::{Discovery, discover};
use crate::error::query_error;
use crate::grants;
use crate::quote::qualified;

/// How our connections are called on the server, and what stands for the connector's name in names that nobody looks up here.
const CONNECTOR: &str = "triggers";

const DOING: &str = "read the catalogue";

/// Types as a statement that makes a table has them. Of a domain it is the type beneath: its constraints hold for the captured table, and
/// one against NULL would refuse the side of a change that is not there.
const COLUMNS: &str = "
WITH RECURSIVE beneath (domain, type, modifier) AS (
  SELECT oid, typbasetype, typtypmod FROM pg_catalog.pg_type WHERE typtype = 'd'
  UNION ALL
  SELECT b.domain, t.typbasetype, CASE WHEN b.modifier = -1 THEN t.typtypmod ELSE b.modifier END
  FROM beneath b JOIN pg_catalog.pg_type t ON t.oid = b.type AND t.typtype = 'd'
)
SELECT n.nspname::text, c.relname::text, a.attname::text,
       coalesce((SELECT pg_catalog.format_type(b.type, b.modifier) FROM beneath b JOIN pg_catalog.pg_type t ON t.oid = b.type
                 WHERE b.domain = a.atttypid AND t.typtype <> 'd'),
                pg_catalog.format_type(a.atttypid, a.atttypmod))
FROM unnest($1::text[], $2::text[]) AS wanted (nspname, relname)
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.relname
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.oid, a.attnum";

/// A function that runs with the rights of whoever writes is another one than ours.
const FUNCTIONS: &str = "
SELECT n.nspname::text, p.proname::text, CASE WHEN p.prosecdef THEN p.prosrc ELSE 'SECURITY INVOKER ' || p.prosrc END
FROM unnest($1::text[], $2::text[]) AS wanted (nspname, proname)
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.nspname
JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid AND p.proname = wanted.proname AND p.pronargs = 0";

const TRIGGERS: &str = "
SELECT n.nspname::text, c.relname::text, t.tgname::text, t.tgtype::int4, t.tgenabled::text, f.nspname::text, p.proname::text,
       t.tgqual IS NOT NULL OR t.tgattr::text <> ''
FROM unnest($1::text[], $2::text[]) AS wanted (nspname, relname)
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.relname
JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace
ORDER BY c.oid, t.tgname";

/// Rows of tables that inherit from a captured one are written without its triggers.
const HEIRS: &str = "
SELECT n.nspname::text, c.relname::text, h.relname::text
FROM unnest($1::text[], $2::text[]) AS wanted (nspname, relname)
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.relname
JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid
JOIN pg_catalog.pg_class h ON h.oid = i.inhrelid AND NOT h.relispartition
ORDER BY 1, 2, 3";

/// Bits of `tgtype`: <https://doxygen.postgresql.org/pg__trigger_8h.html>.
mod bit {
    pub(super) const ROW: i32 = 1;
    pub(super) const BEFORE: i32 = 2;
    pub(super) const INSERT: i32 = 4;
    pub(super) const DELETE: i32 = 8;
    pub(super) const UPDATE: i32 = 16;
    pub(super) const TRUNCATE: i32 = 32;
    pub(super) const INSTEAD: i32 = 64;
}

/// A PostgreSQL database whose tables are captured by triggers.
pub struct PostgresTriggers {
    config: PostgresConfig,
}

/// Types of columns by table.
type Columns = HashMap<(String, String), Vec<(String, String)>>;

// === impl PostgresTriggers ===

impl PostgresTriggers {
    /// Triggers for the tables of this configuration.
    pub fn new(config: PostgresConfig) -> Self {
        Self { config }
    }
}

#[async_trait]
impl TriggerDatabase for PostgresTriggers {
    fn engine(&self) -> Engine {
        Engine::Postgres
    }

    fn grants(&self, connector: &str) -> Result<Script> {
        grants::of_change_tables(&self.config, connector)
    }

    async fn survey(&self) -> Result<Survey> {
        let session = connect::connect(&self.config, CONNECTOR, Purpose::Catalog).await?;
        let discovery = Box::pin(discover(&session, &self.config, CONNECTOR)).await?;
        survey(&session, &discovery).await
    }

    async fn apply(&self, statements: &[String]) -> Result<()> {
        let session = connect::connect(&self.config, CONNECTOR, Purpose::Setup).await?;
        for statement in statements {
            let done = session.batch_execute(statement).await;
            done.map_err(|error| query_error(&error, "define tables and triggers"))?;
        }
        Ok(())
    }

    fn reader(&self, change_tables: &[Reading]) -> Result<Arc<dyn SourceConnector>> {
        let mut config = self.config.clone();
        config.tables = change_tables
            .iter()
            .map(|reading| exact_pattern(&reading.change_table))
            .collect();
        config.exclude = Vec::new();
        config.query = config.query.map(|query| reading_query(&query, change_tables));
        Ok(Arc::new(PostgresConnector::new(config)))
    }
}

async fn survey(client: &Client, discovery: &Discovery) -> Result<Survey> {
    let is_marked = |comment: &Option<String>| comment.as_deref().is_some_and(name::is_mark);
    let captured = discovery.tables.iter().map(|table| &table.schema);
    let captured: Vec<_> = captured.filter(|schema| !is_marked(&schema.documentation)).collect();
    let wanted: Vec<TableName> = captured
        .iter()
        .map(|schema| Engine::Postgres.change_table(&schema.name))
        .collect();
    let change_tables: Vec<_> = discovery
        .relations
        .iter()
        .filter(|relation| {
            let has_name = |name: &TableName| name.schema == relation.schema && name.table == relation.name;
            is_marked(&relation.comment) || wanted.iter().any(has_name)
        })
        .collect();
    let all_names: Vec<(&str, &str)> = captured
        .iter()
        .map(|schema| (schema.name.schema.as_str(), schema.name.table.as_str()))
        .chain(
            change_tables
                .iter()
                .map(|relation| (relation.schema.as_str(), relation.name.as_str())),
        )
        .collect();
    let columns = columns(client, &all_names).await?;
    let captured_names: Vec<_> = captured
        .iter()
        .map(|schema| (schema.name.schema.as_str(), schema.name.table.as_str()))
        .collect();
    let function_names: Vec<_> = wanted
        .iter()
        .map(|name| (name.schema.as_str(), name.table.as_str()))
        .collect();
    let installed = change_tables.iter().map(|relation| InstalledTable {
        name: named(discovery, &relation.schema, &relation.name),
        mark: relation.comment.clone().filter(|comment| name::is_mark(comment)),
        columns: value_columns(&columns, &relation.schema, &relation.name),
    });
    Ok(Survey {
        change_tables: installed.collect(),
        functions: functions(client, discovery, &function_names).await?,
        triggers: triggers(client, discovery, &captured_names).await?,
        findings: heirs(client, &captured_names).await?,
        tables: captured
            .into_iter()
            .map(|schema| {
                let types = columns.get(&(schema.name.schema.clone(), schema.name.table.clone()));
                let declared = |column: &str| {
                    let found = types.into_iter().flatten().find(|(name, _)| name == column);
                    found.map(|(_, declared)| declared.clone()).unwrap_or_default()
                };
                CapturedTable {
                    declared: schema.columns.iter().map(|column| declared(&column.name)).collect(),
                    schema: Arc::clone(schema),
                }
            })
            .collect(),
    })
}

fn named(discovery: &Discovery, schema: &str, table: &str) -> TableName {
    TableName {
        database: discovery.server.database.clone(),
        schema: schema.to_owned(),
        table: table.to_owned(),
    }
}

/// Rows of a query whose parameters are schemas and names.
async fn ask(client: &Client, query: &str, names: &[(&str, &str)]) -> Result<Vec<Row>> {
    let (schemas, names): (Vec<&str>, Vec<&str>) = names.iter().copied().unzip();
    let rows = client.query(query, &[&schemas, &names]).await;
    rows.map_err(|error| query_error(&error, DOING))
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(|error| query_error(&error, DOING))
}

async fn columns(client: &Client, names: &[(&str, &str)]) -> Result<Columns> {
    let mut columns = Columns::new();
    for row in ask(client, COLUMNS, names).await? {
        let table = (get(&row, 0)?, get(&row, 1)?);
        columns.entry(table).or_default().push((get(&row, 2)?, get(&row, 3)?));
    }
    Ok(columns)
}

fn value_columns(columns: &Columns, schema: &str, table: &str) -> Vec<(String, String)> {
    let is_own = |column: &str| [SEQUENCE, OPERATION, TRANSACTION, CHANGED_AT, VERSION].contains(&column);
    let all = columns
        .get(&(schema.to_owned(), table.to_owned()))
        .into_iter()
        .flatten();
    all.filter(|(column, _)| !is_own(column)).cloned().collect()
}

async fn functions(client: &Client, discovery: &Discovery, names: &[(&str, &str)]) -> Result<Vec<(TableName, String)>> {
    let mut functions = Vec::new();
    for row in ask(client, FUNCTIONS, names).await? {
        functions.push((named(discovery, get(&row, 0)?, get(&row, 1)?), get(&row, 2)?));
    }
    Ok(functions)
}

async fn triggers(client: &Client, discovery: &Discovery, names: &[(&str, &str)]) -> Result<Vec<InstalledTrigger>> {
    let mut triggers = Vec::new();
    for row in ask(client, TRIGGERS, names).await? {
        let function = qualified(get(&row, 5)?, get(&row, 6)?);
        let restricted: bool = get(&row, 7)?;
        triggers.push(InstalledTrigger {
            table: named(discovery, get(&row, 0)?, get(&row, 1)?),
            name: get(&row, 2)?,
            definition: definition(get(&row, 3)?, restricted, &function),
            state: match get::<&str>(&row, 4)? {
                "A" => TriggerState::Always,
                "O" => TriggerState::OnOrigin,
                _ => TriggerState::Disabled,
            },
        });
    }
    Ok(triggers)
}

/// As the statement that makes a trigger has it.
fn definition(kind: i32, restricted: bool, function: &str) -> String {
    let has = |wanted: i32| kind & wanted != 0;
    let timing = match (has(bit::BEFORE), has(bit::INSTEAD)) {
        (true, _) => "BEFORE",
        (_, true) => "INSTEAD OF",
        _ => "AFTER",
    };
    let events = [
        (bit::INSERT, "INSERT"),
        (bit::UPDATE, "UPDATE"),
        (bit::DELETE, "DELETE"),
        (bit::TRUNCATE, "TRUNCATE"),
    ];
    let events: Vec<&str> = events
        .iter()
        .filter(|(wanted, _)| has(*wanted))
        .map(|(_, event)| *event)
        .collect();
    let each = if has(bit::ROW) { "ROW" } else { "STATEMENT" };
    let when = if restricted { " WHEN (…)" } else { "" };
    format!(
        "{timing} {} FOR EACH {each}{when} EXECUTE FUNCTION {function}()",
        events.join(" OR ")
    )
}

async fn heirs(client: &Client, names: &[(&str, &str)]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for row in ask(client, HEIRS, names).await? {
        let (schema, table, heir): (&str, &str, &str) = (get(&row, 0)?, get(&row, 1)?, get(&row, 2)?);
        findings.push(Finding::warning(
            "triggers_inheritance",
            format!("rows of {heir}, which inherits from {schema}.{table}, are written without the triggers of {schema}.{table}"),
            format!("capture {heir} as well: add it to `tables`"),
        ));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_reads_as_it_was_made() {
        assert_eq!(
            definition(29, false, "\"public\".\"f\""),
            "AFTER INSERT OR UPDATE OR DELETE FOR EACH ROW EXECUTE FUNCTION \"public\".\"f\"()"
        );
        assert_eq!(
            definition(32, false, "f"),
            "AFTER TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION f()"
        );
        assert_eq!(
            definition(3 + 16, true, "f"),
            "BEFORE UPDATE FOR EACH ROW WHEN (…) EXECUTE FUNCTION f()"
        );
    }
}
