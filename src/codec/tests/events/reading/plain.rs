//! JSON without a schema: types from the table that is written into, from a contract, or from the values themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tailrace_codec::{DecoderSettings, Envelope, EventDecoder};
use tailrace_core::batch::{BeforeImage, Operation};
use tailrace_core::ports::sink::{Decoder, Targets};
use tailrace_core::record_batch::RecordBatch;
use tailrace_core::registry::{Schema, SchemaType};
use tailrace_core::schema::{SharedSchema, TableName};
use tailrace_core::value::{Datum, LogicalType, TextKind};

use super::support::*;
use crate::support::*;
use crate::vectors::{number, numeric, string};

const TIMESTAMP: LogicalType = LogicalType::Timestamp { precision: 6 };

/// Columns with their values.
type Cells = Vec<(String, Option<Datum>)>;

/// The values of one record, read as a table's columns.
fn read(value: &str, target: Option<&SharedSchema>, format: &str) -> Result<Cells, (&'static str, String)> {
    let records = one(None, Some(value.as_bytes()));
    let events = decode_with(decoder_settings(None, format), target, &records);
    match events.refused.first() {
        Some(refused) => Err((refused.refusal.code, refused.refusal.reason.clone())),
        None => Ok(all_seen(&events).remove(0).after.unwrap()),
    }
}

/// One value of a type.
fn value(logical_type: LogicalType, json: &str, format: &str) -> Result<Datum, (&'static str, String)> {
    let target = table(vec![column("v", logical_type)], vec![]);
    let read = read(&format!("{{\"v\":{json}}}"), Some(&target), format)?;
    Ok(read[0].1.clone().unwrap())
}

