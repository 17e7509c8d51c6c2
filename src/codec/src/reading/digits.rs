//! Exact decimals as plain digits: the inverse of [`crate::values::decimal`]. No digit goes through a float.

use super::fault::{Fault, Read};

/// Digits of the largest power of ten that 64 bits hold.
const CHUNK_DIGITS: usize = 19;
const CHUNK: u64 = 10_000_000_000_000_000_000;
/// The most digits that a number gets from its exponent; the greatest double has 309.
const MOST_ZEROS: i64 = 400;
/// The most bytes of an unscaled value: PostgreSQL's largest number has 147 455 digits.
const MOST_BYTES: usize = 65_536;

const NO_DECIMAL: Fault = Fault::value("is not a decimal number");
const TOO_LARGE: Fault = Fault::value("is a number with an exponent beyond 400");
const TOO_LONG: Fault = Fault::value("is a decimal of more than 65536 bytes");

/// The digits of an unscaled value, in two's complement, most significant byte first.
pub(crate) fn append_unscaled(out: &mut String, bytes: &[u8], scale: i64) -> Read<()> {
    let Some(first) = bytes.first() else {
        return Err(NO_DECIMAL);
    };
    let negative = *first >= 0x80;
    let fill = if negative { 0xff } else { 0 };
    let start = out.len();
    if let Some(padding) = 16_usize.checked_sub(bytes.len()) {
        let mut wide = [fill; 16];
        wide.iter_mut()
            .skip(padding)
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        out.push_str(itoa::Buffer::new().format(i128::from_be_bytes(wide)));
    } else if bytes.len() > MOST_BYTES {
        return Err(TOO_LONG);
    } else {
        append_large(out, bytes, negative);
    }
    place_point(out, start, scale)
}

