//! Who may import whom: `core` ← `http` ← `codec`; `core` ← `state`, every connector; all of them ← `daemon`; `sql` ← the database crates.

/// A crate's folder, and the crates of ours that its manifest may name. The daemon, the tests and the benchmark put everything together.
const ALLOWED: [(&str, &[&str]); 7] = [
    ("src/core", &[]),
    ("src/http", &["core"]),
    ("src/codec", &["core", "http"]),
    ("src/state", &["core"]),
    ("connectors/sql", &["core"]),
    ("connectors/kafka", &["core"]),
    ("connectors/file", &["core"]),
];

/// What every other connector may name: those that are no database have no use for `sql`, and need not be told so.
const ALLOWED_TO_CONNECTORS: &[&str] = &["core", "sql"];

/// Crates that may import all others.
const FREE: [&str; 3] = ["src/daemon", "tests", "benches"];

/// Path, line and rule of every import against the direction.
pub(crate) fn violations(path: &str, manifest: &str) -> Vec<(String, usize, String)> {
    let folder = path.trim_end_matches("/Cargo.toml");
    if FREE.contains(&folder) {
        return Vec::new();
    }
    let listed = ALLOWED.iter().find(|(known, _)| *known == folder);
    let connector = folder.strip_prefix("connectors/").map(|_| ALLOWED_TO_CONNECTORS);
    let Some(allowed) = listed.map(|(_, allowed)| *allowed).or(connector) else {
        return vec![(
            path.to_owned(),
            1,
            "a crate that the tidy test does not know: say what it may import".to_owned(),
        )];
    };
    let mut violations = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        let Some(rest) = line.trim().strip_prefix("tailrace-") else {
            continue;
        };
        let imported: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        // A crate may name itself, for its own features in tests.
        if !allowed.contains(&imported.as_str()) && !folder.ends_with(&format!("/{imported}")) {
            violations.push((
                path.to_owned(),
                index + 1,
                format!("{folder} must not import {imported}"),
            ));
        }
    }
    violations
}

#[test]
fn an_import_against_the_direction_is_found() {
    let manifest = "[dependencies]\ntailrace-core.workspace = true\ntailrace-codec.workspace = true\n";
    let found = violations("connectors/kafka/Cargo.toml", manifest);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1, 3);
    assert_eq!(violations("connectors/new/Cargo.toml", manifest).len(), 1);
    assert_eq!(violations("src/new/Cargo.toml", "").len(), 1);
}
