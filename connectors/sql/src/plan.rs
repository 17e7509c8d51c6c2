//! Which columns of a table are its cursor, and what is wrong with them.

use tailrace_core::Error;
use tailrace_core::check::{Finding, Severity};
use tailrace_core::value::LogicalType;

use crate::config::{QueryConfig, QueryMode};
use crate::dialect::{DiscoveredTable, IdGeneration};

/// A table that is polled, with its cursor columns found.
#[derive(Debug, Clone)]
pub struct PolledTable {
    /// The table as the database describes it.
    pub table: DiscoveredTable,
    /// What says that a row is new.
    pub mode: QueryMode,
    /// Index of the id column.
    pub id_column: usize,
    /// Index of the timestamp column, where the mode has one.
    pub timestamp_column: Option<usize>,
    /// How old a timestamp must be, microseconds.
    pub delay_us: i64,
}

// === impl PolledTable ===

impl PolledTable {
    /// Finds the cursor columns. An error is a finding that blocks.
    pub fn resolve(table: DiscoveredTable, config: &QueryConfig) -> Result<Self, Finding> {
        let name = table.schema.name.qualified();
        let mode = config.mode_of(&name);
        let id_column = id_column(&table, &name, mode, config)?;
        let timestamp_column = match mode {
            QueryMode::Incrementing => None,
            QueryMode::TimestampIncrementing => Some(timestamp_column(&table, &name, config)?),
        };
        Ok(Self {
            table,
            mode,
            id_column,
            timestamp_column,
            delay_us: i64::try_from(config.delay_ms.saturating_mul(1000)).unwrap_or(i64::MAX),
        })
    }

    /// The table's name in full.
    pub fn name(&self) -> String {
        self.table.schema.name.qualified()
    }

    /// Name of the id column.
    pub fn id_name(&self) -> &str {
        self.column_name(Some(self.id_column))
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
        timestamp.into_iter().chain([self.id_name()]).collect()
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
    if !table.unique_columns.iter().any(|unique| unique == column) {
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
    if mode == QueryMode::Incrementing && !integer {
        return Err(Finding::blocks(
            "id_column_not_a_number",
            format!("column {column} of table {name} does not hold whole numbers, and mode incrementing needs them"),
            "name another id_column, or use mode: timestamp_incrementing",
        ));
    }
    Ok(index)
}

fn is_integer(logical_type: &LogicalType) -> bool {
    matches!(
        logical_type,
        LogicalType::Int16 | LogicalType::Int32 | LogicalType::Int64
    )
}

fn timestamp_column(table: &DiscoveredTable, name: &str, config: &QueryConfig) -> Result<usize, Finding> {
    let Some(column) = config.timestamp_column_of(name) else {
        return Err(Finding::blocks(
            "timestamp_column_missing",
            format!(
                "mode timestamp_incrementing needs the column of table {name} that holds the time of the last change"
            ),
            "query: { timestamp_column: <column> }",
        ));
    };
    table
        .schema
        .column_index(column)
        .ok_or_else(|| missing(table, name, "timestamp_column", column))
}

fn missing(table: &DiscoveredTable, name: &str, setting: &'static str, column: &str) -> Finding {
    let code = match setting {
        "id_column" => "id_column_missing",
        _ => "timestamp_column_missing",
    };
    let columns: Vec<_> = table.schema.columns.iter().map(|column| column.name.as_str()).collect();
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
