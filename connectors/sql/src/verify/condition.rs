//! Conditions by which rows of given keys are found, in the words of every database.

use std::collections::BTreeSet;

use tailrace_core::schema::Column;
use tailrace_core::value::{LogicalType, TextKind};
use tailrace_core::{Error, Result};

use super::canonical::{filled_length, uuid};
use super::pairing::{Key, Spelling};
use crate::cursor::CursorValue;
use crate::dialect::Syntax;
use crate::sink::plain;
use crate::statement::Statement;

/// A column that rows are found by.
pub(super) struct KeyColumn {
    pub(super) index: usize,
    pub(super) column: Column,
    /// In which ways it may have a value.
    pub(super) spelling: Spelling,
}

// === impl KeyColumn ===

impl KeyColumn {
    /// Rows cannot be found by its values, or not walked over.
    pub(super) fn not_comparable(&self) -> Error {
        let Column { name, source_type, .. } = &self.column;
        let message = format!(
            "column {name} is part of the key and of type {source_type}, by whose values rows are not looked up; give the sink another `key`, or \
             leave the table out with --table"
        );
        Error::definite("key_not_comparable", message)
    }

    /// Whether rows would be found by this value, which is one of the column's own. Where they are found by none it is said when one is asked
    /// for.
    ///
    /// # Errors
    /// Definite `key_not_comparable`.
    pub(super) fn check_own(&self, value: &str) -> Result<()> {
        let is_lost = is_known(&self.column) && literal(&self.column, value).is_none();
        if is_lost { Err(self.not_comparable()) } else { Ok(()) }
    }

    /// Whether a value may be there in more ways than can be listed.
    pub(super) fn is_spelled_freely(&self) -> bool {
        let LogicalType::Text(kind) = &self.column.logical_type else {
            return false;
        };
        let is_listed = matches!(kind, TextKind::Uuid | TextKind::Enum(_) | TextKind::Set(_));
        self.spelling == Spelling::Identifier && !is_listed
    }

    /// A canonical value as the column is compared with; `None` where no row can have it.
    fn literal(&self, value: &str) -> Result<Option<CursorValue>> {
        if !is_known(&self.column) {
            return Err(self.not_comparable());
        }
        Ok(literal(&self.column, value))
    }
}

/// The rows behind a key, of those that have one: `a >= x AND (a > x OR (a = x AND (b > y)))`: the first condition alone is what an index serves.
pub(super) fn behind(
    mut statement: Statement,
    syntax: &dyn Syntax,
    columns: &[KeyColumn],
    after: Option<&Key>,
) -> Result<Statement> {
    let mut separator = " WHERE ";
    for column in columns.iter().filter(|column| column.column.nullable) {
        statement = statement.then(format!(
            "{separator}{} IS NOT NULL",
            syntax.identifier(&column.column.name)
        ));
        separator = " AND ";
    }
    let Some(after) = after else {
        return Ok(statement);
    };
    statement = statement.then(separator);
    let mut open = 0;
    for (place, (column, value)) in columns.iter().zip(after).enumerate() {
        let name = syntax.identifier(&column.column.name);
        let value = column.literal(value)?.ok_or_else(|| column.not_comparable())?;
        if place + 1 == columns.len() {
            statement = statement.then(format!("{name} > ")).value(column.index, &value);
            break;
        }
        statement = statement.then(format!("{name} >= ")).value(column.index, &value);
        statement = statement.then(format!(" AND ({name} > ")).value(column.index, &value);
        statement = statement.then(format!(" OR ({name} = ")).value(column.index, &value);
        statement = statement.then(" AND ");
        open += 2;
    }
    Ok(statement.then(")".repeat(open)))
}

/// How values of a key are compared with those of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// One by one, which an index serves.
    Listed,
    /// Whatever the letters and hyphens are of those that may be there in any spelling. No index serves it.
    Folded,
}

