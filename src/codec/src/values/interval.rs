//! Intervals: months, days and microseconds, as text, as microseconds, or as a struct.

use tailrace_core::value::Interval;

use super::calendar::{Fraction, write_fraction};
use super::number::write_int;
use super::{CellError, CellResult};
use crate::format::IntervalFormat;
use crate::notation::Notation;

/// A month as Debezium counts it: 365.25 / 12 days.
const MONTH_US: i128 = 2_629_800_000_000;
const DAY_US: i128 = 86_400_000_000;

/// An interval taken apart the way PostgreSQL prints it: years from months, hours and so on from microseconds, every part
/// with the sign of what it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    seconds: i64,
    microseconds: i64,
}

impl From<Interval> for Parts {
    fn from(interval: Interval) -> Self {
        let months = i64::from(interval.months);
        let seconds = interval.microseconds / 1_000_000;
        Self {
            years: months / 12,
            months: months % 12,
            days: i64::from(interval.days),
            hours: seconds / 3600,
            minutes: seconds / 60 % 60,
            seconds: seconds % 60,
            microseconds: interval.microseconds % 1_000_000,
        }
    }
}

/// Writes an interval.
pub(crate) fn write_interval<N: Notation>(out: &mut Vec<u8>, interval: Interval, format: IntervalFormat) -> CellResult {
    match format {
        IntervalFormat::Iso => N::plain_text(out, |out| write_iso(out, interval.into())),
        IntervalFormat::String => N::plain_text(out, |out| write_every_part(out, interval.into())),
        IntervalFormat::Structured => return write_structured::<N>(out, interval.into(), 6),
        IntervalFormat::Numeric => return write_microseconds::<N>(out, interval),
    }
    Ok(())
}

/// Writes an amount of time as Debezium's struct of a duration: hours are its largest part, as in MySQL's `TIME`.
pub(crate) fn write_amount<N: Notation>(out: &mut Vec<u8>, microseconds: i64, precision: u8) -> CellResult {
    let amount = Interval {
        months: 0,
        days: 0,
        microseconds,
    };
    write_structured::<N>(out, amount.into(), precision)
}

fn write_microseconds<N: Notation>(out: &mut Vec<u8>, interval: Interval) -> CellResult {
    let total =
        i128::from(interval.months) * MONTH_US + i128::from(interval.days) * DAY_US + i128::from(interval.microseconds);
    let total = i64::try_from(total).map_err(|_| {
        CellError::unrepresentable(
            "is an interval of more than 292 000 years, which microseconds cannot hold",
            "set format.interval: iso (or string)",
        )
    })?;
    N::int(out, total);
    Ok(())
}

fn write_iso(out: &mut Vec<u8>, parts: Parts) {
    out.push(b'P');
    let start = out.len();
    for (value, unit) in [(parts.years, b'Y'), (parts.months, b'M'), (parts.days, b'D')] {
        write_part(out, value, unit);
    }
    let date_end = out.len();
    out.push(b'T');
    write_part(out, parts.hours, b'H');
    write_part(out, parts.minutes, b'M');
    if parts.seconds != 0 || parts.microseconds != 0 {
        write_seconds(out, parts);
        out.push(b'S');
    }
    match (out.len() == date_end + 1, date_end == start) {
        (true, true) => out.extend_from_slice(b"0S"),
        (true, false) => out.truncate(date_end),
        (false, _) => {}
    }
}

fn write_part(out: &mut Vec<u8>, value: i64, unit: u8) {
    if value != 0 {
        write_int(out, value);
        out.push(unit);
    }
}

fn write_every_part(out: &mut Vec<u8>, parts: Parts) {
    out.push(b'P');
    let named = [
        (parts.years, "Y"),
        (parts.months, "M"),
        (parts.days, "DT"),
        (parts.hours, "H"),
        (parts.minutes, "M"),
    ];
    for (value, unit) in named {
        write_int(out, value);
        out.extend_from_slice(unit.as_bytes());
    }
    write_seconds(out, parts);
    out.push(b'S');
}

