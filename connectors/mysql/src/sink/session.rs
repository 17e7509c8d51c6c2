//! One connection to the server that is written to.

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use tailrace_core::ports::sink::SinkContext;
use tailrace_core::record_batch::TopicPartition;
use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result, failpoint};
use tailrace_sql::sink::alters_table;
use tailrace_sql::sink::config::{ForeignKeys, WriteConfig};
use tailrace_sql::sink::error::of_target;
use tailrace_sql::sink::session::{Definitions, Session, TakenPartition};
use tailrace_sql::sink::target::TargetTable;
use tailrace_sql::sink::work::Work;

use super::config::MySqlSinkConfig;
use super::definitions::MySqlDefinitions;
use super::error::{commit_error, target_error};
use super::offsets::{self, Owner};
use crate::connect::{self, Texts};
use crate::endpoint::Endpoint;
use crate::error::server_error_number;
use crate::server::{Flavour, Identity, Version};

/// How long a row is waited for that somebody else has locked. Shorter than the server's 50 s: the batch is tried again anyway, and its
/// other locks are let go in between.
pub(super) const ROW_LOCK_S: u64 = 10;
/// How long a table is waited for that somebody alters or reads with an old transaction. Everybody else waits behind us meanwhile.
const TABLE_LOCK_S: u64 = 10;
/// A week: a topic may be silent for long.
const IDLE_S: u64 = 604_800;
/// Of a transaction that has written and hangs, because its process does; the longest of ours take seconds. MariaDB alone ends such.
const IDLE_TRANSACTION_S: u64 = 60;
/// Rows can be named in assignments by the alias of the new row instead of `VALUES`, which will go away.
const ROW_ALIAS: Version = Version::new(8, 0, 20);
/// The memory for ranges can be unlimited; with less than it needs, a long list of keys is looked for in the whole table, and locks it.
const RANGE_MEMORY: Version = Version::new(5, 7, 9);
/// A statement of this size with some hundred rows is written fastest: see [`super::merge`]; the server's limit may be lower.
const PACKET_MINIMUM: usize = 1_024;
/// Table or index is there already.
const TABLE_THERE: [u16; 2] = [1050, 1061];
/// The same of a column.
const COLUMN_THERE: u16 = 1060;

/// What is on, besides [`SQL_MODE`]: nothing.
///
/// Strict for every engine, so that nothing is cut or changed to fit; an id of 0 is written as 0; a date that no calendar has is taken where it
/// comes as text, because the source has it.
const SQL_MODE: &str =
    "STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,ALLOW_INVALID_DATES";

/// A session.
pub(super) struct MySqlSession {
    pub(super) connection: Conn,
    pub(super) flavour: Flavour,
    /// New rows have an alias in `ON DUPLICATE KEY UPDATE`.
    pub(super) row_alias: bool,
    /// The largest statement that the server takes, bytes.
    pub(super) packet_bytes: usize,
    /// The database that tables without one are in.
    pub(super) database: String,
    /// The table of offsets, quoted.
    pub(super) offsets: String,
    /// Name of the connector whose offsets are kept.
    pub(super) connector: String,
    pub(super) owner: Owner,
    definitions: &'static MySqlDefinitions,
}

/// Connects, and sets everything that a server's global settings could make of our statements.
pub(super) async fn connect_for(
    config: &MySqlSinkConfig,
    flavour: Flavour,
    write: &WriteConfig,
) -> Result<(Conn, Identity, String)> {
    let endpoint = Endpoint::resolve(config)?;
    // Rows that were there and had the values already are counted too: what is counted is whether a row is there.
    let options = connect::options(&endpoint)?
        .client_found_rows(true)
        .db_name(endpoint.database.clone());
    let options: Opts = options.into();
    let (mut connection, identity) = connect::reach(&endpoint, options).await.map_err(of_target)?;
    identity.verify_flavour(flavour)?;
    identity.verify_version()?;
    for statement in settings(&identity, write.foreign_keys) {
        let set = connection.query_drop(&statement).await;
        set.map_err(|error| target_error(&error, "prepare the connection"))?;
    }
    Ok((connection, identity, endpoint.database.unwrap_or_default()))
}

