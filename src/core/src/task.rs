//! Tasks and threads whose end is always seen.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

/// Spawns a task under a name. The handle must be awaited or watched: a panic surfaces there and nowhere else.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn spawn_named<F>(name: &str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tracing::debug!(task = name, "task started");
    tokio::spawn(future)
}

/// As [`spawn_named`], on a runtime that may be another than the caller's.
pub fn spawn_on<F>(runtime: &Handle, name: &str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tracing::debug!(task = name, "task started");
    runtime.spawn(future)
}

/// Spawns a task under a name into a set, whose owner sees its end, and with which it ends.
pub fn spawn_among<F>(tasks: &mut JoinSet<F::Output>, name: &str, future: F)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tracing::debug!(task = name, "task started");
    tasks.spawn(future);
}
