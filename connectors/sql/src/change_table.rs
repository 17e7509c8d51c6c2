//! Change tables: capture for databases whose log nobody may read.
//!
//! Per captured table there is one change table, which triggers fill inside the application's own transactions, and which a
//! source then reads like any other table.
//!
//! ```text
//!   orders ──AFTER INSERT, UPDATE, DELETE──▶ tailrace_changes_orders ──polled, or from the log──▶ ChangeTableSource ──▶ events of orders
//!     ▲                                        sequence op transaction_id changed_at version old_… new_…
//!     └── tailrace triggers install|diff|remove (Design → Script, compare::Comparison)
//! ```
//!
//! Read in this order: here (what a change table is made of), [`name`] (what it is called), `postgres`, `mysql`, `sqlite` (its SQL),
//! [`compare`] (what is there against what should be), [`database`] (what a database must answer), [`interpret`] (a row of it
//! becomes a change), [`source`] and [`connector`] (all of it as a source).
//!
//! A trigger that fails makes the application's write fail. Swallowing the error would lose a change without a word, and a
//! change table that is complete or the write that is refused are the two states that somebody can rely on.

pub mod compare;
pub mod config;
pub mod connector;
pub mod database;
mod findings;
pub mod interpret;
mod mysql;
pub mod name;
mod postgres;
pub mod script;
pub mod source;
mod sqlite;

use tailrace_core::check::Finding;
use tailrace_core::schema::{SharedSchema, TableName};

use self::config::ChangeTableConfig;
use self::name::{Fingerprint, NameLimit};

pub use self::compare::{Comparison, Installed, InstalledTable, InstalledTrigger};
pub use self::connector::ChangeTableConnector;
pub use self::database::{Survey, TriggerDatabase};
pub use self::script::Script;

/// Counts what this release generates: raised whenever the text of a trigger changes, so that `diff` says so.
const GENERATOR_VERSION: u32 = 1;

/// The number of a change, in the order of their writing.
pub const SEQUENCE: &str = "sequence";
/// `c`, `u`, `d`, `t`, and `r` for rows that were there before the triggers.
pub const OPERATION: &str = "op";
/// The database's number of the transaction, where it has one.
pub const TRANSACTION: &str = "transaction_id";
/// When the statement ran, UTC.
pub const CHANGED_AT: &str = "changed_at";
/// The version of the captured table that the trigger was made for.
pub const VERSION: &str = "version";

/// A database whose triggers are known how to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL, from 13 on.
    Postgres,
    /// MySQL.
    MySql,
    /// MariaDB.
    MariaDb,
    /// SQLite.
    Sqlite,
}

/// A table whose changes are captured, as the database describes it.
#[derive(Debug, Clone)]
pub struct CapturedTable {
    /// Columns and key.
    pub schema: SharedSchema,
    /// Of each column of the schema, what stands behind its name in a statement that makes a table, without constraints and
    /// defaults: `varchar(20) CHARACTER SET latin1`.
    pub declared: Vec<String>,
}

/// A captured column in its change table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeColumn {
    /// Name in the captured table.
    pub captured: String,
    /// Name of the column with the value before.
    pub before: String,
    /// Name of the column with the value after.
    pub after: String,
    /// Type, as a statement that makes a table has it.
    pub declared: String,
}

/// What a captured table's change table and triggers should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Design {
    /// The database.
    pub engine: Engine,
    /// The captured table.
    pub captured: TableName,
    /// Its change table, in the same schema.
    pub change_table: TableName,
    /// The chosen columns, in the captured table's order.
    pub columns: Vec<ChangeColumn>,
    /// Key columns of the captured table, in the key's order.
    pub key: Vec<String>,
    /// Of table, columns and generator.
    pub fingerprint: Fingerprint,
}

/// A trigger, or the function that triggers call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routine {
    /// Name, in the captured table's schema.
    pub name: String,
    /// What it does, in the form in which the database tells it back.
    pub definition: String,
    /// The statements that make it; a function is replaced by them.
    pub create: Vec<String>,
    /// The statement that takes it away.
    pub drop: String,
}

