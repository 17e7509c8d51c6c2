//! A value that was written with one schema as another has it: the specification's schema resolution.
//!
//! The library's own goes by the value alone. It knows no aliases, takes what was never promised (a `long` as an `int`, a `double`
//! as a `float`, text as a symbol), reads a default of bytes as UTF-8, and refuses a decimal of fewer bytes than its digits may
//! need. Here both schemas are walked with the value. One thing is stricter than the specification: where both sides name a logical
//! type it must be the same one, so that milliseconds are never taken for microseconds.

use std::collections::HashMap;

use apache_avro::schema::{
    Alias, DecimalSchema, EnumSchema, FixedSchema, InnerDecimalSchema, Name, NamesRef, RecordField, RecordSchema,
    UnionSchema, UuidSchema,
};
use apache_avro::types::Value as AvroValue;
use apache_avro::{Decimal, Schema as AvroSchema};
use serde_json::Value;
use tailrace_core::{Error, Result};

/// The named types of both schemas.
pub(crate) struct Resolution<'a> {
    pub(crate) writer: &'a NamesRef<'a>,
    pub(crate) reader: &'a NamesRef<'a>,
}

/// What is written, without what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array,
    Map,
    Union,
    Record,
    Enum,
    Fixed,
}

/// What a form means, where it means more than itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logical {
    Decimal { precision: usize, scale: usize },
    BigDecimal,
    Uuid,
    Date,
    TimeMillis,
    TimeMicros,
    TimestampMillis,
    TimestampMicros,
    TimestampNanos,
    LocalTimestampMillis,
    LocalTimestampMicros,
    LocalTimestampNanos,
    Duration,
}

/// A value without what it means.
enum Raw {
    Whole(i64),
    Single(f32),
    Double(f64),
    Bytes(Vec<u8>),
    Text(String),
}

// === impl Resolution ===

