//! `interval`: months, days and microseconds, each with a sign of its own.
//!
//! Text, style `postgres`: `1 year 2 mons -3 days +04:05:06.789`; style `iso_8601`: `P1Y2M-3DT4H5M6.789S`. Since PostgreSQL
//! 17 also `infinity` and `-infinity`, which have the largest and least of all three parts.
//! Binary: microseconds i64 · days i32 · months i32.

use tailrace_core::value::Interval;

use super::number::integer;
use super::temporal::take_fraction;
use super::{Result, ValueError, fixed};

const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
const MICROSECONDS_PER_MINUTE: i64 = 60 * MICROSECONDS_PER_SECOND;
const MICROSECONDS_PER_HOUR: i64 = 60 * MICROSECONDS_PER_MINUTE;

const INFINITY: Interval = Interval {
    months: i32::MAX,
    days: i32::MAX,
    microseconds: i64::MAX,
};
const NEGATIVE_INFINITY: Interval = Interval {
    months: i32::MIN,
    days: i32::MIN,
    microseconds: i64::MIN,
};

/// Sums up parts; wide enough for every part, so that only the end result is checked.
#[derive(Debug, Default)]
struct Parts {
    months: i64,
    days: i64,
    microseconds: i128,
}

pub(super) fn from_text(bytes: &[u8]) -> Result<Interval> {
    match bytes {
        b"infinity" => return Ok(INFINITY),
        b"-infinity" => return Ok(NEGATIVE_INFINITY),
        _ => {}
    }
    let mut parts = Parts::default();
    let read = match bytes.strip_prefix(b"P") {
        Some(fields) => parts.add_iso_8601(fields),
        None => parts.add_postgres(bytes),
    };
    read.ok_or(ValueError::Malformed("interval"))?;
    parts.total()
}

pub(super) fn from_binary(bytes: &[u8]) -> Result<Interval> {
    let [t1, t2, t3, t4, t5, t6, t7, t8, d1, d2, d3, d4, months @ ..]: [u8; 16] = fixed(bytes, "interval")?;
    Ok(Interval {
        months: i32::from_be_bytes(months),
        days: i32::from_be_bytes([d1, d2, d3, d4]),
        microseconds: i64::from_be_bytes([t1, t2, t3, t4, t5, t6, t7, t8]),
    })
}

// === impl Parts ===

impl Parts {
    fn total(&self) -> Result<Interval> {
        let months = i32::try_from(self.months).ok();
        let days = i32::try_from(self.days).ok();
        let microseconds = i64::try_from(self.microseconds).ok();
        match (months, days, microseconds) {
            (Some(months), Some(days), Some(microseconds)) => Ok(Interval {
                months,
                days,
                microseconds,
            }),
            _ => Err(ValueError::OutOfRange("interval")),
        }
    }

    /// `1 year 2 mons -3 days +04:05:06.789`
    fn add_postgres(&mut self, bytes: &[u8]) -> Option<()> {
        let mut words = bytes.split(|byte| *byte == b' ');
        while let Some(word) = words.next() {
            if word.contains(&b':') {
                // The time is the last word.
                self.add_clock(word)?;
                return if words.next().is_none() { Some(()) } else { None };
            }
            let count = integer(word.strip_prefix(b"+").unwrap_or(word))?;
            match words.next()? {
                b"year" | b"years" => self.add_months(count, 12)?,
                b"mon" | b"mons" => self.add_months(count, 1)?,
                b"day" | b"days" => self.days = self.days.checked_add(count)?,
                _ => return None,
            }
        }
        Some(())
    }

    fn add_months(&mut self, count: i64, factor: i64) -> Option<()> {
        self.months = self.months.checked_add(count.checked_mul(factor)?)?;
        Some(())
    }

    /// `[+-]HH:MM:SS[.ffffff]`; hours may have many digits.
    fn add_clock(&mut self, word: &[u8]) -> Option<()> {
        let (negative, clock) = match word {
            [b'-', clock @ ..] => (true, clock),
            [b'+', clock @ ..] => (false, clock),
            clock => (false, clock),
        };
        let hours_end = clock.iter().position(|byte| *byte == b':')?;
        let (hours, rest) = clock.split_at_checked(hours_end)?;
        let [b':', m1, m2, b':', s1, s2, rest @ ..] = rest else {
            return None;
        };
        let (fraction, []) = take_fraction(rest)? else {
            return None;
        };
        let unsigned = |digits: &[u8]| integer(digits).filter(|_| digits.first() != Some(&b'-'));
        let below_60 = |digits: [u8; 2]| unsigned(&digits).filter(|value| *value < 60);
        let minutes = below_60([*m1, *m2])? * MICROSECONDS_PER_MINUTE;
        let seconds = below_60([*s1, *s2])? * MICROSECONDS_PER_SECOND;
        let hours = i128::from(unsigned(hours)?) * i128::from(MICROSECONDS_PER_HOUR);
        let time = hours + i128::from(minutes + seconds + fraction);
        self.microseconds += if negative { -time } else { time };
        Some(())
    }

    /// `1Y2M-3DT4H5M6.789S`, behind the `P`.
    fn add_iso_8601(&mut self, mut fields: &[u8]) -> Option<()> {
        let mut in_time = false;
        if fields.is_empty() {
            return None;
        }
        while !fields.is_empty() {
            if let ([b'T', rest @ ..], false) = (fields, in_time) {
                in_time = true;
                fields = rest;
                continue;
            }
            let end = fields.iter().position(u8::is_ascii_alphabetic)?;
            let (number, [unit, rest @ ..]) = fields.split_at_checked(end)? else {
                return None;
            };
            self.add_iso_8601_field(number, *unit, in_time)?;
            fields = rest;
        }
        Some(())
    }

    fn add_iso_8601_field(&mut self, number: &[u8], unit: u8, in_time: bool) -> Option<()> {
        let whole = || integer(number);
        match (unit, in_time) {
            (b'Y', false) => self.add_months(whole()?, 12)?,
            (b'M', false) => self.add_months(whole()?, 1)?,
            (b'D', false) => self.days = self.days.checked_add(whole()?)?,
            (b'H', true) => self.microseconds += i128::from(whole()?) * i128::from(MICROSECONDS_PER_HOUR),
            (b'M', true) => self.microseconds += i128::from(whole()?) * i128::from(MICROSECONDS_PER_MINUTE),
            (b'S', true) => {
                let point = number.iter().position(|byte| *byte == b'.').unwrap_or(number.len());
                let (seconds, fraction) = number.split_at_checked(point)?;
                let (fraction, []) = take_fraction(fraction)? else {
                    return None;
                };
                let negative = seconds.first() == Some(&b'-');
                let seconds = i128::from(integer(seconds)?) * i128::from(MICROSECONDS_PER_SECOND);
                self.microseconds += seconds + i128::from(if negative { -fraction } else { fraction });
            }
            _ => return None,
        }
        Some(())
    }
}
