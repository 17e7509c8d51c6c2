//! MySQL and MariaDB: what is asked of PostgreSQL elsewhere, and what only a binary log has.
//!
//! | module | what it asks |
//! |---|---|
//! | `works` | snapshot, insert, update, delete, restart, on each server and with each kind of log |
//! | `authentication` | who may come in, and is the server the right one? |
//! | `deaths` | what if the daemon or the server dies? |
//! | `migrations` | what if tables are swapped, and the log does not say what its rows are? |
//! | `torn` | what if MariaDB dies while it writes its log? |
//! | `network` | what if the network between them fails? |
//! | `online_schema_change` | what if a table is replaced by a changed copy while it is written to? |
//! | `transactions` | what if a transaction or a statement is none of the usual ones? |
//! | `xa` | what if it is prepared first, and decided later? |
//! | `preflight` | does `check` name all that is missing? |
//! | `failover` | what if another server takes over? |
//! | `files` | what becomes of a log that goes over into other files, is purged, is begun anew? |
//! | `large` | what if it is more than is held at a time? |

use tailrace_tests::servers::MySqlVersion;

use crate::crashes::seed;
use tailrace_tests::scenario::{Lane, Options};

mod authentication;
mod deaths;
mod failover;
mod files;
mod large;
mod migrations;
mod network;
mod online_schema_change;
mod preflight;
mod torn;
mod transactions;
mod works;
mod xa;

/// Into this lane, from the server of this version that all tests share.
fn options(version: MySqlVersion, lane: Lane) -> Options {
    Options {
        version: version.into(),
        ..Options::new(lane, seed())
    }
}
