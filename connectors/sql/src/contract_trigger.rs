//! A contract as a trigger of the database: a payload that breaks it is refused inside the application's own transaction, with a
//! message that names the field.
//!
//! Pure: contract and table in, statements out. Each dialect writes the same checks in the same order with the same words as
//! [`Contract::check_text`], as far as it can.

mod mysql;
mod postgres;
mod sqlite;

use tailrace_core::{Error, Result};

use crate::contract::{Choice, Contract, Node};

/// Longest name that all databases take for a trigger or function, with room for a mark at its end.
const NAME_LENGTH: usize = 61;
/// How messages call the value itself.
const ROOT: &str = "payload";

/// Whose SQL is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerDialect {
    /// PostgreSQL 12 or later.
    Postgres,
    /// MySQL 8.0.4 or later.
    MySql,
    /// MariaDB 10.5 or later.
    MariaDb,
    /// SQLite 3.38 or later.
    Sqlite,
}

/// The table that a contract holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractTable {
    /// Schema; what MySQL calls a database. None where the connection's own is meant.
    pub schema: Option<String>,
    /// Table.
    pub table: String,
    /// The column with the payload.
    pub payload: String,
    /// Column and value of the rows that the contract holds for; all rows without.
    pub only: Option<(String, String)>,
}

/// A place in a payload, for messages: text, and variables with the index of an element.
#[derive(Debug, Clone)]
struct Place(Vec<Segment>);

#[derive(Debug, Clone)]
enum Segment {
    Text(String),
    Index(String),
}

/// Lines of SQL, indented.
#[derive(Debug, Default)]
struct Script {
    text: String,
    indent: usize,
}

/// The statements that put a contract in force, each to be run by itself, in order.
///
/// # Errors
/// `contract_invalid` where the database cannot check a rule of it; `config` where names become too long.
pub fn contract_trigger(dialect: TriggerDialect, contract: &Contract, table: &ContractTable) -> Result<Vec<String>> {
    let name = table.trigger_name();
    if name.len() > NAME_LENGTH {
        let message = format!(
            "the trigger's name `{name}` is longer than {NAME_LENGTH} characters; choose a shorter table or type"
        );
        return Err(Error::definite("config", message));
    }
    match dialect {
        TriggerDialect::Postgres => Ok(postgres::statements(contract, table)),
        TriggerDialect::MySql => Ok(mysql::statements(contract, table, mysql::Flavour::MySql)),
        TriggerDialect::MariaDb => Ok(mysql::statements(contract, table, mysql::Flavour::MariaDb)),
        TriggerDialect::Sqlite => sqlite::statements(contract, table),
    }
}

// === impl ContractTable ===

impl ContractTable {
    /// What trigger and function are called, before what tells several of one table apart.
    fn trigger_name(&self) -> String {
        let base = format!("{}_contract", self.table);
        let Some((_, value)) = &self.only else {
            return base;
        };
        let legal = |character: char| {
            if character.is_ascii_alphanumeric() {
                character.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        format!("{base}_{}", value.chars().map(legal).collect::<String>())
    }

    /// A name in the table's schema, in these quotes.
    fn qualified(&self, name: &str, quote: char) -> String {
        let name = quoted(name, quote);
        let schema = self.schema.as_ref();
        schema.map_or_else(|| name.clone(), |schema| format!("{}.{name}", quoted(schema, quote)))
    }
}

/// A name in quotes, those inside doubled.
fn quoted(name: &str, quote: char) -> String {
    let doubled = name.replace(quote, &format!("{quote}{quote}"));
    format!("{quote}{doubled}{quote}")
}

/// Text as a literal of standard SQL.
fn literal(text: &str) -> String {
    quoted(text, '\'')
}

// === impl Place ===

impl Place {
    fn root() -> Self {
        Self(vec![Segment::Text(ROOT.to_owned())])
    }

    fn field(&self, name: &str) -> Self {
        self.with(&[Segment::Text(format!(".{name}"))])
    }

    fn element(&self, index: &str) -> Self {
        let open = Segment::Text("[".to_owned());
        let close = Segment::Text("]".to_owned());
        self.with(&[open, Segment::Index(index.to_owned()), close])
    }

    fn with(&self, more: &[Segment]) -> Self {
        Self(self.0.iter().chain(more).cloned().collect())
    }

    /// The parts of a message about this place: literals, made by `literal`, and variables.
    fn message(&self, problem: &str, literal: impl Fn(&str) -> String) -> Vec<String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Text(more) => text.push_str(more),
                Segment::Index(variable) => {
                    parts.push(literal(&std::mem::take(&mut text)));
                    parts.push(variable.clone());
                }
            }
        }
        text.push_str(&format!(": {problem}"));
        parts.push(literal(&text));
        parts
    }
}

// === impl Script ===

impl Script {
    fn line(&mut self, line: &str) {
        self.text.push_str(&"  ".repeat(self.indent));
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Runs `inside` between two lines, indented.
    fn block(&mut self, open: &str, close: &str, inside: impl FnOnce(&mut Self)) {
        self.line(open);
        self.indent += 1;
        inside(self);
        self.indent -= 1;
        self.line(close);
    }
}

/// How deep values lie below each other, the outermost counted as 1.
fn depth(node: &Node) -> usize {
    let fields = node.properties.iter().map(|(_, node)| depth(node));
    let items = node.items.iter().map(|items| depth(items));
    1 + fields.chain(items).max().unwrap_or(0)
}

/// Names of the fields that are allowed.
fn field_names(node: &Node) -> Vec<&str> {
    node.properties.iter().map(|(name, _)| name.as_str()).collect()
}

/// The bounds of a node's numbers: the comparison that breaks each, its limit, and what is said then.
fn number_bounds(node: &Node) -> Vec<(&'static str, String, String)> {
    let below = node.minimum.as_ref().map(|limit| ("<", limit, "minimum"));
    let above = node.maximum.as_ref().map(|limit| (">", limit, "maximum"));
    let bound = |(sign, limit, word): (&'static str, &serde_json::Number, &str)| {
        (sign, limit.to_string(), Node::bound_problem(word, limit))
    };
    below.into_iter().chain(above).map(bound).collect()
}

/// The same for the length of texts.
fn length_bounds(node: &Node) -> Vec<(&'static str, String, String)> {
    let below = node.minimum_length.map(|limit| ("<", limit, "minLength"));
    let above = node.maximum_length.map(|limit| (">", limit, "maxLength"));
    let bound =
        |(sign, limit, word): (&'static str, u64, &str)| (sign, limit.to_string(), Node::bound_problem(word, &limit));
    below.into_iter().chain(above).map(bound).collect()
}

/// The texts among choices.
fn texts(choices: &[Choice]) -> Vec<&str> {
    let texts = choices.iter().filter_map(|choice| match choice {
        Choice::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

#[cfg(test)]
mod tests;
