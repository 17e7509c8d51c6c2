//! `tailrace check` against servers that are not ready: every problem, the statement that cures it, and exit code 3 where one is in the way.

use serde_json::Value;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlOptions, MySqlVersion};

use crate::capture::{Capture, Wanted};

const TABLE: &str = "create table t (id int primary key, v int) engine = InnoDB";

/// Rounds of executing what is printed: some rights are only known to be missing when others are there.
const ROUNDS: usize = 3;

/// Those whose settings can be told to be wrong one by one.
const VERSIONS: [MySqlVersion; 3] = MySqlVersion::ALL;

/// A server that has nothing to be said against it but what is set in a test.
fn sound(version: MySqlVersion) -> MySqlOptions {
    MySqlOptions {
        durable: true,
        ..MySqlOptions::version(version)
    }
}

async fn captured_by_root(options: MySqlOptions, tables: &str) -> Capture {
    let database = Database::own(options).await.unwrap();
    database.execute(tables).await.unwrap();
    Capture::prepare(database, &Wanted::default())
}

/// As another user, who has these rights.
async fn captured_by(options: MySqlOptions, rights: &[&str]) -> (Capture, String) {
    let version = options.version;
    let database = Database::own(options).await.unwrap();
    database.execute(TABLE).await.unwrap();
    let user = format!("reader_{}", database.name());
    database.execute(&format!("create user {user}")).await.unwrap();
    // Whether a server is a replica is a right of its own there.
    let monitor = (version == MySqlVersion::MariaDb1011 && !rights.is_empty()).then_some("slave monitor on *.*");
    for right in rights.iter().copied().chain(monitor) {
        let right = right.replace("SHOP", database.name());
        database.execute(&format!("grant {right} to {user}")).await.unwrap();
    }
    let url = Some(database.mysql().unwrap().url_as(&user));
    let wanted = Wanted {
        url,
        ..Wanted::default()
    };
    (Capture::prepare(database, &wanted), user)
}

/// What `check` finds of these severities, and its exit code.
fn findings(capture: &Capture, severities: &[&str]) -> (Vec<Value>, Option<i32>) {
    let printed = capture.daemon.command("check", &["--json"]).unwrap();
    let reports: Value = serde_json::from_str(&printed.stdout).unwrap();
    let found = reports[0]["findings"].as_array().unwrap().iter();
    let found = found.filter(|finding| severities.contains(&finding["severity"].as_str().unwrap()));
    (found.cloned().collect(), printed.code)
}

fn with_code(found: &[Value], code: &str) -> Option<Value> {
    found.iter().find(|finding| finding["code"] == code).cloned()
}

