//! The ports of the way back: what a stream lets its readers do, and what a database lets be written into it.
//!
//! ```text
//!   Subscription ─▶ RecordBatch ─▶ Decoder ─▶ EventBatch ─▶ transform ─▶ Sink::write   rows and offsets, one transaction
//!        ▲                                                                    │
//!        └─────────────── start ◀── where the target itself says it is ◀── Sink::take
//! ```

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use super::StartOffset;
use crate::batch::ChangeBatch;
use crate::check::Finding;
use crate::error::Result;
use crate::event::Refused;
use crate::grants::Script;
use crate::record_batch::{RecordBatch, RecordMark, TopicPartition};
use crate::schema::{SharedSchema, TableName};
use crate::telemetry::Telemetry;

/// What a sink reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionSpec {
    /// Topics by name; `*` stands for any characters, `?` for one. Topics that come into being later are read too.
    pub topics: Vec<String>,
    /// Members of one group share the partitions.
    pub group: String,
    /// The connector that reads, as its rows of offsets in the target name it.
    pub connector: String,
    /// The table of those rows: for sentences that say what to run there.
    pub offsets_table: String,
}

/// Where to begin reading a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// At this offset, exactly: one that the log does not have any more, or does not have yet, is an error.
    Offset(i64),
    /// With the record before this offset, by which a topic is known that was made anew; at the offset where the log begins there.
    Before(i64),
    /// Where nothing is known of it.
    Unknown(StartOffset),
}

/// Code of the error where records were removed before they were read.
pub const OFFSET_OUT_OF_RANGE: &str = "offset_out_of_range";

/// Code of the error where a partition ends before what was read of it.
pub const TOPIC_REWOUND: &str = "topic_rewound";

/// Code of the error where a row refers to one that is not there, or is referred to by one that is.
pub const FOREIGN_KEY: &str = "foreign_key";

/// Code of the error where an event changes a part of a row that is not there.
pub const ROW_MISSING: &str = "row_missing";

/// What a subscription has to say.
#[derive(Debug)]
pub enum Delivery {
    /// These are ours from now on. Nothing of one is delivered until [`Subscription::start`] is called for it.
    Assigned(Vec<TopicPartition>),
    /// These are to be given back: others get them once [`Subscription::release`] is called, or a time limit has passed. Nothing more
    /// of them is delivered.
    Revoked(Vec<TopicPartition>),
    /// These were lost: others may have them already. Nothing more of them is delivered, and nothing is to be released.
    Lost(Vec<TopicPartition>),
    /// The next records.
    Records(RecordBatch),
}

/// Membership in a group of readers. Goes on being a member while nobody calls [`Self::next`].
#[async_trait]
pub trait Subscription: Send {
    /// The next thing that there is to say; waits where there is none. At most about so many records; with 0 only what there is to say
    /// about partitions. Cancel-safe.
    ///
    /// # Errors
    /// Definite `offset_out_of_range` where records were removed before they were read; definite and transient ones of the stream.
    async fn next(&mut self, limit: usize) -> Result<Delivery>;

    /// Begins to read partitions that were assigned; the offsets that they begin at, in their order. Also those that were started
    /// before: they begin anew there.
    ///
    /// # Errors
    /// Definite `offset_out_of_range` where a log begins behind the offset; definite `topic_rewound` where it ends before it.
    async fn start(&mut self, partitions: &[(TopicPartition, StartAt)]) -> Result<Vec<i64>>;

    /// Reads nothing more of a partition until it is started again.
    async fn pause(&mut self, partition: &TopicPartition) -> Result<()>;

