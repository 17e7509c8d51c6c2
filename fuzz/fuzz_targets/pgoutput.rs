//! pgoutput messages, inside and outside of a stream chunk, and the replication frames around them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tailrace_postgres::fuzzing::pgoutput(data));
