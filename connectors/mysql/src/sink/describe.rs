//! A table that is written into, as the catalogue describes it.

use std::sync::Arc;

use mysql_async::Conn;
use tailrace_core::schema::{SharedSchema, TableKind, TableName, TableSchema};
use tailrace_core::{Error, Result};
use tailrace_sql::sink::target::{TargetColumn, TargetTable};

use super::column::source_type;
use super::definitions::{AUTO_INCREMENT, COMPUTED_DEFAULT};
use crate::column_type::TypePolicy;
use crate::connect::{Texts, texts};
use crate::discover::catalog::{self, Attribute, Index, RelationKind};
use crate::discover::column;
use crate::quote::{literal, qualified};
use crate::server::Flavour;
use crate::table::ColumnDefault;

/// The only engine of both dialects whose rows are changed in one transaction with rows of other tables.
const ENGINE: &str = "InnoDB";

const DOING: &str = "read the catalogue";

/// The table; `None` where it is not there, or our user sees nothing of it.
pub(super) async fn describe(
    connection: &mut Conn,
    flavour: Flavour,
    schema: &str,
    table: &str,
) -> Result<Option<TargetTable>> {
    let condition = format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", literal(schema), literal(table));
    let query = format!("SELECT TABLE_TYPE, ENGINE, TABLE_COMMENT FROM information_schema.TABLES WHERE {condition}");
    let rows = texts(connection, &query, DOING).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    verify(row, schema, table)?;
    let attributes = catalog::attributes_of(connection, schema, table).await?;
    let indexes = catalog::indexes_of(connection, schema, table).await?;
    let query = format!(
        "SELECT DISTINCT REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE \
         WHERE {condition} AND REFERENCED_TABLE_NAME IS NOT NULL"
    );
    let references = texts(connection, &query, DOING).await?;
    let name = name(schema, table);
    let documentation = row.text(2).filter(|comment| !comment.is_empty()).map(str::to_owned);
    put_together(flavour, (name, documentation), &attributes, &indexes, &references).map(Some)
}

fn name(schema: &str, table: &str) -> TableName {
    TableName {
        database: String::new(),
        schema: schema.to_owned(),
        table: table.to_owned(),
    }
}

/// Rows and offsets must be changed in one transaction.
fn verify(row: &Texts, schema: &str, table: &str) -> Result<()> {
    let kind = RelationKind::from_catalog(row.text(0).unwrap_or_default());
    if !matches!(kind, RelationKind::Table | RelationKind::SystemVersioned) {
        let message =
            format!("{schema}.{table} is no table; name the table that its rows are in, under `table` or `tables`");
        return Err(Error::definite("not_a_table", message));
    }
    let engine = row.text(1).unwrap_or_default();
    if engine.eq_ignore_ascii_case(ENGINE) {
        return Ok(());
    }
    let message = format!(
        "the table {schema}.{table} is in the engine {engine}, whose rows are not changed in one transaction with the offsets: \
         ALTER TABLE {} ENGINE = {ENGINE}",
        qualified(schema, table)
    );
    Err(Error::definite("engine_not_transactional", message))
}

fn put_together(
    flavour: Flavour,
    (name, documentation): (TableName, Option<String>),
    attributes: &[Attribute],
    indexes: &[Index],
    references: &[Texts],
) -> Result<TargetTable> {
    let (mut schema_columns, mut columns) = (Vec::new(), Vec::new());
    for attribute in attributes {
        let definition = column(attribute, flavour).map_err(|error| {
            let message = format!(
                "nothing can be written into {}, because of its column {}: {error}",
                name.qualified(),
                attribute.name
            );
            Error::definite("column_type", message)
        })?;
        let numbered = attribute.extra.to_ascii_lowercase().contains("auto_increment");
        let type_name = attribute.column_type.split(['(', ' ']).next().unwrap_or_default();
        columns.push(TargetColumn {
            type_name: type_name.to_owned(),
            is_generated: attribute.generated,
            is_identity_always: false,
            may_be_left_out: attribute.nullable || numbered || definition.default.is_some(),
        });
        let mut column = definition.to_column(&TypePolicy::default());
        column.source_type = source_type(
            &column.source_type,
            attribute.charset.as_deref(),
            attribute.collation.as_deref(),
        );
        let computes = matches!(definition.default, Some(ColumnDefault::Expression(_)));
        if numbered {
            column.source_type.push_str(AUTO_INCREMENT);
        } else if computes || attribute.extra.to_ascii_lowercase().contains("on update") {
            column.source_type.push_str(COMPUTED_DEFAULT);
        }
        schema_columns.push(column);
    }
    let schema = TableSchema {
        name: name.clone(),
        kind: TableKind::Table,
        columns: schema_columns,
        key: Vec::new(),
        documentation,
    };
    let keys = Keys::of(&schema, indexes);
    let other = |row: &Texts| Some((row.text(0)?.to_owned(), row.text(1)?.to_owned()));
    let itself = (name.schema, name.table);
    let references: Vec<(String, String)> = references.iter().filter_map(other).collect();
    Ok(TargetTable {
        schema: SharedSchema::from(Arc::new(TableSchema {
            key: keys.primary,
            ..schema
        })),
        columns,
        unique_keys: keys.unique,
        has_other_unique_index: keys.other,
        references_itself: references.contains(&itself),
        references: references
            .iter()
            .filter(|other| **other != itself)
            .map(|(schema, table)| self::name(schema, table))
            .collect(),
    })
}

