//! What decides whether rows can be skipped: how the server is set up, and what our user may see of it.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tailrace_core::Result;

use crate::check::rights;
use crate::connect::{Texts, texts};
use crate::error::{is_denied, query_error, server_error_number};
use crate::grants::statement;
use crate::server::{Flavour, ServerFacts, Version, texts_where_allowed};

/// What makes locks of tables visible.
pub(super) const INSTRUMENT: &str = "wait/lock/metadata/sql/mdl";
/// From here on there is a table of them, and from here on they are instrumented unless somebody says otherwise.
pub(crate) const METADATA_LOCKS: Version = Version::new(5, 7, 3);
const INSTRUMENTED_BY_DEFAULT: Version = Version::new(8, 0, 0);
/// `XA RECOVER` of who lacks the right for it fails as if something were wrong with the transactions (`ER_XAER_RMERR`).
const XA_RESOURCE_ERROR: u16 = 1401;

/// How the server is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) server: ServerFacts,
    /// Whether open transactions can be waited for.
    pub(crate) ledger: Ledger,
    /// Transactions of others may be seen: how long they are open can be told.
    pub(crate) sees_others: bool,
    /// What the clock of DATETIME columns with `DEFAULT CURRENT_TIMESTAMP` shows, by default, is UTC all year round.
    pub(crate) clock_is_utc: bool,
}

/// Whether transactions that write to a table can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ledger {
    /// They can.
    Ready {
        /// Two transactions of one connection have two names.
        tells_transactions: bool,
    },
    /// They cannot.
    Missing {
        /// Why.
        reason: String,
        /// The statement that changes it.
        remedy: String,
    },
}

// === impl Facts ===

impl Facts {
    /// Asks for everything.
    pub(crate) async fn of(connection: &mut Conn, server: ServerFacts) -> Result<Self> {
        let transactions = "SELECT count(*) FROM information_schema.innodb_trx";
        let sees_others = texts_where_allowed(connection, transactions).await?.is_some();
        let ledger = match missing_from_server(&server) {
            Some((reason, remedy)) => Ledger::Missing { reason, remedy },
            None => Ledger::of(connection, &server, sees_others).await?,
        };
        Ok(Self {
            clock_is_utc: clock_is_utc(connection).await?,
            server,
            ledger,
            sees_others,
        })
    }
}

/// What no right and no statement helps against.
fn missing_from_server(server: &ServerFacts) -> Option<(String, String)> {
    if !server
        .identity
        .at_least(Some(METADATA_LOCKS), Some(Version::new(10, 5, 2)))
    {
        return Some((
            format!("{} does not show who writes to a table", server.identity),
            "query: { mode: queue }, or read the binary log".to_owned(),
        ));
    }
    (!server.performance_schema).then(|| {
        (
            "performance_schema is OFF, and so nobody can see who writes to a table".to_owned(),
            format!(
                "in the server's configuration: performance_schema = ON, performance_schema_instrument = '{INSTRUMENT}=ON'; then restart it"
            ),
        )
    })
}

/// The offset of the server's own time zone is nothing in winter and in summer.
async fn clock_is_utc(connection: &mut Conn) -> Result<bool> {
    let offset = |month: &str| {
        format!("TIMESTAMPDIFF(SECOND, '2026-{month}-01', CONVERT_TZ('2026-{month}-01', '+00:00', @@GLOBAL.time_zone))")
    };
    let query = format!("SELECT {}, {}", offset("01"), offset("07"));
    let rows = texts(connection, &query, "ask for the server's time zone").await?;
    let is_zero = |column| rows.first().and_then(|row| row.text(column)) == Some("0");
    Ok(is_zero(0) && is_zero(1))
}

// === impl Ledger ===

impl Ledger {
    async fn of(connection: &mut Conn, server: &ServerFacts, sees_others: bool) -> Result<Self> {
        let user = rights::user(server);
        let missing = |reason: &str, remedy: String| Self::Missing {
            reason: reason.to_owned(),
            remedy,
        };
        let Some(settings) = texts_where_allowed(connection, &settings_query(server.flavour())).await? else {
            return Ok(missing(
                "the user may not read performance_schema, where locks of tables are shown",
                format!("{};", statement::instruments(&user).join("; ")),
            ));
        };
        if let Some((reason, remedy)) = unfit_settings(&settings) {
            return Ok(missing(reason, remedy));
        }
        if !may_see_prepared(connection).await? {
            return Ok(missing(
                "the user may not see prepared XA transactions",
                format!("{};", statement::everywhere("XA_RECOVER_ADMIN", &user)),
            ));
        }
        // Where locks are instrumented from the server's start on, none was ever taken unseen.
        let by_default = server.identity.at_least(Some(INSTRUMENTED_BY_DEFAULT), None);
        if !sees_others && !by_default {
            return Ok(missing(
                "the user may not see transactions that were open before locks of tables were instrumented",
                format!("{};", statement::everywhere("PROCESS", &user)),
            ));
        }
        Ok(Self::Ready {
            tells_transactions: tells_transactions(&settings),
        })
    }
}

