use tailrace_core::position::{Position, Progress};
use tailrace_core::schema::{TableKind, TableName};
use tailrace_core::value::{Datum, LogicalType, TextKind};

use super::*;

fn column(name: &str, logical_type: LogicalType, nullable: bool) -> Column {
    Column {
        name: name.to_owned(),
        source_type: format!("{logical_type:?}"),
        logical_type,
        nullable,
        default: None,
        default_is_computed: false,
        documentation: None,
    }
}

fn table(name: &str, columns: Vec<Column>, key: Vec<usize>) -> TableSchema {
    TableSchema {
        name: TableName {
            database: String::new(),
            schema: String::new(),
            table: name.to_owned(),
        },
        kind: TableKind::Table,
        columns,
        key,
        documentation: Some("what was ordered".to_owned()),
    }
}

fn text() -> LogicalType {
    LogicalType::Text(TextKind::Plain)
}

fn orders() -> TableSchema {
    table(
        "orders",
        vec![column("id", LogicalType::Int64, false), column("note", text(), false)],
        vec![0],
    )
}

/// The change table of `orders`, with columns of a `gone` one that was dropped.
fn change_table() -> TableSchema {
    let mut columns = vec![
        column("sequence", LogicalType::Int64, false),
        column("op", text(), false),
        column("transaction_id", text(), true),
        column("changed_at", LogicalType::Timestamp { precision: 6 }, false),
        column("version", text(), false),
    ];
    for (name, logical_type) in [("gone", text()), ("id", LogicalType::Int64), ("note", text())] {
        columns.push(column(&format!("old_{name}"), logical_type.clone(), true));
        columns.push(column(&format!("new_{name}"), logical_type, true));
    }
    table("tailrace_changes_orders", columns, vec![0])
}

enum Cell {
    Null,
    Int(i64),
    Text(&'static str),
}

use Cell::{Int, Null, Text};

/// One change of a row with these values of gone, id and note before and after.
fn told(operation: &'static str, values: [Cell; 6]) -> Result<(ChangeBatch, Change)> {
    let mut batch = ChangeBatch::new("test".into(), Progress::at(Position::new("")));
    batch.begin_row().unwrap();
    for cell in [Int(7), Text(operation), Text("4294967297"), Int(1_000_000), Text("v1")]
        .into_iter()
        .chain(values)
    {
        match cell {
            Null => batch.push_null(),
            Int(value) => batch.push_int(value),
            Text(value) => batch.push_text(value).unwrap(),
        }
    }
    let row = batch.end_row().unwrap();
    let raw = Transaction {
        id: None,
        committed_at_us: 5,
        position: "polled".into(),
        log_position: None,
        previous_log_position: None,
        binlog: None,
    };
    let mut interpretation = Interpretation::new(&change_table(), &orders()).unwrap();
    let change = interpretation.change(&mut batch, row, &raw)?;
    Ok((batch, change))
}

fn row(batch: &ChangeBatch, row: Option<Row>) -> Option<Vec<Datum>> {
    row.map(|row| batch.row(row).iter().filter_map(Value::to_datum).collect())
}

fn values(id: i64, note: &str) -> Vec<Datum> {
    vec![Datum::Int(id), Datum::Text(note.to_owned())]
}

#[test]
fn each_operation_has_its_rows() {
    let cases = [
        (
            "c",
            [Null, Null, Null, Int(1), Null, Text("a")],
            None,
            Some(values(1, "a")),
            Operation::Create,
        ),
        (
            "r",
            [Null, Null, Null, Int(1), Null, Text("a")],
            None,
            Some(values(1, "a")),
            Operation::Read,
        ),
        (
            "u",
            [Null, Null, Int(1), Int(2), Text("a"), Text("b")],
            Some(values(1, "a")),
            Some(values(2, "b")),
            Operation::Update,
        ),
        (
            "d",
            [Null, Null, Int(1), Null, Text("a"), Null],
            Some(values(1, "a")),
            None,
            Operation::Delete,
        ),
        (
            "t",
            [Null, Null, Null, Null, Null, Null],
            None,
            None,
            Operation::Truncate,
        ),
    ];
    for (operation, cells, before, after, expected) in cases {
        let (batch, change) = told(operation, cells).unwrap();
        assert_eq!(change.operation, expected);
        assert_eq!(row(&batch, change.before), before, "{operation}");
        assert_eq!(row(&batch, change.after), after, "{operation}");
        let schema = &batch.tables[change.table];
        assert_eq!((schema.name.table.as_str(), &schema.key[..]), ("orders", &[0][..]));
        assert_eq!(schema.documentation.as_deref(), Some("what was ordered"));
        let transaction = &batch.transactions[change.transaction];
        assert_eq!(transaction.id, Some(4_294_967_297));
        assert_eq!(transaction.committed_at_us, 1_000_000);
        assert_eq!(&*transaction.position, "tailrace_changes_orders:7@1000000");
    }
}

#[test]
fn a_row_with_a_dropped_column_has_a_schema_with_it() {
    let (batch, change) = told("c", [Null, Text("x"), Null, Int(1), Null, Text("a")]).unwrap();
    let schema = &batch.tables[change.table];
    let names: Vec<_> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "note", "gone"]);
    let mut expected = values(1, "a");
    expected.push(Datum::Text("x".to_owned()));
    assert_eq!(row(&batch, change.after), Some(expected));
}

