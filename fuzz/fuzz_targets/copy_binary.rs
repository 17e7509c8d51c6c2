//! COPY BINARY; the first byte is the size of the chunks.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tailrace_postgres::fuzzing::copy_binary(data));
