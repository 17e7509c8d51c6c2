use super::*;

fn column(name: &str, column_type: &str, nullable: bool, default: Option<ColumnDefault>) -> ColumnDefinition {
    ColumnDefinition {
        name: name.to_owned(),
        column_type: ColumnType::parse(column_type, Some("latin1")).unwrap(),
        nullable,
        default,
        generated: false,
        documentation: None,
    }
}

fn constant(text: &str) -> Option<ColumnDefault> {
    Some(ColumnDefault::Constant(text.to_owned()))
}

fn orders() -> TableDefinition {
    TableDefinition {
        schema: "shop".to_owned(),
        table: "orders".to_owned(),
        columns: vec![
            column("id", "bigint(20) unsigned", false, None),
            column("Note", "varchar(20)", true, constant("none")),
            column(
                "at",
                "datetime(3)",
                false,
                Some(ColumnDefault::Expression("CURRENT_TIMESTAMP(3)".to_owned())),
            ),
        ],
        key: vec![0],
        unique_keys: Vec::new(),
        charset: Some(Charset::Latin1),
        documentation: Some("all of them".to_owned()),
        engine: Some("InnoDB".to_owned()),
    }
}

fn wire(type_code: u8, metadata: u16) -> WireColumn {
    WireColumn { type_code, metadata }
}

#[test]
fn a_definition_becomes_a_schema() {
    let schema = orders().to_schema(&TypePolicy::default());
    assert_eq!(schema.name.qualified(), "shop.orders");
    assert_eq!(
        (schema.key.as_slice(), schema.documentation.as_deref()),
        (&[0][..], Some("all of them"))
    );
    let columns: Vec<_> = schema
        .columns
        .iter()
        .map(|column| {
            (
                column.name.as_str(),
                column.source_type.as_str(),
                column.nullable,
                column.default.clone(),
            )
        })
        .collect();
    assert_eq!(
        columns,
        [
            ("id", "bigint(20) unsigned", false, None),
            ("Note", "varchar(20)", true, Some(Datum::Text("none".to_owned()))),
            ("at", "datetime(3)", false, Some(Datum::Int(0))),
        ]
    );
    assert_eq!(schema.columns[2].logical_type, LogicalType::Timestamp { precision: 3 });
}

#[test]
fn a_definition_is_kept_as_it_is() {
    let kept = serde_json::to_string(&orders()).unwrap();
    assert_eq!(serde_json::from_str::<TableDefinition>(&kept).unwrap(), orders());
}

#[test]
fn columns_are_found_in_any_case() {
    assert_eq!(orders().column_index("NOTE"), Some(1));
    assert_eq!(orders().column_index("other"), None);
}

