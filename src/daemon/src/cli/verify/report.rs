//! What was found, as a table for people and as JSON for programs.

use std::collections::BTreeSet;

use serde::Serialize;
use tailrace_sql::verify::pairing::{Key, Pairing, Values};
use tailrace_sql::verify::table::{Difference, Look, Tally};

use super::VerifyArguments;
use super::repair::RefusedRows;
use super::routes::Route;
use super::settle::Settled;
use crate::cli::Exit;
use crate::screen;

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    connector: String,
    /// The tables, in the order in which they were compared.
    pub(super) tables: Vec<TableReport>,
}

/// One table.
#[derive(Debug, Default, Serialize)]
pub(super) struct TableReport {
    source: String,
    topic: String,
    /// `source` or `topic`.
    compared_with: &'static str,
    /// Name in the target.
    pub(super) target: String,
    rows: u64,
    target_rows: u64,
    chunks: u64,
    equal: u64,
    lag: usize,
    unpublished: usize,
    changing: usize,
    missing: usize,
    extra: usize,
    different: usize,
    repaired: usize,
    /// Rows of the target of which the topic says nothing, having lost its beginning.
    untold: u64,
    /// Those that the walk found.
    #[serde(skip)]
    untold_at_first: u64,
    /// The topic was not read to its end.
    is_unread: bool,
    /// Other topics or tables are written into the table, too, so that rows that only the target has are not looked for.
    pub(super) is_shared: bool,
    /// Columns that are not compared.
    pub(super) left_out: Vec<String>,
    keys: Vec<KeyReport>,
    /// Keys that are not listed.
    more_keys: usize,
    /// Why it was not compared, or not to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
}

/// One key that differs.
#[derive(Debug, Serialize)]
struct KeyReport {
    #[serde(skip)]
    of: Key,
    key: String,
    is: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    columns: Vec<ColumnReport>,
    repaired: bool,
    /// Why the target refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// One column that differs; its values where they are asked for.
#[derive(Debug, Serialize)]
struct ColumnReport {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<ValuesReport>,
}

/// `None` inside is NULL. `source` is what the topic says where that is what is compared with.
#[derive(Debug, Serialize)]
struct ValuesReport {
    source: Option<String>,
    target: Option<String>,
}

// === impl Report ===

impl Report {
    pub(super) fn new(connector: &str) -> Self {
        Self {
            connector: connector.to_owned(),
            tables: Vec::new(),
        }
    }

    /// How the program ends.
    pub(super) fn exit(&self) -> Exit {
        if self
            .tables
            .iter()
            .any(|table| table.problem.is_some() || table.is_undecided())
        {
            return Exit::Failed;
        }
        let drifted = self.tables.iter().any(|table| table.drift() > table.repaired);
        if drifted { Exit::Drifted } else { Exit::Ended }
    }

    pub(super) fn as_json(&self) -> String {
        // Nothing in a report can fail to be JSON: they are texts and numbers.
        serde_json::to_string_pretty(self)
            .map(|text| text + "\n")
            .unwrap_or_default()
    }

    pub(super) fn as_text(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            table.write(&mut text);
        }
        let sum = |of: fn(&TableReport) -> usize| self.tables.iter().map(of).sum::<usize>();
        text += &format!(
            "{}: {}, drift: {}, repaired: {}, lag: {}\n",
            screen::escape(&self.connector),
            match self.tables.len() {
                1 => "1 table".to_owned(),
                tables => format!("{tables} tables"),
            },
            sum(TableReport::drift),
            sum(|table| table.repaired),
            sum(|table| table.lag + table.unpublished + table.changing)
        );
        text
    }
}

// === impl TableReport ===

impl TableReport {
    pub(super) fn new(route: &Route<'_>) -> Self {
        Self {
            source: route.name(),
            topic: route.topic.to_string(),
            compared_with: "source",
            ..Self::default()
        }
    }

