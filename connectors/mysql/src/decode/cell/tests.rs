//! Every type from its bytes in the log and from a query's text, to the identical cell.

use proptest::prelude::*;
use tailrace_core::position::{Position, Progress};
use tailrace_core::value::Datum;

use super::*;
use crate::column_type::{ColumnType, InvalidDates, TypePolicy};
use crate::decode::WireColumn;
use crate::table::ColumnDefinition;

/// A column type, its column in the log, a value there and the same value as a server prints it.
type Moment<'a> = (&'a str, (u8, u16), &'a [u8], &'a str);

const POLICIES: [InvalidDates; 3] = [InvalidDates::NullOrEpoch, InvalidDates::Text, InvalidDates::Halt];

fn column(column_type: &str, charset: &str, nullable: bool) -> ColumnDefinition {
    ColumnDefinition {
        name: "c".to_owned(),
        column_type: ColumnType::parse(column_type, Some(charset)).unwrap(),
        nullable,
        default: None,
        generated: false,
        documentation: None,
    }
}

fn policy(invalid_dates: InvalidDates) -> TypePolicy {
    TypePolicy { invalid_dates }
}

fn pushed(push: impl FnOnce(&mut ChangeBatch) -> Result<()>) -> Result<Datum> {
    let mut batch = ChangeBatch::new("test".into(), Progress::at(Position::new("0")));
    batch.begin_row().unwrap();
    push(&mut batch)?;
    let row = batch.end_row().unwrap();
    assert_eq!(batch.row(row).len(), 1);
    Ok(batch.row(row).get(0).to_datum().unwrap())
}

fn decoder(column: &ColumnDefinition, (type_code, metadata): (u8, u16), policy: &TypePolicy) -> CellDecoder {
    CellDecoder::new(WireColumn { type_code, metadata }, column, policy).unwrap()
}

/// Reads the bytes; they must be read to their end, and every one of their truncations must be an error.
fn logged(decoder: &CellDecoder, bytes: &[u8]) -> Result<Datum> {
    for end in 0..bytes.len() {
        let mut reader = Reader::new("test", &bytes[..end]);
        assert!(
            pushed(|batch| decoder.decode(&mut reader, batch)).is_err(),
            "cut at {end}"
        );
        assert!(decoder.stored(&mut Reader::new("test", &bytes[..end])).is_err());
    }
    let mut reader = Reader::new("test", bytes);
    decoder.stored(&mut reader).unwrap();
    assert!(reader.is_empty());
    let mut reader = Reader::new("test", bytes);
    let datum = pushed(|batch| decoder.decode(&mut reader, batch))?;
    assert!(reader.is_empty());
    Ok(datum)
}

fn queried(column: &ColumnDefinition, text: &[u8], policy: &TypePolicy) -> Result<Datum> {
    let decoder = TextDecoder::new(column, policy);
    pushed(|batch| decoder.decode(Some(text), batch))
}

/// The bytes of the log and the text of a query are the same value.
fn assert_value(column_type: &str, wire: (u8, u16), bytes: &[u8], text: &[u8], expected: &Datum) {
    assert_value_in(("utf8mb4", column_type), wire, bytes, text, expected);
}

fn assert_value_in(column_in: (&str, &str), wire: (u8, u16), bytes: &[u8], text: &[u8], expected: &Datum) {
    let (charset, column_type) = column_in;
    let column = column(column_type, charset, false);
    let policy = TypePolicy::default();
    let found = logged(&decoder(&column, wire, &policy), bytes);
    assert_eq!(found.as_ref(), Ok(expected), "{column_type} from the log");
    let found = queried(&column, text, &policy);
    assert_eq!(found.as_ref(), Ok(expected), "{column_type} from text");
}

fn int(value: i64) -> Datum {
    Datum::Int(value)
}

fn text(value: &str) -> Datum {
    Datum::Text(value.to_owned())
}

