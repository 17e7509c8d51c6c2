//! One record of a segment of the embedded stream.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(tailrace_file::parse_record(data)));