impl Resolution<'_> {
    /// The value as the reader has it.
    ///
    /// # Errors
    /// Definite `record_unreadable` where the reader's schema cannot read it.
    pub(crate) fn resolve(&self, value: AvroValue, writer: &AvroSchema, reader: &AvroSchema) -> Result<AvroValue> {
        let (writer, reader) = (named(writer, self.writer), named(reader, self.reader));
        match (value, writer, reader) {
            (AvroValue::Union(index, inner), AvroSchema::Union(union), _) => {
                let branch = usize::try_from(index)
                    .ok()
                    .and_then(|index| union.variants().get(index));
                let branch = branch.ok_or_else(|| unresolved("it has a branch that its own schema does not have"))?;
                self.resolve(*inner, branch, reader)
            }
            (value, _, AvroSchema::Union(union)) => {
                let (index, branch) = self.branch(writer, union)?;
                Ok(AvroValue::Union(index, Box::new(self.resolve(value, writer, branch)?)))
            }
            (value, writer, reader) if !self.is_match(writer, reader) => Err(mismatch(&value, writer, reader)),
            (AvroValue::Record(fields), AvroSchema::Record(writer), AvroSchema::Record(reader)) => {
                self.record(fields, writer, reader)
            }
            (AvroValue::Array(items), AvroSchema::Array(writer), AvroSchema::Array(reader)) => {
                let items = items.into_iter();
                let items: Result<Vec<_>> = items
                    .map(|item| self.resolve(item, &writer.items, &reader.items))
                    .collect();
                items.map(AvroValue::Array)
            }
            (AvroValue::Map(entries), AvroSchema::Map(writer), AvroSchema::Map(reader)) => {
                let entries = entries.into_iter();
                let entries: Result<HashMap<_, _>> = entries
                    .map(|(key, value)| Ok((key, self.resolve(value, &writer.types, &reader.types)?)))
                    .collect();
                entries.map(AvroValue::Map)
            }
            (AvroValue::Enum(_, symbol), _, AvroSchema::Enum(reader)) => read_symbol(symbol, reader),
            (value, writer, reader) => promote(value, writer, reader),
        }
    }

    fn record(
        &self,
        fields: Vec<(String, AvroValue)>,
        writer: &RecordSchema,
        reader: &RecordSchema,
    ) -> Result<AvroValue> {
        let mut written: HashMap<String, (AvroValue, &AvroSchema)> = fields
            .into_iter()
            .zip(&writer.fields)
            .map(|((name, value), field)| (name, (value, &field.schema)))
            .collect();
        let mut read = Vec::with_capacity(reader.fields.len());
        for field in &reader.fields {
            let names = std::iter::once(&field.name).chain(&field.aliases);
            let found = names.into_iter().find_map(|name| written.remove(name));
            let value = match found {
                Some((value, schema)) => self.resolve(value, schema, &field.schema)?,
                None => self.default_of(field)?,
            };
            read.push((field.name.clone(), value));
        }
        Ok(AvroValue::Record(read))
    }

    fn default_of(&self, field: &RecordField) -> Result<AvroValue> {
        let none = || unresolved(&format!("field `{}` was not written and has no default", field.name));
        let default = field.default.as_ref().ok_or_else(none)?;
        let wrong = || {
            unresolved(&format!(
                "the default of field `{}` is no value of its type",
                field.name
            ))
        };
        default_value(default, &field.schema, self.reader).ok_or_else(wrong)
    }

    /// The branch that is the written type itself, else the first that it can be read as.
    fn branch<'b>(&self, writer: &AvroSchema, union: &'b UnionSchema) -> Result<(u32, &'b AvroSchema)> {
        let is_itself = |branch: &AvroSchema| {
            let branch = named(branch, self.reader);
            form(writer) == form(branch) && self.is_match(writer, branch) && logical(writer) == logical(branch)
        };
        let variants = union.variants();
        let exact = variants.iter().position(is_itself);
        let first = || {
            variants
                .iter()
                .position(|branch| self.is_match(writer, named(branch, self.reader)))
        };
        let found = exact.or_else(first);
        let chosen = found.and_then(|index| Some((u32::try_from(index).ok()?, variants.get(index)?)));
        chosen.ok_or_else(|| unresolved("no alternative of a union can hold what was written"))
    }

    /// Whether a value may be read, as far as that shows without its parts.
    fn is_match(&self, writer: &AvroSchema, reader: &AvroSchema) -> bool {
        let means_the_same = match (logical(writer), logical(reader)) {
            (Some(written), Some(read)) => written == read,
            _ => true,
        };
        let names = |(name, _): (&Name, _), (reader, aliases): (&Name, &Option<Vec<Alias>>)| {
            let full_name = name.fullname(None);
            let mut aliases = aliases.iter().flatten();
            name.name() == reader.name() || aliases.any(|alias| alias.fullname(None) == full_name)
        };
        match (name_of(writer), name_of(reader)) {
            (Some(written), Some(read)) if form(writer) == form(reader) => {
                names(written, read) && size_of(writer) == size_of(reader) && means_the_same
            }
            (None, None) => is_promoted(form(writer), form(reader)) && means_the_same,
            _ => false,
        }
    }
}

/// The promotions of the specification; each form is readable as itself.
fn is_promoted(writer: Form, reader: Form) -> bool {
    match writer {
        Form::Int => matches!(reader, Form::Int | Form::Long | Form::Float | Form::Double),
        Form::Long => matches!(reader, Form::Long | Form::Float | Form::Double),
        Form::Float => matches!(reader, Form::Float | Form::Double),
        Form::Bytes | Form::String => matches!(reader, Form::Bytes | Form::String),
        other => other == reader,
    }
}

fn named<'b>(schema: &'b AvroSchema, names: &'b NamesRef<'_>) -> &'b AvroSchema {
    match schema {
        AvroSchema::Ref { name } => names.get(name).copied().unwrap_or(schema),
        other => other,
    }
}

