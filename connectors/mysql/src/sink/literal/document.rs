//! JSON documents: MySQL parses them, and keeps a number that is no whole one of 64 bits in double precision.

/// Whether a number of a document would be another one there.
pub(super) fn rounds_a_number(document: &str) -> bool {
    let mut rest = document;
    while let Some(at) = rest.find(|character: char| matches!(character, '"' | '-') || character.is_ascii_digit()) {
        let (_, token) = rest.split_at(at);
        if let Some(text) = token.strip_prefix('"') {
            rest = behind_text(text);
            continue;
        }
        let is_part = |character: char| matches!(character, '-' | '+' | '.' | 'e' | 'E') || character.is_ascii_digit();
        let length = token.find(|character| !is_part(character)).unwrap_or(token.len());
        let (number, behind) = token.split_at(length);
        if !is_kept(number) {
            return true;
        }
        rest = behind;
    }
    false
}

/// What follows the quote at the end of a text.
fn behind_text(text: &str) -> &str {
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '"' => return text.get(at + 1..).unwrap_or_default(),
            _ => {}
        }
    }
    ""
}

fn is_kept(number: &str) -> bool {
    if number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok() {
        return true;
    }
    let Ok(value) = number.parse::<f64>() else {
        // It is no document, and the server says so.
        return true;
    };
    value.is_finite() && decimal(number) == decimal(&format!("{value:e}"))
}

/// The digits of a number without zeros at their ends, and the power of ten that they are multiplied by.
fn decimal(number: &str) -> Option<(String, i64)> {
    let unsigned = number.trim_start_matches('-');
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let joined = format!("{whole}{fraction}");
    let digits = joined.trim_end_matches('0');
    if digits.trim_start_matches('0').is_empty() {
        return Some((String::new(), 0));
    }
    let behind = i64::try_from(fraction.len()).ok()?;
    let dropped = i64::try_from(joined.len() - digits.len()).ok()?;
    let power = exponent
        .parse::<i64>()
        .ok()?
        .checked_sub(behind)?
        .checked_add(dropped)?;
    Some((digits.trim_start_matches('0').to_owned(), power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_would_be_rounded_are_found() {
        for kept in [
            "18446744073709551615",
            "-9223372036854775808",
            r#"{"a": [1.50, -0.1, 1e20, 1.8446744073709552e19, 0, -0.0, 1E+2]}"#,
            r#"{"12345678901234567890123": "98765432109876543210.5\"1.23456789012345678901"}"#,
            "[]",
            "true",
            "5e-324",
        ] {
            assert!(!rounds_a_number(kept), "{kept}");
        }
        for document in [
            r#"{"a\\": 18446744073709551616}"#,
            "[1,3.14159265358979323846]",
            "-12345678901234567890.5",
            "1e400",
        ] {
            assert!(rounds_a_number(document), "{document}");
        }
    }
}
