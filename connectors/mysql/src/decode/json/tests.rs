//! Documents from their binary form, from their differences and from the server's text.

use proptest::prelude::*;
use serde_json::{Value, json};
use tailrace_core::batch::ChangeBatch;
use tailrace_core::position::{Position, Progress};

use super::*;

type Result<T> = std::result::Result<T, CellError>;

fn pushed(push: impl FnOnce(&mut ChangeBatch) -> Result<()>) -> Result<String> {
    let mut batch = ChangeBatch::new("test".into(), Progress::at(Position::new("0")));
    batch.begin_row().unwrap();
    push(&mut batch)?;
    let row = batch.end_row().unwrap();
    match batch.row(row).get(0) {
        tailrace_core::value::Value::Text(text) => Ok(text.to_owned()),
        other => panic!("{other:?}"),
    }
}

fn printed(document: &[u8]) -> Result<String> {
    pushed(|batch| push(document, batch))
}

fn compacted(text: &str) -> Result<String> {
    pushed(|batch| push_compacted(text.as_bytes(), batch))
}

fn after(before: &[u8], changes: &[u8]) -> Result<String> {
    pushed(|batch| push_changed(before, changes, batch))
}

// --- the binary form, written

/// A value as MySQL writes it: its type, its bytes, and whether they may stand in the place of an offset.
struct Written {
    kind: u8,
    bytes: Vec<u8>,
    inline: usize,
}

/// The server's order of members.
fn members(object: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = object.iter().collect();
    members.sort_by_key(|(key, _)| (key.len(), key.as_bytes()));
    members
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    let mut length = bytes.len();
    let mut counted = Vec::new();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        if length == 0 {
            counted.push(low);
            break;
        }
        counted.push(low | 0x80);
    }
    counted.extend_from_slice(bytes);
    counted
}

fn write(value: &Value, large: bool) -> Written {
    let scalar = |kind, bytes: Vec<u8>, inline| Written { kind, bytes, inline };
    match value {
        Value::Null => scalar(4, vec![0], 2),
        Value::Bool(value) => scalar(4, vec![if *value { 1 } else { 2 }], 2),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) if i16::try_from(value).is_ok() => {
                scalar(5, i16::try_from(value).unwrap().to_le_bytes().into(), 2)
            }
            (Some(value), _) if u16::try_from(value).is_ok() => {
                scalar(6, u16::try_from(value).unwrap().to_le_bytes().into(), 2)
            }
            (Some(value), _) if i32::try_from(value).is_ok() => {
                scalar(7, i32::try_from(value).unwrap().to_le_bytes().into(), 4)
            }
            (Some(value), _) if u32::try_from(value).is_ok() => {
                scalar(8, u32::try_from(value).unwrap().to_le_bytes().into(), 4)
            }
            (Some(value), _) => scalar(9, value.to_le_bytes().into(), 9),
            (None, Some(value)) => scalar(10, value.to_le_bytes().into(), 9),
            (None, None) => scalar(11, number.as_f64().unwrap().to_le_bytes().into(), 9),
        },
        Value::String(text) => scalar(12, counted(text.as_bytes()), 9),
        Value::Array(elements) => {
            let values = elements.iter().map(|value| write(value, large)).collect();
            scalar(if large { 3 } else { 2 }, container(&[], values, large), 9)
        }
        Value::Object(object) => {
            let members = members(object);
            let keys: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
            let values = members.iter().map(|(_, value)| write(value, large)).collect();
            scalar(u8::from(large), container(&keys, values, large), 9)
        }
    }
}

fn container(keys: &[&str], values: Vec<Written>, large: bool) -> Vec<u8> {
    let width = if large { 4 } else { 2 };
    let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes()[..width].to_vec();
    let entries = keys.len() * (width + 2) + values.len() * (width + 1);
    let mut heap = Vec::new();
    let start = 2 * width + entries;
    let mut table = Vec::new();
    for key in keys {
        table.extend(number(start + heap.len()));
        table.extend(u16::try_from(key.len()).unwrap().to_le_bytes());
        heap.extend_from_slice(key.as_bytes());
    }
    for mut value in values {
        table.push(value.kind);
        if value.inline <= width {
            value.bytes.resize(width, 0);
            table.extend(value.bytes);
        } else {
            table.extend(number(start + heap.len()));
            heap.extend(value.bytes);
        }
    }
    let count = table.len();
    assert_eq!(count, entries);
    let counted = if keys.is_empty() {
        entries / (width + 1)
    } else {
        keys.len()
    };
    [number(counted), number(start + heap.len()), table, heap].concat()
}

fn document(value: &Value, large: bool) -> Vec<u8> {
    let written = write(value, large);
    [vec![written.kind], written.bytes].concat()
}

