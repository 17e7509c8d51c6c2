//! Writers that commit long after others with higher ids, what must come of it, and a daemon that dies again and again meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tailrace_tests::database::Database;
use tailrace_tests::servers::eventually;
use tailrace_tests::workload::Dice;
use tokio::task::JoinSet;

use super::{DEADLINE, Polled, by_event_id, count, numbers};

const WRITERS: u64 = 6;

/// For so long nobody counts on luck: thousands of transactions.
const ROWS: u64 = 12_000;

/// What polls the writers' table.
pub(super) const QUERY: &str =
    "tables: [public.t]\nquery: { mode: incrementing, poll_interval_ms: 10, batch_rows: 500 }";

/// Where a daemon that polls may die.
const FAILPOINTS: [&str; 5] = [
    "after_enqueue",
    "after_durable",
    "before_checkpoint",
    "after_checkpoint",
    "after_confirm",
];

/// Passages of a failpoint before it kills, at most.
const PASSAGES: u32 = 8;

/// Statements of one transaction: of this writer, its so-and-so-manieth. What is in one text is sent together.
pub(super) type Transaction = fn(u64, u64, &mut Dice) -> Vec<String>;

/// Writers until there are so many rows; then a last one, behind which nothing can come late. Gives its id.
pub(super) async fn write(database: &Database, seed: u64, transaction: Transaction) -> u64 {
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (mut session, done) = (database.session().await.unwrap(), Arc::clone(&done));
        writers.spawn(async move {
            let mut dice = Dice::new(seed.wrapping_add(writer));
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                for statements in transaction(writer, number, &mut dice) {
                    session.execute(&statements).await.unwrap();
                }
            }
        });
    }
    let enough = format!("(select count(*) >= {ROWS} from t)");
    database.wait_until(&enough).await.unwrap();
    done.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    database.execute("insert into t (writer) values (0)").await.unwrap();
    count(database, "select max(id) from t").await
}

/// What is wrong with what was published of a daemon that was never disturbed, where anything is.
pub(super) async fn wrong(polled: &Polled) -> Result<(), String> {
    disagreement(&polled.database, &numbers(&polled.events("t").await, "id")).await
}

/// Whether these ids are those of all rows, in order.
async fn disagreement(database: &Database, ids: &[i64]) -> Result<(), String> {
    if let Some(place) = ids.windows(2).position(|pair| pair[0] >= pair[1]) {
        return Err(format!("{:?} do not ascend", &ids[place..place + 2]));
    }
    let rows = database.query("select id from t order by id").await.unwrap();
    let rows = rows.into_iter().flatten().flatten().map(|id| id.parse().unwrap());
    let rows: Vec<i64> = rows.collect();
    if ids == rows {
        return Ok(());
    }
    Err(format!("{} of {} rows", ids.len(), rows.len()))
}

/// Writes while the daemon dies at one failpoint after the other; then every row must have come in the order of ids, and what came
/// again must be the same under the same id.
pub(super) async fn die_again_and_again(polled: &Polled, seed: u64, transaction: Transaction) {
    let mut dice = Dice::new(seed);
    let mut deaths = 0;
    let written = AtomicBool::new(false);
    let write = async {
        let last = write(&polled.database, seed, transaction).await;
        written.store(true, Ordering::Relaxed);
        last
    };
    let die = async {
        while !written.load(Ordering::Relaxed) {
            let failpoint = FAILPOINTS[usize::try_from(dice.below(5)).unwrap()];
            let passage = dice.below(PASSAGES.into()) + 1;
            polled
                .daemon
                .start_armed(&format!("{failpoint}=kill@{passage}"))
                .unwrap();
            let outcome = eventually("a death, or the end of the writers", DEADLINE, || async {
                let died = polled.daemon.ended()?.map(|_| true);
                Ok(died.or_else(|| written.load(Ordering::Relaxed).then_some(false)))
            });
            if outcome.await.unwrap() {
                deaths += 1;
            }
        }
    };
    let (last, ()) = tokio::join!(write, die);
    polled.daemon.kill9().unwrap();
    polled.start_again();
    polled.wait_for_id("t", last);
    let events = polled.events("t").await;
    eprintln!("{deaths} deaths, {} events, seed {seed}", events.len());
    assert!(deaths >= 3, "only {deaths} deaths, seed {seed}");
    by_event_id(&events);
    let mut highest = 0;
    let mut first_times = numbers(&events, "id");
    first_times.retain(|id| {
        let is_new = *id > highest;
        highest = highest.max(*id);
        is_new
    });
    assert_eq!(
        disagreement(&polled.database, &first_times).await,
        Ok(()),
        "seed {seed}"
    );
}
