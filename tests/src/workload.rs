//! A seeded workload, and the truth about it: what every key went through, in the order of commits.
//!
//! Two writers with keys of their own, so that transactions interleave and the order of one key's changes is still
//! known: inserts, updates, deletes, changes of keys, large values that most updates leave alone, transactions of one
//! to many changes, some rolled back, some with savepoints rolled back. Every row that is written has a version that no
//! other has.
//!
//! A commit whose answer was lost is looked up afterwards: each transaction leaves a row in `ledger`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tailrace_core::task::spawn_named;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::database::Database;
use crate::servers::{Result, ServerError, eventually};

/// A server that is restarted comes back within this.
const RECONNECT_DEADLINE: Duration = Duration::from_secs(90);

/// How long a test waits for its workload to get somewhere.
const PROGRESS_DEADLINE: Duration = Duration::from_secs(90);

const WRITERS: u64 = 2;

/// Keys are few, so that each goes through a lot.
const KEYS_PER_WRITER: u64 = 40;

/// Longer than what PostgreSQL keeps in the row itself (2 kB), and not compressible by much.
const LARGE_CHARACTERS: u64 = 9_000;

/// The tables that it writes, and the columns of their keys.
pub const TABLES: [(&str, &[&str]); 3] = [
    ("accounts", &["id"]),
    ("order_lines", &["shop", "number"]),
    ("ledger", &["writer", "txn"]),
];

const TABLES_SQL: &str = "
create table accounts (id bigint primary key, version bigint not null, note text, payload text);
alter table accounts alter payload set storage external;
create table order_lines (shop int, number int, version bigint not null, state text, primary key (shop, number));
create table ledger (writer int, txn bigint, version bigint not null, primary key (writer, txn))";

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The row with this version was written.
    Put(u64),
    /// The row was deleted, or went to another key.
    Delete,
}

/// A table's name and the key as JSON with sorted names: `{"number":1,"shop":2}`.
pub type Key = (&'static str, String);

/// Every committed change, by key, in the order of commits.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The steps of each key.
    pub steps: BTreeMap<Key, Vec<Step>>,
}

/// A workload that runs until it is stopped.
pub struct Workload {
    seed: u64,
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<Result<()>>>,
}

/// Numbers from a seed: splitmix64, because nothing more is needed of them than to be the same next time.
pub struct Dice(u64);

struct Shared {
    database: Database,
    stop: AtomicBool,
    committed: AtomicU64,
    version: AtomicU64,
    history: Mutex<History>,
}

struct Writer {
    number: u64,
    dice: Dice,
    txn: u64,
    shared: Arc<Shared>,
    /// Keys that exist, as of the last commit.
    rows: BTreeMap<Key, u64>,
}

/// A transaction in the making.
#[derive(Default)]
struct Transaction {
    sql: String,
    steps: Vec<(Key, Step)>,
    rows: BTreeMap<Key, u64>,
}

// === impl Dice ===

impl Dice {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number, below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

// === impl Workload ===

impl Workload {
    /// Creates the tables, writes some rows, and starts the writers.
    ///
    /// # Errors
    /// The server's.
    pub async fn start(database: &Database, seed: u64) -> Result<Workload> {
        database.execute(TABLES_SQL).await?;
        let shared = Arc::new(Shared {
            database: database.clone(),
            stop: AtomicBool::new(false),
            committed: AtomicU64::new(0),
            version: AtomicU64::new(1),
            history: Mutex::new(History::default()),
        });
        let writers = (0..WRITERS).map(|number| {
            let writer = Writer {
                number,
                dice: Dice::new(seed ^ (number << 32)),
                txn: 0,
                shared: Arc::clone(&shared),
                rows: BTreeMap::new(),
            };
            spawn_named("workload", writer.write())
        });
        Ok(Workload {
            seed,
            writers: writers.collect(),
            shared,
        })
    }

    /// What it was started with, for messages.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Waits for so many more commits.
    ///
    /// # Errors
    /// When they do not come: a writer failed, or the server hangs.
    pub async fn wait_for_commits(&self, more: u64) -> Result<()> {
        let wanted = self.shared.committed.load(Ordering::Relaxed) + more;
        eventually(
            &format!("{more} more commits (seed {})", self.seed),
            PROGRESS_DEADLINE,
            || async {
                let ended = self.writers.iter().any(JoinHandle::is_finished);
                if ended {
                    return Err(ServerError::new(format!(
                        "a writer of the workload ended early (seed {})",
                        self.seed
                    )));
                }
                Ok((self.shared.committed.load(Ordering::Relaxed) >= wanted).then_some(()))
            },
        )
        .await
    }

