//! Vectors of floats, dense and sparse.

use tailrace_core::batch::ListView;
use tailrace_core::value::Value;

use super::number::FloatStyle;
use super::{CellError, CellResult};
use crate::notation::Notation;

/// Writes a dense vector.
pub(crate) fn write_vector<N: Notation>(out: &mut Vec<u8>, list: ListView<'_>, style: FloatStyle) -> CellResult {
    N::begin_list(out, list.len());
    for (index, value) in list.iter().enumerate() {
        N::element(out, index);
        write_element::<N>(out, value, style)?;
    }
    N::end_list(out, list.len());
    Ok(())
}

fn write_element<N: Notation>(out: &mut Vec<u8>, value: Value<'_>, style: FloatStyle) -> CellResult {
    match value {
        Value::Float32(value) => N::float32(out, value, style),
        Value::Float64(value) => N::float64(out, value, style),
        _ => return Err(CellError::mismatch()),
    }
    Ok(())
}

/// Writes a sparse vector. Connect writes maps with numbers as keys as lists of pairs; the entity envelope has a map.
pub(crate) fn write_sparse<N: Notation>(out: &mut Vec<u8>, list: ListView<'_>, style: FloatStyle) -> CellResult {
    let mut values = list.iter();
    let Some(Value::Int(dimensions)) = values.next() else {
        return Err(CellError::mismatch());
    };
    let pairs = style == FloatStyle::Java;
    if pairs && i16::try_from(dimensions).is_err() {
        return Err(CellError::unrepresentable(
            "is a sparse vector of more than 32767 dimensions, which Debezium's type cannot hold",
            "use envelope: entity, or leave the column out",
        ));
    }
    let entries = list.len() / 2;
    N::syntax(out, b"{\"dimensions\":");
    N::int(out, dimensions);
    N::syntax(out, b",\"vector\":");
    if pairs {
        N::begin_list(out, entries);
    } else {
        N::begin_map(out, entries);
    }
    let mut at = 0;
    while let Some(index) = values.next() {
        let (Value::Int(index), Some(value)) = (index, values.next()) else {
            return Err(CellError::mismatch());
        };
        if pairs {
            N::element(out, at);
            N::syntax(out, b"[");
            N::int(out, index);
            N::syntax(out, b",");
        } else {
            N::map_key(out, at, itoa::Buffer::new().format(index));
        }
        write_element::<N>(out, value, style)?;
        if pairs {
            N::syntax(out, b"]");
        }
        at += 1;
    }
    if pairs {
        N::end_list(out, entries);
    } else {
        N::end_map(out, entries);
    }
    N::syntax(out, b"}");
    Ok(())
}
