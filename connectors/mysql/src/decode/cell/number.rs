//! Integers, floats and bits.

use std::fmt::Write;

use tailrace_core::batch::ChangeBatch;

use super::error::{CellError, Result};
use crate::decode::reader::Reader;

/// YEAR counts from here; 0 is 0000.
const YEAR_BASE: i64 = 1900;

/// Pushes the digits of a BIGINT UNSIGNED.
#[inline]
pub(super) fn push_unsigned(value: u64, batch: &mut ChangeBatch) -> Result<()> {
    let mut written = Ok(());
    batch.push_text_with(|text| written = write!(text, "{value}"))?;
    written.map_err(|_| CellError::Malformed("BIGINT UNSIGNED"))
}

#[inline]
pub(super) fn year(reader: &mut Reader<'_>) -> Result<i64> {
    match reader.u8()? {
        0 => Ok(0),
        since => Ok(YEAR_BASE + i64::from(since)),
    }
}

/// Bytes of a BIT of so many bits.
#[inline]
pub(super) fn bit_bytes(length: u8) -> usize {
    usize::from(length.div_ceil(8))
}

/// BIT(1).
#[inline]
pub(super) fn bit(stored: &[u8]) -> Result<bool> {
    match stored {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(CellError::Malformed("BIT(1)")),
    }
}

/// Pushes a BIT as `0` and `1`, highest first. Bytes are stored high first.
pub(super) fn push_bits(stored: &[u8], length: u8, batch: &mut ChangeBatch) -> Result<()> {
    const MALFORMED: CellError = CellError::Malformed("BIT");
    if stored.len() != bit_bytes(length) {
        return Err(MALFORMED);
    }
    let value = stored.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    if value.checked_shr(u32::from(length)).is_some_and(|above| above != 0) {
        return Err(MALFORMED);
    }
    let bits = (0..length)
        .rev()
        .map(|bit| if value >> bit & 1 == 1 { '1' } else { '0' });
    Ok(batch.push_text_with(|text| text.extend(bits))?)
}

/// The digits of an integer in a query's text; those of ZEROFILL begin with zeros.
#[inline]
pub(super) fn integer_from_text(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    // Counted downwards, because the smallest number has no positive counterpart.
    let mut value = 0_i64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// The text of a number that is finite.
pub(super) fn float_text(bytes: &[u8]) -> Option<&str> {
    let begins = matches!(bytes, [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..]);
    if begins { std::str::from_utf8(bytes).ok() } else { None }
}
