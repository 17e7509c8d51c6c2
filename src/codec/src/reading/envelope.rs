//! Debezium's envelope: which fields are what, and what of them says where a change comes from.

use std::fmt::Write;

use tailrace_core::batch::{Operation, Row};
use tailrace_core::schema::TableName;

use super::cell::Cells;
use super::fault::{Fault, Located, Read};
use super::shape::{Form, Shape};
use super::wire::{Fields, JsonWire, Wire};
use crate::notation::Optionality;

/// Every field of the envelope, and of that of a logical message.
const NAMES: [&str; 10] = [
    "before",
    "after",
    "source",
    "transaction",
    "op",
    "ts_ms",
    "ts_us",
    "ts_ns",
    "message",
    "schema",
];

pub(crate) const NO_OPERATION: Fault =
    Fault::record("has an envelope whose op is none of r, c, u, d, t and m, or is not there");

/// The envelope's fields, in the order in which they are written.
#[derive(Debug)]
pub(crate) struct EnvelopePlan {
    fields: Fields,
    slots: Vec<(Slot, Shape)>,
    source: SourcePlan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Before,
    After,
    Source,
    Operation,
    Other,
}

/// The fields of the `source` block.
#[derive(Debug)]
struct SourcePlan {
    fields: Fields,
    slots: Vec<(SourceSlot, Shape)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceSlot {
    Database,
    Schema,
    Table,
    File,
    Gtid,
    Position,
    Milliseconds,
    Microseconds,
    Log,
    Place,
    Transaction,
    Server,
    Thread,
    Other,
}

/// What a `source` block says. Kept from record to record, so that its texts are memory that is used again.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) database: String,
    pub(crate) schema: Option<String>,
    pub(crate) table: String,
    pub(crate) file: String,
    pub(crate) gtid: String,
    pub(crate) position: String,
    pub(crate) is_there: bool,
    has_schema: bool,
    milliseconds: Option<i64>,
    microseconds: Option<i64>,
    pub(crate) log_position: Option<i64>,
    pub(crate) place: Option<i64>,
    pub(crate) transaction: Option<i64>,
    pub(crate) server: Option<i64>,
    pub(crate) thread: Option<i64>,
}

/// What an envelope has in it.
#[derive(Debug)]
pub(crate) struct Enveloped<P> {
    pub(crate) before: Option<(P, Row)>,
    pub(crate) after: Option<(P, Row)>,
    pub(crate) operation: Option<Operation>,
    has_rows: bool,
}

// === impl EnvelopePlan ===

impl EnvelopePlan {
    /// The envelope that a schema is of; `None` where it is of something else.
    pub(crate) fn of(shape: &Shape) -> Option<Self> {
        let fields = shape.fields()?;
        let is_text = shape.field("op").is_some_and(|op| op.form == Form::Text);
        let source = shape.field("source")?.fields()?;
        let has_rows = ["before", "after", "message"]
            .iter()
            .any(|name| shape.field(name).is_some_and(|row| row.fields().is_some()));
        (is_text && has_rows).then(|| Self::new(fields, source))
    }

    /// The envelope that a JSON object without a schema is; `None` where it is something else. Fields that are not Debezium's, which
    /// transforms add and newer versions have, are passed over where it is certain that there is an envelope, or where what must be in
    /// one says whose it is.
    pub(crate) fn learn(mut json: JsonWire<'_>, is_certain: bool) -> Read<Option<Self>> {
        let (mut fields, mut source) = (Vec::new(), Vec::new());
        let (mut has_others, mut has_code) = (false, false);
        let mut place = json.begin_map()?;
        while json.next_key(&mut place)? {
            let mut scratch = String::new();
            let name = json.name(&mut scratch)?.to_owned();
            has_others |= !NAMES.contains(&name.as_str());
            if name == "op" && json.peek() == Some(b'"') {
                has_code = Operation::from_code(json.string(&mut scratch)?).is_some();
            } else if name == "source" && json.peek() == Some(b'{') {
                source = names(&mut json)?;
            } else {
                json.pass()?;
            }
            fields.push((name, anything()));
        }
        let has = |name: &str| fields.iter().any(|(known, _)| known == name);
        let is_envelope = has("op") && !source.is_empty() && (has("before") || has("after") || has("message"));
        let says_whose = || {
            source
                .iter()
                .any(|(name, _)| matches!(name.as_str(), "connector" | "table"))
        };
        let is_told = is_certain || !has_others || (has_code && says_whose());
        if !is_envelope || !is_told {
            return Ok(None);
        }
        // The next one may have fields that this one leaves out.
        add_missing(&mut fields, &NAMES);
        add_missing(&mut source, &SourceSlot::NAMES);
        Ok(Some(Self::new(&fields, &source)))
    }

