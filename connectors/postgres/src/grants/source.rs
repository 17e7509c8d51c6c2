//! The rights of a source: of one that reads the log, and of one that polls.

use tailrace_core::Result;
use tailrace_core::grants::Script;
use tailrace_sql::change_table::Engine;
use tailrace_sql::config::LeaseConfig;
use tailrace_sql::grants::{GrantedTables, change_query_of, change_tables_of, mark_column, polls_in};
use tailrace_sql::log_config::SnapshotMode;
use tailrace_sql::{QueryConfig, QueryMode};

use super::matched::{Kind, Matched};
use super::{SCHEMA, Target, statement};
use crate::config::PostgresConfig;
use crate::discover::publication::{of_tables, options};
use crate::quote::{identifier, qualified};

/// The script of a source.
pub(crate) fn of_source(config: &PostgresConfig, connector: &str) -> Result<Script> {
    let target = Target::of(&config.access())?;
    let mut script = target.begin();
    rights(&mut script, &target, config, connector)?;
    Ok(script)
}

/// The script of a source that reads the change tables of its tables.
pub(crate) fn of_change_tables(config: &PostgresConfig, connector: &str) -> Result<Script> {
    let target = Target::of(&config.access())?;
    let mut script = target.begin();
    script.note(format!(
        "The change tables and their triggers are the tables' owner's, who runs what `tailrace triggers install FILE {connector} --backfill` \
         prints before the rest of this. Whoever prints it need only connect; writers of the tables need no right on the change tables."
    ));
    let names = |patterns: &[String]| change_tables_of(Engine::Postgres, patterns, Some(SCHEMA));
    let reading = PostgresConfig {
        tables: names(&config.tables),
        exclude: names(&config.exclude),
        query: config
            .query
            .as_ref()
            .map(|query| change_query_of(Engine::Postgres, query, Some(SCHEMA))),
        ..config.clone()
    };
    rights(&mut script, &target, &reading, connector)?;
    Ok(script)
}

fn rights(script: &mut Script, target: &Target, config: &PostgresConfig, connector: &str) -> Result<()> {
    let tables = GrantedTables::of(&config.patterns()?, config.query.as_ref(), SCHEMA);
    match &config.query {
        Some(query) => polled(script, target, query, &tables),
        None => logged(script, target, config, &tables, connector)?,
    }
    Ok(())
}

fn logged(
    script: &mut Script,
    target: &Target,
    config: &PostgresConfig,
    tables: &GrantedTables,
    connector: &str,
) -> Result<()> {
    let names = config.server_names(connector)?;
    script.needed(
        format!(
            "It reads the write-ahead log, through the replication slot {} that it makes itself. On Amazon RDS instead: GRANT rds_replication \
             TO {}.",
            identifier(&names.slot),
            identifier(&target.role)
        ),
        [statement::replication(&target.role)],
    );
    let (why, read) = (
        "It reads the rows that are there: the snapshot, snapshots that are asked for later, `tailrace verify`.",
        reading(target, tables, Kind::Logged),
    );
    if config.snapshot.mode == SnapshotMode::Never {
        let why = "`snapshot.mode` is `never`, so that it need not read the tables; snapshots that are asked for and `tailrace verify` do:";
        script.optional(why, read);
    } else {
        script.needed(why, read);
    }
    script.note(
        "Of a partitioned table each partition is read: one that is named above needs the same GRANT SELECT for each of its partitions, also \
         for those that come later. `tailrace check` names those without.",
    );
    publication(script, config, tables, &names.publication);
    script.optional(
        "Where row-level security hides rows of these tables:",
        [statement::bypass_row_security(&target.role)],
    );
    script.optional(
        "Snapshots that are asked for while it runs wait for transactions that were open at its start; with this it sees which of them only wait \
         for their client:",
        [statement::read_statistics(&target.role)],
    );
    Ok(())
}

/// `USAGE` of the schemas, `SELECT` of the tables.
fn reading(target: &Target, tables: &GrantedTables, kind: Kind) -> Vec<String> {
    let role = &target.role;
    let schemas = tables.schemas().into_iter();
    let mut statements: Vec<String> = schemas
        .map(|schema| statement::on_schemas("USAGE", &identifier(schema), role))
        .collect();
    let named = tables.named.iter();
    statements.extend(named.map(|(schema, table)| statement::on_tables("SELECT", &qualified(schema, table), role)));
    if !tables.patterns.is_empty() {
        statements.push(Matched { tables, kind, role }.grant("SELECT"));
    }
    statements
}

