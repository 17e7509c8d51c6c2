//! A cursor over JSON text. Nothing is built: strings without escapes are slices of the text, numbers are read where they stand.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr2;

use super::{Fields, Place, Wire};
use crate::notation::Optionality;
use crate::reading::cell::Cells;
use crate::reading::fault::{Fault, NO_BOOLEAN, Read};
use crate::reading::shape::Shape;
use crate::reading::typed::{Typed, read_typed};

/// How deep values may be nested.
const DEEPEST: u8 = 64;

const TORN: Fault = Fault::record("ends within its JSON");
const NOT_JSON: Fault = Fault::record("is not JSON");
const TOO_DEEP: Fault = Fault::record("has JSON that is nested deeper than 64 levels");
const LONGER: Fault = Fault::record("goes on behind its JSON");
const NO_TEXT: Fault = Fault::value("is not a JSON string, which is what its type is written as");
const NO_NUMBER: Fault = Fault::value("is not a JSON number, which is what its type is written as");
pub(crate) const BEYOND_FLOAT: Fault = Fault::value("is a number beyond the range of its type");
const NOT_WHOLE: Fault = Fault::value("is not a whole number of 64 bits");
const NO_LIST: Fault = Fault::value("is not a JSON array, which is what its type is written as");
const NO_OBJECT: Fault = Fault::value("is not a JSON object, which is what its type is written as");
const NO_BASE64: Fault = Fault::value("is not base64, which is what bytes are written as");
const NO_SYMBOL: Fault = Fault::value("is none of the symbols of its type");
const HALF_CHARACTER: Fault = Fault::value("has half a surrogate pair in it, which is no character");

/// What a value begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Null,
    Boolean,
    Number,
    Text,
    List,
    Object,
}

/// A place in JSON text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonWire<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

// === impl JsonWire ===

