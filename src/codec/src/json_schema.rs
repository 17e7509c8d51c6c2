//! JSON Schemas (draft 7) of Connect schemas, with the names and types of Connect beside them as Confluent's converter has them.
//!
//! They describe what is written: base64 where Connect has bytes, text where JSON has no number. Every field that is not
//! optional is required, because events of this codec have every field.

use crate::connect_schema::{ConnectSchema, Field, Kind};
use crate::format::Envelope;
use crate::values::text::write_text;

/// How text stands for bytes: RFC 4648's names, as JSON Schema has them.
pub(crate) const BASE64: &str = "base64";
pub(crate) const BASE64_URL_SAFE: &str = "base64url";
pub(crate) const HEXADECIMAL: &str = "base16";

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The JSON of a schema.
pub(crate) fn json_schema(schema: &ConnectSchema, envelope: Envelope) -> String {
    let mut writer = Writer {
        out: Vec::new(),
        envelope,
    };
    writer.append("{\"$schema\":");
    writer.text(DRAFT);
    writer.append(",");
    writer.write_body(schema);
    writer.append("}");
    String::from_utf8(writer.out).unwrap_or_default()
}

struct Writer {
    out: Vec<u8>,
    envelope: Envelope,
}

// === impl Writer ===

impl Writer {
    fn append(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    fn text(&mut self, text: &str) {
        write_text(&mut self.out, text);
    }

    fn attribute(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.append(&format!(",\"{name}\":"));
            self.text(value);
        }
    }

    /// A schema in braces; one of null and the type where it may be missing.
    fn write(&mut self, schema: &ConnectSchema, index: Option<usize>) {
        self.append("{");
        if let Some(index) = index {
            self.append(&format!("\"connect.index\":{index},"));
        }
        if schema.optional {
            self.append("\"oneOf\":[{\"type\":\"null\"},{");
            self.write_body(schema);
            self.append("}]");
        } else {
            self.write_body(schema);
        }
        self.append("}");
    }

    fn write_body(&mut self, schema: &ConnectSchema) {
        self.append("\"type\":");
        match &schema.kind {
            Kind::Boolean => self.append("\"boolean\""),
            Kind::Int8 => self.append("\"integer\",\"connect.type\":\"int8\""),
            Kind::Int16 => self.append("\"integer\",\"connect.type\":\"int16\""),
            Kind::Int32 => self.append("\"integer\",\"connect.type\":\"int32\""),
            Kind::Int64 => self.append("\"integer\",\"connect.type\":\"int64\""),
            Kind::Float => self.write_float("float32"),
            Kind::Double => self.write_float("float64"),
            Kind::Text => self.append("\"string\""),
            Kind::Symbols(symbols) => self.write_symbols(symbols),
            Kind::Bytes => self.append("\"string\",\"contentEncoding\":\"base64\",\"connect.type\":\"bytes\""),
            Kind::Array(items) => {
                self.append("\"array\",\"items\":");
                self.write(items, None);
            }
            Kind::Map(keys, values) => self.write_map(keys, values),
            Kind::Struct(fields) => self.write_struct(fields),
        }
        // Confluent's converter does not say so of text, and Debezium's envelope does what it does.
        let content_encoding = schema.content_encoding.filter(|_| self.envelope == Envelope::Entity);
        self.attribute("contentEncoding", content_encoding);
        self.attribute("title", schema.name.as_deref());
        self.attribute("description", schema.documentation.as_deref());
        if let Some(version) = schema.version {
            self.append(&format!(",\"connect.version\":{version}"));
        }
        for (index, (name, value)) in schema.parameters.iter().enumerate() {
            self.append(if index == 0 { ",\"connect.parameters\":{" } else { "," });
            self.text(name);
            self.append(":");
            self.text(value);
        }
        if !schema.parameters.is_empty() {
            self.append("}");
        }
        if let Some(default) = &schema.default {
            self.append(",\"default\":");
            self.out.extend_from_slice(default);
        }
    }

    /// What is no number is text. Confluent's converter does not say so, and a schema of two types is none that Kafka Connect
    /// reads as a number, so that Debezium's envelope does not either.
    fn write_float(&mut self, connect_type: &str) {
        self.append(match self.envelope {
            Envelope::Debezium => "\"number\"",
            Envelope::Entity => "[\"number\",\"string\"],\"pattern\":\"^(NaN|-?Infinity)$\"",
        });
        self.attribute("connect.type", Some(connect_type));
    }

    fn write_symbols(&mut self, symbols: &[String]) {
        self.append("\"string\",\"enum\":[");
        for (index, symbol) in symbols.iter().enumerate() {
            if index > 0 {
                self.append(",");
            }
            self.text(symbol);
        }
        self.append("]");
    }

    fn write_map(&mut self, keys: &ConnectSchema, values: &ConnectSchema) {
        if matches!(keys.kind, Kind::Text) {
            self.append("\"object\",\"connect.type\":\"map\",\"additionalProperties\":");
            self.write(values, None);
            return;
        }
        self.append("\"array\",\"connect.type\":\"map\",\"items\":{\"type\":\"array\",\"items\":[");
        self.write(keys, None);
        self.append(",");
        self.write(values, None);
        self.append("],\"minItems\":2,\"maxItems\":2}");
    }

    fn write_struct(&mut self, fields: &[Field]) {
        self.append("\"object\",\"properties\":{");
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                self.append(",");
            }
            self.text(&field.name);
            self.append(":");
            self.write(&field.schema, Some(index));
        }
        self.append("}");
        let required = fields.iter().filter(|field| !field.schema.optional);
        for (index, field) in required.enumerate() {
            self.append(if index == 0 { ",\"required\":[" } else { "," });
            self.text(&field.name);
        }
        if fields.iter().any(|field| !field.schema.optional) {
            self.append("]");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_struct_says_what_its_fields_are() {
        let mut total = ConnectSchema::named(Kind::Bytes, "org.apache.kafka.connect.data.Decimal")
            .optional()
            .documented("how much")
            .parameter("scale", 2);
        total.default = Some(b"\"AA==\"".to_vec());
        let fields = vec![
            Field::plain("id", Kind::Int32),
            Field::new("total", total),
            Field::plain("weight", Kind::Double),
        ];
        let schema = ConnectSchema::named(Kind::Struct(fields), "srv.orders.Value").without_version();
        let encoded = ConnectSchema::new(Kind::Text).encoded(HEXADECIMAL);
        let said = |envelope| json_schema(&encoded, envelope).contains("\"contentEncoding\":\"base16\"");
        assert!(said(Envelope::Entity) && !said(Envelope::Debezium));
        let read: Value = serde_json::from_str(&json_schema(&schema, Envelope::Entity)).unwrap();
        assert_eq!(
            read,
            json!({
                "$schema": DRAFT,
                "type": "object",
                "title": "srv.orders.Value",
                "properties": {
                    "id": {"connect.index": 0, "type": "integer", "connect.type": "int32"},
                    "total": {"connect.index": 1, "oneOf": [{"type": "null"}, {
                        "type": "string", "contentEncoding": "base64", "connect.type": "bytes",
                        "title": "org.apache.kafka.connect.data.Decimal", "description": "how much",
                        "connect.version": 1, "connect.parameters": {"scale": "2"}, "default": "AA==",
                    }]},
                    "weight": {"connect.index": 2, "type": ["number", "string"], "pattern": "^(NaN|-?Infinity)$", "connect.type": "float64"},
                },
                "required": ["id", "weight"],
            })
        );
    }
}
