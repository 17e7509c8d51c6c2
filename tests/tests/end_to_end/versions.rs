//! The PostgreSQL versions between those that transcripts are run on, the oldest and the newest: snapshot, insert, update, delete,
//! truncate, restart. Binary values beside that, on two of them.

use tailrace_tests::servers::PostgresVersion;

use crate::capture::{Capture, Wanted, database_with};

async fn works(version: PostgresVersion, source: &str) {
    let table = "create table orders (id int primary key, state text not null, total numeric(10,2), at timestamptz)";
    let database = database_with(version, table).await;
    database
        .execute("insert into orders values (1, 'new', 9.90, '2026-03-01 09:30:00+01')")
        .await
        .unwrap();
    let capture = Capture::start(
        database,
        &Wanted {
            format: "envelope: entity",
            source,
            ..Wanted::default()
        },
    );
    let statements = [
        "insert into orders values (2, 'new', null, null)",
        "update orders set state = 'paid' where id = 1",
        "delete from orders where id = 2",
        "truncate orders",
    ];
    for statement in statements {
        capture.database.execute(statement).await.unwrap();
    }
    capture.settle().await;
    assert!(capture.daemon.terminate().unwrap().success());
    capture
        .database
        .execute("insert into orders values (3, 'late', 1, null)")
        .await
        .unwrap();
    capture.start_again();
    let events = capture
        .after("insert into orders values (4, 'later', 2, null)", "orders")
        .await;
    let first = r#"{"at":"2026-03-01T08:30:00.000000Z","id":1,"state":"#;
    let expected = [
        format!(r#"r {{"id":1}} {first}"new","total":"9.90"}}"#),
        r#"c {"id":2} {"at":null,"id":2,"state":"new","total":null}"#.to_owned(),
        format!(r#"u {{"id":1}} {first}"paid","total":"9.90"}}"#),
        r#"- {"id":2}"#.to_owned(),
        "t {} {}".to_owned(),
        r#"c {"id":3} {"at":null,"id":3,"state":"late","total":"1.00"}"#.to_owned(),
        r#"c {"id":4} {"at":null,"id":4,"state":"later","total":"2.00"}"#.to_owned(),
    ];
    assert_eq!(events, expected, "{version}");
}

#[tokio::test(flavor = "multi_thread")]
async fn version_14_works_with_binary_values() {
    works(PostgresVersion::V14, "binary: true").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_15_works() {
    works(PostgresVersion::V15, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_16_works() {
    works(PostgresVersion::V16, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_17_works_with_binary_values() {
    works(PostgresVersion::V17, "binary: true").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_13_says_that_it_has_no_messages() {
    let database = database_with(PostgresVersion::V13, "create table t (id int primary key)").await;
    let wanted = Wanted {
        source: "message_prefixes: [\"*\"]",
        ..Wanted::default()
    };
    let capture = Capture::prepare(database, &wanted);
    capture.daemon.start().unwrap();
    capture.wait_for("halted:server_too_old");
}
