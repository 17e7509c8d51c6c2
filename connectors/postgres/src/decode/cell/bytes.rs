//! `bytea`, `uuid`, `bit`, `"char"`, and the hex digits that they and PostGIS use.

use std::fmt::Write;

use tailrace_core::batch::ChangeBatch;

use super::{Result, ValueError, fixed};
use crate::decode::reader::Reader;

/// Value of every hex digit; 0xff for bytes that are none.
const HEX_VALUES: [u8; 256] = hex_values();
const NOT_HEX: u8 = 0xff;

const fn hex_values() -> [u8; 256] {
    let mut values = [NOT_HEX; 256];
    let digits = b"0123456789abcdef";
    let capitals = b"0123456789ABCDEF";
    let mut value = 0_u8;
    while value < 16 {
        #[expect(
            clippy::indexing_slicing,
            reason = "const evaluation: an index out of bounds would not compile"
        )]
        {
            values[digits[value as usize] as usize] = value;
            values[capitals[value as usize] as usize] = value;
        }
        value += 1;
    }
    values
}

#[inline]
fn hex_value(digit: u8) -> u8 {
    HEX_VALUES.get(usize::from(digit)).copied().unwrap_or(NOT_HEX)
}

/// Pushes the bytes that `digits` spell.
pub(super) fn push_hex(digits: &[u8], batch: &mut ChangeBatch, what: &'static str) -> Result<()> {
    let (pairs, []) = digits.as_chunks::<2>() else {
        return Err(ValueError::Malformed(what));
    };
    // Checked first: what was pushed could not be taken back.
    if digits.iter().any(|digit| hex_value(*digit) == NOT_HEX) {
        return Err(ValueError::Malformed(what));
    }
    Ok(batch.push_bytes_with(|buffer| {
        buffer.extend(pairs.iter().map(|[high, low]| hex_value(*high) << 4 | hex_value(*low)));
    })?)
}

/// `\x0001ff`, or the older escape form: `\\` and `\ooo`.
pub(super) fn push_bytea_text(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    if let Some(digits) = bytes.strip_prefix(br"\x") {
        return push_hex(digits, batch, "bytea");
    }
    let unescaped = unescape_bytea(bytes).ok_or(ValueError::Malformed("bytea"))?;
    Ok(batch.push_bytes(&unescaped)?)
}

fn unescape_bytea(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(rest.len());
    loop {
        rest = match rest {
            [] => return Some(bytes),
            [b'\\', b'\\', rest @ ..] => {
                bytes.push(b'\\');
                rest
            }
            [
                b'\\',
                high @ b'0'..=b'3',
                middle @ b'0'..=b'7',
                low @ b'0'..=b'7',
                rest @ ..,
            ] => {
                bytes.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
                rest
            }
            [b'\\', ..] => return None,
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
}

/// Shape of a UUID's text form.
const UUID_SHAPE: &[u8; 36] = b"00000000-0000-0000-0000-000000000000";

/// 32 lower case hex digits in five groups, as the server always prints them.
#[inline]
pub(super) fn uuid_from_text(bytes: &[u8]) -> Result<&str> {
    let uuid: [u8; 36] = fixed(bytes, "uuid")?;
    // Without a branch per byte, so that the compiler can take many at once.
    let misplaced = uuid.iter().zip(UUID_SHAPE).fold(false, |misplaced, (byte, shape)| {
        let digit = byte.is_ascii_digit() | (b'a'..=b'f').contains(byte);
        misplaced | if *shape == b'-' { *byte != b'-' } else { !digit }
    });
    let text = if misplaced {
        None
    } else {
        std::str::from_utf8(bytes).ok()
    };
    text.ok_or(ValueError::Malformed("uuid"))
}

pub(super) fn push_uuid_binary(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let uuid: [u8; 16] = fixed(bytes, "uuid")?;
    Ok(batch.push_text_with(|text| print_uuid(&uuid, text))?)
}

pub(super) fn print_uuid(uuid: &[u8; 16], text: &mut String) {
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        push_hex_digits(*byte, text);
    }
}

/// `0` to `9`, `a` to `f`.
fn hex_digit(value: u8) -> u8 {
    if value < 10 {
        b'0' + value
    } else {
        b'a' - 10 + (value & 0x0f)
    }
}

/// Two lower case hex digits.
pub(crate) fn push_hex_digits(byte: u8, text: &mut String) {
    text.push(char::from(hex_digit(byte >> 4)));
    text.push(char::from(hex_digit(byte & 0x0f)));
}

/// `0` and `1`, first bit first.
#[inline]
pub(super) fn bits_from_text(bytes: &[u8]) -> Result<&str> {
    let well_formed = bytes.iter().all(|byte| matches!(byte, b'0' | b'1'));
    let text = if well_formed {
        std::str::from_utf8(bytes).ok()
    } else {
        None
    };
    text.ok_or(ValueError::Malformed("bit string"))
}

/// count of bits i32 · bits, first bit highest, padded to whole bytes
pub(super) fn push_bits_binary(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let (count, packed) = packed_bits(bytes)?;
    Ok(batch.push_text_with(|text| print_bits(count, packed, text))?)
}

pub(super) fn packed_bits(bytes: &[u8]) -> Result<(usize, &[u8])> {
    let malformed = ValueError::Malformed("bit string");
    let mut reader = Reader::new("bit string", bytes);
    let count = reader.i32().ok().and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(malformed)?;
    let packed = reader.rest();
    if packed.len() == count.div_ceil(8) {
        Ok((count, packed))
    } else {
        Err(malformed)
    }
}

pub(super) fn print_bits(count: usize, packed: &[u8], text: &mut String) {
    let bits = packed
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| byte << bit & 0x80 != 0));
    text.extend(bits.take(count).map(|bit| if bit { '1' } else { '0' }));
}

/// `"char"`: the zero byte is empty text; bytes beyond ASCII are printed as `\ooo` (PostgreSQL 16 and later).
pub(super) fn push_internal_char(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let [byte] = fixed(bytes, "\"char\"")?;
    let mut written = Ok(());
    batch.push_text_with(|text| written = print_internal_char(byte, text))?;
    written
}

pub(super) fn print_internal_char(byte: u8, text: &mut String) -> Result<()> {
    match byte {
        0 => {}
        1..=0x7f => text.push(char::from(byte)),
        _ => write!(text, "\\{byte:03o}").map_err(|_| ValueError::Malformed("\"char\""))?,
    }
    Ok(())
}
