//! Tables that are polled: as the log source describes them, and what a cursor must know of them besides.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use mysql_async::Conn;
use tailrace_core::Result;
use tailrace_core::schema::SharedSchema;
use tailrace_sql::{DiscoveredTable, Discovery, IdGeneration};

use super::described;
use crate::config::MySqlConfig;
use crate::connect::{Texts, texts};
use crate::discover::catalog::RelationKind;
use crate::discover::{CapturedTable, survey};
use crate::quote::{literal, qualified};
use crate::server::{ServerFacts, Version};
use crate::table::TableDefinition;

/// From here on InnoDB remembers the highest id over a restart; before, it begins behind the rows that are left.
const LASTING_COUNTER_MYSQL: Version = Version::new(8, 0, 0);
const LASTING_COUNTER_MARIADB: Version = Version::new(10, 2, 4);

const DOING: &str = "read the catalogue";

/// What is known of a table that is polled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    /// Columns and key, as the server names their types.
    pub(crate) definition: TableDefinition,
    /// What it is.
    pub(crate) origin: Origin,
    /// Its engine has transactions.
    pub(crate) transactional: bool,
    /// Columns that the server itself sets to the time.
    pub(crate) stamps: BTreeMap<String, Stamp>,
}

/// What is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A table.
    Table,
    /// A view.
    View,
    /// A query of the configuration.
    Query {
        /// As it is configured.
        sql: String,
        /// Its key columns.
        key: Vec<String>,
    },
}

/// When the server itself sets a column to the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stamp {
    /// When a row is inserted.
    pub(crate) on_insert: bool,
    /// When a row is updated.
    pub(crate) on_update: bool,
}

/// Everything that is polled.
pub(crate) struct Catalogue {
    /// As the polling source sees it.
    pub(crate) discovery: Discovery,
    /// By the table's name in full.
    pub(crate) known: BTreeMap<String, Known>,
}

/// What is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// A pattern that fits nothing.
    All,
    /// Not that: a table may be gone that was there at the start.
    MayBeGone,
}

/// What the catalogue says beside the tables' definitions, by schema and table.
#[derive(Default)]
struct Surroundings {
    views: BTreeSet<(String, String)>,
    numbered: BTreeMap<(String, String), String>,
    stamps: BTreeMap<(String, String), BTreeMap<String, Stamp>>,
    indexes: BTreeMap<(String, String), Vec<Index>>,
    triggers: BTreeMap<(String, String), Vec<Trigger>>,
}

/// Any index, unique or not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Index {
    name: String,
    /// As far as they are whole columns.
    columns: Vec<String>,
    /// All of them are.
    is_whole: bool,
}

struct Trigger {
    before_insert: bool,
    before_update: bool,
    statement: String,
}

/// Reads everything.
pub(crate) async fn read(
    connection: &mut Conn,
    config: &MySqlConfig,
    server: &ServerFacts,
    strictness: Strictness,
) -> Result<Catalogue> {
    let mut found = survey(connection, config, server.flavour()).await?;
    if strictness == Strictness::MayBeGone {
        found.selection.unmatched.clear();
    }
    let schemas: BTreeSet<&str> = found
        .selection
        .captured
        .iter()
        .map(|(schema, _)| schema.as_str())
        .collect();
    let mut around = surroundings(connection, &schemas).await?;
    let views = found
        .relations
        .iter()
        .filter(|relation| relation.kind == RelationKind::View);
    around.views = views.map(|view| (view.schema.clone(), view.name.clone())).collect();
    let lease = config.query.as_ref().and_then(|query| query.lease.as_ref());
    let is_lease = |table: &CapturedTable| lease.is_some_and(|lease| lease.table == table.schema.name.qualified());
    let mut tables: Vec<(DiscoveredTable, Known)> = Vec::new();
    // A pattern may fit our own table of leases too.
    for table in found.verified()?.into_iter().filter(|table| !is_lease(table)) {
        tables.push(around.table(table, server));
    }
    for (name, query) in config.query.iter().flat_map(|query| &query.queries) {
        let definition = described::describe(connection, name, &query.sql, &query.key).await?;
        let origin = Origin::Query {
            sql: query.sql.clone(),
            key: query.key.clone(),
        };
        let schema = definition.to_schema(&config.type_policy());
        tables.push(answer(schema.into(), definition, origin, query.sql.clone()));
    }
    Ok(Catalogue::of(tables))
}

