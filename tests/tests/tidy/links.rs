//! Links of the pages: what they lead to is there, in the tree and in the book that is made of docs/.
//!
//! Pages below docs/ are read in two ways, on a code host and as a book, and the book has nothing but docs/. So they name each other
//! by relative paths, and everything else of the tree by its address in the repository, which is looked up in the tree.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, listed_files, read, refuse, root};

const BOOK: &str = "docs/";
const SUMMARY: &str = "docs/SUMMARY.md";
/// Where a file and a folder of the tree are on the web.
const ADDRESSES: [&str; 2] = [
    "https://github.com/tailrace/tailrace/blob/main/",
    "https://github.com/tailrace/tailrace/tree/main/",
];

/// A page of Markdown, as far as links are concerned.
struct Page {
    path: String,
    /// Each with its line.
    links: Vec<(usize, String)>,
    anchors: BTreeSet<String>,
}

// === impl Page ===

impl Page {
    fn read(path: &str) -> Page {
        Page::of(path, &read(path))
    }

    fn of(path: &str, text: &str) -> Page {
        let mut page = Page {
            path: path.to_owned(),
            links: Vec::new(),
            anchors: BTreeSet::new(),
        };
        let mut fence: Option<&str> = None;
        for (index, line) in text.lines().enumerate() {
            let mark = ["```", "~~~"]
                .into_iter()
                .find(|mark| line.trim_start().starts_with(mark));
            match (fence, mark) {
                (None, Some(mark)) => fence = Some(mark),
                (Some(open), Some(mark)) if open == mark => fence = None,
                (None, None) => page.take(index + 1, line),
                _ => {}
            }
        }
        page
    }

    fn take(&mut self, line: usize, text: &str) {
        let title = text.trim_start_matches('#');
        if title.len() < text.len() && title.starts_with(' ') {
            let anchor = anchor_of(title);
            let mut number = 0;
            let mut unique = anchor.clone();
            while !self.anchors.insert(unique) {
                number += 1;
                unique = format!("{anchor}-{number}");
            }
        }
        let text = without_code(text);
        for (before, after) in [("](", ')'), ("href=\"", '"'), ("src=\"", '"')] {
            for part in text.split(before).skip(1) {
                let target = part.split(after).next().unwrap_or_default();
                self.links
                    .push((line, target.trim_matches(['<', '>']).trim().to_owned()));
            }
        }
        let ids = text.split("id=\"").skip(1).filter_map(|part| part.split('"').next());
        self.anchors.extend(ids.map(str::to_owned));
    }
}

/// What a heading is found by, as GitHub and mdBook make it.
fn anchor_of(title: &str) -> String {
    let letters = title.trim().chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ if letter.is_alphanumeric() => Some(letter),
        _ => None,
    });
    letters.flat_map(char::to_lowercase).collect()
}

/// A line without what stands between backticks.
fn without_code(line: &str) -> String {
    let mut rest = line;
    let mut text = String::new();
    while let Some(start) = rest.find('`') {
        let (before, code) = rest.split_at(start);
        let inner = code.trim_start_matches('`');
        let mark = "`".repeat(code.len() - inner.len());
        text += before;
        match inner.split_once(mark.as_str()) {
            Some((_, after)) => rest = after,
            None => rest = inner,
        }
    }
    text + rest
}

/// A path relative to the folder of a page, as a path below the root; nothing where it leaves the tree.
fn resolved(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part);
        }
    }
    Some(parts.join("/"))
}

/// Everything that links are looked up in.
struct Tree {
    files: BTreeSet<String>,
    pages: BTreeMap<String, Page>,
}

// === impl Tree ===

impl Tree {
    fn read() -> Tree {
        let files: BTreeSet<String> = listed_files().into_iter().collect();
        let pages = files.iter().filter(|path| path.ends_with(".md"));
        let pages = pages.map(|path| (path.clone(), Page::read(path)));
        Tree {
            pages: pages.collect(),
            files,
        }
    }

    fn has_folder(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        path.is_empty() || self.files.iter().any(|file| file.starts_with(&folder))
    }

    /// What is wrong with a link of a page.
    fn fault(&self, page: &str, link: &str) -> Option<String> {
        let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
        if let Some(path) = ADDRESSES.iter().find_map(|address| target.strip_prefix(address)) {
            let in_book = page.starts_with(BOOK) && path.starts_with(BOOK) && path.ends_with(".md");
            return match in_book {
                true => Some(format!("`{link}` is a page of the book: link it by its relative path")),
                false => self.missing(path.trim_end_matches('/'), anchor, link),
            };
        }
        if target.contains("://") || target.starts_with("mailto:") {
            return None;
        }
        if target.is_empty() {
            return self.missing(page, anchor, link);
        }
        let Some(path) = resolved(page, target).filter(|_| !target.starts_with('/')) else {
            return Some(format!("`{link}` leads out of the tree"));
        };
        if page.starts_with(BOOK) && (!path.starts_with(BOOK) || self.has_folder(&path)) {
            let [file, _] = ADDRESSES;
            return Some(format!("`{link}` is not in the book: write {file}{path}"));
        }
        self.missing(&path, anchor, link)
    }

