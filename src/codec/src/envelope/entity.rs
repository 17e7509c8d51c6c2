//! The entity envelope: the row itself, one field per column.
//!
//! - A delete is a tombstone of the key: a record without value. A table without key has no tombstones: its delete is a
//!   record whose value is the row that is gone and whose header `op` is `d`.
//! - An update of the key is a tombstone of the old key, then the row under the new one.
//! - A large value that did not change is left out, never null; the header `unchanged` names such columns. A reader that
//!   takes a missing field for null (Kafka Connect's converters do) must look at that header, or the table needs
//!   `REPLICA IDENTITY FULL`, with which the log repeats such values.
//! - A truncate is an object without fields, with the header `op` = `t`; its key is an object without fields where the
//!   table has a key, because a compacted topic refuses records without key.
//! - A logical message is an object of `prefix` and `content`.

use crate::connect_schema::{ConnectSchema, Kind};
use crate::plan::Schemas;
use crate::publication::Publication;

/// Connect's schemas of key and row.
pub(crate) fn schemas(topic: &str, key: Option<Kind>, row: Kind, publication: &Publication) -> Schemas {
    let named = |kind, name: &str| ConnectSchema::named(kind, name).without_version();
    let record = publication.record.clone();
    let mut value = named(row, &record.unwrap_or_else(|| format!("{topic}.Value")));
    value.documentation.clone_from(&publication.documentation);
    Schemas {
        key: key.map(|key| named(key, &format!("{topic}.Key"))),
        value,
    }
}
