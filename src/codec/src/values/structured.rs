//! Debezium's structs for dates and times (3.7): every field is there, null where it does not apply.

use tailrace_core::calendar::Civil;

use super::calendar::Clock;
use crate::notation::Notation;

/// What a struct of date and time holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A date and a time of day.
    At { days: i64, microseconds: i64 },
    /// Later than every other.
    PositiveInfinity,
    /// Earlier than every other.
    NegativeInfinity,
}

impl Moment {
    fn parts(self) -> Option<(Civil, Clock)> {
        match self {
            Self::At { days, microseconds } => Some((Civil::from_days(days), Clock::from_microseconds(microseconds))),
            Self::PositiveInfinity | Self::NegativeInfinity => None,
        }
    }

    fn special(self) -> Option<&'static str> {
        match self {
            Self::At { .. } => None,
            Self::PositiveInfinity => Some("POSITIVE_INFINITY"),
            Self::NegativeInfinity => Some("NEGATIVE_INFINITY"),
        }
    }
}

/// Writes `StructuredDate`.
pub(crate) fn write_date<N: Notation>(out: &mut Vec<u8>, moment: Moment) {
    let parts = moment.parts();
    write_civil::<N>(out, parts.map(|(civil, _)| civil));
    write_special::<N>(out, moment);
    N::syntax(out, b"}");
}

/// Writes `StructuredTimestamp`.
pub(crate) fn write_timestamp<N: Notation>(out: &mut Vec<u8>, moment: Moment, precision: u8) {
    write_civil_and_clock::<N>(out, moment);
    write_special::<N>(out, moment);
    write_precision::<N>(out, precision);
}

/// Writes `StructuredZonedTimestamp`; points in time are held in UTC, which Debezium calls `Z`.
pub(crate) fn write_zoned_timestamp<N: Notation>(out: &mut Vec<u8>, moment: Moment, precision: u8) {
    write_civil_and_clock::<N>(out, moment);
    let zone = moment.special().is_none();
    write_fields::<N, 1>(out, [(",\"offsetSeconds\":", zone.then_some(0))]);
    write_optional_text::<N>(out, ",\"zoneId\":", zone.then_some("Z"));
    write_special::<N>(out, moment);
    write_precision::<N>(out, precision);
}

/// Writes `StructuredTime`.
pub(crate) fn write_time<N: Notation>(out: &mut Vec<u8>, microseconds: i64, precision: u8) {
    N::syntax(out, b"{");
    write_clock::<N>(out, Some(Clock::from_microseconds(microseconds)));
    write_precision::<N>(out, precision);
}

/// Writes `StructuredZonedTime`.
pub(crate) fn write_zoned_time<N: Notation>(out: &mut Vec<u8>, microseconds: i64, offset_seconds: i32, precision: u8) {
    N::syntax(out, b"{");
    write_clock::<N>(out, Some(Clock::from_microseconds(microseconds)));
    write_fields::<N, 1>(out, [(",\"offsetSeconds\":", Some(offset_seconds.into()))]);
    write_precision::<N>(out, precision);
}

fn write_civil_and_clock<N: Notation>(out: &mut Vec<u8>, moment: Moment) {
    let parts = moment.parts();
    write_civil::<N>(out, parts.map(|(civil, _)| civil));
    N::syntax(out, b",");
    write_clock::<N>(out, parts.map(|(_, clock)| clock));
}

fn write_civil<N: Notation>(out: &mut Vec<u8>, civil: Option<Civil>) {
    write_fields::<N, 3>(
        out,
        [
            ("{\"year\":", civil.map(|civil| civil.year)),
            (",\"month\":", civil.map(|civil| civil.month)),
            (",\"day\":", civil.map(|civil| civil.day)),
        ],
    );
}

fn write_clock<N: Notation>(out: &mut Vec<u8>, clock: Option<Clock>) {
    write_fields::<N, 4>(
        out,
        [
            ("\"hour\":", clock.map(|clock| clock.hour)),
            (",\"minute\":", clock.map(|clock| clock.minute)),
            (",\"second\":", clock.map(|clock| clock.second)),
            (",\"nanos\":", clock.map(|clock| clock.microsecond * 1000)),
        ],
    );
}

fn write_fields<N: Notation, const COUNT: usize>(out: &mut Vec<u8>, fields: [(&str, Option<i64>); COUNT]) {
    for (name, value) in fields {
        N::syntax(out, name.as_bytes());
        N::optional(out, value.is_some());
        if let Some(value) = value {
            N::int(out, value);
        }
    }
}

fn write_special<N: Notation>(out: &mut Vec<u8>, moment: Moment) {
    write_optional_text::<N>(out, ",\"specialValue\":", moment.special());
}

fn write_optional_text<N: Notation>(out: &mut Vec<u8>, name: &str, text: Option<&str>) {
    N::syntax(out, name.as_bytes());
    N::optional(out, text.is_some());
    if let Some(text) = text {
        N::text(out, text);
    }
}

fn write_precision<N: Notation>(out: &mut Vec<u8>, precision: u8) {
    write_fields::<N, 1>(out, [(",\"precision\":", Some(precision.into()))]);
    N::syntax(out, b"}");
}
