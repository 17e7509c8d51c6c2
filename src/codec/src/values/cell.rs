//! How the cells of one column are written: decided once per table version, from the column's logical type and the
//! format options, so that the hot path is one match on a small enum and one on the value.

use std::collections::BTreeSet;
use std::sync::Arc;

use tailrace_core::batch::ListView;
use tailrace_core::value::{LogicalType, ShapeKind, TextKind, Value};

use super::decimal::{Rounding, write_decimal_double, write_decimal_fixed, write_decimal_text, write_decimal_variable};
use super::geometry::{PointForm, WkbForm};
use super::number::FloatStyle;
use super::{CellError, CellResult, bytes, geometry, interval, late, temporal, vector};
use crate::dialect::Dialect;
use crate::format::{
    BigintUnsignedFormat, BinaryFormat, DEFAULT_MONEY_FRACTION_DIGITS, DecimalFormat, Envelope, Format, HstoreFormat,
    IntervalFormat, OpaqueFormat, TimeFormat,
};
use crate::names::is_name;
use crate::notation::{Json, Notation, Optionality};

/// How exact decimals of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalForm {
    /// Digits in a string.
    Text {
        /// Fraction digits of zero.
        scale: u32,
    },
    /// The nearest double.
    Double,
    /// Connect's `Decimal`, of so many digits where that is declared.
    Fixed {
        precision: Option<u32>,
        scale: u32,
        rounding: Rounding,
    },
    /// Debezium's `VariableScaleDecimal`.
    Variable,
}

/// How strings of bits are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BitsForm {
    /// One bit is true or false.
    Boolean,
    /// Debezium's `Bits` of so many.
    LittleEndian { length: u32, least_bytes: usize },
    /// A string of 0 and 1.
    Text,
}

/// How arrays of a column are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArrayForm {
    pub(crate) element: Box<CellFormat>,
    /// Elements may be null.
    pub(crate) nullable: bool,
}

/// How the cells of one column are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CellFormat {
    Boolean,
    Int16,
    Int32,
    Int64,
    /// Digits of an integer without a sign, as one that has one.
    Long,
    Year,
    Float32(FloatStyle),
    Float64(FloatStyle),
    Decimal(DecimalForm, FloatStyle),
    Text(TextKind),
    /// One of a list of symbols, by its place in the list.
    Symbol(Arc<[String]>),
    /// Text whose bytes are written as bytes.
    TextBytes(BinaryFormat),
    Bytes(BinaryFormat),
    Bits(BitsForm),
    Date(TimeFormat),
    Time(TimeFormat, u8),
    /// An amount of time of so many fraction digits, as a struct.
    Amount(u8),
    TimeTz(TimeFormat, u8),
    Timestamp(TimeFormat, u8),
    TimestampTz(TimeFormat, u8),
    Interval(IntervalFormat),
    Array(ArrayForm),
    Map(HstoreFormat),
    Point(PointForm),
    Line(FloatStyle),
    Circle(FloatStyle),
    Shape(ShapeKind),
    Geometry(WkbForm),
    Geography,
    FloatVector(FloatStyle),
    DoubleVector(FloatStyle),
    SparseVector(FloatStyle),
    /// The JSON of another form, as text.
    Document(Box<CellFormat>),
}

/// Length of bits that vary without a limit, as Debezium declares it.
pub(crate) const UNLIMITED_BITS: u32 = 2_147_483_647;

/// Digits of the largest 64-bit integer without a sign, 18446744073709551615.
const UNSIGNED_DIGITS: u32 = 20;

// === impl CellFormat ===

