//! How statements are written for SQLite.

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite};
use tailrace_core::schema::TableName;
use tailrace_sql::{CursorValue, Statement, Syntax};

use crate::discover::quote;

/// SQLite's way to write names.
pub(crate) struct SqliteSyntax;

impl Syntax for SqliteSyntax {
    fn identifier(&self, name: &str) -> String {
        quote(name)
    }

    fn table(&self, name: &TableName) -> String {
        quote(&name.table)
    }
}

/// A statement between `begin` and `end`, with its values bound.
pub(crate) fn query<'q>(begin: &str, statement: &Statement, end: &str) -> Query<'q, Sqlite, SqliteArguments> {
    let mut values = Vec::new();
    let text = statement.render(|_, value| {
        values.push(value.clone());
        "?".to_owned()
    });
    let mut query = sqlx::query(AssertSqlSafe(format!("{begin}{text}{end}")));
    for value in values {
        query = match value {
            CursorValue::Integer(value) => query.bind(value),
            CursorValue::Text(text) => query.bind(text),
            // What cannot be read is no number and never was: `CursorValue::real` wrote it.
            CursorValue::Real { real } => query.bind(real.parse::<f64>().unwrap_or(f64::MIN)),
        };
    }
    query
}
