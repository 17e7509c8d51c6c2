//! Values that a statement changed in a table without a row in the log.

use super::clause::Clause;
use crate::charset::Charset;
use crate::column_type::{ColumnType, IntegerWidth, TypeKind};
use crate::table::{ColumnDefault, ColumnDefinition, TableDefinition};

/// Values that changed in the table and not in the log: a reason to read the table anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rewrite {
    /// A new column holds what the server computed for each row.
    #[error("the new column `{0}` was filled by the server")]
    ColumnFilled(String),
    /// Values were converted.
    #[error("column `{column}` was converted from {from} to {to}")]
    ColumnConverted {
        /// Name.
        column: String,
        /// Type before, in words where it is not known.
        from: String,
        /// Type now.
        to: String,
    },
    /// Rows came or went.
    #[error("{0}")]
    Rows(String),
    /// The statement is not understood.
    #[error("the statement is not understood: {0}")]
    NotUnderstood(String),
}

/// Values that differ between a table and the one that takes its name, as far as their definitions tell.
pub(super) fn rewrites_between(before: Option<&TableDefinition>, after: Option<&TableDefinition>) -> Vec<Rewrite> {
    let (Some(before), Some(after)) = (before, after) else {
        return Vec::new();
    };
    let rewrite = |column: &ColumnDefinition| match before
        .column_index(&column.name)
        .and_then(|index| before.columns.get(index))
    {
        Some(old) => conversion_of(old, column, true),
        None => is_filled(column).then(|| Rewrite::ColumnFilled(column.name.clone())),
    };
    after.columns.iter().filter_map(rewrite).collect()
}

/// What a clause does to values where it is not known how the table was.
pub(super) fn rewrite_of_unknown(clause: &Clause) -> Option<Rewrite> {
    match clause {
        Clause::AddColumn { column, .. } => {
            let is_computed = matches!(column.default, Some(Some(ColumnDefault::Expression(_))));
            let is_filled = is_computed || column.generated || column.auto_increment;
            is_filled.then(|| Rewrite::ColumnFilled(column.name.clone()))
        }
        Clause::ChangeColumn { column, .. } => Some(Rewrite::ColumnConverted {
            column: column.name.clone(),
            from: "what it was".to_owned(),
            to: column.type_text.name.clone(),
        }),
        Clause::ConvertCharset(_) => Some(Rewrite::Rows(
            "its text was converted to another character set".to_owned(),
        )),
        other => rows_rewrite(other),
    }
}

pub(super) fn rows_rewrite(clause: &Clause) -> Option<Rewrite> {
    match clause {
        Clause::RowsReplaced(what) => Some(Rewrite::Rows((*what).to_owned())),
        Clause::RowsExchanged(other) => Some(Rewrite::Rows(format!(
            "a partition was exchanged with {}",
            other.qualified()
        ))),
        Clause::PartitionBecomesTable(other) => Some(Rewrite::Rows(format!(
            "a partition became the table {}",
            other.qualified()
        ))),
        Clause::TableBecomesPartition(other) => Some(Rewrite::Rows(format!(
            "the table {} became a partition",
            other.qualified()
        ))),
        _ => None,
    }
}

/// Whether the server computed the values of a new column.
pub(super) fn is_filled(column: &ColumnDefinition) -> bool {
    column.generated || matches!(column.default, Some(ColumnDefault::Expression(_)))
}

/// What became of a column's values, where they are not the same any more.
pub(super) fn conversion_of(before: &ColumnDefinition, after: &ColumnDefinition, is_strict: bool) -> Option<Rewrite> {
    if after.generated && !before.generated {
        return Some(Rewrite::ColumnFilled(after.name.clone()));
    }
    let lost_nulls = before.nullable && !after.nullable && !is_strict;
    if !lost_nulls && keeps_values(&before.column_type, &after.column_type, is_strict) {
        return None;
    }
    Some(Rewrite::ColumnConverted {
        column: after.name.clone(),
        from: shown(&before.column_type),
        to: shown(&after.column_type),
    })
}

/// A type with its character set.
fn shown(column_type: &ColumnType) -> String {
    let source_type = column_type.source_type();
    match &column_type.kind {
        TypeKind::Text { charset } | TypeKind::Enum { charset, .. } | TypeKind::Set { charset, .. } => {
            format!("{source_type} in {}", charset.name())
        }
        _ => source_type.to_owned(),
    }
}

/// Whether values of one type are the same in another. In strict mode a statement fails where a value does not fit.
fn keeps_values(before: &ColumnType, after: &ColumnType, is_strict: bool) -> bool {
    use TypeKind::{Bytes, DateTime, Decimal, Enum, Integer, Set, Text, Time, Timestamp};
    let fits = is_strict || is_wider(before.source_type(), after.source_type());
    match (&before.kind, &after.kind) {
        (Integer { width: a, unsigned: c }, Integer { width: b, unsigned: d }) => {
            let wider = integer_bytes(*b) > integer_bytes(*a);
            is_strict || (c == d && integer_bytes(*b) >= integer_bytes(*a)) || (*c && !*d && wider)
        }
        (Decimal { scale: a, .. }, Decimal { scale: b, .. }) => b >= a && fits,
        (Time { precision: a }, Time { precision: b })
        | (DateTime { precision: a }, DateTime { precision: b })
        | (Timestamp { precision: a }, Timestamp { precision: b }) => b >= a,
        (Text { charset: a }, Text { charset: b }) => {
            let cuts_spaces = after.source_type().starts_with("char(") && !before.source_type().starts_with("char(");
            is_within(*a, *b) && fits && !cuts_spaces
        }
        (Bytes, Bytes) => fits,
        (Enum { members: a, charset: c }, Enum { members: b, charset: d })
        | (Set { members: a, charset: c }, Set { members: b, charset: d }) => is_within(*c, *d) && b.starts_with(a),
        (a, b) => a == b,
    }
}

fn integer_bytes(width: IntegerWidth) -> u8 {
    match width {
        IntegerWidth::Tiny => 1,
        IntegerWidth::Small => 2,
        IntegerWidth::Medium => 3,
        IntegerWidth::Regular => 4,
        IntegerWidth::Big => 8,
    }
}

/// Whether characters of one set are the same bytes in another.
fn is_within(before: Charset, after: Charset) -> bool {
    before == after || (before == Charset::Utf8mb3 && after == Charset::Utf8mb4)
}

/// Whether a declared length did not shrink.
fn is_wider(before: &str, after: &str) -> bool {
    if before == after {
        return true;
    }
    let parts = |text: &str| {
        let (name, rest) = text.split_once('(')?;
        let length: u32 = rest.split([',', ')']).next()?.parse().ok()?;
        Some((name.to_owned(), length))
    };
    match (parts(before), parts(after)) {
        (Some((name, length)), Some((new_name, new_length))) => name == new_name && new_length >= length,
        _ => false,
    }
}
