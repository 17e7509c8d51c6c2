//! What stands for a cell that has no value of its own in Debezium's envelope: the placeholder of a large value that did
//! not change, and the zero of a column that may not be null where the log carries only the key.

use md5::{Digest, Md5};
use tailrace_core::value::{Interval, ShapeKind, TextKind, TimeTz, Value};

use super::bytes::{write_base64, write_bytes};
use super::cell::{BitsForm, CellFormat, DecimalForm};
use super::geometry::{extensions, write_coefficients, write_coordinates, write_disc};
use super::number::{FloatStyle, write_float64, write_int};
use super::text::{write_text, write_text_nested};
use crate::format::{BinaryFormat, HstoreFormat, IntervalFormat, TimeFormat};

/// Nothing drawn yet: PostGIS's empty collection.
const EMPTY_GEOMETRY_WKB: [u8; 9] = [1, 7, 0, 0, 0, 0, 0, 0, 0];

/// JSON that stands for a large value that did not change; `None` where the type has no room for it.
pub(crate) fn unavailable(format: &CellFormat, placeholder: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match format {
        CellFormat::Text(_) | CellFormat::Decimal(DecimalForm::Text { .. }, _) | CellFormat::Bits(BitsForm::Text) => {
            write_text(&mut out, placeholder);
        }
        CellFormat::Bytes(format) | CellFormat::TextBytes(format) => write_binary(&mut out, placeholder, *format),
        CellFormat::Bits(BitsForm::LittleEndian { .. }) | CellFormat::Decimal(DecimalForm::Fixed { .. }, _) => {
            write_base64(&mut out, placeholder.as_bytes());
        }
        CellFormat::Decimal(DecimalForm::Variable, _) => {
            out.extend_from_slice(b"{\"scale\":0,\"value\":");
            write_base64(&mut out, placeholder.as_bytes());
            out.push(b'}');
        }
        CellFormat::Map(format) => write_map(&mut out, placeholder, *format),
        CellFormat::Geometry(_) => {
            write_geometry(&mut out, placeholder.as_bytes(), ",\"srid\":null,\"extensions\":null}")
        }
        CellFormat::Geography => write_geometry(&mut out, placeholder.as_bytes(), ",\"srid\":null}"),
        CellFormat::Shape(kind) => write_shape(&mut out, placeholder.as_bytes(), *kind, true),
        CellFormat::FloatVector(style) | CellFormat::DoubleVector(style) => {
            write_elements(&mut out, placeholder, |out, byte| {
                write_float64(out, f64::from(byte), *style)
            });
        }
        CellFormat::Array(element) => return unavailable_array(element, placeholder),
        _ => return None,
    }
    Some(out)
}

fn write_binary(out: &mut Vec<u8>, placeholder: &str, format: BinaryFormat) {
    match format {
        // Debezium puts the placeholder itself where other values are hexadecimal digits.
        BinaryFormat::Hex => write_text(out, placeholder),
        other => write_bytes(out, placeholder.as_bytes(), other),
    }
}

fn write_map(out: &mut Vec<u8>, placeholder: &str, format: HstoreFormat) {
    match format {
        HstoreFormat::Map => {
            out.push(b'{');
            write_text(out, placeholder);
            out.push(b':');
            write_text(out, placeholder);
            out.push(b'}');
        }
        HstoreFormat::Json => {
            out.extend_from_slice(b"\"{");
            write_text_nested(out, placeholder);
            out.push(b':');
            write_text_nested(out, placeholder);
            out.extend_from_slice(b"}\"");
        }
    }
}

fn write_geometry(out: &mut Vec<u8>, wkb: &[u8], rest: &str) {
    out.extend_from_slice(b"{\"wkb\":");
    write_base64(out, wkb);
    out.extend_from_slice(rest.as_bytes());
}

fn write_shape(out: &mut Vec<u8>, wkb: &[u8], kind: ShapeKind, closed: bool) {
    write_geometry(out, wkb, ",\"srid\":null,\"extensions\":");
    out.extend_from_slice(extensions(kind, closed).as_bytes());
    out.push(b'}');
}

fn unavailable_array(element: &CellFormat, placeholder: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match element {
        CellFormat::Int16 | CellFormat::Int32 | CellFormat::Int64 => {
            write_elements(&mut out, placeholder, |out, byte| write_int(out, byte.into()));
        }
        CellFormat::Float32(style) | CellFormat::Float64(style) | CellFormat::Decimal(DecimalForm::Double, style) => {
            write_elements(&mut out, placeholder, |out, byte| {
                write_float64(out, f64::from(byte), *style)
            });
        }
        CellFormat::Text(TextKind::Uuid) => write_text(&mut out, &name_uuid(placeholder.as_bytes())),
        element if is_text(element) => write_text(&mut out, placeholder),
        CellFormat::Date(_) | CellFormat::Time(..) | CellFormat::Timestamp(..) if !is_structured(element) => {
            write_elements(&mut out, placeholder, |out, byte| write_int(out, byte.into()));
        }
        element => out = unavailable(element, placeholder)?,
    }
    if !out.starts_with(b"[") || matches!(element, CellFormat::FloatVector(_) | CellFormat::DoubleVector(_)) {
        out.insert(0, b'[');
        out.push(b']');
    }
    Some(out)
}

