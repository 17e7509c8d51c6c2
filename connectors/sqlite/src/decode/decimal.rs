//! Decimal text of stored numbers, exact.

use std::borrow::Cow;
use std::fmt::Write;

use super::Raw;

/// The value as plain decimal digits, filled up with zeros to the declared scale. `None` where it is not a decimal, or has
/// digits finer than the scale: it is never rounded.
pub(super) fn decode(stored: Raw<'_>, scale: Option<u32>) -> Option<Cow<'_, str>> {
    let digits: Cow<'_, str> = match stored {
        Raw::Integer(value) => value.to_string().into(),
        Raw::Real(value) if value.is_infinite() => return Some(infinity(value).into()),
        Raw::Real(value) => shortest(value).into(),
        Raw::Text(text) => plain(text)?.into(),
        Raw::Null | Raw::BrokenText(_) | Raw::Blob(_) => return None,
    };
    match scale {
        Some(scale) => at_scale(digits, usize::try_from(scale).ok()?),
        None => Some(digits),
    }
}

fn infinity(value: f64) -> &'static str {
    if value > 0.0 { "Infinity" } else { "-Infinity" }
}

/// The shortest decimal, without an exponent, that gives the same double back. -0.0 is 0: decimals have no such thing.
pub(super) fn shortest(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let mut text = String::new();
    // Display of a float is the shortest that round-trips, and never has an exponent; writing to a String cannot fail.
    if write!(text, "{value}").is_err() {
        text.clear();
    }
    match value {
        _ if value.is_infinite() => infinity(value).to_owned(),
        _ => text,
    }
}

/// Text that is a plain decimal: an optional sign, digits, and optionally a point and more digits.
fn plain(text: &str) -> Option<&str> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(fraction)).then_some(text)
}

fn at_scale(digits: Cow<'_, str>, scale: usize) -> Option<Cow<'_, str>> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    if fraction.len() == scale && !fraction.is_empty() {
        return Some(digits);
    }
    let kept = fraction.trim_end_matches('0');
    if kept.len() > scale {
        return None;
    }
    if scale == 0 {
        return Some(whole.to_owned().into());
    }
    Some(format!("{whole}.{kept:0<scale$}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_up_to_the_scale_and_never_rounded() {
        let cases = [
            (Raw::Integer(-7), Some(2), Some("-7.00")),
            (Raw::Integer(i64::MIN), None, Some("-9223372036854775808")),
            (Raw::Real(10.5), Some(2), Some("10.50")),
            (Raw::Real(10.5), None, Some("10.5")),
            (Raw::Real(0.1 + 0.2), Some(2), None),
            (Raw::Real(0.1 + 0.2), None, Some("0.30000000000000004")),
            (Raw::Real(3.0), Some(0), Some("3")),
            (Raw::Real(-0.0), Some(1), Some("0.0")),
            (Raw::Real(1e22), None, Some("10000000000000000000000")),
            (Raw::Real(1e-7), None, Some("0.0000001")),
            (Raw::Real(f64::INFINITY), Some(2), Some("Infinity")),
            (
                Raw::Text("123456789012345678901234567890.10"),
                Some(2),
                Some("123456789012345678901234567890.10"),
            ),
            (Raw::Text("+1.500"), Some(1), Some("1.5")),
            (Raw::Text("1.5"), Some(0), None),
            (Raw::Text("2.000"), Some(0), Some("2")),
            (Raw::Text("1e3"), None, None),
            (Raw::Text("1."), None, None),
            (Raw::Text(".5"), None, None),
            (Raw::Text("-"), None, None),
            (Raw::Text(""), None, None),
            (Raw::Text("1,5"), None, None),
            (Raw::Blob(b"1"), None, None),
        ];
        for (stored, scale, expected) in cases {
            assert_eq!(decode(stored, scale).as_deref(), expected, "{stored:?} at {scale:?}");
        }
    }
}
