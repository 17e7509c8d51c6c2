//! Records back into rows: what the encoder publishes, and what others do.

mod rows;
mod support;
pub(crate) mod vectors;
