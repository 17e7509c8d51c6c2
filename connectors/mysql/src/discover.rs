//! Tables that are captured, as the catalogue describes them.

pub(crate) mod catalog;
pub(crate) mod foreign_key;
mod select;
mod surroundings;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use mysql_async::Conn;
use tailrace_core::schema::SharedSchema;
use tailrace_core::{Error, Result};

use crate::charset::Charset;
use crate::column_type::{ColumnType, TypeError, TypePolicy};
use crate::config::MySqlConfig;
use crate::connect::{self, Purpose};
use crate::discover::catalog::{Attribute, Details, Index, Relation, Storage};
use crate::discover::select::Selection;
use crate::server::{Flavour, ServerFacts, identify};
use crate::table::{ColumnDefault, ColumnDefinition, TableDefinition, UniqueKey};

pub(crate) use select::Needed;
pub(crate) use surroundings::Surroundings;

/// One captured table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CapturedTable {
    /// What the rest of the house sees.
    pub(crate) schema: SharedSchema,
    /// As the catalogue describes it.
    pub(crate) definition: TableDefinition,
    /// Rows by the server's statistics.
    pub(crate) rows_estimated: Option<u64>,
    /// Its engine has transactions.
    pub(crate) transactional: bool,
}

/// What is on the server and what is captured of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Discovery {
    /// Everything that our user sees and that is not the server's own.
    pub(crate) relations: Vec<Relation>,
    /// How the patterns fared.
    pub(crate) selection: Selection,
    /// Captured tables whose every column can be carried.
    pub(crate) tables: Vec<CapturedTable>,
    /// Columns of captured tables that cannot.
    pub(crate) unreadable: Vec<UnreadableColumn>,
    /// Tables that are not captured, of schemas that have captured ones.
    pub(crate) others: Vec<TableDefinition>,
}

/// A column whose values cannot be carried.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UnreadableColumn {
    /// `schema.table`.
    pub(crate) table: String,
    /// Name.
    pub(crate) column: String,
    /// Why.
    pub(crate) error: TypeError,
}

/// What tables are put together from.
struct Assembly<'a> {
    flavour: Flavour,
    policy: TypePolicy,
    attributes: HashMap<(&'a str, &'a str), Vec<&'a Attribute>>,
    indexes: HashMap<(&'a str, &'a str), Vec<&'a Index>>,
    storage: HashMap<(&'a str, &'a str), &'a Storage>,
    transactional_engines: &'a BTreeSet<String>,
}

/// The captured tables, and what is around them where the log does not say what its rows are. A pattern that matches nothing is an error, and so is
/// a column that cannot be carried.
pub(crate) async fn discover(
    connection: &mut Conn,
    config: &MySqlConfig,
    server: &ServerFacts,
) -> Result<(Vec<CapturedTable>, Surroundings)> {
    let mut discovery = survey(connection, config, server.flavour()).await?;
    let others = std::mem::take(&mut discovery.others);
    let surroundings = Surroundings {
        tables: if server.log.full_metadata { Vec::new() } else { others },
        charsets: surroundings::charsets(connection).await?,
    };
    Ok((discovery.verified()?, surroundings))
}

/// The captured tables as they are now.
pub(crate) async fn describe(config: &MySqlConfig, flavour: Flavour) -> Result<Vec<SharedSchema>> {
    let mut connection = connect::connect(config, Purpose::Catalog).await?;
    let identity = identify(&mut connection).await?;
    identity.verify_flavour(flavour)?;
    identity.verify_version()?;
    let discovery = survey(&mut connection, config, flavour).await?;
    Ok(discovery.verified()?.into_iter().map(|table| table.schema).collect())
}

/// The columns of one table as they are now; `None` where one of them is of no known type, or the table is gone.
pub(crate) async fn columns_of(
    connection: &mut Conn,
    schema: &str,
    table: &str,
    flavour: Flavour,
) -> Result<Option<Vec<ColumnDefinition>>> {
    let attributes = catalog::attributes_of(connection, schema, table).await?;
    let columns = attributes.iter().map(|attribute| column(attribute, flavour));
    Ok(columns.collect::<Result<Vec<_>, _>>().ok())
}

