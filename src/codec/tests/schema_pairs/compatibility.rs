//! Whenever a schema is said to be readable with another, apache-avro reads it: random schemas, random changes of them,
//! random values.
//!
//! Where apache-avro itself differs from the specification, values and changes are left out here and the matrix of the
//! module's own tests, which a registry with Java's library is asked too, covers them:
//! - It knows no aliases of fields, so that fields and types are renamed without one here (and must then be refused).
//! - It refuses a decimal of fewer bytes than its precision could need; decimals have them all here.
//! - It refuses to read bytes as a string where they are not UTF-8, as Python's readers do; bytes are text here.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use apache_avro::Schema as AvroSchema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use serde_json::{Value, json};
use tailrace_codec::contract::compare;
use tailrace_core::registry::{Compatibility, Schema, SchemaType};

use crate::dice::{Dice, PAIRS, runner};

/// Values that are written with each and read with the other.
const VALUES: usize = 4;

/// Makes schemas; names are counted, so that none is there twice.
struct Maker {
    dice: Dice,
    names: usize,
}

impl Maker {
    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }

    fn of_any_type(&mut self, depth: usize) -> Value {
        let simple = [
            json!("boolean"),
            json!("int"),
            json!("long"),
            json!("float"),
            json!("double"),
            json!("bytes"),
            json!("string"),
            json!({"type": "long", "logicalType": "timestamp-micros"}),
            json!({"type": "int", "logicalType": "date"}),
            json!({"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}),
        ];
        match self.dice.below(if depth == 0 { 14 } else { 20 }) {
            0..10 => self.dice.one(&simple),
            10 | 11 => {
                let count = 1 + self.dice.below(3);
                json!({"type": "enum", "name": self.name("E"), "symbols": &["A", "B", "C"][..count]})
            }
            12 | 13 => json!({"type": "fixed", "name": self.name("F"), "size": 1 + self.dice.below(4)}),
            14 => json!({"type": "array", "items": self.of_any_type(depth - 1)}),
            15 => json!({"type": "map", "values": self.of_any_type(depth - 1)}),
            16 | 17 => self.union(depth - 1),
            _ => self.record(depth - 1),
        }
    }

    fn union(&mut self, depth: usize) -> Value {
        let mut branches = vec![json!("null")];
        for _ in 0..=self.dice.below(2) {
            let branch = self.of_any_type(depth);
            let kind = |of: &Value| {
                AvroSchema::parse(of)
                    .map(|schema| schema.to_string())
                    .unwrap_or_default()
            };
            if !branch.is_array() && branches.iter().all(|other| kind(other) != kind(&branch)) {
                branches.push(branch);
            }
        }
        // Two arrays, or two longs of which one is a time, are no union.
        let union = json!(branches);
        AvroSchema::parse(&union).map_or_else(|_| json!(["null", "string"]), |_| union)
    }

    fn record(&mut self, depth: usize) -> Value {
        let fields: Vec<Value> = (0..=self.dice.below(4))
            .map(|index| json!({"name": format!("f{index}"), "type": self.of_any_type(depth)}))
            .collect();
        json!({"type": "record", "name": self.name("R"), "fields": fields})
    }

    /// The schema after a few changes of the kinds that tables go through, and some that they do not.
    fn change(&mut self, schema: &Value) -> Value {
        match schema {
            Value::String(name) => self.change_simple(name),
            Value::Array(branches) => {
                let mut branches: Vec<Value> = branches.iter().map(|branch| self.change(branch)).collect();
                match self.dice.below(6) {
                    0 => branches.reverse(),
                    1 => branches.push(json!("string")),
                    2 if branches.len() > 1 => drop(branches.pop()),
                    _ => {}
                }
                json!(branches)
            }
            Value::Object(object) => {
                let mut object = object.clone();
                match object["type"].as_str() {
                    Some("record") => self.change_fields(&mut object),
                    Some("enum") => match self.dice.below(5) {
                        0 => object["symbols"] = json!(["A", "B", "C", "D"]),
                        1 => object["symbols"] = json!(["B", "A"]),
                        2 => {
                            object["symbols"] = json!(["A"]);
                            object.insert("default".to_owned(), json!("A"));
                        }
                        3 => object["name"] = json!("Other"),
                        _ => {}
                    },
                    Some("fixed") if self.dice.below(5) == 0 => object["size"] = json!(7),
                    Some("array") => object["items"] = self.change(&object["items"].clone()),
                    Some("map") => object["values"] = self.change(&object["values"].clone()),
                    Some("bytes") if self.dice.below(5) == 0 => object["scale"] = json!(3),
                    _ => {}
                }
                Value::Object(object)
            }
            other => other.clone(),
        }
    }

    fn change_simple(&mut self, name: &str) -> Value {
        let wider = match name {
            "int" => "long",
            "long" => "double",
            "float" => "double",
            "string" => "bytes",
            "bytes" => "string",
            _ => name,
        };
        match self.dice.below(8) {
            0 | 1 => json!(wider),
            2 if name != "null" => json!(["null", wider]),
            3 if name != "null" && name != "double" => json!(["double", name]),
            4 if name != "null" => json!("int"),
            _ => json!(name),
        }
    }

    fn change_fields(&mut self, record: &mut serde_json::Map<String, Value>) {
        let mut fields: Vec<Value> = record["fields"].as_array().cloned().unwrap_or_default();
        for field in &mut fields {
            field["type"] = self.change(&field["type"].clone());
        }
        match self.dice.below(6) {
            0 => fields.reverse(),
            1 => fields.push(json!({"name": "added", "type": "string"})),
            2 => fields.push(json!({"name": "added", "type": ["null", "long"], "default": null})),
            3 => fields.push(json!({"name": "added", "type": {"type": "array", "items": "int"}, "default": [1, 2]})),
            4 if fields.len() > 1 => drop(fields.pop()),
            _ => {}
        }
        record["fields"] = json!(fields);
    }

    fn value(&mut self, schema: &AvroSchema) -> AvroValue {
        match schema {
            AvroSchema::Null => AvroValue::Null,
            AvroSchema::Boolean => AvroValue::Boolean(self.dice.below(2) == 0),
            AvroSchema::Int => AvroValue::Int(self.dice.one(&[0, -1, i32::MAX, i32::MIN])),
            AvroSchema::Date => AvroValue::Date(self.dice.one(&[0, 20_000])),
            AvroSchema::Long => AvroValue::Long(self.dice.one(&[0, -1, i64::MAX, i64::MIN])),
            AvroSchema::TimestampMicros => AvroValue::TimestampMicros(self.dice.one(&[0, i64::MAX])),
            AvroSchema::Float => AvroValue::Float(self.dice.one(&[0.0, -1.5, f32::MAX])),
            AvroSchema::Double => AvroValue::Double(self.dice.one(&[0.0, -1.5, f64::MAX])),
            AvroSchema::Bytes => AvroValue::Bytes(b"text".to_vec()),
            AvroSchema::Decimal(_) => AvroValue::Decimal(vec![1, 2, 3, 4, 5, 6].into()),
            AvroSchema::String => AvroValue::String((self.dice.one(&["", "é", "text"])).to_owned()),
            AvroSchema::Fixed(fixed) => AvroValue::Fixed(fixed.size, vec![b'x'; fixed.size]),
            AvroSchema::Enum(of) => {
                let place = self.dice.below(of.symbols.len());
                AvroValue::Enum(u32::try_from(place).unwrap(), of.symbols[place].clone())
            }
            AvroSchema::Array(of) => AvroValue::Array((0..self.dice.below(3)).map(|_| self.value(&of.items)).collect()),
            AvroSchema::Map(of) => {
                let entries = (0..self.dice.below(3)).map(|key| (key.to_string(), self.value(&of.types)));
                AvroValue::Map(entries.collect())
            }
            AvroSchema::Union(of) => {
                let place = self.dice.below(of.variants().len());
                let value = self.value(&of.variants()[place]);
                AvroValue::Union(u32::try_from(place).unwrap(), Box::new(value))
            }
            AvroSchema::Record(of) => {
                let fields = of
                    .fields
                    .iter()
                    .map(|field| (field.name.clone(), self.value(&field.schema)));
                AvroValue::Record(fields.collect())
            }
            other => panic!("no such type is made: {other}"),
        }
    }
}

fn schema(of: &Value) -> Schema {
    Schema {
        schema_type: SchemaType::Avro,
        text: Arc::from(of.to_string()),
        properties: BTreeMap::new(),
        tags: BTreeMap::new(),
    }
}

/// Writes values with one and reads them with the other.
fn read_with(maker: &mut Maker, writer: &Value, reader: &Value) -> Result<(), TestCaseError> {
    let (written_with, read_with) = (AvroSchema::parse(writer).unwrap(), AvroSchema::parse(reader).unwrap());
    for _ in 0..VALUES {
        let value = maker.value(&written_with);
        let datum = GenericDatumWriter::builder(&written_with).build().unwrap();
        let bytes = datum.write_value_to_vec(value.clone()).unwrap();
        let datum = GenericDatumReader::builder(&written_with)
            .reader_schema(&read_with)
            .build()
            .unwrap();
        let read = datum.read_value(&mut bytes.as_slice());
        prop_assert!(
            read.is_ok(),
            "{read:?}\nwriter {writer}\nreader {reader}\nvalue {value:?}"
        );
    }
    Ok(())
}

#[test]
fn what_is_said_to_be_readable_is_read() {
    let (readable, refused) = (Cell::new(0_u32), Cell::new(0_u32));
    let mut runner = runner();
    let outcome = runner.run(&(1..u64::MAX), |seed| {
        let mut maker = Maker {
            dice: Dice(seed),
            names: 0,
        };
        let writer = maker.record(3);
        let reader = maker.change(&writer);
        // Some changes make what is no schema, which must be said to be no more readable than others.
        let found = compare(Compatibility::Backward, &schema(&writer), &schema(&reader));
        if !found.is_empty() {
            refused.set(refused.get() + 1);
            return Ok(());
        }
        readable.set(readable.get() + 1);
        read_with(&mut maker, &writer, &reader)
    });
    outcome.unwrap();
    // A comparison that refuses everything would pass as well.
    let (readable, refused) = (readable.get(), refused.get());
    assert!(
        readable > PAIRS / 8 && refused > PAIRS / 8,
        "{readable} readable, {refused} not"
    );
}
