//! Two daemons fight for one outbox: by the lease one of them reads at a time, and one that was frozen does no harm.

use std::collections::{BTreeMap, BTreeSet};

use tailrace_tests::events::Event;

use super::{Polled, database_with, number};

/// Rows of each aggregate ascend.
const AGGREGATES: u64 = 7;

const QUERY: &str = "tables: [public.outbox]
query: { mode: queue, poll_interval_ms: 20, batch_rows: 50, lease: { name: twins, lease_ms: 1000 } }";

const SCHEMA: &str = "
    create table outbox (id bigint generated always as identity primary key, aggregate int not null);
    create table tailrace_lease (name text primary key, epoch bigint not null, owner text not null, expires_at_us bigint not null)";

async fn write(polled: &Polled, rows: u64) {
    let statement = format!("insert into outbox (aggregate) select n % {AGGREGATES} from generate_series(1, {rows}) n");
    polled.database.execute(&statement).await.unwrap();
}

async fn wait_until_empty(polled: &Polled) {
    let empty = "(select count(*) from outbox) = 0";
    polled.database.wait_until(empty).await.unwrap();
}

fn ascends_by_aggregate(events: &[Event]) {
    let mut newest: BTreeMap<i64, i64> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for event in events {
        let id = number(event, "id");
        if !known.insert(id) {
            // It was handed to the stream before the lease was lost, and comes again.
            continue;
        }
        let before = newest.insert(number(event, "aggregate"), id);
        assert!(before.is_none_or(|before| before < id), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_take_turns_when_one_is_frozen() {
    let database = database_with(SCHEMA).await;
    let first = Polled::prepare(database.clone(), QUERY);
    let second = Polled::prepare(database, QUERY);
    first.start_again();
    second.daemon.start().unwrap();
    let (mut holder, mut other) = (&first, &second);
    let mut written = 0;
    for _ in 0..4 {
        write(holder, 300).await;
        // Somewhere in the middle of it, wherever that is.
        holder.daemon.pause().unwrap();
        write(other, 300).await;
        wait_until_empty(other).await;
        holder.daemon.resume().unwrap();
        written += 600;
        (holder, other) = (other, holder);
    }
    write(holder, 100).await;
    wait_until_empty(holder).await;
    written += 100;
    let mut published = BTreeSet::new();
    for twin in [&first, &second] {
        let events = twin.events("outbox").await;
        assert!(!events.is_empty(), "both had their turn");
        ascends_by_aggregate(&events);
        published.extend(events.iter().map(|event| number(event, "id")));
    }
    assert_eq!(
        published,
        (1..=written).collect(),
        "nothing is deleted that was not published"
    );
}
