//! What the clauses of a statement say, before it is known what they are said of.

use tailrace_core::schema::TableName;

use crate::charset::Charset;
use crate::table::ColumnDefault;

/// The name of the primary key's index.
pub(super) const PRIMARY: &str = "PRIMARY";

/// One clause of an ALTER TABLE that changes a definition, or rows that the log does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Clause {
    AddColumn {
        column: ColumnSpec,
        place: Place,
        if_not_exists: bool,
    },
    /// MODIFY and CHANGE.
    ChangeColumn {
        from: String,
        column: ColumnSpec,
        place: Place,
        if_exists: bool,
    },
    RenameColumn {
        from: String,
        to: String,
        if_exists: bool,
    },
    DropColumn {
        name: String,
        if_exists: bool,
    },
    SetDefault {
        column: String,
        default: Option<ColumnDefault>,
    },
    AddKey(KeySpec),
    /// A key or a constraint that is not known is none that identifies rows.
    DropKey(String),
    RenameKey {
        from: String,
        to: String,
    },
    RenameTable(TableName),
    /// CONVERT TO CHARACTER SET; `None` for the schema's own.
    ConvertCharset(Option<Charset>),
    /// An option of the table.
    Option(TableOption),
    /// MariaDB's ADD SYSTEM VERSIONING.
    AddSystemVersioning,
    /// MariaDB's DROP SYSTEM VERSIONING.
    DropSystemVersioning,
    /// Rows go or come that are not in the log, in words.
    RowsReplaced(&'static str),
    /// The same, and another table takes part in it.
    RowsExchanged(TableName),
    /// MariaDB's CONVERT PARTITION TO TABLE: a table of the same columns comes to be.
    PartitionBecomesTable(TableName),
    /// MariaDB's CONVERT TABLE TO PARTITION: a table is no more.
    TableBecomesPartition(TableName),
}

/// An option of a table that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TableOption {
    /// What new columns are in; `None` for the schema's own.
    Charset(Option<Charset>),
    Comment(String),
    Engine(String),
    /// MariaDB keeps old rows.
    SystemVersioning,
    /// MySQL's `CREATE TABLE … SELECT` and options without meaning here.
    Harmless,
}

/// Where a column goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// To the end, or where it is.
    Unchanged,
    First,
    After(String),
}

/// A column as a statement describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnSpec {
    pub(super) name: String,
    pub(super) type_text: TypeText,
    /// Its own, if it has one.
    pub(super) charset: Option<Charset>,
    /// NULL or NOT NULL, where it is said.
    pub(super) nullable: Option<bool>,
    /// DEFAULT, where it is said; `Some(None)` for NULL.
    pub(super) default: Option<Option<ColumnDefault>>,
    pub(super) generated: bool,
    pub(super) auto_increment: bool,
    pub(super) comment: Option<String>,
    /// PRIMARY KEY or UNIQUE, said with the column.
    pub(super) primary: bool,
    pub(super) unique: bool,
}

/// A type as it is written, in parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TypeText {
    /// In lower case and one spelling for several words: `double`, `varchar`, `mediumblob`.
    pub(super) name: String,
    /// Numbers in the parentheses.
    pub(super) numbers: Vec<u32>,
    /// Members of an ENUM or SET.
    pub(super) members: Vec<String>,
    pub(super) unsigned: bool,
    pub(super) zerofill: bool,
}

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// No two rows share it.
    Unique,
    /// No two rows share the first characters of its columns. What is left out of the index cannot be ordered by, so that it is no
    /// row's key.
    Beginnings,
    /// As the first, and another of its name goes: CREATE OR REPLACE INDEX.
    Replacement,
    /// MariaDB's PERIOD: a name for two columns, which may not be NULL.
    Period,
}

/// A unique key, or a period that one may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeySpec {
    /// Its name, where one is given; the primary key's is always `PRIMARY`.
    pub(super) name: Option<String>,
    /// Names of its columns; none where a part of it is an expression.
    pub(super) columns: Vec<String>,
    pub(super) kind: KeyKind,
}

/// A CREATE TABLE's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TableBody {
    /// Columns, keys and options.
    Columns(TableSpec),
    /// LIKE another table.
    Like(TableName),
    /// AS SELECT: what its columns are depends on what is selected.
    Selected,
}

/// Columns, keys and options of a new table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TableSpec {
    pub(super) columns: Vec<ColumnSpec>,
    pub(super) keys: Vec<KeySpec>,
    pub(super) charset: Option<Charset>,
    pub(super) comment: Option<String>,
    pub(super) engine: Option<String>,
    pub(super) system_versioned: bool,
}
