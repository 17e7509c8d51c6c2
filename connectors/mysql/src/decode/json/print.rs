//! A document as the server prints it, without the blanks between its parts.

use std::fmt::Write;

use super::JsonError;
use super::change::Tree;
use super::document::{Container, Node};
use crate::decode::cell::{DecimalShape, print_json_moment, print_json_time};
use crate::decode::column_code as code;

/// The server refuses documents that are deeper.
const DEPTH_MAX: usize = 100;
/// Nothing prints longer than this many times its bytes (a control character becomes six characters, a literal's three bytes
/// six), so that more is a document whose parts are used more than once.
const GROWTH_MAX: usize = 16;
const GROWTH_ALLOWANCE: usize = 64;
/// Numbers are printed without an exponent when their point is this near to their first digit.
const POINT_MIN: i32 = -14;
const POINT_MAX: i32 = 15;

/// Bytes that a line of 76 characters in base 64 stands for.
const BASE64_LINE_BYTES: usize = 57;

const DIGITS: [u8; 16] = *b"0123456789abcdef";
const BASE64: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Prints one document.
pub(super) struct Printer<'a> {
    text: &'a mut String,
    /// Length of the text that nothing of this document may go beyond.
    limit: usize,
}

/// The shortest digits that read back as the same number: at most 17, a sign, a point and an exponent.
#[derive(Default)]
struct Shortest {
    characters: [u8; 32],
    length: usize,
}

// === impl Printer ===

impl<'a> Printer<'a> {
    /// For a document of `length` bytes.
    pub(super) fn new(text: &'a mut String, length: usize) -> Self {
        let growth = length.saturating_mul(GROWTH_MAX).saturating_add(GROWTH_ALLOWANCE);
        let limit = text.len().saturating_add(growth);
        Self { text, limit }
    }

