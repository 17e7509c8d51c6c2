//! ISO 8601 text of dates and times, over every date that PostgreSQL has (4713 BC to 5874897 AD). It goes straight into the batch.

use tailrace_core::calendar::Civil;

use super::number::write_int;

/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// A time of day. The hour is 24 only for the end of the day, and more for an amount of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) microsecond: i64,
}

/// How many fraction digits of a second are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fraction {
    /// Exactly so many, 0 to 6; finer digits are not there by the column's declaration.
    Digits(u8),
    /// As many as are needed.
    Needed,
}

// === impl Clock ===

impl Clock {
    /// The time so many microseconds into the day.
    pub(crate) fn from_microseconds(microseconds: i64) -> Self {
        let seconds = microseconds / 1_000_000;
        Self {
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            microsecond: microseconds % 1_000_000,
        }
    }
}

/// Splits microseconds since 1970 into days and microseconds of day.
pub(crate) fn split(microseconds: i64) -> (i64, i64) {
    (microseconds.div_euclid(DAY_US), microseconds.rem_euclid(DAY_US))
}

/// Writes `2016-11-04`; beyond four digits the year has a sign, as ISO 8601 wants.
pub(crate) fn write_date(out: &mut Vec<u8>, days: i64) {
    let Civil { year, month, day } = Civil::from_days(days);
    write_year(out, year);
    out.push(b'-');
    write_two_digits(out, month);
    out.push(b'-');
    write_two_digits(out, day);
}

fn write_year(out: &mut Vec<u8>, year: i64) {
    if (0..=9999).contains(&year) {
        write_two_digits(out, year / 100);
        write_two_digits(out, year % 100);
        return;
    }
    out.push(if year < 0 { b'-' } else { b'+' });
    let magnitude = year.abs();
    if magnitude <= 9999 {
        write_two_digits(out, magnitude / 100);
        write_two_digits(out, magnitude % 100);
    } else {
        write_int(out, magnitude);
    }
}

/// Writes `13:51:30.123`; an amount of time, as MySQL has it, may be `-838:59:59`.
pub(crate) fn write_clock(out: &mut Vec<u8>, microseconds: i64, fraction: Fraction) {
    if microseconds < 0 {
        out.push(b'-');
    }
    let clock = Clock::from_microseconds(microseconds.saturating_abs());
    if clock.hour < 100 {
        write_two_digits(out, clock.hour);
    } else {
        write_int(out, clock.hour);
    }
    out.push(b':');
    write_two_digits(out, clock.minute);
    out.push(b':');
    write_two_digits(out, clock.second);
    write_fraction(out, clock.microsecond, fraction);
}

/// Writes `2016-11-04T13:51:30.123`.
pub(crate) fn write_date_time(out: &mut Vec<u8>, microseconds: i64, fraction: Fraction) {
    let (days, of_day) = split(microseconds);
    write_days_and_clock(out, days, of_day, fraction);
}

/// Writes the same from days since 1970 and microseconds of day.
pub(crate) fn write_days_and_clock(out: &mut Vec<u8>, days: i64, of_day: i64, fraction: Fraction) {
    write_date(out, days);
    out.push(b'T');
    write_clock(out, of_day, fraction);
}

/// Writes `.123456`, or nothing.
pub(crate) fn write_fraction(out: &mut Vec<u8>, microsecond: i64, fraction: Fraction) {
    let start = out.len();
    if fraction == Fraction::Digits(0) || (fraction == Fraction::Needed && microsecond == 0) {
        return;
    }
    out.push(b'.');
    write_two_digits(out, microsecond / 10_000);
    write_two_digits(out, microsecond / 100 % 100);
    write_two_digits(out, microsecond % 100);
    match fraction {
        Fraction::Digits(digits) => out.truncate(start + 1 + usize::from(digits.min(6))),
        Fraction::Needed => {
            let zeros = out.iter().rev().take_while(|digit| **digit == b'0').count();
            out.truncate(out.len() - zeros);
        }
    }
}

/// Writes `+02:00`, with seconds only where there are any.
pub(crate) fn write_offset(out: &mut Vec<u8>, seconds: i32) {
    out.push(if seconds < 0 { b'-' } else { b'+' });
    let magnitude = i64::from(seconds).abs();
    write_two_digits(out, magnitude / 3600);
    out.push(b':');
    write_two_digits(out, magnitude / 60 % 60);
    if magnitude % 60 != 0 {
        out.push(b':');
        write_two_digits(out, magnitude % 60);
    }
}

fn write_two_digits(out: &mut Vec<u8>, value: i64) {
    let index = usize::try_from(value).unwrap_or_default();
    let pair = DIGIT_PAIRS.get(index).copied().unwrap_or(*b"00");
    out.extend_from_slice(&pair);
}

