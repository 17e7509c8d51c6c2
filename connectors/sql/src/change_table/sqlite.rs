//! SQLite: three triggers per captured table.

use super::name::{self, NameLimit};
use super::{CHANGED_AT, Design, Generator, InstalledTable, OPERATION, Routine, SEQUENCE, Script, VERSION};

/// What a change's own columns are filled with. SQLite's clock counts milliseconds.
const OWN_VALUES: [(&str, &str); 1] = [(CHANGED_AT, "strftime('%Y-%m-%d %H:%M:%f', 'now')")];

pub(super) struct Sqlite;

impl Generator for Sqlite {
    fn name_limit(&self) -> NameLimit {
        NameLimit::None
    }

    fn identifier(&self, name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    /// AUTOINCREMENT: numbers of changes that were read and deleted never come again.
    fn own_columns(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (SEQUENCE, "INTEGER PRIMARY KEY AUTOINCREMENT"),
            (OPERATION, "TEXT NOT NULL"),
            (CHANGED_AT, "TIMESTAMP NOT NULL"),
            (VERSION, "TEXT NOT NULL"),
        ]
    }

    fn create_table(&self, design: &Design) -> String {
        let definitions = design.definitions("");
        create(design, &design.change_table.table, &definitions)
    }

    fn add_columns(&self, design: &Design, columns: &[(String, String)]) -> Vec<String> {
        let table = Sqlite.identifier(&design.change_table.table);
        let add = |(name, declared): &(String, String)| {
            format!("ALTER TABLE {table} ADD COLUMN {} {declared}", Sqlite.identifier(name))
        };
        columns.iter().map(|column| add(column).trim_end().to_owned()).collect()
    }

    /// Columns keep their types here, so the table is made anew, with its numbering.
    fn retype_columns(&self, design: &Design, installed: &InstalledTable, columns: &[(String, String)]) -> Vec<String> {
        if columns.is_empty() {
            return Vec::new();
        }
        let name = &design.change_table.table;
        let anew = format!("{name}_anew");
        let own = self.own_columns();
        let own_definitions = own
            .iter()
            .map(|(name, definition)| format!("{} {definition}", self.identifier(name)));
        let values = installed.columns.iter().map(|(name, declared)| {
            let declared = columns
                .iter()
                .find(|(other, _)| other == name)
                .map_or(declared, |(_, new)| new);
            format!("{} {declared}", self.identifier(name)).trim_end().to_owned()
        });
        let definitions: Vec<_> = own_definitions.chain(values).collect();
        let names = own.iter().map(|(name, _)| self.identifier(name));
        let names: Vec<_> = names
            .chain(installed.columns.iter().map(|(name, _)| self.identifier(name)))
            .collect();
        let names = names.join(", ");
        let (quoted, quoted_anew) = (self.identifier(name), self.identifier(&anew));
        let (literal, literal_anew) = (literal(name), literal(&anew));
        vec![
            create(design, &anew, &definitions),
            format!("INSERT INTO {quoted_anew} ({names})\n  SELECT {names} FROM {quoted} ORDER BY \"{SEQUENCE}\""),
            format!("DELETE FROM sqlite_sequence WHERE name = {literal_anew}"),
            format!(
                "INSERT INTO sqlite_sequence (name, seq)\n  SELECT {literal_anew}, seq FROM sqlite_sequence WHERE name = {literal}"
            ),
            format!("DROP TABLE {quoted}"),
            format!("ALTER TABLE {quoted_anew} RENAME TO {quoted}"),
        ]
    }

    fn function(&self, _design: &Design) -> Option<Routine> {
        None
    }

    fn triggers(&self, design: &Design) -> Vec<Routine> {
        let update = design.insert('u', &OWN_VALUES, "    ");
        vec![
            trigger(design, "insert", "", &design.insert('c', &OWN_VALUES, "    ")),
            trigger(design, "update", &format!("\n  WHEN {}", changed(design)), &update),
            trigger(design, "delete", "", &design.insert('d', &OWN_VALUES, "    ")),
        ]
    }

    /// The mark is in the table's text, which cannot be changed; the version is in the triggers'.
    fn mark(&self, _design: &Design) -> Vec<String> {
        Vec::new()
    }

    fn backfill(&self, design: &Design) -> String {
        design.insert_rows(&OWN_VALUES)
    }

    fn enclose(&self, script: &Script) -> Vec<String> {
        let inner = script.tables.iter().chain(&script.triggers).cloned();
        let begin = std::iter::once("BEGIN IMMEDIATE".to_owned());
        begin.chain(inner).chain(["COMMIT".to_owned()]).collect()
    }

    fn printed(&self, statements: &[String]) -> String {
        statements.iter().map(|statement| format!("{statement};\n")).collect()
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn comment(text: &str) -> String {
    format!("/* {} */", text.replace("*/", "* /").replace(char::is_control, " "))
}

fn create(design: &Design, name: &str, definitions: &[String]) -> String {
    format!(
        "CREATE TABLE {} (\n  {}\n  {}\n)",
        Sqlite.identifier(name),
        comment(&name::mark_without_version(&design.captured)),
        definitions.join(",\n  ")
    )
}

/// Values are compared by their bytes, whatever the column's collation, and 1 is not 1.0.
fn changed(design: &Design) -> String {
    let differ = design.columns.iter().map(|column| {
        let name = Sqlite.identifier(&column.captured);
        format!("OLD.{name} IS NOT NEW.{name} COLLATE BINARY OR typeof(OLD.{name}) <> typeof(NEW.{name})")
    });
    differ.collect::<Vec<_>>().join("\n    OR ")
}

fn trigger(design: &Design, event: &str, when: &str, statement: &str) -> Routine {
    let name = name::trigger(event, &design.captured.table, NameLimit::None);
    let quoted = Sqlite.identifier(&name);
    let create = format!(
        "CREATE TRIGGER {quoted} AFTER {} ON {}\n  FOR EACH ROW{when}\nBEGIN\n  {}\n  {statement};\nEND",
        event.to_ascii_uppercase(),
        Sqlite.identifier(&design.captured.table),
        comment(&design.mark_text()),
    );
    Routine {
        definition: create.clone(),
        create: vec![create],
        drop: format!("DROP TRIGGER {quoted}"),
        name,
    }
}
