//! `numeric`: exact decimal, up to 131072 digits before and 16383 after the point, NaN and, since PostgreSQL 14, ±infinity.
//!
//! Binary form: digits u16 · weight i16 · sign u16 · scale u16 · base-10000 digits u16 each. The value is the sum of
//! digit\[i\] × 10000^(weight − i); the scale says how many decimal digits are shown after the point.

use tailrace_core::batch::ChangeBatch;

use super::{Result, ValueError};
use crate::decode::reader::Reader;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Largest scale that the server can store.
const SCALE_MAX: u16 = 0x3FFF;

/// Decimal digits in one digit of the binary form.
const DIGIT_WIDTH: usize = 4;
const BASE: u16 = 10_000;

/// The text form as it stands, checked: `-?[0-9]+(\.[0-9]+)?`, `NaN`, `Infinity`, `-Infinity`.
#[inline]
pub(super) fn from_text(bytes: &[u8]) -> Result<&str> {
    let well_formed = is_plain_decimal(bytes) || matches!(bytes, b"NaN" | b"Infinity" | b"-Infinity");
    let text = if well_formed {
        std::str::from_utf8(bytes).ok()
    } else {
        None
    };
    text.ok_or(ValueError::Malformed("numeric"))
}

#[inline]
fn is_plain_decimal(bytes: &[u8]) -> bool {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let mut points = 0;
    let mut previous = b'.';
    for byte in digits {
        match byte {
            b'0'..=b'9' => {}
            b'.' if previous != b'.' => points += 1,
            _ => return false,
        }
        previous = *byte;
    }
    points <= 1 && previous != b'.'
}

/// Pushes the text form that the server would print.
pub(super) fn push_binary(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let number = Binary::parse(bytes)?;
    Ok(batch.push_text_with(|text| number.print(text))?)
}

/// Appends the text form that the server would print.
pub(super) fn print_binary(bytes: &[u8], text: &mut String) -> Result<()> {
    Binary::parse(bytes).map(|number| number.print(text))
}

/// The number with exactly `scale` fraction digits, as the server stores it in such a column; rounds half away from zero.
pub(crate) fn rescale(number: &str, scale: usize) -> String {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return number.to_owned();
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let kept: Vec<u8> = fraction.bytes().chain(std::iter::repeat(b'0')).take(scale).collect();
    let mut all: Vec<u8> = whole.bytes().chain(kept).collect();
    if fraction.as_bytes().get(scale).is_some_and(|next| *next >= b'5') {
        increment(&mut all);
    }
    let point = all.len().saturating_sub(scale);
    let (whole, fraction) = all.split_at_checked(point).unwrap_or((&all, &[]));
    let zero = all.iter().all(|digit| *digit == b'0');
    let sign = if zero { "" } else { sign };
    let (whole, fraction) = (String::from_utf8_lossy(whole), String::from_utf8_lossy(fraction));
    if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit != b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

/// The binary form, checked.
struct Binary<'a> {
    sign: u16,
    weight: i16,
    scale: u16,
    /// Two bytes a digit.
    digits: &'a [u8],
}

// === impl Binary ===

impl<'a> Binary<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new("numeric", bytes);
        let mut header = || reader.u16();
        let (Ok(count), Ok(weight), Ok(sign), Ok(scale)) = (header(), header(), header(), header()) else {
            return Err(ValueError::Malformed("numeric"));
        };
        let number = Self {
            sign,
            weight: i16::from_be_bytes(weight.to_be_bytes()),
            scale,
            digits: reader.rest(),
        };
        let known_sign = matches!(sign, POSITIVE | NEGATIVE | NAN | INFINITY | NEGATIVE_INFINITY);
        let whole = number.digits.len() == usize::from(count) * 2;
        let in_base = number.digits().all(|digit| digit < BASE);
        // Of infinities the server sends a scale that means nothing.
        let scaled = scale <= SCALE_MAX || !matches!(sign, POSITIVE | NEGATIVE);
        if known_sign && whole && in_base && scaled {
            Ok(number)
        } else {
            Err(ValueError::Malformed("numeric"))
        }
    }

    fn digits(&self) -> impl Iterator<Item = u16> {
        self.digits
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| u16::from_be_bytes(*pair))
    }

    fn print(&self, text: &mut String) {
        match self.sign {
            NAN => return text.push_str("NaN"),
            INFINITY => return text.push_str("Infinity"),
            NEGATIVE_INFINITY => return text.push_str("-Infinity"),
            NEGATIVE => text.push('-'),
            _ => {}
        }
        let mut digits = self.digits();
        self.print_whole(&mut digits, text);
        self.print_fraction(&mut digits, text);
    }

    fn print_whole(&self, digits: &mut impl Iterator<Item = u16>, text: &mut String) {
        let Ok(weight) = usize::try_from(self.weight) else {
            return text.push('0');
        };
        let mut printed = false;
        for _ in 0..=weight {
            let shown = decimal(digits.next().unwrap_or(0));
            // Zeros ahead of the first digit are not printed.
            let leading = if printed {
                0
            } else {
                shown.iter().take_while(|digit| **digit == b'0').count()
            };
            push_digits(shown.get(leading..), text);
            printed = printed || leading < DIGIT_WIDTH;
        }
        if !printed {
            text.push('0');
        }
    }

    fn print_fraction(&self, digits: &mut impl Iterator<Item = u16>, text: &mut String) {
        let mut left = usize::from(self.scale);
        if left == 0 {
            return;
        }
        text.push('.');
        // Base-10000 digits between the point and the first one that is stored.
        let mut absent = usize::try_from(-i32::from(self.weight) - 1).unwrap_or(0);
        while left > 0 {
            let digit = if absent > 0 { 0 } else { digits.next().unwrap_or(0) };
            absent = absent.saturating_sub(1);
            push_digits(decimal(digit).get(..left.min(DIGIT_WIDTH)), text);
            left = left.saturating_sub(DIGIT_WIDTH);
        }
    }
}

