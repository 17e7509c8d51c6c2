//! What is around the captured tables, where the log itself does not say what its rows are.
//!
//! A table that is not captured may become one: tools for online schema changes build the new table under another name, fill it, and then swap the
//! names. Its definition comes along, so it must have been known before. And a new table without a character set of its own gets that of its schema.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::Conn;
use tailrace_core::Result;

use super::catalog::{self, Relation, RelationKind};
use super::{Assembly, Selection};
use crate::charset::Charset;
use crate::table::TableDefinition;

/// Some schemas hold a table for each customer. Definitions of so many are some megabytes, and are written down with each statement that
/// changes one.
const TABLES_MAXIMUM: usize = 10_000;

/// What is around the captured tables.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Surroundings {
    /// Tables that are not captured, of schemas that have captured ones.
    pub(crate) tables: Vec<TableDefinition>,
    /// What new tables of each schema are in.
    pub(crate) charsets: BTreeMap<String, Charset>,
}

/// Default character sets of all schemas.
pub(super) async fn charsets(connection: &mut Conn) -> Result<BTreeMap<String, Charset>> {
    let charsets = catalog::schema_charsets(connection).await?;
    let known = charsets
        .into_iter()
        .filter_map(|(schema, charset)| Some((schema, Charset::named(&charset)?)));
    Ok(known.collect())
}

/// Tables that are not captured, of schemas that have captured ones. One whose columns are not all understood is left out, as if it were not there.
pub(super) fn others(assembly: &Assembly<'_>, relations: &[Relation], selection: &Selection) -> Vec<TableDefinition> {
    let captured: BTreeSet<(&str, &str)> = selection
        .captured
        .iter()
        .map(|(schema, table)| (schema.as_str(), table.as_str()))
        .collect();
    let schemas: BTreeSet<&str> = captured.iter().map(|(schema, _)| *schema).collect();
    let mut others: Vec<&Relation> = relations
        .iter()
        .filter(|relation| relation.kind == RelationKind::Table && schemas.contains(relation.schema.as_str()))
        .filter(|relation| !captured.contains(&(relation.schema.as_str(), relation.name.as_str())))
        .collect();
    if others.len() > TABLES_MAXIMUM {
        // The tools call theirs `_orders_gho` and `_orders_new`.
        others.sort_by_key(|relation| !relation.name.starts_with('_'));
        tracing::warn!(
            tables = others.len(),
            "only {TABLES_MAXIMUM} definitions of tables that are not captured are kept; one of the others that is renamed to a captured name halts the connector"
        );
        others.truncate(TABLES_MAXIMUM);
    }
    let definition = |relation: &Relation| Some(assembly.table(&relation.schema, &relation.name).ok()?.definition);
    others.into_iter().filter_map(definition).collect()
}
