//! DECIMAL: groups of nine digits in four bytes, the point between two groups.
//!
//! ```text
//!   DECIMAL(14,4), 1234567890.1234 =   0x81 | 0x0d 0xfb 0x38 0xd2 | 0x04 0xd2
//!                                      1 digit      9 digits        4 digits
//! ```
//!
//! High bytes first. The highest bit is inverted, and all bits of negative numbers are, so that bytes sort as numbers do.

use tailrace_core::batch::ChangeBatch;

use super::error::{CellError, Result};
use crate::decode::reader::Reader;

/// Digits of a whole group, and the bytes that it takes.
const GROUP_DIGITS: u8 = 9;
const GROUP_BYTES: usize = 4;
/// Bytes that so many digits take.
const BYTES_OF_DIGITS: [u8; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
/// Most bytes: 72 digits before the point.
const BYTES_MAX: usize = 32;
/// Most characters: a sign, 72 digits, a point, and a zero before it.
const CHARACTERS_MAX: usize = 80;
/// Most digits, and most after the point.
const PRECISION_MAX: u8 = 65;
/// In a document the server counts whole groups, so that 65 digits are 72.
const JSON_PRECISION_MAX: u8 = 72;
const SCALE_MAX: u8 = 30;

/// Where the digits of a DECIMAL(M,D) are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecimalShape {
    /// Digits before the point that are no whole group.
    leading_digits: u8,
    /// Whole groups before the point.
    integer_groups: u8,
    /// Whole groups after it.
    fraction_groups: u8,
    /// Digits after it that are no whole group.
    trailing_digits: u8,
}

/// Digits as they are made, in order.
struct Digits {
    characters: [u8; CHARACTERS_MAX],
    length: usize,
}

// === impl DecimalShape ===

impl DecimalShape {
    /// The shape of DECIMAL(`precision`,`scale`).
    pub(crate) fn new(precision: u8, scale: u8) -> Option<Self> {
        Self::of_at_most(PRECISION_MAX, precision, scale)
    }

    /// The shape of a DECIMAL inside of a JSON document.
    pub(crate) fn in_json(precision: u8, scale: u8) -> Option<Self> {
        Self::of_at_most(JSON_PRECISION_MAX, precision, scale)
    }

    fn of_at_most(precision_max: u8, precision: u8, scale: u8) -> Option<Self> {
        let integer = precision.checked_sub(scale)?;
        let valid = (1..=precision_max).contains(&precision) && scale <= SCALE_MAX;
        valid.then_some(Self {
            leading_digits: integer % GROUP_DIGITS,
            integer_groups: integer / GROUP_DIGITS,
            fraction_groups: scale / GROUP_DIGITS,
            trailing_digits: scale % GROUP_DIGITS,
        })
    }

    /// Bytes that a value takes.
    #[inline]
    pub(crate) fn length(self) -> usize {
        let groups = usize::from(self.integer_groups) + usize::from(self.fraction_groups);
        bytes_of(self.leading_digits) + groups * GROUP_BYTES + bytes_of(self.trailing_digits)
    }

    /// Pushes the value with the digits after the point that are declared.
    #[inline]
    pub(crate) fn push(self, reader: &mut Reader<'_>, batch: &mut ChangeBatch) -> Result<()> {
        let stored = reader.take(self.length())?;
        let digits = self.digits(stored).ok_or(CellError::Malformed("DECIMAL"))?;
        Ok(batch.push_text(digits.text())?)
    }

    /// Appends the value to `text`.
    pub(crate) fn append(self, stored: &[u8], text: &mut String) -> Option<()> {
        text.push_str(self.digits(stored)?.text());
        Some(())
    }