/// The statement without the words behind it, which are for people.
fn statement(finding: &Value) -> String {
    let remedy = finding["remedy"].as_str().unwrap();
    remedy.split(" -- ").next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_ready() {
    for version in VERSIONS {
        let rights = [
            "replication slave, replication client on *.*",
            "select, lock tables on SHOP.*",
        ];
        let (capture, _) = captured_by(sound(version), &rights).await;
        let (found, code) = findings(&capture, &["blocks", "warning"]);
        assert_eq!((found, code), (Vec::new(), Some(0)), "{version}");
        capture.start_again();
        assert_eq!(
            capture.after("insert into t values (1, 1)", "t").await.len(),
            1,
            "{version}"
        );
    }
}

/// Each wrong setting: its statement, the code of the finding, and what its remedy must contain.
fn wrong_settings(version: MySqlVersion) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut wrong = vec![
        ("binlog_format = 'STATEMENT'", "binlog_format", "binlog_format = 'ROW'"),
        ("binlog_format = 'MIXED'", "binlog_format", "binlog_format = 'ROW'"),
        (
            "binlog_row_image = 'MINIMAL'",
            "binlog_row_image",
            "binlog_row_image = 'FULL'",
        ),
        (
            "binlog_row_image = 'NOBLOB'",
            "binlog_row_image",
            "binlog_row_image = 'FULL'",
        ),
        ("sync_binlog = 0", "log_durability", "sync_binlog = 1"),
        ("sync_binlog = 100", "log_durability", "sync_binlog = 1"),
        (
            "innodb_flush_log_at_trx_commit = 2",
            "log_durability",
            "innodb_flush_log_at_trx_commit = 1",
        ),
        ("binlog_checksum = 'NONE'", "no_checksum", "binlog_checksum = 'CRC32'"),
    ];
    if version != MySqlVersion::MySql56 {
        wrong.push((
            "binlog_row_metadata = 'MINIMAL'",
            "binlog_row_metadata",
            "binlog_row_metadata = 'FULL'",
        ));
        wrong.push((
            "binlog_expire_logs_seconds = 3600",
            "log_expires_soon",
            "binlog_expire_logs_seconds = 604800",
        ));
    }
    // MariaDB makes 1 of 0.
    if version != MySqlVersion::MariaDb1011 {
        wrong.push(("server_id = 0", "server_id_missing", "server_id = 1"));
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_setting_is_named_with_the_statement_that_cures_it() {
    let every = ["blocks", "warning", "note"];
    for version in VERSIONS {
        let capture = captured_by_root(sound(version), TABLE).await;
        for (setting, code, cure) in wrong_settings(version) {
            let (before, _) = findings(&capture, &every);
            assert_eq!(with_code(&before, code), None, "{version}, before {setting}");
            capture
                .database
                .execute(&format!("set global {setting}"))
                .await
                .unwrap();
            let (found, exit) = findings(&capture, &every);
            let finding =
                with_code(&found, code).unwrap_or_else(|| panic!("{version}: {setting} is not told: {found:?}"));
            let blocks = finding["severity"] == "blocks";
            assert_eq!(exit, Some(if blocks { 3 } else { 0 }), "{version}: {setting}");
            assert!(
                finding["remedy"].as_str().unwrap().contains(cure),
                "{version}: {finding}"
            );
            if blocks {
                capture.daemon.start().unwrap();
                capture.wait_for(&format!("halted:{code}"));
                capture.daemon.terminate().unwrap();
            }
            capture.database.execute(&statement(&finding)).await.unwrap();
            let (after, exit) = findings(&capture, &every);
            assert_eq!(
                (with_code(&after, code), exit),
                (None, Some(0)),
                "{version}: after its cure, {setting}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_log() {
    for version in VERSIONS {
        let options = sound(version).without_gtids().setting("skip-log-bin");
        let capture = captured_by_root(options, TABLE).await;
        let (found, code) = findings(&capture, &["blocks"]);
        assert_eq!(code, Some(3), "{version}");
        let remedy = with_code(&found, "log_bin").unwrap()["remedy"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(remedy.contains("restart"), "{version}: {remedy}");
        capture.daemon.start().unwrap();
        capture.wait_for("halted:log_bin");
        capture.daemon.terminate().unwrap();
        let server = capture.database.mysql().unwrap();
        for setting in ["log_bin = mysql-bin", "server_id = 1", "binlog_format = ROW"] {
            assert!(remedy.contains(setting), "{version}: {remedy}");
            server.append_setting(&setting.replace(' ', ""));
        }
        server.restart().unwrap();
        let (found, code) = findings(&capture, &["blocks"]);
        assert_eq!((found, code), (Vec::new(), Some(0)), "{version}");
        capture.start_again();
        assert_eq!(
            capture.after("insert into t values (1, 1)", "t").await.len(),
            1,
            "{version}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_that_the_server_leaves_out_of_its_log() {
    for version in VERSIONS {
        let capture = captured_by_root(sound(version).setting("binlog_do_db=elsewhere"), TABLE).await;
        let (found, code) = findings(&capture, &["blocks"]);
        let finding = with_code(&found, "binlog_filter").unwrap();
        assert_eq!(code, Some(3), "{version}");
        let problem = finding["problem"].as_str().unwrap();
        assert!(
            problem.contains(capture.database.name()) && problem.contains("binlog_do_db"),
            "{version}: {problem}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_foreign_keys_do_below_the_log_is_named_where_it_is_not_logged() {
    for version in VERSIONS {
        let tables = "create table parent (id int primary key);
            create table child (id int primary key, parent int, constraint fk_parent foreign key (parent) references parent (id) on delete cascade)";
        let capture = captured_by_root(sound(version), tables).await;
        let (found, _) = findings(&capture, &["warning"]);
        let finding = with_code(&found, "unseen_cascade");
        capture.start_again();
        let statements = "insert into parent values (1); insert into child values (1, 1); delete from parent; insert into parent values (2)";
        let children = {
            capture.after(statements, "parent").await;
            capture.events("child").len()
        };
        match finding {
            // The row is gone, and no event says so: as it was told.
            Some(finding) => {
                let problem = finding["problem"].as_str().unwrap();
                assert!(problem.contains("fk_parent ON DELETE CASCADE"), "{version}: {problem}");
                assert_eq!(children, 1, "{version}");
            }
            // Its insert, its delete and the tombstone.
            None => assert_eq!((version, children), (MySqlVersion::MySql97, 3)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_right_is_named_with_its_grant() {
    for version in VERSIONS {
        let rights = [
            "replication slave on *.*",
            "replication client on *.*",
            "select on SHOP.*",
            "lock tables on SHOP.*",
        ];
        let (capture, user) = captured_by(sound(version), &rights).await;
        let name = capture.database.name().to_owned();
        for right in rights.map(|right| right.replace("SHOP", &name)) {
            capture
                .database
                .execute(&format!("revoke {right} from {user}"))
                .await
                .unwrap();
            let (found, code) = findings(&capture, &["blocks", "warning", "note"]);
            let is_missing = |finding: &&Value| {
                let remedy = finding["remedy"].as_str().unwrap_or_default();
                let word = right.split(" on ").next().unwrap().to_uppercase();
                // MariaDB has given it another name.
                let word = word.replace("REPLICATION CLIENT", "");
                remedy.starts_with("GRANT ") && remedy.contains(&word)
            };
            let told: Vec<&Value> = found.iter().filter(is_missing).collect();
            if version == MySqlVersion::MariaDb1011 && right.starts_with("lock") {
                // The server tells the position of a read view, and a note says what it costs.
                assert!(with_code(&found, "snapshot_lock").is_some(), "{found:?}");
            } else {
                assert!(!told.is_empty(), "{version}, without {right}: {found:?}");
                let blocks = told.iter().any(|finding| finding["severity"] == "blocks");
                assert_eq!(code, Some(if blocks { 3 } else { 0 }), "{version}, without {right}");
                assert!(
                    blocks || right.starts_with("lock"),
                    "{version}, without {right}: {told:?}"
                );
                for finding in told {
                    capture.database.execute(&statement(finding)).await.unwrap();
                }
                let (after, code) = findings(&capture, &["blocks", "warning"]);
                assert_eq!(
                    (after, code),
                    (Vec::new(), Some(0)),
                    "{version}, after the grant for {right}"
                );
            }
            capture
                .database
                .execute(&format!("grant {right} to {user}"))
                .await
                .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_check_prints_is_all_that_is_missing() {
    for version in VERSIONS {
        let mut options = MySqlOptions::version(version)
            .setting("server_id=0")
            .setting("binlog_format=MIXED")
            .setting("binlog_row_image=NOBLOB")
            .setting("sync_binlog=0")
            .setting("innodb_flush_log_at_trx_commit=0");
        if version != MySqlVersion::MySql56 {
            options = options
                .setting("binlog_row_metadata=MINIMAL")
                .setting("binlog_expire_logs_seconds=3600");
        }
        let (capture, _) = captured_by(options, &[]).await;
        let mut rounds = 0;
        // Runs the statements as they are printed, until it is content.
        loop {
            let (found, code) = findings(&capture, &["blocks", "warning"]);
            if found.is_empty() {
                assert_eq!(code, Some(0), "{version}");
                break;
            }
            rounds += 1;
            assert!(
                rounds <= ROUNDS,
                "{version}: not content after {ROUNDS} rounds: {found:?}"
            );
            for finding in found {
                capture.database.execute(&statement(&finding)).await.unwrap();
            }
        }
        assert!(rounds > 0, "{version}");
        capture.start_again();
        assert_eq!(
            capture.after("insert into t values (1, 1)", "t").await.len(),
            1,
            "{version}"
        );
    }
}
