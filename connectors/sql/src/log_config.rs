//! What every source that reads a database's own log may be told: which tables, how their rows are read first, who we are and how
//! the connection is encrypted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::pattern::{TablePattern, glob_matches};
use tailrace_core::secret::Secret;
use tailrace_core::setting::{LocalFile, SqlText};
use tailrace_core::{Error, Result};

/// Whether the rows that are there already are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotMode {
    /// At the first start, then the log.
    #[default]
    Initial,
    /// Never: only what changes from the first start on.
    Never,
    /// Only they: the connector stops when all are carried.
    Only,
}

/// In which order the rows of a snapshot come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotOrder {
    /// As they lie on disk: fastest.
    #[default]
    Physical,
    /// By the connector's updated-at column within each table: the server sorts.
    UpdatedAt,
}

/// Which rows of a table a snapshot reads that is asked for with this condition.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotCondition {
    /// The table, in full: `public.orders`.
    pub table: String,

    /// SQL that is true for the rows that are wanted, as after `WHERE`: `created_at > now() - interval '7 days'`. It may only read.
    #[serde(rename = "where")]
    #[schemars(with = "SqlText")]
    pub condition: String,
}

/// Encryption of the connection.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// By default `verify_full`, and `disable` for Unix sockets and loopback addresses.
    #[serde(default)]
    pub mode: Option<TlsMode>,

    /// Certificates (PEM) of the authorities to trust; by default the system's.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub ca_file: Option<PathBuf>,

    /// Our certificate and its chain (PEM), for servers that ask for one.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub certificate_file: Option<PathBuf>,

    /// The private key (PEM) of `certificate_file`.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub key_file: Option<PathBuf>,
}

/// How far the server's identity is checked. There is no mode that falls back to plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// No encryption.
    Disable,
    /// Encrypted, but whoever answers is believed.
    Require,
    /// Encrypted, and the certificate is from a trusted authority, for whatever host.
    VerifyCa,
    /// Encrypted, and the certificate is from a trusted authority for this host.
    VerifyFull,
}

/// Files of certificates (PEM), from the configuration and from the URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities to trust; the system's where there is none.
    pub ca_file: Option<PathBuf>,
    /// Our certificate.
    pub certificate_file: Option<PathBuf>,
    /// Our private key.
    pub key_file: Option<PathBuf>,
}

/// Which tables are captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePatterns {
    /// What is captured.
    pub include: Vec<TablePattern>,
    /// What is left out again.
    pub exclude: Vec<TablePattern>,
    /// Schemas of the server itself, in any case; they are never captured.
    pub system_schemas: &'static [&'static str],
}

/// What is wrong with the conditions of snapshots.
///
/// # Errors
/// Definite `config`.
pub fn check_conditions(conditions: &BTreeMap<String, SnapshotCondition>) -> Result<()> {
    for (name, SnapshotCondition { table, condition }) in conditions {
        if table.is_empty() || table.contains(['*', '?']) {
            let message = format!(
                "`snapshot.conditions.{name}.table` is `{table}`; name one table in full, such as `public.orders`"
            );
            return Err(Error::definite("config", message));
        }
        if condition.trim().is_empty() {
            let message =
                format!("`snapshot.conditions.{name}.where` is empty; write what is true for the rows that are wanted");
            return Err(Error::definite("config", message));
        }
    }
    Ok(())
}

/// The qualified names of the tables of conditions, by the names of these.
#[must_use]
pub fn tables_of_conditions(
    conditions: &BTreeMap<String, SnapshotCondition>,
    default_schema: Option<&str>,
) -> BTreeMap<String, String> {
    let table = |(name, condition): (&String, &SnapshotCondition)| {
        let qualified = match default_schema {
            Some(schema) if !condition.table.contains('.') => format!("{schema}.{}", condition.table),
            _ => condition.table.clone(),
        };
        (name.clone(), qualified)
    };
    conditions.iter().map(table).collect()
}

/// Whether one of the patterns of `skip_written_by` means a sink's connector.
pub fn is_skipped(patterns: &[String], connector: &str) -> bool {
    patterns.iter().any(|pattern| glob_matches(pattern, connector))
}

