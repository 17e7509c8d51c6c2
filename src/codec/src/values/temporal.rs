//! Dates, times and timestamps in each of the time formats.
//!
//! Infinity: text where there is text for it, Debezium's stand-ins where Debezium has some, and otherwise the largest and
//! smallest number of the field's type. What a format cannot hold is an error; nothing wraps. Only `connect` cuts
//! fractions off, because its milliseconds are what was asked for. Avro's logical types have neither infinity nor a time of
//! more than a day: such a value is refused under `logical`.

use tailrace_core::value::TimeTz;

use super::calendar::{DAY_US, Fraction, split, write_clock, write_date, write_date_time, write_offset};
use super::structured::{self, Moment};
use super::{CellError, CellResult};
use crate::format::TimeFormat;
use crate::notation::Notation;

/// What Debezium publishes in microseconds for an infinite timestamp: PostgreSQL's JDBC driver's stand-ins for it.
pub(crate) const DEBEZIUM_POSITIVE_INFINITY_US: i64 = 9_223_372_036_825_200_000;
pub(crate) const DEBEZIUM_NEGATIVE_INFINITY_US: i64 = -9_223_372_036_832_400_000;

/// Columns of so many fraction digits are in milliseconds where the unit adapts.
const MILLISECOND_PRECISION: u8 = 3;

/// The unit of a numeric time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// The unit of times of day in a format; `None` where they are not numbers.
pub(crate) fn time_unit(format: TimeFormat, precision: u8) -> Option<Unit> {
    match format {
        TimeFormat::Iso | TimeFormat::Isostring | TimeFormat::Structured => None,
        TimeFormat::Adaptive if precision <= MILLISECOND_PRECISION => Some(Unit::Milliseconds),
        TimeFormat::Adaptive
        | TimeFormat::AdaptiveTimeMicroseconds
        | TimeFormat::Microseconds
        | TimeFormat::Logical => Some(Unit::Microseconds),
        TimeFormat::Connect => Some(Unit::Milliseconds),
        TimeFormat::Nanoseconds => Some(Unit::Nanoseconds),
    }
}

/// The unit of timestamps without zone in a format; `None` where they are not numbers.
pub(crate) fn timestamp_unit(format: TimeFormat, precision: u8) -> Option<Unit> {
    match format {
        TimeFormat::AdaptiveTimeMicroseconds => time_unit(TimeFormat::Adaptive, precision),
        other => time_unit(other, precision),
    }
}

/// Writes a date, given in days since 1970.
pub(crate) fn write_date_value<N: Notation>(out: &mut Vec<u8>, days: i64, format: TimeFormat) -> CellResult {
    let infinite = infinity(days, i64::from(i32::MIN), i64::from(i32::MAX));
    match (format, infinite) {
        (TimeFormat::Iso | TimeFormat::Isostring, Some(name)) => N::text(out, name),
        (TimeFormat::Iso, None) => N::plain_text(out, |out| write_date(out, days)),
        (TimeFormat::Isostring, None) => N::plain_text(out, |out| {
            write_date(out, days);
            out.push(b'Z');
        }),
        (TimeFormat::Structured, _) => structured::write_date::<N>(out, moment(infinite, days, 0)),
        (TimeFormat::Logical, Some(_)) => return Err(not_finite()),
        _ => N::int(out, days),
    }
    Ok(())
}

/// Writes a time of day, or an amount of time, given in microseconds.
pub(crate) fn write_time_value<N: Notation>(
    out: &mut Vec<u8>,
    microseconds: i64,
    format: TimeFormat,
    precision: u8,
) -> CellResult {
    match time_unit(format, precision) {
        Some(Unit::Milliseconds) => N::int(out, milliseconds_in_32_bits(microseconds)?),
        Some(_) if format == TimeFormat::Logical && !(0..DAY_US).contains(&microseconds) => {
            return Err(CellError::unrepresentable(
                "is not a time within a day, which is all that Avro's time-micros can hold",
                "set format.time: iso, which writes it as text",
            ));
        }
        Some(unit) => N::int(out, in_unit(microseconds, unit).unwrap_or(microseconds)),
        None if format == TimeFormat::Structured => structured::write_time::<N>(out, microseconds, precision),
        None if format == TimeFormat::Iso => {
            N::plain_text(out, |out| write_clock(out, microseconds, Fraction::Digits(precision)));
        }
        None => N::plain_text(out, |out| {
            write_clock(out, microseconds, Fraction::Needed);
            out.push(b'Z');
        }),
    }
    Ok(())
}

