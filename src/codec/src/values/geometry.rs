//! Points, lines, circles and shapes as Debezium's geometry structs (3.7): WKB, its SRID, and what else must be
//! known to read the shape back. Under the entity envelope points and circles are just their numbers, and a point of MySQL
//! also the number of its reference system.

use tailrace_core::batch::ListView;
use tailrace_core::value::{ShapeKind, Value};

use super::number::FloatStyle;
use super::{CellError, CellResult};
use crate::dialect::Dialect;
use crate::notation::Notation;

/// Flag of an EWKB type number: a SRID follows.
pub(crate) const EWKB_SRID_FLAG: u32 = 0x2000_0000;

/// What a point says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PointForm {
    /// Its two numbers.
    Numbers,
    /// Its two numbers and the number of their reference system.
    NumbersAndSystem,
    /// Both, and WKB between them, as Debezium has it.
    Debezium,
}

/// What the WKB of a geometry has in it; its SRID stands beside it in either form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WkbForm {
    /// PostGIS's own: the SRID too, where there is one.
    Extended,
    /// The standard's: no SRID.
    Standard,
}

// === impl PointForm ===

impl PointForm {
    /// What a point says under an envelope, in a dialect.
    pub(crate) fn of(style: FloatStyle, dialect: Dialect) -> Self {
        match (style, dialect) {
            (FloatStyle::Java, _) => Self::Debezium,
            (FloatStyle::Plain, Dialect::MySql) => Self::NumbersAndSystem,
            (FloatStyle::Plain, Dialect::Common) => Self::Numbers,
        }
    }

    fn style(self) -> FloatStyle {
        match self {
            Self::Debezium => FloatStyle::Java,
            Self::Numbers | Self::NumbersAndSystem => FloatStyle::Plain,
        }
    }
}

/// Writes a point: two numbers, and a third for its reference system where it has one.
pub(crate) fn write_point<N: Notation>(out: &mut Vec<u8>, list: ListView<'_>, form: PointForm) -> CellResult {
    let (Some(Value::Float64(x)), Some(Value::Float64(y))) = (list.get(0), list.get(1)) else {
        return Err(CellError::mismatch());
    };
    let srid = match (list.len(), list.get(2)) {
        (2, _) => None,
        (3, Some(Value::Int(srid))) => Some(srid),
        _ => return Err(CellError::mismatch()),
    };
    if form != PointForm::Numbers {
        check_srid::<N>(srid)?;
    }
    write_coordinates::<N>(out, [x, y], srid, form);
    Ok(())
}

/// Schemas have 32 bits with a sign for the number of a reference system.
fn check_srid<N: Notation>(srid: Option<i64>) -> CellResult {
    if N::HAS_TYPES && srid.is_some_and(|srid| i32::try_from(srid).is_err()) {
        return Err(CellError::unrepresentable(
            "has a reference system whose number 32 bits cannot hold, which is what its schema says",
            "use codec: json, or leave the column out",
        ));
    }
    Ok(())
}

/// Writes a point from its coordinates.
pub(crate) fn write_coordinates<N: Notation>(out: &mut Vec<u8>, [x, y]: [f64; 2], srid: Option<i64>, form: PointForm) {
    N::syntax(out, b"{\"x\":");
    N::float64(out, x, form.style());
    N::syntax(out, b",\"y\":");
    N::float64(out, y, form.style());
    if form == PointForm::Debezium {
        N::syntax(out, b",\"wkb\":");
        N::optional(out, true);
        N::bytes(out, &point_wkb(x, y));
    }
    if form != PointForm::Numbers {
        write_srid::<N>(out, srid);
    }
    N::syntax(out, b"}");
}

/// Writes the number of a reference system, with its name.
pub(crate) fn write_srid<N: Notation>(out: &mut Vec<u8>, srid: Option<i64>) {
    N::syntax(out, b",\"srid\":");
    N::optional(out, srid.is_some());
    if let Some(srid) = srid {
        N::int(out, srid);
    }
}

fn point_wkb(x: f64, y: f64) -> [u8; 21] {
    let mut wkb = [0; 21];
    let header = [1, 1, 0, 0, 0];
    let body = header.into_iter().chain(x.to_le_bytes()).chain(y.to_le_bytes());
    wkb.iter_mut().zip(body).for_each(|(to, from)| *to = from);
    wkb
}