/// A document as the server prints it: with blanks, and members in its order.
fn server_text(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(server_text).collect();
            format!("[{}]", elements.join(", "))
        }
        Value::Object(object) => {
            let member = |(key, value): (&String, &Value)| format!("{}: {}", json!(key), server_text(value));
            let members: Vec<String> = members(object).into_iter().map(member).collect();
            format!("{{{}}}", members.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

// --- documents

#[test]
fn the_literal_bytes_of_a_document() {
    // {"a": 1, "bc": "x"}
    let bytes = b"\x00\x02\x00\x17\x00\x12\x00\x01\x00\x13\x00\x02\x00\x05\x01\x00\x0c\x15\x00abc\x01x";
    assert_eq!(printed(bytes).as_deref(), Ok(r#"{"a":1,"bc":"x"}"#));
    // [1, 2]
    assert_eq!(
        printed(b"\x02\x02\x00\x0a\x00\x05\x01\x00\x05\x02\x00").as_deref(),
        Ok("[1,2]")
    );
    // A large array with a number of 32 bits in the place of an offset.
    let bytes = b"\x03\x01\x00\x00\x00\x0d\x00\x00\x00\x07\xff\xff\xff\xff";
    assert_eq!(printed(bytes).as_deref(), Ok("[-1]"));
    assert_eq!(printed(b"\x0c\x0dscalar string").as_deref(), Ok(r#""scalar string""#));
    for (bytes, text) in [(b"\x04\x00", "null"), (b"\x04\x01", "true"), (b"\x04\x02", "false")] {
        assert_eq!(printed(bytes).as_deref(), Ok(text));
    }
    // What INSERT IGNORE leaves.
    assert_eq!(printed(b"").as_deref(), Ok("null"));
}

#[test]
fn what_is_published_has_no_blanks() {
    let texts = [
        ("[1, 2]", "[1,2]"),
        (
            r#"{"k1": "v1", "k2": {"k21": "v, : 21"}, "k3": ["a", "\" ]", 1]}"#,
            r#"{"k1":"v1","k2":{"k21":"v, : 21"},"k3":["a","\" ]",1]}"#,
        ),
        (r#""scalar string""#, r#""scalar string""#),
        ("18446744073709551616.0", "18446744073709551616.0"),
        ("\"base64:type252:yv4=\neA==\"", r#""base64:type252:yv4=\neA==""#),
        (r#"["\\", "\\\"", ""]"#, r#"["\\","\\\"",""]"#),
        ("{}", "{}"),
    ];
    for (text, compact) in texts {
        assert_eq!(compacted(text).as_deref(), Ok(compact));
        if !matches!(text, "18446744073709551616.0") {
            for (end, _) in text.char_indices() {
                let (cut, _) = text.split_at(end);
                assert!(compacted(cut).is_err(), "{cut}");
            }
        }
    }
    assert!(compacted("]").is_err());
    assert!(pushed(|batch| push_compacted(b"\"\xff\"", batch)).is_err());
}

#[test]
fn numbers_print_as_the_server_prints_them() {
    let numbers: [(f64, &str); 20] = [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (3.15, "3.15"),
        (-2.5, "-2.5"),
        (100.0, "100.0"),
        (0.001, "0.001"),
        (1e-14, "0.00000000000001"),
        (1e-15, "0.000000000000001"),
        (1e-16, "1e-16"),
        (1.5e-16, "1.5e-16"),
        (1e14, "100000000000000.0"),
        (1e15, "1e15"),
        (1.5e15, "1.5e15"),
        (123_456_789_012_345.0, "123456789012345.0"),
        (1_234_567_890_123_456.0, "1.234567890123456e15"),
        (1_234_567_890_123_456.5, "1234567890123456.5"),
        (1e20, "1e20"),
        (f64::MAX, "1.7976931348623157e308"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
    ];
    for (number, text) in numbers {
        let document = [&b"\x0b"[..], &number.to_le_bytes()].concat();
        assert_eq!(printed(&document).as_deref(), Ok(text));
    }
    for number in [f64::NAN, f64::INFINITY] {
        assert!(printed(&[&b"\x0b"[..], &number.to_le_bytes()].concat()).is_err());
    }
    assert_eq!(
        printed(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff").as_deref(),
        Ok("18446744073709551615")
    );
}

#[test]
fn strings_print_as_the_server_prints_them() {
    let text = "\"\\\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}/é🐎";
    let document = [&b"\x0c"[..], &counted(text.as_bytes())].concat();
    let expected = "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\u{7f}/é🐎\"";
    assert_eq!(printed(&document).as_deref(), Ok(expected));
}

#[test]
fn values_of_sql_types() {
    let nines = |groups: usize| b"\x3b\x9a\xc9\xff".repeat(groups);
    let opaque = |field_type: u8, bytes: &[u8]| [&[0x0f, field_type][..], &counted(bytes)].concat();
    let packed = |whole: i64, microseconds: i64| ((whole << 24) + microseconds).to_le_bytes();
    let moment = |month: i64, day: i64, time: i64| ((2015 * 13 + month) << 5 | day) << 17 | time;
    let time = 23 << 12 | 24 << 6 | 25;
    let values = [
        (opaque(246, b"\x03\x02\x83\x0e"), "3.14"),
        (opaque(246, b"\x03\x02\x7c\xf1"), "-3.14"),
        // As MySQL 9.7 logs DECIMAL(65,30) and DECIMAL(65,0) at their largest: whole groups are counted.
        (
            opaque(246, &[b"\x42\x1e\x85\xf5\xe0\xff", &nines(6)[..], b"\x03\xe7"].concat()),
            "99999999999999999999999999999999999.999999999999999999999999999999",
        ),
        (
            opaque(246, &[b"\x48\x00\x80\x00\x00\x63", &nines(7)[..]].concat()),
            "99999999999999999999999999999999999999999999999999999999999999999",
        ),
        (opaque(10, &packed(moment(1, 15, 0), 0)), r#""2015-01-15""#),
        (
            opaque(12, &packed(moment(1, 15, time), 120_000)),
            r#""2015-01-15 23:24:25.120000""#,
        ),
        (
            opaque(7, &packed(moment(1, 15, time), 0)),
            r#""2015-01-15 23:24:25.000000""#,
        ),
        (opaque(11, &packed(time, 0)), r#""23:24:25.000000""#),
        (
            opaque(11, &(-((time << 24) + 5)).to_le_bytes()),
            r#""-23:24:25.000005""#,
        ),
        (opaque(252, b"\xca\xfe"), r#""base64:type252:yv4=""#),
        (opaque(15, b"\xca\xfe\xba\xbe"), r#""base64:type15:yv66vg==""#),
        (opaque(16, b"\x01\x02\x03"), r#""base64:type16:AQID""#),
    ];
    for (document, text) in values {
        assert_eq!(printed(&document).as_deref(), Ok(text));
        for end in 1..document.len() {
            assert!(printed(&document[..end]).is_err());
        }
    }
    let long = printed(&opaque(15, &[0; 58])).unwrap();
    assert_eq!(long, format!(r#""base64:type15:{}\nAA==""#, "A".repeat(76)));
    for malformed in [
        opaque(246, b"\x03\x02\x83"),
        opaque(10, b"\0\0"),
        opaque(11, &[0xff; 7]),
        opaque(12, &packed(0, 1_000_000)),
    ] {
        assert!(printed(&malformed).is_err());
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| (0..depth).fold(json!(1), |value, _| json!([value]));
    assert!(printed(&document(&nested(100), true)).is_ok());
    assert!(printed(&document(&nested(101), true)).is_err());
}

#[test]
fn parts_that_are_used_more_than_once_do_not_grow_without_bound() {
    // Twenty-odd arrays of two elements, each of which is the next array: a million times the last one.
    let mut bytes = Vec::new();
    for _ in 0..25 {
        let rest = 10;
        bytes.extend([2, 0]);
        bytes.extend([0xff, 0]);
        bytes.extend([2, rest, 0, 2, rest, 0]);
    }
    bytes.extend([0, 0, 4, 0]);
    let total = bytes.len();
    for at in 0..25 {
        bytes[at * 10 + 2..at * 10 + 4].copy_from_slice(&u16::try_from(total - at * 10).unwrap().to_le_bytes());
    }
    let document = [vec![2], bytes].concat();
    assert_eq!(
        printed(&document),
        Err(CellError::Json("parts of it are used more than once"))
    );
}

#[test]
fn offsets_stay_within_their_container() {
    // An offset into the entries, one behind the end, a key behind the end, a count without room, a size beyond the end.
    let wrong: [&[u8]; 5] = [
        b"\x02\x01\x00\x09\x00\x0c\x04\x00\x01x",
        b"\x02\x01\x00\x09\x00\x0c\x09\x00\x01x",
        b"\x00\x01\x00\x0c\x00\x0b\x00\x02\x00\x04\x00\x00x",
        b"\x02\x09\x00\x09\x00\x05\x01\x00\x01",
        b"\x02\x01\x00\x0f\x00\x05\x01\x00",
    ];
    for document in wrong {
        assert!(printed(document).is_err(), "{document:x?}");
    }
}

// --- differences

/// operation · path · document
fn difference(operation: u8, path: &str, value: Option<&Value>) -> Vec<u8> {
    let mut bytes = vec![operation, u8::try_from(path.len()).unwrap()];
    bytes.extend_from_slice(path.as_bytes());
    if let Some(value) = value {
        let document = document(value, false);
        bytes.push(u8::try_from(document.len()).unwrap());
        bytes.extend(document);
    }
    bytes
}

#[test]
fn differences_change_the_document_before() {
    let before = document(
        &json!({"a": 1, "b": [1, 2, {"c": "x"}], "long key": {"d": null}}),
        false,
    );
    let changes = [
        (
            difference(0, "$.a", Some(&json!("new"))),
            r#"{"a":"new","b":[1,2,{"c":"x"}],"long key":{"d":null}}"#,
        ),
        (
            difference(0, "$.b[2].c", Some(&json!([true]))),
            r#"{"a":1,"b":[1,2,{"c":[true]}],"long key":{"d":null}}"#,
        ),
        (
            difference(0, "$.b[last]", Some(&json!(3))),
            r#"{"a":1,"b":[1,2,3],"long key":{"d":null}}"#,
        ),
        (
            difference(0, "$.\"long key\".d", Some(&json!(0))),
            r#"{"a":1,"b":[1,2,{"c":"x"}],"long key":{"d":0}}"#,
        ),
        (difference(0, "$", Some(&json!([]))), "[]"),
        (
            difference(1, "$.ab", Some(&json!(2))),
            r#"{"a":1,"b":[1,2,{"c":"x"}],"ab":2,"long key":{"d":null}}"#,
        ),
        (
            difference(1, "$.b[1]", Some(&json!(9))),
            r#"{"a":1,"b":[1,9,2,{"c":"x"}],"long key":{"d":null}}"#,
        ),
        (
            difference(1, "$.b[7]", Some(&json!(9))),
            r#"{"a":1,"b":[1,2,{"c":"x"},9],"long key":{"d":null}}"#,
        ),
        (
            difference(2, "$.a", None),
            r#"{"b":[1,2,{"c":"x"}],"long key":{"d":null}}"#,
        ),
        (
            difference(2, "$.b[0]", None),
            r#"{"a":1,"b":[2,{"c":"x"}],"long key":{"d":null}}"#,
        ),
        (
            difference(2, "$.b[last-1]", None),
            r#"{"a":1,"b":[1,{"c":"x"}],"long key":{"d":null}}"#,
        ),
        (Vec::new(), r#"{"a":1,"b":[1,2,{"c":"x"}],"long key":{"d":null}}"#),
    ];
    for (change, expected) in &changes {
        assert_eq!(after(&before, change).as_deref(), Ok(*expected));
        for end in 1..change.len() {
            assert!(after(&before, &change[..end]).is_err());
        }
    }
    let several = [
        difference(2, "$.a", None),
        difference(1, "$.b[0]", Some(&json!(0))),
        difference(2, "$.b[3].c", None),
    ];
    assert_eq!(
        after(&before, &several.concat()).as_deref(),
        Ok(r#"{"b":[0,1,2,{}],"long key":{"d":null}}"#)
    );
}

#[test]
fn differences_of_another_document_are_refused() {
    let before = document(&json!({"a": 1, "b": [1]}), false);
    let refused = [
        difference(0, "$.z", Some(&json!(1))),
        difference(0, "$.b[1]", Some(&json!(1))),
        difference(0, "$.a.b", Some(&json!(1))),
        difference(1, "$.a", Some(&json!(1))),
        difference(1, "$.a.b", Some(&json!(1))),
        difference(1, "$", Some(&json!(1))),
        difference(2, "$", None),
        difference(2, "$.b[1]", None),
        difference(2, "$.z", None),
        difference(3, "$.a", None),
        difference(2, "a", None),
        difference(2, "$.", None),
        difference(2, "$.\"a", None),
        difference(2, "$[x]", None),
        difference(2, "$[0", None),
    ];
    for change in refused {
        assert!(after(&before, &change).is_err(), "{change:x?}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-70_000..70_000_i64).prop_map(Value::from),
        "[ -~é\\n\"]{0,12}".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map("[a-z\" ]{0,5}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_log_and_a_query_agree(value in any_json(), large: bool) {
        let logged = printed(&document(&value, large)).unwrap();
        prop_assert_eq!(&logged, &compacted(&server_text(&value)).unwrap());
        prop_assert_eq!(serde_json::from_str::<Value>(&logged).unwrap(), value);
    }

    #[test]
    fn numbers_read_back_as_the_same(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
        let text = printed(&[&b"\x0b"[..], &number.to_le_bytes()].concat()).unwrap();
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits());
        prop_assert!(text.contains(['.', 'e']));
    }

    #[test]
    fn every_truncation_is_refused(value in any_json(), large: bool) {
        let document = document(&value, large);
        for end in 1..document.len() {
            prop_assert!(printed(&document[..end]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60), changes in proptest::collection::vec(any::<u8>(), 0..30)) {
        if let Ok(text) = printed(&bytes) {
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
        }
        prop_assert!(!matches!(after(&bytes, &changes), Err(CellError::BatchFull(_))));
    }
}
