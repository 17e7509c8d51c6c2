//! The statements that tables are polled with, written once for every database.
//!
//! `(timestamp, id) > (?, ?)` would say a page in one. But where id is the rowid SQLite only uses the index for the timestamp
//! and walks over every row of the same time again for each page, and MySQL uses no index at all. So a page after a timestamp is
//! two statements, one after the other in the same state of the database: the rest of the rows of the cursor's own time, by
//! id; then the rows of later times.

use crate::cursor::{Cursor, CursorValue};
use crate::dialect::Syntax;
use crate::plan::PolledTable;

/// A statement, or the end of one, with values in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statement {
    /// Text and values, in their order.
    pub pieces: Vec<Piece>,
}

/// A part of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// SQL.
    Text(String),
    /// A value of a column of the table that the statement is about, which says its type.
    Value {
        /// Index of the column in the table's schema.
        column: usize,
        /// The value.
        value: CursorValue,
    },
}

// === impl Statement ===

impl Statement {
    /// A statement without values.
    pub fn text(text: impl Into<String>) -> Self {
        Self::default().then(text)
    }

    /// More SQL.
    #[must_use]
    pub fn then(mut self, text: impl Into<String>) -> Self {
        self.pieces.push(Piece::Text(text.into()));
        self
    }

    /// A value of a column.
    #[must_use]
    pub fn value(mut self, column: usize, value: &CursorValue) -> Self {
        self.pieces.push(Piece::Value {
            column,
            value: value.clone(),
        });
        self
    }

    /// What follows it.
    #[must_use]
    pub fn append(mut self, other: Self) -> Self {
        self.pieces.extend(other.pieces);
        self
    }

    /// The statement as text, each value as `write` gives it: a literal, or a placeholder for what it then binds.
    pub fn render(&self, mut write: impl FnMut(usize, &CursorValue) -> String) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Value { column, value } => write(*column, value),
        });
        pieces.collect()
    }
}

/// Rows with ids from after `after` to `until`, by id; all with an id where neither is given.
pub fn by_id(
    syntax: &dyn Syntax,
    table: &PolledTable,
    after: Option<&CursorValue>,
    until: Option<i64>,
) -> Vec<Statement> {
    let Some(column) = table.id_column else {
        return vec![from(syntax, table)];
    };
    let id = syntax.identifier(table.id_name());
    let mut statement = from(syntax, table);
    statement = match after {
        Some(after) => statement.then(format!(" WHERE {id} > ")).value(column, after),
        None => statement.then(format!(" WHERE {id} IS NOT NULL")),
    };
    if let Some(until) = until {
        statement = statement
            .then(format!(" AND {id} <= "))
            .value(column, &CursorValue::Integer(until));
    }
    vec![statement.then(format!("{} ORDER BY {id}", unmarked(syntax, table)))]
}

/// Rows after the cursor, by timestamp, and by id where the table has one.
pub fn by_time(syntax: &dyn Syntax, table: &PolledTable, after: &Cursor) -> Vec<Statement> {
    let (Some(time_column), time) = (table.timestamp_column, syntax.identifier(table.timestamp_name())) else {
        return Vec::new();
    };
    let order: Vec<_> = table
        .cursor_columns()
        .iter()
        .map(|column| syntax.identifier(column))
        .collect();
    let end = format!("{} ORDER BY {}", unmarked(syntax, table), order.join(", "));
    let id = table
        .id_column
        .map(|column| (column, syntax.identifier(table.id_name())));
    let known_id = id
        .as_ref()
        .map_or_else(String::new, |(_, id)| format!(" AND {id} IS NOT NULL"));
    let Some(last_time) = &after.timestamp else {
        return vec![from(syntax, table).then(format!(" WHERE {time} IS NOT NULL{known_id}{end}"))];
    };
    let mut statements = Vec::new();
    if let (Some((column, id)), Some(last)) = (&id, &after.id) {
        let rest = from(syntax, table)
            .then(format!(" WHERE {time} = "))
            .value(time_column, last_time)
            .then(format!(" AND {id} > "))
            .value(*column, last);
        statements.push(rest.then(end.clone()));
    }
    let later = from(syntax, table)
        .then(format!(" WHERE {time} > "))
        .value(time_column, last_time);
    statements.push(later.then(format!("{known_id}{end}")));
    statements
}

/// All rows of one time.
pub fn of_time(syntax: &dyn Syntax, table: &PolledTable, column: usize, time: &CursorValue) -> Statement {
    from(syntax, table)
        .then(format!(" WHERE {} = ", syntax.identifier(table.timestamp_name())))
        .value(column, time)
}

/// The highest id that is in the table.
pub fn highest_id(syntax: &dyn Syntax, table: &PolledTable) -> Statement {
    Statement::text(format!("SELECT max({}) ", syntax.identifier(table.id_name()))).append(from(syntax, table))
}

/// `FROM` the table, or the answer of the query that it is.
pub fn from(syntax: &dyn Syntax, table: &PolledTable) -> Statement {
    let name = &table.table.schema.name;
    Statement::text(match &table.table.query {
        Some(query) => format!("FROM ({query}) AS {}", syntax.identifier(&name.table)),
        None => format!("FROM {}", syntax.table(name)),
    })
}

/// Of a queue, only what was not acknowledged.
fn unmarked(syntax: &dyn Syntax, table: &PolledTable) -> String {
    let column = table.mark_column.as_ref();
    column.map_or_else(String::new, |column| {
        format!(" AND {} IS NULL", syntax.identifier(column))
    })
}
