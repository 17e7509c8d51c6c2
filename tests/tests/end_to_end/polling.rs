//! Tables that are polled instead of read from a log: what is asked of every database that can be polled.

pub(crate) mod mysql;
mod postgres;