    /// Of a table that is compared with its topic.
    pub(super) fn of_topic(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            compared_with: "topic",
            ..Self::default()
        }
    }

    /// There are keys of which nobody knows whether they are lag or drift.
    fn is_undecided(&self) -> bool {
        self.is_unread && self.unpublished > 0
    }

    fn drift(&self) -> usize {
        self.missing + self.extra + self.different
    }

    /// What the walk found.
    pub(super) fn count(&mut self, tally: &Tally) {
        self.rows = tally.origin_rows;
        self.target_rows = tally.target_rows;
        self.chunks = tally.chunks;
        self.equal = tally.equal;
        self.untold = tally.untold;
        self.untold_at_first = tally.untold;
    }

    /// What became of the keys that differed.
    pub(super) fn settle(&mut self, settled: &Settled, pairing: &Pairing, arguments: &VerifyArguments) {
        self.lag = settled.caught_up.len() + settled.unwritten.len();
        self.unpublished = settled.unpublished.len();
        self.changing = settled.changing.len();
        self.is_unread = settled.is_unread;
        self.untold = self.untold_at_first + u64::try_from(settled.untold.len()).unwrap_or(u64::MAX);
        (self.missing, self.extra, self.different) = (0, 0, 0);
        for (difference, _) in settled.drift.values() {
            match difference {
                Difference::Missing => self.missing += 1,
                Difference::Extra => self.extra += 1,
                Difference::Different(_) => self.different += 1,
            }
        }
        let mut keys: Vec<KeyReport> = Vec::new();
        for (key, (difference, look)) in &settled.drift {
            keys.push(KeyReport {
                of: key.clone(),
                key: pairing.key_text(key),
                is: difference.name(),
                columns: columns(difference, look, pairing, arguments.show_values),
                repaired: false,
                refused: None,
            });
        }
        let lagging = [
            ("lag", &settled.unwritten),
            ("unpublished", &settled.unpublished),
            ("changing", &settled.changing),
        ];
        for (word, found) in lagging {
            keys.extend(found.iter().map(|(key, difference)| KeyReport {
                of: key.clone(),
                key: pairing.key_text(key),
                is: word,
                columns: columns(difference, &Look::default(), pairing, false),
                repaired: false,
                refused: None,
            }));
        }
        // What is to be repaired is told, each key.
        let listed = if arguments.repair {
            arguments.keys.max(settled.drift.len())
        } else {
            arguments.keys
        };
        self.more_keys = keys.len().saturating_sub(listed);
        keys.truncate(listed);
        self.keys = keys;
    }

    /// What of it is equal after a repair, and what the target refused.
    pub(super) fn repaired(&mut self, repaired: &BTreeSet<Key>, refused: &RefusedRows) {
        self.repaired = repaired.len();
        for key in &mut self.keys {
            key.repaired = repaired.contains(&key.of);
            key.refused = refused.get(&key.of).filter(|_| !key.repaired).cloned();
        }
    }

    fn write(&self, text: &mut String) {
        let mut line = |content: String| {
            text.push_str(&screen::escape(&content));
            text.push('\n');
        };
        let way = [&self.source, &self.topic, &self.target].map(String::as_str);
        line(
            way.into_iter()
                .filter(|name| !name.is_empty())
                .collect::<Vec<_>>()
                .join(" → "),
        );
        if let Some(problem) = &self.problem {
            let word = if self.chunks == 0 {
                "NOT COMPARED"
            } else {
                "NOT FINISHED"
            };
            line(format!("  {word}  {problem}"));
        }
        if self.chunks == 0 {
            return;
        }
        line(format!(
            "  rows {}, in the target {}, chunks {}, equal {}",
            self.rows, self.target_rows, self.chunks, self.equal
        ));
        line(format!(
            "  drift: missing {}, extra {}, different {}; repaired {}",
            self.missing, self.extra, self.different, self.repaired
        ));
        line(format!(
            "  lag: not written {}, not published {}, changing {}",
            self.lag, self.unpublished, self.changing
        ));
        if self.untold > 0 {
            line(format!(
                "  not told of: {} rows of the target, of which the topic says nothing any more",
                self.untold
            ));
        }
        if self.is_undecided() {
            line(format!(
                "  NOT DECIDED  the topic was not read to its end, so that {} keys may be lag or drift; is the stream slow, or is the end of the \
                 topic nothing that readers see, such as the mark of a transaction? write a row of the source, and compare again",
                self.unpublished
            ));
        } else if self.is_unread {
            line("  the topic was not read to its end".to_owned());
        }
        if self.is_shared {
            line(
                "  other topics or tables are written into it, too: rows that only the target has are not looked for"
                    .to_owned(),
            );
        }
        if !self.left_out.is_empty() {
            line(format!("  columns that are not compared: {}", self.left_out.join(", ")));
        }
        for key in &self.keys {
            line(key.as_text(self.compared_with));
        }
        if self.more_keys > 0 {
            line(format!(
                "    and {} more; --keys lists as many as it says",
                self.more_keys
            ));
        }
    }
}

