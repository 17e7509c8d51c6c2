//! Dates and times: the forms of MySQL 5.6 and later, those before it, and the text of queries.
//!
//! ```text
//!   DATE        3 bytes LE: year 15 bits · month 4 · day 5
//!   TIME2       3 bytes BE + 0x800000: hours 10 bits · minutes 6 · seconds 6       (negative times count downwards from there)
//!   DATETIME2   5 bytes BE + 0x8000000000: year×13+month 17 bits · day 5 · hour 5 · minute 6 · second 6
//!   TIMESTAMP2  4 bytes BE: seconds since 1970, UTC; 0 stands for 0000-00-00 00:00:00
//!   fraction    behind the last three, BE: nothing, hundredths, ten-thousandths or millionths of a second
//!   before 5.6  TIME 3 bytes LE, decimal hhmmss · DATETIME 8 bytes LE, decimal yyyymmddhhmmss · TIMESTAMP 4 bytes LE
//! ```
//!
//! All of them hold what the calendar does not: months and days of zero, and days after the end of their month.

use std::fmt::Write;

use tailrace_core::batch::ChangeBatch;
use tailrace_core::calendar::Civil;

use super::error::{CellError, Result};
use crate::column_type::InvalidDates;
use crate::decode::reader::Reader;

const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// The longest TIME has 838 hours.
const HOURS_MAX: u32 = 838;

/// What becomes of a column's dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Calendar {
    /// Of those that no calendar has.
    pub(crate) invalid_dates: InvalidDates,
    /// Whether there may be NULL instead of them.
    pub(crate) nullable: bool,
}

/// A date and a time as they are stored: perhaps one that no calendar has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Moment {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    microsecond: u32,
}

// === impl Calendar ===

impl Calendar {
    /// Pushes days since 1970.
    #[inline]
    pub(super) fn push_date(self, date: Moment, batch: &mut ChangeBatch) -> Result<()> {
        if self.invalid_dates == InvalidDates::Text {
            return Ok(batch.push_text_with(|text| date.print_date(text))?);
        }
        self.push_known(date.days(), batch)
    }

    /// Pushes microseconds since 1970.
    #[inline]
    pub(super) fn push_moment(self, moment: Moment, precision: u8, batch: &mut ChangeBatch) -> Result<()> {
        if self.invalid_dates == InvalidDates::Text {
            return Ok(batch.push_text_with(|text| moment.print(precision, text))?);
        }
        self.push_known(moment.microseconds(), batch)
    }

    /// Pushes a point in time; zero seconds are `0000-00-00 00:00:00`.
    #[inline]
    pub(super) fn push_timestamp(self, since_1970: (u32, u32), precision: u8, batch: &mut ChangeBatch) -> Result<()> {
        let (seconds, microseconds) = since_1970;
        let is_zero = seconds == 0 && microseconds == 0;
        if self.invalid_dates == InvalidDates::Text {
            let moment = if is_zero {
                Moment::default()
            } else {
                Moment::since_1970(i64::from(seconds), microseconds)
            };
            return self.push_moment(moment, precision, batch);
        }
        let value = i64::from(seconds) * MICROSECONDS_PER_SECOND + i64::from(microseconds);
        self.push_known((!is_zero).then_some(value), batch)
    }

    #[inline]
    fn push_known(self, value: Option<i64>, batch: &mut ChangeBatch) -> Result<()> {
        match value {
            Some(value) => batch.push_int(value),
            None => self.push_unknown(batch)?,
        }
        Ok(())
    }

    #[cold]
    fn push_unknown(self, batch: &mut ChangeBatch) -> Result<()> {
        match (self.invalid_dates, self.nullable) {
            (InvalidDates::Halt, _) => return Err(CellError::InvalidDate),
            (_, true) => batch.push_null(),
            (_, false) => batch.push_int(0),
        }
        Ok(())
    }
}

// === impl Moment ===

impl Moment {
    /// Days since 1970-01-01, where a calendar has the date.
    #[inline]
    fn days(self) -> Option<i64> {
        let valid = (1..=12).contains(&self.month) && (1..=days_in_month(self.year, self.month)).contains(&self.day);
        valid.then(|| civil(self.year, self.month, self.day).to_days())
    }