/// `00` to `99`.
const DIGIT_PAIRS: [[u8; 2]; 100] = digit_pairs();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time, where an index out of bounds does not compile"
)]
const fn digit_pairs() -> [[u8; 2]; 100] {
    let mut pairs = [[b'0'; 2]; 100];
    let mut tens = 0_u8;
    let mut index = 0;
    while index < 100 {
        let mut ones = 0_u8;
        while ones < 10 {
            pairs[index] = [b'0' + tens, b'0' + ones];
            ones += 1;
            index += 1;
        }
        tens += 1;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use jiff::civil;
    use proptest::prelude::*;

    use super::*;

    fn date(days: i64) -> String {
        let mut out = Vec::new();
        write_date(&mut out, days);
        String::from_utf8(out).unwrap()
    }

    fn date_time(microseconds: i64, fraction: Fraction) -> String {
        let mut out = Vec::new();
        write_date_time(&mut out, microseconds, fraction);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_over_the_whole_range() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(-1), "1969-12-31");
        assert_eq!(date(17_109), "2016-11-04");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(-719_528), "0000-01-01");
        assert_eq!(date(-719_529), "-0001-12-31");
        assert_eq!(date(2_932_897), "+10000-01-01");
        // The first and the last date of PostgreSQL: 4714-11-24 BC and 5874897-12-31.
        assert_eq!(date(-2_440_588), "-4713-11-24");
        assert_eq!(date(2_145_042_905), "+5874897-12-31");
    }

    #[test]
    fn timestamps_over_the_whole_range() {
        assert_eq!(
            date_time(1_478_267_490_123_456, Fraction::Digits(6)),
            "2016-11-04T13:51:30.123456"
        );
        assert_eq!(date_time(-1, Fraction::Needed), "1969-12-31T23:59:59.999999");
        assert_eq!(
            date_time(601_060_312_290_123_456, Fraction::Digits(6)),
            "+21016-11-04T13:51:30.123456"
        );
        assert_eq!(
            date_time(9_223_371_331_199_999_999, Fraction::Digits(6)),
            "+294247-01-01T23:59:59.999999"
        );
        assert_eq!(date_time(i64::MAX, Fraction::Needed), "+294247-01-10T04:00:54.775807");
        assert_eq!(
            date_time(-210_831_897_600_000_001, Fraction::Digits(6)),
            "-4712-12-31T23:59:59.999999"
        );
    }

    #[test]
    fn fractions() {
        assert_eq!(date_time(100_000, Fraction::Needed), "1970-01-01T00:00:00.1");
        assert_eq!(date_time(0, Fraction::Needed), "1970-01-01T00:00:00");
        assert_eq!(date_time(123_000, Fraction::Digits(3)), "1970-01-01T00:00:00.123");
        assert_eq!(date_time(0, Fraction::Digits(0)), "1970-01-01T00:00:00");
        assert_eq!(date_time(0, Fraction::Digits(6)), "1970-01-01T00:00:00.000000");
    }

    #[test]
    fn amounts_of_time() {
        let written = |microseconds, digits| {
            let mut out = Vec::new();
            write_clock(&mut out, microseconds, Fraction::Digits(digits));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(-3_020_399_000_000, 6), "-838:59:59.000000");
        assert_eq!(written(3_020_399_000_000, 0), "838:59:59");
        assert_eq!(written(360_000_000_000, 0), "100:00:00");
        assert_eq!(written(-1_000, 3), "-00:00:00.001");
        assert_eq!(written(359_999_999_999, 6), "99:59:59.999999");
    }

    #[test]
    fn offsets() {
        let written = |seconds| {
            let mut out = Vec::new();
            write_offset(&mut out, seconds);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(7200), "+02:00");
        assert_eq!(written(-28_800), "-08:00");
        assert_eq!(written(19_800), "+05:30");
        assert_eq!(written(-57_599), "-15:59:59");
        assert_eq!(written(0), "+00:00");
    }

    proptest! {
        #[test]
        fn the_calendar_agrees_with_a_library(days in -4_371_222_i64..=2_932_896) {
            let expected = civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap();
            let civil = Civil::from_days(days);
            prop_assert_eq!(
                (civil.year, civil.month, civil.day),
                (i64::from(expected.year()), i64::from(expected.month()), i64::from(expected.day()))
            );
        }

        #[test]
        fn each_day_follows_the_one_before(days in -2_440_588_i64..2_145_042_905) {
            let (today, tomorrow) = (Civil::from_days(days), Civil::from_days(days + 1));
            prop_assert_eq!(today.to_days(), days);
            let next_day = tomorrow.day == today.day + 1 && tomorrow.month == today.month && tomorrow.year == today.year;
            let next_month = tomorrow.day == 1 && tomorrow.month == today.month + 1 && tomorrow.year == today.year;
            let next_year = (tomorrow.day, tomorrow.month) == (1, 1) && (today.day, today.month) == (31, 12) && tomorrow.year == today.year + 1;
            prop_assert!(next_day || next_month || next_year);
        }
    }
}
