//! PL/pgSQL: a function that walks the payload, and a trigger that calls it.

use super::{ContractTable, Place, Script, depth, field_names, length_bounds, literal, number_bounds, quoted};
use crate::contract::{Choice, Contract, JsonType, Node};

pub(super) fn statements(contract: &Contract, table: &ContractTable) -> Vec<String> {
    let name = table.trigger_name();
    let function = table.qualified(&name, '"');
    let on = table.qualified(&table.table, '"');
    let payload = quoted(&table.payload, '"');
    let when = table.only.as_ref().map_or_else(String::new, |(column, value)| {
        format!("WHEN (NEW.{} = {})\n  ", quoted(column, '"'), literal(value))
    });
    let body = body(contract, &payload);
    let tag = tag(&body);
    let trigger = quoted(&name, '"');
    vec![
        // A function that a hostile schema shadows would be somebody else's.
        format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS {tag}\n{body}{tag}"
        ),
        format!("DROP TRIGGER IF EXISTS {trigger} ON {on}"),
        format!(
            "CREATE TRIGGER {trigger}\n  BEFORE INSERT OR UPDATE ON {on}\n  FOR EACH ROW {when}EXECUTE FUNCTION {function}()"
        ),
    ]
}

/// Dollar quotes that are not inside.
fn tag(body: &str) -> String {
    let mut tag = "$contract$".to_owned();
    let mut number = 0;
    while body.contains(&tag) {
        number += 1;
        tag = format!("$contract{number}$");
    }
    tag
}

fn body(contract: &Contract, payload: &str) -> String {
    let mut script = Script::default();
    script.line("DECLARE");
    script.indent += 1;
    for level in 0..depth(&contract.root) {
        script.line(&format!("v{level} jsonb;"));
        script.line(&format!("i{level} integer;"));
    }
    script.line("k text;");
    script.indent -= 1;
    script.block("BEGIN", "END", |script| {
        let is_json = format!("IF pg_typeof(NEW.{payload}) IN ('json'::regtype, 'jsonb'::regtype) THEN");
        let cast = format!("v0 := NEW.{payload}::jsonb;");
        script.block(&is_json, "END IF;", |script| {
            script.line(&cast);
            script.indent -= 1;
            script.line("ELSE");
            script.indent += 1;
            // Costs a subtransaction, which a column that is JSON by itself does not need.
            script.block("BEGIN", "END;", |script| {
                script.line(&cast);
                script.indent -= 1;
                script.line("EXCEPTION WHEN others THEN");
                script.indent += 1;
                raise(script, &Place::root(), "is not JSON");
            });
        });
        demand(script, "v0 IS NULL", &Place::root(), "is missing");
        check(script, &contract.root, 0, &Place::root());
        script.line("RETURN NEW;");
    });
    script.text
}

fn raise(script: &mut Script, place: &Place, problem: &str) {
    let message = place.message(problem, literal).join(" || ");
    script.line(&format!(
        "RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = {message};"
    ));
}

/// Refuses the row where `broken` holds.
fn demand(script: &mut Script, broken: &str, place: &Place, problem: &str) {
    script.block(&format!("IF {broken} THEN"), "END IF;", |script| {
        raise(script, place, problem)
    });
}

/// Checks the value of `v{level}`.
fn check(script: &mut Script, node: &Node, level: usize, place: &Place) {
    let value = format!("v{level}");
    if !node.types.is_empty() {
        let types: Vec<_> = node.types.iter().map(|kind| is_of(&value, *kind)).collect();
        demand(
            script,
            &format!("NOT ({})", types.join(" OR ")),
            place,
            &node.type_problem(),
        );
    }
    if let Some(choices) = &node.choices {
        let values: Vec<_> = choices
            .iter()
            .map(|choice| literal(&json(choice)) + "::jsonb")
            .collect();
        let broken = format!("{value} NOT IN ({})", values.join(", "));
        demand(script, &broken, place, &Node::choice_problem(choices));
    }
    check_scalars(script, node, &value, place);
    check_object(script, node, level, place);
    if let Some(items) = &node.items {
        let (index, inner) = (format!("i{level}"), level + 1);
        let open = format!("IF {} THEN", is_of(&value, JsonType::Array));
        script.block(&open, "END IF;", |script| {
            let each = format!("FOR {index} IN 0 .. jsonb_array_length({value}) - 1 LOOP");
            script.block(&each, "END LOOP;", |script| {
                script.line(&format!("v{inner} := {value} -> {index};"));
                check(script, items, inner, &place.element(&index));
            });
        });
    }
}

