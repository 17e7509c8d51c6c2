//! `tailrace outbox install`: the table that an application writes its events to, and what keeps wrong ones out of it.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::de::DeserializeOwned;
use serde_json::json;
use tailrace_core::{Error, Result};
use tailrace_mysql::{Flavour, MySqlConfig, MySqlTriggers};
use tailrace_postgres::{PostgresConfig, PostgresTriggers};
use tailrace_sql::change_table::TriggerDatabase;
use tailrace_sql::contract::Contract;
use tailrace_sql::contract_trigger::{ContractTable, TriggerDialect, contract_trigger};
use tailrace_sql::{QueryConfig, QueryMode};
use tailrace_sqlite::{SqliteConfig, SqliteTriggers};

use super::{Exit, Failure};
use crate::screen;

/// The tables, as they are checked in; names in quotes stand for those that are asked for.
const FILES: [(Database, [&str; 2]); 4] = [
    (
        Database::Postgres,
        [
            include_str!("outbox/postgres/0001_outbox.sql"),
            include_str!("outbox/postgres/0002_lease.sql"),
        ],
    ),
    (
        Database::Mysql,
        [
            include_str!("outbox/mysql/0001_outbox.sql"),
            include_str!("outbox/mysql/0002_lease.sql"),
        ],
    ),
    (
        Database::Mariadb,
        [
            include_str!("outbox/mariadb/0001_outbox.sql"),
            include_str!("outbox/mariadb/0002_lease.sql"),
        ],
    ),
    (
        Database::Sqlite,
        [
            include_str!("outbox/sqlite/0001_outbox.sql"),
            include_str!("outbox/sqlite/0002_lease.sql"),
        ],
    ),
];

/// What the tables are called in the files.
const OUTBOX: &str = "outbox";
const LEASE: &str = "tailrace_lease";
/// Where PostgreSQL's tables are in the files, and by default.
const PUBLIC: &str = "public";
/// Columns of the table in the files.
const PAYLOAD: &str = "payload";
const TYPE: &str = "type";

/// The part of the command line below `tailrace outbox`.
#[derive(Debug, Args)]
pub(crate) struct OutboxArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the statements that make an outbox table, or runs them with --apply.
    ///
    /// With --contract also triggers that refuse a payload that breaks it, inside the transaction that writes it, with a message
    /// that names the field. Tables that are there already are left as they are; triggers are made anew.
    Install(InstallArguments),
}

#[derive(Debug, Args)]
struct InstallArguments {
    /// Whose SQL.
    #[arg(long, value_enum)]
    database: Database,
    /// Name of the table, with its schema or MySQL's database before a dot where it has one.
    #[arg(long, value_name = "NAME", default_value = OUTBOX)]
    table: String,
    /// A JSON Schema that payloads must meet; see docs/outbox.md for what of it a database can check.
    #[arg(long, value_name = "FILE")]
    contract: Option<PathBuf>,
    /// The contract holds for events of this type alone; repeat the command for others.
    #[arg(long = "type", value_name = "TYPE", requires = "contract")]
    event_type: Option<String>,
    /// Also the table that several daemons need to take turns at one queue.
    #[arg(long)]
    lease: bool,
    /// Print the statements; what happens without --apply.
    #[arg(long, conflicts_with = "apply")]
    print: bool,
    /// Run the statements.
    #[arg(long, requires = "url")]
    apply: bool,
    /// The database to run them in, as in a source's `url`; for SQLite the path of the file.
    #[arg(long, value_name = "URL", env = "TAILRACE_OUTBOX_URL", hide_env_values = true)]
    url: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Database {
    Postgres,
    Mysql,
    Mariadb,
    Sqlite,
}

/// A table's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    schema: Option<String>,
    table: String,
}

/// Does what is asked below `tailrace outbox`.
pub(crate) async fn run(arguments: OutboxArguments) -> Result<Exit, Failure> {
    let Action::Install(arguments) = arguments.action;
    let name = Name::read(&arguments.table, arguments.database);
    let parts = parts(&arguments, &name)?;
    let Some(url) = arguments.url.as_deref().filter(|_| arguments.apply) else {
        let text: String = parts.iter().map(|part| part.printed(arguments.database)).collect();
        screen::print(&text)?;
        return Ok(Exit::Ended);
    };
    if matches!(arguments.database, Database::Mysql | Database::Mariadb) && name.schema.is_none() {
        let sentence = "`--table` must name the database too, as in `--table shop.outbox`";
        return Err(Failure::Usage(sentence.to_owned()));
    }
    let statements: Vec<String> = parts.iter().flat_map(Part::statements).collect();
    Box::pin(apply(arguments.database, url, &statements)).await?;
    screen::print(&format!("{} is installed\n", arguments.table))?;
    Ok(Exit::Ended)
}

/// Runs statements, all in one transaction where the database can define tables in one.
async fn apply(database: Database, url: &str, statements: &[String]) -> Result<()> {
    let script = statements.join(";\n");
    match database {
        Database::Postgres => {
            let config: PostgresConfig = config(json!({ "url": url, "tables": [] }))?;
            PostgresTriggers::new(config).apply(&[script]).await
        }
        Database::Mysql | Database::Mariadb => {
            let config: MySqlConfig = config(json!({ "url": url, "tables": [] }))?;
            let flavour = match database {
                Database::Mariadb => Flavour::MariaDb,
                _ => Flavour::MySql,
            };
            MySqlTriggers::new(config, flavour).apply(statements).await
        }
        Database::Sqlite => {
            let path = url.strip_prefix("sqlite://").unwrap_or(url);
            let query = QueryConfig::new(QueryMode::Queue);
            let config = SqliteConfig::new(path, vec![OUTBOX.to_owned()], query);
            let whole = format!("BEGIN IMMEDIATE;\n{script};\nCOMMIT");
            SqliteTriggers::new(config)?.apply(&[whole]).await
        }
    }
}

