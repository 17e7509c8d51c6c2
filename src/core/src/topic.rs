//! What Kafka allows in the name of a topic: letters, digits, `.`, `_` and `-`, at most 249 of them.
//!
//! A part of a name that keeps to that stays as it is. Any other character becomes `_x` + its code point in hexadecimal + `_`;
//! an underscore that would begin what looks like such an escape is escaped itself. Reading from left to right gives the
//! part back, so that two names never become one.

/// Kafka's own limit: a topic is a directory on the broker, and needs room for a suffix.
pub const MAX_LENGTH: usize = 249;

/// True for the characters that Kafka allows in the name of a topic.
pub fn is_legal(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

/// What is wrong with the name of a topic, where anything is.
pub fn fault(name: &str) -> Option<String> {
    let is_fine = (1..=MAX_LENGTH).contains(&name.len()) && name.chars().all(is_legal) && !matches!(name, "." | "..");
    (!is_fine).then(|| {
        format!(
            "`{name}` is no topic; `{{prefix}}` is all that is replaced in it, and letters, digits, `.`, `_` and `-` are all that may \
             stand there, at most {MAX_LENGTH} of them"
        )
    })
}

/// A name with only legal characters, different for different names.
pub fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    let mut rest = name.chars();
    while let Some(character) = rest.next() {
        if is_legal(character) && !(character == '_' && looks_like_escape(rest.as_str())) {
            escaped.push(character);
        } else {
            escaped.push_str(&format!("_x{:x}_", u32::from(character)));
        }
    }
    escaped
}

/// True where an underscore before this text would be read as the beginning of an escape: `x`, hexadecimal digits, and
/// then an underscore, be it the name's own or that of the next escape.
fn looks_like_escape(after_underscore: &str) -> bool {
    let Some(digits) = after_underscore.strip_prefix('x') else {
        return false;
    };
    let rest = digits.trim_start_matches(|digit: char| matches!(digit, '0'..='9' | 'a'..='f'));
    let follows = rest.chars().next().is_some_and(|next| next == '_' || !is_legal(next));
    rest.len() < digits.len() && follows
}
