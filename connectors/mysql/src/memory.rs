//! What the connector remembers of its server: who it was, what was captured there, and how tables looked at each place of the log
//! that may be read again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tailrace_core::ports::ConnectorStore;
use tailrace_core::position::Position;
use tailrace_core::{Error, Result};

use crate::charset::Charset;
use crate::discover::{CapturedTable, Surroundings};
use crate::position::FileOffset;
use crate::position::start::ServerIdentity;
use crate::server::{Flavour, ServerFacts};
use crate::table::TableDefinition;

/// The connector's memory; one per connector, in the state store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    /// What identifiers of events begin with. Made at the first start and kept over a failover, so that a transaction that is
    /// carried again from another server has the same.
    pub(crate) identity: String,
    /// The server that the position's file is on.
    pub(crate) server: ServerIdentity,
    /// Progress that was made on another server, from which this one has taken over, and whose it is. Its file and offset mean nothing here.
    #[serde(default)]
    pub(crate) moved_from: Option<MovedFrom>,
    /// Where the log was begun; `None` while the first snapshot has no consistent point yet.
    pub(crate) began_at: Option<Position>,
    /// Tables that were captured at the last start.
    pub(crate) tables: BTreeSet<String>,
    /// Tables that were added and are being read for the first time; none in the log. Rows of theirs may have been carried
    /// although no checkpoint says so.
    #[serde(default)]
    pub(crate) being_added: BTreeSet<String>,
    /// Tables whose rows were read under a later snapshot than the first.
    #[serde(default)]
    pub(crate) read_at: BTreeMap<String, Position>,
    /// Tables in which a statement changed values without rows in the log, and what it did: until they are read anew.
    #[serde(default)]
    pub(crate) rewritten: BTreeMap<String, String>,
    /// Versions of each table, oldest first: what rows of the log mean where the log itself does not say it.
    #[serde(default)]
    pub(crate) definitions: BTreeMap<String, Vec<Version<TableDefinition>>>,
    /// Versions of each schema's default character set.
    #[serde(default)]
    pub(crate) charsets: BTreeMap<String, Vec<Version<Charset>>>,
    /// Schemas of which every table was looked at once. Their tables are followed in the log from then on, captured or not.
    #[serde(default)]
    pub(crate) surveyed: BTreeSet<String>,
}

/// Progress on a server that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MovedFrom {
    /// That server.
    pub(crate) server: ServerIdentity,
    /// As it is saved.
    pub(crate) position: Position,
}

/// How something was from a place of the log on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Version<T> {
    /// Where the statement ends that made it so; `None` for since before anything was read.
    pub(crate) from: Option<FileOffset>,
    /// How it was; `None` where it was dropped, or became what is not known.
    pub(crate) definition: Option<T>,
}

/// What a statement of the log made something that is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Learnt {
    /// A table, by its qualified name.
    Table(String, Option<TableDefinition>),
    /// A schema's default character set.
    Schema(String, Option<Charset>),
}

// === impl Memory ===

impl Memory {
    /// At the very first start.
    pub(crate) fn new(server: &ServerFacts, tables: BTreeSet<String>) -> Self {
        Self {
            identity: new_identity(server),
            server: ServerIdentity::of(server),
            moved_from: None,
            began_at: None,
            tables,
            being_added: BTreeSet::new(),
            read_at: BTreeMap::new(),
            rewritten: BTreeMap::new(),
            definitions: BTreeMap::new(),
            charsets: BTreeMap::new(),
            surveyed: BTreeSet::new(),
        }
    }

    /// What was remembered last; `None` at the very first start.
    pub(crate) async fn recall(store: &dyn ConnectorStore) -> Result<Option<Self>> {
        store.recall().await?.map(Self::read).transpose()
    }

    /// What was remembered, as it was written.
    pub(crate) fn read(json: serde_json::Value) -> Result<Self> {
        serde_json::from_value(json).map_err(|error| {
            let message =
                "what the state remembers of this MySQL source cannot be read; restore the state file from a backup";
            Error::definite("state_corrupt", message).with_source(error)
        })
    }

    /// Durable on return.
    pub(crate) async fn remember(&self, store: &dyn ConnectorStore) -> Result<()> {
        store.remember(&self.to_json()?).await
    }

