//! Dates, times and timestamps: proleptic Gregorian calendar, ISO text, year 1 BC before year 1.
//!
//! The server counts days and microseconds from 2000-01-01; we count from 1970-01-01. Its last timestamps (from
//! 294247-01-10 on) do not fit into 64 bits then: such a value is an error and never wraps. The two ends of the range of
//! numbers stand for ±infinity, so that no finite value may have them.

use tailrace_core::calendar::Civil;
use tailrace_core::value::TimeTz;

use super::{Result, ValueError, fixed};
use crate::decode::reader::POSTGRES_EPOCH_US;

/// Days from 1970-01-01 to 2000-01-01.
const POSTGRES_EPOCH_DAYS: i32 = 10_957;

const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
pub(super) const MICROSECONDS_PER_DAY: i64 = SECONDS_PER_DAY * MICROSECONDS_PER_SECOND;

/// Largest offset of a time zone, as the server limits it: below 16 hours.
const OFFSET_MAX_SECONDS: i32 = 16 * 3600 - 1;

/// More digits than any year of the server's has (5874897).
const YEAR_DIGITS_MAX: usize = 7;

#[derive(Debug, Clone, Copy)]
struct CalendarDate {
    year: i64,
    month: u32,
    day: u32,
}

// --- text

pub(super) fn date_from_text(bytes: &[u8]) -> Result<i64> {
    const WHAT: &str = "date";
    match bytes {
        b"infinity" => return Ok(i64::from(i32::MAX)),
        b"-infinity" => return Ok(i64::from(i32::MIN)),
        _ => {}
    }
    let date = take_date(bytes).and_then(|(date, rest)| date.days(rest));
    let days = date.ok_or(ValueError::Malformed(WHAT))?;
    finite_days(i32::try_from(days).ok())
}

pub(super) fn timestamp_from_text(bytes: &[u8]) -> Result<i64> {
    timestamp(bytes, |rest| Some((0, rest)), "timestamp")
}

pub(super) fn timestamp_tz_from_text(bytes: &[u8]) -> Result<i64> {
    timestamp(bytes, take_offset, "timestamp with time zone")
}

#[inline]
fn timestamp(bytes: &[u8], zone: impl Fn(&[u8]) -> Option<(i32, &[u8])>, what: &'static str) -> Result<i64> {
    match bytes {
        b"infinity" => return Ok(i64::MAX),
        b"-infinity" => return Ok(i64::MIN),
        _ => {}
    }
    let Some((days, time, offset)) = timestamp_parts(bytes, zone) else {
        return Err(ValueError::Malformed(what));
    };
    let within_day = time - i64::from(offset) * MICROSECONDS_PER_SECOND;
    let value = days
        .checked_mul(MICROSECONDS_PER_DAY)
        .and_then(|midnight| midnight.checked_add(within_day));
    finite_microseconds(value)
}

/// Days, microseconds of the day, seconds of offset.
#[inline]
fn timestamp_parts(bytes: &[u8], zone: impl Fn(&[u8]) -> Option<(i32, &[u8])>) -> Option<(i64, i64, i32)> {
    let (date, rest) = take_date(bytes)?;
    let [b' ' | b'T', rest @ ..] = rest else {
        return None;
    };
    let (time, rest) = take_time(rest)?;
    let (offset, rest) = zone(rest)?;
    Some((date.days(rest)?, time, offset))
}

pub(super) fn time_from_text(bytes: &[u8]) -> Result<i64> {
    match take_time(bytes) {
        Some((time, [])) => Ok(time),
        _ => Err(ValueError::Malformed("time")),
    }
}

pub(super) fn time_tz_from_text(bytes: &[u8]) -> Result<TimeTz> {
    let parts = take_time(bytes).and_then(|(time, rest)| Some((time, take_offset(rest)?)));
    match parts {
        Some((microseconds, (offset_seconds, []))) => Ok(TimeTz {
            microseconds,
            offset_seconds,
        }),
        _ => Err(ValueError::Malformed("time with time zone")),
    }
}

/// `YYYY-MM-DD`, with more digits for later years.
#[inline]
fn take_date(bytes: &[u8]) -> Option<(CalendarDate, &[u8])> {
    let (year, rest) = take_year(bytes)?;
    let [m1, m2, b'-', d1, d2, rest @ ..] = rest else {
        return None;
    };
    let date = CalendarDate {
        year,
        month: two_digits(*m1, *m2)?,
        day: two_digits(*d1, *d2)?,
    };
    Some((date, rest))
}

#[inline]
fn take_year(bytes: &[u8]) -> Option<(i64, &[u8])> {
    if let [y1, y2, y3, y4, b'-', rest @ ..] = bytes {
        let year = two_digits(*y1, *y2)? * 100 + two_digits(*y3, *y4)?;
        return Some((i64::from(year), rest));
    }
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, [b'-', rest @ ..]) = bytes.split_at_checked(digits)? else {
        return None;
    };
    if digits.len() < 4 || digits.len() > YEAR_DIGITS_MAX {
        return None;
    }
    let year = digits.iter().fold(0, |year, digit| year * 10 + i64::from(digit - b'0'));
    Some((year, rest))
}

