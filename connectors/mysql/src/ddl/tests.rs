use super::*;
use crate::ddl::apply::apply;
use crate::table::{ColumnDefault, TableDefinition};
use proptest::prelude::*;
use std::fmt::Write;

/// Statements as servers log them, each with what it is and what it makes of the tables. Tables that begin with `_` are not
/// captured, and the log does not describe its rows.
const STATEMENTS: &str = include_str!("statements.txt");
const CORPUS_MINIMUM: usize = 150;

fn is_captured(_schema: &str, table: &str) -> bool {
    !table.starts_with('_')
}

const NEEDED: Tracking<'static> = Tracking {
    is_captured: &is_captured,
    log_has_columns: false,
};
const DESCRIBED: Tracking<'static> = Tracking {
    is_captured: &is_captured,
    log_has_columns: true,
};

/// `# server mysql 8.0.36 ansi_quotes`
fn context_of(header: &str) -> SqlContext<'static> {
    let mut words = header.split_whitespace().skip(2);
    let flavour = match words.next().unwrap() {
        "mysql" => Flavour::MySql,
        "mariadb" => Flavour::MariaDb,
        other => panic!("{other}"),
    };
    let numbers: Vec<u16> = words.next().unwrap().split('.').map(|number| number.parse().unwrap()).collect();
    let mut context = SqlContext::new("shop", flavour, Version::new(numbers[0], numbers[1], numbers[2]));
    for mode in words {
        match mode {
            "ansi_quotes" => context.sql_mode |= ANSI_QUOTES,
            "no_backslash_escapes" => context.sql_mode |= NO_BACKSLASH_ESCAPES,
            "not_strict" => context.sql_mode &= !STRICT,
            "oracle" => context.sql_mode |= ORACLE,
            "folds" => context.folds_table_names = true,
            other => panic!("{other}"),
        }
    }
    context
}

/// The corpus as it ought to be: each statement with its outcome.
fn transcript() -> (String, usize) {
    let mut text = String::new();
    let mut context = context_of("# server mysql 8.0.36");
    let mut definitions = Definitions::default();
    let mut count = 0;
    for block in STATEMENTS.split("\n\n") {
        let block = block.trim_matches('\n');
        if block.starts_with("# server") {
            context = context_of(block);
            definitions = Definitions::default();
            writeln!(text, "{block}\n").unwrap();
            continue;
        }
        let statement: Vec<&str> = block.lines().take_while(|line| !line.starts_with("=> ")).collect();
        let sql = statement.join("\n");
        count += 1;
        writeln!(text, "{sql}").unwrap();
        for line in outcome(&sql, &context, &mut definitions) {
            writeln!(text, "=> {line}").unwrap();
        }
        text.push('\n');
    }
    (text, count)
}

fn outcome(sql: &str, context: &SqlContext<'_>, definitions: &mut Definitions) -> Vec<String> {
    let ddl = match classify(sql, context) {
        Statement::Definition(ddl) => ddl,
        Statement::Rows(Some(tables)) => {
            let tables: Vec<String> = tables.iter().map(TableName::qualified).collect();
            return vec![format!("rows of {}", tables.join(" "))];
        }
        Statement::Rows(None) => return vec!["rows of any table".to_owned()],
        other => return vec![format!("{other:?}").to_lowercase()],
    };
    let before = definitions.clone();
    let applied = match apply(definitions, &ddl, context, &NEEDED) {
        Ok(applied) => applied,
        Err(error) => {
            assert_eq!(*definitions, before, "{sql}");
            return vec![format!("error: {}", reason(&error))];
        }
    };
    let mut lines: Vec<String> = applied.effects.iter().map(effect).collect();
    for table in &applied.changed {
        let definition = definitions.get(&table.schema, &table.table);
        lines.push(definition.map_or_else(|| format!("{} is no more known", table.qualified()), definition_text));
    }
    if lines.is_empty() {
        lines.push("nothing".to_owned());
    }
    lines
}

fn reason(error: &DdlError) -> String {
    match error {
        DdlError::NotUnderstood { table, reason, .. } => format!("{table}: {reason}"),
        DdlError::DefinitionUnknown { table, source_table, .. } => format!("{table}: {source_table} is not known"),
    }
}

fn effect(effect: &Effect) -> String {
    let because = |rewrites: &[Rewrite]| rewrites.iter().map(|rewrite| format!("; {rewrite}")).collect::<String>();
    match effect {
        Effect::Created(table) => format!("created {}", table.qualified()),
        Effect::Altered { table, rewrites } => format!("altered {}{}", table.qualified(), because(rewrites)),
        Effect::Renamed { from, to } => format!("renamed {} to {}", from.qualified(), to.qualified()),
        Effect::Replaced { table, by, rewrites } => format!("replaced {} by {}{}", table.qualified(), by.qualified(), because(rewrites)),
        Effect::Truncated(table) => format!("truncated {}", table.qualified()),
        Effect::Dropped(table) => format!("dropped {}", table.qualified()),
    }
}

fn definition_text(definition: &TableDefinition) -> String {
    use crate::column_type::TypeKind::{Enum, Set, Text};
    let mut columns = Vec::new();
    for column in &definition.columns {
        let mut text = format!("{} {}", column.name, column.column_type.source_type());
        if let Text { charset } | Enum { charset, .. } | Set { charset, .. } = &column.column_type.kind {
            write!(text, " {}", charset.name()).unwrap();
        }
        if !column.nullable {
            text.push_str(" not null");
        }
        match &column.default {
            Some(ColumnDefault::Constant(constant)) => write!(text, " default {constant:?}").unwrap(),
            Some(ColumnDefault::Expression(expression)) => write!(text, " default ({expression})").unwrap(),
            None => {}
        }
        if column.generated {
            text.push_str(" generated");
        }
        if let Some(comment) = &column.documentation {
            write!(text, " comment {comment:?}").unwrap();
        }
        columns.push(text);
    }
    let mut text = format!("{}.{}({})", definition.schema, definition.table, columns.join(", "));
    let key: Vec<&str> = definition.key.iter().map(|index| definition.columns[*index].name.as_str()).collect();
    if !key.is_empty() {
        write!(text, " key({})", key.join(", ")).unwrap();
    }
    if let Some(comment) = &definition.documentation {
        write!(text, " comment {comment:?}").unwrap();
    }
    text
}

#[test]
fn every_statement_of_the_corpus_is_what_it_is() {
    let (actual, count) = transcript();
    assert!(count >= CORPUS_MINIMUM, "{count} statements");
    for (number, (actual, expected)) in actual.lines().zip(STATEMENTS.lines()).enumerate() {
        assert_eq!(actual, expected, "line {} of statements.txt", number + 1);
    }
    assert_eq!(actual.trim_end().lines().count(), STATEMENTS.trim_end().lines().count());
}
