//! Which columns of a table are its cursor, and what is wrong with them.

use tailrace_core::Error;
use tailrace_core::check::{Finding, Severity};
use tailrace_core::value::LogicalType;

use crate::config::{Acknowledge, QueryConfig, QueryMode};
use crate::dialect::{DiscoveredTable, IdGeneration};

/// A table that is polled, with its cursor columns found.
#[derive(Debug, Clone)]
pub struct PolledTable {
    /// The table as the database describes it.
    pub table: DiscoveredTable,
    /// What says that a row is new.
    pub mode: QueryMode,
    /// Index of the id column; `timestamp` and `bulk` may do without.
    pub id_column: Option<usize>,
    /// Index of the timestamp column, where the mode has one.
    pub timestamp_column: Option<usize>,
    /// How old a timestamp must be, microseconds.
    pub delay_us: i64,
    /// The column that marks acknowledged rows of a queue, where they are marked.
    pub mark_column: Option<String>,
    /// The column that marks a row as deleted, and the value that does where not every value but NULL does.
    pub deleted: Option<(usize, Option<String>)>,
}

// === impl PolledTable ===

impl PolledTable {
    /// Finds the cursor columns. An error is a finding that blocks.
    pub fn resolve(table: DiscoveredTable, config: &QueryConfig) -> Result<Self, Finding> {
        let name = table.schema.name.qualified();
        let mode = config.mode_of(&name);
        let keys = config.queries.get(&name).map(|query| query.key.iter());
        if let Some(missing_key) = keys
            .into_iter()
            .flatten()
            .find(|key| table.schema.column_index(key).is_none())
        {
            return Err(missing(&table, &name, "queries.key", missing_key));
        }
        let id_column = match id_column(&table, &name, mode, config) {
            Ok(column) => Some(column),
            Err(_) if !mode.needs_id() && config.id_column_of(&name).is_none() => None,
            Err(finding) => return Err(finding),
        };
        let by_time = mode.by_time() || (mode == QueryMode::Queue && config.timestamp_column_of(&name).is_some());
        let timestamp_column = by_time.then(|| timestamp_column(&table, &name, config)).transpose()?;
        // Tables without the column have no rows that are deleted by marking them; that no table has it is found elsewhere.
        let deleted = config.deleted.as_ref().and_then(|deleted| {
            let column = table.schema.column_index(&deleted.column)?;
            Some((column, deleted.value.clone()))
        });
        let mark_column = match (&config.acknowledge, mode) {
            (Acknowledge::Mark(column), QueryMode::Queue) => Some(mark_column(&table, &name, column)?),
            _ => None,
        };
        if mode == QueryMode::Queue && table.query.is_some() {
            return Err(Finding::blocks(
                "queue_of_query",
                format!("{name} is a query, whose rows cannot be acknowledged one by one, and mode queue does that"),
                "poll it with another mode, or name a table",
            ));
        }
        Ok(Self {
            table,
            mode,
            id_column,
            timestamp_column,
            mark_column,
            deleted,
            delay_us: i64::try_from(config.delay_ms.saturating_mul(1000)).unwrap_or(i64::MAX),
        })
    }

    /// The table's name in full.
    pub fn name(&self) -> String {
        self.table.schema.name.qualified()
    }

    /// Name of the id column; empty where there is none.
    pub fn id_name(&self) -> &str {
        self.column_name(self.id_column)
    }

    /// Name of the timestamp column; empty where the mode has none.
    pub fn timestamp_name(&self) -> &str {
        self.column_name(self.timestamp_column)
    }

    fn column_name(&self, index: Option<usize>) -> &str {
        let column = index.and_then(|index| self.table.schema.columns.get(index));
        column.map_or("", |column| &column.name)
    }

    /// The cursor columns, in the order in which rows are read.
    pub fn cursor_columns(&self) -> Vec<&str> {
        let timestamp = self.timestamp_column.map(|_| self.timestamp_name());
        let id = self.id_column.map(|_| self.id_name());
        timestamp.into_iter().chain(id).collect()
    }

    /// True where an index gives rows in the order of the cursor.
    pub fn has_cursor_index(&self) -> bool {
        let wanted = self.cursor_columns();
        let fits = |index: &Vec<String>| wanted.iter().zip(index).all(|(a, b)| a == b) && index.len() >= wanted.len();
        self.table.indexes.iter().any(fits)
    }

    /// Who makes the ids of this cursor.
    pub fn id_generation(&self) -> IdGeneration {
        match &self.table.generated_id {
            Some((column, generation)) if column == self.id_name() => *generation,
            Some(_) | None => IdGeneration::Application,
        }
    }
}