/// A query, or a view, which is one that has a name in the database.
fn answer(schema: SharedSchema, definition: TableDefinition, origin: Origin, sql: String) -> (DiscoveredTable, Known) {
    let table = DiscoveredTable {
        schema,
        generated_id: None,
        unique_columns: Vec::new(),
        indexes: Vec::new(),
        query: Some(sql),
    };
    let known = Known {
        definition,
        origin,
        transactional: true,
        stamps: BTreeMap::new(),
    };
    (table, known)
}

async fn surroundings(connection: &mut Conn, schemas: &BTreeSet<&str>) -> Result<Surroundings> {
    let mut around = Surroundings::default();
    if schemas.is_empty() {
        return Ok(around);
    }
    let names: Vec<String> = schemas.iter().map(|schema| literal(schema)).collect();
    let names = names.join(", ");
    for row in texts(connection, &made_by_server_query(&names), DOING).await? {
        around.add_column(&row);
    }
    for row in texts(connection, &indexes_query(&names), DOING).await? {
        around.add_index_part(&row);
    }
    for row in texts(connection, &triggers_query(&names), DOING).await? {
        around.add_trigger(&row);
    }
    Ok(around)
}

fn made_by_server_query(schemas: &str) -> String {
    format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, EXTRA, COLUMN_DEFAULT FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA IN ({schemas}) AND (EXTRA <> '' OR COLUMN_DEFAULT LIKE 'current_timestamp%')"
    )
}

fn indexes_query(schemas: &str) -> String {
    format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS \
         WHERE TABLE_SCHEMA IN ({schemas}) AND INDEX_TYPE = 'BTREE' ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
    )
}

/// Shown to those who have the right TRIGGER.
fn triggers_query(schemas: &str) -> String {
    format!(
        "SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_STATEMENT FROM information_schema.TRIGGERS \
         WHERE EVENT_OBJECT_SCHEMA IN ({schemas}) AND ACTION_TIMING = 'BEFORE'"
    )
}

fn name(row: &Texts) -> Option<(String, String)> {
    Some((row.text(0)?.to_owned(), row.text(1)?.to_owned()))
}

// === impl Surroundings ===

impl Surroundings {
    fn add_column(&mut self, row: &Texts) {
        let (Some(table), Some(column)) = (name(row), row.text(2)) else {
            return;
        };
        let extra = row.text(3).unwrap_or_default().to_ascii_lowercase();
        let default = row.text(4).unwrap_or_default().to_ascii_lowercase();
        if extra.contains("auto_increment") {
            self.numbered.insert(table, column.to_owned());
            return;
        }
        let stamp = Stamp {
            on_insert: default.starts_with("current_timestamp"),
            on_update: extra.contains("on update current_timestamp"),
        };
        if stamp != Stamp::default() {
            self.stamps.entry(table).or_default().insert(column.to_owned(), stamp);
        }
    }

    fn add_index_part(&mut self, row: &Texts) {
        let (Some(table), Some(index)) = (name(row), row.text(2)) else {
            return;
        };
        let indexes = self.indexes.entry(table).or_default();
        if indexes.last().is_none_or(|last| last.name != index) {
            indexes.push(Index {
                name: index.to_owned(),
                columns: Vec::new(),
                is_whole: true,
            });
        }
        let Some(last) = indexes.last_mut() else {
            return;
        };
        match (row.text(3), row.text(4)) {
            (Some(column), None) if last.is_whole => last.columns.push(column.to_owned()),
            _ => last.is_whole = false,
        }
    }

