//! Legacy to legacy: the examples of `config/`, run as they stand but for the names of databases and folders.

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, eventually, shared_kafka};

use super::DEADLINE;

const TABLES: &str = "
    create table orders (id bigint unsigned auto_increment primary key, customer varchar(40) not null, total decimal(12,2) not null,
        status enum('new', 'paid', 'shipped') not null default 'new', ordered_at datetime(3) not null, paid_at timestamp(6) null,
        is_gift tinyint(1) not null default 0, note text) engine = InnoDB;
    create table order_lines (order_id bigint unsigned not null, line smallint not null, article binary(4), amount double not null,
        primary key (order_id, line), foreign key (order_id) references orders (id)) engine = InnoDB;
    insert into orders values (1, 'Zoë', 12.30, 'paid', '2020-02-29 23:59:59.999', '2020-03-01 00:00:00.000001', 1, null),
        (18446744073709551615, '', 0, 'new', '1999-12-31 00:00:00', null, 0, 'it''s \\\\ \"quoted\"');
    insert into order_lines values (1, 1, x'00ff00ff', 1.5), (1, 2, null, 2e-300)";

/// What is left of them in the target, in words that do not depend on settings of the session.
const ORDERS: &str =
    "select id, customer, total, status, ordered_at, paid_at at time zone 'UTC', is_gift, coalesce(note, '-')
    from legacy.orders order by id";
const LINES: &str = "select order_id, line, encode(article, 'hex'), amount from legacy.order_lines order by 1, 2";

/// The sections of an example behind its version, for a source of this name.
fn sections(example: &str, source: &Database, folder: &Daemon) -> String {
    let path = format!("{}/../config/{example}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let (_, sections) = text.split_once("version: 1\n").unwrap();
    sections
        .replace("shop.order", &format!("{}.order", source.name()))
        .replace("shop.shop.*", &format!("shop.{}.*", source.name()))
        .replace("data/events", &folder.path().join("events").display().to_string())
}

async fn orders_are_kept_in_step(example: &str, version: MySqlVersion) {
    let source = Database::shared(version).await.unwrap();
    source.execute(TABLES).await.unwrap();
    let target = Database::shared(PostgresVersion::V17).await.unwrap();
    let mut daemon = Daemon::new("").unwrap();
    let text = sections(example, &source, &daemon);
    let text = text.replace("type: mysql", &format!("type: {}", version.connector_type()));
    daemon.configure(&text).unwrap();
    daemon.set_variable("SHOP_DATABASE_URL", &source.url());
    daemon.set_variable("REPORTING_DATABASE_URL", &target.url());
    daemon.set_variable("KAFKA_BOOTSTRAP", &shared_kafka().unwrap().bootstrap());
    daemon.start().unwrap();
    let holds = async |query: &str, wanted: &[&str]| {
        let rows = async || {
            let rows = target.query(query).await?;
            let line = |row: Vec<Option<String>>| {
                let cells = row.into_iter().map(|cell| cell.unwrap_or_else(|| "NULL".to_owned()));
                Vec::from_iter(cells).join("|")
            };
            Ok::<Vec<String>, tailrace_tests::servers::ServerError>(rows.into_iter().map(line).collect())
        };
        let seen = eventually("the target's rows", DEADLINE, async || {
            let found = rows().await.unwrap_or_default();
            Ok((found == wanted).then_some(()))
        });
        let is_seen = seen.await.is_ok();
        assert!(
            is_seen,
            "{version}: {:#?}\nand not {wanted:#?}\n{}",
            rows().await,
            daemon.log()
        );
    };
    let unpaid = "18446744073709551615||0.00|new|1999-12-31 00:00:00|NULL|0|it's \\ \"quoted\"";
    let first = "1|Zoë|12.30|paid|2020-02-29 23:59:59.999|2020-03-01 00:00:00.000001|1|-";
    holds(ORDERS, &[first, unpaid]).await;
    holds(LINES, &["1|1|00ff00ff|1.5", "1|2|NULL|2e-300"]).await;
    source
        .execute(
            "update orders set status = 'shipped', note = 'Straße' where id = 1;
             insert into orders (id, customer, total, ordered_at) values (2, 'Ann', 1, '2021-01-01');
             insert into order_lines values (2, 1, null, 7);
             delete from order_lines where order_id = 1 and line = 2;
             update order_lines set line = 3 where order_id = 1;
             delete from orders where id > 2",
        )
        .await
        .unwrap();
    let shipped = "1|Zoë|12.30|shipped|2020-02-29 23:59:59.999|2020-03-01 00:00:00.000001|1|Straße";
    holds(ORDERS, &[shipped, "2|Ann|1.00|new|2021-01-01 00:00:00|NULL|0|-"]).await;
    holds(LINES, &["1|3|00ff00ff|1.5", "2|1|NULL|7"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_mysql_are_kept_in_step_with_postgres_through_kafka() {
    orders_are_kept_in_step("mysql-to-postgres.yaml", MySqlVersion::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_mysql_are_kept_in_step_with_postgres_without_a_broker() {
    for version in MySqlVersion::ALL {
        orders_are_kept_in_step("mysql-to-postgres-without-broker.yaml", version).await;
    }
}
