use super::*;
use crate::batch::Transaction;
use crate::position::{Position, Progress};
use crate::schema::{Column, TableKind, TableName, TableSchema};
use crate::value::{LogicalType, TextKind, Value};

fn column(name: &str, logical_type: LogicalType) -> Column {
    Column::new(name, logical_type)
}

fn customers() -> SharedSchema {
    Arc::new(TableSchema {
        name: TableName {
            database: "shop".into(),
            schema: "public".into(),
            table: "customers".into(),
        },
        kind: TableKind::Table,
        columns: vec![
            column("id", LogicalType::Int64),
            column("email", LogicalType::Text(TextKind::Plain)),
            column("status", LogicalType::Text(TextKind::Plain)),
            column("modified_on", LogicalType::Timestamp { precision: 6 }),
        ],
        key: vec![0],
        documentation: None,
    })
}

struct Given {
    batch: ChangeBatch,
    schema: SharedSchema,
}

impl Given {
    fn new() -> Self {
        let mut batch = ChangeBatch::new("test".into(), Progress::at(Position::new("1")));
        batch.push_transaction(Transaction {
            id: None,
            committed_at_us: 7,
            position: "1".into(),
            log_position: None,
            previous_log_position: None,
            binlog: None,
        });
        Self {
            batch,
            schema: customers(),
        }
    }

    fn row(&mut self, id: i64, email: &str, status: Option<&str>) -> Row {
        self.batch.begin_row().unwrap();
        self.batch.push_int(id);
        self.batch.push_text(email).unwrap();
        match status {
            Some(status) => self.batch.push_text(status).unwrap(),
            None => self.batch.push_unchanged(),
        }
        self.batch.push_int(1_000_000);
        self.batch.end_row().unwrap()
    }

    fn change(&mut self, operation: Operation, before: Option<Row>, after: Option<Row>) {
        let table = self.batch.table_index(&self.schema);
        self.batch.changes.push(Change {
            operation,
            table,
            transaction: 0,
            before,
            before_image: if before.is_some() {
                BeforeImage::Full
            } else {
                BeforeImage::None
            },
            after,
            ordinal: 0,
            log_position: None,
            updated_at_us: None,
            topic: None,
            message: None,
        });
    }
}

fn transform(rule: Rule) -> Transform {
    Transform::new(&TransformConfig { rules: vec![rule] }, Some("modified_on".into())).unwrap()
}