    pub(super) fn tree(&mut self, tree: &Tree<'_>, depth: usize) -> Result<(), JsonError> {
        match tree {
            Tree::Whole(node) => self.node(*node, depth),
            Tree::Object(members) => {
                let deeper = self.enter(depth)?;
                self.text.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    self.separate(at);
                    self.quoted(key);
                    self.text.push(':');
                    self.tree(value, deeper)?;
                }
                self.text.push('}');
                Ok(())
            }
            Tree::Array(elements) => {
                let deeper = self.enter(depth)?;
                self.text.push('[');
                for (at, element) in elements.iter().enumerate() {
                    self.separate(at);
                    self.tree(element, deeper)?;
                }
                self.text.push(']');
                Ok(())
            }
        }
    }

    pub(super) fn node(&mut self, node: Node<'_>, depth: usize) -> Result<(), JsonError> {
        match node {
            Node::Object(members) => self.object(members, depth)?,
            Node::Array(elements) => self.array(elements, depth)?,
            Node::Null => self.text.push_str("null"),
            Node::Boolean(value) => self.text.push_str(if value { "true" } else { "false" }),
            Node::Int(value) => self.display(value)?,
            Node::Unsigned(value) => self.display(value)?,
            Node::Double(value) => self.double(value)?,
            Node::Text(value) => self.quoted(value),
            Node::Opaque(field_type, bytes) => self.opaque(field_type, bytes)?,
        }
        if self.text.len() > self.limit {
            return Err("parts of it are used more than once");
        }
        Ok(())
    }

    fn object(&mut self, members: Container<'_>, depth: usize) -> Result<(), JsonError> {
        let deeper = self.enter(depth)?;
        self.text.push('{');
        for at in 0..members.len() {
            self.separate(at);
            self.quoted(members.key(at)?);
            self.text.push(':');
            self.node(members.value(at)?, deeper)?;
        }
        self.text.push('}');
        Ok(())
    }

    fn array(&mut self, elements: Container<'_>, depth: usize) -> Result<(), JsonError> {
        let deeper = self.enter(depth)?;
        self.text.push('[');
        for at in 0..elements.len() {
            self.separate(at);
            self.node(elements.value(at)?, deeper)?;
        }
        self.text.push(']');
        Ok(())
    }

    fn enter(&self, depth: usize) -> Result<usize, JsonError> {
        if depth < DEPTH_MAX {
            Ok(depth + 1)
        } else {
            Err("it is deeper than 100 levels")
        }
    }

    fn separate(&mut self, at: usize) {
        if at > 0 {
            self.text.push(',');
        }
    }

    fn display(&mut self, value: impl std::fmt::Display) -> Result<(), JsonError> {
        write!(self.text, "{value}").map_err(|_| "it has a number that cannot be printed")
    }

    fn quoted(&mut self, value: &str) {
        self.text.push('"');
        let mut rest = value;
        while let Some(at) = rest
            .bytes()
            .position(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\'))
        {
            let (plain, behind) = rest.split_at_checked(at).unwrap_or((rest, ""));
            self.text.push_str(plain);
            let mut characters = behind.chars();
            if let Some(character) = characters.next() {
                self.escaped(character);
            }
            rest = characters.as_str();
        }
        self.text.push_str(rest);
        self.text.push('"');
    }

    fn escaped(&mut self, character: char) {
        match character {
            '"' => self.text.push_str("\\\""),
            '\\' => self.text.push_str("\\\\"),
            '\u{8}' => self.text.push_str("\\b"),
            '\u{c}' => self.text.push_str("\\f"),
            '\n' => self.text.push_str("\\n"),
            '\r' => self.text.push_str("\\r"),
            '\t' => self.text.push_str("\\t"),
            control => {
                let code = u32::from(control);
                self.text.push_str("\\u00");
                self.text
                    .extend([code >> 4, code & 0x0f].map(|digit| character_of(&DIGITS, digit)));
            }
        }
    }

    /// A number as the server prints it: the shortest digits that read back as the same, a point in any case, and an exponent
    /// only far from it.
    fn double(&mut self, value: f64) -> Result<(), JsonError> {
        const UNPRINTABLE: JsonError = "it has a number that is not finite";
        let mut shortest = Shortest::default();
        let finite = value.is_finite() && write!(shortest, "{value:e}").is_ok();
        let (mantissa, exponent) = shortest.text().split_once('e').filter(|_| finite).ok_or(UNPRINTABLE)?;
        let point = exponent.parse::<i32>().map_err(|_| UNPRINTABLE)? + 1;
        let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
        if unsigned.len() < mantissa.len() {
            self.text.push('-');
        }
        let (first, others) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = i32::try_from(1 + others.len()).unwrap_or(i32::MAX);
        if point < POINT_MIN || (point > POINT_MAX && digits <= point) {
            self.text.push_str(first);
            self.point_and(others);
            self.text.push('e');
            return self.display(point - 1);
        }
        let digits = first.chars().chain(others.chars());
        match usize::try_from(point) {
            Ok(before_point) if before_point > 0 => {
                self.text
                    .extend(digits.clone().chain(std::iter::repeat('0')).take(before_point));
                self.text.push('.');
                let length = self.text.len();
                self.text.extend(digits.skip(before_point));
                if self.text.len() == length {
                    self.text.push('0');
                }
            }
            _ => {
                self.text.push_str("0.");
                let zeros = usize::try_from(-point).unwrap_or_default();
                self.text.extend(std::iter::repeat_n('0', zeros).chain(digits));
            }
        }
        Ok(())
    }

    fn point_and(&mut self, digits: &str) {
        if !digits.is_empty() {
            self.text.push('.');
            self.text.push_str(digits);
        }
    }

    /// A value of an SQL type.
    fn opaque(&mut self, field_type: u8, bytes: &[u8]) -> Result<(), JsonError> {
        match field_type {
            code::NEWDECIMAL => self.decimal(bytes).ok_or("it has a DECIMAL that is none"),
            code::DATE => self.moment(bytes, |stored, text| print_json_moment(stored, false, text)),
            code::DATETIME | code::TIMESTAMP => {
                self.moment(bytes, |stored, text| print_json_moment(stored, true, text))
            }
            code::TIME => self.moment(bytes, print_json_time),
            _ => {
                self.text.push_str("\"base64:type");
                self.display(field_type)?;
                self.text.push(':');
                self.base64(bytes);
                self.text.push('"');
                Ok(())
            }
        }
    }

    /// Digits, digits after the point, and the bytes of a DECIMAL column.
    fn decimal(&mut self, bytes: &[u8]) -> Option<()> {
        let ([precision, scale], stored) = bytes.split_first_chunk::<2>()?;
        let shape = DecimalShape::in_json(*precision, *scale)?;
        let stored = stored
            .get(..shape.length())
            .filter(|whole| whole.len() == stored.len())?;
        shape.append(stored, self.text)
    }

    fn moment(
        &mut self,
        bytes: &[u8],
        print: impl FnOnce([u8; 8], &mut String) -> Option<()>,
    ) -> Result<(), JsonError> {
        const MALFORMED: JsonError = "it has a date or time that is none";
        let stored = <[u8; 8]>::try_from(bytes).map_err(|_| MALFORMED)?;
        self.text.push('"');
        print(stored, self.text).ok_or(MALFORMED)?;
        self.text.push('"');
        Ok(())
    }

    /// The server breaks the lines of longer ones, and today prints the breaks as `\\n`.
    fn base64(&mut self, bytes: &[u8]) {
        for (at, line) in bytes.chunks(BASE64_LINE_BYTES).enumerate() {
            if at > 0 {
                self.text.push_str("\\n");
            }
            self.base64_line(line);
        }
    }

    fn base64_line(&mut self, bytes: &[u8]) {
        let (groups, rest) = bytes.as_chunks::<3>();
        for group in groups {
            self.text.extend(base64_digits(*group));
        }
        match *rest {
            [first] => {
                self.text.extend(base64_digits([first, 0, 0]).into_iter().take(2));
                self.text.push_str("==");
            }
            [first, second] => {
                self.text.extend(base64_digits([first, second, 0]).into_iter().take(3));
                self.text.push('=');
            }
            _ => {}
        }
    }
}

fn base64_digits([first, second, third]: [u8; 3]) -> [char; 4] {
    let bits = u32::from_be_bytes([0, first, second, third]);
    [18, 12, 6, 0].map(|shift| character_of(&BASE64, bits >> shift & 0x3f))
}

fn character_of(characters: &[u8], index: u32) -> char {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    char::from(characters.get(index).copied().unwrap_or(b'?'))
}

// === impl Shortest ===

impl Shortest {
    fn text(&self) -> &str {
        let characters = self.characters.get(..self.length).unwrap_or_default();
        std::str::from_utf8(characters).unwrap_or_default()
    }
}

impl Write for Shortest {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let end = self.length + part.len();
        let place = self.characters.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(part.as_bytes());
        self.length = end;
        Ok(())
    }
}
