//! Properties over rows and names that nobody thought of.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tailrace_codec::{EncoderSettings, EventEncoder};
use tailrace_core::batch::Operation;
use tailrace_core::error::Kind;
use tailrace_core::event::EncodedBatch;
use tailrace_core::ports::Encoder;
use tailrace_core::schema::{Column, TableSchema};
use tailrace_core::value::{Datum, Interval, LogicalType, ShapeKind, TextKind, TimeTz};

use crate::support::*;

/// A type, with a value that a decoder may hand over for it.
pub(crate) fn typed() -> impl Strategy<Value = (LogicalType, Datum)> {
    scalar().prop_recursive(2, 8, 4, |inner| {
        vec(inner, 0..4).prop_map(|elements| {
            let element = elements
                .first()
                .map_or(LogicalType::Int32, |(logical_type, _)| logical_type.clone());
            let of_type = elements
                .into_iter()
                .filter(|(logical_type, _)| *logical_type == element)
                .map(|(_, datum)| datum);
            (
                LogicalType::Array(Box::new(element.clone())),
                Datum::List(of_type.chain([Datum::Null]).collect()),
            )
        })
    })
}

fn scalar() -> impl Strategy<Value = (LogicalType, Datum)> {
    prop_oneof![plain(), textual(), temporal(), figures()]
}

fn plain() -> impl Strategy<Value = (LogicalType, Datum)> {
    prop_oneof![
        any::<bool>().prop_map(|value| (LogicalType::Boolean, Datum::Boolean(value))),
        any::<i16>().prop_map(|value| (LogicalType::Int16, Datum::Int(value.into()))),
        any::<i32>().prop_map(|value| (LogicalType::Int32, Datum::Int(value.into()))),
        any::<i64>().prop_map(|value| (LogicalType::Int64, Datum::Int(value))),
        // Others are refused where they are written as signed integers.
        (0..=i64::MAX).prop_map(|value| (LogicalType::UnsignedInt64, Datum::Text(value.to_string()))),
        any::<u32>().prop_map(|bits| (LogicalType::Float32, Datum::Float32(f32::from_bits(bits)))),
        any::<u64>().prop_map(|bits| (LogicalType::Float64, Datum::Float64(f64::from_bits(bits)))),
        vec(any::<u8>(), 0..40).prop_map(|value| (LogicalType::Bytes, Datum::Bytes(value))),
        (0_i64..=2155).prop_map(|year| (LogicalType::Year, Datum::Int(year))),
        "[01]{0,70}".prop_map(|bits| (LogicalType::Bits { length: None }, Datum::Text(bits))),
    ]
}

fn textual() -> impl Strategy<Value = (LogicalType, Datum)> {
    let kinds = prop_oneof![
        Just(TextKind::Plain),
        Just(TextKind::Json),
        Just(TextKind::Uuid),
        Just(TextKind::Opaque),
        Just(TextKind::Enum(Arc::from(["a,b".to_owned(), "\"".to_owned()]))),
        Just(TextKind::Set(Arc::from(["a\\".to_owned(), "\"".to_owned()]))),
    ];
    let decimal = prop_oneof![
        "-?[0-9]{1,60}(\\.[0-9]{1,20})?",
        Just("NaN".to_owned()),
        Just("-Infinity".to_owned())
    ];
    prop_oneof![
        (kinds, any::<String>()).prop_map(|(kind, text)| (LogicalType::Text(kind), Datum::Text(text))),
        decimal.prop_map(|text| (
            LogicalType::Decimal {
                precision: None,
                scale: None
            },
            Datum::Text(text)
        )),
        "-?[0-9]{1,17}\\.[0-9]{2}".prop_map(|text| (LogicalType::Money, Datum::Text(text))),
        vec((any::<String>(), proptest::option::of(any::<String>())), 0..4).prop_map(|pairs| {
            let value = |value: Option<String>| value.map_or(Datum::Null, Datum::Text);
            let list = pairs
                .into_iter()
                .flat_map(|(key, text)| [Datum::Text(key), value(text)]);
            (LogicalType::Map, Datum::List(list.collect()))
        }),
    ]
}