/// Digits of any number of bytes.
fn append_large(out: &mut String, bytes: &[u8], negative: bool) {
    // Least significant limb first.
    let mut limbs: Vec<u64> = bytes.rchunks(8).map(|chunk| limb(chunk, negative)).collect();
    if negative {
        let mut carry = true;
        for limb in &mut limbs {
            (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
        }
        out.push('-');
    }
    let mut chunks = Vec::new();
    while limbs.iter().any(|limb| *limb != 0) {
        chunks.push(divide(&mut limbs));
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
    }
    let mut buffer = itoa::Buffer::new();
    let mut chunks = chunks.into_iter().rev();
    out.push_str(buffer.format(chunks.next().unwrap_or_default()));
    for chunk in chunks {
        let digits = buffer.format(chunk);
        out.extend(std::iter::repeat_n('0', CHUNK_DIGITS.saturating_sub(digits.len())));
        out.push_str(digits);
    }
}

fn limb(chunk: &[u8], negative: bool) -> u64 {
    let fill = if negative { u64::MAX } else { 0 };
    chunk.iter().fold(fill, |limb, byte| limb << 8 | u64::from(*byte))
}

/// Divides by the largest power of ten; the remainder.
fn divide(limbs: &mut [u64]) -> u64 {
    let mut remainder = 0_u128;
    for limb in limbs.iter_mut().rev() {
        let value = remainder << 64 | u128::from(*limb);
        // Less than the limb's range, because the remainder is less than the divisor.
        *limb = u64::try_from(value / u128::from(CHUNK)).unwrap_or_default();
        remainder = value % u128::from(CHUNK);
    }
    u64::try_from(remainder).unwrap_or_default()
}

/// Puts the point where the scale says, into digits that begin at `start`.
fn place_point(out: &mut String, start: usize, scale: i64) -> Read<()> {
    let first = start + usize::from(out.get(start..).is_some_and(|digits| digits.starts_with('-')));
    if scale <= 0 {
        let is_zero = out.get(first..) == Some("0");
        if scale < -MOST_ZEROS {
            return Err(TOO_LARGE);
        }
        let zeros = usize::try_from(-scale).unwrap_or_default();
        if !is_zero {
            out.extend(std::iter::repeat_n('0', zeros));
        }
        return Ok(());
    }
    let scale = usize::try_from(scale)
        .ok()
        .filter(|scale| *scale <= MOST_BYTES)
        .ok_or(TOO_LARGE)?;
    let digits = out.len().saturating_sub(first);
    if digits <= scale {
        // `0.00` before what there is.
        let zeros = std::iter::repeat_n('0', scale - digits + 1);
        let leading: String = zeros.collect();
        out.insert_str(first, &leading);
    }
    out.insert(out.len().saturating_sub(scale), '.');
    Ok(())
}

/// The digits of a JSON number, as they stand where it has no exponent.
pub(crate) fn append_number(out: &mut String, number: &str) -> Read<()> {
    let Some((mantissa, exponent)) = number.split_once(['e', 'E']) else {
        out.push_str(number);
        return Ok(());
    };
    let exponent: i64 = exponent.parse().map_err(|_| TOO_LARGE)?;
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = i64::try_from(fraction.len()).unwrap_or(i64::MAX).checked_sub(exponent);
    let scale = scale.filter(|scale| scale.abs() <= MOST_ZEROS).ok_or(TOO_LARGE)?;
    out.push_str(sign);
    let start = out.len();
    let significant = whole.bytes().chain(fraction.bytes()).map(char::from);
    out.extend(significant.skip_while(|digit| *digit == '0'));
    if out.len() == start {
        out.push('0');
    }
    place_point(out, start, scale)
}

/// The digits of text, where it is a decimal number or stands for one that is none.
pub(crate) fn append_text(out: &mut String, text: &str) -> Read<()> {
    let named = match text {
        "NaN" | "NAN" => Some("NaN"),
        "Infinity" | "POSITIVE_INFINITY" => Some("Infinity"),
        "-Infinity" | "NEGATIVE_INFINITY" => Some("-Infinity"),
        _ => None,
    };
    if let Some(named) = named {
        out.push_str(named);
        return Ok(());
    }
    let plain = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = plain.split_once(['e', 'E']).unwrap_or((plain, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if is_digits(whole) && is_digits(fraction) && is_digits(exponent) {
        append_number(out, text)
    } else {
        Err(NO_DECIMAL)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::notation::Avro;
    use crate::values::decimal::{Rounding, write_decimal_fixed};

    fn unscaled(bytes: &[u8], scale: i64) -> String {
        let mut out = "x".to_owned();
        append_unscaled(&mut out, bytes, scale).unwrap();
        out.split_off(1)
    }

    fn number(text: &str) -> String {
        let mut out = "x".to_owned();
        append_number(&mut out, text).unwrap();
        out.split_off(1)
    }

    #[test]
    fn the_point_stands_where_the_scale_says() {
        assert_eq!(unscaled(&[0], 0), "0");
        assert_eq!(unscaled(&[0], 2), "0.00");
        assert_eq!(unscaled(&[5], 2), "0.05");
        assert_eq!(unscaled(&[0xff], 1), "-0.1");
        assert_eq!(unscaled(&[0x80], 2), "-1.28");
        assert_eq!(unscaled(&[1, 0], 0), "256");
        assert_eq!(unscaled(&[7], -3), "7000");
        assert_eq!(append_unscaled(&mut String::new(), &[], 0), Err(NO_DECIMAL));
    }

    #[test]
    fn numbers_keep_their_digits() {
        for plain in [
            "0",
            "-0",
            "1.50",
            "123456789012345678901234567890.000000000000000000001",
        ] {
            assert_eq!(number(plain), plain);
        }
        assert_eq!(number("1e3"), "1000");
        assert_eq!(number("-1.25E+1"), "-12.5");
        assert_eq!(number("1.5e-3"), "0.0015");
        assert_eq!(number("0e9"), "0");
        assert_eq!(append_number(&mut String::new(), "1e999999999999"), Err(TOO_LARGE));
        assert_eq!(append_number(&mut String::new(), "1e401"), Err(TOO_LARGE));
    }

    #[test]
    fn text_is_a_number_or_none() {
        assert_eq!(text_digits("NAN").unwrap(), "NaN");
        assert_eq!(text_digits("NEGATIVE_INFINITY").unwrap(), "-Infinity");
        assert_eq!(text_digits("1.10").unwrap(), "1.10");
        for wrong in ["", "-", ".", "1.", "1e", "bg==", "+1", "1,5"] {
            assert_eq!(text_digits(wrong), None, "{wrong}");
        }
    }

    fn text_digits(text: &str) -> Option<String> {
        let mut out = String::new();
        append_text(&mut out, text).ok().map(|()| out)
    }

    fn unscaled_digits(bytes: &[u8]) -> Option<String> {
        let mut out = String::new();
        append_unscaled(&mut out, bytes, 3).ok().map(|()| out)
    }

    proptest! {
        #[test]
        fn any_decimal_comes_back(negative in any::<bool>(), digits in "[1-9][0-9]{0,300}", scale in 0_usize..40) {
            let at = digits.len().saturating_sub(scale);
            let (whole, fraction) = digits.split_at(at);
            let sign = if negative { "-" } else { "" };
            let whole = if whole.is_empty() { "0" } else { whole };
            let text = if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
            let mut bytes = Vec::new();
            let precision = (None, u32::try_from(fraction.len()).unwrap());
            write_decimal_fixed::<Avro>(&mut bytes, &text, precision, Rounding::Exact).unwrap();
            // Behind the length, of one byte or two.
            let length = if bytes[0] < 0x80 { 1 } else { 2 };
            prop_assert_eq!(unscaled(&bytes[length..], i64::try_from(fraction.len()).unwrap()), text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9eE.aN]{0,12}", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for read in [text_digits(&text), unscaled_digits(&bytes)].into_iter().flatten() {
                let number = read.trim_start_matches('-');
                let is_special = matches!(number, "NaN" | "Infinity");
                prop_assert!(is_special || number.bytes().all(|digit| digit.is_ascii_digit() || digit == b'.'), "{read}");
            }
        }
    }
}
