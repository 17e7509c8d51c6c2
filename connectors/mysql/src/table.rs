//! Definitions of tables, as they were at one moment of the log.
//!
//! A definition is kept for as long as events of its time may be read again, so it is serialised, and what it means (a
//! [`TableSchema`]) is worked out from it each time: a release that maps a type better does so for old events as well.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tailrace_core::batch::ChangeBatch;
use tailrace_core::position::{Position, Progress};
use tailrace_core::schema::{Column, TableKind, TableName, TableSchema};
use tailrace_core::value::{Datum, LogicalType};

use crate::charset::Charset;
use crate::column_type::{ColumnType, InvalidDates, TypeKind, TypePolicy};
use crate::decode::cell::{CellDecoder, CellError, TextDecoder, rescaled};
use crate::decode::table_map::WireColumn;

/// The primary key's name, which no other key can have.
const PRIMARY: &str = "PRIMARY";

/// 1970-01-01, which stands for a moment that is not known before a row is inserted, as Debezium has it.
const EPOCH: Datum = Datum::Int(0);

/// One version of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableDefinition {
    /// Schema, which MySQL also calls a database.
    pub(crate) schema: String,
    /// Table.
    pub(crate) table: String,
    /// Columns in the table's order, generated and invisible ones among them: all that a row of the log has.
    pub(crate) columns: Vec<ColumnDefinition>,
    /// Indexes of the key's columns, in the key's order; empty where there is no key.
    pub(crate) key: Vec<usize>,
    /// The primary key and every other unique key, in the server's order: what is left to identify rows where one is dropped.
    /// Empty where only the key is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unique_keys: Vec<UniqueKey>,
    /// What new columns with characters are in, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) charset: Option<Charset>,
    /// The table's comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) documentation: Option<String>,
    /// The storage engine's name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) engine: Option<String>,
}

/// A key that no two rows share, unless by NULL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UniqueKey {
    /// `PRIMARY` or the index's name.
    pub(crate) name: String,
    /// Names of its columns; none where a part of it is an expression.
    pub(crate) columns: Vec<String>,
}

/// One column of one version of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ColumnDefinition {
    /// Name as the database has it.
    pub(crate) name: String,
    /// What its values are.
    pub(crate) column_type: ColumnType,
    /// May hold NULL.
    pub(crate) nullable: bool,
    /// What a row gets that is inserted without the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<ColumnDefault>,
    /// Computed from other columns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) generated: bool,
    /// The column's comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) documentation: Option<String>,
}

/// What a row gets that is inserted without the column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ColumnDefault {
    /// The same for every row, in the text form of the column's type and without quotes. Bits are `b'101'`, bytes may be
    /// `0x0aff`.
    Constant(String),
    /// Computed for each row, as it was written.
    Expression(String),
}

/// How a definition and a row's description in the log differ.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Disagreement {
    /// Another number of columns.
    #[error("the definition has {defined} columns, the log has {logged}")]
    Count {
        /// Of the definition.
        defined: usize,
        /// Of the log.
        logged: usize,
    },
    /// Another name at the same place.
    #[error("column {number} is `{defined}` in the definition and `{logged}` in the log")]
    Name {
        /// From 1.
        number: usize,
        /// Of the definition.
        defined: String,
        /// Of the log.
        logged: String,
    },
    /// A type that its bytes cannot be of.
    #[error("column `{column}` is {source_type} in the definition, but {error}")]
    Type {
        /// Name.
        column: String,
        /// As the catalogue prints it.
        source_type: String,
        /// What the log has.
        error: CellError,
    },
}

// === impl TableDefinition ===

impl TableDefinition {
    /// A table of which only the name is known.
    pub(crate) fn unknown(schema: &str, table: &str) -> Self {
        Self {
            schema: schema.to_owned(),
            table: table.to_owned(),
            columns: Vec::new(),
            key: Vec::new(),
            unique_keys: Vec::new(),
            charset: None,
            documentation: None,
            engine: None,
        }
    }

    /// What the rest of the house sees of the table.
    pub(crate) fn to_schema(&self, policy: &TypePolicy) -> TableSchema {
        TableSchema {
            name: TableName {
                database: String::new(),
                schema: self.schema.clone(),
                table: self.table.clone(),
            },
            kind: TableKind::Table,
            columns: self.columns.iter().map(|column| column.to_column(policy)).collect(),
            key: self.key.clone(),
            documentation: self.documentation.clone(),
        }
    }

