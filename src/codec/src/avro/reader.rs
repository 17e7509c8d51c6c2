//! Records read back: the schema by the number in front of a key or value, and the value as JSON.
//!
//! Not on the way of events: `tailrace tail`, and sinks that want a record in another schema than it was written in.

use std::collections::HashMap;
use std::sync::Arc;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{NamesRef, ResolvedSchema};
use apache_avro::types::Value as AvroValue;
use apache_avro::{Decimal, Schema as AvroSchema};
use serde_json::{Map, Value};
use tailrace_core::registry::{SchemaId, SchemaRegistry, SchemaType};
use tailrace_core::{Error, Result};

use crate::avro::resolution::Resolution;
use crate::reading::digits::append_unscaled;
use crate::reading::schemas::framed;
use crate::values::bytes::append_base64;
use crate::values::calendar::{DAY_US, Fraction, write_clock, write_date, write_date_time};
use crate::values::number::{FloatStyle, write_float32, write_float64};

/// Reads keys and values that are framed with the number of their schema, and remembers the schemas.
pub struct RecordReader {
    registry: Arc<dyn SchemaRegistry>,
    schemas: HashMap<SchemaId, Known>,
}

/// A schema that was met.
enum Known {
    Avro(Box<AvroSchema>),
    /// The payload is JSON text.
    Json,
}

// === impl RecordReader ===

impl RecordReader {
    /// A reader that has met no schema yet.
    pub fn new(registry: Arc<dyn SchemaRegistry>) -> Self {
        Self {
            registry,
            schemas: HashMap::new(),
        }
    }

    /// The JSON of a key or value; `None` where the bytes are not framed, or with a number that the registry does not have.
    ///
    /// # Errors
    /// Those of the registry, and definite `record_unreadable` where the bytes are not what their schema says.
    pub async fn read(&mut self, bytes: &[u8]) -> Result<Option<String>> {
        self.read_in(bytes, None).await
    }

    /// The same as a reader's schema has it: fields that it does not have are left out, and fields that only it has get their
    /// defaults. A payload that is JSON is not changed.
    ///
    /// # Errors
    /// As [`Self::read`]; also where the reader's schema cannot read what the writer's wrote.
    pub async fn read_as(&mut self, bytes: &[u8], reader: &AvroSchema) -> Result<Option<String>> {
        self.read_in(bytes, Some(reader)).await
    }

