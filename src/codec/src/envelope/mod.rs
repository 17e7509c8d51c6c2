//! The shapes of events: the row itself, or Debezium's envelope, the headers that both carry, and events that came
//! as such.

pub(crate) mod debezium;
pub(crate) mod entity;
pub(crate) mod headers;
pub(crate) mod message;
pub(crate) mod source;
