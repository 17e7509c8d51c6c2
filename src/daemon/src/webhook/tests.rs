use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::*;

/// Answers as scripted, then takes everything; each answer waits until it may come.
struct Script {
    answers: Mutex<VecDeque<Unsent>>,
    told: Mutex<Vec<String>>,
    gate: Semaphore,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Unsent>, gate: usize) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers.into_iter().collect()),
            told: Mutex::default(),
            gate: Semaphore::new(gate),
        })
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

#[async_trait]
impl Post for Script {
    async fn post(&self, notice: &SchemaChangeNotice) -> Result<(), Unsent> {
        self.told.lock().unwrap().push(notice.event_id.clone());
        self.gate.acquire().await.unwrap().forget();
        let answer = self.answers.lock().unwrap().pop_front();
        answer.map_or(Ok(()), Err)
    }

    fn address(&self) -> String {
        "http://receiver".to_owned()
    }
}

const OPEN: usize = 1_000_000;

fn unsent(status: u16, is_refusal: bool) -> Unsent {
    Unsent {
        status: Some(status),
        is_refusal,
        reason: format!("it answered {status}"),
        remedy: "see its log",
    }
}

fn notice(version: u32) -> SchemaChangeNotice {
    SchemaChangeNotice {
        event_id: format!("shop:public.orders:{version}"),
        table: "public.orders".to_owned(),
        version,
        document: b"{}".to_vec(),
    }
}

fn start(script: &Arc<Script>) -> (Arc<Webhook>, Arc<Telemetry>) {
    let telemetry = Arc::new(Telemetry::new("shop"));
    let receiver = Arc::clone(script) as Arc<dyn Post>;
    (Webhook::start(receiver, Arc::clone(&telemetry)).0, telemetry)
}

/// Delivered, asked again, failed.
fn counts(telemetry: &Telemetry) -> [u64; 3] {
    let numbers = &telemetry.numbers;
    [
        &numbers.webhook_delivered,
        &numbers.webhook_retries,
        &numbers.webhook_failed,
    ]
    .map(|number| number.load(Ordering::Relaxed))
}

async fn settled(state: &NoticeState) -> Duration {
    let begin = Instant::now();
    while !state.is_settled() {
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_again_until_it_is_taken_and_those_behind_it_wait() {
    let script = Script::new([unsent(503, false), unsent(404, true), unsent(429, false)], OPEN);
    let (webhook, telemetry) = start(&script);
    let first = webhook.tell(notice(2));
    let second = webhook.tell(notice(3));
    assert!(!first.is_settled());
    settled(&second).await;
    assert!(first.is_settled());
    let ids = [2, 2, 2, 2, 3].map(|version| notice(version).event_id);
    assert_eq!(script.told(), ids);
    assert_eq!(counts(&telemetry), [2, 3, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_down_is_given_up_after_a_minute_at_the_least() {
    let down = (0..ATTEMPTS).map(|_| unsent(503, false));
    let script = Script::new(down, OPEN);
    let (webhook, telemetry) = start(&script);
    let took = settled(&webhook.tell(notice(2))).await;
    assert!(
        took > Duration::from_secs(60) && took < Duration::from_secs(160),
        "{took:?}"
    );
    assert_eq!(counts(&telemetry), [0, u64::from(ATTEMPTS) - 1, 1]);
    // The next one is told.
    settled(&webhook.tell(notice(3))).await;
    assert_eq!(counts(&telemetry), [1, u64::from(ATTEMPTS) - 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_given_up_soon() {
    let script = Script::new((0..REFUSALS).map(|_| unsent(404, true)), OPEN);
    let (webhook, telemetry) = start(&script);
    let took = settled(&webhook.tell(notice(2))).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(counts(&telemetry), [0, u64::from(REFUSALS) - 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_is_not_queued_twice() {
    let script = Script::new([], 0);
    let (webhook, telemetry) = start(&script);
    let states: Vec<NoticeState> = (0..3).map(|_| webhook.tell(notice(2))).collect();
    script.gate.add_permits(OPEN);
    for state in &states {
        settled(state).await;
    }
    assert_eq!(script.told(), [notice(2).event_id]);
    assert_eq!(counts(&telemetry), [1, 0, 0]);
    // Once it was taken, it is another telling.
    settled(&webhook.tell(notice(2))).await;
    assert_eq!(script.told().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_counted_and_nobody_waits() {
    let script = Script::new([], 0);
    let (webhook, telemetry) = start(&script);
    let room = u32::try_from(QUEUE_NOTICES).unwrap();
    let states: Vec<NoticeState> = (0..room + 3).map(|version| webhook.tell(notice(version))).collect();
    assert_eq!(counts(&telemetry), [0, 0, 3], "the task has not taken any yet");
    assert!(states.iter().skip(QUEUE_NOTICES).all(NoticeState::is_settled));
    script.gate.add_permits(OPEN);
    for state in &states {
        settled(state).await;
    }
    assert_eq!(counts(&telemetry), [u64::from(room), 0, 3]);
    assert_eq!(format!("{webhook:?}"), "webhook http://receiver");
}
