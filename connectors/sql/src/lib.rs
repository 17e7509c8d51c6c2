//! What is written once for every SQL database: what a source that reads the database's log may be told ([`log_config`],
//! [`server_url`]), and reading changes by asking for them.
//!
//! ```text
//!   Dialect (one per database)          PollingSource (here)                       the pipeline
//!   ─ discover: tables, keys   ──▶  which column is the cursor (plan)
//!   ─ fetch: rows after a cursor ──▶ admits, numbers, marks read/create/update ──▶  ChangeBatch
//!                                    (page); keeps the cursors (cursor)
//! ```
//!
//! What polling can never see is said by [`check::notes`]: deleted rows, and versions of a row between two polls.

pub mod captured;
pub mod change_table;
pub mod check;
pub mod config;
pub mod contract;
pub mod contract_trigger;
pub mod cursor;
pub mod dialect;
pub mod fingerprint;
pub mod grants;
mod ledger;
pub mod log_config;
pub mod outbox;
pub mod page;
pub mod plan;
pub mod polling;
pub mod seen;
pub mod server_url;
pub mod sink;
pub mod statement;
pub mod take_over;
pub mod verify;

pub use config::{QueryConfig, QueryMode, TableQueryConfig};
pub use cursor::{Cursor, CursorValue, RowKey};
pub use dialect::{
    Dialect, DiscoveredTable, Discovery, Fetched, GapReport, GapSafety, IdGeneration, PageRequest, Syntax, Writers,
};
pub use page::{Admission, PageRule, PageWriter};
pub use plan::PolledTable;
pub use polling::{Opening, PollingSource};
pub use statement::{Piece, Statement};
