//! The ports: what connectors, streams and stores implement, and what may be relied on.
//!
//! The order that everything hangs on: *deliver ≺ durable ≺ checkpoint saved ≺ confirm*.

pub mod sink;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::batch::{ChangeBatch, RowView};
use crate::check::Finding;
use crate::dead_letter::DeadLetterStore;
use crate::error::{Error, Result};
use crate::event::{EncodedBatch, StreamRecord};
use crate::grants::{Script, TopicUse};
use crate::position::{Checkpoint, Position, Progress};
use crate::predecessor::{self, Predecessor};
use crate::schema::{SharedSchema, TableName, TableSchema};
use crate::snapshot::SnapshotDesk;
use crate::telemetry::Telemetry;

use self::sink::{Subscription, SubscriptionSpec};

/// How much a source may put into one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// At most so many changes.
    pub changes: usize,
    /// About so many bytes of values; a single larger row still goes through.
    pub bytes: usize,
}

/// What a source is opened with.
#[derive(Clone)]
pub struct SourceContext {
    /// The connector's name.
    pub connector: String,
    /// How far it was carried; `None` at the very first start.
    pub resume: Option<Progress>,
    /// What the connector itself must remember.
    pub store: Arc<dyn ConnectorStore>,
    /// State, progress and lag, for status, metrics and the terminal.
    pub telemetry: Arc<Telemetry>,
    /// The rows' own updated-at column by configuration, where one is named: for ordered snapshots.
    pub updated_at_column: Option<String>,
    /// Where people ask for snapshots while the source runs.
    pub snapshots: Arc<SnapshotDesk>,
}

/// A configured database side that changes come from. Made from configuration alone; nothing is connected yet.
#[async_trait]
pub trait SourceConnector: Send + Sync {
    /// Preflight: every problem at once. Read-only: creates nothing on the source.
    async fn check(&self, connector: &str) -> Vec<Finding>;

    /// What gives the user of the configuration the rights that the source needs, and no others. Connects to nothing.
    ///
    /// # Errors
    /// Where the configuration does not say who and where.
    fn grants(&self, connector: &str) -> Result<Script>;

    /// The tables that would be captured, as they are now. Read-only.
    async fn describe(&self) -> Result<Vec<SharedSchema>>;

    /// Connects and continues where `context.resume` says. Called again after each transient error, so that the way
    /// back from a crash and the way back from an error are one and the same.
    async fn open(&self, context: SourceContext) -> Result<Box<dyn Source>>;

    /// Whether the source can go on from a position that a person names: it is one of this source's, its log is still there, and it is
    /// not behind what the server was told. `_remembered` is what the source's memory has of it. Creates nothing.
    ///
    /// # Errors
    /// Definite where it cannot, or where positions of this source are not for people.
    async fn verify_position(
        &self,
        _connector: &str,
        _position: &Position,
        _remembered: Option<&serde_json::Value>,
    ) -> Result<()> {
        Err(position_not_movable())
    }

    /// Whether [`Self::open`] could go on from what was saved: from `_progress`, with what the source has `_remembered`. Creates nothing.
    ///
    /// # Errors
    /// Those that it would give, as far as they can be known without opening anything.
    async fn verify_saved(
        &self,
        _connector: &str,
        _progress: Option<&Progress>,
        _remembered: serde_json::Value,
    ) -> Result<()> {
        Ok(())
    }

    /// Where to go on from what another program left that carried these changes before: the database is asked whether everything behind
    /// that place is still there. Creates nothing.
    ///
    /// # Errors
    /// Definite where it cannot go on from there, or the offset is of another kind of database.
    async fn take_over(&self, _connector: &str, _left: &Predecessor) -> Result<predecessor::TakeOver> {
        Err(predecessor::not_understood(self.kind()))
    }

    /// What this source calls itself in Debezium's `source.connector`: `postgresql`, `mysql`, `sqlite`.
    fn kind(&self) -> &'static str;
}

/// What a source says whose position is not for people.
pub fn position_not_movable() -> Error {
    Error::definite(
        "position_not_movable",
        "the position of this source names rows that were read, and cannot be set; delete the offsets to begin anew",
    )
}

