//! What happens in the database: paragraphs of SQL files, and a table per set of options for the type vectors.

use std::collections::BTreeMap;

const VECTORS: &str = include_str!("../../../vectors/postgres.tsv");

/// The vectors whose arrays are more than lists.
const SHAPED: [&str; 2] = ["TR1", "TR2"];

/// In a paragraph: both sides have published everything before it runs.
pub(super) const AWAIT: &str = "-- await";

/// The vectors that hold under the same options: the columns of one table.
pub(super) struct Group {
    /// The table.
    pub(super) name: String,
    /// Keys of `format` that the values need.
    pub(super) options: BTreeMap<&'static str, &'static str>,
    /// Its arrays have several dimensions, or bounds of their own, which only JSON has room for.
    pub(super) shaped: bool,
    columns: Vec<(String, &'static str)>,
    literals: Vec<&'static str>,
}

/// The transactions of a file.
pub(super) fn paragraphs(file: &str) -> Vec<String> {
    let paragraphs = file.split("\n\n").map(str::trim);
    let all: Vec<&str> = paragraphs.filter(|paragraph| !paragraph.is_empty()).collect();
    all.into_iter().map(str::to_owned).collect()
}

/// The type vectors whose type is wanted, by their options. Those of the other envelope are left out.
pub(super) fn groups(is_wanted: impl Fn(&str) -> bool) -> Vec<Group> {
    let mut by_options: BTreeMap<(&str, bool), Group> = BTreeMap::new();
    for line in VECTORS.lines().filter(|line| !line.starts_with('#')).skip(1) {
        let fields: Vec<&'static str> = line.split('\t').collect();
        let [id, data_type, literal, options, ..] = fields[..] else {
            unreachable!("six fields: {line}");
        };
        if options.starts_with("envelope") || !is_wanted(data_type) {
            continue;
        }
        let shaped = SHAPED.contains(&id);
        let group = by_options
            .entry((options, shaped))
            .or_insert_with(|| Group::new(options, shaped));
        group.columns.push((id.to_lowercase(), data_type));
        group.literals.push(literal);
    }
    by_options.into_values().collect()
}

/// What only servers with pgvector have.
pub(super) fn is_pgvector(data_type: &str) -> bool {
    ["VECTOR", "HALFVEC", "SPARSEVEC"]
        .iter()
        .any(|name| data_type.starts_with(name))
}

// === impl Group ===

impl Group {
    fn new(options: &'static str, shaped: bool) -> Group {
        let pairs = options.split(", ").filter_map(|pair| pair.split_once(": "));
        let options: BTreeMap<_, _> = pairs.collect();
        let name = options.iter().map(|(key, value)| format!("_{key}_{value}"));
        Group {
            name: format!(
                "types{}{}",
                if shaped { "_shaped" } else { "" },
                name.collect::<String>()
            ),
            options,
            shaped,
            columns: Vec::new(),
            literals: Vec::new(),
        }
    }

    /// The table, and a row in it.
    pub(super) fn before(&self) -> String {
        let columns = self
            .columns
            .iter()
            .map(|(name, data_type)| format!(", {name} {data_type}"));
        format!(
            "{TYPES}create table {} (id int primary key{});\n{}",
            self.name,
            columns.collect::<String>(),
            self.insert(1)
        )
    }

    /// The same row again, its update with everything known, and its end with nothing but the key.
    pub(super) fn after(&self) -> Vec<String> {
        let name = &self.name;
        vec![
            self.insert(2),
            format!("update {name} set id = id where id = 2"),
            format!("delete from {name} where id = 2"),
            format!("alter table {name} replica identity full; update {name} set id = id; delete from {name}"),
        ]
    }

    fn insert(&self, id: u32) -> String {
        let literals = self.literals.iter().map(|literal| format!(", {literal}"));
        format!(
            "insert into {} values ({id}{})",
            self.name,
            literals.collect::<String>()
        )
    }
}

/// Types of the vectors' own.
const TYPES: &str = "do $$ begin
    if to_regtype('mood') is null then create type mood as enum ('V1', 'V2'); end if;
    if to_regtype('pair') is null then create type pair as (a int, b text); end if;
    if to_regtype('positive') is null then create domain positive as int check (value > 0); end if;
end $$;\n";
