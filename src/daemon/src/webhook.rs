//! Tells a receiver of changes of tables' definitions, over HTTP and beside the path of the events.
//!
//! ```text
//!   pipeline ─ tell ─▶ queue (bounded) ─▶ one task per connector ─ POST ─▶ receiver
//!                        └ full: logged, counted                └ refused, no answer: again after a wait, to a limit
//! ```
//!
//! Capture never waits for it. What was neither delivered nor given up when the process ends is told again after the next start.

mod receiver;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tailrace_core::schema_change::{NoticeState, SchemaChangeListener, SchemaChangeNotice};
use tailrace_core::task::spawn_named;
use tailrace_core::telemetry::Telemetry;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use tailrace_core::backoff::Backoff;

pub(crate) use self::receiver::{Receiver, WebhookConfig};

/// The code of what the receiver was not told.
const FAILED: &str = "webhook_failed";
/// More than a migration changes tables; each holds both definitions of a table, a few KB.
const QUEUE_NOTICES: usize = 64;
/// A receiver that is started anew, or moved, is back within the one to two and a half minutes that their waits take.
const ATTEMPTS: u32 = 12;
/// A refusal is seldom cured by asking again, but a proxy refuses too while the receiver behind it is started anew.
const REFUSALS: u32 = 4;

/// Whoever is told.
#[async_trait]
pub(crate) trait Post: Send + Sync {
    /// Tells it of one change, once.
    async fn post(&self, notice: &SchemaChangeNotice) -> Result<(), Unsent>;

    /// Where it is, without anything secret.
    fn address(&self) -> String;
}

/// Why a receiver was not told.
#[derive(Debug, Clone)]
pub(crate) struct Unsent {
    /// What it answered, where it did.
    status: Option<u16>,
    /// That it does not want it, as opposed to cannot take it now.
    is_refusal: bool,
    /// Half a sentence.
    reason: String,
    remedy: &'static str,
}

/// What the task of a connector gets.
struct Queued {
    notice: SchemaChangeNotice,
    state: NoticeState,
}

/// The end of the queue that the pipeline has.
pub(crate) struct Webhook {
    queue: mpsc::Sender<Queued>,
    /// Event ids of what is on its way: a pipeline that begins anew tells it again.
    pending: Mutex<Vec<(String, NoticeState)>>,
    desk: Arc<Desk>,
}

/// The other end.
struct Desk {
    receiver: Arc<dyn Post>,
    telemetry: Arc<Telemetry>,
}

// === impl Webhook ===

impl Webhook {
    /// Starts the task of a connector, which ends when the last pipeline is gone.
    pub(crate) fn start(receiver: Arc<dyn Post>, telemetry: Arc<Telemetry>) -> (Arc<Self>, JoinHandle<()>) {
        let (queue, queued) = mpsc::channel(QUEUE_NOTICES);
        let desk = Arc::new(Desk { receiver, telemetry });
        let task = spawn_named("webhook", Arc::clone(&desk).work(queued));
        let webhook = Self {
            queue,
            pending: Mutex::default(),
            desk,
        };
        (Arc::new(webhook), task)
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "webhook {}", self.desk.receiver.address())
    }
}

impl SchemaChangeListener for Webhook {
    fn tell(&self, notice: SchemaChangeNotice) -> NoticeState {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|(_, state)| !state.is_settled());
        if let Some((_, known)) = pending.iter().find(|(event_id, _)| *event_id == notice.event_id) {
            return known.clone();
        }
        let state = NoticeState::default();
        let event_id = notice.event_id.clone();
        let queued = Queued {
            notice,
            state: state.clone(),
        };
        match self.queue.try_send(queued) {
            Ok(()) => {
                self.desk
                    .telemetry
                    .numbers
                    .webhook_waiting
                    .fetch_add(1, Ordering::Relaxed);
                pending.push((event_id, state.clone()));
            }
            Err(mpsc::error::TrySendError::Full(queued)) => self.desk.give_up(&queued, 0, &Unsent::too_many()),
            Err(mpsc::error::TrySendError::Closed(queued)) => self.desk.give_up(&queued, 0, &Unsent::task_gone()),
        }
        state
    }
}

// === impl Desk ===

impl Desk {
    async fn work(self: Arc<Self>, mut queued: mpsc::Receiver<Queued>) {
        while let Some(next) = queued.recv().await {
            self.deliver(&next).await;
            self.telemetry.numbers.webhook_waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Tries until it is taken, or to the limit.
    async fn deliver(&self, queued: &Queued) {
        let numbers = &self.telemetry.numbers;
        let mut backoff = Backoff::default();
        let mut refusals = 0;
        for attempt in 1.. {
            let Err(unsent) = self.receiver.post(&queued.notice).await else {
                numbers.webhook_delivered.fetch_add(1, Ordering::Relaxed);
                queued.state.settle();
                return;
            };
            refusals += u32::from(unsent.is_refusal);
            if attempt >= ATTEMPTS || refusals >= REFUSALS {
                self.give_up(queued, attempt, &unsent);
                return;
            }
            numbers.webhook_retries.fetch_add(1, Ordering::Relaxed);
            let pause = backoff.next_wait();
            tracing::info!(
                connector = self.telemetry.connector,
                url = self.receiver.address(),
                status = unsent.status,
                event_id = queued.notice.event_id,
                "the webhook is asked again in {:.1} s: {}",
                pause.as_secs_f64(),
                unsent.reason
            );
            // This task only waits for the receiver: capture goes on beside it, and the end of the process ends it.
            tokio::time::sleep(pause).await;
        }
    }

    fn give_up(&self, queued: &Queued, attempts: u32, unsent: &Unsent) {
        let notice = &queued.notice;
        self.telemetry.numbers.webhook_failed.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            connector = self.telemetry.connector,
            code = FAILED,
            url = self.receiver.address(),
            status = unsent.status,
            attempts,
            event_id = notice.event_id,
            "the webhook was not told of version {} of {}: {}; {}; it is not told again, and the log has the change as schema_changed",
            notice.version,
            notice.table,
            unsent.reason,
            unsent.remedy
        );
        queued.state.settle();
    }
}

// === impl Unsent ===

impl Unsent {
    fn too_many() -> Self {
        Self::before_asking(
            format!("{QUEUE_NOTICES} changes wait for it already"),
            "see why the receiver does not take those",
        )
    }

    fn task_gone() -> Self {
        Self::before_asking(
            "the task that asks it has ended, which is a defect in Tailrace".to_owned(),
            "restart the process",
        )
    }

    fn before_asking(reason: String, remedy: &'static str) -> Self {
        Self {
            status: None,
            is_refusal: false,
            reason,
            remedy,
        }
    }
}

#[cfg(test)]
mod tests;
