use tailrace_core::batch::{Change, ChangeBatch, Transaction};
use tailrace_core::ports::sink::Origin;
use tailrace_core::position::{Position, Progress};
use tailrace_core::record_batch::TopicPartition;
use tailrace_core::schema::{Column, SharedSchema, TableKind, TableName, TableSchema};
use tailrace_core::value::{LogicalType, TextKind};

use super::super::target::{TargetColumn, TargetTable};
use super::*;

/// A cell of a test: a number, a text, NULL, or unchanged.
#[derive(Debug, Clone, Copy)]
enum C {
    I(i64),
    T(&'static str),
    Null,
    Same,
}

use C::{I, Null, Same, T};

/// An event of a test: table, operation (`k` is a delete that knows nothing but the key), the cells of its row.
type Event = (&'static str, char, &'static [C]);

fn column(name: &str, logical_type: LogicalType, nullable: bool) -> Column {
    Column {
        nullable,
        ..Column::new(name, logical_type)
    }
}

fn schema(table: &str, columns: usize) -> SharedSchema {
    let text = || LogicalType::Text(TextKind::Plain);
    let all = [
        column("id", LogicalType::Int64, false),
        column("a", LogicalType::Int64, true),
        column("big", text(), true),
        column("gone_at", LogicalType::TimestampTz { precision: 6 }, true),
        column("tailrace_position", text(), true),
    ];
    Arc::new(TableSchema {
        name: TableName {
            database: String::new(),
            schema: String::new(),
            table: table.to_owned(),
        },
        kind: TableKind::Table,
        columns: all.into_iter().take(columns).collect(),
        key: vec![0],
        documentation: None,
    })
}

fn target(table: &str, references: &[&str]) -> Arc<TargetTable> {
    let schema = schema(table, 5);
    let columns = schema.columns.iter().map(|column| TargetColumn {
        type_name: String::new(),
        is_generated: false,
        is_identity_always: false,
        may_be_left_out: column.nullable,
    });
    Arc::new(TargetTable {
        columns: columns.collect(),
        schema,
        unique_keys: Vec::new(),
        has_other_unique_index: false,
        references: references
            .iter()
            .map(|table| TableName {
                database: String::new(),
                schema: String::new(),
                table: (*table).to_owned(),
            })
            .collect(),
        references_itself: false,
    })
}

fn push_row(changes: &mut ChangeBatch, cells: &[C]) -> Row {
    changes.begin_row().unwrap();
    for cell in cells {
        match cell {
            I(value) => changes.push_int(*value),
            T(value) => changes.push_text(value).unwrap(),
            Null => changes.push_null(),
            Same => changes.push_unchanged(),
        }
    }
    changes.end_row().unwrap()
}

fn operation_of(code: char) -> Operation {
    match code {
        'c' => Operation::Create,
        'u' => Operation::Update,
        'd' | 'k' => Operation::Delete,
        't' => Operation::Truncate,
        other => panic!("{other}"),
    }
}

fn signed(index: usize) -> i64 {
    i64::try_from(index).unwrap()
}

/// The events as a batch, and their plans: `parent` and `child`, which refers to it; rows of one cell have nothing but the key.
fn batch(events: &[Event], config: &WriteConfig) -> (EventBatch, Plans) {
    let mut changes = ChangeBatch::new("t".into(), Progress::at(Position::new("")));
    let mut plans = Plans {
        ranks: vec![0, 1],
        ..Plans::default()
    };
    let schemas = [
        schema("parent", 3),
        schema("parent", 1),
        schema("child", 3),
        schema("child", 1),
    ];
    let targets = [target("parent", &[]), target("child", &["parent"])];
    for (index, schema) in schemas.iter().enumerate() {
        plans.plans.push(Arc::new(
            Plan::new(schema, Arc::clone(&targets[index / 2]), config).unwrap(),
        ));
        plans.tables.push(index / 2);
    }
    let mut origins = Vec::new();
    for (index, (table, operation, cells)) in events.iter().enumerate() {
        let plan = usize::from(*table == "child") * 2 + usize::from(cells.len() == 1);
        let transaction = changes.push_transaction(Transaction {
            id: None,
            committed_at_us: 1_000 + signed(index),
            position: format!("0/{index:X}").into(),
            log_position: None,
            previous_log_position: None,
            binlog: None,
        });
        let row = (!cells.is_empty()).then(|| push_row(&mut changes, cells));
        let table = changes.table_index(&schemas[plan]);
        let is_delete = matches!(operation, 'd' | 'k');
        let image = match (operation, cells.len()) {
            ('k', _) | (_, 1) => BeforeImage::Key,
            _ => BeforeImage::Full,
        };
        changes.changes.push(Change {
            operation: operation_of(*operation),
            table,
            transaction,
            before: row.filter(|_| is_delete),
            before_image: if is_delete { image } else { BeforeImage::None },
            after: row.filter(|_| !is_delete),
            ordinal: index as u64,
            log_position: None,
            updated_at_us: None,
            topic: None,
            message: None,
        });
        origins.push(Origin {
            partition: 0,
            offset: 100 + signed(index),
        });
        let is_ignored = config.ignores(operation_of(*operation));
        plans.of_changes.push((!is_ignored).then_some(plan));
    }
    let batch = EventBatch {
        changes,
        origins,
        partitions: vec![TopicPartition::new("topic", 3)],
        advances: Vec::new(),
        refused: Vec::new(),
        passed_over: 0,
    };
    (batch, plans)
}

fn cell(value: Value<'_>) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Unchanged => "=".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Text(value) => value.to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Each step in one line: `upsert parent(id a big): 1 2 x; 2 - -`.
fn steps(events: &[Event], config: &WriteConfig) -> Vec<String> {
    let (batch, plans) = batch(events, config);
    printed(&Fold::steps(&batch, config, &plans).unwrap())
}

fn printed(steps: &[Step<'_>]) -> Vec<String> {
    let shown = steps.iter().map(|step| {
        let names = step.columns.iter().map(|column| column.source.name.as_str());
        let rows = step.rows.iter().map(|row| {
            let cells: Vec<String> = step
                .columns
                .iter()
                .map(|column| cell(step.values(row).get(column.place)))
                .collect();
            cells.join(" ")
        });
        let action = match step.action {
            Action::Insert => "insert",
            Action::Upsert => "upsert",
            Action::Update { must_exist: true } => "change",
            Action::Update { must_exist: false } => "update",
            Action::Delete => "delete",
            Action::Truncate => "truncate",
        };
        let guard = step
            .guard
            .map_or_else(String::new, |guard| format!(" by {}", step.columns[guard].source.name));
        let names = names.collect::<Vec<_>>().join(" ");
        let rows = rows.collect::<Vec<_>>().join("; ");
        format!("{action} {}({names}){guard}: {rows}", step.table.name().table)
    });
    shown.collect()
}

#[test]
fn a_key_has_one_effect() {
    let config = WriteConfig::default();
    assert_eq!(
        steps(
            &[
                ("parent", 'c', &[I(1), I(1), T("x")]),
                ("parent", 'c', &[I(2), I(1), T("y")]),
                ("parent", 'u', &[I(1), I(2), T("z")]),
                ("parent", 'd', &[I(2)]),
                ("parent", 'd', &[I(3)]),
            ],
            &config
        ),
        ["delete parent(id): 2; 3", "upsert parent(id a big): 1 2 z"]
    );
}

#[test]
fn a_row_that_is_deleted_and_made_again_begins_anew() {
    let events: &[Event] = &[
        ("parent", 'd', &[I(1)]),
        ("parent", 'c', &[I(1), I(5), Null]),
        ("parent", 'u', &[I(1), I(6), T("x")]),
    ];
    assert_eq!(
        steps(events, &WriteConfig::default()),
        ["delete parent(id): 1", "upsert parent(id a big): 1 6 x"]
    );
    let gone: &[Event] = &[
        ("parent", 'c', &[I(1), I(5), Null]),
        ("parent", 'd', &[I(1)]),
        ("parent", 'c', &[I(1), I(6), Null]),
        ("parent", 'd', &[I(1)]),
    ];
    assert_eq!(steps(gone, &WriteConfig::default()), ["delete parent(id): 1"]);
}

#[test]
fn what_is_unchanged_is_looked_up_in_the_events_before_else_left_alone() {
    assert_eq!(
        steps(
            &[
                ("parent", 'c', &[I(1), I(1), T("x")]),
                ("parent", 'u', &[I(1), I(2), Same]),
                ("parent", 'u', &[I(1), I(3), Same]),
                ("parent", 'u', &[I(2), I(4), Same]),
                ("parent", 'u', &[I(2), I(5), Same]),
                ("parent", 'u', &[I(3), Same, T("y")]),
            ],
            &WriteConfig::default()
        ),
        [
            "upsert parent(id a big): 1 3 x",
            "change parent(id big): 3 y",
            "change parent(id a): 2 5",
        ]
    );
}

#[test]
fn tables_are_in_the_order_of_their_references() {
    assert_eq!(
        steps(
            &[
                ("child", 'c', &[I(1), I(1), Null]),
                ("parent", 'c', &[I(1), I(1), Null]),
                ("parent", 'd', &[I(2)]),
                ("child", 'd', &[I(2)]),
            ],
            &WriteConfig::default()
        ),
        [
            "delete child(id): 2",
            "delete parent(id): 2",
            "upsert parent(id a big): 1 1 -",
            "upsert child(id a big): 1 1 -",
        ]
    );
}

#[test]
fn a_truncate_is_a_border() {
    let events: &[Event] = &[
        ("parent", 'c', &[I(1), I(1), Null]),
        ("parent", 't', &[]),
        ("parent", 'c', &[I(2), I(1), Null]),
    ];
    assert_eq!(
        steps(events, &WriteConfig::default()),
        [
            "upsert parent(id a big): 1 1 -",
            "truncate parent(): ",
            "upsert parent(id a big): 2 1 -"
        ]
    );
    let ignoring = WriteConfig {
        truncates: TruncateMode::Ignore,
        ..WriteConfig::default()
    };
    assert_eq!(steps(events, &ignoring), ["upsert parent(id a big): 1 1 -; 2 1 -"]);
    let halting = WriteConfig {
        truncates: TruncateMode::Halt,
        ..WriteConfig::default()
    };
    let (batch, plans) = batch(events, &halting);
    assert_eq!(
        Fold::steps(&batch, &halting, &plans).unwrap_err().code(),
        "truncate_refused"
    );
}

#[test]
fn inserts_are_kept_apart_so_that_a_key_that_comes_twice_is_seen() {
    let config = WriteConfig {
        mode: WriteMode::Insert,
        ..WriteConfig::default()
    };
    assert_eq!(
        steps(
            &[
                ("parent", 'c', &[I(1), I(1), Null]),
                ("parent", 'u', &[I(1), I(2), Null]),
                ("parent", 'c', &[I(2), I(1), Null]),
                ("parent", 'd', &[I(2)])
            ],
            &config
        ),
        [
            "insert parent(id a big): 1 1 -",
            "delete parent(id): 2",
            "insert parent(id a big): 1 2 -"
        ]
    );
    // Neither the row nor that it was added twice is forgotten by the delete behind them.
    let twice: &[Event] = &[
        ("parent", 'c', &[I(1), I(1), Null]),
        ("parent", 'c', &[I(1), I(2), Null]),
        ("parent", 'd', &[I(1)]),
    ];
    assert_eq!(
        steps(twice, &config),
        ["insert parent(id a big): 1 1 -", "delete parent(id): 1"]
    );
    let again: &[Event] = &[("parent", 'd', &[I(1)]), ("parent", 'c', &[I(1), I(2), Null])];
    assert_eq!(
        steps(again, &config),
        ["delete parent(id): 1", "insert parent(id a big): 1 2 -"]
    );
}

/// `42` and `"42"` are one row of a table, and nobody here can tell.
#[test]
fn keys_of_other_types_are_not_taken_for_others() {
    let config = WriteConfig::default();
    let (batch, mut plans) = batch(
        &[("parent", 'c', &[I(1), I(1), Null]), ("parent", 'd', &[T("1")])],
        &config,
    );
    let mut by_text = TableSchema::clone(&schema("parent", 1));
    by_text.columns[0].logical_type = LogicalType::Text(TextKind::Plain);
    plans.plans[1] = Arc::new(Plan::new(&Arc::new(by_text), target("parent", &[]), &config).unwrap());
    assert_eq!(
        printed(&Fold::steps(&batch, &config, &plans).unwrap()),
        ["upsert parent(id a big): 1 1 -", "delete parent(id): 1"]
    );
}

#[test]
fn what_is_ignored_needs_neither_key_nor_version() {
    let mut config = WriteConfig {
        key: Some(vec!["a".to_owned()]),
        version_guard: Some("a".to_owned()),
        deletes: DeleteMode::Ignore,
        ..WriteConfig::default()
    };
    assert!(config.ignores(Operation::Delete) && config.ignores(Operation::Truncate));
    let truncate = schema("parent", 0);
    let truncate = Arc::new(TableSchema {
        key: Vec::new(),
        ..TableSchema::clone(&truncate)
    });
    assert!(Plan::new(&truncate, target("parent", &[]), &config).is_ok());
    let error = Plan::new(&schema("parent", 1), target("parent", &[]), &config).unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (tailrace_core::error::Kind::Poison, "key_missing")
    );
    config.mode = WriteMode::Append;
    assert!(!config.ignores(Operation::Delete));
}

#[test]
fn updates_change_only_what_is_there() {
    let config = WriteConfig {
        mode: WriteMode::Update,
        ..WriteConfig::default()
    };
    assert_eq!(
        steps(
            &[
                ("parent", 'c', &[I(1), I(1), Null]),
                ("parent", 'u', &[I(2), I(2), Same])
            ],
            &config
        ),
        ["update parent(id a big): 1 1 -", "update parent(id a): 2 2"]
    );
}

#[test]
fn soft_deletes_say_since_when_and_end_with_the_next_version() {
    let config = WriteConfig {
        deletes: DeleteMode::Soft,
        soft_delete_column: Some("gone_at".to_owned()),
        ..WriteConfig::default()
    };
    assert_eq!(
        steps(
            &[
                ("parent", 'd', &[I(1)]),
                ("parent", 'c', &[I(2), I(1), Null]),
                ("parent", 'd', &[I(2)]),
                ("parent", 'd', &[I(3)]),
                ("parent", 'c', &[I(3), I(1), Null]),
            ],
            &config
        ),
        [
            "upsert parent(id a big gone_at): 2 1 - 1002; 3 1 - -",
            "update parent(id gone_at): 1 1000"
        ]
    );
    assert_eq!(steps(&[("parent", 't', &[])], &config), ["truncate parent(gone_at): "]);
}

#[test]
fn a_guard_keeps_the_newest_version_whatever_comes_last() {
    let by_column = WriteConfig {
        version_guard: Some("a".to_owned()),
        ..WriteConfig::default()
    };
    assert_eq!(
        steps(
            &[
                ("parent", 'u', &[I(1), I(7), T("new")]),
                ("parent", 'u', &[I(1), I(5), T("old")])
            ],
            &by_column
        ),
        ["upsert parent(id a big) by a: 1 7 new"]
    );
    let by_position = WriteConfig {
        version_guard: Some("position".to_owned()),
        deletes: DeleteMode::Soft,
        soft_delete_column: Some("gone_at".to_owned()),
        ..WriteConfig::default()
    };
    assert_eq!(
        steps(
            &[("parent", 'u', &[I(1), I(7), Null]), ("parent", 'd', &[I(2)])],
            &by_position
        ),
        [
            "upsert parent(id a big gone_at tailrace_position) by tailrace_position: 1 7 - - 0000000000000000",
            "upsert parent(id gone_at tailrace_position) by tailrace_position: 2 1001 0000000000000001",
        ]
    );
}

#[test]
fn a_guard_holds_for_marks_of_the_same_batch_too() {
    let config = WriteConfig {
        version_guard: Some("position".to_owned()),
        deletes: DeleteMode::Soft,
        soft_delete_column: Some("gone_at".to_owned()),
        ..WriteConfig::default()
    };
    let (mut batch, plans) = batch(
        &[
            ("parent", 'd', &[I(1)]),
            ("parent", 'u', &[I(1), I(5), Null]),
            ("parent", 'u', &[I(2), I(7), Null]),
            ("parent", 'd', &[I(2)]),
        ],
        &config,
    );
    for (transaction, position) in batch.changes.transactions.iter_mut().zip(["0/9", "0/3", "0/9", "0/3"]) {
        transaction.position = position.into();
    }
    assert_eq!(
        printed(&Fold::steps(&batch, &config, &plans).unwrap()),
        [
            "upsert parent(id a big gone_at tailrace_position) by tailrace_position: 2 7 - - 0000000000000009",
            "upsert parent(id gone_at tailrace_position) by tailrace_position: 1 1000 0000000000000009",
        ]
    );
}

#[test]
fn a_delete_that_says_its_version_is_guarded() {
    let config = WriteConfig {
        version_guard: Some("a".to_owned()),
        ..WriteConfig::default()
    };
    assert_eq!(
        steps(
            &[
                ("parent", 'd', &[I(1), I(5), Null]),
                ("parent", 'd', &[I(2)]),
                ("parent", 'd', &[I(3), Null, Null])
            ],
            &config
        ),
        [
            "delete parent(id): 3",
            "delete parent(id a) by a: 1 5",
            "delete parent(id): 2",
        ]
    );
    // What stands for columns that the source does not know is no version.
    assert_eq!(
        steps(&[("parent", 'k', &[I(1), I(0), T("")])], &config),
        ["delete parent(id): 1"]
    );
    assert_eq!(
        steps(
            &[
                ("parent", 'u', &[I(1), I(5), Null]),
                ("parent", 'k', &[I(1), I(0), T("")])
            ],
            &config
        ),
        ["delete parent(id): 1"]
    );
    let by_position = WriteConfig {
        version_guard: Some("position".to_owned()),
        ..WriteConfig::default()
    };
    assert_eq!(
        steps(&[("parent", 'k', &[I(1), I(0), T("")])], &by_position),
        ["delete parent(id tailrace_position) by tailrace_position: 1 0000000000000000"]
    );
    assert_eq!(
        steps(&[("parent", 'd', &[I(1)])], &by_position),
        ["delete parent(id tailrace_position) by tailrace_position: 1 0000000000000000"]
    );
}

#[test]
fn a_version_that_is_null_gives_way() {
    let config = WriteConfig {
        version_guard: Some("a".to_owned()),
        ..WriteConfig::default()
    };
    assert_eq!(
        steps(
            &[
                ("parent", 'u', &[I(1), I(5), T("known")]),
                ("parent", 'u', &[I(1), Null, T("unknown")])
            ],
            &config
        ),
        ["upsert parent(id a big) by a: 1 5 known"]
    );
}

#[test]
fn half_a_row_is_not_inserted() {
    let config = WriteConfig {
        mode: WriteMode::Insert,
        ..WriteConfig::default()
    };
    let refused = |events: &[Event]| {
        let (batch, plans) = batch(events, &config);
        Fold::steps(&batch, &config, &plans)
            .map(|_| ())
            .map_err(|error| error.code())
    };
    assert_eq!(refused(&[("parent", 'u', &[I(1), I(1), Same])]), Err("row_incomplete"));
    // What a new event leaves out has the default.
    assert_eq!(refused(&[("parent", 'c', &[I(1), I(1), Same])]), Ok(()));
}

#[test]
fn events_without_what_they_need_are_poison() {
    let config = WriteConfig::default();
    let refused = |events: &[Event]| {
        let (batch, plans) = batch(events, &config);
        Fold::steps(&batch, &config, &plans).unwrap_err().code()
    };
    assert_eq!(refused(&[("parent", 'u', &[Null, I(1), Null])]), "key_null");
    assert_eq!(refused(&[("parent", 'd', &[])]), "key_missing");
}

#[test]
fn a_delete_of_the_sources_key_is_none_of_another_key() {
    let config = WriteConfig {
        key: Some(vec!["big".to_owned()]),
        mode: WriteMode::Insert,
        ..WriteConfig::default()
    };
    let folded = |operation| {
        let (batch, mut plans) = batch(&[("parent", operation, &[I(1), I(5), T("a")])], &WriteConfig::default());
        plans.plans[0] = Arc::new(Plan::new(&schema("parent", 3), target("parent", &[]), &config).unwrap());
        Fold::steps(&batch, &config, &plans).map(|steps| printed(&steps))
    };
    assert_eq!(folded('d').unwrap(), ["delete parent(big): a"]);
    assert_eq!(folded('k').unwrap_err().code(), "key_missing");
}
