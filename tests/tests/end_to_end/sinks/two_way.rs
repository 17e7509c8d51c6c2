//! Two databases that are kept in step both ways, through one daemon: what goes over does not come back.

use tailrace_tests::daemon::Daemon;
use tailrace_tests::published::Published;
use tailrace_tests::servers::PostgresVersion;

use super::{has_rows, same_rows, sink};
use crate::capture::database_with;

const TABLE: &str = "create table customers (id int primary key, name text, updated_at bigint)";

/// FM-254.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_over_does_not_come_back() {
    let north = database_with(PostgresVersion::V17, TABLE).await;
    let south = database_with(PostgresVersion::V14, TABLE).await;
    let daemon = Daemon::new("").unwrap();
    let folder = daemon.path().join("events");
    let mut sections = format!(
        "streams: {{ events: {{ type: file, path: \"{}\" }} }}\nconnectors:\n",
        folder.display()
    );
    for (source, target, name) in [(&north, &south, "to-south"), (&south, &north, "to-north")] {
        sections.push_str(&format!(
            "  {}: {{ stream: events, format: {{ codec: avro }}, source: {{ type: postgres, url: \"{}\", tables: [public.customers], \
             skip_written_by: [\"to-*\"], slot: {} }} }}\n  \
             {name}: {{ stream: events, topics: [\"{}.public.customers\"], sink: {{ {}, mark_origin: true, version_guard: updated_at }} }}\n",
            side(name),
            source.url(),
            source.slot(),
            side(name),
            sink(target, None),
        ));
    }
    daemon.configure(&sections).unwrap();
    daemon.start().unwrap();
    for connector in ["north", "south", "to-north", "to-south"] {
        daemon.wait_for_state(connector, "streaming").unwrap();
    }
    for round in 0..20 {
        let rows = |side: &str, base: i32| {
            format!(
                "insert into customers values ({}, '{side}', {round}); update customers set name = name || '!' where id = {0}",
                base + round
            )
        };
        north.execute(&rows("north", 0)).await.unwrap();
        south.execute(&rows("south", 1000)).await.unwrap();
    }
    has_rows(&north, "customers", 40, &daemon).await;
    has_rows(&south, "customers", 40, &daemon).await;
    same_rows(&north, &south, "customers", &daemon).await;
    // Logs are read in order: when these have gone over, whatever the sinks wrote before them was read too.
    north
        .execute("insert into customers values (5000, 'last of the north', 0)")
        .await
        .unwrap();
    south
        .execute("insert into customers values (6000, 'last of the south', 0)")
        .await
        .unwrap();
    has_rows(&north, "customers", 42, &daemon).await;
    has_rows(&south, "customers", 42, &daemon).await;
    let published = Published::File(folder);
    for name in ["north", "south"] {
        let events = published.events(&format!("{name}.public.customers")).await.unwrap();
        assert_eq!(
            events.len(),
            41,
            "an insert and an update of each of its twenty rows, the last, and none of the other's"
        );
    }
}

fn side(sink: &str) -> &'static str {
    if sink == "to-south" { "north" } else { "south" }
}
