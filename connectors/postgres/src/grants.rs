//! What an administrator runs so that the role of a URL may do what Tailrace does with it, and nothing more.
//!
//! Printed without a connection, before there is the role. The statements are those that the preflight prints where a right is missing.

mod matched;
mod sink;
mod source;
pub(crate) mod statement;

use tailrace_core::Result;
use tailrace_core::grants::{Language, PASSWORD, Script};
use tailrace_core::schema::TableName;
use tailrace_sql::grants::names_of;

pub(crate) use self::sink::of_sink;
pub(crate) use self::source::{of_change_tables, of_source};
use crate::config::PostgresConfig;
use crate::endpoint::{Access, Endpoint};
use crate::quote::{identifier, literal};

/// Where names are that are written without a schema.
const SCHEMA: &str = "public";

/// The role and the database of a URL.
struct Target {
    role: String,
    database: String,
    server: String,
}

// === impl PostgresConfig ===

impl PostgresConfig {
    /// The names of what is captured, which topics are made of: `*` and `?` stand in them for what only the database knows.
    ///
    /// # Errors
    /// Definite, where `url` or `tables` cannot be read.
    pub fn names(&self) -> Result<Vec<TableName>> {
        let database = Target::of(&self.access())?.database;
        Ok(names_of(&self.patterns()?, self.query.as_ref(), &database))
    }
}

// === impl Target ===

impl Target {
    /// The password is not looked at: its file may be made after the role.
    fn of(access: &Access<'_>) -> Result<Self> {
        let endpoint = Endpoint::resolve(&Access {
            password: None,
            password_file: None,
            ..*access
        })?;
        Ok(Self {
            server: endpoint.server(),
            role: endpoint.user,
            database: endpoint.database,
        })
    }

