//! `tailrace grants`: everything runs with the rights that it prints and no others, and the preflight names each of them that is missing.
//!
//! A case is a connector whose user is not there yet. Its script is run as it is printed, by a superuser who owns the tables; then each right
//! of it is taken away in turn, which `check` must tell with the very statement that gives it back; then the connector runs.

mod kafka;
mod mysql;
mod postgres;
mod sinks;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::servers::eventually;

use crate::capture::{Capture, Wanted};

/// A few rows, on a machine that does everything at once.
const DEADLINE: Duration = Duration::from_secs(90);

/// What a query begins with whose answers are statements.
const QUERY: &str = "SELECT CONCAT(";

/// A right that a script gives.
struct Right {
    grant: String,
    revoke: String,
    /// The statement that gave it, with others: a right on a table that is not there can only be given with CREATE.
    again: String,
    privilege: String,
    object: String,
}

/// A connector with a user of its own, in a database with tables of somebody else.
struct Case<'a> {
    database: &'a Database,
    daemon: &'a Daemon,
    connector: &'a str,
    user: String,
}

// === scripts ===

/// The statements of a script, without its comments.
fn statements(script: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut statement = String::new();
    // What ends the body of a block, in which semicolons end nothing.
    let mut quote: Option<&str> = None;
    for line in script.lines().filter(|line| !line.trim_start().starts_with("--")) {
        statement += line;
        statement.push('\n');
        quote = match quote {
            None => line.strip_prefix("DO "),
            Some(quote) => Some(quote).filter(|quote| !line.starts_with(quote)),
        };
        if line.trim_end().ends_with(';') && quote.is_none() {
            let whole = statement.trim().trim_end_matches(';').to_owned();
            statements.push(whole);
            statement.clear();
        }
    }
    assert_eq!(statement.trim(), "", "a statement does not end");
    statements
}

/// The first version that runs a statement, and the statement; none where each does.
fn since(statement: &str) -> Option<(u32, &str)> {
    let newer = statement.strip_prefix("/*!")?.strip_suffix(" */")?;
    let (version, statement) = newer.split_once(' ')?;
    Some((version.parse().ok()?, statement))
}

/// Privileges, object and user of a grant.
fn parts(statement: &str) -> Option<(Vec<&str>, &str, &str)> {
    let (privileges, rest) = statement.strip_prefix("GRANT ")?.split_once(" ON ")?;
    let (object, user) = rest.rsplit_once(" TO ")?;
    // A list of columns is part of its privilege.
    let mut is_list = false;
    let ends = |letter: char| {
        is_list = letter == '(' || (is_list && letter != ')');
        letter == ',' && !is_list
    };
    let privileges = privileges.split(ends).map(str::trim).collect();
    Some((privileges, object, user))
}

/// The single rights of a statement; none where it makes the user, a table, or runs a block.
fn rights(statement: &str) -> Vec<Right> {
    let right = |grant: &str, revoke: String, privilege: &str, object: &str| Right {
        grant: grant.to_owned(),
        revoke,
        again: statement.to_owned(),
        privilege: privilege.to_owned(),
        object: object.to_owned(),
    };
    if let Some((privileges, object, user)) = parts(statement) {
        let single = privileges.into_iter().map(|privilege| {
            right(
                &format!("GRANT {privilege} ON {object} TO {user}"),
                format!("REVOKE {privilege} ON {object} FROM {user}"),
                privilege,
                object,
            )
        });
        return single.collect();
    }
    if let Some(role) = statement.strip_suffix(" REPLICATION") {
        return vec![right(statement, format!("{role} NOREPLICATION"), "REPLICATION", "")];
    }
    if let Some(rest) = statement.strip_prefix("CREATE PUBLICATION ") {
        let name = rest.split(' ').next().unwrap();
        return vec![right(
            statement,
            format!("DROP PUBLICATION {name}"),
            "PUBLICATION",
            name,
        )];
    }
    Vec::new()
}

// === impl Case ===

