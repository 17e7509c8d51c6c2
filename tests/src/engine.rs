//! A database as a transcript needs it: statements go in, answers come out, and something tells when everything that was
//! committed has been carried. One implementation per database; what they have in common is this trait.

use async_trait::async_trait;
use serde_json::Value;

use crate::servers::{MySqlVersion, PostgresVersion, Result, ServerError};

mod mysql;
mod postgres;
mod sqlite;
mod statements;

/// A database, and its version where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// As `runs on:` writes it: `postgres`, `mysql`, `mariadb`, `sqlite`.
    pub database: &'static str,
    /// The major version, of MySQL and MariaDB a hundred times that and the minor one: 17, 506, 1011; 0 where there is one only.
    pub version: u16,
}

/// What a statement gave: column names and rows as lines, ready to be shown.
pub type Answer = Vec<String>;

/// A database of one transcript's own.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Its name, which no other database of this test run has.
    fn name(&self) -> &str;

    /// The schema of its tables, which a transcript calls `public`.
    fn schema(&self) -> &str {
        "public"
    }

    /// Lines of a connector's `source:` that say where the database is.
    fn source(&self) -> Vec<String>;

    /// More of them, of one that reads the log.
    fn log_source(&self) -> Vec<String> {
        Vec::new()
    }

    /// Waits until the server has let go of a daemon that has ended.
    ///
    /// # Errors
    /// When it does not.
    async fn wait_until_left(&self) -> Result<()> {
        Ok(())
    }

    /// Runs statements one after the other in a session of this name, which is opened at its first use; gives the answer of the
    /// last one.
    ///
    /// # Errors
    /// The database's refusal, as it says it.
    async fn run(&self, session: &str, statements: &str) -> Result<Answer, String>;

    /// A mark behind everything that is committed by now.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn end(&self) -> Result<String>;

    /// Whether a connector, of which `/status` says this, has made everything durable that was committed before the mark.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn is_carried(&self, connector: &Value, end: &str) -> Result<bool>;
}

/// A new, empty database.
///
/// # Errors
/// When it cannot be made.
pub async fn open(target: Target) -> Result<Box<dyn Engine>> {
    match target.database {
        "postgres" => {
            let version = PostgresVersion::ALL
                .into_iter()
                .find(|version| version.major() == target.version);
            let version = version.ok_or_else(|| ServerError::new(format!("there is no {target}")))?;
            Ok(Box::new(postgres::PostgresEngine::open(version).await?))
        }
        "mysql" | "mariadb" => {
            let version = MySqlVersion::ALL
                .into_iter()
                .find(|version| target == Target::of(*version));
            let version = version.ok_or_else(|| ServerError::new(format!("there is no {target}")))?;
            Ok(Box::new(mysql::MySqlEngine::open(version).await?))
        }
        "sqlite" => Ok(Box::new(sqlite::SqliteEngine::open()?)),
        other => Err(ServerError::new(format!("no engine is called {other}"))),
    }
}

// === impl Target ===

impl Target {
    /// Every database that there is an engine for, oldest version first.
    #[must_use]
    pub fn all() -> Vec<Target> {
        let postgres = PostgresVersion::ALL.into_iter().map(|version| Target {
            database: "postgres",
            version: version.major(),
        });
        let sqlite = Target {
            database: "sqlite",
            version: 0,
        };
        let mysql = MySqlVersion::ALL.into_iter().map(Target::of);
        postgres.chain(mysql).chain([sqlite]).collect()
    }

    fn of(version: MySqlVersion) -> Target {
        Target {
            database: version.connector_type(),
            version: match version {
                MySqlVersion::MySql56 => 506,
                MySqlVersion::MySql97 => 907,
                MySqlVersion::MariaDb1011 => 1011,
            },
        }
    }

    /// The number of a version as it is written: `17`, `5.6`.
    #[must_use]
    pub fn version_number(text: &str) -> Option<u16> {
        match text.split_once('.') {
            Some((major, minor)) => Some(major.parse::<u16>().ok()? * 100 + minor.parse::<u16>().ok()?),
            None => text.parse().ok(),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.version {
            0 => formatter.write_str(self.database),
            version @ 1..100 => write!(formatter, "{} {version}", self.database),
            version => write!(formatter, "{} {}.{}", self.database, version / 100, version % 100),
        }
    }
}
