//! Kafka Connect's schemas, and their JSON as Connect's JSON converter writes it: `type`, then what the type consists of,
//! then `optional`, `name`, `version`, `doc`, `parameters`, `default`, and last the `field` that it is the schema of.

use std::sync::Arc;

use crate::values::number::write_unsigned;
use crate::values::text::write_text;

/// What a value is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Float,
    Double,
    Text,
    /// Text that is one of these.
    Symbols(Arc<[String]>),
    Bytes,
    Array(Box<ConnectSchema>),
    Map(Box<ConnectSchema>, Box<ConnectSchema>),
    Struct(Vec<Field>),
}

/// One field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) schema: ConnectSchema,
}

/// One schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectSchema {
    pub(crate) kind: Kind,
    pub(crate) optional: bool,
    pub(crate) name: Option<String>,
    pub(crate) version: Option<u64>,
    pub(crate) documentation: Option<String>,
    pub(crate) parameters: Vec<(&'static str, String)>,
    /// How text stands for bytes, in RFC 4648's words. JSON Schemas alone have a place for it.
    pub(crate) content_encoding: Option<&'static str>,
    /// JSON of the default value.
    pub(crate) default: Option<Vec<u8>>,
}

// === impl ConnectSchema ===

impl ConnectSchema {
    /// A schema that is required and has no name.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            optional: false,
            name: None,
            version: None,
            documentation: None,
            parameters: Vec::new(),
            content_encoding: None,
            default: None,
        }
    }

    /// A logical type: a name and version 1.
    pub(crate) fn named(kind: Kind, name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            version: Some(1),
            ..Self::new(kind)
        }
    }

    pub(crate) fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    pub(crate) fn version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    pub(crate) fn without_version(mut self) -> Self {
        self.version = None;
        self
    }

    pub(crate) fn documented(mut self, documentation: &str) -> Self {
        self.documentation = Some(documentation.to_owned());
        self
    }

    pub(crate) fn parameter(mut self, name: &'static str, value: impl ToString) -> Self {
        self.parameters.push((name, value.to_string()));
        self
    }

    pub(crate) fn encoded(mut self, content_encoding: &'static str) -> Self {
        self.content_encoding = Some(content_encoding);
        self
    }

    /// True where a field of this name is in it, however far inside.
    pub(crate) fn has_field(&self, name: &str) -> bool {
        match &self.kind {
            Kind::Struct(fields) => fields
                .iter()
                .any(|field| field.name == name || field.schema.has_field(name)),
            _ => false,
        }
    }

    /// Its JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, None);
        out
    }

    fn write(&self, out: &mut Vec<u8>, field: Option<&str>) {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(self.kind.type_name().as_bytes());
        out.push(b'"');
        self.kind.write_parts(out);
        out.extend_from_slice(if self.optional {
            b",\"optional\":true"
        } else {
            b",\"optional\":false"
        });
        write_attribute(out, "name", self.name.as_deref());
        if let Some(version) = self.version {
            out.extend_from_slice(b",\"version\":");
            write_unsigned(out, version);
        }
        write_attribute(out, "doc", self.documentation.as_deref());
        for (index, (name, value)) in self.parameters.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b",\"parameters\":{" } else { b"," });
            write_text(out, name);
            out.push(b':');
            write_text(out, value);
        }
        if !self.parameters.is_empty() {
            out.push(b'}');
        }
        if let Some(default) = &self.default {
            out.extend_from_slice(b",\"default\":");
            out.extend_from_slice(default);
        }
        write_attribute(out, "field", field);
        out.push(b'}');
    }
}

fn write_attribute(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        write_text(out, value);
    }
}

// === impl Kind ===

impl Kind {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float => "float",
            Self::Double => "double",
            Self::Text | Self::Symbols(_) => "string",
            Self::Bytes => "bytes",
            Self::Array(_) => "array",
            Self::Map(..) => "map",
            Self::Struct(_) => "struct",
        }
    }

    fn write_parts(&self, out: &mut Vec<u8>) {
        match self {
            Self::Array(items) => {
                out.extend_from_slice(b",\"items\":");
                items.write(out, None);
            }
            Self::Map(keys, values) => {
                out.extend_from_slice(b",\"keys\":");
                keys.write(out, None);
                out.extend_from_slice(b",\"values\":");
                values.write(out, None);
            }
            Self::Struct(fields) => {
                out.extend_from_slice(b",\"fields\":[");
                for (index, field) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    field.schema.write(out, Some(&field.name));
                }
                out.push(b']');
            }
            _ => {}
        }
    }

    /// True for what is made of parts: Connect has no defaults for those (KAFKA-12694).
    pub(crate) fn is_composite(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Map(..) | Self::Struct(_))
    }
}

// === impl Field ===

impl Field {
    pub(crate) fn new(name: &str, schema: ConnectSchema) -> Self {
        Self {
            name: name.to_owned(),
            schema,
        }
    }

    /// A field of a plain type.
    pub(crate) fn plain(name: &str, kind: Kind) -> Self {
        Self::new(name, ConnectSchema::new(kind))
    }

    /// A field of a plain type that may be null.
    pub(crate) fn optional(name: &str, kind: Kind) -> Self {
        Self::new(name, ConnectSchema::new(kind).optional())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(schema: &ConnectSchema) -> String {
        String::from_utf8(schema.to_json()).unwrap()
    }

    #[test]
    fn attributes_come_in_connects_order() {
        let mut schema = ConnectSchema::named(Kind::Bytes, "org.apache.kafka.connect.data.Decimal")
            .optional()
            .documented("how \"much\"")
            .parameter("scale", 2)
            .parameter("connect.decimal.precision", 10);
        schema.default = Some(b"\"AA==\"".to_vec());
        let outer = ConnectSchema::new(Kind::Struct(vec![
            Field::new("total", schema),
            Field::plain("n", Kind::Int8),
        ]));
        assert_eq!(
            json(&outer),
            concat!(
                r#"{"type":"struct","fields":[{"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,"#,
                r#""doc":"how \"much\"","parameters":{"scale":"2","connect.decimal.precision":"10"},"default":"AA==","field":"total"},"#,
                r#"{"type":"int8","optional":false,"field":"n"}],"optional":false}"#
            )
        );
    }

    #[test]
    fn arrays_and_maps_hold_their_parts() {
        let text = || Box::new(ConnectSchema::new(Kind::Text));
        assert_eq!(
            json(&ConnectSchema::new(Kind::Array(text()))),
            r#"{"type":"array","items":{"type":"string","optional":false},"optional":false}"#
        );
        assert_eq!(
            json(&ConnectSchema::new(Kind::Map(text(), Box::new(text().optional()))).optional()),
            r#"{"type":"map","keys":{"type":"string","optional":false},"values":{"type":"string","optional":true},"optional":true}"#
        );
    }
}
