//! Columns and tables of tests.

use std::sync::Arc;

use tailrace_core::schema::{Column, SharedSchema, TableKind, TableName, TableSchema};
use tailrace_core::value::LogicalType;

/// A column of a type that its database calls so.
pub(super) fn column(name: &str, source_type: &str, logical_type: LogicalType) -> Column {
    Column {
        source_type: source_type.to_owned(),
        ..Column::new(name, logical_type)
    }
}

/// The table `public.orders` with these columns.
pub(super) fn orders(columns: Vec<Column>, key: &[usize]) -> SharedSchema {
    Arc::new(TableSchema {
        name: TableName {
            database: String::new(),
            schema: "public".to_owned(),
            table: "orders".to_owned(),
        },
        kind: TableKind::Table,
        columns,
        key: key.to_vec(),
        documentation: None,
    })
}
