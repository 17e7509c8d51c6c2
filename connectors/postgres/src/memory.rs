//! What the connector remembers of its server: who it was, and what was created there. Saved before and after each creation,
//! so that a crash at any moment is told from a server, a slot or a state file that was exchanged.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tailrace_core::ports::ConnectorStore;
use tailrace_core::position::Position;
use tailrace_core::{Error, Result};

use crate::config::ServerNames;
use crate::discover::server::ServerFacts;

/// The connector's memory; one per connector, in the state store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    /// The cluster; a copy of it (a standby, a restored backup) has the same.
    pub(crate) system_identifier: String,
    /// The database, by name and by number: recreated under the same name it has another.
    pub(crate) database: String,
    pub(crate) database_oid: u32,
    /// Forks of the cluster's history so far; a failover adds one.
    pub(crate) timeline: u32,
    pub(crate) slot: String,
    pub(crate) publication: String,
    /// Its number; `None` before it was made, and in states of before it was kept.
    #[serde(default)]
    pub(crate) publication_oid: Option<String>,
    /// Where the slot began; `None` while it is about to be created.
    pub(crate) slot_began_at: Option<Position>,
    /// Tables that were captured at the last start.
    pub(crate) tables: BTreeSet<String>,
    /// Logical messages were sent, and so counted among the changes of a transaction.
    #[serde(default)]
    pub(crate) counts_messages: bool,
    /// Tables that were added and are being read for the first time; none in the log. Rows of theirs may have been carried
    /// although no checkpoint says so.
    #[serde(default)]
    pub(crate) being_added: BTreeSet<String>,
    /// Tables whose rows were read under a later snapshot than the slot's first.
    #[serde(default)]
    pub(crate) read_at: BTreeMap<String, Position>,
}

/// What a connector that polls tables remembers of its server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolledMemory {
    /// Always true: tells this memory from that of a log.
    polled: bool,
    /// The cluster; a copy of it (a standby, a restored backup) has the same.
    pub(crate) system_identifier: String,
    /// The database, by name and by number: recreated under the same name it has another.
    pub(crate) database: String,
    pub(crate) database_oid: u32,
    /// Forks of the cluster's history so far, as far as a primary told.
    pub(crate) timeline: Option<u32>,
}

/// The field that only [`PolledMemory`] has.
const POLLED: &str = "polled";

/// The name of the connector stands for progress of another kind.
fn other_way(so_far: &str, now: &str) -> Error {
    Error::definite(
        "source_identity_changed",
        format!(
            "this connector {so_far} until now, and its configuration now {now}: its progress means nothing there; correct the \
             configuration, give the connector a new name, or `tailrace forget` it to begin anew"
        ),
    )
}

fn changed(what: &str, was: &str, is: &str) -> Error {
    Error::definite(
        "source_identity_changed",
        format!(
            "this connector's progress belongs to {what} {was}, but the configuration leads to {is}; \
             correct the configuration, or `tailrace forget` the connector to begin anew there"
        ),
    )
}

async fn write(memory: &impl Serialize, store: &dyn ConnectorStore) -> Result<()> {
    store.remember(&to_json(memory)?).await
}

fn to_json(memory: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(memory).map_err(|error| {
        Error::definite(
            "state_unwritable",
            "what is known of the source cannot be written as JSON",
        )
        .with_source(error)
    })
}

fn read<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> Result<T> {
    serde_json::from_value(json).map_err(|error| {
        let message =
            "what the state remembers of this PostgreSQL source cannot be read; restore the state file from a backup";
        Error::definite("state_corrupt", message).with_source(error)
    })
}

// === impl Memory ===

impl Memory {
    /// At the very first start: nothing was made on the server yet.
    pub(crate) fn new(server: &ServerFacts, names: &ServerNames, tables: BTreeSet<String>) -> Self {
        Self {
            system_identifier: server.system_identifier.clone(),
            database: server.database.clone(),
            database_oid: server.database_oid,
            timeline: server.timeline.unwrap_or_default(),
            slot: names.slot.clone(),
            publication: names.publication.clone(),
            publication_oid: None,
            slot_began_at: None,
            tables,
            counts_messages: false,
            being_added: BTreeSet::new(),
            read_at: BTreeMap::new(),
        }
    }

    /// What was remembered last; `None` at the very first start.
    pub(crate) async fn recall(store: &dyn ConnectorStore) -> Result<Option<Self>> {
        store.recall().await?.map(Self::of_log).transpose()
    }

