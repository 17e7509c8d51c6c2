//! Connections for queries and for the binary log.