    /// Gives back partitions that were revoked.
    async fn release(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Tells the stream how far the target is, for those who watch lag there. Nothing depends on it, also not that it succeeds.
    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<()>;

    /// Where the partitions end now, as far as that is known without asking anybody: the offset that the next record will have.
    fn ends(&self) -> Vec<(TopicPartition, i64)>;
}

impl StartAt {
    /// The offset to begin at in a log that has `first` and ends before `end`; whether there is such a one is for the log to say.
    pub fn offset(self, first: i64, end: i64) -> i64 {
        match self {
            Self::Offset(offset) => offset,
            Self::Before(offset) if offset == first => first,
            Self::Before(offset) => offset - 1,
            Self::Unknown(StartOffset::Earliest) => first,
            Self::Unknown(StartOffset::Latest) => end,
        }
    }

    /// The offset that the target wants next, where it is to begin at `offset`.
    pub fn wanted(self, offset: i64) -> i64 {
        match self {
            Self::Before(next) => next,
            Self::Offset(_) | Self::Unknown(_) => offset,
        }
    }
}

impl SubscriptionSpec {
    /// The sentence of [`OFFSET_OUT_OF_RANGE`]: `first` is the lowest offset that is there, `place` is where.
    pub fn offset_out_of_range(&self, partition: &TopicPartition, place: &str, wanted: i64, first: i64) -> String {
        let (topic, number) = (&partition.topic, partition.partition);
        let (table, rows) = (&self.offsets_table, self.rows(partition));
        format!(
            "partition {number} of topic {topic} on {place} begins at offset {first}, and the next offset for the target is \
             {wanted}: what lies between was removed before it was read; give the topic a longer retention, and either fill the \
             target anew, or accept the gap in the target: UPDATE {table} SET next_offset = {first} WHERE {rows}"
        )
    }

    /// The sentence of [`TOPIC_REWOUND`]: `end` is the offset that the next record will have, `place` is where.
    pub fn topic_rewound(&self, partition: &TopicPartition, place: &str, wanted: i64, end: i64) -> String {
        let (topic, number) = (&partition.topic, partition.partition);
        let (table, rows) = (&self.offsets_table, self.rows(partition));
        format!(
            "partition {number} of topic {topic} on {place} ends at offset {end}, and the next offset for the target is \
             {wanted}: the topic was deleted and created again, or its log lost its end; what the target has is of the topic \
             before; make sure that it is right, then have the topic read from its beginning, in the target: DELETE FROM {table} WHERE {rows}"
        )
    }

    /// Condition of the partition's row of offsets.
    fn rows(&self, partition: &TopicPartition) -> String {
        let quoted = |text: &str| text.replace('\'', "''");
        let TopicPartition { topic, partition } = partition;
        let (connector, topic) = (quoted(&self.connector), quoted(topic));
        format!("connector = '{connector}' AND topic = '{topic}' AND topic_partition = {partition}")
    }
}

/// How far a partition is when a batch is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset behind the last record of the batch.
    pub next_offset: i64,
    /// What tells that record from others; `None` where the batch has none of this partition.
    pub last_record: Option<RecordMark>,
}

/// Where a record stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Index into [`EventBatch::partitions`].
    pub partition: usize,
    /// Offset in the partition.
    pub offset: i64,
}

/// Events, read from their records, with the progress that is reached when all of them are written.
///
/// A change's `ordinal` is the index of its record in `origins`, whatever was filtered since. A deleted row that came with nothing but
/// its key has a table version of the key's columns alone.
#[derive(Debug)]
pub struct EventBatch {
    /// The rows, as the source's changes were.
    pub changes: ChangeBatch,
    /// Where the records stood, in order.
    pub origins: Vec<Origin>,
    /// Partitions of the records.
    pub partitions: Vec<TopicPartition>,
    /// How far each partition is behind them.
    pub advances: Vec<Advance>,
    /// Records that are no events; `change` is their index in `origins`.
    pub refused: Vec<Refused>,
    /// Records that say nothing about rows: messages of a log, tombstones behind their deletes.
    pub passed_over: u64,
}

/// Tells what the tables are that topics are written into.
#[async_trait]
pub trait Targets: Send {
    /// Columns and key of the table that a topic is written into, as it is now; `None` where it is not there. `source` is the table
    /// that its events are of, as far as they have said so.
    async fn target(&mut self, topic: &Arc<str>, source: &TableName) -> Result<Option<SharedSchema>>;
}

