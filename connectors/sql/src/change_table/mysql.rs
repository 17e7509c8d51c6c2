//! MySQL and MariaDB: three triggers per captured table.

use super::name::{self, NameLimit};
use super::{CHANGED_AT, Design, Engine, Generator, InstalledTable, OPERATION, Routine, SEQUENCE, Script, VERSION};

/// What a change's own columns are filled with.
const OWN_VALUES: [(&str, &str); 1] = [(CHANGED_AT, "UTC_TIMESTAMP(6)")];

/// Types whose values are equal only where they are the same, and JSON, of which MySQL keeps the document that was there where another is
/// equal to it. Texts may be equal by their collation though they differ; those are compared by their bytes.
const COMPARED_AS_THEY_ARE: [&str; 19] = [
    "bigint",
    "bit",
    "date",
    "datetime",
    "decimal",
    "double",
    "float",
    "inet4",
    "inet6",
    "int",
    "json",
    "mediumint",
    "numeric",
    "smallint",
    "time",
    "timestamp",
    "tinyint",
    "uuid",
    "year",
];

/// Both dialects: they differ in nothing that is used here.
pub(super) struct MySql;

impl Generator for MySql {
    fn name_limit(&self) -> NameLimit {
        NameLimit::Characters(64)
    }

    fn identifier(&self, name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn own_columns(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (SEQUENCE, "bigint NOT NULL AUTO_INCREMENT PRIMARY KEY"),
            (OPERATION, "char(1) NOT NULL"),
            (CHANGED_AT, "datetime(6) NOT NULL"),
            (VERSION, "char(16) NOT NULL"),
        ]
    }

    fn create_table(&self, design: &Design) -> String {
        format!(
            "CREATE TABLE {} (\n  {}\n) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4",
            Engine::MySql.qualified(&design.change_table),
            // Without the word a timestamp would be NOT NULL in older servers.
            design.definitions(" NULL").join(",\n  ")
        )
    }

    fn add_columns(&self, design: &Design, columns: &[(String, String)]) -> Vec<String> {
        alter(design, "ADD COLUMN", columns)
    }

    fn retype_columns(
        &self,
        design: &Design,
        _installed: &InstalledTable,
        columns: &[(String, String)],
    ) -> Vec<String> {
        alter(design, "MODIFY COLUMN", columns)
    }

    fn function(&self, _design: &Design) -> Option<Routine> {
        None
    }

    fn triggers(&self, design: &Design) -> Vec<Routine> {
        let update = format!(
            "IF NOT ({}) THEN\n    {};\n  END IF",
            unchanged(design),
            design.insert('u', &OWN_VALUES, "      ")
        );
        vec![
            trigger(design, "insert", &design.insert('c', &OWN_VALUES, "    ")),
            trigger(design, "update", &update),
            trigger(design, "delete", &design.insert('d', &OWN_VALUES, "    ")),
        ]
    }

    fn mark(&self, design: &Design) -> Vec<String> {
        let mark = design.mark_text().replace('\\', "\\\\").replace('\'', "''");
        let table = Engine::MySql.qualified(&design.change_table);
        vec![format!("ALTER TABLE {table} COMMENT = '{mark}'")]
    }

    fn backfill(&self, design: &Design) -> String {
        design.insert_rows(&OWN_VALUES)
    }

    /// Definitions commit by themselves here, so what keeps writers away is a lock and not a transaction. A trigger runs under the
    /// `sql_mode` that it was made in: an empty one copies every value that a table may hold, dates of no calendar included.
    fn enclose(&self, script: &Script) -> Vec<String> {
        let mut statements = vec![
            "SET SESSION sql_mode = ''".to_owned(),
            "SET SESSION lock_wait_timeout = 5".to_owned(),
        ];
        statements.extend(script.tables.iter().cloned());
        if !script.triggers.is_empty() {
            let locked = [
                Some(&script.captured),
                script.has_change_table.then_some(&script.change_table),
            ];
            let locked = locked.into_iter().flatten();
            let locked: Vec<_> = locked
                .map(|table| format!("{} WRITE", Engine::MySql.qualified(table)))
                .collect();
            statements.push(format!("LOCK TABLES {}", locked.join(", ")));
            statements.extend(script.triggers.iter().cloned());
            statements.push("UNLOCK TABLES".to_owned());
        }
        statements
    }

    /// The shell ends a statement at its first semicolon, unless it is told another end.
    fn printed(&self, statements: &[String]) -> String {
        let printed = statements.iter().map(|statement| {
            if statement.contains(';') {
                format!("DELIMITER //\n{statement}//\nDELIMITER ;\n")
            } else {
                format!("{statement};\n")
            }
        });
        printed.collect()
    }
}

fn alter(design: &Design, clause: &str, columns: &[(String, String)]) -> Vec<String> {
    if columns.is_empty() {
        return Vec::new();
    }
    let clauses = columns
        .iter()
        .map(|(name, declared)| format!("{clause} {} {declared} NULL", MySql.identifier(name)));
    let table = Engine::MySql.qualified(&design.change_table);
    vec![format!(
        "ALTER TABLE {table}\n  {}",
        clauses.collect::<Vec<_>>().join(",\n  ")
    )]
}

fn unchanged(design: &Design) -> String {
    let equal = design.columns.iter().map(|column| {
        let name = MySql.identifier(&column.captured);
        let word = column.declared.split(|c: char| !c.is_ascii_alphanumeric()).next();
        if word.is_some_and(|word| COMPARED_AS_THEY_ARE.contains(&word.to_ascii_lowercase().as_str())) {
            format!("OLD.{name} <=> NEW.{name}")
        } else {
            format!("CAST(OLD.{name} AS BINARY) <=> CAST(NEW.{name} AS BINARY)")
        }
    });
    equal.collect::<Vec<_>>().join(" AND ")
}

/// The mark is a variable: shells take comments away.
fn trigger(design: &Design, event: &str, statement: &str) -> Routine {
    let name = name::trigger(event, &design.captured.table, MySql.name_limit());
    let quoted = Engine::MySql.beside(&design.captured, &name);
    let definition = format!(
        "BEGIN\n  DECLARE tailrace_version char(16) DEFAULT '{}';\n  {statement};\nEND",
        design.fingerprint
    );
    Routine {
        create: vec![format!(
            "CREATE TRIGGER {quoted} AFTER {} ON {}\n  FOR EACH ROW {definition}",
            event.to_ascii_uppercase(),
            Engine::MySql.qualified(&design.captured)
        )],
        drop: format!("DROP TRIGGER {quoted}"),
        definition: format!("AFTER {} {definition}", event.to_ascii_uppercase()),
        name,
    }
}
