//! Dates and times. The server rounds fractions of a second to those that a column has.

use tailrace_core::calendar::Civil;
use tailrace_sql::sink::plain::{Plain, write_date, write_time, write_timestamp};

use super::{Misfit, quote};

const DAY_US: i64 = 86_400_000_000;
/// What a date has characters.
const DATE_CHARACTERS: usize = 10;
/// The years that DATE and DATETIME can hold.
const YEARS: std::ops::RangeInclusive<i64> = 0..=9_999;

/// Into DATE.
pub(super) fn date(plain: Plain<'_>, out: &mut String) -> Result<(), Misfit> {
    match plain {
        Plain::Date(days) => quoted_date(days, out),
        Plain::Timestamp { microseconds, .. } if microseconds.rem_euclid(DAY_US) == 0 => {
            quoted_date(microseconds.div_euclid(DAY_US), out)
        }
        Plain::Timestamp { .. } => Err(Misfit::new("it has no time of day; give it the type DATETIME")),
        Plain::Text(text) if text.len() <= DATE_CHARACTERS => {
            quote(text, out);
            Ok(())
        }
        Plain::Infinite { .. } => Err(infinite()),
        _ => Err(Misfit::kind("dates")),
    }
}

/// Into TIME. What is beyond 838 hours the server refuses.
pub(super) fn time(plain: Plain<'_>, precision: u8, out: &mut String) -> Result<(), Misfit> {
    match plain {
        Plain::Time(microseconds) => {
            check_fraction(microseconds, precision, "TIME")?;
            out.push('\'');
            write_time(microseconds, out);
            out.push('\'');
            Ok(())
        }
        Plain::Text(text) => quoted_text(text, precision, out),
        _ => Err(Misfit::kind("times of day")),
    }
}

/// Into DATETIME and TIMESTAMP; the session is in UTC.
pub(super) fn moment(plain: Plain<'_>, precision: u8, out: &mut String) -> Result<(), Misfit> {
    match plain {
        Plain::Timestamp { microseconds, .. } => {
            check_fraction(microseconds, precision, "DATETIME")?;
            check_year(microseconds.div_euclid(DAY_US))?;
            out.push('\'');
            write_timestamp(microseconds, ' ', out);
            out.push('\'');
            Ok(())
        }
        Plain::Date(days) => quoted_date(days, out),
        Plain::Text(text) => quoted_text(text, precision, out),
        Plain::Infinite { .. } => Err(infinite()),
        _ => Err(Misfit::kind("dates with times")),
    }
}

/// A timestamp with as many digits of a second as there is room for.
pub(super) fn without_fraction(plain: Plain<'_>, precision: u8) -> Plain<'_> {
    match plain {
        Plain::Timestamp { microseconds, zoned } => Plain::Timestamp {
            microseconds: microseconds - microseconds.rem_euclid(unit(precision)),
            zoned,
        },
        other => other,
    }
}

fn quoted_date(days: i64, out: &mut String) -> Result<(), Misfit> {
    check_year(days)?;
    out.push('\'');
    write_date(days, out);
    out.push('\'');
    Ok(())
}

fn quoted_text(text: &str, precision: u8, out: &mut String) -> Result<(), Misfit> {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    if fraction.trim_end_matches('0').len() > usize::from(precision) {
        return Err(Misfit::new("it has fewer digits of a second; give it a type with more"));
    }
    quote(text, out);
    Ok(())
}

/// Microseconds of the last digit that there is room for.
fn unit(precision: u8) -> i64 {
    10_i64.pow(6_u32.saturating_sub(u32::from(precision)))
}

fn check_fraction(microseconds: i64, precision: u8, name: &str) -> Result<(), Misfit> {
    if microseconds % unit(precision) == 0 {
        return Ok(());
    }
    Err(Misfit(format!(
        "it has fewer digits of a second; give it the type {name}(6)"
    )))
}

fn check_year(days: i64) -> Result<(), Misfit> {
    let Civil { year, .. } = Civil::from_days(days);
    match YEARS.contains(&year) {
        true => Ok(()),
        false => Err(Misfit::new("it takes years from 0 to 9999; give it a type for text")),
    }
}

fn infinite() -> Misfit {
    Misfit::new("it has no infinite dates; give it a type for text")
}
