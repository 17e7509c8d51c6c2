use std::sync::Arc;

use tailrace_core::batch::ChangeBatch;
use tailrace_core::position::{Position, Progress};

use super::*;

/// A batch whose only row has these cells, pushed by `push`.
fn texts(logical_type: &LogicalType, push: impl FnOnce(&mut ChangeBatch)) -> (String, String) {
    let mut batch = ChangeBatch::new(Arc::from("t"), Progress::at(Position::new("0")));
    batch.begin_row().unwrap();
    push(&mut batch);
    let row = batch.end_row().unwrap();
    let value = batch.row(row).get(0);
    let (mut text, mut json) = (String::new(), String::new());
    Plain::of(logical_type, value).write_text(logical_type, &mut text);
    write_json(logical_type, value, &mut json);
    (text, json)
}

fn int(logical_type: &LogicalType, value: i64) -> String {
    texts(logical_type, |batch| batch.push_int(value)).0
}

#[test]
fn dates_and_times_are_iso() {
    assert_eq!(int(&LogicalType::Date, 0), "1970-01-01");
    assert_eq!(int(&LogicalType::Date, 19_782), "2024-02-29");
    assert_eq!(int(&LogicalType::Date, -719_528), "0000-01-01");
    assert_eq!(int(&LogicalType::Date, -719_529), "-0001-12-31");
    assert_eq!(int(&LogicalType::Date, 2_932_897), "+10000-01-01");
    assert_eq!(int(&LogicalType::Date, i64::from(i32::MIN)), "-infinity");
    let time = LogicalType::Time { precision: 6 };
    assert_eq!(int(&time, -3_020_399_000_001), "-838:59:59.000001");
    assert_eq!(int(&time, 86_400_000_000), "24:00:00");
    let zoned = LogicalType::TimestampTz { precision: 6 };
    assert_eq!(int(&zoned, -1), "1969-12-31T23:59:59.999999Z");
    assert_eq!(int(&zoned, i64::MAX), "infinity");
    assert_eq!(
        int(&LogicalType::Timestamp { precision: 6 }, 1_000_000),
        "1970-01-01T00:00:01"
    );
}

#[test]
fn intervals_are_iso() {
    let written = |months, days, microseconds| {
        let interval = Interval {
            months,
            days,
            microseconds,
        };
        texts(&LogicalType::Interval, |batch| batch.push_interval(interval).unwrap()).0
    };
    assert_eq!(written(14, 3, 14_706_780_000), "P1Y2M3DT4H5M6.78S");
    assert_eq!(written(0, 0, 0), "PT0S");
    assert_eq!(written(0, 0, -1), "PT-0.000001S");
    assert_eq!(written(-1, 2, 0), "P-1M2D");
    assert_eq!(written(0, 0, -3_600_000_000), "PT-1H");
}

#[test]
fn lists_are_json() {
    let array = LogicalType::Array(Box::new(LogicalType::Decimal {
        precision: None,
        scale: None,
    }));
    let (text, json) = texts(&array, |batch| {
        batch.begin_list();
        batch.begin_list();
        batch.push_text("-.50").unwrap();
        batch.push_null();
        batch.end_list().unwrap();
        batch.begin_list();
        batch.push_text("NaN").unwrap();
        batch.push_text("00123456789012345678901234567890").unwrap();
        batch.end_list().unwrap();
        batch.end_list().unwrap();
    });
    assert_eq!(text, r#"[[-0.50,null],["NaN",123456789012345678901234567890]]"#);
    assert_eq!(json, text);
    let map = texts(&LogicalType::Map, |batch| {
        batch.begin_list();
        for text in ["a\"b", "1"] {
            batch.push_text(text).unwrap();
        }
        batch.push_text("n").unwrap();
        batch.push_null();
        batch.end_list().unwrap();
    });
    assert_eq!(map.1, r#"{"a\"b":"1","n":null}"#);
    let points = LogicalType::Array(Box::new(LogicalType::Point));
    let points = texts(&points, |batch| {
        batch.begin_list();
        batch.begin_list();
        batch.push_float64(1.5);
        batch.push_float64(-2.0);
        batch.end_list().unwrap();
        batch.end_list().unwrap();
    });
    assert_eq!(points.1, "[[1.5,-2]]");
    let sparse = texts(&LogicalType::SparseVector, |batch| {
        batch.begin_list();
        batch.push_int(5);
        batch.push_int(2);
        batch.push_float32(0.5);
        batch.end_list().unwrap();
    });
    assert_eq!(sparse.1, r#"{"dimensions":5,"elements":{"2":0.5}}"#);
}

#[test]
fn texts_are_quoted_in_json_alone() {
    let plain = LogicalType::Text(TextKind::Plain);
    let (text, json) = texts(&plain, |batch| batch.push_text("a\"b").unwrap());
    assert_eq!((text.as_str(), json.as_str()), ("a\"b", r#""a\"b""#));
    let document = texts(&LogicalType::Text(TextKind::Json), |batch| {
        batch.push_text("[1]").unwrap()
    });
    assert_eq!(document.1, "[1]");
    let (text, json) = texts(&LogicalType::Bytes, |batch| batch.push_bytes(&[0, 0xff]).unwrap());
    assert_eq!((text.as_str(), json.as_str()), ("00ff", "\"00ff\""));
    let (text, json) = texts(&LogicalType::Float64, |batch| batch.push_float64(f64::NAN));
    assert_eq!((text.as_str(), json.as_str()), ("NaN", "\"NaN\""));
}

#[test]
fn digits_that_mean_something() {
    assert_eq!(digits("-0012.3400"), Some(("12", "34")));
    assert_eq!(digits("0"), Some(("", "")));
    assert_eq!(digits(".5"), Some(("", "5")));
    assert_eq!(digits("1e5"), None);
    assert_eq!(digits(""), None);
    assert_eq!(digits("-"), None);
    assert_eq!(single(0.5), Some(0.5));
    assert_eq!(single(0.1), None);
    assert_eq!(whole(-3.0), Some(-3));
    assert_eq!(whole(1.5), None);
    assert_eq!(whole(1e300), None);
}
