//! The PostgreSQL rows of the type vectors: dates, times, timestamps and intervals.

use tailrace_core::value::{Datum, Interval, LogicalType, TimeTz};

use crate::vectors::*;

#[test]
fn temporal_columns_adapt() {
    let timestamp = |precision| LogicalType::Timestamp { precision };
    check(
        &timestamp(6),
        DEBEZIUM,
        &[
            ("PV93", number(1_478_267_490_123_456), "1478267490123456"),
            ("PV94", number(-1_047_174_587_392_000), "-1047174587392000"),
            ("PV105", number(601_060_312_290_123_456), "601060312290123456"),
            ("PV110", number(9_223_371_331_199_999_999), "9223371331199999999"),
            ("PV111", number(-210_831_897_600_000_001), "-210831897600000001"),
            ("PV115", number(i64::MIN), "-9223372036832400000"),
            ("infinity", number(i64::MAX), "9223372036825200000"),
            ("PV214", number(1_569_978_123_123_456), "1569978123123456"),
        ],
    );
    check(
        &timestamp(3),
        DEBEZIUM,
        &[
            ("PV95", number(1_478_267_490_123_000), "1478267490123"),
            ("PV107", number(601_060_312_290_124_000), "601060312290124"),
        ],
    );
}

#[test]
fn points_in_time_and_times_of_day() {
    check(
        &LogicalType::TimestampTz { precision: 6 },
        DEBEZIUM,
        &[
            ("PV97", number(1_478_260_290_123_456), "\"2016-11-04T11:51:30.123456Z\""),
            (
                "PV109",
                number(601_060_287_090_000_000),
                "\"+21016-11-04T06:51:30.000000Z\"",
            ),
            (
                "PV112",
                number(9_223_371_331_199_999_999),
                "\"+294247-01-01T23:59:59.999999Z\"",
            ),
            (
                "PV113",
                number(-210_863_520_000_000_001),
                "\"-4713-12-31T23:59:59.999999Z\"",
            ),
            ("PV116", number(i64::MAX), "\"infinity\""),
            ("PV117", number(i64::MIN), "\"-infinity\""),
        ],
    );
    check(
        &LogicalType::Date,
        DEBEZIUM,
        &[("PV98", number(17_109), "17109"), ("PV215", number(18_171), "18171")],
    );
    check(
        &LogicalType::Time { precision: 3 },
        DEBEZIUM,
        &[("PV100", number(49_890_123_000), "49890123")],
    );
    let time_tz = |microseconds, offset_seconds| {
        Datum::TimeTz(TimeTz {
            microseconds,
            offset_seconds,
        })
    };
    check(
        &LogicalType::TimeTz { precision: 6 },
        DEBEZIUM,
        &[
            ("PV102", time_tz(49_890_123_789, 7200), "\"11:51:30.123789Z\""),
            ("PV103", time_tz(49_890_123_000, 7200), "\"11:51:30.123Z\""),
            ("PV119", time_tz(86_400_000_000, 0), "\"24:00:00Z\""),
        ],
    );
}

#[test]
fn arrays_of_times() {
    let time_tz = |microseconds| {
        Datum::TimeTz(TimeTz {
            microseconds,
            offset_seconds: 0,
        })
    };
    let end_of_day = || time_tz(86_400_000_000);
    let times = Datum::List(vec![end_of_day(), end_of_day(), time_tz(0), Datum::Null]);
    let expected = r#"["24:00:00Z","24:00:00Z","00:00:00Z",null]"#;
    check(
        &array(LogicalType::TimeTz { precision: 0 }),
        DEBEZIUM,
        &[("PV120", times, expected)],
    );
    let times = numbers(&[62_000_000, 3_723_000_000]);
    check(
        &array(LogicalType::Time { precision: 6 }),
        DEBEZIUM,
        &[("PV122", times, "[62000000,3723000000]")],
    );
    let instants = numbers(&[1_585_741_862_000_000, 1_585_745_463_000_000]);
    let expected = r#"["2020-04-01T11:51:02.000000Z","2020-04-01T12:51:03.000000Z"]"#;
    check(
        &array(LogicalType::TimestampTz { precision: 6 }),
        DEBEZIUM,
        &[("PV125", instants, expected)],
    );
    check(
        &array(LogicalType::Date),
        DEBEZIUM,
        &[("PV176", numbers(&[17_109, 17_110, 17_111]), "[17109,17110,17111]")],
    );
}

