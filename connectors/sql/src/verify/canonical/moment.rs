//! Dates and times that came as text.

use tailrace_core::calendar::Civil;

const DAY_S: i64 = 86_400;
const MICROSECONDS: i64 = 1_000_000;

/// Microseconds of UTC since 1970 of a date, or of a date and a time, in ISO 8601 or as databases print it: without a zone, `Z`, or with an
/// offset. `None` for anything else.
pub(super) fn of_text(text: &str) -> Option<i64> {
    let text = text.trim_matches(' ');
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut parts = date
        .split('-')
        .map(|part| digits(part, if part.len() == 4 { 4 } else { 2 }));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || date.len() != "2024-02-29".len() || !(1..=12).contains(&month) {
        return None;
    }
    let civil = Civil { year, month, day };
    let days = civil.to_days();
    if Civil::from_days(days) != civil {
        return None;
    }
    let (clock, offset_s) = offset(time)?;
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let seconds = of_clock(whole)?.checked_sub(offset_s)?;
    days.checked_mul(DAY_S)?
        .checked_add(seconds)?
        .checked_mul(MICROSECONDS)?
        .checked_add(microseconds(fraction)?)
}

/// The time of day, and how many seconds it is ahead of UTC.
fn offset(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(place) = time.find(['+', '-']) else {
        return Some((time, 0));
    };
    let (clock, offset) = time.split_at(place);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let offset = offset.trim_start_matches(['+', '-']);
    let seconds = match offset.len() {
        2 => digits(offset, 2)?.checked_mul(3_600)?,
        _ => of_clock(offset)?,
    };
    Some((clock, sign * seconds))
}

/// Seconds of `10:00` or `10:00:00`.
fn of_clock(clock: &str) -> Option<i64> {
    let mut parts = clock.split(':').map(|part| digits(part, 2));
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = parts.next().unwrap_or(Some(0))?;
    let is_time = hours < 24 && minutes < 60 && seconds < 60 && parts.next().is_none();
    is_time.then_some(hours * 3_600 + minutes * 60 + seconds)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// Of a fraction of a second; `None` where it has more digits than are zero.
fn microseconds(fraction: &str) -> Option<i64> {
    let fraction = fraction.trim_end_matches('0');
    let is_exact = fraction.len() <= 6 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    format!("{fraction:0<6}").parse().ok().filter(|_| is_exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_read_in_the_forms_that_are_written() {
        let day = 1_709_164_800_000_000;
        let ten = day + 36_000 * MICROSECONDS;
        for (text, wanted) in [
            ("2024-02-29", Some(day)),
            ("2024-02-29T10:00:00", Some(ten)),
            ("2024-02-29 10:00", Some(ten)),
            ("2024-02-29T10:00:00.000001Z", Some(ten + 1)),
            ("2024-02-29 10:00:00.5000000", Some(ten + 500_000)),
            ("2024-02-29T12:00:00+02:00", Some(ten)),
            ("2024-02-29 07:30:00-02:30", Some(ten)),
            ("2024-02-29 10:00:00+00", Some(ten)),
            ("2023-02-29", None),
            ("2024-13-01", None),
            ("2024-02-29T25:00:00", None),
            ("2024-02-29T10:00:00.0000001", None),
            ("29.2.2024", None),
            ("10:00:00", None),
            ("never", None),
            ("", None),
        ] {
            assert_eq!(of_text(text), wanted, "{text}");
        }
    }
}
