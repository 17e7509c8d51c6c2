//! A document that the server has printed, without the blanks between its parts.

use super::JsonError;

const CUT_OFF: JsonError = "its text is cut off";

/// Appends `printed` to `text`. Nothing but blanks between the parts is left away. A line end within a string, which only bytes
/// in base 64 of older servers have, is no JSON and becomes what servers of today print.
pub(super) fn compact(printed: &[u8], text: &mut String) -> Result<(), JsonError> {
    let mut rest = std::str::from_utf8(printed).map_err(|_| "its text is not UTF-8")?;
    let mut depth = 0_usize;
    if rest.is_empty() {
        return Err(CUT_OFF);
    }
    text.reserve(rest.len());
    loop {
        let (outside, behind) = split_before(rest, |byte| byte == b'"');
        for byte in outside.bytes() {
            match byte {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.checked_sub(1).ok_or("its text closes more than it opens")?,
                _ => {}
            }
        }
        append_with(outside, |byte| byte.is_ascii_whitespace(), "", text);
        let Some(string) = behind.strip_prefix('"') else {
            break;
        };
        text.push('"');
        let end = end_of_string(string).ok_or(CUT_OFF)?;
        let (inside, behind) = string.split_at_checked(end).ok_or(CUT_OFF)?;
        append_with(inside, |byte| byte == b'\n', "\\n", text);
        rest = behind;
    }
    if depth == 0 { Ok(()) } else { Err(CUT_OFF) }
}

/// Offset behind the quote that ends a string.
fn end_of_string(string: &str) -> Option<usize> {
    let mut escaped = false;
    let quote = string.bytes().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        byte => byte == b'"',
    });
    quote.map(|quote| quote + 1)
}

/// Appends `part`, with `replacement` in place of every byte of ASCII that `replaced` finds.
fn append_with(part: &str, replaced: impl Fn(u8) -> bool, replacement: &str, text: &mut String) {
    let mut rest = part;
    loop {
        let (kept, behind) = split_before(rest, &replaced);
        text.push_str(kept);
        let mut characters = behind.chars();
        if characters.next().is_none() {
            return;
        }
        text.push_str(replacement);
        rest = characters.as_str();
    }
}

/// What is before the first byte of ASCII that `stop` finds, and the rest.
fn split_before(text: &str, stop: impl Fn(u8) -> bool) -> (&str, &str) {
    let at = text.bytes().position(stop).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, ""))
}
