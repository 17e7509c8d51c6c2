//! Avro schemas of Connect schemas.
//!
//! Under `envelope: debezium` they are what Confluent's Avro converter makes of Debezium's schemas, attribute by attribute, so
//! that consumers find the records they know. Under `envelope: entity` they are plain: logical types, documentation and defaults
//! of the columns, and what else is known of a column as a property that begins with `tailrace.`.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::connect_schema::{ConnectSchema, Field, Kind};
use crate::format::Envelope;
use crate::names::Naming;
use crate::notation::Optionality;
use crate::values::text::write_text;

const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
/// What Confluent's converter declares for decimals whose digits are not declared.
const CONNECT_PRECISION: &str = "64";
/// Digits of money, which 64 bits hold, and of a fraction that it may be rounded to.
const PLAIN_PRECISION: &str = "38";
/// The record that Confluent's converter makes of an entry of a map whose keys are not text.
const MAP_ENTRY: &str = "io.confluent.connect.avro.MapEntry";

/// One schema on its way.
struct Writer {
    out: Vec<u8>,
    envelope: Envelope,
    naming: Naming,
    /// Full names of records and enums that are defined already.
    defined: BTreeSet<String>,
}

/// Where a type stands: the namespace around it, and what a type without a name of its own is called after.
#[derive(Clone, Copy)]
struct Place<'a> {
    namespace: &'a str,
    path: &'a str,
}

/// An attribute: its name and its JSON.
type Attribute = (&'static str, Vec<u8>);

/// The JSON of a schema.
pub(crate) fn avro_schema(schema: &ConnectSchema, envelope: Envelope) -> String {
    let mut writer = Writer {
        out: Vec::new(),
        envelope,
        naming: naming(envelope),
        defined: BTreeSet::new(),
    };
    let nowhere = Place {
        namespace: "",
        path: "",
    };
    writer.write_type(schema, nowhere);
    String::from_utf8(writer.out).unwrap_or_default()
}

/// The full name of a schema's record.
pub(crate) fn record_name(schema: &ConnectSchema, envelope: Envelope) -> String {
    naming(envelope).full_name(schema.name.as_deref().unwrap_or_default())
}

/// Whether a schema is a union with null, and in which order.
pub(crate) fn optionality(schema: &ConnectSchema) -> Optionality {
    match (schema.optional, default_of(schema)) {
        (false, _) => Optionality::Required,
        (true, None) => Optionality::NullFirst,
        (true, Some(_)) => Optionality::NullLast,
    }
}

fn naming(envelope: Envelope) -> Naming {
    match envelope {
        Envelope::Entity => Naming::Mangled,
        Envelope::Debezium => Naming::Debezium,
    }
}

/// The JSON of a default as Avro has it: bytes are text with a character for each byte; what is no number has none.
fn default_of(schema: &ConnectSchema) -> Option<Vec<u8>> {
    let default = schema.default.as_ref()?;
    match (&schema.kind, serde_json::from_slice(default).ok()?) {
        (Kind::Bytes, Value::String(encoded)) => {
            let text: String = STANDARD.decode(encoded).ok()?.into_iter().map(char::from).collect();
            Some(json_text(&text))
        }
        (Kind::Bytes, _) | (Kind::Float | Kind::Double, Value::String(_)) => None,
        _ => Some(default.clone()),
    }
}

fn json_text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_text(&mut out, text);
    out
}

// === impl Writer ===

