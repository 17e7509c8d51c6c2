//! What the preflight says of change tables.

use tailrace_core::check::Finding;

use super::Engine;
use super::compare::Comparison;

/// What of a table's changes no trigger of this database sees; `tables` names the captured ones.
pub(super) fn unseen(engine: Engine, tables: &str) -> Vec<Finding> {
    let notes: &[(&'static str, &str)] = match engine {
        Engine::Postgres => &[(
            "triggers_partitions",
            "TRUNCATE of a single partition is not seen where the partitioned table is captured",
        )],
        Engine::MySql | Engine::MariaDb => &[
            (
                "triggers_truncate",
                "TRUNCATE TABLE fires no trigger and is not seen; DELETE without WHERE is",
            ),
            (
                "triggers_cascades",
                "rows that a foreign key's action (ON DELETE CASCADE, SET NULL, …) changes fire no trigger and are not seen",
            ),
            (
                "triggers_replace",
                "REPLACE and LOAD DATA REPLACE are seen as a delete and a create; LOAD DATA and INSERT IGNORE as the creates that they make",
            ),
        ],
        Engine::Sqlite => &[(
            "triggers_replace",
            "a row that INSERT OR REPLACE or UPDATE OR REPLACE takes away is seen only where the application's connection has \
             PRAGMA recursive_triggers = ON",
        )],
    };
    let note = |(code, sentence): &(&'static str, &str)| Finding::note(code, format!("{tables}: {sentence}"));
    notes.iter().map(note).collect()
}

/// What keeps changes of a table from being captured as they should be.
pub(super) fn of_comparison(table: &str, comparison: &Comparison, remedy: &str) -> Vec<Finding> {
    let differences = comparison.differences.iter().map(|difference| {
        let problem = format!("{table}: {}", difference.sentence);
        if difference.unseen {
            Finding::blocks("triggers_differ", problem, remedy)
        } else {
            Finding::warning("triggers_differ", problem, remedy)
        }
    });
    let notes = comparison
        .notes
        .iter()
        .map(|note| Finding::note("triggers_columns", format!("{table}: {note}")));
    differences.chain(notes).collect()
}
