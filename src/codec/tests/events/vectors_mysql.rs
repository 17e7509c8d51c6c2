//! The MySQL and MariaDB rows of the type vectors: what a decoder hands over, what options are set, what is published.
//!
//! Numbers are those of the collection of vectors (`MV…`). What the database makes of a literal (two-digit years, rounding,
//! padding, JSON) is the decoder's matter and comes here as its result. Where Debezium is wrong on purpose or by default,
//! and we are not, the case says so:
//!
//! - MV25: unsigned 64-bit integers above the signed ones wrap in Debezium; here they are refused, or exact as with its `precise`.
//! - MV42, MV46, MV49: years below 100 become 1970 to 2069 in Debezium; here a year is the year that is stored.
//! - MV128 to MV131, MV149: a snapshot of Debezium has spaces in JSON and its stream has not; here neither has.
//! - MV55, MV56, MV59 and MV192 to MV194 are of converters that Debezium can be given; a boolean and a date are the same here
//!   whoever made them.

use std::sync::Arc;

use serde_json::{Value, json};
use tailrace_codec::{EncoderSettings, EventDescriber, EventEncoder};
use tailrace_core::batch::Operation;
use tailrace_core::event::EncodedBatch;
use tailrace_core::ports::Encoder;
use tailrace_core::schema::Column;
use tailrace_core::value::{Datum, LogicalType, TextKind};

use crate::reading::vectors::comes_back;
use crate::support::*;
use crate::vectors::{DEBEZIUM, number, numeric, string, with};

type Case<'a> = (&'a str, Datum, &'a str);