#[test]
fn other_time_formats() {
    let iso = with(r#""time":"isostring""#);
    check(
        &LogicalType::Date,
        &iso,
        &[("PV126", number(17_424), "\"2017-09-15Z\"")],
    );
    check(
        &LogicalType::Timestamp { precision: 6 },
        &iso,
        &[
            ("PV128", number(1_562_639_337_100_000), "\"2019-07-09T02:28:57.1Z\""),
            ("PV129", number(1_562_639_337_120_000), "\"2019-07-09T02:28:57.12Z\""),
            ("PV131", number(1_562_639_337_123_400), "\"2019-07-09T02:28:57.1234Z\""),
            ("PV132", number(1_562_639_337_123_450), "\"2019-07-09T02:28:57.12345Z\""),
            (
                "PV133",
                number(1_562_639_337_123_456),
                "\"2019-07-09T02:28:57.123456Z\"",
            ),
        ],
    );
    for mode in ["adaptive", "isostring", "connect", "microseconds", "nanoseconds", "iso"] {
        let format = with(&format!(r#""time":"{mode}""#));
        let instant = (
            "PV134",
            number(1_562_635_690_123_456),
            "\"2019-07-09T01:28:10.123456Z\"",
        );
        check(&LogicalType::TimestampTz { precision: 6 }, &format, &[instant]);
        let year = Datum::Interval(Interval {
            months: 12,
            days: 0,
            microseconds: 0,
        });
        check(&LogicalType::Interval, &format, &[("PV137", year, "31557600000000")]);
    }
    check(
        &LogicalType::Time { precision: 6 },
        &iso,
        &[("PV136", number(14_711_789_000), "\"04:05:11.789Z\"")],
    );
}

#[test]
fn fixed_units() {
    let time = number(14_711_789_000);
    let micro = with(r#""time":"microseconds""#);
    check(
        &LogicalType::Timestamp { precision: 0 },
        &micro,
        &[("PV139", number(1_562_639_337_000_000), "1562639337000000")],
    );
    for (precision, microseconds) in [(1, 100_000), (2, 120_000), (6, 123_456)] {
        let at = 1_562_639_337_000_000 + microseconds;
        let expected = at.to_string();
        check(
            &LogicalType::Timestamp { precision },
            &micro,
            &[("PV140 PV141 PV145", number(at), expected.as_str())],
        );
    }
    check(
        &LogicalType::Timestamp { precision: 5 },
        &micro,
        &[("PV144", number(1_562_639_337_123_450), "1562639337123450")],
    );
    check(
        &LogicalType::Time { precision: 3 },
        &micro,
        &[("PV146", time.clone(), "14711789000")],
    );
    let nano = with(r#""time":"nanoseconds""#);
    check(
        &LogicalType::Timestamp { precision: 6 },
        &nano,
        &[
            ("PV147", number(1_562_639_337_123_456), "1562639337123456000"),
            ("PV149", number(i64::MAX), "9223372036854775807"),
            ("PV149", number(i64::MIN), "-9223372036854775808"),
        ],
    );
    check(
        &LogicalType::Time { precision: 6 },
        &nano,
        &[("PV148", time, "14711789000000")],
    );
}

#[test]
fn structured_time_formats() {
    let format = with(r#""time":"structured""#);
    let infinite = r#"{"year":null,"month":null,"day":null,"specialValue":"POSITIVE_INFINITY"}"#;
    check(
        &LogicalType::Date,
        &format,
        &[("PV150", number(i32::MAX.into()), infinite)],
    );
    let last = r#"{"year":294247,"month":1,"day":10,"hour":4,"minute":0,"second":54,"nanos":775806000,"specialValue":null,"precision":6}"#;
    check(
        &LogicalType::Timestamp { precision: 6 },
        &format,
        &[("PV151", number(i64::MAX - 1), last)],
    );
    let time_tz = |microseconds, offset_seconds| {
        Datum::TimeTz(TimeTz {
            microseconds,
            offset_seconds,
        })
    };
    check(
        &LogicalType::TimeTz { precision: 6 },
        &format,
        &[
            (
                "PV152",
                time_tz(14_711_000_000, -28_800),
                r#"{"hour":4,"minute":5,"second":11,"nanos":0,"offsetSeconds":-28800,"precision":6}"#,
            ),
            (
                "PV155",
                time_tz(86_400_000_000, 19_800),
                r#"{"hour":24,"minute":0,"second":0,"nanos":0,"offsetSeconds":19800,"precision":6}"#,
            ),
            (
                "PV156",
                time_tz(49_890_123_789, 7200),
                r#"{"hour":13,"minute":51,"second":30,"nanos":123789000,"offsetSeconds":7200,"precision":6}"#,
            ),
        ],
    );
    let time = r#"{"hour":4,"minute":5,"second":11,"nanos":789000000,"precision":6}"#;
    check(
        &LogicalType::Time { precision: 6 },
        &format,
        &[("PV153", number(14_711_789_000), time)],
    );
    let interval = Datum::Interval(Interval {
        months: 14,
        days: 3,
        microseconds: 14_706_789_000,
    });
    let parts = r#"{"years":1,"months":2,"days":3,"hours":4,"minutes":5,"seconds":6,"nanos":789000000,"precision":6}"#;
    check(&LogicalType::Interval, &format, &[("PV154", interval, parts)]);
    let special = |name: &str| {
        format!(
            r#"{{"year":null,"month":null,"day":null,"hour":null,"minute":null,"second":null,"nanos":null,"offsetSeconds":null,"zoneId":null,"specialValue":"{name}","precision":6}}"#
        )
    };
    check(
        &LogicalType::TimestampTz { precision: 6 },
        &format,
        &[
            ("PV157", number(i64::MAX), &special("POSITIVE_INFINITY")),
            ("PV157", number(i64::MIN), &special("NEGATIVE_INFINITY")),
        ],
    );
}

#[test]
fn intervals() {
    let interval = |microseconds| {
        Datum::Interval(Interval {
            months: 14,
            days: 3,
            microseconds,
        })
    };
    let of = LogicalType::Interval;
    check(
        &of,
        DEBEZIUM,
        &[
            ("PV104", interval(14_706_780_000), "37091106780000"),
            ("PV217", interval(14_706_000_000), "37091106000000"),
        ],
    );
    check(
        &of,
        &with(r#""interval":"string""#),
        &[("PV121", interval(14_706_780_000), "\"P1Y2M3DT4H5M6.78S\"")],
    );
    check(
        &of,
        "{}",
        &[("entity", interval(14_706_780_000), "\"P1Y2M3DT4H5M6.78S\"")],
    );
}

#[test]
fn the_last_timestamps_of_postgres() {
    let last = || string("294276-12-31T23:59:59.999999");
    let parts = r#"{"year":294276,"month":12,"day":31,"hour":23,"minute":59,"second":59,"nanos":999999000,"specialValue":null,"precision":6}"#;
    let format = with(r#""time":"structured""#);
    check(
        &LogicalType::Timestamp { precision: 6 },
        &format,
        &[("PV151", last(), parts)],
    );
    check(
        &LogicalType::TimestampTz { precision: 6 },
        "{}",
        &[("entity", last(), "\"+294276-12-31T23:59:59.999999Z\"")],
    );
}