    /// The role may log in and connect.
    fn begin(&self) -> Script {
        let place = format!(
            "PostgreSQL at {}, role {}: to be run by a superuser, connected to the database {}.",
            self.server,
            identifier(&self.role),
            identifier(&self.database)
        );
        let mut script = Script::new(Language::Sql, place);
        script.needed(
            format!("The role: no superuser, and owner of nothing. Put its password in the place of {PASSWORD}."),
            [format!(
                "CREATE ROLE {} LOGIN PASSWORD {}",
                identifier(&self.role),
                literal(PASSWORD)
            )],
        );
        script.needed(
            "It connects to this database. PUBLIC may do so too, unless that was revoked.",
            [statement::on_database("CONNECT", &self.database, &self.role)],
        );
        script
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tailrace_sql::sink::SinkRules;

    use super::*;
    use crate::sink::PostgresSinkConfig;

    fn config(more: &str) -> PostgresConfig {
        serde_json::from_str(&format!(
            r#"{{"url": "postgres://tailrace:secret@db.example/shop", "tables": ["orders", "sales.lines"] {more}}}"#
        ))
        .unwrap()
    }

    /// The lines that are run.
    fn lines(script: &Script) -> Vec<String> {
        let text = script.text("Connector orders.", &mut BTreeSet::new());
        assert!(!text.contains("secret"), "{text}");
        let run = text.lines().filter(|line| !line.is_empty() && !line.starts_with("--"));
        run.map(str::to_owned).collect()
    }

    const ROLE: [&str; 2] = [
        r#"CREATE ROLE "tailrace" LOGIN PASSWORD '<password>';"#,
        r#"GRANT CONNECT ON DATABASE "shop" TO "tailrace";"#,
    ];

    #[test]
    fn a_log_takes_replication_and_reading() {
        let expected = [
            r#"ALTER ROLE "tailrace" REPLICATION;"#,
            r#"GRANT USAGE ON SCHEMA "public" TO "tailrace";"#,
            r#"GRANT USAGE ON SCHEMA "sales" TO "tailrace";"#,
            r#"GRANT SELECT ON "public"."orders" TO "tailrace";"#,
            r#"GRANT SELECT ON "sales"."lines" TO "tailrace";"#,
            r#"CREATE PUBLICATION "tailrace_orders" FOR TABLE ONLY "public"."orders", ONLY "sales"."lines" WITH (publish = 'insert, update, delete, truncate');"#,
        ];
        let script = of_source(&config(""), "orders").unwrap();
        assert_eq!(lines(&script), [&ROLE[..], &expected].concat());
        let unread = of_source(&config(r#", "snapshot": {"mode": "never"}"#), "orders").unwrap();
        assert!(lines(&unread).iter().all(|line| !line.contains("SELECT")));
    }

    #[test]
    fn a_password_file_need_not_be_there() {
        let json =
            r#"{"url": "postgres://tailrace@db.example/shop", "password_file": "/nowhere/at/all", "tables": ["t"]}"#;
        assert!(of_source(&serde_json::from_str(json).unwrap(), "orders").is_ok());
    }

    #[test]
    fn patterns_are_filled_in_by_the_database() {
        let json = r#"{"url": "postgres://tailrace@db.example/shop", "tables": ["order_*", "sales.lines"], "exclude": ["*.order_old"]}"#;
        let script = of_source(&serde_json::from_str(json).unwrap(), "orders").unwrap();
        let text = lines(&script).join("\n");
        for part in [
            "(n.nspname LIKE 'public' ESCAPE '|' AND c.relname LIKE 'order|_%' ESCAPE '|')",
            "AND NOT ((n.nspname LIKE '%' ESCAPE '|' AND c.relname LIKE 'order|_old' ESCAPE '|'))",
            r#"EXECUTE format('GRANT SELECT ON %1$I.%2$I TO "tailrace"', found.nspname, found.relname);"#,
            "UNION SELECT 'sales', 'lines') AS t);",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn polling_takes_what_its_mode_does() {
        let polled = |query: &str| {
            let script = of_source(&config(&format!(r#", "query": {query}"#)), "orders").unwrap();
            lines(&script).split_off(ROLE.len() + 4).join("\n")
        };
        assert_eq!(polled(r#"{"mode": "bulk"}"#), "");
        assert!(polled(r#"{"mode": "incrementing"}"#).contains("GRANT SELECT ON SEQUENCE %s TO \"tailrace\""));
        assert_eq!(
            polled(r#"{"mode": "bulk", "overrides": {"sales.lines": {"mode": "queue"}}}"#),
            r#"GRANT DELETE ON "sales"."lines" TO "tailrace";"#
        );
        let marked = polled(r#"{"mode": "queue", "acknowledge": {"mark": "done_at"}, "lease": {}}"#);
        assert!(
            marked.contains(r#"GRANT UPDATE ("done_at") ON "public"."orders" TO "tailrace";"#),
            "{marked}"
        );
        assert!(
            marked.ends_with(r#"GRANT SELECT, INSERT, UPDATE ON "public"."tailrace_lease" TO "tailrace";"#),
            "{marked}"
        );
    }

    #[test]
    fn each_mode_of_polling_has_the_tables_of_a_pattern_that_are_its_own() {
        let blocks = |query: &str| {
            let json =
                format!(r#"{{"url": "postgres://tailrace@db.example/shop", "tables": ["order_*"], "query": {query}}}"#);
            let text = lines(&of_source(&serde_json::from_str(&json).unwrap(), "orders").unwrap()).join("\n");
            Vec::from_iter(text.split("DO $").skip(1).map(str::to_owned))
        };
        let fitted = r"c.relname LIKE 'order|_%' ESCAPE '|'";
        let numbered = blocks(r#"{"mode": "incrementing"}"#);
        assert!(
            numbered.len() == 2 && numbered[1].contains(fitted) && numbered[1].contains("ON SEQUENCE %s"),
            "{numbered:?}"
        );
        let queues = blocks(r#"{"mode": "queue", "overrides": {"public.order_log": {"mode": "incrementing"}}}"#);
        let left_out = "AND NOT ((n.nspname LIKE 'public' ESCAPE '|' AND c.relname LIKE 'order|_log' ESCAPE '|'))";
        let [reading, sequences, deleting] = &queues[..] else {
            panic!("{queues:?}")
        };
        assert!(!reading.contains(left_out), "{reading}");
        assert!(
            !sequences.contains(fitted) && sequences.contains("order_log"),
            "{sequences}"
        );
        assert!(deleting.contains("DELETE") && deleting.contains(left_out), "{deleting}");
    }

    #[test]
    fn change_tables_are_read_and_not_their_tables() {
        let config = config(r#", "query": {"mode": "queue"}"#);
        let script = of_change_tables(&config, "orders").unwrap();
        let text = lines(&script).join("\n");
        assert!(
            text.contains(r#"GRANT DELETE ON "sales"."tailrace_changes_lines" TO "tailrace";"#),
            "{text}"
        );
        assert!(!text.contains(r#""orders""#), "{text}");
    }

    #[test]
    fn a_sink_takes_what_its_mode_writes() {
        let sink = |more: &str, write: &str| {
            let json = format!(r#"{{"url": "postgres://tailrace@db.example/shop" {more}}}"#);
            let config: PostgresSinkConfig = serde_json::from_str(&json).unwrap();
            let rules = SinkRules::new(serde_json::from_str(write).unwrap()).unwrap();
            let script = of_sink(&config, &rules, &["legacy.public.orders".to_owned()]).unwrap();
            lines(&script).join("\n")
        };
        let plain = sink("", "{}");
        assert!(
            plain.contains(r#"CREATE TABLE IF NOT EXISTS "public"."tailrace_offsets" ("#),
            "{plain}"
        );
        assert!(
            plain.ends_with(r#"GRANT SELECT, INSERT, UPDATE, DELETE ON "public"."orders" TO "tailrace";"#),
            "{plain}"
        );
        let history = sink("", r#"{"mode": "append"}"#);
        assert!(
            history.ends_with(r#"GRANT SELECT, INSERT ON "public"."orders" TO "tailrace";"#),
            "{history}"
        );
        let making = sink("", r#"{"evolve": "add"}"#);
        assert!(
            making.ends_with(r#"GRANT CREATE ON SCHEMA "public" TO "tailrace";"#),
            "{making}"
        );
        let marking = sink(r#", "mark_origin": true"#, r#"{"foreign_keys": "ignore"}"#);
        assert!(
            marking.contains("pg_replication_origin_session_setup(text)"),
            "{marking}"
        );
        assert!(marking.contains("ON PARAMETER session_replication_role"), "{marking}");
    }
}
