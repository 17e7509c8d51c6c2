//! A cursor over Avro's binary encoding: integers in zigzag and variable length, text behind its length, lists in blocks.

use super::{Fields, Place, Wire};
use crate::notation::Optionality;
use crate::reading::cell::Cells;
use crate::reading::fault::{Fault, NO_BOOLEAN, Read};
use crate::reading::shape::{Form, Shape};
use crate::reading::typed::Typed;
use crate::values::bytes::append_base64;
use crate::values::number::{FloatStyle, write_float32, write_float64, write_int};
use crate::values::text::write_text_in_text;

const TORN: Fault = Fault::record("ends within a value of its Avro schema");
const LONGER: Fault = Fault::record("is longer than its Avro schema says");
const NO_BRANCH: Fault = Fault::record("has a branch of a union that its Avro schema does not have");
const TOO_LONG: Fault = Fault::record("has a length that is no length");
const NOT_UTF8: Fault = Fault::value("is not UTF-8");
const NO_SYMBOL: Fault = Fault::value("is none of the symbols of its type");
const NOT_TYPED: Fault = Fault::value("has no Avro schema");

/// A place in a value's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AvroWire<'a> {
    rest: &'a [u8],
    length: usize,
}

// === impl AvroWire ===

impl<'a> AvroWire<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            length: bytes.len(),
        }
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Read<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(LONGER) }
    }

    #[inline]
    fn long(&mut self) -> Read<i64> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(unzigzag(u64::from(*byte)))
            }
            _ => self.wide_long(),
        }
    }

    fn wide_long(&mut self) -> Read<i64> {
        let mut value = 0_u64;
        let mut shift = 0_u32;
        for (index, byte) in self.rest.iter().enumerate() {
            // Ten groups of seven bits are more than 64: of the last only one bit counts.
            if shift > 63 || (shift == 63 && *byte > 1) {
                return Err(TOO_LONG);
            }
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if *byte < 0x80 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(unzigzag(value));
            }
        }
        Err(TORN)
    }

    #[inline]
    fn slice(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(TORN)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn prefixed(&mut self) -> Read<&'a [u8]> {
        let length = self.long()?;
        self.slice(usize::try_from(length).map_err(|_| TOO_LONG)?)
    }

    fn chunk<const COUNT: usize>(&mut self) -> Read<[u8; COUNT]> {
        let (chunk, rest) = self.rest.split_first_chunk().ok_or(TORN)?;
        self.rest = rest;
        Ok(*chunk)
    }

    /// Text whose characters are those of the bytes.
    pub(crate) fn string(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.prefixed()?).map_err(|_| NOT_UTF8)
    }

    /// Goes to the next item of a list or map; false behind the last.
    fn next_item(&mut self, place: &mut Place) -> Read<bool> {
        if place.left == 0 {
            place.left = self.block()?;
            if place.left == 0 {
                return Ok(false);
            }
        }
        place.left -= 1;
        place.given += 1;
        // Items of no bytes at all could be any number.
        if place.given > self.length {
            Err(TOO_LONG)
        } else {
            Ok(true)
        }
    }

    /// How many items the next block has. Every item that says anything takes a byte at the least.
    fn block(&mut self) -> Read<usize> {
        let count = self.long()?;
        if count < 0 {
            // The number of its bytes follows, for those who want to pass over it.
            self.long()?;
        }
        let count = usize::try_from(count.unsigned_abs()).map_err(|_| TOO_LONG)?;
        if count > self.rest.len() { Err(TORN) } else { Ok(count) }
    }

    fn branch(&mut self) -> Read<usize> {
        usize::try_from(self.long()?).map_err(|_| NO_BRANCH)
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

impl Wire for AvroWire<'_> {
    const IS_ORDERED: bool = true;

    #[inline]
    fn take_null(&mut self, optionality: Optionality) -> Read<bool> {
        let null = match optionality {
            Optionality::Required => return Ok(false),
            Optionality::NullFirst => 0,
            Optionality::NullLast => 1,
        };
        match self.branch()? {
            branch @ (0 | 1) => Ok(branch == null),
            _ => Err(NO_BRANCH),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> bool {
        match self.rest.strip_prefix(bytes) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn boolean(&mut self) -> Read<bool> {
        match self.chunk()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [_] => Err(NO_BOOLEAN),
        }
    }

    #[inline]
    fn int(&mut self) -> Read<i64> {
        self.long()
    }

    fn float32(&mut self) -> Read<f32> {
        self.chunk().map(f32::from_le_bytes)
    }

    fn float64(&mut self) -> Read<f64> {
        self.chunk().map(f64::from_le_bytes)
    }

    fn text<'s>(&'s mut self, _: &'s mut String) -> Read<&'s str> {
        self.string()
    }

    fn bytes<'s>(&'s mut self, _: &'s mut Vec<u8>) -> Read<&'s [u8]> {
        self.prefixed()
    }

    fn fixed<'s>(&'s mut self, length: usize, _: &'s mut Vec<u8>) -> Read<&'s [u8]> {
        self.slice(length)
    }

    fn symbol<'s>(&'s mut self, symbols: &'s [String], _: &'s mut String) -> Read<&'s str> {
        let symbol = symbols.get(self.branch()?);
        symbol.map(String::as_str).ok_or(NO_SYMBOL)
    }

    fn only_branch(&mut self) -> Read<()> {
        match self.branch()? {
            0 => Ok(()),
            _ => Err(NO_BRANCH),
        }
    }

    fn begin_list(&mut self) -> Read<Place> {
        Ok(Place::default())
    }

    fn next_element(&mut self, place: &mut Place) -> Read<bool> {
        self.next_item(place)
    }

    fn begin_map(&mut self) -> Read<Place> {
        Ok(Place::default())
    }

    fn next_entry(&mut self, place: &mut Place, key: &mut String) -> Read<bool> {
        if !self.next_item(place)? {
            return Ok(false);
        }
        key.clear();
        key.push_str(self.string()?);
        Ok(true)
    }

    fn begin_struct(&mut self) -> Read<Place> {
        Ok(Place::default())
    }

    #[inline]
    fn next_field(&mut self, place: &mut Place, fields: &Fields) -> Read<Option<usize>> {
        let next = place.given;
        place.given += 1;
        Ok((next < fields.len()).then_some(next))
    }

    fn begin_pair(&mut self) -> Read<()> {
        Ok(())
    }

    fn middle_of_pair(&mut self) -> Read<()> {
        Ok(())
    }

    fn end_pair(&mut self) -> Read<()> {
        Ok(())
    }

    fn is_at_list(&mut self) -> bool {
        false
    }

    fn is_at_text(&mut self) -> bool {
        false
    }

    fn is_at_number(&mut self) -> bool {
        false
    }

    fn at(&self) -> usize {
        self.length - self.rest.len()
    }

    fn seek(&mut self, _: usize) {}

    fn skip(&mut self, shape: &Shape) -> Read<()> {
        if self.take_null(shape.optionality)? {
            return Ok(());
        }
        match &shape.form {
            Form::Null => Ok(()),
            Form::Boolean => self.boolean().map(drop),
            Form::Int { .. } | Form::Symbols(_) => self.long().map(drop),
            Form::Float => self.slice(4).map(drop),
            Form::Double => self.slice(8).map(drop),
            Form::Text | Form::Bytes => self.prefixed().map(drop),
            Form::Fixed(length) => self.slice(*length).map(drop),
            Form::List(items) => {
                let mut place = Place::default();
                while self.next_item(&mut place)? {
                    self.skip(items)?;
                }
                Ok(())
            }
            Form::Map(values) => {
                let mut place = Place::default();
                while self.next_item(&mut place)? {
                    self.prefixed()?;
                    self.skip(values)?;
                }
                Ok(())
            }
            Form::Pairs(keys, values) => {
                let mut place = Place::default();
                while self.next_item(&mut place)? {
                    self.skip(keys)?;
                    self.skip(values)?;
                }
                Ok(())
            }
            Form::Struct(fields) => fields.iter().try_for_each(|(_, field)| self.skip(field)),
            Form::Union(branches) => {
                let branch = self.branch()?;
                self.skip(branches.get(branch).ok_or(NO_BRANCH)?)
            }
            // Avro has bytes.
            Form::Anything | Form::Number | Form::Encoded(_) => Err(NOT_TYPED),
        }
    }

    fn document(&mut self, shape: &Shape, out: &mut String) -> Read<()> {
        if self.take_null(shape.optionality)? {
            out.push_str("null");
            return Ok(());
        }
        match &shape.form {
            Form::List(items) => {
                let mut place = Place::default();
                write_items(out, '[', |out| {
                    let more = self.next_item(&mut place)?;
                    separate(out, more, '[');
                    if more {
                        self.document(items, out).map(|()| true)
                    } else {
                        Ok(false)
                    }
                })?;
                out.push(']');
            }
            Form::Map(values) => {
                let mut place = Place::default();
                write_items(out, '{', |out| {
                    let more = self.next_item(&mut place)?;
                    separate(out, more, '{');
                    if !more {
                        return Ok(false);
                    }
                    append_text(out, self.string()?);
                    out.push(':');
                    self.document(values, out).map(|()| true)
                })?;
                out.push('}');
            }
            Form::Pairs(keys, values) => {
                let mut place = Place::default();
                write_items(out, '[', |out| {
                    let more = self.next_item(&mut place)?;
                    separate(out, more, '[');
                    if !more {
                        return Ok(false);
                    }
                    out.push('[');
                    self.document(keys, out)?;
                    out.push(',');
                    self.document(values, out)?;
                    out.push(']');
                    Ok(true)
                })?;
                out.push(']');
            }
            Form::Struct(fields) => {
                out.push('{');
                for (index, (name, field)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    append_text(out, name);
                    out.push(':');
                    self.document(field, out)?;
                }
                out.push('}');
            }
            Form::Union(branches) => {
                let branch = self.branch()?;
                self.document(branches.get(branch).ok_or(NO_BRANCH)?, out)?;
            }
            plain => self.plain_document(plain, out)?,
        }
        Ok(())
    }

    fn typed(&mut self, _: &Typed, _: &mut Cells<'_>) -> Read<()> {
        Err(NOT_TYPED)
    }
}

