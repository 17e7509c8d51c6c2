//! Tailrace.
mod config;
fn main() {}