#[test]
fn integers() {
    assert_value("tinyint", (1, 0), b"\x9c", b"-100", &int(-100));
    assert_value("tinyint(3) unsigned zerofill", (1, 0), b"\xff", b"255", &int(255));
    assert_value("smallint", (2, 0), b"\x00\x80", b"-32768", &int(-32_768));
    assert_value("smallint unsigned", (2, 0), b"\xff\xff", b"65535", &int(65_535));
    assert_value("mediumint", (9, 0), b"\x00\x00\x80", b"-8388608", &int(-8_388_608));
    assert_value(
        "mediumint unsigned",
        (9, 0),
        b"\xff\xff\xff",
        b"16777215",
        &int(16_777_215),
    );
    assert_value("int", (3, 0), b"\x00\x00\x00\x80", b"-2147483648", &int(-2_147_483_648));
    assert_value(
        "int(10) unsigned zerofill",
        (3, 0),
        b"\x9f\x50\x65\xc4",
        b"3294974111",
        &int(3_294_974_111),
    );
    assert_value(
        "int(10) unsigned zerofill",
        (3, 0),
        b"\x07\0\0\0",
        b"0000000007",
        &int(7),
    );
    assert_value(
        "bigint",
        (8, 0),
        b"\0\0\0\0\0\0\0\x80",
        b"-9223372036854775808",
        &int(i64::MIN),
    );
    assert_value(
        "bigint unsigned",
        (8, 0),
        &[0xff; 8],
        b"18446744073709551615",
        &text("18446744073709551615"),
    );
    assert_value(
        "bigint(20) unsigned zerofill",
        (8, 0),
        &[0; 8],
        b"00000000000000000000",
        &text("0"),
    );
    assert_value("year(4)", (13, 0), b"\x76", b"2018", &int(2018));
    assert_value("year", (13, 0), b"\x00", b"0000", &int(0));
    assert_value("year", (13, 0), b"\x01", b"1901", &int(1901));
    let column = column("bigint", "utf8mb4", false);
    for malformed in [&b""[..], b"-", b"1.5", b"0x1", b"9223372036854775808", b" 1"] {
        assert!(queried(&column, malformed, &TypePolicy::default()).is_err());
    }
}

#[test]
fn floats() {
    assert_value(
        "float",
        (4, 4),
        &64.1_f32.to_le_bytes(),
        b"64.0999984741211",
        &Datum::Float32(64.1),
    );
    assert_value(
        "float",
        (4, 4),
        &f32::MIN_POSITIVE.to_le_bytes(),
        b"1.1754943508222875e-38",
        &Datum::Float32(f32::MIN_POSITIVE),
    );
    let widened = Datum::Float64(f64::from(5.61_f32));
    assert_value(
        "float(5,2)",
        (4, 4),
        &5.61_f32.to_le_bytes(),
        b"5.610000133514404",
        &widened,
    );
    assert_value(
        "double",
        (5, 8),
        &f64::MAX.to_le_bytes(),
        b"1.7976931348623157e308",
        &Datum::Float64(f64::MAX),
    );
    let zero = column("double", "utf8mb4", false);
    let policy = TypePolicy::default();
    let is_negative_zero =
        |datum| matches!(datum, Ok(Datum::Float64(value)) if value == 0.0 && value.is_sign_negative());
    assert!(is_negative_zero(queried(&zero, b"-0", &policy)));
    assert!(is_negative_zero(logged(
        &decoder(&zero, (5, 8), &policy),
        &(-0.0_f64).to_le_bytes()
    )));
    assert!(queried(&zero, b"nan", &policy).is_err());
}

#[test]
fn decimals() {
    let literal = b"\x81\x0d\xfb\x38\xd2\x04\xd2";
    assert_value(
        "decimal(14,4)",
        (246, 0x0e04),
        literal,
        b"1234567890.1234",
        &text("1234567890.1234"),
    );
    let negative = literal.map(|byte| !byte);
    assert_value(
        "decimal(14,4)",
        (246, 0x0e04),
        &negative,
        b"-1234567890.1234",
        &text("-1234567890.1234"),
    );
    assert_value("numeric(3,2)", (246, 0x0302), b"\x81\x21", b"1.33", &text("1.33"));
    assert_value(
        "decimal(7)",
        (246, 0x0700),
        b"\x80\x00\x00\xeb",
        b"0000235",
        &text("235"),
    );
    assert_value("decimal(2,2)", (246, 0x0202), b"\xb2", b"0.50", &text("0.50"));
    // Zero has no sign.
    assert_value("decimal(3,2)", (246, 0x0302), b"\x7f\xff", b"-0.00", &text("0.00"));
    let column = column("decimal(14,4)", "utf8mb4", false);
    // A group with more than its digits.
    let decoder = decoder(&column, (246, 0x0e04), &TypePolicy::default());
    assert_eq!(
        logged(&decoder, b"\x81\xff\xff\xff\xff\x04\xd2"),
        Err(CellError::Malformed("DECIMAL"))
    );
    for malformed in [&b""[..], b"-", b"1.", b".5", b"1e5", b"1.2.3", b"NaN"] {
        assert!(queried(&column, malformed, &TypePolicy::default()).is_err());
    }
}

#[test]
fn constants_are_brought_to_their_columns_scale() {
    let scaled = [
        ("15.28", 5, Some("15.28000")),
        ("-1", 2, Some("-1.00")),
        ("007", 0, Some("7")),
        ("1.2300", 2, Some("1.23")),
        ("1.235", 2, None),
        ("abc", 2, None),
        ("0", 18, Some("0.000000000000000000")),
    ];
    for (constant, scale, expected) in scaled {
        assert_eq!(rescaled(constant, scale).as_deref(), expected);
    }
}

