//! The table of offsets: where each partition is, and whose it is.
//!
//! Whoever takes a partition counts up its epoch. A row that is locked by somebody who hangs within a transaction (a process that was
//! stopped, a machine that is gone) cannot be counted up; the row says which session of which server has it, and that session is ended.

use std::collections::BTreeSet;

use mysql_async::Error as ClientError;
use mysql_async::prelude::Queryable;
use serde::{Deserialize, Serialize};
use tailrace_core::ports::sink::Taken;
use tailrace_core::record_batch::{RecordMark, TopicPartition};
use tailrace_core::{Error, Result};
use tailrace_sql::sink::config::OFFSETS;
use tailrace_sql::sink::session::TakenPartition;
use tailrace_sql::sink::work::Work;

use super::error::{LOCK_TIMEOUT, TABLE_MISSING, target_error};
use super::session::{MySqlSession, ROW_LOCK_S};
use crate::connect::Texts;
use crate::error::server_error_number;
use crate::quote::{identifier, literal};

/// The statement that makes the table, as it is checked in.
const MIGRATION: &str = include_str!("migrations/0001_offsets.sql");

/// What is read of a partition.
const COLUMNS: &str = "SELECT topic, topic_partition, next_offset, last_record, epoch";

/// A transaction of ours takes a fraction of this; whoever holds a lock for longer is looked for.
const TAKE_LOCK_S: u64 = 2;
/// A server's start is counted from its uptime, in whole seconds, on two different occasions.
const START_DIFFERENCE_S: i64 = 2;
/// `ER_NO_SUCH_THREAD`
const NO_SUCH_SESSION: u16 = 1094;

/// Which session has a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    /// `server_uuid`; MariaDB has none, and is told by its host, port and data folder.
    server: String,
    /// When the server was started, seconds since 1970. Numbers of sessions begin anew then.
    server_started_s: i64,
    /// The session's number.
    session: u64,
    /// Its user.
    user: String,
}

/// A name of the configuration, `offsets` or `schema.offsets`, as it stands in statements.
pub(super) fn quoted(name: &str) -> String {
    match name.split_once('.') {
        Some((schema, table)) => format!("{}.{}", identifier(schema), identifier(table)),
        None => identifier(name),
    }
}

/// The statement that makes the table.
pub(crate) fn create_statement(table: &str) -> String {
    let statement = MIGRATION.replace(&identifier(OFFSETS), table);
    statement.trim_end().trim_end_matches(';').to_owned()
}

/// Begins the transaction with the rows of offsets: whoever was before us is fenced, and others wait.
pub(super) fn begin_statement(table: &str, connector: &str, work: &Work<'_>) -> String {
    let mut statement = "START TRANSACTION".to_owned();
    for offset in work.offsets {
        let mark = offset.last_record.map(|mark| mark.0.cast_signed().to_string());
        // Nothing is `<= NULL`: a partition of which something is written does not go back to none.
        let next = offset
            .next_offset
            .map_or_else(|| "NULL".to_owned(), |next| next.to_string());
        statement.push_str(&format!(
            "; UPDATE {table} SET next_offset = {next}, last_record = {}, updated_at = UTC_TIMESTAMP(6) WHERE {} AND epoch = {}",
            mark.as_deref().unwrap_or("NULL"),
            condition(connector, &offset.partition),
            offset.epoch
        ));
        if !work.can_go_back {
            statement.push_str(&format!(" AND (next_offset IS NULL OR next_offset <= {next})"));
        }
    }
    statement
}

fn condition(connector: &str, partition: &TopicPartition) -> String {
    format!(
        "connector = {} AND topic = {} AND topic_partition = {}",
        literal(connector),
        literal(&partition.topic),
        partition.partition
    )
}

fn conditions(connector: &str, partitions: &[TopicPartition]) -> String {
    let each = partitions
        .iter()
        .map(|partition| format!("({})", condition(connector, partition)));
    Vec::from_iter(each).join(" OR ")
}

// === impl Owner ===

impl Owner {
    /// This session, by what the server says of it.
    pub(super) fn of(server: &str, server_started_s: i64, session: u64, user: &str) -> Self {
        Self {
            server: server.to_owned(),
            server_started_s,
            session,
            user: user.to_owned(),
        }
    }

