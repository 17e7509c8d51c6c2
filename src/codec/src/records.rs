//! Which records a change becomes: one pure function for both envelopes.
//!
//! | change | `entity` | `debezium` |
//! |---|---|---|
//! | read, create, update | the row | envelope |
//! | update of the key | tombstone of the old key, the row | delete, tombstone, create |
//! | delete | tombstone | delete, tombstone |
//! | delete of a table without key | the row that is gone | delete |
//! | truncate | empty object | envelope without key |
//! | message | prefix and content | envelope |

use tailrace_core::batch::Operation;

use crate::format::{Envelope, Format, TruncateFormat};

/// Which row a key is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyOf {
    Before,
    After,
    /// The key that is there although no row is: `{}`, so that a compacted topic takes the record.
    Nobody,
    None,
}

/// What the value of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueOf {
    Tombstone,
    /// The row before, alone.
    Before,
    /// The row after, alone.
    After,
    /// An object without fields.
    Nothing,
    /// Debezium's envelope, with these rows in it.
    Envelope {
        before: bool,
        after: bool,
    },
    /// Debezium's envelope of a logical message.
    Message,
}

/// Debezium's header that links the two halves of a change of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyLink {
    None,
    NewKey,
    OldKey,
}

/// One record of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: KeyOf,
    pub(crate) value: ValueOf,
    pub(crate) operation: Operation,
    /// What tells the event's id from those of the change's other records.
    pub(crate) suffix: &'static str,
    pub(crate) link: KeyLink,
}

/// Up to three records, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Records {
    slots: [Option<Record>; 3],
}

/// What must be known of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) operation: Operation,
    /// The table has a key.
    pub(crate) keyed: bool,
    /// The key of the row before is known and is another than the row's key after.
    pub(crate) key_changed: bool,
    /// Something of the row before is known.
    pub(crate) has_before: bool,
}

/// The id of a tombstone that follows its delete.
const TOMBSTONE_SUFFIX: &str = ".t";
/// The id of the row under its new key.
const NEW_KEY_SUFFIX: &str = ".1";

impl Records {
    fn one(record: Record) -> Self {
        Self {
            slots: [Some(record), None, None],
        }
    }

    /// The records, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.slots.iter().flatten()
    }
}

/// The records of a change.
pub(crate) fn records_of(facts: Facts, format: &Format) -> Records {
    match (facts.operation, format.envelope) {
        (Operation::Truncate, _) if format.truncate == TruncateFormat::Skip => Records::default(),
        (_, Envelope::Entity) => entity(facts),
        (_, Envelope::Debezium) => debezium(facts, format.tombstones),
    }
}

fn entity(facts: Facts) -> Records {
    let after = if facts.keyed { KeyOf::After } else { KeyOf::None };
    let row = record(after, ValueOf::After, facts.operation);
    let tombstone = record(KeyOf::Before, ValueOf::Tombstone, Operation::Delete);
    match facts.operation {
        Operation::Update if facts.key_changed => Records {
            slots: [
                Some(tombstone),
                Some(Record {
                    suffix: NEW_KEY_SUFFIX,
                    ..record(after, ValueOf::After, Operation::Create)
                }),
                None,
            ],
        },
        Operation::Delete if facts.keyed => Records::one(tombstone),
        Operation::Delete => Records::one(record(KeyOf::None, ValueOf::Before, Operation::Delete)),
        Operation::Truncate => {
            let key = if facts.keyed { KeyOf::Nobody } else { KeyOf::None };
            Records::one(record(key, ValueOf::Nothing, Operation::Truncate))
        }
        Operation::Read | Operation::Create | Operation::Update | Operation::Message => Records::one(row),
    }
}

fn debezium(facts: Facts, tombstones: bool) -> Records {
    let Facts {
        operation,
        keyed,
        has_before,
        ..
    } = facts;
    let key = |side| if keyed { side } else { KeyOf::None };
    let delete = record(key(KeyOf::Before), envelope(has_before, false), Operation::Delete);
    let tombstone = (keyed && tombstones).then_some(Record {
        suffix: TOMBSTONE_SUFFIX,
        ..record(KeyOf::Before, ValueOf::Tombstone, Operation::Delete)
    });
    match operation {
        Operation::Update if facts.key_changed => {
            let create = Record {
                suffix: NEW_KEY_SUFFIX,
                link: KeyLink::OldKey,
                ..record(key(KeyOf::After), envelope(false, true), Operation::Create)
            };
            let linked = |record| Record {
                link: KeyLink::NewKey,
                ..record
            };
            Records {
                slots: [Some(linked(delete)), tombstone.map(linked), Some(create)],
            }
        }
        Operation::Delete => Records {
            slots: [Some(delete), tombstone, None],
        },
        Operation::Truncate => Records::one(record(KeyOf::None, envelope(false, false), operation)),
        Operation::Message => Records::one(record(KeyOf::After, ValueOf::Message, operation)),
        Operation::Update => Records::one(record(key(KeyOf::After), envelope(has_before, true), operation)),
        Operation::Read | Operation::Create => {
            Records::one(record(key(KeyOf::After), envelope(false, true), operation))
        }
    }
}

