//! MySQL and MariaDB: a trigger for inserts and one for updates, each with the whole walk in it.

use super::{ContractTable, Place, Script, depth, field_names, length_bounds, number_bounds, quoted, texts};
use crate::contract::{Choice, Contract, JsonType, Node};

/// Longest text that a signalled error takes.
const MESSAGE_LENGTH: usize = 128;
/// JSON's numbers as the server calls them.
const NUMBERS: &str = "'INTEGER', 'UNSIGNED INTEGER', 'DOUBLE', 'DECIMAL'";

/// Which of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    MySql,
    MariaDb,
}

/// Writes the walk.
struct Writer {
    script: Script,
    flavour: Flavour,
}

pub(super) fn statements(contract: &Contract, table: &ContractTable, flavour: Flavour) -> Vec<String> {
    let name = table.trigger_name();
    let on = table.qualified(&table.table, '`');
    let mut statements = Vec::new();
    for (event, end) in [("INSERT", ""), ("UPDATE", "_u")] {
        let trigger = table.qualified(&format!("{name}{end}"), '`');
        let body = body(contract, table, flavour);
        statements.push(format!("DROP TRIGGER IF EXISTS {trigger}"));
        statements.push(format!(
            "CREATE TRIGGER {trigger} BEFORE {event} ON {on} FOR EACH ROW\n{}",
            body.trim_end()
        ));
    }
    statements
}

fn body(contract: &Contract, table: &ContractTable, flavour: Flavour) -> String {
    let mut writer = Writer {
        script: Script::default(),
        flavour,
    };
    let levels = depth(&contract.root);
    let column = format!("NEW.{}", quoted(&table.payload, '`'));
    writer.block("BEGIN", "END", |writer| {
        for level in 0..levels {
            writer.line(&format!("DECLARE v{level}, k{level} JSON;"));
            writer.line(&format!("DECLARE i{level} INT;"));
        }
        writer.line("DECLARE t LONGTEXT CHARACTER SET utf8mb4;");
        writer.line("DECLARE n DECIMAL(65,20);");
        writer.line("DECLARE problem LONGTEXT CHARACTER SET utf8mb4;");
        writer.block("contract: BEGIN", "END contract;", |writer| {
            if let Some((column, value)) = &table.only {
                let other = format!("NOT (NEW.{} <=> {})", quoted(column, '`'), literal(value));
                writer.block(&format!("IF {other} THEN"), "END IF;", |writer| {
                    writer.line("LEAVE contract;")
                });
            }
            writer.demand(&format!("{column} IS NULL"), &Place::root(), "is missing");
            writer.demand(&format!("NOT JSON_VALID({column})"), &Place::root(), "is not JSON");
            writer.line(&format!("SET v0 = {column};"));
            writer.check(&contract.root, 0, &Place::root());
        });
        writer.block("IF problem IS NOT NULL THEN", "END IF;", |writer| {
            writer.line(&format!("SET problem = LEFT(problem, {MESSAGE_LENGTH});"));
            writer.line("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = problem;");
        });
    });
    writer.script.text
}

// === impl Writer ===

impl Writer {
    fn line(&mut self, line: &str) {
        self.script.line(line);
    }

    fn block(&mut self, open: &str, close: &str, inside: impl FnOnce(&mut Self)) {
        self.script.line(open);
        self.script.indent += 1;
        inside(self);
        self.script.indent -= 1;
        self.script.line(close);
    }

    /// Refuses the row where `broken` holds.
    fn demand(&mut self, broken: &str, place: &Place, problem: &str) {
        let message = place.message(problem, literal).join(", ");
        self.block(&format!("IF {broken} THEN"), "END IF;", |writer| {
            writer.line(&format!("SET problem = CONCAT({message});"));
            writer.line("LEAVE contract;");
        });
    }

    /// Checks the value of `v{level}`.
    fn check(&mut self, node: &Node, level: usize, place: &Place) {
        let value = format!("v{level}");
        if !node.types.is_empty() {
            let types: Vec<_> = node.types.iter().map(|kind| is_of(&value, *kind)).collect();
            let problem = node.type_problem();
            self.demand(&format!("NOT ({})", types.join(" OR ")), place, &problem);
        }
        if let Some(choices) = &node.choices {
            let broken = format!("NOT ({})", is_choice(&value, choices));
            self.demand(&broken, place, &Node::choice_problem(choices));
        }
        self.check_scalars(node, &value, place);
        self.check_object(node, level, place);
        if let Some(items) = &node.items {
            self.check_items(items, level, place);
        }
    }

    fn check_scalars(&mut self, node: &Node, value: &str, place: &Place) {
        let bounds = number_bounds(node);
        if !bounds.is_empty() {
            self.block(
                &format!("IF {} THEN", is_of(value, JsonType::Number)),
                "END IF;",
                |writer| {
                    writer.line(&format!("SET n = {};", number(value)));
                    for (sign, limit, problem) in &bounds {
                        writer.demand(&format!("n {sign} {limit}"), place, problem);
                    }
                },
            );
        }
        let bounds = length_bounds(node);
        if bounds.is_empty() && node.pattern.is_none() {
            return;
        }
        self.block(
            &format!("IF {} THEN", is_of(value, JsonType::String)),
            "END IF;",
            |writer| {
                writer.line(&format!("SET t = JSON_UNQUOTE({value});"));
                for (sign, limit, problem) in &bounds {
                    writer.demand(&format!("CHAR_LENGTH(t) {sign} {limit}"), place, problem);
                }
                if let Some(pattern) = &node.pattern {
                    let broken = match writer.flavour {
                        Flavour::MySql => format!("NOT REGEXP_LIKE(t, {}, 'c')", literal(pattern.as_str())),
                        // Without it the collation decides about upper and lower case.
                        Flavour::MariaDb => format!("t NOT REGEXP {}", literal(&format!("(?-i){pattern}"))),
                    };
                    writer.demand(&broken, place, &format!("must match {pattern}"));
                }
            },
        );
    }

