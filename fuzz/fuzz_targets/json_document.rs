//! JSON in MySQL's binary form, with differences applied, and as text.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tailrace_mysql::fuzzing::json_document(data));
