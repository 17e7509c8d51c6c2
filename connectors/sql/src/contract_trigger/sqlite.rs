//! SQLite: a trigger's body has statements and no variables, so that each rule is a query that finds what breaks it.
//!
//! A message must be a literal (until SQLite 3.47): it names the field and not the index of an element, nor the name of a field
//! that is not allowed.

use tailrace_core::{Error, Result};

use super::{ContractTable, field_names, length_bounds, literal, number_bounds, quoted, texts};
use crate::contract::{Choice, Contract, JsonType, Node};

/// Writes the queries.
struct Writer {
    text: String,
    payload: String,
}

/// A value below the payload.
#[derive(Clone)]
struct Spot {
    /// An expression for its JSON path.
    path: String,
    /// Where the elements come from that it lies in.
    from: Vec<String>,
    /// What must hold of that: the fields of an object are no elements.
    guards: Vec<String>,
    /// Its name for people.
    name: String,
}

pub(super) fn statements(contract: &Contract, table: &ContractTable) -> Result<Vec<String>> {
    let name = table.trigger_name();
    let on = table.qualified(&table.table, '"');
    let when = table.only.as_ref().map_or_else(String::new, |(column, value)| {
        format!(" WHEN NEW.{} = {}", quoted(column, '"'), literal(value))
    });
    let mut writer = Writer {
        text: String::new(),
        payload: format!("NEW.{}", quoted(&table.payload, '"')),
    };
    let payload = writer.payload.clone();
    writer.demand(&format!("{payload} IS NULL"), &Spot::root(), "is missing");
    writer.demand(&format!("NOT json_valid({payload})"), &Spot::root(), "is not JSON");
    writer.check(&contract.root, &Spot::root())?;
    let mut statements = Vec::new();
    for (event, end) in [("INSERT", ""), ("UPDATE", "_u")] {
        let trigger = table.qualified(&format!("{name}{end}"), '"');
        statements.push(format!("DROP TRIGGER IF EXISTS {trigger}"));
        // The table of a trigger is named without its schema.
        let on = if table.schema.is_some() {
            quoted(&table.table, '"')
        } else {
            on.clone()
        };
        statements.push(format!(
            "CREATE TRIGGER {trigger} BEFORE {event} ON {on} FOR EACH ROW{when}\nBEGIN\n{}END",
            writer.text
        ));
    }
    Ok(statements)
}

// === impl Spot ===

impl Spot {
    fn root() -> Self {
        Self {
            path: literal("$"),
            from: Vec::new(),
            guards: Vec::new(),
            name: super::ROOT.to_owned(),
        }
    }

    fn field(&self, name: &str) -> Self {
        let step = literal(&format!(".\"{name}\""));
        let path = match self.path.strip_suffix('\'') {
            // Two literals are one.
            Some(open) if self.from.is_empty() => format!("{open}{}", step.trim_start_matches('\'')),
            _ => format!("{} || {step}", self.path),
        };
        Self {
            path,
            name: format!("{}.{name}", self.name),
            ..self.clone()
        }
    }
}

// === impl Writer ===

impl Writer {
    /// Refuses the row where `broken` holds anywhere.
    fn demand(&mut self, broken: &str, spot: &Spot, problem: &str) {
        let message = literal(&format!("{}: {problem}", spot.name));
        let from = if spot.from.is_empty() {
            String::new()
        } else {
            format!(" FROM {}", spot.from.join(", "))
        };
        let conditions = spot.guards.iter().map(String::as_str).chain([broken]);
        let conditions = conditions.collect::<Vec<_>>().join(" AND ");
        self.text
            .push_str(&format!("  SELECT RAISE(ABORT, {message}){from} WHERE {conditions};\n"));
    }

    fn kind(&self, spot: &Spot) -> String {
        format!("json_type({}, {})", self.payload, spot.path)
    }

    fn value(&self, spot: &Spot) -> String {
        format!("json_extract({}, {})", self.payload, spot.path)
    }

