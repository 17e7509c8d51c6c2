//! What `information_schema` says, one query for all tables each. It says different things in each version; what is asked for here,
//! MySQL 5.6 and MariaDB 10.5 say as well as their newest successors.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::Conn;
use tailrace_core::Result;

use crate::connect::{Texts, texts};
use crate::quote::{literal, qualified};

/// Anything with columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    /// Schema.
    pub(crate) schema: String,
    /// Name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: RelationKind,
}

/// What a relation is, as far as capturing is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelationKind {
    /// A table with rows of its own and a log.
    Table,
    /// No rows of its own.
    View,
    /// MariaDB's: its rows in the log are not rows of a table.
    Sequence,
    /// MariaDB's: rows that are not current any more are in the log beside those that are.
    SystemVersioned,
    /// Whatever else there may be.
    Other,
}

/// One column of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attribute {
    /// Schema.
    pub(crate) schema: String,
    /// Table.
    pub(crate) table: String,
    /// Name.
    pub(crate) name: String,
    /// `COLUMN_TYPE`: `int(10) unsigned`.
    pub(crate) column_type: String,
    /// May hold NULL.
    pub(crate) nullable: bool,
    /// `COLUMN_DEFAULT`, which each dialect writes in its own way.
    pub(crate) default: Option<String>,
    /// Character set, where it has characters.
    pub(crate) charset: Option<String>,
    /// Collation, where it has characters.
    pub(crate) collation: Option<String>,
    /// `EXTRA`: `auto_increment`, `DEFAULT_GENERATED on update CURRENT_TIMESTAMP`.
    pub(crate) extra: String,
    /// Computed from other columns.
    pub(crate) generated: bool,
    /// Comment.
    pub(crate) comment: Option<String>,
}

/// A primary key or a unique index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    /// Schema.
    pub(crate) schema: String,
    /// Table.
    pub(crate) table: String,
    /// `PRIMARY`, or its name.
    pub(crate) name: String,
    /// Columns in the index's order; `None` for an expression.
    pub(crate) columns: Vec<Option<String>>,
    /// None of them only with its first characters.
    pub(crate) whole_columns: bool,
}

/// One column of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexPart {
    /// Schema.
    pub(crate) schema: String,
    /// Table.
    pub(crate) table: String,
    /// Index.
    pub(crate) index: String,
    /// Column; `None` for an expression.
    pub(crate) column: Option<String>,
    /// Not only its first characters.
    pub(crate) whole_column: bool,
}

/// How a table is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storage {
    /// Schema.
    pub(crate) schema: String,
    /// Table.
    pub(crate) table: String,
    /// Engine.
    pub(crate) engine: Option<String>,
    /// Rows by the engine's statistics.
    pub(crate) rows_estimated: Option<u64>,
    /// Comment.
    pub(crate) comment: Option<String>,
    /// Collation that new columns have.
    pub(crate) collation: Option<String>,
}

/// Everything that captured tables are made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Details {
    /// Columns, by table and place.
    pub(crate) attributes: Vec<Attribute>,
    /// Primary keys and unique indexes, by table and name, or in the server's order ([`Details::put_in_order`]).
    pub(crate) indexes: Vec<Index>,
    /// Engines, comments, numbers of rows.
    pub(crate) storage: Vec<Storage>,
    /// Names of engines that have transactions, in lower case.
    pub(crate) transactional_engines: BTreeSet<String>,
}

const RELATIONS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES \
     WHERE TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys', 'ndbinfo') \
     ORDER BY TABLE_SCHEMA, TABLE_NAME";

const SCHEMA_CHARSETS: &str = "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA";

const ENGINES: &str = "SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS = 'YES'";

const DOING: &str = "read the catalogue";

/// Every table, view and their like that our user sees, but for the server's own.
pub(crate) async fn relations(connection: &mut Conn) -> Result<Vec<Relation>> {
    let rows = texts(connection, RELATIONS, DOING).await?;
    Ok(rows.iter().filter_map(relation).collect())
}

/// Schemas and the names of their default character sets.
pub(crate) async fn schema_charsets(connection: &mut Conn) -> Result<Vec<(String, String)>> {
    let rows = texts(connection, SCHEMA_CHARSETS, DOING).await?;
    let pair = |row: &Texts| Some((row.text(0)?.to_owned(), row.text(1)?.to_owned()));
    Ok(rows.iter().filter_map(pair).collect())
}

