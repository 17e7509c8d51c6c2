//! Names and values as they stand in SQL: the one place where a statement is put together from either.

/// A name in backticks, whatever it holds. A NUL cannot be in a name of the catalogue and is dropped.
pub(crate) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('\0', "").replace('`', "``"))
}

/// `` `schema`.`table` ``.
pub(crate) fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(table))
}

/// A text in single quotes. Our connections run with an empty `sql_mode`, in which a backslash escapes, and in utf8mb4, in which
/// no character ends in a byte that could be taken for one.
pub(crate) fn literal(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\0', "\\0").replace('\'', "''");
    format!("'{escaped}'")
}

/// Bytes as a hexadecimal literal, which has no character set: `0x00ff`, and `''` for none.
pub(crate) fn binary(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "''".to_owned();
    }
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        assert_eq!(identifier("x`; drop table y; --"), "`x``; drop table y; --`");
        assert_eq!(qualified("shop", "Or ders"), "`shop`.`Or ders`");
        assert_eq!(literal(r"it's \' x"), r"'it''s \\'' x'");
        assert_eq!(literal("a\0b"), r"'a\0b'");
        assert_eq!(binary(&[0, 0xff]), "0x00ff");
        assert_eq!(binary(b""), "''");
    }
}
