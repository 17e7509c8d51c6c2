//! The statements that a page is read with.
//!
//! `(timestamp, id) > (?, ?)` would say it in one, but where id is the rowid SQLite only uses the index for the timestamp,
//! and walks over every row of the same time again for each page. So a page is two statements, one after the other in the
//! same state of the database: the rest of the rows of the cursor's own time, by id; then the rows of later times.

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite};
use tailrace_sql::{Cursor, CursorValue, PolledTable};

use crate::discover::quote;

/// One statement, without its limit.
pub(crate) struct Part<'a> {
    text: String,
    values: Vec<&'a CursorValue>,
}

/// The statements of the page after this cursor, in the order in which they must run.
pub(crate) fn parts<'a>(table: &PolledTable, after: &'a Cursor) -> Vec<Part<'a>> {
    let id = quote(table.id_name());
    let Some(_) = table.timestamp_column else {
        return vec![match &after.id {
            Some(last) => part(table, &format!("{id} > ?"), vec![last]),
            None => part(table, &format!("{id} IS NOT NULL"), Vec::new()),
        }];
    };
    let timestamp = quote(table.timestamp_name());
    let (Some(last), Some(last_time)) = (&after.id, &after.timestamp) else {
        return vec![part(
            table,
            &format!("{timestamp} IS NOT NULL AND {id} IS NOT NULL"),
            Vec::new(),
        )];
    };
    vec![
        part(table, &format!("{timestamp} = ? AND {id} > ?"), vec![last_time, last]),
        part(table, &format!("{timestamp} > ? AND {id} IS NOT NULL"), vec![last_time]),
    ]
}

fn part<'a>(table: &PolledTable, condition: &str, values: Vec<&'a CursorValue>) -> Part<'a> {
    let columns = table.table.schema.columns.iter().map(|column| quote(&column.name));
    let order = table.cursor_columns().into_iter().map(quote);
    let text = format!(
        "SELECT {} FROM {} WHERE {condition} ORDER BY {} LIMIT ?",
        columns.collect::<Vec<_>>().join(", "),
        quote(&table.name()),
        order.collect::<Vec<_>>().join(", ")
    );
    Part { text, values }
}

// === impl Part ===

impl Part<'_> {
    /// The statement, as SQLite reads it.
    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The statement with its values, for at most so many rows.
    pub(crate) fn query<'q>(self, limit: u32) -> Query<'q, Sqlite, SqliteArguments> {
        let mut query = sqlx::query(AssertSqlSafe(self.text));
        for value in self.values {
            query = match value {
                CursorValue::Integer(value) => query.bind(*value),
                CursorValue::Text(text) => query.bind(text.clone()),
                // What cannot be read is no number and never was: `CursorValue::real` wrote it.
                CursorValue::Real { real } => query.bind(real.parse::<f64>().unwrap_or(f64::MIN)),
            };
        }
        query.bind(i64::from(limit))
    }
}
