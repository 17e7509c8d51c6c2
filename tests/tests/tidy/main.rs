//! The tidy test: walks the tree and tells, with file, line and rule, what the compiler and the lints let through.
//!
//! Everything that git knows, or would take, is looked at. A rule is a function from a file to findings; an exception is
//! written here, with its reason, and nowhere else.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test ends at the first thing that is not as it should be"
)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

mod imports;
mod links;
mod monitoring;
mod named_places;
mod options;
mod source;

use source::Source;

/// As clippy's `too-many-lines-threshold`, but for tests too.
const FUNCTION_LINES: usize = 70;
/// Code without the tests in it; what is longer has a second subject.
const FILE_LINES: usize = 600;
/// Files that are longer, with the number that they may only go below.
const LONGER_FILES: [(&str, usize); 0] = [];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["utils", "common", "helpers", "misc", "types", "manager"];

/// The one place where tests wait, which looks at the real condition between two short sleeps, and the network that is
/// slow on purpose.
const MAY_SLEEP: [&str; 2] = ["tests/src/servers/process.rs", "tests/src/proxy/pump.rs"];
/// This test names what it looks for.
const OWN_FOLDER: &str = "tests/tests/tidy/";
/// Where metric names are written.
const METRIC_NAMES: &str = "src/core/src/telemetry";
/// Crates whose public items are a contract and have a doc line each.
const DOCUMENTED: [&str; 2] = ["src/core/src/", "src/codec/src/"];
/// Names tests.
const FAILURE_MATRIX: &str = "docs/failure-matrix.md";
/// Names places where a test has the process die.
const FAILPOINTS: &str = "src/core/src/failpoint.rs";
/// Sums of released migrations.
const MIGRATION_SUMS: &str = "tests/tests/tidy/migrations.sha256";

/// What is wrong in one file.
struct Finding {
    path: String,
    line: usize,
    rule: String,
}

fn finding(source: &Source, line: usize, rule: impl Into<String>) -> Finding {
    Finding {
        path: source.path.clone(),
        line,
        rule: rule.into(),
    }
}

/// The tree that cargo runs the test of. That may be a copy of the one that it was built in: cargo does not build it anew for a copy.
fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("..")
}

/// What git tracks or would add, as paths below the root.
fn listed_files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git must be installed: the tidy test asks it for the files of the tree");
    assert!(
        output.status.success(),
        "git ls-files failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut files: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    // A file that was deleted and is not yet committed as such is listed, and not there.
    files.retain(|path| root().join(path).is_file());
    assert!(!files.is_empty());
    files
}

fn read(path: &str) -> String {
    let bytes = fs::read(root().join(path)).unwrap();
    String::from_utf8(bytes).unwrap_or_default()
}

fn sources() -> Vec<Source> {
    let rust = listed_files().into_iter().filter(|path| path.ends_with(".rs"));
    rust.map(|path| Source::new(&path, &read(&path))).collect()
}

fn refuse(findings: &[Finding]) {
    let mut text = String::new();
    for Finding { path, line, rule } in findings {
        writeln!(text, "{path}:{line}: {rule}").unwrap();
    }
    assert!(findings.is_empty(), "{} findings\n{text}", findings.len());
}

fn refuse_in_sources(rule: impl Fn(&Source) -> Vec<Finding>) {
    refuse(&sources().iter().flat_map(rule).collect::<Vec<_>>());
}

#[test]
fn functions_are_short() {
    refuse_in_sources(|source| {
        let long = source
            .functions()
            .into_iter()
            .filter(|function| function.lines > FUNCTION_LINES);
        long.map(|function| {
            let rule = format!(
                "fn {} has {} lines; {FUNCTION_LINES} are allowed",
                function.name, function.lines
            );
            finding(source, function.line, rule)
        })
        .collect()
    });
}

