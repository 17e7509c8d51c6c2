//! The binary form of a document.
//!
//! ```text
//!   document    type 1 byte · value
//!   object      count · size · per member: offset of key, length of key 2 · per member: type 1, value or offset · keys · values
//!   array       count · size · per element: type 1, value or offset · values
//!   string      length, seven bits to a byte, lowest first · UTF-8
//!   opaque      SQL type 1 · length as above · bytes
//! ```
//!
//! Counts, sizes and offsets take two bytes in small containers and four in large ones; offsets are counted from the container's
//! own beginning. Numbers that fit into the place of an offset stand there themselves. All of it is low byte first.
//!
//! Every offset is checked against the container that it is in. A document whose offsets meet would print larger than it is, up
//! to exponentially; the printer has a limit for that.

use super::JsonError;

const SMALL_OBJECT: u8 = 0x00;
const LARGE_OBJECT: u8 = 0x01;
const SMALL_ARRAY: u8 = 0x02;
const LARGE_ARRAY: u8 = 0x03;
const LITERAL: u8 = 0x04;
const INT16: u8 = 0x05;
const UNSIGNED_INT16: u8 = 0x06;
const INT32: u8 = 0x07;
const UNSIGNED_INT32: u8 = 0x08;
const INT64: u8 = 0x09;
const UNSIGNED_INT64: u8 = 0x0a;
const DOUBLE: u8 = 0x0b;
const STRING: u8 = 0x0c;
const OPAQUE: u8 = 0x0f;

/// A length takes at most as many bytes as 32 bits need, seven to a byte.
const LENGTH_BYTES_MAX: usize = 5;

const CUT_OFF: JsonError = "it is cut off";
const OUTSIDE: JsonError = "a part of it lies outside of what contains it";

/// One value of a document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Node<'a> {
    /// Members by their names.
    Object(Container<'a>),
    /// Elements.
    Array(Container<'a>),
    /// `null`
    Null,
    /// `true` or `false`
    Boolean(bool),
    /// An integer with a sign.
    Int(i64),
    /// An integer without.
    Unsigned(u64),
    /// Double precision.
    Double(f64),
    /// Characters.
    Text(&'a str),
    /// A value of an SQL type, by the number that the log has for it.
    Opaque(u8, &'a [u8]),
}

/// An object or an array: its bytes from its count to its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Container<'a> {
    bytes: &'a [u8],
    count: usize,
    /// Bytes of a count, a size or an offset: 2 or 4.
    width: usize,
    is_object: bool,
}

// === impl Node ===

impl<'a> Node<'a> {
    /// The value that a document is. One without bytes is `null`, as the server has it.
    pub(super) fn of_document(document: &'a [u8]) -> Result<Self, JsonError> {
        match document.split_first() {
            None => Ok(Self::Null),
            Some((kind, bytes)) => Self::read(*kind, bytes),
        }
    }

    fn read(kind: u8, bytes: &'a [u8]) -> Result<Self, JsonError> {
        Ok(match kind {
            SMALL_OBJECT => Self::Object(Container::read(bytes, 2, true)?),
            LARGE_OBJECT => Self::Object(Container::read(bytes, 4, true)?),
            SMALL_ARRAY => Self::Array(Container::read(bytes, 2, false)?),
            LARGE_ARRAY => Self::Array(Container::read(bytes, 4, false)?),
            LITERAL => match fixed::<1>(bytes)? {
                [0] => Self::Null,
                [1] => Self::Boolean(true),
                [2] => Self::Boolean(false),
                _ => return Err("it has a literal that is not null, true or false"),
            },
            INT16 => Self::Int(i16::from_le_bytes(fixed(bytes)?).into()),
            UNSIGNED_INT16 => Self::Unsigned(u16::from_le_bytes(fixed(bytes)?).into()),
            INT32 => Self::Int(i32::from_le_bytes(fixed(bytes)?).into()),
            UNSIGNED_INT32 => Self::Unsigned(u32::from_le_bytes(fixed(bytes)?).into()),
            INT64 => Self::Int(i64::from_le_bytes(fixed(bytes)?)),
            UNSIGNED_INT64 => Self::Unsigned(u64::from_le_bytes(fixed(bytes)?)),
            DOUBLE => Self::Double(f64::from_le_bytes(fixed(bytes)?)),
            STRING => Self::Text(characters(counted(bytes)?)?),
            OPAQUE => {
                let (field_type, bytes) = bytes.split_first().ok_or(CUT_OFF)?;
                Self::Opaque(*field_type, counted(bytes)?)
            }
            _ => return Err("it has a value of a type that is not known"),
        })
    }
}

/// The first `N` bytes.
fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], JsonError> {
    bytes.first_chunk::<N>().copied().ok_or(CUT_OFF)
}

/// A length, seven bits to a byte, and as many bytes.
fn counted(bytes: &[u8]) -> Result<&[u8], JsonError> {
    let mut length = 0_u64;
    for (at, byte) in bytes.iter().take(LENGTH_BYTES_MAX).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let length = usize::try_from(length).map_err(|_| CUT_OFF)?;
            let counted = bytes.get(at + 1..).and_then(|rest| rest.get(..length));
            return counted.ok_or(CUT_OFF);
        }
    }
    Err("it has a length that does not end")
}