/// Everything about the tables of these schemas.
pub(crate) async fn details(connection: &mut Conn, schemas: &BTreeSet<&str>) -> Result<Details> {
    if schemas.is_empty() {
        return Ok(Details::default());
    }
    let names: Vec<String> = schemas.iter().map(|schema| literal(schema)).collect();
    let names = names.join(", ");
    let of_schemas = format!("TABLE_SCHEMA IN ({names})");
    let attributes = texts(connection, &attributes_query(&of_schemas), DOING).await?;
    let parts = texts(connection, &indexes_query(&of_schemas), DOING).await?;
    let storage = texts(connection, &storage_query(&of_schemas), DOING).await?;
    let engines = texts(connection, ENGINES, DOING).await?;
    let engine = |row: &Texts| Some(row.text(0)?.to_ascii_lowercase());
    Ok(Details {
        attributes: attributes.iter().filter_map(attribute).collect(),
        indexes: Index::of_parts(parts.iter().filter_map(index_part)),
        storage: storage.iter().filter_map(stored).collect(),
        transactional_engines: engines.iter().filter_map(engine).collect(),
    })
}

/// The columns of one table, in their order.
pub(crate) async fn attributes_of(connection: &mut Conn, schema: &str, table: &str) -> Result<Vec<Attribute>> {
    let rows = texts(connection, &attributes_query(&of_table(schema, table)), DOING).await?;
    Ok(rows.iter().filter_map(attribute).collect())
}

/// The primary key and the unique indexes of one table.
pub(crate) async fn indexes_of(connection: &mut Conn, schema: &str, table: &str) -> Result<Vec<Index>> {
    let rows = texts(connection, &indexes_query(&of_table(schema, table)), DOING).await?;
    Ok(Index::of_parts(rows.iter().filter_map(index_part)))
}

/// Compared with one value each, so that no other table's definition is looked at.
fn of_table(schema: &str, table: &str) -> String {
    format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", literal(schema), literal(table))
}

/// Names of a table's indexes in the server's order, which no view of the catalogue has in every version: the primary key, unique ones
/// that are never NULL, other unique ones, others, and each of these in the order in which they were made.
pub(crate) async fn index_names(connection: &mut Conn, schema: &str, table: &str) -> Result<Vec<String>> {
    const KEY_NAME: usize = 2;
    let query = format!("SHOW INDEX FROM {}", qualified(schema, table));
    let rows = texts(connection, &query, DOING).await?;
    let mut names: Vec<String> = rows
        .iter()
        .filter_map(|row| row.text(KEY_NAME).map(str::to_owned))
        .collect();
    names.dedup();
    Ok(names)
}

fn attributes_query(condition: &str) -> String {
    format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, CHARACTER_SET_NAME, EXTRA, COLUMN_COMMENT, COLLATION_NAME \
         FROM information_schema.COLUMNS WHERE {condition} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"
    )
}

fn indexes_query(condition: &str) -> String {
    format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS \
         WHERE {condition} AND NON_UNIQUE = 0 ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
    )
}

fn storage_query(condition: &str) -> String {
    format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, TABLE_ROWS, TABLE_COMMENT, TABLE_COLLATION FROM information_schema.TABLES \
         WHERE {condition} AND TABLE_TYPE = 'BASE TABLE'"
    )
}

fn relation(row: &Texts) -> Option<Relation> {
    Some(Relation {
        schema: row.text(0)?.to_owned(),
        name: row.text(1)?.to_owned(),
        kind: RelationKind::from_catalog(row.text(2)?),
    })
}

fn attribute(row: &Texts) -> Option<Attribute> {
    let extra = row.text(7).unwrap_or_default().to_owned();
    Some(Attribute {
        schema: row.text(0)?.to_owned(),
        table: row.text(1)?.to_owned(),
        name: row.text(2)?.to_owned(),
        column_type: row.text(3)?.to_owned(),
        nullable: row.text(4)?.eq_ignore_ascii_case("yes"),
        default: row.text(5).map(str::to_owned),
        charset: row.text(6).map(str::to_owned),
        collation: row.text(9).map(str::to_owned),
        generated: is_generated(&extra),
        extra,
        comment: comment(row.text(8)),
    })
}

