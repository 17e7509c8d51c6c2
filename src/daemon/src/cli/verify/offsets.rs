//! How far the sink is, by the table of offsets in its target.

use tailrace_core::record_batch::{RecordMark, TopicPartition};
use tailrace_core::value::Value;
use tailrace_core::{Error, Result};
use tailrace_sql::sink::SqlSink;
use tailrace_sql::sink::work::Offset;
use tailrace_sql::verify::VerifiedTarget;
use tailrace_sql::verify::reader::{Side, TableReader};

/// A row for each partition of each sink of the database: more are read in several steps.
const ROWS: u32 = 5_000;
/// Its columns, in the order in which they are looked at.
const COLUMNS: [&str; 6] = [
    "connector",
    "topic",
    "topic_partition",
    "next_offset",
    "last_record",
    "epoch",
];

/// The table of offsets; none where the sink has never written.
pub(super) struct Offsets {
    reader: Option<(TableReader, Vec<usize>)>,
    connector: String,
}

// === impl Offsets ===

impl Offsets {
    /// Finds the table.
    ///
    /// # Errors
    /// What the target answers.
    pub(super) async fn find(target: &dyn VerifiedTarget, session: &mut SqlSink, connector: &str) -> Result<Self> {
        let written = target.rules().config().offsets_name();
        let reader = match session.named_table(written).await? {
            None => None,
            Some(table) => {
                let name = table.name();
                let reader = TableReader::open(target.read(name).await?, &name.table, Side::Target).await?;
                let column = |name: &&str| reader.schema().column_index(name);
                let columns: Option<Vec<usize>> = COLUMNS.iter().map(column).collect();
                let columns = columns.ok_or_else(|| not_ours(written))?;
                Some((reader, columns))
            }
        };
        Ok(Self {
            reader,
            connector: connector.to_owned(),
        })
    }

    /// The partitions of a topic that the sink has taken, whether something of them is written or not.
    ///
    /// # Errors
    /// What the target answers.
    pub(super) async fn of_topic(&mut self, topic: &str) -> Result<Vec<Offset>> {
        let Some((reader, columns)) = &mut self.reader else {
            return Ok(Vec::new());
        };
        let key = reader.schema().key.clone();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (batch, last) = reader.chunk(&key, after.as_ref(), ROWS).await?;
            let rows = batch.changes.iter().filter_map(|change| change.after);
            for row in rows.map(|row| batch.row(row)) {
                let values: Vec<Value<'_>> = columns.iter().map(|column| row.get(*column)).collect();
                found.extend(offset(&values, &self.connector, topic));
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(found),
            }
        }
    }
}

/// A row of the table, where it is of this connector and topic.
fn offset(values: &[Value<'_>], connector: &str, topic: &str) -> Option<Offset> {
    let [
        Value::Text(of),
        Value::Text(read),
        Value::Int(partition),
        next_offset,
        mark,
        Value::Int(epoch),
    ] = *values
    else {
        return None;
    };
    if of != connector || read != topic {
        return None;
    }
    Some(Offset {
        partition: TopicPartition::new(topic, i32::try_from(partition).ok()?),
        next_offset: match next_offset {
            Value::Int(next_offset) => Some(next_offset),
            _ => None,
        },
        last_record: match mark {
            Value::Int(mark) => Some(RecordMark(mark.cast_unsigned())),
            _ => None,
        },
        epoch,
    })
}

fn not_ours(table: &str) -> Error {
    let message = format!("table {table} is not a table of offsets; name another one with the sink's `offsets_table`");
    Error::definite("offsets_invalid", message)
}
