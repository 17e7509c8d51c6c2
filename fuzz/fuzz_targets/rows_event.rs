//! Rows of the binary log behind the map of their table: every cell of every type, read and passed over.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tailrace_mysql::fuzzing::rows_event(data));
