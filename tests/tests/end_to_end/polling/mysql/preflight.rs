//! `tailrace check` of polled sources: every problem, and the statement that cures it.

use serde_json::Value;
use tailrace_tests::servers::MySqlVersion;

use super::{Polled, user_with, with_visible_writers};

const VERSIONS: [MySqlVersion; 2] = [MySqlVersion::MySql97, MySqlVersion::MariaDb1011];

/// Rounds of executing what is printed: some rights are only known to be missing when others are there.
const ROUNDS: usize = 6;

const INCREMENTING: &str = "tables: [public.t]\nquery: { mode: incrementing }";

fn findings(polled: &Polled) -> (Vec<Value>, Option<i32>) {
    let printed = polled.daemon.command("check", &["--json"]).unwrap();
    let reports: Value = serde_json::from_str(&printed.stdout)
        .map_err(|_| printed.all())
        .unwrap();
    (reports[0]["findings"].as_array().unwrap().clone(), printed.code)
}

fn with_code(found: &[Value], code: &str) -> Option<Value> {
    found.iter().find(|finding| finding["code"] == code).cloned()
}

/// What stands between our user and a proof is granted as it is printed, until nothing is left to be said.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_for_the_proof_is_printed_and_helps() {
    for version in VERSIONS {
        let table = "create table t (id bigint auto_increment primary key) engine = InnoDB";
        let database = with_visible_writers(version, table).await;
        let (_, url) = user_with(&database, &["select on public.t"]).await;
        let polled = Polled::prepare_at(database, &url, INCREMENTING);
        let mut said = Vec::new();
        for _ in 0..ROUNDS {
            let (found, code) = findings(&polled);
            assert_eq!(code, Some(0), "{version}: {found:?}");
            let gap = with_code(&found, "gap_safety").unwrap();
            if gap["severity"] == "note" {
                break;
            }
            let problem = gap["problem"].as_str().unwrap().to_owned();
            let (_, statements) = problem
                .split_once("GRANT ")
                .unwrap_or_else(|| panic!("{version}: {problem}"));
            let (statements, _) = statements.rsplit_once(';').unwrap();
            polled.database.execute(&format!("GRANT {statements}")).await.unwrap();
            said.push(problem);
        }
        let (found, _) = findings(&polled);
        let gap = with_code(&found, "gap_safety").unwrap();
        assert!(
            gap["problem"].as_str().unwrap().contains(": proven: "),
            "{version}: {gap}, after {said:?}"
        );
        let warnings: Vec<&Value> = found.iter().filter(|finding| finding["severity"] != "note").collect();
        assert_eq!(warnings, [&Value::Null; 0], "{version}");
        polled.start_again();
        assert_eq!(polled.gap_safety("t").0, "proven", "{version}");
    }
}

/// What follows from columns, indexes and rights.
#[tokio::test(flavor = "multi_thread")]
async fn columns_indexes_and_rights() {
    for version in VERSIONS {
        let tables = "create table t (id int primary key, at timestamp null default current_timestamp on update current_timestamp);
            create table plain (id int primary key, at datetime(6) not null, key (at));
            insert into t values (1, null), (2, now() + interval 1 day)";
        let database = with_visible_writers(version, tables).await;
        let (_, url) = user_with(&database, &["select on public.*"]).await;
        let query = "tables: [public.t, public.plain]\nquery: { mode: timestamp_incrementing, timestamp_column: at, overrides: { public.none: { mode: bulk } } }";
        let polled = Polled::prepare_at(database, &url, query);
        let (found, code) = findings(&polled);
        assert_eq!(code, Some(3), "{version}");
        for (code, word) in [
            ("cursor_index_missing", "(at, id)"),
            ("cursor_column_nullable", "now 1 rows"),
            ("timestamp_in_future", "ahead of the clock"),
            ("override_unknown", "none"),
            ("gap_safety", ": "),
            ("transactions_unseen", "GRANT PROCESS"),
        ] {
            let finding = with_code(&found, code).unwrap_or_else(|| panic!("{version}: {code} is not told: {found:?}"));
            assert!(
                finding["problem"].as_str().unwrap().contains(word),
                "{version}: {finding}"
            );
        }
        let gaps: Vec<&str> = found
            .iter()
            .filter(|finding| finding["code"] == "gap_safety")
            .filter_map(|finding| finding["problem"].as_str())
            .collect();
        assert!(
            gaps.iter().any(|gap| gap.contains(".t: delay_window")),
            "{version}: {gaps:?}"
        );
        assert!(
            gaps.iter().any(|gap| gap.contains(".plain: none")),
            "{version}: {gaps:?}"
        );
        polled.configure_at(&url, "tables: [public.t]\nquery: { mode: queue }");
        let (found, code) = findings(&polled);
        let finding = with_code(&found, "insufficient_privilege").unwrap();
        let remedy = finding["remedy"].as_str().unwrap().to_owned();
        assert_eq!(
            (code, remedy.starts_with("GRANT DELETE ON ")),
            (Some(3), true),
            "{version}: {remedy}"
        );
        polled.database.execute(&remedy).await.unwrap();
        let (found, code) = findings(&polled);
        assert_eq!(
            (with_code(&found, "insufficient_privilege"), code),
            (None, Some(0)),
            "{version}"
        );
    }
}
