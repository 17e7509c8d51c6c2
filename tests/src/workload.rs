//! A seeded workload, and the truth about it: what every key went through, in the order of commits.
//!
//! Two writers with keys of their own, so that transactions interleave and the order of one key's changes is still
//! known: inserts, updates, deletes, changes of keys, large values that most updates leave alone, transactions of one
//! change to a hundred thousand, some rolled back, some with savepoints rolled back. Every row that is written has a version that
//! no other has.
//!
//! A workload runs as fast as the server takes it, or is *paced*: then it commits only what a test releases, so that a test has as
//! many transactions as it needs on a slow machine and on a fast one.
//!
//! A commit whose answer was lost is looked up afterwards: each transaction leaves a row in `ledger`.

mod bulk;
mod dialect;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tailrace_core::task::spawn_named;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::database::{Database, Session};
use crate::servers::{Result, ServerError, eventually};

use dialect::Dialect;

/// A server that is restarted comes back within this.
const RECONNECT_DEADLINE: Duration = Duration::from_secs(90);

/// How long a test waits for its workload to get somewhere.
const PROGRESS_DEADLINE: Duration = Duration::from_secs(90);

const WRITERS: u64 = 2;

/// Keys are few, so that each goes through a lot.
const KEYS_PER_WRITER: u64 = 40;

/// Longer than what PostgreSQL keeps in the row itself (2 kB), and not compressible by much.
const LARGE_CHARACTERS: u64 = 9_000;

/// Of a hundred transactions so many write many rows with one statement.
const BULK_PERCENT: u64 = 2;

/// The fewest rows of such a statement; the most are the load's.
const BULK_ROWS: u64 = 50;

/// The tables that it writes, and the columns of their keys.
pub const TABLES: [(&str, &[&str]); 4] = [
    ("accounts", &["id"]),
    ("bulk", &["writer", "number"]),
    ("order_lines", &["shop", "number"]),
    ("ledger", &["writer", "txn"]),
];

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

/// How much of it there is.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The same number makes the same transactions up, as far as two writers at a time can do the same again.
    pub seed: u64,
    /// Only what is released is committed.
    pub paced: bool,
    /// Rows of the largest statement, at most.
    pub largest_rows: u64,
}

/// A workload that runs until it is stopped.
pub struct Workload {
    load: Load,
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<Result<()>>>,
}

/// Numbers from a seed: splitmix64, because nothing more is needed of them than to be the same next time.
pub struct Dice(u64);

struct Shared {
    /// Where the next connection goes.
    database: Mutex<Database>,
    dialect: Dialect,
    stop: AtomicBool,
    paced: bool,
    largest_rows: u64,
    /// A permit for each transaction that may begin.
    released: Semaphore,
    /// Rows that the next transaction shall write; 0 where that is left to the dice.
    wanted_rows: AtomicU64,
    committed: AtomicU64,
    version: AtomicU64,
    history: Mutex<History>,
    /// What the first writer failed with.
    failure: Mutex<Option<ServerError>>,
}

struct Writer {
    number: u64,
    dice: Dice,
    txn: u64,
    shared: Arc<Shared>,
    /// Keys that exist, as of the last commit.
    rows: BTreeMap<Key, u64>,
    /// Numbers of its rows in `bulk`, as of the last commit.
    bulk: Range<u64>,
}

/// A transaction in the making.
#[derive(Default)]
struct Transaction {
    sql: String,
    steps: Vec<(Key, Step)>,
    rows: BTreeMap<Key, u64>,
    bulk: Range<u64>,
}

// === impl Load ===

