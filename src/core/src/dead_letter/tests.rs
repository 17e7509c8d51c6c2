use super::*;
use crate::batch::{BinlogTransaction, Change, ChangeBatch, Transaction};
use crate::position::{Position, Progress};
use crate::record_batch::RecordBatch;
use crate::schema::{Column, SharedSchema, TableKind, TableName};
use crate::value::{Interval, LogicalType, TextKind, TimeTz};

fn table(columns: &[(&str, LogicalType)], key: Vec<usize>) -> SharedSchema {
    let column = |(name, logical_type): &(&str, LogicalType)| Column::new(*name, logical_type.clone());
    SharedSchema::new(TableSchema {
        name: TableName {
            database: "shop".to_owned(),
            schema: "public".to_owned(),
            table: "orders".to_owned(),
        },
        kind: TableKind::Table,
        columns: columns.iter().map(column).collect(),
        key,
        documentation: None,
    })
}

fn empty(schema: &SharedSchema) -> ChangeBatch {
    let mut batch = ChangeBatch::new("db".into(), Progress::at(Position::new("0/1")));
    batch.table_index(schema);
    batch.push_transaction(Transaction {
        id: Some(734),
        committed_at_us: 1_700_000_000_000_001,
        position: "0/16B3748".into(),
        log_position: Some(u64::MAX),
        previous_log_position: Some(7),
        binlog: Some(BinlogTransaction {
            file: "binlog.000001".into(),
            server_id: 1,
            thread_id: None,
            gtid: Some("0-1-2".into()),
        }),
    });
    batch
}

/// A change whose rows are written by these.
fn push(
    batch: &mut ChangeBatch,
    operation: Operation,
    before: Option<fn(&mut ChangeBatch)>,
    after: Option<fn(&mut ChangeBatch)>,
) {
    let mut row = |write: fn(&mut ChangeBatch)| {
        batch.begin_row().unwrap();
        write(batch);
        batch.end_row().unwrap()
    };
    let (before, after) = (before.map(&mut row), after.map(&mut row));
    batch.changes.push(Change {
        operation,
        table: 0,
        transaction: 0,
        before,
        before_image: if before.is_some() {
            BeforeImage::Full
        } else {
            BeforeImage::None
        },
        after,
        ordinal: 3,
        log_position: Some(9),
        updated_at_us: Some(1_600_000_000_000_000),
        topic: Some("elsewhere".into()),
        message: None,
    });
}

const REFUSAL: Refusal = Refusal {
    code: "value_not_encodable",
    reason: String::new(),
};

/// Everything that a row may hold, the ends included.
fn everything(batch: &mut ChangeBatch) {
    batch.push_int(i64::MIN);
    batch.push_null();
    batch.push_unchanged();
    batch.push_boolean(true);
    batch.push_float32(f32::NAN);
    batch.push_float64(f64::NEG_INFINITY);
    batch.push_float64(-0.0);
    let offset_seconds = -3600;
    batch.push_time_tz(TimeTz {
        microseconds: 1,
        offset_seconds,
    });
    batch
        .push_interval(Interval {
            months: -14,
            days: 3,
            microseconds: i64::MAX,
        })
        .unwrap();
    batch.push_text("18446744073709551615 \u{0} \u{202e}").unwrap();
    batch.push_bytes(&[0, 255]).unwrap();
    batch.begin_list();
    batch.begin_list();
    batch.push_int(1);
    batch.end_list().unwrap();
    batch.push_null();
    batch.end_list().unwrap();
}

#[test]
fn a_change_comes_back_exactly_as_it_was() {
    let columns: Vec<_> = (0..12).map(|_| ("c", LogicalType::Int64)).collect();
    let schema = table(&columns, vec![0]);
    let mut batch = empty(&schema);
    push(&mut batch, Operation::Update, Some(everything), Some(everything));
    let letter = Letter::of_change(batch.views().next().unwrap(), &REFUSAL, 5);
    let stored = serde_json::to_string(&letter).unwrap();
    let read: Letter = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, letter);
    let Some(Original::Change(image)) = &read.original else {
        panic!("{stored}");
    };
    let restored = image.restore().unwrap();
    let (was, is) = (batch.views().next().unwrap(), restored.views().next().unwrap());
    assert_eq!(format!("{:?}", is.change()), format!("{:?}", was.change()));
    assert_eq!(format!("{:?}", is.transaction()), format!("{:?}", was.transaction()));
    assert_eq!(is.table(), was.table());
    let rows = |view: ChangeView<'_>| {
        format!(
            "{:?}",
            view.before()
                .unwrap()
                .iter()
                .chain(view.after().unwrap().iter())
                .collect::<Vec<_>>()
        )
    };
    assert_eq!(rows(is), rows(was));
    // NaN included: the bits are the same.
    assert_eq!(ChangeImage::of(is), ChangeImage::of(was));
    assert_eq!(Letter::of_change(is, &REFUSAL, 5), letter);
}

