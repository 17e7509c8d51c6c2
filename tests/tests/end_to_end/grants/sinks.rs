//! Sinks: into tables that are there, and into tables that they make.

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::{Database, Version};
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, eventually};

use super::{Case, DEADLINE};
use crate::capture::database_with;
use crate::sinks::sink;

const SOURCE: &str =
    "create table orders (id int primary key, note varchar(20)); insert into orders values (1, 'one'), (2, 'two')";
const TARGET: &str = "create table orders (id int primary key, note varchar(20))";

struct Mirror {
    source: Database,
    target: Database,
    daemon: Daemon,
    user: String,
}

impl Mirror {
    /// The user of the sink is not there yet.
    async fn prepare(version: Version, target: &str, settings: &str) -> Mirror {
        let source = database_with(PostgresVersion::V17, SOURCE).await;
        let target = database_with(version, target).await;
        let user = format!("limited_{}", target.name());
        let url = match target.mysql() {
            Ok(server) => server.url_as(&user),
            Err(_) => {
                let name = target.name();
                let revoke =
                    format!("revoke all on database {name} from public; revoke all on schema public from public");
                target.execute(&revoke).await.unwrap();
                target.postgres().unwrap().url_as(&user, name)
            }
        };
        let daemon = Daemon::new("").unwrap();
        let sections = format!(
            "streams: {{ events: {{ type: file, path: \"{}\" }} }}\nconnectors:\n  \
             {}: {{ stream: events, format: {{ codec: avro }}, contract: {{ compatibility: none }}, source: {{ type: postgres, url: \"{}\", tables: [public.orders] }} }}\n  \
             mirror: {{ stream: events, topics: [\"{}\"], sink: {{ {}, {settings} }}, dead_letters: {{ policy: store }} }}\n",
            daemon.path().join("events").display(),
            source.name(),
            source.url(),
            source.topic("orders"),
            sink(&target, Some(&url)),
        );
        daemon.configure(&sections).unwrap();
        Mirror {
            source,
            target,
            daemon,
            user,
        }
    }

    fn case(&self) -> Case<'_> {
        Case {
            database: &self.target,
            daemon: &self.daemon,
            connector: "mirror",
            user: self.user.clone(),
        }
    }

    async fn has(&self, condition: &str) {
        let seen = eventually("the target's rows", DEADLINE, || async {
            let query = format!("select count(*) from orders where {condition}");
            // It may not be there yet.
            let found = self.target.query_value(&query).await.unwrap_or_default();
            Ok((found == "1").then_some(()))
        });
        let seen = seen.await;
        assert!(seen.is_ok(), "{condition}\n{}", self.daemon.log());
    }

    /// Rows come, change and go.
    async fn runs(&self, gone: &str) {
        self.daemon.start().unwrap();
        self.has("id = 1 and note = 'one'").await;
        self.source
            .execute("update orders set note = 'eins' where id = 1; delete from orders where id = 2; insert into orders values (3, 'drei')")
            .await
            .unwrap();
        self.has("id = 1 and note = 'eins'").await;
        self.has("id = 3").await;
        self.has(gone).await;
    }
}

fn versions() -> [Version; 4] {
    [
        PostgresVersion::V17.into(),
        MySqlVersion::MySql56.into(),
        MySqlVersion::MySql97.into(),
        MySqlVersion::MariaDb1011.into(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn into_tables_that_are_there() {
    for version in versions() {
        let mirror = Mirror::prepare(version, TARGET, "mode: upsert").await;
        let case = mirror.case();
        let statements = case.is_exact().await;
        mirror
            .runs("id = 3 and not exists (select 1 from orders o where o.id = 2)")
            .await;
        let verified = mirror.daemon.command("verify", &["mirror"]).unwrap();
        assert_eq!(verified.code, Some(0), "{version:?}: {}", verified.all());
        case.has_nothing_more(&statements).await;
    }
}

/// What is never deleted takes no right to delete.
#[tokio::test(flavor = "multi_thread")]
async fn into_tables_whose_rows_stay() {
    for version in versions() {
        let table = TARGET.replace("note", "deleted_at timestamp null, note");
        let settings = "mode: upsert, deletes: soft, soft_delete_column: deleted_at";
        let mirror = Mirror::prepare(version, &table, settings).await;
        let case = mirror.case();
        let statements = case.apply().await;
        case.is_ready();
        assert!(
            statements.iter().all(|statement| !statement.contains("DELETE")),
            "{statements:?}"
        );
        case.misses_each(&statements, &[]).await;
        mirror.runs("id = 2 and deleted_at is not null").await;
        mirror.source.execute("truncate orders").await.unwrap();
        mirror.has("id = 3 and deleted_at is not null").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn into_tables_that_they_make() {
    for version in versions() {
        let mirror = Mirror::prepare(version, "select 1", "mode: upsert, evolve: add").await;
        let case = mirror.case();
        case.is_exact().await;
        mirror
            .runs("id = 3 and not exists (select 1 from orders o where o.id = 2)")
            .await;
        mirror
            .source
            .execute("alter table orders add more int; insert into orders values (4, 'vier', 4)")
            .await
            .unwrap();
        mirror.has("more = 4").await;
    }
}

/// What PostgreSQL lets nobody do who was not told so.
#[tokio::test(flavor = "multi_thread")]
async fn with_origins_and_without_foreign_keys() {
    let settings = "mode: upsert, mark_origin: true, foreign_keys: ignore";
    let mirror = Mirror::prepare(PostgresVersion::V17.into(), TARGET, settings).await;
    let case = mirror.case();
    case.is_exact().await;
    mirror.runs("id = 3").await;
}
