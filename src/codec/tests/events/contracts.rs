//! Contracts: what becomes of each change of a table under each policy, codec and envelope; files that events must meet; what is
//! said about topics.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tailrace_codec::contract::{ContractConfig, Contracts};
use tailrace_codec::{EncoderSettings, EventEncoder};
use tailrace_core::Error;
use tailrace_core::batch::Operation;
use tailrace_core::ports::Encoder;
use tailrace_core::registry::{Compatibility, SchemaRegistry, SubjectSettings};
use tailrace_core::schema::{Column, SharedSchema, TableSchema};
use tailrace_core::telemetry::Telemetry;
use tailrace_core::testkit::MemoryRegistry;
use tailrace_core::value::{Datum, LogicalType, TextKind};

use crate::avro::{encoded, run, with_registry};
use crate::support::{Batch, Cell, TEXT, column, int, null, required, settings, table, text};

/// Where the matrix stands for readers.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/contracts.md");
const BEGIN: &str = "<!-- the matrix: begin -->\n";
const END: &str = "<!-- the matrix: end -->\n";

/// A change of the table of [`before`].
struct Case {
    name: &'static str,
    after: SharedSchema,
    row: Vec<Cell>,
}

fn enumeration(symbols: &[&str]) -> LogicalType {
    let symbols: Vec<String> = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
    LogicalType::Text(TextKind::Enum(symbols.into()))
}

fn with_default(column: Column, default: Datum) -> Column {
    Column {
        default: Some(default),
        ..column
    }
}

fn columns() -> Vec<Column> {
    vec![
        required("id", LogicalType::Int32),
        required("name", TEXT),
        column("notes", TEXT),
        required("state", enumeration(&["NEW", "PAID"])),
    ]
}

fn row() -> Vec<Cell> {
    vec![int(1), text("Ada"), null(), text("NEW")]
}

fn before() -> SharedSchema {
    table(columns(), vec![0])
}

fn case(name: &'static str, change: impl FnOnce(&mut Vec<Column>, &mut Vec<Cell>)) -> Case {
    let (mut columns, mut row) = (columns(), row());
    change(&mut columns, &mut row);
    Case {
        name,
        after: table(columns, vec![0]),
        row,
    }
}

fn cases() -> Vec<Case> {
    let add = |name, column: Column, cell: Cell| {
        case(name, |columns, row| {
            columns.push(column);
            row.push(cell);
        })
    };
    vec![
        add("a column that may be null is added", column("vat", TEXT), null()),
        add(
            "a column with a default is added",
            with_default(required("vat", TEXT), Datum::Text("-".to_owned())),
            text("x"),
        ),
        add("a required column is added", required("vat", TEXT), text("x")),
        case("a column that may be null is dropped", |columns, row| {
            columns.remove(2);
            row.remove(2);
        }),
        case("a required column is dropped", |columns, row| {
            columns.remove(1);
            row.remove(1);
        }),
        case("a column that may be null is renamed", |columns, _| {
            columns[2].name = "remarks".to_owned()
        }),
        case("a required column is renamed", |columns, _| {
            columns[1].name = "full_name".to_owned()
        }),
        case("a column becomes wider", |columns, _| {
            columns[0].logical_type = LogicalType::Int64
        }),
        case("a column gets another type", |columns, row| {
            columns[2].logical_type = LogicalType::Int32;
            row[2] = int(7);
        }),
        case("a column may be null from now on", |columns, _| {
            columns[1].nullable = true
        }),
        case("a column may not be null any more", |columns, row| {
            columns[2].nullable = false;
            row[2] = text("x");
        }),
        case("a default is another one", |columns, _| {
            columns[1].default = Some(Datum::Text("nobody".to_owned()));
        }),
        case("an enum gets another symbol", |columns, _| {
            columns[3].logical_type = enumeration(&["NEW", "PAID", "SENT"]);
        }),
        case("an enum loses a symbol", |columns, _| {
            columns[3].logical_type = enumeration(&["NEW"])
        }),
        Case {
            name: "the key is another one",
            after: table(columns(), vec![0, 1]),
            row: row(),
        },
    ]
}

