//! Random pairs of Avro schemas: what is said about them, and what is read with them, beside apache-avro.

#![cfg(test)]

mod compatibility;
mod dice;
mod reading;
