//! What is there against what should be, in words and in statements.

use tailrace_core::schema::TableName;

use super::database::Survey;
use super::name;
use super::{Design, Engine, Routine, Script};

/// A change table as it is in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledTable {
    /// Name.
    pub name: TableName,
    /// The comment that says that it is ours; `None` where it has none.
    pub mark: Option<String>,
    /// Name and type of the columns with values before and after, in the table's order.
    pub columns: Vec<(String, String)>,
}

/// Whether the database runs a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerState {
    /// For every write.
    Always,
    /// Not for writes of a session whose `session_replication_role` is `replica`.
    OnOrigin,
    /// Never, or only for replicated writes.
    Disabled,
}

/// A trigger as it is in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledTrigger {
    /// The table that it watches.
    pub table: TableName,
    /// Name.
    pub name: String,
    /// What it does, as [`Routine::definition`] has it.
    pub definition: String,
    /// Whether it runs.
    pub state: TriggerState,
}

/// What is there for one captured table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// Its change table.
    pub table: Option<InstalledTable>,
    /// The text of the function that its triggers call.
    pub function: Option<String>,
    /// Triggers of the captured table.
    pub triggers: Vec<InstalledTrigger>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What, in a sentence.
    pub sentence: String,
    /// Changes go unseen until it is mended. Where only columns are missing, or have another type, the changes are seen.
    pub unseen: bool,
}

/// What is there against what should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Everything that is not as it should be.
    pub differences: Vec<Difference>,
    /// What is as it should be and worth knowing.
    pub notes: Vec<String>,
    /// Brings them in step; empty where nothing needs to be done, or nothing may.
    pub script: Script,
}

// === impl Installed ===

impl Installed {
    /// The part of a survey that belongs to one captured table.
    pub fn of(design: &Design, survey: &Survey) -> Self {
        let same = |a: &TableName, b: &TableName| a.schema == b.schema && a.table == b.table;
        Self {
            table: survey
                .change_tables
                .iter()
                .find(|table| same(&table.name, &design.change_table))
                .cloned(),
            function: survey
                .functions
                .iter()
                .find(|(name, _)| same(name, &design.change_table))
                .map(|(_, text)| text.clone()),
            triggers: survey
                .triggers
                .iter()
                .filter(|trigger| same(&trigger.table, &design.captured))
                .cloned()
                .collect(),
        }
    }

    fn trigger(&self, name: &str) -> Option<&InstalledTrigger> {
        self.triggers.iter().find(|trigger| trigger.name == name)
    }
}

// === impl Comparison ===

impl Comparison {
    /// Compares everything of one captured table.
    pub fn of(design: &Design, installed: &Installed) -> Self {
        let mut comparison = Self {
            differences: Vec::new(),
            notes: Vec::new(),
            script: Script::new(design),
        };
        if comparison.is_foreign(design, installed) {
            return comparison;
        }
        let retyped = match &installed.table {
            None => {
                comparison.missing_table(design);
                false
            }
            Some(table) => comparison.columns(design, table),
        };
        // SQLite renames a table only while no trigger speaks of one that is not there.
        let made_anew = retyped && design.engine == Engine::Sqlite;
        if made_anew {
            let ours = design.triggers().into_iter();
            let there = ours.filter(|trigger| installed.trigger(&trigger.name).is_some());
            let drops: Vec<_> = there.map(|trigger| trigger.drop).collect();
            comparison.script.tables.splice(0..0, drops);
        }
        if let Some(function) = design.function() {
            comparison.function(design, function, installed);
        }
        for trigger in design.triggers() {
            comparison.trigger(design, trigger, installed, made_anew);
        }
        comparison.version(design, installed);
        comparison
    }

    /// True where what is there is as it should be.
    pub fn agrees(&self) -> bool {
        self.differences.is_empty()
    }