    /// As it is remembered.
    pub(crate) fn to_json(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|error| {
            Error::definite(
                "state_unwritable",
                "what is known of the source cannot be written as JSON",
            )
            .with_source(error)
        })
    }

    /// How each table looked at a place of the log.
    pub(crate) fn definitions_at(&self, at: &FileOffset) -> impl Iterator<Item = &TableDefinition> {
        self.definitions.values().filter_map(move |versions| held(versions, at))
    }

    /// What new tables of each schema were in at a place of the log.
    pub(crate) fn charsets_at(&self, at: &FileOffset) -> impl Iterator<Item = (&str, Charset)> {
        let schemas = self.charsets.iter();
        schemas.filter_map(move |(schema, versions)| Some((schema.as_str(), *held(versions, at)?)))
    }

    /// Takes in how captured tables are now, and what is around them. A table that was captured before keeps what is known of it, because
    /// the log may be read from a place where it still looked otherwise.
    ///
    /// Where the log says what its rows are, one that was taken out of the configuration is forgotten. Where it does not, every table is
    /// followed from when it was first seen, because it may get a captured name.
    pub(crate) fn learn(&mut self, tables: &[CapturedTable], around: &Surroundings, log_has_columns: bool) {
        if log_has_columns {
            let followed = &self.tables;
            self.definitions.retain(|table, _| followed.contains(table));
            self.surveyed.clear();
        }
        self.rewritten.retain(|table, _| self.tables.contains(table));
        let first = |definition: &TableDefinition| vec![Version::since_ever(definition.clone())];
        for table in tables {
            let name = table.schema.name.qualified();
            self.definitions.entry(name).or_insert_with(|| first(&table.definition));
        }
        if self.charsets.is_empty() {
            // Also where the log says what its rows are: without it nobody knows what a statement did to a table that was made in the log.
            let charsets = around.charsets.iter();
            self.charsets = charsets
                .map(|(schema, charset)| (schema.clone(), vec![Version::since_ever(*charset)]))
                .collect();
        }
        if log_has_columns {
            return;
        }
        for other in around
            .tables
            .iter()
            .filter(|other| !self.surveyed.contains(&other.schema))
        {
            let name = format!("{}.{}", other.schema, other.table);
            self.definitions.entry(name).or_insert_with(|| first(other));
        }
        self.surveyed
            .extend(tables.iter().map(|table| table.definition.schema.clone()));
    }

    /// What statements did to values without rows in the log; `None` where those values are gone.
    pub(crate) fn note_rewritten(&mut self, rewritten: BTreeMap<String, Option<String>>) {
        for (table, what) in rewritten {
            match what {
                Some(what) => {
                    let known = self.rewritten.entry(table).or_default();
                    if !known.contains(what.as_str()) {
                        known.push_str(if known.is_empty() { "" } else { ", " });
                        known.push_str(&what);
                    }
                }
                None => drop(self.rewritten.remove(&table)),
            }
        }
    }

    /// The standing warning of tables that must be read anew; `None` where there are none.
    pub(crate) fn resync_needed(&self) -> Option<String> {
        if self.rewritten.is_empty() {
            return None;
        }
        let tables = self.rewritten.iter().map(|(table, what)| format!("{table} ({what})"));
        Some(format!(
            "a statement changed values that are not in the log: {}; events that were published before have the old ones. \
             To have such a table read anew, start without it in `tables`, and then with it again",
            tables.collect::<Vec<_>>().join("; ")
        ))
    }

    /// A statement that ends at `from` made something so. What was remembered from the same place on, or from a later one, was learnt
    /// in a run that did not come to a checkpoint, and is learnt again.
    pub(crate) fn define(&mut self, from: FileOffset, learnt: Learnt) {
        match learnt {
            Learnt::Table(table, definition) => add(&mut self.definitions, table, from, definition),
            Learnt::Schema(schema, charset) => add(&mut self.charsets, schema, from, charset),
        }
    }

    /// Drops versions that nothing can ask for any more, because the log is not read before this place again. Whether there were any.
    pub(crate) fn forget_definitions_before(&mut self, needed_from: &FileOffset) -> bool {
        let tables = forget_before(&mut self.definitions, needed_from);
        let schemas = forget_before(&mut self.charsets, needed_from);
        tables || schemas
    }

    /// The server that a saved position is of.
    pub(crate) fn server_of(&self, saved: &Position) -> &ServerIdentity {
        match &self.moved_from {
            Some(moved) if moved.position == *saved => &moved.server,
            Some(_) | None => &self.server,
        }
    }

    /// Another server has taken over, which has everything that was carried up to `saved` (at `at`) on the old one: files and offsets are its
    /// own from now on. Said again after a crash that came before the first checkpoint there, it changes nothing.
    pub(crate) fn move_to(&mut self, server: &ServerFacts, saved: &Position, at: &FileOffset) {
        let again = self.moved_from.as_ref().is_some_and(|moved| moved.position == *saved);
        // What was learnt on the new server is learnt there once more.
        let at = (!again).then_some(at);
        self.definitions = since_ever(std::mem::take(&mut self.definitions), at);
        self.charsets = since_ever(std::mem::take(&mut self.charsets), at);
        if !again {
            self.moved_from = Some(MovedFrom {
                server: self.server.clone(),
                position: saved.clone(),
            });
        }
        self.server = ServerIdentity::of(server);
    }
}

