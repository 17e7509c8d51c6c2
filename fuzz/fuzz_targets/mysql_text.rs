//! A value as MySQL prints it, for a column of every type.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tailrace_mysql::fuzzing::cell_text(data));
