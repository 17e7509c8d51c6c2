//! Values as literals of statements, exactly: what a column cannot hold as it is, is refused and never rounded or cut.
//!
//! The server refuses most of it by itself, in strict mode. What it does not refuse is looked at here: digits behind the point beyond a
//! DECIMAL's and a time's, numbers of double precision in a FLOAT, spaces beyond a VARCHAR's length, a number in quotes that an ENUM would take
//! for one of its members' places, years of two digits, and dates of timestamps.
//!
//! Numbers are written without quotes, so that they are compared as numbers by an index; bytes and geometries as hexadecimal literals, a
//! geometry in the form that the server stores (four bytes with the number of its reference system, then WKB), which no function turns round.

mod document;
mod number;
mod shape;
mod temporal;

use std::sync::Arc;

use tailrace_core::schema::Column;
use tailrace_core::value::{LogicalType, Value};
use tailrace_core::{Error, Result};
use tailrace_sql::sink::plain::{Plain, write_document, write_hexadecimal};

use super::column::TargetType;
use crate::column_type::TypeKind;

/// Why a value has no literal. Never holds the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit(String);

/// Which bytes a text stands for, nobody says: its own, or those that it has in base64.
const NO_BYTES: &str = "it is no string of bytes; have its writer say in the schema that it is (`contentEncoding` of a JSON Schema), or use Avro";
const NO_MEMBER: &str = "it is none of its members; add it to them";

/// Writes the values of one column.
#[derive(Debug)]
pub(super) struct ColumnWriter {
    target: TargetType,
    source: LogicalType,
    /// Name, for sentences.
    column: String,
    /// The column's type as it is declared, for sentences.
    declared: String,
    /// Fractions of a second that the column has no room for are dropped.
    drops_fractions: bool,
}

// === impl ColumnWriter ===

impl ColumnWriter {
    /// Of values of this type into a column that was described.
    ///
    /// # Errors
    /// Definite `column_type`.
    pub(super) fn new(target: &Column, source: &LogicalType) -> Result<Self> {
        Ok(Self {
            target: TargetType::of(target)?,
            source: source.clone(),
            column: target.name.clone(),
            declared: target.source_type.clone(),
            drops_fractions: false,
        })
    }

    /// Of times that are not the event's but ours: when a row was deleted, say.
    pub(super) fn dropping_fractions(mut self) -> Self {
        self.drops_fractions = true;
        self
    }

    /// The column's type.
    pub(super) fn target(&self) -> &TargetType {
        &self.target
    }

    /// Appends the literal.
    ///
    /// # Errors
    /// Poison `value_unrepresentable`.
    pub(super) fn write(&self, value: Value<'_>, out: &mut String) -> Result<()> {
        let plain = Plain::of(&self.source, value);
        let written = match plain {
            Plain::Unchanged => Err(Misfit::new("it is not in the event")),
            Plain::Null => {
                out.push_str("NULL");
                Ok(())
            }
            plain => self.literal(plain, out),
        };
        written.map_err(|misfit| {
            let message = format!(
                "the column {}, which is {}, cannot hold a value as it is: {}",
                self.column, self.declared, misfit.0
            );
            Error::poison("value_unrepresentable", message)
        })
    }

    fn literal(&self, plain: Plain<'_>, out: &mut String) -> Result<(), Misfit> {
        match &self.target.kind {
            TypeKind::Integer { .. } => number::integer(plain, out),
            TypeKind::Decimal { precision, scale } => number::decimal(plain, (*precision, *scale), out),
            TypeKind::Float { widened } => {
                let single = number::Precision::Single {
                    rounded_to: self.target.rounded_to.filter(|_| *widened),
                };
                number::float(plain, single, out)
            }
            TypeKind::Double => {
                let double = number::Precision::Double {
                    rounded_to: self.target.rounded_to,
                };
                number::float(plain, double, out)
            }
            TypeKind::Bit { length } => number::bits(plain, *length, out),
            TypeKind::Year => number::year(plain, out),
            TypeKind::Date => temporal::date(plain, out),
            TypeKind::Time { precision } => temporal::time(plain, *precision, out),
            TypeKind::DateTime { precision } | TypeKind::Timestamp { precision } => {
                let plain = match self.drops_fractions {
                    true => temporal::without_fraction(plain, *precision),
                    false => plain,
                };
                temporal::moment(plain, *precision, out)
            }
            TypeKind::Text { .. } => self.text(plain, out),
            TypeKind::FixedBytes { length } => self.bytes(plain, Some(usize::from(*length)), out),
            TypeKind::Bytes => self.bytes(plain, None, out),
            TypeKind::Enum { members, .. } => self.member(plain, members, out),
            TypeKind::Set { members, .. } => self.members(plain, members, out),
            TypeKind::Json => self.json(plain, out),
            TypeKind::Point | TypeKind::Geometry => shape::geometry(plain, out),
            TypeKind::Vector => shape::vector(plain, out),
            TypeKind::Uuid | TypeKind::Inet4 | TypeKind::Inet6 => match plain {
                Plain::Text(text) | Plain::Uuid(text) => {
                    quote(text, out);
                    Ok(())
                }
                _ => Err(Misfit::kind("text")),
            },
        }
    }

