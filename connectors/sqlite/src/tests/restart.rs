//! Interruptions of every kind change nothing in what is published.

use std::time::Duration;

use proptest::prelude::*;
use tailrace_sql::QueryMode;

use super::*;

/// One step of a run.
#[derive(Debug, Clone)]
enum Step {
    /// So many rows are written, in one transaction.
    Insert(u8),
    /// Every row whose id leaves this rest of a division by seven is changed.
    Update(i64),
    /// A batch is read and, perhaps, checkpointed.
    Read { rows: u32, checkpoint: bool },
    /// The source is thrown away and opened at its checkpoint.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..20_u8).prop_map(Step::Insert),
        (0..7_i64).prop_map(Step::Update),
        (1..9_u32, any::<bool>()).prop_map(|(rows, checkpoint)| Step::Read { rows, checkpoint }),
        Just(Step::Restart),
    ]
}

const TABLES: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL, changed INTEGER NOT NULL);
                      CREATE TABLE lines (id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL, changed INTEGER NOT NULL)";

/// Runs the steps, then reads to the end. Gives every event, duplicates included, and the tables as they are.
async fn run(mode: QueryMode, steps: &[Step]) -> (Vec<Event>, Vec<(String, i64, i64)>) {
    let mut shop = Shop::new(TABLES).await;
    let mut config = shop.config(mode);
    let mut source = shop.open(config.clone(), None).await.unwrap();
    let (mut all, mut saved, mut clock) = (Vec::new(), None, 1_700_000_000);
    for step in steps {
        clock += 1;
        match step {
            Step::Insert(rows) => {
                let rows = (0..*rows)
                    .map(|_| format!("(0, {clock})"))
                    .collect::<Vec<_>>()
                    .join(", ");
                for table in ["orders", "lines"] {
                    shop.execute(&format!("INSERT INTO {table} (version, changed) VALUES {rows}"))
                        .await;
                }
            }
            Step::Update(rest) => {
                let change = format!("SET version = version + 1, changed = {clock} WHERE id % 7 = {rest}");
                shop.execute(&format!("UPDATE orders {change}")).await;
            }
            Step::Read { rows, checkpoint } => {
                let budget = Budget {
                    changes: usize::try_from(*rows).unwrap(),
                    ..BUDGET
                };
                // Dropping the future at any time loses nothing either.
                if let Ok(batch) = tokio::time::timeout(Duration::from_millis(1), source.next_batch(budget)).await {
                    let batch = batch.unwrap();
                    all.extend(events(&batch));
                    if *checkpoint {
                        saved = Some(batch.progress);
                    }
                }
            }
            Step::Restart => {
                config.query.batch_rows = config.query.batch_rows % 13 + 1;
                source = shop.open(config.clone(), saved.clone()).await.unwrap();
            }
        }
    }
    source = shop.open(config, saved).await.unwrap();
    clock += 1;
    for table in ["orders", "lines"] {
        shop.execute(&format!("INSERT INTO {table} (version, changed) VALUES (-1, {clock})"))
            .await;
    }
    let mut ends = 0;
    while ends < 2 {
        let more = events(&source.next_batch(BUDGET).await.unwrap());
        ends += more
            .iter()
            .filter(|event| event.row["version"] == Datum::Int(-1))
            .count();
        all.extend(more);
    }
    let mut rows: Vec<(String, i64, i64)> = Vec::new();
    for table in ["orders", "lines"] {
        let statement = format!("SELECT '{table}', id, version FROM {table}");
        rows.extend(
            sqlx::query_as(AssertSqlSafe(statement))
                .fetch_all(&mut shop.writer)
                .await
                .unwrap(),
        );
    }
    rows.sort();
    (all, rows)
}

/// The last version of every row, from the events alone.
fn latest(events: &[Event], version: impl Fn(&Event) -> i64) -> Vec<(String, i64, i64)> {
    let mut state = BTreeMap::new();
    for event in events {
        state.insert(
            (event.table.clone(), ints(std::slice::from_ref(event), "id")[0]),
            version(event),
        );
    }
    state
        .into_iter()
        .map(|((table, id), version)| (table, id, version))
        .collect()
}

fn version(event: &Event) -> i64 {
    ints(std::slice::from_ref(event), "version")[0]
}

/// Equal ids are equal events, and the first coming of each is in order.
fn check_identity_and_order(events: &[Event]) {
    let mut seen: BTreeMap<&str, &Event> = BTreeMap::new();
    let mut newest: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for event in events {
        if let Some(before) = seen.insert(&event.id, event) {
            assert_eq!(before.row["id"], event.row["id"]);
            continue;
        }
        let key = (event.updated_at_us, ints(std::slice::from_ref(event), "id")[0]);
        let before = newest.insert(&event.table, key);
        assert!(
            before.is_none_or(|before| before < key),
            "{before:?} before {key:?} of {}",
            event.table
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn with_timestamps_the_last_version_of_every_row_arrives(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (events, rows) = runtime.block_on(run(QueryMode::TimestampIncrementing, &steps));
        prop_assert_eq!(latest(&events, version), rows);
        check_identity_and_order(&events);
    }

    #[test]
    fn by_id_every_row_arrives(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (events, mut rows) = runtime.block_on(run(QueryMode::Incrementing, &steps));
        rows.iter_mut().for_each(|row| row.2 = 0);
        prop_assert_eq!(latest(&events, |_| 0), rows);
    }
}

#[tokio::test]
async fn a_restart_in_the_middle_publishes_the_same_events() {
    let mut shop = Shop::new(TABLES).await;
    shop.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO orders SELECT i, 0, 1700000000 + i / 100 FROM n",
    )
    .await;
    let config = shop.config(QueryMode::TimestampIncrementing);
    let mut source = shop.open(config.clone(), None).await.unwrap();
    let (whole, _) = read(&mut *source, 1000).await;
    let mut small = config;
    small.query.batch_rows = 7;
    let mut source = shop.open(small.clone(), None).await.unwrap();
    let (mut parts, progress) = read(&mut *source, 400).await;
    small.query.batch_rows = 31;
    let mut source = shop.open(small, Some(progress)).await.unwrap();
    let left = 1000 - parts.len();
    parts.extend(read(&mut *source, left).await.0);
    assert_eq!(parts, whole);
}
