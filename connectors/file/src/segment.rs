//! Files of records: their names, their header, reading them record by record, and telling a torn tail from damage.
//!
//! ```text
//!   0            8                16               24        28
//!   ┌────────────┬────────────────┬────────────────┬─────────┬────────┬────────┬───┄
//!   │ TRSEGMT\1  │ base offset    │ previous end   │ crc32   │ record │ record │
//!   └────────────┴────────────────┴────────────────┴─────────┴────────┴────────┴───┄
//! ```
//!
//! The byte behind the magic is the version of the format. Whatever it is, these 28 bytes are the header and the checksum is theirs: a release
//! says of a later format that it is later, and not that it is damaged.
//!
//! The name is the base offset, the offset of the first record, in 20 digits. Inside a segment offsets grow by one.
//! *Previous end* is the offset that would have followed in the segment before: where it is lower than the base, the
//! offsets between were given to records whose write failed, and nothing is missing. Where it is higher than what a
//! reader has, a segment was deleted under it, and something is.
//!
//! *Torn or damaged?* A process that dies, or a machine that loses power, leaves a file that ends within a record, or in
//! bytes that were never written; nothing whole follows. A flipped bit in an old record has whole records behind it. So
//! the tail of the active segment is cut off only where nothing whole is found in it: cutting there loses nothing that
//! was ever durable. Everything else is an error for a person.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::record::{self, Damage, PREFIX_BYTES};

/// Length of a segment's header.
pub(crate) const HEADER_BYTES: u64 = 28;
const HEADER_LENGTH: usize = 28;
/// First bytes of every segment of any format.
const MAGIC: &[u8; 7] = b"TRSEGMT";
/// The version of the format, the byte behind it.
pub(crate) const FORMAT: u8 = 1;
/// How much is read at once: large enough that a system call per chunk costs nothing, small enough for many readers.
const CHUNK_BYTES: usize = 256 * 1024;
/// Behind the base offset in a segment's name.
const EXTENSION: &str = "log";

/// A segment on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Offset of its first record.
    pub(crate) base: u64,
    pub(crate) path: PathBuf,
}

/// What a segment begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base: u64,
    pub(crate) previous_end: u64,
}

/// What is at the beginning of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    Header(Header),
    /// The header of a format that a later release writes.
    Newer(u8),
    /// It ends before a header would, after so many bytes.
    Short(usize),
    /// Anything else.
    Foreign,
}

/// Reads a segment record by record, as far as it was written.
#[derive(Debug)]
pub(crate) struct Frames {
    file: File,
    /// Where in the file `window` begins: everything before was returned.
    position: u64,
    window: Bytes,
    /// The offset that the next record must have.
    next_offset: u64,
}

/// What [`Frames`] found next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A whole record, prefix included.
    Record(Bytes),
    /// The file ends where a record ends.
    End,
    /// The file ends within a record.
    Partial,
    /// No record begins here.
    Damaged(Damage),
}

/// The end of a segment that was scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// It ends with a whole record.
    Whole,
    /// So many bytes at the end are no record, and none follows.
    Torn(u64),
    /// A record is damaged, and whole ones follow.
    Damaged(Damage),
}

/// The path of a segment.
pub(crate) fn path_of(folder: &Path, base: u64) -> PathBuf {
    folder.join(format!("{base:020}.{EXTENSION}"))
}

/// The segments in a folder, oldest first; none where there is no folder.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let digits = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .filter(|stem| stem.len() == 20);
        let base = digits.and_then(|digits| digits.parse().ok());
        if let (Some(base), true) = (base, path.extension().is_some_and(|extension| extension == EXTENSION)) {
            segments.push(Segment { base, path });
        }
    }
    segments.sort_by_key(|segment| segment.base);
    Ok(segments)
}

// === impl Header ===

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LENGTH);
        bytes.extend_from_slice(MAGIC);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.base.to_le_bytes());
        bytes.extend_from_slice(&self.previous_end.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEADER_LENGTH]) -> Beginning {
        Self::parse(bytes).unwrap_or(Beginning::Foreign)
    }

    /// `None` where the bytes are no header of any format.
    fn parse(bytes: &[u8; HEADER_LENGTH]) -> Option<Beginning> {
        let (body, checksum) = bytes.split_last_chunk()?;
        let (magic, rest) = body.split_first_chunk()?;
        let (format, numbers) = rest.split_first()?;
        let (base, previous_end) = (numbers.first_chunk()?, numbers.last_chunk()?);
        if magic != MAGIC || u32::from_le_bytes(*checksum) != crc32fast::hash(body) {
            return None;
        }
        Some(match *format {
            FORMAT => Beginning::Header(Self {
                base: u64::from_le_bytes(*base),
                previous_end: u64::from_le_bytes(*previous_end),
            }),
            format if format > FORMAT => Beginning::Newer(format),
            _ => Beginning::Foreign,
        })
    }

    /// Reads the beginning of a segment.
    pub(crate) fn read(file: &File) -> io::Result<Beginning> {
        let mut bytes = [0; HEADER_LENGTH];
        let length = fill_at(file, &mut bytes, 0)?;
        if length < HEADER_LENGTH {
            Ok(Beginning::Short(length))
        } else {
            Ok(Self::decode(&bytes))
        }
    }
}

