//! Values in statements, written as literals that compare exactly as the column does.
//!
//! Characters are a literal in utf8mb4: beside a column the server converts the literal into the column's character set, and compares by
//! the column's collation, so that the index is used and rows that compare equal are the same row.

use tailrace_core::{Error, Result};
use tailrace_sql::{CursorValue, Piece, Statement};

use crate::column_type::TypeKind;
use crate::dialect::catalogue::Known;
use crate::quote::literal as text_literal;

/// The statement as text; `about` is the table that its values are of.
///
/// # Errors
/// Where a value's type matters and is not known.
pub(super) fn statement(statement: &Statement, about: Option<&Known>) -> Result<String> {
    let kind = |column: usize| Some(&about?.definition.columns.get(column)?.column_type.kind);
    let is_open = |piece: &Piece| match piece {
        Piece::Value { column, value } => value.as_integer().is_none() && kind(*column).is_none(),
        Piece::Text(_) => false,
    };
    if statement.pieces.iter().any(is_open) {
        return Err(Error::definite(
            "source_query",
            "a statement has a value of a table that is not known any more; the tables are looked at again when the connector starts",
        ));
    }
    Ok(statement.render(|column, value| literal(value, kind(column))))
}

/// One value of a column of this kind.
pub(super) fn literal(value: &CursorValue, kind: Option<&TypeKind>) -> String {
    match value {
        CursorValue::Integer(number) => number.to_string(),
        CursorValue::Real { real } => numeric(real),
        CursorValue::Text(text) => match kind {
            Some(TypeKind::FixedBytes { .. } | TypeKind::Bytes) => hexadecimal(text),
            Some(
                TypeKind::Decimal { .. }
                | TypeKind::Float { .. }
                | TypeKind::Double
                | TypeKind::Integer { .. }
                | TypeKind::Year,
            ) => numeric(text),
            _ => text_literal(text),
        },
    }
}

/// Digits stand for themselves: in quotes they would be compared as approximations.
fn numeric(text: &str) -> String {
    let is_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    if text.parse::<f64>().is_ok() && text.bytes().all(is_number) {
        text.to_owned()
    } else {
        text_literal(text)
    }
}

fn hexadecimal(text: &str) -> String {
    if !text.is_empty() && text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        format!("0x{text}")
    } else {
        text_literal(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column_type::ColumnType;

    fn written(column_type: &str, text: &str) -> String {
        let column_type = ColumnType::parse(column_type, Some("latin1")).unwrap();
        literal(&CursorValue::Text(text.to_owned()), Some(&column_type.kind))
    }

    #[test]
    fn values_are_written_as_their_columns_compare() {
        assert_eq!(literal(&CursorValue::Integer(-7), None), "-7");
        assert_eq!(written("varchar(9)", r"it's \"), r"'it''s \\'");
        assert_eq!(written("char(36)", "0x00"), "'0x00'");
        assert_eq!(written("binary(2)", "00ff"), "0x00ff");
        assert_eq!(written("varbinary(2)", ""), "''");
        assert_eq!(
            written("decimal(20,2)", "-12345678901234567.89"),
            "-12345678901234567.89"
        );
        assert_eq!(written("bigint(20) unsigned", "7"), "7");
        assert_eq!(
            written("datetime(6)", "2024-02-29 10:00:00.000001"),
            "'2024-02-29 10:00:00.000001'"
        );
    }

    #[test]
    fn nothing_of_a_stored_position_gets_out_of_its_quotes() {
        assert_eq!(written("decimal(5,0)", "1 OR 1=1"), "'1 OR 1=1'");
        assert_eq!(written("decimal(5,0)", "inf"), "'inf'");
        assert_eq!(written("binary(2)", "00 OR 1"), "'00 OR 1'");
        let real = CursorValue::Real { real: "1'".to_owned() };
        assert_eq!(literal(&real, None), "'1'''");
    }

    #[test]
    fn a_text_of_no_known_column_is_refused() {
        let number = Statement::text("DELETE FROM `s`.`t` WHERE `id` IN (")
            .value(0, &CursorValue::Integer(7))
            .then(")");
        assert_eq!(
            super::statement(&number, None).unwrap(),
            "DELETE FROM `s`.`t` WHERE `id` IN (7)"
        );
        let text = Statement::text("DELETE FROM `s`.`t` WHERE `id` = ").value(0, &CursorValue::Text("7".to_owned()));
        assert_eq!(super::statement(&text, None).unwrap_err().code(), "source_query");
    }
}