/// `VIRTUAL GENERATED`, `STORED GENERATED`, and what they were called in older MariaDBs; not `DEFAULT_GENERATED`.
fn is_generated(extra: &str) -> bool {
    let extra = extra.to_ascii_uppercase();
    let words = ["VIRTUAL", "STORED", "PERSISTENT"];
    extra.split_ascii_whitespace().any(|word| words.contains(&word))
}

/// Where there is none, the catalogue has an empty one.
fn comment(text: Option<&str>) -> Option<String> {
    text.filter(|comment| !comment.is_empty()).map(str::to_owned)
}

fn index_part(row: &Texts) -> Option<IndexPart> {
    Some(IndexPart {
        schema: row.text(0)?.to_owned(),
        table: row.text(1)?.to_owned(),
        index: row.text(2)?.to_owned(),
        column: row.text(3).map(str::to_owned),
        whole_column: row.text(4).is_none(),
    })
}

fn stored(row: &Texts) -> Option<Storage> {
    Some(Storage {
        schema: row.text(0)?.to_owned(),
        table: row.text(1)?.to_owned(),
        engine: row.text(2).map(str::to_owned),
        rows_estimated: row.text(3).and_then(|rows| rows.parse().ok()),
        comment: comment(row.text(4)),
        collation: row.text(5).map(str::to_owned),
    })
}

// === impl Details ===

impl Details {
    /// Those tables whose key depends on the order of their indexes.
    pub(crate) fn with_several_unique_keys<'a>(&self, tables: &'a [(String, String)]) -> Vec<(&'a str, &'a str)> {
        let mut several = Vec::new();
        for (schema, table) in tables {
            let of_table = |index: &&Index| index.schema == *schema && index.table == *table;
            let indexes: Vec<&Index> = self.indexes.iter().filter(of_table).collect();
            if indexes.len() > 1 && !indexes.iter().any(|index| index.is_primary()) {
                several.push((schema.as_str(), table.as_str()));
            }
        }
        several
    }

    /// Brings the indexes of a table into the order of these names.
    pub(crate) fn put_in_order(&mut self, schema: &str, table: &str, names: &[String]) {
        let place = |index: &Index| match index.schema == schema && index.table == table {
            true => names.iter().position(|name| *name == index.name),
            false => None,
        };
        self.indexes.sort_by_key(place);
    }
}

// === impl RelationKind ===

impl RelationKind {
    pub(crate) fn from_catalog(table_type: &str) -> Self {
        match table_type {
            "BASE TABLE" => Self::Table,
            "VIEW" | "SYSTEM VIEW" => Self::View,
            "SEQUENCE" => Self::Sequence,
            "SYSTEM VERSIONED" => Self::SystemVersioned,
            _ => Self::Other,
        }
    }
}

// === impl Index ===

impl Index {
    /// Parts come in the order of the index.
    pub(crate) fn of_parts(parts: impl IntoIterator<Item = IndexPart>) -> Vec<Self> {
        let mut indexes: BTreeMap<(String, String, String), Self> = BTreeMap::new();
        for part in parts {
            let name = (part.schema.clone(), part.table.clone(), part.index.clone());
            let index = indexes.entry(name).or_insert_with(|| Self {
                schema: part.schema,
                table: part.table,
                name: part.index,
                columns: Vec::new(),
                whole_columns: true,
            });
            index.columns.push(part.column);
            index.whole_columns &= part.whole_column;
        }
        indexes.into_values().collect()
    }

    /// It is the primary key, which cannot be called otherwise.
    pub(crate) fn is_primary(&self) -> bool {
        self.name == "PRIMARY"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_relations() {
        for (table_type, kind) in [
            ("BASE TABLE", RelationKind::Table),
            ("VIEW", RelationKind::View),
            ("SEQUENCE", RelationKind::Sequence),
            ("SYSTEM VERSIONED", RelationKind::SystemVersioned),
            ("TEMPORARY", RelationKind::Other),
        ] {
            assert_eq!(RelationKind::from_catalog(table_type), kind);
        }
    }

    #[test]
    fn generated_columns_are_told_from_generated_defaults() {
        assert!(
            is_generated("VIRTUAL GENERATED")
                && is_generated("STORED GENERATED INVISIBLE")
                && is_generated("persistent")
        );
        assert!(!is_generated("DEFAULT_GENERATED on update CURRENT_TIMESTAMP") && !is_generated("auto_increment"));
    }
}