fn columns(difference: &Difference, look: &Look, pairing: &Pairing, show_values: bool) -> Vec<ColumnReport> {
    let Difference::Different(columns) = difference else {
        return Vec::new();
    };
    let value = |values: &Option<Values>, column: usize| values.as_ref()?.get(&column).cloned().flatten();
    let report = |column: &usize| ColumnReport {
        name: pairing.target_name(*column).to_owned(),
        values: show_values.then(|| ValuesReport {
            source: value(&look.origin, *column),
            target: value(&look.target, *column),
        }),
    };
    columns.iter().map(report).collect()
}

// === impl KeyReport ===

impl KeyReport {
    fn as_text(&self, compared_with: &str) -> String {
        let shown = |value: &Option<String>| {
            value
                .as_ref()
                .map_or_else(|| "NULL".to_owned(), |value| format!("`{value}`"))
        };
        let column = |column: &ColumnReport| match &column.values {
            Some(values) => format!(
                "{} {} in the {compared_with}, {} in the target",
                column.name,
                shown(&values.source),
                shown(&values.target)
            ),
            None => column.name.clone(),
        };
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        let in_columns = if columns.is_empty() {
            String::new()
        } else {
            format!(": {}", columns.join("; "))
        };
        let repaired = match &self.refused {
            Some(why) => format!(", not repaired: {why}"),
            None if self.repaired => ", repaired".to_owned(),
            None => String::new(),
        };
        format!("    {}  {}{in_columns}{repaired}", self.is, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TableReport {
        TableReport {
            source: "public.orders".to_owned(),
            topic: "shop.public.orders".to_owned(),
            target: "orders".to_owned(),
            rows: 10,
            target_rows: 10,
            chunks: 2,
            equal: 8,
            extra: 1,
            different: 1,
            keys: vec![
                KeyReport {
                    of: vec!["7".to_owned()],
                    key: "id=7".to_owned(),
                    is: "different",
                    columns: vec![ColumnReport {
                        name: "note".to_owned(),
                        values: None,
                    }],
                    repaired: false,
                    refused: None,
                },
                KeyReport {
                    of: vec!["11".to_owned()],
                    key: "id=11".to_owned(),
                    is: "extra",
                    columns: Vec::new(),
                    repaired: true,
                    refused: None,
                },
            ],
            more_keys: 1,
            ..TableReport::default()
        }
    }

    fn report(table: TableReport) -> Report {
        Report {
            tables: vec![table],
            ..Report::new("mirror")
        }
    }

    #[test]
    fn a_report_reads_table_by_table() {
        let expected = "public.orders → shop.public.orders → orders\n  \
            rows 10, in the target 10, chunks 2, equal 8\n  \
            drift: missing 0, extra 1, different 1; repaired 0\n  \
            lag: not written 0, not published 0, changing 0\n    \
            different  id=7: note\n    \
            extra  id=11, repaired\n    \
            and 1 more; --keys lists as many as it says\n\
            mirror: 1 table, drift: 2, repaired: 0, lag: 0\n";
        assert_eq!(report(table()).as_text(), expected);
        let mut half = table();
        half.problem = Some("the stream is gone".to_owned());
        let refused = "the target says no";
        half.keys[0].refused = Some(refused.to_owned());
        let text = report(half).as_text();
        assert!(text.contains("  NOT FINISHED  the stream is gone\n"), "{text}");
        assert!(
            text.contains("different  id=7: note, not repaired: the target says no\n"),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_str(&report(table()).as_json()).unwrap();
        assert_eq!(json["tables"][0]["keys"][0]["columns"][0]["name"], "note");
        assert!(json["tables"][0]["keys"][0]["columns"][0].get("values").is_none());
    }

    #[test]
    fn the_program_ends_by_the_worst_that_was_found() {
        let exit = |change: fn(&mut TableReport)| {
            let mut table = table();
            change(&mut table);
            report(table).exit()
        };
        assert_eq!(exit(|_| {}), Exit::Drifted);
        assert_eq!(exit(|table| table.repaired = 2), Exit::Ended);
        assert_eq!(
            exit(|table| (table.extra, table.different, table.lag) = (0, 0, 5)),
            Exit::Ended
        );
        assert_eq!(exit(|table| table.is_unread = true), Exit::Drifted);
        assert_eq!(
            exit(|table| (table.is_unread, table.unpublished) = (true, 1)),
            Exit::Failed
        );
        assert_eq!(exit(|table| table.problem = Some("no key".to_owned())), Exit::Failed);
    }
}
