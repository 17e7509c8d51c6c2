//! The versions of tables that connectors have met, for people.

use tailrace_core::Result;
use tailrace_core::position::Position;
use tailrace_core::schema::TableSchema;

use crate::checksum::row;
use crate::connector::from_json;
use crate::error::{corrupt, from_database};
use crate::store::StateStore;

/// Versions that are read before others may write: a connector of thousands of tables must not hold up checkpoints.
const VERSIONS_PER_LEASE: usize = 256;

/// A version of a table.
#[derive(Debug, Clone)]
pub struct TableVersion {
    /// The table, with its schema where it has one.
    pub table: String,
    /// Its number, from 1 for each table.
    pub version: u32,
    /// What the table was.
    pub schema: TableSchema,
    /// From where in the source's log on it holds.
    pub position: Position,
    /// It was told to those who follow the schemas.
    pub is_announced: bool,
}

/// A row: table, version, schema, position, checksum, version that was announced last.
type VersionRow = (String, i64, String, String, i64, Option<i64>);

// === impl StateStore ===

impl StateStore {
    /// The versions of all tables of a connector, by table, oldest first.
    ///
    /// # Errors
    /// Definite `state_corrupt`, transient `state_unwritable`.
    pub async fn table_versions(&self, connector: &str) -> Result<Vec<TableVersion>> {
        let mut known: Vec<TableVersion> = Vec::new();
        loop {
            let behind = known
                .last()
                .map(|last| (last.table.clone(), i64::from(last.version)))
                .unwrap_or_default();
            let page = self.versions_behind(connector, &behind).await?;
            let is_last = page.len() < VERSIONS_PER_LEASE;
            known.extend(page);
            if is_last {
                return Ok(known);
            }
        }
    }

    async fn versions_behind(&self, connector: &str, (table, version): &(String, i64)) -> Result<Vec<TableVersion>> {
        let statement = "SELECT h.table_name, h.version, h.table_schema, h.position, h.checksum, a.version \
            FROM schema_history h LEFT JOIN announced_schemas a \
            ON a.connector = h.connector AND a.table_name = h.table_name \
            WHERE h.connector = ?1 AND (h.table_name, h.version) > (?2, ?3) \
            ORDER BY h.table_name, h.version LIMIT ?4";
        let mut lease = self.lease().await?;
        let query = sqlx::query_as(statement).bind(connector).bind(table).bind(version);
        let rows: Vec<VersionRow> = query
            .bind(i64::try_from(VERSIONS_PER_LEASE).unwrap_or(i64::MAX))
            .fetch_all(&mut lease.connection)
            .await
            .map_err(|error| from_database(self.path(), error))?;
        lease.give_back();
        let read = |(table, version, schema, position, checksum, announced): VersionRow| {
            if checksum != row::schema(connector, &table, version, &schema, &position) {
                let finding = format!("the stored schema of {table} has the wrong checksum");
                return Err(corrupt(self.path(), &finding));
            }
            Ok(TableVersion {
                schema: from_json(self.path(), schema.as_bytes())?,
                version: u32::try_from(version).unwrap_or(u32::MAX),
                position: Position::new(position),
                is_announced: announced.is_some_and(|announced| version <= announced),
                table,
            })
        };
        rows.into_iter().map(read).collect()
    }
}
