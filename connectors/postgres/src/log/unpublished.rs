//! Tables that are to be captured and came after the connector: the publication lists none but those that were put in, the server sends
//! nothing of others, and nothing in the log says so.
//!
//! A start puts them in. They are not put in while the log is read: their rows of before would have to be read too, and a table
//! without a replica identity must not be published behind its application's back. So somebody is told.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tailrace_core::Result;
use tailrace_core::schema::TableName;
use tailrace_sql::log_config::SnapshotMode;

use super::Watch;
use crate::config::PostgresConfig;
use crate::discover::publication::{Publication, add_under_lock};
use crate::discover::{self, CapturedTable, Discovery, catalog, select};

/// How often the catalogue is asked for its tables, of which there may be many: with every third look of the watch.
const INTERVAL: Duration = Duration::from_secs(25);
const CODE: &str = "tables_unpublished";

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Unpublished {
    looked_at: Option<Instant>,
    /// Those that were told.
    tables: BTreeSet<String>,
}

// === impl Watch ===

impl Watch {
    /// Tells of captured tables that the publication lacks, of each once in the log, and of all of them while it is so.
    pub(super) async fn report_unpublished(&mut self, publication: Option<&Publication>) -> Result<()> {
        let Some(publication) = publication.filter(|_| self.unpublished.is_due()) else {
            return Ok(());
        };
        // The list of tables alone is cheap. Where it is not as it should be, one look at everything decides.
        let discovery = match self.may_lack_tables(publication).await? {
            true => Some(discover::survey(&self.catalog, &self.config, &self.connector).await?),
            false => None,
        };
        let tables = discovery.as_ref().map(Discovery::unpublished).unwrap_or_default();
        let told = self.unpublished.replace(&tables);
        let told_of = |tables: &[&CapturedTable]| {
            let discovery = discovery.as_ref().filter(|_| !tables.is_empty())?;
            Some(sentence(discovery, tables, &self.config, &self.memory.publication))
        };
        if !told.is_empty() {
            // The notice stands and is not logged again.
            let is_new = |table: &&&CapturedTable| !told.contains(&table.schema.name.qualified());
            let new: Vec<&CapturedTable> = tables.iter().filter(is_new).copied().collect();
            if let Some(sentence) = told_of(&new) {
                tracing::warn!(connector = self.connector, code = CODE, "{sentence}");
            }
        }
        self.telemetry.set_notice(CODE, told_of(&tables));
        Ok(())
    }

    async fn may_lack_tables(&self, publication: &Publication) -> Result<bool> {
        let relations = catalog::relations(&self.catalog, None).await?;
        let selection = select::select(&relations, &self.config.patterns()?, publication.via_root);
        let captured: BTreeSet<u32> = selection.captured.iter().map(|table| table.oid).collect();
        let mut captured = relations.iter().filter(|relation| captured.contains(&relation.oid));
        Ok(captured.any(|relation| publication.lacks(&relation.schema, &relation.name)))
    }
}

// === impl Unpublished ===

impl Unpublished {
    fn is_due(&self) -> bool {
        self.looked_at.is_none_or(|at| at.elapsed() >= INTERVAL)
    }

    /// Those that are so now; returns those that were so before.
    fn replace(&mut self, tables: &[&CapturedTable]) -> BTreeSet<String> {
        self.looked_at = Some(Instant::now());
        let tables = tables.iter().map(|table| table.schema.name.qualified()).collect();
        std::mem::replace(&mut self.tables, tables)
    }
}

