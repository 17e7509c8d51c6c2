//! The publication: what is missing in the one that is there, or what stands in the way of making one.

use tailrace_core::check::Finding;
use tailrace_core::schema::TableName;

use super::{Facts, PLUGIN};
use crate::discover::publication::{Publication, add_under_lock, create_statement};
use crate::grants::statement;
use crate::quote::{identifier, qualified};

/// More names than these do not help to find the mistake.
const NAMED_TABLES: usize = 5;

pub(super) fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    match &facts.discovery.publication {
        Some(publication) => existing(facts, publication),
        None => missing(facts),
    }
}

fn missing(facts: &Facts<'_>) -> Vec<Finding> {
    let (discovery, name) = (&facts.discovery, &facts.names.publication);
    let create = create_statement(
        name,
        &discovery.publish,
        facts.config.publication_via_partition_root,
        &discovery.server,
    );
    if !facts.config.create_publication {
        let problem = format!("there is no publication \"{name}\", and `create_publication` is off");
        return vec![Finding::blocks("publication_missing", problem, create)];
    }
    if facts
        .slot
        .as_ref()
        .is_some_and(|slot| slot.plugin.as_deref() == Some(PLUGIN))
    {
        let problem = format!(
            "the replication slot \"{}\" is there, but the publication \"{name}\" is not: changes before the publication can never be read",
            facts.names.slot
        );
        return vec![Finding::blocks(
            "publication_history",
            problem,
            "start the connector anew with a new slot and a snapshot",
        )];
    }
    let role = &discovery.server.role;
    let foreign: Vec<String> = discovery
        .publish
        .iter()
        .filter(|table| !owns(facts, table))
        .map(TableName::qualified)
        .collect();
    if !foreign.is_empty() {
        let problem = format!(
            "the role \"{role}\" does not own {} and so may not publish them",
            foreign.join(", ")
        );
        return vec![Finding::blocks(
            "insufficient_privilege",
            problem,
            format!("{create}; -- as their owner"),
        )];
    }
    if discovery.server.create {
        return Vec::new();
    }
    let grant = statement::on_database("CREATE", &discovery.server.database, role);
    let problem = format!("the role \"{role}\" may not create the publication \"{name}\"");
    vec![Finding::blocks("insufficient_privilege", problem, grant)]
}

fn owns(facts: &Facts<'_>, table: &TableName) -> bool {
    let mut relations = facts.discovery.relations.iter();
    relations.any(|relation| relation.owned && relation.schema == table.schema && relation.name == table.table)
}

fn existing(facts: &Facts<'_>, publication: &Publication) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(root(facts, publication));
    findings.extend(lacking(facts));
    findings.extend(actions(&facts.names.publication, publication));
    findings.extend(reach(facts, publication));
    findings.extend(restrictions(facts, publication));
    findings
}

fn root(facts: &Facts<'_>, publication: &Publication) -> Option<Finding> {
    let asked = facts.config.publication_via_partition_root;
    (asked != publication.via_root).then(|| {
        let name = &facts.names.publication;
        let (says, wants) = if asked { ("their own names", "their root's name") } else { ("their root's name", "their own names") };
        Finding::blocks(
            "publication_differs",
            format!("the publication \"{name}\" publishes rows of partitions under {says}, but the configuration wants {wants}"),
            format!("ALTER PUBLICATION {} SET (publish_via_partition_root = {asked})", identifier(name)),
        )
    })
}

/// Every captured table must be in it under its own name.
fn lacking(facts: &Facts<'_>) -> Option<Finding> {
    let lacking = facts.discovery.unpublished();
    let lacking: Vec<&TableName> = lacking.iter().map(|table| &table.schema.name).collect();
    if lacking.is_empty() {
        return None;
    }
    let tables: Vec<String> = lacking
        .iter()
        .map(|table| qualified(&table.schema, &table.table))
        .collect();
    let (name, tables) = (identifier(&facts.names.publication), tables.join(", "));
    if facts.config.create_publication && lacking.iter().all(|table| owns(facts, table)) {
        return Some(Finding::note(
            "publication_incomplete",
            format!(
                "the publication {name} does not publish {tables} yet: new tables are added to it when the connector starts; \
                 one that was captured before and was taken out of it stops the connector"
            ),
        ));
    }
    Some(Finding::blocks(
        "publication_incomplete",
        format!("the publication {name} does not publish {tables}"),
        format!(
            "{}; -- the lock waits for open writers, whose rows would be lost otherwise",
            add_under_lock(&facts.names.publication, &lacking)
        ),
    ))
}

fn actions(name: &str, publication: &Publication) -> Option<Finding> {
    let absent = publication.left_out();
    (!absent.is_empty()).then(|| {
        Finding::warning(
            "publication_actions",
            format!(
                "the publication \"{name}\" leaves out every {}: the stream will not show them",
                absent.join(", ")
            ),
            format!(
                "ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate')",
                identifier(name)
            ),
        )
    })
}

