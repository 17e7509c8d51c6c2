//! What the connector remembers of its server: who it was, what was captured there, and how tables looked at each place of the log
//! that may be read again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tailrace_core::ports::ConnectorStore;
use tailrace_core::position::Position;
use tailrace_core::{Error, Result};

use crate::discover::CapturedTable;
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
    pub(crate) definitions: BTreeMap<String, Vec<DefinitionVersion>>,
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

/// How a table looked from a place of the log on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DefinitionVersion {
    /// Where the statement ends that made it so; `None` for since before anything was read.
    pub(crate) from: Option<FileOffset>,
    /// How it looked.
    pub(crate) definition: TableDefinition,
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
        }
    }

    /// What was remembered last; `None` at the very first start.
    pub(crate) async fn recall(store: &dyn ConnectorStore) -> Result<Option<Self>> {
        let Some(json) = store.recall().await? else {
            return Ok(None);
        };
        serde_json::from_value(json).map(Some).map_err(|error| {
            let message =
                "what the state remembers of this MySQL source cannot be read; restore the state file from a backup";
            Error::definite("state_corrupt", message).with_source(error)
        })
    }

    /// Durable on return.
    pub(crate) async fn remember(&self, store: &dyn ConnectorStore) -> Result<()> {
        let json = serde_json::to_value(self).map_err(|error| {
            Error::definite(
                "state_unwritable",
                "what is known of the source cannot be written as JSON",
            )
            .with_source(error)
        })?;
        store.remember(&json).await
    }

    /// How each table looked at a place of the log.
    pub(crate) fn definitions_at(&self, at: &FileOffset) -> impl Iterator<Item = &TableDefinition> {
        let holding = |versions: &'_ Vec<DefinitionVersion>| versions.iter().rposition(|version| version.holds_at(at));
        self.definitions
            .values()
            .filter_map(move |versions| versions.get(holding(versions)?))
            .map(|version| &version.definition)
    }

    /// Takes in how captured tables are now. A table that was captured before keeps what is known of it, because the log may be read
    /// from a place where it still looked otherwise; one that was taken out of the configuration is forgotten, because its changes
    /// are not followed any more.
    pub(crate) fn learn(&mut self, tables: &[CapturedTable]) {
        let followed = &self.tables;
        self.definitions.retain(|table, _| followed.contains(table));
        self.rewritten.retain(|table, _| followed.contains(table));
        for table in tables {
            let name = table.schema.name.qualified();
            self.definitions.entry(name).or_insert_with(|| {
                vec![DefinitionVersion {
                    from: None,
                    definition: table.definition.clone(),
                }]
            });
        }
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

    /// A statement that ends at `from` made a table so. What was remembered from the same place on, or from a later one, was learnt
    /// in a run that did not come to a checkpoint, and is learnt again.
    pub(crate) fn define(&mut self, from: FileOffset, definition: TableDefinition) {
        let table = format!("{}.{}", definition.schema, definition.table);
        let versions = self.definitions.entry(table).or_default();
        versions.retain(|older| older.from.as_ref().is_none_or(|older| *older < from));
        versions.push(DefinitionVersion {
            from: Some(from),
            definition,
        });
    }

    /// Drops versions that nothing can ask for any more, because the log is not read before this place again. Whether there were any.
    pub(crate) fn forget_definitions_before(&mut self, needed_from: &FileOffset) -> bool {
        let mut forgotten = false;
        for versions in self.definitions.values_mut() {
            let holding = versions.iter().rposition(|version| version.holds_at(needed_from));
            let outlived = holding.unwrap_or_default();
            forgotten |= outlived > 0;
            drop(versions.drain(..outlived));
        }
        forgotten
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
        // What was learnt on the new server is learnt there once more: nothing holds but what was moved.
        let nowhere = FileOffset::new("", 0);
        let at = if again { &nowhere } else { at };
        for versions in self.definitions.values_mut() {
            let holding = versions.iter().rposition(|version| version.holds_at(at));
            *versions = holding
                .map(|index| versions.swap_remove(index))
                .into_iter()
                .map(|version| DefinitionVersion { from: None, ..version })
                .collect();
        }
        if !again {
            self.moved_from = Some(MovedFrom {
                server: self.server.clone(),
                position: saved.clone(),
            });
        }
        self.server = ServerIdentity::of(server);
    }
}

/// A MariaDB server has nothing of its own but a number that others have too.
fn new_identity(server: &ServerFacts) -> String {
    match (&server.server_uuid, server.flavour()) {
        (Some(uuid), Flavour::MySql) => uuid.clone(),
        (_, Flavour::MySql | Flavour::MariaDb) => format!("{}-{:016x}", server.server_id, rand::random::<u64>()),
    }
}

// === impl DefinitionVersion ===

impl DefinitionVersion {
    fn holds_at(&self, at: &FileOffset) -> bool {
        self.from.as_ref().is_none_or(|from| from <= at)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::column_type::TypePolicy;
    use crate::server::testing::{mariadb, mysql};

    fn at(offset: u64) -> FileOffset {
        FileOffset::new("b.000009", offset)
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

    /// `first` since ever, `second` from 100 on, `third` from 200 on.
    fn memory() -> Memory {
        let mut memory = Memory::new(&mysql(), BTreeSet::from(["shop.orders".to_owned()]));
        memory.learn(&[captured("orders", "first")]);
        memory.define(at(100), definition("orders", "second"));
        memory.define(at(200), definition("orders", "third"));
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
        memory.define(at(100), definition("orders", "again"));
        assert_eq!(comments_at(&memory, &at(300)), ["again"]);
        assert_eq!(comments_at(&memory, &at(4)), ["first"]);
    }

    #[test]
    fn the_catalogue_of_today_does_not_replace_what_was_followed() {
        let mut memory = memory();
        memory.tables = BTreeSet::from(["shop.orders".to_owned(), "shop.lines".to_owned()]);
        memory.learn(&[captured("orders", "today"), captured("lines", "today")]);
        assert_eq!(comments_at(&memory, &at(4)), ["today", "first"]);
        // Taken out of the configuration, and put in again when nobody knows what happened meanwhile.
        memory.tables = BTreeSet::from(["shop.lines".to_owned()]);
        memory.learn(&[captured("lines", "later")]);
        assert_eq!(comments_at(&memory, &at(300)), ["today"]);
        memory.learn(&[captured("orders", "later")]);
        assert_eq!(comments_at(&memory, &at(4)), ["today", "later"]);
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
        memory.learn(&[captured("orders", "later")]);
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
            definition("orders", "altered there"),
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
