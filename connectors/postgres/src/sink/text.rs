//! Values as text that PostgreSQL's input functions read: whatever has no simple binary form.

use std::fmt::Write;

use tailrace_core::value::{LogicalType, ShapeKind, TextKind, TimeTz, Value};
use tailrace_sql::sink::plain::{Plain, write_json};

use crate::decode::cell::{print_date, print_float32, print_float64, print_time, print_timestamp, push_hex_digits};

/// Why a value has no text; completes "the value for column … ".
pub(super) type Refused = &'static str;

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;
const BEYOND: Refused = "cannot be printed";
const NO_GEOMETRY: Refused = "is no geometry";
/// Rings come before points.
const WKB_POLYGON: u32 = 3;
/// The number of a reference system follows the type.
const EWKB_HAS_SRID: u32 = 0x2000_0000;

/// Appends the text of a value of one meaning for a column of another.
pub(super) fn append_text(
    value: Value<'_>,
    source: &LogicalType,
    target: &LogicalType,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    // Most texts are just that, and need not be put together first.
    if let Value::Text(text) = value {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    // One bit is true or false where Debezium has been at it.
    if let (Value::Boolean(value), LogicalType::Bits { .. }) = (value, target) {
        out.push(if value { b'1' } else { b'0' });
        return Ok(());
    }
    let mut text = String::new();
    if let (Value::List(_), LogicalType::Array(element)) = (value, target)
        && matches!(source, LogicalType::FloatVector | LogicalType::DoubleVector)
    {
        append_array(value, element, &mut text)?;
    } else if let (Value::Bytes(wkb), LogicalType::Shape(kind)) = (value, target) {
        append_shape(*kind, wkb, None, &mut text)?;
    } else {
        match target {
            LogicalType::Text(TextKind::Json) => write_json(source, value, &mut text),
            // As in every other database's columns with characters.
            LogicalType::Text(_) => Plain::of(source, value).write_text(source, &mut text),
            _ => append(value, source, &mut text)?,
        }
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn append(value: Value<'_>, meaning: &LogicalType, text: &mut String) -> Result<(), Refused> {
    match value {
        Value::Null | Value::Unchanged => return Err("is not there"),
        Value::Boolean(value) => text.push_str(if value { "true" } else { "false" }),
        Value::Int(value) => append_integer(value, meaning, text)?,
        Value::Float32(value) => print_float32(value, text).map_err(|_| BEYOND)?,
        Value::Float64(value) => print_float64(value, text).map_err(|_| BEYOND)?,
        Value::TimeTz(value) => append_time_tz(value, text)?,
        Value::Interval(value) => {
            // Each part with its own sign.
            let written = write!(
                text,
                "{} mons {} days {} us",
                value.months, value.days, value.microseconds
            );
            written.map_err(|_| BEYOND)?;
        }
        Value::Text(value) => text.push_str(value),
        Value::Bytes(bytes) => {
            // Geometries read hexadecimal digits of EWKB; strings of bytes want a prefix.
            if !matches!(meaning, LogicalType::Geometry | LogicalType::Geography) {
                text.push_str("\\x");
            }
            bytes.iter().for_each(|byte| push_hex_digits(*byte, text));
        }
        Value::List(_) => append_list(value, meaning, text)?,
    }
    Ok(())
}

fn append_integer(value: i64, meaning: &LogicalType, text: &mut String) -> Result<(), Refused> {
    let printed = match meaning {
        LogicalType::Date => print_date(value, text),
        LogicalType::Timestamp { .. } => print_timestamp(value, "", text),
        LogicalType::TimestampTz { .. } => print_timestamp(value, "+00", text),
        LogicalType::Time { .. } if (0..=MICROSECONDS_PER_DAY).contains(&value) => print_time(value, text),
        LogicalType::Time { .. } => {
            return Err("is an amount of time beyond a day, or before its beginning; make the column an interval");
        }
        _ => return write!(text, "{value}").map_err(|_| BEYOND),
    };
    printed.map_err(|_| BEYOND)
}

fn append_time_tz(value: TimeTz, text: &mut String) -> Result<(), Refused> {
    print_time(value.microseconds, text).map_err(|_| BEYOND)?;
    let sign = if value.offset_seconds < 0 { '-' } else { '+' };
    let offset = value.offset_seconds.unsigned_abs();
    write!(
        text,
        "{sign}{:02}:{:02}:{:02}",
        offset / 3600,
        offset / 60 % 60,
        offset % 60
    )
    .map_err(|_| BEYOND)
}

fn append_list(value: Value<'_>, meaning: &LogicalType, text: &mut String) -> Result<(), Refused> {
    let Value::List(list) = value else {
        return append(value, meaning, text);
    };
    match meaning {
        LogicalType::Array(element) => append_array(value, element, text),
        LogicalType::Map => append_map(value, text),
        LogicalType::Point => {
            let [x, y] = floats(value)?;
            write!(text, "({x},{y})").map_err(|_| BEYOND)
        }
        LogicalType::Line => {
            let [a, b, c] = floats(value)?;
            write!(text, "{{{a},{b},{c}}}").map_err(|_| BEYOND)
        }
        LogicalType::Circle => {
            let [x, y, radius] = floats(value)?;
            write!(text, "<({x},{y}),{radius}>").map_err(|_| BEYOND)
        }
        LogicalType::Shape(kind) => {
            let (Some(Value::Bytes(wkb)), Some(Value::Boolean(is_closed))) = (list.get(0), list.get(1)) else {
                return Err(NO_GEOMETRY);
            };
            append_shape(*kind, wkb, Some(is_closed), text)
        }
        LogicalType::FloatVector | LogicalType::DoubleVector => {
            text.push('[');
            for (index, element) in list.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                append(element, &LogicalType::Float64, text)?;
            }
            text.push(']');
            Ok(())
        }
        LogicalType::SparseVector => append_sparse_vector(value, text),
        _ => Err("is a list, and the column is none"),
    }
}

/// `{1,NULL,"with \"quotes\""}`, nested for several dimensions.
fn append_array(value: Value<'_>, element: &LogicalType, text: &mut String) -> Result<(), Refused> {
    let Value::List(list) = value else {
        return append(value, element, text);
    };
    // A comma is a part of a box, and PostGIS chose the colon.
    let delimiter = match element {
        LogicalType::Shape(ShapeKind::Box) => ';',
        LogicalType::Geometry | LogicalType::Geography => ':',
        _ => ',',
    };
    text.push('{');
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            text.push(delimiter);
        }
        match item {
            Value::Null => text.push_str("NULL"),
            Value::List(_) if !has_lists(element) => append_array(item, element, text)?,
            _ => {
                let mut plain = String::new();
                append(item, element, &mut plain)?;
                append_quoted(&plain, text);
            }
        }
    }
    text.push('}');
    Ok(())
}

