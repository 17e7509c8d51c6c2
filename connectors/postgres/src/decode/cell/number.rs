//! Booleans, integers, floats and money.

use std::fmt::Write;

use tailrace_core::batch::ChangeBatch;

use super::{Result, ValueError, fixed};

/// Digits of which every number fits into 64 bits, so that they need no check.
const SAFE_DIGITS: usize = 18;

#[inline]
pub(super) fn boolean_from_text(bytes: &[u8]) -> Result<bool> {
    // pgoutput prints `t`; a cast to text prints `true`.
    match bytes {
        b"t" | b"true" => Ok(true),
        b"f" | b"false" => Ok(false),
        _ => Err(ValueError::Malformed("boolean")),
    }
}

#[inline]
pub(super) fn boolean_from_binary(bytes: &[u8]) -> Result<bool> {
    match bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(ValueError::Malformed("boolean")),
    }
}

#[inline]
pub(super) fn int16_from_text(bytes: &[u8]) -> Result<i64> {
    within(bytes, i64::from(i16::MIN), i64::from(i16::MAX), "smallint")
}

#[inline]
pub(super) fn int32_from_text(bytes: &[u8]) -> Result<i64> {
    within(bytes, i64::from(i32::MIN), i64::from(i32::MAX), "integer")
}

#[inline]
pub(super) fn oid_from_text(bytes: &[u8]) -> Result<i64> {
    within(bytes, 0, i64::from(u32::MAX), "oid")
}

#[inline]
pub(super) fn int64_from_text(bytes: &[u8]) -> Result<i64> {
    integer(bytes).ok_or(ValueError::Malformed("bigint"))
}

#[inline]
fn within(bytes: &[u8], least: i64, most: i64, what: &'static str) -> Result<i64> {
    match integer(bytes) {
        Some(value) if (least..=most).contains(&value) => Ok(value),
        Some(_) => Err(ValueError::OutOfRange(what)),
        None => Err(ValueError::Malformed(what)),
    }
}

/// `-?[0-9]+`
#[inline]
pub(super) fn integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    // Summed below zero, because the least number has no positive counterpart.
    let mut sum = 0_i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = if digits.len() <= SAFE_DIGITS {
            sum.wrapping_mul(10).wrapping_sub(i64::from(digit))
        } else {
            sum.checked_mul(10)?.checked_sub(i64::from(digit))?
        };
    }
    if negative { Some(sum) } else { sum.checked_neg() }
}

#[inline]
pub(super) fn float32_from_text(bytes: &[u8]) -> Result<f32> {
    match bytes {
        b"NaN" => return Ok(f32::NAN),
        b"Infinity" => return Ok(f32::INFINITY),
        b"-Infinity" => return Ok(f32::NEG_INFINITY),
        _ => {}
    }
    let value = digits_of_float(bytes).and_then(|text| text.parse::<f32>().ok());
    value
        .filter(|value| value.is_finite())
        .ok_or(ValueError::Malformed("real"))
}

