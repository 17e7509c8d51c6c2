//! Arrays of any type and up to six dimensions.
//!
//! Text: `{1,NULL,"a b"}`, nested for several dimensions, `[0:1]={7,8}` where a lower bound is not 1. Elements are quoted
//! where they are empty, look like NULL, or hold a brace, quote, backslash, space or the delimiter.
//! Binary: dimensions i32 · has nulls i32 · element type u32 · per dimension: length i32, lower bound i32 · elements: length
//! i32 (-1: null) · bytes.
//!
//! A list has no bounds, so an array that does not begin at 1 is published as its text. From the binary form that text is
//! printed here, exactly as the server does it (see [`super::render`]).

use std::fmt::Write;

use tailrace_core::batch::ChangeBatch;

use super::scan::Scan;
use super::{CellDecoder, Result, ValueError, push_characters, render};
use crate::decode::reader::Reader;

/// The server's own limit of dimensions.
const DIMENSIONS_MAX: usize = 6;

const WHAT: &str = "an array";
const MALFORMED: ValueError = ValueError::Malformed(WHAT);

/// How to read an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArrayDecoder {
    /// How to read its elements.
    pub(crate) element: CellDecoder,
    /// What stands between elements: a comma, but for boxes a semicolon.
    pub(crate) delimiter: u8,
}

/// Length and lower bound of one dimension.
#[derive(Debug, Clone, Copy)]
struct Dimension {
    length: usize,
    lower_bound: i32,
}

// === impl ArrayDecoder ===

impl ArrayDecoder {
    pub(super) fn push_text(&self, bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
        if bytes.first() == Some(&b'[') {
            return push_characters(bytes, batch);
        }
        let mut reading = TextReading {
            decoder: self,
            scan: Scan::new(bytes, WHAT),
            scratch: Vec::new(),
            leaf_depth: None,
        };
        reading.list(1, batch)
    }

    pub(super) fn push_binary(&self, bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
        let mut reader = Reader::new(WHAT, bytes);
        let dimensions = read_dimensions(&mut reader)?;
        if dimensions.iter().any(|dimension| dimension.lower_bound != 1) {
            let mut text = String::new();
            self.print_with_bounds(&dimensions, reader, &mut text)?;
            return Ok(batch.push_text(&text)?);
        }
        batch.begin_list();
        if let Some((outer, inner)) = dimensions.split_first() {
            for _ in 0..outer.length {
                self.push_level(inner, &mut reader, batch)?;
            }
        }
        reader.finish().map_err(|_| MALFORMED)?;
        Ok(batch.end_list()?)
    }

    fn push_level(&self, dimensions: &[Dimension], reader: &mut Reader<'_>, batch: &mut ChangeBatch) -> Result<()> {
        let Some((outer, inner)) = dimensions.split_first() else {
            return match read_element(reader)? {
                Some(element) => self.element.push_binary_form(element, batch),
                None => {
                    batch.push_null();
                    Ok(())
                }
            };
        };
        batch.begin_list();
        for _ in 0..outer.length {
            self.push_level(inner, reader, batch)?;
        }
        Ok(batch.end_list()?)
    }

    /// The server's text form of the array in `bytes` (binary form).
    pub(super) fn print_binary(&self, bytes: &[u8], text: &mut String) -> Result<()> {
        let mut reader = Reader::new(WHAT, bytes);
        let dimensions = read_dimensions(&mut reader)?;
        if dimensions.iter().any(|dimension| dimension.lower_bound != 1) {
            return self.print_with_bounds(&dimensions, reader, text);
        }
        if dimensions.is_empty() {
            text.push_str("{}");
        } else {
            self.print_level(&dimensions, &mut reader, text)?;
        }
        reader.finish().map_err(|_| MALFORMED)
    }

    fn print_with_bounds(&self, dimensions: &[Dimension], mut reader: Reader<'_>, text: &mut String) -> Result<()> {
        for dimension in dimensions {
            let length = i64::try_from(dimension.length).map_err(|_| MALFORMED)?;
            let last = i64::from(dimension.lower_bound) + length - 1;
            write!(text, "[{}:{last}]", dimension.lower_bound).map_err(|_| MALFORMED)?;
        }
        text.push('=');
        self.print_level(dimensions, &mut reader, text)?;
        reader.finish().map_err(|_| MALFORMED)
    }