    async fn read_in(&mut self, bytes: &[u8], reader: Option<&AvroSchema>) -> Result<Option<String>> {
        let Some((id, payload)) = framed(bytes) else {
            return Ok(None);
        };
        match self.schema(id).await {
            Ok(Known::Json) => String::from_utf8(payload.to_vec())
                .map(Some)
                .map_err(|error| unreadable("is not UTF-8").with_source(error)),
            Ok(Known::Avro(writer)) => read_avro(writer, reader, payload).map(Some),
            Err(error) if error.code() == "schema_unknown" => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn schema(&mut self, id: SchemaId) -> Result<&Known> {
        if !self.schemas.contains_key(&id) {
            let schema = self.registry.by_id(id).await?;
            let known = match schema.schema_type {
                SchemaType::Json => Known::Json,
                SchemaType::Avro => Known::Avro(Box::new(parse(&schema.text)?)),
            };
            self.schemas.insert(id, known);
        }
        self.schemas
            .get(&id)
            .ok_or_else(|| Error::definite("schema_unknown", "the registry has no such schema"))
    }
}

/// Parses the text of an Avro schema.
///
/// # Errors
/// Definite `schema_invalid`.
pub fn parse(text: &str) -> Result<AvroSchema> {
    AvroSchema::parse_str(text).map_err(|error| {
        Error::definite(
            "schema_invalid",
            "a schema is not an Avro schema; correct it, or remove its version from the registry",
        )
        .with_source(error)
    })
}

/// The JSON of a value that was written in one schema, as another has it where there is one.
///
/// # Errors
/// Definite `record_unreadable` where the bytes are not what the writer's schema says, or where the reader's schema cannot read
/// them.
pub fn read_avro(writer: &AvroSchema, reader: Option<&AvroSchema>, mut bytes: &[u8]) -> Result<String> {
    let failed = |error| unreadable("cannot be read with its schema").with_source(error);
    let value = GenericDatumReader::builder(writer)
        .build()
        .and_then(|reader| reader.read_value(&mut bytes))
        .map_err(failed)?;
    if !bytes.is_empty() {
        return Err(unreadable("is longer than its schema says"));
    }
    let written = ResolvedSchema::try_from(writer).map_err(failed)?;
    let json = match reader {
        None => json(&value, writer, written.get_names())?,
        Some(reader) => {
            let read = ResolvedSchema::try_from(reader).map_err(failed)?;
            let resolution = Resolution {
                writer: written.get_names(),
                reader: read.get_names(),
            };
            json(&resolution.resolve(value, writer, reader)?, reader, read.get_names())?
        }
    };
    Ok(json.to_string())
}

fn unreadable(problem: &str) -> Error {
    Error::definite(
        "record_unreadable",
        format!("a record {problem}; was it written by something else, or into another registry?"),
    )
}

fn json(value: &AvroValue, schema: &AvroSchema, names: &NamesRef<'_>) -> Result<Value> {
    if let AvroSchema::Ref { name } = schema
        && let Some(named) = names.get(name)
    {
        return json(value, named, names);
    }
    match (value, schema) {
        (AvroValue::Union(index, inner), AvroSchema::Union(union)) => {
            let branch = usize::try_from(*index)
                .ok()
                .and_then(|index| union.variants().get(index));
            json(
                inner,
                branch.ok_or_else(|| unreadable("has a branch that its schema does not have"))?,
                names,
            )
        }
        (AvroValue::Record(fields), AvroSchema::Record(record)) => {
            let fields = fields.iter().zip(&record.fields);
            let object: Result<Map<_, _>> = fields
                .map(|((name, value), field)| Ok((name.clone(), json(value, &field.schema, names)?)))
                .collect();
            object.map(Value::from)
        }
        (AvroValue::Array(items), AvroSchema::Array(array)) => {
            items.iter().map(|item| json(item, &array.items, names)).collect()
        }
        (AvroValue::Map(entries), AvroSchema::Map(map)) => {
            let entries = entries.iter();
            let object: Result<Map<_, _>> = entries
                .map(|(key, value)| Ok((key.clone(), json(value, &map.types, names)?)))
                .collect();
            object.map(Value::from)
        }
        (AvroValue::Decimal(decimal), AvroSchema::Decimal(schema)) => digits(decimal, schema.scale).map(Value::from),
        (AvroValue::Null, AvroSchema::Null) => Ok(Value::Null),
        // What the library makes of text that ends before its length says.
        (AvroValue::Null, _) => Err(unreadable("ends within a value")),
        (value, _) => Ok(plain(value)),
    }
}

fn plain(value: &AvroValue) -> Value {
    let text = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        Value::from(String::from_utf8_lossy(&out).into_owned())
    };
    match value {
        AvroValue::Boolean(value) => (*value).into(),
        AvroValue::Int(value) => (*value).into(),
        AvroValue::Long(value) => (*value).into(),
        AvroValue::Float(value) => float(|out| write_float32(out, *value, FloatStyle::Plain)),
        AvroValue::Double(value) => float(|out| write_float64(out, *value, FloatStyle::Plain)),
        AvroValue::String(value) | AvroValue::Enum(_, value) => value.as_str().into(),
        AvroValue::Uuid(value) => value.to_string().into(),
        AvroValue::Bytes(bytes) | AvroValue::Fixed(_, bytes) => text(&|out| append_base64(out, bytes)),
        AvroValue::Date(days) => text(&|out| write_date(out, (*days).into())),
        AvroValue::TimeMillis(time) => text(&|out| write_clock(out, i64::from(*time) * 1000, Fraction::Needed)),
        AvroValue::TimeMicros(time) => text(&|out| write_clock(out, *time, Fraction::Needed)),
        AvroValue::TimestampMillis(at) => moment(*at, 1000, "Z"),
        AvroValue::TimestampMicros(at) => moment(*at, 1, "Z"),
        AvroValue::LocalTimestampMillis(at) => moment(*at, 1000, ""),
        AvroValue::LocalTimestampMicros(at) => moment(*at, 1, ""),
        AvroValue::TimestampNanos(at) | AvroValue::LocalTimestampNanos(at) => (*at).into(),
        AvroValue::BigDecimal(value) => value.to_string().into(),
        _ => Value::Null,
    }
}

/// A moment in milliseconds or microseconds; a number where it is beyond every calendar.
fn moment(at: i64, microseconds: i64, zone: &str) -> Value {
    let Some(at_us) = at
        .checked_mul(microseconds)
        .filter(|at| at.checked_add(DAY_US).is_some())
    else {
        return at.into();
    };
    let mut out = Vec::new();
    write_date_time(&mut out, at_us, Fraction::Needed);
    out.extend_from_slice(zone.as_bytes());
    String::from_utf8_lossy(&out).into_owned().into()
}

/// A number by its shortest digits, so that single precision stays what it is; text where JSON has no number for it.
fn float(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut json = Vec::new();
    write(&mut json);
    serde_json::from_slice(&json).unwrap_or_default()
}

/// The digits of an unscaled value.
fn digits(decimal: &Decimal, scale: usize) -> Result<String> {
    let bytes = <Vec<u8>>::try_from(decimal).unwrap_or_default();
    let mut digits = String::new();
    append_unscaled(&mut digits, &bytes, i64::try_from(scale).unwrap_or(i64::MAX))
        .map_err(|fault| unreadable(fault.problem))?;
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_digits() {
        let decimal = |bytes: &[u8], scale| digits(&Decimal::from(bytes), scale).unwrap();
        assert_eq!(decimal(&[0], 0), "0");
        assert_eq!(decimal(&[0], 2), "0.00");
        assert_eq!(decimal(&[5], 2), "0.05");
        assert_eq!(decimal(&[0xff], 1), "-0.1");
        assert_eq!(decimal(&[0x80], 2), "-1.28");
        assert_eq!(decimal(&[1, 0], 0), "256");
    }

    proptest! {
        #[test]
        fn any_decimal_is_its_digits(value in any::<i128>()) {
            prop_assert_eq!(digits(&Decimal::from(value.to_be_bytes()), 0).unwrap(), value.to_string());
        }
    }

    #[test]
    fn what_is_not_framed_is_not() {
        assert_eq!(framed(b""), None);
        assert_eq!(framed(b"{\"id\":1}"), None);
        assert_eq!(framed(&[0, 0, 0, 1]), None);
        assert_eq!(framed(&[0, 0, 0, 1, 2, 9]), Some((SchemaId(258), &[9_u8][..])));
    }

    #[test]
    fn a_reader_has_its_own_fields() {
        let writer =
            parse(r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"string"}]}"#);
        let reader = parse(
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"c","type":["null","string"],"default":null}]}"#,
        );
        let (writer, reader) = (writer.unwrap(), reader.unwrap());
        let bytes = [14, 4, b'h', b'i'];
        assert_eq!(read_avro(&writer, None, &bytes).unwrap(), r#"{"a":7,"b":"hi"}"#);
        assert_eq!(
            read_avro(&writer, Some(&reader), &bytes).unwrap(),
            r#"{"a":7,"c":null}"#
        );
        for length in 0..bytes.len() {
            assert_eq!(
                read_avro(&writer, None, &bytes[..length]).unwrap_err().code(),
                "record_unreadable"
            );
        }
        let longer = [14, 4, b'h', b'i', 0];
        assert_eq!(
            read_avro(&writer, None, &longer).unwrap_err().code(),
            "record_unreadable"
        );
    }
}
