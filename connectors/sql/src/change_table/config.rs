//! What may be said of change tables in a configuration.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::check::Finding;
use tailrace_core::schema::TableSchema;

/// The source's tables are captured by triggers, and it reads the change tables that those fill. `tables` names the captured tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeTableConfig {
    /// Columns that are captured, by table (`orders`, `public.orders`); the key's must be among them. Default: all columns of a table.
    #[serde(default)]
    pub columns: BTreeMap<String, Vec<String>>,
}

// === impl ChangeTableConfig ===

impl ChangeTableConfig {
    /// Names of the columns of a table that are captured, but for those in `without` (`table.column`).
    ///
    /// # Errors
    /// A finding that blocks where there is no such column, or a column of the key is left out.
    pub(super) fn chosen<'a>(&'a self, table: &'a TableSchema, without: &[String]) -> Result<Vec<&'a str>, Finding> {
        let name = table.name.qualified();
        let all = table.columns.iter().map(|column| column.name.as_str());
        let listed: Vec<&str> = match self.columns.get(&name) {
            Some(columns) => columns.iter().map(String::as_str).collect(),
            None => all.clone().collect(),
        };
        if let Some(unknown) = listed.iter().find(|column| table.column_index(column).is_none()) {
            return Err(Finding::blocks(
                "column_missing",
                format!("table {name} has no column {unknown}, which change_table.columns names"),
                format!("name columns of it: {}", all.collect::<Vec<_>>().join(", ")),
            ));
        }
        let chosen: Vec<&str> = listed
            .into_iter()
            .filter(|column| !without.contains(&format!("{name}.{column}")))
            .collect();
        let unchosen = table
            .key_columns()
            .find(|column| !chosen.contains(&column.name.as_str()));
        if let Some(column) = unchosen {
            return Err(Finding::blocks(
                "key_not_captured",
                format!(
                    "column {} of the key of table {name} is not captured, so that its events would have no key",
                    column.name
                ),
                format!("change_table: {{ columns: {{ {name}: [{}, …] }} }}", column.name),
            ));
        }
        if chosen.is_empty() {
            return Err(Finding::blocks(
                "columns_missing",
                format!("no column of table {name} is captured"),
                format!("name columns of it: {}", all.collect::<Vec<_>>().join(", ")),
            ));
        }
        Ok(chosen)
    }
}