/// Writes a line by its three coefficients.
pub(crate) fn write_line<N: Notation>(out: &mut Vec<u8>, list: ListView<'_>, style: FloatStyle) -> CellResult {
    write_coefficients::<N>(out, numbers(list)?, style);
    Ok(())
}

/// Writes a line from its coefficients.
pub(crate) fn write_coefficients<N: Notation>(out: &mut Vec<u8>, coefficients: [f64; 3], style: FloatStyle) {
    for (name, value) in ["{\"a\":", ",\"b\":", ",\"c\":"].into_iter().zip(coefficients) {
        N::syntax(out, name.as_bytes());
        N::float64(out, value, style);
    }
    N::syntax(out, b"}");
}

/// Writes a circle by centre and radius.
pub(crate) fn write_circle<N: Notation>(out: &mut Vec<u8>, list: ListView<'_>, style: FloatStyle) -> CellResult {
    write_disc::<N>(out, numbers(list)?, style);
    Ok(())
}

/// Writes a circle from x, y and radius.
pub(crate) fn write_disc<N: Notation>(out: &mut Vec<u8>, [x, y, radius]: [f64; 3], style: FloatStyle) {
    N::syntax(out, b"{\"center\":");
    write_coordinates::<N>(out, [x, y], None, PointForm::of(style, Dialect::Common));
    N::syntax(out, b",\"radius\":");
    N::float64(out, radius, style);
    N::syntax(out, b"}");
}

/// Writes a box, line segment, path or polygon.
pub(crate) fn write_shape<N: Notation>(out: &mut Vec<u8>, list: ListView<'_>, kind: ShapeKind) -> CellResult {
    let (Some(Value::Bytes(wkb)), Some(Value::Boolean(closed))) = (list.get(0), list.get(1)) else {
        return Err(CellError::mismatch());
    };
    write_wkb::<N>(out, wkb, None);
    write_extensions::<N>(out, &extensions(kind, closed));
    N::syntax(out, b"}");
    Ok(())
}

/// Writes the fields that every geometry begins with.
pub(crate) fn write_wkb<N: Notation>(out: &mut Vec<u8>, wkb: &[u8], srid: Option<i64>) {
    N::syntax(out, b"{\"wkb\":");
    N::bytes(out, wkb);
    write_srid::<N>(out, srid);
}

/// What Debezium notes about a shape beside its WKB.
pub(crate) fn extensions(kind: ShapeKind, closed: bool) -> [(&'static str, &'static str); 2] {
    let closed = if closed { "true" } else { "false" };
    match kind {
        ShapeKind::Box => [("type", "box"), NO_EXTENSION],
        ShapeKind::LineSegment => [("type", "lseg"), NO_EXTENSION],
        ShapeKind::Path => [("type", "path"), ("closed", closed)],
        ShapeKind::Polygon => [("type", "polygon"), NO_EXTENSION],
    }
}

/// Fills the place of an extension that a shape does not have.
const NO_EXTENSION: (&str, &str) = ("", "");

/// Writes the map of what else must be known of a shape; nothing is known where there are no extensions.
pub(crate) fn write_extensions<N: Notation>(out: &mut Vec<u8>, extensions: &[(&str, &str)]) {
    N::syntax(out, b",\"extensions\":");
    N::optional(out, !extensions.is_empty());
    if extensions.is_empty() {
        return;
    }
    let there = || extensions.iter().filter(|extension| **extension != NO_EXTENSION);
    let count = there().count();
    N::begin_map(out, count);
    for (index, (key, value)) in there().enumerate() {
        N::map_key(out, index, key);
        N::text(out, value);
    }
    N::end_map(out, count);
}

/// Writes a geometry, given as EWKB.
pub(crate) fn write_geometry<N: Notation>(out: &mut Vec<u8>, ewkb: &[u8], form: WkbForm) -> CellResult {
    write_ewkb::<N>(out, ewkb, form)?;
    write_extensions::<N>(out, &[]);
    N::syntax(out, b"}");
    Ok(())
}

/// Writes a geography, given as EWKB; it has no field for extensions.
pub(crate) fn write_geography<N: Notation>(out: &mut Vec<u8>, ewkb: &[u8]) -> CellResult {
    write_ewkb::<N>(out, ewkb, WkbForm::Extended)?;
    N::syntax(out, b"}");
    Ok(())
}

