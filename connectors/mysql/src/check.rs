//! Preflight: every problem at once, each with the statement that fixes it. Read-only.
//!
//! What the server says is gathered once into [`Facts`]; the submodules judge it without asking anything, so that every verdict
//! has a test that needs no server.

mod log;
pub(crate) mod rights;
mod server;
mod tables;

use tailrace_core::Result;
use tailrace_core::check::Finding;
use tailrace_sql::log_config::TlsMode;

use crate::config::MySqlConfig;
use crate::connect::{Purpose, connect};
use crate::dialect;
use crate::discover::foreign_key::{self, ForeignKey};
use crate::discover::{Discovery, survey};
use crate::endpoint::Endpoint;
use crate::server::{Flavour, Identity, ServerFacts, identify, server_facts};

/// Everything that is judged.
struct Facts<'a> {
    config: &'a MySqlConfig,
    server: ServerFacts,
    discovery: Discovery,
    /// Those that change rows of captured tables.
    foreign_keys: Vec<ForeignKey>,
}

/// What was found out before more could not be asked for.
enum Look<'a> {
    /// The server is none that the other questions could be asked of.
    Unfit(Identity),
    Facts(Box<Facts<'a>>),
}

/// Looks at everything and tells all that is wrong.
pub(crate) async fn check(config: &MySqlConfig, flavour: Flavour) -> Vec<Finding> {
    let mut findings = config.problems();
    if !findings.is_empty() {
        return findings;
    }
    findings.extend(encryption(config));
    if let Some(query) = &config.query {
        findings.extend(dialect::check(config, query, flavour).await);
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        return findings;
    }
    match look(config).await {
        Ok(Look::Unfit(identity)) => findings.extend(server::judge_identity(&identity, flavour)),
        Ok(Look::Facts(facts)) => {
            findings.extend(server::judge_identity(&facts.server.identity, flavour));
            findings.extend(judge(&facts));
        }
        Err(error) => findings.push(Finding::from(&error)),
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

async fn look(config: &MySqlConfig) -> Result<Look<'_>> {
    let mut connection = connect(config, Purpose::Catalog).await?;
    let identity = identify(&mut connection).await?;
    if identity.verify_version().is_err() {
        return Ok(Look::Unfit(identity));
    }
    let server = server_facts(&mut connection).await?;
    let discovery = survey(&mut connection, config, server.flavour()).await?;
    let foreign_keys = foreign_key::acting_on(&mut connection, &discovery.selection.captured).await?;
    Ok(Look::Facts(Box::new(Facts {
        config,
        server,
        discovery,
        foreign_keys,
    })))
}

fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = log::judge(facts);
    findings.extend(server::judge(facts));
    findings.extend(rights::judge(facts));
    findings.extend(tables::judge(facts));
    findings
}

fn encryption(config: &MySqlConfig) -> Option<Finding> {
    let endpoint = Endpoint::resolve(config).ok()?;
    let server = endpoint.server();
    match endpoint.tls_mode {
        TlsMode::Require => Some(Finding::warning(
            "tls_unverified",
            format!(
                "the connection to {server} is encrypted, but whoever answers is believed: somebody in between could read everything"
            ),
            "tls: { mode: verify_full, ca_file: … }",
        )),
        TlsMode::Disable if !endpoint.host.is_local() => Some(Finding::warning(
            "tls_disabled",
            format!(
                "rows cross the network to {server} in plain text, and the password can be had by whoever answers in the server's place"
            ),
            "tls: { mode: verify_full, ca_file: … }",
        )),
        TlsMode::Disable | TlsMode::VerifyCa | TlsMode::VerifyFull => None,
    }
}

/// Facts in memory, for the tests of each kind of verdict.
#[cfg(test)]
mod testing {
    use super::*;
    use crate::discover::catalog::{Details, RelationKind};
    use crate::discover::testing::{discovery, relation};
    use crate::server::testing::mysql;

    pub(super) const ORDERS: &str = r#""tables": ["shop.orders"]"#;

    /// Findings about the tables `orders` and `lines` of the schema `shop`, after `change`.
    pub(super) fn judged(
        judge: fn(&Facts<'_>) -> Vec<Finding>,
        json: &str,
        change: impl FnOnce(&mut Facts<'_>),
    ) -> Vec<Finding> {
        judged_with(judge, json, |_| {}, change)
    }

    /// As [`judged`], after a change of what the catalogue says.
    pub(super) fn judged_with(
        judge: fn(&Facts<'_>) -> Vec<Finding>,
        json: &str,
        change_details: impl FnOnce(&mut Details),
        change: impl FnOnce(&mut Facts<'_>),
    ) -> Vec<Finding> {
        let config: MySqlConfig = serde_json::from_str(&format!(r#"{{"url": "mysql://u@h/", {json}}}"#)).unwrap();
        let relations = vec![
            relation("lines", RelationKind::Table),
            relation("orders", RelationKind::Table),
            relation("orders_view", RelationKind::View),
        ];
        let mut facts = Facts {
            config: &config,
            server: mysql(),
            discovery: discovery(&config, relations, change_details),
            foreign_keys: Vec::new(),
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
    use super::testing::{ORDERS, codes, judged};
    use super::*;

    #[test]
    fn a_server_without_faults_has_no_findings_but_what_is_not_seen() {
        assert_eq!(
            codes(&judged(judge, ORDERS, |_| {})),
            ["unseen_changes", "prepared_unseen"]
        );
    }

    #[test]
    fn connections_that_could_be_listened_to_are_told() {
        let told = |url: &str| {
            let config = serde_json::from_value(serde_json::json!({ "url": url, "tables": ["shop.t"] })).unwrap();
            encryption(&config).map(|finding| finding.code)
        };
        assert_eq!(told("mysql://u@db.example/"), None);
        assert_eq!(told("mysql://u@localhost/"), None);
        assert_eq!(told("mysql://u@db.example/?ssl-mode=required"), Some("tls_unverified"));
        assert_eq!(told("mysql://u@db.example/?ssl-mode=disabled"), Some("tls_disabled"));
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_configuration_is_told_without_a_server() {
        let json = serde_json::json!({ "url": "mysql://u@h/", "tables": [] });
        let findings = check(&serde_json::from_value(json).unwrap(), Flavour::MySql).await;
        assert_eq!(codes(&findings), ["config"]);
    }
}
