//! MySQL and MariaDB, polled.
//!
//! | module | what it asks |
//! |---|---|
//! | `late` | do rows come that commit long after others with higher ids, and is refused what cannot be known? |
//! | `pages` | many rows of one time, ids of other types, soft deletes, queries, tables that are altered |
//! | `queues` | is each row published before it is deleted or marked, whatever happens between? |
//! | `preflight` | does `check` say what is wrong, and how to mend it? |
//!
//! Values of every type are asked of in `crate::vectors`, beside those of a snapshot and of the log.

mod late;
mod pages;
mod preflight;
mod queues;

use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlOptions, MySqlVersion};

use super::{DEADLINE, Polled, count, number, numbers};

/// A server of the test's own on which writers can be seen, and a database there with these tables.
pub(super) async fn with_visible_writers(version: MySqlVersion, tables: &str) -> Database {
    let options = MySqlOptions::version(version).visible_writers();
    let database = Database::own(options).await.unwrap();
    database.execute(tables).await.unwrap();
    database
}

/// A user that may only do this, and the URL that it connects with. `USER` is its name in the statements, and `public` the database.
pub(super) async fn user_with(database: &Database, rights: &[&str]) -> (String, String) {
    let user = format!("reader_{}", database.name());
    database.execute(&format!("create user {user}")).await.unwrap();
    for right in rights {
        let right = right.replace("public", database.schema());
        database.execute(&format!("grant {right} to {user}")).await.unwrap();
    }
    let url = database.mysql().unwrap().url_as(&user);
    (user, url)
}
