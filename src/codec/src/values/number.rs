//! Numbers. Floats that JSON has no number for become the strings `"NaN"`, `"Infinity"` and `"-Infinity"`, which is
//! also what Jackson does.

use std::fmt::LowerExp;
use std::str::FromStr;

use crate::format::Envelope;

/// Which of the shortest forms of a float is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloatStyle {
    /// As Rust prints it: `1e16`.
    Plain,
    /// As Java prints it: `1.0E16`, with an exponent from ten million up and below a thousandth.
    Java,
}

impl FloatStyle {
    pub(crate) fn of(envelope: Envelope) -> Self {
        match envelope {
            Envelope::Entity => Self::Plain,
            Envelope::Debezium => Self::Java,
        }
    }
}

/// Writes an integer.
pub(crate) fn write_int(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes an integer that has no sign.
pub(crate) fn write_unsigned(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes a double.
pub(crate) fn write_float64(out: &mut Vec<u8>, value: f64, style: FloatStyle) {
    if !value.is_finite() {
        return out.extend_from_slice(special(value.is_nan(), value > 0.0));
    }
    let mut buffer = ryu::Buffer::new();
    let magnitude = value.abs();
    let decimal = magnitude == 0.0 || (1e-3..1e7).contains(&magnitude);
    if style == FloatStyle::Java && value.is_subnormal() && write_two_digits(out, value) {
        return;
    }
    write_shortest(out, buffer.format_finite(value), style == FloatStyle::Plain || decimal);
}

/// Writes a single precision float with the digits that single precision needs.
pub(crate) fn write_float32(out: &mut Vec<u8>, value: f32, style: FloatStyle) {
    if !value.is_finite() {
        return out.extend_from_slice(special(value.is_nan(), value > 0.0));
    }
    let mut buffer = ryu::Buffer::new();
    let magnitude = value.abs();
    let decimal = magnitude == 0.0 || (1e-3..1e7).contains(&magnitude);
    if style == FloatStyle::Java && value.is_subnormal() && write_two_digits(out, value) {
        return;
    }
    write_shortest(out, buffer.format_finite(value), style == FloatStyle::Plain || decimal);
}

/// Java never writes fewer than two digits, and of two the nearest: the least double is 4.9E-324 and not 5.0E-324. Only
/// among the least numbers is that another than the shortest one with a zero. False where two digits are too few.
fn write_two_digits<F: LowerExp + FromStr + PartialEq>(out: &mut Vec<u8>, value: F) -> bool {
    let text = format!("{value:.1e}");
    let exact = text.parse::<F>().is_ok_and(|read| read == value);
    if exact {
        write_java_exponent(out, &text);
    }
    exact
}

fn special(nan: bool, positive: bool) -> &'static [u8] {
    match (nan, positive) {
        (true, _) => b"\"NaN\"",
        (false, true) => b"\"Infinity\"",
        (false, false) => b"\"-Infinity\"",
    }
}

fn write_shortest(out: &mut Vec<u8>, shortest: &str, as_it_is: bool) {
    if as_it_is {
        out.extend_from_slice(shortest.as_bytes());
    } else {
        write_java_exponent(out, shortest);
    }
}

/// Rewrites shortest digits in whatever notation as `d.dddE±n`.
fn write_java_exponent(out: &mut Vec<u8>, shortest: &str) {
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let digits = match mantissa.strip_prefix('-') {
        Some(rest) => {
            out.push(b'-');
            rest
        }
        None => mantissa,
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = || whole.bytes().chain(fraction.bytes());
    let leading_zeros = all().take_while(|digit| *digit == b'0').count();
    let trailing_zeros = all().rev().take_while(|digit| *digit == b'0').count();
    let count = (whole.len() + fraction.len()).saturating_sub(leading_zeros + trailing_zeros);
    let mut significant = all().skip(leading_zeros).take(count);
    out.push(significant.next().unwrap_or(b'0'));
    out.push(b'.');
    let before = out.len();
    out.extend(significant);
    if out.len() == before {
        out.push(b'0');
    }
    let shift = i64::try_from(whole.len()).unwrap_or_default() - 1 - i64::try_from(leading_zeros).unwrap_or_default();
    out.push(b'E');
    write_int(out, exponent.parse::<i64>().unwrap_or_default() + shift);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn double(value: f64, style: FloatStyle) -> String {
        let mut out = Vec::new();
        write_float64(&mut out, value, style);
        String::from_utf8(out).unwrap()
    }

    fn single(value: f32) -> String {
        let mut out = Vec::new();
        write_float32(&mut out, value, FloatStyle::Java);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_as_java_prints_them() {
        let expected = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (3.0, "3.0"),
            (4.44, "4.44"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (123_456_789.0, "1.23456789E8"),
            (0.001, "0.001"),
            (0.000_999, "9.99E-4"),
            (1e16, "1.0E16"),
            (1.25e300, "1.25E300"),
            (-5e-324, "-4.9E-324"),
            (1e-323, "9.9E-324"),
            (1.234_567e-310, "1.234567E-310"),
            (-92_233_720_368_547_758.0, "-9.223372036854776E16"),
        ];
        for (value, text) in expected {
            assert_eq!(double(value, FloatStyle::Java), text);
        }
    }

    #[test]
    fn singles_keep_their_own_digits() {
        assert_eq!(single(3.3), "3.3");
        assert_eq!(single(3.0), "3.0");
        assert_eq!(single(1_234_567_890.5), "1.234568E9");
        assert_eq!(single(1e10), "1.0E10");
        assert_eq!(single(1e-45), "1.4E-45");
    }

    #[test]
    fn what_json_has_no_number_for_is_a_string() {
        assert_eq!(double(f64::NAN, FloatStyle::Plain), "\"NaN\"");
        assert_eq!(double(f64::INFINITY, FloatStyle::Java), "\"Infinity\"");
        assert_eq!(single(f32::NEG_INFINITY), "\"-Infinity\"");
        assert_eq!(single(f32::NAN), "\"NaN\"");
    }

    proptest! {
        #[test]
        fn any_double_survives(bits in any::<u64>(), java in any::<bool>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let style = if java { FloatStyle::Java } else { FloatStyle::Plain };
            let read: f64 = double(value, style).parse().unwrap();
            prop_assert_eq!(read.to_bits(), value.to_bits());
        }

        #[test]
        fn any_single_survives(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            let read: f32 = single(value).parse().unwrap();
            prop_assert_eq!(read.to_bits(), value.to_bits());
        }
    }
}
