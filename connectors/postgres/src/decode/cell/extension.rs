//! Types of extensions, known by their names: hstore and pgvector's three.

use tailrace_core::batch::ChangeBatch;

use super::number::{float32_from_text, float64_from_text, integer};
use super::scan::Scan;
use super::{Result, ValueError, characters};
use crate::decode::reader::Reader;

// --- hstore

/// `"key"=>"value", "key2"=>NULL`, in the order that is stored.
pub(super) fn push_map_text(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let mut scan = Scan::new(bytes, "hstore");
    let mut scratch = Vec::new();
    batch.begin_list();
    while scan.peek().is_some() {
        scan.expect(b"\"")?;
        batch.push_text(characters(scan.quoted(&mut scratch)?)?)?;
        scan.expect(b"=>")?;
        if scan.accept(b'"') {
            batch.push_text(characters(scan.quoted(&mut scratch)?)?)?;
        } else {
            scan.expect(b"NULL")?;
            batch.push_null();
        }
        if scan.peek().is_some() {
            scan.expect(b", ")?;
            if scan.peek().is_none() {
                return Err(scan.malformed());
            }
        }
    }
    Ok(batch.end_list()?)
}

/// pairs i32 · per pair: length i32 · key · length i32 (-1: null) · value
pub(super) fn push_map_binary(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let malformed = |_| ValueError::Malformed("hstore");
    let mut reader = Reader::new("hstore", bytes);
    let pairs = reader.u32().map_err(malformed)?;
    batch.begin_list();
    for _ in 0..pairs {
        batch.push_text(characters(reader.counted().map_err(malformed)?)?)?;
        if let Some(rest) = reader.rest().strip_prefix(&(-1_i32).to_be_bytes()) {
            batch.push_null();
            reader = Reader::new("hstore", rest);
        } else {
            batch.push_text(characters(reader.counted().map_err(malformed)?)?)?;
        }
    }
    reader.finish().map_err(malformed)?;
    Ok(batch.end_list()?)
}

// --- pgvector

/// `[1,2.5,3]`. The digits are read as double precision, as JSON readers will.
pub(super) fn push_vector_text(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    push_elements(Scan::new(bytes, "vector"), batch, |element, batch| {
        batch.push_float64(float64_from_text(element)?);
        Ok(())
    })
}

/// `[1,2.5,3]`
pub(super) fn push_half_vector_text(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    push_elements(Scan::new(bytes, "halfvec"), batch, |element, batch| {
        batch.push_float32(float32_from_text(element)?);
        Ok(())
    })
}

fn push_elements(
    mut scan: Scan<'_>,
    batch: &mut ChangeBatch,
    push: impl Fn(&[u8], &mut ChangeBatch) -> Result<()>,
) -> Result<()> {
    scan.expect(b"[")?;
    batch.begin_list();
    loop {
        push(scan.until(|byte| matches!(byte, b',' | b']'))?, batch)?;
        match scan.next()? {
            b',' => {}
            b']' => break,
            _ => return Err(scan.malformed()),
        }
    }
    scan.finish()?;
    Ok(batch.end_list()?)
}

/// `{1:1.5,3:2}/5`: index (from 1) and value of the elements that are not zero, and the count of all.
pub(super) fn push_sparse_vector_text(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let mut scan = Scan::new(bytes, "sparsevec");
    let slash = bytes.iter().rposition(|byte| *byte == b'/').ok_or(scan.malformed())?;
    let dimensions = bytes.get(slash.saturating_add(1)..).and_then(integer);
    batch.begin_list();
    batch.push_int(dimensions.filter(|count| *count > 0).ok_or(scan.malformed())?);
    scan.expect(b"{")?;
    while !scan.accept(b'}') {
        let index = integer(scan.until(|byte| byte == b':')?).filter(|index| *index > 0);
        batch.push_int(index.ok_or(scan.malformed())?);
        scan.expect(b":")?;
        batch.push_float64(scan.float()?);
        if scan.peek() != Some(b'}') {
            scan.expect(b",")?;
        }
    }
    scan.expect(b"/")?;
    scan.until(|_| false)?;
    scan.finish()?;
    Ok(batch.end_list()?)
}

