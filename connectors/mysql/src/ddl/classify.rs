//! What kind of statement a text is, and which tables it names.

use std::collections::BTreeSet;

use tailrace_core::schema::TableName;

use super::cursor::{Cursor, NotUnderstood, Read};
use super::lexer::TokenKind;
use super::{Ddl, DdlKind, SqlContext, Statement};
use crate::position::Xid;

/// Words between the verb of an INSERT and its table.
const INSERT_MODIFIERS: [&str; 5] = ["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"];
/// Words between ALTER or CREATE and what is altered or created.
const ALTER_MODIFIERS: [&str; 3] = ["ONLINE", "OFFLINE", "IGNORE"];
/// Kinds of indexes that CREATE INDEX makes.
pub(super) const INDEX_KINDS: [&str; 4] = ["UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR"];

/// Words that stand between tables and, without quotes, cannot be the name of one.
const NO_NAMES: [&str; 29] = [
    "AND",
    "AS",
    "CROSS",
    "DELETE",
    "EXISTS",
    "FROM",
    "IF",
    "IGNORE",
    "IN",
    "INDEX",
    "INNER",
    "INSERT",
    "INTO",
    "JOIN",
    "LEFT",
    "LOW_PRIORITY",
    "NATURAL",
    "NOT",
    "ON",
    "OR",
    "OUTER",
    "RIGHT",
    "SELECT",
    "SET",
    "TABLE",
    "TO",
    "UPDATE",
    "USING",
    "WHERE",
];

/// What a statement of the log is. `BEGIN` and `COMMIT` cost a comparison; nothing is allocated for them. The text has been
/// decoded from the client's character set.
pub(crate) fn classify<'a>(sql: &'a str, context: &SqlContext<'_>) -> Statement<'a> {
    match sql {
        "BEGIN" => return Statement::Begin,
        "COMMIT" => return Statement::Commit,
        _ => {}
    }
    let mut cursor = Cursor::new(sql, context);
    skip_statement_settings(&mut cursor);
    let Some(verb) = cursor.next().filter(|token| token.kind == TokenKind::Word) else {
        return Statement::Other;
    };
    match verb.text.to_ascii_uppercase().as_str() {
        "BEGIN" => Statement::Begin,
        "START" if cursor.is_at_word("TRANSACTION") => Statement::Begin,
        "COMMIT" => Statement::Commit,
        "ROLLBACK" => rollback(cursor),
        "SAVEPOINT" | "RELEASE" => Statement::Savepoint,
        // One that cannot be read may decide over rows: as grave as a statement that writes anywhere.
        "XA" => xa(cursor).unwrap_or(Statement::Rows(None)),
        "INSERT" | "REPLACE" => insert(cursor),
        "UPDATE" => Statement::Rows(Some(names_until(cursor, &["SET"]))),
        "DELETE" => Statement::Rows(Some(names_until(cursor, &["WHERE", "ORDER", "LIMIT", "RETURNING"]))),
        "WITH" => Statement::Rows(Some(names_until(cursor, &[]))),
        "LOAD" => load(cursor),
        "CALL" | "SELECT" | "DO" => Statement::Rows(None),
        "CREATE" => ddl(sql, cursor, create),
        "ALTER" => ddl(sql, cursor, alter),
        "DROP" => ddl(sql, cursor, drop_kind),
        "RENAME" => ddl(sql, cursor, rename),
        "TRUNCATE" => ddl(sql, cursor, truncate),
        _ => Statement::Other,
    }
}

/// MariaDB: `SET STATEMENT max_statement_time=60 FOR ALTER …`
fn skip_statement_settings(cursor: &mut Cursor<'_>) {
    while cursor.take_words(&["SET", "STATEMENT"]) {
        while cursor.peek().is_some() && !cursor.take_word("FOR") {
            cursor.next();
        }
    }
}

// --- transactions

