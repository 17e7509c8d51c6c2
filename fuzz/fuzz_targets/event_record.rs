//! A record of a topic, read as a row: JSON with and without a schema, framed Avro and JSON, in either envelope. The first byte says how
//! much of the rest is the key.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tailrace_codec::fuzzing::read_record(data));