/// As [`discover`], but what is wrong is left to the caller.
pub(crate) async fn survey(connection: &mut Conn, config: &MySqlConfig, flavour: Flavour) -> Result<Discovery> {
    let patterns = config.patterns()?;
    let relations = catalog::relations(connection).await?;
    let needed = if config.query.is_some() {
        Needed::Rows
    } else {
        Needed::Log
    };
    let selection = select::select(&relations, &patterns, needed);
    let schemas: BTreeSet<&str> = selection.captured.iter().map(|(schema, _)| schema.as_str()).collect();
    let mut details = catalog::details(connection, &schemas).await?;
    for (schema, table) in details.with_several_unique_keys(&selection.captured) {
        let names = catalog::index_names(connection, schema, table).await?;
        details.put_in_order(schema, table, &names);
    }
    Ok(put_together(
        relations,
        selection,
        &details,
        (flavour, config.type_policy()),
    ))
}

/// What was read as tables.
fn put_together(
    relations: Vec<Relation>,
    selection: Selection,
    details: &Details,
    (flavour, policy): (Flavour, TypePolicy),
) -> Discovery {
    let assembly = Assembly::new(details, flavour, policy);
    let (mut tables, mut unreadable) = (Vec::new(), Vec::new());
    for (schema, table) in &selection.captured {
        match assembly.table(schema, table) {
            Ok(table) => tables.push(table),
            Err(columns) => unreadable.extend(columns),
        }
    }
    Discovery {
        others: surroundings::others(&assembly, &relations, &selection),
        relations,
        tables,
        unreadable,
        selection,
    }
}

// === impl Discovery ===

impl Discovery {
    /// The tables, where nothing is wrong with patterns and columns.
    pub(crate) fn verified(self) -> Result<Vec<CapturedTable>> {
        if !self.selection.unmatched.is_empty() {
            let patterns = self.selection.unmatched.join("`, `");
            let message = format!(
                "`{patterns}` in `tables` matches no table that the user may see; upper and lower case differ, and a table is shown to those who may SELECT from it"
            );
            return Err(Error::definite("tables_unmatched", message));
        }
        match self.unreadable.first() {
            None => Ok(self.tables),
            Some(column) => Err(Error::definite(
                column.code(),
                format!(
                    "the column {} of {} cannot be captured: {}",
                    column.column, column.table, column.error
                ),
            )),
        }
    }
}

// === impl UnreadableColumn ===

impl UnreadableColumn {
    /// Stable, for error and finding alike.
    pub(crate) fn code(&self) -> &'static str {
        match self.error {
            TypeError::UnknownCharset(_) | TypeError::NoCharset(_) | TypeError::UnknownCollation(_) => "character_set",
            TypeError::Unknown(_) | TypeError::Malformed(_) | TypeError::UnknownCode(_) => "column_type",
        }
    }
}

// === impl Assembly ===

impl<'a> Assembly<'a> {
    fn new(details: &'a Details, flavour: Flavour, policy: TypePolicy) -> Self {
        let mut attributes: HashMap<_, Vec<&Attribute>> = HashMap::new();
        for attribute in &details.attributes {
            attributes
                .entry((attribute.schema.as_str(), attribute.table.as_str()))
                .or_default()
                .push(attribute);
        }
        let mut indexes: HashMap<_, Vec<&Index>> = HashMap::new();
        for index in &details.indexes {
            indexes
                .entry((index.schema.as_str(), index.table.as_str()))
                .or_default()
                .push(index);
        }
        let storage = details.storage.iter();
        Self {
            flavour,
            policy,
            attributes,
            indexes,
            storage: storage
                .map(|storage| ((storage.schema.as_str(), storage.table.as_str()), storage))
                .collect(),
            transactional_engines: &details.transactional_engines,
        }
    }

    fn table(&self, schema: &str, table: &str) -> Result<CapturedTable, Vec<UnreadableColumn>> {
        let name = (schema, table);
        let attributes = self.attributes.get(&name).map(Vec::as_slice).unwrap_or_default();
        let (mut columns, mut unreadable) = (Vec::with_capacity(attributes.len()), Vec::new());
        for attribute in attributes {
            match column(attribute, self.flavour) {
                Ok(column) => columns.push(column),
                Err(error) => unreadable.push(UnreadableColumn {
                    table: format!("{schema}.{table}"),
                    column: attribute.name.clone(),
                    error,
                }),
            }
        }
        if !unreadable.is_empty() {
            return Err(unreadable);
        }
        let storage = self.storage.get(&name);
        let mut definition = TableDefinition {
            schema: schema.to_owned(),
            table: table.to_owned(),
            columns,
            key: Vec::new(),
            unique_keys: self.unique_keys(name),
            charset: storage
                .and_then(|storage| storage.collation.as_deref())
                .and_then(Charset::of_collation_named),
            documentation: storage.and_then(|storage| storage.comment.clone()),
            engine: storage.and_then(|storage| storage.engine.clone()),
        };
        definition.settle_key();
        let engine = definition.engine.as_deref().unwrap_or_default();
        Ok(CapturedTable {
            schema: Arc::new(definition.to_schema(&self.policy)),
            rows_estimated: storage.and_then(|storage| storage.rows_estimated),
            transactional: self.transactional_engines.contains(&engine.to_ascii_lowercase()),
            definition,
        })
    }