// === impl Frames ===

impl Frames {
    /// From the first record of a segment.
    pub(crate) fn new(file: File, header: Header) -> Self {
        Self {
            file,
            position: HEADER_BYTES,
            window: Bytes::new(),
            next_offset: header.base,
        }
    }

    /// Where in the file the next record begins, bytes.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The offset that the next record must have.
    pub(crate) fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// The next record, or why there is none. After anything but a record, the next call looks at the file again.
    pub(crate) fn next(&mut self) -> io::Result<Step> {
        if let Some(step) = self.take() {
            return Ok(step);
        }
        self.refill()?;
        if let Some(step) = self.take() {
            return Ok(step);
        }
        let partial = !self.window.is_empty();
        self.window.clear();
        Ok(if partial { Step::Partial } else { Step::End })
    }

    /// What the rest of the file is, where no record begins.
    pub(crate) fn tail(&self, step: &Step) -> io::Result<Tail> {
        let damage = match step {
            Step::Record(_) | Step::End => return Ok(Tail::Whole),
            Step::Partial => Damage::Checksum,
            // A whole record in the wrong place was never torn.
            Step::Damaged(damage @ Damage::Offset { .. }) => return Ok(Tail::Damaged(*damage)),
            Step::Damaged(damage) => *damage,
        };
        let length = self.file.metadata()?.len().saturating_sub(self.position);
        let mut rest = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        let filled = fill_at(&self.file, &mut rest, self.position)?;
        rest.truncate(filled);
        if record::parse_frame(&rest).is_ok_and(|frame| frame.is_some()) {
            // It was written in this moment.
            return Ok(Tail::Whole);
        }
        let offsets = self.next_offset..self.next_offset.saturating_add(length);
        Ok(if record::any_record(&rest, &offsets) {
            Tail::Damaged(damage)
        } else {
            Tail::Torn(length)
        })
    }

    /// A record, or damage, from what was read already.
    fn take(&mut self) -> Option<Step> {
        let frame = match record::parse_frame(&self.window) {
            Ok(Some(frame)) => frame,
            Ok(None) => return None,
            Err(damage) => return Some(self.damaged(damage)),
        };
        if frame.offset != self.next_offset {
            return Some(self.damaged(Damage::Offset {
                found: frame.offset,
                expected: self.next_offset,
            }));
        }
        self.position += u64::try_from(frame.bytes).unwrap_or(u64::MAX);
        self.next_offset += 1;
        Some(Step::Record(self.window.split_to(frame.bytes)))
    }

    fn damaged(&mut self, damage: Damage) -> Step {
        self.window.clear();
        Step::Damaged(damage)
    }

    /// Reads on, at least as far as the next record goes.
    fn refill(&mut self) -> io::Result<()> {
        let wanted = match record::frame_bytes(&self.window) {
            Ok(Some(bytes)) => bytes.max(CHUNK_BYTES),
            _ => CHUNK_BYTES,
        };
        let available = self.file.metadata()?.len().saturating_sub(self.position);
        let length = usize::try_from(available).unwrap_or(usize::MAX).min(wanted);
        let mut bytes = vec![0; length];
        let filled = fill_at(&self.file, &mut bytes, self.position)?;
        bytes.truncate(filled);
        self.window = Bytes::from(bytes);
        // A record that is longer than a chunk shows its length only now.
        match record::frame_bytes(&self.window) {
            Ok(Some(bytes)) if bytes > wanted && available > u64::try_from(wanted).unwrap_or(u64::MAX) => self.refill(),
            _ => Ok(()),
        }
    }
}

/// Reads until the buffer is full or the file ends; returns how much was read.
fn fill_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = position + u64::try_from(filled).unwrap_or(u64::MAX);
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

const _: () = assert!(
    PREFIX_BYTES < CHUNK_BYTES,
    "the length of a record must be in the first chunk"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_no_other_bytes_do() {
        let header = Header {
            base: 183_204,
            previous_end: 183_200,
        };
        let bytes: [u8; HEADER_LENGTH] = header.encode().try_into().unwrap();
        assert_eq!(Header::decode(&bytes), Beginning::Header(header));
        for bit in 0..HEADER_LENGTH * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), Beginning::Foreign);
        }
    }

    #[test]
    fn a_header_of_a_later_format_is_told_from_damage() {
        let mut bytes = Header {
            base: 7,
            previous_end: 7,
        }
        .encode();
        bytes[MAGIC.len()] = FORMAT + 1;
        bytes.truncate(HEADER_LENGTH - 4);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let bytes: [u8; HEADER_LENGTH] = bytes.try_into().unwrap();
        assert_eq!(Header::decode(&bytes), Beginning::Newer(FORMAT + 1));
    }

    #[test]
    fn only_segments_are_listed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "00000000000000000010.log",
            "00000000000000000002.log",
            "7.log",
            "00000000000000000003.tmp",
            "x",
        ] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        let bases: Vec<u64> = list(folder.path())
            .unwrap()
            .iter()
            .map(|segment| segment.base)
            .collect();
        assert_eq!(bases, [2, 10]);
        assert_eq!(list(&folder.path().join("missing")).unwrap(), []);
    }
}
