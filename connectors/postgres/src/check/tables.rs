//! The tables: whether they are found, may be read, and can be published without harm to the application.

use tailrace_core::check::Finding;
use tailrace_sql::log_config::SnapshotMode;

use super::Facts;
use crate::discover::CapturedTable;
use crate::discover::catalog::{Relation, RelationKind, ReplicaIdentity};
use crate::grants::statement;
use crate::quote::{identifier, qualified};

pub(super) fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = patterns(facts);
    findings.extend(passed_over(facts));
    if facts.config.snapshot.mode != SnapshotMode::Never {
        findings.extend(reading(facts));
    }
    findings.extend(identities(facts));
    for table in &facts.discovery.tables {
        findings.extend(keyless(table));
        findings.extend(columns(facts, table));
    }
    findings
}

fn patterns(facts: &Facts<'_>) -> Vec<Finding> {
    let selection = &facts.discovery.selection;
    let unmatched = selection.unmatched.iter().map(|pattern| {
        let remedy = similar(&facts.discovery.relations, pattern).map_or_else(
            || "correct `tables`: upper and lower case differ, and without a dot the schema is public".to_owned(),
            |name| format!("write `{name}`"),
        );
        Finding::blocks(
            "tables_unmatched",
            format!("`{pattern}` in `tables` matches no table"),
            remedy,
        )
    });
    let idle = selection.idle_exclusions.iter().map(|pattern| {
        Finding::warning(
            "exclude_unmatched",
            format!("`{pattern}` in `exclude` matches no table"),
            "correct or remove it",
        )
    });
    let hopeless = selection.not_excludable.iter().filter_map(|oid| relation(facts, *oid)).map(|partition| {
        Finding::blocks(
            "exclude_partition",
            format!("the partition {} cannot be excluded, because its rows are published under the name of the partitioned table", dotted(partition)),
            "set `publication_via_partition_root: false`, or remove it from `exclude`",
        )
    });
    unmatched.chain(idle).chain(hopeless).collect()
}

/// A table that only differs in case, or is in another schema.
pub(super) fn similar(relations: &[Relation], pattern: &str) -> Option<String> {
    let table = pattern.rsplit('.').next().unwrap_or(pattern).to_lowercase();
    let mut capturable = relations.iter().filter(|relation| relation.kind.is_capturable());
    capturable
        .find(|relation| relation.name.to_lowercase() == table)
        .map(dotted)
}

fn passed_over(facts: &Facts<'_>) -> Vec<Finding> {
    let relations = facts
        .discovery
        .selection
        .passed_over
        .iter()
        .filter_map(|oid| relation(facts, *oid));
    let findings = relations.map(|relation| {
        let name = dotted(relation);
        match relation.kind {
            RelationKind::Unlogged => Finding::note(
                "unseen_table",
                format!("{name} is not captured: it is unlogged, so its changes are not in the log"),
            ),
            RelationKind::Table | RelationKind::Partitioned | RelationKind::NotATable => Finding::note(
                "unseen_table",
                format!("{name} is not captured: it is a view or a foreign table, which has no log"),
            ),
        }
    });
    findings.collect()
}

/// What the snapshot needs.
fn reading(facts: &Facts<'_>) -> Vec<Finding> {
    let role = &facts.discovery.server.role;
    let heaps = || {
        facts
            .discovery
            .selection
            .captured
            .iter()
            .flat_map(|table| &table.heaps)
            .filter_map(|oid| relation(facts, *oid))
    };
    let mut findings = Vec::new();
    let unusable: std::collections::BTreeSet<String> = heaps()
        .filter(|table| !table.schema_usable)
        .map(|table| identifier(&table.schema))
        .collect();
    if !unusable.is_empty() {
        let schemas = Vec::from_iter(unusable).join(", ");
        let problem = format!("the role \"{role}\" may not look into the schemas {schemas}");
        findings.push(Finding::blocks(
            "insufficient_privilege",
            problem,
            statement::on_schemas("USAGE", &schemas, role),
        ));
    }
    let unreadable = names(heaps().filter(|table| !table.selectable));
    if !unreadable.is_empty() {
        let problem = format!("the role \"{role}\" may not read {unreadable}");
        findings.push(Finding::blocks(
            "insufficient_privilege",
            problem,
            statement::on_tables("SELECT", &unreadable, role),
        ));
    }
    let hidden = names(heaps().filter(|table| table.row_security));
    if !hidden.is_empty() {
        let problem =
            format!("row-level security hides rows of {hidden} from the role \"{role}\"; a snapshot would miss them");
        findings.push(Finding::blocks(
            "row_security",
            problem,
            statement::bypass_row_security(role),
        ));
    }
    findings
}

/// Publishing updates and deletes of a table without a replica identity makes the *application's* statements fail.
fn identities(facts: &Facts<'_>) -> Vec<Finding> {
    let publication = facts.discovery.publication.as_ref();
    if publication.is_some_and(|publication| !publication.updates && !publication.deletes) {
        return Vec::new();
    }
    let offenders = facts.discovery.heaps_without_identity();
    offenders
        .into_iter()
        .map(|table| without_identity(facts, table))
        .collect()
}