/// What it publishes beyond the captured tables.
fn reach(facts: &Facts<'_>, publication: &Publication) -> Option<Finding> {
    let name = &facts.names.publication;
    if publication.all_tables {
        return Some(Finding::warning(
            "publication_all_tables",
            format!(
                "the publication \"{name}\" is FOR ALL TABLES: UPDATE and DELETE fail on every table that has no replica identity, new ones included"
            ),
            create_statement(
                &format!("{name}_tables"),
                &facts.discovery.publish,
                publication.via_root,
                &facts.discovery.server,
            ),
        ));
    }
    let captured = |schema: &str, table: &str| {
        let mut tables = facts.discovery.tables.iter();
        tables.any(|captured| captured.schema.name.schema == schema && captured.schema.name.table == table)
    };
    let others = publication
        .tables()
        .filter(|entry| !captured(&entry.schema, &entry.table));
    let others: Vec<String> = others.map(|entry| qualified(&entry.schema, &entry.table)).collect();
    let more = others.len().saturating_sub(NAMED_TABLES);
    (!others.is_empty()).then(|| {
        let named = others.get(..NAMED_TABLES).unwrap_or(&others).join(", ");
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let problem = format!(
            "the publication \"{name}\" also publishes what is not captured: {named}{rest}; these changes are sent in vain"
        );
        Finding::note("publication_reach", problem)
    })
}

fn restrictions(facts: &Facts<'_>, publication: &Publication) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &facts.discovery.tables {
        let name = &table.schema.name;
        let Some(entry) = publication.table(&name.schema, &name.table) else {
            continue;
        };
        if let Some(filter) = &entry.row_filter {
            findings.push(Finding::warning(
                "publication_row_filter",
                format!(
                    "the publication \"{}\" only publishes rows of {} that meet {filter}: an UPDATE that moves a row in or out arrives as INSERT or DELETE",
                    facts.names.publication,
                    name.qualified()
                ),
                "take the WHERE off the table in the publication, unless it is meant",
            ));
        }
        if !table.unlisted_columns.is_empty() {
            findings.push(Finding::warning(
                "publication_column_list",
                format!(
                    "the publication \"{}\" does not publish the columns {} of {}; events will not have them",
                    facts.names.publication,
                    table.unlisted_columns.join(", "),
                    name.qualified()
                ),
                "take the column list off the table in the publication, unless it is meant",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{codes, judged};
    use super::*;
    use tailrace_core::check::Severity;

    const TABLES: &str = r#""tables": ["orders"]"#;

    fn published(publication: &str, tables: &[&str]) -> Vec<Finding> {
        let publication = Publication::from_json(publication, tables);
        judged(judge, TABLES, |facts| facts.discovery.publication = Some(publication))
    }

    const PLAIN: &str = r#"{"oid": "1", "puballtables": false, "pubinsert": true, "pubupdate": true, "pubdelete": true, "pubtruncate": true, "pubviaroot": false}"#;
    const ORDERS: &str = r#"{"schemaname": "public", "tablename": "orders"}"#;

    #[test]
    fn a_publication_that_is_missing() {
        let missing = |json: &str, change: fn(&mut Facts<'_>)| judged(judge, json, change);
        assert_eq!(missing(TABLES, |_| {}), []);
        let findings = missing(r#""tables": ["orders"], "create_publication": false"#, |_| {});
        assert_eq!(codes(&findings), ["publication_missing"]);
        assert!(
            findings[0]
                .remedy
                .starts_with(r#"CREATE PUBLICATION "tailrace_orders" FOR TABLE ONLY "public"."orders""#)
        );
        let findings = missing(TABLES, |facts| facts.discovery.server.create = false);
        assert_eq!(findings[0].remedy, r#"GRANT CREATE ON DATABASE "shop" TO "tailrace""#);
        let findings = missing(TABLES, |facts| facts.discovery.relations[0].owned = false);
        assert_eq!(codes(&findings), ["insufficient_privilege"]);
    }

    #[test]
    fn a_publication_that_is_there() {
        assert_eq!(published(PLAIN, &[ORDERS]), []);
        let incomplete = |json: &str, change: fn(&mut Facts<'_>)| {
            judged(judge, json, |facts| {
                facts.discovery.publication = Some(Publication::from_json(PLAIN, &[]));
                change(facts);
            })
        };
        let added_by_itself = incomplete(TABLES, |_| {});
        assert_eq!(codes(&added_by_itself), ["publication_incomplete"]);
        assert_eq!(added_by_itself[0].severity, Severity::Note);
        let by_hand = incomplete(r#""tables": ["orders"], "create_publication": false"#, |_| {});
        assert_eq!(by_hand[0].severity, Severity::Blocks);
        let by_its_owner = incomplete(TABLES, |facts| facts.discovery.relations[0].owned = false);
        assert_eq!(by_its_owner[0].severity, Severity::Blocks);
        let other = r#"{"schemaname": "public", "tablename": "other"}"#;
        assert_eq!(codes(&published(PLAIN, &[ORDERS, other])), ["publication_reach"]);
        let filtered = r#"{"schemaname": "public", "tablename": "orders", "rowfilter": "(id > 1)"}"#;
        assert_eq!(codes(&published(PLAIN, &[filtered])), ["publication_row_filter"]);
        let everything = PLAIN.replace(r#""puballtables": false"#, r#""puballtables": true"#);
        assert_eq!(codes(&published(&everything, &[ORDERS])), ["publication_all_tables"]);
        let findings = published(
            &PLAIN.replace(r#""pubdelete": true"#, r#""pubdelete": false"#),
            &[ORDERS],
        );
        assert!(
            findings[0].problem.contains("leaves out every delete"),
            "{}",
            findings[0].problem
        );
        let via_root = PLAIN.replace(r#""pubviaroot": false"#, r#""pubviaroot": true"#);
        assert_eq!(codes(&published(&via_root, &[ORDERS])), ["publication_differs"]);
    }
}