    fn print_level(&self, dimensions: &[Dimension], reader: &mut Reader<'_>, text: &mut String) -> Result<()> {
        let Some((outer, inner)) = dimensions.split_first() else {
            return match read_element(reader)? {
                Some(element) => self.print_element(element, text),
                None => {
                    text.push_str("NULL");
                    Ok(())
                }
            };
        };
        text.push('{');
        for at in 0..outer.length {
            if at > 0 {
                text.push(char::from(self.delimiter));
            }
            self.print_level(inner, reader, text)?;
        }
        text.push('}');
        Ok(())
    }

    fn print_element(&self, element: &[u8], text: &mut String) -> Result<()> {
        let mut printed = String::new();
        render::print_binary(&self.element, element, &mut printed)?;
        if !self.needs_quotes(&printed) {
            text.push_str(&printed);
            return Ok(());
        }
        text.push('"');
        for character in printed.chars() {
            if matches!(character, '"' | '\\') {
                text.push('\\');
            }
            text.push(character);
        }
        text.push('"');
        Ok(())
    }

    fn needs_quotes(&self, printed: &str) -> bool {
        let special = |byte: u8| {
            matches!(
                byte,
                b'"' | b'\\' | b'{' | b'}' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c
            ) || byte == self.delimiter
        };
        printed.is_empty() || printed.eq_ignore_ascii_case("NULL") || printed.bytes().any(special)
    }
}

/// Dimensions, checked against the bytes that follow: each element takes at least its length.
fn read_dimensions(reader: &mut Reader<'_>) -> Result<Vec<Dimension>> {
    let malformed = |_| MALFORMED;
    let count = reader.u32().map_err(malformed)?;
    let _has_nulls = reader.u32().map_err(malformed)?;
    let _element_type = reader.u32().map_err(malformed)?;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= DIMENSIONS_MAX)
        .ok_or(MALFORMED)?;
    let mut dimensions = Vec::with_capacity(count);
    let mut elements = 1_usize;
    for _ in 0..count {
        let length = usize::try_from(reader.i32().map_err(malformed)?)
            .ok()
            .filter(|length| *length > 0);
        let length = length.ok_or(MALFORMED)?;
        let lower_bound = reader.i32().map_err(malformed)?;
        elements = elements.checked_mul(length).ok_or(MALFORMED)?;
        dimensions.push(Dimension { length, lower_bound });
    }
    let fits = count == 0 || elements <= reader.rest().len() / size_of::<i32>();
    if fits { Ok(dimensions) } else { Err(MALFORMED) }
}

fn read_element<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>> {
    let length = reader.i32().map_err(|_| MALFORMED)?;
    match usize::try_from(length) {
        Ok(length) => reader.take(length).map(Some).map_err(|_| MALFORMED),
        Err(_) if length == -1 => Ok(None),
        Err(_) => Err(MALFORMED),
    }
}

/// One walk over the text form.
struct TextReading<'a> {
    decoder: &'a ArrayDecoder,
    scan: Scan<'a>,
    scratch: Vec<u8>,
    /// At which depth the elements are: the same everywhere.
    leaf_depth: Option<usize>,
}

// === impl TextReading ===

impl TextReading<'_> {
    fn list(&mut self, depth: usize, batch: &mut ChangeBatch) -> Result<()> {
        self.scan.expect(b"{")?;
        if depth > DIMENSIONS_MAX {
            return Err(MALFORMED);
        }
        batch.begin_list();
        if depth == 1 && self.scan.accept(b'}') {
            return self.end_list(depth, batch);
        }
        loop {
            match self.scan.peek() {
                Some(b'{') => self.list(depth + 1, batch)?,
                _ => self.element(depth, batch)?,
            }
            let next = self.scan.next()?;
            if next == b'}' {
                return self.end_list(depth, batch);
            }
            if next != self.decoder.delimiter {
                return Err(MALFORMED);
            }
        }
    }

    /// The list is complete; nothing may follow the outermost one, which is only pushed then.
    fn end_list(&self, depth: usize, batch: &mut ChangeBatch) -> Result<()> {
        if depth == 1 {
            self.scan.finish()?;
        }
        Ok(batch.end_list()?)
    }

    fn element(&mut self, depth: usize, batch: &mut ChangeBatch) -> Result<()> {
        if *self.leaf_depth.get_or_insert(depth) != depth {
            return Err(MALFORMED);
        }
        let element = &self.decoder.element;
        if self.scan.accept(b'"') {
            return element.push_text_form(self.scan.quoted(&mut self.scratch)?, batch);
        }
        let delimiter = self.decoder.delimiter;
        match self.scan.until(|byte| byte == delimiter || byte == b'}')? {
            b"NULL" => batch.push_null(),
            text => element.push_text_form(text, batch)?,
        }
        Ok(())
    }
}
