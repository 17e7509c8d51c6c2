use super::*;

const PLAIN: LogicalType = LogicalType::Text(TextKind::Plain);
const DECIMAL: LogicalType = LogicalType::Decimal {
    precision: None,
    scale: None,
};
const TIMESTAMP: LogicalType = LogicalType::Timestamp { precision: 6 };
const TIMESTAMP_TZ: LogicalType = LogicalType::TimestampTz { precision: 6 };
/// 2024-02-29.
const LEAP_DAY: i64 = 19_782;
/// 10:00:00.123456.
const MORNING_US: i64 = 36_000_123_456;

fn cast(to: &str, value: Value<'_>, from: &LogicalType) -> Option<Datum> {
    let to = CastType::parse(to).unwrap();
    assert!(to.takes(from), "{to} takes no {from:?}");
    to.convert(value, from)
}

fn cast_text(to: &str, text: &str) -> Option<Datum> {
    cast(to, Value::Text(text), &PLAIN)
}

fn datum(text: &str) -> Option<Datum> {
    Some(Datum::Text(text.to_owned()))
}

fn known() -> Vec<CastType> {
    let written = KNOWN.split(", ").map(|name| name.replace("P,S", "10,2"));
    written.map(|name| CastType::parse(&name).unwrap()).collect()
}

