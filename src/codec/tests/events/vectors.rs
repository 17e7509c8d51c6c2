//! The PostgreSQL rows of the type vectors: what a decoder hands over, what options are set, what is published.
//! Numbers are those of the collection of vectors (`PV…`), most of them observed from Debezium.

use std::sync::Arc;

use tailrace_core::value::{Datum, LogicalType, ShapeKind, TextKind};

use crate::reading::vectors::comes_back;
use crate::support::*;

pub(crate) const DEBEZIUM: &str = r#"{"envelope":"debezium"}"#;

pub(crate) fn with(option: &str) -> String {
    format!(r#"{{"envelope":"debezium",{option}}}"#)
}

/// Checks cases of (vector, value, published) of one type under one format, and that each value comes back.
pub(crate) fn check(logical_type: &LogicalType, format: &str, cases: &[(&str, Datum, &str)]) {
    for (vector, datum, expected) in cases {
        assert_eq!(
            published(logical_type.clone(), datum.clone(), format),
            *expected,
            "{vector}"
        );
        comes_back(logical_type, datum, &settings(format));
    }
}

pub(crate) fn number(value: i64) -> Datum {
    Datum::Int(value)
}

pub(crate) fn string(value: &str) -> Datum {
    Datum::Text(value.to_owned())
}

fn strings(values: &[&str]) -> Datum {
    Datum::List(values.iter().map(|value| string(value)).collect())
}

pub(crate) fn numbers(values: &[i64]) -> Datum {
    Datum::List(values.iter().copied().map(Datum::Int).collect())
}

fn doubles(values: &[f64]) -> Datum {
    Datum::List(values.iter().copied().map(Datum::Float64).collect())
}

pub(crate) fn array(element: LogicalType) -> LogicalType {
    LogicalType::Array(Box::new(element))
}

pub(crate) fn numeric(precision: u32, scale: u32) -> LogicalType {
    LogicalType::Decimal {
        precision: Some(precision),
        scale: Some(scale),
    }
}

pub(crate) const UNLIMITED: LogicalType = LogicalType::Decimal {
    precision: None,
    scale: None,
};

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn integers_floats_and_booleans() {
    check(&LogicalType::Int16, DEBEZIUM, &[("PV1", number(1), "1")]);
    check(&LogicalType::Int32, DEBEZIUM, &[("PV2", number(123_456), "123456")]);
    check(
        &LogicalType::Int64,
        DEBEZIUM,
        &[
            ("PV3", number(1_234_567_890_123), "1234567890123"),
            ("PV15", number(123), "123"),
            ("PV17", number(4_000_000_000), "4000000000"),
        ],
    );
    check(
        &LogicalType::Float32,
        DEBEZIUM,
        &[
            ("PV4", Datum::Float32(3.3), "3.3"),
            ("PV6", Datum::Float32(3.0), "3.0"),
            ("PV8", Datum::Float32(f32::NAN), "\"NaN\""),
            ("PV10", Datum::Float32(f32::INFINITY), "\"Infinity\""),
            ("PV12", Datum::Float32(f32::NEG_INFINITY), "\"-Infinity\""),
        ],
    );
    check(
        &LogicalType::Float64,
        DEBEZIUM,
        &[
            ("PV5", Datum::Float64(4.44), "4.44"),
            ("PV9", Datum::Float64(f64::NAN), "\"NaN\""),
            ("PV11", Datum::Float64(f64::INFINITY), "\"Infinity\""),
        ],
    );
    check(
        &LogicalType::Boolean,
        DEBEZIUM,
        &[("PV16", Datum::Boolean(true), "true")],
    );
}

#[test]
fn precise_decimals() {
    check(
        &numeric(3, 2),
        DEBEZIUM,
        &[
            ("PV18", string("1.10"), "\"bg==\""),
            ("PV23", string("1.00"), "\"ZA==\""),
        ],
    );
    check(
        &numeric(4, 0),
        DEBEZIUM,
        &[("PV19", string("10"), "\"Cg==\""), ("PV22", string("22"), "\"Fg==\"")],
    );
    check(
        &numeric(6, 4),
        DEBEZIUM,
        &[
            ("PV21", string("22.2200"), "\"A2P4\""),
            ("PV24", string("22.0000"), "\"A1tg\""),
        ],
    );
    check(
        &UNLIMITED,
        DEBEZIUM,
        &[
            ("PV26", string("22.2222"), r#"{"scale":4,"value":"A2QO"}"#),
            ("PV27", string("10"), r#"{"scale":0,"value":"Cg=="}"#),
            ("PV28", string("22"), r#"{"scale":0,"value":"Fg=="}"#),
        ],
    );
}

#[test]
fn decimals_as_strings_and_doubles() {
    let strings = with(r#""decimal":"string""#);
    check(
        &UNLIMITED,
        &strings,
        &[
            ("PV29", string("1.10"), "\"1.10\""),
            ("PV30", string("10"), "\"10\""),
            ("PV31", string("10.1111"), "\"10.1111\""),
            ("PV32", string("22.2200"), "\"22.2200\""),
            ("PV33", string("22"), "\"22\""),
            ("PV35", string("1.00"), "\"1.00\""),
            ("PV37", string("22.0000"), "\"22.0000\""),
            ("PV39", string("NaN"), "\"NAN\""),
            ("PV40", string("Infinity"), "\"POSITIVE_INFINITY\""),
            ("PV41", string("-Infinity"), "\"NEGATIVE_INFINITY\""),
        ],
    );
    check(
        &UNLIMITED,
        "{}",
        &[
            ("PV39", string("NaN"), "\"NaN\""),
            ("PV41", string("-Infinity"), "\"-Infinity\""),
        ],
    );
    let double = with(r#""decimal":"double""#);
    check(
        &numeric(6, 4),
        &double,
        &[
            ("PV42", string("1.10"), "1.1"),
            ("PV43", string("10"), "10.0"),
            ("PV44", string("10.1111"), "10.1111"),
            ("PV45", string("22.2200"), "22.22"),
            ("PV46", string("22"), "22.0"),
            ("PV47", string("22.2222"), "22.2222"),
            ("PV48", string("NaN"), "\"NaN\""),
            ("PV212", string("1234.12"), "1234.12"),
        ],
    );
}

#[test]
fn money() {
    check(
        &LogicalType::Money,
        DEBEZIUM,
        &[
            ("PV75", string("1234.11"), "\"AeIT\""),
            ("PV76", string("-1234.11"), "\"/h3t\""),
            ("PV79", string("-92233720368547758.08"), "\"gAAAAAAAAAA=\""),
            ("PV80", string("-1.50"), "\"/2o=\""),
            ("PV81", string("0.00"), "\"AA==\""),
        ],
    );
    check(
        &LogicalType::Money,
        &with(r#""money_fraction_digits":1"#),
        &[("PV78", string("123.46"), "\"BNM=\"")],
    );
    let strings = with(r#""decimal":"string""#);
    check(
        &LogicalType::Money,
        &strings,
        &[
            ("PV79", string("92233720368547758.07"), "\"92233720368547758.07\""),
            ("PV81", string("0.00"), "\"0.00\""),
        ],
    );
    let double = with(r#""decimal":"double""#);
    check(
        &LogicalType::Money,
        &double,
        &[
            ("PV79", string("92233720368547758.07"), "9.223372036854776E16"),
            ("PV81", string("0.00"), "0.0"),
        ],
    );
}

#[test]
fn text_of_every_kind_is_verbatim() {
    let kinds = [
        TextKind::Plain,
        TextKind::Json,
        TextKind::Xml,
        TextKind::Uuid,
        TextKind::Ltree,
        TextKind::TsVector,
        TextKind::Range,
        TextKind::Network,
        TextKind::Opaque,
        TextKind::Enum(Arc::from(["V1".to_owned(), "V2".to_owned()])),
    ];
    for kind in kinds {
        for format in ["{}", DEBEZIUM] {
            check(
                &LogicalType::Text(kind.clone()),
                format,
                &[
                    ("PV49", string("žš"), "\"žš\""),
                    ("PV50", string("bb"), "\"bb\""),
                    ("PV51", string("cdef"), "\"cdef\""),
                    ("PV52", string("abc"), "\"abc\""),
                    ("PV53", string("some text"), "\"some text\""),
                    ("PV54", string("Hello World"), "\"Hello World\""),
                    ("PV72", string("192.168.0.0/24"), "\"192.168.0.0/24\""),
                    ("PV73", string("08:00:2b:01:02:03"), "\"08:00:2b:01:02:03\""),
                    ("PV165", string("[2019-03-31,infinity)"), "\"[2019-03-31,infinity)\""),
                    ("PV167", string("[1000,6000)"), "\"[1000,6000)\""),
                    ("PV195", string("Top.Science"), "\"Top.Science\""),
                    ("PV69", string("'direct':6 'insert':8"), "\"'direct':6 'insert':8\""),
                    ("PV70", string("192.168.2.0/12"), "\"192.168.2.0/12\""),
                    ("PV158", string(r#"{"bar": "baz"}"#), r#""{\"bar\": \"baz\"}""#),
                    (
                        "PV160",
                        string("<foo>bar</foo><foo>bar</foo>"),
                        "\"<foo>bar</foo><foo>bar</foo>\"",
                    ),
                    (
                        "PV161",
                        string("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
                        "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"",
                    ),
                    (
                        "PV163",
                        string("[\"2019-03-31 15:30:00\",infinity)"),
                        r#""[\"2019-03-31 15:30:00\",infinity)""#,
                    ),
                    ("PV197", string("0-393-04002-X"), "\"0-393-04002-X\""),
                    ("PV198", string("V1"), "\"V1\""),
                ],
            );
        }
    }
}

#[test]
fn bytes_in_each_mode() {
    let bytes = || Datum::Bytes(vec![1, 2, 3]);
    let list = || Datum::List(vec![Datum::Bytes(vec![0, 1, 2]), Datum::Bytes(vec![3, 4, 5])]);
    check(&LogicalType::Bytes, DEBEZIUM, &[("PV57", bytes(), "\"AQID\"")]);
    check(
        &array(LogicalType::Bytes),
        DEBEZIUM,
        &[("PV58", list(), r#"["AAEC","AwQF"]"#)],
    );
    let zeros = || Datum::Bytes(vec![0, 1, 2]);
    let others = || Datum::Bytes(vec![3, 4, 5]);
    check(
        &LogicalType::Bytes,
        DEBEZIUM,
        &[("PV55", zeros(), "\"AAEC\""), ("PV56", others(), "\"AwQF\"")],
    );
    let hex = with(r#""binary":"hex""#);
    check(&LogicalType::Bytes, &hex, &[("PV59", bytes(), "\"010203\"")]);
    check(
        &array(LogicalType::Bytes),
        &hex,
        &[("PV60", list(), r#"["000102","030405"]"#)],
    );
    let base64 = with(r#""binary":"base64""#);
    check(
        &array(LogicalType::Bytes),
        &base64,
        &[("PV62", list(), r#"["AAEC","AwQF"]"#)],
    );
    let url_safe = with(r#""binary":"base64_url_safe""#);
    check(&LogicalType::Bytes, &url_safe, &[("PV63", bytes(), "\"AQID\"")]);
    check(
        &array(LogicalType::Bytes),
        &url_safe,
        &[("PV64", list(), r#"["AAEC","AwQF"]"#)],
    );
}

#[test]
fn types_without_a_mapping_as_bytes() {
    let tsquery = || string("'fat' <-> 'cat'");
    let opaque = LogicalType::Text(TextKind::Opaque);
    let mode = |binary: &str| with(&format!(r#""opaque":"binary","binary":"{binary}""#));
    check(
        &opaque,
        &mode("bytes"),
        &[("PV65", tsquery(), "\"J2ZhdCcgPC0+ICdjYXQn\"")],
    );
    check(
        &opaque,
        &mode("hex"),
        &[("PV66", tsquery(), "\"2766617427203c2d3e202763617427\"")],
    );
    check(
        &opaque,
        &mode("base64"),
        &[("PV67", tsquery(), "\"J2ZhdCcgPC0+ICdjYXQn\"")],
    );
    check(
        &opaque,
        &mode("base64_url_safe"),
        &[("PV68", tsquery(), "\"J2ZhdCcgPC0-ICdjYXQn\"")],
    );
    check(&opaque, DEBEZIUM, &[("as text", tsquery(), "\"'fat' <-> 'cat'\"")]);
}

#[test]
fn bits() {
    let of = |length| LogicalType::Bits { length };
    check(
        &of(Some(1)),
        DEBEZIUM,
        &[("PV83", string("1"), "true"), ("PV86", string("0"), "false")],
    );
    check(&of(Some(2)), DEBEZIUM, &[("PV84", string("11"), "\"Aw==\"")]);
    check(&of(Some(7)), DEBEZIUM, &[("PV85", string("1000000"), "\"QA==\"")]);
    check(&of(None), DEBEZIUM, &[("PV90", string("101"), "\"BQ==\"")]);
    check(&of(Some(3)), DEBEZIUM, &[("PV92", string("101"), "\"BQ==\"")]);
    check(&of(Some(3)), "{}", &[("entity", string("101"), "\"101\"")]);
}

#[test]
fn arrays() {
    check(
        &array(LogicalType::Int32),
        DEBEZIUM,
        &[
            ("PV171", numbers(&[1, 2, 3]), "[1,2,3]"),
            ("PV189", Datum::Null, "null"),
        ],
    );
    check(
        &array(LogicalType::Int64),
        DEBEZIUM,
        &[
            ("PV172", numbers(&[1_550_166_368_505_037_572]), "[1550166368505037572]"),
            ("PV185", numbers(&[3, 4_000_000_000]), "[3,4000000000]"),
        ],
    );
    check(
        &array(TEXT),
        DEBEZIUM,
        &[
            (
                "PV174",
                strings(&["cone      ", "ctwo      "]),
                r#"["cone      ","ctwo      "]"#,
            ),
            ("PV179", strings(&["four", "five", "six"]), r#"["four","five","six"]"#),
            ("bounds", string("[0:1]={7,8}"), "\"[0:1]={7,8}\""),
        ],
    );
    check(
        &array(LogicalType::Text(TextKind::Range)),
        DEBEZIUM,
        &[
            ("PV186", strings(&["[1,6)", "[1,4)"]), r#"["[1,6)","[1,4)"]"#),
            ("PV187", strings(&["[5.3,6.3)"]), r#"["[5.3,6.3)"]"#),
        ],
    );
    let nested = Datum::List(vec![numbers(&[1, 2]), numbers(&[3, 4])]);
    check(&array(LogicalType::Int32), "{}", &[("nested", nested, "[[1,2],[3,4]]")]);
    let points = Datum::List(vec![doubles(&[1.0, 2.0]), Datum::Null]);
    check(
        &array(LogicalType::Point),
        "{}",
        &[("points", points, r#"[{"x":1.0,"y":2.0},null]"#)],
    );
    let grid = Datum::List(vec![Datum::List(vec![doubles(&[1.0, 2.0])])]);
    check(
        &array(LogicalType::Point),
        "{}",
        &[("nested points", grid, r#"[[{"x":1.0,"y":2.0}]]"#)],
    );
}

#[test]
fn key_value_columns() {
    let pairs = |pairs: &[(&str, Option<&str>)]| {
        let cell = |value: Option<&str>| value.map_or(Datum::Null, string);
        Datum::List(
            pairs
                .iter()
                .flat_map(|(key, value)| [string(key), cell(*value)])
                .collect(),
        )
    };
    check(
        &LogicalType::Map,
        DEBEZIUM,
        &[
            ("PV190", pairs(&[("key", Some("val"))]), r#""{\"key\":\"val\"}""#),
            (
                "PV191",
                pairs(&[("key1", Some("val1")), ("key2", Some("val2"))]),
                r#""{\"key1\":\"val1\",\"key2\":\"val2\"}""#,
            ),
            (
                "PV192",
                pairs(&[("key1", Some("val1")), ("key2", None)]),
                r#""{\"key1\":\"val1\",\"key2\":null}""#,
            ),
            (
                "quotes",
                pairs(&[("a\"b", Some("c\\d\n"))]),
                r#""{\"a\\\"b\":\"c\\\\d\\n\"}""#,
            ),
        ],
    );
    check(
        &LogicalType::Map,
        &with(r#""hstore":"map""#),
        &[(
            "PV192",
            pairs(&[("key1", Some("val1")), ("key2", None)]),
            r#"{"key1":"val1","key2":null}"#,
        )],
    );
    let list = Datum::List(vec![
        pairs(&[("key5", None), ("key4", Some("val4"))]),
        pairs(&[("key6", Some("val6"))]),
    ]);
    let expected = r#"["{\"key5\":null,\"key4\":\"val4\"}","{\"key6\":\"val6\"}"]"#;
    check(&array(LogicalType::Map), DEBEZIUM, &[("PV194", list, expected)]);
}

#[test]
fn vectors() {
    check(
        &LogicalType::DoubleVector,
        DEBEZIUM,
        &[("PV199", doubles(&[1.0, 2.0, 3.0]), "[1.0,2.0,3.0]")],
    );
    let halves = Datum::List([101.0, 102.0, 103.0].map(Datum::Float32).to_vec());
    check(
        &LogicalType::FloatVector,
        DEBEZIUM,
        &[("PV200", halves, "[101.0,102.0,103.0]")],
    );
    let sparse = || {
        Datum::List(vec![
            number(3000),
            number(1),
            Datum::Float64(201.0),
            number(9),
            Datum::Float64(209.0),
        ])
    };
    check(
        &LogicalType::SparseVector,
        DEBEZIUM,
        &[(
            "PV201",
            sparse(),
            r#"{"dimensions":3000,"vector":[[1,201.0],[9,209.0]]}"#,
        )],
    );
    check(
        &LogicalType::SparseVector,
        "{}",
        &[(
            "PV201",
            sparse(),
            r#"{"dimensions":3000,"vector":{"1":201.0,"9":209.0}}"#,
        )],
    );
}

#[test]
fn geometries() {
    let ewkb = Datum::Bytes(unhex("0101000020730C00001C7C613255DE6540787AA52C435C42C0"));
    let expected = r#"{"wkb":"AQEAACBzDAAAHHxhMlXeZUB4eqUsQ1xCwA==","srid":3187,"extensions":null}"#;
    check(&LogicalType::Geometry, DEBEZIUM, &[("PV202", ewkb, expected)]);
    let ewkb = Datum::Bytes(unhex(
        "0105000020E610000001000000010200000002000000A779C7293A2465400B462575025A46C0C66D3480B7FC6440C3D32B65195246C0",
    ));
    let expected = r#"{"wkb":"AQUAACDmEAAAAQAAAAECAAAAAgAAAKd5xyk6JGVAC0YldQJaRsDGbTSAt/xkQMPTK2UZUkbA","srid":4326}"#;
    check(&LogicalType::Geography, DEBEZIUM, &[("PV203", ewkb, expected)]);
    let empty = Datum::List(vec![Datum::Bytes(unhex("010700000000000000"))]);
    check(
        &array(LogicalType::Geometry),
        DEBEZIUM,
        &[(
            "PV204",
            empty,
            r#"[{"wkb":"AQcAAAAAAAAA","srid":null,"extensions":null}]"#,
        )],
    );
}

#[test]
fn figures() {
    let figure = |wkb: &str, closed| Datum::List(vec![Datum::Bytes(unhex(wkb)), Datum::Boolean(closed)]);
    let line = "010200000002000000000000000000000000000000000000000000000000000000000000000000f03f";
    let wkb = "AQIAAAACAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA8D8=";
    let shape = LogicalType::Shape;
    let expected = |extensions: &str| format!(r#"{{"wkb":"{wkb}","srid":null,"extensions":{extensions}}}"#);
    check(
        &shape(ShapeKind::LineSegment),
        DEBEZIUM,
        &[("PV207", figure(line, false), &expected(r#"{"type":"lseg"}"#))],
    );
    check(
        &shape(ShapeKind::Path),
        DEBEZIUM,
        &[(
            "PV208",
            figure(line, true),
            &expected(r#"{"type":"path","closed":"true"}"#),
        )],
    );
    check(
        &shape(ShapeKind::Path),
        DEBEZIUM,
        &[(
            "open",
            figure(line, false),
            &expected(r#"{"type":"path","closed":"false"}"#),
        )],
    );
    check(
        &shape(ShapeKind::Polygon),
        DEBEZIUM,
        &[("PV209", figure(line, true), &expected(r#"{"type":"polygon"}"#))],
    );
    check(
        &shape(ShapeKind::Box),
        DEBEZIUM,
        &[("box", figure(line, true), &expected(r#"{"type":"box"}"#))],
    );
    let circle = r#"{"center":{"x":10.0,"y":4.0,"wkb":"AQEAAAAAAAAAAAAkQAAAAAAAABBA","srid":null},"radius":10.0}"#;
    check(
        &LogicalType::Circle,
        DEBEZIUM,
        &[("PV210", doubles(&[10.0, 4.0, 10.0]), circle)],
    );
    check(
        &LogicalType::Circle,
        "{}",
        &[(
            "PV210",
            doubles(&[10.0, 4.0, 10.0]),
            r#"{"center":{"x":10.0,"y":4.0},"radius":10.0}"#,
        )],
    );
    check(
        &LogicalType::Line,
        DEBEZIUM,
        &[("line", doubles(&[-1.0, 1.0, 0.5]), r#"{"a":-1.0,"b":1.0,"c":0.5}"#)],
    );
    check(
        &LogicalType::Point,
        DEBEZIUM,
        &[(
            "point",
            doubles(&[10.0, 4.0]),
            r#"{"x":10.0,"y":4.0,"wkb":"AQEAAAAAAAAAAAAkQAAAAAAAABBA","srid":null}"#,
        )],
    );
}

#[test]
fn a_polygon_of_postgis() {
    let wkb = concat!(
        "01030000000100000005000000B81E85EB51D0644052B81E85EB5147C0713D0AD7A350664052B81E85EB5147C0713D0AD7A3506640",
        "9A999999993941C0B81E85EB51D064409A999999993941C0B81E85EB51D0644052B81E85EB5147C0"
    );
    let json = published(LogicalType::Geometry, Datum::Bytes(unhex(wkb)), DEBEZIUM);
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(read["srid"], serde_json::Value::Null, "PV205");
    assert_eq!(read["wkb"].as_str().unwrap().len(), 124);
}
