//! Avro's binary encoding: integers in zigzag and variable length, text behind its length, optional values behind the index
//! of their branch, lists as one block behind its count.

use super::{Notation, Optionality};
use crate::values::number::FloatStyle;
use crate::values::text::write_text_in_text;

/// Avro's binary encoding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avro;

/// The most bytes of 64 bits in groups of seven.
const LONGEST_INT: usize = 10;
/// Lengths below it take one byte: seven bits, of which one is the sign.
const SHORT_LENGTH: usize = 64;
/// The index of a union's branch, in zigzag.
const FIRST_BRANCH: u8 = 0;
const SECOND_BRANCH: u8 = 2;

impl Notation for Avro {
    const HAS_TYPES: bool = true;
    const INNER_QUOTE: &'static [u8] = b"\"";

    fn syntax(_: &mut Vec<u8>, _: &[u8]) {}

    fn close_object(_: &mut Vec<u8>, _: usize) {}

    fn present(out: &mut Vec<u8>, optionality: Optionality) {
        match optionality {
            Optionality::Required => {}
            Optionality::NullFirst => out.push(SECOND_BRANCH),
            Optionality::NullLast => out.push(FIRST_BRANCH),
        }
    }

    fn absent(out: &mut Vec<u8>, optionality: Optionality) {
        match optionality {
            Optionality::Required => {}
            Optionality::NullFirst => out.push(FIRST_BRANCH),
            Optionality::NullLast => out.push(SECOND_BRANCH),
        }
    }

    fn boolean(out: &mut Vec<u8>, value: bool) {
        out.push(u8::from(value));
    }

    fn int(out: &mut Vec<u8>, value: i64) {
        let zigzag = (value << 1 ^ value >> 63).cast_unsigned();
        if let Some(short) = u8::try_from(zigzag).ok().filter(|short| *short < 0x80) {
            return out.push(short);
        }
        let (bytes, length) = variable_length(zigzag);
        out.extend_from_slice(bytes.get(..length).unwrap_or_default());
    }

    fn float32(out: &mut Vec<u8>, value: f32, _: FloatStyle) {
        out.extend_from_slice(&value.to_le_bytes());
    }

    fn float64(out: &mut Vec<u8>, value: f64, _: FloatStyle) {
        out.extend_from_slice(&value.to_le_bytes());
    }

    fn text(out: &mut Vec<u8>, text: &str) {
        Self::bytes(out, text.as_bytes());
    }

    /// The length is not known before: one byte is kept free for it, which is enough for nearly all of what is written so, and
    /// the rest is moved where it is not.
    fn plain_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let at = out.len();
        out.push(0);
        write(out);
        let length = out.len().saturating_sub(at + 1);
        match (u8::try_from(length), out.get_mut(at)) {
            (Ok(short), Some(byte)) if length < SHORT_LENGTH => *byte = short << 1,
            _ => {
                let (bytes, count) = variable_length(in_u64(length) << 1);
                drop(out.splice(at..=at, bytes.into_iter().take(count)));
            }
        }
    }

    fn inner_text(out: &mut Vec<u8>, text: &str) {
        write_text_in_text(out, text);
    }

    fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
        write_count(out, bytes.len());
        out.extend_from_slice(bytes);
    }

    fn symbol(out: &mut Vec<u8>, index: usize, _: &str) {
        write_count(out, index);
    }

    fn begin_list(out: &mut Vec<u8>, length: usize) {
        if length > 0 {
            write_count(out, length);
        }
    }

    fn element(_: &mut Vec<u8>, _: usize) {}

    fn end_list(out: &mut Vec<u8>, _: usize) {
        out.push(0);
    }

    fn begin_map(out: &mut Vec<u8>, length: usize) {
        Self::begin_list(out, length);
    }

    fn map_key(out: &mut Vec<u8>, _: usize, key: &str) {
        Self::text(out, key);
    }

    fn end_map(out: &mut Vec<u8>, length: usize) {
        Self::end_list(out, length);
    }
}

fn write_count(out: &mut Vec<u8>, count: usize) {
    match u8::try_from(count) {
        Ok(short) if count < SHORT_LENGTH => out.push(short << 1),
        _ => {
            let (bytes, length) = variable_length(in_u64(count) << 1);
            out.extend_from_slice(bytes.get(..length).unwrap_or_default());
        }
    }
}

fn in_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Groups of seven bits, the lowest first; each but the last says that another follows.
fn variable_length(mut value: u64) -> ([u8; LONGEST_INT], usize) {
    let mut bytes = [0; LONGEST_INT];
    let mut length = 0;
    for byte in &mut bytes {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        length += 1;
        if value == 0 {
            *byte = low & 0x7f;
            break;
        }
        *byte = low | 0x80;
    }
    (bytes, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = vec![0xff];
        write(&mut out);
        out.split_off(1)
    }

    #[test]
    fn integers_are_zigzag() {
        for (value, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            assert_eq!(written(|out| Avro::int(out, value)), bytes);
        }
    }

    #[test]
    fn text_of_unknown_length_is_text() {
        for length in [0, 1, 63, 64, 65, 8191, 8192, 8193, 70_000] {
            let text = "x".repeat(length);
            let known = written(|out| Avro::text(out, &text));
            let unknown = written(|out| Avro::plain_text(out, |out| out.extend_from_slice(text.as_bytes())));
            assert_eq!(known, unknown, "{length}");
        }
    }

    #[test]
    fn lists_are_one_block() {
        let list = |values: &[i64]| {
            written(|out| {
                Avro::begin_list(out, values.len());
                values.iter().for_each(|value| Avro::int(out, *value));
                Avro::end_list(out, values.len());
            })
        };
        assert_eq!(list(&[]), [0]);
        assert_eq!(list(&[3, 27]), [4, 6, 54, 0]);
    }
}