/// Milliseconds of a time, whose field has 32 bits: enough for a day, and for 596 hours of an amount of time.
fn milliseconds_in_32_bits(microseconds: i64) -> Result<i64, CellError> {
    let milliseconds = microseconds.div_euclid(1000);
    i32::try_from(milliseconds).map(i64::from).map_err(|_| {
        CellError::unrepresentable(
            "is a time of more than 596 hours, whose milliseconds 32 bits cannot hold",
            "set format.time: adaptive_time_microseconds (or iso)",
        )
    })
}

/// Writes a time of day with offset: with the offset itself in `iso`, `logical` and `structured`, in UTC otherwise.
pub(crate) fn write_time_tz_value<N: Notation>(out: &mut Vec<u8>, time: TimeTz, format: TimeFormat, precision: u8) {
    match format {
        TimeFormat::Structured => {
            structured::write_zoned_time::<N>(out, time.microseconds, time.offset_seconds, precision);
        }
        // Avro has no logical type for it.
        TimeFormat::Iso | TimeFormat::Logical => N::plain_text(out, |out| {
            write_clock(out, time.microseconds, Fraction::Digits(precision));
            write_offset(out, time.offset_seconds);
        }),
        _ => {
            let utc = match time.offset_seconds {
                // Only at offset zero is the end of the day not the beginning of another.
                0 => time.microseconds,
                offset => (time.microseconds - i64::from(offset) * 1_000_000).rem_euclid(DAY_US),
            };
            N::plain_text(out, |out| {
                write_clock(out, utc, Fraction::Needed);
                out.push(b'Z');
            });
        }
    }
}

/// Writes a timestamp without zone, given in microseconds since 1970.
pub(crate) fn write_timestamp_value<N: Notation>(
    out: &mut Vec<u8>,
    microseconds: i64,
    format: TimeFormat,
    precision: u8,
) -> CellResult {
    let infinite = infinity(microseconds, i64::MIN, i64::MAX);
    match (timestamp_unit(format, precision), infinite) {
        (Some(_), Some(_)) if format == TimeFormat::Logical => return Err(not_finite()),
        (Some(Unit::Nanoseconds), Some(_)) => N::int(out, microseconds),
        (Some(unit), _) => {
            let value = in_unit(debezium_stand_in(microseconds), unit).ok_or_else(out_of_nanoseconds)?;
            N::int(out, value);
        }
        (None, _) if format == TimeFormat::Structured => {
            let (days, of_day) = split(microseconds);
            structured::write_timestamp::<N>(out, moment(infinite, days, of_day), precision);
        }
        (None, Some(name)) if format == TimeFormat::Iso => N::text(out, name),
        (None, _) if format == TimeFormat::Iso => {
            N::plain_text(out, |out| {
                write_date_time(out, microseconds, Fraction::Digits(precision));
            });
        }
        (None, _) => N::plain_text(out, |out| {
            write_date_time(out, debezium_stand_in(microseconds), Fraction::Needed);
            out.push(b'Z');
        }),
    }
    Ok(())
}

/// Writes a point in time, given in microseconds since 1970: ISO 8601 text in UTC in every format but `structured` and
/// `logical`.
pub(crate) fn write_timestamp_tz_value<N: Notation>(
    out: &mut Vec<u8>,
    microseconds: i64,
    format: TimeFormat,
    precision: u8,
) -> CellResult {
    let infinite = infinity(microseconds, i64::MIN, i64::MAX);
    match (format, infinite) {
        (TimeFormat::Structured, _) => {
            let (days, of_day) = split(microseconds);
            structured::write_zoned_timestamp::<N>(out, moment(infinite, days, of_day), precision);
        }
        (TimeFormat::Logical, Some(_)) => return Err(not_finite()),
        (TimeFormat::Logical, None) => N::int(out, microseconds),
        (_, Some(name)) => N::text(out, name),
        (_, None) => N::plain_text(out, |out| {
            write_date_time(out, microseconds, Fraction::Digits(precision));
            out.push(b'Z');
        }),
    }
    Ok(())
}