/// The rows of these keys: `a IN (1, 2)`, or `(a = 1 AND b = 2) OR (a = 1 AND b = 3)`, which every database serves by an index. `None` where
/// none of them can be there.
pub(super) fn among(
    mut statement: Statement,
    syntax: &dyn Syntax,
    columns: &[KeyColumn],
    keys: &[&Key],
    how: Match,
) -> Result<Option<Statement>> {
    statement = statement.then(" WHERE ");
    if let [column] = columns {
        let mut values = Vec::new();
        for value in keys.iter().filter_map(|key| key.first()) {
            values.extend(literals(column, value, how)?);
        }
        let compared = compared(syntax, column, how);
        return Ok((!values.is_empty()).then(|| one_of(statement, &compared, column, &values)));
    }
    let mut separator = "(";
    for key in keys {
        let values = columns.iter().zip(*key);
        let values = values.map(|(column, value)| literals(column, value, how));
        let values: Vec<Vec<CursorValue>> = values.collect::<Result<_>>()?;
        if values.iter().any(Vec::is_empty) {
            continue;
        }
        statement = statement.then(separator);
        for (place, (column, values)) in columns.iter().zip(&values).enumerate() {
            statement = statement.then(if place == 0 { "" } else { " AND " });
            statement = match values.as_slice() {
                [value] if column.spelling == Spelling::Exact => statement
                    .then(format!("{} = ", syntax.identifier(&column.column.name)))
                    .value(column.index, value),
                values => one_of(statement, &compared(syntax, column, how), column, values),
            };
        }
        statement = statement.then(")");
        separator = " OR (";
    }
    Ok((separator != "(").then_some(statement))
}

/// A value as it is compared with, in every way in which the column may have it: a sink writes what the events have, and not every database
/// overlooks what makes no difference where it compares.
fn literals(column: &KeyColumn, value: &str, how: Match) -> Result<Vec<CursorValue>> {
    let spellings = match column.spelling {
        Spelling::Blanks(length) => BTreeSet::from([value.to_owned(), format!("{value:length$}")]),
        Spelling::Zeros(length) => with_zeros(value, filled_length(&column.column), length),
        Spelling::Identifier if column.is_spelled_freely() => identifiers(value, how),
        Spelling::Exact | Spelling::Identifier => BTreeSet::from([value.to_owned()]),
    };
    let mut literals = Vec::new();
    for value in &spellings {
        literals.extend(column.literal(value)?);
    }
    Ok(literals)
}

/// The digits of bytes with all zeros that may follow them, or, where the column fills its values up, with all that do.
fn with_zeros(digits: &str, own: Option<usize>, length: usize) -> BTreeSet<String> {
    const DIGITS_OF_A_BYTE: usize = 2;
    let bytes = digits.len() / DIGITS_OF_A_BYTE;
    let lengths = own.map_or(bytes..=length.max(bytes), |own| own.max(bytes)..=own.max(bytes));
    let filled = |bytes: usize| format!("{digits:0<width$}", width = bytes * DIGITS_OF_A_BYTE);
    lengths.map(filled).collect()
}

/// The usual ways to write a UUID.
fn identifiers(value: &str, how: Match) -> BTreeSet<String> {
    if uuid(value).is_none() {
        return BTreeSet::from([value.to_owned()]);
    }
    let digits = value.replace('-', "");
    match how {
        Match::Listed => [
            value.to_ascii_uppercase(),
            digits.to_ascii_uppercase(),
            value.to_owned(),
            digits,
        ]
        .into(),
        Match::Folded => [digits].into(),
    }
}

/// What of a column is compared.
fn compared(syntax: &dyn Syntax, column: &KeyColumn, how: Match) -> String {
    let name = syntax.identifier(&column.column.name);
    match how {
        Match::Folded if column.is_spelled_freely() => format!("lower(replace({name}, '-', ''))"),
        Match::Folded | Match::Listed => name,
    }
}

fn one_of(mut statement: Statement, compared: &str, column: &KeyColumn, values: &[CursorValue]) -> Statement {
    let mut separator = format!("{compared} IN (");
    for value in values {
        statement = statement.then(separator).value(column.index, value);
        separator = ", ".to_owned();
    }
    statement.then(")")
}

/// Whether rows are looked up by values of a column.
fn is_known(column: &Column) -> bool {
    let source_type = column.source_type.to_ascii_lowercase();
    match column.logical_type {
        // Each dialect has its own form of bytes.
        LogicalType::Bytes => source_type == "bytea" || source_type.contains("binary"),
        LogicalType::Boolean
        | LogicalType::Int16
        | LogicalType::Int32
        | LogicalType::Int64
        | LogicalType::UnsignedInt64
        | LogicalType::Year
        | LogicalType::Decimal { .. }
        | LogicalType::Date
        | LogicalType::Time { .. }
        | LogicalType::Timestamp { .. }
        | LogicalType::TimestampTz { .. }
        | LogicalType::Text(_) => true,
        _ => false,
    }
}