fn form(schema: &AvroSchema) -> Form {
    match schema {
        AvroSchema::Null => Form::Null,
        AvroSchema::Boolean => Form::Boolean,
        AvroSchema::Int | AvroSchema::Date | AvroSchema::TimeMillis => Form::Int,
        AvroSchema::Long
        | AvroSchema::TimeMicros
        | AvroSchema::TimestampMillis
        | AvroSchema::TimestampMicros
        | AvroSchema::TimestampNanos
        | AvroSchema::LocalTimestampMillis
        | AvroSchema::LocalTimestampMicros
        | AvroSchema::LocalTimestampNanos => Form::Long,
        AvroSchema::Float => Form::Float,
        AvroSchema::Double => Form::Double,
        AvroSchema::Bytes
        | AvroSchema::BigDecimal
        | AvroSchema::Decimal(DecimalSchema {
            inner: InnerDecimalSchema::Bytes,
            ..
        })
        | AvroSchema::Uuid(UuidSchema::Bytes) => Form::Bytes,
        AvroSchema::String | AvroSchema::Uuid(UuidSchema::String) => Form::String,
        AvroSchema::Array(_) => Form::Array,
        AvroSchema::Map(_) => Form::Map,
        AvroSchema::Union(_) => Form::Union,
        // A name that stands for nothing was refused when the schema was parsed.
        AvroSchema::Record(_) | AvroSchema::Ref { .. } => Form::Record,
        AvroSchema::Enum(_) => Form::Enum,
        AvroSchema::Fixed(_)
        | AvroSchema::Duration(_)
        | AvroSchema::Decimal(DecimalSchema {
            inner: InnerDecimalSchema::Fixed(_),
            ..
        })
        | AvroSchema::Uuid(UuidSchema::Fixed(_)) => Form::Fixed,
    }
}

fn logical(schema: &AvroSchema) -> Option<Logical> {
    Some(match schema {
        AvroSchema::Decimal(decimal) => Logical::Decimal {
            precision: decimal.precision,
            scale: decimal.scale,
        },
        AvroSchema::BigDecimal => Logical::BigDecimal,
        AvroSchema::Uuid(_) => Logical::Uuid,
        AvroSchema::Date => Logical::Date,
        AvroSchema::TimeMillis => Logical::TimeMillis,
        AvroSchema::TimeMicros => Logical::TimeMicros,
        AvroSchema::TimestampMillis => Logical::TimestampMillis,
        AvroSchema::TimestampMicros => Logical::TimestampMicros,
        AvroSchema::TimestampNanos => Logical::TimestampNanos,
        AvroSchema::LocalTimestampMillis => Logical::LocalTimestampMillis,
        AvroSchema::LocalTimestampMicros => Logical::LocalTimestampMicros,
        AvroSchema::LocalTimestampNanos => Logical::LocalTimestampNanos,
        AvroSchema::Duration(_) => Logical::Duration,
        _ => return None,
    })
}

fn fixed(schema: &AvroSchema) -> Option<&FixedSchema> {
    match schema {
        AvroSchema::Fixed(fixed)
        | AvroSchema::Duration(fixed)
        | AvroSchema::Decimal(DecimalSchema {
            inner: InnerDecimalSchema::Fixed(fixed),
            ..
        })
        | AvroSchema::Uuid(UuidSchema::Fixed(fixed)) => Some(fixed),
        _ => None,
    }
}

fn size_of(schema: &AvroSchema) -> Option<usize> {
    fixed(schema).map(|fixed| fixed.size)
}

fn name_of(schema: &AvroSchema) -> Option<(&Name, &Option<Vec<Alias>>)> {
    match schema {
        AvroSchema::Record(record) => Some((&record.name, &record.aliases)),
        AvroSchema::Enum(of) => Some((&of.name, &of.aliases)),
        other => fixed(other).map(|fixed| (&fixed.name, &fixed.aliases)),
    }
}

/// A symbol by its name: its place may be another.
fn read_symbol(symbol: String, reader: &EnumSchema) -> Result<AvroValue> {
    let known = |symbol: String| {
        let place = reader.symbols.iter().position(|known| *known == symbol)?;
        Some(AvroValue::Enum(u32::try_from(place).ok()?, symbol))
    };
    let unknown = unresolved(&format!("the symbol `{symbol}` is not known"));
    let read = known(symbol).or_else(|| reader.default.clone().and_then(known));
    read.ok_or(unknown)
}

