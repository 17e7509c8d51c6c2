//! A column in a statement: `name type attributes`.

use super::classify::hex_bytes;
use super::clause::{ColumnSpec, Place, TypeText};
use super::cursor::{Cursor, NotUnderstood, Read};
use super::lexer::TokenKind;
use crate::charset::Charset;
use crate::server::Flavour;
use crate::table::ColumnDefault;

/// Words that end a column's description and begin something else of an ALTER TABLE.
const NEXT_CLAUSE: [&str; 4] = ["FIRST", "AFTER", "PARTITION", "REMOVE"];
/// Functions of the present moment that all mean the same.
const PRESENT_MOMENT: [&str; 4] = ["CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"];
/// Attributes without meaning for the values of a row.
const HARMLESS: [&str; 9] = [
    "SIGNED",
    "BINARY",
    "VISIBLE",
    "INVISIBLE",
    "VIRTUAL",
    "STORED",
    "PERSISTENT",
    "ENFORCED",
    "COMPRESSED",
];
/// Attributes with one value, with or without a sign of equality.
const WITH_VALUE: [&str; 5] = [
    "COLUMN_FORMAT",
    "STORAGE",
    "ENGINE_ATTRIBUTE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "SRID",
];

/// The whole: `name type attributes`.
pub(super) fn column(cursor: &mut Cursor<'_>) -> Read<ColumnSpec> {
    let name = cursor.name()?;
    let mut column = ColumnSpec {
        name,
        type_text: TypeText::default(),
        charset: None,
        nullable: None,
        default: None,
        generated: false,
        auto_increment: false,
        comment: None,
        primary: false,
        unique: false,
    };
    read_type(cursor, &mut column)?;
    while !cursor.is_at_end()
        && !cursor.is_at_symbol(',')
        && !cursor.is_at_symbol(')')
        && !cursor.is_at_any(&NEXT_CLAUSE)
    {
        attribute(cursor, &mut column)?;
    }
    Ok(column)
}

/// `FIRST`, `AFTER column`, or nothing.
pub(super) fn place(cursor: &mut Cursor<'_>) -> Read<Place> {
    if cursor.take_word("FIRST") {
        return Ok(Place::First);
    }
    if cursor.take_word("AFTER") {
        return cursor.name().map(Place::After);
    }
    Ok(Place::Unchanged)
}

// --- types

fn read_type(cursor: &mut Cursor<'_>, column: &mut ColumnSpec) -> Read<()> {
    let word = cursor.peek().filter(|token| token.kind == TokenKind::Word);
    let word = word.ok_or_else(|| cursor.unexpected())?;
    cursor.next();
    let name = type_name(cursor, &word.text.to_ascii_lowercase(), column);
    column.type_text.name = name;
    if cursor.is_at_symbol('(') {
        arguments(cursor, &mut column.type_text)?;
    }
    if column.type_text.name == "serial" {
        column.type_text.name = "bigint".to_owned();
        column.type_text.unsigned = true;
        become_serial(column);
    }
    Ok(())
}

/// One word for what may be several.
fn type_name(cursor: &mut Cursor<'_>, first: &str, column: &mut ColumnSpec) -> String {
    let is_national = matches!(first, "national" | "nchar" | "nvarchar");
    if is_national {
        column.charset = Some(Charset::Utf8mb3);
    }
    match first {
        "national" | "nchar" | "char" | "character" => {
            let varies = cursor.take_any(&["VARCHAR", "VARCHARACTER"]);
            if !varies && first == "national" {
                cursor.take_any(&["CHAR", "CHARACTER"]);
            }
            let varies = cursor.take_word("VARYING") || varies;
            if varies { "varchar" } else { "char" }.to_owned()
        }
        "double" => {
            cursor.take_word("PRECISION");
            "double".to_owned()
        }
        "long" => {
            let is_binary = cursor.take_word("VARBINARY");
            if !is_binary && cursor.take_any(&["CHAR", "CHARACTER"]) {
                cursor.take_word("VARYING");
            } else if !is_binary {
                cursor.take_any(&["VARCHAR", "VARCHARACTER"]);
            }
            if is_binary { "mediumblob" } else { "mediumtext" }.to_owned()
        }
        other => other.to_owned(),
    }
}