/// What keeps rows apart.
struct Keys {
    primary: Vec<usize>,
    unique: Vec<Vec<usize>>,
    /// An index of expressions, or of the first characters of a column.
    other: bool,
}

// === impl Keys ===

impl Keys {
    fn of(schema: &TableSchema, indexes: &[Index]) -> Self {
        let mut keys = Self {
            primary: Vec::new(),
            unique: Vec::new(),
            other: false,
        };
        for index in indexes {
            let columns = index.columns.iter().map(|name| schema.column_index(name.as_deref()?));
            match columns.collect::<Option<Vec<usize>>>().filter(|_| index.whole_columns) {
                Some(columns) if index.is_primary() => keys.primary = columns,
                Some(columns) => keys.unique.push(columns),
                None => keys.other = true,
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::catalog::IndexPart;
    use crate::discover::testing::attribute;

    fn part(index: &str, column: Option<&str>, whole_column: bool) -> IndexPart {
        IndexPart {
            schema: "shop".to_owned(),
            table: "orders".to_owned(),
            index: index.to_owned(),
            column: column.map(str::to_owned),
            whole_column,
        }
    }

    fn described(parts: Vec<IndexPart>) -> TargetTable {
        let attributes = [
            attribute("orders", "id", "bigint(20)"),
            attribute("orders", "note", "varchar(20)"),
        ];
        let references = [Texts::of(&["shop", "orders"]), Texts::of(&["crm", "customers"])];
        let about = (name("shop", "orders"), None);
        put_together(Flavour::MySql, about, &attributes, &Index::of_parts(parts), &references).unwrap()
    }

    #[test]
    fn indexes_and_references_are_sorted_out() {
        let table = described(vec![
            part("PRIMARY", Some("id"), true),
            part("by_note", Some("note"), true),
        ]);
        assert_eq!(
            (table.schema.key.as_slice(), table.unique_keys.as_slice()),
            (&[0][..], &[vec![1]][..])
        );
        assert!(!table.has_other_unique_index && table.references_itself);
        assert_eq!(table.references, [name("crm", "customers")]);
        assert_eq!(
            table.schema.columns[1].source_type,
            "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        );
        assert!(!table.columns[0].may_be_left_out && table.columns[1].may_be_left_out);
    }

    #[test]
    fn an_index_of_a_part_of_a_column_is_another_one() {
        let table = described(vec![part("by_note", Some("note"), false)]);
        assert!(table.has_other_unique_index && table.unique_keys.is_empty() && table.schema.key.is_empty());
        assert!(described(vec![part("by_expression", None, true)]).has_other_unique_index);
    }

    #[test]
    fn tables_without_transactions_are_refused() {
        let code = |kind, engine| verify(&Texts::of(&[kind, engine]), "shop", "orders").err();
        assert!(code("BASE TABLE", "InnoDB").is_none());
        let error = code("BASE TABLE", "MyISAM").unwrap();
        assert_eq!(error.code(), "engine_not_transactional");
        assert!(
            error.report().contains("ALTER TABLE `shop`.`orders` ENGINE = InnoDB"),
            "{error}"
        );
        assert_eq!(code("VIEW", "").unwrap().code(), "not_a_table");
    }
}
