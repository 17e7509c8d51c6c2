//! What stands for a cell that has no value of its own in Debezium's envelope: the placeholder of a large value that did
//! not change, and the zero of a column that may not be null where the log carries only the key.

use md5::{Digest, Md5};
use tailrace_core::value::{Interval, ShapeKind, TextKind, TimeTz, Value};

use super::bytes::write_bytes;
use super::cell::{ArrayForm, BitsForm, CellFormat, DecimalForm};
use super::geometry::{extensions, write_coefficients, write_coordinates, write_disc, write_extensions, write_wkb};
use super::number::FloatStyle;
use crate::format::{BinaryFormat, HstoreFormat, IntervalFormat, TimeFormat};
use crate::notation::{Json, Notation, Optionality};

/// Nothing drawn yet: PostGIS's empty collection.
pub(crate) const EMPTY_GEOMETRY_WKB: [u8; 9] = [1, 7, 0, 0, 0, 0, 0, 0, 0];

/// What stands for a large value that did not change; `None` where the type has no room for it.
pub(crate) fn unavailable<N: Notation>(format: &CellFormat, placeholder: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match format {
        CellFormat::Text(_)
        | CellFormat::Decimal(DecimalForm::Text { .. }, _)
        | CellFormat::Bits(BitsForm::Text)
        | CellFormat::Document(_) => N::text(&mut out, placeholder),
        CellFormat::Bytes(format) | CellFormat::TextBytes(format) => write_binary::<N>(&mut out, placeholder, *format),
        CellFormat::Bits(BitsForm::LittleEndian { .. }) | CellFormat::Decimal(DecimalForm::Fixed { .. }, _) => {
            N::bytes(&mut out, placeholder.as_bytes());
        }
        CellFormat::Decimal(DecimalForm::Variable, _) => write_variable::<N>(&mut out, placeholder.as_bytes()),
        CellFormat::Map(format) => write_map::<N>(&mut out, placeholder, *format),
        CellFormat::Geometry(_) => write_geometry::<N>(&mut out, placeholder.as_bytes()),
        CellFormat::Geography => write_geography::<N>(&mut out, placeholder.as_bytes()),
        CellFormat::Shape(kind) => {
            write_shape::<N>(&mut out, placeholder.as_bytes(), &extensions(*kind, true));
        }
        CellFormat::FloatVector(style) => {
            write_codes::<N>(&mut out, placeholder, Optionality::Required, |out, byte| {
                N::float32(out, f32::from(byte), *style);
            })
        }
        CellFormat::DoubleVector(style) => {
            write_codes::<N>(&mut out, placeholder, Optionality::Required, |out, byte| {
                N::float64(out, f64::from(byte), *style);
            })
        }
        CellFormat::Array(form) => return unavailable_array::<N>(form, placeholder),
        _ => return None,
    }
    Some(out)
}

fn write_binary<N: Notation>(out: &mut Vec<u8>, placeholder: &str, format: BinaryFormat) {
    match format {
        // Debezium puts the placeholder itself where other values are hexadecimal digits.
        BinaryFormat::Hex => N::text(out, placeholder),
        other => write_bytes::<N>(out, placeholder.as_bytes(), other),
    }
}

fn write_variable<N: Notation>(out: &mut Vec<u8>, unscaled: &[u8]) {
    N::syntax(out, b"{\"scale\":");
    N::int(out, 0);
    N::syntax(out, b",\"value\":");
    N::bytes(out, unscaled);
    N::syntax(out, b"}");
}

fn write_map<N: Notation>(out: &mut Vec<u8>, placeholder: &str, format: HstoreFormat) {
    match format {
        HstoreFormat::Map => {
            N::begin_map(out, 1);
            N::map_key(out, 0, placeholder);
            N::optional(out, true);
            N::text(out, placeholder);
            N::end_map(out, 1);
        }
        HstoreFormat::Json => N::plain_text(out, |out| {
            out.push(b'{');
            N::inner_text(out, placeholder);
            out.push(b':');
            N::inner_text(out, placeholder);
            out.push(b'}');
        }),
    }
}