    fn add_trigger(&mut self, row: &Texts) {
        let (Some(table), Some(event), Some(statement)) = (name(row), row.text(2), row.text(3)) else {
            return;
        };
        self.triggers.entry(table).or_default().push(Trigger {
            before_insert: event.eq_ignore_ascii_case("insert"),
            before_update: event.eq_ignore_ascii_case("update"),
            statement: statement.to_lowercase(),
        });
    }

    fn table(&self, table: CapturedTable, server: &ServerFacts) -> (DiscoveredTable, Known) {
        let CapturedTable {
            schema,
            definition,
            transactional,
            ..
        } = table;
        let name = (definition.schema.clone(), definition.table.clone());
        if self.views.contains(&name) {
            let sql = format!("SELECT * FROM {}", qualified(&name.0, &name.1));
            return answer(schema, definition, Origin::View, sql);
        }
        let is_innodb = definition
            .engine
            .as_ref()
            .is_some_and(|engine| engine.eq_ignore_ascii_case("innodb"));
        let counter = (Some(LASTING_COUNTER_MYSQL), Some(LASTING_COUNTER_MARIADB));
        let generation = match is_innodb && server.identity.at_least(counter.0, counter.1) {
            true => IdGeneration::NeverReused,
            false => IdGeneration::AboveExisting,
        };
        let discovered = DiscoveredTable {
            generated_id: self.numbered.get(&name).map(|column| (column.clone(), generation)),
            unique_columns: unique_columns(&definition),
            indexes: self.indexes(&name, &definition, is_innodb),
            query: None,
            schema,
        };
        let known = Known {
            stamps: self.stamps(&name, &definition),
            definition,
            origin: Origin::Table,
            transactional,
        };
        (discovered, known)
    }

    /// InnoDB finds rows by their primary key, which it therefore keeps at the end of every other index.
    fn indexes(&self, name: &(String, String), definition: &TableDefinition, is_innodb: bool) -> Vec<Vec<String>> {
        let primary = definition.unique_keys.iter().find(|key| key.name == "PRIMARY");
        let appended = primary.filter(|_| is_innodb).map_or(&[][..], |key| &key.columns);
        let with_key = |index: &Index| {
            let mut columns = index.columns.clone();
            if index.is_whole {
                let missing = appended.iter().filter(|column| !index.columns.contains(column));
                columns.extend(missing.cloned());
            }
            columns
        };
        self.indexes.get(name).into_iter().flatten().map(with_key).collect()
    }

    /// By the column's own declaration, or by a trigger that assigns to it.
    fn stamps(&self, name: &(String, String), definition: &TableDefinition) -> BTreeMap<String, Stamp> {
        let declared = self.stamps.get(name);
        let triggers = || self.triggers.get(name).into_iter().flatten();
        let stamp = |column: &String| {
            let mut stamp = declared
                .and_then(|declared| declared.get(column))
                .copied()
                .unwrap_or_default();
            for trigger in triggers().filter(|trigger| assigns(&trigger.statement, column)) {
                stamp.on_insert |= trigger.before_insert;
                stamp.on_update |= trigger.before_update;
            }
            (stamp != Stamp::default()).then(|| (column.clone(), stamp))
        };
        definition
            .columns
            .iter()
            .filter_map(|column| stamp(&column.name))
            .collect()
    }
}

/// Whether a trigger mentions the new row's column: a trigger that only reads it is taken for one that sets it.
fn assigns(statement: &str, column: &str) -> bool {
    let column = column.to_lowercase();
    [
        format!("new.{column}"),
        format!("new.`{column}`"),
        format!("`new`.`{column}`"),
    ]
    .iter()
    .any(|name| statement.contains(name))
}

fn unique_columns(definition: &TableDefinition) -> Vec<String> {
    let single = definition
        .unique_keys
        .iter()
        .filter_map(|key| match key.columns.as_slice() {
            [column] => Some(column.clone()),
            _ => None,
        });
    single.collect()
}

