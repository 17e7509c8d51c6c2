//! The rights of a sink.

use std::collections::BTreeSet;

use tailrace_core::Result;
use tailrace_core::grants::Script;
use tailrace_sql::Syntax;
use tailrace_sql::sink::SinkRules;
use tailrace_sql::sink::check::{named_tables, schema_of_unnamed, unnamed_topics};
use tailrace_sql::sink::config::{Evolve, ForeignKeys};
use tailrace_sql::sink::session::Definitions;

use super::{SCHEMA, Target, statement};
use crate::quote::identifier;
use crate::sink::{PostgresDefinitions, PostgresSinkConfig, create_offsets};

/// Where a sink writes.
struct Written {
    /// Tables of topics that are named, quoted.
    tables: BTreeSet<String>,
    /// The schemas of all of them, as far as they are known.
    schemas: BTreeSet<String>,
    /// Topics whose tables nobody knows yet.
    unnamed: String,
    /// The schema of those, where it is known.
    of_unnamed: Option<String>,
}

/// The script of a sink.
pub(crate) fn of_sink(config: &PostgresSinkConfig, rules: &SinkRules, topics: &[String]) -> Result<Script> {
    let target = Target::of(&config.access())?;
    let mut script = target.begin();
    let (role, write) = (&target.role, rules.config());
    let written = Written::of(rules, topics);
    schemas(&mut script, role, rules, &written);
    let quoted = PostgresDefinitions.table(&PostgresDefinitions.table_name(write.offsets_name()));
    script.needed(
        "How far it is, it writes in the transaction of the rows. A role that makes this table itself must be let CREATE in the schema.",
        [
            create_offsets(&quoted),
            statement::on_tables("SELECT, INSERT, UPDATE", &quoted, role),
        ],
    );
    match write.evolve {
        Evolve::None => written_tables(&mut script, role, rules, &written),
        Evolve::Add | Evolve::Widen => made_tables(&mut script, role, rules, &written),
    }
    if config.mark_origin {
        script.needed(
            "`mark_origin`: it marks its rows with a replication origin, which only superusers may otherwise.",
            statement::origins(role),
        );
    }
    if write.foreign_keys == ForeignKeys::Ignore {
        script.needed(
            "`foreign_keys: ignore`: it turns triggers and foreign keys off in its own sessions. Before PostgreSQL 15 only a superuser may.",
            [statement::replication_role(role)],
        );
    }
    Ok(script)
}

/// Schemas that are missing would be made too, for which a role must be let CREATE in the database: the administrator makes them.
fn schemas(script: &mut Script, role: &str, rules: &SinkRules, written: &Written) {
    let makes = rules.config().evolve != Evolve::None;
    let offsets = PostgresDefinitions.table_name(rules.config().offsets_name()).schema;
    let mut statements = Vec::new();
    for schema in written.schemas.iter().chain([&offsets]) {
        let quoted = identifier(schema);
        if makes && schema != SCHEMA {
            statements.push(format!("CREATE SCHEMA IF NOT EXISTS {quoted}"));
        }
        statements.push(statement::on_schemas("USAGE", &quoted, role));
    }
    let mut each = Vec::new();
    for statement in statements {
        if !each.contains(&statement) {
            each.push(statement);
        }
    }
    script.needed("The schemas of its tables, and of the table of offsets.", each);
}

/// Rights on tables that are there.
fn written_tables(script: &mut Script, role: &str, rules: &SinkRules, written: &Written) {
    let privileges = rules.config().privileges().join(", ");
    script.needed(
        "It writes rows into its tables, which are there. It reads them back for `tailrace verify`, and where a key is met.",
        written
            .tables
            .iter()
            .map(|table| statement::on_tables(&privileges, table, role)),
    );
    if written.unnamed.is_empty() {
        return;
    }
    match &written.of_unnamed {
        Some(schema) => {
            let tables = format!("ALL TABLES IN SCHEMA {}", identifier(schema));
            script.needed(
                format!(
                    "Which tables the topics of {} are written into is not known before there are events: this is every table that is there now. Where \
                     you know them, grant it on each instead.",
                    written.unnamed
                ),
                [statement::on_tables(&privileges, &tables, role)],
            );
        }
        None => script.note(format!(
            "Which schemas and tables the topics of {} are written into is not known before there are events: each schema needs GRANT USAGE, each \
             table GRANT {privileges} ON … TO {}.",
            written.unnamed,
            identifier(role)
        )),
    }
}

/// The right to make tables.
fn made_tables(script: &mut Script, role: &str, rules: &SinkRules, written: &Written) {
    script.needed(
        "`evolve`: it makes tables that are missing, and owns what it makes.",
        written
            .schemas
            .iter()
            .map(|schema| statement::on_schemas("CREATE", &identifier(schema), role)),
    );
    if !written.unnamed.is_empty() && written.of_unnamed.is_none() {
        script.note(format!(
            "Which schemas the topics of {} are written into is not known before there are events: each needs GRANT USAGE, CREATE ON SCHEMA … TO {}.",
            written.unnamed,
            identifier(role)
        ));
    }
    let privileges = rules.config().privileges().join(", ");
    let tables = written.tables.iter();
    script.optional(
        "Of its tables those that are there already it writes with these rights, and does not change:",
        tables
            .clone()
            .map(|table| statement::on_tables(&privileges, table, role)),
    );
    script.optional(
        "Only their owner may add columns to them, who may also drop them:",
        tables.map(|table| statement::owner(table, role)),
    );
}

// === impl Written ===

impl Written {
    fn of(rules: &SinkRules, topics: &[String]) -> Self {
        let names = Vec::from_iter(named_tables(rules, &PostgresDefinitions, topics).map(|(_, name)| name));
        let unnamed = unnamed_topics(topics);
        let of_unnamed = schema_of_unnamed(rules.config(), SCHEMA).filter(|_| !unnamed.is_empty());
        let schemas = names.iter().map(|name| name.schema.clone());
        Self {
            tables: names.iter().map(|name| PostgresDefinitions.table(name)).collect(),
            schemas: schemas.chain(of_unnamed.map(str::to_owned)).collect(),
            unnamed: unnamed.join(", "),
            of_unnamed: of_unnamed.map(str::to_owned),
        }
    }
}