fn write_geometry<N: Notation>(out: &mut Vec<u8>, wkb: &[u8]) {
    write_shape::<N>(out, wkb, &[]);
}

fn write_geography<N: Notation>(out: &mut Vec<u8>, wkb: &[u8]) {
    write_wkb::<N>(out, wkb, None);
    N::syntax(out, b"}");
}

fn write_shape<N: Notation>(out: &mut Vec<u8>, wkb: &[u8], extensions: &[(&str, &str)]) {
    write_wkb::<N>(out, wkb, None);
    write_extensions::<N>(out, extensions);
    N::syntax(out, b"}");
}

fn unavailable_array<N: Notation>(form: &ArrayForm, placeholder: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let optionality = form.optionality();
    let int = |out: &mut Vec<u8>, byte: i8| N::int(out, byte.into());
    match &*form.element {
        CellFormat::Int16 | CellFormat::Int32 | CellFormat::Int64 => {
            write_codes::<N>(&mut out, placeholder, optionality, int);
        }
        CellFormat::Float32(style) => write_codes::<N>(&mut out, placeholder, optionality, |out, byte| {
            N::float32(out, f32::from(byte), *style);
        }),
        CellFormat::Float64(style) | CellFormat::Decimal(DecimalForm::Double, style) => {
            write_codes::<N>(&mut out, placeholder, optionality, |out, byte| {
                N::float64(out, f64::from(byte), *style);
            });
        }
        CellFormat::Text(TextKind::Uuid) => {
            write_single::<N>(&mut out, optionality, |out| {
                N::text(out, &name_uuid(placeholder.as_bytes()))
            });
        }
        element if is_text(element) => write_single::<N>(&mut out, optionality, |out| N::text(out, placeholder)),
        element @ (CellFormat::Date(_) | CellFormat::Time(..) | CellFormat::Timestamp(..))
            if !is_structured(element) =>
        {
            write_codes::<N>(&mut out, placeholder, optionality, int);
        }
        // Another dimension would not be one more.
        CellFormat::Array(inner) => return unavailable_array::<N>(inner, placeholder),
        element => {
            let single = unavailable::<N>(element, placeholder)?;
            write_single::<N>(&mut out, optionality, |out| out.extend_from_slice(&single));
        }
    }
    Some(out)
}

/// True where a temporal value is a string.
fn is_text(format: &CellFormat) -> bool {
    let text = |time: &TimeFormat| matches!(time, TimeFormat::Iso | TimeFormat::Isostring);
    match format {
        CellFormat::Date(time) | CellFormat::Time(time, _) | CellFormat::Timestamp(time, _) => text(time),
        CellFormat::TimeTz(time, _) => *time != TimeFormat::Structured,
        CellFormat::TimestampTz(time, _) => !matches!(time, TimeFormat::Structured | TimeFormat::Logical),
        CellFormat::Interval(interval) => matches!(interval, IntervalFormat::Iso | IntervalFormat::String),
        _ => false,
    }
}

fn is_structured(format: &CellFormat) -> bool {
    matches!(
        format,
        CellFormat::Date(TimeFormat::Structured)
            | CellFormat::Time(TimeFormat::Structured, _)
            | CellFormat::Timestamp(TimeFormat::Structured, _)
    )
}

fn write_single<N: Notation>(out: &mut Vec<u8>, optionality: Optionality, write: impl FnOnce(&mut Vec<u8>)) {
    N::begin_list(out, 1);
    N::present(out, optionality);
    write(out);
    N::end_list(out, 1);
}

/// The placeholder's bytes as the elements of a list.
fn write_codes<N: Notation>(
    out: &mut Vec<u8>,
    placeholder: &str,
    optionality: Optionality,
    write: impl Fn(&mut Vec<u8>, i8),
) {
    N::begin_list(out, placeholder.len());
    for (index, byte) in placeholder.bytes().enumerate() {
        N::element(out, index);
        N::present(out, optionality);
        // Java's bytes have a sign.
        write(out, byte.cast_signed());
    }
    N::end_list(out, placeholder.len());
}

