//! Everything that can drain a backlog, each from a place of its own.

use tailrace_tests::servers::{Kafka, Result};

use crate::measurement::Measurement;
use crate::source::Source;

pub(crate) mod debezium;
pub(crate) mod limit;
pub(crate) mod tailrace;

/// Somebody who reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reader {
    /// `pg_recvlogical` into nothing: what the server and a socket can do.
    Limit,
    /// The same with large transactions streamed while they run (protocol version 2).
    LimitStreaming,
    /// `mysqlbinlog --raw` into nothing: what the server and a socket can do.
    RawDump,
    /// Tailrace into Kafka, as it is without configuration: the row itself as JSON.
    Kafka,
    /// Tailrace into Kafka, with Debezium's envelope.
    KafkaDebezium,
    /// Tailrace into its embedded stream.
    File,
    /// Debezium on Kafka Connect into Kafka, as it is without configuration, but without schemas in its records.
    Debezium,
    /// The same with larger batches, lz4 and a short poll interval.
    DebeziumTuned,
}

/// What readers drain, and where to.
pub(crate) struct Backlog<'a> {
    pub(crate) workload: &'a str,
    pub(crate) source: &'a Source,
    pub(crate) kafka: &'a Kafka,
    /// Rows with the keys 1 to this.
    pub(crate) rows: u64,
    /// The end of the log behind the last of them.
    pub(crate) end: String,
}

/// A reader that has its place.
pub(crate) enum Prepared {
    Limit(Reader),
    Tailrace(Box<tailrace::Prepared>),
    Debezium(Reader),
}

// === impl Reader ===

impl Reader {
    pub(crate) const ALL: [Reader; 8] = [
        Reader::Limit,
        Reader::LimitStreaming,
        Reader::RawDump,
        Reader::Kafka,
        Reader::KafkaDebezium,
        Reader::File,
        Reader::Debezium,
        Reader::DebeziumTuned,
    ];

    /// As it is called on the command line and in the raw figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Reader::Limit => "limit",
            Reader::LimitStreaming => "limit_streaming",
            Reader::RawDump => "raw_dump",
            Reader::Kafka => "kafka",
            Reader::KafkaDebezium => "kafka_debezium",
            Reader::File => "file",
            Reader::Debezium => "debezium",
            Reader::DebeziumTuned => "debezium_tuned",
        }
    }

    /// As the report calls it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Reader::Limit => "`pg_recvlogical` → /dev/null",
            Reader::LimitStreaming => "`pg_recvlogical` → /dev/null, streaming",
            Reader::RawDump => "`mysqlbinlog --raw` → /dev/null",
            Reader::Kafka => "Tailrace → Kafka",
            Reader::KafkaDebezium => "Tailrace → Kafka, Debezium's envelope",
            Reader::File => "Tailrace → file",
            Reader::Debezium => "Debezium → Kafka",
            Reader::DebeziumTuned => "Debezium → Kafka, tuned",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Reader> {
        Reader::ALL.into_iter().find(|reader| reader.name() == name)
    }

    /// Makes its place, before anything is loaded.
    pub(crate) async fn prepare(self, source: &Source, kafka: &Kafka) -> Result<Prepared> {
        match self {
            Reader::Limit | Reader::LimitStreaming | Reader::RawDump => {
                source.make_place(self.name()).await?;
                Ok(Prepared::Limit(self))
            }

            Reader::Debezium | Reader::DebeziumTuned => {
                source.make_place(self.name()).await?;
                Ok(Prepared::Debezium(self))
            }
            Reader::Kafka | Reader::KafkaDebezium | Reader::File => {
                let prepared = tailrace::Prepared::new(self, source, kafka).await?;
                Ok(Prepared::Tailrace(Box::new(prepared)))
            }
        }
    }

    /// Whether it is Debezium, which takes so long to start that some workloads ask it only once.
    pub(crate) fn is_debezium(self) -> bool {
        matches!(self, Reader::Debezium | Reader::DebeziumTuned)
    }
}

// === impl Prepared ===

impl Prepared {
    /// Drains the backlog once.
    pub(crate) async fn drain(&self, backlog: &Backlog<'_>, round: u32) -> Result<Measurement> {
        match self {
            Prepared::Limit(reader) => limit::drain(*reader, backlog, round).await,
            Prepared::Debezium(reader) => debezium::drain(*reader, backlog, round).await,
            Prepared::Tailrace(prepared) => prepared.drain(backlog, round).await,
        }
    }
}
