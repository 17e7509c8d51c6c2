//! Values as SQLite stores them, so that a source on the same file reads what the events had.
//!
//! SQLite converts what is stored into the affinity of the column (<https://www.sqlite.org/datatype3.html>): text that looks like a number becomes
//! one in every column that is not TEXT or BLOB, and keeps fifteen digits of it. So each value is bound in the storage class
//! that the column keeps, and what would not come back as it was is refused. See [`crate::decode`] for what is read.

use tailrace_core::calendar::Civil;
use tailrace_core::schema::Column;
use tailrace_core::value::{LogicalType, TextKind, Value};
use tailrace_core::{Error, Result};
use tailrace_sql::sink::plain::{Plain, digits, exact, whole, write_date, write_document, write_time, write_timestamp};

const DAY_US: i64 = 86_400_000_000;
/// The years that dates are read from.
const YEARS: std::ops::RangeInclusive<i64> = 0..=9_999;

/// A value in one of SQLite's storage classes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stored {
    /// NULL
    Null,
    /// INTEGER
    Integer(i64),
    /// REAL
    Real(f64),
    /// TEXT
    Text(String),
    /// BLOB
    Blob(Vec<u8>),
}

/// Why a value cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Misfit(&'static str);

/// Converts the values of one column.
#[derive(Debug)]
pub(super) struct ColumnWriter<'a> {
    target: &'a Column,
    source: &'a LogicalType,
    /// Text that looks like a number becomes one.
    makes_numbers: bool,
}

/// Whether a column of this declaration turns text into numbers; a STRICT table's ANY does not.
fn makes_numbers(declared: &str) -> bool {
    let declared = declared.to_ascii_uppercase();
    let has = |word: &str| declared.contains(word);
    let keeps_text = !has("INT") && (has("CHAR") || has("CLOB") || has("TEXT") || has("BLOB"));
    !(declared.is_empty() || keeps_text || declared == "ANY")
}

// === impl ColumnWriter ===

impl<'a> ColumnWriter<'a> {
    /// Of values of this type into this column.
    pub(super) fn new(target: &'a Column, source: &'a LogicalType) -> Self {
        Self {
            makes_numbers: makes_numbers(&target.source_type),
            target,
            source,
        }
    }

    /// Texts that differ may be equal to the column's collation.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.target.logical_type, LogicalType::Text(_))
    }

    /// The value as it is bound.
    ///
    /// # Errors
    /// Poison `value_unrepresentable`.
    pub(super) fn store(&self, value: Value<'_>) -> Result<Stored> {
        let stored = match Plain::of(self.source, value) {
            Plain::Null => Ok(Stored::Null),
            Plain::Unchanged => Err(Misfit("it is not in the event")),
            plain => self.convert(plain),
        };
        stored.map_err(|misfit| {
            let declared = match self.target.source_type.as_str() {
                "" => "declared without a type",
                declared => declared,
            };
            let message = format!(
                "the column {}, which is {declared}, cannot hold a value as it is: {}",
                self.target.name, misfit.0
            );
            Error::poison("value_unrepresentable", message)
        })
    }

    fn convert(&self, plain: Plain<'_>) -> Result<Stored, Misfit> {
        match &self.target.logical_type {
            LogicalType::Int64 => integer(plain),
            LogicalType::Float64 => real(plain),
            LogicalType::Decimal { scale, .. } => decimal(plain, *scale),
            LogicalType::Boolean => boolean(plain),
            LogicalType::Date | LogicalType::Time { .. } | LogicalType::Timestamp { .. } if is_characters(plain) => {
                self.text(plain)
            }
            LogicalType::Date => date(plain),
            LogicalType::Time { .. } => time(plain),
            LogicalType::Timestamp { .. } => timestamp(plain),
            LogicalType::Bytes => bytes(plain),
            LogicalType::Text(TextKind::Json) => self.document(plain),
            _ => self.text(plain),
        }
    }

    fn text(&self, plain: Plain<'_>) -> Result<Stored, Misfit> {
        if matches!(plain, Plain::Bytes(_)) {
            return Err(Misfit("bytes are no characters; give it the type BLOB"));
        }
        let mut text = String::new();
        plain.write_text(self.source, &mut text);
        if self.makes_numbers && looks_like_a_number(&text) && !is_canonical(&text) {
            return Err(Misfit("a number would be made of the text; give it the type TEXT"));
        }
        Ok(Stored::Text(text))
    }

    /// A number is stored as one, and is the same document.
    fn document(&self, plain: Plain<'_>) -> Result<Stored, Misfit> {
        let mut text = String::new();
        write_document(plain, self.source, &mut text);
        if self.makes_numbers && looks_like_a_number(&text) && !is_canonical(&text) && exact(&text).is_none() {
            return Err(Misfit(
                "it is a number of more digits than are kept; give it the type TEXT",
            ));
        }
        Ok(Stored::Text(text))
    }
}

fn integer(plain: Plain<'_>) -> Result<Stored, Misfit> {
    let number = match plain {
        Plain::Boolean(value) => Some(i64::from(value)),
        Plain::Int(value) => Some(value),
        Plain::Decimal(text) | Plain::Text(text) => whole_digits(text),
        Plain::Float32(value) => whole(value.into()),
        Plain::Float64(value) => whole(value),
        _ => None,
    };
    number.map(Stored::Integer).ok_or(Misfit(
        "it takes whole numbers of 64 bits alone; give it the type REAL, or TEXT",
    ))
}

fn whole_digits(text: &str) -> Option<i64> {
    let (_, fraction) = digits(text)?;
    let whole = text.split('.').next().unwrap_or(text);
    fraction.is_empty().then(|| whole.parse().ok()).flatten()
}