impl CellFormat {
    /// How cells of a type are written under a format.
    pub(crate) fn of(logical_type: &LogicalType, format: &Format) -> Self {
        let style = FloatStyle::of(format.envelope);
        match logical_type {
            LogicalType::Boolean => Self::Boolean,
            LogicalType::Int16 => Self::Int16,
            LogicalType::Int32 => Self::Int32,
            LogicalType::Int64 => Self::Int64,
            LogicalType::UnsignedInt64 => match format.bigint_unsigned {
                BigintUnsignedFormat::Long => Self::Long,
                BigintUnsignedFormat::Precise => Self::Decimal(unsigned_form(format), style),
            },
            LogicalType::Float32 => Self::Float32(style),
            LogicalType::Float64 => Self::Float64(style),
            LogicalType::Decimal { .. } | LogicalType::Money => {
                Self::Decimal(decimal_form(logical_type, format), style)
            }
            LogicalType::Text(TextKind::Opaque) if format.opaque == OpaqueFormat::Binary => {
                Self::TextBytes(format.binary)
            }
            LogicalType::Text(TextKind::Enum(symbols)) if format.writes_rows_in_avro() && are_names(symbols) => {
                Self::Symbol(Arc::clone(symbols))
            }
            LogicalType::Text(kind) => Self::Text(text_kind(kind, format.dialect)),
            LogicalType::Bytes => Self::Bytes(format.binary),
            LogicalType::Bits { length } => Self::Bits(bits_form(*length, format)),
            LogicalType::Year => Self::Year,
            LogicalType::Date => Self::Date(format.time),
            LogicalType::Time { precision } => time_format(*precision, format),
            LogicalType::TimeTz { precision } => Self::TimeTz(format.time, *precision),
            LogicalType::Timestamp { precision } => Self::Timestamp(format.time, *precision),
            LogicalType::TimestampTz { precision } => Self::TimestampTz(format.time, *precision),
            LogicalType::Interval => Self::Interval(format.interval),
            LogicalType::Array(element) => Self::Array(ArrayForm::of(Self::of(element, format), format)),
            LogicalType::Map => Self::Map(format.hstore),
            LogicalType::Point => Self::Point(PointForm::of(style, format.dialect)),
            LogicalType::Line => Self::Line(style),
            LogicalType::Circle => Self::Circle(style),
            LogicalType::Shape(kind) => Self::Shape(*kind),
            LogicalType::Geometry => Self::Geometry(wkb_form(format.dialect)),
            LogicalType::Geography => Self::Geography,
            LogicalType::FloatVector => Self::FloatVector(style),
            LogicalType::DoubleVector => Self::DoubleVector(style),
            LogicalType::SparseVector => Self::SparseVector(style),
        }
    }

    /// Writes a value that is neither null nor unchanged.
    pub(crate) fn write<N: Notation>(&self, out: &mut Vec<u8>, value: Value<'_>) -> CellResult {
        match (self, value) {
            (Self::Int64, Value::Int(value)) => N::int(out, value),
            (Self::Int16 | Self::Int32 | Self::Year, Value::Int(value)) => return write_int32::<N>(out, value),
            (Self::Text(_), Value::Text(text)) => N::text(out, text),
            (Self::Document(form), value) => return write_document::<N>(out, value, form),
            (Self::Boolean, Value::Boolean(value)) => N::boolean(out, value),
            (Self::Float32(style), Value::Float32(value)) => N::float32(out, value, *style),
            (Self::Float64(style), Value::Float64(value)) => N::float64(out, value, *style),
            (Self::Long, Value::Text(digits)) => return write_long::<N>(out, digits),
            (Self::Decimal(form, style), Value::Text(text)) => return write_decimal::<N>(out, text, *form, *style),
            (Self::Symbol(symbols), Value::Text(text)) => return write_symbol::<N>(out, text, symbols),
            (Self::TextBytes(format), Value::Text(text)) => bytes::write_bytes::<N>(out, text.as_bytes(), *format),
            (Self::Bytes(format), Value::Bytes(value)) => bytes::write_bytes::<N>(out, value, *format),
            (Self::Bits(form), Value::Text(bits)) => return write_bits::<N>(out, bits, *form),
            (Self::Interval(format), Value::Interval(value)) => {
                return interval::write_interval::<N>(out, value, *format);
            }
            (_, Value::Int(value)) => return self.write_temporal::<N>(out, value),
            (Self::TimeTz(format, precision), Value::TimeTz(time)) => {
                temporal::write_time_tz_value::<N>(out, time, *format, *precision);
            }
            (_, Value::List(list)) => return self.write_list::<N>(out, list),
            (Self::Geometry(form), Value::Bytes(ewkb)) => return geometry::write_geometry::<N>(out, ewkb, *form),
            (Self::Geography, Value::Bytes(ewkb)) => return geometry::write_geography::<N>(out, ewkb),
            (Self::Timestamp(format, precision), Value::Text(text)) => {
                return late::write_timestamp::<N>(out, text, *format, *precision);
            }
            (Self::TimestampTz(format, precision), Value::Text(text)) => {
                return late::write_timestamp_tz::<N>(out, text, *format, *precision);
            }
            // A list that has no place for what the database says (bounds that do not start at 1) is its text.
            (Self::Array(_), Value::Text(text)) if !N::HAS_TYPES => N::text(out, text),
            (Self::Array(_), Value::Text(_)) => return Err(no_plain_list()),
            _ => return Err(CellError::mismatch()),
        }
        Ok(())
    }

