//! Records that were written with one schema and are read as another: random schemas, random changes that the specification allows,
//! random values. The reading is what the specification says, worked out here from what was changed, and what apache-avro's reader
//! gives, where that knows the rule.

use std::cell::Cell;
use std::collections::BTreeMap;

use apache_avro::Schema as AvroSchema;
use apache_avro::reader::datum::GenericDatumReader;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tailrace_codec::{parse_avro_schema, read_avro};

use crate::dice::{Dice, runner};

/// Values of each.
const VALUES: usize = 3;

/// A type of the writer, and what becomes of it for the reader.
#[derive(Debug, Clone)]
enum Pair {
    /// Of one form or of two that the specification promotes, by their JSON.
    Simple(Simple, Value),
    Enum(EnumPair),
    Fixed(String, usize),
    Array(Box<Pair>),
    Map(Box<Pair>),
    /// Branches of the writer; each with its place among the reader's, or what the reader has in place of the union.
    Union(Vec<Pair>, UnionReader),
    /// What the writer has alone, the reader has as a branch of a union, at a place.
    Wrapped(Box<Pair>, usize),
    Record(RecordPair),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Simple {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Date,
    Micros,
    Decimal,
}

#[derive(Debug, Clone)]
struct EnumPair {
    name: String,
    /// The reader's, where it is another.
    renamed: Option<String>,
    symbols: Vec<&'static str>,
    read: Vec<&'static str>,
    default: Option<&'static str>,
}

#[derive(Debug, Clone)]
enum UnionReader {
    /// The reader's branches in this order of the writer's, null first or last as it comes.
    Union(Vec<usize>),
    /// This branch alone.
    Branch(usize),
}

#[derive(Debug, Clone)]
struct RecordPair {
    name: String,
    renamed: Option<String>,
    fields: Vec<FieldPair>,
    /// The reader's fields are in the opposite order.
    reversed: bool,
}

#[derive(Debug, Clone)]
enum FieldPair {
    Both(String, Pair),
    Renamed(String, String, Pair),
    /// Only the writer has it.
    Dropped(String, Pair),
    /// Only the reader has it: its type, its default, and what that is read as.
    Added(String, Value, Value, Value),
}

/// Makes pairs; names are counted, so that none is there twice.
struct Maker {
    dice: Dice,
    names: usize,
    /// Whether rules are used that apache-avro's reader does not know.
    alone: bool,
}

/// A written value: its bytes, and what the reader makes of it; nothing where it cannot.
struct Written {
    bytes: Vec<u8>,
    read: Option<Value>,
}

// === impl Maker ===

impl Maker {
    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }

    /// A name that the reader has in place of the writer's, sometimes.
    fn renamed(&mut self, kind: &str) -> Option<String> {
        (self.alone && self.dice.in_three()).then(|| self.name(kind))
    }

    fn pair(&mut self, depth: usize) -> Pair {
        let pair = match self.dice.below(if depth == 0 { 6 } else { 12 }) {
            0..4 => self.simple(),
            4 => Pair::Enum(self.enumeration()),
            5 => Pair::Fixed(self.name("F"), 1 + self.dice.below(4)),
            6 => Pair::Array(Box::new(self.pair(depth - 1))),
            7 => Pair::Map(Box::new(self.pair(depth - 1))),
            8 | 9 => return self.union(depth - 1),
            _ => Pair::Record(self.record(depth - 1)),
        };
        match self.dice.in_three() {
            true => Pair::Wrapped(Box::new(pair), self.dice.below(2)),
            false => pair,
        }
    }

    fn simple(&mut self) -> Pair {
        let kinds = [
            Simple::Boolean,
            Simple::Int,
            Simple::Long,
            Simple::Float,
            Simple::Double,
            Simple::Bytes,
            Simple::String,
            Simple::Date,
            Simple::Micros,
            Simple::Decimal,
        ];
        let kind = self.dice.one(&kinds);
        let wider: &[&str] = match kind {
            Simple::Int => &["long", "float", "double"],
            Simple::Long => &["float", "double"],
            Simple::Float => &["double"],
            Simple::Bytes => &["string"],
            Simple::String => &["bytes"],
            _ => &[],
        };
        let reader = match !wider.is_empty() && self.dice.in_three() {
            true => json!(self.dice.one(wider)),
            false => kind.schema(),
        };
        Pair::Simple(kind, reader)
    }

