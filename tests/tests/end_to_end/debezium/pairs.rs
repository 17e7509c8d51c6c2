//! Sets of options, as both sides write them.

use std::collections::BTreeMap;

use tailrace_tests::database::Database;
use tailrace_tests::servers::{Postgres, debezium_postgres};

use super::MARKS;
use super::tables::Group;

/// Every key of `format` that Debezium or Connect has too, under its name there. Values are the same words, with `-` where
/// Tailrace has `_`.
const OPTIONS: [(&str, &[&str]); 9] = [
    ("decimal", &["decimal.handling.mode"]),
    ("time", &["time.precision.mode"]),
    ("interval", &["interval.handling.mode"]),
    ("binary", &["binary.handling.mode"]),
    ("hstore", &["hstore.handling.mode"]),
    ("money_fraction_digits", &["money.fraction.digits"]),
    ("tombstones", &["tombstones.on.delete"]),
    ("unavailable_value", &["unavailable.value.placeholder"]),
    (
        "inline_schema",
        &["key.converter.schemas.enable", "value.converter.schemas.enable"],
    ),
];

/// Keys whose values have other names there.
const OTHER_OPTIONS: [(&str, &str, &str, &str); 2] = [
    ("opaque", "binary", "include.unknown.datatypes", "true"),
    ("truncate", "publish", "skipped.operations", "none"),
];

/// One set of options, held by a connector on either side.
pub(super) struct Pair {
    /// What tells it from others in names and in the list of differences.
    pub(super) name: &'static str,
    options: BTreeMap<&'static str, &'static str>,
    /// Debezium's where Tailrace has no choice.
    properties: &'static [(&'static str, &'static str)],
    /// Lines of Tailrace's source.
    source: &'static [&'static str],
    /// Schema and table.
    tables: Vec<(&'static str, String)>,
}

/// What a pair begins with.
struct Wanted {
    name: &'static str,
    options: &'static [(&'static str, &'static str)],
    properties: &'static [(&'static str, &'static str)],
    source: &'static [&'static str],
    tables: Tables,
}

/// What a pair captures.
#[derive(Clone, Copy, PartialEq)]
enum Tables {
    /// The vectors that hold under its options.
    Vectors,
    /// Also the tables of `before.sql`, and logical messages.
    Everything,
    /// Partitioned tables, by their root.
    Roots,
    /// The vectors of pgvector, which are on a server of their own.
    Extension,
}

const WANTED: [Wanted; 9] = [
    Wanted {
        name: "defaults",
        options: &[],
        properties: &[],
        source: &[MESSAGES],
        tables: Tables::Everything,
    },
    Wanted {
        name: "schemas",
        options: &[("inline_schema", "true"), ("truncate", "publish"), ("opaque", "binary")],
        properties: &[REPLACE_NULL],
        source: &[MESSAGES],
        tables: Tables::Everything,
    },
    Wanted {
        name: "texts",
        options: &[
            ("inline_schema", "true"),
            ("decimal", "string"),
            ("time", "isostring"),
            ("interval", "string"),
            ("binary", "hex"),
            ("hstore", "map"),
            ("opaque", "binary"),
            ("unavailable_value", "unknown"),
            ("tombstones", "false"),
            ("truncate", "skip"),
        ],
        properties: &[REPLACE_NULL],
        source: &[MESSAGES],
        tables: Tables::Everything,
    },
    Wanted {
        name: "doubles",
        options: &[
            ("inline_schema", "true"),
            ("decimal", "double"),
            ("time", "microseconds"),
            ("binary", "base64"),
            ("opaque", "binary"),
        ],
        properties: &[REPLACE_NULL],
        source: &[MESSAGES],
        tables: Tables::Vectors,
    },
    Wanted {
        name: "nanoseconds",
        options: &[
            ("inline_schema", "true"),
            ("time", "nanoseconds"),
            ("binary", "base64_url_safe"),
            ("money_fraction_digits", "1"),
            ("opaque", "binary"),
        ],
        properties: &[REPLACE_NULL],
        source: &[MESSAGES],
        tables: Tables::Vectors,
    },
    Wanted {
        name: "connect",
        options: &[("inline_schema", "true"), ("time", "connect")],
        properties: &[REPLACE_NULL],
        source: &[MESSAGES],
        tables: Tables::Vectors,
    },
    Wanted {
        name: "times",
        options: &[("inline_schema", "true"), ("time", "adaptive_time_microseconds")],
        properties: &[REPLACE_NULL],
        source: &[MESSAGES],
        tables: Tables::Vectors,
    },
    Wanted {
        name: "pgvector",
        options: &[("inline_schema", "true")],
        properties: &[REPLACE_NULL],
        source: &[MESSAGES],
        tables: Tables::Extension,
    },
    Wanted {
        name: "roots",
        options: &[],
        properties: &[("publish.via.partition.root", "true")],
        // One connection reads partitions one after the other.
        source: &[
            MESSAGES,
            "publication_via_partition_root: true",
            "snapshot: { connections: 1 }",
        ],
        tables: Tables::Roots,
    },
];

/// Debezium captures all of them unless it is told not to, Tailrace none.
const MESSAGES: &str = "message_prefixes: [\"*\"]";

/// Connect's converter publishes a column's default in place of NULL unless it is told not to.
const REPLACE_NULL: (&str, &str) = ("value.converter.replace.null.with.default", "false");

/// What the envelope says where nothing is written.
const DEFAULTS: [(&str, &str); 7] = [
    ("decimal", "precise"),
    ("time", "adaptive"),
    ("interval", "numeric"),
    ("binary", "bytes"),
    ("hstore", "json"),
    ("money_fraction_digits", "2"),
    ("opaque", "text"),
];

