//! The publication: made before the slot, for exactly the captured tables; added to later under a lock.

use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result};

use super::Opening;
use crate::discover::publication::{add_statement, add_under_lock, create_statement, publication};
use crate::error::query_error;
use crate::quote::qualified;

impl Opening {
    /// Creates the publication, or adds what is missing in ours. Gives its number.
    pub(super) async fn ensure_publication(&self) -> Result<String> {
        self.refuse_harmful_publication()?;
        self.create_or_complete_publication().await?;
        let name = &self.names.publication;
        let publication = publication(&self.catalog, name).await?;
        publication.map(|publication| publication.oid).ok_or_else(|| {
            let message = format!("the publication \"{name}\" was dropped by somebody right after it was made");
            Error::transient("publication_missing", message)
        })
    }

    async fn create_or_complete_publication(&self) -> Result<()> {
        let name = &self.names.publication;
        match &self.discovery.publication {
            None if self.config.create_publication => {
                let publish = &self.discovery.publish;
                let via_root = self.config.publication_via_partition_root;
                let statement = create_statement(name, publish, via_root, &self.discovery.server);
                self.execute(&statement, &format!("create the publication \"{name}\""))
                    .await
            }
            None => Err(Error::definite(
                "publication_missing",
                format!("the publication \"{name}\" does not exist; create it, or set `create_publication: true`"),
            )),
            Some(_) => self.add_missing_tables().await,
        }
    }

    /// A table without a replica identity whose updates are published makes the *application's* UPDATE fail (SQLSTATE 55000).
    fn refuse_harmful_publication(&self) -> Result<()> {
        let published = |schema: &str, table: &str| {
            let publication = self.discovery.publication.as_ref();
            publication.is_some_and(|publication| publication.all_tables || publication.table(schema, table).is_some())
        };
        let heaps = self.discovery.heaps_without_identity();
        let harmed = heaps.iter().filter(|heap| !published(&heap.schema, &heap.name));
        let tables: Vec<_> = harmed.map(|heap| qualified(&heap.schema, &heap.name)).collect();
        if tables.is_empty() {
            return Ok(());
        }
        Err(Error::definite(
            "table_without_identity",
            format!(
                "publishing {} would make UPDATE and DELETE on it fail, because it has no key that the log could carry: \
                 ALTER TABLE … ADD PRIMARY KEY, or ALTER TABLE … REPLICA IDENTITY FULL, or leave it out with `exclude`",
                tables.join(", ")
            ),
        ))
    }

    async fn add_missing_tables(&self) -> Result<()> {
        let missing = self.discovery.unpublished();
        let missing: Vec<&TableName> = missing.iter().map(|table| &table.schema.name).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let name = &self.names.publication;
        if !self.config.create_publication {
            let add = add_statement(name, &missing);
            let message = format!("the publication \"{name}\" lacks tables that are to be captured: {add}");
            return Err(Error::definite("publication_incomplete", message));
        }
        let added = self
            .execute(
                &add_under_lock(name, &missing),
                &format!("add tables to the publication \"{name}\""),
            )
            .await;
        if added.is_err() {
            self.execute("ROLLBACK", "end a failed transaction").await?;
        }
        added
    }

    async fn execute(&self, statements: &str, doing: &str) -> Result<()> {
        self.catalog
            .batch_execute(statements)
            .await
            .map_err(|error| query_error(&error, doing))
    }
}
