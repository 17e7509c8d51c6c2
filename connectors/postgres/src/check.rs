//! Preflight: every problem at once, each with the statement or setting that fixes it. Read-only.
//!
//! What the server says is gathered once into [`Facts`]; the submodules judge it without asking anything, so that every verdict
//! has a test that needs no server.

pub(crate) mod polled;
mod publication;
mod server;
mod slot;
mod tables;

use tailrace_core::Result;
use tailrace_core::check::Finding;
use tailrace_sql::log_config::TlsMode;
use tokio_postgres::Client;

use crate::config::{PostgresConfig, ServerNames};
use crate::connect::{OUTPUT_SETTINGS, Purpose, connect};
use crate::discover::{Discovery, survey};
use crate::endpoint::Endpoint;
use crate::error::query_error;
use crate::slot::Slot;

/// The output plugin that every server has.
pub(crate) const PLUGIN: &str = "pgoutput";

/// A transaction that is younger will most likely be over before a slot is made.
const OLD_TRANSACTION_SECONDS: i64 = 10;

/// Everything that is judged.
struct Facts<'a> {
    config: &'a PostgresConfig,
    names: ServerNames,
    discovery: Discovery,
    slot: Option<Slot>,
    surroundings: Surroundings,
}

/// What is there besides the captured tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Surroundings {
    /// Output settings that did not reach the server.
    ignored_settings: Vec<&'static str>,
    /// Transactions that hold up the making of a slot.
    transactions: Vec<OldTransaction>,
    /// Sequences.
    sequences: i64,
    /// Large objects.
    large_objects: bool,
    /// Replication origins, looked up where some are left out.
    origins: Vec<String>,
}

/// A transaction that writes, or is prepared, and has not ended for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OldTransaction {
    /// Process, or global identifier of a prepared transaction.
    holder: Holder,
    /// Role.
    role: String,
    /// Since when, seconds.
    age_seconds: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    Process(i32),
    Prepared(String),
}

/// Looks at everything and tells all that is wrong.
pub(crate) async fn check(config: &PostgresConfig, connector: &str) -> Vec<Finding> {
    let mut findings = config.problems(connector);
    if !findings.is_empty() {
        return findings;
    }
    findings.extend(encryption(config));
    match look(config, connector).await {
        Ok(facts) => findings.extend(judge(&facts)),
        Err(error) => findings.push(Finding::from(&error)),
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

async fn look<'a>(config: &'a PostgresConfig, connector: &str) -> Result<Facts<'a>> {
    let session = connect(config, connector, Purpose::Check).await?;
    let names = config.server_names(connector)?;
    let discovery = survey(&session, config, connector).await?;
    // A standby has no WAL position of its own, which the slot's costs are told by.
    let slot = match discovery.server.in_recovery {
        true => None,
        false => Slot::read(&session, &names.slot).await?,
    };
    let surroundings = surroundings(&session, config).await?;
    Ok(Facts {
        config,
        names,
        discovery,
        slot,
        surroundings,
    })
}

fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = server::judge(facts);
    findings.extend(tables::judge(facts));
    findings.extend(publication::judge(facts));
    findings.extend(slot::judge(facts));
    findings
}

fn encryption(config: &PostgresConfig) -> Option<Finding> {
    let endpoint = Endpoint::resolve(&config.access()).ok()?;
    let server = endpoint.server();
    let remote = endpoint.hosts.iter().any(|host| !host.is_local());
    match endpoint.tls_mode {
        TlsMode::Require => Some(Finding::warning(
            "tls_unverified",
            format!(
                "the connection to {server} is encrypted, but whoever answers is believed: somebody in between could read everything"
            ),
            "tls: { mode: verify_full, ca_file: … }",
        )),
        TlsMode::Disable if remote => Some(Finding::warning(
            "tls_disabled",
            format!("rows and password cross the network to {server} in plain text"),
            "tls: { mode: verify_full, ca_file: … }",
        )),
        TlsMode::Disable | TlsMode::VerifyCa | TlsMode::VerifyFull => None,
    }
}

async fn surroundings(client: &Client, config: &PostgresConfig) -> Result<Surroundings> {
    let wrap = |error| query_error(&error, "look around in the database");
    let query =
        "SELECT (SELECT count(*) FROM pg_catalog.pg_sequence), EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)";
    let row = client.query_one(query, &[]).await.map_err(wrap)?;
    Ok(Surroundings {
        ignored_settings: ignored_settings(client).await?,
        transactions: old_transactions(client).await?,
        sequences: row.try_get(0).map_err(wrap)?,
        large_objects: row.try_get(1).map_err(wrap)?,
        origins: match config.skip_written_by.is_empty() {
            true => Vec::new(),
            false => origins(client).await?,
        },
    })
}