/// How one database writes change tables and triggers.
trait Generator: Send + Sync {
    /// How long names may be.
    fn name_limit(&self) -> NameLimit;

    /// A name, quoted.
    fn identifier(&self, name: &str) -> String;

    /// The columns before those of the captured table: name and definition.
    fn own_columns(&self) -> &'static [(&'static str, &'static str)];

    /// The statement that makes the change table.
    fn create_table(&self, design: &Design) -> String;

    /// Statements that add columns: name and type.
    fn add_columns(&self, design: &Design, columns: &[(String, String)]) -> Vec<String>;

    /// Statements that give columns of a table that is there another type: name and type.
    fn retype_columns(&self, design: &Design, installed: &InstalledTable, columns: &[(String, String)]) -> Vec<String>;

    /// The function that the triggers call, where triggers have no text of their own.
    fn function(&self, design: &Design) -> Option<Routine>;

    /// The triggers.
    fn triggers(&self, design: &Design) -> Vec<Routine>;

    /// Statements that write mark and fingerprint onto the change table.
    fn mark(&self, design: &Design) -> Vec<String>;

    /// A change `r` for every row that is there.
    fn backfill(&self, design: &Design) -> String;

    /// What the statements of a script stand between, so that nobody writes to the captured table while its triggers are others.
    fn enclose(&self, script: &Script) -> Vec<String>;

    /// Statements as a person would type them into the database's own shell.
    fn printed(&self, statements: &[String]) -> String;
}

// === impl Engine ===

impl Engine {
    fn generator(self) -> &'static dyn Generator {
        match self {
            Self::Postgres => &postgres::Postgres,
            Self::MySql | Self::MariaDb => &mysql::MySql,
            Self::Sqlite => &sqlite::Sqlite,
        }
    }

    /// The change table of a table of this database.
    pub fn change_table(self, captured: &TableName) -> TableName {
        TableName {
            table: name::change_table(&captured.table, self.generator().name_limit()),
            ..captured.clone()
        }
    }

    fn qualified(self, name: &TableName) -> String {
        let quote = |name: &str| self.generator().identifier(name);
        if name.schema.is_empty() {
            quote(&name.table)
        } else {
            format!("{}.{}", quote(&name.schema), quote(&name.table))
        }
    }

    /// A name in the schema of a table.
    fn beside(self, table: &TableName, name: &str) -> String {
        let beside = TableName {
            table: name.to_owned(),
            ..table.clone()
        };
        self.qualified(&beside)
    }
}

// === impl Design ===

impl Design {
    /// What the change table of a captured table should be; columns named in `without` are left out as well.
    ///
    /// # Errors
    /// A finding that blocks where the configuration names columns that there are not, or leaves a key column out.
    pub fn new(
        engine: Engine,
        table: &CapturedTable,
        config: &ChangeTableConfig,
        without: &[String],
    ) -> Result<Self, Finding> {
        let schema = &table.schema;
        let limit = engine.generator().name_limit();
        let chosen = config.chosen(schema, without)?;
        let columns: Vec<_> = schema
            .columns
            .iter()
            .zip(&table.declared)
            .filter(|(column, _)| chosen.contains(&column.name.as_str()))
            .map(|(column, declared)| ChangeColumn {
                captured: column.name.clone(),
                before: name::before(&column.name, limit),
                after: name::after(&column.name, limit),
                declared: declared.clone(),
            })
            .collect();
        let mut fingerprint = Fingerprint::of(&[&GENERATOR_VERSION.to_string(), &schema.name.qualified()]);
        for column in &columns {
            fingerprint = fingerprint.and(&column.captured).and(&column.declared);
        }
        Ok(Self {
            engine,
            change_table: engine.change_table(&schema.name),
            captured: schema.name.clone(),
            key: schema.key_columns().map(|column| column.name.clone()).collect(),
            columns,
            fingerprint,
        })
    }

