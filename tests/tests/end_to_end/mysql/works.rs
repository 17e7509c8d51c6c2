//! Snapshot, insert, update, delete, restart: on each server, and with each kind of log that it can write.

use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlOptions, MySqlVersion};

use crate::capture::{Capture, Wanted};

const TABLE: &str =
    "create table orders (id int primary key, state varchar(20) not null, total decimal(10,2), many int unsigned,
    at timestamp(6) null);
    insert into orders values (1, 'new', 9.90, 4294967295, '2026-03-01 08:30:00')";

async fn works(options: MySqlOptions) {
    let shown = format!("{} {:?}", options.version, options.settings);
    let database = Database::own(options).await.unwrap();
    database.execute(TABLE).await.unwrap();
    let wanted = Wanted {
        format: "envelope: entity",
        ..Wanted::default()
    };
    let capture = Capture::start(database, &wanted);
    let statements = "insert into orders values (2, 'größer', null, 0, null);
        update orders set state = 'paid' where id = 1;
        delete from orders where id = 2";
    capture.database.execute(statements).await.unwrap();
    capture.settle().await;
    assert!(capture.daemon.terminate().unwrap().success(), "{shown}");
    capture
        .database
        .execute("insert into orders values (3, 'late', 1, 1, null)")
        .await
        .unwrap();
    capture.start_again();
    let events = capture
        .after("insert into orders values (4, 'later', 2, 2, null)", "orders")
        .await;
    let first = r#"{"at":"2026-03-01T08:30:00.000000Z","id":1,"many":4294967295,"state":"#;
    let expected = [
        format!(r#"r {{"id":1}} null -> {first}"new","total":"9.90"}}"#),
        r#"c {"id":2} null -> {"at":null,"id":2,"many":0,"state":"größer","total":null}"#.to_owned(),
        format!(r#"u {{"id":1}} null -> {first}"paid","total":"9.90"}}"#),
        r#"- {"id":2}"#.to_owned(),
        r#"c {"id":3} null -> {"at":null,"id":3,"many":1,"state":"late","total":"1.00"}"#.to_owned(),
        r#"c {"id":4} null -> {"at":null,"id":4,"many":2,"state":"later","total":"2.00"}"#.to_owned(),
    ];
    let expected = expected.map(|line| line.replace("null -> ", ""));
    assert_eq!(events, expected, "{shown}");
}

fn of(version: MySqlVersion) -> MySqlOptions {
    MySqlOptions::version(version)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_works() {
    for version in MySqlVersion::ALL {
        works(of(version)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_without_metadata_work() {
    for version in [MySqlVersion::MariaDb1011, MySqlVersion::MySql97] {
        works(of(version).setting("binlog_row_metadata=MINIMAL")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_without_global_transaction_identifiers_work() {
    for version in [MySqlVersion::MySql56, MySqlVersion::MySql97] {
        works(of(version).without_gtids()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_without_checksums_work() {
    for version in MySqlVersion::ALL {
        works(of(version).setting("binlog_checksum=NONE")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_logs_work() {
    works(of(MySqlVersion::MySql97).setting("binlog_transaction_compression=ON")).await;
    let mariadb = of(MySqlVersion::MariaDb1011).setting("log_bin_compress=ON");
    works(mariadb.setting("log_bin_compress_min_len=10")).await;
}
