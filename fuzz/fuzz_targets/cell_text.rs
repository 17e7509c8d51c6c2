//! Text and binary forms of one value; the first byte chooses the type.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tailrace_postgres::fuzzing::cell_text(data));