/// The UUID that a name stands for (version 3, without a namespace), as `java.util.UUID.nameUUIDFromBytes` makes it.
fn name_uuid(name: &[u8]) -> String {
    let mut hash: [u8; 16] = Md5::digest(name).into();
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut hash;
    *version = *version & 0x0f | 0x30;
    *variant = *variant & 0x3f | 0x80;
    let mut text = String::new();
    for (index, byte) in hash.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
        }
    }
    text
}

/// The value that Debezium puts where a column may not be null and the log does not carry it.
pub(crate) fn zero<N: Notation>(format: &CellFormat) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        CellFormat::Boolean | CellFormat::Bits(BitsForm::Boolean) => N::boolean(&mut out, false),
        CellFormat::Int16 | CellFormat::Int32 | CellFormat::Int64 | CellFormat::Long | CellFormat::Year => {
            N::int(&mut out, 0);
        }
        CellFormat::Float32(style) => N::float32(&mut out, 0.0, *style),
        CellFormat::Float64(style) | CellFormat::Decimal(DecimalForm::Double, style) => {
            N::float64(&mut out, 0.0, *style);
        }
        CellFormat::Decimal(DecimalForm::Fixed { .. }, _) => N::bytes(&mut out, &[0]),
        CellFormat::Decimal(DecimalForm::Variable, _) => write_variable::<N>(&mut out, &[0]),
        CellFormat::Decimal(DecimalForm::Text { scale }, _) => {
            N::plain_text(&mut out, |out| write_zero_digits(out, *scale));
        }
        CellFormat::Map(HstoreFormat::Json) => N::text(&mut out, "{}"),
        CellFormat::Map(HstoreFormat::Map) => {
            N::begin_map(&mut out, 0);
            N::end_map(&mut out, 0);
        }
        CellFormat::TextBytes(format) | CellFormat::Bytes(format) => write_bytes::<N>(&mut out, &[], *format),
        CellFormat::Text(_) | CellFormat::Bits(BitsForm::Text) => N::text(&mut out, ""),
        CellFormat::Bits(BitsForm::LittleEndian { .. }) => N::bytes(&mut out, &[]),
        CellFormat::Symbol(symbols) => N::symbol(&mut out, 0, symbols.first().map_or("", String::as_str)),
        CellFormat::Array(_) | CellFormat::FloatVector(_) | CellFormat::DoubleVector(_) => {
            N::begin_list(&mut out, 0);
            N::end_list(&mut out, 0);
        }
        CellFormat::SparseVector(style) => write_empty_sparse_vector::<N>(&mut out, *style),
        CellFormat::Document(form) => N::text(&mut out, &String::from_utf8_lossy(&zero::<Json>(form))),
        CellFormat::Geometry(_) => write_geometry::<N>(&mut out, &EMPTY_GEOMETRY_WKB),
        CellFormat::Geography => write_geography::<N>(&mut out, &EMPTY_GEOMETRY_WKB),
        other => zero_temporal_or_shape::<N>(&mut out, other),
    }
    out
}

fn write_zero_digits(out: &mut Vec<u8>, scale: u32) {
    out.push(b'0');
    if scale > 0 {
        out.push(b'.');
    }
    out.extend((0..scale).map(|_| b'0'));
}

fn write_empty_sparse_vector<N: Notation>(out: &mut Vec<u8>, style: FloatStyle) {
    N::syntax(out, b"{\"dimensions\":");
    N::int(out, 0);
    N::syntax(out, b",\"vector\":");
    match style {
        FloatStyle::Java => {
            N::begin_list(out, 0);
            N::end_list(out, 0);
        }
        FloatStyle::Plain => {
            N::begin_map(out, 0);
            N::end_map(out, 0);
        }
    }
    N::syntax(out, b"}");
}

