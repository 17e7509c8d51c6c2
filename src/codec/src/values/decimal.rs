//! Exact decimals: from plain digits to Connect's unscaled two's complement, at any size, and never through a float
//! unless a double was asked for.

use super::number::FloatStyle;
use super::{CellError, CellResult};
use crate::notation::Notation;

/// Digits that always fit a 128-bit integer.
const INLINE_DIGITS: usize = 38;
/// Digits that are taken into a big integer at once; ten to this power fits 64 bits.
const CHUNK_DIGITS: usize = 18;

/// Plain decimal text, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

/// What happens to digits finer than the scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// Only zeros may be dropped; anything else is an error.
    Exact,
    /// To the nearest, halves away from zero.
    HalfUp,
}

/// Writes decimal digits as a string; Debezium has its own names for the values that are no numbers.
pub(crate) fn write_decimal_text<N: Notation>(out: &mut Vec<u8>, text: &str, java_names: bool) {
    let name = match text {
        "NaN" if java_names => "NAN",
        "Infinity" if java_names => "POSITIVE_INFINITY",
        "-Infinity" if java_names => "NEGATIVE_INFINITY",
        _ => text,
    };
    N::text(out, name);
}

/// Writes the nearest double.
pub(crate) fn write_decimal_double<N: Notation>(out: &mut Vec<u8>, text: &str, style: FloatStyle) -> CellResult {
    let value: f64 = text.parse().map_err(|_| not_plain())?;
    if value.is_infinite() && !text.ends_with("Infinity") {
        return Err(CellError::unrepresentable(
            "is too large for a double",
            "set format.decimal: string, which holds every decimal",
        ));
    }
    N::float64(out, value, style);
    Ok(())
}

/// Writes Connect's `Decimal`: the bytes of the unscaled value at the column's scale. Where values have the types of a schema they
/// have no more digits than it declares.
pub(crate) fn write_decimal_fixed<N: Notation>(
    out: &mut Vec<u8>,
    text: &str,
    (precision, scale): (Option<u32>, u32),
    rounding: Rounding,
) -> CellResult {
    let parts = Parts::parse(text)?;
    let whole_digits = precision.map(|precision| precision.saturating_sub(scale) as usize);
    if N::HAS_TYPES && whole_digits.is_some_and(|digits| parts.whole.trim_start_matches('0').len() > digits) {
        return Err(too_many_digits());
    }
    let scale = scale as usize;
    let kept = parts
        .fraction
        .get(..scale.min(parts.fraction.len()))
        .unwrap_or_default();
    let dropped = parts.fraction.get(kept.len()..).unwrap_or_default();
    let round_up = match rounding {
        Rounding::HalfUp => dropped.bytes().next().is_some_and(|digit| digit >= b'5'),
        Rounding::Exact if dropped.bytes().all(|digit| digit == b'0') => false,
        Rounding::Exact => {
            return Err(CellError::unrepresentable(
                "has more fraction digits than its column declares",
                "set format.decimal: string, which keeps each value's own digits",
            ));
        }
    };
    let padding = scale.saturating_sub(parts.fraction.len());
    write_unscaled::<N>(
        out,
        parts.negative,
        Digits {
            whole: parts.whole,
            fraction: kept,
            padding,
            round_up,
        },
    );
    Ok(())
}

/// Writes Debezium's `VariableScaleDecimal`: the value's own scale and its unscaled value.
pub(crate) fn write_decimal_variable<N: Notation>(out: &mut Vec<u8>, text: &str) -> CellResult {
    let parts = Parts::parse(text)?;
    // As Debezium does: 1.50 is 1.5 where no scale is declared.
    let fraction = parts.fraction.trim_end_matches('0');
    N::syntax(out, b"{\"scale\":");
    N::int(out, i64::try_from(fraction.len()).unwrap_or(i64::MAX));
    N::syntax(out, b",\"value\":");
    let digits = Digits {
        whole: parts.whole,
        fraction,
        padding: 0,
        round_up: false,
    };
    write_unscaled::<N>(out, parts.negative, digits);
    N::syntax(out, b"}");
    Ok(())
}

// === impl Parts ===

impl<'a> Parts<'a> {
    fn parse(text: &'a str) -> Result<Self, CellError> {
        if matches!(text, "NaN" | "Infinity" | "-Infinity") {
            return Err(CellError::unrepresentable(
                "is NaN or infinite, which precise decimals cannot hold",
                "set format.decimal: string (or double)",
            ));
        }
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !plain(whole) || !plain(fraction) {
            return Err(not_plain());
        }
        Ok(Self {
            negative,
            whole,
            fraction,
        })
    }
}

#[cold]
fn too_many_digits() -> CellError {
    CellError::unrepresentable(
        "has more digits before the point than its column declares",
        "set format.decimal: string, which keeps each value's own digits",
    )
}