impl Load {
    /// As fast as the server takes it, and nothing that would fill a small disk.
    #[must_use]
    pub fn of_seed(seed: u64) -> Load {
        Load {
            seed,
            paced: false,
            largest_rows: 1000,
        }
    }
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
        Workload::start_with(database, Load::of_seed(seed)).await
    }

    /// As [`Workload::start`], as much as is wanted.
    ///
    /// # Errors
    /// The server's.
    pub async fn start_with(database: &Database, load: Load) -> Result<Workload> {
        let dialect = Dialect::of(database);
        database.execute(dialect.tables()).await?;
        let permits = if load.paced { 0 } else { Semaphore::MAX_PERMITS };
        let shared = Arc::new(Shared {
            database: Mutex::new(database.clone()),
            dialect,
            stop: AtomicBool::new(false),
            paced: load.paced,
            largest_rows: load.largest_rows,
            released: Semaphore::new(permits),
            wanted_rows: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            version: AtomicU64::new(1),
            history: Mutex::new(History::default()),
            failure: Mutex::default(),
        });
        let writers = (0..WRITERS).map(|number| {
            let writer = Writer {
                number,
                dice: Dice::new(load.seed ^ (number << 32)),
                txn: 0,
                shared: Arc::clone(&shared),
                rows: BTreeMap::new(),
                bulk: 0..0,
            };
            let shared = Arc::clone(&shared);
            spawn_named("workload", async move {
                let written = writer.write().await;
                if let Err(error) = &written {
                    shared.failure().get_or_insert_with(|| error.clone());
                }
                written
            })
        });
        Ok(Workload {
            load,
            writers: writers.collect(),
            shared,
        })
    }

    /// What it was started with, for messages.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.load.seed
    }

    /// Lets so many more transactions of a paced workload begin.
    pub fn release(&self, transactions: usize) {
        if self.load.paced {
            self.shared.released.add_permits(transactions);
        }
    }

    /// Everything that was released has begun.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.released.available_permits() == 0
    }

    /// So many more transactions, committed.
    ///
    /// # Errors
    /// As [`Workload::wait_for_commits`].
    pub async fn commit(&self, transactions: usize) -> Result<()> {
        let more = u64::try_from(transactions).unwrap_or_default();
        let wanted = self.shared.committed.load(Ordering::Relaxed) + more;
        self.release(transactions);
        self.wait_for(wanted).await
    }

    /// One more transaction, committed, with a statement that writes so many rows.
    ///
    /// # Errors
    /// As [`Workload::wait_for_commits`].
    pub async fn commit_rows(&self, rows: u64) -> Result<()> {
        self.shared.wanted_rows.store(rows, Ordering::Relaxed);
        self.commit(1).await
    }

    /// Another server has taken over, with everything that was committed: connections that break come back there.
    pub fn move_to(&self, database: &Database) {
        *self.shared.database() = database.clone();
    }

    /// Waits for so many more commits.
    ///
    /// # Errors
    /// When they do not come: a writer failed, or the server hangs.
    pub async fn wait_for_commits(&self, more: u64) -> Result<()> {
        self.wait_for(self.shared.committed.load(Ordering::Relaxed) + more)
            .await
    }

    async fn wait_for(&self, wanted: u64) -> Result<()> {
        eventually(
            &format!("commit {wanted} (seed {})", self.seed()),
            PROGRESS_DEADLINE,
            || async {
                let ended = self.writers.iter().any(JoinHandle::is_finished);
                if ended {
                    let why = self.shared.failure().clone();
                    let why = why.map_or_else(|| "it panicked".to_owned(), |error| error.to_string());
                    return Err(ServerError::new(format!(
                        "a writer of the workload ended early (seed {}): {why}",
                        self.seed()
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
        self.shared.released.close();
        for writer in self.writers {
            writer.await.map_err(ServerError::doing("writing"))??;
        }
        Ok(self.shared.history().clone())
    }
}

// === impl Shared ===

impl Shared {
    fn failure(&self) -> MutexGuard<'_, Option<ServerError>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Writer ===

impl Writer {
    async fn write(mut self) -> Result<()> {
        let mut client = self.reconnect().await?;
        while self.may_begin().await {
            let transaction = self.make_up();
            match client.execute(&transaction.sql).await {
                Ok(()) => self.note(transaction),
                Err(refusal) if refusal.is_lost => {
                    let is_committed;
                    (client, is_committed) = self.ask_ledger().await?;
                    if is_committed {
                        self.note(transaction);
                    } else if self.shared.paced {
                        // It was released and is lost: another one comes in its place.
                        self.shared.released.add_permits(1);
                    }
                }
                Err(refusal) => {
                    let statements: String = transaction.sql.chars().take(2000).collect();
                    return Err(ServerError::new(format!("{} in: {statements}", refusal.text)));
                }
            }
        }
        Ok(())
    }

    /// Waits for its turn; false at the end.
    async fn may_begin(&self) -> bool {
        let permit = self.shared.released.acquire().await;
        let may = permit.map(tokio::sync::SemaphorePermit::forget).is_ok();
        may && !self.shared.stop.load(Ordering::Relaxed)
    }

    async fn reconnect(&self) -> Result<Session> {
        eventually("a connection of the workload", RECONNECT_DEADLINE, || async {
            Ok(self.connect().await)
        })
        .await
    }

    /// Nothing where the server cannot be had just now.
    async fn connect(&self) -> Option<Session> {
        let database = self.shared.database().clone();
        let mut session = database.session().await.ok()?;
        session.execute(self.shared.dialect.session()).await.ok()?;
        Some(session)
    }

    /// A new connection, and whether the transaction whose commit was not answered is there. The server may be killed again
    /// while it is asked.
    async fn ask_ledger(&self) -> Result<(Session, bool)> {
        let query = format!(
            "select 1 from ledger where writer = {} and txn = {}",
            self.number, self.txn
        );
        eventually("the ledger's answer", RECONNECT_DEADLINE, || async {
            let Some(mut client) = self.connect().await else {
                return Ok(None);
            };
            let rows = client.query(&query).await.ok();
            Ok(rows.map(|rows| (client, !rows.is_empty())))
        })
        .await
    }

    /// It is committed.
    fn note(&mut self, transaction: Transaction) {
        let mut history = self.shared.history();
        for (key, step) in transaction.steps {
            history.steps.entry(key).or_default().push(step);
        }
        drop(history);
        self.rows = transaction.rows;
        self.bulk = transaction.bulk;
        self.shared.committed.fetch_add(1, Ordering::Relaxed);
    }

    /// The next transaction.
    fn make_up(&mut self) -> Transaction {
        self.txn += 1;
        let mut transaction = self.begin();
        let wanted_rows = self.shared.wanted_rows.swap(0, Ordering::Relaxed);
        if wanted_rows > 0 {
            self.insert_bulk(&mut transaction, wanted_rows);
        } else if self.dice.chance(BULK_PERCENT) {
            self.change_bulk(&mut transaction);
        }
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
        if wanted_rows == 0 && self.dice.chance(15) {
            // Nothing of it may ever be seen; the next transaction's statements begin with its end.
            let ledger = format!("{} rollback;", transaction.sql);
            let mut next = self.committed_transaction();
            next.sql = format!("{ledger}{}", next.sql);
            return next;
        }
        self.finish(&mut transaction);
        transaction
    }

    /// A transaction of one change.
    fn committed_transaction(&mut self) -> Transaction {
        let mut transaction = self.begin();
        self.change(&mut transaction);
        self.finish(&mut transaction);
        transaction
    }

    fn begin(&self) -> Transaction {
        Transaction {
            sql: "begin;".to_owned(),
            rows: self.rows.clone(),
            bulk: self.bulk.clone(),
            ..Transaction::default()
        }
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
        let (rows, bulk, steps) = (
            transaction.rows.clone(),
            transaction.bulk.clone(),
            transaction.steps.len(),
        );
        transaction.push("savepoint regret;");
        if self.dice.chance(BULK_PERCENT) {
            self.change_bulk(transaction);
        }
        for _ in 0..=self.dice.below(3) {
            self.change(transaction);
        }
        transaction.push("rollback to savepoint regret;");
        transaction.rows = rows;
        transaction.bulk = bulk;
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
                let longer = self.shared.dialect.longer("payload");
                let set = format!("id = {to}, version = {version}, payload = {longer}");
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
        self.next_versions(1)
    }

    /// The first of so many.
    fn next_versions(&self, count: u64) -> u64 {
        self.shared.version.fetch_add(count, Ordering::Relaxed)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Version;
    use crate::servers::{MySqlVersion, PostgresVersion};

    async fn the_truth_ends_with_the_rows_of_the_tables(version: impl Into<Version>) {
        let database = Database::shared(version).await.unwrap();
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

    #[tokio::test(flavor = "multi_thread")]
    async fn the_truth_holds_on_postgresql() {
        the_truth_ends_with_the_rows_of_the_tables(PostgresVersion::V17).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_truth_holds_on_mysql_and_mariadb() {
        for version in MySqlVersion::ALL {
            the_truth_ends_with_the_rows_of_the_tables(version).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_truth_survives_a_server_that_is_killed() {
        for version in MySqlVersion::ALL {
            let database = Database::own(crate::servers::MySqlOptions::version(version))
                .await
                .unwrap();
            let workload = Workload::start(&database, 2).await.unwrap();
            for _ in 0..2 {
                workload.wait_for_commits(50).await.unwrap();
                database.server().kill9().unwrap();
                database.server().restart().unwrap();
            }
            workload.wait_for_commits(50).await.unwrap();
            let history = workload.stop().await.unwrap();
            let known = history.steps.keys().filter(|(table, _)| *table == "ledger").count();
            let count = database.query_value("select count(*) from ledger").await.unwrap();
            assert_eq!(count.parse::<usize>().unwrap(), known, "{version}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hundred_thousand_rows_are_one_transaction() {
        for version in MySqlVersion::ALL {
            let database = Database::shared(version).await.unwrap();
            let load = Load {
                paced: true,
                ..Load::of_seed(3)
            };
            let workload = Workload::start_with(&database, load).await.unwrap();
            workload.commit_rows(100_000).await.unwrap();
            workload.stop().await.unwrap();
            let rows = database.query_value("select count(*) from bulk").await.unwrap();
            assert!(rows.parse::<u64>().unwrap() >= 100_000, "{rows}");
        }
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