/// Every pair on the server with everything, with those groups of vectors that hold under its options.
pub(super) fn all(groups: &[Group]) -> Vec<Pair> {
    let wanted = WANTED.iter().filter(|wanted| wanted.tables != Tables::Extension);
    wanted.map(|wanted| pair(wanted, groups)).collect()
}

/// The pairs on the server with pgvector.
pub(super) fn of_extension(groups: &[Group]) -> Vec<Pair> {
    let wanted = WANTED.iter().filter(|wanted| wanted.tables == Tables::Extension);
    wanted.map(|wanted| pair(wanted, groups)).collect()
}

/// The daemon's configuration.
pub(super) fn tailrace(pairs: &[Pair], database: &Database, bootstrap: &str) -> String {
    let connectors: String = pairs.iter().map(|pair| pair.tailrace(&database.url())).collect();
    format!(
        "streams:\n  events:\n    type: kafka\n    bootstrap_servers: [\"{bootstrap}\"]\n    topics: {{ partitions: 1 }}\nconnectors:\n{connectors}"
    )
}

fn pair(wanted: &Wanted, groups: &[Group]) -> Pair {
    let options: BTreeMap<_, _> = wanted.options.iter().copied().collect();
    let mut meant: BTreeMap<_, _> = DEFAULTS.into_iter().collect();
    meant.extend(options.clone());
    let holds = |group: &&Group| group.options.iter().all(|(key, value)| meant.get(key) == Some(value));
    let mut tables = vec![("public", MARKS.to_owned())];
    if wanted.tables != Tables::Roots {
        tables.extend(groups.iter().filter(holds).map(|group| ("public", group.name.clone())));
    }
    let named: &[(&str, &str)] = match wanted.tables {
        Tables::Vectors | Tables::Extension => &[],
        Tables::Everything => &BEFORE,
        Tables::Roots => &[("public", "measured")],
    };
    tables.extend(named.iter().map(|(schema, table)| (*schema, (*table).to_owned())));
    Pair {
        name: wanted.name,
        options,
        properties: wanted.properties,
        source: wanted.source,
        tables,
    }
}

/// The tables of `before.sql`.
const BEFORE: [(&str, &str); 28] = [
    ("public", "plain"),
    ("public", "empty"),
    ("public", "identity_full"),
    ("public", "identity_index"),
    ("public", "keyless"),
    ("public", "keyless_index"),
    ("public", "unique_index_only"),
    ("public", "composite_key"),
    ("public", "required"),
    ("public", "defaults"),
    ("public", "toasted"),
    ("public", "rare"),
    ("public", "measured_1_january"),
    ("public", "measured_2_february"),
    ("public", "computed"),
    ("public", "changing"),
    ("public", "referred"),
    ("public", "referring"),
    ("public", "unique_nullable"),
    ("public", "unique_expression"),
    ("public", "unique_two"),
    ("public", "numbers"),
    ("public", "characters"),
    ("public", "text_keys"),
    ("public", "moments"),
    ("public", "endless"),
    ("public", "lists"),
    ("Odd schema", "Table with: names"),
];

// === impl Pair ===

impl Pair {
    /// Debezium's topic prefix, slot, publication and connector.
    pub(super) fn debezium_name(&self) -> String {
        format!("beside_d_{}", self.name)
    }

    /// Tailrace's. As long as the other, so that one can stand for the other in what is compared.
    pub(super) fn tailrace_name(&self) -> String {
        format!("beside_t_{}", self.name)
    }

    /// The properties of Debezium's connector.
    pub(super) fn debezium(&self, server: &Postgres, database: &str) -> BTreeMap<String, String> {
        let mut properties = debezium_postgres(server, database, &self.debezium_name());
        let escaped = self.tables.iter().map(|(schema, table)| format!("{schema}\\.{table}"));
        let mut set = |key: &str, value: &str| drop(properties.insert(key.to_owned(), value.to_owned()));
        set("table.include.list", &escaped.collect::<Vec<_>>().join(","));
        set("poll.interval.ms", "20");
        for side in ["key", "value"] {
            set(
                &format!("{side}.converter"),
                "org.apache.kafka.connect.json.JsonConverter",
            );
            set(&format!("{side}.converter.schemas.enable"), "false");
        }
        for (key, value) in &self.options {
            for (_, names) in OPTIONS.iter().filter(|(ours, _)| ours == key) {
                for name in *names {
                    set(name, &value.replace('_', "-"));
                }
            }
            for (_, _, name, theirs) in OTHER_OPTIONS
                .iter()
                .filter(|(ours, word, ..)| ours == key && word == value)
            {
                set(name, theirs);
            }
        }
        if let Some(mode) = self.options.get("time") {
            // The one option whose words have an underscore there, too.
            set("time.precision.mode", mode);
        }
        for (key, value) in self.properties {
            set(key, value);
        }
        properties
    }

    fn tailrace(&self, url: &str) -> String {
        let name = self.tailrace_name();
        let options = self.options.iter().map(|(key, value)| match *value {
            "true" | "false" => format!(", {key}: {value}"),
            value if value.parse::<u32>().is_ok() => format!(", {key}: {value}"),
            value => format!(", {key}: \"{value}\""),
        });
        let tables = self.tables.iter().map(|(schema, table)| format!("'{schema}.{table}'"));
        let source = self.source.iter().map(|line| format!("      {line}\n"));
        format!(
            "  {name}:\n    stream: events\n    format: {{ envelope: debezium{options} }}\n    source:\n      type: postgres\n      url: \"{url}\"\n      tables: [{tables}]\n      status_interval_ms: 100\n{source}",
            options = options.collect::<String>(),
            tables = tables.collect::<Vec<_>>().join(", "),
            source = source.collect::<String>(),
        )
    }
}