fn id_column(table: &DiscoveredTable, name: &str, mode: QueryMode, config: &QueryConfig) -> Result<usize, Finding> {
    let schema = &table.schema;
    let index = match (config.id_column_of(name), schema.key.as_slice()) {
        (Some(column), _) => schema
            .column_index(column)
            .ok_or_else(|| missing(table, name, "id_column", column))?,
        (None, [only]) => *only,
        (None, key) => {
            let why = if key.is_empty() {
                "has no primary key"
            } else {
                "has a primary key of several columns"
            };
            return Err(Finding::blocks(
                "id_column_missing",
                format!("table {name} {why}, so that nothing says where a poll continues"),
                format!("name a unique column: query: {{ overrides: {{ {name}: {{ id_column: <column> }} }} }}"),
            ));
        }
    };
    let column = schema.columns.get(index).map_or("", |column| &column.name);
    if table.query.is_none() && !table.unique_columns.iter().any(|unique| unique == column) {
        return Err(Finding::blocks(
            "id_column_not_unique",
            format!("column {column} of table {name} is not unique: rows with the same value would be skipped"),
            format!("CREATE UNIQUE INDEX {name}_{column} ON {name} ({column});"),
        ));
    }
    let integer = schema
        .columns
        .get(index)
        .is_some_and(|column| is_integer(&column.logical_type));
    let by_id = match mode {
        QueryMode::Incrementing => true,
        QueryMode::Queue => config.timestamp_column_of(name).is_none(),
        QueryMode::Bulk | QueryMode::Timestamp | QueryMode::TimestampIncrementing => false,
    };
    if by_id && !integer {
        return Err(Finding::blocks(
            "id_column_not_a_number",
            format!(
                "column {column} of table {name} does not hold whole numbers, which mode {} orders rows by",
                mode.name()
            ),
            "name another id_column, or the timestamp_column that says which row came first",
        ));
    }
    Ok(index)
}

fn is_integer(logical_type: &LogicalType) -> bool {
    matches!(
        logical_type,
        LogicalType::Int16 | LogicalType::Int32 | LogicalType::Int64 | LogicalType::UnsignedInt64
    )
}

fn timestamp_column(table: &DiscoveredTable, name: &str, config: &QueryConfig) -> Result<usize, Finding> {
    let Some(column) = config.timestamp_column_of(name) else {
        return Err(Finding::blocks(
            "timestamp_column_missing",
            format!(
                "mode {} needs the column of table {name} that holds the time of the last change",
                config.mode_of(name).name()
            ),
            "query: { timestamp_column: <column> }",
        ));
    };
    table
        .schema
        .column_index(column)
        .ok_or_else(|| missing(table, name, "timestamp_column", column))
}

/// A column that marks rows as deleted, and that no table has.
pub fn unknown_deleted_column(config: &QueryConfig, tables: &[PolledTable]) -> Option<Finding> {
    let column = &config.deleted.as_ref()?.column;
    tables.iter().all(|table| table.deleted.is_none()).then(|| {
        Finding::blocks(
            "column_missing",
            format!(
                "no table has the column {column} that query.deleted names: rows that are deleted would not be told"
            ),
            "name the column that marks rows as deleted in query.deleted.column, or leave query.deleted out",
        )
    })
}

fn mark_column(table: &DiscoveredTable, name: &str, column: &str) -> Result<String, Finding> {
    match table.schema.column_index(column) {
        Some(_) => Ok(column.to_owned()),
        None => Err(missing(table, name, "acknowledge", column)),
    }
}

fn missing(table: &DiscoveredTable, name: &str, setting: &'static str, column: &str) -> Finding {
    let code = match setting {
        "id_column" => "id_column_missing",
        "timestamp_column" => "timestamp_column_missing",
        _ => "column_missing",
    };
    let columns: Vec<_> = table.schema.columns.iter().map(|column| column.name.as_str()).collect();
    if code == "column_missing" {
        return Finding::blocks(
            code,
            format!(
                "table {name} has no column {column}, which query.{setting} names; it has {}",
                columns.join(", ")
            ),
            format!("name one of its columns in query.{setting}, or leave the table out"),
        );
    }
    Finding::blocks(
        code,
        format!("table {name} has no column {column}; it has {}", columns.join(", ")),
        format!("query: {{ overrides: {{ {name}: {{ {setting}: <column> }} }} }}, or leave the table out"),
    )
}

/// A finding that blocks, as the error that it prevents.
pub fn blocking_error(finding: &Finding) -> Error {
    debug_assert_eq!(finding.severity, Severity::Blocks);
    let remedy = if finding.remedy.is_empty() {
        String::new()
    } else {
        format!("; remedy: {}", finding.remedy)
    };
    Error::definite(finding.code, format!("{}{remedy}", finding.problem))
}