#[test]
fn bits() {
    assert_value("bit(1)", (16, 0x0001), b"\x01", b"\x01", &Datum::Boolean(true));
    assert_value("bit(1)", (16, 0x0001), b"\x00", b"\x00", &Datum::Boolean(false));
    assert_value("bit(2)", (16, 0x0002), b"\x02", b"\x02", &text("10"));
    assert_value("bit(8)", (16, 0x0100), b"\x81", b"\x81", &text("10000001"));
    let bytes = b"\0\0\0\0\x01\x6e\x0e\xdb";
    let expected = format!("{:064b}", 23_989_979);
    assert_value("bit(64)", (16, 0x0800), bytes, bytes, &text(&expected));
    let nine = column("bit(9)", "utf8mb4", false);
    let policy = TypePolicy::default();
    assert!(logged(&decoder(&nine, (16, 0x0101), &policy), b"\x02\x00").is_err());
    assert!(queried(&nine, b"\x01", &policy).is_err());
}

#[test]
fn dates() {
    assert_value("date", (10, 0), b"\x28\xbd\x0f", b"2014-09-08", &int(16_321));
    assert_value("date", (14, 0), b"\x81\x24\x00", b"0018-04-01", &int(-712_863));
    assert_value("date", (10, 0), b"\x9f\x1f\x4e", b"9999-12-31", &int(2_932_896));
    let column = column("date", "utf8mb4", false);
    for malformed in [&b""[..], b"2014-9-08", b"2014-09-08 ", b"20140908"] {
        assert!(queried(&column, malformed, &TypePolicy::default()).is_err());
    }
}

#[test]
fn times() {
    assert_value("time", (19, 0), b"\x80\x00\x40", b"00:01:00", &int(60_000_000));
    assert_value("time", (19, 0), b"\x7f\x2c\x4e", b"-13:14:50", &int(-47_690_000_000));
    assert_value(
        "time(2)",
        (19, 2),
        b"\xa0\x5c\xc4\x4e",
        b"517:51:04.78",
        &int(1_864_264_780_000),
    );
    assert_value(
        "time(3)",
        (19, 3),
        b"\x52\x2f\xff\xff\xf6",
        b"-733:00:00.001",
        &int(-2_638_800_001_000),
    );
    assert_value(
        "time(6)",
        (19, 6),
        b"\x4b\x91\x05\xf0\xbd\xc1",
        b"-838:59:58.999999",
        &int(-3_020_398_999_999),
    );
    assert_value("time(6)", (19, 6), b"\x80\0\0\0\0\0", b"00:00:00.000000", &int(0));
    // Before 5.6: decimal digits.
    assert_value("time", (11, 0), b"\x86\xfe\xfd", b"-13:14:50", &int(-47_690_000_000));
    let column = column("time(2)", "utf8mb4", false);
    for malformed in [
        &b""[..],
        b"1:2:3",
        b"839:00:00",
        b"00:60:00",
        b"00:00:00.",
        b"00:00:00.1234567",
    ] {
        assert!(queried(&column, malformed, &TypePolicy::default()).is_err());
    }
    let policy = TypePolicy::default();
    // 61 seconds, and more hundredths than there are.
    assert!(logged(&decoder(&column, (19, 2), &policy), b"\x80\x00\x3d\x00").is_err());
    assert!(logged(&decoder(&column, (19, 2), &policy), b"\x80\x00\x00\x64").is_err());
}

#[test]
fn datetimes() {
    let bytes = b"\x99\x9e\xc6\x00\x0a\x01\xe2\x40";
    assert_value(
        "datetime(6)",
        (18, 6),
        bytes,
        b"2018-01-03 00:00:10.123456",
        &int(1_514_937_610_123_456),
    );
    let bytes = b"\x99\x9e\xc6\x00\x0a\x46";
    assert_value(
        "datetime(1)",
        (18, 1),
        bytes,
        b"2018-01-03 00:00:10.7",
        &int(1_514_937_610_700_000),
    );
    let bytes = b"\x99\x9e\xc6\x00\x0a";
    assert_value(
        "datetime",
        (18, 0),
        bytes,
        b"2018-01-03 00:00:10",
        &int(1_514_937_610_000_000),
    );
    let bytes = b"\xca\xef\xde\x8b\x5a\x12\x00\x00";
    assert_value(
        "datetime",
        (12, 0),
        bytes,
        b"2018-01-03 00:00:10",
        &int(1_514_937_610_000_000),
    );
    let column = column("datetime", "utf8mb4", false);
    let policy = TypePolicy::default();
    // Hour 24, and a value below the smallest.
    assert!(logged(&decoder(&column, (18, 0), &policy), b"\x99\x9e\xc7\x80\x0a").is_err());
    assert!(logged(&decoder(&column, (18, 0), &policy), b"\x19\x9e\xc6\x00\x0a").is_err());
    assert!(queried(&column, b"2018-01-03 24:00:00", &policy).is_err());
}

