//! Tables of the configuration that the other program did not capture: their rows are read first, and those of the others are not.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tailrace_tests::database::{Database, Server};
use tailrace_tests::servers::{MySqlOptions, MySqlVersion, PostgresVersion, poll_until};

use super::shop::{Shop, said};
use super::{DEADLINE, Move, daemon_on};

/// Rows of a table that nobody has captured.
const CUSTOMERS: &str =
    "create table customers (id int primary key, n int not null); insert into customers values (1, 1), (2, 2), (3, 3)";

// === impl Move ===

impl Move {
    /// With customers, beside the orders that the other program captured.
    pub(super) async fn prepare_with_customers(database: Database, name: &str) -> Move {
        database.execute(CUSTOMERS).await.unwrap();
        let shop = Shop::open(database).await;
        let daemon = daemon_on(&shop.database, name, &["orders", "customers"]);
        Move::of(shop, daemon, name)
    }

    /// The orders' name in full.
    pub(super) fn orders(&self) -> String {
        format!("{}.orders", self.shop.database.schema())
    }

    pub(super) fn wait_for_customers(&self, ids: impl IntoIterator<Item = i64>) {
        let wanted: BTreeSet<i64> = ids.into_iter().collect();
        let outcome = poll_until("all customers", DEADLINE, || {
            let records = self.kafka.records(&self.topic_of("customers")).unwrap_or_default();
            let there: BTreeSet<i64> = said(&records).into_iter().map(|(id, _)| id).collect();
            Ok((there == wanted).then_some(()))
        });
        if let Err(error) = outcome {
            unreachable!("{}", self.daemon.with_status(&self.connector(), &error));
        }
    }

    /// Where the other program is: everything so far was published of the orders.
    async fn place(&self) -> Value {
        match self.shop.database.server() {
            Server::Postgres(_) => {
                // As Debezium makes it unless it is told otherwise.
                let place = self.with_slot("all tables").await;
                json!({ "lsn": place, "lsn_proc": place, "lsn_commit": place })
            }
            Server::MySql(server) => {
                let (file, pos) = server.log_end().await.unwrap();
                json!({ "file": file, "pos": pos, "server_id": 1, "gtids": server.executed().await.unwrap() })
            }
        }
    }
}

async fn customers_are_read_and_orders_go_on(database: Database, name: &str) {
    let mut moving = Move::prepare_with_customers(database, name).await;
    let offset = moving.place().await;
    let database = &moving.shop.database;
    database.execute("insert into customers values (4, 4)").await.unwrap();
    moving.shop.trade(3).await;

    let orders = moving.orders();
    let unmatched = ["--captured", &format!("{orders},{orders}s")];
    moving.is_refused_with(&offset, &unmatched, ("tables_unmatched", "--captured"));
    let all = moving.import_json(&offset, &[]);
    let taken = |tables: &str| format!("so that their rows are not read: {tables}.");
    let customers = orders.replace("orders", "customers");
    assert!(
        all.stdout.contains(&taken(&format!("{customers}, {orders}"))),
        "{}",
        all.all()
    );
    let arguments = ["--captured", &orders, "--yes"];
    let told = moving.import_json(&offset, &arguments);
    assert_eq!(told.code, Some(0), "{}", told.all());
    assert!(told.stdout.contains(&taken(&orders)), "{}", told.all());
    let new = format!("not captured before: {customers}; their rows are read first");
    assert!(told.stdout.contains(&new), "{}", told.all());

    moving.daemon.start().unwrap();
    moving.wait_for_all();
    moving.wait_for_customers(1..=4);
    let database = &moving.shop.database;
    database.execute("insert into customers values (5, 5)").await.unwrap();
    moving.shop.trade(1).await;
    moving.wait_for_all();
    moving.wait_for_customers(1..=5);
    moving.daemon.terminate().unwrap();
    // The first transaction is that of the orders that were there.
    let published = said(&moving.kafka.records(&moving.topic()).unwrap());
    assert_eq!(published, moving.shop.since(1));
    for table in ["orders", "customers"] {
        moving.kafka.delete_topic(&moving.topic_of(table)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_were_not_captured_are_read_first_on_postgresql() {
    let database = Database::shared(PostgresVersion::V17).await.unwrap();
    customers_are_read_and_orders_go_on(database, "captured_pg").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_were_not_captured_are_read_first_on_mysql() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        let database = Database::own(MySqlOptions::version(version)).await.unwrap();
        customers_are_read_and_orders_go_on(database, "captured_my").await;
    }
}
