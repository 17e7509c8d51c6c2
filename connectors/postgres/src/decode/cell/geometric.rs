//! `point`, `line`, `circle`, and the figures that are published as WKB.
//!
//! A box becomes the closed ring of its corners, from the lower left one on, as PostGIS casts it. A polygon keeps its ring
//! as it is stored, and a path its points; whether a path is closed is said beside the WKB.

use tailrace_core::batch::ChangeBatch;
use tailrace_core::value::ShapeKind;

use super::scan::Scan;
use super::{Result, ValueError};
use crate::decode::reader::Reader;

const WKB_LITTLE_ENDIAN: u8 = 1;
const WKB_LINE_STRING: u32 = 2;
const WKB_POLYGON: u32 = 3;

type Point = [f64; 2];

/// `(x,y)`
pub(super) fn push_point_text(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let mut scan = Scan::new(bytes, "point");
    let point = take_point(&mut scan)?;
    scan.finish()?;
    push_floats(&point, batch)
}

/// `{A,B,C}`
pub(super) fn push_line_text(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let mut scan = Scan::new(bytes, "line");
    scan.expect(b"{")?;
    let a = scan.float()?;
    scan.expect(b",")?;
    let b = scan.float()?;
    scan.expect(b",")?;
    let c = scan.float()?;
    scan.expect(b"}")?;
    scan.finish()?;
    push_floats(&[a, b, c], batch)
}

/// `<(x,y),r>`
pub(super) fn push_circle_text(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let mut scan = Scan::new(bytes, "circle");
    scan.expect(b"<")?;
    let [x, y] = take_point(&mut scan)?;
    scan.expect(b",")?;
    let radius = scan.float()?;
    scan.expect(b">")?;
    scan.finish()?;
    push_floats(&[x, y, radius], batch)
}

/// box `(x,y),(x,y)` · lseg `[(x,y),(x,y)]` · path `((x,y),…)` or, open, `[(x,y),…]` · polygon `((x,y),…)`
pub(super) fn push_shape_text(kind: ShapeKind, bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let mut scan = Scan::new(bytes, shape_name(kind));
    let closing = match (kind, scan.peek()) {
        (ShapeKind::Box, _) => None,
        (ShapeKind::LineSegment | ShapeKind::Path, Some(b'[')) => Some(b']'),
        (ShapeKind::Path | ShapeKind::Polygon, Some(b'(')) => Some(b')'),
        _ => return Err(scan.malformed()),
    };
    if closing.is_some() {
        scan.next()?;
    }
    let mut points = vec![take_point(&mut scan)?];
    while scan.accept(b',') {
        points.push(take_point(&mut scan)?);
    }
    if let Some(closing) = closing {
        scan.expect(&[closing])?;
    }
    scan.finish()?;
    push_shape(kind, closing != Some(b']'), &points, batch)
}

/// As many floats as the type has, and nothing else.
pub(super) fn push_floats_binary<const N: usize>(
    bytes: &[u8],
    what: &'static str,
    batch: &mut ChangeBatch,
) -> Result<()> {
    let mut reader = Reader::new(what, bytes);
    let mut floats = [0.0; N];
    for float in &mut floats {
        *float = f64::from_be_bytes(reader.array().map_err(|_| ValueError::Malformed(what))?);
    }
    reader.finish().map_err(|_| ValueError::Malformed(what))?;
    push_floats(&floats, batch)
}

/// box and lseg: two points · path: closed u8 · points i32 · points · polygon: points i32 · points
pub(super) fn push_shape_binary(kind: ShapeKind, bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let malformed = |_| ValueError::Malformed(shape_name(kind));
    let mut reader = Reader::new(shape_name(kind), bytes);
    let closed = match kind {
        ShapeKind::Path => reader.u8().map_err(malformed)? != 0,
        ShapeKind::Box | ShapeKind::Polygon => true,
        ShapeKind::LineSegment => false,
    };
    let count = match kind {
        ShapeKind::Path | ShapeKind::Polygon => reader.u32().map_err(malformed)?,
        ShapeKind::Box | ShapeKind::LineSegment => 2,
    };
    // Pushed one by one: a count that lies meets the end of the value before it costs memory.
    let mut points = Vec::new();
    for _ in 0..count {
        let x = f64::from_be_bytes(reader.array().map_err(malformed)?);
        let y = f64::from_be_bytes(reader.array().map_err(malformed)?);
        points.push([x, y]);
    }
    reader.finish().map_err(malformed)?;
    push_shape(kind, closed, &points, batch)
}

fn take_point(scan: &mut Scan<'_>) -> Result<Point> {
    scan.expect(b"(")?;
    let x = scan.float()?;
    scan.expect(b",")?;
    let y = scan.float()?;
    scan.expect(b")")?;
    Ok([x, y])
}

pub(super) fn push_floats(floats: &[f64], batch: &mut ChangeBatch) -> Result<()> {
    batch.begin_list();
    floats.iter().for_each(|float| batch.push_float64(*float));
    Ok(batch.end_list()?)
}

fn push_shape(kind: ShapeKind, closed: bool, points: &[Point], batch: &mut ChangeBatch) -> Result<()> {
    let ring;
    let (geometry, points) = match (kind, points) {
        (ShapeKind::Box, [[x1, y1], [x2, y2]]) => {
            let (left, right) = (x1.min(*x2), x1.max(*x2));
            let (low, high) = (y1.min(*y2), y1.max(*y2));
            ring = [[left, low], [left, high], [right, high], [right, low], [left, low]];
            (WKB_POLYGON, ring.as_slice())
        }
        (ShapeKind::LineSegment, [_, _]) | (ShapeKind::Path, [_, ..]) => (WKB_LINE_STRING, points),
        (ShapeKind::Polygon, [_, ..]) => (WKB_POLYGON, points),
        _ => return Err(ValueError::Malformed(shape_name(kind))),
    };
    let count = u32::try_from(points.len()).map_err(|_| ValueError::OutOfRange("WKB"))?;
    batch.begin_list();
    batch.push_bytes_with(|wkb| {
        wkb.push(WKB_LITTLE_ENDIAN);
        wkb.extend(geometry.to_le_bytes());
        if geometry == WKB_POLYGON {
            wkb.extend(1_u32.to_le_bytes());
        }
        wkb.extend(count.to_le_bytes());
        wkb.extend(points.iter().flatten().flat_map(|coordinate| coordinate.to_le_bytes()));
    })?;
    batch.push_boolean(closed);
    Ok(batch.end_list()?)
}

fn shape_name(kind: ShapeKind) -> &'static str {
    match kind {
        ShapeKind::Box => "box",
        ShapeKind::LineSegment => "lseg",
        ShapeKind::Path => "path",
        ShapeKind::Polygon => "polygon",
    }
}
