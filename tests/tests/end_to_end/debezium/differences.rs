//! The list of intended differences, and what was found beside it.
//!
//! The list is in `docs/debezium.md`: tables under headings, each with a first column that is called `where`. The first three columns are patterns
//! in code, `*` standing for anything: the place, what Debezium publishes there, what Tailrace does. A place is
//! `PAIR TABLE OPERATION PATH`, for example `defaults plain c value.source.version`; `{a,b}` in it stands for two lines.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Found differences that look the same are shown so many times.
const SHOWN: usize = 3;

/// One line of the list.
struct Listed {
    place: String,
    debezium: String,
    tailrace: String,
    found: u32,
}

/// The list, and what it does not have.
pub(super) struct Differences {
    listed: Vec<Listed>,
    unlisted: BTreeMap<String, Vec<String>>,
    /// Records of one side that were held against one of the other.
    compared: usize,
}

// === impl Differences ===

impl Differences {
    /// Reads the parts of the list that have these headings.
    pub(super) fn listed_in(document: &str, headings: &[&str]) -> Differences {
        let mut listed: Vec<Listed> = Vec::new();
        for heading in headings {
            let heading = format!("### {heading}");
            let part = document.lines().skip_while(|line| *line != heading);
            let rows = part.skip_while(|line| !line.starts_with("| where |")).skip(2);
            let before = listed.len();
            listed.extend(rows.take_while(|line| line.starts_with('|')).flat_map(Listed::parse));
            assert!(listed.len() > before, "docs/debezium.md has no table under {heading}");
        }
        Differences {
            listed,
            unlisted: BTreeMap::new(),
            compared: 0,
        }
    }

    /// Notes that the two sides differ in a place.
    pub(super) fn found(&mut self, place: &str, debezium: &str, tailrace: &str) {
        let mut is_listed = false;
        for listed in &mut self.listed {
            if listed.matches(place, debezium, tailrace) {
                listed.found += 1;
                is_listed = true;
            }
        }
        if !is_listed {
            let (pair, rest) = place.split_once(' ').unwrap_or_default();
            let line = format!("{pair}: {} <> {}", shortened(debezium), shortened(tailrace));
            self.unlisted.entry(rest.to_owned()).or_default().push(line);
        }
    }

    /// So many more records were held against one another.
    pub(super) fn compared(&mut self, records: usize) {
        self.compared += records;
    }

    /// Nothing but what is listed, and all of that.
    pub(super) fn assert_as_listed(&self) {
        assert!(self.compared > 0, "no records were compared");
        let mut report = String::new();
        for (place, lines) in &self.unlisted {
            writeln!(report, "{place}").unwrap();
            for line in lines.iter().take(SHOWN) {
                writeln!(report, "    {line}").unwrap();
            }
        }
        for listed in self.listed.iter().filter(|listed| listed.found == 0) {
            let Listed {
                place,
                debezium,
                tailrace,
                ..
            } = listed;
            writeln!(report, "listed and not found: {place} | {debezium} | {tailrace}").unwrap();
        }
        assert!(
            report.is_empty(),
            "{} pairs of records were compared; place\n    pair: Debezium <> Tailrace; docs/debezium.md has the list\n{report}",
            self.compared
        );
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

// === impl Listed ===

impl Listed {
    fn parse(row: &str) -> Vec<Listed> {
        // A pipe inside of a cell is escaped, as Markdown wants it.
        let row = row.replace("\\|", "\u{1}");
        let cells: Vec<String> = row
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').replace('\u{1}', "|"))
            .collect();
        let [place, debezium, tailrace, why] = &cells[..] else {
            unreachable!("four columns: {row}");
        };
        assert!(!why.is_empty(), "a difference has a reason: {row}");
        let listed = |place| Listed {
            place,
            debezium: debezium.clone(),
            tailrace: tailrace.clone(),
            found: 0,
        };
        alternatives(place).into_iter().map(listed).collect()
    }

    fn matches(&self, place: &str, debezium: &str, tailrace: &str) -> bool {
        is_like(place, &self.place) && is_like(debezium, &self.debezium) && is_like(tailrace, &self.tailrace)
    }
}

/// `a{b,c}d` as `abd` and `acd`.
fn alternatives(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return vec![pattern.to_owned()];
    };
    let (inside, after) = rest.split_once('}').unwrap_or((rest, ""));
    let each = inside
        .split(',')
        .flat_map(|part| alternatives(&format!("{before}{part}{after}")));
    each.collect()
}

/// Whether a text is like a pattern in which `*` stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn patterns_match_whole_texts() {
    assert_eq!(alternatives("a{b,c}d{e,f}"), ["abde", "abdf", "acde", "acdf"]);
    assert!(is_like("abc", "abc") && !is_like("abcd", "abc"));
    assert!(is_like("abcd", "a*d") && is_like("ad", "a*d") && !is_like("abc", "a*d"));
    assert!(is_like("a.b.c.d", "*b*d") && !is_like("a.c.d", "*b*d") && is_like("", "*"));
}