fn zero_temporal_or_shape<N: Notation>(out: &mut Vec<u8>, format: &CellFormat) {
    match format {
        // Debezium's own fallback, which has no fraction whatever the column's precision.
        CellFormat::TimestampTz(time, _) if !matches!(time, TimeFormat::Structured | TimeFormat::Logical) => {
            N::text(out, "1970-01-01T00:00:00Z");
        }
        CellFormat::TimeTz(time, _) if *time != TimeFormat::Structured => N::text(out, "00:00:00Z"),
        CellFormat::Point(form) => write_coordinates::<N>(out, [0.0, 0.0], None, *form),
        CellFormat::Line(style) => write_coefficients::<N>(out, [0.0, 1.0, 0.0], *style),
        CellFormat::Circle(style) => write_disc::<N>(out, [0.0, 0.0, 0.0], *style),
        CellFormat::Shape(kind) => write_empty_shape::<N>(out, *kind),
        other => {
            let epoch = zero_value(other);
            // Zero is within the range of every format, so that nothing can be refused here.
            if other.write::<N>(out, epoch).is_err() {
                out.clear();
                N::absent(out, Optionality::Required);
            }
        }
    }
}

fn zero_value(format: &CellFormat) -> Value<'static> {
    match format {
        CellFormat::Interval(_) => Value::Interval(Interval {
            months: 0,
            days: 0,
            microseconds: 0,
        }),
        CellFormat::TimeTz(..) => Value::TimeTz(TimeTz {
            microseconds: 0,
            offset_seconds: 0,
        }),
        _ => Value::Int(0),
    }
}

fn write_empty_shape<N: Notation>(out: &mut Vec<u8>, kind: ShapeKind) {
    let wkb = empty_shape_wkb(kind);
    match kind {
        ShapeKind::Path => write_shape::<N>(out, &wkb, &[("type", "path")]),
        other => write_shape::<N>(out, &wkb, &extensions(other, true)),
    }
}

/// The smallest figures that are valid WKB, as Debezium has them.
pub(crate) fn empty_shape_wkb(kind: ShapeKind) -> Vec<u8> {
    const SQUARE: &[[f64; 2]] = &[[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]];
    const TRIANGLE: &[[f64; 2]] = &[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]];
    const LINE: &[[f64; 2]] = &[[0.0, 0.0], [1.0, 0.0]];
    let (points, header): (_, &[u8]) = match kind {
        ShapeKind::Box => (SQUARE, &[1, 3, 0, 0, 0, 1, 0, 0, 0]),
        ShapeKind::Polygon => (TRIANGLE, &[1, 3, 0, 0, 0, 1, 0, 0, 0]),
        ShapeKind::LineSegment | ShapeKind::Path => (LINE, &[1, 2, 0, 0, 0]),
    };
    let mut wkb = header.to_vec();
    wkb.extend(u32::try_from(points.len()).unwrap_or_default().to_le_bytes());
    wkb.extend(points.iter().flatten().flat_map(|number| number.to_le_bytes()));
    wkb
}

#[cfg(test)]
mod tests {
    use tailrace_core::value::LogicalType;

    use super::*;
    use crate::format::{DEFAULT_UNAVAILABLE_VALUE, DecimalFormat, Envelope, Format};

    fn debezium(logical_type: &LogicalType) -> CellFormat {
        CellFormat::of(logical_type, &Format::defaults(Envelope::Debezium))
    }

    fn placeholder(logical_type: &LogicalType) -> String {
        String::from_utf8(unavailable::<Json>(&debezium(logical_type), DEFAULT_UNAVAILABLE_VALUE).unwrap()).unwrap()
    }

    fn array(element: LogicalType) -> LogicalType {
        LogicalType::Array(Box::new(element))
    }

