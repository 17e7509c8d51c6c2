//! The database that is read: loaded once per workload, and read by every reader from the same place in the same log.
//!
//! A reader's place is made before the first row. PostgreSQL keeps it in a slot, which is put back before each round; of a binary
//! log every reader keeps its own place, in its state, in an offset or on its command line, and the server knows none.

use tailrace_tests::servers::{MySqlVersion, Result, ServerError};

use crate::failed;
use crate::processes::{Since, Watch};
use crate::readers::Reader;

pub(crate) mod mysql;
pub(crate) mod postgres;

use mysql::MySqlSource;
use postgres::PostgresSource;

/// A server with one table.
pub(crate) enum Source {
    Postgres(PostgresSource),
    MySql(MySqlSource),
}

/// A database, as workloads are told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Postgres,
    MySql,
    MariaDb,
}

/// A table of which there is a backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Nine columns, about 180 bytes; on PostgreSQL only.
    Employees,
    /// Fourteen columns, about 600 bytes.
    Cart,
}

/// How rows are cut into transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One `INSERT … SELECT`.
    OneTransaction,
    /// So many rows each.
    Transactions(u64),
}

// === impl Engine ===

impl Engine {
    /// The server with the table, which is empty.
    pub(crate) async fn start(self, table: Table) -> Result<Source> {
        match self {
            Engine::Postgres => PostgresSource::with(table).await.map(Source::Postgres),
            Engine::MySql => MySqlSource::start(MySqlVersion::MySql97).await.map(Source::MySql),
            Engine::MariaDb => MySqlSource::start(MySqlVersion::MariaDb1011).await.map(Source::MySql),
        }
    }

    /// Whether a reader can read this database's log. Debezium's connector for MariaDB is another than the one beside ours.
    pub(crate) fn is_for(self, reader: Reader) -> bool {
        match self {
            Engine::Postgres => reader != Reader::RawDump,
            Engine::MySql => !matches!(reader, Reader::Limit | Reader::LimitStreaming),
            Engine::MariaDb => !matches!(reader, Reader::Limit | Reader::LimitStreaming) && !reader.is_debezium(),
        }
    }
}

// === impl Table ===

impl Table {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Employees => "employees",
            Table::Cart => "cart",
        }
    }

    /// Larger rows in smaller numbers: the backlogs are of about the same size.
    pub(crate) fn rows_divisor(self) -> u64 {
        match self {
            Table::Employees => 1,
            Table::Cart => 2,
        }
    }
}

// === impl Shape ===

impl Shape {
    /// Whether a reader has something to show with this shape that it has not shown with the other. Debezium needs a minute
    /// per round; of one transaction it has to see the end before it begins, and once is enough to know how long that takes.
    pub(crate) fn is_for(self, reader: Reader, round: u32) -> bool {
        match self {
            Shape::Transactions(_) => reader != Reader::LimitStreaming,
            Shape::OneTransaction if reader.is_debezium() => round == 1,
            Shape::OneTransaction => reader != Reader::KafkaDebezium,
        }
    }
}

// === impl Source ===

impl Source {
    /// The table as it is called in configurations and, after a prefix, in topics: `public.cart`.
    pub(crate) fn qualified_table(&self) -> String {
        match self {
            Source::Postgres(source) => format!("public.{}", source.table),
            Source::MySql(_) => format!("{}.{}", mysql::DATABASE, Table::Cart.name()),
        }
    }

    /// Different for every server that runs.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Source::Postgres(source) => source.server.port(),
            Source::MySql(source) => source.server.port(),
        }
    }

    /// The lines of a connector's `source`, without its tables.
    pub(crate) fn configuration(&self) -> String {
        match self {
            Source::Postgres(source) => source.configuration(),
            Source::MySql(source) => source.configuration(),
        }
    }

    /// Makes a slot where there is none yet, as readers do that do not make their own, and keeps the place that it is at.
    pub(crate) async fn make_place(&self, slot: &str) -> Result<()> {
        if let Source::Postgres(source) = self {
            source.create_slot(slot).await?;
        }
        self.keep_place_of(slot).await
    }

    /// Keeps the place that a slot is at.
    pub(crate) async fn keep_place_of(&self, slot: &str) -> Result<()> {
        match self {
            Source::Postgres(source) => source.keep_place_of(slot).await,
            Source::MySql(_) => Ok(()),
        }
    }

    /// Takes a slot back to the place that was kept.
    pub(crate) async fn rewind(&self, slot: &str) -> Result<()> {
        match self {
            Source::Postgres(source) => source.rewind(slot).await,
            Source::MySql(_) => Ok(()),
        }
    }

    /// Counts in what the server spends on this reader from now on; MySQL has one process for everything, and nothing else to do.
    pub(crate) async fn follow_server(&self, watching: &Watch, slot: &str, since: Since) -> Result<()> {
        match self {
            Source::Postgres(source) => watching.follow("walsender", source.walsender(slot).await?, since),
            Source::MySql(source) => {
                if let Some(process_id) = source.server.process_id() {
                    watching.follow("mysqld", process_id, Since::Now);
                }
            }
        }
        Ok(())
    }

    /// Inserts rows with the ids `first` to `last`.
    pub(crate) async fn insert(&self, table: Table, first: u64, last: u64, shape: Shape) -> Result<()> {
        match self {
            Source::Postgres(source) => source.insert(table, first, last, shape).await,
            Source::MySql(source) => source.insert(first, last, shape).await,
        }
    }

    /// Puts everything that was written onto the disk, so that no measurement pays for it.
    pub(crate) async fn settle(&self) -> Result<()> {
        if let Source::Postgres(source) = self {
            source.server.execute("checkpoint").await?;
        }
        let synced = std::process::Command::new("sync").status();
        synced.map(drop).map_err(failed("running sync"))
    }

    /// The end of the log as it is now, in the database's own words.
    pub(crate) async fn end_of_log(&self) -> Result<String> {
        match self {
            Source::Postgres(source) => source.end_of_log().await,
            Source::MySql(source) => source
                .server
                .log_end()
                .await
                .map(|(file, offset)| format!("{file}:{offset}")),
        }
    }

    /// For what only PostgreSQL has.
    pub(crate) fn postgres(&self) -> Result<&PostgresSource> {
        match self {
            Source::Postgres(source) => Ok(source),
            Source::MySql(source) => Err(ServerError::new(format!("{:?} is not PostgreSQL", source.server))),
        }
    }
}