#[test]
fn a_row_is_identified_by_its_primary_key_or_by_a_unique_one() {
    let key = |name: &str, columns: &[&str]| UniqueKey {
        name: name.to_owned(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
    };
    let mut orders = orders();
    assert_eq!(orders.known_unique_keys(), [key("PRIMARY", &["id"])]);
    // One that may be NULL does not identify a row, nor does one over an expression.
    orders.unique_keys = vec![
        key("expression", &[]),
        key("by_note", &["note"]),
        key("by_time", &["at", "id"]),
        key("by_id", &["id"]),
    ];
    orders.settle_key();
    assert_eq!(orders.key, [2, 0]);
    // One that was NULL before is behind those that were not, wherever it was made.
    orders.columns[1].nullable = false;
    orders.settle_key();
    assert_eq!(orders.key, [2, 0]);
    orders.unique_keys.push(key("PRIMARY", &["id"]));
    orders.settle_key();
    assert_eq!(orders.key, [0]);
    orders.unique_keys.clear();
    orders.settle_key();
    assert!(orders.key.is_empty());
}

#[test]
fn rows_of_another_version_are_seen() {
    let orders = orders();
    let logged = [wire(8, 0), wire(15, 20), wire(18, 3)];
    assert_eq!(orders.agrees_with(&logged, &[]), Ok(()));
    assert_eq!(orders.agrees_with(&logged, &["id", "Note", "at"]), Ok(()));
    let error = |logged: &[WireColumn], names: &[&str]| orders.agrees_with(logged, names).unwrap_err().to_string();
    assert_eq!(error(&logged[..2], &[]), "the definition has 3 columns, the log has 2");
    assert_eq!(
        error(&logged, &["id", "remark", "at"]),
        "column 2 is `Note` in the definition and `remark` in the log"
    );
    assert_eq!(
        error(&[wire(3, 0), wire(15, 20), wire(18, 3)], &[]),
        "column `id` is bigint(20) unsigned in the definition, but the log has LONG there, which is not that type's"
    );
    assert!(
        orders
            .agrees_with(&[wire(8, 0), wire(15, 20), wire(18, 0)], &[])
            .is_err()
    );
}

#[test]
fn defaults_are_values() {
    let text = |text: &str| Some(Datum::Text(text.to_owned()));
    let int = |value| Some(Datum::Int(value));
    let defaults = [
        ("date", true, "1976-08-23", int(2426)),
        ("datetime(1)", true, "2018-01-03 00:00:10.7", int(1_514_937_610_700_000)),
        (
            "datetime(6)",
            true,
            "2018-01-03 00:00:10.123456",
            int(1_514_937_610_123_456),
        ),
        ("time", true, "00:00:00", int(0)),
        ("time(1)", true, "23:00:00.7", int(82_800_700_000)),
        ("time(1)", true, "-23:45:56.7", int(-85_556_700_000)),
        ("time(6)", true, "123:00:00.123456", int(442_800_123_456)),
        ("time", true, "0000-00-00 01:00:00.000", int(3_600_000_000)),
        ("numeric(3,2)", true, "1.23", text("1.23")),
        ("numeric(7,5)", true, "15.28", text("15.28000")),
        (
            "decimal(65,18)",
            true,
            "0.000000000000000000",
            text("0.000000000000000000"),
        ),
        ("float", true, "0", Some(Datum::Float32(0.0))),
        ("double", true, "1.5", Some(Datum::Float64(1.5))),
        ("tinyint", true, "10", int(10)),
        ("smallint", false, "5", int(5)),
        (
            "bigint unsigned",
            false,
            "18446744073709551615",
            text("18446744073709551615"),
        ),
        (
            "bit(25)",
            true,
            "b'10110000100001111'",
            text("0000000010110000100001111"),
        ),
        ("bit(1)", true, "b'1'", Some(Datum::Boolean(true))),
        ("varchar(10)", true, "é", text("é")),
        ("char(5)", true, " a ", text(" a ")),
        ("enum('a','b')", true, "b", text("b")),
        ("set('a','b')", true, "a,b", text("a,b")),
        ("binary(4)", true, "0x61FF", Some(Datum::Bytes(b"a\xff\0\0".to_vec()))),
        ("varbinary(4)", true, "ab", Some(Datum::Bytes(b"ab".to_vec()))),
        ("year(4)", true, "2018", int(2018)),
        ("timestamp", false, "0000-00-00 00:00:00", int(0)),
        ("timestamp", true, "0000-00-00 00:00:00", None),
        ("date", false, "0000-00-00", int(0)),
        ("datetime", false, "0000-00-00 00:00:00", int(0)),
        ("int", true, "not a number", None),
        ("decimal(3,1)", true, "1.25", None),
    ];
    for (column_type, nullable, default, expected) in defaults {
        let column = column("c", column_type, nullable, constant(default));
        assert_eq!(
            column.to_column(&TypePolicy::default()).default,
            expected,
            "{column_type} {default}"
        );
    }
}

#[test]
fn the_present_moment_has_debeziums_stand_in() {
    let of = |column_type, nullable, expression: &str, policy: &TypePolicy| {
        let default = Some(ColumnDefault::Expression(expression.to_owned()));
        column("c", column_type, nullable, default).to_column(policy).default
    };
    let policy = TypePolicy::default();
    assert_eq!(
        of("timestamp", false, "CURRENT_TIMESTAMP", &policy),
        Some(Datum::Int(0))
    );
    assert_eq!(
        of("timestamp(6)", false, "current_timestamp(6)", &policy),
        Some(Datum::Int(0))
    );
    assert_eq!(of("timestamp", true, "CURRENT_TIMESTAMP", &policy), None);
    assert_eq!(of("datetime", false, "CURRENT_TIMESTAMP", &policy), Some(Datum::Int(0)));
    assert_eq!(
        of("datetime(6)", true, "CURRENT_TIMESTAMP(6)", &policy),
        Some(Datum::Int(0))
    );
    assert_eq!(of("timestamp", false, "(now() + interval 1 day)", &policy), None);
    assert_eq!(of("varchar(50)", false, "CURRENT_TIMESTAMP", &policy), None);
    let policy = TypePolicy {
        invalid_dates: InvalidDates::Text,
    };
    assert_eq!(of("timestamp", false, "CURRENT_TIMESTAMP", &policy), None);
}

#[test]
fn the_catalogues_write_defaults_differently() {
    let expression = |text: &str| Some(ColumnDefault::Expression(text.to_owned()));
    let mysql = [
        (None, "", None),
        (Some("abc"), "", constant("abc")),
        (
            Some("CURRENT_TIMESTAMP"),
            "on update CURRENT_TIMESTAMP",
            expression("CURRENT_TIMESTAMP"),
        ),
        (
            Some("CURRENT_TIMESTAMP(3)"),
            "DEFAULT_GENERATED",
            expression("CURRENT_TIMESTAMP(3)"),
        ),
        (Some("uuid()"), "DEFAULT_GENERATED", expression("uuid()")),
        (Some("CURRENT_TIMESTAMPS"), "", constant("CURRENT_TIMESTAMPS")),
    ];
    for (default, extra, expected) in mysql {
        assert_eq!(ColumnDefault::from_mysql(default, extra), expected);
    }
    let mariadb = [
        (None, None),
        (Some("NULL"), None),
        (Some("'it''s'"), constant("it's")),
        (Some(r"'a\\b\n'"), constant("a\\b\n")),
        (Some("10"), constant("10")),
        (Some("-1.5"), constant("-1.5")),
        (Some("b'101'"), constant("b'101'")),
        (Some("current_timestamp(3)"), expression("current_timestamp(3)")),
        (Some("'a' || 'b'"), expression("'a' || 'b'")),
        (Some("uuid()"), expression("uuid()")),
    ];
    for (default, expected) in mariadb {
        assert_eq!(ColumnDefault::from_mariadb(default), expected);
    }
}
