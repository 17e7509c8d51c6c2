//! The shapes of events: the row itself, or Debezium's envelope, and the headers that both carry.

pub(crate) mod debezium;
pub(crate) mod entity;
pub(crate) mod headers;
pub(crate) mod source;