impl<'a> JsonWire<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
        }
    }

    /// What stands here, behind any space.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let here = self.bytes.get(self.at).copied();
        match here {
            Some(byte) if byte > b' ' => here,
            _ => self.peek_behind_space(),
        }
    }

    fn peek_behind_space(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    /// What the value that stands here begins as.
    pub(crate) fn token(&mut self) -> Read<Token> {
        Ok(match self.peek().ok_or(TORN)? {
            b'"' => Token::Text,
            b'-' | b'0'..=b'9' => Token::Number,
            b't' | b'f' => Token::Boolean,
            b'n' => Token::Null,
            b'[' => Token::List,
            b'{' => Token::Object,
            _ => return Err(NOT_JSON),
        })
    }

    /// True where an object stands here.
    pub(crate) fn is_at_object(mut self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Passes over one byte, where it stands here.
    #[inline]
    pub(crate) fn take_byte(&mut self, byte: u8) -> bool {
        let is_it = self.peek() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    fn expect(&mut self, byte: u8, fault: Fault) -> Read<()> {
        if self.take_byte(byte) {
            Ok(())
        } else {
            Err(self.torn_or(fault))
        }
    }

    #[cold]
    fn torn_or(&mut self, fault: Fault) -> Fault {
        if self.peek().is_none() { TORN } else { fault }
    }

    /// What stands here and behind.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The text between two places.
    pub(crate) fn between(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// Nothing may follow.
    pub(crate) fn end(&mut self) -> Read<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(LONGER),
        }
    }

    /// A string: a slice of the text where nothing is escaped in it.
    pub(crate) fn string<'s>(&mut self, scratch: &'s mut String) -> Read<&'s str>
    where
        'a: 's,
    {
        self.expect(b'"', NO_TEXT)?;
        let start = self.at;
        let rest = self.rest();
        let stop = memchr2(b'"', b'\\', rest).ok_or(TORN)?;
        if rest.get(stop) == Some(&b'"') {
            self.at = start + stop + 1;
            return Ok(self.between(start, start + stop));
        }
        scratch.clear();
        self.unescape(scratch)?;
        Ok(scratch)
    }

    fn unescape(&mut self, out: &mut String) -> Read<()> {
        loop {
            let start = self.at;
            let stop = memchr2(b'"', b'\\', self.rest()).ok_or(TORN)?;
            out.push_str(self.between(start, start + stop));
            self.at = start + stop + 1;
            if self.bytes.get(start + stop) == Some(&b'"') {
                return Ok(());
            }
            let escape = self.bytes.get(self.at).ok_or(TORN)?;
            self.at += 1;
            out.push(match escape {
                b'"' | b'\\' | b'/' => char::from(*escape),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => self.escaped_character()?,
                _ => return Err(NOT_JSON),
            });
        }
    }

    fn escaped_character(&mut self) -> Read<char> {
        let first = self.unit()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or(HALF_CHARACTER);
        }
        if !self.rest().starts_with(b"\\u") {
            return Err(HALF_CHARACTER);
        }
        self.at += 2;
        let second = self.unit()?;
        let pair = first < 0xdc00 && (0xdc00..0xe000).contains(&second);
        let code = 0x1_0000 + ((first & 0x3ff) << 10) + (second & 0x3ff);
        char::from_u32(code).filter(|_| pair).ok_or(HALF_CHARACTER)
    }

    fn unit(&mut self) -> Read<u32> {
        let digits = self.rest().first_chunk::<4>().ok_or(TORN)?;
        let mut unit = 0;
        for digit in digits {
            unit = unit << 4 | char::from(*digit).to_digit(16).ok_or(NOT_JSON)?;
        }
        self.at += 4;
        Ok(unit)
    }

    /// The digits of a number as they stand.
    pub(crate) fn number(&mut self) -> Read<&'a str> {
        let first = self.peek();
        let start = self.at;
        if !matches!(first, Some(b'-' | b'0'..=b'9')) {
            return Err(self.torn_or(NO_NUMBER));
        }
        self.at += usize::from(first == Some(b'-'));
        let whole = self.digits();
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(NOT_JSON);
            }
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(NOT_JSON);
            }
        }
        if whole == 0 {
            return Err(NOT_JSON);
        }
        Ok(self.between(start, self.at))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    /// Passes over a value; an error where it is not JSON.
    pub(crate) fn pass(&mut self) -> Read<()> {
        self.pass_nested(DEEPEST)
    }

    fn pass_nested(&mut self, depth: u8) -> Read<()> {
        match self.token()? {
            Token::Text => self.pass_text(),
            Token::Number => self.number().map(drop),
            Token::Boolean => self.boolean().map(drop),
            Token::Null => match self.take(b"null") {
                true => Ok(()),
                false => Err(NOT_JSON),
            },
            Token::List => {
                let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
                let mut place = self.begin_list()?;
                while self.next_element(&mut place)? {
                    self.pass_nested(depth)?;
                }
                Ok(())
            }
            Token::Object => {
                let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
                let mut place = self.begin_map()?;
                while self.next_key(&mut place)? {
                    self.pass_text()?;
                    self.expect(b':', NOT_JSON)?;
                    self.pass_nested(depth)?;
                }
                Ok(())
            }
        }
    }

    fn pass_text(&mut self) -> Read<()> {
        self.expect(b'"', NOT_JSON)?;
        loop {
            let rest = self.rest();
            let stop = memchr2(b'"', b'\\', rest).ok_or(TORN)?;
            self.at += stop + 1;
            if rest.get(stop) == Some(&b'"') {
                return Ok(());
            }
            match self.bytes.get(self.at).ok_or(TORN)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                b'u' => {
                    self.at += 1;
                    self.unit()?;
                }
                _ => return Err(NOT_JSON),
            }
        }
    }

    /// Goes to the next key of an object; false behind its last value.
    pub(crate) fn next_key(&mut self, place: &mut Place) -> Read<bool> {
        self.next_item(place, b'}')
    }

    /// Goes to the next item of what ends with this bracket; false behind the last.
    #[inline]
    fn next_item(&mut self, place: &mut Place, bracket: u8) -> Read<bool> {
        let first = place.given == 0;
        place.given += 1;
        match self.peek().ok_or(TORN)? {
            byte if byte == bracket => {
                self.at += 1;
                Ok(false)
            }
            b',' if !first => {
                self.at += 1;
                Ok(true)
            }
            _ if first => Ok(true),
            _ => Err(NOT_JSON),
        }
    }

    /// The name of the field that the reader is at, with the colon behind it passed over.
    pub(crate) fn name<'s>(&mut self, scratch: &'s mut String) -> Read<&'s str>
    where
        'a: 's,
    {
        if self.peek() != Some(b'"') {
            return Err(self.torn_or(NOT_JSON));
        }
        let name = self.string(scratch)?;
        self.expect(b':', NOT_JSON)?;
        Ok(name)
    }

    /// A number that JSON has none for is text; digits are never infinite.
    fn float<T: FromStr + Into<f64> + Copy>(&mut self, special: impl Fn(&str) -> Option<T>) -> Read<T> {
        if self.peek() == Some(b'"') {
            return special(self.string(&mut String::new())?).ok_or(NO_NUMBER);
        }
        let value: T = self.number()?.parse().map_err(|_| NO_NUMBER)?;
        if value.into().is_finite() {
            Ok(value)
        } else {
            Err(BEYOND_FLOAT)
        }
    }
}