fn sentence(discovery: &Discovery, tables: &[&CapturedTable], config: &PostgresConfig, publication: &str) -> String {
    let list = |tables: &[&CapturedTable]| {
        let names = tables.iter().map(|table| table.schema.name.qualified());
        Vec::from_iter(names).join(", ")
    };
    let heaps = discovery.heaps_without_identity();
    let is_harmed = |table: &&&CapturedTable| heaps.iter().any(|heap| table.heaps.iter().any(|of| of.oid == heap.oid));
    let harmed: Vec<&CapturedTable> = tables.iter().filter(is_harmed).copied().collect();
    let first = match harmed.is_empty() {
        true => String::new(),
        false => format!(
            "first ALTER TABLE … ADD PRIMARY KEY, or ALTER TABLE … REPLICA IDENTITY FULL, for {}, or its UPDATE and DELETE will fail; then ",
            list(&harmed)
        ),
    };
    let rows = match config.snapshot.mode {
        SnapshotMode::Never => "their rows of before are not carried",
        SnapshotMode::Initial | SnapshotMode::Only => "then restart the connector, which reads their rows of before",
    };
    let names: Vec<&TableName> = tables.iter().map(|table| &table.schema.name).collect();
    format!(
        "the publication \"{publication}\" lacks {}, which patterns of `tables` fit: nothing of them is carried; {first}as their owner run {}; {rows}; \
         or leave them out with `exclude`",
        list(tables),
        add_under_lock(publication, &names)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::catalog::RelationKind;
    use crate::discover::testing::{discovery, relation};

    const PUBLICATION: &str = r#"{"oid": "1", "puballtables": false, "pubinsert": true, "pubupdate": true, "pubdelete": true,
        "pubtruncate": true, "pubviaroot": false}"#;

    fn told(config: &str, publication: &str, change: impl FnOnce(&mut Discovery)) -> Option<String> {
        let config: PostgresConfig = serde_json::from_str(&format!(
            r#"{{"url": "postgres://u@h/d", "tables": ["order*"]{config}}}"#
        ))
        .unwrap();
        let tables = ["orders", "order_lines", "other"];
        let relations = (1..)
            .zip(tables)
            .map(|(oid, name)| relation(oid, name, RelationKind::Table, None));
        let listed = r#"{"schemaname": "public", "tablename": "orders"}"#;
        let discovery = discovery(&config, relations.collect(), |discovery| {
            discovery.publication = Some(Publication::from_json(publication, &[listed]));
            change(discovery);
        });
        let tables = discovery.unpublished();
        (!tables.is_empty()).then(|| sentence(&discovery, &tables, &config, "p"))
    }

    #[test]
    fn what_fits_and_is_not_listed_is_told_with_what_to_do() {
        let expected = "the publication \"p\" lacks public.order_lines, which patterns of `tables` fit: nothing of them is carried; as their owner run \
            BEGIN; SET LOCAL lock_timeout = '2s'; LOCK TABLE \"public\".\"order_lines\" IN SHARE MODE; \
            ALTER PUBLICATION \"p\" ADD TABLE ONLY \"public\".\"order_lines\"; COMMIT; \
            then restart the connector, which reads their rows of before; or leave them out with `exclude`";
        assert_eq!(told("", PUBLICATION, |_| {}).as_deref(), Some(expected));
        let without_rows = told(r#", "snapshot": {"mode": "never"}"#, PUBLICATION, |_| {}).unwrap();
        assert!(without_rows.contains("are not carried"), "{without_rows}");
        let keyless = told("", PUBLICATION, |discovery| discovery.details.keys.clear()).unwrap();
        assert!(
            keyless.contains("REPLICA IDENTITY FULL, for public.order_lines, or"),
            "{keyless}"
        );
    }

    #[test]
    fn a_publication_of_all_tables_lacks_none() {
        let all = PUBLICATION.replace(r#""puballtables": false"#, r#""puballtables": true"#);
        assert_eq!(told("", &all, |_| {}), None);
        assert_eq!(told(r#", "exclude": ["order_lines"]"#, PUBLICATION, |_| {}), None);
    }

    #[test]
    fn a_look_is_due_at_the_start_and_then_now_and_then() {
        let mut unpublished = Unpublished::default();
        assert!(unpublished.is_due());
        assert!(unpublished.replace(&[]).is_empty());
        assert!(!unpublished.is_due());
    }
}
