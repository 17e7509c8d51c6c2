//! Avro: the schemas of keys and values, and records read back. How values are written is in [`crate::notation`].

pub(crate) mod reader;
mod resolution;
pub(crate) mod schema;
