//! Columns that are written beside those of the events.

use std::sync::LazyLock;

use tailrace_core::schema::Column;
use tailrace_core::value::{LogicalType, TextKind};

use super::work::column;

/// Microseconds: what every database here can hold.
const TIME: LogicalType = LogicalType::TimestampTz { precision: 6 };

fn extra(name: &str, logical_type: LogicalType, nullable: bool) -> Column {
    Column {
        nullable,
        ..Column::new(name, logical_type)
    }
}

/// The columns of a history, in their order; the last three are its key.
pub(super) static HISTORY: LazyLock<[Column; 6]> = LazyLock::new(|| {
    let text = || LogicalType::Text(TextKind::Plain);
    [
        extra(column::OPERATION, text(), false),
        extra(column::UPDATED_AT, TIME, true),
        extra(column::POSITION, text(), true),
        extra(column::TOPIC, text(), false),
        extra(column::PARTITION, LogicalType::Int32, false),
        extra(column::OFFSET, LogicalType::Int64, false),
    ]
});

/// How many of [`HISTORY`]'s columns, from its end, are its key.
pub(super) const HISTORY_KEY: usize = 3;

/// The place in the source's log, where versions are guarded by it.
pub(super) static POSITION: LazyLock<Column> =
    LazyLock::new(|| extra(column::POSITION, LogicalType::Text(TextKind::Plain), true));

/// Since when a row is deleted, under the name that the configuration gives.
pub(super) fn deleted_at(name: &str) -> Column {
    extra(name, TIME, true)
}