    /// One that holds only the first characters of a column is as good as one with an expression: the whole column may still be
    /// large.
    fn unique_keys(&self, name: (&str, &str)) -> Vec<UniqueKey> {
        let indexes = self.indexes.get(&name).map(Vec::as_slice).unwrap_or_default();
        let columns = |index: &Index| match index.whole_columns || index.is_primary() {
            true => index.columns.iter().cloned().collect::<Option<Vec<String>>>(),
            false => None,
        };
        let keys = indexes.iter().map(|index| UniqueKey {
            name: index.name.clone(),
            columns: columns(index).unwrap_or_default(),
        });
        keys.collect()
    }
}

/// A column as the catalogue describes it.
pub(crate) fn column(attribute: &Attribute, flavour: Flavour) -> Result<ColumnDefinition, TypeError> {
    let default = attribute.default.as_deref();
    Ok(ColumnDefinition {
        name: attribute.name.clone(),
        column_type: ColumnType::parse(&attribute.column_type, attribute.charset.as_deref())?,
        nullable: attribute.nullable,
        default: match flavour {
            _ if attribute.generated => None,
            Flavour::MySql => ColumnDefault::from_mysql(default, &attribute.extra),
            Flavour::MariaDb => ColumnDefault::from_mariadb(default),
        },
        generated: attribute.generated,
        documentation: attribute.comment.clone(),
    })
}

