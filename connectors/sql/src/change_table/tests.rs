use std::sync::Arc;

use tailrace_core::schema::{Column, TableKind, TableSchema};
use tailrace_core::value::LogicalType;

use super::compare::{InstalledTable, InstalledTrigger, TriggerState, removal};
use super::*;

fn captured(engine: Engine, table: &str, columns: &[(&str, &str)]) -> CapturedTable {
    let column = |(name, declared): &(&str, &str)| Column {
        nullable: *name != "id",
        source_type: (*declared).to_owned(),
        ..Column::new(*name, LogicalType::Int64)
    };
    let schema = match engine {
        Engine::Sqlite => "",
        _ => "public",
    };
    CapturedTable {
        schema: Arc::new(TableSchema {
            name: TableName {
                database: String::new(),
                schema: schema.to_owned(),
                table: table.to_owned(),
            },
            kind: TableKind::Table,
            columns: columns.iter().map(column).collect(),
            key: vec![0],
            documentation: None,
        }),
        declared: columns.iter().map(|(_, declared)| (*declared).to_owned()).collect(),
    }
}

fn design(engine: Engine, columns: &[(&str, &str)]) -> Design {
    let table = captured(engine, "orders", columns);
    Design::new(engine, &table, &ChangeTableConfig::default(), &[]).unwrap()
}

/// What a database tells back after the statements of a design were run in it.
fn installed(design: &Design) -> Installed {
    Installed {
        table: Some(InstalledTable {
            name: design.change_table.clone(),
            mark: Some(name::mark(&design.captured, design.fingerprint)),
            columns: design.value_columns(),
        }),
        function: design.function().map(|function| function.definition),
        triggers: design
            .triggers()
            .into_iter()
            .map(|trigger| InstalledTrigger {
                table: design.captured.clone(),
                name: trigger.name,
                definition: trigger.definition,
                state: TriggerState::Always,
            })
            .collect(),
    }
}

fn sentences(comparison: &Comparison) -> Vec<&str> {
    let differences = comparison.differences.iter();
    differences.map(|difference| difference.sentence.as_str()).collect()
}

const COLUMNS: [(&str, &str); 2] = [("id", "bigint"), ("note", "varchar(20)")];
const ENGINES: [Engine; 4] = [Engine::Postgres, Engine::MySql, Engine::MariaDb, Engine::Sqlite];

#[test]
fn the_generated_sql_is_as_reviewed() {
    for (engine, file) in [
        (Engine::Postgres, include_str!("testdata/postgres.sql")),
        (Engine::MySql, include_str!("testdata/mysql.sql")),
        (Engine::Sqlite, include_str!("testdata/sqlite.sql")),
    ] {
        let generated = design(engine, &COLUMNS).install(true).printed();
        assert_eq!(generated, file, "{engine:?}");
    }
    assert_eq!(
        design(Engine::MariaDb, &COLUMNS).install(true).statements(),
        design(Engine::MySql, &COLUMNS).install(true).statements()
    );
}

#[test]
fn names_are_quoted_whatever_they_hold() {
    let odd = "a\"b`c'; drop table x; --$tailrace$";
    for engine in ENGINES {
        let table = captured(engine, odd, &[("id", "bigint"), (odd, "text")]);
        let design = Design::new(engine, &table, &ChangeTableConfig::default(), &[]).unwrap();
        let script = design.install(true).printed();
        let quoted = match engine {
            Engine::Postgres | Engine::Sqlite => "\"old_a\"\"b`c'; drop table x; --$tailrace$\"",
            Engine::MySql | Engine::MariaDb => "`old_a\"b``c'; drop table x; --$tailrace$`",
        };
        assert!(script.contains(quoted), "{script}");
    }
    let table = captured(Engine::Postgres, odd, &[("id", "bigint")]);
    let design = Design::new(Engine::Postgres, &table, &ChangeTableConfig::default(), &[]).unwrap();
    let function = design.function().unwrap();
    assert!(function.create[0].contains("AS $_tailrace$"), "{}", function.create[0]);
}

#[test]
fn what_was_installed_agrees() {
    for engine in ENGINES {
        let design = design(engine, &COLUMNS);
        let comparison = Comparison::of(&design, &installed(&design));
        assert!(comparison.agrees() && comparison.script.is_empty(), "{comparison:?}");
    }
}

#[test]
fn a_column_that_was_added_is_added_and_the_triggers_are_replaced() {
    for engine in ENGINES {
        let before = installed(&design(engine, &COLUMNS[..1]));
        let comparison = Comparison::of(&design(engine, &COLUMNS), &before);
        let said = sentences(&comparison).join("\n");
        assert!(
            comparison.differences.iter().all(|difference| !difference.unseen),
            "{said}"
        );
        assert!(
            said.contains("has no column old_note") && said.contains("has no column new_note"),
            "{said}"
        );
        let script = comparison.script.printed();
        assert!(
            script.contains("ADD COLUMN") && script.contains("varchar(20)"),
            "{script}"
        );
        match engine {
            Engine::Postgres => {
                assert!(script.contains("CREATE OR REPLACE FUNCTION") && !script.contains("CREATE TRIGGER"))
            }
            _ => assert_eq!(
                (
                    script.matches("DROP TRIGGER").count(),
                    script.matches("CREATE TRIGGER").count()
                ),
                (3, 3)
            ),
        }
    }
}

