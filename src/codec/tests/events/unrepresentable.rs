//! What the form of a column cannot hold, published as null with a flag or as text: nothing is refused, and nothing is anything else than
//! what the database has.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use tailrace_core::batch::{BeforeImage, Operation};
use tailrace_core::error::Kind;
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::schema::Column;
use tailrace_core::testkit::MemoryRegistry;
use tailrace_core::value::{Datum, Interval, LogicalType};

use crate::avro::{decimal, encoded, framed, read_back, run, shown, string, symbols, with_registry, without_uuid};
use crate::property::{DAY_US, of_kind, typed};
use crate::support::*;

/// 838:59:59, the most that a TIME of MySQL is.
const LONGEST_US: i64 = 3_020_399_000_000;
const LATE: &str = "294276-12-31T23:59:59.999999";

/// An event whose value is shown as JSON, and its headers.
#[derive(Debug)]
struct Shown {
    value: Value,
    headers: Vec<(String, Value)>,
}

impl Shown {
    fn header(&self, name: &str) -> Value {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or(Value::Null, |(_, value)| value.clone())
    }
}

/// What a batch becomes under a format of Avro, read with the reference.
fn in_avro(batch: &Batch, (kind, format): (&str, &str)) -> Result<Vec<Shown>, TestCaseError> {
    let registry = Arc::new(MemoryRegistry::default());
    let mut encoder = with_registry(settings_of(kind, format), &registry);
    let output =
        encoded(&mut encoder, &batch.changes).map_err(|error| TestCaseError::fail(format!("{format}: {error}")))?;
    let mut all = Vec::new();
    for record in framed(&output) {
        for part in record.key.iter().chain(&record.value) {
            read_back(&registry, part)?;
        }
        let headers = record.headers.iter();
        all.push(Shown {
            value: record.value.map_or(Value::Null, |value| shown(&registry, &value)),
            headers: headers
                .filter_map(|(name, value)| Some((name.clone(), serde_json::from_slice(value).ok()?)))
                .collect(),
        });
    }
    Ok(all)
}

/// What a batch becomes under a format of JSON.
fn in_json(batch: &Batch, (kind, format): (&str, &str)) -> Vec<Shown> {
    let events = batch.encode_with(settings_of(kind, format)).into_iter();
    let shown = |event: Event| Shown {
        value: event
            .value
            .map_or(Value::Null, |value| serde_json::from_str(&value).unwrap()),
        headers: event
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), serde_json::from_str(value).ok()?)))
            .collect(),
    };
    events.map(shown).collect()
}

fn rows(batch: &Batch, (kind, format): (&str, &str)) -> Result<Vec<Shown>, TestCaseError> {
    match format.contains(r#""codec":"avro""#) {
        true => in_avro(batch, (kind, format)),
        false => Ok(in_json(batch, (kind, format))),
    }
}

fn row_of(columns: &[(LogicalType, Datum)]) -> Batch {
    let columns_of = |(index, (logical_type, _)): (usize, &(LogicalType, Datum))| {
        required(&format!("c{index}"), without_uuid(logical_type))
    };
    let all = [required("id", LogicalType::Int64)]
        .into_iter()
        .chain(columns.iter().enumerate().map(columns_of));
    let mut batch = Batch::new(&table(all.collect(), vec![0]));
    let cells: Vec<Cell> = [int(1)]
        .into_iter()
        .chain(columns.iter().map(|(_, datum)| Cell::Is(datum.clone())))
        .collect();
    batch.change(Operation::Create, None, Some(&cells));
    batch
}

fn array(element: LogicalType) -> LogicalType {
    LogicalType::Array(Box::new(element))
}