/// What a source says of a position when it has not remembered anything yet.
pub fn server_not_known() -> Error {
    Error::definite(
        "position_not_movable",
        "the connector has carried nothing yet, and does not know its server; let it start once, then stop it",
    )
}

/// What the pipeline sees of a source that is open.
#[async_trait]
pub trait Source: Send {
    /// The next changes in commit order, never splitting a row. Cancel-safe: a future that is dropped has lost nothing; it is
    /// dropped whenever a batch in flight settles, and begun anew. Progress never goes back, also where changes are sent again.
    /// A batch without changes is a heartbeat: it carries only progress. Waits where there is nothing to say.
    async fn next_batch(&mut self, budget: Budget) -> Result<ChangeBatch>;

    /// Everything up to here is durable *and* checkpointed: the server may forget it. Never called with a position
    /// that was not in the progress of a batch of this source.
    async fn confirm(&mut self, durable: &Position) -> Result<()>;

    /// Reads changes again that were set aside, as they were handed out: rows that are events become them with the
    /// configuration of now. Nothing is asked of the database.
    fn interpret(&mut self, _batch: &mut ChangeBatch) -> Result<()> {
        Ok(())
    }

    /// From now on rows that `judge` holds back stay in their table: neither handed out nor acknowledged.
    ///
    /// # Errors
    /// Where the source does not read queues: what it has handed out is gone from its log, or passed by its cursor.
    fn judge_rows(&mut self, _judge: Box<dyn RowJudge>) -> Result<()> {
        Err(Error::definite(
            "rows_not_held",
            "only rows of a queue can be held back; set `query: { mode: queue }`, or choose another policy for bad rows",
        ))
    }
}

/// Decides about each row of a queue before it is handed out.
pub trait RowJudge: Send + Sync {
    /// A table is read from its first row again.
    fn begin_round(&mut self, table: &SharedSchema);

    /// True where a row must stay in its table. It is asked about again in the next round.
    fn holds(&mut self, table: &SharedSchema, row: RowView<'_>) -> bool;
}

/// What a database's log implements; [`crate::snapshot::Handover`] makes a [`Source`] of it.
#[async_trait]
pub trait LogReader: Send {
    /// Starts reading at `start`. Changes of a table in `read_at` whose transaction is already contained in the
    /// snapshot that the table was read under (the position given) are left out.
    async fn begin(&mut self, start: &Position, read_at: &BTreeMap<String, Position>) -> Result<()>;

    /// As [`Source::next_batch`].
    async fn next_batch(&mut self, budget: Budget) -> Result<ChangeBatch>;

    /// As [`Source::confirm`].
    async fn confirm(&mut self, durable: &Position) -> Result<()>;
}

/// What a database's tables implement: their rows under one consistent snapshot.
#[async_trait]
pub trait ChunkReader: Send {
    /// The next rows, of whichever table; `None` when every row of every table was handed out. Cancel-safe.
    /// The progress of the batch is filled in by the caller.
    async fn next_chunk(&mut self, budget: Budget) -> Result<Option<Chunk>>;
}

/// Rows of a snapshot.
#[derive(Debug)]
pub struct Chunk {
    /// The rows, as `Read` changes.
    pub batch: ChangeBatch,
    /// Tables of which this chunk holds the last rows.
    pub finished_tables: Vec<String>,
}

/// A table that may be read again while the log is carried.
#[derive(Debug)]
pub struct WindowTable {
    /// Its name.
    pub name: TableName,
    /// Rows by the database's statistics.
    pub rows_estimated: Option<u64>,
    /// Why it cannot be read so: it has no key that rows are found and told apart by.
    pub refusal: Option<Error>,
}

/// What may be read again while the log is carried.
#[derive(Debug, Default)]
pub struct WindowTables {
    /// Every captured table.
    pub tables: Vec<WindowTable>,
    /// Conditions of the configuration: the qualified name of the table of each, by the condition's name.
    pub conditions: BTreeMap<String, String>,
}

/// What is read of a table next.
#[derive(Debug, Clone)]
pub struct WindowRequest {
    /// Qualified name of the table.
    pub table: String,
    /// Name of the condition that rows must meet.
    pub condition: Option<String>,
    /// Where the window before ended; `None` from the first row.
    pub after: Option<String>,
    /// At most so many rows, and about so many bytes of values; a single larger row still comes.
    pub budget: Budget,
    /// Everything that the log has handed out so far. Every change of it must be visible in the rows.
    pub handed_out: Progress,
    /// Name of the snapshot, for `event_id`.
    pub run: String,
    /// Rows of the table that were read before, for `event_id`.
    pub rows_before: u64,
}

/// Some rows of a table, and where in the log they stand.
#[derive(Debug)]
pub struct Window {
    /// The rows, as `Read` changes of one version of the table, in the order of its key. Its progress is filled in by the caller.
    pub batch: ChangeBatch,
    /// The version of the table that they were read in, also where there are none. Its key tells rows apart.
    pub schema: SharedSchema,
    /// Nothing that is committed behind this place of the log is in the rows.
    pub high: Position,
    /// Where the next window begins; `None` where these are the last rows.
    pub next: Option<String>,
}

/// What a database implements for rows to be read again while its log is carried; [`crate::snapshot::incremental`] puts them
/// between the log's changes. Reads only.
#[async_trait]
pub trait WindowReader: Send + Sync {
    /// What there is to be read.
    async fn tables(&self) -> Result<WindowTables>;

