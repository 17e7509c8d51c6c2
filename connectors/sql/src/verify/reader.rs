//! Rows of one table: the next ones in the order of its key, or those of given keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use tailrace_core::batch::{Change, ChangeBatch, RowView};
use tailrace_core::error::Kind;
use tailrace_core::ports::Budget;
use tailrace_core::position::{Position, Progress};
use tailrace_core::schema::{Column, SharedSchema};
use tailrace_core::value::{LogicalType, TextKind};
use tailrace_core::{Error, Result};

use super::canonical::{self, Form};
use super::condition::{KeyColumn, among, behind};
use super::pairing::Key;
use crate::config::QueryMode;
use crate::cursor::Cursor;
use crate::dialect::{Dialect, Fetched, PageRequest};
use crate::page::{PageRule, PageWriter};
use crate::plan::PolledTable;
use crate::statement::Statement;

/// Keys that are asked for in one statement: each is a part of its text.
pub(super) const KEYS_AT_A_TIME: usize = 500;

/// Which of the two tables that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where the rows come from.
    Source,
    /// Where the sink writes.
    Target,
}

/// A table that is read.
pub struct TableReader {
    dialect: Box<dyn Dialect>,
    table: PolledTable,
    schema_version: i64,
    side: Side,
}

/// What a statement gave.
struct Page {
    batch: ChangeBatch,
    /// There is a row behind these that cannot be read.
    is_cut: bool,
}

// === impl TableReader ===

impl TableReader {
    /// Finds the table with this name among those that the session finds.
    ///
    /// # Errors
    /// Definite `table_missing`; what the database answers.
    pub async fn open(mut dialect: Box<dyn Dialect>, name: &str, side: Side) -> Result<Self> {
        let discovery = dialect.discover().await?;
        let schema_version = discovery.schema_version;
        let mut tables = discovery.tables.into_iter();
        let Some(table) = tables.find(|table| table.schema.name.table == name) else {
            let message = format!("table {name} is not there any more; is somebody altering it? try again");
            return Err(Error::definite("table_missing", message));
        };
        Ok(Self {
            dialect,
            table: PolledTable {
                table,
                mode: QueryMode::Bulk,
                id_column: None,
                timestamp_column: None,
                delay_us: 0,
                mark_column: None,
                deleted: None,
            },
            schema_version,
            side,
        })
    }

    /// Columns and key.
    pub fn schema(&self) -> &SharedSchema {
        &self.table.table.schema
    }

    /// The next rows in the order of these columns, behind the row with these values of them, and those values of the last row where there may
    /// be more. Rows without a key are passed over: nothing could be paired with them.
    ///
    /// # Errors
    /// Definite `key_not_comparable` where rows cannot be walked over by these columns, `table_altered` where the table is another one than it
    /// was, `value_undecodable`; what the database answers.
    pub async fn chunk(
        &mut self,
        key: &[usize],
        after: Option<&Key>,
        limit: u32,
    ) -> Result<(ChangeBatch, Option<Key>)> {
        let columns = self.columns(key)?;
        if let Some(unordered) = columns.iter().find(|column| is_ordered_otherwise(&column.column)) {
            return Err(unordered.not_comparable());
        }
        let batch = self.page_behind(&columns, after, limit).await?;
        let ends = self.ends(key, &batch);
        if columns.iter().any(|column| is_moment(&column.column)) {
            self.check_found((key, &columns), &ends, (after, limit)).await?;
        }
        let is_full = u32::try_from(batch.changes.len()).is_ok_and(|rows| rows >= limit);
        let last = match ends.map(|(_, last)| last) {
            Some(last) if is_full => Some(last),
            // A walk that knows no place to go on at would seem to be at its end.
            None if is_full => return Err(self.key_unknown()),
            _ => None,
        };
        Ok((batch, last))
    }

