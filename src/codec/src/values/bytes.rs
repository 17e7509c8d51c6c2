//! Raw bytes as they are, or as base64 or hexadecimal text, and strings of bits as little-endian bytes.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE};

use super::{CellError, CellResult};
use crate::format::BinaryFormat;
use crate::notation::Notation;

const HEX_LOWER: [u8; 16] = *b"0123456789abcdef";

/// Writes bytes, or text of them.
pub(crate) fn write_bytes<N: Notation>(out: &mut Vec<u8>, bytes: &[u8], format: BinaryFormat) {
    match format {
        BinaryFormat::Bytes => N::bytes(out, bytes),
        BinaryFormat::Base64 => N::plain_text(out, |out| append_base64(out, bytes)),
        BinaryFormat::Base64UrlSafe => N::plain_text(out, |out| append_encoded(out, bytes, &URL_SAFE)),
        BinaryFormat::Hex => N::plain_text(out, |out| append_hex(out, bytes)),
    }
}

/// Appends base64, which is what Connect's `bytes` are in JSON.
pub(crate) fn append_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    append_encoded(out, bytes, &STANDARD);
}

fn append_encoded(out: &mut Vec<u8>, bytes: &[u8], engine: &GeneralPurpose) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    let Some(room) = out.get_mut(start..) else {
        return;
    };
    // The room is exactly what padded base64 takes, so that nothing is left over and nothing can be missing.
    let written = engine.encode_slice(bytes, room).unwrap_or_default();
    out.truncate(start + written);
}

fn append_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |nibble: u8| HEX_LOWER.get(usize::from(nibble)).copied().unwrap_or(b'0');
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}

/// Writes a string of bits, first bit first, as Debezium's `Bits`: little-endian, without leading zero bytes but of at least
/// so many bytes.
pub(crate) fn write_bits<N: Notation>(out: &mut Vec<u8>, bits: &str, least_bytes: usize) -> CellResult {
    if bits.bytes().any(|bit| bit != b'0' && bit != b'1') {
        return Err(CellError::mismatch());
    }
    let significant = bits.trim_start_matches('0').as_bytes();
    let mut bytes: Vec<u8> = significant
        .rchunks(8)
        .map(|chunk| chunk.iter().fold(0, |byte, bit| byte << 1 | (bit & 1)))
        .collect();
    bytes.resize(bytes.len().max(least_bytes), 0);
    N::bytes(out, &bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::Json;

    fn written(bytes: &[u8], format: BinaryFormat) -> String {
        let mut out = b"x".to_vec();
        write_bytes::<Json>(&mut out, bytes, format);
        String::from_utf8(out).unwrap()
    }

    fn bits(text: &str) -> String {
        let mut out = Vec::new();
        write_bits::<Json>(&mut out, text, 0).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_format() {
        assert_eq!(written(&[], BinaryFormat::Bytes), "x\"\"");
        assert_eq!(written(&[1, 2, 3], BinaryFormat::Bytes), "x\"AQID\"");
        assert_eq!(written(&[0, 1, 2, 0xff], BinaryFormat::Base64), "x\"AAEC/w==\"");
        assert_eq!(
            written(b"'fat' <-> 'cat'", BinaryFormat::Base64UrlSafe),
            "x\"J2ZhdCcgPC0-ICdjYXQn\""
        );
        assert_eq!(written(&[1, 2, 0xaf], BinaryFormat::Hex), "x\"0102af\"");
    }

    #[test]
    fn bits_are_little_endian_and_minimal() {
        assert_eq!(bits("11"), "\"Aw==\"");
        assert_eq!(bits("1000000"), "\"QA==\"");
        assert_eq!(bits("101"), "\"BQ==\"");
        assert_eq!(bits("0000"), "\"\"");
        assert_eq!(bits("100000001"), "\"AQE=\"");
        assert!(write_bits::<Json>(&mut Vec::new(), "12", 0).is_err());
    }

    #[test]
    fn bits_fill_whole_bytes_where_that_is_asked_for() {
        let padded = |text, least_bytes| {
            let mut out = Vec::new();
            write_bits::<Json>(&mut out, text, least_bytes).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(padded("01", 1), "\"AQ==\"");
        assert_eq!(padded("00000000", 1), "\"AA==\"");
        assert_eq!(padded("000000001", 2), "\"AQA=\"");
        assert_eq!(padded("100000001", 1), "\"AQE=\"");
    }
}
