//! The binary log as a `LogReader`.

pub(crate) mod dump;