fn infinity(value: i64, negative: i64, positive: i64) -> Option<&'static str> {
    match value {
        value if value == positive => Some("infinity"),
        value if value == negative => Some("-infinity"),
        _ => None,
    }
}

fn moment(infinite: Option<&str>, days: i64, microseconds: i64) -> Moment {
    match infinite {
        None => Moment::At { days, microseconds },
        Some("infinity") => Moment::PositiveInfinity,
        Some(_) => Moment::NegativeInfinity,
    }
}

fn not_finite() -> CellError {
    CellError::unrepresentable(
        "is infinite, which Avro's dates and timestamps cannot hold",
        "set format.time: iso, which writes it as text",
    )
}

fn debezium_stand_in(microseconds: i64) -> i64 {
    match microseconds {
        i64::MAX => DEBEZIUM_POSITIVE_INFINITY_US,
        i64::MIN => DEBEZIUM_NEGATIVE_INFINITY_US,
        other => other,
    }
}

fn in_unit(microseconds: i64, unit: Unit) -> Option<i64> {
    match unit {
        Unit::Milliseconds => Some(microseconds.div_euclid(1000)),
        Unit::Microseconds => Some(microseconds),
        Unit::Nanoseconds => microseconds.checked_mul(1000),
    }
}

fn out_of_nanoseconds() -> CellError {
    CellError::unrepresentable(
        "is a timestamp before 1677-09-21 or after 2262-04-11, which nanoseconds cannot hold",
        "set format.time: microseconds (or iso)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::Json;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn timestamp(value: i64, format: TimeFormat, precision: u8) -> String {
        text(|out| write_timestamp_value::<Json>(out, value, format, precision).unwrap())
    }

    fn timestamp_tz(value: i64, format: TimeFormat, precision: u8) -> String {
        text(|out| write_timestamp_tz_value::<Json>(out, value, format, precision).unwrap())
    }

    fn time_tz(microseconds: i64, offset_seconds: i32, format: TimeFormat, precision: u8) -> String {
        text(|out| {
            write_time_tz_value::<Json>(
                out,
                TimeTz {
                    microseconds,
                    offset_seconds,
                },
                format,
                precision,
            )
        })
    }

    const AT: i64 = 1_478_267_490_123_456;

    #[test]
    fn timestamps_in_each_format() {
        assert_eq!(timestamp(AT, TimeFormat::Iso, 6), "\"2016-11-04T13:51:30.123456\"");
        assert_eq!(timestamp(AT, TimeFormat::Adaptive, 6), "1478267490123456");
        assert_eq!(timestamp(AT - 456, TimeFormat::Adaptive, 3), "1478267490123");
        assert_eq!(timestamp(AT, TimeFormat::AdaptiveTimeMicroseconds, 2), "1478267490123");
        assert_eq!(timestamp(AT, TimeFormat::Connect, 6), "1478267490123");
        assert_eq!(timestamp(-1, TimeFormat::Connect, 6), "-1");
        assert_eq!(timestamp(AT, TimeFormat::Microseconds, 0), "1478267490123456");
        assert_eq!(timestamp(AT, TimeFormat::Nanoseconds, 6), "1478267490123456000");
        assert_eq!(
            timestamp(1_562_639_337_120_000, TimeFormat::Isostring, 2),
            "\"2019-07-09T02:28:57.12Z\""
        );
        assert_eq!(
            timestamp(-1_047_174_587_392_000, TimeFormat::Adaptive, 6),
            "-1047174587392000"
        );
        assert_eq!(
            timestamp(AT, TimeFormat::Structured, 6),
            "{\"year\":2016,\"month\":11,\"day\":4,\"hour\":13,\"minute\":51,\"second\":30,\"nanos\":123456000,\"specialValue\":null,\"precision\":6}"
        );
    }

    #[test]
    fn infinite_timestamps_in_each_format() {
        assert_eq!(timestamp(i64::MAX, TimeFormat::Adaptive, 6), "9223372036825200000");
        assert_eq!(timestamp(i64::MIN, TimeFormat::Adaptive, 6), "-9223372036832400000");
        assert_eq!(timestamp(i64::MAX, TimeFormat::Adaptive, 3), "9223372036825200");
        assert_eq!(timestamp(i64::MAX, TimeFormat::Nanoseconds, 6), "9223372036854775807");
        assert_eq!(timestamp(i64::MIN, TimeFormat::Nanoseconds, 6), "-9223372036854775808");
        assert_eq!(timestamp(i64::MIN, TimeFormat::Iso, 6), "\"-infinity\"");
        assert_eq!(
            timestamp(i64::MIN, TimeFormat::Structured, 6),
            "{\"year\":null,\"month\":null,\"day\":null,\"hour\":null,\"minute\":null,\"second\":null,\"nanos\":null,\"specialValue\":\"NEGATIVE_INFINITY\",\"precision\":6}"
        );
        assert_eq!(timestamp_tz(i64::MAX, TimeFormat::Adaptive, 6), "\"infinity\"");
        assert_eq!(timestamp_tz(i64::MIN, TimeFormat::Nanoseconds, 6), "\"-infinity\"");
        assert!(
            timestamp_tz(i64::MAX, TimeFormat::Structured, 6)
                .contains("\"zoneId\":null,\"specialValue\":\"POSITIVE_INFINITY\"")
        );
    }

    #[test]
    fn what_nanoseconds_cannot_hold_is_refused() {
        let edge = i64::MAX / 1000;
        assert_eq!(timestamp(edge, TimeFormat::Nanoseconds, 6), (edge * 1000).to_string());
        let error = write_timestamp_value::<Json>(&mut Vec::new(), edge + 1, TimeFormat::Nanoseconds, 6).unwrap_err();
        assert!(error.remedy.contains("microseconds"));
    }

    #[test]
    fn points_in_time_are_text_in_utc() {
        assert_eq!(
            timestamp_tz(AT, TimeFormat::Adaptive, 6),
            "\"2016-11-04T13:51:30.123456Z\""
        );
        assert_eq!(
            timestamp_tz(0, TimeFormat::Connect, 6),
            "\"1970-01-01T00:00:00.000000Z\""
        );
        assert_eq!(timestamp_tz(0, TimeFormat::Iso, 3), "\"1970-01-01T00:00:00.000Z\"");
        assert_eq!(timestamp_tz(0, TimeFormat::Iso, 0), "\"1970-01-01T00:00:00Z\"");
        assert!(
            timestamp_tz(0, TimeFormat::Structured, 6)
                .contains("\"nanos\":0,\"offsetSeconds\":0,\"zoneId\":\"Z\",\"specialValue\":null")
        );
    }

    #[test]
    fn dates_in_each_format() {
        let date = |days, format| text(|out| write_date_value::<Json>(out, days, format).unwrap());
        assert_eq!(date(17_109, TimeFormat::Adaptive), "17109");
        assert_eq!(date(17_109, TimeFormat::Connect), "17109");
        assert_eq!(date(17_424, TimeFormat::Isostring), "\"2017-09-15Z\"");
        assert_eq!(date(17_424, TimeFormat::Iso), "\"2017-09-15\"");
        assert_eq!(date(i32::MAX.into(), TimeFormat::Iso), "\"infinity\"");
        assert_eq!(date(i32::MIN.into(), TimeFormat::Adaptive), "-2147483648");
        assert_eq!(
            date(i32::MAX.into(), TimeFormat::Structured),
            "{\"year\":null,\"month\":null,\"day\":null,\"specialValue\":\"POSITIVE_INFINITY\"}"
        );
        assert_eq!(
            date(0, TimeFormat::Structured),
            "{\"year\":1970,\"month\":1,\"day\":1,\"specialValue\":null}"
        );
    }

    #[test]
    fn times_in_each_format() {
        let time =
            |value, format, precision| text(|out| write_time_value::<Json>(out, value, format, precision).unwrap());
        assert_eq!(time(49_890_123_000, TimeFormat::Adaptive, 3), "49890123");
        assert_eq!(time(49_890_123_789, TimeFormat::Adaptive, 6), "49890123789");
        assert_eq!(time(14_711_789_000, TimeFormat::Microseconds, 3), "14711789000");
        assert_eq!(time(14_711_789_000, TimeFormat::Nanoseconds, 6), "14711789000000");
        assert_eq!(time(14_711_789_000, TimeFormat::Connect, 6), "14711789");
        assert_eq!(time(14_711_789_000, TimeFormat::Isostring, 6), "\"04:05:11.789Z\"");
        assert_eq!(time(14_711_789_000, TimeFormat::Iso, 6), "\"04:05:11.789000\"");
        assert_eq!(time(DAY_US, TimeFormat::Iso, 0), "\"24:00:00\"");
        assert_eq!(time(DAY_US, TimeFormat::Adaptive, 6), "86400000000");
        assert_eq!(
            time(14_711_789_000, TimeFormat::Structured, 6),
            "{\"hour\":4,\"minute\":5,\"second\":11,\"nanos\":789000000,\"precision\":6}"
        );
    }

    #[test]
    fn amounts_of_time_in_each_format() {
        let time =
            |value, format, precision| text(|out| write_time_value::<Json>(out, value, format, precision).unwrap());
        let most = 3_020_399_000_000;
        assert_eq!(time(-most, TimeFormat::Iso, 6), "\"-838:59:59.000000\"");
        assert_eq!(time(-most, TimeFormat::Isostring, 6), "\"-838:59:59Z\"");
        assert_eq!(time(most, TimeFormat::AdaptiveTimeMicroseconds, 0), "3020399000000");
        assert_eq!(time(-most, TimeFormat::Nanoseconds, 0), "-3020399000000000");
        assert_eq!(time(-47_690_000_000, TimeFormat::Connect, 0), "-47690000");
        assert_eq!(time(2_147_483_647_000, TimeFormat::Connect, 0), "2147483647");
        for beyond in [2_147_483_648_000, -2_147_483_648_001] {
            let error = write_time_value::<Json>(&mut Vec::new(), beyond, TimeFormat::Connect, 0).unwrap_err();
            assert!(error.remedy.contains("adaptive_time_microseconds"));
        }
    }

    #[test]
    fn times_with_offset_in_each_format() {
        assert_eq!(
            time_tz(49_890_123_789, 7200, TimeFormat::Adaptive, 6),
            "\"11:51:30.123789Z\""
        );
        assert_eq!(
            time_tz(49_890_123_000, 7200, TimeFormat::Isostring, 3),
            "\"11:51:30.123Z\""
        );
        assert_eq!(time_tz(DAY_US, 0, TimeFormat::Adaptive, 6), "\"24:00:00Z\"");
        assert_eq!(time_tz(3_600_000_000, 7200, TimeFormat::Adaptive, 6), "\"23:00:00Z\"");
        assert_eq!(
            time_tz(49_890_123_789, 7200, TimeFormat::Iso, 6),
            "\"13:51:30.123789+02:00\""
        );
        assert_eq!(
            time_tz(14_711_000_000, -28_800, TimeFormat::Structured, 0),
            "{\"hour\":4,\"minute\":5,\"second\":11,\"nanos\":0,\"offsetSeconds\":-28800,\"precision\":0}"
        );
        assert!(
            time_tz(DAY_US, 19_800, TimeFormat::Structured, 6)
                .starts_with("{\"hour\":24,\"minute\":0,\"second\":0,\"nanos\":0,\"offsetSeconds\":19800")
        );
    }
}
