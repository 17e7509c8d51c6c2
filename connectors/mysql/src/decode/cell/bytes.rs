//! Bytes, and what is made of them: padded bytes, geometries, vectors, MariaDB's addresses and its compressed columns.

use std::fmt::Write;
use std::io::Read;

use tailrace_core::batch::ChangeBatch;

use super::error::{CellError, Result, text_error};
use crate::charset::{Charset, TextEncoding};

/// Flag of a geometry's type that says that the number of its reference system follows.
const EWKB_SRID: u32 = 0x2000_0000;
/// A point's type in WKB.
const WKB_POINT: u32 = 1;
/// Bytes that are compressed begin with a byte whose high four bits say how: not at all, or by zlib.
const UNCOMPRESSED: u8 = 0;
const ZLIB: u8 = 8;
/// Without zlib's own header.
const RAW_DEFLATE: u8 = 0x08;
/// Low bits of that byte: how many bytes the length takes that follows it.
const LENGTH_BYTES: u8 = 0x07;

/// Characters of one column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextColumn {
    /// How to read them.
    pub(super) encoding: TextEncoding,
    /// As errors call it.
    pub(super) charset: &'static str,
}

// === impl TextColumn ===

impl TextColumn {
    pub(super) fn new(charset: Charset) -> Self {
        Self {
            encoding: charset.encoding(),
            charset: charset.name(),
        }
    }

    #[inline]
    pub(super) fn push(self, bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
        let pushed = self.encoding.push(bytes, batch);
        pushed.map_err(|error| text_error(error, self.charset))
    }
}

/// Pushes bytes of a column of fixed length: the log leaves the zeros at the end away.
pub(super) fn push_padded(bytes: &[u8], length: usize, batch: &mut ChangeBatch) -> Result<()> {
    let missing = length.checked_sub(bytes.len()).ok_or(CellError::Malformed("BINARY"))?;
    Ok(batch.push_bytes_with(|buffer| {
        buffer.extend_from_slice(bytes);
        buffer.resize(buffer.len() + missing, 0);
    })?)
}

/// Pushes a geometry: four bytes with the number of its reference system and WKB become EWKB.
pub(super) fn push_geometry(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    const MALFORMED: CellError = CellError::Malformed("GEOMETRY");
    let (srid, wkb) = bytes.split_first_chunk::<4>().ok_or(MALFORMED)?;
    let (header, rest) = wkb.split_first_chunk::<5>().ok_or(MALFORMED)?;
    let [order, kind @ ..] = *header;
    if *srid == [0; 4] {
        return Ok(batch.push_bytes(wkb)?);
    }
    let number = u32::from_le_bytes(*srid);
    let (kind, number) = match order {
        0 => (
            (u32::from_be_bytes(kind) | EWKB_SRID).to_be_bytes(),
            number.to_be_bytes(),
        ),
        1 => (
            (u32::from_le_bytes(kind) | EWKB_SRID).to_le_bytes(),
            number.to_le_bytes(),
        ),
        _ => return Err(MALFORMED),
    };
    Ok(batch.push_bytes_with(|buffer| {
        buffer.push(order);
        buffer.extend_from_slice(&kind);
        buffer.extend_from_slice(&number);
        buffer.extend_from_slice(rest);
    })?)
}

/// Pushes a point: its two numbers, and the number of its reference system where it has one.
pub(super) fn push_point(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let (srid, [x, y]) = point(bytes).ok_or(CellError::Malformed("POINT"))?;
    batch.begin_list();
    batch.push_float64(x);
    batch.push_float64(y);
    if srid != 0 {
        batch.push_int(srid.into());
    }
    Ok(batch.end_list()?)
}

/// Four bytes with the number of a reference system, and the WKB of a point.
fn point(bytes: &[u8]) -> Option<(u32, [f64; 2])> {
    let (srid, wkb) = bytes.split_first_chunk::<4>()?;
    let (order, wkb) = wkb.split_first()?;
    let (kind, wkb) = wkb.split_first_chunk::<4>()?;
    let (x, wkb) = wkb.split_first_chunk::<8>()?;
    let (y, []) = wkb.split_first_chunk::<8>()? else {
        return None;
    };
    let srid = u32::from_le_bytes(*srid);
    match order {
        0 if u32::from_be_bytes(*kind) == WKB_POINT => Some((srid, [x, y].map(|number| f64::from_be_bytes(*number)))),
        1 if u32::from_le_bytes(*kind) == WKB_POINT => Some((srid, [x, y].map(|number| f64::from_le_bytes(*number)))),
        _ => None,
    }
}