/// `HH:MM:SS[.ffffff]` up to 24:00:00, in microseconds.
#[inline]
fn take_time(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let [h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = bytes else {
        return None;
    };
    let (hour, minute, second) = (two_digits(*h1, *h2)?, two_digits(*m1, *m2)?, two_digits(*s1, *s2)?);
    let (fraction, rest) = take_fraction(rest)?;
    let seconds = hour * 3600 + minute * 60 + second;
    let time = i64::from(seconds) * MICROSECONDS_PER_SECOND + fraction;
    let valid = minute < 60 && second < 60 && time <= MICROSECONDS_PER_DAY;
    valid.then_some((time, rest))
}

/// `.f` to `.ffffff`, in microseconds; nothing is zero.
#[inline]
pub(super) fn take_fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', rest @ ..] = bytes else {
        return Some((0, bytes));
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at_checked(digits)?;
    let mut scale = 1_000_000;
    let mut fraction = 0;
    for digit in digits {
        scale /= 10;
        fraction += i64::from(digit - b'0') * scale;
    }
    // A seventh digit would have been multiplied by zero and lost.
    (1..=6).contains(&digits.len()).then_some((fraction, rest))
}

/// `+HH[:MM[:SS]]`, in seconds east of UTC.
#[inline]
fn take_offset(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let [sign @ (b'+' | b'-'), h1, h2, rest @ ..] = bytes else {
        return None;
    };
    let mut seconds = two_digits(*h1, *h2)? * 3600;
    let (minutes, rest) = take_sexagesimal(rest)?;
    let (last, rest) = if minutes.is_some() {
        take_sexagesimal(rest)?
    } else {
        (None, rest)
    };
    seconds += minutes.unwrap_or(0) * 60 + last.unwrap_or(0);
    let seconds = i32::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds <= OFFSET_MAX_SECONDS)?;
    Some((if *sign == b'-' { -seconds } else { seconds }, rest))
}

/// `:NN` below 60, where there is one.
#[inline]
fn take_sexagesimal(bytes: &[u8]) -> Option<(Option<u32>, &[u8])> {
    let [b':', high, low, rest @ ..] = bytes else {
        return Some((None, bytes));
    };
    let value = two_digits(*high, *low).filter(|value| *value < 60)?;
    Some((Some(value), rest))
}

#[inline]
fn two_digits(high: u8, low: u8) -> Option<u32> {
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    if high > 9 || low > 9 {
        None
    } else {
        Some(u32::from(high) * 10 + u32::from(low))
    }
}

// === impl CalendarDate ===

impl CalendarDate {
    /// Days since 1970-01-01; `era` is what stands behind the date: nothing, or ` BC`.
    #[inline]
    fn days(self, era: &[u8]) -> Option<i64> {
        let year = match era {
            b"" => self.year,
            b" BC" => 1 - self.year,
            _ => return None,
        };
        let valid = self.year > 0
            && (1..=12).contains(&self.month)
            && (1..=days_in_month(year, self.month)).contains(&self.day);
        let (month, day) = (self.month.into(), self.day.into());
        valid.then(|| Civil { year, month, day }.to_days())
    }
}

fn days_in_month(year: i64, month: u32) -> u32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// --- binary

pub(super) fn date_from_binary(bytes: &[u8]) -> Result<i64> {
    match i32::from_be_bytes(fixed(bytes, "date")?) {
        infinite @ (i32::MAX | i32::MIN) => Ok(i64::from(infinite)),
        days => finite_days(days.checked_add(POSTGRES_EPOCH_DAYS)),
    }
}

pub(super) fn timestamp_from_binary(bytes: &[u8]) -> Result<i64> {
    match i64::from_be_bytes(fixed(bytes, "timestamp")?) {
        infinite @ (i64::MAX | i64::MIN) => Ok(infinite),
        microseconds => finite_microseconds(microseconds.checked_add(POSTGRES_EPOCH_US)),
    }
}

pub(super) fn time_from_binary(bytes: &[u8]) -> Result<i64> {
    time_of_day(i64::from_be_bytes(fixed(bytes, "time")?))
}

/// microseconds i64 · seconds west of UTC i32
pub(super) fn time_tz_from_binary(bytes: &[u8]) -> Result<TimeTz> {
    let [time @ .., o1, o2, o3, o4]: [u8; 12] = fixed(bytes, "time with time zone")?;
    let west = i32::from_be_bytes([o1, o2, o3, o4]);
    if !(-OFFSET_MAX_SECONDS..=OFFSET_MAX_SECONDS).contains(&west) {
        return Err(ValueError::OutOfRange("a time zone's offset"));
    }
    Ok(TimeTz {
        microseconds: time_of_day(i64::from_be_bytes(time))?,
        offset_seconds: -west,
    })
}

fn time_of_day(microseconds: i64) -> Result<i64> {
    let valid = (0..=MICROSECONDS_PER_DAY).contains(&microseconds);
    if valid {
        Ok(microseconds)
    } else {
        Err(ValueError::OutOfRange("a day's time"))
    }
}

#[inline]
fn finite_days(days: Option<i32>) -> Result<i64> {
    let finite = days.filter(|days| !matches!(*days, i32::MAX | i32::MIN));
    finite
        .map(i64::from)
        .ok_or(ValueError::OutOfRange("days since 1970 in 32 bits"))
}

#[inline]
fn finite_microseconds(microseconds: Option<i64>) -> Result<i64> {
    let finite = microseconds.filter(|value| !matches!(*value, i64::MAX | i64::MIN));
    finite.ok_or(ValueError::OutOfRange(
        "microseconds since 1970 in 64 bits (294247-01-10 04:00:54)",
    ))
}