/// A value of the type is a list itself.
fn has_lists(element: &LogicalType) -> bool {
    matches!(
        element,
        LogicalType::Map
            | LogicalType::Point
            | LogicalType::Line
            | LogicalType::Circle
            | LogicalType::Shape(_)
            | LogicalType::FloatVector
            | LogicalType::DoubleVector
            | LogicalType::SparseVector
    )
}

fn append_quoted(plain: &str, text: &mut String) {
    text.push('"');
    for character in plain.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
}

/// `"key"=>"value", "other"=>NULL`
fn append_map(value: Value<'_>, text: &mut String) -> Result<(), Refused> {
    for (index, (key, value)) in pairs(value)?.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        append_quoted(key, text);
        text.push_str("=>");
        match value {
            Some(value) => append_quoted(value, text),
            None => text.push_str("NULL"),
        }
    }
    Ok(())
}

fn pairs<'a>(value: Value<'a>) -> Result<Vec<(&'a str, Option<&'a str>)>, Refused> {
    let Value::List(list) = value else {
        return Err("is no map");
    };
    let mut pairs = Vec::new();
    let mut items = list.iter();
    while let Some(key) = items.next() {
        match (key, items.next()) {
            (Value::Text(key), Some(Value::Text(value))) => pairs.push((key, Some(value))),
            (Value::Text(key), Some(Value::Null)) => pairs.push((key, None)),
            _ => return Err("is no map of texts"),
        }
    }
    Ok(pairs)
}

fn floats<const N: usize>(value: Value<'_>) -> Result<[f64; N], Refused> {
    let mut numbers = [0.0; N];
    let Value::List(list) = value else {
        return Err(NO_GEOMETRY);
    };
    for (index, number) in numbers.iter_mut().enumerate() {
        match list.get(index) {
            Some(Value::Float64(value)) => *number = value,
            _ => return Err(NO_GEOMETRY),
        }
    }
    Ok(numbers)
}

/// `{index:value,…}/dimensions`
fn append_sparse_vector(value: Value<'_>, text: &mut String) -> Result<(), Refused> {
    let Value::List(list) = value else {
        return Err("is no vector");
    };
    let mut items = list.iter();
    let Some(Value::Int(dimensions)) = items.next() else {
        return Err("is no vector");
    };
    text.push('{');
    let mut is_first = true;
    while let Some(index) = items.next() {
        let (Value::Int(index), Some(element)) = (index, items.next()) else {
            return Err("is no vector");
        };
        if !std::mem::take(&mut is_first) {
            text.push(',');
        }
        write!(text, "{index}:").map_err(|_| BEYOND)?;
        append(element, &LogicalType::Float64, text)?;
    }
    write!(text, "}}/{dimensions}").map_err(|_| BEYOND)
}

