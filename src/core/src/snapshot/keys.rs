//! Keys of rows as bytes: what tells which rows of a window have changes in the log.

use crate::batch::{BeforeImage, ChangeBatch, ChangeView, RowView};
use crate::schema::TableSchema;
use crate::value::Value;

/// The values of a row's key columns, such that equal keys have equal bytes.
pub(super) type KeyBytes = Box<[u8]>;

/// The keys that a change says something about.
pub(super) enum Touched {
    /// These rows.
    Rows(Option<KeyBytes>, Option<KeyBytes>),
    /// The change does not say which.
    Unknown,
}

/// The key of a row; `None` where the row does not have all of it.
pub(super) fn key_of(schema: &TableSchema, row: RowView<'_>, otherwise: Option<RowView<'_>>) -> Option<KeyBytes> {
    if schema.key.is_empty() {
        return None;
    }
    let mut bytes = Vec::new();
    for column in &schema.key {
        let value = match (row.get(*column), otherwise) {
            (Value::Unchanged, Some(other)) => other.get(*column),
            (value, _) => value,
        };
        push(&mut bytes, value)?;
    }
    Some(bytes.into_boxed_slice())
}

/// The rows that a change speaks of: as it was before, and as it is now.
pub(super) fn touched(schema: &TableSchema, change: ChangeView<'_>) -> Touched {
    let before = change
        .before()
        .filter(|_| change.change().before_image != BeforeImage::None);
    let was = before.map(|row| key_of(schema, row, None));
    let is = change.after().map(|row| key_of(schema, row, before));
    match (was, is) {
        (Some(None), _) | (_, Some(None)) | (None, None) => Touched::Unknown,
        (was, is) => Touched::Rows(was.flatten(), is.flatten()),
    }
}

/// Whether two versions of a table tell their rows apart, and name their columns, in the same way.
pub(super) fn same_shape(one: &TableSchema, other: &TableSchema) -> bool {
    let shape = |schema: &TableSchema| -> Vec<(String, String)> {
        let columns = schema.columns.iter();
        columns
            .map(|column| (column.name.clone(), column.source_type.clone()))
            .collect()
    };
    one.key == other.key && shape(one) == shape(other)
}

/// Which of a batch's table versions are of this table.
pub(super) fn versions_of(batch: &ChangeBatch, table: &str) -> Vec<bool> {
    let tables = batch.tables.iter();
    tables.map(|schema| schema.name.qualified() == table).collect()
}

fn push(bytes: &mut Vec<u8>, value: Value<'_>) -> Option<()> {
    match value {
        Value::Null | Value::Unchanged => return None,
        Value::Boolean(value) => bytes.extend([1, u8::from(value)]),
        Value::Int(value) => tagged(bytes, 2, &value.to_le_bytes()),
        Value::Float32(value) => tagged(bytes, 3, &value.to_bits().to_le_bytes()),
        Value::Float64(value) => tagged(bytes, 4, &value.to_bits().to_le_bytes()),
        Value::Text(value) => counted(bytes, 5, value.as_bytes()),
        Value::Bytes(value) => counted(bytes, 6, value),
        Value::TimeTz(value) => {
            tagged(bytes, 7, &value.microseconds.to_le_bytes());
            bytes.extend(value.offset_seconds.to_le_bytes());
        }
        Value::Interval(value) => {
            tagged(bytes, 8, &value.microseconds.to_le_bytes());
            bytes.extend(value.months.to_le_bytes());
            bytes.extend(value.days.to_le_bytes());
        }
        Value::List(list) => {
            counted(bytes, 9, &[]);
            bytes.extend(list.len().to_le_bytes());
            for element in list.iter() {
                // Elements may be NULL, the key itself may not.
                if push(bytes, element).is_none() {
                    bytes.push(0);
                }
            }
        }
    }
    Some(())
}

fn tagged(bytes: &mut Vec<u8>, tag: u8, value: &[u8]) {
    bytes.push(tag);
    bytes.extend_from_slice(value);
}

/// With its length, so that the values of two columns cannot be cut apart in two ways.
fn counted(bytes: &mut Vec<u8>, tag: u8, value: &[u8]) {
    bytes.push(tag);
    bytes.extend(value.len().to_le_bytes());
    bytes.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{Position, Progress};
    use crate::schema::{Column, TableKind, TableName};
    use crate::value::{LogicalType, TextKind};

    fn schema(key: &[usize]) -> TableSchema {
        let column = |name: &str| Column::new(name, LogicalType::Text(TextKind::Plain));
        TableSchema {
            name: TableName {
                database: String::new(),
                schema: "s".into(),
                table: "t".into(),
            },
            kind: TableKind::Table,
            columns: vec![column("a"), column("b")],
            key: key.to_vec(),
            documentation: None,
        }
    }

    fn key(values: [Option<&str>; 2], schema: &TableSchema) -> Option<KeyBytes> {
        let mut batch = ChangeBatch::new("test".into(), Progress::at(Position::new("0")));
        batch.begin_row().unwrap();
        for value in values {
            match value {
                Some(text) => batch.push_text(text).unwrap(),
                None => batch.push_null(),
            }
        }
        let row = batch.end_row().unwrap();
        key_of(schema, batch.row(row), None)
    }

    #[test]
    fn columns_do_not_run_into_one_another() {
        let both = schema(&[0, 1]);
        assert_ne!(key([Some("ab"), Some("c")], &both), key([Some("a"), Some("bc")], &both));
        assert_eq!(key([Some("ab"), Some("c")], &both), key([Some("ab"), Some("c")], &both));
        assert_ne!(
            key([Some("a"), Some("b")], &both),
            key([Some("a"), Some("b")], &schema(&[1, 0]))
        );
    }

    #[test]
    fn half_a_key_is_none() {
        assert_eq!(key([Some("a"), None], &schema(&[0, 1])), None);
        assert_eq!(key([Some("a"), None], &schema(&[])), None);
        assert!(key([Some("a"), None], &schema(&[0])).is_some());
    }

    #[test]
    fn only_names_types_and_key_make_the_shape() {
        let mut other = schema(&[0]);
        other.documentation = Some("said otherwise".to_owned());
        assert!(same_shape(&schema(&[0]), &other));
        assert!(!same_shape(&schema(&[0]), &schema(&[1])));
        other.columns.pop();
        assert!(!same_shape(&schema(&[0]), &other));
    }
}