    #[inline]
    fn microseconds(self) -> Option<i64> {
        let seconds = i64::from(self.hour * 3600 + self.minute * 60 + self.second);
        let seconds = self.days()? * SECONDS_PER_DAY + seconds;
        Some(seconds * MICROSECONDS_PER_SECOND + i64::from(self.microsecond))
    }

    /// Where the server sorts it, microseconds since 1970: what no calendar has is put to the edge of what is next to it.
    fn place_us(self) -> i64 {
        if let Some(microseconds) = self.microseconds() {
            return microseconds;
        }
        let begin = |month, day| civil(self.year, month, day).to_days() * SECONDS_PER_DAY * MICROSECONDS_PER_SECOND;
        match (self.month, self.day) {
            (1..=12, 0) => begin(self.month, 1),
            (1..=12, _) => begin(self.month, days_in_month(self.year, self.month) + 1) - 1,
            _ => begin(1, 1),
        }
    }

    fn since_1970(seconds: i64, microsecond: u32) -> Self {
        let Civil { year, month, day } = Civil::from_days(seconds.div_euclid(SECONDS_PER_DAY));
        let unsigned = |value: i64| u32::try_from(value).unwrap_or_default();
        let second = u32::try_from(seconds.rem_euclid(SECONDS_PER_DAY)).unwrap_or_default();
        Self {
            year: unsigned(year),
            month: unsigned(month),
            day: unsigned(day),
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            microsecond,
        }
    }

    fn print_date(self, text: &mut String) {
        print(text, format_args!("{:04}-{:02}-{:02}", self.year, self.month, self.day));
    }

    fn print(self, precision: u8, text: &mut String) {
        self.print_date(text);
        print(
            text,
            format_args!(" {:02}:{:02}:{:02}", self.hour, self.minute, self.second),
        );
        print_fraction(self.microsecond, precision, text);
    }

    /// The time of a day, checked.
    fn at(self, hour: u32, minute: u32, second: u32) -> Option<Self> {
        let valid = hour < 24 && minute < 60 && second < 60;
        valid.then_some(Self {
            hour,
            minute,
            second,
            ..self
        })
    }

    /// The 40 bits of a DATETIME2, and of the temporal values in JSON.
    pub(super) fn from_packed(packed: u64, microsecond: u32) -> Option<Self> {
        let field = |shift: u32, bits: u32| low_bits(packed >> shift, bits);
        let months = field(22, 17);
        let date = Self {
            year: months / 13,
            month: months % 13,
            day: field(17, 5),
            microsecond,
            ..Self::default()
        };
        date.at(field(12, 5), field(6, 6), field(0, 6))
    }
}

/// Writing into a string cannot fail.
fn print(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(arguments);
    debug_assert!(written.is_ok());
}

fn print_fraction(microsecond: u32, precision: u8, text: &mut String) {
    let dropped = 6_u32.saturating_sub(u32::from(precision));
    if precision > 0 {
        let width = usize::from(precision.min(6));
        print(text, format_args!(".{:0width$}", microsecond / 10_u32.pow(dropped)));
    }
}

fn low_bits(value: u64, bits: u32) -> u32 {
    u32::try_from(value & ((1 << bits) - 1)).unwrap_or_default()
}

