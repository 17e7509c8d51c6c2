//! What a column can hold: its type, as far as writing into it is concerned.

use tailrace_core::schema::Column;
use tailrace_core::{Error, Result};

use crate::column_type::{ColumnType, TypeKind};

/// What separates the type that the catalogue prints from its character set, in a column's `source_type` as the sink describes it.
const CHARACTER_SET: &str = " CHARACTER SET ";
const COLLATE: &str = " COLLATE ";

/// A column's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetType {
    /// What its values are.
    pub(super) kind: TypeKind,
    /// The number in its parentheses: of characters, bytes, digits.
    pub(super) length: Option<usize>,
    /// Bytes that a `TEXT` of its size holds; what is cut off behind them is told of only where it is no blank.
    pub(super) length_bytes: Option<usize>,
    /// `CHAR`: spaces at the end are not kept.
    pub(super) drops_spaces: bool,
    /// `FLOAT(7,3)`: digits behind the point to which values are rounded.
    pub(super) rounded_to: Option<usize>,
    /// Texts that differ are equal to it: its collation is not one of plain bytes.
    pub(super) equates_texts: bool,
}

/// The type as a `source_type` that [`TargetType::of`] understands.
pub(super) fn source_type(column_type: &str, charset: Option<&str>, collation: Option<&str>) -> String {
    match (charset, collation) {
        (Some(charset), Some(collation)) => format!("{column_type}{CHARACTER_SET}{charset}{COLLATE}{collation}"),
        _ => column_type.to_owned(),
    }
}

/// The type as the catalogue prints it, and what stands behind it of characters.
pub(super) fn split(source_type: &str) -> (&str, Option<(&str, &str)>) {
    let Some((column_type, characters)) = source_type.split_once(CHARACTER_SET) else {
        return (source_type, None);
    };
    (column_type, characters.split_once(COLLATE))
}

// === impl TargetType ===

impl TargetType {
    /// The type of a column that the sink has described.
    ///
    /// # Errors
    /// Definite `column_type` where it is not known.
    pub(super) fn of(column: &Column) -> Result<Self> {
        let (column_type, characters) = split(&column.source_type);
        let charset = characters.map_or("utf8mb4", |(charset, _)| charset);
        let parsed = ColumnType::parse(column_type, Some(charset)).map_err(|error| {
            let message = format!("nothing can be written into the column {}: {error}", column.name);
            Error::definite("column_type", message)
        })?;
        let collation = characters.and_then(|(_, collation)| collation.split(' ').next());
        let numbers = numbers(column_type);
        let name = column_type.split(['(', ' ']).next().unwrap_or_default();
        Ok(Self {
            equates_texts: matches!(parsed.kind, TypeKind::Text { .. }) && !collation.is_some_and(tells_all_apart),
            kind: parsed.kind,
            length: numbers.first().copied(),
            length_bytes: match name.to_ascii_lowercase().as_str() {
                "tinytext" => Some(255),
                "text" => Some(65_535),
                "mediumtext" => Some(16_777_215),
                _ => None,
            },
            drops_spaces: name.eq_ignore_ascii_case("char"),
            rounded_to: match name.to_ascii_lowercase().as_str() {
                "float" | "double" => numbers.get(1).copied(),
                _ => None,
            },
        })
    }
}

/// The collations to which texts are the same only where their bytes are. All others of bytes (`utf8mb4_bin`) leave blanks at the end out of
/// account, as the SQL standard's PAD SPACE does.
fn tells_all_apart(collation: &str) -> bool {
    collation == "utf8mb4_0900_bin" || collation.ends_with("_nopad_bin")
}

fn numbers(column_type: &str) -> Vec<usize> {
    let arguments = column_type.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let arguments = arguments.map_or("", |(arguments, _)| arguments);
    arguments
        .split(',')
        .filter_map(|number| number.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use tailrace_core::value::LogicalType;

    use super::*;

    fn of(source_type: &str) -> Result<TargetType> {
        TargetType::of(&Column {
            source_type: source_type.to_owned(),
            ..Column::new("c", LogicalType::Int64)
        })
    }

    #[test]
    fn a_type_is_read_from_what_was_described() {
        let char = of(&source_type("char(3)", Some("latin1"), Some("latin1_swedish_ci"))).unwrap();
        assert!(char.drops_spaces && char.equates_texts);
        assert_eq!(char.length, Some(3));
        let varchar = of(&source_type("varchar(200)", Some("utf8mb4"), Some("utf8mb4_0900_bin"))).unwrap();
        assert!(!varchar.drops_spaces && !varchar.equates_texts);
        let padded = of(&source_type("varchar(200)", Some("utf8mb4"), Some("utf8mb4_bin"))).unwrap();
        assert!(padded.equates_texts, "'a' and 'a ' are one to it");
        let nopad = of(&source_type("varchar(200)", Some("utf8mb4"), Some("utf8mb4_nopad_bin"))).unwrap();
        assert!(!nopad.equates_texts);
        assert_eq!(of("double(10,2)").unwrap().rounded_to, Some(2));
        assert_eq!(of("decimal(10,2)").unwrap().rounded_to, None);
        assert_eq!(of("enum('a(1','b')").unwrap().length, None);
        assert_eq!(of("nonsense").unwrap_err().code(), "column_type");
    }
}