fn write_seconds(out: &mut Vec<u8>, parts: Parts) {
    if parts.seconds == 0 && parts.microseconds < 0 {
        out.push(b'-');
    }
    write_int(out, parts.seconds);
    write_fraction(out, parts.microseconds.abs(), Fraction::Needed);
}

fn write_structured<N: Notation>(out: &mut Vec<u8>, parts: Parts, precision: u8) -> CellResult {
    if N::HAS_TYPES && i32::try_from(parts.hours).is_err() {
        return Err(CellError::unrepresentable(
            "is an interval of more hours than 32 bits can hold, which is what its schema says",
            "set format.interval: iso (or string)",
        ));
    }
    let fields = [
        ("{\"years\":", parts.years),
        (",\"months\":", parts.months),
        (",\"days\":", parts.days),
        (",\"hours\":", parts.hours),
        (",\"minutes\":", parts.minutes),
        (",\"seconds\":", parts.seconds),
        (",\"nanos\":", parts.microseconds * 1000),
    ];
    for (name, value) in fields {
        N::syntax(out, name.as_bytes());
        N::optional(out, true);
        N::int(out, value);
    }
    N::syntax(out, b",\"precision\":");
    N::optional(out, true);
    N::int(out, precision.into());
    N::syntax(out, b"}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::Json;

    fn written(months: i32, days: i32, microseconds: i64, format: IntervalFormat) -> String {
        let mut out = Vec::new();
        write_interval::<Json>(
            &mut out,
            Interval {
                months,
                days,
                microseconds,
            },
            format,
        )
        .unwrap();
        String::from_utf8(out).unwrap()
    }

    const TIME: i64 = 14_706_780_000;

    #[test]
    fn amounts_of_time_are_durations() {
        let mut out = Vec::new();
        write_amount::<Json>(&mut out, -3_020_399_000_001, 6).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"years":0,"months":0,"days":0,"hours":-838,"minutes":-59,"seconds":-59,"nanos":-1000,"precision":6}"#
        );
    }

    #[test]
    fn numeric_counts_a_month_as_a_twelfth_of_a_year() {
        assert_eq!(written(14, 3, TIME, IntervalFormat::Numeric), "37091106780000");
        assert_eq!(written(12, 0, 0, IntervalFormat::Numeric), "31557600000000");
        assert_eq!(written(0, 0, -1, IntervalFormat::Numeric), "-1");
        let longest = Interval {
            months: i32::MIN,
            days: 0,
            microseconds: 0,
        };
        assert!(write_interval::<Json>(&mut Vec::new(), longest, IntervalFormat::Numeric).is_err());
    }

    #[test]
    fn debeziums_text_has_every_part() {
        assert_eq!(written(14, 3, TIME, IntervalFormat::String), "\"P1Y2M3DT4H5M6.78S\"");
        assert_eq!(written(0, 0, 0, IntervalFormat::String), "\"P0Y0M0DT0H0M0S\"");
        assert_eq!(
            written(-14, 3, -500_000, IntervalFormat::String),
            "\"P-1Y-2M3DT0H0M-0.5S\""
        );
    }

    #[test]
    fn iso_text_has_only_what_is_there() {
        assert_eq!(written(14, 3, TIME, IntervalFormat::Iso), "\"P1Y2M3DT4H5M6.78S\"");
        assert_eq!(written(0, 0, 0, IntervalFormat::Iso), "\"PT0S\"");
        assert_eq!(written(0, 5, 0, IntervalFormat::Iso), "\"P5D\"");
        assert_eq!(written(0, 0, -3_600_000_000, IntervalFormat::Iso), "\"PT-1H\"");
        assert_eq!(written(0, 0, -1, IntervalFormat::Iso), "\"PT-0.000001S\"");
        assert_eq!(
            written(i32::MIN, i32::MIN, i64::MIN, IntervalFormat::Iso),
            "\"P-178956970Y-8M-2147483648DT-2562047788H-54.775808S\""
        );
    }

    #[test]
    fn structured() {
        assert_eq!(
            written(14, 3, 14_706_789_000, IntervalFormat::Structured),
            "{\"years\":1,\"months\":2,\"days\":3,\"hours\":4,\"minutes\":5,\"seconds\":6,\"nanos\":789000000,\"precision\":6}"
        );
    }
}