    fn enumeration(&mut self) -> EnumPair {
        let name = self.name("E");
        let kind = self.dice.below(4);
        let read: &[&'static str] = match kind {
            0 => &["C", "B", "A", "D"],
            1 => &["B", "D"],
            2 => &["A"],
            _ => &["A", "B", "C"],
        };
        let default = (kind == 1).then_some("D");
        EnumPair {
            name,
            renamed: self.renamed("E"),
            symbols: vec!["A", "B", "C"],
            read: read.to_vec(),
            default,
        }
    }

    /// One branch of each kind, so that no value fits two.
    fn union(&mut self, depth: usize) -> Pair {
        let mut branches = vec![self.simple()];
        if self.dice.below(2) == 0 {
            branches.push(Pair::Enum(self.enumeration()));
        }
        if self.dice.below(2) == 0 {
            branches.push(Pair::Record(self.record(depth)));
        }
        let reader = match self.dice.below(4) {
            0 => UnionReader::Branch(self.dice.below(branches.len())),
            // Where it comes first, an enum with a default is what apache-avro takes for text that is promoted to bytes.
            1 if self.alone => UnionReader::Union((0..branches.len()).rev().collect()),
            _ => UnionReader::Union((0..branches.len()).collect()),
        };
        Pair::Union(branches, reader)
    }

    fn record(&mut self, depth: usize) -> RecordPair {
        let fields = (0..=self.dice.below(4)).map(|_| self.field(depth));
        RecordPair {
            fields: fields.collect(),
            name: self.name("R"),
            renamed: self.renamed("R"),
            reversed: self.dice.in_three(),
        }
    }

    fn field(&mut self, depth: usize) -> FieldPair {
        let name = self.name("f");
        match self.dice.below(6) {
            0 if self.alone => FieldPair::Renamed(name, self.name("f"), self.pair(depth)),
            1 => FieldPair::Dropped(name, self.pair(depth)),
            2 => {
                let (schema, default, read) = self.default();
                FieldPair::Added(name, schema, default, read)
            }
            _ => FieldPair::Both(name, self.pair(depth)),
        }
    }