    fn missing(&self, path: &str, anchor: &str, link: &str) -> Option<String> {
        if !self.files.contains(path) && !self.has_folder(path) {
            return Some(format!("`{link}`: there is no {path}"));
        }
        let page = self.pages.get(path).filter(|_| !anchor.is_empty())?;
        let known = page.anchors.contains(anchor);
        (!known).then(|| format!("`{link}`: {path} has no heading with the anchor {anchor}"))
    }
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let tree = Tree::read();
    let mut findings = Vec::new();
    let mut links = 0;
    for page in tree.pages.values() {
        links += page.links.len();
        let faults = page
            .links
            .iter()
            .filter_map(|(line, link)| Some((*line, tree.fault(&page.path, link)?)));
        findings.extend(faults.map(|(line, rule)| Finding {
            path: page.path.clone(),
            line,
            rule,
        }));
    }
    assert!(links > 300, "{links} links were found");
    refuse(&findings);
}

/// Code, alerts and examples send their readers to pages too.
#[test]
fn every_page_that_is_named_elsewhere_is_there() {
    let tree = Tree::read();
    let mut findings = Vec::new();
    let others = tree.files.iter().filter(|path| !path.ends_with(".md"));
    for path in others.filter(|path| !path.starts_with("tests/tests/tidy/")) {
        for (index, line) in read(path).lines().enumerate() {
            for (start, _) in line.match_indices(BOOK) {
                let (_, named) = line.split_at(start);
                let is_part = |letter: char| letter.is_ascii_alphanumeric() || "/_-.#".contains(letter);
                let named = named.split(|letter| !is_part(letter)).next().unwrap_or_default();
                let (page, anchor) = named.split_once('#').unwrap_or((named, ""));
                let rule = page
                    .ends_with(".md")
                    .then(|| tree.missing(page, anchor.trim_end_matches('.'), named))
                    .flatten();
                findings.extend(rule.map(|rule| Finding {
                    path: path.clone(),
                    line: index + 1,
                    rule,
                }));
            }
        }
    }
    refuse(&findings);
}

#[test]
fn every_page_is_a_chapter_of_the_book() {
    let summary = Page::read(SUMMARY);
    let mut chapters = BTreeSet::from([SUMMARY.to_owned()]);
    let mut findings = Vec::new();
    let mut find = |line: usize, rule: String| {
        findings.push(Finding {
            path: SUMMARY.to_owned(),
            line,
            rule,
        });
    };
    for (line, link) in &summary.links {
        let path = resolved(SUMMARY, link).unwrap_or_default();
        if !root().join(&path).is_file() {
            find(*line, format!("there is no {path}"));
        }
        if !chapters.insert(path) {
            find(*line, format!("{link} is a chapter twice"));
        }
    }
    let pages = listed_files().into_iter().filter(|path| path.starts_with(BOOK));
    for page in pages.filter(|path| path.ends_with(".md") && !chapters.contains(path)) {
        find(1, format!("{page} is no chapter: name it where readers look for it"));
    }
    refuse(&findings);
}

#[test]
fn headings_are_found_by_what_a_code_host_and_the_book_call_them() {
    let text = "# What `check` finds\n## Options\n```sh\n# no heading, [no](link.md)\n```\n## Options\n### `a/b`: two, three\n\
        [one](x.md#y), `[none](z.md)`, ``a ` [none](z.md)``, ![seen](s.png)\n<a id=\"here\"></a>\n";
    let page = Page::of("docs/a.md", text);
    let anchors: Vec<_> = page.anchors.iter().map(String::as_str).collect();
    assert_eq!(
        anchors,
        ["ab-two-three", "here", "options", "options-1", "what-check-finds"]
    );
    assert_eq!(page.links, [(8, "x.md#y".to_owned()), (8, "s.png".to_owned())]);
}

#[test]
fn links_that_break_in_the_book_are_refused() {
    let tree = Tree::read();
    let fault = |page: &str, link: &str| tree.fault(page, link).unwrap_or_default();
    for link in [
        "events.md",
        "events.md#topic",
        "reference/config.md",
        "#nothing-to-see",
        "https://example.com/x#y",
        "https://github.com/tailrace/tailrace/blob/main/config/two-way.yaml",
        "https://github.com/tailrace/tailrace/tree/main/tests/vectors/",
    ] {
        let expected = link == "#nothing-to-see";
        assert_eq!(!fault("docs/README.md", link).is_empty(), expected, "{link}");
    }
    for (link, part) in [
        ("../README.md", "is not in the book"),
        ("../config/two-way.yaml", "is not in the book"),
        ("reference/", "is not in the book"),
        ("/docs/events.md", "leads out of the tree"),
        ("../../x.md", "leads out of the tree"),
        ("nowhere.md", "there is no docs/nowhere.md"),
        ("events.md#nowhere", "has no heading"),
        (
            "https://github.com/tailrace/tailrace/blob/main/config/none.yaml",
            "there is no config/none.yaml",
        ),
        (
            "https://github.com/tailrace/tailrace/blob/main/docs/events.md",
            "is a page of the book",
        ),
    ] {
        let said = fault("docs/README.md", link);
        assert!(said.contains(part), "{link}: {said}");
    }
    assert_eq!(fault("README.md", "docs/events.md#topic"), "");
}
