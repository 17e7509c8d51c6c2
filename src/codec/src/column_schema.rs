//! The Connect schema of a column, from how its cells are written; names and versions are Debezium's. What has one of Avro's
//! logical types is named after it.

use std::sync::Arc;

use tailrace_core::batch::ChangeBatch;
use tailrace_core::position::{Position, Progress};
use tailrace_core::schema::Column;
use tailrace_core::value::{Datum, TextKind, Value};

use crate::connect_schema::{ConnectSchema, Field, Kind};
use crate::dialect::Dialect;
use crate::format::{BinaryFormat, Envelope, Format, HstoreFormat, IntervalFormat, TimeFormat, Unrepresentable};
use crate::json_schema::{BASE64, BASE64_URL_SAFE, HEXADECIMAL};
use crate::notation::{Json, Notation};
use crate::values::capacity::{may_refuse, text_form};
use crate::values::cell::{ArrayForm, BitsForm, CellFormat, DecimalForm};
use crate::values::geometry::PointForm;
use crate::values::number::FloatStyle;
use crate::values::placeholder::zero;
use crate::values::temporal::{Unit, time_unit, timestamp_unit};

/// How a column is published: how its cells are written, and the schema of its field.
#[derive(Debug, Clone)]
pub(crate) struct ColumnForm {
    pub(crate) cell: CellFormat,
    pub(crate) schema: ConnectSchema,
    /// What the form cannot hold is null, which only such values make of a cell that may not be NULL.
    pub(crate) holds_null_instead: bool,
    /// The column itself may be NULL.
    pub(crate) nullable: bool,
}

// === impl ColumnForm ===

impl ColumnForm {
    /// How a column of the key, or another one, is published under a format.
    pub(crate) fn of(column: &Column, in_key: bool, format: &Format) -> Self {
        let logical_type = &column.logical_type;
        let mut cell = CellFormat::of(logical_type, format);
        let asked = format.unrepresentable != Unrepresentable::Refuse;
        let may_refuse = asked && may_refuse(&cell, logical_type, format);
        if may_refuse && format.unrepresentable == Unrepresentable::AsString {
            cell = text_form(logical_type, format);
        }
        let mut schema = column_schema(column, &cell, format);
        let nullable = schema.optional;
        let holds_null_instead = may_refuse && format.unrepresentable == Unrepresentable::AsNull && !in_key;
        schema.optional |= holds_null_instead;
        Self {
            cell,
            schema,
            holds_null_instead,
            nullable,
        }
    }
}

fn column_schema(column: &Column, cell: &CellFormat, format: &Format) -> ConnectSchema {
    let mut schema = schema_of(cell);
    schema.optional |= column.nullable;
    if column.documentation.is_some() {
        schema.documentation.clone_from(&column.documentation);
    }
    // Debezium says zero where the server computes a default for every row; as a contract that would be untrue.
    let invented = column.default_is_computed && format.envelope == Envelope::Entity;
    if !schema.kind.is_composite() && !invented {
        let default = column.default.as_ref();
        schema.default = default.and_then(|default| default_value::<Json>(default, cell, format.dialect));
    }
    schema
}

/// A default as it is written; `None` for NULL, and for what the format cannot hold: a default is a help and never stops an event.
pub(crate) fn default_value<N: Notation>(default: &Datum, format: &CellFormat, dialect: Dialect) -> Option<Vec<u8>> {
    // 1970-01-01 is before the first moment that a TIMESTAMP of MySQL can hold: it stands for one that is not known, and has no
    // fraction whatever the column's precision.
    if dialect == Dialect::MySql && *default == Datum::Int(0) && matches!(format, CellFormat::TimestampTz(..)) {
        return Some(zero::<N>(format));
    }
    let mut batch = ChangeBatch::new("".into(), Progress::at(Position::new("")));
    batch.begin_row().ok()?;
    batch.push_datum(default).ok()?;
    let row = batch.end_row().ok()?;
    let value = batch.row(row).get(0);
    if value == Value::Null {
        return None;
    }
    let mut out = Vec::new();
    format.write::<N>(&mut out, value).ok().map(|()| out)
}