    fn digits(self, stored: &[u8]) -> Option<Digits> {
        let mut plain = [0; BYTES_MAX];
        let plain = plain.get_mut(..stored.len())?;
        plain.copy_from_slice(stored);
        let negative = plain.first()? & 0x80 == 0;
        if negative {
            plain.iter_mut().for_each(|byte| *byte = !*byte);
        }
        *plain.first_mut()? ^= 0x80;
        let mut digits = Digits {
            characters: [b'0'; CHARACTERS_MAX],
            length: 0,
        };
        let mut rest: &[u8] = plain;
        digits.character(b'-')?;
        rest = digits.group(rest, self.leading_digits)?;
        for _ in 0..self.integer_groups {
            rest = digits.group(rest, GROUP_DIGITS)?;
        }
        digits.drop_leading_zeros();
        if self.fraction_groups > 0 || self.trailing_digits > 0 {
            digits.character(b'.')?;
        }
        for _ in 0..self.fraction_groups {
            rest = digits.group(rest, GROUP_DIGITS)?;
        }
        digits.group(rest, self.trailing_digits)?;
        digits.sign(negative);
        Some(digits)
    }
}

#[inline]
fn bytes_of(digits: u8) -> usize {
    usize::from(BYTES_OF_DIGITS.get(usize::from(digits)).copied().unwrap_or_default())
}

// === impl Digits ===

impl Digits {
    #[inline]
    fn character(&mut self, character: u8) -> Option<()> {
        *self.characters.get_mut(self.length)? = character;
        self.length += 1;
        Some(())
    }

    /// Takes a group of so many digits from `bytes`.
    #[inline]
    fn group<'a>(&mut self, bytes: &'a [u8], digits: u8) -> Option<&'a [u8]> {
        let (group, rest) = bytes.split_at_checked(bytes_of(digits))?;
        let mut value = group.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
        let end = self.length + usize::from(digits);
        for character in self.characters.get_mut(self.length..end)?.iter_mut().rev() {
            let digit = value % 10;
            value /= 10;
            *character = b'0' + u8::try_from(digit).unwrap_or_default();
        }
        self.length = end;
        // Anything left is more than the group has digits.
        (value == 0).then_some(rest)
    }

    /// Leaves one digit behind the place of the sign.
    fn drop_leading_zeros(&mut self) {
        let Some(digits) = self.characters.get_mut(1..self.length) else {
            return;
        };
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        if zeros == digits.len() {
            self.length = 2;
            return;
        }
        digits.copy_within(zeros.., 0);
        self.length -= zeros;
    }

    /// Zero has no sign.
    fn sign(&mut self, negative: bool) {
        let nothing = |character: &u8| matches!(character, b'0' | b'.');
        let digits = self.characters.get(1..self.length).unwrap_or_default();
        if !negative || digits.iter().all(nothing) {
            self.characters.copy_within(1..self.length, 0);
            self.length -= 1;
        }
    }

    fn text(&self) -> &str {
        let characters = self.characters.get(..self.length).unwrap_or_default();
        std::str::from_utf8(characters).unwrap_or_default()
    }
}

/// The digits of a DECIMAL or BIGINT UNSIGNED in a query's text: as the log has them, so without the zeros of ZEROFILL and
/// without the sign of zero.
pub(super) fn from_text(bytes: &[u8]) -> Option<(bool, &str)> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let (integer, fraction) = digits.split_at_checked(point)?;
    let fraction = fraction.strip_prefix(b".").unwrap_or(fraction);
    let whole = integer.iter().chain(fraction).all(u8::is_ascii_digit);
    if !whole || integer.is_empty() || (fraction.is_empty() && point < digits.len()) {
        return None;
    }
    let zeros = integer.iter().take_while(|digit| **digit == b'0').count();
    let kept = digits.get(zeros.min(integer.len() - 1)..)?;
    let is_zero = kept.iter().all(|digit| matches!(digit, b'0' | b'.'));
    Some((negative && !is_zero, std::str::from_utf8(kept).ok()?))
}

/// A constant with as many digits after the point as a column declares; `None` where it is no number or has more.
pub(crate) fn rescaled(text: &str, scale: usize) -> Option<String> {
    let (negative, digits) = from_text(text.as_bytes())?;
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (kept, cut) = fraction.split_at_checked(scale).unwrap_or((fraction, ""));
    if cut.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    Some(match scale {
        0 => format!("{sign}{integer}"),
        _ => format!("{sign}{integer}.{kept:0<scale$}"),
    })
}
