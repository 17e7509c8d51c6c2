//! Debezium's structs for dates and times (3.7): every field is there, null where it does not apply.

use super::calendar::{Civil, Clock};
use super::number::write_int;

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

const SPECIAL_POSITIVE: &str = ",\"specialValue\":\"POSITIVE_INFINITY\"";
const SPECIAL_NEGATIVE: &str = ",\"specialValue\":\"NEGATIVE_INFINITY\"";
const SPECIAL_NONE: &str = ",\"specialValue\":null";

impl Moment {
    fn parts(self) -> Option<(Civil, Clock)> {
        match self {
            Self::At { days, microseconds } => Some((Civil::from_days(days), Clock::from_microseconds(microseconds))),
            Self::PositiveInfinity | Self::NegativeInfinity => None,
        }
    }

    fn special(self) -> &'static str {
        match self {
            Self::At { .. } => SPECIAL_NONE,
            Self::PositiveInfinity => SPECIAL_POSITIVE,
            Self::NegativeInfinity => SPECIAL_NEGATIVE,
        }
    }
}

/// Writes `StructuredDate`.
pub(crate) fn write_date(out: &mut Vec<u8>, moment: Moment) {
    let parts = moment.parts();
    write_civil(out, parts.map(|(civil, _)| civil));
    append(out, moment.special());
    out.push(b'}');
}

/// Writes `StructuredTimestamp`.
pub(crate) fn write_timestamp(out: &mut Vec<u8>, moment: Moment, precision: u8) {
    write_civil_and_clock(out, moment);
    append(out, moment.special());
    write_precision(out, precision);
}

/// Writes `StructuredZonedTimestamp`; points in time are held in UTC, which Debezium calls `Z`.
pub(crate) fn write_zoned_timestamp(out: &mut Vec<u8>, moment: Moment, precision: u8) {
    write_civil_and_clock(out, moment);
    append(
        out,
        match moment {
            Moment::At { .. } => ",\"offsetSeconds\":0,\"zoneId\":\"Z\"",
            _ => ",\"offsetSeconds\":null,\"zoneId\":null",
        },
    );
    append(out, moment.special());
    write_precision(out, precision);
}

/// Writes `StructuredTime`.
pub(crate) fn write_time(out: &mut Vec<u8>, microseconds: i64, precision: u8) {
    out.push(b'{');
    write_clock(out, Some(Clock::from_microseconds(microseconds)));
    write_precision(out, precision);
}

/// Writes `StructuredZonedTime`.
pub(crate) fn write_zoned_time(out: &mut Vec<u8>, microseconds: i64, offset_seconds: i32, precision: u8) {
    out.push(b'{');
    write_clock(out, Some(Clock::from_microseconds(microseconds)));
    append(out, ",\"offsetSeconds\":");
    write_int(out, offset_seconds.into());
    write_precision(out, precision);
}

fn write_civil_and_clock(out: &mut Vec<u8>, moment: Moment) {
    let parts = moment.parts();
    write_civil(out, parts.map(|(civil, _)| civil));
    out.push(b',');
    write_clock(out, parts.map(|(_, clock)| clock));
}

fn write_civil(out: &mut Vec<u8>, civil: Option<Civil>) {
    write_fields(
        out,
        [
            ("{\"year\":", civil.map(|civil| civil.year)),
            (",\"month\":", civil.map(|civil| civil.month)),
            (",\"day\":", civil.map(|civil| civil.day)),
        ],
    );
}

fn write_clock(out: &mut Vec<u8>, clock: Option<Clock>) {
    write_fields(
        out,
        [
            ("\"hour\":", clock.map(|clock| clock.hour)),
            (",\"minute\":", clock.map(|clock| clock.minute)),
            (",\"second\":", clock.map(|clock| clock.second)),
            (",\"nanos\":", clock.map(|clock| clock.microsecond * 1000)),
        ],
    );
}

fn write_fields<const COUNT: usize>(out: &mut Vec<u8>, fields: [(&str, Option<i64>); COUNT]) {
    for (name, value) in fields {
        append(out, name);
        match value {
            Some(value) => write_int(out, value),
            None => append(out, "null"),
        }
    }
}

fn write_precision(out: &mut Vec<u8>, precision: u8) {
    append(out, ",\"precision\":");
    write_int(out, precision.into());
    out.push(b'}');
}

fn append(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}
