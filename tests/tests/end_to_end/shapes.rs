//! What becomes of each kind of change: SQL in, events out, in Debezium's envelope unless a test says otherwise.
//!
//! An event is shown as `op key before -> after`; a tombstone as `- key`. Names are sorted, JSON has no order.

use serde_json::json;
use tailrace_tests::servers::PostgresVersion;

use crate::capture::{Capture, Wanted, database_with};

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_there_come_first_and_changes_after_them() {
    let capture = Capture::of("create table t (id int primary key, v text); insert into t values (1, 'old')").await;
    let statements =
        "insert into t values (2, 'new'); update t set v = 'newer' where id = 1; delete from t where id = 2";
    let expected = [
        r#"r {"id":1} null -> {"id":1,"v":"old"}"#,
        r#"c {"id":2} null -> {"id":2,"v":"new"}"#,
        r#"u {"id":1} null -> {"id":1,"v":"newer"}"#,
        r#"d {"id":2} {"id":2,"v":null} -> null"#,
        r#"- {"id":2}"#,
    ];
    assert_eq!(capture.after(statements, "t").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_block_says_where_a_change_comes_from() {
    let capture = Capture::of("create table t (id int primary key); insert into t values (1)").await;
    capture.after("insert into t values (2)", "t").await;
    let events = capture.events("t");
    let [read, created] = events.as_slice() else {
        unreachable!("two events: {events:?}")
    };
    let source = read.value_json()["source"].clone();
    assert_eq!(source["connector"], "postgresql");
    assert_eq!(source["name"], capture.database.name());
    assert_eq!(source["db"], capture.database.name());
    assert_eq!((&source["schema"], &source["table"]), (&json!("public"), &json!("t")));
    assert_ne!(source["snapshot"], "false");
    let source = created.value_json()["source"].clone();
    assert_eq!(source["snapshot"], "false");
    assert!(source["lsn"].is_u64() && source["txId"].is_u64(), "{source}");
    assert_eq!(created.value_json()["transaction"], json!(null));
    assert_eq!(created.header("source"), capture.database.name());
    assert!(created.header("updated_at").ends_with('Z'));
    assert_eq!(created.header("txn"), source["txId"].to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_identity_full_shows_the_row_before() {
    let table = "create table t (id int primary key, v text, n int); alter table t replica identity full";
    let capture = Capture::of(table).await;
    let statements = "insert into t values (1, 'a', null); update t set v = 'b'; delete from t";
    let expected = [
        r#"c {"id":1} null -> {"id":1,"n":null,"v":"a"}"#,
        r#"u {"id":1} {"id":1,"n":null,"v":"a"} -> {"id":1,"n":null,"v":"b"}"#,
        r#"d {"id":1} {"id":1,"n":null,"v":"b"} -> null"#,
        r#"- {"id":1}"#,
    ];
    assert_eq!(capture.after(statements, "t").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_identity_by_index_is_the_key_where_there_is_no_other() {
    let table = "create table t (code text not null, v text); create unique index by_code on t (code);
        alter table t replica identity using index by_code";
    let capture = Capture::of(table).await;
    let statements = "insert into t values ('x', 'a'); update t set v = 'b'; update t set code = 'y'; delete from t";
    let expected = [
        r#"c {"code":"x"} null -> {"code":"x","v":"a"}"#,
        r#"u {"code":"x"} null -> {"code":"x","v":"b"}"#,
        r#"d {"code":"x"} {"code":"x","v":null} -> null"#,
        r#"- {"code":"x"}"#,
        r#"c {"code":"y"} null -> {"code":"y","v":"b"}"#,
        r#"d {"code":"y"} {"code":"y","v":null} -> null"#,
        r#"- {"code":"y"}"#,
    ];
    assert_eq!(capture.after(statements, "t").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_key_has_events_without_keys() {
    let capture = Capture::of("create table t (v text); alter table t replica identity full").await;
    let statements = "insert into t values ('a'); update t set v = 'b'; delete from t";
    let expected = [
        r#"c null null -> {"v":"a"}"#,
        r#"u null {"v":"a"} -> {"v":"b"}"#,
        r#"d null {"v":"b"} -> null"#,
    ];
    assert_eq!(capture.after(statements, "t").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_key_is_a_delete_and_a_create_that_know_of_each_other() {
    let capture = Capture::of("create table t (id int primary key, v text)").await;
    let events = capture
        .after("insert into t values (1, 'a'); update t set id = 2", "t")
        .await;
    let expected = [
        r#"c {"id":1} null -> {"id":1,"v":"a"}"#,
        r#"d {"id":1} {"id":1,"v":null} -> null"#,
        r#"- {"id":1}"#,
        r#"c {"id":2} null -> {"id":2,"v":"a"}"#,
    ];
    assert_eq!(events, expected);
    let events = capture.events("t");
    assert_eq!(events[1].header("__debezium.newkey"), r#"{"id":2}"#);
    assert_eq!(events[3].header("__debezium.oldkey"), r#"{"id":1}"#);
    let ids: std::collections::BTreeSet<&str> = events.iter().map(|event| event.event_id()).collect();
    assert_eq!(ids.len(), 4, "each record has an id of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_that_did_not_change_are_marked_and_never_null() {
    let table = "create table t (id int primary key, v int, big text not null, bytes bytea, list int[]);
        alter table t alter big set storage external, alter bytes set storage external, alter list set storage external";
    let capture = Capture::of(table).await;
    let insert = "insert into t select 1, 0, repeat('x', 9000), decode(repeat('ab', 9000), 'hex'), array_agg(n) from generate_series(1, 5000) n;";
    capture.after(&format!("{insert} update t set v = 1"), "t").await;
    let events = capture.events("t");
    assert_eq!(events[0].after()["big"].as_str().unwrap().len(), 9000);
    let after = events[1].after();
    assert_eq!(after["v"], 1);
    assert_eq!(after["big"], "__debezium_unavailable_value");
    assert_eq!(after["bytes"], "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==");
    let codes: Vec<u8> = b"__debezium_unavailable_value".to_vec();
    assert_eq!(after["list"], json!(codes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_row_leaves_unchanged_large_values_out_and_a_header_names_them() {
    let table = "create table t (id int primary key, v int, big text); alter table t alter big set storage external";
    let database = database_with(PostgresVersion::V17, table).await;
    let capture = Capture::start(
        database,
        &Wanted {
            format: "envelope: entity",
            ..Wanted::default()
        },
    );
    capture
        .after(
            "insert into t values (1, 0, repeat('x', 9000)); update t set v = 1; update t set big = null",
            "t",
        )
        .await;
    let events = capture.events("t");
    assert_eq!(events[1].after(), json!({"id": 1, "v": 1}));
    assert_eq!(events[1].header("unchanged"), r#"["big"]"#);
    assert_eq!(events[2].after(), json!({"id": 1, "v": 1, "big": null}));
    assert_eq!(events[2].header("unchanged"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_replica_identity_full_large_values_come_from_the_row_before() {
    let table = "create table t (id int primary key, v int, big text); alter table t alter big set storage external;
        alter table t replica identity full";
    let capture = Capture::of(table).await;
    capture
        .after(
            "insert into t values (1, 0, repeat('x', 9000)); update t set v = 1",
            "t",
        )
        .await;
    let events = capture.events("t");
    assert_eq!(events[1].after()["big"].as_str().unwrap().len(), 9000);
    assert_eq!(events[1].before()["big"].as_str().unwrap().len(), 9000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_is_one_event_per_table() {
    let tables = "create table a (id int primary key); create table b (id int primary key references a)";
    let capture = Capture::of(tables).await;
    let events = capture.after("insert into a values (1); truncate a cascade", "a").await;
    assert_eq!(events, [r#"c {"id":1} null -> {"id":1}"#, "t null null -> null"]);
    assert_eq!(capture.after("", "b").await, ["t null null -> null"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn logical_messages_are_events_of_their_own() {
    let database = database_with(PostgresVersion::V17, "create table t (id int primary key)").await;
    let wanted = Wanted {
        source: "message_prefixes: [\"out*\"]",
        ..Wanted::default()
    };
    let capture = Capture::start(database, &wanted);
    let statements = "select pg_logical_emit_message(true, 'outbox', 'hello');
        select pg_logical_emit_message(false, 'outbox', 'at once'); select pg_logical_emit_message(true, 'other', 'no')";
    capture.after(statements, "t").await;
    let events = capture.events_of_topic(&format!("{}.message", capture.database.name()));
    let mut contents: Vec<String> = events
        .iter()
        .map(|event| {
            assert_eq!(
                (event.operation(), event.key_json()),
                ("m", json!({"prefix": "outbox"}))
            );
            event.value_json()["message"]["content"].as_str().unwrap().to_owned()
        })
        .collect();
    contents.sort();
    assert_eq!(contents, ["YXQgb25jZQ==", "aGVsbG8="]);
}

const PARTITIONED: &str = "create table t (id int, region text, v int, primary key (id, region)) partition by list (region);
    create table t_north partition of t for values in ('north'); create table t_south partition of t for values in ('south')";

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_published_under_their_own_names() {
    let capture = Capture::of(PARTITIONED).await;
    let move_row = "insert into t values (1, 'north', 1); update t set region = 'south'";
    let north = [
        r#"c {"id":1,"region":"north"} null -> {"id":1,"region":"north","v":1}"#,
        r#"d {"id":1,"region":"north"} {"id":1,"region":"north","v":null} -> null"#,
        r#"- {"id":1,"region":"north"}"#,
    ];
    assert_eq!(capture.after(move_row, "t_north").await, north);
    assert_eq!(
        capture.after("", "t_south").await,
        [r#"c {"id":1,"region":"south"} null -> {"id":1,"region":"south","v":1}"#]
    );
    assert_eq!(capture.after("", "t").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_can_be_published_as_the_partitioned_table() {
    let database = database_with(PostgresVersion::V17, PARTITIONED).await;
    database.execute("insert into t values (1, 'north', 1)").await.unwrap();
    let wanted = Wanted {
        source: "publication_via_partition_root: true",
        tables: "[public.t]",
        ..Wanted::default()
    };
    let capture = Capture::start(database, &wanted);
    let expected = [
        r#"r {"id":1,"region":"north"} null -> {"id":1,"region":"north","v":1}"#,
        r#"d {"id":1,"region":"north"} {"id":1,"region":"north","v":null} -> null"#,
        r#"- {"id":1,"region":"north"}"#,
        r#"c {"id":1,"region":"south"} null -> {"id":1,"region":"south","v":1}"#,
        r#"c {"id":2,"region":"south"} null -> {"id":2,"region":"south","v":2}"#,
    ];
    let statements = "update t set region = 'south'; insert into t values (2, 'south', 2)";
    assert_eq!(capture.after(statements, "t").await, expected);
    assert_eq!(capture.after("", "t_south").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_those_of_the_moment_of_the_change() {
    let capture = Capture::of("create table t (id int primary key, v text)").await;
    let statements =
        "begin; insert into t values (1, 'a'); alter table t add column w int; insert into t values (2, 'b', 7);
        alter table t rename column v to text; update t set w = 8 where id = 2; alter table t drop column text; commit;
        alter table t alter w type text using 'w' || w; insert into t values (3, 'c')";
    let expected = [
        r#"c {"id":1} null -> {"id":1,"v":"a"}"#,
        r#"c {"id":2} null -> {"id":2,"v":"b","w":7}"#,
        r#"u {"id":2} null -> {"id":2,"text":"b","w":8}"#,
        r#"c {"id":3} null -> {"id":3,"w":"c"}"#,
    ];
    assert_eq!(capture.after(statements, "t").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_replica_identity_holds_from_the_next_change_on() {
    let capture = Capture::of("create table t (id int primary key, v text)").await;
    let statements = "insert into t values (1, 'a'); update t set v = 'b'; alter table t replica identity full; update t set v = 'c'";
    let expected = [
        r#"c {"id":1} null -> {"id":1,"v":"a"}"#,
        r#"u {"id":1} null -> {"id":1,"v":"b"}"#,
        r#"u {"id":1} {"id":1,"v":"b"} -> {"id":1,"v":"c"}"#,
    ];
    assert_eq!(capture.after(statements, "t").await, expected);
}

const GENERATED: &str =
    "create table t (id int primary key, price int, double int generated always as (price * 2) stored)";

#[tokio::test(flavor = "multi_thread")]
async fn generated_columns_are_the_same_in_snapshot_and_log() {
    let database = database_with(PostgresVersion::V17, GENERATED).await;
    database
        .execute("insert into t (id, price) values (1, 10)")
        .await
        .unwrap();
    let capture = Capture::start(database, &Wanted::default());
    let expected = [
        r#"r {"id":1} null -> {"id":1,"price":10}"#,
        r#"c {"id":2} null -> {"id":2,"price":20}"#,
    ];
    let statement = "insert into t (id, price) values (2, 20)";
    assert_eq!(
        capture.after(statement, "t").await,
        expected,
        "before version 18 the log has no generated columns"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_never_happened() {
    let capture = Capture::of("create table t (id int primary key)").await;
    let statements = "begin; insert into t values (1); rollback; begin; insert into t values (2); savepoint s;
        insert into t values (3); rollback to s; insert into t values (4); commit";
    assert_eq!(
        capture.after(statements, "t").await,
        [r#"c {"id":2} null -> {"id":2}"#, r#"c {"id":4} null -> {"id":4}"#]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_comes_when_it_is_committed() {
    let capture = Capture::of("create table t (id int primary key)").await;
    let client = capture.database.connect().await.unwrap();
    client
        .batch_execute("begin; insert into t values (1); prepare transaction 'first'")
        .await
        .unwrap();
    client.batch_execute("insert into t values (2)").await.unwrap();
    client.batch_execute("commit prepared 'first'").await.unwrap();
    assert_eq!(
        capture.after("", "t").await,
        [r#"c {"id":2} null -> {"id":2}"#, r#"c {"id":1} null -> {"id":1}"#]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_stamped_with_its_own_updated_at_where_one_is_named() {
    let database = database_with(
        PostgresVersion::V17,
        "create table t (id int primary key, modified timestamptz)",
    )
    .await;
    database
        .execute("insert into t values (1, '2020-02-03 04:05:06.789+00')")
        .await
        .unwrap();
    let wanted = Wanted {
        connector: "updated_at: { column: modified }",
        ..Wanted::default()
    };
    let capture = Capture::start(database, &wanted);
    capture
        .after("insert into t values (2, '2021-02-03 04:05:06+00')", "t")
        .await;
    let events = capture.events("t");
    assert_eq!(events[0].timestamp_ms, 1_580_702_706_789);
    assert_eq!(events[0].header("updated_at"), "2020-02-03T04:05:06.789000Z");
    assert_eq!(events[1].header("updated_at"), "2021-02-03T04:05:06.000000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_taken_as_they_are() {
    let table = r#"create table "Größe.1 ""x""" (id int primary key, "Wert %" int)"#;
    let capture = Capture::of(table).await;
    let insert = r#"insert into "Größe.1 ""x""" values (1, 2)"#;
    capture.after(insert, "t").await;
    let prefix = format!("{}.public.", capture.database.name());
    let topics = capture.kafka.topics().unwrap();
    let topics: Vec<&String> = topics.iter().filter(|topic| topic.starts_with(&prefix)).collect();
    assert_eq!(topics.len(), 1, "{topics:?}");
    let events = capture.events_of_topic(topics[0]);
    assert_eq!(events[0].brief(), r#"c {"id":1} null -> {"Wert %":2,"id":1}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_and_rows_are_left_out_renamed_and_masked_at_the_border() {
    let database = database_with(
        PostgresVersion::V17,
        "create table t (id int primary key, mail text, secret text, country text)",
    )
    .await;
    database
        .execute("insert into t values (1, 'a@b.c', 's', 'de'), (2, 'x@y.z', 's', 'fr')")
        .await
        .unwrap();
    let connector = "transforms:\n  - { tables: [public.t], exclude_columns: [secret], rename: { mail: email }, mask: { mail: { truncate_characters: 2 } }, where: [{ column: country, in: [de] }] }";
    let capture = Capture::start(
        database,
        &Wanted {
            connector,
            format: "envelope: entity",
            ..Wanted::default()
        },
    );
    let events = capture
        .after(
            "insert into t values (3, 'long@mail', 's', 'de'), (4, 'n@n', 's', 'it')",
            "t",
        )
        .await;
    let expected = [
        r#"r {"id":1} {"country":"de","email":"a@","id":1}"#,
        r#"c {"id":3} {"country":"de","email":"lo","id":3}"#,
    ];
    assert_eq!(events, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_or_renamed_was_carried_before() {
    let capture = Capture::of("create table t (id int primary key); create table gone (id int primary key)").await;
    let statements =
        "insert into gone values (1); drop table gone; insert into t values (1); alter table t rename to s;
        insert into s values (2); alter table s rename to t; insert into t values (3)";
    let events = capture.after(statements, "t").await;
    assert_eq!(events[0], r#"c {"id":1} null -> {"id":1}"#);
    assert_eq!(events.last().unwrap(), r#"c {"id":3} null -> {"id":3}"#);
    assert_eq!(capture.after("", "gone").await, [r#"c {"id":1} null -> {"id":1}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_columns_is_a_row() {
    let capture =
        Capture::of("create table t (); alter table t replica identity full; insert into t default values").await;
    let expected = ["r null null -> {}", "c null null -> {}"];
    assert_eq!(capture.after("insert into t default values", "t").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_another_encoding_arrives_as_unicode() {
    let other = database_with(PostgresVersion::V17, "").await;
    let name = format!("latin{}", other.name());
    let create = format!("create database {name} encoding 'LATIN1' locale 'C' template template0");
    other.execute(&create).await.unwrap();
    let table = "create table t (id int primary key, v text); insert into t values (1, chr(233))";
    other.server().execute_in(&name, table).await.unwrap();
    let url = other.server().url_as("postgres", &name);
    let capture = Capture::start(
        other,
        &Wanted {
            url: Some(url),
            ..Wanted::default()
        },
    );
    let insert = "insert into t values (2, chr(223))";
    capture.database.server().execute_in(&name, insert).await.unwrap();
    let expected = [
        r#"r {"id":1} null -> {"id":1,"v":"é"}"#,
        r#"c {"id":2} null -> {"id":2,"v":"ß"}"#,
    ];
    assert_eq!(capture.after("", "t").await, expected);
}