impl Case<'_> {
    /// The script as it is printed.
    fn script(&self) -> String {
        let printed = self.daemon.command("grants", &["--connector", self.connector]).unwrap();
        assert_eq!(printed.code, Some(0), "{}", printed.all());
        printed.stdout
    }

    /// Runs the script, and gives its statements; those that a query answers in its place.
    async fn apply(&self) -> Vec<String> {
        let mut run = Vec::new();
        for statement in statements(&self.script()) {
            if statement.starts_with(QUERY) {
                run.extend(self.answers(&statement).await);
                continue;
            }
            // The servers of tests take users without a password.
            let without = statement.replace("IDENTIFIED BY '<password>'", "");
            self.database.execute(&without).await.unwrap();
            match since(&statement) {
                None => run.push(statement),
                Some((version, newer)) if self.version_number().await >= version => run.push(newer.to_owned()),
                Some(_) => {}
            }
        }
        run
    }

    /// Of a MySQL, as it stands in comments that servers run.
    async fn version_number(&self) -> u32 {
        let version = self.database.query_value("select version()").await.unwrap();
        let numbers = version.split(|letter: char| !letter.is_ascii_digit()).take(3);
        numbers.fold(0, |number, part| number * 100 + part.parse::<u32>().unwrap())
    }

    /// Runs what a query answers, and gives it.
    async fn answers(&self, query: &str) -> Vec<String> {
        let rows = self.database.query(query).await.unwrap();
        let answers = rows.into_iter().map(|row| row[0].clone().unwrap());
        let answers = Vec::from_iter(answers.map(|answer| answer.trim_end_matches(';').to_owned()));
        for answer in &answers {
            self.database.execute(answer).await.unwrap();
        }
        answers
    }

    /// All that `check` says of the connector, as one text, and its exit code.
    fn told(&self) -> (String, Option<i32>) {
        let printed = self.daemon.command("check", &["--json"]).unwrap();
        let reports: Value = serde_json::from_str(&printed.stdout)
            .map_err(|_| printed.all())
            .unwrap();
        let own = reports.as_array().unwrap().iter();
        let own = own.filter(|report| report["connector"] == self.connector);
        let findings = own.flat_map(|report| report["findings"].as_array().unwrap().clone());
        let lines = findings.map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            format!("{} {}: {}\n", text("severity"), text("problem"), text("remedy"))
        });
        (lines.collect(), printed.code)
    }

    /// With its rights it is ready.
    fn is_ready(&self) {
        let (text, code) = self.told();
        assert_eq!(code, Some(0), "{text}");
        let mut grants = text.lines().filter(|line| line.contains("GRANT "));
        assert!(grants.all(|line| line.starts_with("note ")), "{text}");
    }

    /// Each right is missed when it is gone; those of `advised` without which it runs all the same are told of.
    async fn misses_each(&self, statements: &[String], advised: &[&str]) {
        for right in statements.iter().flat_map(|statement| rights(statement)) {
            self.database.execute(&right.revoke).await.unwrap();
            let (text, code) = self.told();
            let is_named = text.contains(&right.grant);
            assert!(is_named, "after {}: {} is not in\n{text}", right.revoke, right.grant);
            let is_advised = advised.contains(&right.privilege.as_str());
            let expected = if is_advised { Some(0) } else { Some(3) };
            assert_eq!(code, expected, "after {}:\n{text}", right.revoke);
            self.database.execute(&right.again).await.unwrap();
        }
        self.is_ready();
    }

    /// With the script it is ready and has nothing more, and without any part of it something is missing. The statements.
    async fn is_exact(&self) -> Vec<String> {
        let statements = self.apply().await;
        self.is_ready();
        self.has_nothing_more(&statements).await;
        self.misses_each(&statements, &[]).await;
        statements
    }

    /// It has what the script gave and nothing else.
    async fn has_nothing_more(&self, statements: &[String]) {
        let given = statements.iter().flat_map(|statement| rights(statement));
        let given = given.filter(|right| right.grant.starts_with("GRANT "));
        let given: BTreeSet<String> = given
            .map(|right| plain(&format!("{} {}", right.privilege, right.object)))
            .collect();
        let held = match self.database.mysql() {
            Ok(_) => self.held_in_mysql().await,
            Err(_) => self.held_in_postgres().await,
        };
        assert_eq!(held, given);
    }

    async fn held_in_mysql(&self) -> BTreeSet<String> {
        let rows = self
            .database
            .query(&format!("show grants for {}", self.user))
            .await
            .unwrap();
        let lines = rows.iter().filter_map(|row| row[0].as_deref());
        let mut held = BTreeSet::new();
        for line in lines {
            let (privileges, object, _) = parts(line).ok_or(line).unwrap();
            let used = privileges.into_iter().filter(|privilege| *privilege != "USAGE");
            held.extend(used.map(|privilege| plain(&format!("{privilege} {object}"))));
        }
        held
    }

    /// What it may read there, in order.
    async fn read_in_postgres(&self) -> Vec<String> {
        let held = self.held_in_postgres().await.into_iter();
        held.filter(|right| right.starts_with("SELECT")).collect()
    }

    async fn held_in_postgres(&self) -> BTreeSet<String> {
        let special = format!(
            "select rolsuper or rolcreaterole or rolcreatedb or rolbypassrls
               or exists (select from pg_auth_members m where m.member = r.oid)
               or exists (select from pg_shdepend d where d.refobjid = r.oid and d.deptype = 'o')
             from pg_roles r where rolname = '{}'",
            self.user
        );
        assert_eq!(self.database.query_value(&special).await.unwrap(), "f");
        let held = format!(
            "select a.privilege_type || ' ' || x.what from (
               select datacl as acl, 'DATABASE ' || datname as what from pg_database where datname = current_database()
               union all select nspacl, 'SCHEMA ' || nspname from pg_namespace
               union all select relacl, case relkind when 'S' then 'SEQUENCE ' else '' end || n.nspname || '.' || relname
                 from pg_class c join pg_namespace n on n.oid = relnamespace
               union all select proacl, 'FUNCTION ' || proname || '(text)' from pg_proc
               union all select paracl, 'PARAMETER ' || parname from pg_parameter_acl
             ) x, aclexplode(x.acl) a
             where a.grantee = (select oid from pg_roles where rolname = '{0}')
             union all select a.privilege_type || ' (' || attname || ') ' || n.nspname || '.' || relname
             from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace, aclexplode(t.attacl) a
             where a.grantee = (select oid from pg_roles where rolname = '{0}')",
            self.user
        );
        let rows = self.database.query(&held).await.unwrap();
        rows.iter().filter_map(|row| row[0].as_deref()).map(plain).collect()
    }
}

