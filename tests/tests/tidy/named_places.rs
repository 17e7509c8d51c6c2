//! Pages that lead through the code name files and what is defined in them. What is renamed or moved is renamed there too, or found here.
//!
//! A place is a path between backticks, from the root of the tree. In a cell of a table, the names between backticks behind a path are
//! defined in that file, or in a file of that folder: `Type`, `function`, `Type::function`, `Enum::Variant`.

use super::source::Source;
use super::{Finding, listed_files, read, refuse};

/// The pages, and how many names each has at least: a page that is written in another way would pass for ever.
const PAGES: [(&str, usize); 2] = [("docs/architecture.md", 120), ("README.md", 10)];

/// What definitions begin with.
const KEYWORDS: [&str; 9] = [
    "fn ", "struct ", "enum ", "trait ", "const ", "static ", "type ", "mod ", "union ",
];

fn is_path(span: &str) -> bool {
    let folders = [
        "src/",
        "connectors/",
        "tests/",
        "config/",
        "docs/",
        "deploy/",
        "migrations/",
        "benches/",
        "fuzz/",
    ];
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/_-.".contains(letter);
    folders.iter().any(|folder| span.starts_with(folder)) && span.chars().all(is_plain)
}

fn is_name(span: &str) -> bool {
    let is_part = |part: &str| {
        let letters = part
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        letters && !part.is_empty() && !part.starts_with(|letter: char| letter.is_ascii_digit())
    };
    span.split("::").all(is_part)
}

/// What stands between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn defines(source: &Source, name: &str) -> bool {
    (1..=source.lines()).any(|line| {
        let code = source.code_of(line).trim();
        let is_whole = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
        let found = |(at, keyword): (usize, &str)| {
            let rest = &code[at + keyword.len()..];
            rest.strip_prefix(name).is_some_and(is_whole) && (at == 0 || code[..at].ends_with(' '))
        };
        let is_item = KEYWORDS.iter().any(|keyword| code.match_indices(keyword).any(found));
        let is_upper = name.starts_with(|letter: char| letter.is_ascii_uppercase());
        let variant_ends = ["", ",", "(", " {", " ="];
        let is_variant = || {
            let rest = code.strip_prefix(name);
            rest.is_some_and(|rest| {
                variant_ends
                    .iter()
                    .any(|end| rest == *end || (!end.is_empty() && rest.starts_with(end)))
            })
        };
        is_item || (is_upper && is_variant())
    })
}

/// Each part of a name is defined in one of the files, or implemented there.
fn is_defined(files: &[Source], name: &str) -> bool {
    name.split("::").all(|part| {
        files.iter().any(|source| {
            let is_implemented = |line: usize| {
                let code = source.code_of(line);
                code.starts_with("impl")
                    && code
                        .split(|next: char| !next.is_alphanumeric() && next != '_')
                        .any(|word| word == part)
            };
            defines(source, part) || (1..=source.lines()).any(is_implemented)
        })
    })
}

fn files_at(path: &str, listed: &[String]) -> Vec<Source> {
    let folder = format!("{}/", path.trim_end_matches('/'));
    let files = listed.iter().filter(|file| *file == path || file.starts_with(&folder));
    files.map(|file| Source::new(file, &read(file))).collect()
}

/// Places of a page that are not there, and how many names were looked for.
fn look_at(page: &str, listed: &[String]) -> (Vec<(usize, String)>, usize) {
    let (mut wrong, mut names) = (Vec::new(), 0);
    for (index, line) in page.lines().enumerate() {
        let missing = spans(line).filter(|span| is_path(span) && files_at(span, listed).is_empty());
        wrong.extend(missing.map(|path| (index + 1, format!("there is no `{path}`"))));
        for cell in line.split('|').filter(|_| line.starts_with('|')) {
            let mut place = None;
            for span in spans(cell) {
                if is_path(span) {
                    place = Some((span, files_at(span, listed)));
                } else if let Some((path, files)) = place.as_ref().filter(|_| is_name(span)) {
                    names += 1;
                    if !is_defined(files, span) {
                        wrong.push((index + 1, format!("`{span}` is not defined in `{path}`")));
                    }
                }
            }
        }
    }
    (wrong, names)
}

#[test]
fn what_the_pages_name_in_the_code_is_there() {
    let listed = listed_files();
    let mut findings = Vec::new();
    for (path, least) in PAGES {
        let (wrong, names) = look_at(&read(path), &listed);
        assert!(
            names >= least,
            "{path} names {names} things in the code, and should {least}"
        );
        findings.extend(wrong.into_iter().map(|(line, rule)| Finding {
            path: path.to_owned(),
            line,
            rule,
        }));
    }
    refuse(&findings);
}

#[test]
fn a_place_that_is_not_there_is_found() {
    let listed = vec!["tests/tests/tidy/named_places.rs".to_owned()];
    let path = "tests/tests/tidy/named_places.rs";
    let page = format!(
        "see `src/nosuch.rs`\n| `{path}`, `look_at`, `Nosuch` | `nosuch` |\n| `{path}`, `PAGES::nosuch`, `KEYWORD` |\n"
    );
    let (wrong, names) = look_at(&page, &listed);
    let lines: Vec<usize> = wrong.iter().map(|(line, _)| *line).collect();
    assert_eq!((lines, names), (vec![1, 2, 3, 3], 4), "{wrong:?}");
}
