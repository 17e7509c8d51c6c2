//! PostgreSQL, polled.
//!
//! | module | what it asks |
//! |---|---|
//! | `identity` | is progress carried over to another server, another database, another way of reading? |
//! | `late` | do rows come that commit long after others with higher ids, and is refused what cannot be known? |
//! | `pages` | many rows of one time, soft deletes, queries, tables that are altered, values of every type |
//! | `queues` | is each row published before it is deleted or marked, whatever happens between? |
//! | `preflight` | does `check` say what is wrong, and how to mend it? |
//! | `standby` | is a row seen that a standby replays late? |
//! | `twins` | who reads when two daemons share a queue? |

mod identity;
mod late;
mod pages;
mod preflight;
mod queues;
mod standby;
mod twins;

use tailrace_tests::database::Database;
use tailrace_tests::servers::PostgresVersion;

use super::{DEADLINE, Polled, count, number};

/// A role that may only do this, and the URL that it connects with.
pub(super) async fn role_with(database: &Database, grants: &str) -> String {
    let role = format!("reader_{}", database.name());
    let statements = format!("create role {role} login; {}", grants.replace("ROLE", &role));
    database.execute(&statements).await.unwrap();
    database.postgres().unwrap().url_as(&role, database.name())
}

/// A new database on the shared server of the usual version, with these tables in it.
pub(super) async fn database_with(statements: &str) -> Database {
    let database = Database::shared(PostgresVersion::V17).await.unwrap();
    database.execute(statements).await.unwrap();
    database
}