    /// Ends the writers after their current transactions; the truth.
    ///
    /// # Errors
    /// What a writer failed with.
    pub async fn stop(self) -> Result<History> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.await.map_err(ServerError::doing("writing"))??;
        }
        Ok(self.shared.history().clone())
    }
}

// === impl Shared ===

impl Shared {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Writer ===

impl Writer {
    async fn write(mut self) -> Result<()> {
        let mut client = self.reconnect().await?;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let transaction = self.make_up();
            if let Some(transaction) = transaction {
                match client.batch_execute(&transaction.sql).await {
                    Ok(()) => self.note(transaction),
                    Err(error) if error.is_closed() || is_shutdown(&error) => {
                        client = self.reconnect().await?;
                        if self.is_in_ledger(&client).await? {
                            self.note(transaction);
                        }
                    }
                    Err(error) => {
                        return Err(ServerError::new(format!("{error:?} in: {}", transaction.sql)));
                    }
                }
            }
        }
        Ok(())
    }

    async fn reconnect(&self) -> Result<Client> {
        eventually("a connection of the workload", RECONNECT_DEADLINE, || async {
            Ok(self.shared.database.connect().await.ok())
        })
        .await
    }

    /// Whether the transaction whose commit was not answered is there.
    async fn is_in_ledger(&self, client: &Client) -> Result<bool> {
        let query = format!(
            "select 1 from ledger where writer = {} and txn = {}",
            self.number, self.txn
        );
        let messages = client
            .simple_query(&query)
            .await
            .map_err(ServerError::doing("asking the ledger"))?;
        Ok(messages
            .iter()
            .any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_))))
    }

    /// It is committed.
    fn note(&mut self, transaction: Transaction) {
        let mut history = self.shared.history();
        for (key, step) in transaction.steps {
            history.steps.entry(key).or_default().push(step);
        }
        drop(history);
        self.rows = transaction.rows;
        self.shared.committed.fetch_add(1, Ordering::Relaxed);
    }

    /// The next transaction; `None` where it was one to be rolled back, which is of no further interest but must run.
    fn make_up(&mut self) -> Option<Transaction> {
        self.txn += 1;
        let mut transaction = Transaction {
            sql: "begin;".to_owned(),
            rows: self.rows.clone(),
            ..Transaction::default()
        };
        let changes = if self.dice.chance(3) {
            200
        } else {
            1 + self.dice.below(8)
        };
        for _ in 0..changes {
            if self.dice.chance(8) {
                self.change_and_regret(&mut transaction);
            }
            self.change(&mut transaction);
        }
        if self.dice.chance(15) {
            // Nothing of it may ever be seen; the next transaction's statements begin with its end.
            let ledger = format!("{} rollback;", transaction.sql);
            let mut next = self.committed_transaction();
            next.sql = format!("{ledger}{}", next.sql);
            return Some(next);
        }
        self.finish(&mut transaction);
        Some(transaction)
    }

    /// A transaction of one change.
    fn committed_transaction(&mut self) -> Transaction {
        let mut transaction = Transaction {
            sql: "begin;".to_owned(),
            rows: self.rows.clone(),
            ..Transaction::default()
        };
        self.change(&mut transaction);
        self.finish(&mut transaction);
        transaction
    }

    fn finish(&mut self, transaction: &mut Transaction) {
        let (writer, txn) = (self.number, self.txn);
        let version = self.next_version();
        transaction.push(&format!(
            "insert into ledger values ({writer}, {txn}, {version}); commit;"
        ));
        let key = ("ledger", format!("{{\"txn\":{txn},\"writer\":{writer}}}"));
        transaction.steps.push((key, Step::Put(version)));
    }

    /// Changes under a savepoint that is rolled back: they are in the log and never happened.
    fn change_and_regret(&mut self, transaction: &mut Transaction) {
        let (rows, steps) = (transaction.rows.clone(), transaction.steps.len());
        transaction.push("savepoint regret;");
        for _ in 0..=self.dice.below(3) {
            self.change(transaction);
        }
        transaction.push("rollback to savepoint regret;");
        transaction.rows = rows;
        transaction.steps.truncate(steps);
    }

    fn change(&mut self, transaction: &mut Transaction) {
        let number = self.number * KEYS_PER_WRITER + self.dice.below(KEYS_PER_WRITER);
        if self.dice.chance(60) {
            self.change_account(transaction, number);
        } else {
            self.change_line(transaction, number);
        }
    }

    fn change_account(&mut self, transaction: &mut Transaction, id: u64) {
        let version = self.next_version();
        let key = ("accounts", format!("{{\"id\":{id}}}"));
        if !transaction.rows.contains_key(&key) {
            let payload = if self.dice.chance(30) {
                format!("'{}'", self.large_text())
            } else {
                "null".to_owned()
            };
            let note = self.dice.below(1000);
            transaction.push(&format!(
                "insert into accounts values ({id}, {version}, 'n{note}', {payload});"
            ));
            transaction.put(key, version);
        } else if self.dice.chance(20) {
            transaction.push(&format!("delete from accounts where id = {id};"));
            transaction.delete(key);
        } else if self.dice.chance(10) {
            let free = (0..KEYS_PER_WRITER).map(|number| self.number * KEYS_PER_WRITER + number);
            let mut free = free.map(|id| (id, ("accounts", format!("{{\"id\":{id}}}"))));
            if let Some((to, new_key)) = free.find(|(_, key)| !transaction.rows.contains_key(key)) {
                // The log does not repeat a large value under a new key either: only a changed one can be carried there.
                let set = format!("id = {to}, version = {version}, payload = payload || '.'");
                transaction.push(&format!("update accounts set {set} where id = {id};"));
                transaction.delete(key);
                transaction.put(new_key, version);
            }
        } else {
            let payload = if self.dice.chance(10) {
                format!(", payload = '{}'", self.large_text())
            } else {
                String::new()
            };
            transaction.push(&format!(
                "update accounts set version = {version}{payload} where id = {id};"
            ));
            transaction.put(key, version);
        }
    }

    fn change_line(&mut self, transaction: &mut Transaction, number: u64) {
        let version = self.next_version();
        let shop = number % 3;
        let key = ("order_lines", format!("{{\"number\":{number},\"shop\":{shop}}}"));
        if !transaction.rows.contains_key(&key) {
            transaction.push(&format!(
                "insert into order_lines values ({shop}, {number}, {version}, 'open');"
            ));
            transaction.put(key, version);
        } else if self.dice.chance(25) {
            transaction.push(&format!(
                "delete from order_lines where shop = {shop} and number = {number};"
            ));
            transaction.delete(key);
        } else {
            let state = self.dice.below(100);
            let set = format!("version = {version}, state = 's{state}'");
            transaction.push(&format!(
                "update order_lines set {set} where shop = {shop} and number = {number};"
            ));
            transaction.put(key, version);
        }
    }

    fn next_version(&self) -> u64 {
        self.shared.version.fetch_add(1, Ordering::Relaxed)
    }

    fn large_text(&mut self) -> String {
        let mut text = String::new();
        while text.len() < usize::try_from(LARGE_CHARACTERS).unwrap_or_default() {
            text.push_str(&format!("{:016x}", self.dice.roll()));
        }
        text
    }
}

