use std::sync::Arc;

use tailrace_core::batch::ChangeBatch;
use tailrace_core::position::{Position, Progress};
use tailrace_core::schema::{Column, TableKind, TableName, TableSchema};
use tailrace_core::value::{LogicalType, TextKind};
use tailrace_sql::sink::target::{TargetColumn, TargetTable};
use tailrace_sql::sink::work::{Action, StepColumn};

use super::super::column::source_type;
use super::*;

fn column(name: &str, logical_type: LogicalType, declared: &str) -> Column {
    Column {
        nullable: name != "id",
        source_type: declared.to_owned(),
        ..Column::new(name, logical_type)
    }
}

/// `shop.t` with the columns `id` and `note`, and a key.
fn table(key: Vec<usize>, unique_keys: Vec<Vec<usize>>, collation: &str) -> TargetTable {
    let text = source_type("varchar(20)", Some("utf8mb4"), Some(collation));
    TargetTable {
        schema: Arc::new(TableSchema {
            name: TableName {
                database: String::new(),
                schema: "shop".to_owned(),
                table: "t".to_owned(),
            },
            kind: TableKind::Table,
            columns: vec![
                column("id", LogicalType::Int64, "bigint(20)"),
                column("note", LogicalType::Text(TextKind::Plain), &text),
            ],
            key,
            documentation: None,
        }),
        columns: vec![TargetColumn::default(); 2],
        unique_keys,
        has_other_unique_index: false,
        references: Vec::new(),
        references_itself: false,
    }
}

/// Rows of an id and a note.
struct Rows {
    batch: ChangeBatch,
    rows: Vec<StepRow>,
}

fn rows(pairs: &[(i64, &str)]) -> Rows {
    let mut batch = ChangeBatch::new(Arc::from("t"), Progress::at(Position::new("0")));
    let rows = pairs.iter().map(|(id, note)| {
        batch.begin_row().unwrap();
        batch.push_int(*id);
        batch.push_text(note).unwrap();
        StepRow {
            row: batch.end_row().unwrap(),
            before: Vec::new(),
            extra: Vec::new(),
            record: 0,
        }
    });
    let rows = rows.collect();
    Rows { batch, rows }
}

/// A step that writes both columns, its statements and literals.
fn with_step<T>(
    table: &TargetTable,
    (key, guard): (Vec<usize>, Option<usize>),
    rows: &Rows,
    alias: bool,
    then: impl FnOnce(&StepStatements, &Literals) -> T,
) -> T {
    let columns = table
        .schema
        .columns
        .iter()
        .enumerate()
        .map(|(index, source)| StepColumn {
            target: index,
            source,
            place: Place::Cell(index),
        });
    let step = Step {
        table,
        action: Action::Upsert,
        columns: columns.collect(),
        key,
        guard,
        rows: rows.rows.clone(),
        batch: &rows.batch,
    };
    let statements = StepStatements::new(&step, alias).unwrap();
    let mut literals = Literals::default();
    for row in &step.rows {
        statements.push(&step, row, &mut literals).unwrap();
    }
    then(&statements, &literals)
}

#[test]
fn rows_are_put_into_one_statement() {
    let table = table(vec![0], Vec::new(), "utf8mb4_bin");
    let rows = rows(&[(1, "a"), (2, "it's")]);
    with_step(&table, (vec![0], None), &rows, false, |statements, literals| {
        assert!(statements.only_key_collides && statements.key_is_unique);
        assert_eq!(
            statements.upsert(literals, &[0, 1]),
            "INSERT INTO `shop`.`t` (`id`,`note`) VALUES (1,'a'),(2,'it''s') ON DUPLICATE KEY UPDATE `note` = VALUES(`note`)"
        );
        assert_eq!(
            statements.delete(literals, &[0, 1]),
            "DELETE FROM `shop`.`t` WHERE `id` IN (1,2)"
        );
        assert_eq!(
            statements.update(literals, 1).unwrap(),
            "UPDATE `shop`.`t` SET `note` = 'it''s' WHERE `id` = 1".replace("= 1", "= 2")
        );
    });
}