#[test]
fn rows_are_shown_as_the_database_prints_them() {
    let time = LogicalType::Time { precision: 6 };
    let timestamp = LogicalType::Timestamp { precision: 6 };
    let schema = table(
        &[
            ("id", LogicalType::Int64),
            ("big", LogicalType::UnsignedInt64),
            ("day", LogicalType::Date),
            ("shift", time),
            ("at", timestamp),
            ("seen", LogicalType::TimestampTz { precision: 6 }),
            ("raw", LogicalType::Bytes),
            ("tags", LogicalType::Array(Box::new(LogicalType::Date))),
            ("large", LogicalType::Text(TextKind::Plain)),
            ("none", LogicalType::Boolean),
        ],
        vec![1, 0],
    );
    let mut batch = empty(&schema);
    push(
        &mut batch,
        Operation::Create,
        None,
        Some(|batch| {
            batch.push_int(7);
            batch.push_text("18446744073709551615").unwrap();
            batch.push_int(-1);
            batch.push_int(-3_020_399_000_001);
            batch.push_int(1_700_000_000_000_001);
            batch.push_int(i64::MAX);
            batch.push_bytes(&[0, 255]).unwrap();
            batch.begin_list();
            batch.push_int(0);
            batch.end_list().unwrap();
            batch.push_unchanged();
            batch.push_null();
        }),
    );
    let letter = Letter::of_change(batch.views().next().unwrap(), &REFUSAL, 0);
    let stored = StoredLetter {
        id: 4,
        state: LetterState::Waiting,
        attempts: 1,
        letter,
    };
    let document = Document::of("shop", &stored).to_json();
    let expected = concat!(
        r#""after":{"id":"7","big":"18446744073709551615","day":"1969-12-31","shift":"-838:59:59.000001","#,
        r#""at":"2023-11-14 22:13:20.000001","seen":"infinity","raw":{"base64":"AP8="},"tags":["1970-01-01"],"#,
        r#""large":{"unchanged":"the log does not repeat it"},"none":null}"#
    );
    assert!(document.contains(expected), "{document}");
    assert!(
        document.contains(r#""key":{"big":"18446744073709551615","id":"7"}"#),
        "{document}"
    );
    assert!(
        document.contains(r#""updated_at":"2020-09-13T12:26:40.000000Z""#),
        "{document}"
    );
}

#[test]
fn a_record_of_a_stream_is_kept_byte_for_byte() {
    let mut records = RecordBatch::default();
    records.push(("orders", 2), 17, 5, (Some(b"\xff"), None));
    records.push_header("h", b"\x00");
    let record = records.get(0).unwrap();
    let image = RecordImage::of(record);
    assert_eq!(image.restore().unwrap().get(0).unwrap().mark(), record.mark());
    let text = serde_json::to_string(&image).unwrap();
    assert_eq!(
        text,
        r#"{"topic":"orders","partition":2,"offset":17,"timestamp_ms":5,"key":"/w==","value":null,"headers":[["h","AA=="]]}"#
    );
}

#[test]
fn keys_wait_for_themselves_and_whole_tables_for_all() {
    let set = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
    let wait = |keys: &[&str], blocked: &[&str]| {
        let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        keys_wait(&keys, &set(blocked))
    };
    assert!(wait(&["t\0a"], &["t\0a"]));
    assert!(!wait(&["t\0a"], &["t\0b", "tt\0a"]));
    assert!(wait(&["t\0a", "t\0b"], &["t\0b"]), "a change of the key waits for both");
    assert!(wait(&["t"], &["t\0b"]), "a truncate waits for each key");
    assert!(!wait(&["t"], &["tt\0b", "s"]));
    assert!(wait(&["t\0a"], &["t"]), "each key waits for a truncate");
    assert!(!wait(&[], &["t\0a"]), "rows without a key have no order");
}

#[test]
fn a_change_of_the_key_has_both_keys_and_a_row_without_all_of_it_none() {
    let schema = table(&[("id", LogicalType::Int64)], vec![0]);
    let mut batch = empty(&schema);
    push(
        &mut batch,
        Operation::Update,
        Some(|batch| batch.push_int(1)),
        Some(|batch| batch.push_int(2)),
    );
    push(&mut batch, Operation::Delete, Some(|batch| batch.push_int(1)), None);
    push(&mut batch, Operation::Create, None, Some(|batch| batch.push_null()));
    push(&mut batch, Operation::Truncate, None, None);
    let keys: Vec<_> = batch.views().map(keys_of).collect();
    let key = |id: u8| format!("public.orders\u{0}{{\"id\":\"{id}\"}}");
    assert_eq!(
        keys,
        [
            vec![key(1), key(2)],
            vec![key(1)],
            vec![],
            vec!["public.orders".to_owned()]
        ]
    );
}
