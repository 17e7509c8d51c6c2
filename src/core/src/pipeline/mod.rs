//! The loops: one straight function per direction.

pub mod frontier;
pub mod source;