fn active_only() -> Rule {
    Rule {
        conditions: vec![config::Condition {
            column: "status".into(),
            one_of: Some(vec!["active".into()]),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn columns_are_left_out_renamed_and_masked_in_key_and_value() {
    let mut given = Given::new();
    let row = given.row(7, "ada@example.org", Some("active"));
    given.change(Operation::Create, None, Some(row));
    let mask = |hash: &str| Mask {
        hash_salt: Some(crate::secret::Secret::new(hash)),
        ..Default::default()
    };
    let mut transform = transform(Rule {
        exclude_columns: vec!["status".into()],
        rename: [("email".to_owned(), "mail".to_owned())].into(),
        mask: [("email".to_owned(), mask("salt")), ("id".to_owned(), mask("salt"))].into(),
        ..Default::default()
    });
    assert_eq!(transform.apply(&mut given.batch).unwrap(), 0);
    let view = given.batch.views().next().unwrap();
    let names: Vec<_> = view
        .table()
        .unwrap()
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(names, ["id", "mail", "modified_on"]);
    let after = view.after().unwrap();
    // sha256("salt7").
    let expected = "2ab204d76cdcec4609d290441fed2eec4186d288ca47c40cc7dd661a0de1b0d0";
    assert_eq!(after.get(0), Value::Text(expected));
    assert_ne!(after.get(1), Value::Text("ada@example.org"));
    assert_eq!(view.table().unwrap().key, [0]);
    assert_eq!(view.updated_at_us(), 1_000_000);
}

#[test]
fn columns_of_events_are_told_from_what_stands_in_their_place() {
    let mut plain = Transform::new(&TransformConfig::default(), None).unwrap();
    assert_eq!(
        plain.origins(&customers()).unwrap(),
        Some(vec![Some(0), Some(1), Some(2), Some(3)])
    );
    let fixed = Mask {
        fixed: Some("***".to_owned()),
        ..Default::default()
    };
    let mut altered = transform(Rule {
        exclude_columns: vec!["status".into()],
        mask: [("email".to_owned(), fixed)].into(),
        ..Default::default()
    });
    assert_eq!(
        altered.origins(&customers()).unwrap(),
        Some(vec![Some(0), None, Some(3)])
    );
    let mut dropped = transform(Rule {
        drop: true,
        ..Default::default()
    });
    assert_eq!(dropped.origins(&customers()).unwrap(), None);
}

#[test]
fn a_key_column_cannot_be_excluded() {
    let mut given = Given::new();
    let row = given.row(7, "a", None);
    given.change(Operation::Create, None, Some(row));
    let mut transform = transform(Rule {
        exclude_columns: vec!["id".into()],
        ..Default::default()
    });
    let error = transform.apply(&mut given.batch).unwrap_err();
    assert!(error.report().contains("mask it instead"), "{}", error.report());
}

#[test]
fn an_update_that_leaves_the_filter_deletes_the_key() {
    let mut given = Given::new();
    let before = given.row(7, "a", Some("active"));
    let after = given.row(7, "a", Some("closed"));
    given.change(Operation::Update, Some(before), Some(after));
    given.change(Operation::Update, None, Some(after));
    given.change(Operation::Update, Some(after), Some(after));
    given.change(Operation::Create, None, Some(after));
    assert_eq!(transform(active_only()).apply(&mut given.batch).unwrap(), 2);
    let operations: Vec<_> = given.batch.changes.iter().map(|change| change.operation).collect();
    assert_eq!(operations, [Operation::Delete, Operation::Delete]);
    let keys: Vec<_> = given.batch.views().map(|view| view.before().unwrap().get(0)).collect();
    assert_eq!(keys, [Value::Int(7), Value::Int(7)]);
    let emails: Vec<_> = given.batch.views().map(|view| view.before().unwrap().get(1)).collect();
    assert_eq!(
        emails,
        [Value::Text("a"), Value::Null],
        "of what lies outside nothing but the key is told"
    );
}

#[test]
fn an_update_that_enters_the_filter_creates_the_row() {
    let mut given = Given::new();
    let before = given.row(7, "a", Some("closed"));
    let after = given.row(7, "a", Some("active"));
    given.change(Operation::Update, Some(before), Some(after));
    given.change(Operation::Update, None, Some(after));
    assert_eq!(transform(active_only()).apply(&mut given.batch).unwrap(), 0);
    let operations: Vec<_> = given.batch.changes.iter().map(|change| change.operation).collect();
    assert_eq!(operations, [Operation::Create, Operation::Update]);
    assert!(given.batch.views().all(|view| view.before().is_none()));
}

#[test]
fn a_delete_has_the_time_of_its_commit_and_not_the_row_s() {
    let mut given = Given::new();
    let before = given.row(7, "a", Some("active"));
    given.change(Operation::Delete, Some(before), None);
    let mut by_column = Transform::new(&TransformConfig { rules: Vec::new() }, Some("modified_on".into())).unwrap();
    by_column.apply(&mut given.batch).unwrap();
    assert_eq!(given.batch.views().next().unwrap().updated_at_us(), 7);
}

#[test]
fn a_filter_on_an_unchanged_value_lets_the_row_through() {
    let mut given = Given::new();
    let after = given.row(7, "a", None);
    given.change(Operation::Update, None, Some(after));
    assert_eq!(transform(active_only()).apply(&mut given.batch).unwrap(), 0);
    assert_eq!(given.batch.changes[0].operation, Operation::Update);
}

/// Tombstones have nothing but the key, and truncates have nothing.
#[test]
fn a_filter_lets_deletes_by_key_and_truncates_through() {
    for (columns, operation) in [(1, Operation::Delete), (0, Operation::Truncate), (1, Operation::Create)] {
        let mut given = Given::new();
        let mut schema = TableSchema::clone(&given.schema);
        schema.columns.truncate(columns);
        schema.key.truncate(columns);
        given.schema = Arc::new(schema);
        given.batch.begin_row().unwrap();
        given.batch.push_int(7);
        let key = given.batch.end_row().unwrap();
        let is_row = operation == Operation::Create;
        given.change(
            operation,
            (operation == Operation::Delete).then_some(key),
            is_row.then_some(key),
        );
        given.batch.changes[0].before_image = if is_row { BeforeImage::None } else { BeforeImage::Key };
        let described = transform(active_only()).describe(&given.schema);
        assert!(
            described.is_err(),
            "a table without the column is found before there are any rows"
        );
        let applied = transform(active_only()).apply(&mut given.batch);
        if is_row {
            let error = applied.unwrap_err();
            assert!(error.to_string().contains("column `status`"), "{error}");
        } else {
            assert_eq!(applied.unwrap(), 0);
            assert_eq!(given.batch.changes[0].operation, operation);
        }
    }
}

#[test]
fn tables_are_dropped_and_routed() {
    let mut given = Given::new();
    let row = given.row(7, "a", None);
    given.change(Operation::Create, None, Some(row));
    let mut routed = given.batch.clone();
    let drop = Rule {
        tables: Some(vec!["public.cust*".into()]),
        drop: true,
        ..Default::default()
    };
    assert_eq!(transform(drop).apply(&mut given.batch).unwrap(), 1);
    let route = Rule {
        route: Some(config::Route {
            pattern: r"^public\.(.*)$".into(),
            topic: "shop.$1".into(),
        }),
        ..Default::default()
    };
    transform(route).apply(&mut routed).unwrap();
    assert_eq!(routed.changes[0].topic.as_deref(), Some("shop.customers"));
}

#[test]
fn what_the_source_knows_of_the_row_s_age_stays_without_a_column() {
    let of_rules = |rules| Transform::new(&TransformConfig { rules }, None).unwrap();
    for mut transform in [of_rules(Vec::new()), of_rules(vec![active_only()])] {
        let mut given = Given::new();
        let row = given.row(7, "ada@example.org", Some("active"));
        given.change(Operation::Create, None, Some(row));
        given.batch.changes[0].updated_at_us = Some(42);
        transform.apply(&mut given.batch).unwrap();
        assert_eq!(given.batch.changes[0].updated_at_us, Some(42));
    }
}

fn cast(columns: &[(&str, &str)]) -> Rule {
    let columns = columns.iter();
    Rule {
        cast: columns
            .map(|(column, to)| ((*column).to_owned(), (*to).to_owned()))
            .collect(),
        ..Default::default()
    }
}

/// What keeps the rules from a table of customers.
fn refusal(rules: Vec<Rule>) -> String {
    let transform = Transform::new(&TransformConfig { rules }, None);
    let error = transform.and_then(|mut transform| transform.describe(&customers()));
    let error = error.unwrap_err();
    assert_eq!(error.code(), "transform_invalid");
    error.report()
}

#[test]
fn columns_are_cast_in_key_and_value_under_their_new_names() {
    let mut given = Given::new();
    let mut schema = TableSchema::clone(&given.schema);
    schema.columns[0] = Column {
        nullable: false,
        source_type: "bigint".to_owned(),
        default: Some(crate::value::Datum::Int(0)),
        default_is_computed: true,
        ..schema.columns[0].clone()
    };
    given.schema = Arc::new(schema);
    let before = given.row(7, "1.5", Some("on"));
    let after = given.row(8, "2", None);
    given.change(Operation::Update, Some(before), Some(after));
    given.batch.begin_row().unwrap();
    (0..4).for_each(|_| given.batch.push_null());
    let nothing = given.batch.end_row().unwrap();
    given.change(Operation::Create, None, Some(nothing));
    let mut transform = transform(Rule {
        rename: [("id".to_owned(), "number".to_owned())].into(),
        ..cast(&[
            ("id", "text"),
            ("email", "decimal(5,2)"),
            ("status", "json"),
            ("modified_on", "text"),
            ("gone", "date"),
        ])
    });
    // `on` is no document: of the row before, only the key is told.
    assert_eq!(transform.apply(&mut given.batch).unwrap(), 0);
    assert_eq!(given.batch.refused(), []);
    let views: Vec<_> = given.batch.views().collect();
    let expected = Column {
        nullable: false,
        ..Column::new("number", LogicalType::Text(TextKind::Plain))
    };
    assert_eq!(views[0].table().unwrap().columns[0], expected);
    assert_eq!(views[0].table().unwrap().key, [0]);
    let after: Vec<_> = views[0].after().unwrap().iter().collect();
    let time = Value::Text("1970-01-01T00:00:01");
    assert_eq!(after, [Value::Text("8"), Value::Text("2.00"), Value::Unchanged, time]);
    assert_eq!(views[0].updated_at_us(), 1_000_000, "it is of the row as it was");
    assert_eq!(views[0].change().before_image, BeforeImage::Key);
    let before: Vec<_> = views[0].before().unwrap().iter().collect();
    assert_eq!(before, [Value::Text("7"), Value::Null, Value::Null, Value::Null]);
    assert!(views[1].after().unwrap().iter().all(|value| value == Value::Null));
    let origins = transform.origins(&given.schema).unwrap();
    assert_eq!(
        origins,
        Some(vec![None; 4]),
        "a value is not looked for as another type"
    );
    assert!(transform.alters_rows(&given.schema).unwrap());
}

#[test]
fn a_change_that_cannot_be_cast_is_refused_in_its_place_and_may_be_cast_later() {
    let mut given = Given::new();
    for (id, email) in [(1, "10"), (2, "secret"), (3, "30")] {
        let row = given.row(id, email, Some("active"));
        given.change(Operation::Create, None, Some(row));
    }
    let with = |to| Rule {
        rename: [("email".to_owned(), "mail".to_owned())].into(),
        ..cast(&[("email", to), ("id", "text")])
    };
    transform(with("int32")).apply(&mut given.batch).unwrap();
    let refused = given.batch.refused();
    let [refused] = &*refused else { panic!("{refused:?}") };
    assert_eq!((refused.change, refused.refusal.code), (1, "cast_impossible"));
    let reason = &refused.refusal.reason;
    assert!(reason.contains("column email of table public.customers"), "{reason}");
    assert!(reason.contains("int32") && !reason.contains("secret"), "{reason}");
    assert_eq!(given.batch.check_carried().unwrap_err().code(), "cast_impossible");
    let carried = given.batch.carried().into_owned();
    let values: Vec<_> = carried.views().map(|view| view.after().unwrap().get(1)).collect();
    assert_eq!(values, [Value::Int(10), Value::Int(30)]);
    let view = given.batch.views().nth(1).unwrap();
    assert_eq!(view.after().unwrap().get(0), Value::Text("2"), "the rest of it is cast");
    let column = &view.table().unwrap().columns[1];
    assert_eq!(
        (&*column.name, &column.logical_type),
        ("mail", &LogicalType::Text(TextKind::Plain))
    );

    let mut letter = crate::dead_letter::ChangeImage::of(view).restore().unwrap();
    transform(with("int64")).cast_again(&mut letter).unwrap();
    assert_eq!(letter.refused()[0].refusal.code, "cast_impossible");
    let mut letter = crate::dead_letter::ChangeImage::of(view).restore().unwrap();
    transform(with("text")).cast_again(&mut letter).unwrap();
    assert_eq!(letter.refused(), []);
    let view = letter.views().next().unwrap();
    let values: Vec<_> = view.after().unwrap().iter().take(2).collect();
    assert_eq!(values, [Value::Text("2"), Value::Text("secret")]);
}

#[test]
fn a_row_that_cannot_be_cast_can_be_mended_and_deleted() {
    let mut given = Given::new();
    let bad = given.row(7, "bad", None);
    let good = given.row(7, "10", None);
    given.change(Operation::Update, Some(bad), Some(good));
    given.change(Operation::Delete, Some(bad), None);
    given.change(Operation::Update, Some(good), Some(bad));
    transform(cast(&[("email", "int32")])).apply(&mut given.batch).unwrap();
    let refused: Vec<_> = given.batch.refused().iter().map(|refused| refused.change).collect();
    assert_eq!(refused, [2]);
    for view in given.batch.views().take(2) {
        assert_eq!(view.change().before_image, BeforeImage::Key);
        assert_eq!(view.before().unwrap().get(0), Value::Int(7));
        assert_eq!(view.before().unwrap().get(1), Value::Null);
    }
    let last = given.batch.views().nth(2).unwrap();
    assert_eq!(
        last.before().unwrap().get(1),
        Value::Text("10"),
        "of the same type as the row after"
    );
}

#[test]
fn a_key_that_cannot_be_cast_refuses_its_change() {
    let mut given = Given::new();
    let before = given.row(70_000, "a", None);
    let after = given.row(7, "a", None);
    given.change(Operation::Update, Some(before), Some(after));
    given.change(Operation::Delete, Some(before), None);
    given.change(Operation::Create, None, Some(after));
    transform(cast(&[("id", "int16")])).apply(&mut given.batch).unwrap();
    let refused: Vec<_> = given.batch.refused().iter().map(|refused| refused.change).collect();
    assert_eq!(refused, [0, 1]);
}

#[test]
fn casts_that_cannot_be_meant_are_refused() {
    let unknown = refusal(vec![cast(&[("email", "number")])]);
    assert!(
        unknown.contains("`number`") && unknown.contains("decimal(P,S)"),
        "{unknown}"
    );
    let impossible = refusal(vec![cast(&[("id", "json")])]);
    for part in ["`id`", "public.customers", "Int64", "json"] {
        assert!(impossible.contains(part), "{impossible}");
    }
    let fixed = Mask {
        fixed: Some("***".to_owned()),
        ..Default::default()
    };
    let masked = |rule: Rule| Rule {
        mask: [("email".to_owned(), fixed.clone())].into(),
        ..rule
    };
    let one = refusal(vec![masked(cast(&[("email", "int32")]))]);
    let two = refusal(vec![masked(Rule::default()), cast(&[("email", "int32")])]);
    assert!(one.contains("both masked and cast"), "{one}");
    assert!(
        two.contains("`email` of public.customers is both masked and cast"),
        "{two}"
    );
}

#[test]
fn of_several_casts_of_a_column_the_last_one_counts() {
    let rules = vec![cast(&[("email", "int32")]), cast(&[("email", "uuid")])];
    let mut transform = Transform::new(&TransformConfig { rules }, None).unwrap();
    let described = transform.describe(&customers()).unwrap().unwrap();
    assert_eq!(described.columns[1].logical_type, LogicalType::Text(TextKind::Uuid));
}

#[test]
fn what_one_connector_has_cast_another_may_cast_on() {
    let mut given = Given::new();
    let row = given.row(7, "a", None);
    given.change(Operation::Create, None, Some(row));
    transform(cast(&[("id", "text")])).apply(&mut given.batch).unwrap();
    // A number could not be cast to this.
    transform(cast(&[("id", "json")])).apply(&mut given.batch).unwrap();
    let view = given.batch.views().next().unwrap();
    assert_eq!(view.after().unwrap().get(0), Value::Text("7"));
    let column = &view.table().unwrap().columns[0];
    assert_eq!(column.logical_type, LogicalType::Text(TextKind::Json));
}