fn promote(value: AvroValue, writer: &AvroSchema, reader: &AvroSchema) -> Result<AvroValue> {
    if form(writer) == form(reader) && logical(writer) == logical(reader) {
        return Ok(value);
    }
    let failed = mismatch(&value, writer, reader);
    raw(value).and_then(|raw| dress(raw, reader)).ok_or(failed)
}

fn raw(value: AvroValue) -> Option<Raw> {
    Some(match value {
        AvroValue::Int(value) | AvroValue::Date(value) | AvroValue::TimeMillis(value) => Raw::Whole(value.into()),
        AvroValue::Long(value)
        | AvroValue::TimeMicros(value)
        | AvroValue::TimestampMillis(value)
        | AvroValue::TimestampMicros(value)
        | AvroValue::TimestampNanos(value)
        | AvroValue::LocalTimestampMillis(value)
        | AvroValue::LocalTimestampMicros(value)
        | AvroValue::LocalTimestampNanos(value) => Raw::Whole(value),
        AvroValue::Float(value) => Raw::Single(value),
        AvroValue::Double(value) => Raw::Double(value),
        AvroValue::Bytes(bytes) | AvroValue::Fixed(_, bytes) => Raw::Bytes(bytes),
        AvroValue::Decimal(decimal) => Raw::Bytes(<Vec<u8>>::try_from(&decimal).ok()?),
        AvroValue::String(text) => Raw::Text(text),
        AvroValue::Uuid(uuid) => Raw::Text(uuid.to_string()),
        _ => return None,
    })
}

/// A raw value with the reader's meaning. `None` where the reader has no such form.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the specification has whole numbers read as the nearest float"
)]
fn dress(raw: Raw, reader: &AvroSchema) -> Option<AvroValue> {
    match (raw, form(reader)) {
        (Raw::Whole(value), Form::Int | Form::Long) => whole(value, reader),
        (Raw::Whole(value), Form::Float) => Some(AvroValue::Float(value as f32)),
        (Raw::Whole(value), Form::Double) => Some(AvroValue::Double(value as f64)),
        (Raw::Single(value), Form::Float) => Some(AvroValue::Float(value)),
        (Raw::Single(value), Form::Double) => Some(AvroValue::Double(value.into())),
        (Raw::Double(value), Form::Double) => Some(AvroValue::Double(value)),
        // Of a default, which has no precision of its own.
        (Raw::Double(value), Form::Float) => Some(AvroValue::Float(value as f32)),
        (Raw::Bytes(bytes), Form::Bytes | Form::Fixed) => Some(match reader {
            AvroSchema::Decimal(_) => AvroValue::Decimal(Decimal::from(bytes)),
            AvroSchema::Bytes => AvroValue::Bytes(bytes),
            _ => AvroValue::Fixed(bytes.len(), bytes),
        }),
        (Raw::Bytes(bytes), Form::String) => String::from_utf8(bytes).ok().map(AvroValue::String),
        (Raw::Text(text), Form::String) => Some(AvroValue::String(text)),
        (Raw::Text(text), Form::Bytes) => dress(Raw::Bytes(text.into_bytes()), reader),
        _ => None,
    }
}

fn whole(value: i64, reader: &AvroSchema) -> Option<AvroValue> {
    let narrow = i32::try_from(value).ok();
    match reader {
        AvroSchema::Int => narrow.map(AvroValue::Int),
        AvroSchema::Date => narrow.map(AvroValue::Date),
        AvroSchema::TimeMillis => narrow.map(AvroValue::TimeMillis),
        AvroSchema::Long => Some(AvroValue::Long(value)),
        AvroSchema::TimeMicros => Some(AvroValue::TimeMicros(value)),
        AvroSchema::TimestampMillis => Some(AvroValue::TimestampMillis(value)),
        AvroSchema::TimestampMicros => Some(AvroValue::TimestampMicros(value)),
        AvroSchema::TimestampNanos => Some(AvroValue::TimestampNanos(value)),
        AvroSchema::LocalTimestampMillis => Some(AvroValue::LocalTimestampMillis(value)),
        AvroSchema::LocalTimestampMicros => Some(AvroValue::LocalTimestampMicros(value)),
        AvroSchema::LocalTimestampNanos => Some(AvroValue::LocalTimestampNanos(value)),
        _ => None,
    }
}

