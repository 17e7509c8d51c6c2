//! The pages of sources, streams, registries and sinks have the tables of their options, which are those of the reference. The reference
//! is generated from the types, and a test of the daemon compares it.
//!
//! `TAILRACE_TRANSCRIPTS=write tests/run options_of` writes them anew.

use std::collections::BTreeMap;
use std::fs;

use super::{listed_files, read, root};

const VARIABLE: &str = "TAILRACE_TRANSCRIPTS";
const REFERENCE: &str = "docs/reference/config.md";
/// Before a table, with the words of the reference's heading: `<!-- options: source postgres -->`.
const BEGIN: &str = "<!-- options: ";
const BEGIN_ENDS: &str = " -->\n";
const END: &str = "<!-- end of options -->";
/// Keys that begin so, and mean the same in every type of a side, have a table of their own, `<!-- options: every sink -->`, and are left out
/// of the others.
const SHARED: [(&str, &str); 2] = [("source", "query."), ("sink", "")];
/// Types whose options are those of another are said to be: `<!-- options: source mariadb as mysql -->`.
const AS: &str = " as ";
/// What a page of a type says, under headings that begin the same everywhere.
const HEADINGS: [&str; 6] = [
    "What it is for",
    "What it needs",
    "What it can and cannot",
    "When something fails",
    "Performance",
    "Options",
];
/// Behind these words of a marker stands a type with a page of its own.
const SIDES: [&str; 3] = ["source ", "stream ", "sink "];

/// Has the page of a source that is not there in a block.
const SHOWS_A_PAGE: &str = "docs/adding_a_connector.md";

/// The rows of a table, each with its key.
type Rows = Vec<(String, String)>;

const HEAD: &str = "| key | type | default | meaning |\n|---|---|---|---|\n";

/// The tables of the reference that belong to one type each, by `source postgres` and the like, and what several share.
fn tables() -> BTreeMap<String, String> {
    let reference = read(REFERENCE);
    let sections = reference.split("\n## ").filter_map(|section| {
        let (title, body) = section.split_once('\n')?;
        let (side, name) = title.split_once(" of type ")?;
        let rows = body.lines().filter(|line| line.starts_with("| `"));
        let rows = rows.map(|row| (row.split('`').nth(1).unwrap_or_default().to_owned(), format!("{row}\n")));
        Some((
            format!("{} {}", side.to_lowercase(), name.trim_matches('`')),
            rows.collect::<Rows>(),
        ))
    });
    let mut sections: BTreeMap<_, _> = sections.collect();
    assert!(
        sections.len() >= 11,
        "{REFERENCE} has a table for each type: {}",
        sections.len()
    );
    for (side, prefix) in SHARED {
        let shared = take_shared(&mut sections, side, prefix);
        sections.insert(format!("every {side}"), shared);
    }
    let table = |rows: Rows| HEAD.to_owned() + &rows.into_iter().map(|(_, row)| row).collect::<String>();
    sections.into_iter().map(|(name, rows)| (name, table(rows))).collect()
}

/// Takes out of every table of a side the rows that all of them have, as far as they have such.
fn take_shared(sections: &mut BTreeMap<String, Rows>, side: &str, prefix: &str) -> Rows {
    let has_some = |rows: &Rows| rows.iter().any(|(key, _)| key.starts_with(prefix));
    let mut of_side: Vec<&mut Rows> = sections
        .iter_mut()
        .filter_map(|(name, rows)| name.starts_with(&format!("{side} ")).then_some(rows))
        .filter(|rows| has_some(rows))
        .collect();
    let shared: Rows = of_side[0]
        .iter()
        .filter(|(key, _)| key.starts_with(prefix))
        .filter(|row| of_side.iter().all(|rows| rows.contains(row)))
        .cloned()
        .collect();
    assert!(shared.len() > 5, "{side}: {shared:?}");
    for rows in &mut of_side {
        rows.retain(|row| !shared.contains(row));
    }
    shared
}

fn pages() -> impl Iterator<Item = String> {
    let is_page = |path: &String| path.starts_with("docs/") && path.ends_with(".md") && path != SHOWS_A_PAGE;
    listed_files().into_iter().filter(is_page)
}

/// A page with its tables as they are to be, and whose they are.
fn current(path: &str, page: &str, tables: &BTreeMap<String, String>) -> (String, Vec<String>) {
    let mut parts = page.split(BEGIN);
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for part in parts {
        assert!(part.contains(BEGIN_ENDS), "{path}: a line with `{BEGIN}` ends with -->");
        let (marker, rest) = part.split_once(BEGIN_ENDS).unwrap();
        assert!(rest.contains(END), "{path}: the options of {marker} have no `{END}`");
        let (_, after) = rest.split_once(END).unwrap();
        let table = |name: &str| {
            assert!(tables.contains_key(name), "{path}: {REFERENCE} knows no `{name}`");
            &tables[name]
        };
        let (name, table) = match marker.split_once(AS) {
            None => (marker, format!("\n{}\n", table(marker))),
            Some((name, other)) => {
                let (side, _) = name.split_once(' ').unwrap_or_default();
                assert_eq!(table(name), table(&format!("{side} {other}")), "{path}: {marker}");
                (name, String::new())
            }
        };
        text += &format!("{BEGIN}{marker}{BEGIN_ENDS}{table}{END}{after}");
        found.push(name.to_owned());
    }
    (text, found)
}

#[test]
fn the_options_of_each_type_stand_on_its_page_as_in_the_reference() {
    let tables = tables();
    let mut pages_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in pages() {
        let kept = read(&path);
        let (page, found) = current(&path, &kept, &tables);
        for name in found {
            pages_of.entry(name).or_default().push(path.clone());
        }
        if std::env::var(VARIABLE).is_ok_and(|mode| mode == "write") {
            if kept != page {
                fs::write(root().join(&path), page).unwrap();
            }
            continue;
        }
        assert!(
            kept == page,
            "{path} does not have the options of {REFERENCE}: {VARIABLE}=write tests/run options_of"
        );
    }
    for name in tables.keys() {
        let pages = pages_of.get(name).map(Vec::as_slice).unwrap_or_default();
        assert_eq!(pages.len(), 1, "the options of `{name}` are on one page: {pages:?}");
    }
}

#[test]
fn pages_of_sources_streams_and_sinks_answer_the_same_questions() {
    for path in pages() {
        let page = read(&path);
        let has_type = SIDES.iter().any(|side| page.contains(&format!("{BEGIN}{side}")));
        for heading in HEADINGS.iter().filter(|_| has_type) {
            assert!(
                page.contains(&format!("\n## {heading}")),
                "{path} has no heading `## {heading}`"
            );
        }
    }
}

#[test]
fn a_table_is_replaced_and_the_rest_of_a_page_is_not() {
    let table = |name: &str| (name.to_owned(), "| `a` |\n".to_owned());
    let tables = BTreeMap::from([table("source x"), table("source y")]);
    let page = format!("before\n{BEGIN}source x{BEGIN_ENDS}old\n{END}\nafter\n{BEGIN}source y as x{BEGIN_ENDS}{END}\n");
    let (page, found) = current("docs/x.md", &page, &tables);
    assert_eq!(
        page,
        "before\n<!-- options: source x -->\n\n| `a` |\n\n<!-- end of options -->\nafter\n\
         <!-- options: source y as x -->\n<!-- end of options -->\n"
    );
    assert_eq!(found, ["source x", "source y"]);
    assert_eq!(current("docs/x.md", &page, &tables).0, page);
}
