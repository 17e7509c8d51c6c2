//! Columns of a query of the configuration, by what the server says of its answer.
//!
//! The answer says less than a catalogue: members of an ENUM or SET are published as plain text, MariaDB's UUID and addresses too.

use mysql_async::consts::{ColumnFlags, ColumnType as WireType};
use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn};
use tailrace_core::{Error, Result};

use crate::charset::Charset;
use crate::column_type::{ColumnType, TypeError};
use crate::error::{query_error, server_error_number};
use crate::quote::identifier;
use crate::table::{ColumnDefinition, TableDefinition};

/// Of the client itself: a statement that cannot be run as it is written. No database selected, ambiguous and unknown columns, two columns
/// of one name, syntax, no such table, wrong use of groups and functions.
const WRONG_STATEMENT: [u16; 15] = [
    1046, 1052, 1054, 1055, 1060, 1064, 1111, 1140, 1146, 1222, 1241, 1248, 1305, 1583, 1630,
];
/// What the server calls its count of decimals where there is none.
const DECIMALS_NOT_FIXED: u8 = 31;

/// What the answer of a query looks like. Inside a transaction it cannot change until the transaction ends.
///
/// # Errors
/// `query_invalid` where the server does not accept it, or where key columns are missing in it; also for a column of a type that cannot be
/// carried.
pub(crate) async fn describe(connection: &mut Conn, name: &str, sql: &str, key: &[String]) -> Result<TableDefinition> {
    let (schema, table) = name.split_once('.').unwrap_or(("", name));
    let statement = format!("SELECT * FROM ({sql}) AS {} LIMIT 0", identifier(table));
    let described = connection
        .query_iter(statement)
        .await
        .map_err(|error| refused(name, &error))?;
    let columns = described.columns_ref().to_vec();
    let ended = described.drop_result().await;
    ended.map_err(|error| refused(name, &error))?;
    let mut definition = TableDefinition::unknown(schema, table);
    for column in &columns {
        definition.columns.push(defined(name, column)?);
    }
    definition.key = key_indexes(name, &definition, key)?;
    Ok(definition)
}

fn refused(name: &str, error: &mysql_async::Error) -> Error {
    let doing = format!("run `query.queries.{name}.sql`");
    match server_error_number(error) {
        Some(number) if WRONG_STATEMENT.contains(&number) => Error::definite(
            "query_invalid",
            format!(
                "cannot {doing}: the server says: {error}; correct it, and write tables as `database.table`, because our sessions are in none"
            ),
        ),
        _ => query_error(error, &doing),
    }
}

fn key_indexes(name: &str, definition: &TableDefinition, key: &[String]) -> Result<Vec<usize>> {
    let index = |column: &String| {
        definition.column_index(column).ok_or_else(|| {
            let columns: Vec<&str> = definition.columns.iter().map(|column| column.name.as_str()).collect();
            Error::definite(
                "query_invalid",
                format!(
                    "`query.queries.{name}.key` names {column}, which the answer does not have; it has {}",
                    columns.join(", ")
                ),
            )
        })
    };
    key.iter().map(index).collect()
}

fn defined(name: &str, column: &Column) -> Result<ColumnDefinition> {
    let column_name = column.name_str().into_owned();
    let column_type = column_type(column).map_err(|error| {
        let message = format!("the column {column_name} of `query.queries.{name}` cannot be carried: {error}");
        Error::definite("column_type", message)
    })?;
    Ok(ColumnDefinition {
        name: column_name,
        column_type,
        nullable: !column.flags().contains(ColumnFlags::NOT_NULL_FLAG),
        default: None,
        generated: false,
        documentation: None,
    })
}

