//! Geometries and vectors, as the server stores them.

use tailrace_core::batch::ListView;
use tailrace_core::value::Value;
use tailrace_sql::sink::plain::{Plain, single, write_hexadecimal};

use super::Misfit;

/// Flags of a geometry's type in EWKB: the number of a reference system follows; there are third and fourth coordinates.
const EWKB_SYSTEM: u32 = 0x2000_0000;
const EWKB_DIMENSIONS: u32 = 0xc000_0000;
/// Types of WKB with two coordinates end here.
const WKB_LAST: u32 = 7;
const WKB_POINT: u32 = 1;
/// Low byte first, the only order that the server stores.
const LITTLE_ENDIAN: u8 = 1;

/// Into POINT, GEOMETRY and the others.
pub(super) fn geometry(plain: Plain<'_>, out: &mut String) -> Result<(), Misfit> {
    let mut stored = Vec::new();
    match plain {
        Plain::Point { x, y, reference_system } => {
            let number = u32::try_from(reference_system).map_err(|_| unknown())?;
            stored.extend(number.to_le_bytes());
            stored.push(LITTLE_ENDIAN);
            stored.extend(WKB_POINT.to_le_bytes());
            stored.extend(x.to_le_bytes());
            stored.extend(y.to_le_bytes());
        }
        Plain::Wkb(bytes) | Plain::Ewkb(bytes) | Plain::Bytes(bytes) => store(bytes, &mut stored)?,
        _ => return Err(Misfit::kind("geometries")),
    }
    out.push_str("x'");
    write_hexadecimal(&stored, out);
    out.push('\'');
    Ok(())
}

/// The number of the reference system stands before the WKB.
fn store(ewkb: &[u8], stored: &mut Vec<u8>) -> Result<(), Misfit> {
    let (order, rest) = ewkb.split_first().ok_or_else(unknown)?;
    let (kind, rest) = rest.split_first_chunk::<4>().ok_or_else(unknown)?;
    if *order != LITTLE_ENDIAN {
        return Err(Misfit::new(
            "it is stored high byte first; store it as ST_AsEWKB(…, 'NDR') gives it",
        ));
    }
    let kind = u32::from_le_bytes(*kind);
    let plain = kind & !EWKB_SYSTEM;
    if kind & EWKB_DIMENSIONS != 0 || plain == 0 || plain > WKB_LAST {
        return Err(Misfit::new(
            "it takes figures of two coordinates; use ST_Force2D at the source",
        ));
    }
    let (system, rest) = match kind & EWKB_SYSTEM {
        0 => ([0; 4], rest),
        _ => {
            let (system, rest) = rest.split_first_chunk::<4>().ok_or_else(unknown)?;
            (*system, rest)
        }
    };
    stored.extend(system);
    stored.push(LITTLE_ENDIAN);
    stored.extend(plain.to_le_bytes());
    stored.extend(rest);
    Ok(())
}

/// Into VECTOR: numbers of single precision, low byte first.
pub(super) fn vector(plain: Plain<'_>, out: &mut String) -> Result<(), Misfit> {
    let (Plain::Vector(list) | Plain::List(list)) = plain else {
        return Err(Misfit::kind("vectors"));
    };
    out.push_str("x'");
    for number in numbers(list)? {
        write_hexadecimal(&number.to_le_bytes(), out);
    }
    out.push('\'');
    Ok(())
}

fn numbers(list: ListView<'_>) -> Result<Vec<f32>, Misfit> {
    let number = |value| match value {
        Value::Float32(number) => Ok(number),
        Value::Float64(number) => {
            single(number).ok_or_else(|| Misfit::new("its numbers are of single precision; give it the type JSON"))
        }
        _ => Err(Misfit::kind("vectors")),
    };
    list.iter().map(number).collect()
}

fn unknown() -> Misfit {
    Misfit::new("the bytes are no geometry; correct them at the source")
}
