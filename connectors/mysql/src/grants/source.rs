//! The rights of a source: of one that reads the log, and of one that polls.

use std::collections::BTreeSet;

use tailrace_core::Result;
use tailrace_core::grants::Script;
use tailrace_sql::change_table::Engine;
use tailrace_sql::config::LeaseConfig;
use tailrace_sql::grants::{GrantedTables, change_query_of, change_tables_of, mark_column, polls_in};
use tailrace_sql::log_config::SnapshotMode;
use tailrace_sql::{QueryConfig, QueryMode};

use super::{Target, statement};
use crate::config::MySqlConfig;
use crate::server::Flavour;

/// The script of a source.
pub(crate) fn of_source(config: &MySqlConfig, flavour: Flavour) -> Result<Script> {
    let target = Target::of(config, flavour)?;
    let mut script = target.begin();
    rights(&mut script, &target, config)?;
    Ok(script)
}

/// The script of a source that reads the change tables of its tables.
pub(crate) fn of_change_tables(config: &MySqlConfig, flavour: Flavour, connector: &str) -> Result<Script> {
    let target = Target::of(config, flavour)?;
    let mut script = target.begin();
    let captured = GrantedTables::of(&config.patterns()?, None, "");
    script.needed(
        "It sees whether the triggers are in order. The server shows columns to those who may SELECT, and triggers to those who may make them.",
        on_tables("SELECT, TRIGGER", &target, &captured),
    );
    exactly(&mut script, "SELECT, TRIGGER", &target, &captured);
    script.note(format!(
        "The change tables and their triggers are an administrator's: now run what `tailrace triggers install FILE {connector} --backfill` prints; \
         the rest of this needs the change tables. Writers of the tables need no right on them."
    ));
    let engine = match flavour {
        Flavour::MySql => Engine::MySql,
        Flavour::MariaDb => Engine::MariaDb,
    };
    let reading = MySqlConfig {
        tables: change_tables_of(engine, &config.tables, None),
        exclude: change_tables_of(engine, &config.exclude, None),
        query: config.query.as_ref().map(|query| change_query_of(engine, query, None)),
        ..config.clone()
    };
    rights(&mut script, &target, &reading)?;
    Ok(script)
}

fn rights(script: &mut Script, target: &Target, config: &MySqlConfig) -> Result<()> {
    let tables = GrantedTables::of(&config.patterns()?, config.query.as_ref(), "");
    match &config.query {
        Some(query) => polled(script, target, query, &tables),
        None => logged(script, target, config, &tables),
    }
    Ok(())
}

/// A right on each table that is named, and on as much as a pattern names.
fn on_tables(privileges: &str, target: &Target, tables: &GrantedTables) -> Vec<String> {
    let user = &target.user;
    let named = tables
        .named
        .iter()
        .map(|(schema, table)| statement::on_table(privileges, schema, table, user));
    let patterns = tables
        .patterns
        .iter()
        .map(|pattern| statement::on_pattern(privileges, pattern, user));
    let mut statements = Vec::new();
    for statement in named.chain(patterns) {
        if !statements.contains(&statement) {
            statements.push(statement);
        }
    }
    statements
}

/// What to run instead where a pattern's rights are wider than it.
fn exactly(script: &mut Script, privileges: &str, target: &Target, tables: &GrantedTables) {
    let queries = tables
        .patterns
        .iter()
        .map(|pattern| statement::on_each_fitting(privileges, pattern, &target.user));
    script.optional(
        "Where a pattern stands for tables, the grant on its database is wider than it. The grants on the tables that it fits now are what these \
         queries answer; run those instead, and again for each new table:",
        queries,
    );
}

fn logged(script: &mut Script, target: &Target, config: &MySqlConfig, tables: &GrantedTables) {
    let (user, flavour) = (&target.user, target.flavour);
    script.needed(
        "It reads the binary log as a replica does.",
        [statement::everywhere("REPLICATION SLAVE", user)],
    );
    script.needed(
        "It asks which files the log has and where it ends.",
        [statement::everywhere(statement::monitor(flavour), user)],
    );
    if flavour == Flavour::MariaDb {
        script.needed(
            "It asks whether the server is a replica itself, whose log may lack what it replicates. Before MariaDB 10.5.9 the right above is enough.",
            [statement::everywhere(statement::replica_monitor(flavour), user)],
        );
    }
    script.needed(
        "It sees the tables and their columns, and reads the rows that are there: the snapshot, snapshots that are asked for later, `tailrace verify`.",
        on_tables("SELECT", target, tables),
    );
    exactly(script, "SELECT", target, tables);
    locking(script, target, config, tables);
    if flavour == Flavour::MySql && config.snapshot.mode != SnapshotMode::Never {
        script.optional(
            "Where the application uses XA transactions, it waits with the snapshot until none is prepared (MySQL 8.0 and later):",
            [statement::everywhere("XA_RECOVER_ADMIN", user)],
        );
    }
}

