//! The file of a stand-alone worker: a `HashMap` from `byte[]` to `byte[]`, as Java writes objects (Java Object Serialization
//! Specification, chapter 6).
//!
//! Only this one class is read, field by field as it is known, and nothing that a stream may say of other classes is followed: objects
//! of a stream are code to those who believe them.
//!
//! ```text
//!   magic, version · object of class java.util.HashMap (uid, flags, its two fields)
//!     load factor f32 · threshold i32 · 8 bytes of data: buckets i32, entries i32
//!     entries × (key, value): byte[] or null
//!   end of data
//! ```

use tailrace_core::{Error, Result};

use super::connect::Stored;

const MAGIC_AND_VERSION: [u8; 4] = [0xac, 0xed, 0x00, 0x05];
const TC_NULL: u8 = 0x70;
const TC_REFERENCE: u8 = 0x71;
const TC_CLASSDESC: u8 = 0x72;
const TC_OBJECT: u8 = 0x73;
const TC_ARRAY: u8 = 0x75;
const TC_BLOCKDATA: u8 = 0x77;
const TC_ENDBLOCKDATA: u8 = 0x78;

/// `java.util.HashMap`: its name and uid, that it writes itself, and its fields.
const HASH_MAP: &[u8] =
    b"\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02F\x00\x0aloadFactorI\x00\x09threshold";
/// `byte[]`: its name and uid, and no fields.
const BYTE_ARRAY: &[u8] = b"\x00\x02[B\xac\xf3\x17\xf8\x06\x08\x54\xe0\x02\x00\x00";
/// What a class of ours ends with: no annotations, no class above it.
const CLASS_END: [u8; 2] = [TC_ENDBLOCKDATA, TC_NULL];
/// Load factor and threshold, which only the map itself needs.
const FIELD_BYTES: usize = 8;
/// Buckets and entries.
const COUNT_BYTES: u8 = 8;
/// The number that the class of the first array gets: after that of the map's class and that of the map.
const ARRAY_CLASS_HANDLE: [u8; 4] = [0x00, 0x7e, 0x00, 0x02];

/// The entries of the map.
///
/// # Errors
/// Definite `offsets_unreadable` where it is anything else.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Stored>> {
    if bytes.is_empty() {
        // A worker that has not stored anything yet.
        return Ok(Vec::new());
    }
    let mut reader = Reader {
        all: bytes.len(),
        left: bytes,
        knows_arrays: false,
    };
    let entries = reader.map();
    entries.ok_or_else(|| {
        let message = format!(
            "the file is not one of a stand-alone worker's offsets (`offset.storage.file.filename`): a serialized java.util.HashMap of byte[] \
             to byte[] is expected, and at byte {} there is something else",
            reader.all - reader.left.len()
        );
        Error::definite("offsets_unreadable", message)
    })
}

