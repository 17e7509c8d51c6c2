//! A table of types in a file that people read: what is measured stands in it, and why a value is another one.
//!
//! ```text
//! | type | value | event | in MySQL | … | why |
//! ```
//!
//! `TAILRACE_TRANSCRIPTS=write` writes what was measured, and keeps what people have written: everything before the table, and the last column.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Set to `write`, the file is written.
const VARIABLE: &str = "TAILRACE_TRANSCRIPTS";
/// Longer values are cut, and say how long they are.
const CHARACTERS_MAXIMUM: usize = 60;

/// What was measured of a value.
pub(crate) struct Row {
    /// Type, value and event.
    pub(crate) published: [String; 3],
    /// For each target, what became of it.
    pub(crate) arrived: Vec<Arrived>,
}

/// What became of a value in a target.
pub(crate) enum Arrived {
    /// The column's type and the value, both as the target prints them.
    Written { data_type: String, value: String },
    /// What the sink says.
    Refused(String),
    /// What the source says.
    NotPublished(String),
}

/// A file with a table.
struct Document {
    before: String,
    /// Why, by type and value.
    reasons: BTreeMap<(String, String), String>,
    lines: Vec<String>,
}

// === impl Arrived ===

impl Arrived {
    fn shown(&self) -> String {
        match self {
            Arrived::Written { data_type, value } => format!("{}: {}", code(data_type), cell(value)),
            Arrived::Refused(_) => "refused".to_owned(),
            Arrived::NotPublished(_) => "—".to_owned(),
        }
    }

    /// The target prints the value as the source does.
    fn is_same(&self, original: &str) -> bool {
        matches!(self, Arrived::Written { value, .. } if value == original)
    }
}

// === impl Document ===

impl Document {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (before, table) = text
            .split_once("\n| type |")
            .unwrap_or((text.trim_end_matches('\n'), ""));
        let lines: Vec<String> = table.lines().skip(2).map(str::to_owned).collect();
        let reasons = lines.iter().filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let reason = cells.last()?.trim_end_matches('|').trim();
            let [kind, value, ..] = cells[..] else { return None };
            Some(((kind.to_owned(), value.to_owned()), reason.to_owned()))
        });
        Self {
            before: before.to_owned(),
            reasons: reasons.collect(),
            lines: lines.clone(),
        }
    }

    /// A line of the table, and what is wrong with it.
    fn line(&self, row: &Row) -> (String, Option<String>) {
        let [kind, original, event] = &row.published;
        let mut shown: Vec<String> = row.arrived.iter().map(Arrived::shown).collect();
        let first = shown.first().cloned().unwrap_or_default();
        for later in shown.iter_mut().skip(1).filter(|later| **later == first) {
            "the same".clone_into(later);
        }
        let key = (code(kind), cell(original));
        let reason = self.reasons.get(&key).cloned().unwrap_or_default();
        let is_same = row.arrived.iter().all(|arrived| arrived.is_same(original));
        let unexplained = !is_same && reason.is_empty();
        let line = format!(
            "| {} | {} | {} | {} | {reason} |",
            key.0,
            key.1,
            cell(event),
            shown.join(" | ")
        );
        let said = row.arrived.iter().filter_map(|arrived| match arrived {
            Arrived::Refused(sentence) | Arrived::NotPublished(sentence) => Some(sentence.as_str()),
            Arrived::Written { .. } => None,
        });
        let said: Vec<&str> = said.collect();
        let problem = unexplained.then(|| format!("nothing says why: {line} {}\n", said.join("; ")));
        (line, problem)
    }
}

/// Compares what was measured with the file, or writes it there. The error is what differs.
pub(crate) fn compare(path: &Path, targets: &[&str], rows: &[Row]) -> Result<(), String> {
    let document = Document::read(path);
    let (lines, problems): (Vec<String>, Vec<Option<String>>) = rows.iter().map(|row| document.line(row)).unzip();
    let head: Vec<String> = targets.iter().map(|target| format!("in {target} | ")).collect();
    let mut text = format!("{}\n| type | value | event | {}why |\n", document.before, head.concat());
    text += &format!("|{}\n", "---|".repeat(targets.len() + 4));
    for line in &lines {
        text += &format!("{line}\n");
    }
    if std::env::var(VARIABLE).is_ok_and(|value| value == "write") {
        fs::write(path, text).unwrap();
    } else if text != fs::read_to_string(path).unwrap() {
        let is_new = |line: &&String| !document.lines.contains(line);
        let is_gone = |line: &&String| !lines.contains(line);
        let gone = document.lines.iter().filter(is_gone).map(|line| format!("- {line}\n"));
        let new = lines.iter().filter(is_new).map(|line| format!("+ {line}\n"));
        let differences: String = gone.chain(new).collect();
        return Err(format!("{}: not as it was\n{differences}", path.display()));
    }
    match problems.into_iter().flatten().collect::<String>() {
        problems if problems.is_empty() => Ok(()),
        problems => Err(format!("{}\n{problems}", path.display())),
    }
}

fn code(text: &str) -> String {
    format!("`{}`", cell(text))
}

/// A text as a cell of the table: on one line, and without what ends a cell.
fn cell(text: &str) -> String {
    let shown = match text.chars().count() {
        length if length > CHARACTERS_MAXIMUM => {
            let start: String = text.chars().take(CHARACTERS_MAXIMUM).collect();
            format!("{start}… ({length} characters)")
        }
        _ => text.to_owned(),
    };
    let content = shown.trim_end_matches(' ');
    let shown = content.to_owned() + &"␣".repeat(shown.len() - content.len());
    let shown = shown
        .replace('|', "¦")
        .replace('\n', "⏎")
        .replace('\0', "␀")
        .replace('\t', "⇥");
    match shown.is_empty() {
        true => "(empty)".to_owned(),
        false => shown,
    }
}