    /// A type, a default, and what that is read as.
    fn default(&mut self) -> (Value, Value, Value) {
        let named = self.name("D");
        let defaults = [
            (json!("int"), json!(7), json!(7)),
            (json!("double"), json!(1.5), json!(1.5)),
            (json!("string"), json!("é"), json!("é")),
            (json!(["null", "long"]), json!(null), json!(null)),
            (json!(["long", "null"]), json!(3), json!(3)),
            (json!({"type": "array", "items": "int"}), json!([1, 2]), json!([1, 2])),
            (
                json!({"type": "map", "values": "string"}),
                json!({"a": "b"}),
                json!({"a": "b"}),
            ),
            (
                json!({"type": "int", "logicalType": "date"}),
                json!(1),
                json!("1970-01-02"),
            ),
            (
                json!({"type": "enum", "name": named, "symbols": ["X", "Y"]}),
                json!("Y"),
                json!("Y"),
            ),
            (
                json!({"type": "record", "name": named, "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "string", "default": "z"}]}),
                json!({"x": 1}),
                json!({"x": 1, "y": "z"}),
            ),
        ];
        let bytes = (json!("bytes"), json!("\u{00}\u{ff}"), json!("AP8="));
        match self.alone && self.dice.in_three() {
            true => bytes,
            false => self.dice.one(&defaults),
        }
    }
}

// === impl Simple ===

impl Simple {
    fn schema(self) -> Value {
        match self {
            Self::Boolean => json!("boolean"),
            Self::Int => json!("int"),
            Self::Long => json!("long"),
            Self::Float => json!("float"),
            Self::Double => json!("double"),
            Self::Bytes => json!("bytes"),
            Self::String => json!("string"),
            Self::Date => json!({"type": "int", "logicalType": "date"}),
            Self::Micros => json!({"type": "long", "logicalType": "timestamp-micros"}),
            Self::Decimal => json!({"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}),
        }
    }

    fn write(self, (dice, alone): (&mut Dice, bool), reader: &Value) -> Written {
        let (bytes, read) = match self {
            Self::Boolean => dice.one(&[(vec![0], json!(false)), (vec![1], json!(true))]),
            Self::Int | Self::Long => {
                // All of them are floats as well.
                let value = dice.one(&[0, -1, 1, 64, -12_345, 1 << 20]);
                let read = if *reader == json!("float") || *reader == json!("double") {
                    json!(value as f64)
                } else {
                    json!(value)
                };
                (long(value), read)
            }
            Self::Float => {
                let value = dice.one(&[0.0_f32, -1.5, 1e10]);
                (value.to_le_bytes().to_vec(), json!(f64::from(value)))
            }
            Self::Double => {
                let value = dice.one(&[0.0_f64, -1.5, 0.1, 1e300]);
                (value.to_le_bytes().to_vec(), json!(value))
            }
            Self::Bytes | Self::String => {
                let (text, encoded) = dice.one(&[("", ""), ("text", "dGV4dA=="), ("é", "w6k=")]);
                let is_text = *reader == json!("string");
                (
                    with_length(text.as_bytes()),
                    json!(if is_text { text } else { encoded }),
                )
            }
            Self::Date => {
                let (days, text) = dice.one(&[(0, "1970-01-01"), (-1, "1969-12-31"), (20_000, "2024-10-04")]);
                (long(days), json!(text))
            }
            Self::Micros => {
                let (at, text) = dice.one(&[(0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59.999999Z")]);
                (long(at), json!(text))
            }
            Self::Decimal => {
                let whole = [(vec![0, 0, 0, 0, 0, 0, 5], "0.05"), (vec![0xff; 7], "-0.01")];
                // apache-avro refuses a decimal of fewer bytes than its digits may need.
                let short = [(vec![5], "0.05"), (vec![0xff], "-0.01"), (vec![1, 0], "2.56")];
                let (bytes, text) = if alone { dice.one(&short) } else { dice.one(&whole) };
                (with_length(&bytes), json!(text))
            }
        };
        Written {
            bytes,
            read: Some(read),
        }
    }
}

// === impl Pair ===

impl Pair {
    fn writer(&self) -> Value {
        match self {
            Self::Simple(kind, _) => kind.schema(),
            Self::Enum(of) => json!({"type": "enum", "name": of.name, "symbols": of.symbols}),
            Self::Fixed(name, size) => json!({"type": "fixed", "name": name, "size": size}),
            Self::Array(items) => json!({"type": "array", "items": items.writer()}),
            Self::Map(values) => json!({"type": "map", "values": values.writer()}),
            Self::Wrapped(inner, _) => inner.writer(),
            Self::Union(branches, _) => {
                let branches = branches.iter().map(Self::writer);
                std::iter::once(json!("null")).chain(branches).collect()
            }
            Self::Record(record) => {
                let fields = record.fields.iter().filter_map(|field| match field {
                    FieldPair::Both(name, pair)
                    | FieldPair::Renamed(name, _, pair)
                    | FieldPair::Dropped(name, pair) => Some(json!({"name": name, "type": pair.writer()})),
                    FieldPair::Added(..) => None,
                });
                json!({"type": "record", "name": record.name, "fields": fields.collect::<Vec<_>>()})
            }
        }
    }

    fn reader(&self) -> Value {
        match self {
            Self::Simple(_, reader) => reader.clone(),
            Self::Enum(of) => {
                let mut schema = json!({"type": "enum", "name": of.name, "symbols": of.read});
                rename(&mut schema, of.renamed.as_ref());
                if let Some(default) = of.default {
                    schema["default"] = json!(default);
                }
                schema
            }
            Self::Fixed(..) => self.writer(),
            Self::Array(items) => json!({"type": "array", "items": items.reader()}),
            Self::Map(values) => json!({"type": "map", "values": values.reader()}),
            Self::Wrapped(inner, place) => {
                let mut branches = vec![json!("null")];
                branches.insert(*place, inner.reader());
                json!(branches)
            }
            Self::Union(branches, UnionReader::Branch(place)) => branches[*place].reader(),
            Self::Union(branches, UnionReader::Union(order)) => {
                let branches = order.iter().map(|place| branches[*place].reader());
                branches.chain(std::iter::once(json!("null"))).collect()
            }
            Self::Record(record) => {
                let fields = record.fields.iter().filter_map(|field| match field {
                    FieldPair::Both(name, pair) => Some(json!({"name": name, "type": pair.reader()})),
                    FieldPair::Renamed(old, name, pair) => {
                        Some(json!({"name": name, "type": pair.reader(), "aliases": [old]}))
                    }
                    FieldPair::Dropped(..) => None,
                    FieldPair::Added(name, schema, default, _) => {
                        Some(json!({"name": name, "type": schema, "default": default}))
                    }
                });
                let mut fields: Vec<Value> = fields.collect();
                if record.reversed {
                    fields.reverse();
                }
                let mut schema = json!({"type": "record", "name": record.name, "fields": fields});
                rename(&mut schema, record.renamed.as_ref());
                schema
            }
        }
    }

    fn write(&self, maker: &mut Maker) -> Written {
        match self {
            Self::Simple(kind, reader) => kind.write((&mut maker.dice, maker.alone), reader),
            Self::Enum(of) => {
                let place = maker.dice.below(of.symbols.len());
                let symbol = of.symbols[place];
                let known = of.read.contains(&symbol).then_some(symbol);
                Written {
                    bytes: long(i64::try_from(place).unwrap()),
                    read: known.or(of.default).map(Value::from),
                }
            }
            Self::Fixed(_, size) => {
                let encoded = ["eA==", "eHg=", "eHh4", "eHh4eA=="][size - 1];
                Written {
                    bytes: vec![b'x'; *size],
                    read: Some(json!(encoded)),
                }
            }
            Self::Wrapped(inner, _) => inner.write(maker),
            Self::Array(items) => {
                let items: Vec<Written> = (0..maker.dice.below(3)).map(|_| items.write(maker)).collect();
                let bytes = blocks(items.iter().map(|item| item.bytes.clone()).collect());
                let read: Option<Vec<Value>> = items.into_iter().map(|item| item.read).collect();
                Written {
                    bytes,
                    read: read.map(Value::from),
                }
            }
            Self::Map(values) => {
                let entries = (0..maker.dice.below(3)).map(|key| (key.to_string(), values.write(maker)));
                let entries: BTreeMap<String, Written> = entries.collect();
                let entry =
                    |(key, value): (&String, &Written)| [with_length(key.as_bytes()), value.bytes.clone()].concat();
                let bytes = blocks(entries.iter().map(entry).collect());
                let read: Option<Map<String, Value>> = entries
                    .into_iter()
                    .map(|(key, value)| Some((key, value.read?)))
                    .collect();
                Written {
                    bytes,
                    read: read.map(Value::from),
                }
            }
            Self::Union(branches, reader) => write_union(branches, reader, maker),
            Self::Record(record) => record.write(maker),
        }
    }
}

fn write_union(branches: &[Pair], reader: &UnionReader, maker: &mut Maker) -> Written {
    let chosen = maker.dice.below(branches.len() + 1);
    let mut bytes = long(i64::try_from(chosen).unwrap());
    let Some(branch) = chosen.checked_sub(1) else {
        let takes_null = matches!(reader, UnionReader::Union(_));
        return Written {
            bytes,
            read: takes_null.then_some(Value::Null),
        };
    };
    let written = branches[branch].write(maker);
    bytes.extend(written.bytes);
    let is_read = match reader {
        UnionReader::Union(_) => true,
        UnionReader::Branch(place) => *place == branch,
    };
    Written {
        bytes,
        read: written.read.filter(|_| is_read),
    }
}

impl RecordPair {
    fn write(&self, maker: &mut Maker) -> Written {
        let mut bytes = Vec::new();
        let mut read = Some(Map::new());
        for field in &self.fields {
            let (name, value) = match field {
                FieldPair::Both(name, pair) | FieldPair::Renamed(_, name, pair) => {
                    let written = pair.write(maker);
                    bytes.extend(written.bytes);
                    (name, written.read)
                }
                FieldPair::Dropped(_, pair) => {
                    bytes.extend(pair.write(maker).bytes);
                    continue;
                }
                FieldPair::Added(name, _, _, read) => (name, Some(read.clone())),
            };
            read = read.zip(value).map(|(mut fields, value)| {
                fields.insert(name.clone(), value);
                fields
            });
        }
        Written {
            bytes,
            read: read.map(Value::from),
        }
    }
}

fn rename(schema: &mut Value, name: Option<&String>) {
    if let Some(name) = name {
        schema["aliases"] = json!([schema["name"]]);
        schema["name"] = json!(name);
    }
}

/// Zigzag, seven bits at a time.
fn long(value: i64) -> Vec<u8> {
    let mut rest = value.wrapping_shl(1) ^ (value >> 63);
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap();
        rest = i64::try_from(u64::from_ne_bytes(rest.to_ne_bytes()) >> 7).unwrap();
        if rest == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    [long(i64::try_from(bytes.len()).unwrap()), bytes.to_vec()].concat()
}

/// One block of items, and the end.
fn blocks(items: Vec<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !items.is_empty() {
        bytes = long(i64::try_from(items.len()).unwrap());
        bytes.extend(items.concat());
    }
    bytes.push(0);
    bytes
}

/// Whole numbers and floats of the same value are the same.
fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(name, value)| right.get(name).is_some_and(|other| is_same(value, other)))
        }
        (left, right) => left == right,
    }
}

/// Writes values and reads them; says how many could be read.
fn read_values(maker: &mut Maker, pair: &Pair) -> Result<usize, TestCaseError> {
    let (written_with, read_with) = (pair.writer().to_string(), pair.reader().to_string());
    let writer = parse_avro_schema(&written_with).unwrap_or_else(|error| panic!("{error}: {written_with}"));
    let reader = parse_avro_schema(&read_with).unwrap_or_else(|error| panic!("{error}: {read_with}"));
    let mut readable = 0;
    for _ in 0..VALUES {
        let written = pair.write(maker);
        let read = read_avro(&writer, Some(&reader), &written.bytes);
        let schemas = format!("\nwriter {written_with}\nreader {read_with}");
        let Some(expected) = written.read else {
            prop_assert!(read.is_err(), "{read:?} was not to be read{schemas}");
            continue;
        };
        let text = read.map_err(|error| TestCaseError::fail(format!("{}{schemas}", error.report())))?;
        let read: Value = serde_json::from_str(&text).unwrap();
        prop_assert!(is_same(&expected, &read), "{read} is not {expected}{schemas}");
        if !maker.alone {
            of_the_library(&writer, &reader, &written.bytes, &read)?;
        }
        readable += 1;
    }
    Ok(readable)
}

/// apache-avro's own resolution gives a value of the reader's schema that is read the same.
fn of_the_library(writer: &AvroSchema, reader: &AvroSchema, bytes: &[u8], read: &Value) -> Result<(), TestCaseError> {
    let datum = GenericDatumReader::builder(writer)
        .reader_schema(reader)
        .build()
        .unwrap();
    let resolved = datum.read_value(&mut &*bytes);
    let resolved = resolved.map_err(|error| TestCaseError::fail(format!("apache-avro: {error}")))?;
    let datum = apache_avro::writer::datum::GenericDatumWriter::builder(reader)
        .build()
        .unwrap();
    let again = datum.write_value_to_vec(resolved).unwrap();
    let again: Value = serde_json::from_str(&read_avro(reader, None, &again).unwrap()).unwrap();
    prop_assert!(is_same(&again, read), "apache-avro reads {again}, here it is {read}");
    Ok(())
}

fn read_pairs(alone: bool) {
    let (readable, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = runner();
    let outcome = runner.run(&(1..u64::MAX), |seed| {
        let mut maker = Maker {
            dice: Dice(seed),
            names: 0,
            alone,
        };
        let pair = Pair::Record(maker.record(2));
        let read = read_values(&mut maker, &pair)?;
        readable.set(readable.get() + read);
        refused.set(refused.get() + VALUES - read);
        Ok(())
    });
    outcome.unwrap();
    let (readable, refused) = (readable.get(), refused.get());
    assert!(
        readable > 10_000 && refused > 1_000,
        "{readable} were read, {refused} refused"
    );
}

#[test]
fn records_are_read_as_another_schema_as_apache_avro_reads_them() {
    read_pairs(false);
}

#[test]
fn aliases_short_decimals_and_defaults_of_bytes_are_read_as_the_specification_says() {
    read_pairs(true);
}

/// What apache-avro's reader takes by its value, and no schema promises.
#[test]
fn what_no_schema_promises_is_refused() {
    for (writer, reader, bytes) in [
        (json!("long"), json!("int"), long(1)),
        (json!("double"), json!("float"), 1.5_f64.to_le_bytes().to_vec()),
        (
            json!("string"),
            json!({"type": "enum", "name": "E", "symbols": ["A"]}),
            with_length(b"A"),
        ),
        (json!("string"), json!("double"), with_length(b"NaN")),
        (
            json!({"type": "long", "logicalType": "timestamp-millis"}),
            json!({"type": "long", "logicalType": "timestamp-micros"}),
            long(1),
        ),
        (
            json!({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}),
            json!({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 1}),
            with_length(&[1]),
        ),
        (
            json!({"type": "fixed", "name": "F", "size": 1}),
            json!({"type": "fixed", "name": "G", "size": 1}),
            vec![1],
        ),
    ] {
        let [written, read] = [&writer, &reader].map(|schema| parse_avro_schema(&schema.to_string()).unwrap());
        let error = read_avro(&written, Some(&read), &bytes).unwrap_err();
        assert_eq!(error.code(), "record_unreadable", "{writer} as {reader}");
        assert!(
            error.report().contains("cannot be read with the schema"),
            "{}",
            error.report()
        );
    }
    // A meaning that only one side knows is no other meaning.
    let [plain, date] = [json!("int"), json!({"type": "int", "logicalType": "date"})];
    let [plain, date] = [plain, date].map(|schema| parse_avro_schema(&schema.to_string()).unwrap());
    assert_eq!(read_avro(&date, Some(&plain), &long(1)).unwrap(), "1");
    assert_eq!(read_avro(&plain, Some(&date), &long(1)).unwrap(), "\"1970-01-02\"");
}