fn literal(column: &Column, value: &str) -> Option<CursorValue> {
    let source_type = column.source_type.to_ascii_lowercase();
    let text = |value: &str| CursorValue::Text(value.to_owned());
    match &column.logical_type {
        // A boolean column of PostgreSQL is not compared with numbers, but with '0' and '1'.
        LogicalType::Boolean if source_type.starts_with("bool") => truth(value).map(|value| text(&value.to_string())),
        LogicalType::Boolean => truth(value).or_else(|| value.parse().ok()).map(CursorValue::Integer),
        LogicalType::Int16 | LogicalType::Int32 | LogicalType::Int64 | LogicalType::Year => {
            value.parse().ok().map(CursorValue::Integer)
        }
        LogicalType::UnsignedInt64 => value.parse::<u64>().ok().map(|_| text(value)),
        LogicalType::Decimal { .. } => {
            let is_number = plain::digits(value).is_some() || matches!(value, "NaN" | "Infinity" | "-Infinity");
            is_number.then(|| text(value))
        }
        LogicalType::Bytes => bytes(&source_type, value),
        // A moment is compared with its time of day, and a date has none; a database that keeps dates as text would find none.
        LogicalType::Date => {
            let date = value.split_once([' ', 'T']).map_or(value, |(date, _)| date);
            is_time(date).then(|| text(date))
        }
        LogicalType::Time { .. } => is_time(value).then(|| text(value)),
        // Not every database knows the letters of ISO 8601. The sessions are in UTC.
        LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. } => {
            let value = value.strip_suffix('Z').unwrap_or(value).replacen('T', " ", 1);
            is_time(&value).then_some(CursorValue::Text(value))
        }
        LogicalType::Text(kind) => is_text(kind, value).then(|| text(value)),
        _ => None,
    }
}

/// What is true, as a number: text of events says it in letters.
fn truth(value: &str) -> Option<i64> {
    match value {
        "1" | "true" | "t" => Some(1),
        "0" | "false" | "f" => Some(0),
        _ => None,
    }
}

fn bytes(source_type: &str, digits: &str) -> Option<CursorValue> {
    // A UUID has hyphens between them.
    let digits = digits.replace('-', "");
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = if source_type == "bytea" {
        format!("\\x{digits}")
    } else {
        digits
    };
    Some(CursorValue::Text(digits))
}

/// Whether it looks like a date or a time: databases refuse to compare with anything else.
fn is_time(value: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b':' | b'.' | b' ');
    let is_digits = value.bytes().all(is_part) && value.bytes().any(|byte| byte.is_ascii_digit());
    is_digits || matches!(value, "infinity" | "-infinity")
}