/// In the words of the catalogue, so that a type means the same wherever it comes from.
fn column_type(column: &Column) -> Result<ColumnType, TypeError> {
    let collation = u32::from(column.character_set());
    let charset = Charset::of_collation(collation).ok_or(TypeError::UnknownCollation(collation))?;
    let unsigned = match column.flags().contains(ColumnFlags::UNSIGNED_FLAG) {
        true => " unsigned",
        false => "",
    };
    let fraction = match column.decimals() {
        0 | DECIMALS_NOT_FIXED => String::new(),
        digits => format!("({digits})"),
    };
    let text = match column.column_type() {
        WireType::MYSQL_TYPE_TINY => format!("tinyint{unsigned}"),
        WireType::MYSQL_TYPE_SHORT => format!("smallint{unsigned}"),
        WireType::MYSQL_TYPE_INT24 => format!("mediumint{unsigned}"),
        WireType::MYSQL_TYPE_LONG => format!("int{unsigned}"),
        WireType::MYSQL_TYPE_LONGLONG => format!("bigint{unsigned}"),
        WireType::MYSQL_TYPE_DECIMAL | WireType::MYSQL_TYPE_NEWDECIMAL => decimal(column, unsigned),
        WireType::MYSQL_TYPE_FLOAT => "float".to_owned(),
        WireType::MYSQL_TYPE_DOUBLE => "double".to_owned(),
        WireType::MYSQL_TYPE_BIT => format!("bit({})", column.column_length()),
        WireType::MYSQL_TYPE_YEAR => "year".to_owned(),
        WireType::MYSQL_TYPE_DATE | WireType::MYSQL_TYPE_NEWDATE => "date".to_owned(),
        WireType::MYSQL_TYPE_TIME | WireType::MYSQL_TYPE_TIME2 => format!("time{fraction}"),
        WireType::MYSQL_TYPE_DATETIME | WireType::MYSQL_TYPE_DATETIME2 => format!("datetime{fraction}"),
        WireType::MYSQL_TYPE_TIMESTAMP | WireType::MYSQL_TYPE_TIMESTAMP2 => format!("timestamp{fraction}"),
        WireType::MYSQL_TYPE_JSON => "json".to_owned(),
        WireType::MYSQL_TYPE_GEOMETRY => "geometry".to_owned(),
        WireType::MYSQL_TYPE_VECTOR => "vector".to_owned(),
        _ => characters(column, charset),
    };
    ColumnType::parse(&text, Some(charset.name()))
}

/// The length counts digits, the point and the sign.
fn decimal(column: &Column, unsigned: &str) -> String {
    let scale = u32::from(column.decimals());
    let signs = u32::from(scale > 0) + u32::from(unsigned.is_empty());
    let precision = column.column_length().saturating_sub(signs).clamp(1, 65);
    format!("decimal({precision},{}){unsigned}", scale.min(precision))
}

fn characters(column: &Column, charset: Charset) -> String {
    if charset == Charset::Binary {
        return "varbinary".to_owned();
    }
    let length = column.column_length() / u32::from(charset.character_max_bytes());
    format!("varchar({length})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(wire: WireType, collation: u16, length: u32, decimals: u8, flags: ColumnFlags) -> String {
        let column = Column::new(wire)
            .with_character_set(collation)
            .with_column_length(length)
            .with_decimals(decimals)
            .with_flags(flags);
        column_type(&column).unwrap().source_type().to_owned()
    }

    #[test]
    fn types_of_an_answer_are_named_as_in_the_catalogue() {
        let none = ColumnFlags::empty();
        let unsigned = ColumnFlags::UNSIGNED_FLAG;
        for (wire, collation, length, decimals, flags, expected) in [
            (WireType::MYSQL_TYPE_LONGLONG, 63, 20, 0, unsigned, "bigint unsigned"),
            (WireType::MYSQL_TYPE_NEWDECIMAL, 63, 12, 2, none, "decimal(10,2)"),
            (
                WireType::MYSQL_TYPE_NEWDECIMAL,
                63,
                10,
                0,
                unsigned,
                "decimal(10,0) unsigned",
            ),
            (WireType::MYSQL_TYPE_DATETIME, 63, 26, 6, none, "datetime(6)"),
            (WireType::MYSQL_TYPE_TIMESTAMP, 63, 19, 0, none, "timestamp"),
            (WireType::MYSQL_TYPE_VAR_STRING, 255, 80, 31, none, "varchar(20)"),
            (WireType::MYSQL_TYPE_STRING, 63, 16, 0, none, "varbinary"),
            (WireType::MYSQL_TYPE_BLOB, 45, 400, 0, none, "varchar(100)"),
            (WireType::MYSQL_TYPE_NULL, 63, 0, 0, none, "varbinary"),
        ] {
            assert_eq!(typed(wire, collation, length, decimals, flags), expected);
        }
    }

    #[test]
    fn a_key_that_the_answer_lacks_is_named() {
        let mut definition = TableDefinition::unknown("", "open_orders");
        let column = Column::new(WireType::MYSQL_TYPE_LONG)
            .with_character_set(63)
            .with_name(b"id");
        definition.columns.push(defined("open_orders", &column).unwrap());
        assert_eq!(
            key_indexes("open_orders", &definition, &["ID".to_owned()]).unwrap(),
            [0]
        );
        let error = key_indexes("open_orders", &definition, &["nr".to_owned()]).unwrap_err();
        assert_eq!(error.code(), "query_invalid");
    }
}
