//! PostgreSQL, where the place that a reader begins at is its slot.
//!
//! ```text
//!   publication, table
//!   each reader's slot ──▶ kept as origin_<slot>      all made before the first row, and never read
//!   load
//!   each round: origin_<slot> ──copy──▶ <slot>        so that every round begins where the load began
//! ```

use std::sync::Arc;
use std::time::Duration;

use tailrace_tests::servers::{Postgres, PostgresOptions, PostgresVersion, Result, eventually};

use super::{Shape, Table};
use crate::failed;

/// The publication of every reader.
pub(crate) const PUBLICATION: &str = "benchmark";

/// The table of W1: nine columns, about 180 bytes, and text that differs from row to row, because equal rows flatter
/// compression.
const EMPLOYEES: &str = "
    create table employees (
        id int primary key, first_name text not null, last_name text not null, email text not null,
        salary numeric(10, 2) not null, hired_on date not null, is_active boolean not null,
        department int not null, modified_on timestamptz not null);
    create publication benchmark for table employees";

/// One row of it, for the number `i`.
const EMPLOYEE: &str = "
    i, 'first' || md5(i::text), 'last' || i, md5(i::text || 'e') || '@example.org', (i % 100000) * 1.37,
    date '2020-01-01' + (i % 3000)::int, i % 2 = 0, i % 40, clock_timestamp()";

/// The table of W2: fourteen columns, about 600 bytes.
const CART: &str = "
    create table cart (
        id bigint primary key, customer int not null, visit text not null, status text not null, currency char(3) not null,
        total numeric(12, 2) not null, discount numeric(8, 4), items int not null, is_gift boolean not null, added_on date not null,
        address text not null, note text, contents text not null, modified_on timestamptz(3) not null);
    create publication benchmark for table cart";

/// One row of it, for the number `i`.
const CART_ROW: &str = "
    i, i % 100000, gen_random_uuid(), (array['open', 'paid', 'sent', 'returned'])[1 + i % 4], 'EUR', (i % 100000) * 1.37,
    case when i % 3 <> 0 then (i % 100) / 8.0 end, i % 40, i % 2 = 0, date '2020-01-01' + (i % 3000)::int,
    md5(i::text) || ' Street ' || i || ', ' || md5((i * 7)::text), case when i % 3 <> 0 then 'note ' || i end,
    encode(sha512((i || 'a')::bytea) || sha512((i || 'b')::bytea) || sha512((i || 'c')::bytea), 'hex'), clock_timestamp()";

/// A slot is free a moment after its reader has gone.
const SLOT_DEADLINE: Duration = Duration::from_secs(60);

/// As every server of the benchmark is started.
pub(crate) fn options(version: PostgresVersion) -> PostgresOptions {
    PostgresOptions::version(version)
        .setting("shared_buffers = 1GB")
        .setting("max_wal_size = 32GB")
        .setting("checkpoint_timeout = 1h")
        .setting("max_replication_slots = 100")
        // It would begin to look at the new rows at a time of its own choice.
        .setting("autovacuum = off")
}

/// A server with one table.
pub(crate) struct PostgresSource {
    pub(crate) server: Arc<Postgres>,
    /// The table's name, in the schema `public`.
    pub(crate) table: &'static str,
}

// === impl PostgresSource ===

impl PostgresSource {
    /// A server with this table, which is empty.
    pub(super) async fn with(table: Table) -> Result<PostgresSource> {
        let definition = match table {
            Table::Employees => EMPLOYEES,
            Table::Cart => CART,
        };
        PostgresSource::start(table.name(), definition).await
    }

    /// A server on which these statements were run. Debian's 15, which comes with `pg_recvlogical`.
    pub(crate) async fn start(table: &'static str, statements: &str) -> Result<PostgresSource> {
        let server = Arc::new(Postgres::start(options(PostgresVersion::V15))?);
        server.execute(statements).await?;
        Ok(PostgresSource { server, table })
    }

    pub(super) fn configuration(&self) -> String {
        // A reader on this machine connects through the Unix socket.
        let folder = self.server.socket_dir().display();
        let port = self.server.port();
        format!(
            "type: postgres
      url: \"host={folder} port={port} user=postgres dbname=postgres\"
      publication: {PUBLICATION}
      create_publication: false"
        )
    }

    /// Makes a slot where there is none yet, as readers do that do not make their own.
    pub(crate) async fn create_slot(&self, slot: &str) -> Result<()> {
        let statement = format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')");
        self.server.query(&statement).await.map(drop)
    }

    /// Keeps the place that a slot is at.
    pub(crate) async fn keep_place_of(&self, slot: &str) -> Result<()> {
        self.copy_slot(slot, &format!("origin_{slot}")).await
    }

    /// Takes a slot back to the place that was kept.
    pub(crate) async fn rewind(&self, slot: &str) -> Result<()> {
        self.drop_slot(slot).await?;
        self.copy_slot(&format!("origin_{slot}"), slot).await
    }

    async fn copy_slot(&self, from: &str, to: &str) -> Result<()> {
        let statement = format!("select pg_copy_logical_replication_slot('{from}', '{to}')");
        self.server.query(&statement).await.map(drop)
    }

    /// Drops a slot, as soon as nobody reads it.
    pub(crate) async fn drop_slot(&self, slot: &str) -> Result<()> {
        self.walsender_gone(slot).await?;
        let statement =
            format!("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{slot}'");
        self.server.query(&statement).await.map(drop)
    }

    async fn walsender_gone(&self, slot: &str) -> Result<()> {
        eventually(
            &format!("the end of the reader of slot {slot}"),
            SLOT_DEADLINE,
            || async { Ok(self.active_process(slot).await?.is_none().then_some(())) },
        )
        .await
    }

    /// The process that serves a slot, as soon as there is one.
    pub(crate) async fn walsender(&self, slot: &str) -> Result<u32> {
        eventually(&format!("a reader of slot {slot}"), SLOT_DEADLINE, || {
            self.active_process(slot)
        })
        .await
    }

    async fn active_process(&self, slot: &str) -> Result<Option<u32>> {
        let query = format!("select active_pid::text from pg_replication_slots where slot_name = '{slot}'");
        let rows = self.server.query(&query).await?;
        let process_id = rows.into_iter().flatten().flatten().next();
        process_id
            .map(|text| text.parse().map_err(failed(format!("reading the process id {text}"))))
            .transpose()
    }

    /// Inserts rows with the ids `first` to `last`.
    pub(super) async fn insert(&self, table: Table, first: u64, last: u64, shape: Shape) -> Result<()> {
        let name = table.name();
        let values = match table {
            Table::Employees => EMPLOYEE,
            Table::Cart => CART_ROW,
        };
        let rows = |from: &str, to: &str| {
            format!("insert into {name} select {values} from generate_series(({from})::bigint, {to}) i")
        };
        let statement = match shape {
            Shape::OneTransaction => rows(&first.to_string(), &last.to_string()),
            Shape::Transactions(size) => format!(
                "do $$ begin for b in 0..{} loop {}; commit; end loop; end $$",
                (last - first) / size,
                rows(
                    &format!("{first} + b * {size}"),
                    &format!("least({first} + b * {size} + {}, {last})", size - 1)
                )
            ),
        };
        self.server.execute(&statement).await
    }

    /// The end of the log as it is now.
    pub(crate) async fn end_of_log(&self) -> Result<String> {
        self.server.query_value("select pg_current_wal_lsn()").await
    }
}
