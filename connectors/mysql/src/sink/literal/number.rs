//! Numbers.

use std::fmt::Write as _;

use tailrace_sql::sink::plain::{Plain, decimal_of_float, digits, exact, exact_single, single, whole};

use super::Misfit;

/// The years that a YEAR can hold; 0 is one besides.
const YEARS: std::ops::RangeInclusive<i64> = 1_901..=2_155;

/// How exact a column of floating point numbers is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Precision {
    Single { rounded_to: Option<usize> },
    Double { rounded_to: Option<usize> },
}

/// Into TINYINT to BIGINT. What is too large the server refuses.
pub(super) fn integer(plain: Plain<'_>, out: &mut String) -> Result<(), Misfit> {
    const FRACTION: &str = "it takes whole numbers alone; give it a type with a fraction";
    match plain {
        Plain::Boolean(value) => out.push(if value { '1' } else { '0' }),
        Plain::Int(value) => push(out, value),
        Plain::Decimal(text) | Plain::Text(text) => {
            let (_, fraction) = digits(text).ok_or_else(|| Misfit::kind("numbers"))?;
            if !fraction.is_empty() {
                return Err(Misfit::new(FRACTION));
            }
            let whole = text.split('.').next().unwrap_or(text);
            out.push_str(if whole.bytes().any(|byte| byte.is_ascii_digit()) {
                whole
            } else {
                "0"
            });
        }
        Plain::Float32(value) => push(out, whole(value.into()).ok_or_else(|| Misfit::new(FRACTION))?),
        Plain::Float64(value) => push(out, whole(value).ok_or_else(|| Misfit::new(FRACTION))?),
        Plain::NoNumber(_) => return Err(no_number()),
        _ => return Err(Misfit::kind("numbers")),
    }
    Ok(())
}

/// Into DECIMAL. The server rounds what has more digits behind the point.
pub(super) fn decimal(plain: Plain<'_>, (precision, scale): (u8, u8), out: &mut String) -> Result<(), Misfit> {
    let number = match plain {
        Plain::Boolean(_) | Plain::Int(_) => return integer(plain, out),
        Plain::Decimal(text) | Plain::Text(text) => text.to_owned(),
        Plain::Float32(value) if value.is_finite() => format!("{value}"),
        Plain::Float64(value) => decimal_of_float(value).ok_or_else(no_number)?,
        Plain::Float32(_) | Plain::NoNumber(_) => return Err(no_number()),
        _ => return Err(Misfit::kind("numbers")),
    };
    let (whole, fraction) = digits(&number).ok_or_else(|| Misfit::kind("numbers"))?;
    let before = usize::from(precision.saturating_sub(scale));
    if whole.len() > before || fraction.len() > usize::from(scale) {
        return Err(Misfit(format!(
            "it has {} digits before the point and {} behind it; give it a DECIMAL with as many",
            whole.len(),
            fraction.len()
        )));
    }
    out.push_str(if number.starts_with('-') { "-" } else { "" });
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    Ok(())
}

/// Into FLOAT and DOUBLE.
pub(super) fn float(plain: Plain<'_>, precision: Precision, out: &mut String) -> Result<(), Misfit> {
    // A number in few digits that is meant to be in single precision is that number there.
    let of_digits = |text: &str| match precision {
        Precision::Single { .. } => exact_single(text).map(f64::from),
        Precision::Double { .. } => exact(text),
    };
    let not_exact = || Misfit::new("its digits are more than its precision holds; give it a DECIMAL");
    let number = match plain {
        Plain::Boolean(value) => f64::from(u8::from(value)),
        Plain::Int(value) => of_digits(&value.to_string()).ok_or_else(not_exact)?,
        Plain::Float32(value) => value.into(),
        Plain::Float64(value) => value,
        Plain::Decimal(text) | Plain::Text(text) => {
            digits(text).ok_or_else(|| Misfit::kind("numbers"))?;
            of_digits(text).ok_or_else(not_exact)?
        }
        Plain::NoNumber(_) => return Err(no_number()),
        _ => return Err(Misfit::kind("numbers")),
    };
    if !number.is_finite() {
        return Err(no_number());
    }
    let rounded_to = match precision {
        Precision::Single { rounded_to } => {
            if single(number).is_none() {
                return Err(Misfit::new("it is of single precision; give it the type DOUBLE"));
            }
            rounded_to
        }
        Precision::Double { rounded_to } => rounded_to,
    };
    if rounded_to.is_some_and(|digits| !is_rounded(number, digits, precision)) {
        return Err(Misfit::new(
            "it rounds its numbers; give it the type DOUBLE without digits",
        ));
    }
    // With an exponent it is read as a number of double precision, and not as a DECIMAL.
    if write!(out, "{number:e}").is_err() {
        return Err(Misfit::kind("numbers"));
    }
    Ok(())
}

/// Into BIT.
pub(super) fn bits(plain: Plain<'_>, length: u8, out: &mut String) -> Result<(), Misfit> {
    match plain {
        Plain::Boolean(value) => out.push(if value { '1' } else { '0' }),
        Plain::Int(value) if value >= 0 => push(out, value),
        // A JSON Schema has no bits: they come as text.
        Plain::Bits(text) | Plain::Text(text) if text.len() == usize::from(length) => {
            let number = u64::from_str_radix(text, 2).ok().filter(|_| !text.starts_with('+'));
            out.push_str(&number.ok_or_else(|| Misfit::kind("bits"))?.to_string());
        }
        Plain::Bits(text) => {
            return Err(Misfit(format!(
                "there are {} bits; give it a BIT of as many, or VARCHAR for any number of them",
                text.len()
            )));
        }
        _ => return Err(Misfit::kind("bits")),
    }
    Ok(())
}

/// Into YEAR, which takes smaller numbers for years of two digits.
pub(super) fn year(plain: Plain<'_>, out: &mut String) -> Result<(), Misfit> {
    match plain {
        Plain::Int(year) if year == 0 || YEARS.contains(&year) => {
            push(out, year);
            Ok(())
        }
        Plain::Int(_) => Err(Misfit::new("it is out of its range; give it the type SMALLINT")),
        _ => Err(Misfit::kind("years")),
    }
}

fn is_rounded(number: f64, digits: usize, precision: Precision) -> bool {
    let printed = format!("{number:.digits$}");
    match precision {
        Precision::Double { .. } => printed.parse() == Ok(number),
        Precision::Single { .. } => printed.parse::<f32>().ok().map(f64::from) == single(number).map(f64::from),
    }
}

fn no_number() -> Misfit {
    Misfit::new("it has neither NaN nor infinity; give it a type for text")
}

fn push(out: &mut String, number: i64) {
    out.push_str(&number.to_string());
}
