//! Keys: in CREATE TABLE and ALTER TABLE, CREATE INDEX and DROP INDEX.

use super::classify::{INDEX_KINDS, take_if_exists, take_if_not_exists, take_wait};
use super::clause::{Clause, KeyKind, KeySpec, PRIMARY};
use super::cursor::{Cursor, Read};
use super::grammar::TAIL;

/// Whether a key or a constraint begins here, and no column.
pub(super) fn is_at_key(cursor: &Cursor<'_>) -> bool {
    if cursor.is_at_any(&[
        "PRIMARY",
        "UNIQUE",
        "INDEX",
        "KEY",
        "FULLTEXT",
        "SPATIAL",
        "FOREIGN",
        "CONSTRAINT",
        "CHECK",
    ]) {
        return true;
    }
    let second = cursor.peek_second();
    let second_is = |words: &[&str]| second.is_some_and(|token| words.iter().any(|word| token.is_word(word)));
    let is_vector = cursor.is_at_word("VECTOR")
        && (second_is(&["INDEX", "KEY"]) || second.is_some_and(|token| token.is_symbol('(')));
    is_vector || (cursor.is_at_word("PERIOD") && second_is(&["FOR"]))
}

/// A key or a constraint; `None` where it says nothing of what identifies a row.
pub(super) fn key(cursor: &mut Cursor<'_>) -> Read<Option<KeySpec>> {
    if cursor.take_words(&["PERIOD", "FOR"]) {
        return period(cursor).map(Some);
    }
    let mut constraint = None;
    if cursor.take_word("CONSTRAINT") {
        take_if_not_exists(cursor);
        if !cursor.is_at_any(&["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]) {
            constraint = Some(cursor.name()?);
        }
    }
    if cursor.take_words(&["PRIMARY", "KEY"]) {
        take_if_not_exists(cursor);
        let mut key = key_parts(cursor)?;
        key.name = Some(PRIMARY.to_owned());
        key.kind = KeyKind::Unique;
        return Ok(Some(key));
    }
    if cursor.take_word("UNIQUE") {
        cursor.take_any(&["INDEX", "KEY"]);
        take_if_not_exists(cursor);
        let mut key = key_parts(cursor)?;
        key.name = key.name.or(constraint);
        return Ok(Some(key));
    }
    cursor.skip_clause(&TAIL)?;
    Ok(None)
}

/// MariaDB's `PERIOD FOR name (start, end)`.
fn period(cursor: &mut Cursor<'_>) -> Read<KeySpec> {
    take_if_not_exists(cursor);
    Ok(KeySpec {
        name: Some(cursor.name()?),
        columns: key_columns(cursor)?.0,
        kind: KeyKind::Period,
    })
}

/// `[name] [USING BTREE] (a, b(10), c DESC) [options]`
fn key_parts(cursor: &mut Cursor<'_>) -> Read<KeySpec> {
    let mut name = None;
    if !cursor.is_at_symbol('(') && !cursor.is_at_any(&["USING", "TYPE"]) {
        name = Some(cursor.name()?);
    }
    if cursor.take_any(&["USING", "TYPE"]) {
        cursor.name()?;
    }
    let (columns, has_beginnings) = key_columns(cursor)?;
    cursor.skip_clause(&TAIL)?;
    Ok(KeySpec {
        name,
        columns,
        kind: if has_beginnings {
            KeyKind::Beginnings
        } else {
            KeyKind::Unique
        },
    })
}

/// Columns of a key, none where a part of it is an expression, and whether it has only the first characters of one.
fn key_columns(cursor: &mut Cursor<'_>) -> Read<(Vec<String>, bool)> {
    cursor.expect_symbol('(')?;
    let mut columns = Vec::new();
    let (mut has_expression, mut has_beginnings) = (false, false);
    loop {
        if cursor.is_at_symbol('(') {
            has_expression = true;
        } else {
            columns.push(cursor.name()?);
            has_beginnings |= cursor.is_at_symbol('(');
        }
        // The length of a prefix, the direction, WITHOUT OVERLAPS.
        cursor.skip_clause(&[])?;
        if cursor.take_symbol(')') {
            break;
        }
        cursor.expect_symbol(',')?;
    }
    if has_expression {
        columns.clear();
    }
    Ok((columns, has_beginnings))
}

/// Everything from the kind on: `UNIQUE INDEX name ON table (a, b)`.
pub(super) fn create_index(cursor: &mut Cursor<'_>, or_replace: bool) -> Read<Vec<Clause>> {
    let is_unique = cursor.is_at_word("UNIQUE");
    cursor.take_any(&INDEX_KINDS);
    cursor.expect_word("INDEX")?;
    take_if_not_exists(cursor);
    let name = cursor.name()?;
    if cursor.take_any(&["USING", "TYPE"]) {
        cursor.name()?;
    }
    cursor.expect_word("ON")?;
    cursor.table_name()?;
    take_wait(cursor);
    if !is_unique {
        return Ok(if or_replace {
            vec![Clause::DropKey(name)]
        } else {
            Vec::new()
        });
    }
    let (mut columns, has_beginnings) = key_columns(cursor)?;
    if has_beginnings {
        columns.clear();
    }
    Ok(vec![Clause::AddKey(KeySpec {
        name: Some(name),
        columns,
        kind: if or_replace {
            KeyKind::Replacement
        } else {
            KeyKind::Unique
        },
    })])
}

/// `INDEX name ON table`
pub(super) fn drop_index(cursor: &mut Cursor<'_>) -> Read<Vec<Clause>> {
    cursor.expect_word("INDEX")?;
    take_if_exists(cursor);
    Ok(vec![Clause::DropKey(cursor.name()?)])
}
