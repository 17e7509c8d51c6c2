//! Bodies of events of the binary log, with everything that is read of them only on demand.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tailrace_mysql::fuzzing::binlog_event(data));