/// dimensions i16 · unused i16 · single precision each
pub(super) fn push_vector_binary(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    const WHAT: &str = "vector";
    let elements = vector_elements::<4>(bytes, WHAT)?;
    batch.begin_list();
    for element in elements {
        batch.push_float64(widen(f32::from_be_bytes(*element))?);
    }
    Ok(batch.end_list()?)
}

/// dimensions i16 · unused i16 · half precision each
pub(super) fn push_half_vector_binary(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let elements = vector_elements::<2>(bytes, "halfvec")?;
    batch.begin_list();
    elements
        .iter()
        .for_each(|element| batch.push_float32(float32_from_half(u16::from_be_bytes(*element))));
    Ok(batch.end_list()?)
}

fn vector_elements<'a, const N: usize>(bytes: &'a [u8], what: &'static str) -> Result<&'a [[u8; N]]> {
    let mut reader = Reader::new(what, bytes);
    let header = reader
        .u16()
        .and_then(|dimensions| reader.u16().map(|_unused| dimensions));
    match (header, reader.rest().as_chunks::<N>()) {
        (Ok(dimensions), (elements, [])) if elements.len() == usize::from(dimensions) => Ok(elements),
        _ => Err(ValueError::Malformed(what)),
    }
}

/// dimensions i32 · count i32 · unused i32 · indexes from 0, i32 each · values, single precision each
pub(super) fn push_sparse_vector_binary(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let malformed = ValueError::Malformed("sparsevec");
    let mut reader = Reader::new("sparsevec", bytes);
    let mut header = || reader.u32();
    let (Ok(dimensions), Ok(count), Ok(_unused)) = (header(), header(), header()) else {
        return Err(malformed);
    };
    let (cells, []) = reader.rest().as_chunks::<4>() else {
        return Err(malformed);
    };
    let half = usize::try_from(count).map_err(|_| malformed)?;
    if cells.len().checked_sub(half) != Some(half) || dimensions == 0 {
        return Err(malformed);
    }
    let (indexes, values) = cells.split_at_checked(half).ok_or(malformed)?;
    batch.begin_list();
    batch.push_int(i64::from(dimensions));
    for (index, value) in indexes.iter().zip(values) {
        batch.push_int(i64::from(u32::from_be_bytes(*index)) + 1);
        batch.push_float64(widen(f32::from_be_bytes(*value))?);
    }
    Ok(batch.end_list()?)
}

/// The double precision number of the digits that the server prints for a single precision one: 0.1 and not
/// 0.10000000149011612, because the text form knows only the digits.
fn widen(value: f32) -> Result<f64> {
    if !value.is_finite() {
        return Err(ValueError::OutOfRange("a vector's element"));
    }
    // Whole numbers have the same digits in both.
    if value.fract() == 0.0 && value.abs() < 16_777_216.0 {
        return Ok(f64::from(value));
    }
    value.to_string().parse().map_err(|_| ValueError::Malformed("vector"))
}

/// IEEE 754 half precision: sign 1 bit · exponent 5 bits, bias 15 · fraction 10 bits.
fn float32_from_half(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let exponent = u32::from(half >> 10 & 0x1f);
    let fraction = u32::from(half & 0x03ff);
    match exponent {
        0 => {
            // Subnormal: fraction × 2^-24, exact in single precision.
            let magnitude = f32::from(half & 0x03ff) * 2.0_f32.powi(-24);
            f32::from_bits(magnitude.to_bits() | sign)
        }
        0x1f => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn half_precision() {
        for (half, expected) in [
            (0x0000, 0.0_f32),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x5650, 101.0),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(float32_from_half(half).to_bits(), expected.to_bits(), "{half:#x}");
        }
        assert!(float32_from_half(0x7e00).is_nan());
    }

    #[test]
    fn widening_keeps_the_digits() {
        for value in [
            0.1_f32,
            1.0,
            -3.25,
            16_777_216.0,
            1e20,
            1e-20,
            f32::MAX,
            f32::MIN_POSITIVE,
        ] {
            assert_eq!(widen(value), Ok(value.to_string().parse().unwrap()), "{value}");
        }
        assert_eq!(widen(0.1), Ok(0.1));
        assert_eq!(widen(-0.0).map(f64::to_bits), Ok((-0.0_f64).to_bits()));
        assert!(widen(f32::NAN).is_err());
    }
}
