//! Statements that bring a database from what it has to what it should have, for people and for a connection alike.

use tailrace_core::schema::TableName;

use super::{Design, Engine};

/// Statements for one captured table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The database.
    pub engine: Engine,
    /// The captured table.
    pub captured: TableName,
    /// Its change table.
    pub change_table: TableName,
    /// False where the change table is not there, and no statement makes it.
    pub has_change_table: bool,
    /// What the script is made for, in words: comments above the printed statements.
    pub header: Vec<String>,
    /// Statements about the change table.
    pub tables: Vec<String>,
    /// Statements about triggers, and changes for rows that were there before them: no one else writes to the captured table
    /// while they run.
    pub triggers: Vec<String>,
}

// === impl Script ===

impl Script {
    /// A script without statements.
    pub fn new(design: &Design) -> Self {
        Self {
            engine: design.engine,
            captured: design.captured.clone(),
            change_table: design.change_table.clone(),
            has_change_table: true,
            header: vec![
                format!(
                    "Made by tailrace triggers for the table {}, version {}.",
                    design.captured.qualified(),
                    design.fingerprint
                ),
                "A trigger that fails makes the application's write fail: nothing is left out without a word."
                    .to_owned(),
            ],
            tables: Vec::new(),
            triggers: Vec::new(),
        }
    }

    /// True where there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.triggers.is_empty()
    }

    /// The statements to run, one after the other on one connection. Where one fails, the connection is closed, which takes
    /// back what the database can take back.
    pub fn statements(&self) -> Vec<String> {
        if self.is_empty() {
            return Vec::new();
        }
        let generator = self.engine.generator();
        generator.enclose(self)
    }

    /// The statements for the database's own shell.
    pub fn printed(&self) -> String {
        let header = self.header.iter();
        let header: String = header
            .map(|line| format!("-- {}\n", line.replace(char::is_control, " ")))
            .collect();
        format!("{header}{}", self.engine.generator().printed(&self.statements()))
    }
}