/// A server in memory, for tests of what looks at one.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::discover::catalog::{IndexPart, RelationKind};

    /// A table `shop.<name>` with the columns `id` and `note` that nothing is wrong with.
    pub(crate) fn relation(name: &str, kind: RelationKind) -> Relation {
        Relation {
            schema: "shop".to_owned(),
            name: name.to_owned(),
            kind,
        }
    }

    pub(crate) fn attribute(table: &str, name: &str, column_type: &str) -> Attribute {
        Attribute {
            schema: "shop".to_owned(),
            table: table.to_owned(),
            name: name.to_owned(),
            column_type: column_type.to_owned(),
            nullable: name != "id",
            default: None,
            charset: column_type.starts_with("varchar").then(|| "utf8mb4".to_owned()),
            collation: column_type.starts_with("varchar").then(|| "utf8mb4_bin".to_owned()),
            extra: String::new(),
            generated: false,
            comment: None,
        }
    }

    pub(crate) fn part(table: &str, index: &str, column: &str) -> IndexPart {
        IndexPart {
            schema: "shop".to_owned(),
            table: table.to_owned(),
            index: index.to_owned(),
            column: Some(column.to_owned()),
            whole_column: true,
        }
    }

    /// What is there of each of the relations.
    pub(crate) fn details(relations: &[Relation]) -> Details {
        let tables = || relations.iter().filter(|relation| relation.kind == RelationKind::Table);
        let columns = |table: &Relation| {
            [
                attribute(&table.name, "id", "int(11)"),
                attribute(&table.name, "note", "varchar(20)"),
            ]
        };
        Details {
            attributes: tables().flat_map(columns).collect(),
            indexes: Index::of_parts(tables().map(|table| part(&table.name, "PRIMARY", "id"))),
            storage: tables()
                .map(|table| Storage {
                    schema: table.schema.clone(),
                    table: table.name.clone(),
                    engine: Some("InnoDB".to_owned()),
                    rows_estimated: Some(10),
                    comment: None,
                    collation: Some("utf8mb4_0900_ai_ci".to_owned()),
                })
                .collect(),
            transactional_engines: BTreeSet::from(["innodb".to_owned()]),
        }
    }

    /// These relations under this configuration, after `change`.
    pub(crate) fn discovery(
        config: &MySqlConfig,
        relations: Vec<Relation>,
        change: impl FnOnce(&mut Details),
    ) -> Discovery {
        let mut details = details(&relations);
        change(&mut details);
        let selection = select::select(&relations, &config.patterns().unwrap(), Needed::Log);
        put_together(relations, selection, &details, (Flavour::MySql, config.type_policy()))
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{attribute, discovery, part, relation};
    use super::*;
    use crate::discover::catalog::RelationKind;

    fn config(json: &str) -> MySqlConfig {
        serde_json::from_str(&format!(r#"{{"url": "mysql://u@h/", {json}}}"#)).unwrap()
    }

    fn orders(change: impl FnOnce(&mut Details)) -> Discovery {
        let relations = vec![relation("orders", RelationKind::Table)];
        discovery(&config(r#""tables": ["shop.orders"]"#), relations, change)
    }

    fn key(change: impl FnOnce(&mut Details)) -> Vec<usize> {
        orders(change).tables[0].definition.key.clone()
    }

    #[test]
    fn a_table_is_put_together() {
        let discovery = orders(|details| {
            details.storage[0].comment = Some("what was ordered".to_owned());
            details.attributes[1].default = Some("none".to_owned());
        });
        let table = &discovery.verified().unwrap()[0];
        assert_eq!(table.schema.name.qualified(), "shop.orders");
        assert_eq!(table.schema.documentation.as_deref(), Some("what was ordered"));
        assert_eq!(table.schema.columns.len(), 2);
        assert!(table.schema.columns[1].default.is_some() && table.schema.columns[1].nullable);
        assert_eq!((table.rows_estimated, table.transactional), (Some(10), true));
        assert_eq!(table.definition.charset, Some(Charset::Utf8mb4));
    }

    #[test]
    fn tables_beside_the_captured_ones_are_known() {
        let relations = vec![
            relation("_orders_new", RelationKind::Table),
            relation("orders", RelationKind::Table),
            relation("orders_view", RelationKind::View),
            relation("shapes", RelationKind::Table),
            Relation {
                schema: "crm".to_owned(),
                ..relation("people", RelationKind::Table)
            },
        ];
        let discovery = discovery(&config(r#""tables": ["shop.orders"]"#), relations, |details| {
            details.attributes.push(attribute("shapes", "shape", "hypercube(4)"));
        });
        let others: Vec<&str> = discovery.others.iter().map(|other| other.table.as_str()).collect();
        assert_eq!(others, ["_orders_new"]);
        assert_eq!(discovery.others[0].columns.len(), 2);
        assert_eq!(discovery.verified().unwrap().len(), 1);
    }

    #[test]
    fn the_key_is_primary_or_unique_and_never_null() {
        assert_eq!(key(|_| {}), [0]);
        let compound = |details: &mut Details| {
            details.indexes = Index::of_parts([part("orders", "PRIMARY", "note"), part("orders", "PRIMARY", "id")]);
        };
        assert_eq!(key(compound), [1, 0]);
        let unique = |details: &mut Details| {
            details.indexes = Index::of_parts([part("orders", "a_note", "note"), part("orders", "b_id", "id")]);
        };
        assert_eq!(key(unique), [0]);
        let by_order = |names: [&'static str; 2]| {
            move |details: &mut Details| {
                details.attributes[1].nullable = false;
                unique(details);
                let captured = [("shop".to_owned(), "orders".to_owned())];
                assert_eq!(details.with_several_unique_keys(&captured), [("shop", "orders")]);
                details.put_in_order("shop", "orders", &names.map(str::to_owned));
            }
        };
        assert_eq!(key(by_order(["a_note", "b_id"])), [1]);
        assert_eq!(key(by_order(["b_id", "a_note"])), [0]);
        let prefix = |details: &mut Details| {
            let mut id = part("orders", "u", "id");
            id.whole_column = false;
            details.indexes = Index::of_parts([id]);
        };
        assert_eq!(key(prefix), [0; 0]);
        let expression = |details: &mut Details| {
            let mut id = part("orders", "u", "id");
            id.column = None;
            details.indexes = Index::of_parts([id]);
        };
        assert_eq!(key(expression), [0; 0]);
        assert_eq!(key(|details| details.indexes.clear()), [0; 0]);
    }

    #[test]
    fn patterns_without_a_table_and_columns_without_a_meaning_are_errors() {
        let unmatched = discovery(&config(r#""tables": ["shop.nothing"]"#), Vec::new(), |_| {});
        assert_eq!(unmatched.verified().unwrap_err().code(), "tables_unmatched");
        let odd = orders(|details| details.attributes.push(attribute("orders", "shape", "hypercube(4)")));
        assert_eq!(odd.tables.len(), 0);
        let error = odd.verified().unwrap_err();
        assert_eq!(error.code(), "column_type");
        assert!(error.report().contains("the column shape of shop.orders"), "{error}");
        let odd = orders(|details| details.attributes[1].charset = Some("klingon".to_owned()));
        assert_eq!(odd.verified().unwrap_err().code(), "character_set");
    }
}