fn config<T: DeserializeOwned>(value: serde_json::Value) -> Result<T> {
    serde_json::from_value(value)
        .map_err(|error| Error::definite("config", "`--url` is not as a source's `url` is written").with_source(error))
}

// === what is installed ===

/// Statements that belong together.
enum Part {
    /// A file as it is checked in, with other names in it.
    File(String),
    /// Statements that were generated.
    Generated(Vec<String>),
}

fn parts(arguments: &InstallArguments, name: &Name) -> Result<Vec<Part>> {
    let database = arguments.database;
    let files = FILES.iter().find(|(known, _)| *known == database);
    let [outbox, lease] = files.map(|(_, files)| *files).unwrap_or_default();
    let mut parts = vec![Part::File(name.put_into(outbox, OUTBOX, database))];
    if arguments.lease {
        let lease_name = Name {
            table: LEASE.to_owned(),
            ..name.clone()
        };
        parts.push(Part::File(lease_name.put_into(lease, LEASE, database)));
    }
    if let Some(file) = &arguments.contract {
        let table = ContractTable {
            schema: name.schema.clone(),
            table: name.table.clone(),
            payload: PAYLOAD.to_owned(),
            only: arguments.event_type.clone().map(|value| (TYPE.to_owned(), value)),
        };
        let contract = read_contract(file)?;
        parts.push(Part::Generated(contract_trigger(
            database.dialect(),
            &contract,
            &table,
        )?));
    }
    Ok(parts)
}

/// Reads the file of a contract.
pub(crate) fn read_contract(path: &Path) -> Result<Contract> {
    let bytes = std::fs::read(path).map_err(|error| {
        let message = format!(
            "the contract {} cannot be read; name a file that is there",
            path.display()
        );
        Error::definite("contract_unreadable", message).with_source(error)
    })?;
    Contract::parse(&bytes)
}

// === impl Database ===

impl Database {
    fn quote(self) -> char {
        match self {
            Self::Postgres | Self::Sqlite => '"',
            Self::Mysql | Self::Mariadb => '`',
        }
    }

    fn dialect(self) -> TriggerDialect {
        match self {
            Self::Postgres => TriggerDialect::Postgres,
            Self::Mysql => TriggerDialect::MySql,
            Self::Mariadb => TriggerDialect::MariaDb,
            Self::Sqlite => TriggerDialect::Sqlite,
        }
    }
}

// === impl Name ===

impl Name {
    fn read(text: &str, database: Database) -> Self {
        let (schema, table) = match text.split_once('.') {
            Some((schema, table)) => (Some(schema.to_owned()), table),
            None => (None, text),
        };
        let default = (database == Database::Postgres).then(|| PUBLIC.to_owned());
        Self {
            schema: schema.or(default),
            table: table.to_owned(),
        }
    }

    /// The file with this name in place of the one that is written in it.
    fn put_into(&self, file: &str, written: &str, database: Database) -> String {
        let quote = database.quote();
        let quoted = |name: &str| format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")));
        let before = match database {
            Database::Postgres => format!("{}.{}", quoted(PUBLIC), quoted(written)),
            Database::Mysql | Database::Mariadb | Database::Sqlite => quoted(written),
        };
        let schema = self.schema.as_deref().map(|schema| quoted(schema) + ".");
        file.replace(
            &before,
            &format!("{}{}", schema.unwrap_or_default(), quoted(&self.table)),
        )
    }
}

// === impl Part ===

impl Part {
    /// As a client program of the database reads it.
    fn printed(&self, database: Database) -> String {
        match self {
            Self::File(text) => format!("{text}\n"),
            Self::Generated(statements) if matches!(database, Database::Mysql | Database::Mariadb) => {
                format!("DELIMITER $$\n{}$$\nDELIMITER ;\n", statements.join("$$\n\n"))
            }
            Self::Generated(statements) => format!("{};\n", statements.join(";\n\n")),
        }
    }

    /// Each statement by itself.
    fn statements(&self) -> Vec<String> {
        match self {
            // A comment may stand before a statement; nothing in the files ends a line with a semicolon but a statement.
            Self::File(text) => {
                let statements = text.split(";\n").map(str::trim);
                statements.filter(|text| !text.is_empty()).map(str::to_owned).collect()
            }
            Self::Generated(statements) => statements.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_where_the_files_have_theirs() {
        for (database, files) in FILES {
            let name = Name::read("my schema.e\"v`ents", database);
            let text = name.put_into(files[0], OUTBOX, database);
            let quoted = match database {
                Database::Postgres | Database::Sqlite => "\"my schema\".\"e\"\"v`ents\"",
                Database::Mysql | Database::Mariadb => "`my schema`.`e\"v``ents`",
            };
            assert!(text.contains(quoted), "{text}");
            let plain = Name::read(OUTBOX, database).put_into(files[0], OUTBOX, database);
            assert_eq!(plain, files[0], "the default is what is written");
        }
    }

    #[test]
    fn files_fall_apart_into_their_statements() {
        for (database, files) in FILES {
            for file in files {
                let statements = Part::File(file.to_owned()).statements();
                let comments = usize::from(database == Database::Postgres && file.contains("comment on"));
                assert_eq!(statements.len(), 1 + comments, "{statements:?}");
            }
        }
    }
}
