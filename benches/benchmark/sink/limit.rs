//! The same rows by hand: what the server and a socket allow. Everything that can be made ready is ready before the clock starts, and
//! sessions only send it.
//!
//! PostgreSQL: COPY into a temporary table, and one `INSERT … SELECT … ON CONFLICT`. MySQL and MariaDB: `INSERT … ON DUPLICATE KEY UPDATE` of
//! about 96 KB each, which is the fastest size on both (`connectors/mysql/src/sink/merge.rs`). Transactions are as large as the sink's.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::SinkExt;
use mysql_async::prelude::Queryable;
use tailrace_core::task::spawn_named;
use tailrace_tests::servers::{MySqlServer, MySqlVersion, Postgres, Result, ServerError};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::backlog::PassBacklog;
use super::rows::{COLUMNS, Parcel, TABLE};
use super::target::{Target, connect_mysql, connect_postgres};
use crate::failed;

/// As the sink has it by default.
const TRANSACTION_ROWS: usize = 5_000;

/// Of one statement of MySQL.
const STATEMENT_BYTES: usize = 96 << 10;

/// `ER_LOCK_DEADLOCK`: the transaction is sent again, as the sink does.
const DEADLOCK: u16 = 1213;

/// At REPEATABLE READ gaps between keys would be locked too, and sessions would wait for each other.
const READ_COMMITTED: &str = "set session transaction isolation level read committed";

/// How long it took, and how often a transaction was sent again.
pub(super) struct Written {
    pub(super) seconds: f64,
    pub(super) repeated: u64,
}

/// Sessions that are connected and have everything at hand.
pub(super) struct Ready {
    start: Arc<Barrier>,
    sessions: Vec<JoinHandle<Result<u64>>>,
}

impl Ready {
    /// Makes the rows of a pass ready, and connects.
    pub(super) async fn new(target: &Target, backlog: &PassBacklog, sessions: usize) -> Result<Ready> {
        let mut shares: Vec<Vec<Parcel>> = (0..sessions).map(|_| Vec::new()).collect();
        for parcel in backlog.pass.parcels(backlog.totals.rows.unsigned_abs()) {
            let session = parcel.session(sessions);
            if let Some(share) = shares.get_mut(session) {
                share.push(parcel);
            }
        }
        let start = Arc::new(Barrier::new(sessions + 1));
        let mut running = Vec::new();
        for share in shares {
            let start = Arc::clone(&start);
            running.push(match target {
                Target::Postgres(server) => begin_postgres(server, &share, start).await?,
                Target::MySql(server) => begin_mysql(server, &share, start).await?,
            });
        }
        Ok(Ready {
            start,
            sessions: running,
        })
    }

    /// From here to the last commit.
    pub(super) async fn run(self) -> Result<Written> {
        self.start.wait().await;
        let began = Instant::now();
        let mut repeated = 0;
        for session in self.sessions {
            repeated += session.await.map_err(failed("writing by hand"))??;
        }
        Ok(Written {
            seconds: began.elapsed().as_secs_f64(),
            repeated,
        })
    }
}

async fn begin_postgres(server: &Postgres, share: &[Parcel], start: Arc<Barrier>) -> Result<JoinHandle<Result<u64>>> {
    let session = connect_postgres(server).await?;
    let attempt = "preparing to write by hand";
    let staging = format!("create temporary table staging (like {TABLE}) on commit delete rows");
    session.batch_execute(&staging).await.map_err(failed(attempt))?;
    let transactions: Vec<Bytes> = share.chunks(TRANSACTION_ROWS).map(copy_text).collect();
    Ok(spawn_named("writing by hand", async move {
        start.wait().await;
        let merge = merge_statement();
        for lines in transactions {
            merged(&session, lines, &merge)
                .await
                .map_err(failed("writing by hand"))?;
        }
        Ok(0)
    }))
}

async fn merged(session: &Client, lines: Bytes, merge: &str) -> Result<(), tokio_postgres::Error> {
    session.batch_execute("begin").await?;
    let copying = session.copy_in("copy staging from stdin").await?;
    let mut copying = std::pin::pin!(copying);
    copying.send(lines).await?;
    copying.finish().await?;
    session.batch_execute(merge).await
}

fn copy_text(parcels: &[Parcel]) -> Bytes {
    let mut lines = String::new();
    parcels.iter().for_each(|parcel| parcel.write_copy_line(&mut lines));
    lines.into()
}

/// And the commit, so that both are one message.
fn merge_statement() -> String {
    let set = COLUMNS.iter().skip(1).map(|name| format!("{name} = excluded.{name}"));
    format!(
        "insert into {TABLE} select * from staging on conflict (id) do update set {}; commit",
        set.collect::<Vec<_>>().join(", ")
    )
}

async fn begin_mysql(server: &MySqlServer, share: &[Parcel], start: Arc<Barrier>) -> Result<JoinHandle<Result<u64>>> {
    let mut session = connect_mysql(server).await?;
    let attempt = "preparing to write by hand";
    session.query_drop(READ_COMMITTED).await.map_err(failed(attempt))?;
    let end = on_duplicate_key(server.version());
    let transactions: Vec<Vec<String>> = share
        .chunks(TRANSACTION_ROWS)
        .map(|parcels| statements(parcels, &end))
        .collect();
    Ok(spawn_named("writing by hand", async move {
        start.wait().await;
        let mut repeated = 0;
        for transaction in transactions {
            while !upserted(&mut session, &transaction).await? {
                repeated += 1;
            }
        }
        Ok(repeated)
    }))
}

/// Whether it was committed; a deadlock has rolled it back.
async fn upserted(session: &mut mysql_async::Conn, transaction: &[String]) -> Result<bool> {
    let whole = std::iter::once("begin")
        .chain(transaction.iter().map(String::as_str))
        .chain(["commit"]);
    for statement in whole {
        match session.query_drop(statement).await {
            Ok(()) => {}
            Err(mysql_async::Error::Server(refusal)) if refusal.code == DEADLOCK => return Ok(false),
            Err(error) => return Err(ServerError::new(format!("writing by hand: {error}"))),
        }
    }
    Ok(true)
}

fn statements(parcels: &[Parcel], end: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut statement = String::new();
    for parcel in parcels {
        match statement.is_empty() {
            true => statement = format!("insert into {TABLE} values "),
            false => statement.push(','),
        }
        parcel.write_literals(&mut statement);
        if statement.len() >= STATEMENT_BYTES {
            statement.push_str(end);
            statements.push(std::mem::take(&mut statement));
        }
    }
    if !statement.is_empty() {
        statement.push_str(end);
        statements.push(statement);
    }
    statements
}

/// MySQL would have an alias for the new row, and MariaDB knows none.
fn on_duplicate_key(version: MySqlVersion) -> String {
    let others = COLUMNS.iter().skip(1);
    match version {
        MySqlVersion::MySql97 => {
            let set: Vec<String> = others.map(|name| format!("{name} = new.{name}")).collect();
            format!(" as new on duplicate key update {}", set.join(", "))
        }
        MySqlVersion::MySql56 | MySqlVersion::MariaDb1011 => {
            let set: Vec<String> = others.map(|name| format!("{name} = values({name})")).collect();
            format!(" on duplicate key update {}", set.join(", "))
        }
    }
}
