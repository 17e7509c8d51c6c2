//! What a PostgreSQL sink may be told of its connection.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::Result;
use tailrace_core::secret::Secret;
use tailrace_core::setting::LocalFile;
use tailrace_sql::log_config::TlsConfig;

use crate::config::PostgresConfig;
use crate::endpoint::{Access, Endpoint};

/// A PostgreSQL database that events are written into.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresSinkConfig {
    /// `postgres://user:password@host:5432/database`, or `host=… port=… user=… dbname=…` as in libpq. A host that begins with `/`
    /// is the folder of a Unix socket; without a host the usual socket folders are tried.
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

    /// Marks what is written with a replication origin, `tailrace_` and the connector's name and the writer's number, so that a source
    /// on the same database can leave it out. Takes a role that may use replication origins.
    #[serde(default)]
    pub mark_origin: bool,
}

// === impl PostgresSinkConfig ===

impl PostgresSinkConfig {
    /// What a connection needs.
    pub(crate) fn access(&self) -> Access<'_> {
        Access {
            url: &self.url,
            password: self.password.as_ref(),
            password_file: self.password_file.as_deref(),
            tls: &self.tls,
        }
    }

    /// The same database as one that is read.
    pub(crate) fn as_source(&self) -> PostgresConfig {
        PostgresConfig {
            password: self.password.clone(),
            password_file: self.password_file.clone(),
            tls: self.tls.clone(),
            ..PostgresConfig::at(self.url.clone())
        }
    }

    /// Whether the connection can be made at all.
    ///
    /// # Errors
    /// Definite `config`.
    pub(super) fn check(&self) -> Result<()> {
        Endpoint::resolve(&self.access()).map(drop)
    }
}