/// True where a temporal value is a string.
fn is_text(format: &CellFormat) -> bool {
    let text = |time: &TimeFormat| matches!(time, TimeFormat::Iso | TimeFormat::Isostring);
    match format {
        CellFormat::Date(time) | CellFormat::Time(time, _) | CellFormat::Timestamp(time, _) => text(time),
        CellFormat::TimeTz(time, _) | CellFormat::TimestampTz(time, _) => *time != TimeFormat::Structured,
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

fn write_elements(out: &mut Vec<u8>, placeholder: &str, mut write: impl FnMut(&mut Vec<u8>, i8)) {
    out.push(b'[');
    for (index, byte) in placeholder.bytes().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        // Java's bytes have a sign.
        write(out, byte.cast_signed());
    }
    out.push(b']');
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

/// JSON of the value that Debezium puts where a column may not be null and the log does not carry it.
pub(crate) fn zero(format: &CellFormat) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        CellFormat::Boolean | CellFormat::Bits(BitsForm::Boolean) => out.extend_from_slice(b"false"),
        CellFormat::Int16 | CellFormat::Int32 | CellFormat::Int64 | CellFormat::Long | CellFormat::Year => {
            out.push(b'0');
        }
        CellFormat::Float32(_) | CellFormat::Float64(_) | CellFormat::Decimal(DecimalForm::Double, _) => {
            out.extend_from_slice(b"0.0");
        }
        CellFormat::Decimal(DecimalForm::Fixed { .. }, _) => write_base64(&mut out, &[0]),
        CellFormat::Decimal(DecimalForm::Variable, _) => out.extend_from_slice(b"{\"scale\":0,\"value\":\"AA==\"}"),
        CellFormat::Decimal(DecimalForm::Text { scale }, _) => write_zero_digits(&mut out, *scale),
        CellFormat::Map(HstoreFormat::Json) => out.extend_from_slice(b"\"{}\""),
        CellFormat::Map(HstoreFormat::Map) => out.extend_from_slice(b"{}"),
        CellFormat::Text(_) | CellFormat::TextBytes(_) | CellFormat::Bytes(_) | CellFormat::Bits(_) => {
            out.extend_from_slice(b"\"\"")
        }
        CellFormat::Array(_) | CellFormat::FloatVector(_) | CellFormat::DoubleVector(_) => out.extend_from_slice(b"[]"),
        CellFormat::SparseVector(FloatStyle::Java) => out.extend_from_slice(b"{\"dimensions\":0,\"vector\":[]}"),
        CellFormat::SparseVector(FloatStyle::Plain) => out.extend_from_slice(b"{\"dimensions\":0,\"vector\":{}}"),
        CellFormat::Geometry(_) => write_geometry(&mut out, &EMPTY_GEOMETRY_WKB, ",\"srid\":null,\"extensions\":null}"),
        CellFormat::Geography => write_geometry(&mut out, &EMPTY_GEOMETRY_WKB, ",\"srid\":null}"),
        other => zero_temporal_or_shape(&mut out, other),
    }
    out
}

fn write_zero_digits(out: &mut Vec<u8>, scale: u32) {
    out.extend_from_slice(b"\"0");
    if scale > 0 {
        out.push(b'.');
    }
    out.extend((0..scale).map(|_| b'0'));
    out.push(b'"');
}

fn zero_temporal_or_shape(out: &mut Vec<u8>, format: &CellFormat) {
    match format {
        // Debezium's own fallback, which has no fraction whatever the column's precision.
        CellFormat::TimestampTz(time, _) if *time != TimeFormat::Structured => {
            out.extend_from_slice(b"\"1970-01-01T00:00:00Z\"")
        }
        CellFormat::TimeTz(time, _) if *time != TimeFormat::Structured => out.extend_from_slice(b"\"00:00:00Z\""),
        CellFormat::Point(form) => write_coordinates(out, [0.0, 0.0], None, *form),
        CellFormat::Line(style) => write_coefficients(out, [0.0, 1.0, 0.0], *style),
        CellFormat::Circle(style) => write_disc(out, [0.0, 0.0, 0.0], *style),
        CellFormat::Shape(kind) => write_empty_shape(out, *kind),
        other => {
            let epoch = zero_value(other);
            // Zero is within the range of every format, so that nothing can be refused here.
            if other.write(out, epoch).is_err() {
                out.clear();
                out.extend_from_slice(b"null");
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

/// The smallest figures that are valid WKB, as Debezium has them.
fn write_empty_shape(out: &mut Vec<u8>, kind: ShapeKind) {
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
    match kind {
        ShapeKind::Path => write_geometry(out, &wkb, ",\"srid\":null,\"extensions\":{\"type\":\"path\"}}"),
        other => write_shape(out, &wkb, other, true),
    }
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
        String::from_utf8(unavailable(&debezium(logical_type), DEFAULT_UNAVAILABLE_VALUE).unwrap()).unwrap()
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
            assert_eq!(unavailable(&debezium(&logical_type), "x"), None);
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
            assert_eq!(String::from_utf8(zero(&debezium(&logical_type))).unwrap(), expected);
        }
        let strings = Format {
            decimal: DecimalFormat::String,
            ..Format::defaults(Envelope::Debezium)
        };
        for (scale, expected) in [(None, "\"0\""), (Some(0), "\"0\""), (Some(3), "\"0.000\"")] {
            let logical_type = LogicalType::Decimal { precision: None, scale };
            assert_eq!(zero(&CellFormat::of(&logical_type, &strings)), expected.as_bytes());
        }
        assert_eq!(zero(&CellFormat::of(&LogicalType::Money, &strings)), b"\"0.00\"");
        for kind in [
            ShapeKind::Box,
            ShapeKind::LineSegment,
            ShapeKind::Path,
            ShapeKind::Polygon,
        ] {
            let json: serde_json::Value = serde_json::from_slice(&zero(&debezium(&LogicalType::Shape(kind)))).unwrap();
            assert!(json["extensions"]["type"].is_string());
        }
    }
}
