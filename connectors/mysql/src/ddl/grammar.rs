//! The clauses of CREATE TABLE and ALTER TABLE.
//!
//! Whatever may touch a column or a key is read; what is harmless is known by name and passed over; anything else is an error.

use super::classify::{take_if_exists, take_if_not_exists};
use super::clause::{Clause, PRIMARY, TableBody, TableOption, TableSpec};
use super::column::{charset_clause, collation, column, default_value, place};
use super::cursor::{Cursor, Read};
use super::key::{is_at_key, key};
use super::lexer::TokenKind;
use crate::charset::Charset;

/// What may follow the last clause without a comma.
pub(super) const TAIL: [&str; 2] = ["PARTITION", "REMOVE"];
/// Options of tables that say nothing about columns; each has one value.
const HARMLESS_OPTIONS: [&str; 35] = [
    "AUTOEXTEND_SIZE",
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CHECKSUM",
    "COMPRESSION",
    "CONNECTION",
    "DELAY_KEY_WRITE",
    "ENCRYPTED",
    "ENCRYPTION",
    "ENCRYPTION_KEY_ID",
    "ENGINE_ATTRIBUTE",
    "IETF_QUOTES",
    "INSERT_METHOD",
    "KEY_BLOCK_SIZE",
    "MAX_ROWS",
    "MIN_ROWS",
    "PACK_KEYS",
    "PAGE_CHECKSUM",
    "PAGE_COMPRESSED",
    "PAGE_COMPRESSION_LEVEL",
    "PASSWORD",
    "ROW_FORMAT",
    "SECONDARY_ENGINE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "SEQUENCE",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
    "STORAGE",
    "TABLESPACE",
    "TABLE_CHECKSUM",
    "TRANSACTIONAL",
    "UNION",
    "ALGORITHM",
    "LOCK",
];
/// Clauses of ALTER TABLE that move no row and touch no column; what belongs to them reaches to the next comma.
const HARMLESS_CLAUSES: [&str; 13] = [
    "ENABLE",
    "DISABLE",
    "FORCE",
    "WITH",
    "WITHOUT",
    "SECONDARY_LOAD",
    "SECONDARY_UNLOAD",
    "ANALYZE",
    "CHECK",
    "OPTIMIZE",
    "REBUILD",
    "REPAIR",
    "UPGRADE",
];

// --- ALTER TABLE

/// Everything behind `ALTER TABLE name`.
pub(super) fn alter_clauses(cursor: &mut Cursor<'_>) -> Read<Vec<Clause>> {
    let mut clauses = Vec::new();
    while !cursor.is_at_end() {
        alter_clause(cursor, &mut clauses)?;
        if cursor.is_at_any(&TAIL) {
            partitions(cursor, &mut clauses)?;
        }
        // Options of the table may follow each other without commas.
        cursor.take_symbol(',');
    }
    Ok(clauses)
}

fn alter_clause(cursor: &mut Cursor<'_>, clauses: &mut Vec<Clause>) -> Read<()> {
    if cursor.is_at_any(&TAIL) {
        return partitions(cursor, clauses);
    }
    if cursor.take_word("ADD") {
        return add(cursor, clauses);
    }
    if cursor.take_word("DROP") {
        return drop_clause(cursor, clauses);
    }
    if cursor.take_word("ALTER") {
        return alter_part(cursor, clauses);
    }
    if cursor.is_at_any(&["MODIFY", "CHANGE"]) {
        clauses.push(change(cursor)?);
        return Ok(());
    }
    if cursor.take_word("RENAME") {
        clauses.extend(rename(cursor)?);
        return Ok(());
    }
    if cursor.take_word("CONVERT") {
        clauses.push(convert(cursor)?);
        return Ok(());
    }
    if let Some(option) = table_option(cursor)? {
        clauses.push(Clause::Option(option));
        return Ok(());
    }
    rows_or_nothing(cursor, clauses)
}