#[test]
fn timestamps() {
    let bytes = b"\x54\x0e\x87\x38\x4e";
    assert_value(
        "timestamp(2)",
        (17, 2),
        bytes,
        b"2014-09-09 04:51:04.78",
        &int(1_410_238_264_780_000),
    );
    let bytes = b"\x38\x87\x0e\x54";
    assert_value(
        "timestamp",
        (7, 0),
        bytes,
        b"2014-09-09 04:51:04",
        &int(1_410_238_264_000_000),
    );
    // After 2038, as MariaDB has it since 11.5.
    assert_value(
        "timestamp",
        (17, 0),
        &[0xff; 4],
        b"2106-02-07 06:28:15",
        &int(4_294_967_295_000_000),
    );
}

#[test]
fn dates_that_no_calendar_has() {
    let moments: [Moment<'_>; 8] = [
        ("date", (10, 0), b"\0\0\0", "0000-00-00"),
        ("date", (10, 0), b"\x5f\xce\x0f", "2023-02-31"),
        ("datetime", (18, 0), b"\x80\0\0\0\0", "0000-00-00 00:00:00"),
        ("datetime(2)", (18, 2), b"\x80\0\0\0\0\0", "0000-00-00 00:00:00.00"),
        ("datetime", (18, 0), b"\x99\xaf\x7e\x10\x83", "2023-02-31 01:02:03"),
        ("datetime", (12, 0), &[0; 8], "0000-00-00 00:00:00"),
        ("timestamp", (17, 0), &[0; 4], "0000-00-00 00:00:00"),
        ("timestamp", (7, 0), &[0; 4], "0000-00-00 00:00:00"),
    ];
    for (column_type, wire, bytes, printed) in moments {
        for (nullable, invalid_dates) in [false, true].into_iter().flat_map(|n| POLICIES.map(|p| (n, p))) {
            let column = column(column_type, "utf8mb4", nullable);
            let policy = policy(invalid_dates);
            let expected = match invalid_dates {
                InvalidDates::NullOrEpoch if nullable => Ok(Datum::Null),
                InvalidDates::NullOrEpoch => Ok(int(0)),
                InvalidDates::Text => Ok(text(printed)),
                InvalidDates::Halt => Err(CellError::InvalidDate),
            };
            let decoder = decoder(&column, wire, &policy);
            let mut reader = Reader::new("test", bytes);
            assert_eq!(
                pushed(|batch| decoder.decode(&mut reader, batch)),
                expected,
                "{column_type}"
            );
            assert_eq!(queried(&column, printed.as_bytes(), &policy), expected, "{column_type}");
        }
    }
}

#[test]
fn dates_as_text_are_the_databases_own() {
    let moments: [Moment<'_>; 4] = [
        ("date", (10, 0), b"\x28\xbd\x0f", "2014-09-08"),
        (
            "datetime(1)",
            (18, 1),
            b"\x99\x9e\xc6\x00\x0a\x46",
            "2018-01-03 00:00:10.7",
        ),
        (
            "timestamp(2)",
            (17, 2),
            b"\x54\x0e\x87\x38\x4e",
            "2014-09-09 04:51:04.78",
        ),
        ("timestamp", (7, 0), b"\xff\xff\xff\x7f", "2038-01-19 03:14:07"),
    ];
    let policy = policy(InvalidDates::Text);
    for (column_type, wire, bytes, printed) in moments {
        let column = column(column_type, "utf8mb4", true);
        assert_eq!(logged(&decoder(&column, wire, &policy), bytes), Ok(text(printed)));
        assert_eq!(queried(&column, printed.as_bytes(), &policy), Ok(text(printed)));
    }
}

#[test]
fn characters_of_every_length() {
    assert_value(
        "varchar(20)",
        (15, 80),
        "\u{3}日".as_bytes(),
        "日".as_bytes(),
        &text("日"),
    );
    assert_value("varchar(200)", (15, 800), b"\x02\x00ab", b"ab", &text("ab"));
    assert_value("varchar(20)", (253, 80), b"\x00", b"", &text(""));
    assert_value("char(5)", (254, 0xfe14), b"\x02ab", b"ab", &text("ab"));
    assert_value("char(255)", (254, 0xcefc), b"\x02\x00ab", b"ab", &text("ab"));
    assert_value("tinytext", (252, 1), b"\x01a", b"a", &text("a"));
    assert_value("text", (252, 2), b"\x01\x00a", b"a", &text("a"));
    assert_value("mediumtext", (252, 3), b"\x01\x00\x00a", b"a", &text("a"));
    assert_value("longtext", (252, 4), b"\x01\x00\x00\x00a", b"a", &text("a"));
    assert_value_in(
        ("latin1", "varchar(20)"),
        (15, 20),
        b"\x03\xe9\x81\x00",
        b"\xe9\x81\x00",
        &text("é\u{81}\0"),
    );
    assert_value_in(
        ("utf16", "varchar(20)"),
        (15, 80),
        b"\x04\xd8\x3d\xdc\x0e",
        b"\xd8\x3d\xdc\x0e",
        &text("🐎"),
    );
    let column = column("varchar(20)", "utf8mb4", false);
    let policy = TypePolicy::default();
    let refused = Err(CellError::NotInCharset("utf8mb4"));
    let mut reader = Reader::new("test", b"\x03\xe9\xff\x00");
    let decoder = decoder(&column, (15, 80), &policy);
    assert_eq!(pushed(|batch| decoder.decode(&mut reader, batch)), refused);
    assert_eq!(queried(&column, b"\xe9\xff\x00", &policy), refused);
}