#[test]
fn new_rows_have_an_alias_where_there_are_any() {
    let table = table(vec![0], Vec::new(), "utf8mb4_bin");
    with_step(
        &table,
        (vec![0], Some(1)),
        &rows(&[(1, "a")]),
        true,
        |statements, literals| {
            assert_eq!(
                statements.upsert(literals, &[0]),
                "INSERT INTO `shop`.`t` (`id`,`note`) VALUES (1,'a') AS `tailrace_new` ON DUPLICATE KEY UPDATE \
             `shop`.`t`.`note` = IF(`shop`.`t`.`note` IS NULL OR `tailrace_new`.`note` >= `shop`.`t`.`note`, \
             `tailrace_new`.`note`, `shop`.`t`.`note`)"
            );
            assert_eq!(
                statements.update(literals, 0).unwrap(),
                "UPDATE `shop`.`t` SET `note` = 'a' WHERE `id` = 1 AND (`note` IS NULL OR 'a' >= `note`)"
            );
            assert_eq!(statements.park(literals, 0), None);
            assert_eq!(
                statements.delete(literals, &[0]),
                "DELETE FROM `shop`.`t` WHERE (`id` = 1 AND (`note` IS NULL OR 'a' >= `note`))"
            );
        },
    );
}

#[test]
fn another_unique_index_is_not_written_around() {
    let table = table(vec![0], vec![vec![1]], "utf8mb4_0900_bin");
    with_step(
        &table,
        (vec![0], None),
        &rows(&[(1, "a")]),
        false,
        |statements, literals| {
            assert!(!statements.only_key_collides && statements.key_is_primary);
            assert_eq!(
                statements.park(literals, 0).unwrap(),
                "UPDATE `shop`.`t` SET `note` = NULL WHERE `id` = 1"
            );
        },
    );
    with_step(
        &table,
        (vec![1], None),
        &rows(&[(1, "a")]),
        false,
        |statements, literals| {
            assert!(!statements.key_is_primary && statements.key_is_unique);
            assert_eq!(
                statements.update(literals, 0).unwrap(),
                "UPDATE `shop`.`t` SET `id` = 1 WHERE `note` = 'a'"
            );
        },
    );
}

#[test]
fn texts_that_a_collation_equates_are_told_apart() {
    let table = table(vec![1], Vec::new(), "utf8mb4_general_ci");
    with_step(
        &table,
        (vec![1], None),
        &rows(&[(1, "a"), (2, "b")]),
        false,
        |statements, literals| {
            assert!(statements.compares_keys());
            assert_eq!(
                statements.upsert(literals, &[0]),
                "INSERT INTO `shop`.`t` (`id`,`note`) VALUES (1,'a') ON DUPLICATE KEY UPDATE \
             `note` = IF(CAST(`note` AS BINARY) = CAST(VALUES(`note`) AS BINARY), `note`, NULL),`id` = VALUES(`id`)"
            );
            assert_eq!(
                statements.delete(literals, &[0, 1]),
                "DELETE FROM `shop`.`t` WHERE `note` IN ('a','b') AND CAST(CONVERT(`note` USING utf8mb4) AS BINARY) IN ('a','b')"
            );
        },
    );
}

#[test]
fn keys_of_several_columns_are_alternatives() {
    let table = table(vec![0, 1], Vec::new(), "utf8mb4_0900_bin");
    with_step(
        &table,
        (vec![1, 0], None),
        &rows(&[(1, "a"), (2, "b")]),
        false,
        |statements, literals| {
            assert!(statements.only_key_collides);
            assert_eq!(
                statements.delete(literals, &[0, 1]),
                "DELETE FROM `shop`.`t` WHERE (`note` = 'a' AND `id` = 1) OR (`note` = 'b' AND `id` = 2)"
            );
            assert!(
                statements
                    .upsert(literals, &[0])
                    .ends_with("ON DUPLICATE KEY UPDATE `note` = `note`")
            );
            assert_eq!(statements.update(literals, 0), None);
        },
    );
}
