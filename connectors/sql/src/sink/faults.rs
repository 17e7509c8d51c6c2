//! What is wrong with an event that cannot be written, for people.

use tailrace_core::Error;
use tailrace_core::schema::TableName;

pub(super) fn no_row() -> Error {
    let message = "the event says that a row was written, and does not have it; correct what writes it, or set it aside with `dead_letters`";
    Error::poison("row_not_said", message)
}

pub(super) fn key_untold() -> Error {
    let message = "a delete says nothing of the row but the source's own key, and `key` names other columns; set REPLICA IDENTITY FULL at the \
                   source, or name the source's key with `key`";
    Error::poison("key_missing", message)
}

pub(super) fn half_a_row() -> Error {
    let message = "the event does not have all of the row (a large value that did not change is not in the log), and `mode: insert` would add \
                   it without the rest; set REPLICA IDENTITY FULL at the source, or choose `mode: upsert`";
    Error::poison("row_incomplete", message)
}

pub(super) fn malformed() -> Error {
    Error::definite(
        "batch_malformed",
        "a batch does not hold together, which is a defect in Tailrace; report it",
    )
}

#[cold]
pub(super) fn table_unknown(topic: &str, name: &TableName) -> Error {
    let message = format!(
        "a record of topic {topic} deletes and has nothing but a key; the topic is named after table {}, which is not there, and no row \
         of it has said yet of which table they are; name the table: `tables: {{ {topic}: … }}`",
        name.qualified()
    );
    Error::poison("table_unknown", message)
}