    fn generator(&self) -> &'static dyn Generator {
        self.engine.generator()
    }

    /// The function that the triggers call, in databases where they need one.
    pub fn function(&self) -> Option<Routine> {
        self.generator().function(self)
    }

    /// The triggers.
    pub fn triggers(&self) -> Vec<Routine> {
        self.generator().triggers(self)
    }

    /// Everything, from nothing; with a change `r` for every row that is there where `backfill` asks for it.
    pub fn install(&self, backfill: bool) -> Script {
        let nothing = Installed::default();
        let comparison = Comparison::of(self, &nothing);
        if backfill {
            return comparison.with_backfill(self, &nothing).script;
        }
        comparison.script
    }

    /// The columns of the change table: name and type, the table's own ones without.
    fn value_columns(&self) -> Vec<(String, String)> {
        let columns = self.columns.iter();
        columns
            .flat_map(|column| [&column.before, &column.after].map(|name| (name.clone(), column.declared.clone())))
            .collect()
    }

    /// Lines of a statement that makes the change table, without commas.
    fn definitions(&self, nullable: &str) -> Vec<String> {
        let quote = |name: &str| self.generator().identifier(name);
        let own = self.generator().own_columns().iter();
        let own = own.map(|(name, definition)| format!("{} {definition}", quote(name)));
        let values = self.value_columns();
        let values = values
            .iter()
            .map(|(name, declared)| format!("{} {declared}{nullable}", quote(name)).trim_end().to_owned());
        own.chain(values).collect()
    }

    /// `INSERT INTO` the change table, of one change: the operation, the table's own values, and the row before and after where
    /// the operation has them. The second line begins with `indent`.
    fn insert(&self, operation: char, own: &[(&str, &str)], indent: &str) -> String {
        let (row_before, row_after) = (matches!(operation, 'u' | 'd'), matches!(operation, 'c' | 'u'));
        let quote = |name: &str| self.generator().identifier(name);
        let operation = format!("'{operation}'");
        let mut columns = vec![quote(OPERATION), quote(VERSION)];
        let mut values = vec![operation, format!("'{}'", self.fingerprint)];
        for (name, value) in own {
            columns.push(quote(name));
            values.push((*value).to_owned());
        }
        let row = |wanted: bool, variable: &'static str| {
            let chosen = self.columns.iter().filter(move |_| wanted);
            chosen.map(move |column| (column, variable))
        };
        for (column, variable) in row(row_before, "OLD").chain(row(row_after, "NEW")) {
            let name = if variable == "OLD" {
                &column.before
            } else {
                &column.after
            };
            columns.push(quote(name));
            values.push(format!("{variable}.{}", quote(&column.captured)));
        }
        format!(
            "INSERT INTO {} ({})\n{indent}VALUES ({})",
            self.engine.qualified(&self.change_table),
            columns.join(", "),
            values.join(", ")
        )
    }

    /// `INSERT INTO` the change table, of a change `r` for every row, in the order of the key.
    fn insert_rows(&self, own: &[(&str, &str)]) -> String {
        let quote = |name: &str| self.generator().identifier(name);
        let own_names = own.iter().map(|(name, _)| quote(name));
        let own_values = own.iter().map(|(_, value)| (*value).to_owned());
        let after = self.columns.iter().map(|column| quote(&column.after));
        let columns = [OPERATION, VERSION]
            .map(quote)
            .into_iter()
            .chain(own_names)
            .chain(after);
        let captured = self.columns.iter().map(|column| quote(&column.captured));
        let own = ["'r'".to_owned(), format!("'{}'", self.fingerprint)];
        let values = own.into_iter().chain(own_values).chain(captured);
        let key: Vec<_> = self.key.iter().map(|name| quote(name)).collect();
        let order = if key.is_empty() {
            String::new()
        } else {
            format!(" ORDER BY {}", key.join(", "))
        };
        format!(
            "INSERT INTO {} ({})\n  SELECT {}\n  FROM {}{order}",
            self.engine.qualified(&self.change_table),
            columns.collect::<Vec<_>>().join(", "),
            values.collect::<Vec<_>>().join(", "),
            self.engine.qualified(&self.captured)
        )
    }

    /// What the change table is, for people and for `diff`.
    fn mark_text(&self) -> String {
        name::mark(&self.captured, self.fingerprint)
    }
}

#[cfg(test)]
mod tests;