/// What is not read yet.
struct Reader<'a> {
    all: usize,
    left: &'a [u8],
    /// The class of arrays was described.
    knows_arrays: bool,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn map(&mut self) -> Option<Vec<Stored>> {
        self.expect(&MAGIC_AND_VERSION)?;
        self.expect(&[TC_OBJECT, TC_CLASSDESC])?;
        self.expect(HASH_MAP)?;
        self.expect(&CLASS_END)?;
        self.take(FIELD_BYTES)?;
        self.expect(&[TC_BLOCKDATA, COUNT_BYTES])?;
        self.length()?;
        let count = self.length()?;
        // An entry takes two bytes at least: what is not there is not made room for.
        let mut entries = Vec::with_capacity(count.min(self.left.len() / 2));
        for _ in 0..count {
            let key = self.bytes_or_null()?.unwrap_or_default();
            entries.push((key, self.bytes_or_null()?));
        }
        self.expect(&[TC_ENDBLOCKDATA])?;
        self.left.is_empty().then_some(entries)
    }

    /// An array of bytes; inside, `None` for null.
    fn bytes_or_null(&mut self) -> Option<Option<Vec<u8>>> {
        match self.byte()? {
            TC_NULL => Some(None),
            TC_ARRAY => {
                match self.byte()? {
                    TC_CLASSDESC if !self.knows_arrays => {
                        self.expect(BYTE_ARRAY)?;
                        self.expect(&CLASS_END)?;
                        self.knows_arrays = true;
                    }
                    TC_REFERENCE if self.knows_arrays => self.expect(&ARRAY_CLASS_HANDLE)?,
                    _ => return None,
                }
                let length = self.length()?;
                Some(Some(self.take(length)?.to_vec()))
            }
            _ => None,
        }
    }

    fn length(&mut self) -> Option<usize> {
        let (bytes, left) = self.left.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*bytes)).ok()?;
        self.left = left;
        Some(length)
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, left) = self.left.split_first()?;
        self.left = left;
        Some(*byte)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(length)?;
        self.left = left;
        Some(taken)
    }

    fn expect(&mut self, expected: &[u8]) -> Option<()> {
        self.left = self.left.strip_prefix(expected)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Java 17 wrote of two offsets, the second of which is null.
    const BY_JAVA: &[u8] = b"\xac\xed\x00\x05sr\
        \x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16`\xd1\x03\x00\x02F\x00\x0aloadFactorI\x00\x09thresholdxp\
        ?@\x00\x00\x00\x00\x00\x0cw\x08\x00\x00\x00\x10\x00\x00\x00\x02\
        ur\x00\x02[B\xac\xf3\x17\xf8\x06\x08T\xe0\x02\x00\x00xp\x00\x00\
        \x00\x17[\"shop\",{\"server\":\"s\"}]uq\x00~\x00\x02\
        \x00\x00\x00\x09{\"lsn\":7}u\
        q\x00~\x00\x02\x00\x00\x00\x17[\"gone\",{\"server\":\"g\"}]px";

    #[test]
    fn what_java_writes_is_read() {
        let entries = [
            (br#"["shop",{"server":"s"}]"#.to_vec(), Some(br#"{"lsn":7}"#.to_vec())),
            (br#"["gone",{"server":"g"}]"#.to_vec(), None),
        ];
        assert_eq!(read(BY_JAVA).unwrap(), entries);
        assert_eq!(written(&entries), BY_JAVA);
    }

    /// As Java writes it.
    fn written(entries: &[Stored]) -> Vec<u8> {
        let length = |length: usize| i32::try_from(length).unwrap().to_be_bytes();
        let mut bytes = MAGIC_AND_VERSION.to_vec();
        bytes.extend([TC_OBJECT, TC_CLASSDESC]);
        bytes.extend(HASH_MAP);
        bytes.extend(CLASS_END);
        bytes.extend([0x3f, 0x40, 0, 0, 0, 0, 0, 12, TC_BLOCKDATA, COUNT_BYTES, 0, 0, 0, 16]);
        bytes.extend(length(entries.len()));
        let mut is_first = true;
        for part in entries.iter().flat_map(|(key, value)| [Some(key), value.as_ref()]) {
            let Some(part) = part else {
                bytes.push(TC_NULL);
                continue;
            };
            bytes.push(TC_ARRAY);
            if is_first {
                bytes.push(TC_CLASSDESC);
                bytes.extend(BYTE_ARRAY);
                bytes.extend(CLASS_END);
                is_first = false;
            } else {
                bytes.push(TC_REFERENCE);
                bytes.extend(ARRAY_CLASS_HANDLE);
            }
            bytes.extend(length(part.len()));
            bytes.extend(part);
        }
        bytes.push(TC_ENDBLOCKDATA);
        bytes
    }

    #[test]
    fn another_object_is_refused_with_its_place() {
        let mut other = written(&[]);
        other[8] = b'k';
        let error = read(&other).unwrap_err();
        assert_eq!(error.code(), "offsets_unreadable");
        assert!(error.to_string().contains("at byte 6 there"), "{error}");
        for bytes in [&b"#Java properties"[..], &[0xac], &MAGIC_AND_VERSION] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(read(&[]).unwrap(), Vec::new(), "nothing was stored yet");
    }

    #[test]
    fn what_stands_behind_or_is_missing_is_refused() {
        let whole = written(&[(b"key".to_vec(), Some(b"value".to_vec()))]);
        for end in 1..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
        let longer = [&whole[..], b"x"].concat();
        assert!(read(&longer).is_err());
    }

    #[test]
    fn lengths_that_are_not_there_make_no_room() {
        let empty = written(&[]);
        let count = empty.len() - 5;
        for claimed in [i32::MAX, -1, 1] {
            let mut bytes = empty.clone();
            bytes[count..count + 4].copy_from_slice(&claimed.to_be_bytes());
            assert!(read(&bytes).is_err(), "{claimed}");
        }
    }

    proptest! {
        #[test]
        fn maps_come_back(entries in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..9), prop::option::of(prop::collection::vec(any::<u8>(), 0..9))), 0..5,
        )) {
            prop_assert_eq!(read(&written(&entries)).unwrap(), entries);
        }

        #[test]
        fn a_map_of_arbitrary_bytes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            drop(read(&bytes));
            // Behind a beginning that is right, so that more than the first bytes are looked at.
            let mut map = written(&[]);
            map.truncate(map.len() - 9);
            map.extend(&bytes);
            drop(read(&map));
        }
    }
}
