//! Vectors of floats, dense and sparse.

use tailrace_core::batch::ListView;
use tailrace_core::value::Value;

use super::number::{FloatStyle, write_float32, write_float64, write_int};
use super::{CellError, CellResult};

/// Writes a dense vector.
pub(crate) fn write_vector(out: &mut Vec<u8>, list: ListView<'_>, style: FloatStyle) -> CellResult {
    out.push(b'[');
    for (index, value) in list.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_element(out, value, style)?;
    }
    out.push(b']');
    Ok(())
}

fn write_element(out: &mut Vec<u8>, value: Value<'_>, style: FloatStyle) -> CellResult {
    match value {
        Value::Float32(value) => write_float32(out, value, style),
        Value::Float64(value) => write_float64(out, value, style),
        _ => return Err(CellError::mismatch()),
    }
    Ok(())
}

/// Writes a sparse vector. Connect writes maps with numbers as keys as lists of pairs; the entity envelope has an object.
pub(crate) fn write_sparse(out: &mut Vec<u8>, list: ListView<'_>, style: FloatStyle) -> CellResult {
    let mut values = list.iter();
    let Some(Value::Int(dimensions)) = values.next() else {
        return Err(CellError::mismatch());
    };
    let pairs = style == FloatStyle::Java;
    if pairs && i16::try_from(dimensions).is_err() {
        return Err(CellError::new(
            "is a sparse vector of more than 32767 dimensions, which Debezium's type cannot hold",
            "use envelope: entity, or leave the column out",
        ));
    }
    out.extend_from_slice(b"{\"dimensions\":");
    write_int(out, dimensions);
    out.extend_from_slice(if pairs { b",\"vector\":[" } else { b",\"vector\":{" });
    let mut first = true;
    while let Some(index) = values.next() {
        let (Value::Int(index), Some(value)) = (index, values.next()) else {
            return Err(CellError::mismatch());
        };
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.push(if pairs { b'[' } else { b'"' });
        write_int(out, index);
        out.extend_from_slice(if pairs { b"," } else { b"\":" });
        write_element(out, value, style)?;
        if pairs {
            out.push(b']');
        }
    }
    out.extend_from_slice(if pairs { b"]}" } else { b"}}" });
    Ok(())
}
