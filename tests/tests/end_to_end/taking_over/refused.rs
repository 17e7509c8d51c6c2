//! Offsets that cannot be gone on from, by what the server says; and places in the middle of a transaction, which can.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use tailrace_tests::daemon::Printed;
use tailrace_tests::database::{Database, Server};
use tailrace_tests::servers::{MySqlOptions, MySqlVersion, PostgresVersion, eventually};

use super::shop::Shop;
use super::{DEADLINE, Move, daemon_on};

// === impl Move ===

impl Move {
    /// With an offset of this JSON, as Kafka Connect would answer it.
    pub(super) fn import_json(&self, offset: &Value, arguments: &[&str]) -> Printed {
        let answer = json!({ "offsets": [{ "partition": { "server": self.name }, "offset": offset }] });
        let path = self.daemon.path().join("offsets.json");
        fs::write(&path, answer.to_string()).unwrap();
        let path = path.to_string_lossy().into_owned();
        let all: Vec<&str> = ["--connect-json", &path]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        self.import(&all)
    }

    fn is_refused(&self, offset: &Value, code: &str, words: &str) {
        self.is_refused_with(offset, &["--yes"], (code, words));
    }

    pub(super) fn is_refused_with(&self, offset: &Value, arguments: &[&str], (code, words): (&str, &str)) {
        let printed = self.import_json(offset, arguments);
        assert_eq!(printed.code, Some(1), "{}", printed.all());
        assert!(
            printed.stderr.contains(&format!("[{code}]")),
            "{code}: {}",
            printed.all()
        );
        assert!(printed.stderr.contains(words), "{words}: {}", printed.all());
    }

    /// A slot and a publication as Debezium makes them, without Debezium. The place in the log where the slot is.
    pub(super) async fn with_slot(&self, tables: &str) -> u64 {
        let name = &self.name;
        let database = &self.shop.database;
        let make = format!("create publication {name} for {tables}");
        database.execute(&make).await.unwrap();
        let slot = format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')::text");
        database.query(&slot).await.unwrap();
        self.log_end().await
    }