    fn write_temporal<N: Notation>(&self, out: &mut Vec<u8>, value: i64) -> CellResult {
        match self {
            Self::Date(format) => temporal::write_date_value::<N>(out, value, *format),
            Self::Time(format, precision) => temporal::write_time_value::<N>(out, value, *format, *precision),
            Self::Amount(precision) => interval::write_amount::<N>(out, value, *precision),
            Self::Timestamp(format, precision) => temporal::write_timestamp_value::<N>(out, value, *format, *precision),
            Self::TimestampTz(format, precision) => {
                temporal::write_timestamp_tz_value::<N>(out, value, *format, *precision)
            }
            _ => Err(CellError::mismatch()),
        }
    }

    fn write_list<N: Notation>(&self, out: &mut Vec<u8>, list: ListView<'_>) -> CellResult {
        match self {
            Self::Array(form) => form.write::<N>(out, list),
            Self::Map(HstoreFormat::Map) => write_map::<N>(out, list),
            Self::Map(HstoreFormat::Json) => write_map_text::<N>(out, list),
            Self::Point(form) => geometry::write_point::<N>(out, list, *form),
            Self::Line(style) => geometry::write_line::<N>(out, list, *style),
            Self::Circle(style) => geometry::write_circle::<N>(out, list, *style),
            Self::Shape(kind) => geometry::write_shape::<N>(out, list, *kind),
            Self::FloatVector(style) | Self::DoubleVector(style) => vector::write_vector::<N>(out, list, *style),
            Self::SparseVector(style) => vector::write_sparse::<N>(out, list, *style),
            _ => Err(CellError::mismatch()),
        }
    }

    /// Whether a list in an array of such elements is another dimension of it.
    fn is_dimension(&self, inner: ListView<'_>) -> bool {
        nesting(inner) > self.nesting()
    }

    /// How many lists deep a value is.
    fn nesting(&self) -> usize {
        match self {
            Self::Array(form) => 1 + form.element.nesting(),
            Self::Map(_)
            | Self::Point(_)
            | Self::Line(_)
            | Self::Circle(_)
            | Self::Shape(_)
            | Self::FloatVector(_)
            | Self::DoubleVector(_)
            | Self::SparseVector(_) => 1,
            _ => 0,
        }
    }
}

// === impl ArrayForm ===

impl ArrayForm {
    fn of(element: CellFormat, format: &Format) -> Self {
        // Debezium declares the symbols of an enum array as required; everything else may be null.
        let nullable = format.writes_rows_in_avro() || !matches!(element, CellFormat::Text(TextKind::Enum(_)));
        Self {
            element: Box::new(element),
            nullable,
        }
    }

    pub(crate) fn optionality(&self) -> Optionality {
        if self.nullable {
            Optionality::NullFirst
        } else {
            Optionality::Required
        }
    }

    /// Writes the elements of an array. A list that is nested deeper than an element's own value (points, maps, vectors, arrays
    /// behind a domain) is another dimension; its first element tells.
    fn write<N: Notation>(&self, out: &mut Vec<u8>, list: ListView<'_>) -> CellResult {
        let (element, optionality) = (&*self.element, self.optionality());
        N::begin_list(out, list.len());
        for (index, value) in list.iter().enumerate() {
            N::element(out, index);
            match value {
                Value::Null if N::HAS_TYPES && !self.nullable => return Err(null_symbol()),
                Value::Null => N::absent(out, optionality),
                Value::List(inner) if element.is_dimension(inner) => {
                    if N::HAS_TYPES {
                        return Err(no_plain_list());
                    }
                    self.write::<N>(out, inner)?;
                }
                value => {
                    N::present(out, optionality);
                    element.write::<N>(out, value)?;
                }
            }
        }
        N::end_list(out, list.len());
        Ok(())
    }
}

/// Writes JSON as text.
fn write_document<N: Notation>(out: &mut Vec<u8>, value: Value<'_>, form: &CellFormat) -> CellResult {
    let mut json = Vec::new();
    form.write::<Json>(&mut json, value)?;
    N::text(out, str::from_utf8(&json).map_err(|_| CellError::mismatch())?);
    Ok(())
}

/// How many lists deep a list is, as far as first elements tell.
fn nesting(list: ListView<'_>) -> usize {
    match list.get(0) {
        Some(Value::List(inner)) => 1 + nesting(inner),
        _ => 1,
    }
}

#[cold]
fn no_plain_list() -> CellError {
    CellError::unrepresentable(
        "is an array of several dimensions, or with bounds that do not start at 1, which its Avro schema cannot hold",
        "use codec: json, or leave the column out",
    )
}