fn without_identity(facts: &Facts<'_>, table: &Relation) -> Finding {
    let why = match table.identity {
        ReplicaIdentity::Nothing => "its replica identity is NOTHING",
        ReplicaIdentity::Index => "the index of its replica identity is gone",
        ReplicaIdentity::Default | ReplicaIdentity::Full => "it has no primary key",
    };
    let name = qualified(&table.schema, &table.name);
    let remedy = if facts.discovery.has_primary_key(table.oid) {
        format!("ALTER TABLE {name} REPLICA IDENTITY DEFAULT; -- its primary key")
    } else {
        format!(
            "ALTER TABLE {name} ADD PRIMARY KEY (…); -- or ALTER TABLE {name} REPLICA IDENTITY FULL; or name it in `exclude`"
        )
    };
    let problem = format!(
        "{} cannot be captured: {why}, and once it is published every UPDATE and DELETE of the application fails",
        dotted(table)
    );
    Finding::blocks("table_without_identity", problem, remedy)
}

fn keyless(table: &CapturedTable) -> Option<Finding> {
    (table.schema.key.is_empty() && table.identity == ReplicaIdentity::Full).then(|| {
        Finding::warning(
            "no_key",
            format!(
                "events of {} have no key: the order of changes to one row is not kept across partitions of a topic",
                table.schema.name.qualified()
            ),
            format!(
                "ALTER TABLE {} ADD PRIMARY KEY (…);",
                qualified(&table.schema.name.schema, &table.schema.name.table)
            ),
        )
    })
}

fn columns(facts: &Facts<'_>, table: &CapturedTable) -> Vec<Finding> {
    let name = table.schema.name.qualified();
    let mut findings = Vec::new();
    if !table.generated_columns.is_empty() {
        let columns = table.generated_columns.join(", ");
        let problem = format!("the generated columns {columns} of {name} are not in the log, and so not in events");
        findings.push(Finding::note("unseen_columns", problem));
    }
    let text_only = table.text_only_columns();
    if facts.config.binary && !text_only.is_empty() {
        let problem = format!(
            "the columns {} of {name} are of types that cannot be read in binary form",
            text_only.join(", ")
        );
        findings.push(Finding::blocks("binary_type", problem, "set `binary: false`"));
    }
    findings
}

fn relation<'a>(facts: &'a Facts<'_>, oid: u32) -> Option<&'a Relation> {
    facts.discovery.relations.iter().find(|relation| relation.oid == oid)
}

pub(super) fn dotted(relation: &Relation) -> String {
    format!("{}.{}", relation.schema, relation.name)
}

fn names<'a>(relations: impl Iterator<Item = &'a Relation>) -> String {
    let names: Vec<String> = relations
        .map(|relation| qualified(&relation.schema, &relation.name))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{codes, judged};
    use super::*;

    fn table(change: impl FnOnce(&mut Relation)) -> Vec<Finding> {
        judged(judge, r#""tables": ["orders"]"#, |facts| {
            change(&mut facts.discovery.relations[0])
        })
    }

    #[test]
    fn patterns_that_match_nothing() {
        let findings = judged(
            judge,
            r#""tables": ["orders", "Orders", "nothing"], "exclude": ["nobody"]"#,
            |_| {},
        );
        assert_eq!(
            codes(&findings),
            ["tables_unmatched", "tables_unmatched", "exclude_unmatched"]
        );
        assert_eq!(findings[0].remedy, "write `public.orders`");
    }

    #[test]
    fn rights_come_with_their_grant() {
        assert_eq!(
            table(|table| table.selectable = false)[0].remedy,
            r#"GRANT SELECT ON "public"."orders" TO "tailrace""#
        );
        assert_eq!(
            table(|table| table.schema_usable = false)[0].remedy,
            r#"GRANT USAGE ON SCHEMA "public" TO "tailrace""#
        );
        assert_eq!(codes(&table(|table| table.row_security = true)), ["row_security"]);
        let unread = judged(
            judge,
            r#""tables": ["orders"], "snapshot": {"mode": "never"}"#,
            |facts| {
                facts.discovery.relations[0].selectable = false;
            },
        );
        assert_eq!(codes(&unread), [""; 0]);
    }

    #[test]
    fn tables_that_publishing_would_break() {
        let findings = table(|table| table.identity = ReplicaIdentity::Nothing);
        assert_eq!(codes(&findings), ["table_without_identity"]);
        assert!(
            findings[0].remedy.contains("REPLICA IDENTITY DEFAULT"),
            "{}",
            findings[0].remedy
        );
        let findings = judged(judge, r#""tables": ["orders"]"#, |facts| {
            facts.discovery.details.keys.clear()
        });
        assert_eq!(codes(&findings), ["table_without_identity"]);
        assert!(findings[0].remedy.contains("ADD PRIMARY KEY"), "{}", findings[0].remedy);
    }
}
