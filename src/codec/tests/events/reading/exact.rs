//! What would be lost, rounded or taken for something else is refused; what can be read is.

use std::collections::BTreeMap;
use std::sync::Arc;

use tailrace_codec::DecoderSettings;
use tailrace_core::record_batch::RecordBatch;
use tailrace_core::registry::{Schema, SchemaRegistry, SchemaType};
use tailrace_core::testkit::MemoryRegistry;
use tailrace_core::value::{Datum, Interval, LogicalType};

use super::support::*;
use crate::support::*;
use crate::vectors::{UNLIMITED, number, numeric, string};

type Read = Result<Datum, (&'static str, String)>;

/// The last column of the last record.
fn last(settings: DecoderSettings, target: Option<LogicalType>, values: &[&str]) -> Read {
    let target = target.map(|logical_type| table(vec![column("v", logical_type)], vec![]));
    let mut records = RecordBatch::default();
    for (offset, value) in (0..).zip(values) {
        records.push(("srv.shop.orders", 3), offset, 0, (None, Some(value.as_bytes())));
    }
    let events = decode_with(settings, target.as_ref(), &records);
    let last = i64::try_from(values.len()).unwrap() - 1;
    let refused = events
        .refused
        .iter()
        .find(|refused| events.origins[refused.change].offset == last);
    match refused {
        Some(refused) => Err((refused.refusal.code, refused.refusal.reason.clone())),
        None => {
            let after = seen(events.changes.views().last().unwrap()).after.unwrap();
            Ok(after.last().unwrap().1.clone().unwrap())
        }
    }
}

/// A value without a schema, of a column.
fn plain(logical_type: LogicalType, json: &str) -> Read {
    let format = r#"{"time":"nanoseconds","interval":"numeric"}"#;
    last(
        decoder_settings(None, format),
        Some(logical_type),
        &[&format!("{{\"v\":{json}}}")],
    )
}

/// A value with Kafka Connect's schema beside it, given as the field `v` of it.
fn inline(field: &str, json: &str) -> Read {
    let value = format!(
        r#"{{"schema":{{"type":"struct","optional":false,"fields":[{{"field":"v",{field}}}]}},"payload":{{"v":{json}}}}}"#
    );
    last(decoder_settings(None, "{}"), None, &[&value])
}

fn refused(read: &Read, code: &str, problem: &str) {
    let (found, reason) = read.as_ref().unwrap_err();
    assert_eq!(*found, code, "{reason}");
    assert!(reason.contains(problem), "{reason}");
}

fn exact_decimal() -> LogicalType {
    UNLIMITED
}

#[test]
fn an_object_that_is_no_decimal_does_not_get_the_digits_of_the_value_before() {
    let decimals = |second: &str| {
        let values = [r#"{"v":{"scale":2,"value":"AfQ="}}"#, &format!("{{\"v\":{second}}}")];
        last(decoder_settings(None, "{}"), Some(exact_decimal()), &values)
    };
    assert_eq!(decimals(r#"{"scale":1,"value":"AfQ="}"#), Ok(string("50.0")));
    for other in [
        r#"{"amount":7,"currency":"EUR"}"#,
        r#"{"scale":2}"#,
        r#"{"value":"AfQ="}"#,
        r#"{"scale":2,"value":null}"#,
        r#"{"scale":2,"value":"AfQ=","currency":"EUR"}"#,
    ] {
        assert_eq!(decimals(other).unwrap_err().0, "value_unreadable", "{other}");
    }
    // With a schema, too.
    let field = r#""type":"struct","name":"io.debezium.data.VariableScaleDecimal","fields":[
        {"field":"scale","type":"int32","optional":true},{"field":"value","type":"bytes","optional":true}]"#;
    assert_eq!(inline(field, r#"{"scale":1,"value":"AfQ="}"#), Ok(string("50.0")));
    assert_eq!(
        inline(field, r#"{"scale":1,"value":null}"#).unwrap_err().0,
        "value_unreadable"
    );
}

fn connect_decimal(scale: &str) -> String {
    format!(r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{{{scale}}}"#)
}

#[test]
fn the_scale_of_a_decimal_may_be_below_zero_and_is_never_guessed() {
    // 12345.
    let unscaled = r#""MDk=""#;
    assert_eq!(
        inline(&connect_decimal(r#""scale":"2""#), unscaled),
        Ok(string("123.45"))
    );
    assert_eq!(
        inline(&connect_decimal(r#""scale":"-2""#), unscaled),
        Ok(string("1234500"))
    );
    assert_eq!(
        inline(&connect_decimal(r#""scale":-2"#), unscaled),
        Ok(string("1234500"))
    );
    for unknown in ["", r#""scale":"two""#, r#""scale":"2.5""#, r#""scale":"99999999999""#] {
        refused(
            &inline(&connect_decimal(unknown), unscaled),
            "schema_unusable",
            "does not say its scale",
        );
        assert_eq!(
            inline(&format!("{},\"optional\":true", connect_decimal(unknown)), "null"),
            Ok(Datum::Null)
        );
    }
}

#[test]
fn the_scale_of_an_avro_decimal_is_zero_where_there_is_none() {
    let decimal = |rest: &str| {
        let text =
            format!(r#"{{"type":"record","name":"R","fields":[{{"name":"v","type":{{"type":"bytes"{rest}}}}}]}}"#);
        let registry = MemoryRegistry::default();
        let schema = Schema {
            schema_type: SchemaType::Avro,
            text: text.as_str().into(),
            properties: BTreeMap::new(),
            tags: BTreeMap::new(),
        };
        let id = run(registry.register("s", &schema)).unwrap();
        let value = [&[0][..], &id.0.to_be_bytes(), &[4, 0x30, 0x39]].concat();
        let settings = DecoderSettings {
            registry: Some(Arc::new(registry)),
            ..decoder_settings(None, "{}")
        };
        let events = decode_with(settings, None, &one(None, Some(&value)));
        match events.refused.first() {
            Some(refused) => Err((refused.refusal.code, refused.refusal.reason.clone())),
            None => {
                let column = events.changes.tables[0].columns[0].logical_type.clone();
                Ok((
                    column,
                    all_seen(&events)[0].after.clone().unwrap()[0].1.clone().unwrap(),
                ))
            }
        }
    };
    let is = |rest: &str, logical_type: LogicalType, digits: &str| {
        assert_eq!(decimal(rest), Ok((logical_type, string(digits))), "{rest}");
    };
    is(r#","logicalType":"decimal","precision":9"#, numeric(9, 0), "12345");
    is(
        r#","logicalType":"decimal","precision":9,"scale":3"#,
        numeric(9, 3),
        "12.345",
    );
    is(
        r#","logicalType":"decimal","precision":9,"scale":-2"#,
        numeric(11, 0),
        "1234500",
    );
    let (code, _) = decimal(r#","logicalType":"decimal","precision":9,"scale":"x""#).unwrap_err();
    assert_eq!(code, "schema_unusable");
}

#[test]
fn a_decimal_with_a_schema_may_be_a_number() {
    let field = connect_decimal(r#""scale":"2""#);
    assert_eq!(inline(&field, "1.50"), Ok(string("1.50")));
    assert_eq!(inline(&field, "-12.5e2"), Ok(string("-1250")));
    assert_eq!(inline(&field, r#""AJY=""#), Ok(string("1.50")));
    refused(&inline(&field, "true"), "value_unreadable", "is not a JSON string");
}

#[test]
fn a_number_beyond_a_float_is_not_infinite() {
    let beyond = "beyond the range";
    refused(&plain(LogicalType::Float64, "1e400"), "value_unreadable", beyond);
    refused(&plain(LogicalType::Float64, "\"-1e400\""), "value_unreadable", beyond);
    refused(&plain(LogicalType::Float32, "1e39"), "value_unreadable", beyond);
    refused(&plain(LogicalType::FloatVector, "[1e39]"), "value_unreadable", beyond);
    refused(
        &plain(LogicalType::Point, r#"{"x":1e400,"y":0}"#),
        "value_unreadable",
        beyond,
    );
    refused(&inline(r#""type":"float""#, "1e39"), "value_unreadable", beyond);
    refused(&inline(r#""type":"double""#, "-1e400"), "value_unreadable", beyond);
    for (json, infinite) in [("\"Infinity\"", f64::INFINITY), ("\"-Infinity\"", f64::NEG_INFINITY)] {
        assert_eq!(plain(LogicalType::Float64, json), Ok(Datum::Float64(infinite)));
        assert_eq!(inline(r#""type":"double""#, json), Ok(Datum::Float64(infinite)));
    }
    assert_eq!(
        plain(LogicalType::Float32, "\"Infinity\""),
        Ok(Datum::Float32(f32::INFINITY))
    );
}

#[test]
fn single_precision_has_every_digit_or_is_refused() {
    for (json, value) in [
        ("0.1", 0.1_f32),
        ("0.10000000149011612", 0.1),
        ("0.100000001", 0.1),
        ("-16777216", -16_777_216.0),
        ("1.6777216e7", 16_777_216.0),
        ("3.4028235e38", f32::MAX),
        ("1e-45", f32::from_bits(1)),
        ("\"2.50\"", 2.5),
        ("0.000", 0.0),
        ("100", 100.0),
    ] {
        assert_eq!(plain(LogicalType::Float32, json), Ok(Datum::Float32(value)), "{json}");
    }
    for json in [
        "16777217",
        "\"16777217\"",
        "0.1000001234",
        "3.14159265",
        "1e-46",
        "1.2e-45",
    ] {
        refused(
            &plain(LogicalType::Float32, json),
            "value_unreadable",
            "more digits than single precision",
        );
    }
}

#[test]
fn an_object_that_is_no_struct_of_a_time_is_refused() {
    let interval = |json| plain(LogicalType::Interval, json);
    let is = |months, days, microseconds| {
        Ok(Datum::Interval(Interval {
            months,
            days,
            microseconds,
        }))
    };
    assert_eq!(interval(r#"{"hours":1,"nanos":500000000}"#), is(0, 0, 3_600_500_000));
    assert_eq!(
        interval(r#"{"years":1,"months":2,"days":3,"hours":0,"minutes":0,"seconds":0,"nanos":0,"precision":6}"#),
        is(14, 3, 0)
    );
    let unknown = "a field that its type is not written with";
    refused(
        &interval(r#"{"hours":1,"milliseconds":500}"#),
        "value_unreadable",
        unknown,
    );
    refused(&interval(r#"{"iso":"PT1H"}"#), "value_unreadable", unknown);
    for nothing in ["{}", r#"{"hours":null}"#, r#"{"precision":6}"#] {
        refused(&interval(nothing), "value_unreadable", "lacks one of the fields");
    }
    let time = |json| plain(LogicalType::Time { precision: 6 }, json);
    assert_eq!(
        time(r#"{"hours":-838,"minutes":-59,"seconds":-59,"days":0}"#),
        Ok(number(-3_020_399_000_000))
    );
    for wrong in [
        r#"{"hours":1,"minutes":0,"seconds":0,"days":1}"#,
        r#"{"hour":1,"minute":60,"second":0}"#,
        r#"{"hour":1,"minute":0,"second":0,"milliseconds":5}"#,
        r#"{"hour":9223372036854775807,"minute":0,"second":0}"#,
    ] {
        assert_eq!(time(wrong).unwrap_err().0, "value_unreadable", "{wrong}");
    }
}

#[test]
fn a_struct_is_a_day_of_the_calendar() {
    let date = |year: &str, month: i64, day: i64| {
        plain(
            LogicalType::Date,
            &format!(r#"{{"year":{year},"month":{month},"day":{day}}}"#),
        )
    };
    assert_eq!(date("2024", 2, 29), Ok(number(19_782)));
    for (year, month, day) in [
        ("2023", 2, 29),
        ("2023", 2, 31),
        ("2023", 4, 31),
        ("2023", 13, 1),
        ("2023", 0, 1),
        ("9223372036854775807", 1, 1),
        ("-9223372036854775808", 1, 1),
    ] {
        refused(&date(year, month, day), "value_unreadable", "no day of the calendar");
    }
    let timestamp = LogicalType::Timestamp { precision: 6 };
    let wrong = r#"{"year":2023,"month":2,"day":31,"hour":0,"minute":0,"second":0,"nanos":0}"#;
    refused(&plain(timestamp, wrong), "value_unreadable", "no day of the calendar");
}

#[test]
fn finer_digits_than_microseconds_are_refused() {
    let timestamp = || LogicalType::Timestamp { precision: 6 };
    let time = || LogicalType::Time { precision: 6 };
    let finer = "finer digits than microseconds";
    let at = number(1_478_267_490_123_456);
    for exact in [
        "\"2016-11-04T13:51:30.1234560\"",
        "\"2016-11-04T13:51:30.123456000Z\"",
        "1478267490123456000",
    ] {
        assert_eq!(plain(timestamp(), exact), Ok(at.clone()), "{exact}");
    }
    for fine in ["\"2016-11-04T13:51:30.1234567\"", "1478267490123456700", "-1"] {
        refused(&plain(timestamp(), fine), "value_unreadable", finer);
    }
    refused(&plain(time(), "\"13:51:30.1234567\""), "value_unreadable", finer);
    refused(&plain(time(), "1700"), "value_unreadable", finer);
    refused(
        &plain(time(), r#"{"hour":1,"minute":0,"second":0,"nanos":1}"#),
        "value_unreadable",
        finer,
    );
    refused(
        &plain(LogicalType::Interval, "\"PT1.0000001S\""),
        "value_unreadable",
        finer,
    );
    refused(
        &plain(LogicalType::Interval, r#"{"nanos":1}"#),
        "value_unreadable",
        finer,
    );
    let field = r#""type":"int64","name":"io.debezium.time.NanoTimestamp""#;
    assert_eq!(inline(field, "1478267490123456000"), Ok(at));
    refused(&inline(field, "1478267490123456700"), "value_unreadable", finer);
    let zoned = r#""type":"string","name":"io.debezium.time.ZonedTime""#;
    refused(&inline(zoned, "\"13:51:30.1234567Z\""), "value_unreadable", finer);
}
