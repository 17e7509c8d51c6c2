//! Foreign keys by which a change of one table changes rows of another, without a word in the log.
//!
//! MariaDB shows the actions of foreign keys in its catalogue only to users who may change something. A user who may only read, as ours
//! should, finds them in the statement that made the table.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::Conn;
use tailrace_core::Result;

use crate::connect::{Texts, texts};
use crate::quote::{literal, qualified};

/// A foreign key with actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForeignKey {
    /// Schema of the table that is changed along.
    pub(crate) schema: String,
    /// The table that is changed along.
    pub(crate) table: String,
    /// Name of the constraint.
    pub(crate) name: String,
    /// The table that it refers to.
    pub(crate) parent: String,
    /// `ON DELETE CASCADE`, `ON UPDATE SET NULL`, or both.
    pub(crate) actions: String,
}

const DOING: &str = "read the foreign keys of tables";

/// Those that change rows of these tables.
pub(crate) async fn acting_on(connection: &mut Conn, tables: &[(String, String)]) -> Result<Vec<ForeignKey>> {
    let schemas: BTreeSet<String> = tables.iter().map(|(schema, _)| literal(schema)).collect();
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let schemas = Vec::from_iter(schemas).join(", ");
    let known = texts(connection, &rules_query(&schemas), DOING).await?;
    let rules: BTreeMap<(&str, &str), String> = known
        .iter()
        .filter_map(|row| Some(((row.text(0)?, row.text(1)?), rules(row))))
        .collect();
    let mut keys = Vec::new();
    for row in texts(connection, &references_query(&schemas), DOING).await? {
        let Some(mut key) = reference(&row) else { continue };
        if !tables
            .iter()
            .any(|(schema, table)| *schema == key.schema && *table == key.table)
        {
            continue;
        }
        key.actions = match rules.get(&(key.schema.as_str(), key.name.as_str())) {
            Some(rules) => rules.clone(),
            None => read_actions(connection, &key).await?,
        };
        if !key.actions.is_empty() {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// Names of constraints are unique within a schema.
fn rules_query(schemas: &str) -> String {
    format!(
        "SELECT CONSTRAINT_SCHEMA, CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE \
         FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA IN ({schemas})"
    )
}

fn references_query(schemas: &str) -> String {
    format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME \
         FROM information_schema.KEY_COLUMN_USAGE \
         WHERE TABLE_SCHEMA IN ({schemas}) AND REFERENCED_TABLE_NAME IS NOT NULL AND ORDINAL_POSITION = 1 \
         ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME"
    )
}

fn reference(row: &Texts) -> Option<ForeignKey> {
    Some(ForeignKey {
        schema: row.text(0)?.to_owned(),
        table: row.text(1)?.to_owned(),
        name: row.text(2)?.to_owned(),
        parent: format!("{}.{}", row.text(3)?, row.text(4)?),
        actions: String::new(),
    })
}

fn rules(row: &Texts) -> String {
    let acts = |rule: &&str| !matches!(*rule, "RESTRICT" | "NO ACTION");
    let on_delete = row.text(2).filter(acts).map(|rule| format!("ON DELETE {rule}"));
    let on_update = row.text(3).filter(acts).map(|rule| format!("ON UPDATE {rule}"));
    let actions: Vec<String> = on_delete.into_iter().chain(on_update).collect();
    actions.join(" ")
}

async fn read_actions(connection: &mut Conn, key: &ForeignKey) -> Result<String> {
    let query = format!("SHOW CREATE TABLE {}", qualified(&key.schema, &key.table));
    let rows = texts(connection, &query, DOING).await?;
    let statement = rows.first().and_then(|row| row.text(1)).unwrap_or_default();
    Ok(actions_in(statement, &key.name))
}

/// The server prints each constraint in a line of its own, and its actions at the end, behind the last parenthesis.
fn actions_in(statement: &str, name: &str) -> String {
    let begins = format!("CONSTRAINT {} FOREIGN KEY", crate::quote::identifier(name));
    let mut lines = statement
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with(&begins));
    let actions = lines
        .next()
        .and_then(|line| line.rsplit(')').next())
        .unwrap_or_default();
    let actions = actions.trim_end_matches(',');
    let clauses = actions.split(" ON ").map(str::trim).filter(|clause| !clause.is_empty());
    let acting = clauses.filter(|clause| !clause.ends_with("RESTRICT") && !clause.ends_with("NO ACTION"));
    let acting: Vec<String> = acting.map(|clause| format!("ON {clause}")).collect();
    acting.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_by_the_catalogue() {
        let told = |delete: &str, update: &str| rules(&Texts::of(&["shop", "fk", delete, update]));
        assert_eq!(told("CASCADE", "RESTRICT"), "ON DELETE CASCADE");
        assert_eq!(told("SET NULL", "CASCADE"), "ON DELETE SET NULL ON UPDATE CASCADE");
        assert_eq!(told("RESTRICT", "NO ACTION"), "");
    }

    #[test]
    fn actions_by_the_statement() {
        let statement = "CREATE TABLE `orders` (\n  `id` int(11) NOT NULL COMMENT ') ON DELETE CASCADE',\n  PRIMARY KEY (`id`),\n  \
             CONSTRAINT `a` FOREIGN KEY (`x`) REFERENCES `c` (`id`) ON DELETE CASCADE ON UPDATE SET NULL,\n  \
             CONSTRAINT `b``)` FOREIGN KEY (`y`) REFERENCES `c` (`id`) ON DELETE NO ACTION ON UPDATE CASCADE,\n  \
             CONSTRAINT `d` FOREIGN KEY (`z`) REFERENCES `c` (`id`)\n) ENGINE=InnoDB";
        assert_eq!(actions_in(statement, "a"), "ON DELETE CASCADE ON UPDATE SET NULL");
        assert_eq!(actions_in(statement, "b`)"), "ON UPDATE CASCADE");
        assert_eq!(actions_in(statement, "d"), "");
        assert_eq!(actions_in(statement, "nothing"), "");
    }
}