/// READ COMMITTED, because at REPEATABLE READ the gaps between keys are locked as well, and writers that add rows beside each other
/// would run into deadlocks. Nothing here reads the same rows twice and relies on them, but for rows that it has locked.
fn settings(identity: &Identity, foreign_keys: ForeignKeys) -> Vec<String> {
    let checks = match foreign_keys {
        ForeignKeys::Check => 1,
        ForeignKeys::Ignore => 0,
    };
    let mut settings = vec![
        format!("sql_mode = '{SQL_MODE}'"),
        "time_zone = '+00:00'".to_owned(),
        "autocommit = 1".to_owned(),
        "sql_safe_updates = 0".to_owned(),
        "sql_select_limit = 18446744073709551615".to_owned(),
        "unique_checks = 1".to_owned(),
        "default_storage_engine = InnoDB".to_owned(),
        format!("foreign_key_checks = {checks}"),
        format!("wait_timeout = {IDLE_S}"),
        format!("lock_wait_timeout = {TABLE_LOCK_S}"),
        format!("innodb_lock_wait_timeout = {ROW_LOCK_S}"),
    ];
    if identity.flavour == Flavour::MariaDb {
        settings.push("max_statement_time = 0".to_owned());
        settings.push(format!("idle_write_transaction_timeout = {IDLE_TRANSACTION_S}"));
    }
    if identity.at_least(Some(RANGE_MEMORY), None) {
        settings.push("range_optimizer_max_mem_size = 0".to_owned());
    }
    vec![
        "SET NAMES utf8mb4".to_owned(),
        format!("SET {}", settings.join(", ")),
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE".to_owned(),
    ]
}

// === impl MySqlSession ===

impl MySqlSession {
    /// Connects.
    pub(super) async fn open(
        config: &MySqlSinkConfig,
        flavour: Flavour,
        write: &WriteConfig,
        context: &SinkContext,
    ) -> Result<Self> {
        let (mut connection, identity, database) = connect_for(config, flavour, write).await?;
        let about = about_session(&mut connection, flavour).await?;
        Ok(Self {
            connection,
            flavour,
            row_alias: identity.at_least(Some(ROW_ALIAS), None),
            packet_bytes: about.packet_bytes,
            database,
            offsets: offsets::quoted(write.offsets_name()),
            connector: context.connector.clone(),
            owner: about.owner,
            definitions: MySqlDefinitions::of(&identity),
        })
    }

    /// Undoes what was not committed. Where that fails, the connection is gone, and the server undoes it.
    pub(super) async fn roll_back(&mut self) {
        if let Err(error) = self.connection.query_drop("ROLLBACK").await {
            tracing::debug!(%error, "the transaction was not rolled back by us");
        }
    }

    async fn transaction(&mut self, work: &Work<'_>) -> Result<()> {
        let begin = offsets::begin_statement(&self.offsets, &self.connector, work);
        let matched = self.run(&begin).await;
        let matched = matched.map_err(|failed| target_error(&failed.error, "advance the offsets"))?;
        let rows = matched.iter().skip(1);
        if let Some((offset, _)) = work.offsets.iter().zip(rows).find(|(_, matched)| **matched != 1) {
            let message = format!(
                "another session has taken {} in {}; this one stops writing it",
                offset.partition, self.offsets
            );
            return Err(Error::fenced("partition_taken", message));
        }
        failpoint!(try InSinkTransaction);
        for step in &work.steps {
            self.write_step(step).await?;
        }
        failpoint!(try BeforeSinkCommit);
        let committed = self.connection.query_drop("COMMIT").await;
        committed.map_err(|error| commit_error(&error))?;
        failpoint!(try AfterSinkCommit);
        Ok(())
    }
}

