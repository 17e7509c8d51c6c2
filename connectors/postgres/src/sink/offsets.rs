//! The table of offsets: how far each partition is, and whose it is.

use tailrace_core::Result;
use tailrace_core::ports::sink::Taken;
use tailrace_core::record_batch::{RecordMark, TopicPartition};
use tailrace_sql::sink::session::TakenPartition;
use tokio_postgres::{Client, Row};

use super::error::write_error;
use tailrace_sql::sink::config::OFFSETS;

use crate::quote::literal;

/// Its definition.
pub(super) const MIGRATION: &str = include_str!("migrations/0001_offsets.sql");

/// How a session is told from every other of its server: a number is given again, a number with a time is not.
const OWNER: &str = "(SELECT a.pid::text || ' ' || extract(epoch FROM a.backend_start)::text
 FROM pg_catalog.pg_stat_activity a WHERE a.pid = pg_catalog.pg_backend_pid())";

/// The statements of one table of offsets.
#[derive(Debug)]
pub(super) struct OffsetStatements {
    /// Makes it.
    pub(super) create: String,
    exists: String,
    /// Ends sessions that have one of the partitions and are in a transaction.
    end: String,
    take: String,
    written: String,
    /// Moves partitions on: topics, partitions, offsets, marks, epochs, connector.
    pub(super) advance: String,
    /// The same, also backwards.
    pub(super) put: String,
}

/// The statement that makes the table, which is quoted, without a semicolon.
pub(crate) fn create_statement(table: &str) -> String {
    let statement = MIGRATION.replace(OFFSETS, table);
    statement.trim_end().trim_end_matches(';').to_owned()
}

// === impl OffsetStatements ===

impl OffsetStatements {
    /// `table` is quoted.
    pub(super) fn new(table: &str) -> Self {
        let put = format!(
            "UPDATE {table} o
             SET next_offset = p.next_offset, last_record = p.last_record, updated_at = now()
             FROM unnest($1::text[], $2::int4[], $3::int8[], $4::int8[], $5::int8[])
               AS p(topic, topic_partition, next_offset, last_record, epoch)
             WHERE o.connector = $6 AND o.topic = p.topic AND o.topic_partition = p.topic_partition AND o.epoch = p.epoch"
        );
        Self {
            create: create_statement(table),
            exists: format!("SELECT pg_catalog.to_regclass({}) IS NOT NULL", literal(table)),
            end: format!(
                "SELECT pg_catalog.pg_terminate_backend(a.pid)
                 FROM {table} o
                 JOIN unnest($2::text[], $3::int4[]) AS p(topic, topic_partition)
                   ON p.topic = o.topic AND p.topic_partition = o.topic_partition
                 JOIN pg_catalog.pg_stat_activity a
                   ON o.owner = a.pid::text || ' ' || extract(epoch FROM a.backend_start)::text
                 WHERE o.connector = $1 AND a.pid <> pg_catalog.pg_backend_pid() AND a.xact_start IS NOT NULL"
            ),
            take: format!(
                "INSERT INTO {table} AS o (connector, topic, topic_partition, epoch, owner)
                 SELECT $1, p.topic, p.topic_partition, 1, {OWNER}
                 FROM unnest($2::text[], $3::int4[]) AS p(topic, topic_partition)
                 ORDER BY p.topic, p.topic_partition
                 ON CONFLICT (connector, topic, topic_partition)
                 DO UPDATE SET epoch = o.epoch + 1, owner = EXCLUDED.owner, updated_at = now()
                 RETURNING o.topic, o.topic_partition, o.next_offset, o.last_record, o.epoch"
            ),
            written: format!(
                "SELECT o.topic, o.topic_partition, o.next_offset, o.last_record, o.epoch FROM {table} o WHERE o.connector = $1"
            ),
            advance: format!("{put} AND (o.next_offset IS NULL OR o.next_offset <= p.next_offset)"),
            put,
        }
    }

    /// Whether the table is there.
    pub(super) async fn exist(&self, client: &Client) -> Result<bool> {
        let found = client.query_one(&self.exists, &[]).await;
        let found = found.and_then(|row| row.try_get(0));
        found.map_err(|error| write_error(&error, "look for the table of offsets"))
    }

    /// Counts up the epochs of partitions; where they are.
    pub(super) async fn take(
        &self,
        client: &Client,
        connector: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<TakenPartition>> {
        let topics: Vec<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
        let numbers: Vec<i32> = partitions.iter().map(|partition| partition.partition).collect();
        let wrap = |error| write_error(&error, "take partitions over");
        // Sessions of another role are not ours to end: they do so by their own time limit, for which the next statement waits.
        client
            .query(&self.end, &[&connector, &topics, &numbers])
            .await
            .map_err(wrap)?;
        let rows = client
            .query(&self.take, &[&connector, &topics, &numbers])
            .await
            .map_err(wrap)?;
        rows.iter().map(partition).collect::<Result<_, _>>().map_err(wrap)
    }

    /// Where the partitions of a connector are; the table is there.
    pub(super) async fn written(&self, client: &Client, connector: &str) -> Result<Vec<TakenPartition>> {
        let rows = client.query(&self.written, &[&connector]).await;
        let written = rows.and_then(|rows| rows.iter().map(partition).collect());
        written.map_err(|error| write_error(&error, "read the offsets"))
    }
}

fn partition(row: &Row) -> Result<TakenPartition, tokio_postgres::Error> {
    let topic: &str = row.try_get(0)?;
    let mark: Option<i64> = row.try_get(3)?;
    Ok(TakenPartition {
        taken: Taken {
            partition: TopicPartition::new(topic, row.try_get(1)?),
            next_offset: row.try_get(2)?,
            last_record: mark.map(|mark| RecordMark(mark.cast_unsigned())),
        },
        epoch: row.try_get(4)?,
    })
}
