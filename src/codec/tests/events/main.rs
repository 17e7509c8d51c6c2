//! Whole events, from changes as a source hands them over to the bytes of key, value and headers.

#![cfg(test)]

mod avro;
mod avro_observed;
mod contracts;
mod debezium;
mod entity;
mod excerpt;
mod inline_schemas;
mod message;
mod mysql;
mod mysql_observed;
mod property;
mod reading;
mod support;
mod unrepresentable;
mod vectors;
mod vectors_mysql;
mod vectors_temporal;
