//! Whole events, from changes as a source hands them over to the bytes of key, value and headers.

mod debezium;
mod entity;
mod property;
mod support;
mod vectors;