fn check_scalars(script: &mut Script, node: &Node, value: &str, place: &Place) {
    let text = format!("({value} #>> '{{}}')");
    let bounds = number_bounds(node);
    if !bounds.is_empty() {
        let open = format!("IF {} THEN", is_of(value, JsonType::Number));
        script.block(&open, "END IF;", |script| {
            for (sign, limit, problem) in &bounds {
                demand(
                    script,
                    &format!("{text}::numeric {sign} {limit}::numeric"),
                    place,
                    problem,
                );
            }
        });
    }
    let bounds = length_bounds(node);
    if bounds.is_empty() && node.pattern.is_none() {
        return;
    }
    let open = format!("IF {} THEN", is_of(value, JsonType::String));
    script.block(&open, "END IF;", |script| {
        for (sign, limit, problem) in &bounds {
            demand(script, &format!("char_length({text}) {sign} {limit}"), place, problem);
        }
        if let Some(pattern) = &node.pattern {
            let broken = format!("{text} !~ {}", literal(pattern.as_str()));
            demand(script, &broken, place, &format!("must match {pattern}"));
        }
    });
}

fn check_object(script: &mut Script, node: &Node, level: usize, place: &Place) {
    if node.required.is_empty() && node.properties.is_empty() && !node.closed {
        return;
    }
    let (value, inner) = (format!("v{level}"), level + 1);
    let open = format!("IF {} THEN", is_of(&value, JsonType::Object));
    script.block(&open, "END IF;", |script| {
        for name in &node.required {
            let broken = format!("{value} -> {} IS NULL", literal(name));
            demand(script, &broken, &place.field(name), "is missing");
        }
        if node.closed {
            let names: Vec<_> = field_names(node).into_iter().map(literal).collect();
            let known = if names.is_empty() {
                "NULL".to_owned()
            } else {
                names.join(", ")
            };
            let each = format!("FOR k IN SELECT jsonb_object_keys({value}) LOOP");
            script.block(&each, "END LOOP;", |script| {
                let broken = format!("(k IN ({known})) IS NOT TRUE");
                let place = place.with(&[
                    super::Segment::Text(".".to_owned()),
                    super::Segment::Index("k".to_owned()),
                ]);
                demand(script, &broken, &place, "is not allowed");
            });
        }
        for (name, node) in &node.properties {
            let open = format!("IF {value} -> {} IS NOT NULL THEN", literal(name));
            script.block(&open, "END IF;", |script| {
                script.line(&format!("v{inner} := {value} -> {};", literal(name)));
                check(script, node, inner, &place.field(name));
            });
        }
    });
}

fn is_of(value: &str, kind: JsonType) -> String {
    let name = match kind {
        JsonType::Integer => {
            // The second comparison may not run before the first.
            return format!(
                "CASE WHEN jsonb_typeof({value}) = 'number' THEN ({value} #>> '{{}}')::numeric % 1 = 0 ELSE false END"
            );
        }
        JsonType::Null => "null",
        JsonType::Boolean => "boolean",
        JsonType::Number => "number",
        JsonType::String => "string",
        JsonType::Array => "array",
        JsonType::Object => "object",
    };
    format!("jsonb_typeof({value}) = '{name}'")
}

fn json(choice: &Choice) -> String {
    match choice {
        Choice::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        other => other.to_string(),
    }
}
