//! Statements in the binary log: what they are, and what they do to tables.
//!
//! The log carries as text whatever is not rows: `BEGIN`, DDL, and statements that were logged in statement format. Two
//! questions are asked of such a text, and they are kept apart because the first is asked millions of times a day and the
//! second a few times a month:
//!
//! ```text
//! text ── classify ──▶ Statement ─┬─ Begin, Commit, XaPrepare, …
//!         (lexer.rs,              ├─ Rows          changes rows without saying which: the caller halts
//!          classify.rs)           ├─ Other         users, views, procedures, comments: nothing to do with us
//!                                 └─ Definition ── apply ──▶ definitions as they are from here on, and effects to tell
//!                                           (grammar.rs, column.rs, key.rs, apply.rs, alter.rs, rewrite.rs)
//! ```
//!
//! **Why a grammar of our own.** The clauses that define a table are few and have not changed their shape in twenty years; what
//! surrounds them (`/*!50100 … */`, `ANSI_QUOTES`, MariaDB's `WITH SYSTEM VERSIONING`, `ADD (a int, b int)`, partitions,
//! engine attributes) is where SQL parsers for many dialects give up, or worse, accept a statement and leave a part of it out. So
//! every clause that may touch a column or a key is read here by one recogniser, every other clause has to be known as harmless
//! by name, and what is neither is an error: a statement is never half understood. A maintained parser (`sqlparser`), which
//! reads little more than half of the corpus, is the witness in the tests: whatever it understands must come out the same here.
//!
//! **What is needed when.** Where the log describes its rows (`binlog_row_metadata=FULL`) a definition is a convenience, and a
//! statement that is not understood is forgotten together with the definition. Where it does not, the definitions that are
//! tracked here are all there is, and a statement that is not understood and touches a captured table halts the connector.
//! Tables that are not captured are followed as well as it goes, because tools for online schema changes build the new table
//! under another name and then swap the names: a definition moves with its table.

mod alter;
mod apply;
mod classify;
mod clause;
mod column;
mod cursor;
mod grammar;
mod key;
mod lexer;
mod rewrite;
mod type_text;

use tailrace_core::Error;
use tailrace_core::schema::TableName;

use crate::charset::Charset;
use crate::position::Xid;
use crate::server::{Flavour, Version};

pub(crate) use apply::{Definitions, Effect, Tracking, apply};
pub(crate) use classify::classify;
pub(crate) use rewrite::Rewrite;

/// `sql_mode`: `REAL` is `FLOAT`.
const REAL_AS_FLOAT: u64 = 0x1;
/// `sql_mode`: double quotes enclose names.
const ANSI_QUOTES: u64 = 0x4;
/// `sql_mode` of MariaDB: Oracle's types.
const ORACLE: u64 = 0x200;
/// `sql_mode`: a backslash in text is a backslash.
const NO_BACKSLASH_ESCAPES: u64 = 0x10_0000;
/// `sql_mode`: values that do not fit are errors (`STRICT_TRANS_TABLES`, `STRICT_ALL_TABLES`).
const STRICT: u64 = 0x60_0000;

/// `explicit_defaults_for_timestamp` is the default from here on.
const EXPLICIT_TIMESTAMPS_MYSQL: Version = Version::new(8, 0, 2);
/// The same of MariaDB.
const EXPLICIT_TIMESTAMPS_MARIADB: Version = Version::new(10, 10, 0);

/// Characters of a statement that an error shows; the rest is in the log.
const SHOWN_CHARACTERS: usize = 400;

/// What of its session and server a statement needs to be understood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SqlContext<'a> {
    /// Database that was the default one; empty for none.
    pub(crate) schema: &'a str,
    /// Dialect.
    pub(crate) flavour: Flavour,
    /// Of the server, for comments that are as old as it.
    pub(crate) version: Version,
    /// `sql_mode` as the server's bits; 0 where the event has none.
    pub(crate) sql_mode: u64,
    /// What a new database gets (`collation_server`), where it is known.
    pub(crate) server_charset: Option<Charset>,
    /// `explicit_defaults_for_timestamp`, where the event has it; else the default of the version.
    pub(crate) explicit_defaults_for_timestamp: Option<bool>,
    /// `lower_case_table_names` is not 0: names of tables and databases are compared in lower case.
    pub(crate) folds_table_names: bool,
}

/// A statement of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement<'a> {
    Begin,
    Commit,
    Rollback,
    /// `SAVEPOINT` and `RELEASE SAVEPOINT`.
    Savepoint,
    /// `ROLLBACK TO`: what came since the savepoint of this name is undone.
    RollbackTo(String),
    XaStart(Xid),
    XaEnd(Xid),
    XaPrepare(Xid),
    /// Of a prepared transaction.
    XaCommit(Xid),
    /// Of one that was not prepared.
    XaCommitOnePhase(Xid),
    XaRollback(Xid),
    /// Changes rows and is logged as text instead of rows. The tables that it may write to, conservatively; `None` for any.
    Rows(Option<Vec<TableName>>),
    /// Defines, changes or empties tables.
    Definition(Ddl<'a>),
    /// Nothing that concerns rows or tables.
    Other,
}

