//! The database that W4 writes into.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use tailrace_core::task::spawn_named;
use tailrace_tests::servers::{MySqlServer, MySqlVersion, Postgres, PostgresVersion, Result, ServerError};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::rows::{TOTALS, Totals};
use crate::failed;
use crate::processes::{Since, Watch};
use crate::source::{Engine, mysql, postgres};

/// Thirteen columns, about 200 bytes.
const POSTGRES_TABLE: &str = "
    drop table if exists parcels, tailrace_offsets;
    create table parcels (
        id bigint primary key, customer int not null, depot int not null, pieces int not null, weight_grams int not null,
        status smallint not null, price numeric(12, 2) not null, updated_on timestamptz not null, reference text not null,
        receiver text not null, street text not null, city text not null, note text)";

const MYSQL_TABLE: &str = "
    drop table if exists parcels, tailrace_offsets;
    create table parcels (
        id bigint primary key, customer int not null, depot int not null, pieces int not null, weight_grams int not null,
        status smallint not null, price decimal(12, 2) not null, updated_on timestamp(6) not null, reference varchar(64) not null,
        receiver varchar(100) not null, street varchar(100) not null, city varchar(60) not null, note varchar(200))";

/// A server with the table.
pub(super) enum Target {
    Postgres(Arc<Postgres>),
    MySql(Arc<MySqlServer>),
}

/// A session that asks how far a connector is, the same one all along.
pub(super) enum Gauge {
    Postgres(Client),
    MySql(mysql_async::Conn),
}

// === impl Target ===

impl Target {
    pub(super) async fn start(engine: Engine) -> Result<Target> {
        let version = match engine {
            Engine::Postgres => {
                let server = Postgres::start(postgres::options(PostgresVersion::V18))?;
                return Ok(Target::Postgres(Arc::new(server)));
            }
            Engine::MySql => MySqlVersion::MySql97,
            Engine::MariaDb => MySqlVersion::MariaDb1011,
        };
        let server = MySqlServer::start(mysql::options(version))?;
        let create = format!("create database {}", mysql::DATABASE);
        server.execute(&create).await?;
        Ok(Target::MySql(Arc::new(server)))
    }

    /// An empty table, no offsets, and no log of what was there before.
    pub(super) async fn reset(&self) -> Result<()> {
        match self {
            Target::Postgres(server) => server.execute(POSTGRES_TABLE).await,
            Target::MySql(server) => {
                server.execute_in(mysql::DATABASE, MYSQL_TABLE).await?;
                server.execute("flush binary logs").await?;
                let (file, _) = server.log_end().await?;
                server.execute(&format!("purge binary logs to '{file}'")).await
            }
        }
    }

    /// Puts everything that was written onto the disk, so that no measurement pays for the one before it.
    pub(super) async fn settle(&self) -> Result<()> {
        if let Target::Postgres(server) = self {
            server.execute("checkpoint").await?;
        }
        let synced = std::process::Command::new("sync").status();
        synced.map(drop).map_err(failed("running sync"))
    }

    /// The lines of a connector's `sink`. On this machine it connects through the Unix socket.
    pub(super) fn configuration(&self) -> String {
        match self {
            Target::Postgres(server) => format!("type: postgres, url: \"{}\"", socket_url(server)),
            Target::MySql(server) => format!(
                "type: {}, url: \"mysql://root@/{}?socket={}\"",
                server.version().connector_type(),
                mysql::DATABASE,
                server.socket().display()
            ),
        }
    }

    /// Counts in what the server spends from now on.
    pub(super) fn follow(&self, watch: &Watch) {
        match self {
            Target::Postgres(server) => {
                if let Some(process_id) = server.process_id() {
                    watch.follow_tree("postgres", process_id);
                }
            }
            Target::MySql(server) => {
                if let Some(process_id) = server.process_id() {
                    watch.follow("mysqld", process_id, Since::Now);
                }
            }
        }
    }