/// What is wrong with the patterns of `skip_written_by`.
///
/// # Errors
/// Definite `config`.
pub fn check_skipped(patterns: &[String]) -> Result<()> {
    if patterns.iter().any(String::is_empty) {
        let message = "`skip_written_by` has an empty name; write names of sink connectors, or `*` for all of them";
        return Err(Error::definite("config", message));
    }
    Ok(())
}

/// The one password that is given: in the URL, in the configuration, or in a file, which is read now.
///
/// # Errors
/// Definite, where there is more than one; transient, where the file cannot be read, because a secret that is being rotated may be
/// missing for a moment.
pub fn password(in_url: Option<String>, given: Option<&Secret>, file: Option<&Path>) -> Result<Option<Secret>> {
    match (in_url, given, file) {
        (None, None, None) => Ok(None),
        (Some(password), None, None) => Ok(Some(Secret::new(password))),
        (None, Some(password), None) => Ok(Some(password.clone())),
        (None, None, Some(file)) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                let message = format!("cannot read the password file {}", file.display());
                Error::transient("source_authentication", message).with_source(error)
            })?;
            Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))))
        }
        (Some(_), _, _) | (None, Some(_), Some(_)) => Err(Error::definite(
            "config",
            "the password is given more than once; keep it in one of `url`, `password` and `password_file`",
        )),
    }
}

// === impl TlsConfig ===

impl TlsConfig {
    /// The mode that holds. `in_url` is what the URL's parameter says, which is called `parameter` there; `unix` and `local` say
    /// whether the server is reached through a Unix socket, or without leaving the machine.
    ///
    /// # Errors
    /// Definite, where configuration and URL differ, or where a Unix socket is to be encrypted.
    pub fn mode(&self, in_url: Option<TlsMode>, parameter: &str, (unix, local): (bool, bool)) -> Result<TlsMode> {
        let said = match (self.mode, in_url) {
            (Some(mode), Some(other)) if mode != other => {
                let message = format!("`tls.mode` and the {parameter} of the `url` differ; keep one of them");
                return Err(Error::definite("config", message));
            }
            (mode, other) => mode.or(other),
        };
        match said {
            Some(mode) if unix && mode != TlsMode::Disable => Err(Error::definite(
                "config",
                "TLS does not run over a Unix socket; name the host in the `url`, or set `tls.mode: disable`",
            )),
            Some(mode) => Ok(mode),
            None if local => Ok(TlsMode::Disable),
            None => Ok(TlsMode::VerifyFull),
        }
    }

    /// The configuration's files, and those of the URL where it names none.
    ///
    /// # Errors
    /// Definite, for a certificate without its key or a key without its certificate.
    pub fn files(&self, in_url: TlsFiles) -> Result<TlsFiles> {
        let files = TlsFiles {
            ca_file: self.ca_file.clone().or(in_url.ca_file),
            certificate_file: self.certificate_file.clone().or(in_url.certificate_file),
            key_file: self.key_file.clone().or(in_url.key_file),
        };
        if files.certificate_file.is_some() == files.key_file.is_some() {
            return Ok(files);
        }
        Err(Error::definite(
            "config",
            "`tls.certificate_file` and `tls.key_file` belong together; give both or none",
        ))
    }
}

// === impl TablePatterns ===

impl TablePatterns {
    /// Whether a pattern of `tables` fits.
    #[must_use]
    pub fn includes(&self, schema: &str, table: &str) -> bool {
        self.include.iter().any(|pattern| pattern.matches(schema, table))
    }

    /// Whether a table of this name is captured, if there is one.
    #[must_use]
    pub fn captures(&self, schema: &str, table: &str) -> bool {
        let is_system = self
            .system_schemas
            .iter()
            .any(|system| schema.eq_ignore_ascii_case(system));
        !is_system && self.includes(schema, table) && !self.excludes(schema, table)
    }

    /// Whether a pattern of `exclude` fits.
    #[must_use]
    pub fn excludes(&self, schema: &str, table: &str) -> bool {
        self.exclude.iter().any(|pattern| pattern.matches(schema, table))
    }
}