fn not_plain() -> CellError {
    CellError::new(
        "is not a plain decimal number",
        "please report this as a bug, with the column's type",
    )
}

/// The digits of an unscaled value: whole, fraction, so many zeros; one more where it is rounded up.
#[derive(Clone, Copy)]
struct Digits<'a> {
    whole: &'a str,
    fraction: &'a str,
    padding: usize,
    round_up: bool,
}

impl Digits<'_> {
    fn len(&self) -> usize {
        self.whole.len() + self.fraction.len() + self.padding
    }

    fn values(&self) -> impl Iterator<Item = u8> {
        let written = self.whole.bytes().chain(self.fraction.bytes()).map(|digit| digit & 15);
        written.chain(std::iter::repeat_n(0, self.padding))
    }
}

fn write_unscaled<N: Notation>(out: &mut Vec<u8>, negative: bool, digits: Digits<'_>) {
    if digits.len() <= INLINE_DIGITS {
        let magnitude = digits
            .values()
            .fold(0_i128, |value, digit| value * 10 + i128::from(digit));
        let magnitude = magnitude + i128::from(digits.round_up);
        let value = if negative { -magnitude } else { magnitude };
        N::bytes(out, minimal(&value.to_be_bytes()));
    } else {
        N::bytes(out, minimal(&big_endian(negative, digits)));
    }
}

/// Two's complement of a number of any size, with at least one leading sign byte.
fn big_endian(negative: bool, digits: Digits<'_>) -> Vec<u8> {
    let mut limbs: Vec<u64> = Vec::with_capacity(digits.len() / CHUNK_DIGITS + 2);
    let (mut chunk, mut factor) = (0_u64, 1_u64);
    for digit in digits.values() {
        chunk = chunk * 10 + u64::from(digit);
        factor *= 10;
        if factor == 10_u64.pow(18) {
            multiply_add(&mut limbs, factor, chunk);
            (chunk, factor) = (0, 1);
        }
    }
    multiply_add(&mut limbs, factor, chunk);
    multiply_add(&mut limbs, 1, u64::from(digits.round_up));
    limbs.push(0);
    if negative {
        negate(&mut limbs);
    }
    limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
}