fn rollback(mut cursor: Cursor<'_>) -> Statement<'static> {
    cursor.take_word("WORK");
    if !cursor.take_word("TO") {
        return Statement::Rollback;
    }
    cursor.take_word("SAVEPOINT");
    // Without a name that can be read, rows are undone and it is not known which.
    cursor.name().map_or(Statement::Rows(None), Statement::RollbackTo)
}

fn xa(mut cursor: Cursor<'_>) -> Read<Statement<'static>> {
    let verb = cursor.name()?.to_ascii_uppercase();
    let xid = xa_identifier(&mut cursor)?;
    Ok(match verb.as_str() {
        "START" | "BEGIN" => Statement::XaStart(xid),
        "END" => Statement::XaEnd(xid),
        "PREPARE" => Statement::XaPrepare(xid),
        "COMMIT" if cursor.take_words(&["ONE", "PHASE"]) => Statement::XaCommitOnePhase(xid),
        "COMMIT" => Statement::XaCommit(xid),
        "ROLLBACK" => Statement::XaRollback(xid),
        _ => return Err(cursor.unexpected()),
    })
}

fn xa_identifier(cursor: &mut Cursor<'_>) -> Read<Xid> {
    let mut xid = Xid {
        format: 1,
        global: xa_part(cursor)?,
        branch: Vec::new(),
    };
    if cursor.take_symbol(',') {
        xid.branch = xa_part(cursor)?;
    }
    if cursor.take_symbol(',') {
        let number = cursor.next().and_then(|token| token.text.parse().ok());
        xid.format = number.ok_or_else(|| cursor.unexpected())?;
    }
    Ok(xid)
}

fn xa_part(cursor: &mut Cursor<'_>) -> Read<Vec<u8>> {
    let token = cursor.peek().ok_or_else(|| cursor.unexpected())?;
    if token.kind != TokenKind::Hex {
        return cursor.text().map(String::into_bytes);
    }
    cursor.next();
    token.digits().and_then(hex_bytes).ok_or_else(|| cursor.unexpected())
}

/// Bytes of hexadecimal digits.
pub(super) fn hex_bytes(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect()
}

// --- rows

fn insert(mut cursor: Cursor<'_>) -> Statement<'static> {
    while cursor.take_any(&INSERT_MODIFIERS) {}
    Statement::Rows(cursor.table_name().ok().map(|table| vec![table]))
}

fn load(mut cursor: Cursor<'_>) -> Statement<'static> {
    if !cursor.take_any(&["DATA", "XML"]) {
        return Statement::Other;
    }
    while cursor.peek().is_some() {
        if cursor.take_words(&["INTO", "TABLE"]) {
            return Statement::Rows(cursor.table_name().ok().map(|table| vec![table]));
        }
        cursor.next();
    }
    Statement::Rows(None)
}

/// Every name up to one of `words` that may be a table's.
fn names_until(mut cursor: Cursor<'_>, words: &[&str]) -> Vec<TableName> {
    let mut tables = BTreeSet::new();
    while cursor.peek().is_some() && !cursor.is_at_any(words) {
        if cursor.take_any(&NO_NAMES) {
            continue;
        }
        match cursor.table_name() {
            Ok(table) => {
                tables.insert(table);
                // `schema.table.column`, `schema.table.*`
                if cursor.take_symbol('.') {
                    cursor.next();
                }
            }
            Err(_) => {
                cursor.next();
            }
        }
    }
    tables.into_iter().collect()
}

// --- DDL

/// What a statement on tables does; `None` where it is on something else.
type ReadKind = Read<Option<DdlKind>>;

fn ddl<'a, 'c>(sql: &'a str, verb: Cursor<'c>, read: fn(&mut Cursor<'c>) -> ReadKind) -> Statement<'a> {
    let mut cursor = verb;
    let kind = match read(&mut cursor) {
        Ok(None) => return Statement::Other,
        Ok(Some(kind)) => kind,
        Err(NotUnderstood(_)) => DdlKind::Unclear(names_until(verb, &[])),
    };
    let body = cursor.place();
    Statement::Definition(Ddl { kind, sql, body })
}

fn create(cursor: &mut Cursor<'_>) -> ReadKind {
    let or_replace = cursor.take_words(&["OR", "REPLACE"]);
    if cursor.take_word("TABLE") {
        let if_not_exists = take_if_not_exists(cursor);
        let table = cursor.table_name()?;
        return Ok(Some(DdlKind::CreateTable {
            table,
            if_not_exists,
            or_replace,
        }));
    }
    if cursor.take_any(&["DATABASE", "SCHEMA"]) {
        take_if_not_exists(cursor);
        return cursor
            .name()
            .map(|name| Some(DdlKind::CreateSchema(cursor.context().stored_name(&name))));
    }
    cursor.take_any(&ALTER_MODIFIERS);
    // The kind is read again with the rest of the statement.
    let mut ahead = *cursor;
    ahead.take_any(&INDEX_KINDS);
    if !ahead.is_at_word("INDEX") {
        return Ok(None);
    }
    skip_to_on(&mut ahead)?;
    ahead
        .table_name()
        .map(|table| Some(DdlKind::CreateIndex { table, or_replace }))
}

fn alter(cursor: &mut Cursor<'_>) -> ReadKind {
    if cursor.take_any(&["DATABASE", "SCHEMA"]) {
        // Without a name it is the default one.
        let is_option = cursor.is_at_any(&[
            "DEFAULT",
            "CHARACTER",
            "CHARSET",
            "COLLATE",
            "COMMENT",
            "ENCRYPTION",
            "READ",
        ]);
        let name = if is_option {
            cursor.context().schema.to_owned()
        } else {
            cursor.name()?
        };
        return Ok(Some(DdlKind::AlterSchema(cursor.context().stored_name(&name))));
    }
    while cursor.take_any(&ALTER_MODIFIERS) {}
    if !cursor.take_word("TABLE") {
        return Ok(None);
    }
    take_if_exists(cursor);
    let table = cursor.table_name()?;
    take_wait(cursor);
    Ok(Some(DdlKind::AlterTable(table)))
}

fn drop_kind(cursor: &mut Cursor<'_>) -> ReadKind {
    if cursor.take_any(&["DATABASE", "SCHEMA"]) {
        take_if_exists(cursor);
        return cursor
            .name()
            .map(|name| Some(DdlKind::DropSchema(cursor.context().stored_name(&name))));
    }
    if cursor.take_any(&["TABLE", "TABLES"]) {
        take_if_exists(cursor);
        let mut tables = vec![cursor.table_name()?];
        while cursor.take_symbol(',') {
            tables.push(cursor.table_name()?);
        }
        take_wait(cursor);
        cursor.take_any(&["RESTRICT", "CASCADE"]);
        cursor.expect_end()?;
        return Ok(Some(DdlKind::DropTables(tables)));
    }
    cursor.take_any(&ALTER_MODIFIERS);
    if !cursor.is_at_word("INDEX") {
        return Ok(None);
    }
    let mut ahead = *cursor;
    skip_to_on(&mut ahead)?;
    ahead.table_name().map(|table| Some(DdlKind::DropIndex(table)))
}

/// `INDEX [IF [NOT] EXISTS] name [USING BTREE] ON`
fn skip_to_on(cursor: &mut Cursor<'_>) -> Read<()> {
    cursor.expect_word("INDEX")?;
    while !cursor.take_word("ON") {
        cursor.skip_one()?;
    }
    Ok(())
}

fn rename(cursor: &mut Cursor<'_>) -> ReadKind {
    if !cursor.take_any(&["TABLE", "TABLES"]) {
        return Ok(None);
    }
    take_if_exists(cursor);
    let mut renames = Vec::new();
    loop {
        let from = cursor.table_name()?;
        take_wait(cursor);
        cursor.expect_word("TO")?;
        renames.push((from, cursor.table_name()?));
        if !cursor.take_symbol(',') {
            break;
        }
    }
    cursor.expect_end()?;
    Ok(Some(DdlKind::RenameTables(renames)))
}

fn truncate(cursor: &mut Cursor<'_>) -> ReadKind {
    cursor.take_word("TABLE");
    let table = cursor.table_name()?;
    take_wait(cursor);
    cursor.expect_end()?;
    Ok(Some(DdlKind::TruncateTable(table)))
}

pub(super) fn take_if_exists(cursor: &mut Cursor<'_>) -> bool {
    cursor.take_words(&["IF", "EXISTS"])
}

pub(super) fn take_if_not_exists(cursor: &mut Cursor<'_>) -> bool {
    cursor.take_words(&["IF", "NOT", "EXISTS"])
}

/// MariaDB: `WAIT 5`, `NOWAIT`
pub(super) fn take_wait(cursor: &mut Cursor<'_>) {
    if cursor.take_word("WAIT") {
        cursor.next();
    } else {
        cursor.take_word("NOWAIT");
    }
}