/// Clauses that touch rows or nothing, but no definition.
fn rows_or_nothing(cursor: &mut Cursor<'_>, clauses: &mut Vec<Clause>) -> Read<()> {
    if cursor.take_words(&["ORDER", "BY"]) {
        // A list of columns up to the end; it may hold commas.
        while !cursor.is_at_end() && !cursor.is_at_any(&TAIL) {
            cursor.skip_one()?;
        }
        return Ok(());
    }
    if cursor.take_words(&["TRUNCATE", "PARTITION"]) {
        clauses.push(Clause::RowsReplaced("the rows of a partition were removed"));
        return partition_names(cursor);
    }
    if cursor.take_words(&["EXCHANGE", "PARTITION"]) {
        cursor.name()?;
        cursor.expect_word("WITH")?;
        cursor.expect_word("TABLE")?;
        clauses.push(Clause::RowsExchanged(cursor.table_name()?));
        return cursor.skip_clause(&TAIL);
    }
    if cursor.is_at_any(&["DISCARD", "IMPORT"]) {
        clauses.push(Clause::RowsReplaced("a tablespace was discarded or imported"));
        return tablespace(cursor);
    }
    if cursor.take_words(&["COALESCE", "PARTITION"]) {
        return cursor.skip_clause(&[]);
    }
    if cursor.take_words(&["REORGANIZE", "PARTITION"]) {
        if cursor.is_at_end() {
            return Ok(());
        }
        partition_names(cursor)?;
        return cursor.skip_clause(&[]);
    }
    if cursor.is_at_any(&HARMLESS_CLAUSES) {
        let is_of_partitions = cursor.peek_second().is_some_and(|token| token.is_word("PARTITION"));
        cursor.next();
        if is_of_partitions {
            cursor.next();
            return partition_names(cursor);
        }
        return cursor.skip_clause(&TAIL);
    }
    Err(cursor.unexpected())
}

fn tablespace(cursor: &mut Cursor<'_>) -> Read<()> {
    cursor.next();
    if cursor.take_word("PARTITION") {
        partition_names(cursor)?;
    }
    cursor.take_word("TABLESPACE");
    Ok(())
}

/// `[NO_WRITE_TO_BINLOG | LOCAL] p0, p1`, `ALL`, and what may follow.
fn partition_names(cursor: &mut Cursor<'_>) -> Read<()> {
    loop {
        cursor.name()?;
        while !cursor.is_at_end() && !cursor.is_at_symbol(',') && !cursor.is_at_any(&["INTO", "TABLESPACE"]) {
            cursor.skip_one()?;
        }
        if !cursor.take_symbol(',') {
            return Ok(());
        }
    }
}

/// `PARTITION BY …`, `REMOVE PARTITIONING`: the last of a statement.
fn partitions(cursor: &mut Cursor<'_>, clauses: &mut Vec<Clause>) -> Read<()> {
    if cursor.take_words(&["REMOVE", "PARTITIONING"]) {
        return Ok(());
    }
    cursor.expect_word("PARTITION")?;
    cursor.expect_word("BY")?;
    while !cursor.is_at_end() {
        cursor.skip_one()?;
    }
    // Rows that no partition takes are an error, so all of them stay.
    clauses.push(Clause::Option(TableOption::Harmless));
    Ok(())
}

fn add(cursor: &mut Cursor<'_>, clauses: &mut Vec<Clause>) -> Read<()> {
    if cursor.take_words(&["SYSTEM", "VERSIONING"]) {
        clauses.push(Clause::AddSystemVersioning);
        return Ok(());
    }
    if cursor.take_word("PARTITION") {
        // A list of definitions in parentheses, or a number.
        take_if_not_exists(cursor);
        return cursor.skip_clause(&[]);
    }
    if is_at_key(cursor) {
        clauses.extend(key(cursor)?.map(Clause::AddKey));
        return Ok(());
    }
    cursor.take_word("COLUMN");
    let if_not_exists = take_if_not_exists(cursor);
    if !cursor.take_symbol('(') {
        let column = column(cursor)?;
        let place = place(cursor)?;
        clauses.push(Clause::AddColumn {
            column,
            place,
            if_not_exists,
        });
        return Ok(());
    }
    loop {
        if is_at_key(cursor) {
            clauses.extend(key(cursor)?.map(Clause::AddKey));
        } else {
            clauses.push(Clause::AddColumn {
                column: column(cursor)?,
                place: super::clause::Place::Unchanged,
                if_not_exists,
            });
        }
        if cursor.take_symbol(')') {
            return Ok(());
        }
        cursor.expect_symbol(',')?;
    }
}

fn drop_clause(cursor: &mut Cursor<'_>, clauses: &mut Vec<Clause>) -> Read<()> {
    if cursor.take_words(&["PRIMARY", "KEY"]) {
        clauses.push(Clause::DropKey(PRIMARY.to_owned()));
        return Ok(());
    }
    if cursor.take_words(&["SYSTEM", "VERSIONING"]) {
        clauses.push(Clause::DropSystemVersioning);
        return Ok(());
    }
    if cursor.take_words(&["FOREIGN", "KEY"]) || cursor.take_words(&["PERIOD", "FOR"]) || cursor.take_word("CHECK") {
        take_if_exists(cursor);
        return cursor.name().map(|_| ());
    }
    if cursor.take_any(&["INDEX", "KEY", "CONSTRAINT"]) {
        take_if_exists(cursor);
        clauses.push(Clause::DropKey(cursor.name()?));
        return Ok(());
    }
    if cursor.take_word("PARTITION") {
        take_if_exists(cursor);
        clauses.push(Clause::RowsReplaced("a partition was dropped with its rows"));
        return partition_names(cursor);
    }
    cursor.take_word("COLUMN");
    let if_exists = take_if_exists(cursor);
    let name = cursor.name()?;
    cursor.take_any(&["RESTRICT", "CASCADE"]);
    clauses.push(Clause::DropColumn { name, if_exists });
    Ok(())
}