fn characters(bytes: &[u8]) -> Result<&str, JsonError> {
    std::str::from_utf8(bytes).map_err(|_| "it has text that is not UTF-8")
}

// === impl Container ===

impl<'a> Container<'a> {
    fn read(bytes: &'a [u8], width: usize, is_object: bool) -> Result<Self, JsonError> {
        let count = number(bytes, 0, width)?;
        let size = number(bytes, width, width)?;
        let container = Self {
            bytes: bytes.get(..size).ok_or(CUT_OFF)?,
            count,
            width,
            is_object,
        };
        // Every entry takes at least three bytes, so that a count cannot be greater than the document.
        if container.values_start().is_none_or(|start| start > size) {
            return Err(OUTSIDE);
        }
        Ok(container)
    }

    /// How many members or elements it has.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Where the entries of keys begin: behind count and size.
    fn keys_start(&self) -> usize {
        2 * self.width
    }

    fn key_entry_length(&self) -> usize {
        if self.is_object { self.width + 2 } else { 0 }
    }

    fn value_entry_length(&self) -> usize {
        self.width + 1
    }

    /// Where the entries end and values may begin.
    fn values_start(&self) -> Option<usize> {
        let entry = self.key_entry_length() + self.value_entry_length();
        self.count.checked_mul(entry)?.checked_add(self.keys_start())
    }

    /// Name of a member.
    pub(super) fn key(&self, index: usize) -> Result<&'a str, JsonError> {
        let entry = self.keys_start() + index * self.key_entry_length();
        let offset = number(self.bytes, entry, self.width)?;
        let length = number(self.bytes, entry + self.width, 2)?;
        let key = self.inside(offset)?.get(..length).ok_or(OUTSIDE)?;
        characters(key)
    }

    /// Value of a member or element.
    pub(super) fn value(&self, index: usize) -> Result<Node<'a>, JsonError> {
        let entries = self.keys_start() + self.count * self.key_entry_length();
        let entry = entries + index * self.value_entry_length();
        let bytes = self
            .bytes
            .get(entry..)
            .and_then(|rest| rest.get(..self.value_entry_length()));
        let (kind, stored) = bytes.and_then(<[u8]>::split_first).ok_or(OUTSIDE)?;
        let is_here = match *kind {
            LITERAL | INT16 | UNSIGNED_INT16 => true,
            INT32 | UNSIGNED_INT32 => self.width == 4,
            _ => false,
        };
        if is_here {
            Node::read(*kind, stored)
        } else {
            Node::read(*kind, self.inside(number(stored, 0, self.width)?)?)
        }
    }

    /// From an offset to the container's end. No offset may point back into the entries.
    fn inside(&self, offset: usize) -> Result<&'a [u8], JsonError> {
        let behind_entries = self.values_start().is_some_and(|start| offset >= start);
        let bytes = self.bytes.get(offset..).filter(|_| behind_entries);
        bytes.ok_or(OUTSIDE)
    }
}

/// A number of two or four bytes.
fn number(bytes: &[u8], offset: usize, width: usize) -> Result<usize, JsonError> {
    let bytes = bytes.get(offset..).and_then(|rest| rest.get(..width)).ok_or(CUT_OFF)?;
    let number = bytes
        .iter()
        .rev()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    usize::try_from(number).map_err(|_| CUT_OFF)
}
