//! Contracts: which schema of a topic's events may follow which.
//!
//! `avro_schema` is what an Avro schema says, `avro_reading` and `json_reading` find what readers of one schema cannot read of
//! what was written by another, and `compatibility` turns that into an answer for people.

mod avro_reading;
mod avro_schema;
mod compatibility;
mod json_reading;

pub use compatibility::{ContractRules, Incompatibility, IncompatibilityKind, Readers, compare, decide};
