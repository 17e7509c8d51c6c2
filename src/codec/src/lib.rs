//! Rows into bytes: envelopes (`entity`, `debezium`), JSON, topics and headers.
//!
//! Read in this order: [`FormatConfig`] (what can be chosen), `records` (which records a change becomes), `plan` (what is
//! compiled per table version), `encoder` (the hot path), then `json` (how each value is written).

mod column_schema;
mod connect_schema;
pub mod contract;
mod describe;
mod dialect;
mod encoder;
mod envelope;
mod format;
mod json;
mod plan;
mod records;
pub mod registry;
mod topic;

pub use describe::{EventDescriber, EventDescription};
pub use dialect::Dialect;
pub use encoder::{EncoderSettings, EventEncoder};
pub use envelope::headers::{NEW_KEY, OLD_KEY, UNCHANGED};
pub use format::{
    BinaryFormat, Codec, DEFAULT_MONEY_FRACTION_DIGITS, DEFAULT_UNAVAILABLE_VALUE, DecimalFormat, Envelope, Format,
    FormatConfig, HstoreFormat, IntervalFormat, OpaqueFormat, TimeFormat, TruncateFormat,
};
pub use topic::{DEFAULT_TOPIC_TEMPLATE, TopicTemplate};
