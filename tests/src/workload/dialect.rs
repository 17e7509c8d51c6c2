//! What the databases want to hear differently.

use crate::database::{Database, Server};

/// One of the languages of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    MySql,
}

const POSTGRES_TABLES: &str = "
create table accounts (id bigint primary key, version bigint not null, note text, payload text);
alter table accounts alter payload set storage external;
create table bulk (writer int, number int, version bigint not null, text text, primary key (writer, number));
create table order_lines (shop int, number int, version bigint not null, state text, primary key (shop, number));
create table ledger (writer int, txn bigint, version bigint not null, primary key (writer, txn))";

const MYSQL_TABLES: &str = "
create table accounts (id bigint primary key, version bigint not null, note text, payload mediumtext);
create table bulk (writer int, number int, version bigint not null, text text, primary key (writer, number));
create table order_lines (shop int, number int, version bigint not null, state text, primary key (shop, number));
create table ledger (writer int, txn bigint, version bigint not null, primary key (writer, txn))";

/// Rows of the two writers differ, but the gaps between them are locked too unless it is said that they need not be.
const MYSQL_SESSION: &str = "set session transaction isolation level read committed";

// === impl Dialect ===

impl Dialect {
    pub(super) fn of(database: &Database) -> Dialect {
        match database.server() {
            Server::Postgres(_) => Dialect::Postgres,
            Server::MySql(_) => Dialect::MySql,
        }
    }

    pub(super) fn tables(self) -> &'static str {
        match self {
            Dialect::Postgres => POSTGRES_TABLES,
            Dialect::MySql => MYSQL_TABLES,
        }
    }

    /// What a writer says first.
    pub(super) fn session(self) -> &'static str {
        match self {
            Dialect::Postgres => "",
            Dialect::MySql => MYSQL_SESSION,
        }
    }

    /// A text with something behind it.
    pub(super) fn longer(self, column: &str) -> String {
        match self {
            Dialect::Postgres => format!("{column} || '.'"),
            Dialect::MySql => format!("concat({column}, '.')"),
        }
    }

    /// A number as text that looks random.
    pub(super) fn digest(self, number: &str) -> String {
        match self {
            Dialect::Postgres => format!("md5({number}::text)"),
            // MySQL 9 has no md5 any more.
            Dialect::MySql => format!("repeat(hex(crc32({number})), 4)"),
        }
    }
}
