//! Dates and times, in the forms that SQLite's own functions write and read (<https://www.sqlite.org/lang_datefunc.html>):
//! ISO 8601 text, seconds since 1970, Julian day numbers.
//!
//! Text without an offset is UTC, as it is for SQLite. Years are 0000 to 9999: a number beyond them means that
//! `timestamp_unit` is another one, and is refused instead of being believed.

use jiff::civil::Date;

use super::{Raw, whole};
use crate::config::TimestampUnit;

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const DAY_US: i64 = 24 * 60 * MINUTE_US;
/// 0000-01-01T00:00:00Z.
const FIRST_US: i64 = -62_167_219_200 * SECOND_US;
/// 9999-12-31T23:59:59.999999Z.
const LAST_US: i64 = 253_402_300_800 * SECOND_US - 1;
/// Julian days of 0000-01-01 and of the end of 9999: SQLite reads numbers in between as such.
const JULIAN_DAYS: std::ops::RangeInclusive<f64> = 1_721_059.5..=5_373_484.5;
/// Julian day of 1970-01-01T00:00:00Z.
const JULIAN_EPOCH: f64 = 2_440_587.5;

/// A point in time in microseconds, and whether it says all that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    microseconds: i64,
    exact: bool,
}

/// What is still to be read of a text.
struct Scanner<'a> {
    rest: &'a [u8],
}

/// Microseconds since 1970, finer digits cut off; `None` for what is no time.
pub fn timestamp_us(stored: &Raw<'_>, unit: TimestampUnit) -> Option<i64> {
    timestamp(stored, unit).map(|reading| reading.microseconds)
}

/// Microseconds since 1970; `None` too where that would cut something off.
pub(super) fn exact_timestamp_us(stored: &Raw<'_>, unit: TimestampUnit) -> Option<i64> {
    timestamp(stored, unit)
        .filter(|reading| reading.exact)
        .map(|reading| reading.microseconds)
}

/// Days since 1970; `None` where there is a time of day besides.
pub(super) fn date_days(stored: &Raw<'_>, unit: TimestampUnit) -> Option<i64> {
    let microseconds = exact_timestamp_us(stored, unit)?;
    (microseconds.rem_euclid(DAY_US) == 0).then_some(microseconds.div_euclid(DAY_US))
}

/// Microseconds of day of `HH:MM`, `HH:MM:SS` or `HH:MM:SS.ffffff`.
pub(super) fn time_us(stored: &Raw<'_>) -> Option<i64> {
    let Raw::Text(text) = stored else {
        return None;
    };
    let mut scanner = Scanner { rest: text.as_bytes() };
    let reading = scanner.time_of_day()?;
    (scanner.rest.is_empty() && reading.exact).then_some(reading.microseconds)
}

fn timestamp(stored: &Raw<'_>, unit: TimestampUnit) -> Option<Reading> {
    let reading = match stored {
        Raw::Integer(value) => Reading {
            microseconds: value.checked_mul(unit.microseconds())?,
            exact: true,
        },
        Raw::Real(value) if JULIAN_DAYS.contains(value) => julian(*value)?,
        Raw::Real(value) => fractional(*value, unit)?,
        Raw::Text(text) => Scanner { rest: text.as_bytes() }.date_and_time()?,
        Raw::Null | Raw::BrokenText(_) | Raw::Blob(_) => return None,
    };
    (FIRST_US..=LAST_US).contains(&reading.microseconds).then_some(reading)
}

/// To the millisecond, as SQLite itself keeps Julian days.
fn julian(days: f64) -> Option<Reading> {
    let milliseconds = ((days - JULIAN_EPOCH) * 86_400_000.0).round();
    Some(Reading {
        microseconds: whole(milliseconds)?.checked_mul(1000)?,
        exact: true,
    })
}

/// To the microsecond, which is what a double of this magnitude can tell.
fn fractional(value: f64, unit: TimestampUnit) -> Option<Reading> {
    #[expect(clippy::cast_precision_loss, reason = "at most a million")]
    let microseconds = (value * unit.microseconds() as f64).round();
    // Beyond 2^53 microseconds (year 2255) a double has whole ones only at times, and then it is exact all the same.
    (microseconds.abs() <= 9e17)
        .then(|| format!("{microseconds:.0}").parse().ok())
        .flatten()
        .map(|microseconds| Reading {
            microseconds,
            exact: true,
        })
}