fn temporal() -> impl Strategy<Value = (LogicalType, Datum)> {
    let precision = 0_u8..=6;
    prop_oneof![
        any::<i32>().prop_map(|days| (LogicalType::Date, Datum::Int(days.into()))),
        (precision.clone(), -3_020_399_000_000..=3_020_399_000_000_i64)
            .prop_map(|(precision, time)| (LogicalType::Time { precision }, Datum::Int(time))),
        (precision.clone(), 0_i64..=86_400_000_000, -57_599..=57_599).prop_map(
            |(precision, microseconds, offset_seconds)| {
                (
                    LogicalType::TimeTz { precision },
                    Datum::TimeTz(TimeTz {
                        microseconds,
                        offset_seconds,
                    }),
                )
            }
        ),
        (precision.clone(), any::<i64>())
            .prop_map(|(precision, at)| (LogicalType::Timestamp { precision }, Datum::Int(at))),
        (precision, any::<i64>()).prop_map(|(precision, at)| (LogicalType::TimestampTz { precision }, Datum::Int(at))),
        (any::<i32>(), any::<i32>(), any::<i64>()).prop_map(|(months, days, microseconds)| {
            (
                LogicalType::Interval,
                Datum::Interval(Interval {
                    months,
                    days,
                    microseconds,
                }),
            )
        }),
    ]
}

fn figures() -> impl Strategy<Value = (LogicalType, Datum)> {
    let list = |values: &[f64]| Datum::List(values.iter().copied().map(Datum::Float64).collect());
    prop_oneof![
        any::<[f64; 2]>().prop_map(move |values| (LogicalType::Point, list(&values))),
        (any::<[f64; 2]>(), any::<u32>()).prop_map(|(values, srid)| {
            let numbers = values.into_iter().map(Datum::Float64);
            let system = Datum::Int(srid.into());
            (LogicalType::Point, Datum::List(numbers.chain([system]).collect()))
        }),
        any::<[f64; 3]>().prop_map(move |values| (LogicalType::Line, list(&values))),
        any::<[f64; 3]>().prop_map(move |values| (LogicalType::Circle, list(&values))),
        vec(any::<f64>(), 0..4).prop_map(move |values| (LogicalType::DoubleVector, list(&values))),
        (vec(any::<u8>(), 0..30), any::<bool>()).prop_map(|(wkb, closed)| {
            (
                LogicalType::Shape(ShapeKind::Path),
                Datum::List(vec![Datum::Bytes(wkb), Datum::Boolean(closed)]),
            )
        }),
        vec(any::<u8>(), 0..12).prop_map(|rest| {
            let wkb = [1, 1, 0, 0, if rest.len() > 6 { 0x20 } else { 0 }]
                .into_iter()
                .chain(rest)
                .collect();
            (LogicalType::Geometry, Datum::Bytes(wkb))
        }),
    ]
}

pub(crate) const DAY_US: i64 = 86_400_000_000;

/// A value as a decoder of the database hands it over: what the other one alone has becomes something that it has, too.
pub(crate) fn of_kind(kind: &str, (logical_type, datum): (LogicalType, Datum)) -> (LogicalType, Datum) {
    match kind {
        "mysql" => of_mysql(logical_type, datum),
        _ => {
            let datum = of_postgresql(&logical_type, datum);
            (logical_type, datum)
        }
    }
}

fn of_mysql(logical_type: LogicalType, datum: Datum) -> (LogicalType, Datum) {
    match (logical_type, datum) {
        // There are neither arrays nor those figures, and bits are as many as their column has.
        (LogicalType::Array(_) | LogicalType::Line | LogicalType::Circle | LogicalType::Shape(_), _) => {
            (LogicalType::Boolean, Datum::Boolean(true))
        }
        (LogicalType::Bits { .. }, Datum::Text(bits)) => (
            LogicalType::Bits { length: Some(64) },
            Datum::Text(format!("{bits:0>64.64}")),
        ),
        (decimal @ LogicalType::Decimal { .. }, Datum::Text(text)) => {
            let finite = !text.contains(['N', 'I']);
            (decimal, Datum::Text(if finite { text } else { "0".to_owned() }))
        }
        other => other,
    }
}

fn of_postgresql(logical_type: &LogicalType, datum: Datum) -> Datum {
    match (logical_type, datum) {
        (LogicalType::Time { .. }, Datum::Int(time)) => Datum::Int(time.rem_euclid(DAY_US + 1)),
        (LogicalType::Point, Datum::List(mut values)) => {
            values.truncate(2);
            Datum::List(values)
        }
        (LogicalType::Geometry, Datum::Bytes(mut wkb)) => {
            wkb[4] = 0;
            Datum::Bytes(wkb)
        }
        (LogicalType::Array(element), Datum::List(values)) => {
            let of_element = |value| match value {
                Datum::Null => Datum::Null,
                value => of_postgresql(element, value),
            };
            Datum::List(values.into_iter().map(of_element).collect())
        }
        (_, datum) => datum,
    }
}