    /// Brings the unique keys into the server's order, in which those that are never NULL come first and otherwise older ones, and
    /// takes what identifies a row from them: the primary key, else the first that is never NULL.
    pub(crate) fn settle_key(&mut self) {
        let mut keys = std::mem::take(&mut self.unique_keys);
        keys.sort_by_key(|key| !self.identifies_rows(key));
        let primary = keys.iter().find(|key| key.name == PRIMARY);
        let key = primary.or_else(|| keys.iter().find(|key| self.identifies_rows(key)));
        self.key = key.and_then(|key| self.column_indexes(key)).unwrap_or_default();
        self.unique_keys = keys;
    }

    /// Whole columns, none of which may be NULL.
    fn identifies_rows(&self, key: &UniqueKey) -> bool {
        let never_null = |index: &usize| self.columns.get(*index).is_some_and(|column| !column.nullable);
        self.column_indexes(key)
            .is_some_and(|indexes| indexes.iter().all(never_null))
    }

    fn column_indexes(&self, key: &UniqueKey) -> Option<Vec<usize>> {
        let indexes: Option<Vec<usize>> = key.columns.iter().map(|name| self.column_index(name)).collect();
        indexes.filter(|indexes| !indexes.is_empty())
    }

    /// Every unique key that is known; where only the key is, it is taken for the primary one.
    pub(crate) fn known_unique_keys(&self) -> Vec<UniqueKey> {
        if !self.unique_keys.is_empty() || self.key.is_empty() {
            return self.unique_keys.clone();
        }
        let name = |index: &usize| self.columns.get(*index).map(|column| column.name.clone());
        vec![UniqueKey {
            name: PRIMARY.to_owned(),
            columns: self.key.iter().filter_map(name).collect(),
        }]
    }

    /// Index of a column by name. The server compares names of columns without regard to case.
    pub(crate) fn column_index(&self, name: &str) -> Option<usize> {
        let lower = name.to_lowercase();
        let same = |column: &ColumnDefinition| column.name == name || column.name.to_lowercase() == lower;
        self.columns.iter().position(same)
    }

    /// Whether rows that the log describes as `logged` can be of this version of the table. `names` are empty where the log
    /// has none.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub(crate) fn agrees_with(&self, logged: &[WireColumn], names: &[&str]) -> Result<(), Disagreement> {
        if self.columns.len() != logged.len() {
            return Err(Disagreement::Count {
                defined: self.columns.len(),
                logged: logged.len(),
            });
        }
        for (index, (column, name)) in self.columns.iter().zip(names).enumerate() {
            if column.name != **name {
                return Err(Disagreement::Name {
                    number: index + 1,
                    defined: column.name.clone(),
                    logged: (*name).to_owned(),
                });
            }
        }
        for (column, wire) in self.columns.iter().zip(logged) {
            CellDecoder::new(*wire, column, &TypePolicy::default()).map_err(|error| Disagreement::Type {
                column: column.name.clone(),
                source_type: column.column_type.source_type().to_owned(),
                error,
            })?;
        }
        Ok(())
    }
}

// === impl ColumnDefinition ===

impl ColumnDefinition {
    /// What the rest of the house sees of the column.
    pub(crate) fn to_column(&self, policy: &TypePolicy) -> Column {
        let default = self.default_value(policy);
        Column {
            name: self.name.clone(),
            logical_type: self.column_type.logical_type(policy),
            nullable: self.nullable,
            source_type: self.column_type.source_type().to_owned(),
            default_is_computed: default.is_some() && matches!(self.default, Some(ColumnDefault::Expression(_))),
            default,
            documentation: self.documentation.clone(),
        }
    }

    /// The default as a value; `None` where it is computed, NULL, or not in its type's form.
    fn default_value(&self, policy: &TypePolicy) -> Option<Datum> {
        let text = match self.default.as_ref()? {
            ColumnDefault::Constant(text) => text,
            ColumnDefault::Expression(text) => return self.stand_in(policy).filter(|_| is_current_timestamp(text)),
        };
        // A connector that halts at an invalid date halts at the row that has it, not at the default that no row may have.
        let invalid_dates = match policy.invalid_dates {
            InvalidDates::Halt => InvalidDates::NullOrEpoch,
            other => other,
        };
        let stored = stored_form(text, &self.column_type.kind)?;
        let decoder = TextDecoder::for_default(self, &TypePolicy { invalid_dates });
        let mut batch = ChangeBatch::new(Arc::from(""), Progress::at(Position::new("")));
        batch.begin_row().ok()?;
        decoder.decode(Some(&stored), &mut batch).ok()?;
        let row = batch.end_row().ok()?;
        let value = batch.row(row).get(0).to_datum();
        value.filter(|value| *value != Datum::Null)
    }

