//! Which table a topic is written into.

use std::collections::BTreeMap;

use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result};

use super::config::WriteConfig;

/// A topic's table by default: the last part of its name.
pub(super) const DEFAULT_TABLE: &str = "{table}";

/// What may stand in a template.
const PLACEHOLDERS: [&str; 4] = ["topic", "database", "schema", "table"];

/// Tables by topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableNames {
    template: Vec<Piece>,
    single: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(&'static str),
}

// === impl TableNames ===

impl TableNames {
    /// The names that a configuration gives.
    ///
    /// # Errors
    /// Definite `table_template_invalid`.
    pub(super) fn new(config: &WriteConfig) -> Result<Self> {
        let written = config.table.as_deref().unwrap_or(DEFAULT_TABLE);
        let template = parse(written).ok_or_else(|| {
            let known = PLACEHOLDERS.map(|name| format!("`{{{name}}}`")).join(", ");
            let message = format!(
                "`{written}` names no table; what is replaced in it is {known}, and nothing else may stand in braces"
            );
            Error::definite("table_template_invalid", message)
        })?;
        Ok(Self {
            template,
            single: config.tables.clone(),
        })
    }

    /// The table of a topic, as it would be written in the configuration. `source` is the table that the events say they are of.
    pub(super) fn table(&self, topic: &str, source: &TableName) -> String {
        if let Some(single) = self.single.get(topic) {
            return single.clone();
        }
        let value = |name: &str| match name {
            "database" => source.database.as_str(),
            "schema" => &source.schema,
            "table" => &source.table,
            _ => topic,
        };
        let pieces = self.template.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            // A dot would be read as the border between a schema and a table.
            Piece::Placeholder(name) => value(name).replace('.', "_"),
        });
        pieces.collect()
    }
}

fn parse(template: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, behind)) = rest.split_once('{') {
        let (name, behind) = behind.split_once('}')?;
        let known = PLACEHOLDERS.into_iter().find(|known| *known == name)?;
        pieces.push(Piece::Text(text.to_owned()));
        pieces.push(Piece::Placeholder(known));
        rest = behind;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    let is_legal = |piece: &Piece| !matches!(piece, Piece::Text(text) if text.contains('}'));
    (!template.is_empty() && pieces.iter().all(is_legal)).then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(template: Option<&str>, single: &[(&str, &str)]) -> Result<String> {
        let config = WriteConfig {
            table: template.map(str::to_owned),
            tables: single
                .iter()
                .map(|(topic, table)| ((*topic).to_owned(), (*table).to_owned()))
                .collect(),
            ..WriteConfig::default()
        };
        let source = TableName {
            database: "shop".to_owned(),
            schema: "public".to_owned(),
            table: "orders".to_owned(),
        };
        Ok(TableNames::new(&config)?.table("legacy.public.orders", &source))
    }

    #[test]
    fn a_topic_has_a_table() {
        assert_eq!(table(None, &[]).unwrap(), "orders");
        assert_eq!(table(Some("{schema}.{table}"), &[]).unwrap(), "public.orders");
        assert_eq!(
            table(Some("mirror.{topic}_1"), &[]).unwrap(),
            "mirror.legacy_public_orders_1"
        );
        assert_eq!(
            table(Some("{database}_{table}"), &[("legacy.public.orders", "sales.o")]).unwrap(),
            "sales.o"
        );
        for wrong in ["", "{tabel}", "{table", "table}", "{}"] {
            assert_eq!(
                table(Some(wrong), &[]).unwrap_err().code(),
                "table_template_invalid",
                "{wrong}"
            );
        }
    }
}