// === impl Transaction ===

impl Transaction {
    fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    fn put(&mut self, key: Key, version: u64) {
        self.rows.insert(key.clone(), version);
        self.steps.push((key, Step::Put(version)));
    }

    fn delete(&mut self, key: Key) {
        self.rows.remove(&key);
        self.steps.push((key, Step::Delete));
    }
}

/// The server said goodbye (class 57), or was shutting down or starting.
fn is_shutdown(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_none_or(|database| database.code().code().starts_with("57"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::PostgresVersion;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_truth_ends_with_the_rows_of_the_tables() {
        let database = Database::shared(PostgresVersion::V17).await.unwrap();
        let workload = Workload::start(&database, 1).await.unwrap();
        workload.wait_for_commits(400).await.unwrap();
        let history = workload.stop().await.unwrap();
        for (table, columns) in TABLES {
            let key = columns.join(",");
            let rows = database
                .query(&format!("select version from {table} order by {key}"))
                .await
                .unwrap();
            let mut rows: Vec<u64> = rows
                .iter()
                .map(|row| row[0].as_deref().unwrap().parse().unwrap())
                .collect();
            let last = history
                .steps
                .iter()
                .filter(|((known, _), _)| *known == table)
                .map(|(_, steps)| steps.last());
            let mut versions: Vec<u64> = last
                .filter_map(|step| match step {
                    Some(Step::Put(version)) => Some(*version),
                    Some(Step::Delete) | None => None,
                })
                .collect();
            rows.sort_unstable();
            versions.sort_unstable();
            assert_eq!(versions, rows, "{table}");
        }
        let deletes = history
            .steps
            .values()
            .flatten()
            .filter(|step| **step == Step::Delete)
            .count();
        assert!(deletes > 20, "{deletes}");
    }

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let rolls = |seed| {
            {
                let mut dice = Dice::new(seed);
                (0..5).map(move |_| dice.roll())
            }
            .collect::<Vec<_>>()
        };
        assert_eq!(rolls(7), rolls(7));
        assert_ne!(rolls(7), rolls(8));
    }
}
