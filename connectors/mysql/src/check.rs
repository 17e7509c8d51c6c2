//! Preflight: every problem at once, each with the statement that fixes it.