#[test]
fn files_are_short() {
    refuse_in_sources(|source| {
        let listed = LONGER_FILES.iter().find(|(path, _)| *path == source.path);
        let allowed = listed.map_or(FILE_LINES, |(_, lines)| *lines);
        let lines = source.lines_without_tests();
        let too_long = !source.is_test_file() && lines > allowed;
        let mut findings = Vec::new();
        if too_long {
            findings.push(finding(
                source,
                1,
                format!("{lines} lines without tests; {allowed} are allowed"),
            ));
        }
        if listed.is_some() && lines < allowed {
            findings.push(finding(
                source,
                1,
                format!("now {lines} lines: lower its number in LONGER_FILES"),
            ));
        }
        findings
    });
}

#[test]
fn modules_are_named_after_their_subject() {
    refuse_in_sources(|source| {
        let path = Path::new(&source.path);
        let parts = path.components().filter_map(|part| part.as_os_str().to_str());
        let mut parts = parts.map(|part| part.trim_end_matches(".rs"));
        let empty = parts.find(|part| EMPTY_NAMES.contains(part));
        empty
            .map(|name| finding(source, 1, format!("`{name}` says nothing about what is inside")))
            .into_iter()
            .collect()
    });
}

#[test]
fn errors_are_not_thrown_away() {
    refuse_in_sources(|source| {
        let swallowed = source
            .places_of_code("while let Some(Ok(")
            .chain(source.places_of_code("filter_map(Result::ok)"));
        swallowed
            .map(|line| finding(source, line, "an error ends or thins this loop and nobody is told"))
            .collect()
    });
}

#[test]
fn tests_wait_for_conditions_and_not_for_time() {
    refuse_in_sources(|source| {
        if MAY_SLEEP.contains(&source.path.as_str()) {
            return Vec::new();
        }
        let sleeping = source
            .places_of_code("sleep(")
            .filter(|line| source.is_test_line(*line));
        let called = sleeping.filter(|line| !source.text_of(*line).contains("fn "));
        called
            .map(|line| {
                finding(
                    source,
                    line,
                    "a test sleeps: poll the condition with poll_until, or pause the clock",
                )
            })
            .collect()
    });
}

#[test]
fn every_test_is_run() {
    refuse_in_sources(|source| {
        let ignored = source.places_of_code("#[ignore");
        ignored
            .map(|line| finding(source, line, "an ignored test proves nothing: mend it or remove it"))
            .collect()
    });
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["FIXME", "TODO", "XXX", "todo!(", "unimplemented!("];
    refuse(&in_every_text(
        &marks,
        "is left over: do it, or write it down where work is planned",
    ));
}

#[test]
fn both_sides_of_a_merge_are_put_together() {
    refuse(&in_every_text(&["<<<<<<< ", ">>>>>>> "], "marks one side of a merge"));
}

#[test]
fn no_machine_of_ours_is_named() {
    let here = root().canonicalize().unwrap().display().to_string();
    let home = std::env::var("HOME").unwrap_or_default();
    let own = [here, format!("{home}/")].into_iter().filter(|place| place.len() > 1);
    let places: Vec<String> = own.chain(["/home/".to_owned(), "/Users/".to_owned()]).collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    refuse(&in_every_text(&places, "is a place on somebody's machine"));
}

/// Looks through all texts of the tree, documents included.
fn in_every_text(words: &[&str], rule: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in listed_files() {
        if path.starts_with(OWN_FOLDER) || path == "Cargo.lock" {
            continue;
        }
        for (index, line) in read(&path).lines().enumerate() {
            let found = words.iter().filter(|word| line.contains(**word));
            findings.extend(found.map(|word| Finding {
                path: path.clone(),
                line: index + 1,
                rule: format!("{word} {rule}"),
            }));
        }
    }
    findings
}

#[test]
fn public_items_of_contracts_are_documented() {
    refuse_in_sources(|source| {
        if !DOCUMENTED.iter().any(|folder| source.path.starts_with(folder)) {
            return Vec::new();
        }
        let bare = source.undocumented_items();
        bare.into_iter()
            .map(|line| finding(source, line, "a public item of core or codec has no doc line"))
            .collect()
    });
}

