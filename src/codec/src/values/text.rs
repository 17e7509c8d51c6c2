//! JSON strings. What must be escaped is found eight bytes at a time; everything else is copied in runs.
//!
//! Escapes are those of Jackson, which Kafka Connect's converter uses: `\" \\ \b \f \n \r \t`, `\u00XX` with upper-case
//! digits for the other control characters, and a pair of surrogates (`\uD83D\uDE00`) for what lies beyond the basic plane: a key's bytes decide
//! its partition. Everything else, DEL and the rest of non-ASCII included, stays as it is.

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
/// UTF-8 begins characters beyond the basic plane with such a byte or a higher one.
const FOUR_BYTES: u8 = 0xf0;
const HEX_UPPER: [u8; 16] = *b"0123456789ABCDEF";

/// Writes a JSON string, quotes included.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text.as_bytes());
    out.push(b'"');
}

/// Writes the inside of a JSON string.
pub(crate) fn write_escaped(out: &mut Vec<u8>, mut bytes: &[u8]) {
    while let Some(at) = find_escape(bytes) {
        let (plain, rest) = bytes.split_at(at);
        out.extend_from_slice(plain);
        bytes = write_escape(out, rest);
    }
    out.extend_from_slice(bytes);
}

/// Writes text as a string inside JSON that itself is the content of a JSON string: quotes and escapes, escaped again.
pub(crate) fn write_text_nested(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"\\\"");
    let mut bytes = text.as_bytes();
    let mut escape = Vec::new();
    while let Some(at) = find_escape(bytes) {
        let (plain, rest) = bytes.split_at(at);
        out.extend_from_slice(plain);
        if rest.first().is_some_and(|first| *first >= FOUR_BYTES) {
            // The inner text has it as it is; only the outer one is bytes.
            bytes = write_escape(out, rest);
            continue;
        }
        escape.clear();
        bytes = write_escape(&mut escape, rest);
        write_escaped(out, &escape);
    }
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\\\"");
}

/// Writes text as a JSON string inside of text that is no JSON itself: characters beyond the basic plane stay as they are.
pub(crate) fn write_text_in_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut bytes = text.as_bytes();
    while let Some(at) = find_escape(bytes) {
        let (plain, rest) = bytes.split_at(at);
        out.extend_from_slice(plain);
        bytes = match rest.split_first() {
            Some((first, after)) if *first >= FOUR_BYTES => {
                out.push(*first);
                after
            }
            _ => write_escape(out, rest),
        };
    }
    out.extend_from_slice(bytes);
    out.push(b'"');
}

/// Escapes the character that the bytes begin with; gives what follows it.
fn write_escape<'a>(out: &mut Vec<u8>, bytes: &'a [u8]) -> &'a [u8] {
    let Some((first, rest)) = bytes.split_first() else {
        return bytes;
    };
    if *first >= FOUR_BYTES {
        return write_surrogates(out, bytes);
    }
    let short = match *first {
        b'"' => b'"',
        b'\\' => b'\\',
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => 0,
    };
    if short != 0 {
        out.extend_from_slice(&[b'\\', short]);
        return rest;
    }
    write_unit(out, u16::from(*first));
    rest
}

/// A character of four bytes as the two UTF-16 units that Java has for it.
fn write_surrogates<'a>(out: &mut Vec<u8>, bytes: &'a [u8]) -> &'a [u8] {
    let (character, rest) = bytes.split_at_checked(4).unwrap_or((bytes, &[]));
    match str::from_utf8(character) {
        Ok(text) => {
            for unit in text.encode_utf16() {
                write_unit(out, unit);
            }
        }
        // Text is UTF-8 always; should it ever not be, its bytes are kept.
        Err(_) => out.extend_from_slice(character),
    }
    rest
}

fn write_unit(out: &mut Vec<u8>, unit: u16) {
    let [high, low] = unit.to_be_bytes();
    let digit = |nibble: u8| HEX_UPPER.get(usize::from(nibble)).copied().unwrap_or(b'0');
    let digits = [digit(high >> 4), digit(high & 15), digit(low >> 4), digit(low & 15)];
    out.extend_from_slice(b"\\u");
    out.extend_from_slice(&digits);
}

fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\' || byte >= FOUR_BYTES
}

/// Where the first byte is that must be escaped.
fn find_escape(bytes: &[u8]) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let found = escapes_in(u64::from_le_bytes(*chunk));
        if found != 0 {
            return Some(index * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    let found = rest.iter().position(|byte| must_escape(*byte))?;
    Some(chunks.len() * 8 + found)
}

/// The high bit of each byte that must be escaped. A borrow may set the bits of bytes above a true one, never below:
/// the lowest set bit is exact.
fn escapes_in(word: u64) -> u64 {
    let zero_bytes = |word: u64| word.wrapping_sub(LOW_BITS) & !word;
    let control = word.wrapping_sub(LOW_BITS * 0x20) & !word;
    let quote = zero_bytes(word ^ (LOW_BITS * u64::from(b'"')));
    let backslash = zero_bytes(word ^ (LOW_BITS * u64::from(b'\\')));
    let four_bytes = word & word << 1 & word << 2 & word << 3;
    (control | quote | backslash | four_bytes) & HIGH_BITS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write_text(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_jacksons() {
        assert_eq!(
            written("a\"b\\c/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}žš€😀"),
            "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001F\u{7f}žš€\\uD83D\\uDE00\""
        );
    }

    #[test]
    fn the_first_escape_is_found_at_any_offset() {
        for length in 0..40 {
            for at in 0..length {
                for byte in [0x00, 0x1f, b'"', b'\\', 0xf0, 0xf4] {
                    let mut bytes = vec![0xef; length];
                    bytes[at] = byte;
                    assert_eq!(find_escape(&bytes), Some(at));
                }
            }
            assert_eq!(find_escape(&vec![0x20; length]), None);
        }
    }

    #[test]
    fn nested_text_survives_two_readings() {
        let text = "a\"b\\c\n\u{1}ž😀";
        let mut out = vec![b'"'];
        write_text_nested(&mut out, text);
        out.push(b'"');
        let outer: String = serde_json::from_slice(&out).unwrap();
        let inner: String = serde_json::from_str(&outer).unwrap();
        assert_eq!(inner, text);
    }

    proptest! {
        #[test]
        fn text_in_text_is_the_outer_text_read(text in any::<String>()) {
            let mut nested = vec![b'"'];
            write_text_nested(&mut nested, &text);
            nested.push(b'"');
            let mut inner = Vec::new();
            write_text_in_text(&mut inner, &text);
            let read: String = serde_json::from_slice(&nested).unwrap();
            prop_assert_eq!(read.as_bytes(), inner);
        }

        #[test]
        fn any_text_survives(text in any::<String>()) {
            let read: String = serde_json::from_str(&written(&text)).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}