fn format() -> impl Strategy<Value = String> {
    let time = prop_oneof![
        Just("iso"),
        Just("adaptive"),
        Just("adaptive_time_microseconds"),
        Just("connect"),
        Just("isostring"),
        Just("microseconds"),
        Just("nanoseconds"),
        Just("structured"),
    ];
    let envelope = prop_oneof![Just("entity"), Just("debezium")];
    let decimal = prop_oneof![Just("string"), Just("precise"), Just("double")];
    let binary = prop_oneof![Just("bytes"), Just("base64"), Just("base64_url_safe"), Just("hex")];
    let hstore = prop_oneof![Just("json"), Just("map")];
    (envelope, any::<bool>(), time, decimal, binary, hstore).prop_map(|(envelope, schema, time, decimal, binary, hstore)| {
        format!(
            r#"{{"envelope":"{envelope}","inline_schema":{schema},"time":"{time}","decimal":"{decimal}","binary":"{binary}","hstore":"{hstore}"}}"#
        )
    })
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        Just(Operation::Read),
        Just(Operation::Create),
        Just(Operation::Update),
        Just(Operation::Delete),
        Just(Operation::Truncate),
    ]
}

/// Everything that is published is JSON, whatever the rows.
fn check(
    columns: &[(LogicalType, Datum)],
    (operation, nullable): (Operation, bool),
    (kind, format): (&str, &str),
) -> Result<(), TestCaseError> {
    let columns: Vec<_> = columns.iter().map(|typed| of_kind(kind, typed.clone())).collect();
    let column_of = |(index, (logical_type, default)): (usize, &(LogicalType, Datum))| Column {
        nullable,
        default: Some(default.clone()),
        ..column(&format!("c{index}"), logical_type.clone())
    };
    let mut schema_columns = vec![required("id", LogicalType::Int64)];
    schema_columns.extend(columns.iter().enumerate().map(column_of));
    let mut batch = Batch::new(&table(schema_columns, vec![0]));
    let key_only: Vec<_> = [int(1)].into_iter().chain(columns.iter().map(|_| null())).collect();
    let values: Vec<_> = [int(2)]
        .into_iter()
        .chain(columns.iter().map(|(_, datum)| Cell::Is(datum.clone())))
        .collect();
    let has_before = matches!(operation, Operation::Update | Operation::Delete);
    let has_after = !matches!(operation, Operation::Delete | Operation::Truncate);
    batch.change(operation, has_before.then_some(&key_only), has_after.then_some(&values));
    check_events(&batch, settings_of(kind, format))
}

fn check_events(batch: &Batch, settings: EncoderSettings) -> Result<(), TestCaseError> {
    let mut encoder = EventEncoder::new(settings).unwrap();
    let encoded = match encoder.encode(&batch.changes).and_then(EncodedBatch::complete) {
        Ok(encoded) => events(&encoded),
        Err(error) => {
            prop_assert_eq!(error.kind(), Kind::Poison);
            prop_assert!(error.to_string().contains("public.customers"));
            return Ok(());
        }
    };
    for event in encoded {
        for json in event.key.iter().chain(&event.value) {
            let read: Result<serde_json::Value, _> = serde_json::from_str(json);
            prop_assert!(read.is_ok(), "{json}");
        }
        prop_assert!(event.header("event_id").is_some());
    }
    Ok(())
}

fn identifier() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_.-]{1,8}",
        "\\PC{1,12}",
        any::<String>().prop_filter("a name is not empty", |name| !name.is_empty())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn everything_published_is_json(
        columns in vec(typed(), 1..5),
        operation in operation(),
        nullable in any::<bool>(),
        format in format(),
    ) {
        for kind in ["postgresql", "mysql"] {
            check(&columns, (operation, nullable), (kind, &format))?;
        }
    }

    #[test]
    fn any_name_gives_json_and_a_legal_topic(names in [identifier(), identifier(), identifier()], format in format()) {
        let [schema_name, table_name, column_name] = names;
        let mut schema: TableSchema = (*table(vec![required(&column_name, LogicalType::Int32)], vec![0])).clone();
        schema.name.schema = schema_name;
        schema.name.table = table_name;
        schema.columns[0].documentation = Some(column_name.clone());
        let mut batch = Batch::new(&schema.into());
        batch.change(Operation::Create, None, Some(&[int(1)]));
        let mut encoder: EventEncoder = encoder(&format);
        let Ok(encoded) = encoder.encode(&batch.changes).and_then(EncodedBatch::complete) else {
            // Only a name that becomes longer than Kafka allows is refused.
            return Ok(());
        };
        let event = events(&encoded).remove(0);
        prop_assert!(event.topic.len() <= 249);
        prop_assert!(event.topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)));
        let key: serde_json::Value = serde_json::from_str(&event.key.unwrap()).unwrap();
        let key = key.get("payload").filter(|_| format.contains("\"inline_schema\":true")).unwrap_or(&key);
        prop_assert_eq!(&key[&column_name], 1);
    }
}
