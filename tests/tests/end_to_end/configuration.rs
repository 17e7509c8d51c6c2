//! Files that are wrong are refused with their place and the nearest right name; the examples are right.

use std::fs;
use std::path::Path;

use tailrace_tests::daemon::{Daemon, Printed, run_binary};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Lines 1 to 3 are the harness's: version, admin, state.
const RIGHT: &str = "streams:
  events: { type: file, path: data/events }
connectors:
  shop:
    stream: events
    source: { type: postgres, url: \"postgres://app@localhost/shop\", tables: [public.orders] }";

fn validate(sections: &str) -> Printed {
    Daemon::new(sections).unwrap().command("validate", &[]).unwrap()
}

#[test]
fn a_right_file_is_right() {
    let printed = validate(RIGHT);
    assert_eq!(printed.code, Some(0), "{}", printed.all());
}

#[test]
fn mistakes_are_told_with_file_line_column_and_the_nearest_name() {
    let cases = [
        (
            RIGHT.replace("stream: events", "straem: events"),
            "tailrace.yaml:8:5",
            "stream",
        ),
        (RIGHT.replace("tables: [", "tabels: ["), "tailrace.yaml:9:", "tables"),
        (
            RIGHT.replace("stream: events", "stream: evens"),
            "tailrace.yaml:8:13",
            "events",
        ),
        (
            RIGHT.replace("type: postgres", "type: postgress"),
            "tailrace.yaml:9:",
            "postgres",
        ),
        (
            RIGHT.replace("stream: events", "stream: events\n    stream: events"),
            "tailrace.yaml:9:5",
            "stream",
        ),
        (
            RIGHT.replace("tables: [public.orders]", "tables: 7"),
            "tailrace.yaml:9:",
            "tables",
        ),
        (
            RIGHT.replace("app@", "${NO_SUCH_VARIABLE}@"),
            "tailrace.yaml:9:",
            "NO_SUCH_VARIABLE",
        ),
        (
            RIGHT.replace("data/events }", "data/events, fsync: 7 }"),
            "tailrace.yaml:5:",
            "fsync",
        ),
        (format!("{RIGHT}\n\tx: 1"), "tailrace.yaml:10:", ""),
    ];
    for (sections, place, word) in cases {
        let printed = validate(&sections);
        let text = printed.all();
        assert_eq!(printed.code, Some(2), "{sections}\n{text}");
        assert!(
            text.contains(place) && text.contains(word),
            "{place} and {word} in\n{text}"
        );
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let sections = RIGHT
        .replace("stream: events", "stream: events\n    formt: {}")
        .replace("tables: [", "tabels: [");
    let text = validate(&sections.replace("data/events", "data/events, fsnyc: never")).all();
    for word in ["fsnyc", "formt", "tabels"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn two_connectors_on_one_slot_are_refused() {
    let source = "source: { type: postgres, url: \"postgres://app@localhost/shop\", tables: [public.a], slot: mine }";
    let sections = format!(
        "streams:\n  events: {{ type: file, path: data/events }}\nconnectors:\n  a: {{ stream: events, {source} }}\n  b: {{ stream: events, {source} }}"
    );
    let printed = validate(&sections);
    assert_eq!(printed.code, Some(2));
    assert!(printed.all().contains("mine"), "{}", printed.all());
}

#[test]
fn every_example_is_right() {
    let environment = [
        (
            "ORDERS_DATABASE_URL".to_owned(),
            "postgres://tailrace:secret@localhost:5432/orders".to_owned(),
        ),
        (
            "SHOP_DATABASE_URL".to_owned(),
            "mysql://tailrace:secret@localhost:3306/".to_owned(),
        ),
        (
            "REPORTING_DATABASE_URL".to_owned(),
            "postgres://tailrace:secret@localhost/reporting".to_owned(),
        ),
        (
            "NORTH_DATABASE_URL".to_owned(),
            "postgres://tailrace:secret@localhost/north".to_owned(),
        ),
        (
            "SOUTH_DATABASE_URL".to_owned(),
            "postgres://tailrace:secret@localhost/south".to_owned(),
        ),
        ("KAFKA_BOOTSTRAP".to_owned(), "localhost:9092".to_owned()),
        ("REGISTRY_PASSWORD".to_owned(), "secret".to_owned()),
        ("WEBHOOK_TOKEN".to_owned(), "secret".to_owned()),
        ("EMAIL_SALT".to_owned(), "salt".to_owned()),
    ];
    let mut examples = 0;
    for entry in fs::read_dir(root().join("config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let printed = run_binary(&["validate", &path.to_string_lossy()], root(), &environment).unwrap();
        assert_eq!(printed.code, Some(0), "{}: {}", path.display(), printed.all());
        examples += 1;
    }
    assert!(examples >= 3, "{examples} examples");
}

/// What stands between lines of a page that begin and end a block of YAML.
fn yaml_blocks(page: &str) -> Vec<&str> {
    let blocks = page.split("```yaml\n").skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_example_in_the_readme_is_right() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let environment = [(
        "ORDERS_DATABASE_URL".to_owned(),
        "postgres://tailrace:secret@localhost:5432/orders".to_owned(),
    )];
    let folder = Daemon::new("").unwrap();
    let file = folder.path().join("readme.yaml");
    let blocks = yaml_blocks(&readme);
    assert!(!blocks.is_empty());
    for block in blocks {
        fs::write(&file, block).unwrap();
        let printed = run_binary(&["validate", &file.to_string_lossy()], folder.path(), &environment).unwrap();
        assert_eq!(printed.code, Some(0), "{}\n{block}", printed.all());
    }
}

/// Pages of a source, a stream or a sink have the smallest configuration that there is of it.
#[test]
fn whole_configurations_on_pages_of_connectors_are_right() {
    let folder = Daemon::new("").unwrap();
    let file = folder.path().join("page.yaml");
    let mut whole = 0;
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let page = fs::read_to_string(&path).unwrap_or_default();
        if !page.contains("<!-- options: ") {
            continue;
        }
        for block in yaml_blocks(&page)
            .into_iter()
            .filter(|block| block.starts_with("version: 1\n"))
        {
            let is_mysql = block.contains("type: mysql") || block.contains("type: mariadb");
            let (source, target) = match is_mysql {
                true => ("mysql://tailrace:secret@localhost:3306", "/mirror"),
                false => ("postgres://tailrace:secret@localhost:5432/shop", ""),
            };
            let environment = [
                ("SHOP_DATABASE_URL", source.to_owned()),
                ("MIRROR_URL", format!("{source}{target}")),
                ("KAFKA_PASSWORD", "secret".to_owned()),
            ];
            let environment = environment.map(|(name, value)| (name.to_owned(), value));
            fs::write(&file, block).unwrap();
            let printed = run_binary(&["validate", &file.to_string_lossy()], folder.path(), &environment).unwrap();
            assert_eq!(printed.code, Some(0), "{name}: {}\n{block}", printed.all());
            whole += 1;
        }
    }
    assert!(whole >= 9, "{whole} configurations");
}

#[test]
fn generated_files_are_as_they_would_be_generated() {
    let schema = run_binary(&["schema"], root(), &[]).unwrap();
    assert_eq!(schema.code, Some(0), "{}", schema.all());
    let stored = fs::read_to_string(root().join("config/schema.json")).unwrap();
    assert!(
        schema.stdout == stored,
        "config/schema.json drifted; run: cargo run -- schema > config/schema.json"
    );
    let reference = run_binary(&["schema", "--markdown"], root(), &[]).unwrap();
    let stored = fs::read_to_string(root().join("docs/reference/config.md")).unwrap();
    assert!(
        reference.stdout == stored,
        "docs/reference/config.md drifted; run: cargo run -- schema --markdown > docs/reference/config.md"
    );
}

#[test]
fn help_teaches_and_completions_are_there() {
    let help = run_binary(&["--help"], root(), &[]).unwrap();
    assert_eq!(help.code, Some(0));
    assert!(
        help.stdout.contains("EXAMPLES") && help.stdout.contains("EXIT CODES"),
        "{}",
        help.stdout
    );
    for shell in ["bash", "zsh", "fish"] {
        let script = run_binary(&["completions", shell], root(), &[]).unwrap();
        assert!(script.code == Some(0) && script.stdout.contains("tailrace"), "{shell}");
    }
    assert_eq!(run_binary(&["rnu"], root(), &[]).unwrap().code, Some(2));
}