/// Whether a type of text has this value: those that have few are no others to be compared with.
fn is_text(kind: &TextKind, value: &str) -> bool {
    const UUID_DIGITS: usize = 32;
    match kind {
        TextKind::Uuid => {
            let digits = value.bytes().filter(|byte| *byte != b'-');
            digits.clone().count() == UUID_DIGITS && digits.clone().all(|byte| byte.is_ascii_hexdigit())
        }
        TextKind::Enum(symbols) => symbols.iter().any(|symbol| symbol == value),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use tailrace_core::schema::TableName;
    use tailrace_core::value::TextKind;

    use super::super::sample::column;
    use super::*;

    struct Quotes;

    impl Syntax for Quotes {
        fn identifier(&self, name: &str) -> String {
            format!("\"{name}\"")
        }

        fn table(&self, name: &TableName) -> String {
            self.identifier(&name.table)
        }
    }

    fn key_column(index: usize, column: Column, spelling: Spelling) -> KeyColumn {
        KeyColumn {
            index,
            column: Column {
                nullable: false,
                ..column
            },
            spelling,
        }
    }

    fn columns(count: usize) -> Vec<KeyColumn> {
        let names = ["a", "b", "c"].into_iter().take(count).enumerate();
        let key_column = |(index, name)| key_column(index, column(name, "bigint", LogicalType::Int64), Spelling::Exact);
        names.map(key_column).collect()
    }

    fn key(values: &[&str]) -> Key {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn text(statement: &Statement) -> String {
        statement.render(|_, value| value.to_string())
    }

    #[test]
    fn rows_behind_a_key_are_asked_for_column_by_column() {
        let behind = |count, after: &[&str]| {
            text(&behind(Statement::default(), &Quotes, &columns(count), Some(&key(after))).unwrap())
        };
        assert_eq!(behind(1, &["7"]), r#" WHERE "a" > 7"#);
        assert_eq!(
            behind(2, &["7", "8"]),
            r#" WHERE "a" >= 7 AND ("a" > 7 OR ("a" = 7 AND "b" > 8))"#
        );
        assert_eq!(
            behind(3, &["7", "8", "9"]),
            r#" WHERE "a" >= 7 AND ("a" > 7 OR ("a" = 7 AND "b" >= 8 AND ("b" > 8 OR ("b" = 8 AND "c" > 9))))"#
        );
    }

    #[test]
    fn rows_without_a_key_are_passed_over() {
        let mut columns = columns(2);
        columns[1].column.nullable = true;
        let behind = |after: Option<&Key>| text(&behind(Statement::text("FROM t"), &Quotes, &columns, after).unwrap());
        assert_eq!(behind(None), r#"FROM t WHERE "b" IS NOT NULL"#);
        assert_eq!(
            behind(Some(&key(&["7", "8"]))),
            r#"FROM t WHERE "b" IS NOT NULL AND "a" >= 7 AND ("a" > 7 OR ("a" = 7 AND "b" > 8))"#
        );
    }

    #[test]
    fn keys_with_blanks_are_found_with_them_and_without() {
        let code = || column("code", "character(4)", LogicalType::Text(TextKind::Plain));
        let code = |index| key_column(index, code(), Spelling::Blanks(4));
        let among = |columns: Vec<KeyColumn>, keys: &[&Key]| {
            text(
                &among(Statement::default(), &Quotes, &columns, keys, Match::Listed)
                    .unwrap()
                    .unwrap(),
            )
        };
        let (short, full) = (key(&["ab"]), key(&["abcd"]));
        assert_eq!(
            among(vec![code(0)], &[&short, &full]),
            r#" WHERE "code" IN (ab, ab  , abcd)"#
        );
        let both = key(&["ab", "cd"]);
        assert_eq!(
            among(vec![code(0), code(1)], &[&both]),
            r#" WHERE ("code" IN (ab, ab  ) AND "code" IN (cd, cd  ))"#
        );
    }

    #[test]
    fn bytes_are_found_with_the_zeros_that_a_column_adds() {
        let among = |source_type: &str| {
            let columns = [key_column(
                0,
                column("code", source_type, LogicalType::Bytes),
                Spelling::Zeros(3),
            )];
            text(
                &among(Statement::default(), &Quotes, &columns, &[&key(&["61"])], Match::Listed)
                    .unwrap()
                    .unwrap(),
            )
        };
        assert_eq!(among("binary(3)"), r#" WHERE "code" IN (610000)"#);
        assert_eq!(
            among("bytea"),
            r#" WHERE "code" IN (\x61, \x6100, \x610000)"#,
            "whoever wrote them may have filled them up, too"
        );
    }

    #[test]
    fn a_uuid_in_text_is_found_however_it_is_written() {
        let among = |kind: TextKind, how: Match| {
            let columns = [key_column(
                0,
                column("id", "text", LogicalType::Text(kind)),
                Spelling::Identifier,
            )];
            let key = key(&["0f0e0d0c-0b0a-4908-8706-05040302010a"]);
            text(
                &among(Statement::default(), &Quotes, &columns, &[&key], how)
                    .unwrap()
                    .unwrap(),
            )
        };
        assert_eq!(
            among(TextKind::Plain, Match::Listed),
            r#" WHERE "id" IN (0F0E0D0C-0B0A-4908-8706-05040302010A, 0F0E0D0C0B0A4908870605040302010A, 0f0e0d0c-0b0a-4908-8706-05040302010a, 0f0e0d0c0b0a4908870605040302010a)"#
        );
        assert_eq!(
            among(TextKind::Plain, Match::Folded),
            r#" WHERE lower(replace("id", '-', '')) IN (0f0e0d0c0b0a4908870605040302010a)"#
        );
        for how in [Match::Listed, Match::Folded] {
            assert_eq!(
                among(TextKind::Uuid, how),
                r#" WHERE "id" IN (0f0e0d0c-0b0a-4908-8706-05040302010a)"#
            );
        }
    }

    #[test]
    fn a_row_that_is_not_found_by_its_own_key_is_not_compared() {
        let moment = || column("at", "datetime", LogicalType::Timestamp { precision: 0 });
        let at = key_column(0, moment(), Spelling::Exact);
        at.check_own("2024-02-29 10:00:00").unwrap();
        assert_eq!(at.check_own("never").unwrap_err().code(), "key_not_comparable");
        let share = key_column(0, column("share", "double", LogicalType::Float64), Spelling::Exact);
        share.check_own("0.5").unwrap();
    }

    #[test]
    fn rows_of_keys_are_asked_for_together() {
        let (one, two) = (key(&["1", "2"]), key(&["3", "4"]));
        let among = |count, keys: &[&Key]| {
            text(
                &among(Statement::text("FROM t"), &Quotes, &columns(count), keys, Match::Listed)
                    .unwrap()
                    .unwrap(),
            )
        };
        assert_eq!(among(1, &[&one, &two]), r#"FROM t WHERE "a" IN (1, 3)"#);
        assert_eq!(
            among(2, &[&one, &two]),
            r#"FROM t WHERE ("a" = 1 AND "b" = 2) OR ("a" = 3 AND "b" = 4)"#
        );
    }

    #[test]
    fn keys_that_the_column_cannot_have_are_left_out() {
        let (one, other, two) = (key(&["1"]), key(&["x"]), key(&["2"]));
        let found = among(
            Statement::default(),
            &Quotes,
            &columns(1),
            &[&one, &other, &two],
            Match::Listed,
        );
        assert_eq!(text(&found.unwrap().unwrap()), r#" WHERE "a" IN (1, 2)"#);
        assert_eq!(
            among(Statement::default(), &Quotes, &columns(1), &[&other], Match::Listed).unwrap(),
            None
        );
        let (both, half) = (key(&["1", "2"]), key(&["3", "x"]));
        let found = among(
            Statement::default(),
            &Quotes,
            &columns(2),
            &[&half, &both],
            Match::Listed,
        );
        assert_eq!(text(&found.unwrap().unwrap()), r#" WHERE ("a" = 1 AND "b" = 2)"#);
        assert_eq!(
            among(Statement::default(), &Quotes, &columns(2), &[&half], Match::Listed).unwrap(),
            None
        );
    }

    #[test]
    fn values_of_a_key_are_written_as_their_column_is_compared() {
        let literal = |source_type, logical_type, value| {
            let column = column("k", source_type, logical_type);
            key_column(0, column, Spelling::Exact)
                .literal(value)
                .map(|literal| literal.map(|value| value.to_string()))
        };
        let symbols = LogicalType::Text(TextKind::Enum(["new", "old"].map(str::to_owned).into()));
        let some = |text: &str| Some(text.to_owned());
        for (source_type, logical_type, value, wanted) in [
            ("bigint", LogicalType::Int64, "7", some("7")),
            ("bigint", LogicalType::Int64, "1.5", None),
            ("boolean", LogicalType::Boolean, "1", some("1")),
            ("boolean", LogicalType::Boolean, "true", some("1")),
            ("boolean", LogicalType::Boolean, "2", None),
            ("tinyint(1)", LogicalType::Boolean, "false", some("0")),
            (
                "timestamp with time zone",
                LogicalType::TimestampTz { precision: 6 },
                "2024-02-29T10:00:00.5Z",
                some("2024-02-29 10:00:00.5"),
            ),
            ("date", LogicalType::Date, "2024-02-29T00:00:00", some("2024-02-29")),
            ("datetime", LogicalType::Timestamp { precision: 0 }, "Tuesday", None),
            (
                "bytea",
                LogicalType::Bytes,
                "0f0e0d0c-0b0a-4908-8706-050403020100",
                some("\\x0f0e0d0c0b0a49088706050403020100"),
            ),
            ("tinyint(1)", LogicalType::Boolean, "1", some("1")),
            ("bytea", LogicalType::Bytes, "00ff", some("\\x00ff")),
            ("binary(2)", LogicalType::Bytes, "00ff", some("00ff")),
            ("binary(2)", LogicalType::Bytes, "0xf", None),
            ("text", LogicalType::Text(TextKind::Plain), "x", some("x")),
            ("mood", symbols.clone(), "old", some("old")),
            ("mood", symbols, "older", None),
            ("date", LogicalType::Date, "2024-02-29 00:00:00", some("2024-02-29")),
            ("date", LogicalType::Date, "infinity", some("infinity")),
            ("date", LogicalType::Date, "never", None),
            ("uuid", LogicalType::Text(TextKind::Uuid), "7", None),
            ("bigint unsigned", LogicalType::UnsignedInt64, "-7", None),
        ] {
            let found = literal(source_type, logical_type, value).unwrap();
            assert_eq!(found, wanted, "{source_type} {value}");
        }
        assert_eq!(
            literal("blob", LogicalType::Bytes, "00").unwrap_err().code(),
            "key_not_comparable"
        );
        assert_eq!(
            literal("point", LogicalType::Point, "1").unwrap_err().code(),
            "key_not_comparable"
        );
    }
}