    /// Spaces at the end are what the server cuts off without an error.
    fn text(&self, plain: Plain<'_>, out: &mut String) -> Result<(), Misfit> {
        let mut rendered = String::new();
        let text = match plain {
            Plain::Text(text) | Plain::Json(text) | Plain::Uuid(text) | Plain::Decimal(text) | Plain::Bits(text) => {
                text
            }
            Plain::Bytes(_) => return Err(Misfit::new("bytes are no characters; give it the type LONGBLOB")),
            other => {
                other.write_text(&self.source, &mut rendered);
                rendered.as_str()
            }
        };
        let text = if self.target.drops_spaces {
            text.trim_end_matches(' ')
        } else {
            text
        };
        let is_too_long = self.target.length.is_some_and(|length| text.chars().count() > length)
            || self.target.length_bytes.is_some_and(|length| text.len() > length);
        if is_too_long && text.ends_with(' ') {
            return Err(Misfit::new("spaces at its end would be cut off; give it a longer type"));
        }
        quote(text, out);
        Ok(())
    }

    fn bytes(&self, plain: Plain<'_>, fixed: Option<usize>, out: &mut String) -> Result<(), Misfit> {
        const UUID_BYTES: usize = 16;
        let start = out.len();
        out.push_str("x'");
        match plain {
            Plain::Bytes(bytes) | Plain::Ewkb(bytes) | Plain::Wkb(bytes) => write_hexadecimal(bytes, out),
            Plain::Uuid(text) if self.target.length == Some(UUID_BYTES) => {
                out.extend(text.chars().filter(char::is_ascii_hexdigit));
            }
            Plain::Json(text) | Plain::Uuid(text) => write_hexadecimal(text.as_bytes(), out),
            _ => return Err(Misfit::new(NO_BYTES)),
        }
        // The server fills up with zeros what it stores, but not what it compares with.
        let digits = out.len() - start - 2;
        let missing = fixed.map_or(0, |length| (length * 2).saturating_sub(digits));
        out.extend(std::iter::repeat_n('0', missing));
        out.push('\'');
        Ok(())
    }

    fn member(&self, plain: Plain<'_>, members: &Arc<[String]>, out: &mut String) -> Result<(), Misfit> {
        let mut text = String::new();
        plain.write_text(&self.source, &mut text);
        if !is_member(&text, members) {
            return Err(Misfit::new(NO_MEMBER));
        }
        quote(&text, out);
        Ok(())
    }

    fn members(&self, plain: Plain<'_>, members: &Arc<[String]>, out: &mut String) -> Result<(), Misfit> {
        let mut text = String::new();
        plain.write_text(&self.source, &mut text);
        if !text.is_empty() && !text.split(',').all(|part| is_member(part, members)) {
            return Err(Misfit::new(NO_MEMBER));
        }
        quote(&text, out);
        Ok(())
    }

    fn json(&self, plain: Plain<'_>, out: &mut String) -> Result<(), Misfit> {
        let mut document = String::new();
        write_document(plain, &self.source, &mut document);
        if document::rounds_a_number(&document) {
            return Err(Misfit::new(
                "it makes a number of double precision of one with more digits; give it the type LONGTEXT",
            ));
        }
        quote(&document, out);
        Ok(())
    }
}

// === impl Misfit ===

impl Misfit {
    fn new(why: &str) -> Self {
        Self(why.to_owned())
    }

    fn kind(expected: &str) -> Self {
        Self(format!(
            "it takes {expected} and the event has something else; give it a type for what the event has"
        ))
    }
}

/// Members are compared without regard to case, by most collations.
fn is_member(text: &str, members: &[String]) -> bool {
    members
        .iter()
        .any(|member| member == text || member.to_lowercase() == text.to_lowercase())
}

/// A text in single quotes. Our sessions take a backslash for an escape, and are in utf8mb4, in which no character ends in a byte that
/// could be taken for a quote.
fn quote(text: &str, out: &mut String) {
    out.push('\'');
    if text.bytes().any(|byte| matches!(byte, b'\'' | b'\\' | 0)) {
        for character in text.chars() {
            match character {
                '\'' => out.push_str("''"),
                '\\' => out.push_str("\\\\"),
                '\0' => out.push_str("\\0"),
                other => out.push(other),
            }
        }
    } else {
        out.push_str(text);
    }
    out.push('\'');
}

#[cfg(test)]
mod tests;
