//! Deaths while the set of captured tables, or of messages, is another one than before.

use std::collections::BTreeSet;

use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Options, Scenario};

use super::{PART_SAVED, ROWS_FIRST, ends_well};
use crate::crashes::seed;

/// All tables of the workload but `bulk`.
const WITHOUT_BULK: &str = "[public.accounts, public.ledger, public.order_lines]";
const ALL: &str = "[public.*]";

/// Rows of a transaction that has several batches.
const PARTS: usize = 50_000;
/// Messages before those rows, in the same transaction.
const MESSAGES: usize = 5000;

async fn without_bulk(lane: Lane) -> Scenario {
    let options = Options {
        tables: WITHOUT_BULK.to_owned(),
        ..Options::new(lane, seed())
    };
    let scenario = Scenario::new(options).await.unwrap();
    scenario.commit(ROWS_FIRST).await.unwrap();
    scenario.workload.commit_rows(10_000).await.unwrap();
    scenario
}

async fn reads(scenario: &Scenario, table: &str) -> usize {
    let events = scenario.events(table).await.unwrap();
    events.iter().filter(|event| event.operation() == "r").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_an_added_table_is_read_the_others_are_not_read_again() {
    for lane in Lane::ALL {
        let mut scenario = without_bulk(lane).await;
        scenario.start().unwrap();
        scenario.settle().await.unwrap();
        scenario.daemon.kill9().unwrap();
        let before = reads(&scenario, "accounts").await;
        scenario.change(|options| options.tables = ALL.to_owned()).unwrap();
        for failpoint in [
            "table_added",
            "snapshot_rows@2",
            "after_durable@2",
            "snapshot_table_finished",
            "snapshot_complete",
        ] {
            scenario.dies_at(failpoint).await.unwrap();
            scenario.commit(5).await.unwrap();
        }
        scenario.start().unwrap();
        scenario.commit(5).await.unwrap();
        scenario.settle().await.unwrap();
        assert!(before > 0 && reads(&scenario, "bulk").await > 0);
        assert_eq!(reads(&scenario, "accounts").await, before);
        scenario.daemon.kill9().unwrap();
        ends_well(scenario, Snapshot::Interrupted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_added_while_the_first_snapshot_is_interrupted_is_published_and_followed() {
    for lane in Lane::ALL {
        let mut scenario = without_bulk(lane).await;
        scenario.dies_at("snapshot_table_finished").await.unwrap();
        scenario.change(|options| options.tables = ALL.to_owned()).unwrap();
        scenario.dies_at("snapshot_rows").await.unwrap();
        scenario.commit(5).await.unwrap();
        scenario.start().unwrap();
        scenario.workload.commit_rows(100).await.unwrap();
        scenario.settle().await.unwrap();
        assert!(reads(&scenario, "bulk").await > 0);
        scenario.daemon.kill9().unwrap();
        ends_well(scenario, Snapshot::Interrupted).await;
    }
}

/// Rows were carried, no checkpoint says so, and they are gone when the table is read again: only the log knows of their end.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_an_added_table_that_are_gone_when_it_is_read_again_are_deleted() {
    for lane in Lane::ALL {
        let mut scenario = without_bulk(lane).await;
        let table = "create table apart (id int primary key); insert into apart select generate_series(1, 1000)";
        scenario.database.execute(table).await.unwrap();
        scenario.start().unwrap();
        scenario.daemon.kill9().unwrap();
        let with = "[public.accounts, public.ledger, public.order_lines, public.apart]";
        scenario.change(|options| options.tables = with.to_owned()).unwrap();
        for _ in 0..2 {
            scenario.dies_at("after_durable").await.unwrap();
            let delete = "delete from apart where id in (select id from apart order by id limit 100)";
            scenario.database.execute(delete).await.unwrap();
        }
        assert_eq!(
            reads(&scenario, "apart").await,
            1900,
            "each death came after the rows were durable"
        );
        scenario.start().unwrap();
        scenario.settle().await.unwrap();
        let mut left = BTreeSet::new();
        for event in scenario.events("apart").await.unwrap() {
            let id = event.key_json()["id"].as_u64().unwrap();
            if event.value.is_some() {
                left.insert(id)
            } else {
                left.remove(&id)
            };
        }
        assert_eq!(left, (201..=1000).collect::<BTreeSet<u64>>());
    }
}

/// What happened while it was out was not carried: its rows are read as they are now.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_taken_out_and_put_back_is_read_again() {
    for lane in Lane::ALL {
        let mut scenario = without_bulk(lane).await;
        // One partition, so that events of several keys have an order.
        scenario.change(|options| options.partitions = 1).unwrap();
        let table =
            "create table apart (id int primary key, v text); insert into apart values (1, 'first'), (2, 'first')";
        scenario.database.execute(table).await.unwrap();
        let with = "[public.accounts, public.ledger, public.order_lines, public.apart]";
        scenario.change(|options| options.tables = with.to_owned()).unwrap();
        scenario.start().unwrap();
        scenario.daemon.terminate().unwrap();
        scenario
            .change(|options| options.tables = WITHOUT_BULK.to_owned())
            .unwrap();
        scenario.start().unwrap();
        let statements = "update apart set v = 'unseen' where id = 1; insert into apart values (3, 'unseen')";
        scenario.database.execute(statements).await.unwrap();
        scenario.settle().await.unwrap();
        scenario.daemon.terminate().unwrap();
        scenario.change(|options| options.tables = with.to_owned()).unwrap();
        scenario.start().unwrap();
        scenario
            .database
            .execute("update apart set v = 'last' where id = 2")
            .await
            .unwrap();
        scenario.settle().await.unwrap();
        let mut events: Vec<String> = scenario
            .events("apart")
            .await
            .unwrap()
            .iter()
            .map(|event| event.brief())
            .collect();
        let last = events.pop().unwrap();
        assert_eq!(last, r#"u {"id":2} {"id":2,"v":"last"}"#);
        let (first, mut again) = (events[..2].to_vec(), events[2..].to_vec());
        again.sort();
        assert_eq!(first.len(), 2);
        let expected = [(1, "unseen"), (2, "first"), (3, "unseen")];
        assert_eq!(
            again,
            expected.map(|(id, v)| format!(r#"r {{"id":{id}}} {{"id":{id},"v":"{v}"}}"#))
        );
    }
}

/// With messages a transaction has more changes than without them: how many of it are done means something else now.
#[tokio::test(flavor = "multi_thread")]
async fn fm_289_message_prefixes_changed_within_a_transaction_lose_nothing() {
    for lane in Lane::ALL {
        let mut scenario = without_bulk(lane).await;
        scenario
            .database
            .execute("create table parts (id int primary key, v text)")
            .await
            .unwrap();
        let tables = "[public.accounts, public.ledger, public.order_lines, public.parts]";
        let with_messages = |options: &mut Options| {
            tables.clone_into(&mut options.tables);
            "message_prefixes: [note]\n".clone_into(&mut options.source);
        };
        scenario.change(with_messages).unwrap();
        scenario.start().unwrap();
        scenario.daemon.kill9().unwrap();
        let messages =
            format!("perform pg_logical_emit_message(true, 'note', n::text) from generate_series(1, {MESSAGES}) n");
        let rows = format!("insert into parts select n, repeat(md5(n::text), 4) from generate_series(1, {PARTS}) n");
        let statements = format!("do $$ begin {messages}; {rows}; end $$");
        scenario.database.execute(&statements).await.unwrap();
        scenario.dies_at(PART_SAVED).await.unwrap();
        scenario.change(|options| options.source.clear()).unwrap();
        scenario.start().unwrap();
        scenario.settle().await.unwrap();
        let events = scenario.events("parts").await.unwrap();
        let keys: BTreeSet<u64> = events
            .iter()
            .map(|event| event.key_json()["id"].as_u64().unwrap())
            .collect();
        assert_eq!(keys.len(), PARTS);
    }
}