    fn check_object(&mut self, node: &Node, level: usize, place: &Place) {
        if node.required.is_empty() && node.properties.is_empty() && !node.closed {
            return;
        }
        let (value, inner) = (format!("v{level}"), level + 1);
        self.block(
            &format!("IF {} THEN", is_of(&value, JsonType::Object)),
            "END IF;",
            |writer| {
                for name in &node.required {
                    let broken = format!("NOT JSON_CONTAINS_PATH({value}, 'one', {})", path(name));
                    writer.demand(&broken, &place.field(name), "is missing");
                }
                if node.closed {
                    writer.check_names(node, level, place);
                }
                for (name, node) in &node.properties {
                    let open = format!("IF JSON_CONTAINS_PATH({value}, 'one', {}) THEN", path(name));
                    writer.block(&open, "END IF;", |writer| {
                        writer.line(&format!("SET v{inner} = JSON_EXTRACT({value}, {});", path(name)));
                        writer.check(node, inner, &place.field(name));
                    });
                }
            },
        );
    }

    fn check_names(&mut self, node: &Node, level: usize, place: &Place) {
        let (keys, index) = (format!("k{level}"), format!("i{level}"));
        self.line(&format!("SET {keys} = JSON_KEYS(v{level});"));
        self.each(&keys, &index, |writer| {
            writer.line(&format!(
                "SET t = JSON_UNQUOTE(JSON_EXTRACT({keys}, CONCAT('$[', {index}, ']')));"
            ));
            let names: Vec<_> = field_names(node).into_iter().map(bytes_literal).collect();
            let known = if names.is_empty() {
                "NULL".to_owned()
            } else {
                names.join(", ")
            };
            let broken = format!("(CAST(t AS BINARY) IN ({known})) IS NOT TRUE");
            let place = place.with(&[
                super::Segment::Text(".".to_owned()),
                super::Segment::Index("t".to_owned()),
            ]);
            writer.demand(&broken, &place, "is not allowed");
        });
    }

    fn check_items(&mut self, items: &Node, level: usize, place: &Place) {
        let (value, index, inner) = (format!("v{level}"), format!("i{level}"), level + 1);
        self.block(
            &format!("IF {} THEN", is_of(&value, JsonType::Array)),
            "END IF;",
            |writer| {
                writer.each(&value, &index, |writer| {
                    writer.line(&format!(
                        "SET v{inner} = JSON_EXTRACT({value}, CONCAT('$[', {index}, ']'));"
                    ));
                    writer.check(items, inner, &place.element(&index));
                });
            },
        );
    }

    fn each(&mut self, value: &str, index: &str, inside: impl FnOnce(&mut Self)) {
        self.line(&format!("SET {index} = 0;"));
        self.block(
            &format!("WHILE {index} < JSON_LENGTH({value}) DO"),
            "END WHILE;",
            |writer| {
                inside(writer);
                writer.line(&format!("SET {index} = {index} + 1;"));
            },
        );
    }
}

fn is_of(value: &str, kind: JsonType) -> String {
    let names = match kind {
        JsonType::Integer => {
            return format!(
                "CASE WHEN JSON_TYPE({value}) IN ({NUMBERS}) THEN {number} = FLOOR({number}) ELSE FALSE END",
                number = number(value)
            );
        }
        JsonType::Null => "'NULL'",
        JsonType::Boolean => "'BOOLEAN'",
        JsonType::Number => NUMBERS,
        JsonType::String => "'STRING'",
        JsonType::Array => "'ARRAY'",
        JsonType::Object => "'OBJECT'",
    };
    format!("JSON_TYPE({value}) IN ({names})")
}

fn is_choice(value: &str, choices: &[Choice]) -> String {
    let mut ways = Vec::new();
    for choice in choices {
        match choice {
            Choice::Null => ways.push(is_of(value, JsonType::Null)),
            Choice::Boolean(choice) => ways.push(format!(
                "({} AND JSON_UNQUOTE({value}) = '{choice}')",
                is_of(value, JsonType::Boolean)
            )),
            Choice::Number(choice) => ways.push(format!(
                "CASE WHEN {} THEN {} = {choice} ELSE FALSE END",
                is_of(value, JsonType::Number),
                number(value)
            )),
            Choice::Text(_) => {}
        }
    }
    let texts: Vec<_> = texts(choices).into_iter().map(bytes_literal).collect();
    if !texts.is_empty() {
        ways.push(format!(
            "({} AND CAST(JSON_UNQUOTE({value}) AS BINARY) IN ({}))",
            is_of(value, JsonType::String),
            texts.join(", ")
        ));
    }
    ways.join(" OR ")
}

fn number(value: &str) -> String {
    format!("CAST(JSON_UNQUOTE({value}) AS DECIMAL(65,20))")
}

/// The path of a field.
fn path(name: &str) -> String {
    let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
    literal(&format!("$.\"{escaped}\""))
}

/// Text as a literal, whatever the character set of the connection.
fn literal(text: &str) -> String {
    format!("_utf8mb4'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Text as its bytes: a comparison of texts would take `a` for `A`.
fn bytes_literal(text: &str) -> String {
    format!("CAST({} AS BINARY)", literal(text))
}