fn contracts(yaml_as_json: &str) -> Arc<Contracts> {
    contracts_with(yaml_as_json, "")
}

/// Contracts whose files all have the same text.
fn contracts_with(written: &str, file: &str) -> Arc<Contracts> {
    let config: ContractConfig = serde_json::from_str(written).unwrap();
    Arc::new(Contracts::new(config, |_: &Path| Ok(file.to_owned())).unwrap())
}

fn encoder_under(contracts: &Arc<Contracts>, format: &str, registry: &Arc<MemoryRegistry>) -> EventEncoder {
    let contracts = Some(Arc::clone(contracts));
    let settings = EncoderSettings {
        contracts,
        ..settings(format)
    };
    with_registry(settings, registry)
}

fn batch_of(schema: &SharedSchema, row: &[Cell]) -> Batch {
    let mut batch = Batch::new(schema);
    batch.change(Operation::Create, None, Some(row));
    batch
}

/// Publishes a row of a version, and says in a few words what became of it.
fn outcome(encoder: &mut EventEncoder, schema: &SharedSchema, row: &[Cell]) -> String {
    let batch = batch_of(schema, row);
    if let Err(error) = run(encoder.prepare(&batch.changes)) {
        assert_eq!(error.code(), "schema_incompatible", "{error}");
        return "halts".to_owned();
    }
    let encoded = encoder.encode(&batch.changes).unwrap();
    if let Some(refused) = encoded.refused.first() {
        assert_eq!(refused.refusal.code, "schema_incompatible");
        return "dead letter".to_owned();
    }
    let topic = encoded.topic(&encoded.records[0]);
    match topic {
        "srv.public.customers" => "published".to_owned(),
        other => other.replace("srv.public.customers", "new topic, "),
    }
}

