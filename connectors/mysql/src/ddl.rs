//! Statements in the binary log: what they are, and what they do to tables.
