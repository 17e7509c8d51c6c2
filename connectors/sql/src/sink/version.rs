//! Places in a source's log, as text that sorts as the places do.

use std::cmp::Ordering;

use tailrace_core::value::Value;

/// A place as the `position` header has it, made sortable: PostgreSQL's `0/16B3748`, a binary log's `mysql-bin.000007:1234`, or a plain
/// number. `None` for what has no order, such as a set of global transaction identifiers.
pub(super) fn sortable(position: &str) -> Option<String> {
    let hexadecimal = |text: &str| u32::from_str_radix(text, 16).ok();
    if let Some((high, low)) = position.split_once('/') {
        return Some(format!("{:08x}{:08x}", hexadecimal(high)?, hexadecimal(low)?));
    }
    if let Some((file, offset)) = position.rsplit_once(':') {
        let (_, number) = file.rsplit_once('.')?;
        let (number, offset): (u64, u64) = (number.parse().ok()?, offset.parse().ok()?);
        return Some(format!("{number:010}{offset:020}"));
    }
    position.parse::<u64>().ok().map(|number| format!("{number:020}"))
}

/// Which of two versions of a row is newer; `None` where they cannot be compared.
pub(super) fn compare(one: Value<'_>, other: Value<'_>) -> Option<Ordering> {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => Some(one.cmp(&other)),
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        (Value::Float64(one), Value::Float64(other)) => one.partial_cmp(&other),
        (Value::Float32(one), Value::Float32(other)) => one.partial_cmp(&other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_sort_as_they_lie_in_the_log() {
        let in_order = [
            ["0/9", "0/10", "0/FFFFFFFF", "1/0", "10/0"].as_slice(),
            &["bin.000009:99", "bin.000009:100", "bin.000010:4", "bin.1000000:4"],
            &["9", "10", "18446744073709551615"],
        ];
        for places in in_order {
            let sortable: Vec<String> = places.iter().map(|place| sortable(place).unwrap()).collect();
            assert!(sortable.is_sorted(), "{sortable:?}");
        }
        for unordered in ["", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", "0-1-7", "x/y", "a:b"] {
            assert_eq!(sortable(unordered), None, "{unordered}");
        }
    }

    #[test]
    fn only_like_is_compared_with_like() {
        assert_eq!(compare(Value::Int(1), Value::Int(2)), Some(Ordering::Less));
        assert_eq!(compare(Value::Text("b"), Value::Text("a")), Some(Ordering::Greater));
        assert_eq!(compare(Value::Int(1), Value::Text("1")), None);
        assert_eq!(compare(Value::Null, Value::Int(1)), None);
    }
}
