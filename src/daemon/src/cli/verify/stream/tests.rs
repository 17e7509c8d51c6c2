use tailrace_core::batch::Change;
use tailrace_core::position::{Position, Progress};
use tailrace_core::schema::{Column, TableKind, TableSchema};
use tailrace_core::value::LogicalType;
use tailrace_sql::sink::SinkRules;
use tailrace_sql::sink::config::WriteConfig;

use super::*;

fn orders(columns: &[&str], key: &[usize]) -> SharedSchema {
    Arc::new(TableSchema {
        name: SinkRules::source_of_topic("shop.public.orders"),
        kind: TableKind::Table,
        columns: columns
            .iter()
            .map(|name| Column::new(*name, LogicalType::Int64))
            .collect(),
        key: key.to_vec(),
        documentation: None,
    })
}

/// Tells of a row of numbers; `None` is what did not change.
fn tell(said: &mut Said, pairings: &mut Pairings, schema: &SharedSchema, row: &[Option<i64>]) {
    let mut batch = ChangeBatch::new(Arc::from("test"), Progress::at(Position::new("0")));
    batch.begin_row().unwrap();
    for cell in row {
        match cell {
            Some(number) => batch.push_int(*number),
            None => batch.push_unchanged(),
        }
    }
    let after = Some(batch.end_row().unwrap());
    let table = batch.table_index(schema);
    batch.changes.push(Change {
        operation: Operation::Update,
        table,
        transaction: 0,
        before: None,
        before_image: BeforeImage::None,
        after,
        ordinal: 0,
        log_position: None,
        updated_at_us: None,
        topic: None,
        message: None,
    });
    let pairing = pairings.of(schema).unwrap();
    let change = batch.views().next().unwrap();
    said.put(
        change,
        (schema, &pairing),
        &Asked::Slice(&mut Slice::default(), usize::MAX),
    );
}

#[test]
fn what_a_dropped_column_had_is_not_compared() {
    let target = orders(&["id", "note", "price"], &[0]);
    let mut pairings = Pairings::new(target, &WriteConfig::default(), |_| true);
    let mut said = Said::default();
    tell(
        &mut said,
        &mut pairings,
        &orders(&["id", "note", "price"], &[0]),
        &[Some(7), Some(1), Some(2)],
    );
    tell(
        &mut said,
        &mut pairings,
        &orders(&["id", "price"], &[0]),
        &[Some(7), None],
    );
    let told = said.last.values().flatten().next().unwrap();
    assert_eq!(told.values, BTreeMap::from([(2, Some("2".to_owned()))]));
}

#[test]
fn every_version_of_the_events_counts() {
    let target = orders(&["id", "note"], &[0]);
    let mut pairings = Pairings::new(target, &WriteConfig::default(), |_| true);
    let first = pairings.of(&orders(&["id", "note"], &[0]));
    pairings.known = first;
    assert!(pairings.left_out().is_empty());
    pairings.of(&orders(&["id", "newer"], &[0]));
    assert_eq!(pairings.left_out(), ["newer"]);
    pairings.check().unwrap();
    assert!(pairings.of(&orders(&["id", "note"], &[1])).is_none());
    assert_eq!(pairings.check().unwrap_err().code(), "key_changed");
    assert!(pairings.of(&orders(&["id", "note"], &[])).is_none());
    assert_eq!(pairings.check().unwrap_err().code(), "key_missing");
}

#[test]
fn a_partition_without_records_is_read_to_its_end() {
    let (empty, open) = (TopicPartition::new("orders", 0), TopicPartition::new("orders", 1));
    let said = Said {
        known_ends: BTreeMap::from([(empty.clone(), 5), (open.clone(), 9)]),
        ends: BTreeMap::from([(open.clone(), 7)]),
        unread: BTreeMap::from([(open.clone(), 9)]),
        ..Said::default()
    };
    assert!(said.reaches(&empty, 5) && !said.reaches(&empty, 6));
    assert!(said.reaches(&open, 7) && !said.reaches(&open, 8));
    let written = |partition: i32| Offset {
        partition: TopicPartition::new("orders", partition),
        next_offset: Some(1),
        last_record: None,
        epoch: 1,
    };
    said.check_partitions(&[written(0), written(1)]).unwrap();
    let unknown = said.check_partitions(&[written(1), written(2)]).unwrap_err();
    assert_eq!(unknown.code(), "group_waits");
    assert!(unknown.report().contains("partition orders-2"), "{}", unknown.report());
}

#[test]
fn a_truncate_has_its_place_in_one_partition_alone() {
    let schema = orders(&["id"], &[0]);
    let mut pairings = Pairings::new(orders(&["id"], &[0]), &WriteConfig::default(), |_| true);
    let mut said = Said::default();
    tell(&mut said, &mut pairings, &schema, &[Some(7)]);
    said.truncate(3, &pairings).unwrap();
    assert_eq!(
        said.last.values().flatten().count(),
        1,
        "it may have come behind the truncate"
    );
    assert!(!said.is_emptied && !said.says_everything());
    pairings.as_written = true;
    let refused = said.truncate(3, &pairings).unwrap_err();
    assert_eq!(refused.code(), "truncate_unordered");
    let mut said = Said::default();
    tell(&mut said, &mut pairings, &schema, &[Some(7)]);
    said.truncate(1, &pairings).unwrap();
    assert_eq!(said.last.values().flatten().count(), 0);
    assert!(said.is_emptied && said.says_everything());
}