// === impl TimestampUnit ===

impl TimestampUnit {
    fn microseconds(self) -> i64 {
        match self {
            Self::Seconds => SECOND_US,
            Self::Milliseconds => 1000,
            Self::Microseconds => 1,
        }
    }
}

// === impl Scanner ===

impl Scanner<'_> {
    /// `YYYY-MM-DD`, then optionally a space or `T` and a time of day, then optionally `Z` or an offset.
    fn date_and_time(&mut self) -> Option<Reading> {
        let day_us = self.date()?;
        if self.rest.is_empty() {
            return Some(Reading {
                microseconds: day_us,
                exact: true,
            });
        }
        self.one_of(b" T")?;
        let time = self.time_of_day()?;
        let offset_us = self.offset()?;
        Some(Reading {
            microseconds: day_us + time.microseconds - offset_us,
            exact: time.exact,
        })
    }

    fn date(&mut self) -> Option<i64> {
        let year = i16::try_from(self.digits(4)?).ok()?;
        self.one_of(b"-")?;
        let month = i8::try_from(self.digits(2)?).ok()?;
        self.one_of(b"-")?;
        let day = i8::try_from(self.digits(2)?).ok()?;
        let date = Date::new(year, month, day).ok()?;
        let days = (date - Date::constant(1970, 1, 1)).get_days();
        Some(i64::from(days) * DAY_US)
    }

    fn time_of_day(&mut self) -> Option<Reading> {
        let hours = self.digits(2).filter(|hours| *hours < 24)?;
        self.one_of(b":")?;
        let minutes = self.digits(2).filter(|minutes| *minutes < 60)?;
        let mut reading = Reading {
            microseconds: (hours * 60 + minutes) * MINUTE_US,
            exact: true,
        };
        if self.one_of(b":").is_some() {
            reading.microseconds += self.digits(2).filter(|seconds| *seconds < 60)? * SECOND_US;
            if self.one_of(b".").is_some() {
                let fraction = self.fraction()?;
                reading.microseconds += fraction.microseconds;
                reading.exact = fraction.exact;
            }
        }
        Some(reading)
    }

    fn fraction(&mut self) -> Option<Reading> {
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at_checked(length).filter(|_| length > 0)?;
        self.rest = rest;
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0'));
        let microseconds = padded
            .take(6)
            .fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        Some(Reading {
            microseconds,
            exact: digits.iter().skip(6).all(|digit| *digit == b'0'),
        })
    }

    /// `Z`, `+HH:MM` or `-HH:MM`, to the end; nothing is UTC. A space may come before it.
    fn offset(&mut self) -> Option<i64> {
        let spaces = self.rest.iter().take_while(|byte| **byte == b' ').count();
        self.rest = self.rest.get(spaces..)?;
        if self.rest.is_empty() {
            return (spaces == 0).then_some(0);
        }
        if self.one_of(b"Zz").is_some() {
            return self.rest.is_empty().then_some(0);
        }
        let sign = if self.one_of(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.digits(2).filter(|hours| *hours <= 14)?;
        self.one_of(b":")?;
        let minutes = self.digits(2).filter(|minutes| *minutes < 60)?;
        self.rest
            .is_empty()
            .then_some(sign * (hours * 60 + minutes) * MINUTE_US)
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        let found = bytes.contains(first).then_some(*first)?;
        self.rest = rest;
        Some(found)
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.rest.split_at_checked(count)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.rest = rest;
        Some(
            digits
                .iter()
                .fold(0, |value, digit| value * 10 + i64::from(digit - b'0')),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Option<i64> {
        exact_timestamp_us(&Raw::Text(text), TimestampUnit::Seconds)
    }

    #[test]
    fn text_is_read_as_sqlite_writes_it() {
        let at = 1_769_853_600 * SECOND_US;
        let cases = [
            ("2026-01-31 10:00:00", Some(at)),
            ("2026-01-31T10:00:00Z", Some(at)),
            ("2026-01-31 10:00", Some(at)),
            ("2026-01-31 12:00:00+02:00", Some(at)),
            ("2026-01-31 10:00:00 +00:00", Some(at)),
            ("2026-01-31 10:00:00.25", Some(at + 250_000)),
            ("2026-01-31 10:00:00.123456", Some(at + 123_456)),
            ("2026-01-31 10:00:00.123456000", Some(at + 123_456)),
            ("1970-01-01", Some(0)),
            ("0000-01-01", Some(FIRST_US)),
            ("9999-12-31 23:59:59.999999", Some(LAST_US)),
            ("2024-02-29", Some(19_782 * DAY_US)),
            ("2026-02-29", None),
            ("2026-13-01", None),
            ("2026-01-31 24:00:00", None),
            ("2026-01-31 10:00:00.1234567", None),
            ("2026-01-31 10:00:00.", None),
            ("2026-01-31 10:00:00 ", None),
            ("2026-01-31 10:00:00Zulu", None),
            ("2026-1-31", None),
            ("now", None),
            ("", None),
            ("1769853600", None),
        ];
        for (written, expected) in cases {
            assert_eq!(text(written), expected, "{written}");
        }
        let cut = timestamp_us(&Raw::Text("2026-01-31 10:00:00.1234567"), TimestampUnit::Seconds);
        assert_eq!(cut, Some(at + 123_456));
    }

    #[test]
    fn numbers_count_in_the_unit_and_are_not_believed_beyond_the_year_9999() {
        let us = |raw, unit| exact_timestamp_us(&raw, unit);
        assert_eq!(
            us(Raw::Integer(1_769_853_600), TimestampUnit::Seconds),
            Some(1_769_853_600 * SECOND_US)
        );
        assert_eq!(us(Raw::Integer(1_769_853_600_123), TimestampUnit::Seconds), None);
        assert_eq!(
            us(Raw::Integer(1_769_853_600_123), TimestampUnit::Milliseconds),
            Some(1_769_853_600_123_000)
        );
        assert_eq!(us(Raw::Integer(i64::MAX), TimestampUnit::Microseconds), None);
        assert_eq!(us(Raw::Integer(i64::MIN), TimestampUnit::Seconds), None);
        assert_eq!(
            us(Raw::Real(1_769_853_600.25), TimestampUnit::Seconds),
            Some(1_769_853_600_250_000)
        );
        assert_eq!(us(Raw::Real(2_440_587.5), TimestampUnit::Seconds), Some(0));
        assert_eq!(us(Raw::Real(2_440_588.5), TimestampUnit::Seconds), Some(DAY_US));
        assert_eq!(us(Raw::Real(f64::INFINITY), TimestampUnit::Seconds), None);
        assert_eq!(us(Raw::Real(f64::NAN), TimestampUnit::Seconds), None);
        assert_eq!(us(Raw::Blob(b"2026-01-31"), TimestampUnit::Seconds), None);
    }

    #[test]
    fn dates_have_no_time_of_day() {
        let days = |raw| date_days(&raw, TimestampUnit::Milliseconds);
        assert_eq!(days(Raw::Text("1970-01-02")), Some(1));
        assert_eq!(days(Raw::Text("1969-12-31 00:00:00")), Some(-1));
        assert_eq!(days(Raw::Text("1970-01-02 00:00:01")), None);
        assert_eq!(days(Raw::Integer(86_400_000)), Some(1));
        assert_eq!(days(Raw::Integer(1)), None);
    }

    #[test]
    fn times_of_day() {
        let cases = [
            ("10:00", Some(36_000 * SECOND_US)),
            ("23:59:59.5", Some(DAY_US - 500_000)),
            ("24:00", None),
            ("1:00", None),
        ];
        for (written, expected) in cases {
            assert_eq!(time_us(&Raw::Text(written)), expected, "{written}");
        }
        assert_eq!(time_us(&Raw::Integer(0)), None);
    }

    proptest! {
        #[test]
        fn what_is_written_in_iso_form_comes_back(microseconds in FIRST_US..=LAST_US) {
            let written = jiff::Timestamp::from_microsecond(microseconds).unwrap().to_string();
            prop_assert_eq!(text(&written), Some(microseconds));
            // Every truncation is either no time at all or an earlier one; none is a panic.
            for end in 0..written.len() {
                let cut = written.get(..end).and_then(text);
                prop_assert!(cut.is_none_or(|cut| cut <= microseconds));
            }
        }

        #[test]
        fn no_text_is_a_panic(written in ".{0,40}") {
            let _ = timestamp_us(&Raw::Text(&written), TimestampUnit::Seconds);
            let _ = time_us(&Raw::Text(&written));
        }
    }
}