    /// The next rows of a table. What makes the rows safe to be put into the stream is promised here:
    /// - everything in `handed_out`, a transaction that is handed out in part included, is visible in them. That a change is in the
    ///   log does not mean that it is visible: this waits until it is;
    /// - nothing that comes in the log behind [`Window::high`] is visible in them;
    /// - the log comes to `high` by itself, also where nothing more is written.
    ///
    /// May be dropped at any time. One call at a time.
    ///
    /// # Errors
    /// Transient: it is tried again, from a `handed_out` of then. Anything else: the table is given up, and others go on.
    async fn read(&self, request: WindowRequest) -> Result<Window>;

    /// Whether everything in the log up to `high` is handed out where the log has handed out up to `position`.
    fn has_passed(&self, position: &Position, high: &Position) -> Result<bool>;

    /// Nothing is read for a while: what is held on the server for it is given back.
    fn rest(&self);
}

/// Turns changes into records. Compiles one plan per table version; knows envelope, codec and topics.
#[async_trait]
pub trait Encoder: Send {
    /// Gets ready for the tables of a batch: schemas that were not seen before are registered before their first event. Called
    /// before each batch is encoded; does nothing where every table is known.
    async fn prepare(&mut self, _batch: &ChangeBatch) -> Result<()> {
        Ok(())
    }

    /// Encodes the changes of a batch, in order. One that cannot be encoded leaves nothing behind but its place in
    /// [`EncodedBatch::refused`]; an error is not about one change.
    fn encode(&mut self, batch: &ChangeBatch) -> Result<EncodedBatch>;
}

/// What a topic should be when Tailrace creates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name.
    pub name: Arc<str>,
    /// Events have keys: the topic may be compacted.
    pub keyed: bool,
}

/// Where a consumer starts that has no stored offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartOffset {
    /// The first record that is still there.
    Earliest,
    /// Only records that come from now on.
    Latest,
}

/// What a consumer reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerSpec {
    /// Topics in full.
    pub topics: Vec<String>,
    /// Name that offsets are stored under; without one nothing is stored.
    pub group: Option<String>,
    /// Where to start without stored offsets.
    pub start: StartOffset,
}

/// A configured event stream.
#[async_trait]
pub trait EventStream: Send + Sync {
    /// Preflight: every problem at once. Creates nothing.
    async fn check(&self, topics: &[TopicSpec]) -> Vec<Finding>;

    /// What gives us the rights to use topics so, and no others. Connects to nothing.
    fn grants(&self, uses: &[TopicUse]) -> Script;

    /// Makes sure that a topic is there, creating it where configured. Cheap when it is known already.
    async fn ensure_topic(&self, topic: &TopicSpec) -> Result<()>;