    /// Reads what an envelope without a schema says of its source, and nothing else of it.
    pub(crate) fn read_source(&self, mut json: JsonWire<'_>, source: &mut Source) -> Read<()> {
        source.clear();
        let mut place = json.begin_map()?;
        while let Some(index) = json.next_field(&mut place, &self.fields)? {
            let is_source = self.slots.get(index).is_some_and(|(slot, _)| *slot == Slot::Source);
            if is_source && json.is_at_object() {
                return self.source.read(&mut json, source);
            }
            json.pass()?;
        }
        Ok(())
    }

    fn new(fields: &[(String, Shape)], source: &[(String, Shape)]) -> Self {
        let names = |fields: &[(String, Shape)]| Fields::new(fields.iter().map(|(name, _)| name.clone()).collect());
        let slots = fields.iter().map(|(name, shape)| (Slot::of(name), shape.clone()));
        let of_source = source.iter().map(|(name, shape)| (SourceSlot::of(name), shape.clone()));
        Self {
            fields: names(fields),
            slots: slots.collect(),
            source: SourcePlan {
                fields: names(source),
                slots: of_source.collect(),
            },
        }
    }

    /// Whether an object without a schema may be this envelope, as far as its first field tells, however it goes on.
    pub(crate) fn may_be(bytes: &[u8]) -> bool {
        let rest = bytes.trim_ascii_start().strip_prefix(b"{").unwrap_or_default();
        let rest = rest.trim_ascii_start().strip_prefix(b"\"").unwrap_or_default();
        let is_first = |name: &str| {
            rest.strip_prefix(name.as_bytes())
                .is_some_and(|rest| rest.starts_with(b"\""))
        };
        NAMES.iter().any(|name| is_first(name))
    }