/// Checks cases of (vector, value, published) of one type under one format, of MySQL and of MariaDB, and that each value comes back.
fn check(logical_type: &LogicalType, format: &str, cases: &[Case<'_>]) {
    for (vector, datum, expected) in cases {
        for kind in ["mysql", "mariadb"] {
            let settings = settings_of(kind, format);
            comes_back(logical_type, datum, &settings);
            let published = published_with(logical_type.clone(), datum.clone(), settings);
            assert_eq!(published, *expected, "{vector}");
        }
    }
}

/// Cases of integers that are published as they are.
fn check_integers(logical_type: &LogicalType, cases: &[(&str, i64)]) {
    for (vector, value) in cases {
        for format in ["{}", DEBEZIUM] {
            check(logical_type, format, &[(*vector, number(*value), &value.to_string())]);
        }
    }
}

/// Why a value is not published.
fn refused_with(logical_type: LogicalType, datum: Datum, settings: EncoderSettings) -> String {
    let mut batch = Batch::new(&orders(vec![column("v", logical_type)], vec![]));
    batch.change(Operation::Create, None, Some(&[Cell::Is(datum)]));
    let mut encoder = EventEncoder::new(settings).unwrap();
    encoder
        .encode(&batch.changes)
        .and_then(EncodedBatch::complete)
        .unwrap_err()
        .to_string()
}

/// The schema of a column's field.
fn field(column: Column, format: &str) -> Value {
    let describer = EventDescriber::new(settings_of("mysql", format)).unwrap();
    let description = describer.describe(&orders(vec![column], vec![])).unwrap();
    description.value_schema["fields"][0]["fields"][0].clone()
}

fn schema(logical_type: LogicalType) -> Value {
    field(required("v", logical_type), DEBEZIUM)
}

fn default_of(logical_type: LogicalType, default: Datum) -> Value {
    let column = Column {
        default: Some(default),
        ..required("v", logical_type)
    };
    field(column, DEBEZIUM)["default"].clone()
}

fn time(precision: u8) -> LogicalType {
    LogicalType::Time { precision }
}

fn datetime(precision: u8) -> LogicalType {
    LogicalType::Timestamp { precision }
}

fn timestamp(precision: u8) -> LogicalType {
    LogicalType::TimestampTz { precision }
}

fn bits(length: u32) -> LogicalType {
    LogicalType::Bits { length: Some(length) }
}

fn symbols(symbols: &[&str]) -> Arc<[String]> {
    symbols.iter().map(|symbol| (*symbol).to_owned()).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn integers() {
    check_integers(
        &LogicalType::Int16,
        &[
            ("MV1", 255),
            ("MV2", 155),
            ("MV4", 127),
            ("MV5", -100),
            ("MV6", -128),
            ("MV10", 32_767),
            ("MV11", -12_767),
            ("MV12", -32_768),
            ("MV51", 100),
            ("MV54", 1),
            ("MV57", -128),
            ("MV57", -1),
            ("MV57", 127),
            ("MV57", 0),
            ("MV58", 1),
        ],
    );
    check_integers(
        &LogicalType::Int32,
        &[
            ("MV9", 0),
            ("MV13", 16_777_215),
            ("MV14", 10_777_215),
            ("MV15", 0),
            ("MV18", -8_388_608),
            ("MV22", 2_147_483_647),
            ("MV23", -1_147_483_647),
            ("MV24", -2_147_483_648),
            ("MV34", -2_147_483_648),
            ("MV34", 0),
        ],
    );
    check_integers(
        &LogicalType::Int64,
        &[
            ("MV20", 3_294_967_295),
            ("MV21", 0),
            ("MV30", 9_223_372_036_854_775_807),
            ("MV31", -1_223_372_036_854_775_807),
            ("MV32", -9_223_372_036_854_775_808),
        ],
    );
    check(
        &LogicalType::Boolean,
        DEBEZIUM,
        &[
            ("MV55", Datum::Boolean(true), "true"),
            ("MV56", Datum::Boolean(true), "true"),
            ("MV59", Datum::Boolean(true), "true"),
        ],
    );
}

#[test]
fn unsigned_64_bit_integers_are_exact() {
    let unsigned = LogicalType::UnsignedInt64;
    let greatest = || string("18446744073709551615");
    let precise = with(r#""bigint_unsigned":"precise""#);
    check(
        &unsigned,
        &precise,
        &[
            ("MV25", greatest(), "\"AP//////////\""),
            ("MV27", greatest(), "\"AP//////////\""),
            ("MV29", string("0"), "\"AA==\""),
        ],
    );
    // Debezium's is precise whatever becomes of decimals; an entity's is a decimal like others.
    let precise_among_texts = with(r#""bigint_unsigned":"precise","decimal":"string""#);
    check(&unsigned, &precise_among_texts, &[("MV29", string("0"), "\"AA==\"")]);
    check(&unsigned, "{}", &[("MV27", greatest(), "\"18446744073709551615\"")]);
    check(&unsigned, r#"{"decimal":"double"}"#, &[("MV29", string("3"), "3.0")]);
    assert_eq!(
        field(required("v", unsigned), &precise),
        json!({
            "type": "bytes",
            "optional": false,
            "name": "org.apache.kafka.connect.data.Decimal",
            "version": 1,
            "parameters": {"scale": "0", "connect.decimal.precision": "20"},
            "field": "v"
        })
    );
}

#[test]
fn unsigned_64_bit_integers_are_signed_ones_where_they_fit() {
    let unsigned = LogicalType::UnsignedInt64;
    let fitting = [
        ("MV29", string("0"), "0"),
        ("MV30", string("9223372036854775807"), "9223372036854775807"),
    ];
    check(&unsigned, DEBEZIUM, &fitting);
    check(&unsigned, r#"{"bigint_unsigned":"long"}"#, &fitting);
    assert_eq!(
        schema(unsigned.clone()),
        json!({"type": "int64", "optional": false, "field": "v"})
    );
    assert_eq!(default_of(unsigned.clone(), string("7")), json!(7));
    assert_eq!(default_of(unsigned.clone(), string("9223372036854775808")), Value::Null);
    for format in [DEBEZIUM, r#"{"bigint_unsigned":"long"}"#] {
        let too_large = string("9223372036854775808");
        let error = refused_with(unsigned.clone(), too_large, settings_of("mysql", format));
        assert!(
            error.contains("column v") && error.contains("format.bigint_unsigned: precise"),
            "{error}"
        );
    }
}

#[test]
fn years() {
    check_integers(
        &LogicalType::Year,
        &[
            ("MV35", 2018),
            ("MV36", 2018),
            ("MV37", 2018),
            ("MV38", 1978),
            ("MV39", 1978),
            ("MV40", 1978),
            ("0000", 0),
        ],
    );
    let year = json!({"type": "int32", "optional": false, "name": "io.debezium.time.Year", "version": 1, "field": "v"});
    for format in [DEBEZIUM, "{}", &with(r#""time":"structured""#)] {
        let describer = EventDescriber::new(settings_of("mysql", format)).unwrap();
        let columns = vec![required("v", LogicalType::Year)];
        let value = describer.describe(&orders(columns, vec![])).unwrap().value_schema;
        assert!(value.to_string().contains(&year.to_string()), "{format}");
    }
    assert_eq!(default_of(LogicalType::Year, number(2018)), json!(2018));
}

#[test]
fn dates() {
    check(
        &LogicalType::Date,
        DEBEZIUM,
        &[
            ("MV41", number(17_622), "17622"),
            ("MV42", number(-712_863), "-712863"),
            ("MV43", number(-712_863), "-712863"),
            ("MV44", number(17_622), "17622"),
            ("MV45", number(3012), "3012"),
            ("MV46", number(-690_948), "-690948"),
            ("MV47", number(-690_948), "-690948"),
            ("MV97", number(16_321), "16321"),
            ("MV103", Datum::Null, "null"),
            ("MV192", Datum::Null, "null"),
            ("MV193", number(10_957), "10957"),
            ("MV195", number(19_889), "19889"),
        ],
    );
    check(
        &LogicalType::Date,
        "{}",
        &[
            ("MV43", number(-712_863), "\"0018-04-01\""),
            ("MV97", number(16_321), "\"2014-09-08\""),
        ],
    );
}

#[test]
fn dates_with_times() {
    check(
        &datetime(0),
        DEBEZIUM,
        &[
            ("MV49", number(-61_590_799_504_000_000), "-61590799504000"),
            ("MV50", number(260_282_096_000_000), "260282096000"),
        ],
    );
    check(
        &datetime(2),
        DEBEZIUM,
        &[
            ("MV101", number(1_410_198_664_770_000), "1410198664770"),
            ("MV106", number(0), "0"),
        ],
    );
    check(
        &timestamp(2),
        DEBEZIUM,
        &[("MV102", number(1_410_238_264_780_000), "\"2014-09-09T04:51:04.78Z\"")],
    );
    check(
        &timestamp(6),
        DEBEZIUM,
        &[
            (
                "MV153",
                number(1_673_397_250_123_456),
                "\"2023-01-11T00:34:10.123456Z\"",
            ),
            (
                "MV154",
                number(1_673_397_250_123_000),
                "\"2023-01-11T00:34:10.123000Z\"",
            ),
        ],
    );
    check(
        &timestamp(3),
        DEBEZIUM,
        &[("MV157", number(1_673_397_250_010_000), "\"2023-01-11T00:34:10.010Z\"")],
    );
    check(
        &timestamp(5),
        DEBEZIUM,
        &[
            ("MV159", number(1_673_397_250_123_450), "\"2023-01-11T00:34:10.12345Z\""),
            ("MV160", number(1_673_397_250_123_000), "\"2023-01-11T00:34:10.12300Z\""),
            ("MV162", number(1_673_397_250_123_450), "\"2023-01-11T00:34:10.12345Z\""),
        ],
    );
    check(
        &timestamp(0),
        DEBEZIUM,
        &[
            ("MV161", number(1_673_397_250_000_000), "\"2023-01-11T00:34:10Z\""),
            ("MV194", number(946_684_800_000_000), "\"2000-01-01T00:00:00Z\""),
            ("MV196", number(1_718_454_896_000_000), "\"2024-06-15T12:34:56Z\""),
        ],
    );
}

#[test]
fn times_are_amounts_in_microseconds() {
    let cases = [
        ("MV99", 2, 64_264_770_000),
        ("MV107", 2, 60_000_000),
        ("MV115", 2, 1_864_264_780_000),
        ("MV116", 2, 1_864_264_770_000),
        ("MV117", 0, -47_690_000_000),
        ("MV118", 3, -2_638_800_001_000),
        ("MV119", 3, -7_199_001_000),
        ("MV120", 6, -3_020_398_999_999),
        ("MV121", 6, -1_238_000_000),
        ("MV123", 6, -3_661_000_000),
        ("MV124", 6, -3_660_000_000),
        ("MV125", 6, -3_600_000_000),
        ("MV126", 6, 0),
    ];
    let adaptive = with(r#""time":"adaptive""#);
    for (vector, precision, microseconds) in cases {
        for format in [DEBEZIUM, &adaptive] {
            let expected = microseconds.to_string();
            check(&time(precision), format, &[(vector, number(microseconds), &expected)]);
        }
    }
    for precision in [0, 3, 6] {
        let micro_time = json!({"type": "int64", "optional": false, "name": "io.debezium.time.MicroTime", "version": 1, "field": "v"});
        assert_eq!(schema(time(precision)), micro_time);
    }
}

#[test]
fn times_in_other_forms() {
    check(
        &time(6),
        "{}",
        &[
            ("MV120", number(-3_020_398_999_999), "\"-838:59:58.999999\""),
            ("MV121", number(-1_238_000_000), "\"-00:20:38.000000\""),
            ("least", number(-3_020_399_000_000), "\"-838:59:59.000000\""),
        ],
    );
    check(
        &time(2),
        "{}",
        &[("MV115", number(1_864_264_780_000), "\"517:51:04.78\"")],
    );
    check(
        &time(2),
        &with(r#""time":"isostring""#),
        &[("MV115", number(1_864_264_780_000), "\"517:51:04.78Z\"")],
    );
    check(
        &time(0),
        &with(r#""time":"nanoseconds""#),
        &[("MV117", number(-47_690_000_000), "-47690000000000")],
    );
    let structured = with(r#""time":"structured""#);
    check(
        &time(3),
        &structured,
        &[(
            "MV119",
            number(-7_199_001_000),
            r#"{"years":0,"months":0,"days":0,"hours":-1,"minutes":-59,"seconds":-59,"nanos":-1000000,"precision":3}"#,
        )],
    );
    assert_eq!(
        field(required("v", time(3)), &structured)["name"],
        "io.debezium.time.StructuredDuration"
    );
}

#[test]
fn decimals() {
    let (double, text) = (with(r#""decimal":"double""#), with(r#""decimal":"string""#));
    let cases = [
        ("MV60", numeric(3, 2), "1.33", "\"AIU=\"", "1.33"),
        ("MV61", numeric(4, 3), "-2.111", "\"98E=\"", "-2.111"),
        ("MV62", numeric(7, 5), "3.44400", "\"BUFQ\"", "3.444"),
        ("MV67", numeric(7, 0), "235", "\"AOs=\"", "235.0"),
        ("MV68", numeric(6, 0), "346", "\"AVo=\"", "346.0"),
        ("MV69", numeric(7, 2), "12345.67", "\"EtaH\"", "12345.67"),
    ];
    for (vector, logical_type, digits, precise, nearest) in cases {
        check(&logical_type, DEBEZIUM, &[(vector, string(digits), precise)]);
        check(&logical_type, &double, &[(vector, string(digits), nearest)]);
        let quoted = format!("\"{digits}\"");
        check(&logical_type, &text, &[(vector, string(digits), &quoted)]);
        check(&logical_type, "{}", &[(vector, string(digits), &quoted)]);
    }
    check(&numeric(7, 5), DEBEZIUM, &[("MV63", Datum::Null, "null")]);
}

#[test]
fn floats() {
    check(
        &LogicalType::Float64,
        DEBEZIUM,
        &[
            ("MV72", Datum::Float64(f64::from(30.12346_f32)), "30.12346076965332"),
            ("MV75", Datum::Float64(64.1), "64.1"),
        ],
    );
    check(
        &LogicalType::Float32,
        DEBEZIUM,
        &[
            ("MV74", Datum::Float32(64.1), "64.1"),
            ("MV76", Datum::Float32(64.1234), "64.1234"),
        ],
    );
}

#[test]
fn bytes() {
    let three = || Datum::Bytes(vec![1, 2, 3]);
    check(&LogicalType::Bytes, DEBEZIUM, &[("MV77", three(), "\"AQID\"")]);
    for (vector, mode, expected) in [
        ("MV78", "hex", "\"010203\""),
        ("MV79", "base64", "\"AQID\""),
        ("MV80", "base64_url_safe", "\"AQID\""),
    ] {
        let format = with(&format!(r#""binary":"{mode}""#));
        check(&LogicalType::Bytes, &format, &[(vector, three(), expected)]);
    }
    for (vector, hexadecimal, base64) in [
        ("MV81", "651aed08390f4893b2f136923e7b7400", "ZRrtCDkPSJOy8TaSPnt0AA=="),
        ("MV82", "651aed08390f4893b2f136923e7b74ab", "ZRrtCDkPSJOy8TaSPnt0qw=="),
        ("MV83", "651aed08390f4893b2f136923e7b7400", "ZRrtCDkPSJOy8TaSPnt0AA=="),
        ("MV84", "00000000000000000000000000000000", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ] {
        let value = || Datum::Bytes(unhex(hexadecimal));
        let (base64, hexadecimal) = (format!("\"{base64}\""), format!("\"{hexadecimal}\""));
        check(&LogicalType::Bytes, DEBEZIUM, &[(vector, value(), &base64)]);
        check(
            &LogicalType::Bytes,
            &with(r#""binary":"hex""#),
            &[(vector, value(), &hexadecimal)],
        );
    }
}

#[test]
fn enums_and_sets() {
    let letters = || symbols(&["a", "b", "c"]);
    let one = LogicalType::Text(TextKind::Enum(letters()));
    let many = LogicalType::Text(TextKind::Set(letters()));
    for format in ["{}", DEBEZIUM] {
        for letter in ["a", "b", "c", ""] {
            let quoted = format!("\"{letter}\"");
            check(&one, format, &[("MV85", string(letter), &quoted)]);
        }
        check(
            &many,
            format,
            &[
                ("MV86", string("a,b,c"), "\"a,b,c\""),
                ("MV87", string("a,b"), "\"a,b\""),
                ("MV88", string("a"), "\"a\""),
            ],
        );
    }
    assert_eq!(
        schema(many),
        json!({
            "type": "string",
            "optional": false,
            "name": "io.debezium.data.EnumSet",
            "version": 1,
            "parameters": {"allowed": "a,b,c"},
            "field": "v"
        })
    );
}

#[test]
fn what_separates_symbols_is_escaped_between_them() {
    let stations = symbols(&[
        "station",
        "post_office",
        "plane",
        "ahihi_dongok",
        "now",
        "test",
        "a,b",
        "c,'d",
        "g,'h",
    ]);
    let stations = LogicalType::Text(TextKind::Enum(stations));
    assert_eq!(
        schema(stations.clone())["parameters"]["allowed"],
        r"station,post_office,plane,ahihi_dongok,now,test,a\,b,c\,'d,g\,'h",
        "MV89"
    );
    // The value itself is the symbol.
    check(&stations, DEBEZIUM, &[("MV89", string("a,b"), "\"a,b\"")]);
    let slashes = LogicalType::Text(TextKind::Set(symbols(&[r"a\", "b"])));
    assert_eq!(schema(slashes)["parameters"]["allowed"], r"a\\,b");
}

#[test]
fn bits_fill_whole_bytes() {
    let long = format!("{:064b}", 23_989_979);
    check(&bits(2), DEBEZIUM, &[("MV92", string("10"), "\"Ag==\"")]);
    check(&bits(64), DEBEZIUM, &[("MV94", string(&long), "\"2w5uAQAAAAA=\"")]);
    check(&bits(2), "{}", &[("MV92", string("10"), "\"10\"")]);
    check(&bits(1), DEBEZIUM, &[("one", string("1"), "true")]);
    let default = format!("{:025b}", 0b1_0110_0001_0000_1111);
    assert_eq!(default_of(bits(25), string(&default)), json!("D2EBAA=="), "MV96");
    assert_eq!(schema(bits(64))["parameters"], json!({"length": "64"}));
}

#[test]
fn json_is_text_that_is_not_touched() {
    let documents = [
        ("MV128", "[1,2]"),
        ("MV129", r#"{"key1":"value1","key2":"value2"}"#),
        ("MV130", r#"["a","b",1]"#),
        (
            "MV131",
            r#"{"k1":"v1","k2":{"k21":"v21","k22":"v22"},"k3":["a","b",1]}"#,
        ),
        ("MV133", r#""scalar string""#),
        ("MV134", "true"),
        ("MV135", "-1"),
        ("MV136", "-32768"),
        ("MV137", "-2147483649"),
        ("MV138", "18446744073709551616"),
        ("MV139", "3.14"),
        ("MV141", r#""2015-01-15 23:24:25""#),
        ("MV142", r#""2015-01-15 23:24:25.12""#),
        ("MV143", r#""2015-01-15 23:24:25.024""#),
        ("MV144", r#""23:24:25""#),
        ("MV146", r#""2015-01-15""#),
        ("MV147", r#""2015-01-15 23:24:25.0237""#),
        ("MV148", "1421364265"),
        ("MV149", r#"{"type":"Point","coordinates":[1.0,1.0]}"#),
        ("MV150", r#""yv4=""#),
        ("MV151", r#""yv66vg==""#),
    ];
    let document = LogicalType::Text(TextKind::Json);
    for (vector, text) in documents {
        let expected = serde_json::to_string(text).unwrap();
        for format in ["{}", DEBEZIUM] {
            check(&document, format, &[(vector, string(text), &expected)]);
        }
    }
    assert_eq!(schema(document)["name"], "io.debezium.data.Json");
}

/// EWKB with a SRID, from WKB of the least significant byte first.
fn extended(wkb: &[u8], srid: u32) -> Vec<u8> {
    let (order_and_type, rest) = wkb.split_at(5);
    let mut ewkb = order_and_type.to_vec();
    ewkb[4] |= 0x20;
    ewkb.extend(srid.to_le_bytes());
    ewkb.extend(rest);
    ewkb
}

#[test]
fn geometries() {
    let polygon = unhex(
        "0103000000010000000400000000000000000000000000000000000000000000000000F03F000000000000F03F000000000000F03F000000000000000000000000000000000000000000000000",
    );
    let collection = unhex(
        "0107000000020000000101000000000000000000F03F000000000000F03F01020000000200000000000000000000000000000000000000000000000000F03F000000000000F03F",
    );
    let line = unhex("01020000000200000000000000000000000000000000000000000000000000F03F000000000000F03F");
    let point = unhex("0101000000e3a59bc420f01b4015a143a69d383240");
    for format in ["{}", DEBEZIUM] {
        check(
            &LogicalType::Geometry,
            format,
            &[
                (
                    "MV165",
                    Datum::Bytes(polygon.clone()),
                    r#"{"wkb":"AQMAAAABAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADwPwAAAAAAAPA/AAAAAAAA8D8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","srid":null,"extensions":null}"#,
                ),
                (
                    "MV168",
                    Datum::Bytes(extended(&collection, 4326)),
                    r#"{"wkb":"AQcAAAACAAAAAQEAAAAAAAAAAADwPwAAAAAAAPA/AQIAAAACAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPA/AAAAAAAA8D8=","srid":4326,"extensions":null}"#,
                ),
                (
                    "MV169",
                    Datum::Bytes(line.clone()),
                    r#"{"wkb":"AQIAAAACAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPA/AAAAAAAA8D8=","srid":null,"extensions":null}"#,
                ),
                (
                    "MV170",
                    Datum::Bytes(point.clone()),
                    r#"{"wkb":"AQEAAADjpZvEIPAbQBWhQ6adODJA","srid":null,"extensions":null}"#,
                ),
            ],
        );
    }
}

#[test]
fn points() {
    let point = |x, y, srid: Option<i64>| {
        let numbers = [x, y].map(Datum::Float64).into_iter();
        Datum::List(numbers.chain(srid.map(Datum::Int)).collect())
    };
    check(
        &LogicalType::Point,
        DEBEZIUM,
        &[
            (
                "MV166",
                point(1.0, 1.0, None),
                r#"{"x":1.0,"y":1.0,"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAPA/","srid":null}"#,
            ),
            (
                "MV167",
                point(3.221_244_47, 8.255_545_54, Some(4326)),
                r#"{"x":3.22124447,"y":8.25554554,"wkb":"AQEAAAAbkRjSG8UJQJjgcd3WgiBA","srid":4326}"#,
            ),
            (
                "MV170",
                point(6.9845, 18.221_155_54, None),
                r#"{"x":6.9845,"y":18.22115554,"wkb":"AQEAAADjpZvEIPAbQBWhQ6adODJA","srid":null}"#,
            ),
        ],
    );
    check(
        &LogicalType::Point,
        "{}",
        &[
            ("MV166", point(1.0, 1.0, None), r#"{"x":1.0,"y":1.0,"srid":null}"#),
            ("MV167", point(1.0, 2.0, Some(4326)), r#"{"x":1.0,"y":2.0,"srid":4326}"#),
        ],
    );
}

#[test]
fn vectors() {
    for (numbers, expected) in [
        ([1.1, 2.2], "[1.1,2.2]"),
        ([11.5, 22.6], "[11.5,22.6]"),
        ([31.0, 32.0], "[31.0,32.0]"),
    ] {
        let vector = Datum::List(numbers.map(Datum::Float32).to_vec());
        check(&LogicalType::FloatVector, DEBEZIUM, &[("MV171", vector, expected)]);
    }
    assert_eq!(schema(LogicalType::FloatVector)["name"], "io.debezium.data.FloatVector");
}

#[test]
fn uuids_of_mariadb() {
    let uuid = LogicalType::Text(TextKind::Uuid);
    let text = "123e4567-e89b-12d3-a456-426655440000";
    check(&uuid, DEBEZIUM, &[("MV197", string(text), &format!("\"{text}\""))]);
    assert_eq!(schema(uuid)["name"], "io.debezium.data.Uuid");
}

#[test]
fn defaults() {
    for (vector, logical_type, default, expected) in [
        ("MV63", numeric(7, 5), string("15.28000"), json!("F1DA")),
        ("MV64", numeric(65, 18), string("0.000000000000000000"), json!("AA==")),
        ("MV108", timestamp(0), number(0), json!("1970-01-01T00:00:00Z")),
        // Debezium has no fraction there, whatever the column declares.
        (
            "the present moment",
            timestamp(6),
            number(0),
            json!("1970-01-01T00:00:00Z"),
        ),
        ("MV109", timestamp(0), Datum::Null, Value::Null),
        ("MV110", LogicalType::Date, number(0), json!(0)),
        ("MV112", datetime(0), number(0), json!(0)),
        ("MV113", time(0), number(3_600_000_000), json!(3_600_000_000_i64)),
        ("MV172", LogicalType::Date, number(2426), json!(2426)),
        (
            "MV174",
            datetime(1),
            number(1_514_937_610_700_000),
            json!(1_514_937_610_700_i64),
        ),
        (
            "MV175",
            datetime(6),
            number(1_514_937_610_123_456),
            json!(1_514_937_610_123_456_i64),
        ),
        ("MV177", time(0), number(0), json!(0)),
        ("MV178", time(1), number(82_800_700_000), json!(82_800_700_000_i64)),
        ("MV179", time(6), number(82_800_123_456), json!(82_800_123_456_i64)),
        ("MV180", time(1), number(-85_556_700_000), json!(-85_556_700_000_i64)),
        ("MV181", time(6), number(442_800_123_456), json!(442_800_123_456_i64)),
        ("MV182", timestamp(0), Datum::Null, Value::Null),
        ("MV183", numeric(3, 2), string("1.23"), json!("ew==")),
        ("MV184", numeric(4, 3), string("2.321"), json!("CRE=")),
        ("MV185", numeric(7, 5), string("12.67800"), json!("E1hY")),
        ("MV186", LogicalType::Float32, Datum::Float32(0.0), json!(0.0)),
        ("MV189", LogicalType::Int16, number(10), json!(10)),
        ("MV190", LogicalType::Int16, number(5), json!(5)),
    ] {
        assert_eq!(default_of(logical_type, default), expected, "{vector}");
    }
}
