//! Contracts: what readers of a topic may rely on, and which schema of its events may follow which.
//!
//! `config`, `written` and `terms` are what people say about topics; `guard` decides what becomes of a version of a table.
//! `avro_schema` is what an Avro schema says, `avro_reading` and `json_reading` find what readers of one schema cannot read of
//! what was written by another, and `compatibility` turns that into an answer for people.

mod avro_reading;
mod avro_schema;
mod compatibility;
mod config;
pub(crate) mod guard;
mod json_reading;
mod review;
pub(crate) mod terms;
pub(crate) mod written;

pub use compatibility::{ContractRules, Incompatibility, IncompatibilityKind, Readers, compare, decide};
pub use config::{ColumnContractConfig, ContractConfig, OnIncompatible, TopicContractConfig};
pub use review::{ContractReviewer, SubjectContract, TopicContract, WrittenContracts};
pub use terms::Contracts;
