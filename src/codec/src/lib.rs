//! Rows into bytes, and bytes into rows: envelopes (`entity`, `debezium`), codecs (JSON, Avro), topics and headers.
//!
//! Read in this order: [`FormatConfig`] (what can be chosen), `records` (which records a change becomes), `plan` (what is
//! compiled per table version), `encoder` (the hot path), then `values` (what is written for each value)
//! and `notation` (the bytes of it). The way back is `reading`.

mod avro;
mod column_schema;
mod connect_schema;
mod context;
pub mod contract;
mod describe;
mod dialect;
mod encoder;
mod envelope;
mod format;
pub mod fuzzing;
mod json_schema;
mod names;
mod notation;
mod plan;
mod publication;
mod reading;
mod records;
mod refusal;
mod registration;
pub mod registry;
mod topic;
mod values;

pub use avro::reader::{RecordReader, parse as parse_avro_schema, read_avro};
pub use context::EncoderSettings;
pub use describe::{EventDescriber, EventDescription};
pub use dialect::Dialect;
pub use encoder::EventEncoder;
pub use envelope::headers::{NEW_KEY, OLD_KEY, UNCHANGED, UNREPRESENTABLE, UNREPRESENTABLE_BEFORE};
pub use format::{
    BinaryFormat, Codec, DEFAULT_MONEY_FRACTION_DIGITS, DEFAULT_UNAVAILABLE_VALUE, DecimalFormat, Envelope, Format,
    FormatConfig, HstoreFormat, IntervalFormat, OpaqueFormat, SubjectStrategy, TimeFormat, TruncateFormat,
    Unrepresentable,
};
pub use reading::{DecoderSettings, EventDecoder};
pub use topic::{DEFAULT_TOPIC_TEMPLATE, TopicTemplate};
