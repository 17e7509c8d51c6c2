//! What the system must let the process do with a database file: SQLite has no users.

use std::path::Path;

use tailrace_core::grants::{Language, Script};
use tailrace_core::pattern::TablePattern;
use tailrace_core::schema::TableName;
use tailrace_sql::grants::table_named;
use tailrace_sql::sink::config::{Evolve, WriteConfig};

use crate::config::SqliteConfig;
use crate::discover::quote;

/// The script of a source.
pub(crate) fn of_source(config: &SqliteConfig) -> Script {
    let mut script = begin(&config.path);
    if config.query.changes_rows() {
        script.note("It deletes or marks rows of a queue.");
        writing(&mut script);
    } else {
        script.note(
            "It opens the file for reading only: it must be able to read it, and to search its folder. In journal mode WAL the files -wal and -shm \
             beside it must be there and readable, as they are while the application has it open, or it must be able to write to the folder.",
        );
    }
    script
}

/// The script of a source that reads the change tables of its tables.
pub(crate) fn of_change_tables(config: &SqliteConfig, connector: &str) -> Script {
    let mut script = of_source(config);
    script.note(format!(
        "The change tables and their triggers are made by what `tailrace triggers install FILE {connector} --backfill` prints, run by whoever may \
         write the file."
    ));
    script
}

/// The script of a sink.
pub(crate) fn of_sink(path: &Path, write: &WriteConfig) -> Script {
    let mut script = begin(path);
    let made = match write.evolve {
        Evolve::None => "rows of its tables",
        Evolve::Add | Evolve::Widen => "rows of its tables, and tables and columns that are missing",
    };
    script.note(format!(
        "It writes {made}, and makes the table {}.",
        quote(write.offsets_name())
    ));
    writing(&mut script);
    script
}

// === impl SqliteConfig ===

impl SqliteConfig {
    /// The names of what is captured, which topics are made of: `*` and `?` stand in them for what only the file knows.
    pub fn names(&self) -> Vec<TableName> {
        let patterns = self.tables.iter().map(|text| TablePattern::new(text, None));
        let tables = patterns.map(|pattern| pattern.parts().1.to_owned());
        let tables = tables.filter(|table| table.contains(['*', '?']) || self.captures(table));
        let names = tables.chain(self.query.queries.keys().cloned());
        names.map(|table| table_named("", &table)).collect()
    }
}

fn begin(path: &Path) -> Script {
    let place = format!(
        "SQLite file {}: SQLite has no users. What counts is what the system's user that Tailrace runs as may do with the file.",
        path.display()
    );
    Script::new(Language::Shell, place)
}

fn writing(script: &mut Script) {
    script.note(
        "It must be able to read and write the file and, where they are there, -wal, -shm and -journal beside it, and to write to its folder, where \
         SQLite makes these. Whoever else uses the file must be able to use those that Tailrace makes: a group that both are in, and a folder \
         with its bit setgid.",
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Its sentences, each in one line.
    fn unfolded(script: &Script) -> String {
        let text = script.text("Connector shop.", &mut BTreeSet::new());
        text.replace("\n# ", " ")
    }

    #[test]
    fn names_are_told_as_far_as_they_are_known() {
        let json = r#"{"path": "/data/shop.db", "tables": ["main.orders", "line_*", "cards"], "exclude": ["cards"],
            "query": {"mode": "bulk", "queries": {"sums": {"sql": "SELECT 1 AS one"}}}}"#;
        let config: SqliteConfig = serde_json::from_str(json).unwrap();
        let names = config.names();
        let tables: Vec<&str> = names.iter().map(|name| name.table.as_str()).collect();
        assert_eq!(tables, ["orders", "line_*", "sums"]);
    }

    #[test]
    fn the_rights_are_those_of_files() {
        let text = |mode: &str| {
            let json = format!(r#"{{"path": "/data/shop.db", "tables": ["*"], "query": {{"mode": "{mode}"}}}}"#);
            let script = of_source(&serde_json::from_str(&json).unwrap());
            unfolded(&script)
        };
        assert!(text("bulk").contains("for reading only") && !text("bulk").contains("-journal"));
        assert!(text("queue").contains("write to its folder"));
        let sink = of_sink(Path::new("/data/shop.db"), &WriteConfig::default());
        assert!(unfolded(&sink).contains("\"tailrace_offsets\""), "{}", unfolded(&sink));
    }
}