#[test]
fn types_are_read_as_they_are_written() {
    let written: Vec<String> = known().iter().map(ToString::to_string).collect();
    assert_eq!(written.join(", ").replace("10,2", "P,S"), KNOWN);
    assert_eq!(CastType::parse("decimal(10, 2)"), CastType::parse("decimal(10,2)"));
    for wrong in [
        "",
        "int",
        "Text",
        "decimal(10)",
        "decimal(0,0)",
        "decimal(2,3)",
        "decimal(-1,0)",
        "decimal(1,0",
    ] {
        assert_eq!(CastType::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn every_type_takes_its_own() {
    for to in known() {
        assert!(to.takes(&to.logical_type()), "{to}");
    }
    let samples = [
        ("boolean", Datum::Boolean(true)),
        ("int16", Datum::Int(-5)),
        ("float64", Datum::Float64(f64::INFINITY)),
        ("decimal", Datum::Text("NaN".to_owned())),
        ("decimal(10,2)", Datum::Text("1.50".to_owned())),
        ("date", Datum::Int(i32::MAX.into())),
        ("timestamp", Datum::Int(i64::MIN)),
        ("timestamptz", Datum::Text("294276-12-31T23:59:59".to_owned())),
    ];
    for (to, sample) in samples {
        let value = match &sample {
            Datum::Boolean(value) => Value::Boolean(*value),
            Datum::Int(value) => Value::Int(*value),
            Datum::Float64(value) => Value::Float64(*value),
            Datum::Text(value) => Value::Text(value),
            other => panic!("{other:?}"),
        };
        let own = CastType::parse(to).unwrap().logical_type();
        assert_eq!(cast(to, value, &own), Some(sample.clone()), "{to}");
    }
}

#[test]
fn what_has_no_equal_of_a_type_is_not_cast_to_it() {
    let array = LogicalType::Array(Box::new(LogicalType::Int32));
    let refused = [
        LogicalType::Bytes,
        LogicalType::Bits { length: None },
        LogicalType::Interval,
        LogicalType::Time { precision: 6 },
        array,
    ];
    for (to, from) in known().iter().flat_map(|to| refused.iter().map(move |from| (to, from))) {
        assert!(!to.takes(from), "{to} {from:?}");
    }
    for (to, from) in [
        ("timestamp", &TIMESTAMP_TZ),
        ("timestamptz", &TIMESTAMP),
        ("json", &LogicalType::Int32),
        ("uuid", &DECIMAL),
        ("int32", &LogicalType::Float64),
        ("int32", &LogicalType::Date),
        ("decimal", &LogicalType::Float32),
        ("boolean", &DECIMAL),
        ("float64", &LogicalType::Boolean),
        ("date", &LogicalType::Int32),
    ] {
        assert!(!CastType::parse(to).unwrap().takes(from), "{to} {from:?}");
    }
}

#[test]
fn to_text() {
    for (value, from, expected) in [
        (Value::Int(-7), LogicalType::Int64, "-7"),
        (Value::Int(2024), LogicalType::Year, "2024"),
        (Value::Boolean(true), LogicalType::Boolean, "true"),
        (Value::Boolean(false), LogicalType::Boolean, "false"),
        (Value::Float64(0.1), LogicalType::Float64, "0.1"),
        (Value::Float32(0.1), LogicalType::Float32, "0.1"),
        (Value::Float64(f64::NEG_INFINITY), LogicalType::Float64, "-Infinity"),
        (Value::Float32(f32::NAN), LogicalType::Float32, "NaN"),
        (Value::Text("1.50"), DECIMAL, "1.50"),
        (
            Value::Text("18446744073709551615"),
            LogicalType::UnsignedInt64,
            "18446744073709551615",
        ),
        (Value::Text("-3.10"), LogicalType::Money, "-3.10"),
        (Value::Text(" {} "), LogicalType::Text(TextKind::Json), " {} "),
        (Value::Int(LEAP_DAY), LogicalType::Date, "2024-02-29"),
        (Value::Int(-719_529), LogicalType::Date, "-0001-12-31"),
        (Value::Int(2_932_897), LogicalType::Date, "+10000-01-01"),
        (Value::Int(i32::MAX.into()), LogicalType::Date, "infinity"),
        (Value::Int(-1), TIMESTAMP, "1969-12-31T23:59:59.999999"),
        (Value::Int(0), TIMESTAMP, "1970-01-01T00:00:00"),
        (
            Value::Int(LEAP_DAY * DAY_US + MORNING_US),
            TIMESTAMP_TZ,
            "2024-02-29T10:00:00.123456Z",
        ),
        (Value::Int(i64::MIN), TIMESTAMP_TZ, "-infinity"),
        (
            Value::Text("294276-12-31T23:59:59.999999"),
            TIMESTAMP,
            "294276-12-31T23:59:59.999999",
        ),
        (
            Value::Text("294276-12-31T23:59:59.999999"),
            TIMESTAMP_TZ,
            "294276-12-31T23:59:59.999999Z",
        ),
    ] {
        assert_eq!(cast("text", value, &from), datum(expected), "{from:?}");
    }
}

#[test]
fn to_boolean() {
    for (text, expected) in [
        ("true", true),
        ("T", true),
        ("1", true),
        ("False", false),
        ("f", false),
        ("0", false),
    ] {
        assert_eq!(cast_text("boolean", text), Some(Datum::Boolean(expected)), "{text}");
    }
    for text in ["", "yes", " true", "01"] {
        assert_eq!(cast_text("boolean", text), None, "{text}");
    }
    let of_int = |value| cast("boolean", Value::Int(value), &LogicalType::Int16);
    assert_eq!(
        [0, 1].map(of_int),
        [false, true].map(|value| Some(Datum::Boolean(value)))
    );
    assert_eq!([2, -1].map(of_int), [None, None]);
}

#[test]
fn to_integers() {
    for (to, text, expected) in [
        ("int16", "32767", Some(32_767)),
        ("int16", "32768", None),
        ("int32", "-2147483648", Some(-2_147_483_648)),
        ("int32", "2147483648", None),
        ("int64", "+9223372036854775807", Some(i64::MAX)),
        ("int64", "9223372036854775808", None),
        ("int64", "007", Some(7)),
        ("int64", "1.0", None),
        ("int64", " 1", None),
        ("int64", "1 ", None),
        ("int64", "1e3", None),
        ("int64", "", None),
        ("int64", "-", None),
    ] {
        assert_eq!(cast_text(to, text), expected.map(Datum::Int), "{to} {text}");
    }
    for (text, expected) in [
        ("12.00", Some(12)),
        ("12", Some(12)),
        ("-0.0", Some(0)),
        ("12.5", None),
        ("NaN", None),
    ] {
        let cast = cast("int32", Value::Text(text), &DECIMAL);
        assert_eq!(cast, expected.map(Datum::Int), "{text}");
    }
    let of_int = |value| cast("int16", Value::Int(value), &LogicalType::Int64);
    assert_eq!([-32_768, 32_768].map(of_int), [Some(Datum::Int(-32_768)), None]);
    let of_boolean = |value| cast("int32", Value::Boolean(value), &LogicalType::Boolean);
    assert_eq!(
        [false, true].map(of_boolean),
        [0, 1].map(|value| Some(Datum::Int(value)))
    );
}

#[test]
fn to_float() {
    const EXACT: i64 = 1 << 53;
    for (value, expected) in [
        (0, Some(0.0)),
        (-3, Some(-3.0)),
        (EXACT, Some(9_007_199_254_740_992.0)),
        (EXACT + 1, None),
        (-(EXACT + 2), Some(-9_007_199_254_740_994.0)),
        (i64::MIN, Some(-9_223_372_036_854_775_808.0)),
        (i64::MAX, None),
    ] {
        let cast = cast("float64", Value::Int(value), &LogicalType::Int64);
        assert_eq!(cast, expected.map(Datum::Float64), "{value}");
    }
    assert_eq!(
        cast("float64", Value::Float32(0.5), &LogicalType::Float32),
        Some(Datum::Float64(0.5))
    );
    assert_eq!(
        cast("float64", Value::Text("1.25"), &DECIMAL),
        Some(Datum::Float64(1.25))
    );
    assert_eq!(cast("float64", Value::Text("NaN"), &DECIMAL), None);
    for (text, expected) in [
        ("0.1", Some(0.1)),
        ("-1e3", Some(-1_000.0)),
        ("1e999", None),
        ("inf", None),
        (" 1", None),
    ] {
        assert_eq!(cast_text("float64", text), expected.map(Datum::Float64), "{text}");
    }
}

#[test]
fn to_decimal() {
    for (to, text, expected) in [
        ("decimal", "1.50", Some("1.50")),
        ("decimal", "+007.0", Some("7.0")),
        ("decimal", "-0.00", Some("0.00")),
        ("decimal", "-0.01", Some("-0.01")),
        ("decimal", "1e3", None),
        ("decimal", ".5", None),
        ("decimal", "5.", None),
        ("decimal", "--5", None),
        ("decimal", "1.2.3", None),
        ("decimal", " 5", None),
        ("decimal", "NaN", None),
        ("decimal(5,2)", "123.45", Some("123.45")),
        ("decimal(5,2)", "7", Some("7.00")),
        ("decimal(5,2)", "1.5000", Some("1.50")),
        ("decimal(5,2)", "000123.4", Some("123.40")),
        ("decimal(5,2)", "1234", None),
        ("decimal(5,2)", "0.005", None),
        ("decimal(2,2)", "-0.5", Some("-0.50")),
        ("decimal(2,2)", "1", None),
        ("decimal(3,0)", "999.0", Some("999")),
    ] {
        assert_eq!(cast_text(to, text), expected.and_then(datum), "{to} {text}");
    }
    assert_eq!(
        cast("decimal(3,1)", Value::Int(-12), &LogicalType::Int32),
        datum("-12.0")
    );
    assert_eq!(cast("decimal(3,1)", Value::Int(123), &LogicalType::Int32), None);
    assert_eq!(cast("decimal(3,1)", Value::Text("NaN"), &DECIMAL), None);
    let largest = "18446744073709551615";
    assert_eq!(
        cast("decimal", Value::Text(largest), &LogicalType::UnsignedInt64),
        datum(largest)
    );
}

#[test]
fn to_json_and_uuid() {
    for (text, is_json) in [
        ("{\"a\": [1, null]}", true),
        ("7", true),
        ("", false),
        ("{", false),
        ("{} {}", false),
    ] {
        let expected = if is_json { datum(text) } else { None };
        assert_eq!(cast_text("json", text), expected, "{text}");
    }
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    assert_eq!(cast_text("uuid", &uuid.to_ascii_uppercase()), datum(uuid));
    for text in [
        "",
        "a0eebc999c0b4ef8bb6d6bb9bd380a11",
        "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1}",
        "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "a0eebc999-c0b-4ef8-bb6d-6bb9bd380a11",
    ] {
        assert_eq!(cast_text("uuid", text), None, "{text}");
    }
}

#[test]
fn to_date() {
    for (text, expected) in [
        ("2024-02-29", Some(LEAP_DAY)),
        ("1969-12-31", Some(-1)),
        ("2023-02-29", None),
        ("2024-13-01", None),
        ("2024-00-10", None),
        ("0000-00-00", None),
        ("2024-2-9", None),
        ("2024-02-29 ", None),
        ("20240229", None),
        ("2024-02-29T00:00:00", None),
    ] {
        assert_eq!(cast_text("date", text), expected.map(Datum::Int), "{text}");
    }
    for (value, expected) in [
        (LEAP_DAY * DAY_US, Some(LEAP_DAY)),
        (-DAY_US, Some(-1)),
        (LEAP_DAY * DAY_US + 1, None),
        (i64::MAX, None),
        (i64::MIN, None),
    ] {
        for from in [TIMESTAMP, TIMESTAMP_TZ] {
            let cast = cast("date", Value::Int(value), &from);
            assert_eq!(cast, expected.map(Datum::Int), "{value}");
        }
    }
    assert_eq!(cast("date", Value::Text("294276-12-31T00:00:00"), &TIMESTAMP), None);
}

#[test]
fn to_timestamps() {
    let at_us = LEAP_DAY * DAY_US + MORNING_US;
    for (to, text, expected) in [
        ("timestamp", "2024-02-29T10:00:00.123456", Some(at_us)),
        ("timestamp", "2024-02-29 10:00:00.123456", Some(at_us)),
        ("timestamp", "2024-02-29T10:00:00.12", Some(at_us - 3_456)),
        ("timestamp", "2024-02-29T10:00:00", Some(at_us - 123_456)),
        ("timestamp", "2024-02-29T10:00:00Z", None),
        ("timestamp", "2024-02-29T10:00:00.1234567", None),
        ("timestamp", "2024-02-29T10:00:00.", None),
        ("timestamp", "2024-02-29T10:00", None),
        ("timestamp", "2024-02-29T24:00:00", None),
        ("timestamp", "2024-02-29T10:60:00", None),
        ("timestamp", "2024-02-29T10:00:60", None),
        ("timestamp", "2024-02-30T10:00:00", None),
        ("timestamp", "2024-02-29", None),
        ("timestamp", "2024-02-2žT10:00:00", None),
        ("timestamptz", "2024-02-29T10:00:00.123456Z", Some(at_us)),
        ("timestamptz", "2024-02-29T12:00:00.123456+02:00", Some(at_us)),
        ("timestamptz", "2024-02-29 04:30:00.123456-0530", Some(at_us)),
        ("timestamptz", "2024-02-29 10:00:00.123456+00", Some(at_us)),
        ("timestamptz", "2024-02-29T10:00:00", None),
        ("timestamptz", "2024-02-29T10:00:00+02:60", None),
        ("timestamptz", "2024-02-29T10:00:00+2", None),
        ("timestamptz", "2024-02-29T10:00:00 UTC", None),
    ] {
        assert_eq!(cast_text(to, text), expected.map(Datum::Int), "{to} {text}");
    }
    for to in ["timestamp", "timestamptz"] {
        let of_date = |days| cast(to, Value::Int(days), &LogicalType::Date);
        assert_eq!(of_date(LEAP_DAY), Some(Datum::Int(LEAP_DAY * DAY_US)));
        // The last is a date that 64 bits of microseconds do not reach.
        assert_eq!(
            [i32::MIN, i32::MAX, i32::MAX - 1].map(|days| of_date(days.into())),
            [None, None, None]
        );
    }
}