#[test]
fn a_row_from_before_a_column_says_that_it_may_be_null() {
    let (batch, change) = told("c", [Null, Null, Null, Int(1), Null, Null]).unwrap();
    let schema = &batch.tables[change.table];
    assert!(!schema.columns[0].nullable && schema.columns[1].nullable);
    // A delete has nothing after it, and that is no reason.
    let (batch, change) = told("d", [Null, Null, Int(1), Null, Text("a"), Null]).unwrap();
    assert!(!batch.tables[change.table].columns[1].nullable);
}

#[test]
fn rows_that_no_trigger_wrote_are_refused() {
    let error = told("x", [Null, Null, Null, Int(1), Null, Null]).unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (tailrace_core::error::Kind::Poison, "change_table_row")
    );
    assert!(error.report().contains("the number Int(7)"), "{}", error.report());
}

#[test]
fn a_table_that_is_no_change_table_is_refused() {
    let error = Interpretation::new(&orders(), &orders()).unwrap_err();
    assert_eq!(error.code(), "change_table_columns");
    let mut keyless = change_table();
    keyless.columns.retain(|column| column.name != "new_id");
    assert_eq!(
        Interpretation::new(&keyless, &orders()).unwrap_err().code(),
        "change_table_columns"
    );
}

#[test]
fn types_are_the_change_tables_and_the_rest_is_the_tables() {
    let mut captured = orders();
    captured.columns[1].default = Some(Datum::Text("none".to_owned()));
    captured.columns[0].default = Some(Datum::Int(0));
    captured.columns[0].logical_type = LogicalType::Int32;
    let interpretation = Interpretation::new(&change_table(), &captured).unwrap();
    let columns = &interpretation.schema().columns;
    assert_eq!(columns[0].logical_type, LogicalType::Int64);
    // A default of another type would not be one of the values.
    assert_eq!(columns[0].default, None);
    assert_eq!(columns[1].default, Some(Datum::Text("none".to_owned())));
}

#[test]
fn times_are_read_as_databases_print_them() {
    assert_eq!(time_us("1970-01-01 00:00:00"), Some(0));
    assert_eq!(time_us("2026-11-21 18:34:12.609958"), Some(1_795_286_052_609_958));
    assert_eq!(time_us("2024-02-29 23:59:59.5"), Some(1_709_251_199_500_000));
    assert_eq!(time_us("yesterday"), None);
}