    pub(super) async fn gauge(&self) -> Result<Gauge> {
        match self {
            Target::Postgres(server) => connect_postgres(server).await.map(Gauge::Postgres),
            Target::MySql(server) => connect_mysql(server).await.map(Gauge::MySql),
        }
    }

    /// Whether everything that was produced is there.
    pub(super) async fn check(&self, totals: &Totals, writer: &str) -> Result<()> {
        let found = match self {
            Target::Postgres(server) => server.query(TOTALS).await?,
            Target::MySql(server) => server.query_in(mysql::DATABASE, TOTALS).await?,
        };
        let wanted = totals.answer();
        if found.first() == Some(&wanted) {
            return Ok(());
        }
        Err(ServerError::new(format!(
            "{writer} left {found:?} in the target where {wanted:?} is right ({TOTALS})"
        )))
    }

    /// The server's version, and what of a commit is on the disk when it is answered.
    pub(super) async fn durability(&self) -> Result<String> {
        let (query, settings): (&str, &[&str]) = match self {
            Target::Postgres(_) => (
                "select current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'),
                 current_setting('full_page_writes'), current_setting('wal_level')",
                &["fsync", "synchronous_commit", "full_page_writes", "wal_level"],
            ),
            Target::MySql(_) => (
                "select version(), @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog, @@binlog_format, @@innodb_doublewrite",
                &[
                    "innodb_flush_log_at_trx_commit",
                    "log_bin",
                    "sync_binlog",
                    "binlog_format",
                    "innodb_doublewrite",
                ],
            ),
        };
        let rows = match self {
            Target::Postgres(server) => server.query(query).await?,
            Target::MySql(server) => server.query(query).await?,
        };
        let mut values = rows.into_iter().flatten().map(Option::unwrap_or_default);
        let version = values.next().unwrap_or_default();
        let settings = settings.iter().zip(values);
        let settings: Vec<String> = settings.map(|(name, value)| format!("{name} = {value}")).collect();
        let name = match self {
            Target::Postgres(_) => "PostgreSQL",
            Target::MySql(_) if version.contains("MariaDB") => "MariaDB",
            Target::MySql(_) => "MySQL",
        };
        Ok(format!("{name} {version}: {}", settings.join(", ")))
    }
}

// === impl Gauge ===

impl Gauge {
    /// Records of a connector that are written: what the offsets beside the rows add up to. Topics begin at 0, and producers that are
    /// idempotent leave no gaps.
    pub(super) async fn written(&mut self, connector: &str) -> u64 {
        let query = format!("select sum(next_offset) from tailrace_offsets where connector = '{connector}'");
        let sum: Option<String> = match self {
            Gauge::Postgres(client) => client.simple_query(&query).await.ok().and_then(|messages| {
                messages.iter().find_map(|message| match message {
                    SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                })
            }),
            // Until the connector has made it, the table is not there.
            Gauge::MySql(session) => session
                .query_first::<Option<String>, _>(query)
                .await
                .ok()
                .flatten()
                .flatten(),
        };
        sum.and_then(|sum| sum.parse().ok()).unwrap_or(0)
    }
}

/// Through the Unix socket, as the sink does.
pub(super) async fn connect_postgres(server: &Postgres) -> Result<Client> {
    let url = socket_url(server);
    let connected = tokio_postgres::connect(&url, NoTls).await;
    let (client, connection) = connected.map_err(failed(format!("connecting to {url}")))?;
    // It ends with the client, or with the server, of which the client's next statement tells.
    drop(spawn_named("benchmark-postgres-connection", async move {
        drop(connection.await);
    }));
    Ok(client)
}

/// Through the Unix socket, as the sink does.
pub(super) async fn connect_mysql(server: &MySqlServer) -> Result<mysql_async::Conn> {
    let socket = server.socket().display().to_string();
    server
        .connect_with(|options| options.socket(Some(socket)).db_name(Some(mysql::DATABASE)))
        .await
}

fn socket_url(server: &Postgres) -> String {
    let folder = server.socket_dir().display();
    format!("host={folder} port={} user=postgres dbname=postgres", server.port())
}