#[cold]
fn null_symbol() -> CellError {
    CellError::unrepresentable(
        "is an array of symbols with NULL in it, which Debezium's schema does not allow",
        "use envelope: entity, or codec: json",
    )
}

/// True where an Avro enum can have every symbol.
fn are_names(symbols: &[String]) -> bool {
    let distinct: BTreeSet<&String> = symbols.iter().collect();
    !symbols.is_empty() && distinct.len() == symbols.len() && symbols.iter().all(|symbol| is_name(symbol))
}

#[cold]
fn not_a_symbol() -> CellError {
    CellError::unrepresentable(
        "is none of the symbols that its column declares",
        "correct the row, or use codec: json",
    )
}

fn write_symbol<N: Notation>(out: &mut Vec<u8>, text: &str, symbols: &[String]) -> CellResult {
    let index = symbols
        .iter()
        .position(|symbol| symbol == text)
        .ok_or_else(not_a_symbol)?;
    N::symbol(out, index, text);
    Ok(())
}

fn decimal_form(logical_type: &LogicalType, format: &Format) -> DecimalForm {
    decimal_form_of(logical_type, format.decimal, format)
}

fn decimal_form_of(logical_type: &LogicalType, decimal: DecimalFormat, format: &Format) -> DecimalForm {
    match (decimal, logical_type) {
        (DecimalFormat::String, kind) => DecimalForm::Text {
            scale: declared_scale(kind),
        },
        (
            DecimalFormat::Logical,
            LogicalType::Decimal {
                precision: Some(precision),
                scale,
            },
        ) => {
            let scale = scale.unwrap_or_default();
            DecimalForm::Fixed {
                // Avro wants it no less than the scale; every value has so few digits before the point that it fits.
                precision: Some((*precision).max(scale)),
                scale,
                rounding: Rounding::Exact,
            }
        }
        (DecimalFormat::Logical, kind) => DecimalForm::Text {
            scale: declared_scale(kind),
        },
        (DecimalFormat::Double, _) => DecimalForm::Double,
        (
            DecimalFormat::Precise,
            LogicalType::Decimal {
                precision: Some(precision),
                scale,
            },
        ) => DecimalForm::Fixed {
            precision: Some(*precision),
            scale: scale.unwrap_or_default(),
            rounding: Rounding::Exact,
        },
        (DecimalFormat::Precise, LogicalType::Money) => DecimalForm::Fixed {
            precision: None,
            scale: format.money_fraction_digits.into(),
            rounding: Rounding::HalfUp,
        },
        (DecimalFormat::Precise, _) => DecimalForm::Variable,
    }
}

/// Every 64-bit integer without a sign, exactly. Debezium has them as `Decimal` whatever becomes of other decimals.
fn unsigned_form(format: &Format) -> DecimalForm {
    let declared = LogicalType::Decimal {
        precision: Some(UNSIGNED_DIGITS),
        scale: Some(0),
    };
    let decimal = match format.envelope {
        Envelope::Entity => format.decimal,
        Envelope::Debezium => DecimalFormat::Precise,
    };
    decimal_form_of(&declared, decimal, format)
}

/// Fraction digits of every value of a column, as far as they are known.
fn declared_scale(logical_type: &LogicalType) -> u32 {
    match logical_type {
        LogicalType::Decimal { scale, .. } => scale.unwrap_or_default(),
        // A string has what the database has, whatever precise decimals are rounded to.
        _ => DEFAULT_MONEY_FRACTION_DIGITS.into(),
    }
}

/// The kind of text as its schema has it. Debezium's connectors for MySQL and MariaDB escape what separates the symbols.
fn text_kind(kind: &TextKind, dialect: Dialect) -> TextKind {
    match (kind, dialect) {
        (TextKind::Enum(symbols), Dialect::MySql) => TextKind::Enum(escaped(symbols)),
        (TextKind::Set(symbols), Dialect::MySql) => TextKind::Set(escaped(symbols)),
        _ => kind.clone(),
    }
}

fn escaped(symbols: &[String]) -> Arc<[String]> {
    let escape = |symbol: &String| symbol.replace('\\', r"\\").replace(',', r"\,");
    symbols.iter().map(escape).collect()
}