    async fn log_end(&self) -> u64 {
        let end = self
            .shop
            .database
            .query_value("select (pg_current_wal_lsn() - '0/0')::bigint::text");
        end.await.unwrap().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_read_or_ahead_or_gone_is_refused_on_postgresql() {
    let database = Database::shared(PostgresVersion::V17).await.unwrap();
    let mut moving = Move::prepare(database, "refused_pg").await;
    let offset = |lsn: u64| json!({ "lsn": lsn, "lsn_proc": lsn, "lsn_commit": lsn, "txId": 7, "ts_usec": 7 });
    moving.is_refused(&offset(7), "slot_missing", "pg_create_logical_replication_slot");
    let place = moving.with_slot("table orders").await;
    moving.is_refused(
        &json!({ "lsn": place, "snapshot": "INITIAL" }),
        "snapshot_unfinished",
        "one change behind it",
    );
    moving.is_refused(
        &json!({ "file": "binlog.000001", "pos": 4 }),
        "offsets_unreadable",
        "lsn_commit",
    );
    let beyond = place + (1 << 32);
    moving.is_refused(&offset(beyond), "position_invalid", "beyond the end of the log");

    let held = moving.shop.database.hold_slot(&moving.name).unwrap();
    let database = &moving.shop.database;
    let active = format!(
        "(select active from pg_replication_slots where slot_name = '{}')",
        moving.name
    );
    database.wait_until(&active).await.unwrap();
    moving.is_refused(&offset(place), "slot_in_use", "stop the connector");
    drop(held);
    database.wait_until(&format!("not {active}")).await.unwrap();

    moving.shop.trade(3).await;
    let advance = format!(
        "select pg_replication_slot_advance('{}', pg_current_wal_lsn())::text",
        moving.name
    );
    moving.shop.database.query(&advance).await.unwrap();
    moving.is_refused(&offset(place), "position_invalid", "has given the log back");
    let now = moving.log_end().await;
    let told = moving.import_json(&offset(now), &[]);
    assert_eq!(told.code, Some(2), "{}", told.all());
    assert!(told.stdout.contains("orders"), "{}", told.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_and_another_kind_of_connector_are_refused() {
    let database = Database::shared(PostgresVersion::V17).await.unwrap();
    let moving = Move::prepare(database, "refused_name").await;
    let nearest = format!("{}s", moving.connector());
    let printed = moving
        .daemon
        .command("import-offsets", &[&nearest, "--connect-json", "-"])
        .unwrap();
    assert_eq!(printed.code, Some(2), "{}", printed.all());
    assert!(
        printed
            .stderr
            .contains(&format!("did you mean `{}`?", moving.connector())),
        "{}",
        printed.all()
    );
    moving.is_refused(&Value::Null, "offsets_missing", "no offsets");
    let maxwell = moving.import(&["--maxwell"]);
    assert!(maxwell.stderr.contains("offsets_foreign"), "{}", maxwell.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_purged_or_of_another_log_is_refused_on_mysql() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        let database = Database::own(MySqlOptions::version(version)).await.unwrap();
        let mut moving = Move::prepare(database, "refused_my").await;
        let server = Arc::clone(moving.shop.database.mysql().unwrap());
        let (file, offset) = server.log_end().await.unwrap();
        let executed = server.executed().await.unwrap();
        let stored = |more: &Value| {
            let mut all = json!({ "file": file, "pos": offset, "server_id": 1, "ts_sec": 7 });
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        moving.is_refused(
            &stored(&json!({ "pos": offset - 1 })),
            "offsets_foreign",
            "no event of the server's log begins",
        );
        moving.is_refused(
            &stored(&json!({ "pos": offset + 1_000_000 })),
            "source_rewound",
            "log ends",
        );
        moving.is_refused(
            &stored(&json!({ "snapshot": true })),
            "snapshot_unfinished",
            "one change behind it",
        );
        moving.shop.trade(3).await;
        server.execute("flush binary logs").await.unwrap();
        let (last, _) = server.log_end().await.unwrap();
        eventually("that the first file is gone", DEADLINE, || async {
            // A file stays as long as the server has not noticed that its reader has gone.
            server.execute(&format!("purge binary logs to '{last}'")).await?;
            Ok((server.log_files().await? == [last.clone()]).then_some(()))
        })
        .await
        .unwrap();
        moving.is_refused(&stored(&json!({})), "position_purged", "deleted log");
        moving.is_refused(&stored(&json!({ "gtids": executed })), "position_purged", "deleted log");
    }
}

/// Debezium's place is behind the event that names a transaction, and Maxwell's before its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_inside_of_a_transaction_goes_back_to_its_start() {
    let without = |version| MySqlOptions::version(version).without_gtids();
    for version in [MySqlVersion::MySql97, MySqlVersion::MySql56, MySqlVersion::MariaDb1011] {
        let database = Database::own(without(version)).await.unwrap();
        let mut moving = Move::prepare(database, "inside_my").await;
        let server = Arc::clone(moving.shop.database.mysql().unwrap());
        moving.shop.trade(2).await;
        let (file, start) = server.log_end().await.unwrap();
        moving.shop.trade(1).await;
        let (_, end) = server.log_end().await.unwrap();
        let events = server
            .query(&format!("show binlog events in '{file}' from {start}"))
            .await
            .unwrap();
        let places: Vec<u64> = events
            .iter()
            .map(|event| event[1].as_ref().unwrap().parse().unwrap())
            .collect();
        let within: Vec<u64> = places
            .into_iter()
            .filter(|place| *place > start && *place < end)
            .collect();
        assert!(within.len() > 4, "{events:?}");
        for place in &within {
            let told = moving.import_json(&json!({ "file": file, "pos": place, "event": 2, "row": 1 }), &[]);
            let wanted = format!("the transaction that starts at {file}:{start}");
            assert!(told.stdout.contains(&wanted), "{version} {place}: {}", told.all());
        }
        let between = moving.import_json(&json!({ "file": file, "pos": start }), &[]);
        assert!(
            !between.stdout.contains("the transaction that starts at"),
            "{}",
            between.all()
        );

        let done = moving.import_json(&json!({ "file": file, "pos": within[1], "event": 1 }), &["--yes"]);
        assert_eq!(done.code, Some(0), "{}", done.all());
        moving.shop.trade(1).await;
        // What is published begins with the transaction, and has all of it. The first one is that of the orders that were there, and two
        // came before the place.
        moving.publishes_since(3).await;
    }
}

/// Debezium read the primary, and `url` leads to its replica, whose files have the same names. The last transaction was the primary's.
#[tokio::test(flavor = "multi_thread")]
async fn gtids_alone_decide_where_another_server_was_read() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        let replica = MySqlOptions::version(version)
            .setting("server_id=2")
            .setting("log_slave_updates=ON");
        let replica = Server::start(replica).unwrap();
        let database = Database::own(MySqlOptions::version(version)).await.unwrap();
        let (here, there) = (
            Arc::clone(replica.mysql().unwrap()),
            Arc::clone(database.mysql().unwrap()),
        );
        here.replicate_from(&there).await.unwrap();
        let daemon_sees = database.on_replica(replica);
        let shop = Shop::open(database).await;
        here.catch_up_with(&there).await.unwrap();
        let mut moving = Move::of(
            shop,
            daemon_on(&daemon_sees, "elsewhere_my", &["orders"]),
            "elsewhere_my",
        );
        moving.shop.trade(2).await;
        let executed = there.executed().await.unwrap();
        here.catch_up_with(&there).await.unwrap();

        let (last, end) = here.log_end().await.unwrap();
        let offset =
            |file: &str, pos: u64, gtids: &str| json!({ "file": file, "pos": pos, "server_id": 1, "gtids": gtids });
        // Beyond all that it has, and where none of its events begins.
        for (file, pos) in [("binlog.000777", 4), (last.as_str(), end - 1), (last.as_str(), end + 7)] {
            let told = moving.import_json(&offset(file, pos, &executed), &[]);
            assert_eq!(told.code, Some(2), "{version} {file}:{pos}: {}", told.all());
            assert!(told.stdout.contains("the GTIDs alone decide"), "{}", told.all());
        }
        let (before, _) = executed.rsplit_once(['-', ':']).unwrap();
        let unknown = format!("{before}-1000000");
        moving.is_refused(&offset(&last, end, &unknown), "diverged", "does not have");

        let done = moving.import_json(&offset("binlog.000777", 4, &executed), &["--yes"]);
        assert_eq!(done.code, Some(0), "{}", done.all());
        moving.shop.trade(3).await;
        // The orders that were there, and two rounds, came before.
        moving.publishes_since(3).await;
    }
}