    /// Reads the envelope; `row` reads a row that is not null.
    pub(crate) fn read<W: Wire, P>(
        &self,
        wire: &mut W,
        (cells, source): (&mut Cells<'_>, &mut Source),
        mut row: impl FnMut(&mut W, &mut Cells<'_>) -> Result<(P, Row), Located>,
    ) -> Result<Enveloped<P>, Located> {
        let mut read = Enveloped {
            before: None,
            after: None,
            operation: None,
            has_rows: false,
        };
        source.clear();
        let mut place = wire.begin_struct()?;
        while let Some(index) = wire.next_field(&mut place, &self.fields)? {
            let Some((slot, shape)) = self.slots.get(index) else {
                continue;
            };
            let may_be_null = !matches!(slot, Slot::Other);
            if may_be_null && wire.take_null(shape.optionality)? {
                read.has_rows |= matches!(slot, Slot::Before | Slot::After);
                continue;
            }
            match slot {
                Slot::Before => read.before = Some(row(wire, cells)?),
                Slot::After => read.after = Some(row(wire, cells)?),
                Slot::Source => self.source.read(wire, source)?,
                Slot::Operation => {
                    let code = wire.text(&mut cells.scratch.text)?;
                    read.operation = Some(Operation::from_code(code).ok_or(NO_OPERATION)?);
                }
                Slot::Other => wire.skip(shape)?,
            }
        }
        Ok(read)
    }
}

impl<P> Enveloped<P> {
    /// An object without a schema had what an envelope must have.
    pub(crate) fn is_whole(&self, source: &Source) -> bool {
        let has_rows = self.has_rows || self.before.is_some() || self.after.is_some();
        self.operation.is_some() && source.is_there && (has_rows || self.operation == Some(Operation::Message))
    }
}

fn anything() -> Shape {
    Shape::of(Form::Anything)
}

fn add_missing(fields: &mut Vec<(String, Shape)>, names: &[&str]) {
    for name in names {
        if !fields.iter().any(|(known, _)| known == name) {
            fields.push(((*name).to_owned(), anything()));
        }
    }
}

/// The names of an object's fields.
fn names(json: &mut JsonWire<'_>) -> Read<Vec<(String, Shape)>> {
    let mut names = Vec::new();
    let mut place = json.begin_map()?;
    while json.next_key(&mut place)? {
        let mut scratch = String::new();
        names.push((json.name(&mut scratch)?.to_owned(), anything()));
        json.pass()?;
    }
    Ok(names)
}

// === impl Slot ===

impl Slot {
    fn of(name: &str) -> Self {
        match name {
            "before" => Self::Before,
            "after" => Self::After,
            "source" => Self::Source,
            "op" => Self::Operation,
            _ => Self::Other,
        }
    }
}

// === impl SourceSlot ===

impl SourceSlot {
    /// The fields that something is read of.
    const NAMES: [&str; 13] = [
        "db",
        "schema",
        "table",
        "file",
        "gtid",
        "position",
        "ts_ms",
        "ts_us",
        "lsn",
        "pos",
        "txId",
        "server_id",
        "thread",
    ];

    fn of(name: &str) -> Self {
        match name {
            "db" => Self::Database,
            "schema" => Self::Schema,
            "table" => Self::Table,
            "file" => Self::File,
            "gtid" => Self::Gtid,
            "position" => Self::Position,
            "ts_ms" => Self::Milliseconds,
            "ts_us" => Self::Microseconds,
            "lsn" => Self::Log,
            "pos" => Self::Place,
            "txId" => Self::Transaction,
            "server_id" => Self::Server,
            "thread" => Self::Thread,
            _ => Self::Other,
        }
    }
}

// === impl SourcePlan ===

impl SourcePlan {
    fn read<W: Wire>(&self, wire: &mut W, source: &mut Source) -> Read<()> {
        source.is_there = true;
        let mut place = wire.begin_struct()?;
        while let Some(index) = wire.next_field(&mut place, &self.fields)? {
            let Some((slot, shape)) = self.slots.get(index) else {
                continue;
            };
            if *slot == SourceSlot::Other {
                wire.skip(shape)?;
            } else if !wire.take_null(shape.optionality)? {
                source.read(wire, (*slot, shape))?;
            }
        }
        Ok(())
    }
}

// === impl Source ===

impl Source {
    /// Forgets what the record before said.
    pub(crate) fn clear(&mut self) {
        for text in [
            &mut self.database,
            &mut self.table,
            &mut self.file,
            &mut self.gtid,
            &mut self.position,
        ] {
            text.clear();
        }
        if let Some(schema) = &mut self.schema {
            schema.clear();
        }
        self.is_there = false;
        self.has_schema = false;
        for number in [
            &mut self.milliseconds,
            &mut self.microseconds,
            &mut self.log_position,
            &mut self.place,
            &mut self.transaction,
            &mut self.server,
            &mut self.thread,
        ] {
            *number = None;
        }
    }

    fn read<W: Wire>(&mut self, wire: &mut W, (slot, shape): (SourceSlot, &Shape)) -> Read<()> {
        if slot == SourceSlot::Schema {
            self.has_schema = true;
        }
        let text = match slot {
            SourceSlot::Database => &mut self.database,
            SourceSlot::Schema => self.schema.get_or_insert_default(),
            SourceSlot::Table => &mut self.table,
            SourceSlot::File => &mut self.file,
            SourceSlot::Gtid => &mut self.gtid,
            SourceSlot::Position => &mut self.position,
            _ => return self.read_number(wire, (slot, shape)),
        };
        let is_text = shape.form == Form::Text || (shape.form == Form::Anything && wire.is_at_text());
        if !is_text {
            return skip(wire, shape);
        }
        let mut scratch = String::new();
        text.push_str(wire.text(&mut scratch)?);
        Ok(())
    }

    fn read_number<W: Wire>(&mut self, wire: &mut W, (slot, shape): (SourceSlot, &Shape)) -> Read<()> {
        let is_number = match shape.form {
            Form::Int { .. } => true,
            Form::Anything => wire.is_at_number(),
            _ => false,
        };
        if !is_number {
            return skip(wire, shape);
        }
        let number = Some(wire.int()?);
        match slot {
            SourceSlot::Milliseconds => self.milliseconds = number,
            SourceSlot::Microseconds => self.microseconds = number,
            SourceSlot::Log => self.log_position = number,
            SourceSlot::Place => self.place = number,
            SourceSlot::Transaction => self.transaction = number,
            SourceSlot::Server => self.server = number,
            SourceSlot::Thread => self.thread = number,
            _ => {}
        }
        Ok(())
    }

    /// Puts together the position of a source that has it in parts: PostgreSQL's, as the database prints it, or a place in a binary
    /// log.
    pub(crate) fn write_position(&mut self) {
        // Text takes whatever is written into it.
        let written = match (self.log_position, self.place) {
            (Some(log), _) => write!(self.position, "{:X}/{:X}", log.cast_unsigned() >> 32, log & 0xffff_ffff),
            (None, Some(place)) if !self.file.is_empty() => write!(self.position, "{}:{place}", self.file),
            _ => Ok(()),
        };
        if written.is_err() {
            self.position.clear();
        }
    }

    /// When the change was committed, microseconds since 1970.
    pub(crate) fn committed_at_us(&self) -> Option<i64> {
        self.microseconds.or_else(|| self.milliseconds?.checked_mul(1000))
    }

    /// Whether a name is what the block says. What MySQL and MariaDB call a database is a schema.
    pub(crate) fn is_of(&self, name: &TableName) -> bool {
        let (database, schema) = self.names();
        name.table == self.table && name.schema == schema && name.database == database
    }

    /// The table's name; `None` where the block does not say one.
    pub(crate) fn name(&self) -> Option<TableName> {
        let (database, schema) = self.names();
        (!self.table.is_empty()).then(|| TableName {
            database: database.to_owned(),
            schema: schema.to_owned(),
            table: self.table.clone(),
        })
    }

    fn names(&self) -> (&str, &str) {
        match &self.schema {
            Some(schema) if self.has_schema => (&self.database, schema),
            _ => ("", &self.database),
        }
    }
}

/// Passes over a value that is not null.
fn skip<W: Wire>(wire: &mut W, shape: &Shape) -> Read<()> {
    let required = Shape {
        optionality: Optionality::Required,
        ..shape.clone()
    };
    wire.skip(&required)
}
