//! What the values of a row come to: 128 bits that are the same for the same values, at every start and in every release.

use std::fmt;

use sha2::{Digest, Sha256};
use tailrace_core::batch::{ListView, RowView};
use tailrace_core::value::Value;

/// The first 128 bits of the SHA-256 of a row's values: two rows of one table that differ have the same one never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// The fingerprint of a row.
pub fn fingerprint(row: RowView<'_>) -> Fingerprint {
    let mut digest = Sha256::new();
    for value in row.iter() {
        add(&mut digest, value);
    }
    let bytes: [u8; 32] = digest.finalize().into();
    let (first, _) = bytes.split_at(16);
    Fingerprint(first.iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
}

/// Each value with its kind and, where it has no fixed size, its length: no two rows come to the same bytes.
fn add(digest: &mut Sha256, value: Value<'_>) {
    match value {
        Value::Null => digest.update(b"n"),
        Value::Unchanged => digest.update(b"u"),
        Value::Boolean(flag) => digest.update([b'b', u8::from(flag)]),
        Value::Int(number) => sized(digest, b'i', &number.to_le_bytes()),
        Value::Float32(number) => sized(digest, b'f', &number.to_bits().to_le_bytes()),
        Value::Float64(number) => sized(digest, b'd', &number.to_bits().to_le_bytes()),
        Value::Text(text) => sized(digest, b't', text.as_bytes()),
        Value::Bytes(bytes) => sized(digest, b'x', bytes),
        Value::TimeTz(time) => sized(digest, b'z', format!("{time:?}").as_bytes()),
        Value::Interval(interval) => sized(digest, b'v', format!("{interval:?}").as_bytes()),
        Value::List(list) => add_list(digest, list),
    }
}

fn add_list(digest: &mut Sha256, list: ListView<'_>) {
    sized(digest, b'l', &list.len().to_le_bytes());
    for element in list.iter() {
        add(digest, element);
    }
}

fn sized(digest: &mut Sha256, kind: u8, bytes: &[u8]) {
    digest.update([kind]);
    digest.update(bytes.len().to_le_bytes());
    digest.update(bytes);
}
