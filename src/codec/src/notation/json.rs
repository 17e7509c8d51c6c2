//! JSON text, as Kafka Connect's converter writes it.

use super::{Notation, Optionality};
use crate::values::bytes::append_base64;
use crate::values::number::{FloatStyle, write_float32, write_float64, write_int};
use crate::values::text::{write_text, write_text_nested};

/// JSON text, UTF-8.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Json;

impl Notation for Json {
    const HAS_TYPES: bool = false;
    const INNER_QUOTE: &'static [u8] = b"\\\"";

    fn syntax(out: &mut Vec<u8>, json: &[u8]) {
        out.extend_from_slice(json);
    }

    fn close_object(out: &mut Vec<u8>, start: usize) {
        match out.get_mut(start) {
            Some(comma) => *comma = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    }

    fn present(_: &mut Vec<u8>, _: Optionality) {}

    fn absent(out: &mut Vec<u8>, _: Optionality) {
        out.extend_from_slice(b"null");
    }

    fn boolean(out: &mut Vec<u8>, value: bool) {
        out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn int(out: &mut Vec<u8>, value: i64) {
        write_int(out, value);
    }

    fn float32(out: &mut Vec<u8>, value: f32, style: FloatStyle) {
        write_float32(out, value, style);
    }

    fn float64(out: &mut Vec<u8>, value: f64, style: FloatStyle) {
        write_float64(out, value, style);
    }

    fn text(out: &mut Vec<u8>, text: &str) {
        write_text(out, text);
    }

    fn plain_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        out.push(b'"');
        write(out);
        out.push(b'"');
    }

    fn inner_text(out: &mut Vec<u8>, text: &str) {
        write_text_nested(out, text);
    }

    fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
        Self::plain_text(out, |out| append_base64(out, bytes));
    }

    fn symbol(out: &mut Vec<u8>, _: usize, symbol: &str) {
        write_text(out, symbol);
    }

    fn begin_list(out: &mut Vec<u8>, _: usize) {
        out.push(b'[');
    }

    fn element(out: &mut Vec<u8>, index: usize) {
        if index > 0 {
            out.push(b',');
        }
    }

    fn end_list(out: &mut Vec<u8>, _: usize) {
        out.push(b']');
    }

    fn begin_map(out: &mut Vec<u8>, _: usize) {
        out.push(b'{');
    }

    fn map_key(out: &mut Vec<u8>, index: usize, key: &str) {
        Self::element(out, index);
        write_text(out, key);
        out.push(b':');
    }

    fn end_map(out: &mut Vec<u8>, _: usize) {
        out.push(b'}');
    }
}
