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
    let numbers: Vec<u16> = words
        .next()
        .unwrap()
        .split('.')
        .map(|number| number.parse().unwrap())
        .collect();
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
    for block in STATEMENTS.trim_end().split("\n\n") {
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
        DdlError::DefinitionUnknown {
            table, source_table, ..
        } => format!("{table}: {source_table} is not known"),
    }
}

fn effect(effect: &Effect) -> String {
    let because = |rewrites: &[Rewrite]| {
        rewrites
            .iter()
            .map(|rewrite| format!("; {rewrite}"))
            .collect::<String>()
    };
    match effect {
        Effect::Created(table) => format!("created {}", table.qualified()),
        Effect::Altered { table, rewrites } => format!("altered {}{}", table.qualified(), because(rewrites)),
        Effect::Renamed { from, to } => format!("renamed {} to {}", from.qualified(), to.qualified()),
        Effect::Replaced { table, by, rewrites } => format!(
            "replaced {} by {}{}",
            table.qualified(),
            by.qualified(),
            because(rewrites)
        ),
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
    let key: Vec<&str> = definition
        .key
        .iter()
        .map(|index| definition.columns[*index].name.as_str())
        .collect();
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

#[test]
fn a_log_that_describes_its_rows_needs_no_definition() {
    let context = context_of("# server mysql 8.0.36");
    let mut definitions = Definitions::default();
    let mut run = |sql: &str| {
        let Statement::Definition(ddl) = classify(sql, &context) else {
            panic!("{sql}")
        };
        let applied = apply(&mut definitions, &ddl, &context, &DESCRIBED).unwrap();
        let known = definitions.get("shop", "t").is_some();
        (applied.effects.iter().map(effect).collect::<Vec<_>>().join(", "), known)
    };
    assert_eq!(
        run("CREATE TABLE t (id INT PRIMARY KEY)"),
        ("created shop.t".to_owned(), true)
    );
    let (told, known) = run("ALTER TABLE t FROBNICATE");
    assert_eq!(
        (told.as_str(), known),
        (
            "altered shop.t; the statement is not understood: `FROBNICATE` is not known here",
            false
        )
    );
    assert_eq!(
        run("ALTER TABLE t ADD x INT DEFAULT (rand())").0,
        "altered shop.t; the new column `x` was filled by the server"
    );
    assert_eq!(run("CREATE TABLE t AS SELECT 1"), ("created shop.t".to_owned(), false));
    assert_eq!(
        run("RENAME TABLE _x TO t"),
        ("renamed shop._x to shop.t".to_owned(), false)
    );
    assert!(run("RENAME TABLE t TOO").0.contains("its form is not known"));
}

#[test]
fn errors_say_what_where_and_what_to_do() {
    let context = context_of("# server mysql 8.0.36");
    let mut definitions = Definitions::default();
    let mut error = |sql: &str| {
        let Statement::Definition(ddl) = classify(sql, &context) else {
            panic!("{sql}")
        };
        Error::from(apply(&mut definitions, &ddl, &context, &NEEDED).unwrap_err())
    };
    let not_understood = error("CREATE TABLE t (a KLINGON)");
    assert_eq!(not_understood.code(), "ddl_not_understood");
    let report = not_understood.report();
    for part in [
        "CREATE TABLE t (a KLINGON)",
        "shop.t",
        "klingon",
        "binlog_row_metadata=FULL",
    ] {
        assert!(report.contains(part), "{report}");
    }
    let long = error(&format!("CREATE TABLE t (a KLINGON) COMMENT '{}'", "ü".repeat(1000))).report();
    assert!(long.chars().count() < 1000 && long.contains('…'), "{long}");
    assert_eq!(error("CREATE TABLE t LIKE elsewhere.t").code(), "definition_unknown");
}

#[test]
fn keys_that_are_known_only_as_such_can_be_dropped() {
    let context = context_of("# server mysql 8.0.36");
    let mut definitions = Definitions::default();
    outcome("CREATE TABLE t (id INT PRIMARY KEY, b INT)", &context, &mut definitions);
    let mut from_catalogue = definitions.get("shop", "t").unwrap().clone();
    from_catalogue.unique_keys.clear();
    definitions.define(from_catalogue);
    let dropped = outcome("ALTER TABLE t DROP PRIMARY KEY", &context, &mut definitions);
    assert_eq!(dropped, ["altered shop.t", "shop.t(id int not null, b int)"]);
}

#[test]
fn a_key_of_first_characters_is_no_rows_key_and_has_its_name() {
    let context = context_of("# server mysql 8.0.36");
    let mut definitions = Definitions::default();
    let create = "CREATE TABLE t (v VARCHAR(20) CHARSET latin1 NOT NULL, b INT NOT NULL, UNIQUE (v(5)), UNIQUE z (b))";
    outcome(create, &context, &mut definitions);
    let key_of = |definitions: &Definitions| definitions.get("shop", "t").unwrap().key.clone();
    assert_eq!(key_of(&definitions), [1]);
    outcome("ALTER TABLE t DROP KEY v, DROP KEY z", &context, &mut definitions);
    assert!(key_of(&definitions).is_empty());
    outcome("CREATE UNIQUE INDEX u ON t (b, v(5))", &context, &mut definitions);
    assert!(key_of(&definitions).is_empty());
    outcome("ALTER TABLE t ADD PRIMARY KEY (v(5))", &context, &mut definitions);
    assert_eq!(key_of(&definitions), [0]);
}

// --- a witness

/// Columns of a CREATE TABLE as `sqlparser` reads them: name, NOT NULL, and the key.
type Witnessed = (Vec<(String, bool)>, Vec<String>);

fn witnessed(sql: &str) -> Option<Witnessed> {
    use sqlparser::ast::{ColumnOption, Statement as Parsed, TableConstraint};
    let parsed = sqlparser::parser::Parser::parse_sql(&sqlparser::dialect::MySqlDialect {}, sql).ok()?;
    let [Parsed::CreateTable(table)] = parsed.as_slice() else {
        return None;
    };
    let mut key: Vec<String> = Vec::new();
    let mut columns = Vec::new();
    for column in &table.columns {
        let has = |wanted: fn(&ColumnOption) -> bool| column.options.iter().any(|option| wanted(&option.option));
        if has(|option| matches!(option, ColumnOption::PrimaryKey(_))) {
            key.push(column.name.value.clone());
        }
        columns.push((
            column.name.value.clone(),
            has(|option| matches!(option, ColumnOption::NotNull)),
        ));
    }
    for constraint in &table.constraints {
        if let TableConstraint::PrimaryKey(primary) = constraint {
            let names = primary
                .columns
                .iter()
                .map(|part| part.column.expr.to_string().trim_matches('`').to_owned());
            key.extend(names);
        }
    }
    (!columns.is_empty()).then_some((columns, key))
}

#[test]
fn another_parser_reads_the_same_where_it_reads_at_all() {
    let context = context_of("# server mysql 8.0.36");
    let (mut creates, mut agreed) = (0, 0);
    for block in STATEMENTS.split("\n\n").filter(|block| !block.starts_with("# server")) {
        let sql = block
            .lines()
            .take_while(|line| !line.starts_with("=> "))
            .collect::<Vec<_>>()
            .join("\n");
        let Statement::Definition(ddl) = classify(&sql, &context) else {
            continue;
        };
        let DdlKind::CreateTable { table, .. } = &ddl.kind else {
            continue;
        };
        let mut definitions = Definitions::default();
        definitions.define_schema(&table.schema, Charset::Utf8mb4);
        let tracking = Tracking {
            is_captured: &|_, _| true,
            log_has_columns: false,
        };
        if apply(&mut definitions, &ddl, &context, &tracking).is_err() {
            continue;
        }
        creates += 1;
        let Some((columns, key)) = witnessed(&sql) else {
            continue;
        };
        let ours = definitions.get(&table.schema, &table.table).unwrap();
        assert_eq!(ours.columns.len(), columns.len(), "{sql}");
        for (ours, (name, not_null)) in ours.columns.iter().zip(&columns) {
            assert_eq!(&ours.name, name, "{sql}");
            assert!(!not_null || !ours.nullable, "{sql}");
        }
        if !key.is_empty() {
            let ours: Vec<&str> = ours
                .key
                .iter()
                .map(|index| ours.columns[*index].name.as_str())
                .collect();
            assert_eq!(ours, key, "{sql}");
        }
        agreed += 1;
    }
    assert!(agreed >= 15 && creates > agreed, "{agreed} of {creates}");
}

proptest! {
    #[test]
    fn no_text_is_too_odd(
        words in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(vec![
                    "ALTER", "CREATE", "TABLE", "DROP", "RENAME", "t", "`t`", "ADD", "COLUMN", "(", ")", ",", "INT", "TO", "KEY",
                    "PRIMARY", "PARTITION", "BY", "DEFAULT", "'x'", "ENUM", "CHANGE", "MODIFY", "AFTER", "FIRST", "=", ".", "/*!",
                    "*/", "INDEX", "ON", "UNIQUE", "CHARACTER", "SET", "AS", "XA", "COMMIT", "X'0a'", "5", "LIKE", "NULL", "NOT",
                ]).prop_map(str::to_owned),
                "\\PC{0,6}",
            ],
            0..24,
        ),
        mode in any::<u64>(),
    ) {
        let sql = words.join(" ");
        for flavour in [Flavour::MySql, Flavour::MariaDb] {
            let context = SqlContext { sql_mode: mode, ..SqlContext::new("shop", flavour, Version::new(10, 6, 0)) };
            let mut definitions = Definitions::default();
            definitions.define_schema("shop", Charset::Latin1);
            outcome("CREATE TABLE t (t INT, x VARCHAR(5), PRIMARY KEY (t))", &context, &mut definitions);
            // `outcome` asserts that an error changes nothing.
            outcome(&sql, &context, &mut definitions);
        }
    }
}