fn held<'v, T>(versions: &'v [Version<T>], at: &FileOffset) -> Option<&'v T> {
    let version = versions.iter().rfind(|version| version.holds_at(at))?;
    version.definition.as_ref()
}

fn add<T>(all: &mut BTreeMap<String, Vec<Version<T>>>, name: String, from: FileOffset, definition: Option<T>) {
    let versions = all.entry(name).or_default();
    versions.retain(|older| older.from.as_ref().is_none_or(|older| *older < from));
    versions.push(Version {
        from: Some(from),
        definition,
    });
}

fn forget_before<T>(all: &mut BTreeMap<String, Vec<Version<T>>>, needed_from: &FileOffset) -> bool {
    let mut forgotten = false;
    all.retain(|_, versions| {
        let holding = versions.iter().rposition(|version| version.holds_at(needed_from));
        let outlived = holding.unwrap_or_default();
        drop(versions.drain(..outlived));
        let is_gone = holding.is_some() && matches!(&**versions, [only] if only.definition.is_none());
        forgotten |= outlived > 0 || is_gone;
        !is_gone
    });
    forgotten
}

/// What held at a place, or, without one, before everything else that is remembered: as of the beginning.
fn since_ever<T: Clone>(
    all: BTreeMap<String, Vec<Version<T>>>,
    at: Option<&FileOffset>,
) -> BTreeMap<String, Vec<Version<T>>> {
    let held = |versions: &[Version<T>]| match at {
        Some(at) => held(versions, at).cloned(),
        None => versions
            .iter()
            .find(|version| version.from.is_none())?
            .definition
            .clone(),
    };
    let held = all
        .into_iter()
        .filter_map(|(name, versions)| Some((name, vec![Version::since_ever(held(&versions)?)])));
    held.collect()
}

/// A MariaDB server has nothing of its own but a number that others have too.
pub(crate) fn new_identity(server: &ServerFacts) -> String {
    match (&server.server_uuid, server.flavour()) {
        (Some(uuid), Flavour::MySql) => uuid.clone(),
        (_, Flavour::MySql | Flavour::MariaDb) => format!("{}-{:016x}", server.server_id, rand::random::<u64>()),
    }
}

// === impl Version ===

impl<T> Version<T> {
    fn since_ever(definition: T) -> Self {
        Self {
            from: None,
            definition: Some(definition),
        }
    }