/// What becomes of a change under a format and a policy.
fn outcome_of(case: &Case, format: &str, policy: &str) -> String {
    let contracts = contracts(&format!(r#"{{"on_incompatible": "{policy}"}}"#));
    let registry = Arc::new(MemoryRegistry::default());
    let mut encoder = encoder_under(&contracts, format, &registry);
    assert_eq!(outcome(&mut encoder, &before(), &row()), "published");
    let outcome = outcome(&mut encoder, &case.after, &case.row);
    // After a restart the same is decided of both, in whatever order they come.
    let mut restarted = encoder_under(&contracts, format, &registry);
    assert_eq!(
        self::outcome(&mut restarted, &before(), &row()),
        "published",
        "{}",
        case.name
    );
    assert_eq!(
        self::outcome(&mut restarted, &case.after, &case.row),
        outcome,
        "{}",
        case.name
    );
    if outcome == "published" && policy == "ignore_column" {
        let batch = batch_of(&case.after, &case.row);
        let event = encoded(&mut restarted, &batch.changes).unwrap();
        let value = event.slice(event.records[0].value.as_ref().unwrap());
        let has = |name: &str| String::from_utf8_lossy(value).contains(&format!("\"{name}\""));
        let gone = case
            .after
            .columns
            .iter()
            .find(|column| format.contains("\"json\"") && !has(&column.name));
        if let Some(gone) = gone {
            return format!("without `{}`", gone.name);
        }
    }
    outcome
}

fn matrix() -> String {
    let mut page = String::new();
    let codecs = ["json", "json_schema", "avro"];
    for envelope in ["entity", "debezium"] {
        page += &format!("\n`envelope: {envelope}`, `compatibility: full`:\n\n");
        page += "| the table | `halt` | `new_topic` | `dead_letter` | `ignore_column` |\n|---|---|---|---|---|\n";
        for case in cases() {
            let cells = ["halt", "new_topic", "dead_letter", "ignore_column"].map(|policy| {
                let outcomes = codecs.map(|codec| {
                    let format = format!(r#"{{"codec": "{codec}", "envelope": "{envelope}"}}"#);
                    outcome_of(&case, &format, policy)
                });
                let [json, json_schema, avro] = &outcomes;
                let alike = json == avro || json.starts_with("without") && avro == "published";
                match alike && (json_schema == json || json_schema == avro) {
                    true => json.clone(),
                    false => format!("{json} (Avro: {avro})"),
                }
            });
            page += &format!("| {} | {} |\n", case.name, cells.join(" | "));
        }
    }
    page
}

#[test]
fn each_change_under_each_policy_codec_and_envelope_becomes_what_the_manual_says() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (kept, tail) = rest.split_once(END).unwrap();
    let matrix = matrix();
    if std::env::var("TAILRACE_TRANSCRIPTS").is_ok_and(|mode| mode == "write") {
        std::fs::write(PAGE, format!("{head}{BEGIN}{matrix}{END}{tail}")).unwrap();
        return;
    }
    assert!(kept == matrix, "docs/contracts.md has another matrix than\n{matrix}");
}

fn halts(contracts: &Arc<Contracts>, format: &str, after: &SharedSchema, row: &[Cell]) -> Error {
    let registry = Arc::new(MemoryRegistry::default());
    let mut encoder = encoder_under(contracts, format, &registry);
    encoded(&mut encoder, &batch_of(&before(), &self::row()).changes).unwrap();
    run(encoder.prepare(&batch_of(after, row).changes)).unwrap_err()
}

#[test]
fn a_halt_names_both_versions_the_column_and_the_ways_out() {
    let widened = case("", |columns, _| columns[0].logical_type = LogicalType::Int64);
    let error = halts(&contracts("{}"), r#"{"codec": "avro"}"#, &widened.after, &widened.row);
    assert_eq!(
        error.report(),
        "readers of topic `srv.public.customers` would break by the new version of public.customers (id test, name test, notes \
         test, state test): field `id`: was int, is long; readers of the old schema cannot read it (against version 1 (number 1) \
         of the subject `srv.public.customers-key`); field `id`: was int, is long; readers of the old schema cannot read it \
         (against version 1 (number 2) of the subject `srv.public.customers-value`). Nothing of the new version was published. \
         Ways out: change the table back, or so that readers can follow; allow it with `contract: { compatibility: backward }`; \
         send events from here on to `srv.public.customers.v2` with `contract: { on_incompatible: new_topic }`, leave the columns \
         out with `ignore_column`, or set the events aside with `dead_letter`"
    );
}

#[test]
fn a_weaker_level_allows_what_it_says() {
    let widened = case("", |columns, _| columns[0].logical_type = LogicalType::Int64);
    for (level, expected) in [("backward", "published"), ("forward", "halts"), ("none", "published")] {
        let contracts = contracts(&format!(r#"{{"compatibility": "{level}"}}"#));
        let registry = Arc::new(MemoryRegistry::default());
        let mut encoder = encoder_under(&contracts, r#"{"codec": "avro"}"#, &registry);
        outcome(&mut encoder, &before(), &row());
        assert_eq!(outcome(&mut encoder, &widened.after, &widened.row), expected, "{level}");
        let settings = run(registry.settings("srv.public.customers-value")).unwrap();
        assert_eq!(settings.compatibility.map(Compatibility::name), Some(level));
    }
}

#[test]
fn the_level_of_the_embedded_registrys_subject_counts_where_none_is_written() {
    let registry = Arc::new(MemoryRegistry::default());
    let none = SubjectSettings {
        compatibility: Some(Compatibility::None),
        deprecated: None,
    };
    for subject in ["srv.public.customers-key", "srv.public.customers-value"] {
        run(registry.set(subject, &none)).unwrap();
    }
    let mut encoder = encoder_under(&contracts("{}"), r#"{"codec": "avro"}"#, &registry);
    outcome(&mut encoder, &before(), &row());
    let dropped = case("", |columns, row| {
        columns.remove(1);
        row.remove(1);
    });
    assert_eq!(outcome(&mut encoder, &dropped.after, &dropped.row), "published");
}

#[test]
fn a_line_of_topics_goes_on_and_older_versions_come_again_where_they_went() {
    let retyped = |logical_type: LogicalType, cell: Cell| {
        case("", move |columns, row| {
            columns[1].logical_type = logical_type;
            row[1] = cell;
        })
    };
    let (second, third) = (
        retyped(LogicalType::Int32, int(1)),
        retyped(LogicalType::Boolean, Cell::Is(Datum::Boolean(true))),
    );
    let contracts = contracts(r#"{"on_incompatible": "new_topic"}"#);
    for format in [
        r#"{"codec": "avro"}"#,
        r#"{"codec": "json_schema"}"#,
        r#"{"codec": "avro", "subjects": "record"}"#,
        "{}",
    ] {
        let registry = Arc::new(MemoryRegistry::default());
        let versions = [
            (before(), row()),
            (Arc::clone(&second.after), second.row.clone()),
            (Arc::clone(&third.after), third.row.clone()),
        ];
        let mut encoder = encoder_under(&contracts, format, &registry);
        let expected = ["published", "new topic, .v2", "new topic, .v3"];
        for ((schema, row), expected) in versions.iter().zip(expected) {
            assert_eq!(outcome(&mut encoder, schema, row), expected, "{format}");
        }
        let mut restarted = encoder_under(&contracts, format, &registry);
        for ((schema, row), expected) in versions.iter().zip(expected).rev() {
            assert_eq!(outcome(&mut restarted, schema, row), expected, "{format}");
        }
        let subject = if format.contains("record") {
            "srv.public.customers.Value"
        } else {
            "srv.public.customers-value"
        };
        let deprecated = run(registry.settings(subject)).unwrap().deprecated;
        assert_eq!(
            deprecated.as_deref(),
            Some("superseded by topic srv.public.customers.v2"),
            "{format}"
        );
    }
}

#[test]
fn a_truncate_and_a_delete_follow_their_table_to_its_new_topic() {
    let retyped = case("", |columns, row| {
        columns[1].logical_type = LogicalType::Int32;
        row[1] = int(1);
    });
    let contracts = contracts(r#"{"on_incompatible": "new_topic"}"#);
    let registry = Arc::new(MemoryRegistry::default());
    let mut encoder = encoder_under(&contracts, r#"{"codec": "avro"}"#, &registry);
    outcome(&mut encoder, &before(), &row());
    let mut batch = batch_of(&retyped.after, &retyped.row);
    batch.change(Operation::Delete, Some(&retyped.row), None);
    batch.change(Operation::Truncate, None, None);
    let events = encoded(&mut encoder, &batch.changes).unwrap();
    assert_eq!(events.records.len(), 3);
    for record in &events.records {
        assert_eq!(events.topic(record), "srv.public.customers.v2");
    }
}

// === files ===

const CUSTOMER: &str = r#"{"type": "record", "name": "com.example.Customer", "doc": "A customer.", "owner": "crm", "trigger": "A customer signs up.",
    "tags": ["financial"], "fields": [
    {"name": "name", "type": "string", "doc": "As on invoices.", "confluent:tags": ["pii"]},
    {"name": "id", "type": "long"},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["PAID", "NEW"]}}]}"#;

fn with_file(more: &str) -> String {
    format!(r#"{{{more} "topics": {{"srv.public.customers": {{"file": "contracts/customers.avsc"}}}}}}"#)
}

#[test]
fn a_file_says_which_columns_in_which_order_under_which_names_and_how_wide() {
    let contracts = contracts_with(&with_file(""), CUSTOMER);
    let registry = Arc::new(MemoryRegistry::default());
    let mut encoder = encoder_under(&contracts, r#"{"codec": "avro"}"#, &registry);
    let events = encoded(&mut encoder, &batch_of(&before(), &row()).changes).unwrap();
    let value = events.slice(events.records[0].value.as_ref().unwrap());
    // A string of 3, then 1 as a long, then the first symbol.
    assert_eq!(value.split_at(5).1, b"\x06Ada\x02\x00");
    let versions = run(registry.versions("srv.public.customers-value")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&versions[0].schema.text).unwrap();
    let expected: serde_json::Value = serde_json::from_str(
        r#"{"type": "record", "name": "Customer", "namespace": "com.example", "doc": "A customer.", "fields": [
        {"name": "name", "type": "string", "doc": "As on invoices."}, {"name": "id", "type": "long"},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}}]}"#,
    )
    .unwrap();
    assert_eq!(schema, expected);
    let said = &versions[0].schema;
    assert_eq!(said.properties["owner"], "crm");
    assert_eq!(said.properties["trigger"], "A customer signs up.");
    assert_eq!(said.properties["tags"], "financial");
    assert_eq!(said.tags["**.name"], ["pii"]);
}

#[test]
fn a_table_that_does_not_meet_its_file_is_refused_before_the_first_event() {
    for (from, to, why) in [
        (
            r#""name": "id", "type": "long""#,
            r#""name": "id", "type": "string""#,
            "field `id`: was string, is int",
        ),
        (
            r#""name": "id""#,
            r#""name": "number""#,
            "field `number`: was dropped and had no default",
        ),
        (r#"["PAID", "NEW"]"#, r#"["NEW"]"#, "has the new values"),
    ] {
        let contracts = contracts_with(&with_file(""), &CUSTOMER.replace(from, to));
        let registry = Arc::new(MemoryRegistry::default());
        let mut encoder = encoder_under(&contracts, r#"{"codec": "avro"}"#, &registry);
        let error = run(encoder.prepare(&batch_of(&before(), &row()).changes)).unwrap_err();
        assert_eq!(error.code(), "schema_incompatible");
        assert!(error.report().contains(why), "{}", error.report());
        assert!(
            error.report().contains("against the contract contracts/customers.avsc"),
            "{}",
            error.report()
        );
    }
}

#[test]
fn a_column_that_is_not_in_the_file_is_nobodys_business() {
    let contracts = contracts_with(&with_file(""), CUSTOMER);
    let registry = Arc::new(MemoryRegistry::default());
    let mut encoder = encoder_under(&contracts, r#"{"codec": "avro"}"#, &registry);
    outcome(&mut encoder, &before(), &row());
    let grown = case("", |columns, row| {
        columns.push(required("internal_flags", LogicalType::Int32));
        row.push(int(3));
    });
    assert_eq!(outcome(&mut encoder, &grown.after, &grown.row), "published");
    assert_eq!(run(registry.versions("srv.public.customers-value")).unwrap().len(), 1);
}

#[test]
fn a_json_schema_is_a_contract_too() {
    let written = r#"{"topics": {"srv.public.customers": {"file": "customers.json"}}}"#;
    let file = r#"{"type": "object", "description": "A customer.", "required": ["id"], "properties": {
        "id": {"type": "integer"}, "name": {"type": "string", "description": "As on invoices."}, "notes": {"type": ["string", "null"]}}}"#;
    for format in ["{}", r#"{"codec": "json_schema"}"#, r#"{"codec": "avro"}"#] {
        let registry = Arc::new(MemoryRegistry::default());
        let mut encoder = encoder_under(&contracts_with(written, file), format, &registry);
        assert_eq!(outcome(&mut encoder, &before(), &row()), "published", "{format}");
        let versions = run(registry.versions("srv.public.customers-value")).unwrap();
        assert!(versions[0].schema.text.contains("As on invoices."));
        assert!(!versions[0].schema.text.contains("state"));
        let mut encoder = encoder_under(
            &contracts_with(written, &file.replace("integer", "boolean")),
            format,
            &registry,
        );
        let renewed = case("", |columns, _| columns[1].nullable = true);
        let error = run(encoder.prepare(&batch_of(&renewed.after, &renewed.row).changes)).unwrap_err();
        assert!(error.report().contains("field `id`: was boolean"), "{}", error.report());
    }
}

#[test]
fn a_file_that_is_no_schema_of_a_row_says_why() {
    for (name, text, why) in [
        ("a.avsc", "{", "it is not JSON"),
        ("a.avsc", r#""string""#, "it is no object"),
        (
            "a.avsc",
            r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#,
            "it is no record",
        ),
        ("a.json", r#"{"type": "object"}"#, "it has no `properties`"),
    ] {
        let config: ContractConfig =
            serde_json::from_value(serde_json::json!({"topics": {"t": {"file": name}}})).unwrap();
        let read = |path: &Path| {
            assert_eq!(path, PathBuf::from(name));
            Ok(text.to_owned())
        };
        let error = Contracts::new(config, read).unwrap_err();
        assert_eq!(error.code(), "contract_invalid");
        assert!(error.report().contains(why), "{}", error.report());
    }
}

// === what is said ===

#[test]
fn a_column_whose_tag_wants_a_mask_is_not_published_without_one() {
    let written =
        r#"{"masked_tags": ["pii"], "topics": {"srv.public.customers": {"columns": {"name": {"tags": ["pii"]}}}}}"#;
    let contracts = contracts(written);
    for format in ["{}", r#"{"codec": "avro"}"#] {
        let registry = Arc::new(MemoryRegistry::default());
        let mut encoder = encoder_under(&contracts, format, &registry);
        let error = run(encoder.prepare(&batch_of(&before(), &row()).changes)).unwrap_err();
        assert_eq!(error.code(), "column_not_masked");
        assert_eq!(registry.subjects(), [] as [String; 0]);
        let masked = case("", |columns, _| {
            columns[1].logical_type = LogicalType::Text(TextKind::Masked)
        });
        assert_eq!(outcome(&mut encoder, &masked.after, &masked.row), "published");
    }
}

#[test]
fn the_catalogue_of_topics_says_what_there_is_to_know() {
    let written = r#"{"owner": "shop", "on_incompatible": "new_topic", "topics": {"srv.public.customers": {"trigger": "A row changed.",
        "tags": ["financial", "deprecated"], "columns": {"name": {"tags": ["pii"], "documentation": "As on invoices."}}}}}"#;
    let telemetry = Arc::new(Telemetry::new("shop"));
    let registry = Arc::new(MemoryRegistry::default());
    let settings = EncoderSettings {
        contracts: Some(contracts(written)),
        telemetry: Some(Arc::clone(&telemetry)),
        ..settings(r#"{"codec": "avro"}"#)
    };
    let mut encoder = with_registry(settings, &registry);
    outcome(&mut encoder, &before(), &row());
    let documented = TableSchema {
        documentation: Some("People.".to_owned()),
        ..(*case("", |columns, row| {
            columns[1].logical_type = LogicalType::Int32;
            row[1] = int(1);
        })
        .after)
            .clone()
    };
    outcome(
        &mut encoder,
        &Arc::new(documented),
        &[int(1), int(1), null(), text("NEW")],
    );
    let topics = serde_json::to_value(telemetry.snapshot().topics).unwrap();
    let expected = serde_json::json!({
        "srv.public.customers": {"table": "public.customers", "owner": "shop", "trigger": "A row changed.",
            "tags": ["deprecated", "financial"], "column_tags": {"name": ["pii"]}, "key_schema": 1, "value_schema": 2,
            "superseded_by": "srv.public.customers.v2"},
        "srv.public.customers.v2": {"table": "public.customers", "owner": "shop", "documentation": "People.",
            "key_schema": 3, "value_schema": 4},
    });
    assert_eq!(topics, expected);
    let settings = run(registry.settings("srv.public.customers-value")).unwrap();
    assert_eq!(
        settings.deprecated.as_deref(),
        Some("superseded by topic srv.public.customers.v2")
    );
}