// === impl Catalogue ===

impl Catalogue {
    fn of(tables: Vec<(DiscoveredTable, Known)>) -> Self {
        let mut hasher = DefaultHasher::new();
        for (table, known) in &tables {
            // Their texts say everything that they hold.
            format!("{table:?} {known:?}").hash(&mut hasher);
        }
        let mut discovery = Discovery {
            schema_version: i64::from_ne_bytes(hasher.finish().to_ne_bytes()),
            tables: Vec::with_capacity(tables.len()),
        };
        let mut all = BTreeMap::new();
        for (table, known) in tables {
            all.insert(table.schema.name.qualified(), known);
            discovery.tables.push(table);
        }
        Self { discovery, known: all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::catalog::Details;
    use crate::discover::testing::{discovery, relation};
    use crate::server::testing::mysql;

    fn orders(change: impl FnOnce(&mut Surroundings), server: &ServerFacts) -> (DiscoveredTable, Known) {
        let config = serde_json::from_str(r#"{"url": "mysql://u@h/", "tables": ["shop.orders"]}"#).unwrap();
        let relations = vec![relation("orders", RelationKind::Table)];
        let found = discovery(&config, relations, |_: &mut Details| {});
        let mut around = Surroundings::default();
        change(&mut around);
        around.table(found.verified().unwrap().remove(0), server)
    }

    fn row(texts: &[&str]) -> Texts {
        Texts::of(&[&["shop", "orders"], texts].concat())
    }

    #[test]
    fn what_the_server_makes_itself_is_known() {
        let (table, known) = orders(
            |around| {
                around.add_column(&row(&["id", "auto_increment"]));
                around.add_column(&row(&[
                    "note",
                    "on update current_timestamp(6)",
                    "current_timestamp(6)",
                ]));
            },
            &mysql(),
        );
        assert_eq!(table.generated_id, Some(("id".to_owned(), IdGeneration::NeverReused)));
        assert_eq!(table.unique_columns, ["id"]);
        let always = Stamp {
            on_insert: true,
            on_update: true,
        };
        assert_eq!(known.stamps, BTreeMap::from([("note".to_owned(), always)]));
        let mut old = mysql();
        old.identity = crate::server::Identity::parse("5.7.44").unwrap();
        let (table, _) = orders(|around| around.add_column(&row(&["id", "auto_increment"])), &old);
        assert_eq!(table.generated_id, Some(("id".to_owned(), IdGeneration::AboveExisting)));
    }

    #[test]
    fn a_trigger_may_set_the_time() {
        let (_, known) = orders(
            |around| {
                around.add_column(&row(&["note", "DEFAULT_GENERATED", "CURRENT_TIMESTAMP"]));
                around.add_trigger(&row(&["UPDATE", "SET NEW.note = NOW()"]));
            },
            &mysql(),
        );
        assert!(known.stamps["note"].on_update && known.stamps["note"].on_insert);
        assert!(!assigns("set new.noted = 1", "id") && assigns("set new.`note` = 1", "Note"));
    }

    #[test]
    fn innodb_appends_the_primary_key_to_whole_indexes() {
        let (table, _) = orders(
            |around| {
                for part in [&["a", "note"][..], &["b", "id"], &["b", "note"]] {
                    around.add_index_part(&row(part));
                }
                around.add_index_part(&row(&["c", "note", "10"]));
            },
            &mysql(),
        );
        assert_eq!(table.indexes, [vec!["note", "id"], vec!["id", "note"], vec![]]);
    }

    #[test]
    fn the_version_changes_with_whatever_changes() {
        let version =
            |change: fn(&mut Surroundings)| Catalogue::of(vec![orders(change, &mysql())]).discovery.schema_version;
        assert_eq!(version(|_| {}), version(|_| {}));
        assert_ne!(
            version(|_| {}),
            version(|around| around.add_index_part(&row(&["a", "note"])))
        );
    }
}