/// `(10,2)`, `('a','b')`
fn arguments(cursor: &mut Cursor<'_>, type_text: &mut TypeText) -> Read<()> {
    cursor.expect_symbol('(')?;
    loop {
        let token = cursor.peek().ok_or_else(|| cursor.unexpected())?;
        match token.kind {
            TokenKind::Number => {
                cursor.next();
                let number = token
                    .text
                    .parse()
                    .map_err(|_| NotUnderstood(format!("`{}` in a type", token.text)))?;
                type_text.numbers.push(number);
            }
            _ => type_text.members.push(member(cursor)?),
        }
        if cursor.take_symbol(')') {
            return Ok(());
        }
        cursor.expect_symbol(',')?;
    }
}

/// A member of an ENUM or SET: text, or its bytes in hexadecimal.
fn member(cursor: &mut Cursor<'_>) -> Read<String> {
    skip_introducer(cursor);
    let token = cursor.peek().ok_or_else(|| cursor.unexpected())?;
    if token.kind != TokenKind::Hex {
        return cursor.text();
    }
    let text = token
        .digits()
        .and_then(hex_bytes)
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| cursor.unexpected())?;
    cursor.next();
    Ok(text)
}

/// `_utf8mb4` before text.
fn skip_introducer(cursor: &mut Cursor<'_>) -> bool {
    let is_introducer = cursor
        .peek()
        .is_some_and(|token| token.kind == TokenKind::Word && token.text.starts_with('_'));
    if is_introducer {
        cursor.next();
    }
    is_introducer
}

fn become_serial(column: &mut ColumnSpec) {
    column.nullable = Some(false);
    column.auto_increment = true;
    column.unique = true;
}

// --- attributes

fn attribute(cursor: &mut Cursor<'_>, column: &mut ColumnSpec) -> Read<()> {
    if type_attribute(cursor, column)? || value_attribute(cursor, column)? || key_attribute(cursor, column)? {
        return Ok(());
    }
    if cursor.take_any(&HARMLESS) || cursor.take_words(&["NOT", "ENFORCED"]) || cursor.take_words(&["NOT", "SECONDARY"])
    {
        // MariaDB: COMPRESSED=zlib
        if cursor.take_symbol('=') {
            cursor.skip_one()?;
        }
        return Ok(());
    }
    if cursor.take_words(&["WITH", "SYSTEM", "VERSIONING"]) || cursor.take_words(&["WITHOUT", "SYSTEM", "VERSIONING"]) {
        return Ok(());
    }
    if cursor.take_any(&WITH_VALUE) {
        cursor.take_symbol('=');
        return cursor.skip_one();
    }
    // MariaDB's engines have attributes of their own: `name=value`.
    if cursor.peek_second().is_some_and(|token| token.is_symbol('=')) {
        cursor.name()?;
        cursor.next();
        return cursor.skip_one();
    }
    Err(cursor.unexpected())
}