    /// What was remembered, as it was written.
    pub(crate) fn of_log(json: serde_json::Value) -> Result<Self> {
        if json.get(POLLED).is_some() {
            return Err(other_way("polled tables", "reads the log"));
        }
        read(json)
    }

    /// Durable on return.
    pub(crate) async fn remember(&self, store: &dyn ConnectorStore) -> Result<()> {
        write(self, store).await
    }

    /// As it is remembered.
    pub(crate) fn to_json(&self) -> Result<serde_json::Value> {
        to_json(self)
    }

    /// Refuses another server, another database, another slot or publication than those that progress belongs to.
    pub(crate) fn verify(&self, now: &Self) -> Result<()> {
        let database = |memory: &Self| format!("\"{}\" (oid {})", memory.database, memory.database_oid);
        if self.system_identifier != now.system_identifier {
            return Err(changed(
                "the PostgreSQL cluster",
                &self.system_identifier,
                &now.system_identifier,
            ));
        }
        if self.database_oid != now.database_oid {
            return Err(changed("database", &database(self), &database(now)));
        }
        if self.slot != now.slot {
            return Err(changed("the replication slot", &self.slot, &now.slot));
        }
        if self.publication != now.publication {
            return Err(changed("the publication", &self.publication, &now.publication));
        }
        Ok(())
    }
}

// === impl PolledMemory ===

impl PolledMemory {
    /// What there is to remember of a server.
    pub(crate) fn of(server: &ServerFacts) -> Self {
        Self {
            polled: true,
            system_identifier: server.system_identifier.clone(),
            database: server.database.clone(),
            database_oid: server.database_oid,
            timeline: server.timeline,
        }
    }

    /// What was remembered last; `None` at the very first start.
    pub(crate) async fn recall(store: &dyn ConnectorStore) -> Result<Option<Self>> {
        let Some(json) = store.recall().await? else {
            return Ok(None);
        };
        if json.get(POLLED).is_none() {
            return Err(other_way("read the log", "polls tables"));
        }
        read(json).map(Some)
    }

    /// Durable on return.
    pub(crate) async fn remember(&self, store: &dyn ConnectorStore) -> Result<()> {
        write(self, store).await
    }

    /// As it is remembered.
    pub(crate) fn to_json(&self) -> Result<serde_json::Value> {
        to_json(self)
    }

    /// Refuses another server or database than those that progress belongs to.
    pub(crate) fn verify(&self, now: &Self) -> Result<()> {
        if self.system_identifier != now.system_identifier {
            return Err(changed(
                "the PostgreSQL cluster",
                &self.system_identifier,
                &now.system_identifier,
            ));
        }
        if self.database_oid != now.database_oid {
            let database = |memory: &Self| format!("\"{}\" (oid {})", memory.database, memory.database_oid);
            return Err(changed("database", &database(self), &database(now)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;
    use crate::position::Lsn;

    /// What every release left of a connector: its position and its memory.
    fn left_of(connector: &str) -> Vec<(Position, Value)> {
        let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
        let folders = std::fs::read_dir(goldens).unwrap().map(|entry| entry.unwrap().path());
        let left = folders.filter(|folder| folder.is_dir()).map(|folder| {
            let said = std::fs::read(folder.join("said.json")).unwrap();
            let said: Value = serde_json::from_slice(&said).unwrap();
            let known = &said["state"]["connectors"][connector];
            let position = known[0]["progress"]["position"].as_str().unwrap().to_owned();
            (Position::new(position), known[1]["memory"].clone())
        });
        let left: Vec<_> = left.collect();
        assert!(!left.is_empty());
        left
    }

    #[test]
    fn what_every_release_remembered_of_a_log_is_understood() {
        for (position, memory) in left_of("postgres-log") {
            assert!(Lsn::from_position(&position).unwrap() > Lsn(0), "{position}");
            let read: Memory = read(memory.clone()).unwrap();
            assert_eq!(read.slot, "tailrace_postgres_log");
            assert!(
                read.slot_began_at.is_some() && read.tables.contains("public.ledger"),
                "{read:?}"
            );
            assert_eq!(serde_json::to_value(read).unwrap(), memory);
        }
    }

    #[test]
    fn what_every_release_remembered_of_polled_tables_is_understood() {
        for (_, memory) in left_of("postgres-polled") {
            let read: PolledMemory = read(memory.clone()).unwrap();
            assert!(read.polled && !read.system_identifier.is_empty(), "{read:?}");
            assert_eq!(serde_json::to_value(read).unwrap(), memory);
        }
    }
}
