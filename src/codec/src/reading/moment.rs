//! Dates, times, timestamps and intervals from text and from numbers: the inverse of [`crate::values::temporal`].

use tailrace_core::calendar::Civil;
use tailrace_core::value::{Interval, TimeTz};

use super::fault::{Fault, OUT_OF_RANGE, Read, VALUE_UNREADABLE};
use crate::values::calendar::DAY_US;
use crate::values::temporal::{DEBEZIUM_NEGATIVE_INFINITY_US, DEBEZIUM_POSITIVE_INFINITY_US, Unit};

const NO_DATE: Fault = Fault::value("is not a date as ISO 8601 writes it (2016-11-04)");
const NO_TIME: Fault = Fault::value("is not a time as ISO 8601 writes it (13:51:30.123)");
const NO_TIME_TZ: Fault = Fault::value("is not a time with an offset as ISO 8601 writes it (13:51:30.123+02:00)");
const NO_TIMESTAMP: Fault = Fault::value("is not a timestamp as ISO 8601 writes it (2016-11-04T13:51:30.123Z)");
const NO_INTERVAL: Fault = Fault::value("is not a duration as ISO 8601 writes it (P1Y2M3DT4H5M6.78S)");
const TOO_FINE: Fault = Fault {
    code: VALUE_UNREADABLE,
    problem: "has finer digits than microseconds, which nothing that is written into can hold",
    remedy: "have its writer round them (with Debezium, time.precision.mode=connect), or set the record aside with dead_letters",
};

/// Days from 1970 to the year 999999: later ones are no timestamps of any database.
const LATEST_DAYS: i64 = 364_522_000;

/// A date and time: days since 1970 and microseconds of day, or beyond every calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Microseconds since 1970.
    At(i64),
    /// After 294247-01-10, the last that 64 bits of microseconds can hold.
    Late { days: i64, of_day: i64 },
}

/// Characters of a text that is read from left to right.
#[derive(Clone, Copy)]
struct Characters<'a> {
    rest: &'a [u8],
    /// A fraction had finer digits than microseconds, which are not in its value.
    is_cut: bool,
}

// === impl Moment ===

impl Moment {
    /// A date and a time of day.
    pub(crate) fn new(days: i64, of_day: i64) -> Read<Self> {
        let at = days.checked_mul(DAY_US).and_then(|day| day.checked_add(of_day));
        match at {
            Some(at) => Ok(Self::At(from_stand_in(at))),
            None if (0..LATEST_DAYS).contains(&days) => Ok(Self::Late {
                days: days + of_day.div_euclid(DAY_US),
                of_day: of_day.rem_euclid(DAY_US),
            }),
            None => Err(OUT_OF_RANGE),
        }
    }

    /// A number of units since 1970. What Debezium publishes for an infinite timestamp is one.
    pub(crate) fn of_units(value: i64, unit: Unit) -> Read<Self> {
        match unit {
            Unit::Nanoseconds if matches!(value, i64::MAX | i64::MIN) => Ok(Self::At(value)),
            Unit::Nanoseconds => whole_microseconds(value).map(Self::At),
            Unit::Microseconds => Ok(Self::At(from_stand_in(value))),
            Unit::Milliseconds if value == DEBEZIUM_POSITIVE_INFINITY_US / 1000 => Ok(Self::At(i64::MAX)),
            Unit::Milliseconds if value == DEBEZIUM_NEGATIVE_INFINITY_US / 1000 => Ok(Self::At(i64::MIN)),
            Unit::Milliseconds => {
                let of_day = value.rem_euclid(DAY_US / 1000) * 1000;
                Self::new(value.div_euclid(DAY_US / 1000), of_day)
            }
        }
    }

