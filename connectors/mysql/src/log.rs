//! The binary log as a `LogReader`.