/// The points of little-endian WKB, as the figure of PostgreSQL's own that they came from. Schemas know figures as geometries alone: where
/// nobody says whether a path is closed, it is where it ends at its beginning, which is then there twice.
fn append_shape(kind: ShapeKind, wkb: &[u8], is_closed: Option<bool>, text: &mut String) -> Result<(), Refused> {
    let mut points = wkb_points(wkb)?;
    let is_closed = is_closed.unwrap_or_else(|| {
        let bits = |point: &[f64; 2]| point.map(f64::to_bits);
        let is_ring = points.len() > 1 && points.first().map(bits) == points.last().map(bits);
        is_ring && kind == ShapeKind::Path && points.pop().is_some()
    });
    let (open, close) = match kind {
        ShapeKind::Box => {
            // A ring of its corners; two that lie opposite to each other say it all.
            let [first, _, opposite, ..] = &*points else {
                return Err(NO_GEOMETRY);
            };
            points = vec![*first, *opposite];
            ("", "")
        }
        ShapeKind::Path if !is_closed => ("[", "]"),
        ShapeKind::LineSegment => ("[", "]"),
        ShapeKind::Path | ShapeKind::Polygon => ("(", ")"),
    };
    text.push_str(open);
    for (index, [x, y]) in points.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(text, "{comma}({x},{y})").map_err(|_| BEYOND)?;
    }
    text.push_str(close);
    Ok(())
}

fn wkb_points(wkb: &[u8]) -> Result<Vec<[f64; 2]>, Refused> {
    let mut rest = wkb.get(1..).ok_or(NO_GEOMETRY)?;
    let mut number = || {
        let (number, behind) = rest.split_first_chunk::<4>()?;
        rest = behind;
        Some(u32::from_le_bytes(*number))
    };
    let kind = number().ok_or(NO_GEOMETRY)?;
    if kind & EWKB_HAS_SRID != 0 {
        number().ok_or(NO_GEOMETRY)?;
    }
    if kind & !EWKB_HAS_SRID == WKB_POLYGON && number() != Some(1) {
        return Err(NO_GEOMETRY);
    }
    let count = number().ok_or(NO_GEOMETRY)?;
    let (chunks, behind) = rest.as_chunks::<16>();
    if !behind.is_empty() || u32::try_from(chunks.len()) != Ok(count) {
        return Err(NO_GEOMETRY);
    }
    let point = |chunk: &[u8; 16]| {
        let (x, y) = chunk.split_first_chunk::<8>()?;
        Some([f64::from_le_bytes(*x), f64::from_le_bytes(*y.first_chunk()?)])
    };
    chunks.iter().map(|chunk| point(chunk).ok_or(NO_GEOMETRY)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tailrace_core::batch::ChangeBatch;
    use tailrace_core::position::{Position, Progress};

    use super::*;

    fn written(value: Value<'_>, source: &LogicalType, target: &LogicalType) -> String {
        let mut out = Vec::new();
        append_text(value, source, target, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_path_is_closed_where_its_ends_meet() {
        let path = LogicalType::Shape(ShapeKind::Path);
        let printed = |points: &[[f64; 2]]| {
            let mut wkb = vec![1, 2, 0, 0, 0];
            wkb.extend(u32::try_from(points.len()).unwrap().to_le_bytes());
            wkb.extend(points.iter().flatten().flat_map(|number| number.to_le_bytes()));
            written(Value::Bytes(&wkb), &LogicalType::Geometry, &path)
        };
        let (first, second) = ([0.5, -1.0], [2.0, 3.0]);
        assert_eq!(printed(&[first, second]), "[(0.5,-1),(2,3)]");
        assert_eq!(printed(&[first, second, first]), "((0.5,-1),(2,3))");
        assert_eq!(printed(&[first]), "[(0.5,-1)]");
        assert_eq!(printed(&[first, first]), "((0.5,-1))");
    }

    #[test]
    fn a_vector_is_an_array_in_a_column_of_arrays() {
        let mut batch = ChangeBatch::new(Arc::from("t"), Progress::at(Position::new("0")));
        batch.begin_row().unwrap();
        batch.begin_list();
        batch.push_float32(1.5);
        batch.push_float32(-2.0);
        batch.end_list().unwrap();
        let row = batch.end_row().unwrap();
        let vector = || batch.row(row).get(0);
        let array = LogicalType::Array(Box::new(LogicalType::Float32));
        assert_eq!(written(vector(), &LogicalType::FloatVector, &array), r#"{"1.5","-2"}"#);
        let text = LogicalType::Text(tailrace_core::value::TextKind::Plain);
        assert_eq!(written(vector(), &LogicalType::FloatVector, &text), "[1.5,-2]");
    }
}