    #[test]
    fn unchanged_values_as_debezium_marks_them() {
        let text = LogicalType::Text(TextKind::Plain);
        assert_eq!(placeholder(&text), "\"__debezium_unavailable_value\"");
        assert_eq!(
            placeholder(&LogicalType::Bytes),
            "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\""
        );
        assert_eq!(placeholder(&array(text)), "[\"__debezium_unavailable_value\"]");
        let codes =
            "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]";
        assert_eq!(placeholder(&array(LogicalType::Int32)), codes);
        assert_eq!(placeholder(&array(LogicalType::Int64)), codes);
        assert_eq!(placeholder(&array(LogicalType::Date)), codes);
        assert_eq!(
            placeholder(&array(LogicalType::Text(TextKind::Uuid))),
            "[\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"]"
        );
        assert_eq!(
            placeholder(&array(LogicalType::Bytes)),
            "[\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"]"
        );
        assert_eq!(
            placeholder(&LogicalType::Map),
            "\"{\\\"__debezium_unavailable_value\\\":\\\"__debezium_unavailable_value\\\"}\""
        );
        assert!(placeholder(&LogicalType::DoubleVector).starts_with("[95.0,95.0,100.0,"));
        assert!(placeholder(&array(LogicalType::DoubleVector)).starts_with("[[95.0,"));
        assert!(placeholder(&array(LogicalType::Map)).starts_with("[\"{\\\""));
        assert!(placeholder(&array(LogicalType::Geometry)).starts_with("[{\"wkb\":\"X19k"));
    }

    #[test]
    fn what_has_no_placeholder_has_none() {
        for logical_type in [
            LogicalType::Int64,
            LogicalType::Boolean,
            LogicalType::Date,
            array(LogicalType::Boolean),
        ] {
            assert_eq!(unavailable::<Json>(&debezium(&logical_type), "x"), None);
        }
    }

    #[test]
    fn every_type_has_a_zero_that_is_json() {
        let types = [
            (LogicalType::Boolean, "false"),
            (LogicalType::Int32, "0"),
            (LogicalType::Float64, "0.0"),
            (
                LogicalType::Decimal {
                    precision: Some(5),
                    scale: Some(2),
                },
                "\"AA==\"",
            ),
            (
                LogicalType::Decimal {
                    precision: None,
                    scale: None,
                },
                "{\"scale\":0,\"value\":\"AA==\"}",
            ),
            (LogicalType::Text(TextKind::Plain), "\"\""),
            (LogicalType::Text(TextKind::Json), "\"\""),
            (LogicalType::Date, "0"),
            (LogicalType::TimestampTz { precision: 6 }, "\"1970-01-01T00:00:00Z\""),
            (LogicalType::TimeTz { precision: 6 }, "\"00:00:00Z\""),
            (LogicalType::Timestamp { precision: 6 }, "0"),
            (LogicalType::Interval, "0"),
            (
                LogicalType::Point,
                "{\"x\":0.0,\"y\":0.0,\"wkb\":\"AQEAAAAAAAAAAAAAAAAAAAAAAAAA\",\"srid\":null}",
            ),
            (LogicalType::Line, "{\"a\":0.0,\"b\":1.0,\"c\":0.0}"),
            (array(LogicalType::Int32), "[]"),
        ];
        for (logical_type, expected) in types {
            assert_eq!(
                String::from_utf8(zero::<Json>(&debezium(&logical_type))).unwrap(),
                expected
            );
        }
        let strings = Format {
            decimal: DecimalFormat::String,
            ..Format::defaults(Envelope::Debezium)
        };
        for (scale, expected) in [(None, "\"0\""), (Some(0), "\"0\""), (Some(3), "\"0.000\"")] {
            let logical_type = LogicalType::Decimal { precision: None, scale };
            assert_eq!(
                zero::<Json>(&CellFormat::of(&logical_type, &strings)),
                expected.as_bytes()
            );
        }
        assert_eq!(
            zero::<Json>(&CellFormat::of(&LogicalType::Money, &strings)),
            b"\"0.00\""
        );
        for kind in [
            ShapeKind::Box,
            ShapeKind::LineSegment,
            ShapeKind::Path,
            ShapeKind::Polygon,
        ] {
            let json: serde_json::Value =
                serde_json::from_slice(&zero::<Json>(&debezium(&LogicalType::Shape(kind)))).unwrap();
            assert!(json["extensions"]["type"].is_string());
        }
    }
}