fn bits_form(length: Option<u32>, format: &Format) -> BitsForm {
    match (length, format.envelope) {
        (Some(1), _) => BitsForm::Boolean,
        (_, Envelope::Entity) => BitsForm::Text,
        (length, Envelope::Debezium) => {
            let length = length.unwrap_or(UNLIMITED_BITS);
            BitsForm::LittleEndian {
                length,
                least_bytes: match format.dialect {
                    Dialect::Common => 0,
                    Dialect::MySql => usize::try_from(length.div_ceil(8)).unwrap_or_default(),
                },
            }
        }
    }
}

/// How times are written. MySQL's are amounts of time, for which Debezium has another struct.
fn time_format(precision: u8, format: &Format) -> CellFormat {
    match (format.time, format.dialect) {
        (TimeFormat::Structured, Dialect::MySql) => CellFormat::Amount(precision),
        (time, _) => CellFormat::Time(time, precision),
    }
}

/// What the WKB of geometries has in it: PostGIS's is published as it is.
fn wkb_form(dialect: Dialect) -> WkbForm {
    match dialect {
        Dialect::Common => WkbForm::Extended,
        Dialect::MySql => WkbForm::Standard,
    }
}

fn write_decimal<N: Notation>(out: &mut Vec<u8>, text: &str, form: DecimalForm, style: FloatStyle) -> CellResult {
    match form {
        DecimalForm::Text { .. } => write_decimal_text::<N>(out, text, style == FloatStyle::Java),
        DecimalForm::Double => return write_decimal_double::<N>(out, text, style),
        DecimalForm::Fixed {
            precision,
            scale,
            rounding,
        } => return write_decimal_fixed::<N>(out, text, (precision, scale), rounding),
        DecimalForm::Variable => return write_decimal_variable::<N>(out, text),
    }
    Ok(())
}

/// Writes an integer whose field has no more than 32 bits.
fn write_int32<N: Notation>(out: &mut Vec<u8>, value: i64) -> CellResult {
    if N::HAS_TYPES && i32::try_from(value).is_err() {
        return Err(CellError::unrepresentable(
            "has a number that 32 bits cannot hold, which is what its schema says",
            "use codec: json, or leave the column out",
        ));
    }
    N::int(out, value);
    Ok(())
}

fn write_long<N: Notation>(out: &mut Vec<u8>, digits: &str) -> CellResult {
    let value = digits.parse().map_err(|_| {
        CellError::unrepresentable(
            "is above 9223372036854775807, the largest signed integer of 64 bits",
            "set format.bigint_unsigned: precise, which holds every value and writes those of all such columns in another form",
        )
    })?;
    N::int(out, value);
    Ok(())
}

fn write_bits<N: Notation>(out: &mut Vec<u8>, bits: &str, form: BitsForm) -> CellResult {
    match form {
        BitsForm::Text => N::text(out, bits),
        BitsForm::LittleEndian { least_bytes, .. } => return bytes::write_bits::<N>(out, bits, least_bytes),
        BitsForm::Boolean => match bits {
            "1" => N::boolean(out, true),
            "0" | "" => N::boolean(out, false),
            _ => return Err(CellError::mismatch()),
        },
    }
    Ok(())
}

/// Key and value pairs as a map.
fn write_map<N: Notation>(out: &mut Vec<u8>, list: ListView<'_>) -> CellResult {
    let length = list.len() / 2;
    N::begin_map(out, length);
    for_each_pair(list, |index, key, value| {
        N::map_key(out, index, key);
        N::optional(out, value.is_some());
        if let Some(value) = value {
            N::text(out, value);
        }
    })?;
    N::end_map(out, length);
    Ok(())
}

/// Key and value pairs as a JSON object in text.
fn write_map_text<N: Notation>(out: &mut Vec<u8>, list: ListView<'_>) -> CellResult {
    let mut written = Ok(());
    N::plain_text(out, |out| {
        out.push(b'{');
        written = for_each_pair(list, |index, key, value| {
            if index > 0 {
                out.push(b',');
            }
            N::inner_text(out, key);
            out.push(b':');
            match value {
                Some(value) => N::inner_text(out, value),
                None => out.extend_from_slice(b"null"),
            }
        });
        out.push(b'}');
    });
    written
}

fn for_each_pair(list: ListView<'_>, mut pair: impl FnMut(usize, &str, Option<&str>)) -> CellResult {
    let mut values = list.iter();
    let mut index = 0;
    while let Some(key) = values.next() {
        match (key, values.next()) {
            (Value::Text(key), Some(Value::Text(value))) => pair(index, key, Some(value)),
            (Value::Text(key), Some(Value::Null)) => pair(index, key, None),
            _ => return Err(CellError::mismatch()),
        }
        index += 1;
    }
    Ok(())
}