fn days_in_month(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[inline]
fn civil(year: u32, month: u32, day: u32) -> Civil {
    Civil {
        year: year.into(),
        month: month.into(),
        day: day.into(),
    }
}

// --- the log

/// Bytes that so many fraction digits take.
pub(super) fn fraction_bytes(precision: u8) -> usize {
    usize::from(precision.div_ceil(2))
}

#[inline]
pub(super) fn date(reader: &mut Reader<'_>) -> Result<Moment> {
    let packed = u64::from(reader.u24()?);
    Ok(Moment {
        year: low_bits(packed >> 9, 15),
        month: low_bits(packed >> 5, 4),
        day: low_bits(packed, 5),
        ..Moment::default()
    })
}

/// Microseconds.
#[inline]
pub(super) fn time2(reader: &mut Reader<'_>, precision: u8) -> Result<i64> {
    const MALFORMED: CellError = CellError::Malformed("TIME");
    let length = fraction_bytes(precision);
    let stored = big_endian(reader.take(3 + length)?);
    let shift = fraction_shift(length);
    let (magnitude, negative) = match stored.checked_sub(0x80_0000 << shift) {
        Some(magnitude) => (magnitude, false),
        None => ((0x80_0000_u64 << shift).saturating_sub(stored), true),
    };
    let packed = magnitude >> shift;
    let fraction = microseconds(magnitude & ((1 << shift) - 1), length).ok_or(MALFORMED)?;
    let field = |shift: u32, bits: u32| low_bits(packed >> shift, bits);
    let time = duration(field(12, 11), field(6, 6), field(0, 6)).ok_or(MALFORMED)? + i64::from(fraction);
    Ok(if negative { -time } else { time })
}

#[inline]
pub(super) fn datetime2(reader: &mut Reader<'_>, precision: u8) -> Result<Moment> {
    const MALFORMED: CellError = CellError::Malformed("DATETIME");
    let packed = big_endian(reader.take(5)?)
        .checked_sub(0x80_0000_0000)
        .ok_or(MALFORMED)?;
    let fraction = fraction(reader, precision)?;
    Moment::from_packed(packed, fraction).ok_or(MALFORMED)
}

/// Seconds and microseconds since 1970.
#[inline]
pub(super) fn timestamp2(reader: &mut Reader<'_>, precision: u8) -> Result<(u32, u32)> {
    let seconds = reader.array().map(u32::from_be_bytes)?;
    Ok((seconds, fraction(reader, precision)?))
}

/// Microseconds.
pub(super) fn old_time(reader: &mut Reader<'_>) -> Result<i64> {
    let stored = reader.i24()?;
    let digits = stored.unsigned_abs();
    let time = duration(digits / 10_000, digits / 100 % 100, digits % 100).ok_or(CellError::Malformed("TIME"))?;
    Ok(if stored < 0 { -time } else { time })
}

pub(super) fn old_datetime(reader: &mut Reader<'_>) -> Result<Moment> {
    const MALFORMED: CellError = CellError::Malformed("DATETIME");
    let digits = reader.u64()?;
    let two = |above: u64| u32::try_from(digits / above % 100).unwrap_or_default();
    let date = Moment {
        year: u32::try_from(digits / 10_000_000_000)
            .ok()
            .filter(|year| *year < 10_000)
            .ok_or(MALFORMED)?,
        month: two(100_000_000),
        day: two(1_000_000),
        ..Moment::default()
    };
    date.at(two(10_000), two(100), two(1)).ok_or(MALFORMED)
}

#[inline]
fn fraction(reader: &mut Reader<'_>, precision: u8) -> Result<u32> {
    let length = fraction_bytes(precision);
    let stored = big_endian(reader.take(length)?);
    microseconds(stored, length).ok_or(CellError::Malformed("a fraction of a second"))
}

#[inline]
fn microseconds(stored: u64, length: usize) -> Option<u32> {
    let unit = match length {
        1 => 10_000,
        2 => 100,
        _ => 1,
    };
    let fraction = u32::try_from(stored).ok()?.checked_mul(unit)?;
    (fraction < 1_000_000).then_some(fraction)
}

fn fraction_shift(length: usize) -> u32 {
    match length {
        0 => 0,
        1 => 8,
        2 => 16,
        _ => 24,
    }
}

#[inline]
fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Microseconds of an amount of time.
#[inline]
fn duration(hours: u32, minutes: u32, seconds: u32) -> Option<i64> {
    let valid = hours <= HOURS_MAX && minutes < 60 && seconds < 60;
    valid.then(|| i64::from(hours * 3600 + minutes * 60 + seconds) * MICROSECONDS_PER_SECOND)
}

// --- text

/// `YYYY-MM-DD`
pub(super) fn date_from_text(bytes: &[u8]) -> Option<Moment> {
    match take_date(bytes)? {
        (date, []) => Some(date),
        _ => None,
    }
}

/// `YYYY-MM-DD HH:MM:SS[.ffffff]`; a constant may end with its date.
pub(super) fn moment_from_text(bytes: &[u8]) -> Option<Moment> {
    let (date, rest) = take_date(bytes)?;
    let [b' ' | b'T', h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = rest else {
        return rest.is_empty().then_some(date);
    };
    let moment = date.at(two_digits(*h1, *h2)?, two_digits(*m1, *m2)?, two_digits(*s1, *s2)?)?;
    let microsecond = whole_fraction(rest)?;
    Some(Moment { microsecond, ..moment })
}

/// Where the server sorts a DATE, DATETIME or TIMESTAMP, microseconds since 1970: what ascends in the column ascends here too. With
/// dates that no calendar has only where `invalid` ones are wanted.
pub(crate) fn place_in_time_us(bytes: &[u8], invalid: bool) -> Option<i64> {
    let moment = moment_from_text(bytes)?;
    (invalid || moment.days().is_some()).then(|| moment.place_us())
}

/// Seconds and microseconds since 1970 of a moment of UTC; zero for `0000-00-00 00:00:00`.
pub(super) fn timestamp_from_text(bytes: &[u8]) -> Option<(u32, u32)> {
    let moment = moment_from_text(bytes)?;
    if moment == Moment::default() {
        return Some((0, 0));
    }
    let seconds = moment.microseconds()?.div_euclid(MICROSECONDS_PER_SECOND);
    Some((u32::try_from(seconds).ok()?, moment.microsecond))
}

/// `[-]H…:MM:SS[.ffffff]`, in microseconds.
pub(super) fn time_from_text(bytes: &[u8]) -> Option<i64> {
    let (negative, bytes) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (hours, [b':', m1, m2, b':', s1, s2, rest @ ..]) = bytes.split_at_checked(digits)? else {
        return None;
    };
    if !(1..=3).contains(&hours.len()) {
        return None;
    }
    let hours = hours
        .iter()
        .fold(0, |hours, digit| hours * 10 + u32::from(digit - b'0'));
    let time = duration(hours, two_digits(*m1, *m2)?, two_digits(*s1, *s2)?)?;
    let time = time + i64::from(whole_fraction(rest)?);
    Some(if negative { -time } else { time })
}

fn take_date(bytes: &[u8]) -> Option<(Moment, &[u8])> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..] = bytes else {
        return None;
    };
    let date = Moment {
        year: two_digits(*y1, *y2)? * 100 + two_digits(*y3, *y4)?,
        month: two_digits(*m1, *m2)?,
        day: two_digits(*d1, *d2)?,
        ..Moment::default()
    };
    Some((date, rest))
}