#[test]
fn metric_names_are_written_in_one_place() {
    refuse_in_sources(|source| {
        if source.path.starts_with(METRIC_NAMES) {
            return Vec::new();
        }
        let written = |line: &str| {
            let literals = line.split('"').skip(1).step_by(2);
            let mut names = literals.filter_map(|literal| literal.strip_prefix("tailrace_"));
            names.any(|name| {
                ["_total", "_bytes", "_seconds", "_ratio"]
                    .iter()
                    .any(|unit| name.contains(unit))
            })
        };
        let lines = (1..=source.lines()).filter(|line| !source.is_test_line(*line));
        let lines =
            lines.filter(|line| written(source.text_of(*line)) || source.code_of(*line).contains("prometheus_client"));
        lines
            .map(|line| {
                finding(
                    source,
                    line,
                    format!("metric names are written in {METRIC_NAMES} alone"),
                )
            })
            .collect()
    });
}

#[test]
fn crates_import_in_one_direction() {
    let manifests: Vec<(String, String)> = listed_files()
        .into_iter()
        .filter(|path| path.ends_with("/Cargo.toml") && !path.starts_with("fuzz/"))
        .map(|path| (path.clone(), read(&path)))
        .collect();
    assert!(
        manifests.len() >= 9,
        "the crates of the workspace are looked at: {}",
        manifests.len()
    );
    let findings = manifests
        .iter()
        .flat_map(|(path, text)| imports::violations(path, text));
    let findings = findings.map(|(path, line, rule)| Finding { path, line, rule });
    refuse(&findings.collect::<Vec<_>>());
}

#[test]
fn released_migrations_are_as_they_were() {
    let known = read(MIGRATION_SUMS);
    let mut findings = Vec::new();
    let migrations: Vec<String> = listed_files()
        .into_iter()
        .filter(|path| path.ends_with(".sql") && path.starts_with("migrations/"))
        .collect();
    for path in &migrations {
        let mut sum = String::new();
        for byte in Sha256::digest(read(path).as_bytes()) {
            write!(sum, "{byte:02x}").unwrap();
        }
        let line = format!("{sum}  {path}");
        let rule = match known.lines().find(|known| known.ends_with(path.as_str())) {
            Some(known) if known == line => continue,
            Some(_) => format!(
                "an edited migration: databases out there have the old one; add a new file (or, before its release, put `{line}` into {MIGRATION_SUMS})"
            ),
            None => format!("a new migration: add the line `{line}` to {MIGRATION_SUMS}"),
        };
        findings.push(Finding {
            path: path.clone(),
            line: 1,
            rule,
        });
    }
    for known in known
        .lines()
        .filter(|known| !migrations.iter().any(|path| known.ends_with(path.as_str())))
    {
        findings.push(Finding {
            path: MIGRATION_SUMS.to_owned(),
            line: 1,
            rule: format!("the migration of `{known}` is gone"),
        });
    }
    refuse(&findings);
}

#[test]
fn tests_that_the_failure_matrix_names_are_there() {
    let text = read(FAILURE_MATRIX);
    let failpoints = read(FAILPOINTS);
    let tests: BTreeSet<String> = sources().iter().flat_map(Source::tests).collect();
    let is_name = |word: &&str| {
        let letters = word
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
        letters && word.matches('_').count() >= 3
    };
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        for word in line.split('`').skip(1).step_by(2).filter(is_name) {
            named.insert(word);
            if !tests.contains(word) && !failpoints.contains(&format!("\"{word}\"")) {
                findings.push(Finding {
                    path: FAILURE_MATRIX.to_owned(),
                    line: index + 1,
                    rule: format!("`{word}` is neither a test nor a failpoint"),
                });
            }
        }
    }
    for test in tests
        .iter()
        .filter(|test| test.starts_with("fm_") && !named.contains(test.as_str()))
    {
        findings.push(Finding {
            path: FAILURE_MATRIX.to_owned(),
            line: 1,
            rule: format!("`{test}` shows a row, and is not named"),
        });
    }
    assert!(named.len() > 50, "{}", named.len());
    refuse(&findings);
}
