//! How bytes become values: what a cell is read as is decided once, by its schema, in [`super::cell`], and each notation gives the
//! values out of its own bytes. The inverse of [`crate::notation`].

mod avro;
mod json;

pub(crate) use avro::AvroWire;
pub(crate) use json::{BEYOND_FLOAT, JsonWire, Token};

use super::cell::Cells;
use super::fault::Read;
use super::shape::Shape;
use super::typed::Typed;
use crate::notation::Optionality;
use crate::values::text::write_text;

/// Where the reader is in a list, map or struct.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// Elements left in Avro's block.
    pub(crate) left: usize,
    /// How many were given out.
    pub(crate) given: usize,
}

/// The names of a struct's fields, in the order in which they are expected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) names: Vec<String>,
    /// `"name":`, as most writers have it.
    labels: Vec<Vec<u8>>,
}

/// A way to read values, from a cursor into bytes.
pub(crate) trait Wire {
    /// Fields stand in the order of their schema; otherwise they have names.
    const IS_ORDERED: bool;

    /// Whether null stands here; it is passed over, and so is what stands before a value that is there.
    fn take_null(&mut self, optionality: Optionality) -> Read<bool>;

    /// Passes over these very bytes, where they stand here.
    fn take(&mut self, bytes: &[u8]) -> bool;

    fn boolean(&mut self) -> Read<bool>;

    /// An integer of any width.
    fn int(&mut self) -> Read<i64>;

    fn float32(&mut self) -> Read<f32>;

    fn float64(&mut self) -> Read<f64>;

    /// Characters: those of the bytes, or of the scratch where they had to be put together.
    fn text<'s>(&'s mut self, scratch: &'s mut String) -> Read<&'s str>;

    fn bytes<'s>(&'s mut self, scratch: &'s mut Vec<u8>) -> Read<&'s [u8]>;

    /// Bytes of a known number.
    fn fixed<'s>(&'s mut self, length: usize, scratch: &'s mut Vec<u8>) -> Read<&'s [u8]>;

    /// One of a list of symbols.
    fn symbol<'s>(&'s mut self, symbols: &'s [String], scratch: &'s mut String) -> Read<&'s str>;

    /// Passes over the number of a union's only branch.
    fn only_branch(&mut self) -> Read<()>;

    fn begin_list(&mut self) -> Read<Place>;

    /// Goes to the next element; false behind the last.
    fn next_element(&mut self, place: &mut Place) -> Read<bool>;

    fn begin_map(&mut self) -> Read<Place>;

    /// Goes to the value of the next entry, whose key is put into `key`; false behind the last.
    fn next_entry(&mut self, place: &mut Place, key: &mut String) -> Read<bool>;

    fn begin_struct(&mut self) -> Read<Place>;

    /// Goes to the value of the next field that is known, by its index; `None` behind the last. Fields that are not known are
    /// passed over.
    fn next_field(&mut self, place: &mut Place, fields: &Fields) -> Read<Option<usize>>;

    /// An entry of a map whose keys are not text: a pair.
    fn begin_pair(&mut self) -> Read<()>;

    fn middle_of_pair(&mut self) -> Read<()>;

    fn end_pair(&mut self) -> Read<()>;

    /// True where a list stands here; only text tells.
    fn is_at_list(&mut self) -> bool;

    /// True where text stands here instead of what was expected; only text tells.
    fn is_at_text(&mut self) -> bool;

    /// True where a number stands here; only text tells.
    fn is_at_number(&mut self) -> bool;

    /// How far the reader is, to come back to; only text can be gone through in another order.
    fn at(&self) -> usize;

    fn seek(&mut self, at: usize);

    fn skip(&mut self, shape: &Shape) -> Read<()>;

    /// The value as JSON.
    fn document(&mut self, shape: &Shape, out: &mut String) -> Read<()>;

    /// A value that has no schema, as the type that it should have.
    fn typed(&mut self, typed: &Typed, cells: &mut Cells<'_>) -> Read<()>;
}

// === impl Fields ===

impl Fields {
    pub(crate) fn new(names: Vec<String>) -> Self {
        let label = |name: &String| {
            let mut label = Vec::new();
            write_text(&mut label, name);
            label.push(b':');
            label
        };
        Self {
            labels: names.iter().map(label).collect(),
            names,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Where a name stands, looked for from where it is expected.
    pub(crate) fn find(&self, name: &str, expected: usize) -> Option<usize> {
        let is_it = |known: &String| known == name;
        if self.names.get(expected).is_some_and(is_it) {
            return Some(expected);
        }
        self.names.iter().position(is_it)
    }

    /// Passes over the label of a field, where it stands here as most writers have it.
    #[inline]
    pub(crate) fn take_label(&self, index: usize, wire: &mut impl Wire) -> bool {
        self.label(index).is_some_and(|label| wire.take(label))
    }

    fn label(&self, index: usize) -> Option<&[u8]> {
        self.labels.get(index).map(Vec::as_slice)
    }
}
