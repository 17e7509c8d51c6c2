//! Preflight of a target: every problem at once, each with the statement that fixes it. Creates nothing.

use std::collections::BTreeSet;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tailrace_core::Result;
use tailrace_core::check::Finding;
use tailrace_core::schema::TableName;
use tailrace_sql::log_config::TlsMode;
use tailrace_sql::sink::SinkRules;
use tailrace_sql::sink::check::{named_tables, table_findings, unnamed_topics};
use tailrace_sql::sink::config::WriteConfig;
use tailrace_sql::sink::error::of_target;

use super::config::MySqlSinkConfig;
use super::definitions::MySqlDefinitions;
use super::describe::describe;
use super::offsets;
use super::session::connect_for;
use crate::connect::Texts;
use crate::endpoint::Endpoint;
use crate::grants::{self, statement};
use crate::quote::literal;
use crate::server::{self, Flavour, Grants, Identity};

/// Less than this, and a row with a large text in it is refused.
const PACKET_BYTES: u64 = 16 << 20;

/// What the server says of itself and of us.
struct Facts {
    /// `name`@`host`, quoted.
    user: String,
    grants: Grants,
    /// The one that the sessions are in.
    database: String,
    read_only: bool,
    /// The binary log has statements.
    logs_statements: bool,
    packet_bytes: u64,
    has_offsets: bool,
    /// Schema and table of the offsets.
    offsets: (String, String),
    /// Those of the topics that are named.
    named: BTreeSet<(String, String)>,
    /// Of other topics nobody knows the tables before there are events.
    has_unnamed: bool,
}