    /// With a change `r` for every row that is there, where the change table is made by this script: rows that were written before and
    /// after are then told of exactly once.
    #[must_use]
    pub fn with_backfill(mut self, design: &Design, installed: &Installed) -> Self {
        if installed.table.is_none() {
            self.script.triggers.push(design.generator().backfill(design));
        } else {
            self.notes.push(format!(
                "{} is there already and is not filled from the table; take it away first to begin anew",
                design.change_table.qualified()
            ));
        }
        self
    }

    fn differs(&mut self, unseen: bool, sentence: String) {
        self.differences.push(Difference { sentence, unseen });
    }

    /// A table that somebody else made is not touched.
    fn is_foreign(&mut self, design: &Design, installed: &Installed) -> bool {
        let foreign = installed.table.as_ref().is_some_and(|table| table.mark.is_none());
        if foreign {
            self.differs(
                true,
                format!(
                    "the table {} is there and does not carry Tailrace's mark: somebody else made it; rename it",
                    design.change_table.qualified()
                ),
            );
        }
        foreign
    }

    fn missing_table(&mut self, design: &Design) {
        self.differs(
            true,
            format!(
                "the change table {} and its triggers are missing",
                design.change_table.qualified()
            ),
        );
        let generator = design.generator();
        self.script.tables.push(generator.create_table(design));
        self.script.tables.extend(generator.mark(design));
    }

    /// Columns of the change table; true where a type is another.
    fn columns(&mut self, design: &Design, table: &InstalledTable) -> bool {
        let name = table.name.qualified();
        let (mut added, mut retyped) = (Vec::new(), Vec::new());
        for (column, declared) in design.value_columns() {
            match table.columns.iter().find(|(other, _)| *other == column) {
                None => {
                    self.differs(false, format!("{name} has no column {column}"));
                    added.push((column, declared));
                }
                Some((_, there)) if *there != declared => {
                    self.differs(
                        false,
                        format!(
                            "column {column} of {name} is of type {there}, and the captured column of type {declared}"
                        ),
                    );
                    retyped.push((column, declared));
                }
                Some(_) => {}
            }
        }
        let wanted = design.value_columns();
        let kept: Vec<&str> = table
            .columns
            .iter()
            .map(|(column, _)| column.as_str())
            .filter(|column| !wanted.iter().any(|(wanted, _)| wanted == column))
            .collect();
        if !kept.is_empty() {
            self.notes.push(format!(
                "{name} keeps {}, of columns that are not captured any more, so that changes that were not read yet stay readable",
                kept.join(", ")
            ));
        }
        let generator = design.generator();
        self.script.tables.extend(generator.add_columns(design, &added));
        let mut there = table.clone();
        there.columns.extend(added);
        self.script
            .tables
            .extend(generator.retype_columns(design, &there, &retyped));
        !retyped.is_empty()
    }

    fn function(&mut self, design: &Design, function: Routine, installed: &Installed) {
        match &installed.function {
            // That a table was never captured is said in one sentence.
            None if installed.table.is_none() => {}
            None => self.differs(true, format!("the function {} is missing", function.name)),
            Some(text) if *text != function.definition => {
                let (unseen, sentence) = another(design, "function", &function.name, text);
                self.differs(unseen, sentence);
            }
            Some(_) => return,
        }
        self.script.triggers.extend(function.create);
    }

    fn trigger(&mut self, design: &Design, trigger: Routine, installed: &Installed, made_anew: bool) {
        let there = installed.trigger(&trigger.name);
        let sentence = match there {
            None => Some((true, missing_trigger(design.engine, &trigger.name))),
            Some(there) if !same_text(&there.definition, &trigger.definition) => {
                Some(another(design, "trigger", &trigger.name, &there.definition))
            }
            Some(there) => match there.state {
                TriggerState::Always => None,
                TriggerState::OnOrigin => {
                    let sentence = "does not run where session_replication_role is replica";
                    Some((true, format!("the trigger {} {sentence}", trigger.name)))
                }
                TriggerState::Disabled => Some((true, format!("the trigger {} is disabled", trigger.name))),
            },
        };
        if sentence.is_none() && !made_anew {
            return;
        }
        let never_captured = there.is_none() && installed.table.is_none();
        if let Some((unseen, sentence)) = sentence.filter(|_| !never_captured) {
            self.differs(unseen, sentence);
        }
        if there.is_some() && !made_anew {
            self.script.triggers.push(trigger.drop);
        }
        self.script.triggers.extend(trigger.create);
    }

