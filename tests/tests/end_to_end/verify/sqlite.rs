//! A SQLite file as a target: dates are text there, and names have no case.

use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{PostgresVersion, eventually};

use super::{DEADLINE, listed};
use crate::capture::database_with;

struct File {
    _source: Database,
    daemon: Daemon,
}

impl File {
    /// A source of a table, and a file that has it already, under a name of another case.
    async fn start() -> Self {
        let table = "create table days (day date primary key, code char(6) not null, note text, at timestamptz);
                     insert into days select date '2024-02-29' + i, 'c' || i, 'note ' || i, timestamptz '2024-02-29 10:00:00+00' + i * interval '1 hour'
                     from generate_series(1, 300) i";
        let source = database_with(PostgresVersion::V17, table).await;
        let daemon = Daemon::new("").unwrap();
        let sections = format!(
            "streams: {{ events: {{ type: file, path: \"{}\" }} }}\nconnectors:\n  \
             {}: {{ stream: events, format: {{ codec: avro }}, source: {{ type: postgres, url: \"{}\", tables: [public.*] }} }}\n  \
             mirror: {{ stream: events, topics: [\"{}\"], sink: {{ type: sqlite, path: \"{}\" }} }}\n",
            daemon.path().join("events").display(),
            source.name(),
            source.url(),
            source.topic("*"),
            daemon.path().join("target.db").display(),
        );
        daemon.configure(&sections).unwrap();
        let file = Self {
            _source: source,
            daemon,
        };
        file.execute("create table Days (day date primary key, code text not null, note text, at text)")
            .await;
        file.daemon.start().unwrap();
        let filled = eventually("every row is there", DEADLINE, || async {
            let mut connection = file.connect().await;
            let counted = sqlx::query_scalar::<_, i64>("select count(*) from days")
                .fetch_one(&mut connection)
                .await;
            Ok(counted.is_ok_and(|rows| rows == 300).then_some(()))
        });
        let filled = filled.await;
        assert!(filled.is_ok(), "{}", file.daemon.log());
        file
    }

    async fn connect(&self) -> SqliteConnection {
        let path = self.daemon.path().join("target.db");
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        options.connect().await.unwrap()
    }

    async fn execute(&self, statements: &str) {
        let mut connection = self.connect().await;
        let done = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await;
        done.unwrap();
    }

    fn report(&self, arguments: &[&str], code: i32) -> Value {
        let arguments = [&["mirror", "--json", "--chunk-rows", "100"], arguments].concat();
        let printed = self.daemon.command("verify", &arguments).unwrap();
        assert_eq!(printed.code, Some(code), "{}\n{}", printed.all(), self.daemon.log());
        let report: Value = serde_json::from_str(&printed.stdout).unwrap();
        report["tables"][0].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_and_names_of_other_cases_are_compared_in_a_file() {
    let file = File::start().await;
    for arguments in [&[][..], &["--stream"]] {
        let days = file.report(arguments, 0);
        assert_eq!(
            (&days["equal"], &days["target"]),
            (&300.into(), &"Days".into()),
            "{days:#}"
        );
        assert_eq!(days["left_out"], serde_json::json!([]), "{days:#}");
    }
    let drift = "update days set note = 'mine' where day = '2024-03-01'; delete from days where day = '2024-03-02';
                 update days set at = 'never' where day = '2024-03-03'; insert into days values ('1999-12-31', 'x', null, null)";
    file.execute(drift).await;
    let wanted = [
        "extra day=1999-12-31 00:00:00",
        "different day=2024-03-01 00:00:00 note",
        "missing day=2024-03-02 00:00:00",
        "different day=2024-03-03 00:00:00 at",
    ];
    for (arguments, code) in [(&[][..], 6), (&["--stream"][..], 6), (&["--stream", "--repair"][..], 0)] {
        let days = file.report(arguments, code);
        assert_eq!(listed(&days), wanted, "{days:#}");
    }
    assert_eq!(file.report(&[], 0)["equal"], 300);

    // Days that somebody else keeps as numbers are not found by their text.
    file.execute("update days set day = cast(strftime('%s', day) as integer)")
        .await;
    for arguments in [&[][..], &["--stream", "--repair"]] {
        let days = file.report(arguments, 1);
        let problem = days["problem"].as_str().unwrap_or_default();
        assert!(
            problem.contains("column day is part of the key") && problem.contains("key_not_comparable"),
            "{days:#}"
        );
    }
}