/// Attributes that belong to the type.
fn type_attribute(cursor: &mut Cursor<'_>, column: &mut ColumnSpec) -> Read<bool> {
    if cursor.take_word("UNSIGNED") {
        column.type_text.unsigned = true;
    } else if cursor.take_word("ZEROFILL") {
        column.type_text.zerofill = true;
        column.type_text.unsigned = true;
    } else if let Some(charset) = charset_clause(cursor)? {
        column.charset = charset;
    } else if cursor.take_word("ASCII") {
        column.charset = Some(Charset::Latin1);
    } else if cursor.take_word("UNICODE") {
        column.charset = Some(Charset::Ucs2);
    } else if cursor.take_word("BYTE") {
        column.charset = Some(Charset::Binary);
    } else if cursor.take_word("COLLATE") {
        cursor.take_symbol('=');
        let of_collation = collation(cursor)?;
        column.charset = column.charset.or(of_collation);
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// `CHARACTER SET latin1`; the inner `None` is for DEFAULT.
pub(super) fn charset_clause(cursor: &mut Cursor<'_>) -> Read<Option<Option<Charset>>> {
    let is_charset =
        cursor.take_word("CHARSET") || cursor.take_words(&["CHARACTER", "SET"]) || cursor.take_words(&["CHAR", "SET"]);
    if !is_charset {
        return Ok(None);
    }
    cursor.take_symbol('=');
    if cursor.take_word("DEFAULT") {
        return Ok(Some(None));
    }
    let name = name_or_text(cursor)?;
    let charset =
        Charset::named(&name).ok_or_else(|| NotUnderstood(format!("the character set `{name}` is not known")))?;
    Ok(Some(Some(charset)))
}

/// The character set of a collation that is named here; `None` where it is one for any set.
pub(super) fn collation(cursor: &mut Cursor<'_>) -> Read<Option<Charset>> {
    let name = name_or_text(cursor)?;
    let lower = name.to_ascii_lowercase();
    // MariaDB 10.10 and later have collations that any of the Unicode sets may take.
    if lower == "default" || lower.starts_with("uca1400_") {
        return Ok(None);
    }
    let charset = Charset::of_collation_named(&lower);
    charset
        .map(Some)
        .ok_or_else(|| NotUnderstood(format!("the collation `{name}` is not known")))
}

fn name_or_text(cursor: &mut Cursor<'_>) -> Read<String> {
    match cursor.peek() {
        Some(token) if token.kind == TokenKind::Text => cursor.text(),
        _ => cursor.name(),
    }
}

/// Attributes that say what values there are.
fn value_attribute(cursor: &mut Cursor<'_>, column: &mut ColumnSpec) -> Read<bool> {
    if cursor.take_words(&["NOT", "NULL"]) {
        column.nullable = Some(false);
    } else if cursor.take_word("NULL") {
        column.nullable = Some(true);
    } else if cursor.take_words(&["SERIAL", "DEFAULT", "VALUE"]) {
        become_serial(column);
    } else if cursor.take_word("DEFAULT") {
        column.default = Some(default_value(cursor)?);
    } else if cursor.take_word("AUTO_INCREMENT") {
        column.auto_increment = true;
    } else if cursor.take_word("COMMENT") {
        cursor.take_symbol('=');
        column.comment = Some(cursor.text()?);
    } else if cursor.take_words(&["ON", "UPDATE"]) {
        present_moment(cursor).ok_or_else(|| cursor.unexpected())?;
    } else if cursor.take_words(&["GENERATED", "ALWAYS", "AS", "ROW"]) {
        cursor.take_any(&["START", "END"]);
        column.generated = true;
        column.nullable = Some(false);
    } else if cursor.take_words(&["GENERATED", "ALWAYS", "AS"]) || cursor.take_word("AS") {
        cursor.parenthesised()?;
        column.generated = true;
    } else if cursor.take_word("REF_SYSTEM_ID") {
        cursor.expect_symbol('=')?;
        cursor.skip_one()?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// Attributes that are keys and constraints.
fn key_attribute(cursor: &mut Cursor<'_>, column: &mut ColumnSpec) -> Read<bool> {
    if cursor.take_word("UNIQUE") {
        cursor.take_word("KEY");
        column.unique = true;
    } else if cursor.take_words(&["PRIMARY", "KEY"]) || cursor.take_any(&["PRIMARY", "KEY"]) {
        column.primary = true;
    } else if cursor.take_word("CONSTRAINT") {
        if !cursor.is_at_word("CHECK") {
            cursor.name()?;
        }
    } else if cursor.take_word("CHECK") {
        cursor.parenthesised()?;
    } else if cursor.take_word("REFERENCES") {
        references(cursor)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// `table (columns) MATCH FULL ON DELETE SET NULL ON UPDATE CASCADE`
fn references(cursor: &mut Cursor<'_>) -> Read<()> {
    cursor.table_name()?;
    if cursor.is_at_symbol('(') {
        cursor.parenthesised()?;
    }
    if cursor.take_word("MATCH") {
        cursor.skip_one()?;
    }
    while cursor.take_words(&["ON", "DELETE"]) || cursor.take_words(&["ON", "UPDATE"]) {
        let two_words = cursor.take_words(&["SET", "NULL"])
            || cursor.take_words(&["SET", "DEFAULT"])
            || cursor.take_words(&["NO", "ACTION"]);
        if !two_words && !cursor.take_any(&["RESTRICT", "CASCADE"]) {
            return Err(cursor.unexpected());
        }
    }
    Ok(())
}

// --- defaults

/// What follows DEFAULT; `None` for NULL.
pub(super) fn default_value(cursor: &mut Cursor<'_>) -> Read<Option<ColumnDefault>> {
    if cursor.take_word("NULL") {
        return Ok(None);
    }
    if cursor.is_at_symbol('(') {
        let expression = cursor.parenthesised()?;
        return Ok(Some(ColumnDefault::Expression(expression.to_owned())));
    }
    if let Some(expression) = present_moment(cursor) {
        return Ok(Some(ColumnDefault::Expression(expression)));
    }
    if let Some(constant) = constant(cursor)? {
        return Ok(Some(ColumnDefault::Constant(constant)));
    }
    expression(cursor).map(|expression| Some(ColumnDefault::Expression(expression)))
}

/// `CURRENT_TIMESTAMP`, `NOW(6)`, as the catalogue prints it.
fn present_moment(cursor: &mut Cursor<'_>) -> Option<String> {
    if !cursor.take_any(&PRESENT_MOMENT) {
        return None;
    }
    let digits = if cursor.is_at_symbol('(') {
        cursor.parenthesised().ok()?
    } else {
        ""
    };
    let digits = if digits == "0" { "" } else { digits };
    Some(match cursor.context().flavour {
        Flavour::MariaDb => format!("current_timestamp({digits})"),
        Flavour::MySql if digits.is_empty() => "CURRENT_TIMESTAMP".to_owned(),
        Flavour::MySql => format!("CURRENT_TIMESTAMP({digits})"),
    })
}

/// A literal.
fn constant(cursor: &mut Cursor<'_>) -> Read<Option<String>> {
    let sign = if cursor.take_symbol('-') { "-" } else { "" };
    cursor.take_symbol('+');
    let is_typed_text = cursor.is_at_any(&["DATE", "TIME", "TIMESTAMP"])
        && cursor.peek_second().is_some_and(|token| token.kind == TokenKind::Text);
    if is_typed_text {
        cursor.next();
    }
    let mut ahead = *cursor;
    let Some(token) = ahead.next() else {
        return Err(cursor.unexpected());
    };
    let text = match token.kind {
        TokenKind::Number => format!("{sign}{}", token.text),
        TokenKind::Hex => format!("0x{}", token.digits().unwrap_or_default().to_ascii_lowercase()),
        TokenKind::Bits => format!("b'{}'", token.digits().unwrap_or_default()),
        TokenKind::Text => return cursor.text().map(Some),
        TokenKind::Word if token.is_word("TRUE") => "1".to_owned(),
        TokenKind::Word if token.is_word("FALSE") => "0".to_owned(),
        TokenKind::Word if token.text.starts_with('_') => {
            let is_literal = ahead
                .peek()
                .is_some_and(|next| matches!(next.kind, TokenKind::Text | TokenKind::Hex));
            if !is_literal {
                return Ok(None);
            }
            cursor.next();
            return constant(cursor);
        }
        _ => return Ok(None),
    };
    *cursor = ahead;
    Ok(Some(text))
}

/// MariaDB: an expression that needs no parentheses, which is a function's call, CASE, or the next value of a sequence.
fn expression(cursor: &mut Cursor<'_>) -> Read<String> {
    let from = cursor.place();
    if cursor.take_words(&["NEXT", "VALUE", "FOR"]) {
        cursor.table_name()?;
    } else if cursor.take_word("CASE") {
        while !cursor.take_word("END") {
            cursor.skip_one()?;
        }
    } else {
        cursor.table_name()?;
        if cursor.is_at_symbol('(') {
            cursor.parenthesised()?;
        }
    }
    Ok(cursor.text_since(from).to_owned())
}
