//! The loops: one straight function per direction.

pub mod frontier;
pub mod sink;
pub mod source;

/// What the supervisor wants of a running pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desired {
    /// Carry changes.
    Running,
    /// Stop reading, keep everything open.
    Paused,
    /// Drain what is in flight, save, end.
    Stopped,
}

/// How a pipeline ended that was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was read is durable and checkpointed.
    Drained,
    /// The deadline came first; what was not durable will be read again.
    DrainTimedOut,
}