    /// The same in UTC, of a moment that is so many seconds east of it.
    pub(crate) fn minus_seconds(self, seconds: i64) -> Read<Self> {
        let microseconds = seconds * 1_000_000;
        match self {
            Self::At(at @ (i64::MAX | i64::MIN)) => Ok(Self::At(at)),
            Self::At(at) => match at.checked_sub(microseconds) {
                Some(at) => Ok(Self::At(at)),
                None => Self::new(at.div_euclid(DAY_US), at.rem_euclid(DAY_US) - microseconds),
            },
            Self::Late { days, of_day } => Self::new(days, of_day - microseconds),
        }
    }
}

fn from_stand_in(at: i64) -> i64 {
    match at {
        DEBEZIUM_POSITIVE_INFINITY_US => i64::MAX,
        DEBEZIUM_NEGATIVE_INFINITY_US => i64::MIN,
        other => other,
    }
}

/// Microseconds of a time of day in a unit.
pub(crate) fn time_of_units(value: i64, unit: Unit) -> Read<i64> {
    match unit {
        Unit::Milliseconds => value.checked_mul(1000).ok_or(OUT_OF_RANGE),
        Unit::Microseconds => Ok(value),
        Unit::Nanoseconds => whole_microseconds(value),
    }
}

/// Microseconds of nanoseconds; what would be cut off is refused.
pub(crate) fn whole_microseconds(nanoseconds: i64) -> Read<i64> {
    match nanoseconds % 1000 {
        0 => Ok(nanoseconds / 1000),
        _ => Err(TOO_FINE),
    }
}

/// Days since 1970 of `2016-11-04`; a `Z` may follow, as Debezium writes it.
pub(crate) fn date(text: &str) -> Read<i64> {
    if let Some(infinite) = infinity(text.as_bytes()) {
        return Ok(if infinite { i32::MAX } else { i32::MIN }.into());
    }
    let mut characters = Characters::of(text);
    let days = characters.date().ok_or(NO_DATE)?;
    characters.take(b'Z');
    characters.end(NO_DATE)?;
    i32::try_from(days).map(i64::from).map_err(|_| OUT_OF_RANGE)
}

/// Microseconds of `13:51:30.123`, which may also be an amount of time; a `Z` may follow, as Debezium writes it.
pub(crate) fn time(text: &str) -> Read<i64> {
    let mut characters = Characters::of(text);
    let negative = characters.take(b'-');
    let time = characters.clock().ok_or(NO_TIME)?;
    characters.take(b'Z');
    characters.end(NO_TIME)?;
    Ok(if negative { -time } else { time })
}

/// `13:51:30.123+02:00`, or `Z`.
pub(crate) fn time_tz(text: &str) -> Read<TimeTz> {
    let mut characters = Characters::of(text);
    let microseconds = characters.clock().filter(|of_day| *of_day <= DAY_US);
    let microseconds = microseconds.ok_or(NO_TIME_TZ)?;
    let offset_seconds = characters.offset().ok_or(NO_TIME_TZ)?;
    characters.end(NO_TIME_TZ)?;
    Ok(TimeTz {
        microseconds,
        offset_seconds,
    })
}

/// `2016-11-04T13:51:30.123`, and what the offset behind it makes of it in UTC.
pub(crate) fn timestamp(text: &str) -> Read<Moment> {
    let mut characters = Characters::of(text);
    let moment = characters.timestamp()?;
    characters.end(NO_TIMESTAMP)?;
    Ok(moment)
}

/// The same where finer digits than microseconds do not matter.
pub(crate) fn timestamp_cut(text: &str) -> Read<Moment> {
    let mut characters = Characters::of(text);
    let moment = characters.timestamp()?;
    characters.is_cut = false;
    characters.end(NO_TIMESTAMP)?;
    Ok(moment)
}