#[test]
fn a_column_that_is_left_out_stays_in_the_change_table() {
    for engine in ENGINES {
        let before = installed(&design(engine, &COLUMNS));
        let table = captured(engine, "orders", &COLUMNS);
        let name = table.schema.name.qualified();
        let without = [format!("{name}.note")];
        let design = Design::new(engine, &table, &ChangeTableConfig::default(), &without).unwrap();
        let comparison = Comparison::of(&design, &before);
        let script = comparison.script.printed();
        assert!(!script.contains("DROP COLUMN") && !script.contains("note"), "{script}");
        assert!(
            comparison.notes[0].contains("keeps old_note, new_note"),
            "{:?}",
            comparison.notes
        );
        // And once that is done, nothing differs.
        let mut after = installed(&design);
        after.table = before.table.clone().map(|table| InstalledTable {
            mark: Some(name::mark(&design.captured, design.fingerprint)),
            ..table
        });
        assert!(Comparison::of(&design, &after).agrees());
    }
}

#[test]
fn a_column_of_another_type_gets_it() {
    let wider = [("id", "bigint"), ("note", "varchar(40)")];
    for (engine, statement) in [
        (
            Engine::Postgres,
            "ALTER COLUMN \"old_note\" TYPE varchar(40) USING \"old_note\"::varchar(40)",
        ),
        (Engine::MySql, "MODIFY COLUMN `old_note` varchar(40) NULL"),
        (
            Engine::Sqlite,
            "ALTER TABLE \"tailrace_changes_orders_anew\" RENAME TO \"tailrace_changes_orders\"",
        ),
    ] {
        let comparison = Comparison::of(&design(engine, &wider), &installed(&design(engine, &COLUMNS)));
        let script = comparison.script.printed();
        assert!(script.contains(statement), "{script}");
        assert!(
            sentences(&comparison)[0].contains("is of type varchar(20)"),
            "{comparison:?}"
        );
    }
}

#[test]
fn triggers_that_are_missing_changed_or_disabled_are_said_and_made() {
    let design = design(Engine::Postgres, &COLUMNS);
    let mut there = installed(&design);
    there.triggers.retain(|trigger| trigger.name != "tailrace_truncates");
    there.triggers[0].state = TriggerState::Disabled;
    there.function = Some("BEGIN RETURN NULL; END".to_owned());
    let comparison = Comparison::of(&design, &there);
    assert_eq!(
        sentences(&comparison),
        [
            "the function tailrace_changes_orders is not as Tailrace made it",
            "the trigger tailrace_changes is disabled",
            "the trigger tailrace_truncates is missing",
        ]
    );
    assert!(comparison.differences.iter().all(|difference| difference.unseen));
    there.triggers[0].state = TriggerState::OnOrigin;
    let comparison = Comparison::of(&design, &there);
    assert!(sentences(&comparison)[1].contains("session_replication_role"));
    assert!(
        comparison
            .script
            .printed()
            .contains("ENABLE ALWAYS TRIGGER \"tailrace_changes\"")
    );
}

#[test]
fn blanks_and_a_foreign_table_of_the_same_name() {
    let design = design(Engine::MySql, &COLUMNS);
    let mut there = installed(&design);
    there.triggers[0].definition = there.triggers[0].definition.replace('\n', "\r\n  ");
    assert!(Comparison::of(&design, &there).agrees());
    if let Some(table) = &mut there.table {
        table.mark = None;
    }
    let comparison = Comparison::of(&design, &there);
    assert!(sentences(&comparison)[0].contains("somebody else made it"));
    assert!(comparison.script.is_empty() && !comparison.agrees());
}

#[test]
fn only_what_carries_the_mark_is_removed() {
    for engine in ENGINES {
        let design = design(engine, &COLUMNS);
        let mut there = installed(&design);
        let script = removal(&design, &there).script.printed();
        let triggers = design.triggers().len();
        assert_eq!(script.matches("DROP TRIGGER").count(), triggers, "{script}");
        assert!(script.contains("DROP TABLE"), "{script}");
        there.triggers[0].definition = "AFTER INSERT somebody else's".to_owned();
        if let Some(table) = &mut there.table {
            table.mark = None;
        }
        let removed = removal(&design, &there);
        let script = removed.script.printed();
        assert_eq!(script.matches("DROP TRIGGER").count(), triggers - 1, "{script}");
        assert!(!script.contains("DROP TABLE"), "{script}");
        assert_eq!(removed.notes.len(), 2, "{:?}", removed.notes);
        // Nothing is there: nothing is done.
        assert!(removal(&design, &Installed::default()).script.is_empty());
    }
}

#[test]
fn chosen_columns_are_captured_and_the_key_must_be_among_them() {
    let table = captured(Engine::Postgres, "orders", &COLUMNS);
    let config = |columns: &[&str]| ChangeTableConfig {
        columns: [(
            "public.orders".to_owned(),
            columns.iter().map(|name| (*name).to_owned()).collect(),
        )]
        .into(),
    };
    let chosen = |columns: &[&str]| Design::new(Engine::Postgres, &table, &config(columns), &[]);
    assert_eq!(chosen(&["id"]).unwrap().columns.len(), 1);
    assert_eq!(chosen(&["note"]).unwrap_err().code, "key_not_captured");
    assert_eq!(chosen(&["id", "nothing"]).unwrap_err().code, "column_missing");
    assert_ne!(
        chosen(&["id"]).unwrap().fingerprint,
        chosen(&["id", "note"]).unwrap().fingerprint
    );
}
