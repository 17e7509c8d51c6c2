//! Numbers of every width and scale.

use super::*;

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