/// `P1Y2M3DT4H5M6.78S`, in which each part may have a sign of its own.
pub(crate) fn interval(text: &str) -> Read<Interval> {
    let mut characters = Characters::of(text);
    let all_negative = characters.take(b'-');
    if !characters.take(b'P') || characters.rest.is_empty() {
        return Err(NO_INTERVAL);
    }
    let (mut months, mut days, mut microseconds) = (0_i128, 0_i128, 0_i128);
    let mut is_time = false;
    while !characters.rest.is_empty() {
        if !is_time && characters.take(b'T') {
            is_time = true;
            continue;
        }
        let (whole, fraction) = characters.part().ok_or(NO_INTERVAL)?;
        let unit = characters.next().ok_or(NO_INTERVAL)?;
        match (unit, is_time) {
            (b'Y', false) => months += whole * 12,
            (b'M', false) => months += whole,
            (b'W', false) => days += whole * 7,
            (b'D', false) => days += whole,
            (b'H', true) => microseconds += whole * 3_600_000_000,
            (b'M', true) => microseconds += whole * 60_000_000,
            (b'S', true) => microseconds += whole * 1_000_000 + fraction,
            _ => return Err(NO_INTERVAL),
        }
        if fraction != 0 && unit != b'S' {
            return Err(NO_INTERVAL);
        }
    }
    characters.end(NO_INTERVAL)?;
    let sign = if all_negative { -1 } else { 1 };
    let out = |_| OUT_OF_RANGE;
    Ok(Interval {
        months: i32::try_from(months * sign).map_err(out)?,
        days: i32::try_from(days * sign).map_err(out)?,
        microseconds: i64::try_from(microseconds * sign).map_err(out)?,
    })
}

fn infinity(text: &[u8]) -> Option<bool> {
    match text {
        b"infinity" => Some(true),
        b"-infinity" => Some(false),
        _ => None,
    }
}

// === impl Characters ===

