//! How a decided value becomes bytes: what is written for a cell is decided once, in [`crate::values`], and each notation has
//! its own bytes for it. [`Json`] is text that names every field; [`Avro`] is binary whose names and types are in its schema.
//!
//! Both are types without values: the writers are compiled once for each, so that the hot path asks nothing.

mod avro;
mod json;

pub(crate) use avro::Avro;
pub(crate) use json::Json;

use crate::values::number::FloatStyle;

/// Whether a value may be missing, and where null then stands in Avro's union.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Optionality {
    /// It is always there.
    Required,
    /// A union of null and the type.
    NullFirst,
    /// A union of the type and null, because a default has the type of the first.
    NullLast,
}

/// A way to write values.
pub(crate) trait Notation {
    /// Values have exactly the types of a schema: nothing may be wider, or nested deeper, than it says.
    const HAS_TYPES: bool;

    /// A quotation mark inside of text.
    const INNER_QUOTE: &'static [u8];

    /// Braces, names and commas, which only text needs.
    fn syntax(out: &mut Vec<u8>, json: &[u8]);

    /// An object whose fields were written with a comma before each: the first comma, at `start`, becomes the brace.
    fn close_object(out: &mut Vec<u8>, start: usize);

    /// What stands before a value that is there.
    fn present(out: &mut Vec<u8>, optionality: Optionality);

    /// What stands for a value that is not there; nothing does for a required one, except as text.
    fn absent(out: &mut Vec<u8>, optionality: Optionality);

    fn boolean(out: &mut Vec<u8>, value: bool);

    /// An integer of any width.
    fn int(out: &mut Vec<u8>, value: i64);

    fn float32(out: &mut Vec<u8>, value: f32, style: FloatStyle);

    fn float64(out: &mut Vec<u8>, value: f64, style: FloatStyle);

    /// Any characters.
    fn text(out: &mut Vec<u8>, text: &str);

    /// Characters that `write` appends and of which none must be escaped.
    fn plain_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>));

    /// A JSON string inside of text that is itself JSON.
    fn inner_text(out: &mut Vec<u8>, text: &str);

    fn bytes(out: &mut Vec<u8>, bytes: &[u8]);

    /// One of a list of symbols.
    fn symbol(out: &mut Vec<u8>, index: usize, symbol: &str);

    fn begin_list(out: &mut Vec<u8>, length: usize);

    /// What stands before the element at an index.
    fn element(out: &mut Vec<u8>, index: usize);

    fn end_list(out: &mut Vec<u8>, length: usize);

    fn begin_map(out: &mut Vec<u8>, length: usize);

    /// The key of the entry at an index.
    fn map_key(out: &mut Vec<u8>, index: usize, key: &str);

    fn end_map(out: &mut Vec<u8>, length: usize);

    /// A value of a field that may be missing and has no default.
    fn optional(out: &mut Vec<u8>, there: bool) {
        if there {
            Self::present(out, Optionality::NullFirst);
        } else {
            Self::absent(out, Optionality::NullFirst);
        }
    }
}