impl Writer {
    fn append(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    fn text(&mut self, text: &str) {
        write_text(&mut self.out, text);
    }

    /// The type, as a union where it may be missing.
    fn write_type(&mut self, schema: &ConnectSchema, place: Place<'_>) {
        match optionality(schema) {
            Optionality::Required => self.write_base(schema, place),
            Optionality::NullFirst => {
                self.append("[\"null\",");
                self.write_base(schema, place);
                self.append("]");
            }
            Optionality::NullLast => {
                self.append("[");
                self.write_base(schema, place);
                self.append(",\"null\"]");
            }
        }
    }

    fn write_base(&mut self, schema: &ConnectSchema, place: Place<'_>) {
        match &schema.kind {
            Kind::Struct(fields) => self.write_record(schema, fields, place),
            Kind::Symbols(symbols) => self.write_symbols(schema, symbols, place),
            Kind::Array(items) => {
                self.append("{\"type\":\"array\",\"items\":");
                self.write_type(items, place);
                self.write_attributes(schema);
            }
            Kind::Map(keys, values) if matches!(keys.kind, Kind::Text) && !keys.optional => {
                self.append("{\"type\":\"map\",\"values\":");
                self.write_type(values, place);
                self.write_attributes(schema);
            }
            Kind::Map(keys, values) => {
                self.append("{\"type\":\"array\",\"items\":");
                self.write_entry(keys, values, place);
                self.write_attributes(schema);
            }
            plain => self.write_plain(schema, plain),
        }
    }

    fn write_plain(&mut self, schema: &ConnectSchema, kind: &Kind) {
        let name = match kind {
            Kind::Boolean => "\"boolean\"",
            Kind::Int8 | Kind::Int16 | Kind::Int32 => "\"int\"",
            Kind::Int64 => "\"long\"",
            Kind::Float => "\"float\"",
            Kind::Double => "\"double\"",
            Kind::Bytes => "\"bytes\"",
            _ => "\"string\"",
        };
        let start = self.out.len();
        self.append("{\"type\":");
        self.append(name);
        let bare = self.out.len();
        self.write_attributes(schema);
        if self.out.len() == bare + 1 {
            self.out.truncate(start);
            self.append(name);
        }
    }

    fn write_record(&mut self, schema: &ConnectSchema, fields: &[Field], place: Place<'_>) {
        let full_name = record_name(schema, self.envelope);
        let Some(namespace) = self.begin_named("record", &full_name, place.namespace) else {
            return;
        };
        if self.envelope == Envelope::Entity {
            self.write_documentation(schema);
        }
        self.append(",\"fields\":[");
        let names = self.naming.field_names(fields.iter().map(|field| field.name.as_str()));
        for (index, (field, name)) in fields.iter().zip(&names).enumerate() {
            if index > 0 {
                self.append(",");
            }
            let path = format!("{full_name}.{name}");
            let place = Place { namespace, path: &path };
            self.write_field(field, name, place);
        }
        self.append("]");
        match self.envelope {
            Envelope::Debezium => self.write_attributes(schema),
            Envelope::Entity => self.append("}"),
        }
    }

    /// Opens a type that has a name and gives its namespace; writes only the name where it is defined already.
    fn begin_named<'a>(&mut self, kind: &str, full_name: &'a str, around: &str) -> Option<&'a str> {
        let (namespace, name) = full_name.rsplit_once('.').unwrap_or(("", full_name));
        if !self.defined.insert(full_name.to_owned()) {
            self.text(if namespace == around { name } else { full_name });
            return None;
        }
        self.append(&format!("{{\"type\":\"{kind}\",\"name\":\"{name}\""));
        if namespace != around {
            self.append(&format!(",\"namespace\":\"{namespace}\""));
        }
        Some(namespace)
    }

    fn write_field(&mut self, field: &Field, name: &str, place: Place<'_>) {
        self.append(&format!("{{\"name\":\"{name}\",\"type\":"));
        self.write_type(&field.schema, place);
        match default_of(&field.schema) {
            Some(default) => {
                self.append(",\"default\":");
                self.out.extend_from_slice(&default);
            }
            None if field.schema.optional => self.append(",\"default\":null"),
            None => {}
        }
        if self.envelope == Envelope::Entity {
            self.write_documentation(&field.schema);
        }
        if name != field.name {
            self.append(",\"tailrace.name\":");
            self.text(&field.name);
        }
        self.append("}");
    }

    fn write_documentation(&mut self, schema: &ConnectSchema) {
        if let Some(documentation) = &schema.documentation {
            self.append(",\"doc\":");
            self.text(documentation);
        }
    }

    fn write_entry(&mut self, keys: &ConnectSchema, values: &ConnectSchema, place: Place<'_>) {
        let Some(namespace) = self.begin_named("record", MAP_ENTRY, place.namespace) else {
            return;
        };
        let place = Place { namespace, ..place };
        self.append(",\"fields\":[{\"name\":\"key\",\"type\":");
        self.write_type(keys, place);
        self.append("},{\"name\":\"value\",\"type\":");
        self.write_type(values, place);
        self.append("}]}");
    }

    fn write_symbols(&mut self, schema: &ConnectSchema, symbols: &[String], place: Place<'_>) {
        let name = schema.name.as_deref().unwrap_or(place.path);
        if self.begin_named("enum", name, place.namespace).is_none() {
            return;
        }
        self.append(",\"symbols\":[");
        for (index, symbol) in symbols.iter().enumerate() {
            if index > 0 {
                self.append(",");
            }
            self.text(symbol);
        }
        self.append("]}");
    }

    /// Writes the attributes of a type and closes it.
    fn write_attributes(&mut self, schema: &ConnectSchema) {
        let attributes = match self.envelope {
            Envelope::Debezium => connect_attributes(schema),
            Envelope::Entity => plain_attributes(schema),
        };
        for (name, json) in attributes {
            self.append(&format!(",\"{name}\":"));
            self.out.extend_from_slice(&json);
        }
        self.append("}");
    }
}

