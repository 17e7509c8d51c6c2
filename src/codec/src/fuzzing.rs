//! The entry point of fuzzing: any bytes as a record.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use tailrace_core::ports::sink::{Decoder, Targets};
use tailrace_core::record_batch::RecordBatch;
use tailrace_core::registry::{Schema, SchemaRegistry, SchemaType};
use tailrace_core::schema::{Column, SharedSchema, TableKind, TableName, TableSchema};
use tailrace_core::testkit::MemoryRegistry;
use tailrace_core::value::{LogicalType, TextKind};

use crate::format::{Envelope, FormatConfig};
use crate::reading::{DecoderSettings, EventDecoder};

/// Schemas of the numbers 1 and 2, with a field of every form.
const SCHEMAS: [(SchemaType, &str); 2] = [
    (
        SchemaType::Avro,
        r#"{"type":"record","name":"R","fields":[
            {"name":"a","type":["null","long"]},{"name":"b","type":"string"},
            {"name":"c","type":{"type":"array","items":["null","double"]}},
            {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
            {"name":"e","type":["null","int","string"]},{"name":"f","type":{"type":"map","values":["null","string"]}},
            {"name":"g","type":{"type":"enum","name":"G","symbols":["X","Y"]}},
            {"name":"h","type":{"type":"long","connect.name":"io.debezium.time.Timestamp"}},
            {"name":"i","type":{"type":"record","name":"Point","namespace":"io.debezium.data.geometry","fields":[
                {"name":"x","type":"double"},{"name":"y","type":"double"},{"name":"wkb","type":["null","bytes"]}]}}]}"#,
    ),
    (
        SchemaType::Json,
        r#"{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":["string","null"],"format":"date-time"},
            "c":{"type":"array","items":{"type":"number"}},"d":{"type":"object"},
            "e":{"type":"string","contentEncoding":"base64","title":"org.apache.kafka.connect.data.Decimal"}}}"#,
    ),
];

/// A table with a column of every type that text is read as.
struct Target(SharedSchema);

#[async_trait]
impl Targets for Target {
    async fn target(&mut self, _: &Arc<str>, _: &TableName) -> tailrace_core::Result<Option<SharedSchema>> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

/// Reads bytes as the key and value of a record, in each envelope. The first byte says how long the key is.
///
/// # Panics
/// Where a row has not as many cells as its table has columns: nothing may make one that has.
pub fn read_record(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else {
        return;
    };
    let (key, value) = rest.split_at_checked(usize::from(*length)).unwrap_or((&[], rest));
    let mut records = RecordBatch::default();
    records.push(("srv.shop.orders", 0), 0, 0, (Some(key), Some(value)));
    records.push(("srv.shop.orders", 0), 1, 0, (Some(key), None));
    records.push(("srv.shop.orders", 0), 2, 0, (None, Some(value)));
    for envelope in [None, Some(Envelope::Entity), Some(Envelope::Debezium)] {
        let settings = DecoderSettings {
            connector: String::new(),
            envelope,
            format: FormatConfig::default(),
            registry: ready(registry()),
            contract: None,
            key_columns: Vec::new(),
        };
        let Ok(mut decoder) = EventDecoder::new(settings) else {
            return;
        };
        let mut target = Target(table());
        if ready(decoder.prepare(&records, &mut target)).is_none_or(|prepared| prepared.is_err()) {
            return;
        }
        let Ok(events) = decoder.decode(&records, 0..records.len()) else {
            return;
        };
        for change in events.changes.views() {
            let columns = change.table().map_or(0, |table| table.columns.len());
            let rows = [change.before(), change.after()];
            assert!(
                rows.into_iter().flatten().all(|row| row.len() == columns),
                "a row is not whole"
            );
        }
    }
}

async fn registry() -> Arc<dyn SchemaRegistry> {
    let registry = MemoryRegistry::default();
    for (schema_type, text) in SCHEMAS {
        let schema = Schema {
            schema_type,
            text: text.into(),
            properties: BTreeMap::new(),
            tags: BTreeMap::new(),
        };
        // What is not registered is a number that nobody knows.
        drop(registry.register(text, &schema).await);
    }
    Arc::new(registry)
}

fn table() -> SharedSchema {
    let types = [
        LogicalType::Int64,
        LogicalType::Timestamp { precision: 6 },
        LogicalType::Decimal {
            precision: None,
            scale: None,
        },
        LogicalType::Bytes,
        LogicalType::Array(Box::new(LogicalType::Date)),
        LogicalType::Map,
        LogicalType::Geometry,
        LogicalType::Interval,
        LogicalType::Bits { length: Some(9) },
        LogicalType::Text(TextKind::Json),
        LogicalType::SparseVector,
        LogicalType::Circle,
    ];
    let column = |(name, logical_type): (char, LogicalType)| Column::new(name, logical_type);
    Arc::new(TableSchema {
        name: TableName {
            database: String::new(),
            schema: "shop".to_owned(),
            table: "orders".to_owned(),
        },
        kind: TableKind::Table,
        columns: ('a'..).zip(types).map(column).collect(),
        key: vec![0],
        documentation: None,
    })
}

/// What a future gives that never waits.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as they are, which rounds then damage.
    const SEEDS: [&[u8]; 6] = [
        b"\x07{\"a\":1}{\"a\":1,\"b\":\"2016-11-04T13:51:30Z\",\"c\":\"-1.5e3\",\"d\":\"AAEC\",\"e\":[\"2016-11-04\",null],\"f\":{\"k\":\"v\"}}",
        b"\x01" as &[u8],
        b"\x00{\"before\":null,\"after\":{\"a\":7,\"h\":\"P1Y\"},\"source\":{\"db\":\"x\",\"table\":\"y\",\"lsn\":5,\"ts_ms\":1},\"op\":\"c\",\"ts_ms\":1}",
        b"\x00{\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"int32\",\"optional\":true,\"name\":\"io.debezium.time.Date\",\"field\":\"a\"}],\"optional\":false},\"payload\":{\"a\":17109}}",
        b"\x00\x00\x00\x00\x00\x01\x02\x0e\x02x\x02\x02\x00\x00\x00\x00\x00\x00\xf0?\x00\x02\x05\x04\x02q\x00\x02\x10\x00\x00\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\xf0?\x00",
        b"\x00\x00\x00\x00\x00\x02{\"a\":1,\"b\":\"2016-11-04T13:51:30Z\",\"c\":[1.5],\"d\":{\"x\":[]},\"e\":\"bg==\"}",
    ];
    const ROUNDS: u32 = 3_000;

    #[test]
    fn damaged_records_are_rows_or_refused() {
        // xorshift, with the same seed at every run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut dice = |sides: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % u64::try_from(sides.max(1)).unwrap()).unwrap()
        };
        for _ in 0..ROUNDS {
            let mut record = SEEDS[dice(SEEDS.len())].to_vec();
            for _ in 0..dice(4) {
                let at = dice(record.len());
                match dice(3) {
                    0 => record[at] = u8::try_from(dice(256)).unwrap(),
                    1 => record.truncate(at.max(1)),
                    _ => record.insert(at, b"{}[],:\"\\0n"[dice(10)]),
                }
            }
            read_record(&record);
        }
    }
}
