//! A dump of the binary log as it comes over the connection: frames, packets, events and their checksums.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tailrace_mysql::fuzzing::binlog_dump(data));