#[test]
fn values_are_read_as_the_columns_of_the_table() {
    let is = |logical_type, json: &str, expected: Datum| {
        assert_eq!(value(logical_type, json, "{}"), Ok(expected), "{json}");
    };
    is(LogicalType::Int16, "-32768", number(-32_768));
    is(
        LogicalType::Int64,
        "\"9007199254740993\"",
        number(9_007_199_254_740_993),
    );
    is(LogicalType::Int64, "-9223372036854775808", number(i64::MIN));
    is(LogicalType::Int16, "true", number(1));
    is(LogicalType::Boolean, "0", Datum::Boolean(false));
    is(
        numeric(30, 2),
        "123456789012345678901234567.10",
        string("123456789012345678901234567.10"),
    );
    is(numeric(30, 2), "\"1.10\"", string("1.10"));
    is(numeric(30, 2), "12.5e2", string("1250"));
    is(LogicalType::Float64, "1", Datum::Float64(1.0));
    is(LogicalType::Float64, "\"1.5\"", Datum::Float64(1.5));
    is(TEXT, "12.50", string("12.50"));
    is(TEXT, "{\"a\" : [1]}", string("{\"a\" : [1]}"));
    is(LogicalType::Text(TextKind::Json), "[1,2]", string("[1,2]"));
    is(LogicalType::Bytes, "\"AAEC/w==\"", Datum::Bytes(vec![0, 1, 2, 255]));
    is(TIMESTAMP, "\"2016-11-04T13:51:30.5\"", number(1_478_267_490_500_000));
    is(TIMESTAMP, "\"2016-11-04 15:51:30.5+02\"", number(1_478_267_490_500_000));
    is(LogicalType::Date, "\"2016-11-04\"", number(17_109));
    is(
        LogicalType::UnsignedInt64,
        "18446744073709551615",
        string("18446744073709551615"),
    );
    is(
        LogicalType::Array(Box::new(LogicalType::Int32)),
        "[[1,2],[3,null]]",
        Datum::List(vec![
            Datum::List(vec![number(1), number(2)]),
            Datum::List(vec![number(3), Datum::Null]),
        ]),
    );
    let map = Datum::List(vec![string("a"), string("b"), string("c"), Datum::Null]);
    is(LogicalType::Map, r#"{"a":"b","c":null}"#, map.clone());
    is(LogicalType::Map, r#""{\"a\":\"b\",\"c\":null}""#, map);
}

#[test]
fn what_a_column_cannot_hold_is_refused_with_the_place_and_the_reason() {
    for (logical_type, json) in [
        (LogicalType::Int16, "32768"),
        (LogicalType::Int32, "2147483648"),
        (LogicalType::Int64, "9223372036854775808"),
        (LogicalType::Int64, "1.5"),
        (LogicalType::Boolean, "2"),
        (LogicalType::Date, "\"yesterday\""),
        (LogicalType::Bytes, "\"*\""),
        (LogicalType::UnsignedInt64, "-1"),
        (LogicalType::Float64, "\"x\""),
        (numeric(3, 1), "\"bg==\""),
        (LogicalType::Point, "{\"x\":1.0}"),
    ] {
        let (code, reason) = value(logical_type.clone(), json, "{}").unwrap_err();
        assert_eq!(code, "value_unreadable", "{logical_type:?} {reason}");
        let place = "field v of the value of the record of topic srv.shop.orders, partition 3, offset 41";
        assert!(reason.contains(place), "{reason}");
    }
}

#[test]
fn the_unit_of_a_number_for_a_time_is_never_guessed() {
    let time = LogicalType::Time { precision: 6 };
    for format in ["{}", r#"{"time":"adaptive"}"#, r#"{"time":"iso"}"#] {
        let (code, reason) = value(TIMESTAMP, "1478267490500", format).unwrap_err();
        assert_eq!(code, "time_unit_unknown");
        assert!(reason.contains("set format.time"), "{reason}");
        assert_eq!(value(time.clone(), "1", format).unwrap_err().0, "time_unit_unknown");
    }
    assert_eq!(
        value(LogicalType::Date, "17109", "{}").unwrap_err().0,
        "time_unit_unknown"
    );
    let at = number(1_478_267_490_500_000);
    assert_eq!(
        value(TIMESTAMP, "1478267490500", r#"{"time":"connect"}"#),
        Ok(at.clone())
    );
    assert_eq!(
        value(TIMESTAMP, "1478267490500000", r#"{"time":"microseconds"}"#),
        Ok(at.clone())
    );
    assert_eq!(
        value(TIMESTAMP, "1478267490500000000", r#"{"time":"nanoseconds"}"#),
        Ok(at)
    );
    let micro = r#"{"time":"adaptive_time_microseconds"}"#;
    assert_eq!(value(time, "5", micro), Ok(number(5)));
    assert_eq!(value(TIMESTAMP, "5", micro).unwrap_err().0, "time_unit_unknown");
    assert_eq!(value(LogicalType::Date, "17109", micro), Ok(number(17_109)));
}

#[test]
fn what_the_table_does_not_have_is_what_its_value_is() {
    let target = table(vec![required("id", LogicalType::Int32)], vec![0]);
    let records = one(
        None,
        Some(br#"{"id":1,"text":"a","whole":2,"exact":0.10,"yes":true,"list":[1],"none":null,"big":18446744073709551615}"#),
    );
    let events = decode_with(decoder_settings(None, "{}"), Some(&target), &records);
    let change = events.changes.views().next().unwrap();
    let exact = LogicalType::Decimal {
        precision: None,
        scale: None,
    };
    let types: Vec<_> = change
        .table()
        .unwrap()
        .columns
        .iter()
        .map(|column| column.logical_type.clone())
        .collect();
    assert_eq!(
        types,
        [
            LogicalType::Int32,
            TEXT,
            LogicalType::Int64,
            exact.clone(),
            LogicalType::Boolean,
            LogicalType::Text(TextKind::Json),
            TEXT,
            exact
        ]
    );
    let expected = named([
        ("id", number(1)),
        ("text", string("a")),
        ("whole", number(2)),
        ("exact", string("0.10")),
        ("yes", Datum::Boolean(true)),
        ("list", string("[1]")),
        ("none", Datum::Null),
        ("big", string("18446744073709551615")),
    ]);
    assert_eq!(all_seen(&events)[0].after, Some(expected));
}

#[test]
fn each_record_has_the_columns_that_it_names() {
    let target = table(
        vec![
            required("id", LogicalType::Int32),
            column("name", TEXT),
            column("at", LogicalType::Date),
        ],
        vec![0],
    );
    let mut records = RecordBatch::default();
    let values = [
        r#"{"id":1,"name":"a"}"#,
        r#"{ "id" : 2 , "name" : "b\u0041" }"#,
        r#"{"name":"c","id":3}"#,
        r#"{"id":4,"other":1}"#,
        r#"{"id":5,"other":"x"}"#,
        r#"{"id":6,"name":"d"}"#,
        r#"{"id":7,"other":2}"#,
        "{}",
    ];
    for (offset, value) in (0..).zip(values) {
        records.push(("srv.shop.orders", 0), offset, 0, (None, Some(value.as_bytes())));
    }
    let events = decode_with(decoder_settings(None, "{}"), Some(&target), &records);
    let rows: Vec<_> = all_seen(&events).into_iter().map(|seen| seen.after.unwrap()).collect();
    assert_eq!(rows[0], named([("id", number(1)), ("name", string("a"))]));
    assert_eq!(rows[1], named([("id", number(2)), ("name", string("bA"))]));
    assert_eq!(rows[2], named([("name", string("c")), ("id", number(3))]));
    assert_eq!(rows[3], named([("id", number(4)), ("other", number(1))]));
    assert_eq!(rows[4], named([("id", number(5)), ("other", string("x"))]));
    assert_eq!(rows[5], named([("id", number(6)), ("name", string("d"))]));
    assert_eq!(rows[6], named([("id", number(7)), ("other", number(2))]));
    assert_eq!(rows[7], []);
    let table_of = |index: usize| events.changes.views().nth(index).unwrap().change().table;
    assert_eq!(
        (table_of(0), table_of(3)),
        (table_of(5), table_of(6)),
        "one table for the same names"
    );
    assert_eq!(events.changes.tables.len(), 5);
}

/// What reads by a contract.
fn contract(schema_type: SchemaType, text: &str) -> DecoderSettings {
    DecoderSettings {
        contract: Some(Schema {
            schema_type,
            text: text.into(),
            properties: BTreeMap::new(),
            tags: BTreeMap::new(),
        }),
        ..decoder_settings(None, "{}")
    }
}

#[test]
fn a_contract_says_the_types() {
    let avro = contract(
        SchemaType::Avro,
        r#"{"type":"record","name":"Order","fields":[
            {"name":"id","type":"long"},
            {"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2},"doc":"how much"},
            {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null}]}"#,
    );
    let json = contract(
        SchemaType::Json,
        r#"{"type":"object","properties":{
            "id":{"type":"integer"},
            "total":{"type":"string","description":"how much"},
            "at":{"type":["string","null"],"format":"date-time"}}}"#,
    );
    let value = br#"{"id":7,"total":"1.10","at":"2016-11-04T13:51:30Z"}"#;
    let expected = named([
        ("id", number(7)),
        ("total", string("1.10")),
        ("at", number(1_478_267_490_000_000)),
    ]);
    for settings in [avro, json] {
        let events = decode_with(settings, None, &one(None, Some(value)));
        assert_eq!(all_seen(&events)[0].after, Some(expected.clone()));
        let table = &events.changes.tables[0];
        assert_eq!(table.columns[1].documentation.as_deref(), Some("how much"));
        assert_eq!(table.columns[2].logical_type, LogicalType::TimestampTz { precision: 6 });
    }
    let wrong = contract(SchemaType::Avro, "\"string\"");
    assert_eq!(EventDecoder::new(wrong).unwrap_err().code(), "contract_invalid");
}

#[test]
fn keys_are_columns_or_one_value() {
    let target = table(vec![required("id", LogicalType::Int64), column("name", TEXT)], vec![0]);
    let decoded = |key: &[u8], value: Option<&str>| {
        let records = one(Some(key), value.map(str::as_bytes));
        let events = decode_with(decoder_settings(None, "{}"), Some(&target), &records);
        (all_seen(&events).remove(0), Arc::clone(&events.changes.tables[0]))
    };
    let (seen, table) = decoded(br#"{"id":7}"#, Some(r#"{"name":"a","id":7}"#));
    assert_eq!((table.key.clone(), seen.after.unwrap().len()), (vec![1], 2));
    let (seen, table) = decoded(br#"{"tenant":"t","id":7}"#, Some(r#"{"name":"a"}"#));
    assert_eq!(
        table.key,
        [1, 2],
        "columns of the key that the value does not have are the row's, too"
    );
    let row = named([("name", string("a")), ("tenant", string("t")), ("id", number(7))]);
    assert_eq!((seen.operation, seen.after), (Operation::Update, Some(row)));
    let (seen, table) = decoded(br#"{"id":7}"#, None);
    assert_eq!(seen.before, Some(named([("id", number(7))])));
    assert_eq!(
        (seen.operation, seen.image, table.key.clone()),
        (Operation::Delete, BeforeImage::Key, vec![0])
    );
    for (key, expected) in [
        (&b"42"[..], number(42)),
        (b"\"a b\"", string("a b")),
        (b"order-42", string("order-42")),
    ] {
        let (seen, table) = decoded(key, None);
        assert_eq!(seen.before, Some(named([("key", expected)])));
        assert_eq!(table.key, [0]);
        let (seen, table) = decoded(key, Some(r#"{"id":7}"#));
        assert_eq!(seen.after, Some(named([("id", number(7))])));
        assert_eq!(
            table.key,
            [] as [usize; 0],
            "one value is not known to be a column of the row"
        );
    }
}

/// Where the records have no key of columns: what the contract says, and before it what the configuration does.
#[test]
fn the_key_is_that_of_the_contract_or_of_the_configuration() {
    let avro = r#"{"type":"record","name":"Order","key":["order_u0020no"],"fields":[
        {"name":"note","type":"string"},{"name":"order_u0020no","type":"long"}]}"#;
    let json =
        r#"{"type":"object","key":["order no"],"properties":{"order no":{"type":"integer"},"note":{"type":"string"}}}"#;
    let of_contract = [contract(SchemaType::Avro, avro), contract(SchemaType::Json, json)];
    let of_configuration = DecoderSettings {
        key_columns: vec!["order no".to_owned()],
        ..contract(
            SchemaType::Json,
            &json.replace(r#""key":["order no"]"#, r#""key":["note"]"#),
        )
    };
    let value = Some(&br#"{"note":"a","order no":7}"#[..]);
    for settings in of_contract.into_iter().chain([of_configuration]) {
        for key in [None, Some(&b"7"[..]), Some(b"\"order-7\"")] {
            let events = decode_with(settings.clone(), None, &one(key, value));
            assert_eq!(all_seen(&events)[0].operation, Operation::Update);
            assert_eq!(events.changes.tables[0].key, [1]);
        }
        let other = one(Some(br#"{"note":"a"}"#), value);
        let events = decode_with(settings.clone(), None, &other);
        assert_eq!(events.changes.tables[0].key, [0], "the record's own key comes first");
        let events = decode_with(settings.clone(), None, &one(Some(b"7"), None));
        let gone = &all_seen(&events)[0];
        assert_eq!(
            (gone.operation, gone.image, gone.before.clone()),
            (
                Operation::Delete,
                BeforeImage::Key,
                Some(named([("order no", number(7))]))
            )
        );
        let part = one(None, Some(br#"{"note":"a"}"#));
        let events = decode_with(settings, None, &part);
        assert_eq!(
            events.changes.tables[0].key,
            [] as [usize; 0],
            "the row does not have it"
        );
    }
}

#[test]
fn a_key_that_looks_like_a_number_is_text_where_its_column_is() {
    let target = table(vec![required("id", TEXT), column("name", TEXT)], vec![0]);
    let settings = DecoderSettings {
        key_columns: vec!["id".to_owned()],
        ..decoder_settings(None, "{}")
    };
    for key in ["0042", "42", "1.50", "1e3", "true"] {
        let events = decode_with(settings.clone(), Some(&target), &one(Some(key.as_bytes()), None));
        assert_eq!(all_seen(&events)[0].before, Some(named([("id", string(key))])));
    }
}

#[test]
fn a_contract_with_a_key_that_is_none_is_refused() {
    for (key, expected) in [
        (r#""id""#, "its `key` is no list of the names of fields"),
        (r#"["no"]"#, "its `key` names `no`, which is none of its fields"),
    ] {
        let text = format!(r#"{{"type":"object","key":{key},"properties":{{"id":{{"type":"integer"}}}}}}"#);
        let error = EventDecoder::new(contract(SchemaType::Json, &text)).unwrap_err();
        assert_eq!(error.code(), "contract_invalid");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

const ENVELOPE: &str = r#"{"before":null,"after":{"id":7,"day":17109},"source":{"version":"3.7","connector":"postgresql","name":"srv","ts_ms":1700000000123,"db":"app","schema":"sales","table":"Orders","txId":555,"lsn":24023128},"op":"c","ts_ms":1}"#;

#[test]
fn an_envelope_is_known_by_its_fields() {
    let target = table(
        vec![required("id", LogicalType::Int64), column("day", LogicalType::Date)],
        vec![0],
    );
    let row = named([("id", number(7)), ("day", number(17_109))]);
    for envelope in [None, Some(Envelope::Debezium)] {
        let records = one(Some(br#"{"id":7}"#), Some(ENVELOPE.as_bytes()));
        let events = decode_with(decoder_settings(envelope, "{}"), Some(&target), &records);
        let seen = all_seen(&events).remove(0);
        assert_eq!((seen.operation, seen.after), (Operation::Create, Some(row.clone())));
        let change = events.changes.views().next().unwrap();
        assert_eq!(change.table().unwrap().name.qualified(), "sales.Orders");
        assert_eq!(change.change().updated_at_us, Some(1_700_000_000_123_000));
        let transaction = change.transaction().unwrap();
        assert_eq!(
            (&*transaction.position, transaction.id, transaction.log_position),
            ("0/16E9058", Some(555), Some(24_023_128))
        );
    }
    // As a row it has columns of those names.
    let records = one(None, Some(ENVELOPE.as_bytes()));
    let events = decode_with(decoder_settings(Some(Envelope::Entity), "{}"), None, &records);
    let names: Vec<_> = all_seen(&events)
        .remove(0)
        .after
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["before", "after", "source", "op", "ts_ms"]);
}

#[test]
fn the_types_are_those_of_the_table_that_the_source_block_names() {
    /// Remembers which tables it is asked for.
    struct Asked(Vec<String>);

    #[async_trait]
    impl Targets for Asked {
        async fn target(&mut self, _: &Arc<str>, source: &TableName) -> tailrace_core::Result<Option<SharedSchema>> {
            self.0.push(source.qualified());
            let day = column("day", LogicalType::Date);
            Ok((source.table == "Orders").then(|| table(vec![required("id", LogicalType::Int64), day], vec![0])))
        }
    }

    let mut decoder = EventDecoder::new(decoder_settings(None, "{}")).unwrap();
    let mut asked = Asked(Vec::new());
    let moved = ENVELOPE.replace("Orders", "orders_old");
    for (value, is_date) in [(ENVELOPE, true), (ENVELOPE, true), (&moved, false), (&moved, false)] {
        let mut records = RecordBatch::default();
        records.push(("legacy.things", 0), 0, 0, (None, Some(value.as_bytes())));
        run(decoder.prepare(&records, &mut asked)).unwrap();
        let events = decoder.decode(&records, 0..1).unwrap();
        assert_eq!(events.refused, []);
        let types = &events.changes.tables[0].columns;
        assert_eq!(types[1].logical_type == LogicalType::Date, is_date, "{value}");
    }
    assert_eq!(asked.0, ["sales.Orders", "sales.orders_old"]);
}

#[test]
fn a_writer_may_leave_out_what_is_null() {
    let source = r#""source":{"db":"app","schema":"sales","table":"orders"}"#;
    let values = [
        format!(r#"{{"op":"d","before":{{"id":7}},{source}}}"#),
        format!(r#"{{"op":"c","after":{{"id":8}},{source}}}"#),
        r#"{"op":"u","before":{"id":8},"after":{"id":9},"source":{"table":"orders","schema":"sales","db":"app","lsn":24023128,"ts_ms":5}}"#
            .to_owned(),
    ];
    let mut records = RecordBatch::default();
    for (offset, value) in (0..).zip(&values) {
        records.push(("srv.sales.orders", 3), offset, 0, (None, Some(value.as_bytes())));
    }
    let events = decode_with(decoder_settings(None, "{}"), None, &records);
    let seen = all_seen(&events);
    let operations: Vec<_> = seen.iter().map(|seen| seen.operation).collect();
    assert_eq!(operations, [Operation::Delete, Operation::Create, Operation::Update]);
    assert_eq!(seen[1].after, Some(named([("id", number(8))])));
    assert_eq!(seen[2].before, Some(named([("id", number(8))])));
    let last = events.changes.views().last().unwrap();
    assert_eq!(
        (last.change().log_position, last.change().updated_at_us),
        (Some(24_023_128), Some(5_000))
    );
}

#[test]
fn a_row_with_the_columns_of_an_envelope_is_none() {
    for value in [
        r#"{"before":"a","after":"b"}"#,
        r#"{"op":"c","before":1,"id":7}"#,
        r#"{"before":null,"after":null,"op":"c"}"#,
        r#"{"source":"x","op":"c","after":null}"#,
    ] {
        // Behind an envelope, too.
        let mut records = one(None, Some(ENVELOPE.as_bytes()));
        records.push(("srv.shop.orders", 3), 42, 0, (None, Some(value.as_bytes())));
        let format = r#"{"time":"connect"}"#;
        let events = decode_with(decoder_settings(None, format), None, &records);
        let seen = all_seen(&events);
        assert_eq!(
            (seen[0].operation, seen[1].operation),
            (Operation::Create, Operation::Update),
            "{value}"
        );
        let refused = decode_with(
            decoder_settings(Some(Envelope::Debezium), format),
            None,
            &one(None, Some(value.as_bytes())),
        );
        assert_eq!(refused.refused[0].refusal.code, "envelope_missing", "{value}");
    }
}

#[test]
fn operations_of_envelopes() {
    let source =
        r#""source":{"db":"shop","table":"orders","file":"mysql-bin.000003","pos":484,"server_id":1,"ts_ms":5}"#;
    let decoded = |rest: &str, key: Option<&[u8]>| {
        let value = format!("{{{rest},{source}}}");
        decode_with(decoder_settings(None, "{}"), None, &one(key, Some(value.as_bytes())))
    };
    let events = decoded(r#""op":"u","before":{"id":7,"n":1},"after":{"id":7,"n":2}"#, None);
    let seen = all_seen(&events).remove(0);
    assert_eq!((seen.operation, seen.image), (Operation::Update, BeforeImage::Full));
    assert_eq!(seen.before.unwrap()[1].1, Some(number(1)));
    let change = events.changes.views().next().unwrap();
    assert_eq!(
        (
            change.table().unwrap().name.schema.as_str(),
            change.table().unwrap().name.database.as_str()
        ),
        ("shop", "")
    );
    let transaction = change.transaction().unwrap();
    assert_eq!(
        (&*transaction.position, &*transaction.binlog.as_ref().unwrap().file),
        ("mysql-bin.000003:484", "mysql-bin.000003")
    );

    let seen = all_seen(&decoded(
        r#""op":"d","before":{"id":7,"n":1},"after":null"#,
        Some(br#"{"id":7}"#),
    ))
    .remove(0);
    assert_eq!(
        (seen.operation, seen.image, seen.after),
        (Operation::Delete, BeforeImage::Full, None)
    );
    let seen = all_seen(&decoded(r#""op":"d","before":null,"after":null"#, Some(br#"{"id":7}"#))).remove(0);
    assert_eq!(
        (seen.operation, seen.before),
        (Operation::Delete, Some(named([("id", number(7))])))
    );
    let seen = all_seen(&decoded(r#""op":"t","before":null,"after":null"#, None)).remove(0);
    assert_eq!(
        (seen.operation, seen.before, seen.after),
        (Operation::Truncate, None, None)
    );
    let events = decoded(r#""op":"m","message":{"prefix":"p","content":"Yw=="}"#, None);
    assert_eq!(
        (events.passed_over, events.changes.changes.len(), events.refused.len()),
        (1, 0, 0)
    );
    let events = decoded(r#""op":"d","before":null,"after":null"#, None);
    assert_eq!(events.refused[0].refusal.code, "record_unreadable");
}