/// Without quotes.
fn plain(text: &str) -> String {
    text.replace(['"', '`'], "")
}

/// A capture whose user is not there yet.
fn captured(database: &Database, tables: &str, source: &str, connector: &str) -> (Capture, String) {
    let user = format!("limited_{}", database.name());
    let url = match database.mysql() {
        Ok(server) => server.url_as(&user),
        Err(_) => database.postgres().unwrap().url_as(&user, database.name()),
    };
    let wanted = Wanted {
        url: Some(url),
        tables,
        source,
        connector,
        ..Wanted::default()
    };
    (Capture::prepare(database.clone(), &wanted), user)
}

impl Capture {
    fn case(&self, user: &str) -> Case<'_> {
        Case {
            database: &self.database,
            daemon: &self.daemon,
            connector: self.database.name(),
            user: user.to_owned(),
        }
    }

    /// Waits until so many events of a table are there.
    async fn arrive(&self, table: &str, count: usize) {
        let arrived = eventually("events", DEADLINE, || async {
            Ok((self.events(table).len() >= count).then_some(()))
        });
        let arrived = arrived.await;
        assert!(
            arrived.is_ok(),
            "{} events of {table}\n{}",
            self.events(table).len(),
            self.daemon.log()
        );
    }
}

#[test]
fn a_script_is_taken_apart() {
    let script = "-- why\nCREATE USER u;\n\nCREATE TABLE t (\n  -- a comment\n  a int\n);\nDO $tailrace$\nBEGIN;\nEND;\n$tailrace$;\n\
        --   GRANT x ON y TO u;\nGRANT SELECT, UPDATE ON t TO u;\n";
    let statements = statements(script);
    assert_eq!(statements.len(), 4, "{statements:?}");
    let rights = rights(&statements[3]);
    assert_eq!(rights.len(), 2);
    assert_eq!(
        (&*rights[1].grant, &*rights[1].revoke),
        ("GRANT UPDATE ON t TO u", "REVOKE UPDATE ON t FROM u")
    );
    assert_eq!(
        since("/*!80000 GRANT x ON y TO u */"),
        Some((80_000, "GRANT x ON y TO u"))
    );
    assert_eq!(since("GRANT x ON y TO u"), None);
    let column = super::grants::rights("GRANT UPDATE (\"a\", \"b\") ON t TO u");
    assert_eq!(column.len(), 1);
}
