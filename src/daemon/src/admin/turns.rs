//! Requests that ask a database: few at a time, so that whoever may only look cannot take the connections away that capture needs.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::RETRY_AFTER;
use tailrace_core::task::spawn_named;
use tokio::sync::Semaphore;

use super::answer::{Refused, refuse};

/// One person looks at one thing, and another may beside. Each takes up to a handful of connections for as long as it is answered.
const AT_ONCE: usize = 2;
/// Most are answered in less.
const PATIENCE: Duration = Duration::from_secs(3);
/// For clients that ask again by themselves, seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("5");

/// Who may ask a database now.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Semaphore>);

// === impl Turns ===

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Turns {
    /// Asks a database when it is our turn. What is begun goes on where whoever asked goes away, and keeps its turn: otherwise those who
    /// ask and go away would have as many connections as they like.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Refused> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.0).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            let sentence = format!(
                "{AT_ONCE} requests ask databases already, and more would take connections away that capture needs; ask again when they \
                 are answered"
            );
            return Err(refuse(503, "database_requests_busy", sentence).header(RETRY_AFTER, RETRY_AFTER_S));
        };
        let asked = spawn_named("database request", async move {
            let answer = question.await;
            drop(turn);
            answer
        });
        asked
            .await
            .map_err(|_| refuse(500, "internal", "the request ended early; the log says why"))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_ask_at_a_time_and_others_are_told_when_to_come_back() {
        let turns = Turns::default();
        let mut answers = Vec::new();
        for _ in 0..AT_ONCE {
            let (answer, answered) = oneshot::channel::<()>();
            // Whoever asked goes away at once: the database is still asked.
            assert!(turns.ask(answered).now_or_never().is_none());
            answers.push(answer);
        }
        let refused = turns.ask(async {}).await.unwrap_err().into_response();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[RETRY_AFTER], RETRY_AFTER_S);
        answers.pop().unwrap().send(()).unwrap();
        assert_eq!(turns.ask(async { 7 }).await.unwrap(), 7);
    }
}
