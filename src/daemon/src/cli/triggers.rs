//! `tailrace triggers`: change tables and the triggers that fill them, as SQL to read, or applied.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tailrace_sql::change_table::compare::removal;
use tailrace_sql::change_table::{ChangeTableConnector, Comparison, Installed, Script};

use super::{Exit, Failure};
use crate::config::fault::suggestion;
use crate::config::plan::Plan;
use crate::screen;

#[derive(Debug, Args)]
pub(crate) struct TriggersArguments {
    #[command(subcommand)]
    action: Action,
}

/// Whose triggers, and what to do with the statements.
#[derive(Debug, Args)]
struct Target {
    /// The configuration.
    file: PathBuf,
    /// The connector; it has `change_table`.
    connector: String,
    /// Run the statements instead of printing them. The source's user must be allowed to.
    #[arg(long)]
    apply: bool,
    /// Leave a column out, written as table.column: before it is dropped, so that no write of the application fails on a trigger that
    /// still names it.
    #[arg(long, value_name = "COLUMN")]
    without: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the statements that make change tables and triggers for the tables of a connector, where they are missing.
    Install {
        #[command(flatten)]
        target: Target,
        /// Also an event for each row that is there already, in the same transaction, so that nothing is missed in between.
        #[arg(long)]
        backfill: bool,
    },
    /// Compares tables, change tables and triggers as they are, and prints each difference and the statements that bring them in step.
    ///
    /// Ends with 1 where something differs, and with 0 where nothing does or it was applied.
    Diff {
        #[command(flatten)]
        target: Target,
    },
    /// Prints the statements that take the change tables and triggers of a connector away: only what carries Tailrace's mark.
    ///
    /// Changes that were not read yet are lost with a change table.
    Remove {
        #[command(flatten)]
        target: Target,
    },
}

/// What is to be said and done for one table.
struct Work {
    table: String,
    comparison: Comparison,
}

// === impl TriggersArguments ===

impl TriggersArguments {
    /// The configuration.
    pub(crate) fn file(&self) -> &Path {
        &self.target().file
    }

    fn target(&self) -> &Target {
        match &self.action {
            Action::Install { target, .. } | Action::Diff { target } | Action::Remove { target } => target,
        }
    }
}

/// Prints the statements, or runs them.
pub(crate) async fn run(plan: Plan, arguments: TriggersArguments) -> Result<Exit, Failure> {
    let target = arguments.target();
    let change_tables = change_tables(&plan, &target.connector)?;
    let captured = change_tables.captured(&target.without).await?;
    let mut works = Vec::new();
    for design in &captured.designs {
        let installed = Installed::of(design, &captured.survey);
        let comparison = match &arguments.action {
            Action::Install { backfill: true, .. } => {
                Comparison::of(design, &installed).with_backfill(design, &installed)
            }
            Action::Install { .. } | Action::Diff { .. } => Comparison::of(design, &installed),
            Action::Remove { .. } => removal(design, &installed),
        };
        works.push(Work {
            table: design.captured.qualified(),
            comparison,
        });
    }
    if target.apply {
        return apply(&change_tables, &works).await;
    }
    let text: String = works.iter().map(Work::printed).collect();
    screen::print(&text)?;
    let differs = works.iter().any(|work| !work.comparison.agrees());
    Ok(match arguments.action {
        Action::Diff { .. } if differs => Exit::Differs,
        _ => Exit::Ended,
    })
}

fn change_tables(plan: &Plan, connector: &str) -> Result<ChangeTableConnector, Failure> {
    let Some(found) = plan.connectors.iter().find(|known| known.name == connector) else {
        let known: Vec<String> = plan.connectors.iter().map(|known| known.name.clone()).collect();
        let sentence = format!("there is no connector `{connector}`; {}", suggestion(connector, &known));
        return Err(Failure::Usage(sentence));
    };
    found.change_tables()?.ok_or_else(|| {
        Failure::Usage(format!(
            "connector `{connector}` does not read change tables; write `change_table: {{}}` beside its `source`"
        ))
    })
}

/// Runs the statements of each table on their own: where one table's fail, those of the tables before are done.
async fn apply(change_tables: &ChangeTableConnector, works: &[Work]) -> Result<Exit, Failure> {
    let mut left = false;
    for work in works {
        let statements = work.comparison.script.statements();
        if !statements.is_empty() {
            change_tables.apply(&statements).await?;
        }
        left |= statements.is_empty() && !work.comparison.agrees();
        screen::print(&work.done(&work.comparison.script))?;
    }
    Ok(if left { Exit::Differs } else { Exit::Ended })
}

// === impl Work ===

impl Work {
    /// The statements, everything else as comments: what is printed can be run as it is.
    fn printed(&self) -> String {
        let mut text = String::new();
        let mut comment = |sentence: &str| text.push_str(&format!("-- {}\n", screen::escape(sentence)));
        let Comparison {
            differences,
            notes,
            script,
        } = &self.comparison;
        if script.is_empty() && differences.is_empty() {
            comment(&format!("{}: nothing to do", self.table));
        }
        for difference in differences {
            comment(&format!("{}: {}", self.table, difference.sentence));
        }
        for note in notes {
            comment(&format!("{}: {note}", self.table));
        }
        if !script.is_empty() {
            text.push_str(&script.printed());
        }
        text.push('\n');
        text
    }

    fn done(&self, script: &Script) -> String {
        let mut text = String::new();
        for sentence in self
            .comparison
            .differences
            .iter()
            .map(|difference| &difference.sentence)
        {
            // Writing into a String cannot fail.
            writeln!(text, "{}: {}", self.table, screen::escape(sentence)).unwrap_or_default();
        }
        for note in &self.comparison.notes {
            writeln!(text, "{}: {}", self.table, screen::escape(note)).unwrap_or_default();
        }
        let outcome = match (script.is_empty(), self.comparison.agrees()) {
            (false, _) => "done",
            (true, true) => "nothing to do",
            (true, false) => "left as it is",
        };
        writeln!(text, "{}: {outcome}", self.table).unwrap_or_default();
        text
    }
}