    /// Checks a value where it is there.
    fn check(&mut self, node: &Node, spot: &Spot) -> Result<()> {
        if !node.types.is_empty() {
            let types: Vec<_> = node.types.iter().map(|kind| self.is_of(spot, *kind)).collect();
            // What is not there is of no type, and no condition on NULL holds.
            let broken = format!("{} IS NOT NULL AND NOT ({})", self.kind(spot), types.join(" OR "));
            self.demand(&broken, spot, &node.type_problem());
        }
        if let Some(choices) = &node.choices {
            let broken = format!(
                "{} IS NOT NULL AND NOT ({})",
                self.kind(spot),
                self.is_choice(spot, choices)
            );
            self.demand(&broken, spot, &Node::choice_problem(choices));
        }
        for (sign, limit, problem) in number_bounds(node) {
            let broken = format!(
                "{} AND {} {sign} {limit}",
                self.is_of(spot, JsonType::Number),
                self.value(spot)
            );
            self.demand(&broken, spot, &problem);
        }
        for (sign, limit, problem) in length_bounds(node) {
            let length = format!("length({})", self.value(spot));
            let broken = format!("{} AND {length} {sign} {limit}", self.is_of(spot, JsonType::String));
            self.demand(&broken, spot, &problem);
        }
        if node.pattern.is_some() {
            let message = format!(
                "the contract has a `pattern` for {}, and SQLite has no regular expressions; leave it out",
                spot.name
            );
            return Err(Error::definite("contract_invalid", message));
        }
        self.check_object(node, spot)?;
        match &node.items {
            Some(items) => self.check_items(items, spot),
            None => Ok(()),
        }
    }

    fn check_object(&mut self, node: &Node, spot: &Spot) -> Result<()> {
        let is_object = self.is_of(spot, JsonType::Object);
        for name in &node.required {
            let field = spot.field(name);
            let broken = format!("{is_object} AND {} IS NULL", self.kind(&field));
            self.demand(&broken, &field, "is missing");
        }
        if node.closed {
            let names = field_names(node);
            let known: Vec<_> = names.iter().map(|name| literal(name)).collect();
            let mut fields = spot.clone();
            fields
                .from
                .push(format!("json_each({}, {}) AS field", self.payload, spot.path));
            let broken = format!("{is_object} AND field.key NOT IN ({})", known.join(", "));
            let problem = format!("has a field that is not allowed; allowed are {}", names.join(", "));
            self.demand(&broken, &fields, &problem);
        }
        for (name, node) in &node.properties {
            if name.contains('"') {
                let message = format!("the contract names a field `{name}`, which no JSON path of SQLite can name");
                return Err(Error::definite("contract_invalid", message));
            }
            self.check(node, &spot.field(name))?;
        }
        Ok(())
    }

    fn check_items(&mut self, items: &Node, spot: &Spot) -> Result<()> {
        let alias = format!("e{}", spot.from.len());
        let mut elements = Spot {
            path: format!("{alias}.fullkey"),
            name: format!("{}[]", spot.name),
            ..spot.clone()
        };
        elements
            .from
            .push(format!("json_each({}, {}) AS {alias}", self.payload, spot.path));
        elements.guards.push(self.is_of(spot, JsonType::Array));
        self.check(items, &elements)
    }

    fn is_of(&self, spot: &Spot, kind: JsonType) -> String {
        let is = self.kind(spot);
        match kind {
            JsonType::Integer => {
                let value = self.value(spot);
                format!("({is} = 'integer' OR {is} = 'real' AND {value} = CAST({value} AS INTEGER))")
            }
            JsonType::Number => format!("{is} IN ('integer', 'real')"),
            JsonType::Boolean => format!("{is} IN ('true', 'false')"),
            JsonType::Null => format!("{is} = 'null'"),
            JsonType::String => format!("{is} = 'text'"),
            JsonType::Array => format!("{is} = 'array'"),
            JsonType::Object => format!("{is} = 'object'"),
        }
    }

    fn is_choice(&self, spot: &Spot, choices: &[Choice]) -> String {
        let mut ways = Vec::new();
        for choice in choices {
            match choice {
                Choice::Null => ways.push(self.is_of(spot, JsonType::Null)),
                Choice::Boolean(value) => ways.push(format!("{} = '{value}'", self.kind(spot))),
                Choice::Number(value) => ways.push(format!(
                    "({} AND {} = {value})",
                    self.is_of(spot, JsonType::Number),
                    self.value(spot)
                )),
                Choice::Text(_) => {}
            }
        }
        let texts: Vec<_> = texts(choices).into_iter().map(literal).collect();
        if !texts.is_empty() {
            let is_text = self.is_of(spot, JsonType::String);
            ways.push(format!(
                "({is_text} AND {} IN ({}))",
                self.value(spot),
                texts.join(", ")
            ));
        }
        ways.join(" OR ")
    }
}
