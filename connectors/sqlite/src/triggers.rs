//! SQLite's answers about change tables and the triggers that fill them.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;
use tailrace_core::Result;
use tailrace_core::grants::Script;
use tailrace_core::ports::SourceConnector;
use tailrace_core::schema::TableName;
use tailrace_sql::change_table::compare::TriggerState;
use tailrace_sql::change_table::database::{Reading, exact_pattern, reading_query};
use tailrace_sql::change_table::{
    CHANGED_AT, CapturedTable, Engine, InstalledTable, InstalledTrigger, OPERATION, SEQUENCE, Survey, TriggerDatabase,
    VERSION, name,
};

use crate::config::SqliteConfig;
use crate::error::classify;
use crate::{SqliteConnector, connect, discover, grants};

/// A SQLite database whose tables are captured by triggers.
pub struct SqliteTriggers {
    config: SqliteConfig,
}

// === impl SqliteTriggers ===

impl SqliteTriggers {
    /// Triggers for the tables of this configuration.
    ///
    /// # Errors
    /// `config_invalid` where values contradict each other.
    pub fn new(config: SqliteConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config })
    }
}

#[async_trait]
impl TriggerDatabase for SqliteTriggers {
    fn engine(&self) -> Engine {
        Engine::Sqlite
    }

    fn grants(&self, connector: &str) -> Result<Script> {
        Ok(grants::of_change_tables(&self.config, connector))
    }

    async fn survey(&self) -> Result<Survey> {
        let mut connection = connect::open(&self.config).await?;
        let discovery = discover::discover(&mut connection, &self.config).await?;
        let surveyed = read(&mut connection).await;
        let (tables, triggers) = surveyed.map_err(|error| classify(error, &self.config.path))?;
        let is_marked = |name: &str| {
            tables
                .iter()
                .any(|table| table.name.table == name && table.mark.is_some())
        };
        let captured: Vec<CapturedTable> = discovery
            .tables
            .into_iter()
            .filter(|table| table.query.is_none() && !is_marked(&table.schema.name.table))
            .map(|table| CapturedTable {
                declared: table
                    .schema
                    .columns
                    .iter()
                    .map(|column| column.source_type.clone())
                    .collect(),
                schema: table.schema,
            })
            .collect();
        let wanted: Vec<TableName> = captured
            .iter()
            .map(|table| Engine::Sqlite.change_table(&table.schema.name))
            .collect();
        connect::close(connection).await;
        Ok(Survey {
            tables: captured,
            change_tables: tables
                .into_iter()
                .filter(|table| table.mark.is_some() || wanted.contains(&table.name))
                .collect(),
            functions: Vec::new(),
            triggers,
            findings: Vec::new(),
        })
    }

    async fn apply(&self, statements: &[String]) -> Result<()> {
        let mut connection = connect::open_for_changes(&self.config).await?;
        for statement in statements {
            // Made by the generator, which quotes every name.
            let done = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
                .execute(&mut connection)
                .await;
            done.map_err(|error| classify(error, &self.config.path))?;
        }
        connect::close(connection).await;
        Ok(())
    }

    fn reader(&self, change_tables: &[Reading]) -> Result<Arc<dyn SourceConnector>> {
        let mut config = self.config.clone();
        config.tables = change_tables
            .iter()
            .map(|reading| exact_pattern(&reading.change_table))
            .collect();
        config.exclude = Vec::new();
        config.query = reading_query(&self.config.query, change_tables);
        let columns = change_tables
            .iter()
            .flat_map(|reading| typed_columns(&self.config, reading));
        config.columns = columns.collect();
        Ok(Arc::new(SqliteConnector::new(config)?))
    }
}

/// What is configured for a captured column holds for both of its columns.
fn typed_columns(config: &SqliteConfig, reading: &Reading) -> Vec<(String, crate::config::ColumnType)> {
    let of_table = reading.columns.iter().filter_map(|(captured, before, after)| {
        let configured = config.column_type(&reading.captured.table, captured)?;
        Some([before, after].map(|column| (format!("{}.{column}", reading.change_table.table), configured)))
    });
    of_table.flatten().collect()
}

fn name_of(table: String) -> TableName {
    TableName {
        database: String::new(),
        schema: String::new(),
        table,
    }
}

/// All tables with their columns, and all triggers.
async fn read(connection: &mut SqliteConnection) -> sqlx::Result<(Vec<InstalledTable>, Vec<InstalledTrigger>)> {
    let statement = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL ORDER BY name";
    let listed: Vec<(String, String)> = sqlx::query_as(statement).fetch_all(&mut *connection).await?;
    let mut tables = Vec::with_capacity(listed.len());
    for (table, sql) in listed {
        let statement = "SELECT name, type FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid";
        let columns: Vec<(String, String)> = sqlx::query_as(statement)
            .bind(&table)
            .fetch_all(&mut *connection)
            .await?;
        let is_own = |column: &str| [SEQUENCE, OPERATION, CHANGED_AT, VERSION].contains(&column);
        tables.push(InstalledTable {
            mark: mark_in(&sql),
            columns: columns.into_iter().filter(|(column, _)| !is_own(column)).collect(),
            name: name_of(table),
        });
    }
    let statement = "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name";
    let listed: Vec<(String, String, String)> = sqlx::query_as(statement).fetch_all(&mut *connection).await?;
    let triggers = listed.into_iter().map(|(name, table, sql)| InstalledTrigger {
        table: name_of(table),
        name,
        definition: sql,
        state: TriggerState::Always,
    });
    Ok((tables, triggers.collect()))
}

/// The comment at the beginning of a change table's columns.
fn mark_in(sql: &str) -> Option<String> {
    let (_, rest) = sql.split_once("(\n  /* ")?;
    let (comment, _) = rest.split_once(" */")?;
    name::is_mark(comment).then(|| comment.to_owned())
}

#[cfg(test)]
mod tests;