    /// The rows whose key columns have these values, in any order. `blanks` says for each column how many characters its values may be filled
    /// up to. A value that the column's type does not have is one that no row has.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub async fn by_keys(
        &mut self,
        key: &[usize],
        blanks: &[Option<usize>],
        keys: &[&Key],
    ) -> Result<Vec<ChangeBatch>> {
        let mut columns = self.columns(key)?;
        for (column, blanks) in columns.iter_mut().zip(blanks) {
            column.filled_to = *blanks;
        }
        let mut batches = Vec::new();
        for keys in keys.chunks(KEYS_AT_A_TIME) {
            let Some(statement) = among(self.from(), self.dialect.syntax(), &columns, keys)? else {
                continue;
            };
            match self.fetch(statement, None).await {
                Ok(page) if !page.is_cut => batches.push(page.batch),
                Ok(_) => return Err(self.undecodable(&columns, keys, None).await),
                Err(error) if error.kind() == Kind::Poison => {
                    return Err(self.undecodable(&columns, keys, Some(error)).await);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(batches)
    }

    /// The values of key columns of a row, as [`Self::chunk`] takes them.
    fn key_of(&self, key: &[usize], row: RowView<'_>) -> Option<Key> {
        let of = |index: &usize| {
            let column = self.schema().columns.get(*index)?;
            // With its blanks: whoever stores them compares with them.
            let form = match canonical::form(column, column)? {
                Form::Padded => Form::Written,
                form => form,
            };
            form.of(&column.logical_type, row.get(*index))
        };
        key.iter().map(of).collect()
    }

    /// The keys of the first row and of the last.
    fn ends(&self, key: &[usize], batch: &ChangeBatch) -> Option<(Key, Key)> {
        let of = |change: Option<&Change>| self.key_of(key, batch.row(change?.after?));
        Some((of(batch.changes.first())?, of(batch.changes.last())?))
    }

    /// Whether rows are found by the keys that they were read with. A file of SQLite keeps moments in whatever form they were written, and is
    /// asked for one.
    async fn check_found(
        &mut self,
        (key, columns): (&[usize], &[KeyColumn]),
        ends: &Option<(Key, Key)>,
        (after, limit): (Option<&Key>, u32),
    ) -> Result<()> {
        let Some((first, last)) = ends else { return Ok(()) };
        let mut lost = BTreeSet::from([first, last]);
        for batch in self.by_keys(key, &[], &[first, last]).await? {
            let found = self.keys(key, &batch);
            lost.retain(|key| !found.contains(*key));
        }
        if lost.is_empty() {
            return Ok(());
        }
        // Unless it was deleted meanwhile.
        let again = self.page_behind(columns, after, limit).await?;
        let there = self.keys(key, &again);
        match columns.iter().find(|column| is_moment(&column.column)) {
            Some(column) if lost.into_iter().any(|key| there.contains(key)) => Err(column.not_comparable()),
            _ => Ok(()),
        }
    }

    fn key_unknown(&self) -> Error {
        let message = format!(
            "table {} has a row whose key has no value that could be read, a date that no calendar has, say, so that nothing can be read behind \
             it; correct the row, or leave the table out with --table",
            self.table.name()
        );
        Error::definite("key_not_comparable", message)
    }

    fn keys(&self, key: &[usize], batch: &ChangeBatch) -> BTreeSet<Key> {
        let rows = batch.changes.iter().filter_map(|change| change.after);
        rows.filter_map(|row| self.key_of(key, batch.row(row))).collect()
    }

    fn from(&self) -> Statement {
        Statement::text(format!("FROM {}", self.dialect.syntax().table(&self.schema().name)))
    }

    fn columns(&self, key: &[usize]) -> Result<Vec<KeyColumn>> {
        let column = |index: &usize| {
            Some(KeyColumn {
                index: *index,
                column: self.schema().columns.get(*index)?.clone(),
                filled_to: None,
            })
        };
        let columns: Option<Vec<_>> = key.iter().map(column).collect();
        columns.ok_or_else(|| altered(&self.table.name()))
    }

    async fn page_behind(&mut self, columns: &[KeyColumn], after: Option<&Key>, limit: u32) -> Result<ChangeBatch> {
        let key: Vec<usize> = columns.iter().map(|column| column.index).collect();
        let page = match self.fetch(self.behind(columns, after)?, Some(limit)).await {
            Ok(page) if !page.is_cut => return Ok(page.batch),
            other => other,
        };
        let (before, error) = match page {
            Ok(page) => {
                let before = self.ends(&key, &page.batch).map(|(_, last)| last);
                let next = self.fetch(self.behind(columns, before.as_ref())?, Some(1)).await;
                (before, next.err())
            }
            Err(error) if error.kind() == Kind::Poison => (after.cloned(), Some(error)),
            Err(error) => return Err(error),
        };
        let place = match before {
            Some(before) => format!("the row behind {}", key_text(columns, &before)),
            None => "the first row".to_owned(),
        };
        Err(self.undecodable_at(&place, error))
    }

    fn behind(&self, columns: &[KeyColumn], after: Option<&Key>) -> Result<Statement> {
        let syntax = self.dialect.syntax();
        let names = columns.iter().map(|column| syntax.identifier(&column.column.name));
        let names: Vec<String> = names.collect();
        let statement = behind(self.from(), syntax, columns, after)?;
        Ok(statement.then(format!(" ORDER BY {}", names.join(", "))))
    }

    /// Which of these keys it is whose row cannot be read.
    async fn undecodable(&mut self, columns: &[KeyColumn], keys: &[&Key], found: Option<Error>) -> Error {
        for key in keys {
            let statement = among(self.from(), self.dialect.syntax(), columns, &[*key]);
            let Ok(Some(statement)) = statement else { continue };
            if let Err(error) = self.fetch(statement, None).await {
                return self.undecodable_at(&format!("the row {}", key_text(columns, key)), Some(error));
            }
        }
        self.undecodable_at("a row", found)
    }

    /// `place` is the row's, and `error` says which column it is.
    fn undecodable_at(&self, place: &str, error: Option<Error>) -> Error {
        let side = match self.side {
            Side::Source => "source",
            Side::Target => "target",
        };
        let why = error.map_or_else(String::new, |error| format!(": {}", error.report()));
        let message = format!(
            "table {} of the {side} holds a value in {place} that cannot be carried{why}; correct it, or leave the table out with --table",
            self.table.name()
        );
        Error::definite("value_undecodable", message)
    }

    async fn fetch(&mut self, statement: Statement, limit: Option<u32>) -> Result<Page> {
        let mut batch = ChangeBatch::new(Arc::from("verify"), Progress::at(Position::new("")));
        let everything = Budget {
            changes: usize::MAX,
            bytes: usize::MAX,
        };
        let mut page = PageWriter::new(&mut batch, &self.table, Cursor::default(), everything, PageRule::Plain);
        let request = PageRequest {
            table: &self.table,
            statements: &[statement],
            limit,
            schema_version: self.schema_version,
        };
        match self.dialect.fetch(request, &mut page).await? {
            Fetched::SchemaChanged => Err(altered(&self.table.name())),
            // A page ends before a row that cannot be read, unless it is the first.
            Fetched::Rows(rows) => Ok(Page {
                is_cut: usize::try_from(rows) != Ok(batch.changes.len()),
                batch,
            }),
        }
    }
}

fn key_text(columns: &[KeyColumn], key: &Key) -> String {
    let parts = columns.iter().zip(key);
    let parts: Vec<String> = parts
        .map(|(column, value)| format!("{}={value}", column.column.name))
        .collect();
    parts.join(", ")
}

fn altered(table: &str) -> Error {
    let message = format!("table {table} was altered while it was compared; compare it again");
    Error::definite("table_altered", message)
}

/// MySQL puts these in the order of their symbols' numbers, and compares them with text as text. PostgreSQL does both by the order in which they
/// are declared, and calls the types otherwise.
fn is_ordered_otherwise(column: &Column) -> bool {
    let source_type = column.source_type.to_ascii_lowercase();
    matches!(
        column.logical_type,
        LogicalType::Text(TextKind::Enum(_) | TextKind::Set(_))
    ) && (source_type.starts_with("enum(") || source_type.starts_with("set("))
}

fn is_moment(column: &Column) -> bool {
    matches!(
        column.logical_type,
        LogicalType::Date | LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::super::sample::column;
    use super::*;

    #[test]
    fn symbols_of_mysql_have_an_order_of_their_own() {
        let symbols = || ["new", "done"].map(str::to_owned).into();
        let is_otherwise =
            |source_type, kind| is_ordered_otherwise(&column("status", source_type, LogicalType::Text(kind)));
        assert!(is_otherwise("enum('new','done')", TextKind::Enum(symbols())));
        assert!(is_otherwise("set('new','done')", TextKind::Set(symbols())));
        assert!(!is_otherwise("status", TextKind::Enum(symbols())), "of PostgreSQL");
        assert!(!is_otherwise("varchar(9)", TextKind::Plain));
    }
}
