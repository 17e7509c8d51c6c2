use super::*;
use crate::decode::declared::logical_type;

fn decoded(stored: Raw<'_>, declared: &str) -> Option<Datum> {
    decode(stored, &logical_type(declared), TimestampUnit::Seconds).map(Decoded::into_datum)
}

#[test]
fn every_storage_class_under_every_declaration() {
    let text = |text: &str| Some(Datum::Text(text.to_owned()));
    let stored = [
        Raw::Null,
        Raw::Integer(1),
        Raw::Real(1.5),
        Raw::Text("abc"),
        Raw::Blob(&[0xAB, 1]),
    ];
    let expected = [
        ("INTEGER", [Some(Datum::Null), Some(Datum::Int(1)), None, None, None]),
        (
            "REAL",
            [
                Some(Datum::Null),
                Some(Datum::Float64(1.0)),
                Some(Datum::Float64(1.5)),
                None,
                None,
            ],
        ),
        (
            "DECIMAL(10,2)",
            [Some(Datum::Null), text("1.00"), text("1.50"), None, None],
        ),
        (
            "BOOLEAN",
            [Some(Datum::Null), Some(Datum::Boolean(true)), None, None, None],
        ),
        ("TEXT", [Some(Datum::Null), None, None, text("abc"), None]),
        (
            "STRING",
            [Some(Datum::Null), text("1"), text("1.5"), text("abc"), text("X'AB01'")],
        ),
        (
            "BLOB",
            [
                Some(Datum::Null),
                None,
                None,
                Some(Datum::Bytes(b"abc".to_vec())),
                Some(Datum::Bytes(vec![0xAB, 1])),
            ],
        ),
        ("DATE", [Some(Datum::Null), None, None, None, None]),
        ("TIME", [Some(Datum::Null), None, None, None, None]),
        (
            "DATETIME",
            [
                Some(Datum::Null),
                Some(Datum::Int(1_000_000)),
                Some(Datum::Int(1_500_000)),
                None,
                None,
            ],
        ),
    ];
    for (declared, row) in expected {
        for (stored, expected) in stored.into_iter().zip(row) {
            assert_eq!(decoded(stored, declared), expected, "{stored:?} in {declared}");
        }
    }
}

#[test]
fn whole_reals_and_exact_integers_change_sides_and_others_do_not() {
    assert_eq!(decoded(Raw::Real(3.0), "INTEGER"), Some(Datum::Int(3)));
    assert_eq!(decoded(Raw::Real(1e300), "INTEGER"), None);
    assert_eq!(decoded(Raw::Integer((1 << 53) + 1), "REAL"), None);
    assert_eq!(decoded(Raw::Integer(i64::MIN), "REAL"), None);
    assert_eq!(
        decoded(Raw::Real(f64::INFINITY), "REAL"),
        Some(Datum::Float64(f64::INFINITY))
    );
    assert_eq!(decoded(Raw::Text("TRUE"), "BOOLEAN"), Some(Datum::Boolean(true)));
    assert_eq!(decoded(Raw::Integer(2), "BOOLEAN"), None);
}