impl Wire for JsonWire<'_> {
    const IS_ORDERED: bool = false;

    #[inline]
    fn take_null(&mut self, _: Optionality) -> Read<bool> {
        Ok(self.peek() == Some(b'n') && self.take(b"null"))
    }

    #[inline]
    fn take(&mut self, bytes: &[u8]) -> bool {
        let is_it = self.rest().starts_with(bytes);
        if is_it {
            self.at += bytes.len();
        }
        is_it
    }

    fn boolean(&mut self) -> Read<bool> {
        self.peek();
        if self.take(b"true") {
            return Ok(true);
        }
        if self.take(b"false") {
            return Ok(false);
        }
        Err(self.torn_or(NO_BOOLEAN))
    }

    fn int(&mut self) -> Read<i64> {
        let negative = self.take_byte(b'-');
        let mut value = 0_i64;
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.at) {
            // Below zero there is room for one more.
            let digit = i64::from(digit & 15);
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_sub(digit))
                .ok_or(NOT_WHOLE)?;
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            _ if self.at == start => Err(self.torn_or(NO_NUMBER)),
            Some(b'.' | b'e' | b'E') => Err(NOT_WHOLE),
            _ if negative => Ok(value),
            _ => value.checked_neg().ok_or(NOT_WHOLE),
        }
    }

    fn float32(&mut self) -> Read<f32> {
        self.float(|text| match text {
            "NaN" => Some(f32::NAN),
            "Infinity" => Some(f32::INFINITY),
            "-Infinity" => Some(f32::NEG_INFINITY),
            _ => None,
        })
    }

    fn float64(&mut self) -> Read<f64> {
        self.float(|text| match text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        })
    }

    fn text<'s>(&'s mut self, scratch: &'s mut String) -> Read<&'s str> {
        self.string(scratch)
    }

    fn bytes<'s>(&'s mut self, scratch: &'s mut Vec<u8>) -> Read<&'s [u8]> {
        // Base64 needs no escape but that of `/`, which some writers make.
        let mut unescaped = String::new();
        let text = self.string(&mut unescaped)?;
        scratch.clear();
        STANDARD.decode_vec(text, scratch).map_err(|_| NO_BASE64)?;
        Ok(scratch)
    }

    fn fixed<'s>(&'s mut self, _: usize, scratch: &'s mut Vec<u8>) -> Read<&'s [u8]> {
        self.bytes(scratch)
    }

    fn symbol<'s>(&'s mut self, symbols: &'s [String], scratch: &'s mut String) -> Read<&'s str> {
        let text = self.string(scratch)?;
        if symbols.iter().any(|symbol| symbol == text) {
            Ok(text)
        } else {
            Err(NO_SYMBOL)
        }
    }

    fn only_branch(&mut self) -> Read<()> {
        Ok(())
    }

    fn begin_list(&mut self) -> Read<Place> {
        self.expect(b'[', NO_LIST)?;
        Ok(Place::default())
    }

    fn next_element(&mut self, place: &mut Place) -> Read<bool> {
        self.next_item(place, b']')
    }

    fn begin_map(&mut self) -> Read<Place> {
        self.expect(b'{', NO_OBJECT)?;
        Ok(Place::default())
    }

    fn next_entry(&mut self, place: &mut Place, key: &mut String) -> Read<bool> {
        if !self.next_key(place)? {
            return Ok(false);
        }
        let mut scratch = String::new();
        let name = self.name(&mut scratch)?;
        key.clear();
        key.push_str(name);
        Ok(true)
    }

    fn begin_struct(&mut self) -> Read<Place> {
        self.begin_map()
    }

    #[inline]
    fn next_field(&mut self, place: &mut Place, fields: &Fields) -> Read<Option<usize>> {
        while self.next_key(place)? {
            let expected = place.left;
            if let Some(label) = fields.label(expected)
                && self.take(label)
            {
                place.left = expected + 1;
                return Ok(Some(expected));
            }
            let mut scratch = String::new();
            let found = fields.find(self.name(&mut scratch)?, expected);
            if let Some(found) = found {
                place.left = found + 1;
                return Ok(Some(found));
            }
            self.pass()?;
        }
        Ok(None)
    }

    fn begin_pair(&mut self) -> Read<()> {
        self.expect(b'[', NO_LIST)
    }

    fn middle_of_pair(&mut self) -> Read<()> {
        self.expect(b',', NO_LIST)
    }

    fn end_pair(&mut self) -> Read<()> {
        self.expect(b']', NO_LIST)
    }

    fn is_at_list(&mut self) -> bool {
        self.peek() == Some(b'[')
    }

    fn is_at_text(&mut self) -> bool {
        self.peek() == Some(b'"')
    }

    fn is_at_number(&mut self) -> bool {
        matches!(self.peek(), Some(b'-' | b'0'..=b'9'))
    }

    fn at(&self) -> usize {
        self.at
    }

    fn seek(&mut self, at: usize) {
        self.at = at;
    }

    fn skip(&mut self, _: &Shape) -> Read<()> {
        self.pass()
    }

    fn document(&mut self, _: &Shape, out: &mut String) -> Read<()> {
        self.peek();
        let start = self.at;
        self.pass()?;
        out.push_str(self.between(start, self.at));
        Ok(())
    }

    fn typed(&mut self, typed: &Typed, cells: &mut Cells<'_>) -> Read<()> {
        read_typed(self, typed, cells)
    }
}