/// `limbs * factor + addend`, least significant limb first.
fn multiply_add(limbs: &mut Vec<u64>, factor: u64, addend: u64) {
    let mut carry = addend;
    for limb in limbs.iter_mut() {
        let product = u128::from(*limb) * u128::from(factor) + u128::from(carry);
        *limb = low(product);
        carry = low(product >> 64);
    }
    if carry != 0 {
        limbs.push(carry);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
fn low(value: u128) -> u64 {
    value as u64
}

fn negate(limbs: &mut [u64]) {
    let mut carry = true;
    for limb in limbs {
        let (sum, overflow) = (!*limb).overflowing_add(u64::from(carry));
        *limb = sum;
        carry = overflow;
    }
}

/// Without leading bytes that only repeat the sign.
fn minimal(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && let [second, ..] = rest
    {
        let repeats_sign = matches!((first, second), (0, 0..=0x7f) | (0xff, 0x80..=0xff));
        if !repeats_sign {
            break;
        }
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::notation::{Avro, Json};
    use crate::values::Cause;

    fn fixed(text: &str, scale: u32) -> String {
        let mut out = Vec::new();
        write_decimal_fixed::<Json>(&mut out, text, (None, scale), Rounding::Exact).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn money(text: &str, scale: u32) -> String {
        let mut out = Vec::new();
        write_decimal_fixed::<Json>(&mut out, text, (None, scale), Rounding::HalfUp).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn variable(text: &str) -> String {
        let mut out = Vec::new();
        write_decimal_variable::<Json>(&mut out, text).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fixed_scale_as_debezium_has_it() {
        assert_eq!(fixed("1.10", 2), "\"bg==\"");
        assert_eq!(fixed("10", 0), "\"Cg==\"");
        assert_eq!(fixed("22.2200", 4), "\"A2P4\"");
        assert_eq!(fixed("22", 0), "\"Fg==\"");
        assert_eq!(fixed("1.00", 2), "\"ZA==\"");
        assert_eq!(fixed("22", 4), "\"A1tg\"");
        assert_eq!(fixed("0.0", 0), "\"AA==\"");
        assert_eq!(fixed("-0", 0), "\"AA==\"");
        assert_eq!(fixed("-1", 0), "\"/w==\"");
        assert_eq!(fixed("128", 0), "\"AIA=\"");
        assert_eq!(fixed("-128", 0), "\"gA==\"");
    }

    #[test]
    fn digits_are_never_dropped_silently() {
        let mut out = Vec::new();
        let error = write_decimal_fixed::<Json>(&mut out, "1.25", (None, 1), Rounding::Exact).unwrap_err();
        assert!(error.problem.contains("more fraction digits"));
        for special in ["NaN", "Infinity", "-Infinity"] {
            let error = write_decimal_fixed::<Json>(&mut out, special, (None, 1), Rounding::HalfUp).unwrap_err();
            assert!(error.remedy.contains("format.decimal: string"));
        }
        for wrong in ["", "-", ".", "1e3", "1,5", "+1", "١"] {
            assert!(write_decimal_variable::<Json>(&mut out, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_schema_that_declares_digits_has_no_more() {
        let written = |text| write_decimal_fixed::<Avro>(&mut Vec::new(), text, (Some(5), 2), Rounding::Exact);
        for text in ["999.99", "-0999.99", "0.1"] {
            assert_eq!(written(text), Ok(()));
        }
        let error = written("1000.00").unwrap_err();
        assert_eq!(error.cause, Cause::Unrepresentable);
        // Text has room for all of it.
        assert!(write_decimal_fixed::<Json>(&mut Vec::new(), "1000.00", (Some(5), 2), Rounding::Exact).is_ok());
    }

    #[test]
    fn money_is_rounded_half_up() {
        assert_eq!(money("1234.11", 2), "\"AeIT\"");
        assert_eq!(money("-1234.11", 2), "\"/h3t\"");
        assert_eq!(money("123.46", 1), "\"BNM=\"");
        assert_eq!(money("0.99", 0), "\"AQ==\"");
        assert_eq!(money("-0.5", 0), "\"/w==\"");
        assert_eq!(money("92233720368547758.07", 2), "\"f/////////8=\"");
        assert_eq!(money("-92233720368547758.08", 2), "\"gAAAAAAAAAA=\"");
    }

    #[test]
    fn variable_scale_as_debezium_has_it() {
        assert_eq!(variable("22.2222"), "{\"scale\":4,\"value\":\"A2QO\"}");
        assert_eq!(variable("10"), "{\"scale\":0,\"value\":\"Cg==\"}");
        assert_eq!(variable("1.50"), variable("1.5"));
        assert_eq!(variable("-0.0"), "{\"scale\":0,\"value\":\"AA==\"}");
    }

    #[test]
    fn doubles_are_the_nearest() {
        let double = |text| {
            let mut out = Vec::new();
            write_decimal_double::<Json>(&mut out, text, FloatStyle::Java).map(|()| String::from_utf8(out).unwrap())
        };
        assert_eq!(double("1.10").unwrap(), "1.1");
        assert_eq!(double("-92233720368547758.08").unwrap(), "-9.223372036854776E16");
        assert_eq!(double("NaN").unwrap(), "\"NaN\"");
        assert!(double(&"9".repeat(400)).is_err());
    }

    /// The number that two's complement bytes stand for, as decimal text, by schoolbook arithmetic on decimal digits.
    fn decimal_of(bytes: &[u8]) -> String {
        let negative = bytes[0] & 0x80 != 0;
        let mut digits = vec![0_u8];
        let mut magnitude = bytes.to_vec();
        if negative {
            let mut carry = true;
            for byte in magnitude.iter_mut().rev() {
                let (sum, overflow) = (!*byte).overflowing_add(u8::from(carry));
                *byte = sum;
                carry = overflow;
            }
            if carry {
                magnitude.insert(0, 1);
            }
        }
        for byte in magnitude {
            let mut carry = u32::from(byte);
            for digit in digits.iter_mut().rev() {
                let value = u32::from(*digit) * 256 + carry;
                *digit = u8::try_from(value % 10).unwrap();
                carry = value / 10;
            }
            while carry != 0 {
                digits.insert(0, u8::try_from(carry % 10).unwrap());
                carry /= 10;
            }
        }
        let text: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        if negative { format!("-{text}") } else { text }
    }

    proptest! {
        #[test]
        fn any_number_survives(negative in any::<bool>(), first in "[1-9]", rest in "[0-9]{0,1000}", scale in 0_usize..40) {
            let digits = format!("{first}{rest}");
            let at = digits.len().saturating_sub(scale);
            let sign = if negative { "-" } else { "" };
            let (whole, fraction) = digits.split_at(at);
            let text = format!("{sign}{}.{fraction}", if whole.is_empty() { "0" } else { whole });
            let base64 = fixed(&text, u32::try_from(fraction.len()).unwrap());
            let bytes = STANDARD.decode(base64.trim_matches('"')).unwrap();
            prop_assert_eq!(decimal_of(&bytes), format!("{sign}{digits}"));
            prop_assert!(minimal(&bytes).len() == bytes.len());
        }
    }
}