impl<'a> Characters<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            rest: text.as_bytes(),
            is_cut: false,
        }
    }

    /// Nothing may follow, and nothing may have been cut off.
    fn end(&self, fault: Fault) -> Read<()> {
        match self.rest {
            [] if self.is_cut => Err(TOO_FINE),
            [] => Ok(()),
            _ => Err(fault),
        }
    }

    /// A date and time, with what follows left where it is no offset.
    fn timestamp(&mut self) -> Read<Moment> {
        if let Some(infinite) = infinity(self.rest) {
            self.rest = &[];
            return Ok(Moment::At(if infinite { i64::MAX } else { i64::MIN }));
        }
        let days = self.date().ok_or(NO_TIMESTAMP)?;
        if self.rest.is_empty() {
            return Moment::new(days, 0);
        }
        if !(self.take(b'T') || self.take(b' ') || self.take(b't')) {
            return Err(NO_TIMESTAMP);
        }
        let of_day = self.clock().filter(|of_day| *of_day <= DAY_US).ok_or(NO_TIMESTAMP)?;
        let moment = Moment::new(days, of_day)?;
        if self.rest.is_empty() {
            return Ok(moment);
        }
        let offset = self.offset().ok_or(NO_TIMESTAMP)?;
        moment.minus_seconds(offset.into())
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    #[inline]
    fn two_digits(&mut self) -> Option<i64> {
        match self.rest {
            [tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] => {
                self.rest = rest;
                Some(i64::from(tens & 15) * 10 + i64::from(ones & 15))
            }
            _ => None,
        }
    }

    /// Any number of digits, at most so many; their number, too.
    fn digits(&mut self, most: usize) -> Option<(i64, usize)> {
        let mut value = 0;
        let mut count = 0;
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            if count == most {
                return None;
            }
            value = value * 10 + i64::from(digit & 15);
            count += 1;
            self.rest = rest;
        }
        (count > 0).then_some((value, count))
    }

    /// Days since 1970; a year of more than four digits, or before the year 0, has a sign.
    fn date(&mut self) -> Option<i64> {
        let negative = self.take(b'-');
        let signed = negative || self.take(b'+');
        let (year, digits) = self.digits(9)?;
        if digits < 4 || (digits > 4 && !signed) || !self.take(b'-') {
            return None;
        }
        let month = self.two_digits().filter(|month| (1..=12).contains(month))?;
        if !self.take(b'-') {
            return None;
        }
        let day = self.two_digits().filter(|day| (1..=31).contains(day))?;
        let year = if negative { -year } else { year };
        let civil = Civil { year, month, day };
        let days = civil.to_days();
        // Not every month has 31.
        (day <= 28 || Civil::from_days(days) == civil).then_some(days)
    }

    /// Microseconds of hours, minutes, seconds and a fraction.
    fn clock(&mut self) -> Option<i64> {
        let (hours, digits) = self.digits(9)?;
        if digits < 2 || !self.take(b':') {
            return None;
        }
        let minutes = self.two_digits().filter(|minutes| *minutes < 60)?;
        let mut seconds = 0;
        let mut fraction = 0;
        if self.take(b':') {
            seconds = self.two_digits().filter(|seconds| *seconds < 60)?;
            if self.take(b'.') || self.take(b',') {
                fraction = self.fraction()?;
            }
        }
        Some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction)
    }

    /// Millionths; finer digits are cut off, and that is noted.
    fn fraction(&mut self) -> Option<i64> {
        let mut value = 0;
        let mut count = 0;
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            if count < 6 {
                value = value * 10 + i64::from(digit & 15);
            } else {
                self.is_cut |= *digit != b'0';
            }
            count += 1;
            self.rest = rest;
        }
        let missing = 6_u32.saturating_sub(count);
        (count > 0).then(|| value * 10_i64.pow(missing))
    }

    /// `Z`, `+02`, `+0200`, `+02:00` or `+02:00:01`, in seconds.
    fn offset(&mut self) -> Option<i32> {
        if self.take(b'Z') || self.take(b'z') {
            return Some(0);
        }
        let negative = self.take(b'-');
        if !negative && !self.take(b'+') {
            return None;
        }
        let mut seconds = self.two_digits()? * 3600;
        if !self.rest.is_empty() {
            self.take(b':');
            seconds += self.two_digits().filter(|minutes| *minutes < 60)? * 60;
        }
        if self.take(b':') {
            seconds += self.two_digits().filter(|seconds| *seconds < 60)?;
        }
        i32::try_from(if negative { -seconds } else { seconds }).ok()
    }

    /// A number of an interval, and its fraction in millionths.
    fn part(&mut self) -> Option<(i128, i128)> {
        let negative = self.take(b'-');
        if !negative {
            self.take(b'+');
        }
        let (whole, _) = self.digits(18)?;
        let fraction = if self.take(b'.') { self.fraction()? } else { 0 };
        let sign = if negative { -1 } else { 1 };
        Some((i128::from(whole) * sign, i128::from(fraction) * sign))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::{IntervalFormat, TimeFormat};
    use crate::notation::Json;
    use crate::values::interval::write_interval;
    use crate::values::temporal::{write_date_value, write_time_tz_value, write_time_value, write_timestamp_value};

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap().trim_matches('"').to_owned()
    }

    #[test]
    fn other_writers_forms_are_read() {
        let at = Moment::At(1_478_267_490_000_000);
        for form in [
            "2016-11-04T13:51:30Z",
            "2016-11-04 13:51:30",
            "2016-11-04T15:51:30+02:00",
            "2016-11-04T15:51:30.000+0200",
            "2016-11-04T15:51:30,0000000+02",
        ] {
            assert_eq!(timestamp(form), Ok(at), "{form}");
        }
        assert_eq!(timestamp("2016-11-04"), Moment::new(17_109, 0));
        assert_eq!(time("13:51"), Ok(49_860_000_000));
        assert_eq!(interval("P2W").unwrap().days, 14);
        assert_eq!(interval("-P1M").unwrap().months, -1);
    }

    #[test]
    fn what_is_none_is_refused() {
        for wrong in [
            "",
            "2016",
            "2016-13-01",
            "2016-02-30",
            "2016-11-04x",
            "16-11-04",
            "12016-11-04",
            "٢٠١٦-11-04",
        ] {
            assert_eq!(date(wrong), Err(NO_DATE), "{wrong}");
        }
        assert_eq!(date("+999999999-01-01"), Err(OUT_OF_RANGE));
        for wrong in [
            "",
            "1:00:00",
            "25",
            "00:60:00",
            "00:00:60",
            "00:00:00.",
            "00:00:00+01:00",
        ] {
            assert_eq!(time(wrong), Err(NO_TIME), "{wrong}");
        }
        for wrong in [
            "2016-11-04T",
            "2016-11-04T25:00:00",
            "2016-11-04T00:00:00+",
            "2016-11-04T00:00:00Zx",
        ] {
            assert_eq!(timestamp(wrong), Err(NO_TIMESTAMP), "{wrong}");
        }
        for wrong in ["", "P", "1Y", "P1", "P1H", "PT1Y", "P1.5D", "PT1.S"] {
            assert_eq!(interval(wrong), Err(NO_INTERVAL), "{wrong}");
        }
        assert_eq!(interval("P9999999999Y"), Err(OUT_OF_RANGE));
    }

    #[test]
    fn a_late_timestamp_is_told_from_others() {
        let late = timestamp("+294276-12-31T23:59:59.999999Z").unwrap();
        assert!(matches!(
            late,
            Moment::Late {
                of_day: 86_399_999_999,
                ..
            }
        ));
        assert_eq!(
            Moment::of_units(9_224_318_015_999_990, Unit::Milliseconds).unwrap(),
            late_of(late, 990_000)
        );
    }

    fn late_of(moment: Moment, fraction: i64) -> Moment {
        match moment {
            Moment::Late { days, .. } => Moment::Late {
                days,
                of_day: 86_399_000_000 + fraction,
            },
            at => at,
        }
    }

    proptest! {
        #[test]
        fn any_date_comes_back(days in any::<i32>()) {
            for format in [TimeFormat::Iso, TimeFormat::Isostring] {
                let written = text(|out| write_date_value::<Json>(out, days.into(), format).unwrap());
                prop_assert_eq!(date(&written), Ok(days.into()));
            }
        }

        #[test]
        fn any_timestamp_comes_back(at in any::<i64>()) {
            for format in [TimeFormat::Iso, TimeFormat::Isostring] {
                let written = text(|out| write_timestamp_value::<Json>(out, at, format, 6).unwrap());
                prop_assert_eq!(timestamp(&written), Ok(Moment::At(from_stand_in(at))));
            }
        }

        #[test]
        fn any_time_comes_back(at in -3_020_399_000_000..=3_020_399_000_000_i64, offset in -57_599..=57_599) {
            let written = text(|out| write_time_value::<Json>(out, at, TimeFormat::Iso, 6).unwrap());
            prop_assert_eq!(time(&written), Ok(at));
            let at = TimeTz { microseconds: at.rem_euclid(DAY_US + 1), offset_seconds: offset };
            let written = text(|out| write_time_tz_value::<Json>(out, at, TimeFormat::Iso, 6));
            prop_assert_eq!(time_tz(&written), Ok(at));
        }

        #[test]
        fn any_interval_comes_back(months in any::<i32>(), days in any::<i32>(), microseconds in any::<i64>()) {
            let whole = Interval { months, days, microseconds };
            for format in [IntervalFormat::Iso, IntervalFormat::String] {
                let written = text(|out| write_interval::<Json>(out, whole, format).unwrap());
                prop_assert_eq!(interval(&written), Ok(whole));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9PTYMDHSWZ:.,a-z ]{0,24}") {
            prop_assert!(date(&text).map_or(true, |days| i32::try_from(days).is_ok()));
            prop_assert!(time_tz(&text).map_or(true, |time| (0..=DAY_US).contains(&time.microseconds)));
            // A time alone may be any amount, a timestamp any moment; both have a year or an hour at the least.
            prop_assert!(time(&text).is_err() || text.contains(':'));
            prop_assert!(timestamp(&text).is_err() || text.contains('-'));
            prop_assert!(interval(&text).is_err() || text.contains('P'));
        }
    }
}