/// What a default stands for. One of a union is of the first branch that it is a value of.
fn default_value(default: &Value, schema: &AvroSchema, names: &NamesRef<'_>) -> Option<AvroValue> {
    let schema = named(schema, names);
    match (default, schema) {
        (_, AvroSchema::Union(union)) => {
            let mut branches = union.variants().iter().zip(0..);
            branches.find_map(|(branch, index)| {
                let value = default_value(default, branch, names)?;
                Some(AvroValue::Union(index, Box::new(value)))
            })
        }
        (Value::Null, AvroSchema::Null) => Some(AvroValue::Null),
        (Value::Bool(value), AvroSchema::Boolean) => Some(AvroValue::Boolean(*value)),
        (Value::Number(number), schema) => match form(schema) {
            Form::Int | Form::Long => whole(number.as_i64()?, schema),
            _ => dress(Raw::Double(number.as_f64()?), schema),
        },
        (Value::String(symbol), AvroSchema::Enum(of)) => {
            let place = of.symbols.iter().position(|known| known == symbol)?;
            Some(AvroValue::Enum(u32::try_from(place).ok()?, symbol.clone()))
        }
        (Value::String(text), schema) => match form(schema) {
            Form::String => Some(AvroValue::String(text.clone())),
            // Each character is a byte.
            Form::Bytes | Form::Fixed => {
                let bytes: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(letter).ok()).collect();
                let bytes = bytes.filter(|bytes| size_of(schema).is_none_or(|size| size == bytes.len()))?;
                dress(Raw::Bytes(bytes), schema)
            }
            _ => None,
        },
        (Value::Array(items), AvroSchema::Array(of)) => {
            let items = items.iter().map(|item| default_value(item, &of.items, names));
            items.collect::<Option<Vec<_>>>().map(AvroValue::Array)
        }
        (Value::Object(entries), AvroSchema::Map(of)) => {
            let entries = entries.iter();
            let entries: Option<HashMap<_, _>> = entries
                .map(|(key, value)| Some((key.clone(), default_value(value, &of.types, names)?)))
                .collect();
            entries.map(AvroValue::Map)
        }
        (Value::Object(entries), AvroSchema::Record(record)) => {
            let fields = record.fields.iter().map(|field| {
                let default = entries.get(&field.name).or(field.default.as_ref())?;
                Some((field.name.clone(), default_value(default, &field.schema, names)?))
            });
            fields.collect::<Option<Vec<_>>>().map(AvroValue::Record)
        }
        _ => None,
    }
}

fn mismatch(value: &AvroValue, writer: &AvroSchema, reader: &AvroSchema) -> Error {
    if matches!(value, AvroValue::Null) && form(writer) != Form::Null {
        // What the library makes of text that ends before its length says.
        return unresolved("it ends within a value");
    }
    let describe = |schema: &AvroSchema| match (logical(schema), name_of(schema)) {
        (Some(logical), _) => format!("{logical:?}").to_lowercase(),
        (None, Some((name, _))) => name.fullname(None),
        (None, None) => format!("{:?}", form(schema)).to_lowercase(),
    };
    unresolved(&format!(
        "{} was written, and is no {}",
        describe(writer),
        describe(reader)
    ))
}

fn unresolved(problem: &str) -> Error {
    Error::definite(
        "record_unreadable",
        format!(
            "a record cannot be read with the schema that was asked for: {problem}; ask for one that is compatible with the schema \
             it was written with"
        ),
    )
}