/// A statement on tables, read so far that its tables are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ddl<'a> {
    /// What it does to which tables.
    pub(crate) kind: DdlKind,
    /// The whole text.
    pub(crate) sql: &'a str,
    /// Where the part begins that follows the names.
    body: usize,
}

/// What a statement does to which tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DdlKind {
    CreateTable {
        table: TableName,
        /// `IF NOT EXISTS`: nothing where there is one.
        if_not_exists: bool,
        /// `OR REPLACE`: instead of the one that is there.
        or_replace: bool,
    },
    AlterTable(TableName),
    CreateIndex {
        table: TableName,
        /// `OR REPLACE`: instead of another of its name.
        or_replace: bool,
    },
    DropIndex(TableName),
    /// From and to, one after the other.
    RenameTables(Vec<(TableName, TableName)>),
    DropTables(Vec<TableName>),
    TruncateTable(TableName),
    CreateSchema(String),
    AlterSchema(String),
    DropSchema(String),
    /// A statement on tables in a form that is not known, with every name in it that may be a table's.
    Unclear(Vec<TableName>),
}

/// Why definitions cannot be followed any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DdlError {
    /// A statement that is not understood changes a captured table.
    #[error(
        "the statement `{statement}` changes the captured table {table} and is not understood: {reason}. Set \
         binlog_row_metadata=FULL on the server (MySQL 8.0.1, MariaDB 10.5 and later), so that the log says what its rows are, or \
         take the table out of `tables`; then add it again, so that its rows are read anew"
    )]
    NotUnderstood {
        /// Its text, shortened.
        statement: String,
        /// Name in full.
        table: String,
        /// What is not understood of it.
        reason: String,
    },
    /// A captured table's new definition follows from that of a table that is not known.
    #[error(
        "the statement `{statement}` makes the captured table {table} what {source_table} was, and how that one was defined is not \
         in the log that was read; take the table out of `tables` and add it again, so that its rows are read anew"
    )]
    DefinitionUnknown {
        /// Its text, shortened.
        statement: String,
        /// Name in full.
        table: String,
        /// The table that the definition would come from.
        source_table: String,
    },
}

// === impl SqlContext ===

impl<'a> SqlContext<'a> {
    /// A session with the settings that a server begins with.
    pub(crate) fn new(schema: &'a str, flavour: Flavour, version: Version) -> Self {
        Self {
            schema,
            flavour,
            version,
            sql_mode: STRICT,
            server_charset: None,
            explicit_defaults_for_timestamp: None,
            folds_table_names: false,
        }
    }

    fn has_mode(&self, mode: u64) -> bool {
        self.sql_mode & mode != 0
    }

    fn has_ansi_quotes(&self) -> bool {
        self.has_mode(ANSI_QUOTES)
    }

    fn has_backslash_escapes(&self) -> bool {
        !self.has_mode(NO_BACKSLASH_ESCAPES)
    }

    fn is_strict(&self) -> bool {
        self.has_mode(STRICT)
    }

    /// A bare TIMESTAMP is an ordinary nullable column.
    fn has_explicit_timestamps(&self) -> bool {
        self.explicit_defaults_for_timestamp.unwrap_or(match self.flavour {
            Flavour::MySql => self.version >= EXPLICIT_TIMESTAMPS_MYSQL,
            Flavour::MariaDb => self.version >= EXPLICIT_TIMESTAMPS_MARIADB,
        })
    }

    /// A table by its name as the server keeps it.
    fn table_name(&self, schema: Option<&str>, table: &str) -> TableName {
        TableName {
            database: String::new(),
            schema: self.stored_name(schema.unwrap_or(self.schema)),
            table: self.stored_name(table),
        }
    }

    fn stored_name(&self, name: &str) -> String {
        if self.folds_table_names {
            name.to_lowercase()
        } else {
            name.to_owned()
        }
    }
}

// === impl Ddl ===

impl Ddl<'_> {
    /// The statement, as far as an error shows it.
    fn shown(&self) -> String {
        let mut shown: String = self.sql.chars().take(SHOWN_CHARACTERS).collect();
        if shown.len() < self.sql.len() {
            shown.push('…');
        }
        shown
    }

    fn not_understood(&self, table: &TableName, reason: impl Into<String>) -> DdlError {
        DdlError::NotUnderstood {
            statement: self.shown(),
            table: table.qualified(),
            reason: reason.into(),
        }
    }
}

// === impl DdlError ===

impl From<DdlError> for Error {
    fn from(error: DdlError) -> Self {
        let code = match &error {
            DdlError::NotUnderstood { .. } => "ddl_not_understood",
            DdlError::DefinitionUnknown { .. } => "definition_unknown",
        };
        Self::definite(code, error.to_string())
    }
}

#[cfg(test)]
mod tests;
