//! What Kafka allows in the name of a topic: letters, digits, `.`, `_` and `-`, at most 249 of them.
//!
//! A part of a name that keeps to that stays as it is. Any other character becomes `_x` + its code point in hexadecimal + `_`;
//! an underscore that would begin what looks like such an escape is escaped itself. Reading from left to right gives the
//! part back, so that two names never become one.

use crate::schema::TableName;

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

/// What all names begin with when they are escaped that begin so, as far as it can be said.
pub fn escape_beginning(beginning: &str) -> String {
    // What follows may make an escape of the last underscore, which begins with an underscore too.
    let open = beginning.rfind('_').filter(|at| {
        let after = beginning.get(at + 1..).unwrap_or_default();
        let is_digit = |digit: char| matches!(digit, '0'..='9' | 'a'..='f');
        after
            .strip_prefix('x')
            .is_some_and(|digits| digits.chars().all(is_digit))
    });
    escape(open.and_then(|at| beginning.get(..=at)).unwrap_or(beginning))
}

/// The name that an escaped one was made of; what is no escape stays.
pub fn unescape(escaped: &str) -> String {
    let mut name = String::with_capacity(escaped.len());
    let mut rest = escaped.chars();
    while let Some(character) = rest.next() {
        match escaped_character(character, rest.as_str()) {
            Some((meant, after)) => {
                name.push(meant);
                rest = after.chars();
            }
            None => name.push(character),
        }
    }
    name
}

/// The table that a topic is named after, as Debezium and Tailrace name topics: its last part, and the schema before it.
pub fn table_of(topic: &str) -> TableName {
    let mut parts = topic.rsplit('.').map(unescape);
    let table = parts.next().unwrap_or_default();
    TableName {
        database: String::new(),
        schema: parts.next().unwrap_or_default(),
        table,
    }
}

/// The character that an escape stands for, and what follows the escape.
fn escaped_character(first: char, rest: &str) -> Option<(char, &str)> {
    let (digits, after) = rest.strip_prefix('x')?.split_once('_')?;
    let is_plain = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let code = u32::from_str_radix(digits, 16).ok()?;
    let meant = char::from_u32(code)?;
    (first == '_' && is_plain).then_some((meant, after))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_name_is_the_beginning_of_its_escape() {
        for (beginning, expected) in [
            ("order_", "order_"),
            ("order_x", "order_"),
            ("order_x4", "order_"),
            ("order_x4z", "order_x4z"),
            ("a_x41_x4", "a_x5f_x41_"),
            ("größe_", "gr_xf6__xdf_e_"),
            ("", ""),
        ] {
            assert_eq!(escape_beginning(beginning), expected, "{beginning}");
            for end in ["", "1_", "_", "x41_", "é"] {
                let name = format!("{beginning}{end}");
                assert!(escape(&name).starts_with(expected), "{name}");
            }
        }
    }

    #[test]
    fn a_topic_is_named_after_a_table() {
        let table = |topic| {
            let TableName {
                database,
                schema,
                table,
            } = table_of(topic);
            (database, schema, table)
        };
        let named = |schema: &str, table: &str| (String::new(), schema.to_owned(), table.to_owned());
        assert_eq!(table("legacy.public.orders"), named("public", "orders"));
        assert_eq!(table("orders"), named("", "orders"));
        assert_eq!(table("legacy.shop_x2e_a.orders_x20_new"), named("shop.a", "orders new"));
        assert_eq!(table(""), named("", ""));
    }
}