fn push_digits(digits: Option<&[u8]>, text: &mut String) {
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    text.push_str(digits.unwrap_or_default());
}

/// Four decimal digits.
fn decimal(digit: u16) -> [u8; DIGIT_WIDTH] {
    let ascii = |digit: u16| b'0' + u8::try_from(digit % 10).unwrap_or(0);
    [ascii(digit / 1000), ascii(digit / 100), ascii(digit / 10), ascii(digit)]
}

#[cfg(test)]
pub(super) mod unit_tests {
    use super::*;

    /// The binary form of a decimal text, as `numeric_send` makes it: without zero digits at either end.
    pub(crate) fn binary(text: &str) -> Vec<u8> {
        let special = |sign: u16| [0, 0, sign, 0].iter().flat_map(|part| part.to_be_bytes()).collect();
        match text {
            "NaN" => return special(NAN),
            "Infinity" => return special(INFINITY),
            "-Infinity" => return special(NEGATIVE_INFINITY),
            _ => {}
        }
        let (sign, digits) = text
            .strip_prefix('-')
            .map_or((POSITIVE, text), |digits| (NEGATIVE, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let padded_whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
        let padded_fraction = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
        let all = format!("{padded_whole}{padded_fraction}");
        let mut groups: Vec<u16> = all
            .as_bytes()
            .chunks(4)
            .map(|group| std::str::from_utf8(group).unwrap().parse().unwrap())
            .collect();
        let mut weight = i16::try_from(padded_whole.len() / 4).unwrap() - 1;
        while groups.first() == Some(&0) {
            groups.remove(0);
            weight -= 1;
        }
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let (weight, sign) = if groups.is_empty() {
            (0, POSITIVE)
        } else {
            (weight, sign)
        };
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(groups.len()).unwrap().to_be_bytes());
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(u16::try_from(fraction.len()).unwrap().to_be_bytes());
        groups.iter().for_each(|group| bytes.extend(group.to_be_bytes()));
        bytes
    }

    fn printed(bytes: &[u8]) -> Result<String> {
        let mut text = String::new();
        print_binary(bytes, &mut text).map(|()| text)
    }

    #[test]
    fn literal_binary() {
        // 12345.67891: digits 1 2345 6789 1000, weight 1, scale 5.
        let bytes = [0, 4, 0, 1, 0, 0, 0, 5, 0, 1, 9, 0x29, 26, 0x85, 3, 0xE8];
        assert_eq!(printed(&bytes).unwrap(), "12345.67891");
        // -0.00000001: one digit 1, weight -2, scale 8.
        assert_eq!(
            printed(&[0, 1, 0xff, 0xfe, 0x40, 0, 0, 8, 0, 1]).unwrap(),
            "-0.00000001"
        );
        // 0.00 and 1e8.
        assert_eq!(printed(&[0, 0, 0, 0, 0, 0, 0, 2]).unwrap(), "0.00");
        assert_eq!(printed(&[0, 1, 0, 2, 0, 0, 0, 0, 0, 1]).unwrap(), "100000000");
        assert_eq!(printed(&[0, 0, 0, 0, 0xD0, 0, 0, 0x20]).unwrap(), "Infinity");
    }

    #[test]
    fn there_and_back() {
        for text in [
            "0",
            "0.0",
            "1",
            "-1",
            "10",
            "9999",
            "10000",
            "0.0001",
            "0.00001",
            "1.10",
            "99999.99999",
            "-123456789012345678901234567890.000000001",
            "NaN",
            "Infinity",
            "-Infinity",
            "10000.0001",
            "0.00010000",
        ] {
            assert_eq!(printed(&binary(text)).unwrap(), text);
            assert_eq!(from_text(text.as_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn malformed() {
        let good = binary("12345.678");
        for end in 0..good.len() {
            assert!(printed(&good[..end]).is_err());
        }
        assert!(printed(&[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10]).is_err(), "digit 10000");
        assert!(printed(&[0, 0, 0, 0, 0x80, 0, 0, 0]).is_err(), "unknown sign");
        assert!(
            printed(&[0, 0, 0, 0, 0, 0, 0x40, 0]).is_err(),
            "scale beyond the server's own"
        );
        for bad in [
            "", "-", ".", "1.", ".5", "1..2", "1.2.3", "1e5", "+1", "nan", "inf", "1,0",
        ] {
            assert!(from_text(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn scales() {
        for (number, scale, expected) in [
            ("0.0", 0, "0"),
            ("0", 2, "0.00"),
            ("12345.67891", 5, "12345.67891"),
            ("1.005", 2, "1.01"),
            ("-1.005", 2, "-1.01"),
            ("9.99", 1, "10.0"),
            ("-0.4", 0, "0"),
            ("NaN", 2, "NaN"),
        ] {
            assert_eq!(rescale(number, scale), expected);
        }
    }
}