    /// The version in the change table's comment, where it can be written anew.
    fn version(&mut self, design: &Design, installed: &Installed) {
        let mark = design.generator().mark(design);
        let Some(there) = installed.table.as_ref().and_then(|table| table.mark.as_deref()) else {
            return;
        };
        let wanted = design.fingerprint.to_string();
        if mark.is_empty() || name::fingerprint_in(there) == Some(&wanted) {
            return;
        }
        self.differs(
            false,
            format!(
                "{} was made for version {} of the table, which now is {wanted}",
                design.change_table.qualified(),
                name::fingerprint_in(there).unwrap_or("?")
            ),
        );
        self.script.tables.extend(mark);
    }
}

/// Takes away what is ours of one captured table. What does not carry the mark is left, and said.
pub fn removal(design: &Design, installed: &Installed) -> Comparison {
    let mut script = Script::new(design);
    let mut notes = Vec::new();
    script.header = vec![
        format!(
            "Takes away what tailrace made for the table {}.",
            design.captured.qualified()
        ),
        "Changes that are in the change table and were not read yet are lost with it.".to_owned(),
    ];
    let is_ours = |definition: &str| match design.engine {
        Engine::Postgres => definition.contains(&design.engine.beside(&design.captured, &design.change_table.table)),
        Engine::MySql | Engine::MariaDb => definition.contains("tailrace_version"),
        Engine::Sqlite => definition.contains(&name::mark_without_version(&design.captured)),
    };
    for trigger in design.triggers() {
        match installed.trigger(&trigger.name) {
            Some(there) if is_ours(&there.definition) => script.triggers.push(trigger.drop),
            Some(_) => notes.push(format!(
                "the trigger {} does not carry Tailrace's mark and is left",
                trigger.name
            )),
            None => {}
        }
    }
    if let (Some(function), Some(text)) = (design.function(), &installed.function) {
        if text.contains(&name::mark_without_version(&design.captured)) {
            script.triggers.push(function.drop);
        } else {
            notes.push(format!(
                "the function {} does not carry Tailrace's mark and is left",
                function.name
            ));
        }
    }
    match &installed.table {
        Some(table) if table.mark.is_some() => {
            let name = design.engine.qualified(&table.name);
            script.triggers.push(format!("DROP TABLE {name}"));
        }
        Some(table) => notes.push(format!(
            "the table {} does not carry Tailrace's mark and is left",
            table.name.qualified()
        )),
        None => {}
    }
    script.has_change_table = installed.table.is_some();
    Comparison {
        differences: Vec::new(),
        notes,
        script,
    }
}

/// A text that differs: ours for another version of the table still keeps every change, but nobody knows what somebody else's does.
fn another(design: &Design, what: &str, name: &str, text: &str) -> (bool, String) {
    let has_mark = match design.engine {
        Engine::MySql | Engine::MariaDb => text.contains("tailrace_version"),
        Engine::Postgres | Engine::Sqlite => text.contains(&name::mark_without_version(&design.captured)),
    };
    if has_mark && !text.contains(&design.fingerprint.to_string()) {
        return (
            false,
            format!("the {what} {name} was made for another version of the table or by another release"),
        );
    }
    (true, format!("the {what} {name} is not as Tailrace made it"))
}

/// MySQL shows triggers only to those who may make them.
fn missing_trigger(engine: Engine, name: &str) -> String {
    match engine {
        Engine::Postgres | Engine::Sqlite => format!("the trigger {name} is missing"),
        Engine::MySql | Engine::MariaDb => {
            format!("the trigger {name} is missing, or the user may not see it (GRANT TRIGGER on the table shows it)")
        }
    }
}

/// Whether two texts are the same but for blanks, which shells and editors change.
fn same_text(a: &str, b: &str) -> bool {
    a.split_ascii_whitespace().eq(b.split_ascii_whitespace())
}