    fn holds_at(&self, at: &FileOffset) -> bool {
        self.from.as_ref().is_none_or(|from| from <= at)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;
    use crate::column_type::TypePolicy;
    use crate::position::BinlogPosition;
    use crate::server::testing::{mariadb, mysql};

    fn at(offset: u64) -> FileOffset {
        FileOffset::new("b.000009", offset)
    }

    #[test]
    fn what_every_release_remembered_is_understood() {
        let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
        let folders = std::fs::read_dir(goldens).unwrap().map(|entry| entry.unwrap().path());
        for folder in folders.filter(|folder| folder.is_dir()) {
            let said: Value = serde_json::from_slice(&std::fs::read(folder.join("said.json")).unwrap()).unwrap();
            for connector in ["mysql-log", "mariadb-log"] {
                let known = &said["state"]["connectors"][connector];
                let position = Position::new(known[0]["progress"]["position"].as_str().unwrap());
                let read = BinlogPosition::from_position(&position).unwrap();
                assert_eq!(read.to_position(), position);
                let memory = Memory::read(known[1]["memory"].clone()).unwrap();
                assert_eq!(
                    (memory.tables.len(), memory.began_at.is_some()),
                    (1, true),
                    "{memory:?}"
                );
                assert_eq!(serde_json::to_value(memory).unwrap(), known[1]["memory"]);
            }
        }
    }

    fn definition(table: &str, comment: &str) -> TableDefinition {
        TableDefinition {
            schema: "shop".to_owned(),
            table: table.to_owned(),
            columns: Vec::new(),
            key: Vec::new(),
            unique_keys: Vec::new(),
            charset: None,
            documentation: Some(comment.to_owned()),
            engine: None,
        }
    }

    fn captured(table: &str, comment: &str) -> CapturedTable {
        let definition = definition(table, comment);
        CapturedTable {
            schema: Arc::new(definition.to_schema(&TypePolicy::default())),
            definition,
            rows_estimated: None,
            transactional: true,
        }
    }

    fn learnt(table: &str, comment: &str) -> Learnt {
        Learnt::Table(format!("shop.{table}"), Some(definition(table, comment)))
    }

    fn around(comment: &str, charset: Charset) -> Surroundings {
        Surroundings {
            tables: vec![definition("_orders_new", comment)],
            charsets: BTreeMap::from([("shop".to_owned(), charset)]),
        }
    }

    /// `first` since ever, `second` from 100 on, `third` from 200 on.
    fn memory() -> Memory {
        let mut memory = Memory::new(&mysql(), BTreeSet::from(["shop.orders".to_owned()]));
        memory.learn(&[captured("orders", "first")], &Surroundings::default(), true);
        memory.define(at(100), learnt("orders", "second"));
        memory.define(at(200), learnt("orders", "third"));
        memory
    }

    fn comments_at(memory: &Memory, place: &FileOffset) -> Vec<String> {
        let definitions = memory.definitions_at(place);
        definitions
            .filter_map(|definition| definition.documentation.clone())
            .collect()
    }

    #[test]
    fn a_table_is_as_it_was_at_that_place() {
        for (offset, comment) in [
            (4, "first"),
            (99, "first"),
            (100, "second"),
            (199, "second"),
            (200, "third"),
        ] {
            assert_eq!(comments_at(&memory(), &at(offset)), [comment], "{offset}");
        }
        assert_eq!(comments_at(&memory(), &FileOffset::new("b.000010", 4)), ["third"]);
    }

    #[test]
    fn what_is_learnt_again_from_the_log_replaces_what_was_learnt_before() {
        let mut memory = memory();
        memory.define(at(100), learnt("orders", "again"));
        assert_eq!(comments_at(&memory, &at(300)), ["again"]);
        assert_eq!(comments_at(&memory, &at(4)), ["first"]);
    }

    #[test]
    fn the_catalogue_of_today_does_not_replace_what_was_followed() {
        let mut memory = memory();
        memory.tables = BTreeSet::from(["shop.orders".to_owned(), "shop.lines".to_owned()]);
        let nothing = Surroundings::default();
        memory.learn(
            &[captured("orders", "today"), captured("lines", "today")],
            &nothing,
            true,
        );
        assert_eq!(comments_at(&memory, &at(4)), ["today", "first"]);
        // Taken out of the configuration, and put in again when nobody knows what happened meanwhile.
        memory.tables = BTreeSet::from(["shop.lines".to_owned()]);
        memory.learn(&[captured("lines", "later")], &nothing, true);
        assert_eq!(comments_at(&memory, &at(300)), ["today"]);
        memory.learn(&[captured("orders", "later")], &nothing, true);
        assert_eq!(comments_at(&memory, &at(4)), ["today", "later"]);
    }

    /// Without descriptions in the log a table may come from anywhere.
    #[test]
    fn tables_that_are_not_captured_are_followed_where_the_log_does_not_describe_them() {
        let mut memory = memory();
        memory.learn(&[captured("orders", "x")], &around("first", Charset::Latin1), false);
        assert_eq!(comments_at(&memory, &at(4)), ["first", "first"]);
        assert_eq!(Vec::from_iter(memory.charsets_at(&at(4))), [("shop", Charset::Latin1)]);
        // A ghost is made, and another is swapped in and gone; then a restart before all of it.
        memory.define(at(300), learnt("_orders_gho", "ghost"));
        memory.define(at(400), Learnt::Table("shop._orders_new".to_owned(), None));
        memory.define(at(500), Learnt::Schema("shop".to_owned(), Some(Charset::Utf8mb4)));
        memory.learn(&[captured("orders", "x")], &around("later", Charset::Utf8mb4), false);
        assert_eq!(comments_at(&memory, &at(350)), ["ghost", "first", "third"]);
        assert_eq!(comments_at(&memory, &at(450)), ["ghost", "third"]);
        assert_eq!(
            Vec::from_iter(memory.charsets_at(&at(450))),
            [("shop", Charset::Latin1)]
        );
        assert_eq!(
            Vec::from_iter(memory.charsets_at(&at(550))),
            [("shop", Charset::Utf8mb4)]
        );
        // What was dropped does not come back, also when nothing is left that says so.
        assert!(memory.forget_definitions_before(&at(600)));
        assert!(!memory.definitions.contains_key("shop._orders_new"));
        memory.learn(&[captured("orders", "x")], &around("later", Charset::Latin1), false);
        assert_eq!(comments_at(&memory, &at(600)), ["ghost", "third"]);
        assert!(!memory.forget_definitions_before(&at(600)));
    }

    #[test]
    fn a_log_that_describes_its_rows_needs_no_other_tables() {
        let mut memory = memory();
        memory.learn(&[captured("orders", "x")], &around("first", Charset::Latin1), false);
        memory.learn(&[captured("orders", "x")], &around("first", Charset::Latin1), true);
        assert_eq!(comments_at(&memory, &at(300)), ["third"]);
        assert_eq!(
            Vec::from_iter(memory.charsets_at(&at(300))),
            [("shop", Charset::Latin1)]
        );
    }

    #[test]
    fn tables_with_values_that_no_event_has_are_named_until_they_are_read_anew() {
        let mut memory = memory();
        assert_eq!(memory.resync_needed(), None);
        let note = |table: &str, what: Option<&str>| BTreeMap::from([(table.to_owned(), what.map(str::to_owned))]);
        memory.note_rewritten(note("shop.orders", Some("column `a` was converted")));
        memory.note_rewritten(note("shop.orders", Some("column `b` was filled")));
        // Learnt again in a run after one that came to no checkpoint.
        memory.note_rewritten(note("shop.orders", Some("column `b` was filled")));
        memory.note_rewritten(note("shop.lines", Some("its rows were exchanged")));
        let told = memory.resync_needed().unwrap();
        assert!(
            told.contains("shop.orders (column `a` was converted, column `b` was filled)"),
            "{told}"
        );
        memory.note_rewritten(note("shop.lines", None));
        assert!(
            !memory.resync_needed().unwrap().contains("shop.lines"),
            "it was emptied"
        );
        memory.tables = BTreeSet::new();
        memory.learn(&[captured("orders", "later")], &around("later", Charset::Utf8mb4), true);
        assert_eq!(memory.resync_needed(), None, "it was taken out, and is read anew");
    }

    #[test]
    fn versions_that_nothing_asks_for_are_dropped() {
        let mut memory = memory();
        assert!(memory.forget_definitions_before(&at(150)));
        assert_eq!(memory.definitions["shop.orders"].len(), 2);
        assert_eq!(comments_at(&memory, &at(150)), ["second"]);
        assert!(!memory.forget_definitions_before(&at(4)));
        assert_eq!(memory.definitions["shop.orders"].len(), 2);
    }

    #[test]
    fn after_a_failover_places_are_those_of_the_new_server() {
        let mut memory = memory();
        let replica = ServerFacts {
            server_uuid: Some("other".to_owned()),
            ..mysql()
        };
        let (was, saved) = (memory.server.clone(), Position::new("b.000009:150"));
        memory.move_to(&replica, &saved, &at(150));
        assert_eq!(memory.server.uuid.as_deref(), Some("other"));
        assert_eq!(
            memory.server_of(&saved),
            &was,
            "until there is a checkpoint of the new server's"
        );
        assert_eq!(memory.server_of(&Position::new("elsewhere.000001:4")), &memory.server);
        assert_eq!(
            comments_at(&memory, &FileOffset::new("elsewhere.000001", 4)),
            ["second"]
        );
        assert_eq!(memory.definitions["shop.orders"].len(), 1);
        let moved = memory.clone();
        memory.define(
            FileOffset::new("elsewhere.000001", 700),
            learnt("orders", "altered there"),
        );
        memory.move_to(&replica, &saved, &at(150));
        assert_eq!(memory, moved, "it died before a checkpoint");
    }

    #[test]
    fn events_are_named_after_the_server_for_ever() {
        assert_eq!(Some(memory().identity), mysql().server_uuid);
        let (one, other) = (new_identity(&mariadb()), new_identity(&mariadb()));
        assert!(one.starts_with("1-") && one != other, "{one} {other}");
    }

    #[test]
    fn memory_is_json_and_back() {
        let json = serde_json::to_value(memory()).unwrap();
        assert_eq!(serde_json::from_value::<Memory>(json).unwrap(), memory());
    }
}
