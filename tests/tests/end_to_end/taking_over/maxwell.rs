//! Maxwell itself, on the newest server that its newest release on Maven reads.

use tailrace_tests::database::Database;
use tailrace_tests::servers::{Maxwell, MySqlOptions, MySqlVersion, poll_until};

use super::shop::{Shop, said, said_by_maxwell};
use super::{DEADLINE, Move};

const CLIENT: &str = "shopper";

#[tokio::test(flavor = "multi_thread")]
async fn tailrace_goes_on_where_maxwell_stopped() {
    for options in [
        MySqlOptions::version(MySqlVersion::MySql56).without_gtids(),
        MySqlOptions::version(MySqlVersion::MySql56),
    ] {
        let database = Database::own(options).await.unwrap();
        let maxwell = Maxwell::start(database.mysql().unwrap(), CLIENT).await.unwrap();
        // It publishes no rows that are there before, so it comes first.
        let mut moving = Move::prepare_with_customers(database, "from_maxwell").await;
        moving.shop.trade(20).await;
        wait_for_all(&moving.shop, &maxwell);
        maxwell.stop().unwrap();
        moving.shop.trade(20).await;
        let bootstrap = format!(
            "insert into maxwell.bootstrap (database_name, table_name, client_id) values ('{schema}', 'orders', '{CLIENT}'), \
             ('{schema}', 'others', 'another')",
            schema = moving.shop.database.schema()
        );
        moving.shop.database.execute(&bootstrap).await.unwrap();

        let wrong = moving.import(&["--maxwell", "--client-id", "shoper"]);
        assert_eq!(wrong.code, Some(1), "{}", wrong.all());
        assert!(wrong.stderr.contains(CLIENT), "{}", wrong.all());
        let orders = moving.orders();
        let told = moving.import_in_two_steps(&["--maxwell", "--client-id", CLIENT, "--captured", &orders]);
        let unfinished = format!("(a bootstrap of {orders}): the rest of them is not read");
        assert!(told.stdout.contains(&unfinished), "{}", told.all());
        assert!(
            told.stdout.contains("where Maxwell (client_id `shopper`) stopped"),
            "{}",
            told.all()
        );
        moving.daemon.start().unwrap();
        moving.wait_for_all();
        moving.wait_for_customers(1..=3);
        moving.daemon.terminate().unwrap();
        let mut all = said_by_maxwell(&maxwell.events().unwrap());
        all.extend(said(&moving.kafka.records(&moving.topic()).unwrap()));
        let repeated = moving.shop.repeated(&all);
        assert!(repeated <= 10, "{repeated} changes came again");
        for table in ["orders", "customers"] {
            moving.kafka.delete_topic(&moving.topic_of(table)).await.unwrap();
        }
    }
}

fn wait_for_all(shop: &Shop, maxwell: &Maxwell) {
    let all = poll_until("Maxwell's events", DEADLINE, || {
        let events = maxwell.events()?;
        Ok(shop.has_last(&said_by_maxwell(&events)).then_some(()))
    });
    if let Err(error) = all {
        unreachable!("{error}\n{}", maxwell.log());
    }
}
