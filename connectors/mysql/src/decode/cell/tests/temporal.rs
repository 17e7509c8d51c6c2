//! Dates, times and moments, and those that no calendar has.

use super::*;

/// A column type, its column in the log, a value there and the same value as a server prints it.
type Moment<'a> = (&'a str, (u8, u16), &'a [u8], &'a str);

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