    /// Another session of the same user and of the same run of the same server.
    fn is_beside(&self, other: &Self) -> bool {
        self.server == other.server
            && self.server_started_s.abs_diff(other.server_started_s) <= START_DIFFERENCE_S.unsigned_abs()
            && self.user == other.user
            && self.session != other.session
    }
}

// === impl MySqlSession ===

impl MySqlSession {
    /// Takes partitions over, and ends sessions of ours that keep them locked.
    pub(super) async fn take_over(&mut self, partitions: &[TopicPartition]) -> Result<Vec<TakenPartition>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        check_names(partitions)?;
        let doing = format!("take partitions over in {}", self.offsets);
        let mut wait_s = TAKE_LOCK_S;
        loop {
            match self.try_to_take(partitions, wait_s).await {
                Ok(taken) => return Ok(taken),
                Err(error) => {
                    self.roll_back().await;
                    match server_error_number(&error) {
                        Some(TABLE_MISSING) => self.create_offsets().await?,
                        Some(LOCK_TIMEOUT) if wait_s == TAKE_LOCK_S => {
                            self.end_others(partitions).await?;
                            wait_s = ROW_LOCK_S;
                        }
                        _ => return Err(target_error(&error, &doing)),
                    }
                }
            }
        }
    }

    async fn try_to_take(
        &mut self,
        partitions: &[TopicPartition],
        wait_s: u64,
    ) -> Result<Vec<TakenPartition>, ClientError> {
        let (table, connector) = (self.offsets.clone(), self.connector.clone());
        let owner = literal(&self.owner_text());
        let here = conditions(&connector, partitions);
        let rows = partitions.iter().map(|partition| {
            format!(
                "({}, {}, {}, 0, {owner}, UTC_TIMESTAMP(6))",
                literal(&connector),
                literal(&partition.topic),
                partition.partition
            )
        });
        let rows = Vec::from_iter(rows).join(", ");
        let statements = [
            format!("SET innodb_lock_wait_timeout = {wait_s}"),
            "START TRANSACTION".to_owned(),
            format!(
                "INSERT INTO {table} (connector, topic, topic_partition, epoch, owner, updated_at) VALUES {rows} \
                 ON DUPLICATE KEY UPDATE epoch = epoch"
            ),
            format!(
                "UPDATE {table} SET epoch = epoch + 1, owner = {owner}, updated_at = UTC_TIMESTAMP(6) WHERE {here}"
            ),
        ];
        for statement in &statements {
            self.connection.query_drop(statement).await?;
        }
        let rows: Vec<Texts> = self
            .connection
            .query(format!("{COLUMNS} FROM {table} WHERE {here}"))
            .await?;
        self.connection.query_drop("COMMIT").await?;
        let reset = format!("SET innodb_lock_wait_timeout = {ROW_LOCK_S}");
        self.connection.query_drop(reset).await?;
        Ok(rows.iter().filter_map(taken).collect())
    }

    /// Where the partitions of the connector are.
    pub(super) async fn written(&mut self) -> Result<Vec<TakenPartition>> {
        let query = format!(
            "{COLUMNS} FROM {} WHERE connector = {}",
            self.offsets,
            literal(&self.connector)
        );
        let rows: Result<Vec<Texts>, _> = self.connection.query(query).await;
        match rows {
            Ok(rows) => Ok(rows.iter().filter_map(taken).collect()),
            Err(error) if server_error_number(&error) == Some(TABLE_MISSING) => Ok(Vec::new()),
            Err(error) => Err(target_error(&error, "read the offsets")),
        }
    }

    /// Makes the table, where that is allowed.
    async fn create_offsets(&mut self) -> Result<()> {
        let statement = create_statement(&self.offsets);
        let created = self.connection.query_drop(&statement).await;
        created.map_err(|error| {
            let classified = target_error(&error, &format!("create the table {}", self.offsets));
            let message = format!("{}; run it as another user: {statement}", classified.report());
            match classified.kind() {
                tailrace_core::error::Kind::Transient => classified,
                _ => Error::definite("offsets_table_missing", message),
            }
        })
    }

    /// Ends sessions that have these partitions, where they are certain to be ours: the same server since its last start, the same user, and
    /// a session of that number that is this user's now.
    async fn end_others(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        const DOING: &str = "look for the session that has a partition";
        let here = conditions(&self.connector, partitions);
        let query = format!("SELECT owner FROM {} WHERE {here}", self.offsets);
        let rows: Vec<Texts> = self.asked(&query, DOING).await?;
        let owners = rows
            .iter()
            .filter_map(|row| serde_json::from_str::<Owner>(row.text(0)?).ok());
        let sessions: BTreeSet<u64> = owners
            .filter(|owner| owner.is_beside(&self.owner))
            .map(|owner| owner.session)
            .collect();
        for session in sessions {
            let user = literal(&self.owner.user);
            let query = format!("SELECT ID FROM information_schema.PROCESSLIST WHERE ID = {session} AND USER = {user}");
            if self.asked(&query, DOING).await?.is_empty() {
                continue;
            }
            tracing::warn!(session, "a session of ours that kept a partition locked is ended");
            let killed = self.connection.query_drop(format!("KILL {session}")).await;
            if let Err(error) = killed
                && server_error_number(&error) != Some(NO_SUCH_SESSION)
            {
                return Err(target_error(&error, "end the session that has a partition"));
            }
        }
        Ok(())
    }

    async fn asked(&mut self, query: &str, doing: &str) -> Result<Vec<Texts>> {
        let rows = self.connection.query(query).await;
        rows.map_err(|error| target_error(&error, doing))
    }

    fn owner_text(&self) -> String {
        serde_json::to_string(&self.owner).unwrap_or_default()
    }
}