/// What Confluent's converter notes of a Connect schema, in its order.
fn connect_attributes(schema: &ConnectSchema) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    let decimal = schema.name.as_deref() == Some(DECIMAL);
    if decimal {
        attributes.push(("scale", number(parameter(schema, "scale", "0"))));
        let precision = parameter(schema, "connect.decimal.precision", CONNECT_PRECISION);
        attributes.push(("precision", number(precision)));
    }
    if let Some(documentation) = &schema.documentation {
        attributes.push(("connect.doc", json_text(documentation)));
    }
    if let Some(version) = schema.version {
        attributes.push(("connect.version", number(&version.to_string())));
    }
    if !schema.parameters.is_empty() {
        attributes.push(("connect.parameters", parameters(schema)));
    }
    if let Some(default) = default_of(schema) {
        attributes.push(("connect.default", default));
    }
    if let Some(name) = &schema.name {
        attributes.push(("connect.name", json_text(&Naming::Debezium.full_name(name))));
    }
    match schema.kind {
        Kind::Int8 => attributes.push(("connect.type", json_text("int8"))),
        Kind::Int16 => attributes.push(("connect.type", json_text("int16"))),
        _ => {}
    }
    let logical = match schema.name.as_deref() {
        Some(DECIMAL) => Some("decimal"),
        Some("org.apache.kafka.connect.data.Date") => Some("date"),
        Some("org.apache.kafka.connect.data.Time") => Some("time-millis"),
        Some("org.apache.kafka.connect.data.Timestamp") => Some("timestamp-millis"),
        _ => None,
    };
    attributes.extend(logical.map(|logical| ("logicalType", json_text(logical))));
    attributes
}

/// A logical type where Avro has one, and otherwise what the text or number means.
fn plain_attributes(schema: &ConnectSchema) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    match schema.name.as_deref() {
        Some(DECIMAL) => {
            let scale = parameter(schema, "scale", "0");
            let precision = parameter(schema, "connect.decimal.precision", PLAIN_PRECISION);
            attributes.push(("logicalType", json_text("decimal")));
            attributes.push(("precision", number(precision)));
            attributes.push(("scale", number(scale)));
        }
        Some("io.debezium.data.Uuid") => attributes.push(("logicalType", json_text("uuid"))),
        Some(name) => match name.rsplit_once('.') {
            Some((_, meaning)) => attributes.push(("tailrace.type", json_text(&meaning.to_lowercase()))),
            None => attributes.push(("logicalType", json_text(name))),
        },
        None if matches!(schema.kind, Kind::Int16) => attributes.push(("tailrace.type", json_text("int16"))),
        None => {}
    }
    if let Some((_, allowed)) = schema.parameters.iter().find(|(name, _)| *name == "allowed") {
        attributes.push(("tailrace.allowed", json_text(allowed)));
    }
    attributes
}

fn parameter<'a>(schema: &'a ConnectSchema, name: &str, otherwise: &'a str) -> &'a str {
    let found = schema.parameters.iter().find(|(known, _)| *known == name);
    found.map_or(otherwise, |(_, value)| value)
}

fn number(digits: &str) -> Vec<u8> {
    digits.as_bytes().to_vec()
}

fn parameters(schema: &ConnectSchema) -> Vec<u8> {
    let mut json = Vec::new();
    for (index, (name, value)) in schema.parameters.iter().enumerate() {
        json.push(if index == 0 { b'{' } else { b',' });
        write_text(&mut json, name);
        json.push(b':');
        write_text(&mut json, value);
    }
    json.push(b'}');
    json
}