#[test]
fn bytes_of_every_length() {
    let bytes = |bytes: &[u8]| Datum::Bytes(bytes.to_vec());
    assert_value(
        "varbinary(20)",
        (15, 20),
        b"\x03\x01\x02\x03",
        b"\x01\x02\x03",
        &bytes(b"\x01\x02\x03"),
    );
    assert_value("blob", (252, 2), b"\x02\x00\x01\x00", b"\x01\x00", &bytes(b"\x01\x00"));
    assert_value("longblob", (252, 4), b"\x00\x00\x00\x00", b"", &bytes(b""));
    // The log leaves the zeros at the end away, a query does not.
    assert_value(
        "binary(4)",
        (254, 0xfe04),
        b"\x02\x01\x02",
        b"\x01\x02\x00\x00",
        &bytes(b"\x01\x02\x00\x00"),
    );
    assert_value(
        "binary(3)",
        (254, 0xfe03),
        b"\x00",
        b"\x00\x00\x00",
        &bytes(b"\x00\x00\x00"),
    );
    let column = column("binary(2)", "utf8mb4", false);
    let mut reader = Reader::new("test", b"\x03abc");
    let decoder = decoder(&column, (254, 0xfe02), &TypePolicy::default());
    assert!(pushed(|batch| decoder.decode(&mut reader, batch)).is_err());
}

#[test]
fn members() {
    assert_value("enum('a','it''s')", (254, 0xf701), b"\x02", b"it's", &text("it's"));
    assert_value("enum('a','b')", (254, 0xf701), b"\x00", b"", &text(""));
    assert_value("enum('a','b')", (247, 2), b"\x01\x00", b"a", &text("a"));
    assert_value("set('a','b','c')", (254, 0xf801), b"\x05", b"a,c", &text("a,c"));
    assert_value("set('a','b','c')", (248, 1), b"\x00", b"", &text(""));
    let sixty_four: Vec<String> = (0..64).map(|at| format!("'m{at}'")).collect();
    let set = format!("set({})", sixty_four.join(","));
    let expected = text("m0,m63");
    assert_value(&set, (254, 0xf808), b"\x01\0\0\0\0\0\0\x80", b"m0,m63", &expected);
    assert_value_in(("latin1", "enum('é')"), (254, 0xf701), b"\x01", b"\xe9", &text("é"));
    let policy = TypePolicy::default();
    let of_two = column("enum('a','b')", "utf8mb4", false);
    let unknown = |number| Err(CellError::UnknownMember { number, members: 2 });
    assert_eq!(logged(&decoder(&of_two, (254, 0xf701), &policy), b"\x03"), unknown(3));
    let of_two = column("set('a','b')", "utf8mb4", false);
    assert_eq!(logged(&decoder(&of_two, (254, 0xf801), &policy), b"\x08"), unknown(4));
}

#[test]
fn geometries_are_ewkb() {
    let wkb = b"\x01\x01\0\0\0\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\xf0\x3f";
    let stored = [&[0; 4], &wkb[..]].concat();
    let logged = [&25_u32.to_le_bytes(), &stored[..]].concat();
    assert_value("geometry", (255, 4), &logged, &stored, &Datum::Bytes(wkb.to_vec()));
    let stored = [&4326_u32.to_le_bytes(), &wkb[..]].concat();
    let logged = [&25_u32.to_le_bytes(), &stored[..]].concat();
    let ewkb = [&b"\x01\x01\0\0\x20\xe6\x10\0\0"[..], &wkb[5..]].concat();
    assert_value("geometry", (255, 4), &logged, &stored, &Datum::Bytes(ewkb));
    let column = column("geometry", "utf8mb4", false);
    assert!(queried(&column, b"\x00\x00\x00\x00\x01\x01", &TypePolicy::default()).is_err());
}

