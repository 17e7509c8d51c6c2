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
    /// Versions of each table, oldest first: what rows of the log mean where the log itself does not say it.
    #[serde(default)]
    pub(crate) definitions: BTreeMap<String, Vec<DefinitionVersion>>,
}

/// How a table looked from a place of the log on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DefinitionVersion {
    /// Where the statement ends that made it so; `None` for since before anything was read.
    pub(crate) from: Option<FileOffset>,
    /// The statement's transaction identifier, where it has one; for people who look into the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gtid: Option<String>,
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
            began_at: None,
            tables,
            being_added: BTreeSet::new(),
            read_at: BTreeMap::new(),
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

    /// How a table looked at a place of the log.
    pub(crate) fn definition_at(&self, table: &str, at: &FileOffset) -> Option<&TableDefinition> {
        let versions = self.definitions.get(table)?;
        versions
            .iter()
            .rev()
            .find(|version| version.holds_at(at))
            .map(|version| &version.definition)
    }

    /// Adds a version. What was remembered from the same place on, or from a later one, was learnt in a run that did not come to a
    /// checkpoint, and is learnt again.
    pub(crate) fn define(&mut self, table: String, version: DefinitionVersion) {
        let versions = self.definitions.entry(table).or_default();
        match &version.from {
            None => versions.clear(),
            Some(from) => versions.retain(|older| older.from.as_ref().is_none_or(|older| older < from)),
        }
        versions.push(version);
    }

    /// A table looks so from here on.
    pub(crate) fn define_from(&mut self, from: &FileOffset, definition: TableDefinition) {
        let table = format!("{}.{}", definition.schema, definition.table);
        let version = DefinitionVersion {
            from: Some(from.clone()),
            gtid: None,
            definition,
        };
        self.define(table, version);
    }

    /// Remembers tables that no version is known of, as they are now.
    pub(crate) fn learn(&mut self, tables: &[CapturedTable]) {
        for table in tables {
            let versions = self.definitions.entry(table.schema.name.qualified()).or_default();
            if versions.is_empty() {
                versions.push(DefinitionVersion {
                    from: None,
                    gtid: None,
                    definition: table.definition.clone(),
                });
            }
        }
    }

    /// How every table looked at a place of the log.
    pub(crate) fn definitions_at(&self, at: &FileOffset) -> Vec<TableDefinition> {
        let tables = self.definitions.keys();
        tables.filter_map(|table| self.definition_at(table, at)).cloned().collect()
    }

    /// Drops versions that nothing can ask for any more, because the log is not read before this place again.
    /// Tells whether there were any.
    pub(crate) fn forget_definitions_before(&mut self, needed_from: &FileOffset) -> bool {
        let mut forgotten = false;
        for versions in self.definitions.values_mut() {
            let holding = versions.iter().rposition(|version| version.holds_at(needed_from));
            forgotten |= versions.drain(..holding.unwrap_or_default()).next().is_some();
        }
        forgotten
    }

    /// Another server has taken over, which has everything that was carried up to `at` on the old one: files and offsets are its own
    /// from now on.
    pub(crate) fn move_to(&mut self, server: &ServerFacts, at: &FileOffset) {
        for versions in self.definitions.values_mut() {
            let holding = versions.iter().rposition(|version| version.holds_at(at));
            *versions = holding
                .map(|index| versions.swap_remove(index))
                .into_iter()
                .map(|version| DefinitionVersion { from: None, ..version })
                .collect();
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
    use super::*;
    use crate::server::testing::{mariadb, mysql};

    fn at(offset: u64) -> FileOffset {
        FileOffset::new("b.000009", offset)
    }

    fn version(from: Option<u64>, comment: &str) -> DefinitionVersion {
        let json = serde_json::json!({
            "schema": "shop", "table": "orders", "columns": [], "key": [], "documentation": comment
        });
        DefinitionVersion {
            from: from.map(at),
            gtid: None,
            definition: serde_json::from_value(json).unwrap(),
        }
    }

    fn memory(versions: &[(Option<u64>, &str)]) -> Memory {
        let mut memory = Memory::new(&mysql(), BTreeSet::new());
        for (from, comment) in versions {
            memory.define("shop.orders".to_owned(), version(*from, comment));
        }
        memory
    }

    fn comment_at(memory: &Memory, place: &FileOffset) -> Option<String> {
        memory.definition_at("shop.orders", place)?.documentation.clone()
    }

    #[test]
    fn a_table_is_as_it_was_at_that_place() {
        let memory = memory(&[(None, "first"), (Some(100), "second"), (Some(200), "third")]);
        for (offset, comment) in [(4, "first"), (99, "first"), (100, "second"), (199, "second"), (200, "third")] {
            assert_eq!(comment_at(&memory, &at(offset)).as_deref(), Some(comment), "{offset}");
        }
        let later_file = FileOffset::new("b.000010", 4);
        assert_eq!(comment_at(&memory, &later_file).as_deref(), Some("third"));
        assert_eq!(memory.definition_at("shop.other", &at(4)), None);
    }

    #[test]
    fn what_is_learnt_again_replaces_what_was_learnt_before() {
        let mut memory = memory(&[(None, "first"), (Some(100), "second"), (Some(200), "third")]);
        memory.define("shop.orders".to_owned(), version(Some(100), "again"));
        assert_eq!(comment_at(&memory, &at(300)).as_deref(), Some("again"));
        assert_eq!(comment_at(&memory, &at(4)).as_deref(), Some("first"));
        memory.define("shop.orders".to_owned(), version(None, "anew"));
        assert_eq!(memory.definitions["shop.orders"].len(), 1);
    }

    #[test]
    fn versions_that_nothing_asks_for_are_dropped() {
        let mut memory = memory(&[(None, "first"), (Some(100), "second"), (Some(200), "third")]);
        memory.forget_definitions_before(&at(150));
        assert_eq!(memory.definitions["shop.orders"].len(), 2);
        assert_eq!(comment_at(&memory, &at(150)).as_deref(), Some("second"));
        memory.forget_definitions_before(&at(4));
        assert_eq!(memory.definitions["shop.orders"].len(), 2);
    }

    #[test]
    fn after_a_failover_places_are_those_of_the_new_server() {
        let mut memory = memory(&[(None, "first"), (Some(100), "second"), (Some(200), "not checkpointed")]);
        let replica = ServerFacts {
            server_uuid: Some("other".to_owned()),
            ..mysql()
        };
        memory.move_to(&replica, &at(150));
        assert_eq!(memory.server.uuid.as_deref(), Some("other"));
        let anywhere = FileOffset::new("elsewhere.000001", 4);
        assert_eq!(comment_at(&memory, &anywhere).as_deref(), Some("second"));
        assert_eq!(memory.definitions["shop.orders"].len(), 1);
    }

    #[test]
    fn events_are_named_after_the_server_for_ever() {
        assert_eq!(Some(memory(&[]).identity), mysql().server_uuid);
        let (one, other) = (new_identity(&mariadb()), new_identity(&mariadb()));
        assert!(one.starts_with("1-") && one != other, "{one} {other}");
    }

    #[test]
    fn memory_is_json_and_back() {
        let memory = memory(&[(None, "first"), (Some(100), "second")]);
        let json = serde_json::to_value(&memory).unwrap();
        assert_eq!(serde_json::from_value::<Memory>(json).unwrap(), memory);
    }
}
