//! What the way to a MySQL or MariaDB server that is written to may be told.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::Result;
use tailrace_core::secret::Secret;
use tailrace_core::setting::LocalFile;
use tailrace_sql::log_config::TlsConfig;

use crate::endpoint::Endpoint;

/// A MySQL or MariaDB database that events are written into.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MySqlSinkConfig {
    /// `mysql://user:password@host:3306/database`, or `mysql://user@/database?socket=/run/mysqld/mysqld.sock` for a Unix socket.
    /// Tables that are named without a database are in this one, and so is the table of offsets.
    pub url: Secret,

    /// The password, where the URL does not hold it.
    #[serde(default)]
    pub password: Option<Secret>,

    /// File with the password, read again at every connection, so that a rotated password is picked up.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub password_file: Option<PathBuf>,

    /// Encryption of the connection.
    #[serde(default)]
    pub tls: TlsConfig,
}

// === impl MySqlSinkConfig ===

impl MySqlSinkConfig {
    /// Refuses what cannot be a way to a server, without a look at one.
    ///
    /// # Errors
    /// Definite `config`; transient where the password's file cannot be read.
    pub fn validate(&self) -> Result<()> {
        Endpoint::resolve(self).map(drop)
    }
}
