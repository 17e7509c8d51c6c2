//! The rights of a sink.

use std::collections::BTreeSet;

use tailrace_core::Result;
use tailrace_core::grants::Script;
use tailrace_sql::sink::SinkRules;
use tailrace_sql::sink::check::{schema_of_unnamed, unnamed_topics};
use tailrace_sql::sink::config::{Evolve, WriteConfig};

use super::{Target, statement};
use crate::quote::qualified;
use crate::server::Flavour;
use crate::sink::{MySqlSinkConfig, create_offsets};

/// Rights on a table that writing it takes, also those of changing it.
pub(crate) fn privileges(write: &WriteConfig) -> Vec<&'static str> {
    let mut needed = write.privileges();
    match write.evolve {
        Evolve::None => {}
        Evolve::Add | Evolve::Widen => needed.extend(["CREATE", "ALTER"]),
    }
    needed
}

/// Database and table that a name of the configuration means, in sessions that are in `database`.
pub(crate) fn table_named<'a>(written: &'a str, database: &'a str) -> (&'a str, &'a str) {
    written.split_once('.').unwrap_or((database, written))
}

/// The script of a sink.
pub(crate) fn of_sink(
    config: &MySqlSinkConfig,
    rules: &SinkRules,
    flavour: Flavour,
    topics: &[String],
) -> Result<Script> {
    let target = Target::of(config, flavour)?;
    let mut script = target.begin();
    let (user, write) = (&target.user, rules.config());
    let database = target.endpoint.database.as_deref().unwrap_or_default();
    let (schema, table) = table_named(write.offsets_name(), database);
    script.needed(
        "How far it is, it writes in the transaction of the rows. A user that makes this table itself must be let CREATE it.",
        [
            create_offsets(&qualified(schema, table)),
            statement::on_table("SELECT, INSERT, UPDATE", schema, table, user),
        ],
    );
    let unnamed = unnamed_topics(topics);
    let named = topics.iter().filter(|topic| !unnamed.contains(&topic.as_str()));
    let names: BTreeSet<String> = named.map(|topic| rules.table_of_topic(topic)).collect();
    let list = privileges(write).join(", ");
    let why = match write.evolve {
        Evolve::None => {
            "It writes rows into its tables, and reads them back for `tailrace verify` and where a key is met."
        }
        Evolve::Add | Evolve::Widen => {
            "It writes rows into its tables, and reads them back for `tailrace verify` and where a key is met. `evolve`: it makes tables and columns that \
             are missing."
        }
    };
    let on_table = |name: &String| {
        let (schema, table) = table_named(name, database);
        statement::on_table(&list, schema, table, user)
    };
    script.needed(why, names.iter().map(on_table));
    if !unnamed.is_empty() {
        let unnamed = unnamed.join(", ");
        match schema_of_unnamed(write, database) {
            Some(schema) => script.needed(
                format!(
                    "Which tables the topics of {unnamed} are written into is not known before there are events: this is every table of the database. \
                     Where you know them, grant it on each instead."
                ),
                [statement::on_schema(&list, schema, user)],
            ),
            None => script.note(format!(
                "Which databases and tables the topics of {unnamed} are written into is not known before there are events: each needs GRANT {list} ON … \
                 TO {user}."
            )),
        }
    }
    Ok(script)
}
