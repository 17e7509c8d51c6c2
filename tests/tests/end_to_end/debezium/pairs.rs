//! Sets of options, as both sides write them.

use std::collections::BTreeMap;

use tailrace_tests::database::{Database, Server};
use tailrace_tests::servers::{Registry, confluent_avro, debezium_mysql, debezium_postgres};

use super::MARKS;
use super::tables::Group;

/// Every key of `format` that Debezium or Connect has too, under its name there. Values are the same words, with `-` where
/// Tailrace has `_`.
const OPTIONS: [(&str, &[&str]); 10] = [
    ("decimal", &["decimal.handling.mode"]),
    ("bigint_unsigned", &["bigint.unsigned.handling.mode"]),
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
    /// Schema and table; no schema where it is the database's own.
    tables: Vec<(Option<&'static str>, String)>,
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
    /// All of that which Avro has room for.
    Avro,
    /// Partitioned tables, by their root.
    Roots,
    /// The vectors of pgvector, which are on a server of their own.
    Extension,
    /// These of MySQL's.
    MySql(&'static [&'static [&'static str]]),
    /// These, on a server that says in its log as little as can be.
    MySqlMinimal(&'static [&'static [&'static str]]),
}

const WANTED: [Wanted; 19] = [
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
        name: "avro",
        options: &[("codec", AVRO), ("truncate", "publish"), ("opaque", "binary")],
        properties: &[],
        source: &[MESSAGES],
        tables: Tables::Avro,
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
    Wanted {
        name: "my_defaults",
        options: &[],
        properties: &[],
        source: &[],
        tables: Tables::MySql(&[MYSQL, MYSQL_FAR, MYSQL_AMOUNTS]),
    },
    Wanted {
        name: "my_schemas",
        options: &[
            ("inline_schema", "true"),
            ("bigint_unsigned", "precise"),
            ("truncate", "publish"),
        ],
        properties: &[REPLACE_NULL],
        source: &[],
        tables: Tables::MySql(&[MYSQL, MYSQL_FAR, MYSQL_AMOUNTS, MYSQL_LARGE]),
    },
    Wanted {
        name: "my_texts",
        options: &[
            ("inline_schema", "true"),
            ("decimal", "string"),
            ("bigint_unsigned", "precise"),
            ("time", "isostring"),
            ("binary", "hex"),
            ("tombstones", "false"),
            ("truncate", "skip"),
        ],
        properties: &[REPLACE_NULL],
        source: &[],
        tables: Tables::MySql(&[MYSQL, MYSQL_FAR, MYSQL_LARGE]),
    },
    Wanted {
        name: "my_doubles",
        options: &[
            ("inline_schema", "true"),
            ("decimal", "double"),
            ("time", "microseconds"),
            ("binary", "base64"),
        ],
        properties: &[REPLACE_NULL],
        source: &[],
        tables: Tables::MySql(&[MYSQL, MYSQL_FAR, MYSQL_AMOUNTS]),
    },
    Wanted {
        name: "my_connect",
        options: &[
            ("inline_schema", "true"),
            ("time", "connect"),
            ("binary", "base64_url_safe"),
        ],
        properties: &[REPLACE_NULL],
        source: &[],
        tables: Tables::MySql(&[MYSQL, MYSQL_FAR]),
    },
    Wanted {
        name: "my_nanoseconds",
        options: &[("inline_schema", "true"), ("time", "nanoseconds")],
        properties: &[REPLACE_NULL],
        source: &[],
        tables: Tables::MySql(&[MYSQL]),
    },
    Wanted {
        name: "my_times",
        options: &[
            ("inline_schema", "true"),
            ("bigint_unsigned", "precise"),
            ("decimal", "double"),
            ("time", "adaptive_time_microseconds"),
        ],
        properties: &[REPLACE_NULL],
        source: &[],
        tables: Tables::MySql(&[MYSQL, MYSQL_FAR, MYSQL_AMOUNTS, MYSQL_LARGE]),
    },
    Wanted {
        name: "my_avro",
        options: &[("codec", AVRO), ("bigint_unsigned", "precise"), ("truncate", "publish")],
        properties: &[],
        source: &[],
        tables: Tables::MySql(&[MYSQL, MYSQL_FAR, MYSQL_AMOUNTS, MYSQL_LARGE]),
    },
    Wanted {
        name: "my_minimal",
        options: &[("inline_schema", "true"), ("truncate", "publish")],
        properties: &[REPLACE_NULL],
        source: &[],
        tables: Tables::MySqlMinimal(&[MYSQL, MYSQL_FAR, MYSQL_AMOUNTS]),
    },
];

/// The word for Avro, which Confluent's converter writes on the other side.
const AVRO: &str = "avro";

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
    let of_postgres = [Tables::Vectors, Tables::Everything, Tables::Avro, Tables::Roots];
    let wanted = WANTED.iter().filter(|wanted| of_postgres.contains(&wanted.tables));
    wanted.map(|wanted| pair(wanted, groups)).collect()
}

/// The pairs on MySQL with a log that describes its rows.
pub(super) fn of_mysql() -> Vec<Pair> {
    let wanted = WANTED.iter().filter(|wanted| matches!(wanted.tables, Tables::MySql(_)));
    wanted.map(|wanted| pair(wanted, &[])).collect()
}

/// The pairs on MySQL with a log that does not.
pub(super) fn of_minimal_mysql() -> Vec<Pair> {
    let wanted = WANTED
        .iter()
        .filter(|wanted| matches!(wanted.tables, Tables::MySqlMinimal(_)));
    wanted.map(|wanted| pair(wanted, &[])).collect()
}

/// The pairs on the server with pgvector.
pub(super) fn of_extension(groups: &[Group]) -> Vec<Pair> {
    let wanted = WANTED.iter().filter(|wanted| wanted.tables == Tables::Extension);
    wanted.map(|wanted| pair(wanted, groups)).collect()
}

/// The daemon's configuration.
pub(super) fn tailrace(pairs: &[Pair], database: &Database, bootstrap: &str, registry: &Registry) -> String {
    let connectors: String = pairs.iter().map(|pair| pair.tailrace(database)).collect();
    format!(
        "registries:\n  schemas: {{ type: confluent, url: \"{}\" }}\nstreams:\n  events:\n    type: kafka\n    bootstrap_servers: [\"{bootstrap}\"]\n    topics: {{ partitions: 1 }}\nconnectors:\n{connectors}",
        registry.url()
    )
}

fn pair(wanted: &Wanted, groups: &[Group]) -> Pair {
    let options: BTreeMap<_, _> = wanted.options.iter().copied().collect();
    let mut meant: BTreeMap<_, _> = DEFAULTS.into_iter().collect();
    meant.extend(options.clone());
    let holds = |group: &&Group| {
        let meant = group.options.iter().all(|(key, value)| meant.get(key) == Some(value));
        meant && !(group.shaped && wanted.tables == Tables::Avro)
    };
    let mut tables = vec![(None, MARKS.to_owned())];
    if wanted.tables != Tables::Roots {
        tables.extend(groups.iter().filter(holds).map(|group| (None, group.name.clone())));
    }
    let (named, odd): (&[&[&str]], _) = match wanted.tables {
        Tables::Vectors | Tables::Extension => (&[], None),
        Tables::Everything => (&[&BEFORE, BESIDE_AVRO], Some(ODD)),
        Tables::Avro => (&[&BEFORE], Some(ODD)),
        Tables::Roots => (&[&["measured"]], None),
        Tables::MySql(named) | Tables::MySqlMinimal(named) => (named, None),
    };
    tables.extend(named.concat().iter().map(|table| (None, (*table).to_owned())));
    tables.extend(odd.map(|(schema, table)| (Some(schema), table.to_owned())));
    Pair {
        name: wanted.name,
        options,
        properties: wanted.properties,
        source: wanted.source,
        tables,
    }
}

/// The tables of `before.sql`, all but those that Avro has no room for.
const BEFORE: [&str; 26] = [
    "plain",
    "empty",
    "identity_full",
    "identity_index",
    "keyless",
    "keyless_index",
    "unique_index_only",
    "composite_key",
    "required",
    "defaults",
    "toasted",
    "measured_1_january",
    "measured_2_february",
    "computed",
    "changing",
    "referred",
    "referring",
    "unique_nullable",
    "unique_expression",
    "unique_two",
    "numbers",
    "characters",
    "text_keys",
    "moments",
    "endless",
    "lists",
];

/// Those with arrays of several dimensions, and with defaults that are no numbers: Confluent's converter declares these as text, which
/// registries refuse.
const BESIDE_AVRO: &[&str] = &["rare", "no_numbers"];

/// Another, in a schema of its own.
const ODD: (&str, &str) = ("Odd schema", "Table with: names");

/// The tables of MySQL's `before.sql` and `changes.sql`, some of which are made later.
const MYSQL: &[&str] = &[
    "required",
    "plain",
    "vacant",
    "keyless",
    "unique_*",
    "composite_key",
    "typed_key",
    "integers",
    "unsigned_*",
    "year_zero",
    "numbers",
    "bit_fields",
    "characters",
    "lengths",
    "charsets",
    "text_keys",
    "json_values",
    "symbols",
    "commas",
    "many_members",
    "recent",
    "zero_dates",
    "figures",
    "vectors",
    "moments_by_default",
    "required_*",
    "expressions",
    "computed",
    "generated_key",
    "hidden",
    "changing",
    "referred",
    "referring",
    "parents",
    "children",
    "watched",
    "watching",
    "renamed_*",
    "dropped_later",
    "without_transactions",
    "partitioned",
    "made_*",
    "Table with: names",
];

/// Those with moments that 64 bits of nanoseconds do not reach.
const MYSQL_FAR: &[&str] = &["old_dates", "two_digit_years"];

/// Those with times that are not of a day.
const MYSQL_AMOUNTS: &[&str] = &["amounts", "moments", "defaults"];

/// Those with whole numbers that signed ones of 64 bits do not reach.
const MYSQL_LARGE: &[&str] = &["large_keys"];

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

    /// Keys and values have a number of a schema in front.
    pub(super) fn is_avro(&self) -> bool {
        self.options.get("codec") == Some(&AVRO)
    }

    /// The properties of Debezium's connector.
    pub(super) fn debezium(&self, database: &Database, registry: &Registry) -> BTreeMap<String, String> {
        let mut properties = match database.server() {
            Server::Postgres(server) => debezium_postgres(server, database.name(), &self.debezium_name()),
            Server::MySql(server) => debezium_mysql(server, &self.debezium_name()),
        };
        let escaped = self.tables.iter().map(|(schema, table)| {
            let table = table.replace('*', ".*");
            format!("{}\\.{table}", schema.unwrap_or(database.schema()))
        });
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
        if self.is_avro() {
            for (key, value) in confluent_avro(registry) {
                set(&key, &value);
            }
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

    fn tailrace(&self, database: &Database) -> String {
        let name = self.tailrace_name();
        let options = self.options.iter().map(|(key, value)| match *value {
            "true" | "false" => format!(", {key}: {value}"),
            value if value.parse::<u32>().is_ok() => format!(", {key}: {value}"),
            value => format!(", {key}: \"{value}\""),
        });
        let tables = self.tables.iter();
        let tables = tables.map(|(schema, table)| format!("'{}.{table}'", schema.unwrap_or(database.schema())));
        let registry = if self.is_avro() { ", registry: schemas" } else { "" };
        // Columns go and change their types, and Debezium asks nobody whether they may.
        let contract = if self.is_avro() {
            "    contract: { compatibility: none }\n"
        } else {
            ""
        };
        let source = database.source(None);
        let source = source.lines().chain(self.source.iter().copied());
        let source = source.map(|line| format!("      {line}\n"));
        // Debezium has such a topic for MySQL alone, and its own form of it.
        format!(
            "  {name}:\n    stream: events\n    schema_changes: {{ publish: false }}\n{contract}    format: {{ envelope: debezium{options}{registry} }}\n    source:\n      tables: [{tables}]\n{source}",
            options = options.collect::<String>(),
            tables = tables.collect::<Vec<_>>().join(", "),
            source = source.collect::<String>(),
        )
    }
}
