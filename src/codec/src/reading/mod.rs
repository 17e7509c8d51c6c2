//! Bytes into rows: everything that [`crate::EventEncoder`] publishes, and what Kafka Connect with a real Debezium, and other writers,
//! publish. Nothing is configured that a record tells itself.
//!
//! Read in this order: [`decoder`] (a batch), `event` (one record), `schemas` (which schema a key or value has), `plan` and `plain`
//! (what is compiled for it), `cell` and `typed` (what is read for each value), `wire` (the bytes of it), `image` (how much of the row before is there).
//!
//! | a key or value | has its schema |
//! |---|---|
//! | begins with 0 and a number | in the registry: Avro, or JSON Schema and JSON text behind it |
//! | is an object of just `schema` and `payload` | in itself, as Kafka Connect's JSON converter writes it |
//! | is another JSON object | nowhere: the contract or the table that is written into says what its values are |
//!
//! | a value | is |
//! |---|---|
//! | in Debezium's envelope | what `op` says; of `m` nothing, because it is of no row |
//! | of a schema that Debezium has for itself: transactions, heartbeats, notifications, changes of schemas | nothing: it is of no row |
//! | a row by itself | what the header `op` says; without one the row as it is now: an update |
//! | nothing at all | the row of its key is gone. Right behind a delete of that key it says nothing new and is passed over; a compacted topic has only it |
//!
//! A header that names columns as unchanged and a placeholder in Debezium's form are [`tailrace_core::value::Value::Unchanged`]. A field
//! that the record of a schema leaves out has its default, else it is null. A cell that the writer made null because its form had no
//! room for the value (header `unrepresentable`) is null: that is what the writer was told to say of it. `event_id` is not looked at: a
//! target knows by offsets what it has.
//!
//! # What does not come back
//!
//! A value comes back as the cell that it was wherever schema, contract or table says what it is. Some forms say less:
//!
//! - Timestamps and times come back with the fraction digits of their form (three of milliseconds, otherwise six), not of their column.
//!   Values that have finer digits than microseconds are refused.
//! - `time: iso` (the default of `entity`) is text: with a schema in JSON it says so of points in time alone, and dates, times and
//!   timestamps without zone are `Text`. In Avro they are what they are, and without a schema what the table says.
//! - Decimals as text (the default of `entity` in JSON) are `Text` where a schema says nothing else, bytes as base64 or hexadecimal
//!   digits too; decimals as doubles are doubles. `VariableScaleDecimal` has no zeros at its end.
//! - Intervals in microseconds have no months: Debezium counted them as 365.25 / 12 days each. Times of MySQL as a struct of a duration
//!   are intervals.
//! - A time with an offset, and an hstore as JSON, are in Debezium's form a time in UTC, and JSON.
//! - Bits in Debezium's form: one bit is a boolean; of strings without a declared length the zeros at the beginning are not there, and a
//!   shorter string is filled with them to the length of its column.
//! - PostgreSQL's box, lseg, path and polygon are geometries of the same WKB, unless the table says that they are figures.
//! - 64-bit integers without a sign are signed ones, or decimals of 20 digits.
//! - A symbol with a comma in it is two in Debezium's list of PostgreSQL's symbols, which escapes nothing; values are what they are.
//! - The sizes, defaults and types that the database calls columns by are not there; the last as far as Debezium notes them.
//! - What is neither of these (records in records, maps of something else than text, unions of several types) is its JSON; null is null.
//! - A JSON Schema's `number` is of double precision, and refused where that does not have all of its digits.

pub(crate) mod cell;
pub(crate) mod decoder;
pub(crate) mod digits;
pub(crate) mod envelope;
pub(crate) mod event;
pub(crate) mod fault;
pub(crate) mod headers;
pub(crate) mod image;
pub(crate) mod meaning;
pub(crate) mod moment;
pub(crate) mod parts;
pub(crate) mod plain;
pub(crate) mod plan;
pub(crate) mod schemas;
pub(crate) mod shape;
pub(crate) mod stand_in;
pub(crate) mod tables;
pub(crate) mod topic;
pub(crate) mod typed;
pub(crate) mod wire;

pub use decoder::{DecoderSettings, EventDecoder};
