//! Names and texts as they stand in SQL: the one place where a statement is put together from either.

/// A name in double quotes, whatever it holds. A NUL cannot be in a name of the catalogue and is dropped.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('\0', "").replace('"', "\"\""))
}

/// `"schema"."table"`.
pub(crate) fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(table))
}

/// A text in single quotes. Our connections run with `standard_conforming_strings = on`, so a backslash is just that.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        assert_eq!(identifier(r#"x"; drop table y; --"#), r#""x""; drop table y; --""#);
        assert_eq!(qualified("public", "Or ders"), r#""public"."Or ders""#);
        assert_eq!(literal(r"it's \'"), r"'it''s \'''");
    }
}