/// Made by the administrator: a role that makes it must own the tables.
fn publication(script: &mut Script, config: &PostgresConfig, tables: &GrantedTables, name: &str) {
    let options = options(config.publication_via_partition_root, false);
    let statement = match tables.patterns.is_empty() {
        true => of_tables(
            name,
            tables
                .named
                .iter()
                .map(|(schema, table)| (schema.as_str(), table.as_str())),
            &options,
        ),
        false => Matched {
            tables,
            kind: Kind::Logged,
            role: "",
        }
        .publish(name, &options),
    };
    let by_itself = match config.create_publication {
        true => {
            " Without it Tailrace makes it, for which the role must own the tables and may CREATE in the database: far more than it needs."
        }
        false => "",
    };
    script.needed(
        format!(
            "What the log says of the tables goes through a publication, which is the administrator's.{by_itself} Later tables: ALTER PUBLICATION {} \
             ADD TABLE …. From PostgreSQL 18 on generated columns are published with `publish_generated_columns = stored` among the options.",
            identifier(name)
        ),
        [statement],
    );
}

fn polled(script: &mut Script, target: &Target, query: &QueryConfig, tables: &GrantedTables) {
    let role = &target.role;
    script.needed(
        "It asks the tables for new rows.",
        reading(target, tables, Kind::Polled),
    );
    for (name, custom) in &query.queries {
        let mut sql = custom.sql.split_whitespace().collect::<Vec<_>>().join(" ");
        sql.retain(|character| !character.is_control());
        script.note(format!(
            "The query `{name}` needs USAGE of the schemas and SELECT on the tables that it reads, which only you can tell: {sql}"
        ));
    }
    sequences(script, target, query, tables);
    queue(script, target, query, tables);
    if let Some(lease) = &query.lease {
        self::lease(script, role, lease);
    }
    if polls_in(query, &[QueryMode::Timestamp, QueryMode::TimestampIncrementing]) {
        script.optional(
            "`query.delay_ms` must be longer than transactions are open. With this `tailrace check` compares them, and the connector tells:",
            [statement::read_statistics(role)],
        );
    }
    script.optional(
        "Where row-level security hides rows of these tables:",
        [statement::bypass_row_security(role)],
    );
}

/// Tables by the numbers of whose rows it is seen what is new.
fn sequences(script: &mut Script, target: &Target, query: &QueryConfig, tables: &GrantedTables) {
    let role = &target.role;
    let tables = &tables.polled_in(query, QueryMode::Incrementing);
    if tables.is_empty() {
        return;
    }
    let kind = Kind::Polled;
    script.needed(
        "It asks the sequences of their ids for the last number: nothing else tells a table whose newest rows were deleted from one that went back.",
        [Matched { tables, kind, role }.grant_sequences()],
    );
}

/// Rows of a queue are deleted or marked when they are durable in the stream.
fn queue(script: &mut Script, target: &Target, query: &QueryConfig, tables: &GrantedTables) {
    let role = &target.role;
    let (right, why) = match mark_column(query) {
        Some(column) => (
            statement::update_of(column),
            "It marks rows that are durable in the stream, in this column alone.",
        ),
        None => ("DELETE".to_owned(), "It deletes rows that are durable in the stream."),
    };
    let tables = &tables.polled_in(query, QueryMode::Queue);
    let named = tables.named.iter();
    let mut statements: Vec<String> = named
        .map(|(schema, table)| statement::on_tables(&right, &qualified(schema, table), role))
        .collect();
    if !tables.patterns.is_empty() {
        let kind = Kind::Polled;
        statements.push(Matched { tables, kind, role }.grant(&right));
    }
    script.needed(why, statements);
}

fn lease(script: &mut Script, role: &str, lease: &LeaseConfig) {
    let (schema, table) = lease.table.split_once('.').unwrap_or((SCHEMA, &lease.table));
    script.needed(
        "It takes turns with other daemons by the table of leases, which `tailrace outbox install --lease` makes.",
        [
            statement::on_schemas("USAGE", &identifier(schema), role),
            statement::on_tables("SELECT, INSERT, UPDATE", &qualified(schema, table), role),
        ],
    );
}