/// Names and values; also the right to read the locks themselves.
fn settings_query(flavour: Flavour) -> String {
    let status = match flavour {
        Flavour::MySql => "performance_schema.global_status",
        Flavour::MariaDb => "information_schema.GLOBAL_STATUS",
    };
    format!(
        "SELECT 'locks', 'YES' FROM performance_schema.metadata_locks WHERE FALSE \
         UNION ALL SELECT NAME, ENABLED FROM performance_schema.setup_instruments WHERE NAME IN ('{INSTRUMENT}', 'statement/sql/insert') \
         UNION ALL SELECT NAME, ENABLED FROM performance_schema.setup_consumers \
         UNION ALL SELECT VARIABLE_NAME, VARIABLE_VALUE FROM {status} \
         WHERE VARIABLE_NAME IN ('Performance_schema_metadata_lock_lost', 'Performance_schema_thread_instances_lost')"
    )
}

fn is_on(settings: &[Texts], name: &str) -> bool {
    let setting = settings
        .iter()
        .find(|row| row.text(0).is_some_and(|known| known.eq_ignore_ascii_case(name)));
    setting.and_then(|row| row.text(1)) == Some("YES")
}

fn unfit_settings(settings: &[Texts]) -> Option<(&'static str, String)> {
    if !is_on(settings, INSTRUMENT) {
        return Some((
            "locks of tables are not instrumented, and so nobody can see who writes to one",
            format!(
                "UPDATE performance_schema.setup_instruments SET ENABLED = 'YES' WHERE NAME = '{INSTRUMENT}'; \
                 -- and in the server's configuration: performance_schema_instrument = '{INSTRUMENT}=ON'"
            ),
        ));
    }
    if !is_on(settings, "global_instrumentation") {
        return Some((
            "nothing is instrumented, and so nobody can see who writes to a table",
            "UPDATE performance_schema.setup_consumers SET ENABLED = 'YES' WHERE NAME = 'global_instrumentation';"
                .to_owned(),
        ));
    }
    let lost = |row: &&Texts| {
        let is_lost = row
            .text(0)
            .is_some_and(|name| name.to_ascii_lowercase().ends_with("_lost"));
        is_lost && row.text(1) != Some("0")
    };
    settings.iter().find(lost).map(|_| {
        (
            "the server had no room for all locks of tables (Performance_schema_metadata_lock_lost, Performance_schema_thread_instances_lost)",
            "raise performance_schema_max_metadata_locks and performance_schema_max_thread_instances, and restart it".to_owned(),
        )
    })
}

/// Each statement is an event of its own.
fn tells_transactions(settings: &[Texts]) -> bool {
    [
        "thread_instrumentation",
        "events_statements_current",
        "statement/sql/insert",
    ]
    .iter()
    .all(|name| is_on(settings, name))
}

async fn may_see_prepared(connection: &mut Conn) -> Result<bool> {
    match connection.query_drop("XA RECOVER").await {
        Ok(()) => Ok(true),
        Err(error) if server_error_number(&error).is_some_and(|code| is_denied(code) || code == XA_RESOURCE_ERROR) => {
            Ok(false)
        }
        Err(error) => Err(query_error(&error, "ask for prepared XA transactions")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Identity;
    use crate::server::testing::{mariadb, mysql};

    fn settings(pairs: &[(&str, &str)]) -> Vec<Texts> {
        pairs.iter().map(|(name, value)| Texts::of(&[name, value])).collect()
    }

    const SOUND: [(&str, &str); 6] = [
        (INSTRUMENT, "YES"),
        ("global_instrumentation", "YES"),
        ("thread_instrumentation", "YES"),
        ("events_statements_current", "YES"),
        ("statement/sql/insert", "YES"),
        ("PERFORMANCE_SCHEMA_METADATA_LOCK_LOST", "0"),
    ];

    #[test]
    fn what_is_missing_is_named_with_the_statement_that_helps() {
        assert_eq!(unfit_settings(&settings(&SOUND)), None);
        assert!(tells_transactions(&settings(&SOUND)));
        let with = |index: usize, value| {
            let mut pairs = SOUND;
            pairs[index].1 = value;
            settings(&pairs)
        };
        let remedy = |index, value| unfit_settings(&with(index, value)).unwrap().1;
        assert!(remedy(0, "NO").starts_with("UPDATE performance_schema.setup_instruments"));
        assert!(remedy(1, "NO").contains("global_instrumentation"));
        assert!(remedy(5, "1").contains("performance_schema_max_metadata_locks"));
        assert!(!tells_transactions(&with(3, "NO")) && unfit_settings(&with(3, "NO")).is_none());
    }

    #[test]
    fn some_servers_show_no_locks() {
        assert_eq!(missing_from_server(&mysql()), None);
        assert_eq!(missing_from_server(&mariadb()), None);
        let mut old = mysql();
        old.identity = Identity::parse("5.6.24").unwrap();
        assert!(missing_from_server(&old).unwrap().0.contains("5.6.24"));
        let mut off = mariadb();
        off.performance_schema = false;
        assert!(missing_from_server(&off).unwrap().1.contains("performance_schema = ON"));
    }
}