/// Names of Kafka's topics are of few characters; the embedded stream keeps to them.
fn check_names(partitions: &[TopicPartition]) -> Result<()> {
    match partitions.iter().find(|partition| !partition.topic.is_ascii()) {
        None => Ok(()),
        Some(partition) => Err(Error::definite(
            "topic_name",
            format!(
                "the topic {} has letters that the table of offsets cannot hold; rename the topic",
                partition.topic
            ),
        )),
    }
}

fn taken(row: &Texts) -> Option<TakenPartition> {
    let number = |column: usize| -> Option<i64> { row.text(column)?.parse().ok() };
    let partition = i32::try_from(number(1)?).ok()?;
    Some(TakenPartition {
        taken: Taken {
            partition: TopicPartition::new(row.text(0)?, partition),
            next_offset: number(2),
            last_record: number(3).map(|mark| RecordMark(mark.cast_unsigned())),
        },
        epoch: number(4)?,
    })
}

#[cfg(test)]
mod tests {
    use tailrace_sql::sink::work::Offset;

    use super::*;

    #[test]
    fn the_table_can_have_another_name() {
        let statement = create_statement(&quoted("sync.off`sets"));
        assert!(
            statement.contains("CREATE TABLE IF NOT EXISTS `sync`.`off``sets` ("),
            "{statement}"
        );
        assert!(!statement.contains(';') || statement.contains("COMMENT"), "{statement}");
        assert!(!statement.trim_end().ends_with(';'));
    }

    #[test]
    fn offsets_are_fenced_by_their_epoch() {
        let offset = Offset {
            partition: TopicPartition::new("shop.it's", 3),
            next_offset: Some(42),
            last_record: Some(RecordMark(u64::MAX)),
            epoch: 7,
        };
        let statement = |can_go_back| {
            let work = Work {
                offsets: std::slice::from_ref(&offset),
                can_go_back,
                steps: Vec::new(),
            };
            begin_statement("`t`", "mirror", &work)
        };
        let expected = "START TRANSACTION; UPDATE `t` SET next_offset = 42, last_record = -1, updated_at = UTC_TIMESTAMP(6) \
             WHERE connector = 'mirror' AND topic = 'shop.it''s' AND topic_partition = 3 AND epoch = 7";
        assert_eq!(statement(true), expected);
        assert_eq!(
            statement(false),
            format!("{expected} AND (next_offset IS NULL OR next_offset <= 42)")
        );
    }

    #[test]
    fn only_a_session_of_this_run_of_this_server_is_beside_us() {
        let ours = Owner::of("uuid", 1_000, 5, "tailrace");
        assert!(Owner::of("uuid", 1_001, 6, "tailrace").is_beside(&ours));
        for other in [
            Owner::of("uuid", 1_000, 5, "tailrace"),
            Owner::of("other", 1_000, 6, "tailrace"),
            Owner::of("uuid", 1_003, 6, "tailrace"),
            Owner::of("uuid", 1_000, 6, "app"),
        ] {
            assert!(!other.is_beside(&ours), "{other:?}");
        }
    }
}