/// `ALTER [COLUMN] name SET DEFAULT …`, `ALTER INDEX name …`, `ALTER CHECK name …`
fn alter_part(cursor: &mut Cursor<'_>, clauses: &mut Vec<Clause>) -> Read<()> {
    if cursor.take_any(&["INDEX", "KEY", "CHECK", "CONSTRAINT"]) {
        take_if_exists(cursor);
        cursor.name()?;
        return cursor.skip_clause(&TAIL);
    }
    cursor.take_word("COLUMN");
    take_if_exists(cursor);
    let column = cursor.name()?;
    if cursor.take_words(&["SET", "DEFAULT"]) {
        let default = default_value(cursor)?;
        clauses.push(Clause::SetDefault { column, default });
    } else if cursor.take_words(&["DROP", "DEFAULT"]) {
        clauses.push(Clause::SetDefault { column, default: None });
    } else if !cursor.take_words(&["SET", "VISIBLE"]) && !cursor.take_words(&["SET", "INVISIBLE"]) {
        return Err(cursor.unexpected());
    }
    Ok(())
}

/// `MODIFY [COLUMN] name …`, `CHANGE [COLUMN] from name …`
fn change(cursor: &mut Cursor<'_>) -> Read<Clause> {
    let renames = cursor.take_word("CHANGE");
    if !renames {
        cursor.expect_word("MODIFY")?;
    }
    cursor.take_word("COLUMN");
    let if_exists = take_if_exists(cursor);
    let old = if renames { Some(cursor.name()?) } else { None };
    let column = column(cursor)?;
    Ok(Clause::ChangeColumn {
        from: old.unwrap_or_else(|| column.name.clone()),
        column,
        place: place(cursor)?,
        if_exists,
    })
}

fn rename(cursor: &mut Cursor<'_>) -> Read<Option<Clause>> {
    if cursor.take_word("COLUMN") {
        let if_exists = take_if_exists(cursor);
        let from = cursor.name()?;
        cursor.expect_word("TO")?;
        let to = cursor.name()?;
        return Ok(Some(Clause::RenameColumn { from, to, if_exists }));
    }
    if cursor.take_any(&["INDEX", "KEY"]) {
        take_if_exists(cursor);
        let from = cursor.name()?;
        cursor.expect_word("TO")?;
        let to = cursor.name()?;
        return Ok(Some(Clause::RenameKey { from, to }));
    }
    if !cursor.take_any(&["TO", "AS"]) {
        cursor.take_symbol('=');
    }
    cursor.table_name().map(|table| Some(Clause::RenameTable(table)))
}

fn convert(cursor: &mut Cursor<'_>) -> Read<Clause> {
    if cursor.take_word("PARTITION") {
        cursor.name()?;
        cursor.expect_word("TO")?;
        cursor.expect_word("TABLE")?;
        let table = cursor.table_name()?;
        cursor.skip_clause(&[])?;
        return Ok(Clause::PartitionBecomesTable(table));
    }
    if cursor.take_word("TABLE") {
        let table = cursor.table_name()?;
        cursor.skip_clause(&[])?;
        return Ok(Clause::TableBecomesPartition(table));
    }
    cursor.expect_word("TO")?;
    let charset = charset_clause(cursor)?.ok_or_else(|| cursor.unexpected())?;
    let of_collation = if cursor.take_word("COLLATE") {
        collation(cursor)?
    } else {
        None
    };
    Ok(Clause::ConvertCharset(charset.or(of_collation)))
}

// --- CREATE TABLE

/// Everything behind `CREATE TABLE name`.
pub(super) fn create_body(cursor: &mut Cursor<'_>) -> Read<TableBody> {
    if cursor.take_word("LIKE") {
        return cursor.table_name().map(TableBody::Like);
    }
    let mut table = TableSpec::default();
    let is_list = cursor.is_at_symbol('(')
        && !cursor
            .peek_second()
            .is_some_and(|token| token.is_word("SELECT") || token.is_symbol('('));
    if is_list {
        cursor.expect_symbol('(')?;
        if cursor.take_word("LIKE") {
            return cursor.table_name().map(TableBody::Like);
        }
        table_elements(cursor, &mut table)?;
    }
    if create_options(cursor, &mut table)? {
        return Ok(TableBody::Selected);
    }
    Ok(TableBody::Columns(table))
}