fn schema_of(format: &CellFormat) -> ConnectSchema {
    match format {
        CellFormat::Boolean | CellFormat::Bits(BitsForm::Boolean) => ConnectSchema::new(Kind::Boolean),
        CellFormat::Int16 => ConnectSchema::new(Kind::Int16),
        CellFormat::Int32 => ConnectSchema::new(Kind::Int32),
        CellFormat::Int64 | CellFormat::Long => ConnectSchema::new(Kind::Int64),
        CellFormat::Year => ConnectSchema::named(Kind::Int32, "io.debezium.time.Year"),
        CellFormat::Float32(_) => ConnectSchema::new(Kind::Float),
        CellFormat::Float64(_) => ConnectSchema::new(Kind::Double),
        CellFormat::Decimal(form, _) => decimal(*form),
        CellFormat::Text(kind) => text(kind),
        CellFormat::Symbol(symbols) => ConnectSchema::new(Kind::Symbols(Arc::clone(symbols))),
        CellFormat::Bytes(format) | CellFormat::TextBytes(format) => binary(*format),
        CellFormat::Bits(BitsForm::Text) => ConnectSchema::new(Kind::Text),
        CellFormat::Bits(BitsForm::LittleEndian { length, .. }) => {
            ConnectSchema::named(Kind::Bytes, "io.debezium.data.Bits").parameter("length", length)
        }
        CellFormat::Date(format) => date(*format),
        CellFormat::Time(format, precision) => time(*format, *precision),
        CellFormat::Amount(_) => interval(IntervalFormat::Structured),
        CellFormat::Timestamp(format, precision) => timestamp(*format, *precision),
        CellFormat::TimeTz(TimeFormat::Structured, _) => {
            structured("StructuredZonedTime", &[CLOCK, &[OFFSET, PRECISION]])
        }
        CellFormat::TimeTz(TimeFormat::Iso | TimeFormat::Logical, _) => ConnectSchema::new(Kind::Text),
        CellFormat::TimestampTz(TimeFormat::Logical, _) => avro_type(Kind::Int64, "timestamp-micros"),
        CellFormat::TimeTz(..) => ConnectSchema::named(Kind::Text, "io.debezium.time.ZonedTime"),
        CellFormat::TimestampTz(TimeFormat::Structured, _) => {
            let zone = ("zoneId", Kind::Text);
            structured(
                "StructuredZonedTimestamp",
                &[CIVIL, CLOCK, &[OFFSET, zone, SPECIAL, PRECISION]],
            )
        }
        CellFormat::TimestampTz(..) => ConnectSchema::named(Kind::Text, "io.debezium.time.ZonedTimestamp"),
        CellFormat::Interval(format) => interval(*format),
        CellFormat::Array(form) => array(form),
        CellFormat::Map(HstoreFormat::Json) | CellFormat::Document(_) => text(&TextKind::Json),
        CellFormat::Map(HstoreFormat::Map) => {
            let keys = ConnectSchema::new(Kind::Text);
            let values = ConnectSchema::new(Kind::Text).optional();
            ConnectSchema::new(Kind::Map(Box::new(keys), Box::new(values)))
        }
        figure => geometric(figure),
    }
}

fn decimal(form: DecimalForm) -> ConnectSchema {
    match form {
        DecimalForm::Text { .. } => ConnectSchema::new(Kind::Text),
        DecimalForm::Double => ConnectSchema::new(Kind::Double),
        DecimalForm::Fixed { precision, scale, .. } => {
            let schema =
                ConnectSchema::named(Kind::Bytes, "org.apache.kafka.connect.data.Decimal").parameter("scale", scale);
            match precision {
                Some(precision) => schema.parameter("connect.decimal.precision", precision),
                None => schema,
            }
        }
        DecimalForm::Variable => {
            let fields = vec![Field::plain("scale", Kind::Int32), Field::plain("value", Kind::Bytes)];
            ConnectSchema::named(Kind::Struct(fields), "io.debezium.data.VariableScaleDecimal")
                .documented("Variable scaled decimal")
        }
    }
}

fn text(kind: &TextKind) -> ConnectSchema {
    let name = match kind {
        TextKind::Json => "io.debezium.data.Json",
        TextKind::Xml => "io.debezium.data.Xml",
        TextKind::Uuid => "io.debezium.data.Uuid",
        TextKind::Ltree => "io.debezium.data.Ltree",
        TextKind::TsVector => "io.debezium.data.Tsvector",
        TextKind::Enum(symbols) => {
            return ConnectSchema::named(Kind::Text, "io.debezium.data.Enum").parameter("allowed", symbols.join(","));
        }
        TextKind::Set(symbols) => {
            return ConnectSchema::named(Kind::Text, "io.debezium.data.EnumSet")
                .parameter("allowed", symbols.join(","));
        }
        TextKind::Plain | TextKind::Range | TextKind::Network | TextKind::Opaque | TextKind::Masked => {
            return ConnectSchema::new(Kind::Text);
        }
    };
    ConnectSchema::named(Kind::Text, name)
}