fn envelope(before: bool, after: bool) -> ValueOf {
    ValueOf::Envelope { before, after }
}

fn record(key: KeyOf, value: ValueOf, operation: Operation) -> Record {
    Record {
        key,
        value,
        operation,
        suffix: "",
        link: KeyLink::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        operation: Operation,
        keyed: bool,
        key_changed: bool,
        envelope: Envelope,
    ) -> Vec<(KeyOf, ValueOf, &'static str, &'static str)> {
        let facts = Facts {
            operation,
            keyed,
            key_changed,
            has_before: matches!(operation, Operation::Update | Operation::Delete),
        };
        let records = records_of(facts, &Format::defaults(envelope));
        records
            .iter()
            .map(|record| (record.key, record.value, record.operation.code(), record.suffix))
            .collect()
    }

    const BOTH: ValueOf = ValueOf::Envelope {
        before: true,
        after: true,
    };
    const BEFORE: ValueOf = ValueOf::Envelope {
        before: true,
        after: false,
    };
    const AFTER: ValueOf = ValueOf::Envelope {
        before: false,
        after: true,
    };

    #[test]
    fn entity_records() {
        let of = |operation, keyed, key_changed| of(operation, keyed, key_changed, Envelope::Entity);
        assert_eq!(
            of(Operation::Read, true, false),
            [(KeyOf::After, ValueOf::After, "r", "")]
        );
        assert_eq!(
            of(Operation::Create, false, false),
            [(KeyOf::None, ValueOf::After, "c", "")]
        );
        assert_eq!(
            of(Operation::Update, true, false),
            [(KeyOf::After, ValueOf::After, "u", "")]
        );
        assert_eq!(
            of(Operation::Update, true, true),
            [
                (KeyOf::Before, ValueOf::Tombstone, "d", ""),
                (KeyOf::After, ValueOf::After, "c", ".1")
            ]
        );
        assert_eq!(
            of(Operation::Delete, true, false),
            [(KeyOf::Before, ValueOf::Tombstone, "d", "")]
        );
        assert_eq!(
            of(Operation::Delete, false, false),
            [(KeyOf::None, ValueOf::Before, "d", "")]
        );
        assert_eq!(
            of(Operation::Truncate, true, false),
            [(KeyOf::Nobody, ValueOf::Nothing, "t", "")]
        );
        assert_eq!(
            of(Operation::Truncate, false, false),
            [(KeyOf::None, ValueOf::Nothing, "t", "")]
        );
        assert_eq!(
            of(Operation::Message, false, false),
            [(KeyOf::None, ValueOf::After, "m", "")]
        );
    }

    #[test]
    fn debezium_records() {
        let of = |operation, keyed, key_changed| of(operation, keyed, key_changed, Envelope::Debezium);
        assert_eq!(of(Operation::Read, true, false), [(KeyOf::After, AFTER, "r", "")]);
        assert_eq!(of(Operation::Update, true, false), [(KeyOf::After, BOTH, "u", "")]);
        assert_eq!(
            of(Operation::Update, true, true),
            [
                (KeyOf::Before, BEFORE, "d", ""),
                (KeyOf::Before, ValueOf::Tombstone, "d", ".t"),
                (KeyOf::After, AFTER, "c", ".1")
            ]
        );
        assert_eq!(
            of(Operation::Delete, true, false),
            [
                (KeyOf::Before, BEFORE, "d", ""),
                (KeyOf::Before, ValueOf::Tombstone, "d", ".t")
            ]
        );
        assert_eq!(of(Operation::Delete, false, false), [(KeyOf::None, BEFORE, "d", "")]);
        assert_eq!(
            of(Operation::Truncate, true, false),
            [(
                KeyOf::None,
                ValueOf::Envelope {
                    before: false,
                    after: false
                },
                "t",
                ""
            )]
        );
        assert_eq!(
            of(Operation::Message, false, false),
            [(KeyOf::After, ValueOf::Message, "m", "")]
        );
    }

    #[test]
    fn options_leave_records_out() {
        let facts = Facts {
            operation: Operation::Delete,
            keyed: true,
            key_changed: false,
            has_before: true,
        };
        let format = Format {
            tombstones: false,
            ..Format::defaults(Envelope::Debezium)
        };
        assert_eq!(records_of(facts, &format).iter().count(), 1);
        let facts = Facts {
            operation: Operation::Truncate,
            ..facts
        };
        let format = Format {
            truncate: TruncateFormat::Skip,
            ..format
        };
        assert_eq!(records_of(facts, &format).iter().count(), 0);
    }
}