fn real(plain: Plain<'_>) -> Result<Stored, Misfit> {
    const MISFIT: Misfit = Misfit("double precision does not hold it; give it the type TEXT");
    let number = match plain {
        Plain::Boolean(value) => f64::from(u8::from(value)),
        Plain::Int(value) => exact(&value.to_string()).ok_or(MISFIT)?,
        Plain::Float32(value) => value.into(),
        Plain::Float64(value) => value,
        Plain::Decimal(text) | Plain::Text(text) => exact(text).ok_or(MISFIT)?,
        _ => return Err(MISFIT),
    };
    // SQLite stores what is no number as NULL.
    match number.is_nan() {
        true => Err(MISFIT),
        false => Ok(Stored::Real(number)),
    }
}

fn decimal(plain: Plain<'_>, scale: Option<u32>) -> Result<Stored, Misfit> {
    const MISFIT: Misfit =
        Misfit("its numbers have fifteen digits, and its own number of them behind the point; give it the type TEXT");
    let text = match plain {
        Plain::Boolean(_) | Plain::Int(_) => return integer(plain),
        Plain::Decimal(text) | Plain::Text(text) => text.to_owned(),
        Plain::Float32(value) if value.is_finite() => format!("{value}"),
        Plain::Float64(value) if value.is_finite() => format!("{value}"),
        _ => return Err(MISFIT),
    };
    let (_, fraction) = digits(&text).ok_or(MISFIT)?;
    let has_room = scale.is_none_or(|scale| usize::try_from(scale).is_ok_and(|scale| fraction.len() <= scale));
    if !has_room {
        return Err(MISFIT);
    }
    match whole_digits(&text) {
        Some(number) => Ok(Stored::Integer(number)),
        None => exact(&text).map(Stored::Real).ok_or(MISFIT),
    }
}

fn boolean(plain: Plain<'_>) -> Result<Stored, Misfit> {
    match plain {
        Plain::Boolean(value) => Ok(Stored::Integer(value.into())),
        Plain::Int(value @ 0..=1) => Ok(Stored::Integer(value)),
        Plain::Text(text) if ["true", "false"].contains(&text.to_ascii_lowercase().as_str()) => {
            Ok(Stored::Text(text.to_owned()))
        }
        _ => Err(Misfit("it takes true and false alone; give it the type INTEGER")),
    }
}

/// Events whose schema has no dates have them as text.
fn is_characters(plain: Plain<'_>) -> bool {
    matches!(plain, Plain::Text(_))
}

fn date(plain: Plain<'_>) -> Result<Stored, Misfit> {
    match plain {
        Plain::Date(days) => iso_date(days),
        Plain::Timestamp { microseconds, .. } if microseconds.rem_euclid(DAY_US) == 0 => {
            iso_date(microseconds.div_euclid(DAY_US))
        }
        _ => Err(Misfit("it takes dates alone; give it the type DATETIME, or TEXT")),
    }
}

fn time(plain: Plain<'_>) -> Result<Stored, Misfit> {
    match plain {
        // MySQL's are amounts of time as well, and kept as they are, although a source on the file reads times of a day alone.
        Plain::Time(microseconds) => {
            let mut text = String::new();
            write_time(microseconds, &mut text);
            Ok(Stored::Text(text))
        }
        _ => Err(Misfit("it takes times alone; give it the type TEXT")),
    }
}

fn timestamp(plain: Plain<'_>) -> Result<Stored, Misfit> {
    match plain {
        Plain::Date(days) => iso_date(days),
        Plain::Timestamp { microseconds, .. } => {
            check_year(microseconds.div_euclid(DAY_US))?;
            let mut text = String::new();
            write_timestamp(microseconds, ' ', &mut text);
            Ok(Stored::Text(text))
        }
        _ => Err(Misfit("it takes dates with times alone; give it the type TEXT")),
    }
}

fn bytes(plain: Plain<'_>) -> Result<Stored, Misfit> {
    match plain {
        Plain::Bytes(bytes) | Plain::Wkb(bytes) | Plain::Ewkb(bytes) => Ok(Stored::Blob(bytes.to_vec())),
        Plain::Json(text) | Plain::Uuid(text) => Ok(Stored::Blob(text.as_bytes().to_vec())),
        // Which bytes a text stands for, nobody says: its own, or those that it has in base64.
        _ => Err(Misfit(
            "it takes bytes alone; have the writer of texts say in the schema that they are bytes (`contentEncoding` of a JSON Schema), or \
             give it another type",
        )),
    }
}

fn iso_date(days: i64) -> Result<Stored, Misfit> {
    check_year(days)?;
    let mut text = String::new();
    write_date(days, &mut text);
    Ok(Stored::Text(text))
}

fn check_year(days: i64) -> Result<(), Misfit> {
    match YEARS.contains(&Civil::from_days(days).year) {
        true => Ok(()),
        false => Err(Misfit("its years are from 0000 to 9999; give it the type TEXT")),
    }
}

/// What SQLite takes for a number: with spaces around it and an exponent, but not `inf` and `nan`.
fn looks_like_a_number(text: &str) -> bool {
    let text = text.trim_matches(|character: char| character.is_ascii_whitespace());
    let has_letters = text
        .bytes()
        .any(|byte| byte.is_ascii_alphabetic() && !matches!(byte, b'e' | b'E'));
    !has_letters && text.parse::<f64>().is_ok()
}

/// The number is printed as the same text again.
fn is_canonical(text: &str) -> bool {
    let as_integer = text.parse::<i64>().ok().map(|number| number.to_string());
    let as_real = exact(text).map(|number| format!("{number}"));
    as_integer.or(as_real).as_deref() == Some(text)
}

#[cfg(test)]
mod tests;