#[test]
fn points_are_numbers_in_either_byte_order() {
    let numbers = |[x, y]: [f64; 2]| vec![Datum::Float64(x), Datum::Float64(y)];
    let little = [
        &[0; 4],
        &b"\x01\x01\0\0\0"[..],
        &1.5_f64.to_le_bytes(),
        &(-2_f64).to_le_bytes(),
    ]
    .concat();
    let logged = [&25_u32.to_le_bytes(), &little[..]].concat();
    assert_value("point", (255, 4), &logged, &little, &Datum::List(numbers([1.5, -2.0])));
    let srid = &4326_u32.to_le_bytes();
    let big = [
        srid,
        &b"\0\0\0\0\x01"[..],
        &1.5_f64.to_be_bytes(),
        &(-2_f64).to_be_bytes(),
    ]
    .concat();
    let logged = [&25_u32.to_le_bytes(), &big[..]].concat();
    let expected = [numbers([1.5, -2.0]), vec![Datum::Int(4326)]].concat();
    assert_value("point", (255, 4), &logged, &big, &Datum::List(expected));
    let column = column("point", "utf8mb4", false);
    for length in 0..little.len() {
        assert!(queried(&column, &little[..length], &TypePolicy::default()).is_err());
    }
    let longer = [&little[..], &[0]].concat();
    assert!(queried(&column, &longer, &TypePolicy::default()).is_err());
    let mut line = little;
    line[5] = 2;
    assert!(queried(&column, &line, &TypePolicy::default()).is_err());
}

#[test]
fn vectors() {
    let stored = [1.1_f32, 2.2].map(f32::to_le_bytes).concat();
    let expected = Datum::List(vec![Datum::Float32(1.1), Datum::Float32(2.2)]);
    assert_value(
        "vector(2)",
        (242, 4),
        &[b"\x08\0\0\0", &stored[..]].concat(),
        &stored,
        &expected,
    );
    // MariaDB's is a VARBINARY.
    assert_value(
        "vector(2)",
        (15, 8),
        &[b"\x08", &stored[..]].concat(),
        &stored,
        &expected,
    );
    let column = column("vector(2)", "utf8mb4", false);
    assert!(queried(&column, b"\0\0\0", &TypePolicy::default()).is_err());
}