/// There is no such right on a single table; it holds for tables that the user may SELECT from.
fn locking(script: &mut Script, target: &Target, config: &MySqlConfig, tables: &GrantedTables) {
    let user = &target.user;
    let schemas: BTreeSet<&str> = tables.schemas();
    let mut statements: Vec<String> = schemas
        .iter()
        .map(|schema| statement::on_schema("LOCK TABLES", schema, user))
        .collect();
    for pattern in on_patterns("LOCK TABLES", target, tables) {
        if !statements.contains(&pattern) {
            statements.push(pattern);
        }
    }
    let is_read = config.snapshot.mode != SnapshotMode::Never;
    match (target.flavour, is_read) {
        (Flavour::MySql, true) => script.needed(
            "The snapshot begins under a read lock of the tables that it reads, for a moment: the only way without GTIDs or before MySQL 5.7, and the \
             sure one on a busy server. It cannot be granted on a table; it holds for those that the user may SELECT from.",
            statements,
        ),
        (Flavour::MySql, false) => script.optional(
            "Snapshots that are asked for later begin under a read lock where the server has no GTIDs, or is older than MySQL 5.7:",
            statements,
        ),
        (Flavour::MariaDb, _) => script.optional(
            "The snapshot begins without a lock. Where no moment without commits comes, one connection alone reads; with a read lock for a moment all \
             of `snapshot.connections` do:",
            statements,
        ),
    }
}

fn on_patterns(privileges: &str, target: &Target, tables: &GrantedTables) -> Vec<String> {
    let patterns = tables.patterns.iter();
    patterns
        .map(|pattern| statement::on_pattern(privileges, pattern, &target.user))
        .collect()
}

fn polled(script: &mut Script, target: &Target, query: &QueryConfig, tables: &GrantedTables) {
    script.needed(
        "It sees the tables and their columns, and asks them for new rows.",
        on_tables("SELECT", target, tables),
    );
    exactly(script, "SELECT", target, tables);
    for (name, custom) in &query.queries {
        let mut sql = custom.sql.split_whitespace().collect::<Vec<_>>().join(" ");
        sql.retain(|character| !character.is_control());
        script.note(format!(
            "The query `{name}` needs SELECT on the tables that it reads, which only you can tell: {sql}"
        ));
    }
    queue(script, target, query, tables);
    if let Some(lease) = &query.lease {
        self::lease(script, target, lease);
    }
    if polls_in(query, &[QueryMode::Incrementing]) {
        writers(script, target);
    } else if polls_in(query, &[QueryMode::Timestamp, QueryMode::TimestampIncrementing]) {
        script.optional(
            "`query.delay_ms` must be longer than transactions are open. With this `tailrace check` and the connector see how long those of others \
             are:",
            [statement::everywhere("PROCESS", &target.user)],
        );
    }
}

/// Rows of a queue are deleted or marked when they are durable in the stream.
fn queue(script: &mut Script, target: &Target, query: &QueryConfig, tables: &GrantedTables) {
    let named = tables.named.iter();
    let queues = GrantedTables {
        named: named
            .filter(|(schema, table)| query.mode_of(&format!("{schema}.{table}")) == QueryMode::Queue)
            .cloned()
            .collect(),
        patterns: match query.mode {
            QueryMode::Queue => tables.patterns.clone(),
            _ => Vec::new(),
        },
        exclude: tables.exclude.clone(),
    };
    match mark_column(query) {
        None => script.needed(
            "It deletes rows that are durable in the stream.",
            on_tables("DELETE", target, &queues),
        ),
        Some(column) => {
            let right = statement::update_of(column);
            let user = &target.user;
            let named = queues.named.iter();
            script.needed(
                "It marks rows that are durable in the stream, in this column alone.",
                named.map(|(schema, table)| statement::on_table(&right, schema, table, user)),
            );
            // Columns can only be named of a table.
            script.needed(
                "It marks rows that are durable in the stream.",
                on_patterns("UPDATE", target, &queues),
            );
        }
    }
}

fn lease(script: &mut Script, target: &Target, lease: &LeaseConfig) {
    let (schema, table) = lease.table.split_once('.').unwrap_or(("", &lease.table));
    script.needed(
        "It takes turns with other daemons by the table of leases, which `tailrace outbox install --lease` makes.",
        [statement::on_table(
            "SELECT, INSERT, UPDATE",
            schema,
            table,
            &target.user,
        )],
    );
}

/// Mode `incrementing` waits for transactions that may still fill a gap between ids.
fn writers(script: &mut Script, target: &Target) {
    let (user, flavour) = (&target.user, target.flavour);
    script.needed(
        "Rows behind a gap in the ids wait for each transaction that may still fill it: it sees who holds a lock of the table.",
        statement::instruments(user),
    );
    script.needed(
        "It asks whether the server is a replica, where rows come in the order in which they committed elsewhere.",
        [statement::everywhere(statement::replica_monitor(flavour), user)],
    );
    let process = [statement::everywhere("PROCESS", user)];
    match flavour {
        Flavour::MySql => {
            script.needed(
                "It waits for prepared XA transactions too. MySQL 5.7 has no such right, and shows them to everybody.",
                [statement::everywhere("XA_RECOVER_ADMIN", user)],
            );
            script.optional(
                "Before MySQL 8.0 locks need not be instrumented from the server's start on, and it waits for transactions that are older than that:",
                process,
            );
        }
        Flavour::MariaDb => script.needed(
            "Locks need not be instrumented from the server's start on: it waits for transactions that are older than that.",
            process,
        ),
    }
}
