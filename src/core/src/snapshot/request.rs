//! What was asked for, in terms of the tables that there are.

use super::desk::SnapshotRequest;
use super::run::{Run, RunTable};
use crate::error::{Error, Result};
use crate::pattern::TablePattern;
use crate::ports::{WindowTable, WindowTables};

/// The tables that a request adds to a snapshot; `run` is the one under way. Tables that were meant by name and cannot be read
/// refuse the request; those that a pattern found are in it with the reason. They come in the order in which they were asked for.
pub(super) fn resolve(request: &SnapshotRequest, found: WindowTables, run: Option<&Run>) -> Result<Vec<RunTable>> {
    let conditions = conditions(request, &found)?;
    let named = |text: &str| !text.contains(['*', '?']);
    let patterns: Vec<(&str, TablePattern)> = request
        .tables
        .iter()
        .map(|text| (text.as_str(), TablePattern::new(text, None)))
        .collect();
    let all = patterns.is_empty() && conditions.is_empty();
    let mut used = vec![false; patterns.len()];
    let mut tables = Vec::new();
    let mut already = Vec::new();
    for table in found.tables {
        let name = table.name.qualified();
        let condition = conditions
            .iter()
            .find(|(of, _)| *of == name)
            .map(|(_, name)| name.clone());
        let mut is_named = condition.is_some();
        let mut place = (all || is_named).then_some(patterns.len());
        for (index, ((text, pattern), used)) in patterns.iter().zip(&mut used).enumerate() {
            if pattern.matches(&table.name.schema, &table.name.table) {
                *used = true;
                is_named |= named(text);
                place = Some(place.map_or(index, |place| place.min(index)));
            }
        }
        let Some(place) = place else {
            continue;
        };
        if is_open(run, &name) {
            already.push(name.clone());
            if is_named {
                return Err(in_it_already(&already));
            }
            continue;
        }
        tables.push((place, run_table(table, name, condition, is_named)?));
    }
    tables.sort_by_key(|(place, _)| *place);
    let tables: Vec<RunTable> = tables.into_iter().map(|(_, table)| table).collect();
    if let Some(((text, _), _)) = patterns.iter().zip(&used).find(|(_, used)| !**used) {
        return Err(unknown(text));
    }
    match (tables.is_empty(), already.is_empty()) {
        (false, _) => Ok(tables),
        (true, false) => Err(in_it_already(&already)),
        (true, true) => Err(Error::definite(
            "snapshot_tables",
            "the connector captures no table now, so there is nothing to read",
        )),
    }
}

/// Tables and the conditions that their rows must meet.
fn conditions(request: &SnapshotRequest, found: &WindowTables) -> Result<Vec<(String, String)>> {
    let mut conditions: Vec<(String, String)> = Vec::new();
    for name in &request.conditions {
        let Some(table) = found.conditions.get(name) else {
            let known: Vec<&str> = found.conditions.keys().map(String::as_str).collect();
            let known = if known.is_empty() {
                "there are none".to_owned()
            } else {
                format!("there are: {}", known.join(", "))
            };
            let message = format!(
                "`snapshot.conditions` of the connector has no condition `{name}` ({known}); conditions are only taken from the \
                 configuration"
            );
            return Err(Error::definite("snapshot_condition_unknown", message));
        };
        if !found.tables.iter().any(|known| known.name.qualified() == *table) {
            return Err(unknown(table));
        }
        if conditions.iter().any(|(known, _)| known == table) {
            let message = format!("two conditions are asked for of {table}; name one of them at a time");
            return Err(Error::definite("snapshot_conditions", message));
        }
        conditions.push((table.clone(), name.clone()));
    }
    Ok(conditions)
}

fn run_table(table: WindowTable, name: String, condition: Option<String>, is_named: bool) -> Result<RunTable> {
    let error = match table.refusal {
        Some(refusal) if is_named => return Err(refusal),
        refusal => refusal.as_ref().map(Into::into),
    };
    Ok(RunTable {
        name,
        condition,
        rows_estimated: table.rows_estimated,
        error,
        ..RunTable::default()
    })
}

fn is_open(run: Option<&Run>, name: &str) -> bool {
    let run = run.filter(|run| run.is_open());
    run.is_some_and(|run| run.tables.iter().any(|table| table.name == name && !table.is_over()))
}

