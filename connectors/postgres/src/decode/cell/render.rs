//! Prints a binary value as the server's own text form.
//!
//! Needed for arrays that do not begin at 1, which are published as text from either form. With `DateStyle=ISO`,
//! `IntervalStyle=postgres`, `TimeZone=UTC`, `extra_float_digits=3` and `bytea_output=hex`.

use std::fmt::Write;

use tailrace_core::calendar::Civil;

use super::bytes::{packed_bits, print_bits, print_internal_char, print_uuid, push_hex_digits};
use super::temporal::{
    MICROSECONDS_PER_DAY, date_from_binary, time_from_binary, time_tz_from_binary, timestamp_from_binary,
};
use super::{CellDecoder, Result, ValueError, characters, fixed, interval, network, number, numeric, written};

/// Exponents from which on a float is printed with one: digits that are always exact.
const FLOAT64_EXPONENT_FROM: i32 = 15;
const FLOAT32_EXPONENT_FROM: i32 = 6;
const EXPONENT_BELOW: i32 = -4;

/// Appends the text form of the value that `bytes` is the binary form of.
pub(super) fn print_binary(decoder: &CellDecoder, bytes: &[u8], text: &mut String) -> Result<()> {
    match decoder {
        CellDecoder::Boolean => text.push(if number::boolean_from_binary(bytes)? { 't' } else { 'f' }),
        CellDecoder::Int16 => written(write!(text, "{}", i16::from_be_bytes(fixed(bytes, "smallint")?)))?,
        CellDecoder::Int32 => written(write!(text, "{}", i32::from_be_bytes(fixed(bytes, "integer")?)))?,
        CellDecoder::Int64 => written(write!(text, "{}", i64::from_be_bytes(fixed(bytes, "bigint")?)))?,
        CellDecoder::Oid => written(write!(text, "{}", u32::from_be_bytes(fixed(bytes, "oid")?)))?,
        CellDecoder::Float32 => print_float32(f32::from_be_bytes(fixed(bytes, "real")?), text)?,
        CellDecoder::Float64 => print_float64(f64::from_be_bytes(fixed(bytes, "double precision")?), text)?,
        CellDecoder::Numeric => numeric::print_binary(bytes, text)?,
        CellDecoder::Text => text.push_str(characters(bytes)?),
        CellDecoder::VersionedText => text.push_str(versioned(bytes)?),
        CellDecoder::InternalChar => print_internal_char(fixed::<1>(bytes, "\"char\"")?[0], text)?,
        CellDecoder::NetworkAddress => network::print_address(bytes, text)?,
        CellDecoder::HardwareAddress => network::print_hardware_address(bytes, text)?,
        CellDecoder::Uuid => print_uuid(&fixed(bytes, "uuid")?, text),
        CellDecoder::Bytea => print_bytea(bytes, text),
        CellDecoder::Bits => {
            let (count, packed) = packed_bits(bytes)?;
            print_bits(count, packed, text);
        }
        CellDecoder::Date => print_date(date_from_binary(bytes)?, text)?,
        CellDecoder::Time => print_time(time_from_binary(bytes)?, text)?,
        CellDecoder::TimeTz => print_time_tz(bytes, text)?,
        CellDecoder::Timestamp => print_timestamp(timestamp_from_binary(bytes)?, "", text)?,
        CellDecoder::TimestampTz => print_timestamp(timestamp_from_binary(bytes)?, "+00", text)?,
        CellDecoder::Interval => print_interval(bytes, text)?,
        CellDecoder::Array(array) => array.print_binary(bytes, text)?,
        CellDecoder::TextOnly
        | CellDecoder::Money
        | CellDecoder::Point
        | CellDecoder::Line
        | CellDecoder::Circle
        | CellDecoder::Shape(_)
        | CellDecoder::Map
        | CellDecoder::Vector
        | CellDecoder::HalfVector
        | CellDecoder::SparseVector
        | CellDecoder::Geometry => return Err(ValueError::BinaryUnknown),
    }
    Ok(())
}

/// True where [`print_binary`] knows the type, so that arrays of it need not be read as text.
pub(super) fn is_printable(decoder: &CellDecoder) -> bool {
    match decoder {
        CellDecoder::TextOnly
        | CellDecoder::Money
        | CellDecoder::Point
        | CellDecoder::Line
        | CellDecoder::Circle
        | CellDecoder::Shape(_)
        | CellDecoder::Map
        | CellDecoder::Vector
        | CellDecoder::HalfVector
        | CellDecoder::SparseVector
        | CellDecoder::Geometry => false,
        CellDecoder::Array(array) => is_printable(&array.element),
        _ => true,
    }
}

fn versioned(bytes: &[u8]) -> Result<&str> {
    match bytes.split_first() {
        Some((1, text)) => characters(text),
        _ => Err(ValueError::Malformed("jsonb or ltree, version 1")),
    }
}

fn print_bytea(bytes: &[u8], text: &mut String) {
    text.push_str(r"\x");
    bytes.iter().for_each(|byte| push_hex_digits(*byte, text));
}

// --- floats

pub(crate) fn print_float32(value: f32, text: &mut String) -> Result<()> {
    if value.is_finite() {
        return print_digits(&format!("{value:e}"), FLOAT32_EXPONENT_FROM, text);
    }
    print_float64(f64::from(value), text)
}

pub(crate) fn print_float64(value: f64, text: &mut String) -> Result<()> {
    if value.is_finite() {
        return print_digits(&format!("{value:e}"), FLOAT64_EXPONENT_FROM, text);
    }
    text.push_str(match value {
        _ if value.is_nan() => "NaN",
        _ if value > 0.0 => "Infinity",
        _ => "-Infinity",
    });
    Ok(())
}

