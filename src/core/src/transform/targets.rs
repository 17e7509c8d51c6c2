//! What a target's table says of the values of events: its columns have the names that the rules give them, and the events those from
//! before.

use std::sync::Arc;

use async_trait::async_trait;

use super::Transform;
use super::plan::{RulePlan, renamed};
use crate::error::Result;
use crate::ports::sink::Targets;
use crate::schema::{Column, SharedSchema, TableName, TableSchema};

/// The tables of targets, with their columns as the events call them.
pub struct TargetsBefore<'a> {
    /// The rules.
    pub transform: &'a Transform,
    /// The tables as they are.
    pub targets: &'a mut dyn Targets,
}

#[async_trait]
impl Targets for TargetsBefore<'_> {
    async fn target(&mut self, topic: &Arc<str>, source: &TableName) -> Result<Option<SharedSchema>> {
        let target = self.targets.target(topic, source).await?;
        let rules: Vec<_> = self
            .transform
            .rules
            .iter()
            .filter(|rule| rule.selects(source))
            .collect();
        Ok(
            target.map(|target| match rules.iter().all(|rule| rule.renames().is_empty()) {
                true => target,
                false => Arc::new(before(&target, &rules)),
            }),
        )
    }
}

/// A table with its columns under the names that rules make theirs of; it has no key.
fn before(target: &TableSchema, rules: &[&RulePlan]) -> TableSchema {
    let names = || rules.iter().flat_map(|rule| rule.renames().keys());
    let renamed_to = |column: &Column| {
        let becomes = |name: &&String| renamed(name, rules).to_lowercase() == column.name.to_lowercase();
        let mut found: Vec<&String> = names().filter(becomes).collect();
        let stays = renamed(&column.name, rules) == column.name;
        found.extend(stays.then_some(&column.name));
        found.into_iter().cloned().collect::<Vec<_>>()
    };
    let columns = target.columns.iter().flat_map(|column| {
        renamed_to(column)
            .into_iter()
            .map(|name| Column { name, ..column.clone() })
    });
    TableSchema {
        columns: columns.collect(),
        key: Vec::new(),
        ..target.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rule, TransformConfig};
    use super::*;
    use crate::schema::TableKind;
    use crate::value::LogicalType;

    struct One(SharedSchema);

    #[async_trait]
    impl Targets for One {
        async fn target(&mut self, _topic: &Arc<str>, _source: &TableName) -> Result<Option<SharedSchema>> {
            Ok(Some(Arc::clone(&self.0)))
        }
    }

    #[tokio::test]
    async fn columns_are_found_under_the_names_that_events_have() {
        let name = TableName {
            database: String::new(),
            schema: "public".to_owned(),
            table: "orders".to_owned(),
        };
        let columns = ["ID", "order_day", "day", "note"].map(|name| Column::new(name, LogicalType::Int64));
        let target = Arc::new(TableSchema {
            name: name.clone(),
            kind: TableKind::Table,
            columns: columns.into(),
            key: vec![0],
            documentation: None,
        });
        let rename = [("day", "Order_Day"), ("key", "id"), ("note", "remark")];
        let rule = Rule {
            rename: rename.map(|(from, to)| (from.to_owned(), to.to_owned())).into(),
            ..Rule::default()
        };
        let transform = Transform::new(&TransformConfig { rules: vec![rule] }, None).unwrap();
        let mut targets = One(target);
        let mut before = TargetsBefore {
            transform: &transform,
            targets: &mut targets,
        };
        let found = before.target(&Arc::from("t"), &name).await.unwrap().unwrap();
        let names: Vec<&str> = found.columns.iter().map(|column| column.name.as_str()).collect();
        // `day` and `note` of the table are none of the events' columns of those names.
        assert_eq!(names, ["key", "ID", "day", "order_day"]);
    }
}
