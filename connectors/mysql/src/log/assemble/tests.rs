//! What is made of groups of events, by recorded logs.

mod endless;
mod recorded;
mod sinks;