fn binary(format: BinaryFormat) -> ConnectSchema {
    match format {
        BinaryFormat::Bytes => ConnectSchema::new(Kind::Bytes),
        BinaryFormat::Base64 => ConnectSchema::new(Kind::Text).encoded(BASE64),
        BinaryFormat::Base64UrlSafe => ConnectSchema::new(Kind::Text).encoded(BASE64_URL_SAFE),
        BinaryFormat::Hex => ConnectSchema::new(Kind::Text).encoded(HEXADECIMAL),
    }
}

fn array(form: &ArrayForm) -> ConnectSchema {
    let mut items = schema_of(&form.element);
    items.optional |= form.nullable;
    ConnectSchema::new(Kind::Array(Box::new(items)))
}

/// One of Avro's logical types, which Connect has none for.
fn avro_type(kind: Kind, name: &str) -> ConnectSchema {
    ConnectSchema::named(kind, name).without_version()
}

fn date(format: TimeFormat) -> ConnectSchema {
    match format {
        TimeFormat::Iso => ConnectSchema::new(Kind::Text),
        TimeFormat::Isostring => ConnectSchema::named(Kind::Text, "io.debezium.time.IsoDate"),
        TimeFormat::Structured => structured("StructuredDate", &[CIVIL, &[SPECIAL]]),
        TimeFormat::Connect => ConnectSchema::named(Kind::Int32, "org.apache.kafka.connect.data.Date"),
        TimeFormat::Logical => avro_type(Kind::Int32, "date"),
        _ => ConnectSchema::named(Kind::Int32, "io.debezium.time.Date"),
    }
}

fn time(format: TimeFormat, precision: u8) -> ConnectSchema {
    match (format, time_unit(format, precision)) {
        (TimeFormat::Connect, _) => ConnectSchema::named(Kind::Int32, "org.apache.kafka.connect.data.Time"),
        (TimeFormat::Logical, _) => avro_type(Kind::Int64, "time-micros"),
        (_, Some(Unit::Milliseconds)) => ConnectSchema::named(Kind::Int32, "io.debezium.time.Time"),
        (_, Some(Unit::Microseconds)) => ConnectSchema::named(Kind::Int64, "io.debezium.time.MicroTime"),
        (_, Some(Unit::Nanoseconds)) => ConnectSchema::named(Kind::Int64, "io.debezium.time.NanoTime"),
        (TimeFormat::Structured, None) => structured("StructuredTime", &[CLOCK, &[PRECISION]]),
        (TimeFormat::Isostring, None) => ConnectSchema::named(Kind::Text, "io.debezium.time.IsoTime"),
        (_, None) => ConnectSchema::new(Kind::Text),
    }
}

fn timestamp(format: TimeFormat, precision: u8) -> ConnectSchema {
    match (format, timestamp_unit(format, precision)) {
        (TimeFormat::Connect, _) => ConnectSchema::named(Kind::Int64, "org.apache.kafka.connect.data.Timestamp"),
        (TimeFormat::Logical, _) => avro_type(Kind::Int64, "local-timestamp-micros"),
        (_, Some(Unit::Milliseconds)) => ConnectSchema::named(Kind::Int64, "io.debezium.time.Timestamp"),
        (_, Some(Unit::Microseconds)) => ConnectSchema::named(Kind::Int64, "io.debezium.time.MicroTimestamp"),
        (_, Some(Unit::Nanoseconds)) => ConnectSchema::named(Kind::Int64, "io.debezium.time.NanoTimestamp"),
        (TimeFormat::Structured, None) => structured("StructuredTimestamp", &[CIVIL, CLOCK, &[SPECIAL, PRECISION]]),
        (TimeFormat::Isostring, None) => ConnectSchema::named(Kind::Text, "io.debezium.time.IsoTimestamp"),
        (_, None) => ConnectSchema::new(Kind::Text),
    }
}

fn interval(format: IntervalFormat) -> ConnectSchema {
    match format {
        IntervalFormat::Iso | IntervalFormat::String => ConnectSchema::named(Kind::Text, "io.debezium.time.Interval"),
        IntervalFormat::Numeric => ConnectSchema::named(Kind::Int64, "io.debezium.time.MicroDuration"),
        IntervalFormat::Structured => structured("StructuredDuration", &[DURATION, &[PRECISION]]),
    }
}