#[inline]
pub(super) fn float64_from_text(bytes: &[u8]) -> Result<f64> {
    match bytes {
        b"NaN" => return Ok(f64::NAN),
        b"Infinity" => return Ok(f64::INFINITY),
        b"-Infinity" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    let value = digits_of_float(bytes).and_then(|text| text.parse::<f64>().ok());
    value
        .filter(|value| value.is_finite())
        .ok_or(ValueError::Malformed("double precision"))
}

/// The number as text, where it begins like one: Rust itself would also take `inf`, `nan` and `+1`.
fn digits_of_float(bytes: &[u8]) -> Option<&str> {
    match bytes {
        [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..] => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// What the error says of an amount in another locale's form: it cannot be read without guessing.
const MONEY_FORM: &str = "money as lc_monetary C or en_US prints it (-$1,234.56)";

/// `-$1,234.56`, `$1,234.56`, `($1,234.56)`, without `$` too: exactly two fraction digits, groups of three.
pub(super) fn push_money_text(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let cents = money_cents(bytes).ok_or(ValueError::Malformed(MONEY_FORM))?;
    push_cents(cents, batch)
}

/// The amount as a count of the smallest unit, which PostgreSQL takes as two fraction digits in these locales.
pub(super) fn push_money_binary(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    push_cents(i64::from_be_bytes(fixed(bytes, "money")?), batch)
}

fn push_cents(cents: i64, batch: &mut ChangeBatch) -> Result<()> {
    let sign = if cents < 0 { "-" } else { "" };
    let (units, rest) = (cents.unsigned_abs() / 100, cents.unsigned_abs() % 100);
    let mut written = Ok(());
    batch.push_text_with(|text| written = write!(text, "{sign}{units}.{rest:02}"))?;
    written.map_err(|_| ValueError::Malformed("money"))
}

fn money_cents(bytes: &[u8]) -> Option<i64> {
    let (negative, amount) = match bytes {
        [b'(', amount @ .., b')'] => (true, amount),
        [b'-', amount @ ..] => (true, amount),
        amount => (false, amount),
    };
    let amount = amount.strip_prefix(b"$").unwrap_or(amount);
    let (units, [b'.', fraction @ ..]) = amount.split_at_checked(amount.len().checked_sub(3)?)? else {
        return None;
    };
    if !grouped_by_thousands(units) {
        return None;
    }
    let mut sum = 0_i64;
    for byte in units.iter().chain(fraction).filter(|byte| **byte != b',') {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        sum = sum.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(sum) } else { sum.checked_neg() }
}

/// `1,234`, or `1234` without any comma; never `1,2`.
fn grouped_by_thousands(units: &[u8]) -> bool {
    let mut groups = units.split(|byte| *byte == b',');
    let first = groups.next().map_or(0, <[u8]>::len);
    let grouped = units.contains(&b',');
    first > 0 && (!grouped || first <= 3) && groups.all(|group| group.len() == 3)
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn integers() {
        assert_eq!(integer(b"0"), Some(0));
        assert_eq!(integer(b"-0"), Some(0));
        assert_eq!(integer(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        for bad in [
            "",
            "-",
            "+1",
            "1 ",
            "1e3",
            "9223372036854775808",
            "-9223372036854775809",
            "½",
        ] {
            assert_eq!(integer(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(int16_from_text(b"-32768"), Ok(-32768));
        assert_eq!(int16_from_text(b"32768"), Err(ValueError::OutOfRange("smallint")));
        assert_eq!(int32_from_text(b"2147483648"), Err(ValueError::OutOfRange("integer")));
        assert_eq!(oid_from_text(b"4294967295"), Ok(4_294_967_295));
        assert_eq!(oid_from_text(b"-1"), Err(ValueError::OutOfRange("oid")));
    }

    #[test]
    fn floats() {
        assert_eq!(float64_from_text(b"1e+300"), Ok(1e300));
        assert_eq!(float64_from_text(b"5e-324"), Ok(5e-324));
        assert_eq!(float64_from_text(b"-0").map(f64::to_bits), Ok((-0.0_f64).to_bits()));
        assert_eq!(float32_from_text(b"3.3"), Ok(3.3));
        assert!(float64_from_text(b"NaN").unwrap().is_nan());
        for bad in ["", "-", "inf", "nan", "infinity", "+1", " 1", "1e999", "0x1", "1_0"] {
            assert!(float64_from_text(bad.as_bytes()).is_err(), "{bad}");
            assert!(float32_from_text(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn money() {
        for (text, cents) in [
            ("$0.00", 0),
            ("$1,234.11", 123_411),
            ("($1,234.11)", -123_411),
            ("-$1,234.11", -123_411),
            ("-$92,233,720,368,547,758.08", i64::MIN),
            ("$92,233,720,368,547,758.07", i64::MAX),
            ("-92233720368547758.08", i64::MIN),
            ("$1.00", 100),
        ] {
            assert_eq!(money_cents(text.as_bytes()), Some(cents), "{text}");
        }
        // Euro, yen, a dinar's three digits, swapped separators: read wrongly, they would be off by a factor.
        for bad in [
            "",
            "$",
            "$1",
            "1.234,56 €",
            "¥1,234",
            "$1.234",
            "$1,23.00",
            "$.50",
            "1,2345.00",
            "$92,233,720,368,547,758.08",
        ] {
            assert_eq!(money_cents(bad.as_bytes()), None, "{bad}");
        }
    }
}