async fn origins(client: &Client) -> Result<Vec<String>> {
    let wrap = |error| query_error(&error, "list replication origins");
    let query = "SELECT roname::text FROM pg_catalog.pg_replication_origin";
    let rows = client.query(query, &[]).await.map_err(wrap)?;
    rows.iter().map(|row| row.try_get(0).map_err(wrap)).collect()
}

/// Settings of our sessions that a pooler did not pass on.
async fn ignored_settings(client: &Client) -> Result<Vec<&'static str>> {
    let wrap = |error| query_error(&error, "look around in the database");
    let mut ignored = Vec::new();
    for (name, value) in OUTPUT_SETTINGS {
        let row = client
            .query_one("SELECT current_setting($1)", &[&name])
            .await
            .map_err(wrap)?;
        let actual: String = row.try_get(0).map_err(wrap)?;
        // DateStyle comes back with the order of day and month, which ISO output does not use.
        if actual != value && !actual.starts_with(&format!("{value},")) {
            ignored.push(name);
        }
    }
    Ok(ignored)
}

/// Those with a transaction number: a slot can only be made when all that run at that moment have ended.
async fn old_transactions(client: &Client) -> Result<Vec<OldTransaction>> {
    const RUNNING: &str = "
        SELECT pid, coalesce(usename::text, ''), extract(epoch FROM clock_timestamp() - xact_start)::bigint
        FROM pg_catalog.pg_stat_activity
        WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - $1 * interval '1 second'";
    const PREPARED: &str = "
        SELECT gid, owner::text, extract(epoch FROM clock_timestamp() - prepared)::bigint
        FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()";
    let wrap = |error| query_error(&error, "list open transactions");
    let old_seconds = i32::try_from(OLD_TRANSACTION_SECONDS).unwrap_or(i32::MAX);
    let running = client.query(RUNNING, &[&f64::from(old_seconds)]).await.map_err(wrap)?;
    let prepared = client.query(PREPARED, &[]).await.map_err(wrap)?;
    let read = || {
        let running = running
            .iter()
            .map(|row| transaction(row, Holder::Process(row.try_get(0)?)));
        let prepared = prepared
            .iter()
            .map(|row| transaction(row, Holder::Prepared(row.try_get(0)?)));
        running
            .chain(prepared)
            .collect::<Result<Vec<_>, tokio_postgres::Error>>()
    };
    read().map_err(wrap)
}

fn transaction(row: &tokio_postgres::Row, holder: Holder) -> Result<OldTransaction, tokio_postgres::Error> {
    Ok(OldTransaction {
        holder,
        role: row.try_get(1)?,
        age_seconds: row.try_get(2)?,
    })
}

/// Facts in memory, for the tests of each kind of verdict.
#[cfg(test)]
mod testing {
    use super::*;
    use crate::discover::catalog::RelationKind;
    use crate::discover::testing::{discovery, relation};

    /// Codes of the findings about the table `orders`, after `change`.
    pub(super) fn judged(
        judge: fn(&Facts<'_>) -> Vec<Finding>,
        json: &str,
        change: impl FnOnce(&mut Facts<'_>),
    ) -> Vec<Finding> {
        let config: PostgresConfig =
            serde_json::from_str(&format!(r#"{{"url": "postgres://u@h/d", {json}}}"#)).unwrap();
        let orders = relation(1, "orders", RelationKind::Table, None);
        let mut facts = Facts {
            config: &config,
            names: config.server_names("orders").unwrap(),
            discovery: discovery(&config, vec![orders], |_| {}),
            slot: None,
            surroundings: Surroundings::default(),
        };
        change(&mut facts);
        judge(&facts)
    }

    pub(super) fn codes(findings: &[Finding]) -> Vec<&'static str> {
        findings.iter().map(|finding| finding.code).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::judged;
    use super::*;

    #[test]
    fn a_server_without_faults_has_no_findings() {
        assert_eq!(judged(judge, r#""tables": ["orders"]"#, |_| {}), []);
    }

    #[test]
    fn connections_that_could_be_listened_to_are_told() {
        let told = |url: &str| {
            let config = serde_json::from_value(serde_json::json!({ "url": url, "tables": ["t"] })).unwrap();
            encryption(&config).map(|finding| finding.code)
        };
        assert_eq!(told("postgres://u@db.example/d"), None);
        assert_eq!(told("postgres://u@localhost/d"), None);
        assert_eq!(
            told("postgres://u@db.example/d?sslmode=require"),
            Some("tls_unverified")
        );
        assert_eq!(told("postgres://u@db.example/d?sslmode=disable"), Some("tls_disabled"));
    }
}
