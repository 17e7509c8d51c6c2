//! MariaDB's compressed events (`log_bin_compress`): 0x80 and in its lower three bits the length of the next field · length of what was
//! compressed, big-endian · zlib.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::DecodeError;
use super::reader::Reader;

/// The upper three bits of the first byte: compressed, with algorithm 0, zlib.
const ZLIB: u8 = 0b100;
const ALGORITHM_SHIFT: u32 = 5;
const LENGTH_BYTES_MASK: u8 = 0b111;
const LENGTH_BYTES_MAXIMUM: u8 = 4;
/// No event is larger, compressed or not (`max_allowed_packet` has the same limit).
const DECOMPRESSED_BYTES_MAXIMUM: u64 = 1 << 30;

/// Replaces `into` by what was compressed. Memory grows with what is really there, not with what is announced.
pub(super) fn inflate(what: &'static str, compressed: &[u8], into: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut reader = Reader::new(what, compressed);
    let announced = announced_bytes(&mut reader)?;
    into.clear();
    // One byte more than announced shows that there is more.
    let read = ZlibDecoder::new(reader.rest()).take(announced + 1).read_to_end(into);
    let reason = match read {
        Ok(length) if u64::try_from(length) == Ok(announced) => return Ok(()),
        Ok(_) => format!("{announced} bytes were announced, and there are not as many"),
        Err(error) => error.to_string(),
    };
    Err(DecodeError::Decompression { what, reason })
}

fn announced_bytes(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let head = reader.u8()?;
    let length_bytes = head & LENGTH_BYTES_MASK;
    if head >> ALGORITHM_SHIFT != ZLIB || !(1..=LENGTH_BYTES_MAXIMUM).contains(&length_bytes) {
        return Err(reader.invalid("compression", u64::from(head)));
    }
    let length = reader.take(usize::from(length_bytes))?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    match length {
        0..=DECOMPRESSED_BYTES_MAXIMUM => Ok(length),
        _ => Err(reader.invalid("length before compression", length)),
    }
}

/// What MariaDB does, for tests.
#[cfg(test)]
pub(crate) fn deflate(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;

    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let skip = length.iter().take(3).take_while(|byte| **byte == 0).count();
    let head = 0x80 | u8::try_from(4 - skip).unwrap();
    [&[head], &length[skip..], &encoder.finish().unwrap()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal() {
        // zlib's own form of "aaaaaaaaaa".
        let compressed = b"\x81\x0a\x78\x9c\x4b\x84\x03\x00\x14\xe1\x03\xcb";
        let mut bytes = b"left over".to_vec();
        inflate("test", compressed, &mut bytes).unwrap();
        assert_eq!(bytes, b"aaaaaaaaaa");
        for end in 0..compressed.len() {
            assert!(inflate("test", &compressed[..end], &mut bytes).is_err(), "{end}");
        }
    }

    #[test]
    fn a_wrong_length_is_an_error() {
        for length in [9, 11] {
            let mut compressed = b"\x81\x0a\x78\x9c\x4b\x84\x03\x00\x14\xe1\x03\xcb".to_vec();
            compressed[1] = length;
            let error = inflate("test", &compressed, &mut Vec::new()).unwrap_err();
            assert!(matches!(error, DecodeError::Decompression { .. }), "{error}");
        }
    }

    #[test]
    fn an_unknown_head_is_an_error() {
        for head in [0x80, 0x85, 0x01, 0x91 | 0x20, 0xc1] {
            assert!(
                inflate("test", &[head, 1, 0x78, 0x9c], &mut Vec::new()).is_err(),
                "{head}"
            );
        }
        assert!(inflate("test", b"\x84\x40\0\0\x01\x78", &mut Vec::new()).is_err());
    }

    #[test]
    fn every_length_of_the_length() {
        for length in [0, 1, 255, 256, 65_535, 65_536, 70_000] {
            let bytes: Vec<u8> = (0..length).map(|at: u32| at.to_le_bytes()[0]).collect();
            let mut inflated = Vec::new();
            inflate("test", &deflate(&bytes), &mut inflated).unwrap();
            assert_eq!(inflated, bytes);
        }
    }
}
