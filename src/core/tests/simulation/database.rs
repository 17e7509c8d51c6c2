//! A database in a few lines: tables of keyed rows, a log of committed transactions, and one replication slot, which keeps
//! the log from where it was last confirmed and has forgotten everything before.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;
use tailrace_core::batch::Operation;
use tailrace_core::schema::{Column, SharedSchema, TableKind, TableName, TableSchema};
use tailrace_core::value::LogicalType;

/// All tables; a walk captures the first two, and the third when it is added to the configuration.
pub(crate) const TABLES: usize = 3;
/// Few, so that every key is changed again and again.
const KEYS: u32 = 5;
/// Between two commits lies log of others, so that positions without a commit exist.
const COMMIT_STEP: u64 = 10;

/// A row as it was left by a change; versions grow over the whole database.
#[derive(Debug, Clone)]
pub(crate) struct RowChange {
    pub(crate) table: usize,
    pub(crate) key: u32,
    pub(crate) operation: Operation,
    pub(crate) version: u64,
    pub(crate) schema: SharedSchema,
}

/// Committed: what is rolled back never comes into the log.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) position: u64,
    pub(crate) changes: Vec<RowChange>,
}

/// Key → version.
pub(crate) type Rows = BTreeMap<u32, u64>;

#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) forgotten_until: u64,
}

#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) log: Vec<Committed>,
    /// End of the log.
    pub(crate) end: u64,
    pub(crate) rows: [Rows; TABLES],
    /// The rows that who reads the tables sees: without what is committed and not visible yet.
    pub(crate) seen: [Rows; TABLES],
    /// Transactions that are in the log and not visible, by their index.
    pub(crate) stalled: Vec<usize>,
    /// How often a transaction is not visible when it is in the log.
    pub(crate) stalls: f64,
    pub(crate) slot: Option<Slot>,
    /// From where on changes of a table are in the log that the slot sends.
    pub(crate) published_from: BTreeMap<usize, u64>,
    schemas: [SharedSchema; TABLES],
    versions: u64,
}

// === impl Database ===

impl Database {
    /// Nothing is in it; so often a transaction will be in the log before it is visible.
    pub(crate) fn new(stalls: f64) -> Self {
        Self {
            log: Vec::new(),
            end: COMMIT_STEP,
            rows: Default::default(),
            seen: Default::default(),
            stalled: Vec::new(),
            stalls,
            slot: None,
            published_from: BTreeMap::new(),
            schemas: [0, 1, 2].map(|table| schema(table, 0)),
            versions: 0,
        }
    }

    /// One transaction: mostly small, sometimes larger than several batches, sometimes of nothing that is captured.
    pub(crate) fn commit(&mut self, dice: &mut StdRng) {
        let changes = match dice.random_range(0..20) {
            0 => 0,
            1 => dice.random_range(20..90),
            _ => dice.random_range(1..6),
        };
        let changes: Vec<_> = (0..changes).map(|_| self.change(dice)).collect();
        self.end += COMMIT_STEP;
        let index = self.log.len();
        self.log.push(Committed {
            position: self.end,
            changes,
        });
        self.stalled.push(index);
        if !dice.random_bool(self.stalls) {
            self.show(index);
        }
    }

    /// A transaction becomes visible.
    fn show(&mut self, index: usize) {
        self.stalled.retain(|stalled| *stalled != index);
        for change in &self.log[index].changes {
            match change.operation {
                Operation::Delete => self.seen[change.table].remove(&change.key),
                _ => self.seen[change.table].insert(change.key, change.version),
            };
        }
    }

    /// The oldest transaction that was not visible is.
    pub(crate) fn show_oldest(&mut self) {
        if let Some(oldest) = self.stalled.first().copied() {
            self.show(oldest);
        }
    }

    /// Everything is visible, from now on at once.
    pub(crate) fn show_all(&mut self) {
        self.stalls = 0.0;
        while !self.stalled.is_empty() {
            self.show_oldest();
        }
    }

    /// Who has written a row holds it until what was written is visible.
    fn wait_for(&mut self, table: usize, key: u32) {
        let writes = |index: &usize| {
            let mut changes = self.log[*index].changes.iter();
            changes.any(|change| (change.table, change.key) == (table, key))
        };
        if let Some(holder) = self.stalled.iter().copied().find(writes) {
            self.show(holder);
        }
    }

    fn change(&mut self, dice: &mut StdRng) -> RowChange {
        let table = dice.random_range(0..TABLES);
        let key = dice.random_range(0..KEYS);
        self.wait_for(table, key);
        self.versions += 1;
        let there = self.rows[table].contains_key(&key);
        let operation = match there {
            false => Operation::Create,
            true if dice.random_ratio(1, 3) => Operation::Delete,
            true => Operation::Update,
        };
        match operation {
            Operation::Delete => self.rows[table].remove(&key),
            _ => self.rows[table].insert(key, self.versions),
        };
        RowChange {
            table,
            key,
            operation,
            version: self.versions,
            schema: Arc::clone(&self.schemas[table]),
        }
    }

    /// The log goes on without anything that is captured.
    pub(crate) fn write_elsewhere(&mut self) {
        self.end += 1;
    }

    /// A table gets a new version.
    pub(crate) fn define(&mut self, table: usize) {
        let version = version_of(&self.schemas[table]) + 1;
        self.schemas[table] = schema(table, version);
        self.end += 1;
    }

    pub(crate) fn schema(&self, table: usize) -> SharedSchema {
        Arc::clone(&self.schemas[table])
    }

    /// The slot is made at the end of the log.
    pub(crate) fn create_slot(&mut self) -> u64 {
        self.slot = Some(Slot {
            forgotten_until: self.end,
        });
        self.end
    }

    /// Index of the first transaction behind a position.
    pub(crate) fn first_behind(&self, position: u64) -> usize {
        self.log.partition_point(|committed| committed.position <= position)
    }

    /// The transaction that committed at a position.
    pub(crate) fn committed_at(&self, position: u64) -> Option<&Committed> {
        let index = self.log.binary_search_by_key(&position, |committed| committed.position);
        index.ok().map(|index| &self.log[index])
    }
}

/// Name of a table in the models' only schema.
pub(crate) fn table_name(table: usize) -> String {
    format!("s.t{table}")
}

/// The inverse of [`table_name`].
pub(crate) fn table_number(name: &str) -> usize {
    name.trim_start_matches("s.t").parse().unwrap()
}

/// Which version of its table a schema is.
pub(crate) fn version_of(schema: &TableSchema) -> usize {
    schema.columns.len() - 2
}

/// Each version has one column more, which no row has a value for.
fn schema(table: usize, version: usize) -> SharedSchema {
    let added = (0..version).map(|number| column(&format!("added{number}")));
    Arc::new(TableSchema {
        name: TableName {
            database: String::new(),
            schema: "s".into(),
            table: format!("t{table}"),
        },
        kind: TableKind::Table,
        columns: [column("key"), column("version")].into_iter().chain(added).collect(),
        key: vec![0],
        documentation: None,
    })
}

fn column(name: &str) -> Column {
    Column {
        source_type: "bigint".into(),
        ..Column::new(name, LogicalType::Int64)
    }
}