    /// What stands for the present moment as a default: Debezium's, which a `TIMESTAMP` that may be NULL has not.
    fn stand_in(&self, policy: &TypePolicy) -> Option<Datum> {
        match self.column_type.logical_type(policy) {
            LogicalType::Timestamp { .. } => Some(EPOCH),
            LogicalType::TimestampTz { .. } if !self.nullable => Some(EPOCH),
            _ => None,
        }
    }
}

/// The bytes that the server would send for a constant.
fn stored_form(text: &str, kind: &TypeKind) -> Option<Vec<u8>> {
    let text = text.trim_matches(|character: char| character == ' ' && !is_character_type(kind));
    Some(match kind {
        TypeKind::Bit { length } => bits(text, *length)?,
        TypeKind::Decimal { scale, .. } => rescaled(text, usize::from(*scale))?.into_bytes(),
        TypeKind::FixedBytes { .. } | TypeKind::Bytes => match text.strip_prefix("0x") {
            Some(digits) => hex(digits)?,
            None => text.as_bytes().to_vec(),
        },
        // '0000-00-00 01:00:00' is 01:00:00.
        TypeKind::Time { .. } => text.rsplit(' ').next()?.as_bytes().to_vec(),
        _ => text.as_bytes().to_vec(),
    })
}

fn is_character_type(kind: &TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::Text { .. }
            | TypeKind::Bytes
            | TypeKind::FixedBytes { .. }
            | TypeKind::Enum { .. }
            | TypeKind::Set { .. }
    )
}

/// The bytes of `b'101'`, `0x05` or `5`, as long as the column has them.
fn bits(text: &str, length: u8) -> Option<Vec<u8>> {
    let quoted = text.strip_prefix("b'").and_then(|rest| rest.strip_suffix('\''));
    let value = match (quoted, text.strip_prefix("0x")) {
        (Some(digits), _) => u64::from_str_radix(digits, 2).ok()?,
        (None, Some(digits)) => u64::from_str_radix(digits, 16).ok()?,
        (None, None) => text.parse().ok()?,
    };
    let bytes = value.to_be_bytes();
    let start = bytes.len().checked_sub(usize::from(length.div_ceil(8)))?;
    bytes.get(start..).map(<[u8]>::to_vec)
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect()
}

// === impl ColumnDefault ===

impl ColumnDefault {
    /// From MySQL's catalogue: `COLUMN_DEFAULT` has constants without quotes, `EXTRA` marks what is computed. Servers before
    /// 8.0.13 know only one function, and do not mark it.
    pub(crate) fn from_mysql(column_default: Option<&str>, extra: &str) -> Option<Self> {
        let text = column_default?;
        let marked = extra.to_ascii_uppercase().contains("DEFAULT_GENERATED");
        if marked || is_current_timestamp(text) {
            Some(Self::Expression(text.to_owned()))
        } else {
            Some(Self::Constant(text.to_owned()))
        }
    }

    /// From MariaDB's catalogue (10.2.7 and later), where `COLUMN_DEFAULT` is an expression: text in quotes, numbers, `NULL`.
    pub(crate) fn from_mariadb(column_default: Option<&str>) -> Option<Self> {
        let text = column_default?.trim();
        if text.eq_ignore_ascii_case("NULL") {
            return None;
        }
        if let Some(constant) = unquoted(text) {
            return Some(Self::Constant(constant));
        }
        let is_bits = text.starts_with("b'") && text.ends_with('\'');
        let is_number =
            text.parse::<f64>().is_ok() && text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let is_hex = text.strip_prefix("0x").is_some_and(|digits| hex(digits).is_some());
        if is_bits || is_number || is_hex {
            Some(Self::Constant(text.to_owned()))
        } else {
            Some(Self::Expression(text.to_owned()))
        }
    }
}

fn is_current_timestamp(text: &str) -> bool {
    const NAME: &str = "CURRENT_TIMESTAMP";
    let begins = text
        .get(..NAME.len())
        .is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    begins
        && text
            .get(NAME.len()..)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('('))
}

/// What `'it''s'` says.
fn unquoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut characters = inner.chars();
    let mut constant = String::with_capacity(inner.len());
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                // A single one would end the constant before its end.
                characters.next().filter(|next| *next == '\'')?;
                constant.push('\'');
            }
            '\\' => constant.push(match characters.next()? {
                '0' => '\0',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'b' => '\u{8}',
                'Z' => '\u{1a}',
                other => other,
            }),
            other => constant.push(other),
        }
    }
    Some(constant)
}

#[cfg(test)]
mod tests;
