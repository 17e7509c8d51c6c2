//! Online schema changes where the log does not say what its rows are: a table under another name is changed, filled, and gets the captured name.

use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlOptions, MySqlVersion};

use crate::capture::{Capture, Wanted};

/// Everything that a log can be without descriptions of rows.
fn servers() -> impl Iterator<Item = MySqlOptions> {
    MySqlVersion::ALL.into_iter().map(|version| {
        let options = MySqlOptions::version(version);
        match version {
            // It has no descriptions at all.
            MySqlVersion::MySql56 => options,
            MySqlVersion::MySql97 | MySqlVersion::MariaDb1011 => options.setting("binlog_row_metadata=MINIMAL"),
        }
    })
}

const WANTED: Wanted<'static> = Wanted {
    tables: "[public.orders*]",
    format: "envelope: entity",
    source: "",
    connector: "",
    url: None,
    partitions: 1,
};

async fn orders(options: MySqlOptions, more: &str) -> Capture {
    let database = Database::own(options).await.unwrap();
    let tables = "create table orders (id int primary key, state varchar(20) not null);
        insert into orders values (1, 'new')";
    database.execute(tables).await.unwrap();
    database.execute(more).await.unwrap();
    Capture::start(database, &WANTED)
}

impl Capture {
    async fn run(&self, statements: &str) {
        self.database.execute(statements).await.unwrap();
    }

    async fn carry(&self, statements: &str) {
        self.run(statements).await;
        self.settle().await;
    }

    fn lines(&self, table: &str) -> Vec<String> {
        self.events(table)
            .iter()
            .map(tailrace_tests::events::Event::brief)
            .collect()
    }
}

const GHOST: &str = "create table _orders_new like orders;
    alter table _orders_new add column note varchar(10) default 'none' after id";
const SWAP: &str = "insert into _orders_new (id, state) select id, state from orders;
    rename table orders to _orders_old, _orders_new to orders;
    insert into orders values (3, 'swapped', 'three');
    update orders set state = 'paid' where id = 1";

const SWAPPED: [&str; 2] = [
    r#"c {"id":3} {"id":3,"note":"swapped","state":"three"}"#,
    r#"u {"id":1} {"id":1,"note":"none","state":"paid"}"#,
];

fn last_two(lines: &[String]) -> Vec<&str> {
    lines[lines.len() - 2..].iter().map(String::as_str).collect()
}

/// The daemon dies after the new table was made, and once more before the names are swapped: what it knew of the new table is still known.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_making_of_the_new_table_and_the_swap() {
    for options in servers() {
        let version = options.version;
        let capture = orders(options, "do 0").await;
        capture.carry(GHOST).await;
        capture.daemon.kill9().unwrap();
        capture.start_again();
        capture.carry("insert into orders values (2, 'two')").await;
        capture.daemon.kill9().unwrap();
        capture.run(SWAP).await;
        capture.start_again();
        capture.settle().await;
        assert_eq!(last_two(&capture.lines("orders")), SWAPPED, "{version}");
    }
}

/// It was made before anything was read of the log.
#[tokio::test(flavor = "multi_thread")]
async fn the_new_table_is_older_than_the_connector() {
    for options in servers() {
        let version = options.version;
        let capture = orders(options, GHOST).await;
        capture.carry("insert into orders values (2, 'two')").await;
        capture.carry(SWAP).await;
        assert_eq!(last_two(&capture.lines("orders")), SWAPPED, "{version}");
        // The old table goes, and another of its name comes after a restart.
        capture.carry("drop table _orders_old").await;
        capture.daemon.kill9().unwrap();
        capture.start_again();
        let again = "create table _orders_old (id int primary key, size bigint unsigned);
            rename table orders to _orders_new, _orders_old to orders;
            insert into orders values (9, 18446744073709551615)";
        capture.carry(again).await;
        let lines = capture.lines("orders");
        assert_eq!(
            lines.last().unwrap(),
            r#"c {"id":9} {"id":9,"size":"18446744073709551615"}"#,
            "{version}"
        );
    }
}

/// New tables without a character set of their own have that of their schema, which is only in the catalogue.
#[tokio::test(flavor = "multi_thread")]
async fn new_tables_are_in_the_character_set_of_their_schema() {
    for options in servers() {
        let version = options.version;
        let capture = orders(options, "alter database character set latin1").await;
        capture
            .carry("create table orders_old (id int primary key, text varchar(20))")
            .await;
        capture.carry("insert into orders_old values (1, 'größer')").await;
        capture.carry("alter database character set utf8mb4").await;
        capture.daemon.kill9().unwrap();
        capture.start_again();
        capture
            .carry("create table orders_new (id int primary key, text varchar(20))")
            .await;
        capture.carry("insert into orders_new values (1, 'größer €')").await;
        assert_eq!(
            capture.lines("orders_old"),
            [r#"c {"id":1} {"id":1,"text":"größer"}"#],
            "{version}"
        );
        assert_eq!(
            capture.lines("orders_new"),
            [r#"c {"id":1} {"id":1,"text":"größer €"}"#],
            "{version}"
        );
    }
}
