//! Bytes into rows: everything that [`crate::EventEncoder`] publishes, and what Kafka Connect with a real Debezium and other writers do.
pub(crate) mod cell;
pub(crate) mod decoder;
pub(crate) mod digits;
pub(crate) mod envelope;
pub(crate) mod event;
pub(crate) mod fault;
pub(crate) mod headers;
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
