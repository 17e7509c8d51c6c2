//! Timestamps after 294247-01-10T04:00:54.775806, the last that 64 bits of microseconds since 1970 can hold. PostgreSQL has
//! another 29 years (it counts from 2000), so that such a value comes as text: `294276-12-31T23:59:59.999999`, in UTC
//! where it is a point in time. Text, structs and milliseconds can still hold it; finer numbers cannot, and it is refused.

use tailrace_core::calendar::Civil;

use super::calendar::{DAY_US, Fraction, write_days_and_clock};
use super::structured::{self, Moment};
use super::temporal::{Unit, timestamp_unit};
use super::{CellError, CellResult};
use crate::format::TimeFormat;
use crate::notation::Notation;

/// Writes a late timestamp without zone.
pub(crate) fn write_timestamp<N: Notation>(
    out: &mut Vec<u8>,
    text: &str,
    format: TimeFormat,
    precision: u8,
) -> CellResult {
    let (days, microseconds) = parse(text).ok_or_else(CellError::mismatch)?;
    match timestamp_unit(format, precision) {
        Some(Unit::Milliseconds) => N::int(out, days * (DAY_US / 1000) + microseconds / 1000),
        Some(_) => return Err(too_late()),
        None if format == TimeFormat::Structured => {
            structured::write_timestamp::<N>(out, Moment::At { days, microseconds }, precision);
        }
        None if format == TimeFormat::Iso => {
            N::plain_text(out, |out| {
                write_days_and_clock(out, days, microseconds, Fraction::Digits(precision));
            });
        }
        None => N::plain_text(out, |out| {
            write_days_and_clock(out, days, microseconds, Fraction::Needed);
            out.push(b'Z');
        }),
    }
    Ok(())
}

/// Writes a late point in time.
pub(crate) fn write_timestamp_tz<N: Notation>(
    out: &mut Vec<u8>,
    text: &str,
    format: TimeFormat,
    precision: u8,
) -> CellResult {
    let (days, microseconds) = parse(text).ok_or_else(CellError::mismatch)?;
    match format {
        TimeFormat::Structured => {
            structured::write_zoned_timestamp::<N>(out, Moment::At { days, microseconds }, precision);
        }
        TimeFormat::Logical => return Err(too_late()),
        _ => N::plain_text(out, |out| {
            write_days_and_clock(out, days, microseconds, Fraction::Digits(precision));
            out.push(b'Z');
        }),
    }
    Ok(())
}

fn too_late() -> CellError {
    CellError::unrepresentable(
        "is a timestamp after 294247-01-10, which 64 bits of microseconds cannot hold",
        "set format.time: iso (or isostring, or structured)",
    )
}

/// Days since 1970 and microseconds of day.
fn parse(text: &str) -> Option<(i64, i64)> {
    let (date, time) = text.split_once('T')?;
    let (year, month_and_day) = date.split_once('-')?;
    let [month, day] = pairs(month_and_day, '-')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = pairs(clock, ':')?;
    let civil = Civil {
        year: number(year, 4..=6)?,
        month,
        day,
    };
    let fraction_digits = u32::try_from(fraction.len()).ok()?;
    let microsecond = number(fraction, 1..=6)? * 10_i64.pow(6_u32.checked_sub(fraction_digits)?);
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let of_day = ((hour * 60 + minute) * 60 + second) * 1_000_000 + microsecond;
    in_range.then(|| (civil.to_days(), of_day))
}

/// Numbers of two digits each.
fn pairs<const COUNT: usize>(text: &str, separator: char) -> Option<[i64; COUNT]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; COUNT];
    for to in &mut numbers {
        *to = number(parts.next()?, 2..=2)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn number(digits: &str, length: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let plain = length.contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::Json;

    const LAST: &str = "294276-12-31T23:59:59.999999";

    fn timestamp(text: &str, format: TimeFormat, precision: u8) -> Result<String, CellError> {
        let mut out = Vec::new();
        write_timestamp::<Json>(&mut out, text, format, precision).map(|()| String::from_utf8(out).unwrap())
    }

    fn timestamp_tz(text: &str, format: TimeFormat) -> String {
        let mut out = Vec::new();
        write_timestamp_tz::<Json>(&mut out, text, format, 6).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_can_hold_it_does() {
        assert_eq!(
            timestamp(LAST, TimeFormat::Iso, 6).unwrap(),
            "\"+294276-12-31T23:59:59.999999\""
        );
        assert_eq!(
            timestamp(LAST, TimeFormat::Isostring, 6).unwrap(),
            "\"+294276-12-31T23:59:59.999999Z\""
        );
        assert_eq!(
            timestamp("294276-12-31T23:59:59.99", TimeFormat::Adaptive, 3).unwrap(),
            "9224318015999990"
        );
        assert_eq!(
            timestamp(LAST, TimeFormat::Structured, 6).unwrap(),
            "{\"year\":294276,\"month\":12,\"day\":31,\"hour\":23,\"minute\":59,\"second\":59,\"nanos\":999999000,\"specialValue\":null,\"precision\":6}"
        );
        assert_eq!(
            timestamp_tz(LAST, TimeFormat::Adaptive),
            "\"+294276-12-31T23:59:59.999999Z\""
        );
        assert!(timestamp_tz(LAST, TimeFormat::Structured).starts_with("{\"year\":294276,"));
    }

    #[test]
    fn what_cannot_refuses() {
        for format in [TimeFormat::Adaptive, TimeFormat::Microseconds, TimeFormat::Nanoseconds] {
            let error = timestamp(LAST, format, 6).unwrap_err();
            assert!(error.remedy.contains("format.time: iso"));
        }
    }

    #[test]
    fn what_is_not_a_timestamp_is_refused() {
        // Every truncation is refused until the second is whole; then only the point without a fraction is.
        for length in 0..LAST.len() {
            let (shorter, _) = LAST.split_at(length);
            let complete = length >= "294276-12-31T23:59:59".len() && !shorter.ends_with('.');
            assert_eq!(parse(shorter).is_some(), complete, "{shorter}");
        }
        for wrong in [
            "infinity",
            "294276-13-01T00:00:00",
            "294276-12-31T24:00:00",
            "294276-12-31T00:00:00.1234567",
            "-1-1-1T0:0:0",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