#[async_trait]
impl Session for MySqlSession {
    fn definitions(&self) -> &'static dyn Definitions {
        self.definitions
    }

    async fn describe(&mut self, table: &TableName) -> Result<Option<TargetTable>> {
        let schema = match table.schema.is_empty() {
            true => self.database.clone(),
            false => table.schema.clone(),
        };
        super::describe::describe(&mut self.connection, self.flavour, &schema, &table.table)
            .await
            .map_err(of_target)
    }

    async fn define(&mut self, statement: &str) -> Result<()> {
        match self.connection.query_drop(statement).await {
            Ok(()) => Ok(()),
            Err(error) if server_error_number(&error).is_some_and(|number| is_there_already(number, statement)) => {
                Ok(())
            }
            Err(error) => Err(target_error(&error, &format!("run `{statement}`"))),
        }
    }

    async fn take(&mut self, partitions: &[TopicPartition]) -> Result<Vec<TakenPartition>> {
        self.take_over(partitions).await
    }

    async fn offsets(&mut self) -> Result<Vec<TakenPartition>> {
        self.written().await
    }

    async fn write(&mut self, work: &Work<'_>) -> Result<()> {
        let written = self.transaction(work).await;
        if written.is_err() {
            self.roll_back().await;
        }
        written
    }
}

fn is_there_already(number: u16, statement: &str) -> bool {
    TABLE_THERE.contains(&number) || (number == COLUMN_THERE && alters_table(statement))
}

/// What the server says of a new session.
struct AboutSession {
    owner: Owner,
    packet_bytes: usize,
}

async fn about_session(connection: &mut Conn, flavour: Flavour) -> Result<AboutSession> {
    const DOING: &str = "look at the session";
    let server = match flavour {
        Flavour::MySql => "@@GLOBAL.server_uuid",
        Flavour::MariaDb => "CONCAT(@@GLOBAL.hostname, ':', @@GLOBAL.port, ' ', @@GLOBAL.datadir)",
    };
    let query = format!(
        "SELECT {server}, CONNECTION_ID(), SUBSTRING_INDEX(USER(), '@', 1), @@SESSION.max_allowed_packet, UNIX_TIMESTAMP()"
    );
    let asked: Result<Vec<Texts>, _> = connection.query(query).await;
    let rows = asked.map_err(|error| target_error(&error, DOING))?;
    let uptime: Result<Vec<Texts>, _> = connection.query("SHOW GLOBAL STATUS LIKE 'Uptime'").await;
    let uptime = uptime.map_err(|error| target_error(&error, DOING))?;
    let text = |column: usize| rows.first().and_then(|row| row.text(column)).unwrap_or_default();
    let number = |text: &str| text.parse::<i64>().unwrap_or_default();
    let uptime_s = number(uptime.first().and_then(|row| row.text(1)).unwrap_or_default());
    let session = text(1).parse().unwrap_or_default();
    Ok(AboutSession {
        owner: Owner::of(text(0), number(text(4)) - uptime_s, session, text(2)),
        packet_bytes: text(3).parse().unwrap_or(PACKET_MINIMUM).max(PACKET_MINIMUM),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_of_the_dialect() {
        let of = |version: &str, keys| settings(&Identity::parse(version).unwrap(), keys).join("; ");
        let old = of("5.6.24", ForeignKeys::Check);
        assert!(
            old.contains("STRICT_ALL_TABLES") && old.contains("foreign_key_checks = 1"),
            "{old}"
        );
        assert!(
            !old.contains("range_optimizer") && !old.contains("max_statement_time"),
            "{old}"
        );
        assert!(of("9.7.4", ForeignKeys::Ignore).contains("foreign_key_checks = 0"));
        assert!(of("10.11.6-MariaDB", ForeignKeys::Check).contains("idle_write_transaction_timeout = 60"));
    }
}
