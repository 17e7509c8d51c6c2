//! Places in a source's log, as text that sorts as the places do.

use std::cmp::Ordering;

use tailrace_core::batch::ChangeView;
use tailrace_core::value::{LogicalType, Value};

/// Stands between the place in the log at which a snapshot was taken, and what of it a row is.
const OF_SNAPSHOT: &str = ".snapshot.";

/// The place of a change in its source's log, made sortable; `None` where it has no order.
///
/// Where an event says file and offset of a binary log, as Debezium's envelope does, it is those: the position beside them may be a global
/// transaction identifier, which has no order once another server writes.
pub(super) fn place(change: ChangeView<'_>) -> Option<String> {
    let transaction = change.transaction()?;
    match (&transaction.binlog, change.change().log_position) {
        (Some(binlog), Some(offset)) => in_binary_log(&binlog.file, offset),
        _ => sortable(&transaction.position),
    }
}

/// A place as the `position` header has it: PostgreSQL's `0/16B3748`, a binary log's `mysql-bin.000007:1234`, a plain number, or one of
/// these of a snapshot.
fn sortable(position: &str) -> Option<String> {
    let position = position.split_once(OF_SNAPSHOT).map_or(position, |(point, _)| point);
    let hexadecimal = |text: &str| u32::from_str_radix(text, 16).ok();
    if let Some((high, low)) = position.split_once('/') {
        return Some(format!("{:08x}{:08x}", hexadecimal(high)?, hexadecimal(low)?));
    }
    if let Some((file, offset)) = position.rsplit_once(':') {
        return in_binary_log(file, offset.parse().ok()?);
    }
    position.parse::<u64>().ok().map(|number| format!("{number:020}"))
}

fn in_binary_log(file: &str, offset: u64) -> Option<String> {
    let (_, number) = file.rsplit_once('.')?;
    let number: u64 = number.parse().ok()?;
    Some(format!("{number:010}{offset:020}"))
}

/// Which of two versions of a row is newer; `None` where they cannot be compared. As in the target, where NULL is no version of its own: it
/// gives way to every other.
pub(super) fn compare(meaning: &LogicalType, one: Value<'_>, other: Value<'_>) -> Option<Ordering> {
    let is_decimal = matches!(
        meaning,
        LogicalType::Decimal { .. } | LogicalType::UnsignedInt64 | LogicalType::Money
    );
    match (one, other) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Null, _) => Some(Ordering::Less),
        (_, Value::Null) => Some(Ordering::Greater),
        (Value::Text(one), Value::Text(other)) if is_decimal => compare_decimals(one, other),
        (Value::Int(one), Value::Int(other)) => Some(one.cmp(&other)),
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        (Value::Float64(one), Value::Float64(other)) => one.partial_cmp(&other),
        (Value::Float32(one), Value::Float32(other)) => one.partial_cmp(&other),
        _ => None,
    }
}

/// `None` where one is no number (`NaN`).
fn compare_decimals(one: &str, other: &str) -> Option<Ordering> {
    let (one_is_negative, one) = parts(one)?;
    let (other_is_negative, other) = parts(other)?;
    let magnitude = |(whole, fraction): (&str, &str)| (whole.len(), whole.to_owned(), fraction.to_owned());
    let (one, other) = (magnitude(one), magnitude(other));
    Some(match (one_is_negative, other_is_negative) {
        (false, false) => one.cmp(&other),
        (true, true) => other.cmp(&one),
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
    })
}

/// Whether it is below zero; its digits before and behind the point, without zeros that say nothing.
fn parts(decimal: &str) -> Option<(bool, (&str, &str))> {
    let digits = decimal.strip_prefix('-');
    let (whole, fraction) = {
        let digits = digits.unwrap_or(decimal);
        digits.split_once('.').unwrap_or((digits, ""))
    };
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if !whole
        .bytes()
        .chain(fraction.bytes())
        .all(|digit| digit.is_ascii_digit())
    {
        return None;
    }
    let is_zero = whole.is_empty() && fraction.is_empty();
    Some((digits.is_some() && !is_zero, (whole, fraction)))
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
            &["0/9", "0/A.snapshot.16384", "0/B"],
            &["bin.000009:99", "bin.000009:100.snapshot.shop.t", "bin.000009:101"],
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
        let compare = |one, other| compare(&LogicalType::Int64, one, other);
        assert_eq!(compare(Value::Int(1), Value::Int(2)), Some(Ordering::Less));
        assert_eq!(compare(Value::Text("b"), Value::Text("a")), Some(Ordering::Greater));
        assert_eq!(compare(Value::Int(1), Value::Text("1")), None);
        assert_eq!(compare(Value::Null, Value::Int(1)), Some(Ordering::Less));
        assert_eq!(compare(Value::Null, Value::Null), Some(Ordering::Equal));
    }

    #[test]
    fn decimals_are_compared_as_numbers() {
        let decimal = LogicalType::Decimal {
            precision: None,
            scale: None,
        };
        let in_order = [
            "-10.5",
            "-9",
            "-0.1",
            "0",
            "0.09",
            "0.1",
            "9",
            "10",
            "10.25",
            "10.3",
            "123456789012345678901",
        ];
        for (place, one) in in_order.iter().enumerate() {
            for (other_place, other) in in_order.iter().enumerate() {
                let compared = compare(&decimal, Value::Text(one), Value::Text(other));
                assert_eq!(compared, Some(place.cmp(&other_place)), "{one} {other}");
            }
        }
        let same = |one, other| compare(&LogicalType::UnsignedInt64, Value::Text(one), Value::Text(other));
        assert_eq!(same("-0.00", "0"), Some(Ordering::Equal));
        assert_eq!(same("1.50", "1.5"), Some(Ordering::Equal));
        assert_eq!(same("NaN", "1"), None);
    }
}
