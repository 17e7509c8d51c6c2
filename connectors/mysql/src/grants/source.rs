//! The rights of a source: of one that reads the log, and of one that polls.

use std::collections::BTreeSet;

use tailrace_core::Result;
use tailrace_core::grants::Script;
use tailrace_sql::change_table::Engine;
use tailrace_sql::config::LeaseConfig;
use tailrace_sql::grants::{GrantedTables, change_query_of, change_tables_of, mark_column, polls_in};
use tailrace_sql::log_config::SnapshotMode;
use tailrace_sql::{QueryConfig, QueryMode};

use super::{Matched, Target, statement};
use crate::config::MySqlConfig;
use crate::dialect::METADATA_LOCKS;
use crate::discover::Needed;
use crate::server::{Flavour, Version};

/// The first MySQL with a right to see prepared XA transactions: before, everybody sees them.
const XA_RIGHT: Version = Version::new(8, 0, 0);
/// Reading rows, and nothing that changes them.
const READ: &str = "SELECT";

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
    on_tables(
        &mut script,
        &target,
        (&captured, Needed::Log),
        "SELECT, TRIGGER",
        "It sees whether the triggers are in order. The server shows columns to those who may SELECT, and triggers to those who may make them.",
    );
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

/// Rights on each table that is named, and on those that patterns fit: as far as the server can be told in advance what is to be read, and
/// else by queries. Whoever may change rows may change those of single tables.
fn on_tables(
    script: &mut Script,
    target: &Target,
    (tables, needed): (&GrantedTables, Needed),
    privileges: &str,
    why: &str,
) {
    let user = &target.user;
    let named = tables.named.iter();
    let named = named.map(|(schema, table)| statement::on_table(privileges, schema, table, user));
    let mut statements = Vec::from_iter(named);
    let (mut queries, mut narrower) = (Vec::new(), Vec::new());
    for pattern in &tables.patterns {
        let exclude = &tables.exclude;
        let matched = Matched {
            pattern,
            exclude,
            needed,
        };
        match matched.reading(user).filter(|_| privileges == READ) {
            Some(grant) => {
                narrower.push(matched.query(privileges, user));
                if !statements.contains(&grant) {
                    statements.push(grant);
                }
            }
            None => queries.push(matched.query(privileges, user)),
        }
    }
    let by_query = match queries.is_empty() {
        true => "",
        false => {
            " Run what a query answers, too: the grants on the tables that a pattern fits now; and again for each new table."
        }
    };
    statements.append(&mut queries);
    script.needed(format!("{why}{by_query}"), statements);
    script.optional(
        "Where a pattern stands for tables, the grant on its database is wider than it. The grants on the tables that it fits now are what these \
         queries answer; run those instead, and again for each new table:",
        narrower,
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
    on_tables(
        script,
        target,
        (tables, Needed::Log),
        READ,
        "It sees the tables and their columns, and reads the rows that are there: the snapshot, snapshots that are asked for later, `tailrace verify`.",
    );
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
        .map(|schema| statement::on_schema(statement::LOCK, schema, user))
        .collect();
    for pattern in &tables.patterns {
        let (exclude, needed) = (&[][..], Needed::Log);
        let grant = Matched {
            pattern,
            exclude,
            needed,
        }
        .locking(user);
        if !statements.contains(&grant) {
            statements.push(grant);
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

fn polled(script: &mut Script, target: &Target, query: &QueryConfig, tables: &GrantedTables) {
    on_tables(
        script,
        target,
        (tables, Needed::Rows),
        READ,
        "It sees the tables and their columns, and asks them for new rows.",
    );
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
    let queues = tables.polled_in(query, QueryMode::Queue);
    let (right, why) = match mark_column(query) {
        None => ("DELETE".to_owned(), "It deletes rows that are durable in the stream."),
        Some(column) => (
            statement::update_of(column),
            "It marks rows that are durable in the stream, in this column alone.",
        ),
    };
    on_tables(script, target, (&queues, Needed::Rows), &right, why);
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
    let [locks, instruments, consumers] = statement::instruments(user);
    let locks = match flavour {
        Flavour::MySql => statement::since(METADATA_LOCKS, &locks),
        Flavour::MariaDb => locks,
    };
    script.needed(
        "Rows behind a gap in the ids wait for each transaction that may still fill it: it sees who holds a lock of the table.",
        [locks, instruments, consumers],
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
                [statement::since(XA_RIGHT, &statement::everywhere("XA_RECOVER_ADMIN", user))],
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