fn table_elements(cursor: &mut Cursor<'_>, table: &mut TableSpec) -> Read<()> {
    loop {
        if is_at_key(cursor) {
            table.keys.extend(key(cursor)?);
        } else {
            table.columns.push(column(cursor)?);
        }
        if cursor.take_symbol(')') {
            return Ok(());
        }
        cursor.expect_symbol(',')?;
    }
}

/// Options, partitions and what the server adds; true where a SELECT follows.
fn create_options(cursor: &mut Cursor<'_>, table: &mut TableSpec) -> Read<bool> {
    while !cursor.is_at_end() {
        if cursor.take_words(&["START", "TRANSACTION"]) || cursor.take_symbol(',') {
            // MySQL 8.0.21 and later log a CREATE TABLE … SELECT as a definition with START TRANSACTION, and then rows.
            continue;
        }
        if cursor.is_at_any(&["AS", "SELECT", "WITH", "IGNORE", "REPLACE", "VALUES", "TABLE"])
            || cursor.is_at_symbol('(')
        {
            let is_versioning = cursor.peek_second().is_some_and(|token| token.is_word("SYSTEM"));
            if !is_versioning {
                return Ok(true);
            }
        }
        if cursor.take_words(&["PARTITION", "BY"]) {
            skip_partitions(cursor)?;
            continue;
        }
        let option = table_option(cursor)?.ok_or_else(|| cursor.unexpected())?;
        match option {
            TableOption::Charset(charset) => table.charset = charset.or(table.charset),
            TableOption::Comment(comment) => table.comment = Some(comment),
            TableOption::Engine(engine) => table.engine = Some(engine),
            TableOption::SystemVersioning => table.system_versioned = true,
            TableOption::Harmless => {}
        }
    }
    Ok(false)
}

fn skip_partitions(cursor: &mut Cursor<'_>) -> Read<()> {
    while !cursor.is_at_end() && !cursor.is_at_any(&["AS", "SELECT", "IGNORE", "REPLACE", "START"]) {
        cursor.skip_one()?;
    }
    Ok(())
}

/// One option of a table; `None` where none begins here.
pub(super) fn table_option(cursor: &mut Cursor<'_>) -> Read<Option<TableOption>> {
    let mut ahead = *cursor;
    ahead.take_word("DEFAULT");
    let option = if let Some(charset) = charset_clause(&mut ahead)? {
        TableOption::Charset(charset_with_collation(&mut ahead, charset)?)
    } else if ahead.take_word("COLLATE") {
        ahead.take_symbol('=');
        TableOption::Charset(collation(&mut ahead)?)
    } else if ahead.take_word("COMMENT") {
        ahead.take_symbol('=');
        TableOption::Comment(ahead.text()?)
    } else if ahead.take_any(&["ENGINE", "TYPE"]) {
        ahead.take_symbol('=');
        TableOption::Engine(engine_name(&mut ahead)?)
    } else if ahead.take_words(&["WITH", "SYSTEM", "VERSIONING"]) {
        TableOption::SystemVersioning
    } else if ahead.take_words(&["DATA", "DIRECTORY"])
        || ahead.take_words(&["INDEX", "DIRECTORY"])
        || ahead.take_any(&HARMLESS_OPTIONS)
    {
        ahead.take_symbol('=');
        ahead.skip_one()?;
        TableOption::Harmless
    } else if ahead.peek_second().is_some_and(|token| token.is_symbol('=')) {
        // MariaDB's engines have options of their own: `name=value`.
        ahead.name()?;
        ahead.next();
        ahead.skip_one()?;
        TableOption::Harmless
    } else {
        return Ok(None);
    };
    *cursor = ahead;
    Ok(Some(option))
}

fn engine_name(cursor: &mut Cursor<'_>) -> Read<String> {
    match cursor.peek() {
        Some(token) if token.kind == TokenKind::Text => cursor.text(),
        _ => cursor.name(),
    }
}

/// `CHARACTER SET x COLLATE y` says one thing.
fn charset_with_collation(cursor: &mut Cursor<'_>, charset: Option<Charset>) -> Read<Option<Charset>> {
    let mut ahead = *cursor;
    ahead.take_word("DEFAULT");
    if !ahead.take_word("COLLATE") {
        return Ok(charset);
    }
    ahead.take_symbol('=');
    let of_collation = collation(&mut ahead)?;
    *cursor = ahead;
    Ok(charset.or(of_collation))
}
