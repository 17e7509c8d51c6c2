//! Records back into rows: what the encoder publishes, and what others do.

mod exact;
mod image;
mod observed;
mod others;
mod plain;
mod property;
mod registered;
mod rows;
mod support;
mod unchanged;
pub(crate) mod vectors;
