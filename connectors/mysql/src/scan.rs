//! The rows that existed before the log began.