// === impl AvroWire ===

impl AvroWire<'_> {
    fn plain_document(&mut self, form: &Form, out: &mut String) -> Read<()> {
        let mut json = Vec::new();
        match form {
            Form::Boolean => json.extend_from_slice(if self.boolean()? { b"true" } else { b"false" }),
            Form::Int { .. } => write_int(&mut json, self.long()?),
            Form::Float => write_float32(&mut json, self.float32()?, FloatStyle::Plain),
            Form::Double => write_float64(&mut json, self.float64()?, FloatStyle::Plain),
            Form::Text => write_text_in_text(&mut json, self.string()?),
            Form::Symbols(symbols) => {
                let symbol = symbols.get(self.branch()?).ok_or(NO_SYMBOL)?;
                write_text_in_text(&mut json, symbol);
            }
            Form::Bytes | Form::Fixed(_) => {
                let bytes = match form {
                    Form::Fixed(length) => self.slice(*length)?,
                    _ => self.prefixed()?,
                };
                json.push(b'"');
                append_base64(&mut json, bytes);
                json.push(b'"');
            }
            _ => json.extend_from_slice(b"null"),
        }
        out.push_str(std::str::from_utf8(&json).map_err(|_| NOT_UTF8)?);
        Ok(())
    }
}

/// Writes items until there are no more.
fn write_items(out: &mut String, open: char, mut item: impl FnMut(&mut String) -> Read<bool>) -> Read<()> {
    out.push(open);
    while item(out)? {}
    Ok(())
}

/// The comma before every item but the first.
fn separate(out: &mut String, more: bool, open: char) {
    if more && !out.ends_with(open) {
        out.push(',');
    }
}

fn append_text(out: &mut String, text: &str) {
    let mut json = Vec::new();
    write_text_in_text(&mut json, text);
    out.push_str(&String::from_utf8_lossy(&json));
}