/// Values that Avro's forms cannot hold, and their text.
fn of_postgresql() -> Vec<(LogicalType, Datum, Value)> {
    let nested = Datum::List(vec![
        Datum::List(vec![Datum::Int(1)]),
        Datum::List(vec![Datum::Int(i32::MAX.into())]),
    ]);
    vec![
        (decimal(Some(5), Some(2)), string("NaN"), json!("NaN")),
        (decimal(Some(5), Some(2)), string("1000.5"), json!("1000.5")),
        (LogicalType::Date, Datum::Int(i32::MAX.into()), json!("infinity")),
        (
            LogicalType::Timestamp { precision: 6 },
            Datum::Int(i64::MIN),
            json!("-infinity"),
        ),
        (
            LogicalType::TimestampTz { precision: 6 },
            string(LATE),
            json!(format!("+{LATE}Z")),
        ),
        (
            LogicalType::Time { precision: 0 },
            Datum::Int(DAY_US),
            json!("24:00:00"),
        ),
        (symbols(&["new"]), string("newer"), json!("newer")),
        (
            array(LogicalType::Date),
            nested,
            json!(r#"[["1970-01-02"],["infinity"]]"#),
        ),
        (
            array(LogicalType::Int32),
            string("[2:3]={1,2}"),
            json!(r#""[2:3]={1,2}""#),
        ),
    ]
}

#[test]
fn as_null_the_header_names_the_columns() {
    let values = of_postgresql();
    let columns: Vec<_> = values
        .iter()
        .map(|(logical_type, datum, _)| (logical_type.clone(), datum.clone()))
        .collect();
    let batch = row_of(&columns);
    let format = r#"{"codec":"avro","unrepresentable":"as_null"}"#;
    let event = in_avro(&batch, ("postgresql", format)).unwrap().remove(0);
    let names: Vec<String> = (0..columns.len()).map(|index| format!("c{index}")).collect();
    assert_eq!(event.header("unrepresentable"), json!(names));
    assert_eq!(event.value["id"], 1);
    for name in names {
        assert_eq!(event.value[&name], Value::Null, "{name}");
    }
    // A value that fits is itself, and nothing is said of it.
    let fits = row_of(&[(decimal(Some(5), Some(2)), string("1.5")), (TEXT, string("x"))]);
    let event = in_avro(&fits, ("postgresql", format)).unwrap().remove(0);
    assert_eq!(event.value, json!({"id": 1, "c0": "1.50", "c1": "x"}));
    assert_eq!(event.header("unrepresentable"), Value::Null);
}

#[test]
fn as_string_every_row_has_text() {
    for (logical_type, datum, text) in of_postgresql() {
        let format = r#"{"codec":"avro","unrepresentable":"as_string"}"#;
        let event = in_avro(&row_of(&[(logical_type.clone(), datum)]), ("postgresql", format));
        let event = event.unwrap().remove(0);
        assert_eq!(event.value["c0"], text, "{logical_type:?}");
        assert_eq!(event.header("unrepresentable"), Value::Null);
    }
    let plain = [
        (decimal(Some(5), Some(2)), string("1.50"), json!("1.50")),
        (LogicalType::Date, Datum::Int(0), json!("1970-01-01")),
        (
            array(LogicalType::Int32),
            Datum::List(vec![Datum::Int(1), Datum::Null]),
            json!("[1,null]"),
        ),
        (LogicalType::Int32, Datum::Int(7), json!(7)),
    ];
    for (logical_type, datum, text) in plain {
        let format = r#"{"codec":"avro","unrepresentable":"as_string"}"#;
        let event = in_avro(&row_of(&[(logical_type, datum)]), ("postgresql", format));
        assert_eq!(event.unwrap().remove(0).value["c0"], text);
    }
}

#[test]
fn mysql_has_values_of_its_own() {
    let at = |precision| LogicalType::Time { precision };
    let far = Datum::List(vec![
        Datum::Float64(1.0),
        Datum::Float64(2.0),
        Datum::Int(4_294_967_295),
    ]);
    let cases = [
        (r#""codec":"avro""#, at(0), Datum::Int(-LONGEST_US), json!("-838:59:59")),
        (r#""codec":"avro""#, symbols(&["new"]), string(""), json!("")),
        (
            r#""codec":"avro""#,
            LogicalType::Point,
            far,
            json!(r#"{"x":1.0,"y":2.0,"srid":4294967295}"#),
        ),
        (r#""time":"connect""#, at(0), Datum::Int(LONGEST_US), json!("838:59:59")),
        (
            r#""bigint_unsigned":"long""#,
            LogicalType::UnsignedInt64,
            string("18446744073709551615"),
            json!("18446744073709551615"),
        ),
    ];
    for (options, logical_type, datum, text) in cases {
        let batch = row_of(&[(logical_type, datum)]);
        let read = |way: &str| {
            let format = format!(r#"{{{options},"unrepresentable":"{way}"}}"#);
            rows(&batch, ("mysql", &format)).unwrap().remove(0)
        };
        assert_eq!(read("as_string").value["c0"], text);
        let event = read("as_null");
        assert_eq!(event.value["c0"], Value::Null);
        assert_eq!(event.header("unrepresentable"), json!(["c0"]));
    }
}

#[test]
fn debeziums_rows_are_told_apart() {
    let columns = vec![
        required("id", LogicalType::Int32),
        column("a", decimal(Some(5), Some(2))),
        required("b", decimal(None, None)),
    ];
    let mut batch = Batch::new(&table(columns, vec![0]));
    let before = [int(1), text("NaN"), text("Infinity")];
    let after = [int(1), text("1.00"), text("NaN")];
    batch
        .change(Operation::Update, Some(&before), Some(&after))
        .before_image = BeforeImage::Full;
    for format in [
        r#"{"envelope":"debezium","unrepresentable":"as_null"}"#,
        r#"{"envelope":"debezium","codec":"avro","unrepresentable":"as_null"}"#,
    ] {
        let event = rows(&batch, ("postgresql", format)).unwrap().remove(0);
        assert_eq!(event.header("unrepresentable"), json!(["b"]));
        assert_eq!(event.header("unrepresentable_before"), json!(["a", "b"]));
        assert_eq!(event.value["before"], json!({"id": 1, "a": null, "b": null}));
        assert_eq!(event.value["after"]["b"], Value::Null);
        assert_ne!(event.value["after"]["a"], Value::Null);
    }
}

/// The fields of a row's schema.
fn fields(columns: Vec<Column>, format: &str) -> Value {
    let registry = Arc::new(MemoryRegistry::default());
    let mut batch = Batch::new(&table(columns.clone(), vec![0]));
    batch.change(Operation::Create, None, Some(&vec![null(); columns.len()]));
    run(tailrace_core::ports::Encoder::prepare(
        &mut with_registry(settings(format), &registry),
        &batch.changes,
    ))
    .unwrap();
    let versions = run(registry.versions("srv.public.customers-value")).unwrap();
    let schema: Value = serde_json::from_str(&versions[0].schema.text).unwrap();
    schema["fields"].clone()
}

#[test]
fn schemas_say_what_may_come() {
    let columns = || {
        let mut total = required("total", decimal(Some(5), Some(2)));
        total.default = Some(string("1.50"));
        vec![
            required("day", LogicalType::Date),
            total,
            required("due", LogicalType::Date),
            required("count", LogicalType::Int32),
        ]
    };
    let date = json!({"type": "int", "logicalType": "date"});
    let digits = json!({"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2});
    // The key stays what it is: in it such a value is refused.
    assert_eq!(
        fields(columns(), r#"{"codec":"avro","unrepresentable":"as_null"}"#),
        json!([
            {"name": "day", "type": date},
            {"name": "total", "type": [digits, "null"], "default": "\0\u{96}"},
            {"name": "due", "type": ["null", date], "default": null},
            {"name": "count", "type": "int"},
        ])
    );
    assert_eq!(
        fields(columns(), r#"{"codec":"avro","unrepresentable":"as_string"}"#),
        json!([
            {"name": "day", "type": "string"},
            {"name": "total", "type": "string", "default": "1.50"},
            {"name": "due", "type": "string"},
            {"name": "count", "type": "int"},
        ])
    );
}

#[test]
fn a_key_is_text_or_refused_but_never_null() {
    let columns = vec![required("day", LogicalType::Date), column("name", TEXT)];
    let mut batch = Batch::new(&table(columns, vec![0]));
    batch.change(Operation::Create, None, Some(&[int(i32::MAX.into()), text("a")]));
    let registry = Arc::new(MemoryRegistry::default());
    let as_null = settings(r#"{"codec":"avro","unrepresentable":"as_null"}"#);
    let error = encoded(&mut with_registry(as_null, &registry), &batch.changes).unwrap_err();
    assert_eq!(error.kind(), Kind::Poison);
    assert!(
        error.to_string().contains("format.unrepresentable: as_string"),
        "{error}"
    );

    let registry = Arc::new(MemoryRegistry::default());
    let as_string = settings(r#"{"codec":"avro","unrepresentable":"as_string"}"#);
    let output = encoded(&mut with_registry(as_string, &registry), &batch.changes).unwrap();
    let key = framed(&output).remove(0).key.unwrap();
    assert_eq!(shown(&registry, &key), json!({"day": "infinity"}));
}

#[test]
fn what_the_log_does_not_carry_stays_refused() {
    // A schema that allows null for an infinite date does not make a date of nothing.
    let columns = vec![required("id", LogicalType::Int32), required("due", LogicalType::Date)];
    let mut batch = Batch::new(&table(columns, vec![]));
    batch.change(Operation::Delete, Some(&[int(1), null()]), None);
    let registry = Arc::new(MemoryRegistry::default());
    let format = settings(r#"{"codec":"avro","unrepresentable":"as_null"}"#);
    let error = encoded(&mut with_registry(format, &registry), &batch.changes).unwrap_err();
    assert!(error.to_string().contains("is not in the log"), "{error}");
}

#[test]
fn a_default_that_the_server_computes_is_none_of_an_entity() {
    let columns = || {
        let mut id = required("id", LogicalType::Int32);
        id.default = Some(Datum::Int(0));
        id.default_is_computed = true;
        let mut count = required("count", LogicalType::Int32);
        count.default = Some(Datum::Int(0));
        vec![id, count]
    };
    assert_eq!(
        fields(columns(), r#"{"codec":"avro"}"#),
        json!([{"name": "id", "type": "int"}, {"name": "count", "type": "int", "default": 0}])
    );
    let debezium = fields(columns(), r#"{"codec":"avro","envelope":"debezium"}"#);
    let row = &debezium[0]["type"][1]["fields"];
    assert_eq!(row[0]["default"], 0);
}

/// What forms have no room for.
fn extreme(kind: &'static str) -> impl Strategy<Value = (LogicalType, Datum)> {
    let timestamps = |precision: u8| {
        let late = prop_oneof![
            Just(Datum::Int(i64::MAX)),
            Just(Datum::Int(i64::MIN)),
            Just(string(LATE))
        ];
        let kinds = prop_oneof![
            Just(LogicalType::Timestamp { precision }),
            Just(LogicalType::TimestampTz { precision })
        ];
        (kinds, late)
    };
    let specials = prop_oneof![Just("NaN"), Just("1.50"), Just("-999.99")];
    let infinite = prop_oneof![Just("NaN"), Just("Infinity"), Just("-Infinity")];
    let both = prop_oneof![
        any::<u64>().prop_map(|number| (LogicalType::UnsignedInt64, string(&number.to_string()))),
        any::<String>().prop_map(|symbol| (symbols(&["new", "paid"]), string(&symbol))),
    ];
    let postgresql = prop_oneof![
        specials.prop_map(|text| (decimal(Some(5), Some(2)), string(text))),
        infinite.prop_map(|text| (decimal(None, None), string(text))),
        (300_usize..400).prop_map(|length| (decimal(None, None), string(&"9".repeat(length)))),
        prop_oneof![Just(i32::MAX), Just(i32::MIN)].prop_map(|days| (LogicalType::Date, Datum::Int(days.into()))),
        (0_u8..=6).prop_flat_map(timestamps),
        (0_u8..=6).prop_map(|precision| (LogicalType::Time { precision }, Datum::Int(DAY_US))),
        (any::<i32>(), any::<i64>()).prop_map(|(months, microseconds)| {
            let interval = Interval {
                months,
                days: 0,
                microseconds,
            };
            (LogicalType::Interval, Datum::Interval(interval))
        }),
        vec(vec(any::<i32>(), 1..3), 1..3).prop_map(|rows| {
            let row = |row: Vec<i32>| Datum::List(row.into_iter().map(|value| Datum::Int(value.into())).collect());
            (
                array(LogicalType::Int32),
                Datum::List(rows.into_iter().map(row).collect()),
            )
        }),
        Just((array(LogicalType::Date), string("[2:2]={infinity}"))),
        Just((array(LogicalType::Date), Datum::List(vec![Datum::Int(i32::MIN.into())]))),
        (1_i64..100_000).prop_map(|dimensions| {
            let numbers = [Datum::Int(dimensions), Datum::Int(1), Datum::Float64(0.5)];
            (LogicalType::SparseVector, Datum::List(numbers.to_vec()))
        }),
    ];
    let mysql = (0_u8..=6, -LONGEST_US..=LONGEST_US)
        .prop_map(|(precision, time)| (LogicalType::Time { precision }, Datum::Int(time)));
    match kind {
        "mysql" => prop_oneof![both, mysql].boxed(),
        _ => prop_oneof![both, postgresql].boxed(),
    }
}

fn of_database() -> impl Strategy<Value = (&'static str, Vec<(LogicalType, Datum)>)> {
    prop_oneof![Just("postgresql"), Just("mysql")].prop_flat_map(|kind| {
        let value = prop_oneof![typed().prop_map(move |typed| of_kind(kind, typed)), extreme(kind),];
        (Just(kind), vec(value, 1..6))
    })
}

fn options() -> impl Strategy<Value = String> {
    let time = prop_oneof![
        Just("iso"),
        Just("adaptive"),
        Just("connect"),
        Just("isostring"),
        Just("microseconds"),
        Just("nanoseconds"),
        Just("structured"),
    ];
    let decimal = prop_oneof![Just("string"), Just("precise"), Just("double")];
    let unsigned = prop_oneof![Just("long"), Just("precise")];
    let interval = prop_oneof![Just("iso"), Just("numeric"), Just("string"), Just("structured")];
    (time, decimal, unsigned, interval).prop_map(|(time, decimal, unsigned, interval)| {
        format!(r#","time":"{time}","decimal":"{decimal}","bigint_unsigned":"{unsigned}","interval":"{interval}""#)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_database_has_is_refused(
        (kind, columns) in of_database(),
        envelope in prop_oneof![Just("entity"), Just("debezium")],
        codec in prop_oneof![Just("avro"), Just("json")],
        options in prop_oneof![Just(String::new()), options()],
        as_null in any::<bool>(),
    ) {
        let way = if as_null { "as_null" } else { "as_string" };
        let format = format!(r#"{{"envelope":"{envelope}","codec":"{codec}","unrepresentable":"{way}"{options}}}"#);
        let batch = row_of(&columns);
        let event = rows(&batch, (kind, &format))?.remove(0);
        let row = match envelope {
            "debezium" => &event.value["after"],
            _ => &event.value,
        };
        // Every column has a value: what is null is null because of its form, and only that is named.
        let nulls = (0..columns.len()).map(|index| format!("c{index}")).filter(|name| row[name].is_null());
        let nulls: Vec<_> = nulls.collect();
        let named = match nulls.is_empty() {
            true => Value::Null,
            false => json!(nulls),
        };
        prop_assert_eq!(event.header("unrepresentable"), named, "{}", format);
        prop_assert!(as_null || nulls.is_empty(), "{format}");
    }
}