fn write_ewkb<N: Notation>(out: &mut Vec<u8>, ewkb: &[u8], form: WkbForm) -> CellResult {
    let srid = srid_of(ewkb)?;
    let number = srid.map(i64::from);
    check_srid::<N>(number)?;
    match (form, srid) {
        (WkbForm::Standard, Some(_)) => write_wkb::<N>(out, &without_srid(ewkb)?, number),
        _ => write_wkb::<N>(out, ewkb, number),
    }
    Ok(())
}

/// Standard WKB from EWKB that has a SRID: the four bytes of it, and the flag that tells of it, taken out.
fn without_srid(ewkb: &[u8]) -> Result<Vec<u8>, CellError> {
    let (head, rest) = ewkb.split_at_checked(1 + 4 + 4).ok_or_else(broken)?;
    let mut wkb = head.get(..1 + 4).ok_or_else(broken)?.to_vec();
    // The flag is in the type's most significant byte.
    let most_significant = if head.first() == Some(&0) { 1 } else { 4 };
    if let Some(byte) = wkb.get_mut(most_significant) {
        *byte &= !EWKB_SRID_FLAG.to_be_bytes()[0];
    }
    wkb.extend_from_slice(rest);
    Ok(wkb)
}

fn broken() -> CellError {
    CellError::new("is not EWKB", "please report this as a bug, with the column's type")
}

pub(crate) fn srid_of(ewkb: &[u8]) -> Result<Option<u32>, CellError> {
    let (order, rest) = ewkb.split_first().ok_or_else(broken)?;
    let number = |bytes: [u8; 4]| {
        if *order == 0 {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    };
    let kind = number(*rest.first_chunk().ok_or_else(broken)?);
    if kind & EWKB_SRID_FLAG == 0 {
        return Ok(None);
    }
    let srid = rest.get(4..).and_then(|rest| rest.first_chunk()).ok_or_else(broken)?;
    Ok(Some(number(*srid)))
}

fn numbers<const COUNT: usize>(list: ListView<'_>) -> Result<[f64; COUNT], CellError> {
    if list.len() != COUNT {
        return Err(CellError::mismatch());
    }
    let mut values = [0.0; COUNT];
    for (to, from) in values.iter_mut().zip(list.iter()) {
        let Value::Float64(value) = from else {
            return Err(CellError::mismatch());
        };
        *to = value;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::Json;

    #[test]
    fn srid_is_read_in_either_byte_order() {
        let little = [1, 1, 0, 0, 0x20, 0x73, 0x0c, 0, 0, 9, 9];
        assert_eq!(srid_of(&little), Ok(Some(3187)));
        let big = [0, 0x20, 0, 0, 1, 0, 0, 0x10, 0xe6];
        assert_eq!(srid_of(&big), Ok(Some(4326)));
        assert_eq!(srid_of(&[1, 7, 0, 0, 0, 0, 0, 0, 0]), Ok(None));
    }

    #[test]
    fn standard_wkb_has_no_srid_in_it() {
        let written = |ewkb: &[u8], form| {
            let mut out = Vec::new();
            write_geometry::<Json>(&mut out, ewkb, form).unwrap();
            String::from_utf8(out).unwrap()
        };
        let little = [1, 7, 0, 0, 0x20, 0xe6, 0x10, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            written(&little, WkbForm::Standard),
            r#"{"wkb":"AQcAAAAAAAAA","srid":4326,"extensions":null}"#
        );
        assert_eq!(
            written(&little, WkbForm::Extended),
            r#"{"wkb":"AQcAACDmEAAAAAAAAA==","srid":4326,"extensions":null}"#
        );
        let big = [0, 0x20, 0, 0, 7, 0, 0, 0x10, 0xe6, 0, 0, 0, 0];
        assert_eq!(
            written(&big, WkbForm::Standard),
            r#"{"wkb":"AAAAAAcAAAAA","srid":4326,"extensions":null}"#
        );
        let without = [1, 7, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            written(&without, WkbForm::Standard),
            written(&without, WkbForm::Extended)
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        let little = [1, 1, 0, 0, 0x20, 0x73, 0x0c, 0, 0];
        for length in 0..little.len() {
            assert!(srid_of(&little[..length]).is_err());
            assert!(write_geometry::<Json>(&mut Vec::new(), &little[..length], WkbForm::Standard).is_err());
        }
    }
}