    /// A new producer with nothing in flight.
    async fn producer(&self) -> Result<Box<dyn Producer>>;

    /// A new consumer.
    async fn consumer(&self, spec: ConsumerSpec) -> Result<Box<dyn Consumer>>;

    /// Joins a group of readers.
    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>>;

    /// Names of the topics that exist.
    async fn topics(&self) -> Result<Vec<String>>;

    /// The process that writes to the stream, where one alone may and another one has it. Takes nothing.
    fn held_by(&self) -> Option<u32> {
        None
    }
}

/// What became durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Records.
    pub records: usize,
    /// Bytes of keys, values and headers.
    pub bytes: usize,
}

/// Delivers encoded batches, in order.
pub trait Producer: Send {
    /// Takes the batch now, in order, without blocking; the future resolves when every record of it is durable.
    /// Dropping the future means "outcome unknown". After an error the producer is thrown away and the batches are
    /// replayed through a new one from the last checkpoint: it must not deliver anything more that was handed to it
    /// after the record that failed.
    fn deliver(&mut self, batch: EncodedBatch) -> BoxFuture<'static, Result<Receipt>>;
}

/// Reads records of a stream back.
#[async_trait]
pub trait Consumer: Send {
    /// Up to `limit` next records; empty where none came within `wait`. Cancel-safe.
    async fn poll(&mut self, limit: usize, wait: Duration) -> Result<Vec<StreamRecord>>;

    /// Stores the offsets of everything that was polled, durably, under the group.
    async fn commit(&mut self) -> Result<()>;
}

/// Checkpoints of one connector, bound to one epoch: a store that was opened later fences this one.
#[async_trait]
pub trait CheckpointStore: Send + Sync {
    /// The last checkpoint saved, `None` at the very first start. Corruption is an error, never a first start.
    async fn load(&self) -> Result<Option<Checkpoint>>;

    /// Durable on return. Refuses a sequence that is not higher than the stored one, and an older epoch as `Fenced`.
    async fn save(&self, checkpoint: &Checkpoint) -> Result<()>;
}

/// A version of a table in the history.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaVersion {
    /// Its number, from 1 for each table.
    pub number: u32,
    /// The version before it, where there is one.
    pub previous: Option<TableSchema>,
    /// It was told to those who follow the schemas.
    pub is_announced: bool,
    /// Versions between the one that was announced last and this one, oldest first, where the table has not been seen in this run: their
    /// rows do not come again, and they were not told to everybody.
    pub passed_over: Vec<Succession>,
}

/// A version of a table, and the one before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Succession {
    /// The version's number.
    pub number: u32,
    /// The version before.
    pub before: TableSchema,
    /// The version.
    pub after: TableSchema,
}

/// Versions of table schemas, saved before any batch that uses them is delivered.
#[async_trait]
pub trait SchemaHistory: Send + Sync {
    /// The version that a schema is; a new one where it differs from those that it may be. Durable on return. Those are the versions
    /// from `seen` on, the one that the table had last in this run; and where it has not been seen in this run, those from the
    /// one on that was announced last: what comes again after a restart was in the history before.
    async fn record(&self, schema: &TableSchema, position: &Position, seen: Option<u32>) -> Result<SchemaVersion>;

    /// A version was told to those who follow the schemas, and never needs to be again. Durable on return.
    async fn announced(&self, table: &str, version: u32) -> Result<()>;

    /// The newest stored version of a table.
    async fn newest(&self, table: &str) -> Result<Option<TableSchema>>;
}

/// What a source must remember besides progress: who the server is, what was created there. JSON of the connector's own.
#[async_trait]
pub trait SourceMemory: Send + Sync {
    /// What was remembered last.
    async fn recall(&self) -> Result<Option<serde_json::Value>>;

    /// Durable on return.
    async fn remember(&self, memory: &serde_json::Value) -> Result<()>;
}

/// Everything that the state store keeps for one connector.
pub trait ConnectorStore: CheckpointStore + SchemaHistory + SourceMemory + DeadLetterStore {}

impl<T: CheckpointStore + SchemaHistory + SourceMemory + DeadLetterStore> ConnectorStore for T {}