/// `scientific` is the shortest form that reads back, `-1.25e-7`; the server prints it plainly unless it is very long.
fn print_digits(scientific: &str, exponent_from: i32, text: &mut String) -> Result<()> {
    let malformed = ValueError::Malformed("a float");
    let (mantissa, exponent) = scientific.split_once('e').ok_or(malformed)?;
    let exponent: i32 = exponent.parse().map_err(|_| malformed)?;
    if !(EXPONENT_BELOW..exponent_from).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return written(write!(text, "{mantissa}e{sign}{:02}", exponent.unsigned_abs()));
    }
    let (sign, mantissa) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |mantissa| ("-", mantissa));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    text.push_str(sign);
    match usize::try_from(exponent) {
        Ok(exponent) => {
            let (whole, fraction) = digits.split_at_checked(exponent + 1).unwrap_or((&digits, ""));
            written(write!(text, "{whole:0<width$}", width = exponent + 1))?;
            if !fraction.is_empty() {
                written(write!(text, ".{fraction}"))?;
            }
            Ok(())
        }
        Err(_) => {
            let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
            written(write!(text, "0.{:0<zeros$}{digits}", ""))
        }
    }
}

// --- dates and times

pub(crate) fn print_date(days: i64, text: &mut String) -> Result<()> {
    if days == i64::from(i32::MAX) || days == i64::from(i32::MIN) {
        text.push_str(if days > 0 { "infinity" } else { "-infinity" });
        return Ok(());
    }
    print_day(days, "", text)
}

pub(crate) fn print_timestamp(microseconds: i64, zone: &str, text: &mut String) -> Result<()> {
    if microseconds == i64::MAX || microseconds == i64::MIN {
        text.push_str(if microseconds > 0 { "infinity" } else { "-infinity" });
        return Ok(());
    }
    let mut time = String::from(" ");
    print_time(microseconds.rem_euclid(MICROSECONDS_PER_DAY), &mut time)?;
    time.push_str(zone);
    print_day(microseconds.div_euclid(MICROSECONDS_PER_DAY), &time, text)
}

/// The date, what follows it, and the era.
fn print_day(days: i64, time: &str, text: &mut String) -> Result<()> {
    let Civil { year, month, day } = Civil::from_days(days);
    let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    written(write!(text, "{shown:04}-{month:02}-{day:02}{time}{era}"))
}

pub(crate) fn print_time(microseconds: i64, text: &mut String) -> Result<()> {
    let (seconds, fraction) = (microseconds / 1_000_000, microseconds % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    written(write!(text, "{hour:02}:{minute:02}:{second:02}"))?;
    if fraction > 0 {
        let digits = format!(".{fraction:06}");
        text.push_str(digits.trim_end_matches('0'));
    }
    Ok(())
}

fn print_time_tz(bytes: &[u8], text: &mut String) -> Result<()> {
    let value = time_tz_from_binary(bytes)?;
    print_time(value.microseconds, text)?;
    let sign = if value.offset_seconds < 0 { '-' } else { '+' };
    let offset = value.offset_seconds.unsigned_abs();
    let (hour, minute, second) = (offset / 3600, offset / 60 % 60, offset % 60);
    written(write!(text, "{sign}{hour:02}"))?;
    if minute > 0 || second > 0 {
        written(write!(text, ":{minute:02}"))?;
    }
    if second > 0 {
        written(write!(text, ":{second:02}"))?;
    }
    Ok(())
}

fn print_interval(bytes: &[u8], text: &mut String) -> Result<()> {
    let value = interval::from_binary(bytes)?;
    let time = i128::from(value.microseconds);
    match (value.months, value.days, value.microseconds) {
        (i32::MAX, i32::MAX, i64::MAX) => return written(text.write_str("infinity")),
        (i32::MIN, i32::MIN, i64::MIN) => return written(text.write_str("-infinity")),
        _ => {}
    }
    let mut parts: Vec<String> = Vec::new();
    // A positive part behind a negative one says so.
    let mut negative_before = false;
    for (count, unit) in [
        (value.months / 12, "year"),
        (value.months % 12, "mon"),
        (value.days, "day"),
    ] {
        if count != 0 {
            let plus = if negative_before && count > 0 { "+" } else { "" };
            let plural = if count == 1 { "" } else { "s" };
            parts.push(format!("{plus}{count} {unit}{plural}"));
            negative_before = count < 0;
        }
    }
    if parts.is_empty() || time != 0 {
        let sign = match time {
            ..0 => "-",
            _ if negative_before => "+",
            _ => "",
        };
        let (seconds, fraction) = (time.unsigned_abs() / 1_000_000, time.unsigned_abs() % 1_000_000);
        let mut clock = format!(
            "{sign}{:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
        if fraction > 0 {
            clock.push_str(format!(".{fraction:06}").trim_end_matches('0'));
        }
        parts.push(clock);
    }
    text.push_str(&parts.join(" "));
    Ok(())
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn floats_as_the_server_prints_them() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (100_000.0, "100000"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.25e-7, "1.25e-07"),
            (5e-324, "5e-324"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let mut text = String::new();
            print_float64(value, &mut text).unwrap();
            assert_eq!(text, expected);
        }
        for (value, expected) in [(1e6_f32, "1e+06"), (123_456.0, "123456"), (3.3, "3.3"), (1e-5, "1e-05")] {
            let mut text = String::new();
            print_float32(value, &mut text).unwrap();
            assert_eq!(text, expected);
        }
    }
}