fn in_it_already(tables: &[String]) -> Error {
    let message = format!(
        "{} is in the snapshot already that is under way; wait for its end, or give that snapshot up first",
        tables.join(", ")
    );
    Error::definite("snapshot_running", message)
}

fn unknown(text: &str) -> Error {
    let message = format!(
        "`{text}` fits no table that the connector captures; upper and lower case differ, and `tables` of the connector says what is captured"
    );
    Error::definite("snapshot_table_unknown", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::TableName;
    use crate::snapshot::run::{RunId, RunStage};

    fn found() -> WindowTables {
        let table = |table: &str| WindowTable {
            name: TableName {
                database: String::new(),
                schema: "s".into(),
                table: table.into(),
            },
            rows_estimated: Some(7),
            refusal: (table == "keyless").then(|| Error::definite("snapshot_key", "no key")),
        };
        WindowTables {
            tables: ["a", "b", "keyless"].map(table).into(),
            conditions: [("recent", "s.a"), ("old", "s.a"), ("gone", "s.gone")]
                .map(|(name, table)| (name.to_owned(), table.to_owned()))
                .into(),
        }
    }

    fn ask(tables: &[&str], conditions: &[&str], run: Option<&Run>) -> Result<Vec<(String, bool)>, &'static str> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let request = SnapshotRequest {
            tables: texts(tables),
            conditions: texts(conditions),
            by: "ada".to_owned(),
        };
        let tables = resolve(&request, found(), run).map_err(|error| error.code())?;
        Ok(tables
            .into_iter()
            .map(|table| (table.name, table.error.is_some() || table.condition.is_some()))
            .collect())
    }

    fn named(names: &[(&str, bool)]) -> Result<Vec<(String, bool)>, &'static str> {
        Ok(names.iter().map(|(name, other)| ((*name).to_owned(), *other)).collect())
    }

    #[test]
    fn names_patterns_and_conditions_choose_tables() {
        assert_eq!(
            ask(&[], &[], None),
            named(&[("s.a", false), ("s.b", false), ("s.keyless", true)])
        );
        assert_eq!(ask(&["s.b"], &[], None), named(&[("s.b", false)]));
        assert_eq!(
            ask(&["s.b", "s.a", "?"], &[], None),
            named(&[("s.b", false), ("s.a", false)])
        );
        assert_eq!(ask(&["?"], &[], None), named(&[("s.a", false), ("s.b", false)]));
        assert_eq!(ask(&[], &["recent"], None), named(&[("s.a", true)]));
        assert_eq!(ask(&["*.b"], &["old"], None), named(&[("s.b", false), ("s.a", true)]));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        assert_eq!(ask(&["s.keyless"], &[], None), Err("snapshot_key"));
        assert_eq!(ask(&["s.c"], &[], None), Err("snapshot_table_unknown"));
        assert_eq!(ask(&["s.a", "x*"], &[], None), Err("snapshot_table_unknown"));
        assert_eq!(ask(&[], &["1 = 1"], None), Err("snapshot_condition_unknown"));
        assert_eq!(ask(&[], &["gone"], None), Err("snapshot_table_unknown"));
        assert_eq!(ask(&[], &["old", "recent"], None), Err("snapshot_conditions"));
    }

    #[test]
    fn a_table_is_in_a_snapshot_once_until_it_is_finished() {
        let table = |name: &str, finished| RunTable {
            name: name.to_owned(),
            finished,
            ..RunTable::default()
        };
        let run = |stage| Run {
            id: RunId("1".to_owned()),
            requested_at_us: 0,
            by: String::new(),
            stage,
            revision: 1,
            tables: vec![table("s.a", false), table("s.b", true)],
        };
        let running = run(RunStage::Running);
        assert_eq!(ask(&["s.a"], &[], Some(&running)), Err("snapshot_running"));
        assert_eq!(ask(&["s.b"], &[], Some(&running)), named(&[("s.b", false)]));
        assert_eq!(ask(&["s.?"], &[], Some(&running)), named(&[("s.b", false)]));
        assert_eq!(ask(&["s.a*"], &[], Some(&running)), Err("snapshot_running"));
        assert_eq!(
            ask(&["s.a"], &[], Some(&run(RunStage::Aborted))),
            named(&[("s.a", false)])
        );
    }
}