/// Nothing, or `.f` to `.ffffff`, in microseconds.
fn whole_fraction(bytes: &[u8]) -> Option<u32> {
    let [b'.', digits @ ..] = bytes else {
        return bytes.is_empty().then_some(0);
    };
    if !(1..=6).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(6);
    Some(padded.fold(0, |fraction, digit| fraction * 10 + u32::from(digit - b'0')))
}

#[inline]
fn two_digits(high: u8, low: u8) -> Option<u32> {
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    (high <= 9 && low <= 9).then(|| u32::from(high) * 10 + u32::from(low))
}

// --- JSON

/// Prints the eight bytes that a JSON document has for a DATE, a DATETIME or a TIME: the packed form and 24 bits of
/// microseconds, low byte first, and six digits after the point as the server prints them.
pub(crate) fn print_json_moment(stored: [u8; 8], with_time: bool, text: &mut String) -> Option<()> {
    let stored = u64::from_le_bytes(stored);
    let moment = Moment::from_packed(stored >> 24, microsecond(stored)?)?;
    if with_time {
        moment.print(6, text);
    } else {
        moment.print_date(text);
    }
    Some(())
}

/// As [`print_json_moment`], for a TIME, which may be negative.
pub(crate) fn print_json_time(stored: [u8; 8], text: &mut String) -> Option<()> {
    let stored = i64::from_le_bytes(stored);
    let magnitude = stored.unsigned_abs();
    let field = |shift: u32, bits: u32| low_bits(magnitude >> shift, bits);
    let (hours, minutes, seconds) = (field(36, 10), field(30, 6), field(24, 6));
    duration(hours, minutes, seconds).and(microsecond(magnitude))?;
    let sign = if stored < 0 { "-" } else { "" };
    print(text, format_args!("{sign}{hours:02}:{minutes:02}:{seconds:02}"));
    print_fraction(microsecond(magnitude)?, 6, text);
    Some(())
}

fn microsecond(stored: u64) -> Option<u32> {
    Some(low_bits(stored, 24)).filter(|microsecond| *microsecond < 1_000_000)
}