/// Turns records into rows. Compiles one plan per schema.
#[async_trait]
pub trait Decoder: Send {
    /// Gets ready for records: asks the registry for schemas that were not met before, and the target for the types of values that
    /// come without a schema.
    async fn prepare(&mut self, records: &RecordBatch, targets: &mut dyn Targets) -> Result<()>;

    /// Reads records that were prepared, in order. One that is no event leaves nothing behind but its place in
    /// [`EventBatch::refused`]; an error is not about one record.
    fn decode(&mut self, records: &RecordBatch, range: Range<usize>) -> Result<EventBatch>;

    /// What the target's tables are is asked again: one of them was changed.
    fn forget_targets(&mut self);
}

/// What a sink is opened with.
#[derive(Clone)]
pub struct SinkContext {
    /// The connector's name.
    pub connector: String,
    /// Number of the writer among those of the connector, from 0.
    pub writer: usize,
    /// State, progress and lag, for status, metrics and the terminal.
    pub telemetry: Arc<Telemetry>,
}

/// No connector has so many writers.
const BESIDE: usize = 99;

// === impl SinkContext ===

impl SinkContext {
    /// Of somebody who looks at what a connector has written, or puts it right, beside its writers.
    pub fn beside(connector: &str) -> Self {
        Self {
            connector: connector.to_owned(),
            writer: BESIDE,
            telemetry: Arc::new(Telemetry::new(connector)),
        }
    }
}

/// What the target knows of a partition that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset that is not written; `None` where the target has never had anything of it.
    pub next_offset: Option<i64>,
    /// What tells the record before it from others.
    pub last_record: Option<RecordMark>,
}

/// A configured database side that events go to. Made from configuration alone; nothing is connected yet.
#[async_trait]
pub trait SinkConnector: Send + Sync {
    /// Preflight: every problem at once. Creates nothing in the target.
    async fn check(&self, connector: &str, topics: &[String]) -> Vec<Finding>;

    /// What gives the user of the configuration the rights that the sink needs, and no others. Connects to nothing.
    ///
    /// # Errors
    /// Where the configuration does not say who and where.
    fn grants(&self, topics: &[String]) -> Result<Script>;

    /// Connects. Called again after each transient error.
    async fn open(&self, context: SinkContext) -> Result<Box<dyn Sink>>;

    /// How far the target itself says that a connector is: the first offset of each partition that is not written; `None` where nothing
    /// of it is. Creates nothing.
    async fn offsets(&self, connector: &str) -> Result<Vec<(TopicPartition, Option<i64>)>>;

    /// Lets a connector that does not run go on from other offsets; `None` as if nothing of the partition were written. Whoever still has
    /// a partition is fenced. All of them or none; durable on return.
    async fn alter_offsets(&self, connector: &str, offsets: &[(TopicPartition, Option<i64>)]) -> Result<()>;

    /// What kind of database it is: `postgresql`, `mysql`, `mariadb`, `sqlite`.
    fn kind(&self) -> &'static str;

    /// The table of offsets, as a statement names it.
    fn offsets_table(&self) -> String;
}

/// A database side that is open: one session.
#[async_trait]
pub trait Sink: Targets {
    /// Takes partitions over from whoever had them: after it, what those write of them is refused as `Fenced`. Where the target
    /// itself says it is; its word beats the group's.
    async fn take(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Taken>>;

    /// Writes rows and offsets in one transaction. After an error nothing of it is written, with one exception: where the answer to
    /// the commit was lost, which is a transient error, and the next [`Self::take`] tells which it was.
    ///
    /// # Errors
    /// `Poison` where a row cannot be written, with the code [`FOREIGN_KEY`] where another row may cure that, and [`ROW_MISSING`] where a
    /// later event of its key may; `Fenced` where somebody else has taken one of the partitions.
    async fn write(&mut self, batch: &EventBatch) -> Result<()>;
}