/// Looks at everything and tells all that is wrong.
pub(super) async fn check(
    config: &MySqlSinkConfig,
    rules: &SinkRules,
    flavour: Flavour,
    topics: &[String],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(encryption(config));
    match look(config, rules, flavour, topics).await {
        Ok((facts, of_tables)) => {
            findings.extend(judge(&facts, rules.config()));
            findings.extend(of_tables);
        }
        Err(error) => findings.push(Finding::from(&error)),
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// The facts, and what is wrong with the tables of topics.
async fn look(
    config: &MySqlSinkConfig,
    rules: &SinkRules,
    flavour: Flavour,
    topics: &[String],
) -> Result<(Facts, Vec<Finding>)> {
    let (mut connection, identity, database) = connect_for(config, flavour, rules.config()).await?;
    let mut facts = facts(&mut connection, &identity, database, rules.config()).await?;
    facts.has_unnamed = !unnamed_topics(topics).is_empty();
    let definitions = MySqlDefinitions::of(&identity);
    let mut findings = Vec::new();
    for (topic, name) in named_tables(rules, definitions, topics) {
        let schema = match name.schema.is_empty() {
            true => &facts.database,
            false => &name.schema,
        };
        facts.named.insert((schema.clone(), name.table.clone()));
        match describe(&mut connection, flavour, schema, &name.table).await {
            Ok(table) => findings.extend(table_findings(
                rules.config(),
                definitions,
                (topic, &name),
                table.as_ref(),
            )),
            Err(error) => findings.push(Finding::from(&of_target(error))),
        }
    }
    Ok((facts, findings))
}

async fn facts(connection: &mut Conn, identity: &Identity, database: String, write: &WriteConfig) -> Result<Facts> {
    let rows = asked(
        connection,
        "SELECT @@GLOBAL.read_only, @@GLOBAL.log_bin, @@GLOBAL.binlog_format, @@GLOBAL.max_allowed_packet, CURRENT_USER()",
    )
    .await?;
    let text = |column: usize| {
        rows.first()
            .and_then(|row| row.text(column))
            .unwrap_or_default()
            .to_owned()
    };
    let (name, host) = text(4)
        .rsplit_once('@')
        .map_or((text(4), "%".to_owned()), |(name, host)| {
            (name.to_owned(), host.to_owned())
        });
    let granted = server::granted(connection, identity).await.map_err(of_target)?;
    let (schema, table) = grants::table_named(write.offsets_name(), &database);
    let offsets = (schema.to_owned(), table.to_owned());
    let query = format!(
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        literal(&offsets.0),
        literal(&offsets.1)
    );
    let has_offsets = !asked(connection, &query).await?.is_empty();
    Ok(Facts {
        user: statement::user(&name, &host),
        grants: granted,
        database,
        read_only: text(0) != "0",
        logs_statements: text(1) == "1" && text(2).eq_ignore_ascii_case("statement"),
        packet_bytes: text(3).parse().unwrap_or(u64::MAX),
        has_offsets,
        offsets,
        named: BTreeSet::new(),
        has_unnamed: false,
    })
}

async fn asked(connection: &mut Conn, query: &str) -> Result<Vec<Texts>> {
    let rows = connection.query(query).await;
    rows.map_err(|error| super::error::target_error(&error, "look at the server"))
}

fn judge(facts: &Facts, write: &WriteConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.read_only {
        findings.push(Finding::blocks(
            "target_read_only",
            "the server takes no writes (read_only)",
            "name the server that takes them in the `url`, or SET GLOBAL read_only = OFF;",
        ));
    }
    if facts.logs_statements {
        findings.push(Finding::blocks(
            "binlog_format",
            "the binary log has statements, and rows are written at READ COMMITTED, which such a log cannot hold",
            "SET GLOBAL binlog_format = 'ROW';",
        ));
    }
    if facts.packet_bytes < PACKET_BYTES {
        findings.push(Finding::warning(
            "row_too_large",
            format!(
                "the server takes statements of {} bytes, and a row of more is refused",
                facts.packet_bytes
            ),
            format!("SET GLOBAL max_allowed_packet = {PACKET_BYTES};"),
        ));
    }
    findings.extend(rights(facts, write));
    findings.extend(offsets_table(facts));
    findings.push(Finding::note(
        "loops",
        format!(
            "each transaction of the sink begins with a row of {}.{}: that is how a source on this server knows what the sink has written",
            facts.offsets.0, facts.offsets.1
        ),
    ));
    findings
}

/// Rights on the tables that are known, and where there are others, on all of the database.
fn rights(facts: &Facts, write: &WriteConfig) -> Vec<Finding> {
    let needed = grants::privileges(write);
    let missing = |schema: &str, table: &str| {
        let is_missing = |privilege: &&&str| !facts.grants.on_table(privilege, schema, table);
        let missing: Vec<&str> = needed.iter().filter(is_missing).copied().collect();
        (!missing.is_empty()).then(|| missing.join(", "))
    };
    let named = facts.named.iter().filter_map(|(schema, table)| {
        let missing = missing(schema, table)?;
        Some(Finding::blocks(
            "insufficient_privilege",
            format!("the user {} lacks {missing} on the table {schema}.{table}", facts.user),
            format!("{};", statement::on_table(&missing, schema, table, &facts.user)),
        ))
    });
    let mut findings: Vec<Finding> = named.collect();
    // Of a table that has no rights of its own.
    if let Some(missing) = missing(&facts.database, "").filter(|_| facts.has_unnamed) {
        findings.push(Finding::warning(
            "insufficient_privilege",
            format!(
                "the user {} lacks {missing} on the database {}; rights on single tables are not looked at, because of some topics it is not known \
                 which tables they have",
                facts.user, facts.database
            ),
            format!("{};", statement::on_schema(&missing, &facts.database, &facts.user)),
        ));
    }
    findings
}

fn offsets_table(facts: &Facts) -> Option<Finding> {
    let table = TableName {
        database: String::new(),
        schema: facts.offsets.0.clone(),
        table: facts.offsets.1.clone(),
    };
    let quoted = offsets::quoted(&table.qualified());
    if facts.has_offsets {
        let may_not = |privilege: &&&str| !facts.grants.on_table(privilege, &table.schema, &table.table);
        let missing: Vec<&str> = ["SELECT", "INSERT", "UPDATE"].iter().filter(may_not).copied().collect();
        let missing = missing.join(", ");
        return (!missing.is_empty()).then(|| {
            Finding::blocks(
                "insufficient_privilege",
                format!(
                    "the user {} lacks {missing} on the table of offsets, {}",
                    facts.user,
                    table.qualified()
                ),
                format!(
                    "{};",
                    statement::on_table(&missing, &table.schema, &table.table, &facts.user)
                ),
            )
        });
    }
    let may_create = facts.grants.on_table("CREATE", &table.schema, &table.table);
    let create = offsets::create_statement(&quoted);
    Some(match may_create {
        true => Finding::note(
            "offsets_table_missing",
            format!(
                "the table of offsets, {}, is not there; it is made at the first start",
                table.qualified()
            ),
        ),
        false => Finding::blocks(
            "offsets_table_missing",
            format!(
                "the table of offsets, {}, is not there, and the user {} may not make it",
                table.qualified(),
                facts.user
            ),
            format!(
                "{create}; {};",
                statement::on_table("SELECT, INSERT, UPDATE", &table.schema, &table.table, &facts.user)
            ),
        ),
    })
}

fn encryption(config: &MySqlSinkConfig) -> Option<Finding> {
    let endpoint = Endpoint::resolve(config).ok()?;
    let server = endpoint.server();
    match endpoint.tls_mode {
        TlsMode::Require => Some(Finding::warning(
            "tls_unverified",
            format!("the connection to {server} is encrypted, but whoever answers is believed"),
            "tls: { mode: verify_full, ca_file: … }",
        )),
        TlsMode::Disable if !endpoint.host.is_local() => Some(Finding::warning(
            "tls_disabled",
            format!("rows cross the network to {server} in plain text"),
            "tls: { mode: verify_full, ca_file: … }",
        )),
        TlsMode::Disable | TlsMode::VerifyCa | TlsMode::VerifyFull => None,
    }
}

#[cfg(test)]
mod tests {
    use tailrace_sql::sink::config::Evolve;

    use super::*;

    fn facts(grant: &str) -> Facts {
        Facts {
            user: "`tailrace`@`%`".to_owned(),
            grants: Grants::parse([grant]),
            database: "shop".to_owned(),
            read_only: false,
            logs_statements: false,
            packet_bytes: 64 << 20,
            has_offsets: true,
            offsets: ("shop".to_owned(), "tailrace_offsets".to_owned()),
            named: BTreeSet::new(),
            has_unnamed: true,
        }
    }

    fn codes(facts: &Facts, write: &WriteConfig) -> Vec<&'static str> {
        judge(facts, write).iter().map(|finding| finding.code).collect()
    }

    fn named(grants: &[&'static str], write: &WriteConfig) -> Vec<Finding> {
        let mut facts = facts("GRANT SELECT, INSERT, UPDATE ON `shop`.`tailrace_offsets` TO `tailrace`@`%`");
        let own = "GRANT SELECT, INSERT, UPDATE ON `shop`.`tailrace_offsets` TO `tailrace`@`%`";
        facts.grants = Grants::parse(grants.iter().copied().chain([own]));
        facts.named = BTreeSet::from([("shop".to_owned(), "orders".to_owned())]);
        facts.has_unnamed = false;
        judge(&facts, write)
    }

    #[test]
    fn rights_on_tables_that_are_known_are_looked_at() {
        let all = "GRANT SELECT, INSERT, UPDATE, DELETE ON `shop`.`orders` TO `tailrace`@`%`";
        assert_eq!(named(&[all], &WriteConfig::default()).len(), 1);
        let findings = named(
            &["GRANT SELECT, INSERT ON `shop`.`orders` TO `tailrace`@`%`"],
            &WriteConfig::default(),
        );
        assert_eq!(findings[0].severity, tailrace_core::check::Severity::Blocks);
        assert_eq!(
            findings[0].remedy,
            "GRANT UPDATE, DELETE ON `shop`.`orders` TO `tailrace`@`%`;"
        );
    }

    const ENOUGH: &str = "GRANT SELECT, INSERT, UPDATE, DELETE ON `shop`.* TO `tailrace`@`%`";

    #[test]
    fn a_server_without_faults_has_a_note_alone() {
        assert_eq!(codes(&facts(ENOUGH), &WriteConfig::default()), ["loops"]);
    }

    #[test]
    fn what_is_missing_is_granted() {
        let evolving = WriteConfig {
            evolve: Evolve::Add,
            ..WriteConfig::default()
        };
        let findings = judge(&facts(ENOUGH), &evolving);
        assert_eq!(findings[0].remedy, "GRANT CREATE, ALTER ON `shop`.* TO `tailrace`@`%`;");
        let mut none = facts("GRANT SELECT ON `shop`.* TO `tailrace`@`%`");
        assert_eq!(
            codes(&none, &WriteConfig::default()),
            ["insufficient_privilege", "insufficient_privilege", "loops"]
        );
        none.has_offsets = false;
        let findings = judge(&none, &WriteConfig::default());
        let table = findings
            .iter()
            .find(|finding| finding.code == "offsets_table_missing")
            .unwrap();
        assert!(
            table
                .remedy
                .contains("CREATE TABLE IF NOT EXISTS `shop`.`tailrace_offsets`"),
            "{table:?}"
        );
    }

    #[test]
    fn what_keeps_the_server_from_writing_is_told() {
        let mut facts = facts(ENOUGH);
        facts.read_only = true;
        facts.logs_statements = true;
        facts.packet_bytes = 1 << 20;
        assert_eq!(
            codes(&facts, &WriteConfig::default()),
            ["target_read_only", "binlog_format", "row_too_large", "loops"]
        );
    }
}
