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
use super::condition::{KeyColumn, Match, among, behind};
use super::pairing::{Key, Spelling};
use crate::config::QueryMode;
use crate::cursor::Cursor;
use crate::dialect::{Dialect, DiscoveredTable, Fetched, PageRequest};
use crate::page::{PageRule, PageWriter};
use crate::plan::PolledTable;
use crate::statement::{Statement, from};

/// Keys that are asked for in one statement: each is a part of its text.
const KEYS_AT_A_TIME: usize = 500;
/// Somebody who creates tables all the time is not waited for.
const LOOKS_AT_THE_SCHEMA: usize = 10;

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
    /// There is a row behind these that cannot be read, or for which there was no room.
    is_cut: bool,
}

/// Takes what was read, before more is.
pub(super) type Taking<'t> = dyn FnMut(ChangeBatch) -> Result<()> + Send + 't;

/// Keeps everything that was read.
pub(super) fn keeping(batches: &mut Vec<ChangeBatch>) -> impl FnMut(ChangeBatch) -> Result<()> + Send {
    |batch| {
        batches.push(batch);
        Ok(())
    }
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
        let Page { batch, is_cut } = self.page_behind(&columns, after, limit).await?;
        let ends = self.ends(key, &batch);
        if columns.iter().any(|column| is_moment(&column.column)) {
            self.check_found((key, &columns), &ends, (after, limit)).await?;
        }
        let is_full = is_cut || u32::try_from(batch.changes.len()).is_ok_and(|rows| rows >= limit);
        let last = match ends.map(|(_, last)| last) {
            Some(last) if is_full => Some(last),
            // A walk that knows no place to go on at would seem to be at its end.
            None if is_full => return Err(self.key_unknown()),
            _ => None,
        };
        Ok((batch, last))
    }

    /// The rows whose key columns have these values, in any order, some at a time, because rows take more than what is compared of them.
    /// `spellings` says for each column in which ways it may have them. A value that the column's type does not have is one that no row has.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub async fn by_keys(
        &mut self,
        key: &[usize],
        spellings: &[Spelling],
        keys: &[&Key],
        take: &mut Taking<'_>,
    ) -> Result<()> {
        let mut columns = self.columns(key)?;
        for (column, spelling) in columns.iter_mut().zip(spellings) {
            column.spelling = *spelling;
        }
        // The last one is the next.
        let mut open: Vec<&[&Key]> = keys.rchunks(KEYS_AT_A_TIME).collect();
        while let Some(keys) = open.pop() {
            match self.page_among(&columns, keys).await? {
                Some(batch) => take(batch)?,
                None => {
                    let (first, second) = keys.split_at(keys.len() / 2);
                    open.extend([second, first]);
                }
            }
        }
        Ok(())
    }

    /// The rows of these keys; `None` where they are too many for one page.
    async fn page_among(&mut self, columns: &[KeyColumn], keys: &[&Key]) -> Result<Option<ChangeBatch>> {
        let mut page = self.try_page_among(columns, keys, Match::Listed).await;
        if columns.iter().any(KeyColumn::is_spelled_freely)
            && let Ok(found) = &page
            && self.keys_count(columns, &found.batch) < keys.len()
        {
            page = self.try_page_among(columns, keys, Match::Folded).await;
        }
        match page {
            Ok(page) if !page.is_cut => Ok(Some(page.batch)),
            Ok(_) if keys.len() > 1 => Ok(None),
            Ok(_) => Err(self.undecodable(columns, keys, None).await),
            Err(error) if error.kind() == Kind::Poison => Err(self.undecodable(columns, keys, Some(error)).await),
            Err(error) => Err(error),
        }
    }

    async fn try_page_among(&mut self, columns: &[KeyColumn], keys: &[&Key], how: Match) -> Result<Page> {
        match among(self.from(), self.dialect.syntax(), columns, keys, how)? {
            Some(statement) => self.fetch(statement, None).await,
            None => Ok(Page {
                batch: empty_batch(),
                is_cut: false,
            }),
        }
    }

    /// Whether rows that were read are found by their own keys, whose canonical values these are.
    ///
    /// # Errors
    /// Definite `key_not_comparable`.
    pub(super) fn check_own<'k>(&self, key: &[usize], mut keys: impl Iterator<Item = &'k Key>) -> Result<()> {
        let columns = self.columns(key)?;
        keys.try_for_each(|key| {
            columns
                .iter()
                .zip(key)
                .try_for_each(|(column, value)| column.check_own(value))
        })
    }

    /// How many keys the rows have.
    fn keys_count(&self, columns: &[KeyColumn], batch: &ChangeBatch) -> usize {
        let key: Vec<usize> = columns.iter().map(|column| column.index).collect();
        let fold = |key: Key| -> Key {
            let values = columns.iter().zip(key);
            let folded = values.map(|(column, value)| match column.is_spelled_freely() {
                true => canonical::uuid(&value).unwrap_or(value),
                false => value,
            });
            folded.collect()
        };
        let keys: BTreeSet<Key> = self.keys(&key, batch).into_iter().map(fold).collect();
        keys.len()
    }

    /// The values of key columns of a row, as [`Self::chunk`] takes them.
    fn key_of(&self, key: &[usize], row: RowView<'_>) -> Option<Key> {
        let of = |index: &usize| {
            let column = self.schema().columns.get(*index)?;
            // With its blanks and zeros: whoever stores them compares with them.
            let form = match canonical::form(column, column)? {
                Form::Padded | Form::Filled => Form::Written,
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
        let mut found = Vec::new();
        self.by_keys(key, &[], &[first, last], &mut keeping(&mut found)).await?;
        for batch in &found {
            let found = self.keys(key, batch);
            lost.retain(|key| !found.contains(*key));
        }
        if lost.is_empty() {
            return Ok(());
        }
        // Unless it was deleted meanwhile.
        let again = self.page_behind(columns, after, limit).await?;
        let there = self.keys(key, &again.batch);
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
        from(self.dialect.syntax(), &self.table)
    }

    fn columns(&self, key: &[usize]) -> Result<Vec<KeyColumn>> {
        let column = |index: &usize| {
            Some(KeyColumn {
                index: *index,
                column: self.schema().columns.get(*index)?.clone(),
                spelling: Spelling::Exact,
            })
        };
        let columns: Option<Vec<_>> = key.iter().map(column).collect();
        columns.ok_or_else(|| altered(&self.table.name()))
    }

    async fn page_behind(&mut self, columns: &[KeyColumn], after: Option<&Key>, limit: u32) -> Result<Page> {
        let key: Vec<usize> = columns.iter().map(|column| column.index).collect();
        let page = match self.fetch(self.behind(columns, after)?, Some(limit)).await {
            Ok(page) if !page.is_cut => return Ok(page),
            other => other,
        };
        let (before, error) = match page {
            Ok(page) => {
                let before = self.ends(&key, &page.batch).map(|(_, last)| last);
                match self.fetch(self.behind(columns, before.as_ref())?, Some(1)).await {
                    // There was no room for it.
                    Ok(_) => return Ok(page),
                    Err(error) => (before, error),
                }
            }
            Err(error) => (after.cloned(), error),
        };
        if error.kind() != Kind::Poison {
            return Err(error);
        }
        let place = match before {
            Some(before) => format!("the row behind {}", key_text(columns, &before)),
            None => "the first row".to_owned(),
        };
        Err(self.undecodable_at(&place, Some(error)))
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
            if let Err(error) = self.try_page_among(columns, &[*key], Match::Listed).await {
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

    /// Whatever else is altered in the database meanwhile makes no difference, as long as the table is the same.
    async fn fetch(&mut self, statement: Statement, limit: Option<u32>) -> Result<Page> {
        let statements = [statement];
        for _ in 0..LOOKS_AT_THE_SCHEMA {
            if let Some(page) = self.try_to_fetch(&statements, limit).await? {
                return Ok(page);
            }
            self.look_at_schema().await?;
        }
        Err(altered(&self.table.name()))
    }

    /// `None` where the schema is another one.
    async fn try_to_fetch(&mut self, statements: &[Statement], limit: Option<u32>) -> Result<Option<Page>> {
        let mut batch = empty_batch();
        let everything = Budget {
            changes: usize::MAX,
            bytes: usize::MAX,
        };
        let mut page = PageWriter::new(&mut batch, &self.table, Cursor::default(), everything, PageRule::Plain);
        let request = PageRequest {
            table: &self.table,
            statements,
            limit,
            schema_version: self.schema_version,
        };
        Ok(match self.dialect.fetch(request, &mut page).await? {
            Fetched::SchemaChanged => None,
            // A page ends before a row that cannot be read, unless it is the first.
            Fetched::Rows(rows) => Some(Page {
                is_cut: usize::try_from(rows) != Ok(batch.changes.len()),
                batch,
            }),
        })
    }

    async fn look_at_schema(&mut self) -> Result<()> {
        let discovery = self.dialect.discover().await?;
        let known = &self.table.table;
        let is_same = |found: &&DiscoveredTable| found.schema == known.schema && found.query == known.query;
        if !discovery.tables.iter().any(|table| is_same(&table)) {
            return Err(altered(&self.table.name()));
        }
        self.schema_version = discovery.schema_version;
        Ok(())
    }
}

fn empty_batch() -> ChangeBatch {
    ChangeBatch::new(Arc::from("verify"), Progress::at(Position::new("")))
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
mod tests;
