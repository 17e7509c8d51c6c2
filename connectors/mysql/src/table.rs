//! Definitions of tables, as they were at one moment of the log.