/// Pushes a vector: numbers of single precision, low byte first.
pub(super) fn push_vector(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let (elements, []) = bytes.as_chunks::<4>() else {
        return Err(CellError::Malformed("VECTOR"));
    };
    batch.begin_list();
    for element in elements {
        batch.push_float32(f32::from_le_bytes(*element));
    }
    Ok(batch.end_list()?)
}

/// Bytes of a compressed column, restored. Errors where they are not what their header says.
pub(super) fn decompressed(stored: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>> {
    const MALFORMED: CellError = CellError::Malformed("a compressed column");
    let Some((header, rest)) = stored.split_first() else {
        return Ok(stored.into());
    };
    match header >> 4 {
        UNCOMPRESSED => Ok(rest.into()),
        ZLIB => {
            let (length, data) = rest
                .split_at_checked(usize::from(header & LENGTH_BYTES))
                .ok_or(MALFORMED)?;
            let length = length.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
            let mut bytes = Vec::new();
            // One more than announced, so that too much is seen.
            let read = if header & RAW_DEFLATE == 0 {
                flate2::read::ZlibDecoder::new(data)
                    .take(length + 1)
                    .read_to_end(&mut bytes)
            } else {
                flate2::read::DeflateDecoder::new(data)
                    .take(length + 1)
                    .read_to_end(&mut bytes)
            };
            let whole = read.is_ok_and(|read| u64::try_from(read) == Ok(length));
            if whole { Ok(bytes.into()) } else { Err(MALFORMED) }
        }
        _ => Err(CellError::Unsupported(
            "the column is compressed in a way that is not known to this release",
        )),
    }
}

/// All `N` bytes of a MariaDB type of fixed length: the log leaves the zeros at the end away.
fn restored<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N]> {
    let mut whole = [0; N];
    let stored = whole.get_mut(..bytes.len()).ok_or(CellError::Malformed(what))?;
    stored.copy_from_slice(bytes);
    Ok(whole)
}

/// Pushes a UUID in lower case with hyphens. The log has its bytes in the order in which they are printed, although tables
/// do not.
pub(super) fn push_uuid(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let uuid: [u8; 16] = restored(bytes, "UUID")?;
    Ok(batch.push_text_with(|text| {
        for (at, byte) in uuid.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.extend([byte >> 4, byte & 0x0f].map(hex_digit));
        }
    })?)
}

fn hex_digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 })
}

/// Pushes `192.0.2.1`.
pub(super) fn push_inet4(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let address: [u8; 4] = restored(bytes, "INET4")?;
    push_printed(std::net::Ipv4Addr::from(address), batch)
}

/// Pushes an address of version 6 as MariaDB prints it: the longest run of zeros becomes `::` even where it is a single one, and
/// the last four bytes of an address that stands for one of version 4 are printed as such.
pub(super) fn push_inet6(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let bytes: [u8; 16] = restored(bytes, "INET6")?;
    let words = std::net::Ipv6Addr::from(bytes).segments();
    let (gap, length) = longest_zeros(&words);
    let [.., a, b, c, d] = bytes;
    let stands_for_version_4 = gap == 0 && (length == 6 || (length == 5 && words.get(5) == Some(&0xffff)));
    let mut written = Ok(());
    batch.push_text_with(|text| {
        for (at, word) in words.iter().enumerate() {
            let in_gap = (gap..gap + length).contains(&at);
            if in_gap {
                // What is before the gap has ended with a colon.
                text.push_str(if at != gap {
                    ""
                } else if at == 0 {
                    "::"
                } else {
                    ":"
                });
            } else if at == 6 && stands_for_version_4 {
                written = write!(text, "{}", std::net::Ipv4Addr::new(a, b, c, d));
                break;
            } else {
                let colon = if at == 7 { "" } else { ":" };
                written = write!(text, "{word:x}{colon}");
            }
        }
    })?;
    written.map_err(|_| CellError::Malformed("INET6"))
}

/// Where the first of the longest runs of zeros is, and how long.
fn longest_zeros(words: &[u16; 8]) -> (usize, usize) {
    let mut longest = (0, 0);
    let mut run = (0, 0);
    for (at, word) in words.iter().enumerate() {
        run = match (*word, run) {
            (0, (_, 0)) => (at, 1),
            (0, (start, length)) => (start, length + 1),
            _ => (0, 0),
        };
        if run.1 > longest.1 {
            longest = run;
        }
    }
    longest
}

fn push_printed(value: impl std::fmt::Display, batch: &mut ChangeBatch) -> Result<()> {
    let mut written = Ok(());
    batch.push_text_with(|text| written = write!(text, "{value}"))?;
    written.map_err(|_| CellError::Malformed("an address"))
}