type Part = (&'static str, Kind);

const CIVIL: &[Part] = &[("year", Kind::Int32), ("month", Kind::Int8), ("day", Kind::Int8)];
const CLOCK: &[Part] = &[
    ("hour", Kind::Int8),
    ("minute", Kind::Int8),
    ("second", Kind::Int8),
    ("nanos", Kind::Int32),
];
const DURATION: &[Part] = &[
    ("years", Kind::Int32),
    ("months", Kind::Int32),
    ("days", Kind::Int32),
    ("hours", Kind::Int32),
    ("minutes", Kind::Int32),
    ("seconds", Kind::Int64),
    ("nanos", Kind::Int32),
];
const OFFSET: Part = ("offsetSeconds", Kind::Int32);
const SPECIAL: Part = ("specialValue", Kind::Text);
const PRECISION: Part = ("precision", Kind::Int32);

fn structured(name: &str, parts: &[&[Part]]) -> ConnectSchema {
    let fields = parts.iter().flat_map(|parts| parts.iter());
    let fields = fields.map(|(name, kind)| Field::optional(name, kind.clone())).collect();
    ConnectSchema::named(Kind::Struct(fields), &format!("io.debezium.time.{name}"))
}

fn geometric(format: &CellFormat) -> ConnectSchema {
    let geometry =
        |name: &str, fields| ConnectSchema::named(Kind::Struct(fields), &format!("io.debezium.data.geometry.{name}"));
    let vector = |kind, name: &str| ConnectSchema::named(Kind::Array(Box::new(ConnectSchema::new(kind))), name);
    let srid = || Field::optional("srid", Kind::Int32);
    match format {
        CellFormat::Point(form) => point(*form),
        CellFormat::Line(_) => {
            let fields = ["a", "b", "c"].map(|name| Field::plain(name, Kind::Double)).to_vec();
            geometry("Line", fields).documented("Geometry (LINE)").optional()
        }
        CellFormat::Circle(style) => {
            let fields = vec![
                Field::new("center", point(PointForm::of(*style, Dialect::Common))),
                Field::plain("radius", Kind::Double),
            ];
            geometry("Circle", fields).documented("Geometry (CIRCLE)").optional()
        }
        CellFormat::Geography => {
            let fields = vec![Field::plain("wkb", Kind::Bytes), srid()];
            geometry("Geography", fields).documented("Geography")
        }
        CellFormat::FloatVector(_) => vector(Kind::Float, "io.debezium.data.FloatVector"),
        CellFormat::DoubleVector(_) => vector(Kind::Double, "io.debezium.data.DoubleVector"),
        CellFormat::SparseVector(style) => sparse_vector(*style),
        // Geometries, and the database's own figures.
        _ => {
            let text = || Box::new(ConnectSchema::new(Kind::Text));
            let extensions = ConnectSchema::new(Kind::Map(text(), text())).optional();
            let fields = vec![
                Field::plain("wkb", Kind::Bytes),
                srid(),
                Field::new("extensions", extensions),
            ];
            geometry("Geometry", fields)
                .version(2)
                .documented("Geometry")
                .optional()
        }
    }
}

fn point(form: PointForm) -> ConnectSchema {
    let mut fields = vec![Field::plain("x", Kind::Double), Field::plain("y", Kind::Double)];
    if form == PointForm::Debezium {
        fields.push(Field::optional("wkb", Kind::Bytes));
    }
    if form != PointForm::Numbers {
        fields.push(Field::optional("srid", Kind::Int32));
    }
    ConnectSchema::named(Kind::Struct(fields), "io.debezium.data.geometry.Point").documented("Geometry (POINT)")
}

fn sparse_vector(style: FloatStyle) -> ConnectSchema {
    let (dimensions, keys) = match style {
        FloatStyle::Java => (Kind::Int16, Kind::Int16),
        FloatStyle::Plain => (Kind::Int64, Kind::Text),
    };
    let vector = Kind::Map(
        Box::new(ConnectSchema::new(keys)),
        Box::new(ConnectSchema::new(Kind::Double)),
    );
    let fields = vec![
        Field::plain("dimensions", dimensions),
        Field::new("vector", ConnectSchema::new(vector)),
    ];
    ConnectSchema::named(Kind::Struct(fields), "io.debezium.data.SparseDoubleVector").documented("Sparse double vector")
}