#[test]
fn types_of_mariadb() {
    let uuid = "651aed08-390f-4893-b2f1-36923e7b7400";
    let stored = b"\x65\x1a\xed\x08\x39\x0f\x48\x93\xb2\xf1\x36\x92\x3e\x7b\x74";
    assert_value(
        "uuid",
        (254, 0xfe10),
        &[b"\x0f", &stored[..]].concat(),
        uuid.as_bytes(),
        &text(uuid),
    );
    assert_value(
        "inet4",
        (254, 0xfe04),
        b"\x04\xc0\x00\x02\x01",
        b"192.0.2.1",
        &text("192.0.2.1"),
    );
    assert_value("inet4", (254, 0xfe04), b"\x01\x0a", b"10.0.0.0", &text("10.0.0.0"));
    let addresses: [(&[u8], &str); 8] = [
        (b"", "::"),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", "::1"),
        (b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01", "::ffff:192.0.2.1"),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0\xc0\0\x02\x01", "::192.0.2.1"),
        (b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", "2001:db8::1"),
        (b"\x20\x01\x0d\xb8", "2001:db8::"),
        (b"\0\x01\0\0\0\x02\0\x03\0\x04\0\x05\0\x06\0\x07", "1::2:3:4:5:6:7"),
        (b"\0\x01\0\x02\0\x03\0\x04\0\x05\0\x06\0\x07\0\x08", "1:2:3:4:5:6:7:8"),
    ];
    for (stored, printed) in addresses {
        let length = u8::try_from(stored.len()).unwrap();
        assert_value(
            "inet6",
            (254, 0xfe10),
            &[&[length], stored].concat(),
            printed.as_bytes(),
            &text(printed),
        );
    }
}

#[test]
fn compressed_columns() {
    use std::io::Write as _;
    let plain = "abc".repeat(100);
    let column = column("varchar(1000) /*M!100301 COMPRESSED*/", "utf8mb4", false);
    let policy = TypePolicy::default();
    let decoder = decoder(&column, (141, 4001), &policy);
    let with_length = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat();
    let mut zlib = flate2::write::ZlibEncoder::new(vec![0x82, 0x01, 0x2c], flate2::Compression::default());
    zlib.write_all(plain.as_bytes()).unwrap();
    let zlib = zlib.finish().unwrap();
    assert_eq!(logged(&decoder, &with_length(&zlib)), Ok(text(&plain)));
    let mut raw = flate2::write::DeflateEncoder::new(vec![0x8a, 0x01, 0x2c], flate2::Compression::default());
    raw.write_all(plain.as_bytes()).unwrap();
    assert_eq!(logged(&decoder, &with_length(&raw.finish().unwrap())), Ok(text(&plain)));
    assert_eq!(logged(&decoder, &with_length(b"\0abc")), Ok(text("abc")));
    assert_eq!(logged(&decoder, &with_length(b"")), Ok(text("")));
    // Longer and shorter than announced, cut off, and compressed in another way.
    for wrong in [
        &[&[0x82, 0x01, 0x2b], &zlib[3..]].concat(),
        &[&[0x82, 0x01, 0x2d], &zlib[3..]].concat(),
        &zlib[..9].to_vec(),
        &vec![0x10],
    ] {
        let bytes = with_length(wrong);
        let mut reader = Reader::new("test", &bytes);
        assert!(pushed(|batch| decoder.decode(&mut reader, batch)).is_err());
    }
}

#[test]
fn a_column_that_is_not_written_so_is_refused() {
    let refused = [
        ("int", (8, 0)),
        ("decimal(10,2)", (246, 0x0a03)),
        ("time(3)", (19, 2)),
        ("datetime(3)", (12, 0)),
        ("bit(9)", (16, 0x0100)),
        ("varchar(20)", (3, 0)),
        ("enum('a')", (254, 0xfe04)),
        ("set('a')", (254, 0xf701)),
        ("binary(4)", (254, 0xfe05)),
        ("json", (252, 4)),
        ("uuid", (254, 0xfe04)),
    ];
    for (column_type, (type_code, metadata)) in refused {
        let column = column(column_type, "utf8mb4", false);
        let decoder = CellDecoder::new(WireColumn { type_code, metadata }, &column, &TypePolicy::default());
        assert!(decoder.is_err(), "{column_type}");
    }
}

#[test]
fn null_is_null_in_every_type() {
    for column_type in ["int", "decimal(5,2)", "date", "text", "json", "point", "bit(3)"] {
        let decoder = TextDecoder::new(&column(column_type, "utf8mb4", true), &TypePolicy::default());
        assert_eq!(pushed(|batch| decoder.decode(None, batch)), Ok(Datum::Null));
    }
}

/// The bytes of a DECIMAL with these digits before and after the point, as the server writes them.
fn stored_decimal(negative: bool, integer: &str, fraction: &str) -> Vec<u8> {
    const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
    let mut bytes = Vec::new();
    let mut push = |digits: &str| {
        let value: u32 = digits.parse().unwrap_or(0);
        bytes.extend_from_slice(&value.to_be_bytes()[4 - BYTES[digits.len()]..]);
    };
    let (leading, groups) = integer.split_at(integer.len() % 9);
    push(leading);
    groups
        .as_bytes()
        .chunks(9)
        .for_each(|group| push(std::str::from_utf8(group).unwrap()));
    fraction
        .as_bytes()
        .chunks(9)
        .for_each(|group| push(std::str::from_utf8(group).unwrap()));
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    bytes[0] ^= 0x80;
    bytes
}

/// A time's or a moment's number of the log, high byte first.
fn packed(whole: i64, base: i64, width: usize, fraction: i64, precision: u8) -> Vec<u8> {
    let bytes = usize::from(precision.div_ceil(2));
    let value = ((whole + base) << (8 * bytes)) + fraction;
    value.to_be_bytes()[8 - width - bytes..].to_vec()
}

proptest! {
    #[test]
    fn decimals_agree(negative: bool, integer in "[0-9]{0,35}", fraction in "[0-9]{0,30}") {
        prop_assume!(!integer.is_empty() || !fraction.is_empty());
        let precision = u8::try_from(integer.len() + fraction.len()).unwrap();
        let scale = u8::try_from(fraction.len()).unwrap();
        let column_type = format!("decimal({precision},{scale})");
        let sign = if negative { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        let printed = format!("{sign}0{integer}{point}{fraction}");
        let column = column(&column_type, "utf8mb4", false);
        let policy = TypePolicy::default();
        let wire = (246, u16::from_be_bytes([precision, scale]));
        let logged = logged(&decoder(&column, wire, &policy), &stored_decimal(negative, &integer, &fraction));
        prop_assert_eq!(logged.clone(), queried(&column, printed.as_bytes(), &policy));
        let Ok(Datum::Text(digits)) = logged else { panic!("{logged:?}") };
        prop_assert_eq!(digits.split_once('.').map_or(0, |(_, digits)| digits.len()), fraction.len());
    }

    #[test]
    fn times_agree(negative: bool, hours in 0..839_i64, minutes in 0..60_i64, seconds in 0..60_i64, precision in 0..=6_u8, fraction in 0..1_000_000_i64) {
        let unit = 10_i64.pow(6 - u32::from(precision));
        let fraction = fraction / unit * unit;
        let stored_unit = 10_i64.pow(6 - 2 * u32::from(precision.div_ceil(2)));
        let sign = if negative { -1 } else { 1 };
        let whole = sign * (hours << 12 | minutes << 6 | seconds);
        let bytes = packed(whole, 0x80_0000, 3, sign * fraction / stored_unit, precision);
        let column = column(&format!("time({precision})"), "utf8mb4", false);
        let policy = TypePolicy::default();
        let expected = sign * ((hours * 3600 + minutes * 60 + seconds) * 1_000_000 + fraction);
        let mut printed = format!("{}{hours:02}:{minutes:02}:{seconds:02}", if negative { "-" } else { "" });
        if precision > 0 {
            printed.push_str(&format!(".{:0width$}", fraction / unit, width = usize::from(precision)));
        }
        prop_assert_eq!(logged(&decoder(&column, (19, precision.into()), &policy), &bytes), Ok(Datum::Int(expected)));
        prop_assert_eq!(queried(&column, printed.as_bytes(), &policy), Ok(Datum::Int(expected)));
    }

    #[test]
    fn moments_agree(year in 0..10_000_i64, month in 0..13_i64, day in 0..32_i64, second in 0..86_400_i64, precision in 0..=6_u8, fraction in 0..1_000_000_i64, nullable: bool) {
        let unit = 10_i64.pow(6 - u32::from(precision));
        let fraction = fraction / unit * unit;
        let stored_unit = 10_i64.pow(6 - 2 * u32::from(precision.div_ceil(2)));
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let whole = ((year * 13 + month) << 5 | day) << 17 | hour << 12 | minute << 6 | second;
        let bytes = packed(whole, 0x80_0000_0000, 5, fraction / stored_unit, precision);
        let column = column(&format!("datetime({precision})"), "utf8mb4", nullable);
        let mut printed = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
        if precision > 0 {
            printed.push_str(&format!(".{:0width$}", fraction / unit, width = usize::from(precision)));
        }
        for invalid_dates in POLICIES {
            let policy = policy(invalid_dates);
            let decoder = decoder(&column, (18, precision.into()), &policy);
            let mut reader = Reader::new("test", &bytes);
            let logged = pushed(|batch| decoder.decode(&mut reader, batch));
            prop_assert_eq!(&logged, &queried(&column, printed.as_bytes(), &policy));
            if invalid_dates == InvalidDates::Text {
                prop_assert_eq!(logged, Ok(text(&printed)));
            } else if let Ok(date) = printed.chars().take(19).collect::<String>().replace(' ', "T").parse::<jiff::civil::DateTime>() {
                let seconds = date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
                prop_assert_eq!(logged, Ok(Datum::Int(seconds * 1_000_000 + fraction)));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let columns = [
            ("decimal(30,10)", (246, 0x1e0a)), ("time(3)", (19, 3)), ("datetime(5)", (18, 5)), ("timestamp(1)", (17, 1)),
            ("varchar(20)", (15, 80)), ("json", (245, 1)), ("point", (255, 1)), ("vector(3)", (242, 1)), ("set('a')", (254, 0xf801)),
            ("uuid", (254, 0xfe10)), ("inet6", (254, 0xfe10)), ("bit(20)", (16, 0x0204)), ("datetime", (12, 0)), ("date", (10, 0)),
        ];
        for (column_type, wire) in columns {
            let column = column(column_type, "sjis", true);
            for invalid_dates in POLICIES {
                let policy = policy(invalid_dates);
                let decoder = decoder(&column, wire, &policy);
                let mut reader = Reader::new("test", &bytes);
                let skipped = decoder.stored(&mut Reader::new("test", &bytes)).is_ok();
                let decoded = pushed(|batch| decoder.decode(&mut reader, batch)).is_ok();
                prop_assert!(skipped || !decoded);
                // Text of any kind is read or refused as well.
                let from_text = queried(&column, &bytes, &policy);
                prop_assert!(!matches!(from_text, Err(CellError::BatchFull(_))));
            }
        }
    }
}

/// A page must not find a time earlier than the one before it where the server sorted them.
#[test]
fn places_in_time_ascend_as_the_server_sorts() {
    let sorted = [
        "0000-00-00 00:00:00",
        "0000-00-01 00:00:00",
        "1969-12-31 23:59:59.999999",
        "1970-01-01",
        "2023-00-00 00:00:00",
        "2023-00-15 12:00:00",
        "2023-02-00 10:00:00",
        "2023-02-28 23:59:59.999999",
        "2023-02-29 00:00:00",
        "2023-02-31 10:00:00",
        "2023-03-01 00:00:00",
        "2023-12-31 00:00:00",
        "2023-12-32 00:00:00",
    ];
    let places: Vec<i64> = sorted
        .iter()
        .map(|text| place_in_time_us(text.as_bytes(), true).unwrap())
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(places[2..4], [-1, 0]);
    assert_eq!(place_in_time_us(b"2023-02-31", false), None);
    assert_eq!(
        place_in_time_us(b"2023-02-28 00:00:00.5", false),
        Some(1_677_542_400_500_000)
    );
    assert_eq!(place_in_time_us(b"10:00:00", true), None);
}
