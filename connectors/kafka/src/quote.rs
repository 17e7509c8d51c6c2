//! Words as they stand in commands: the one place where a command for a shell is put together.

/// A word as a shell reads it, whatever it holds.
pub(crate) fn word(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-' | ':' | ',' | '=');
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_word() {
        assert_eq!(word("b1:9092,b2:9092"), "b1:9092,b2:9092");
        assert_eq!(word("mirror of orders"), "'mirror of orders'");
        assert_eq!(word("x'; reboot; '"), r"'x'\''; reboot; '\'''");
        assert_eq!(word("$(reboot)"), "'$(reboot)'");
        assert_eq!(word(""), "''");
    }
}
