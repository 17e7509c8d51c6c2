//! Bytes of the binary log to events and values, without I/O.
