//! A table that is written into, from the catalogue.

use std::sync::Arc;

use tailrace_core::Result;
use tailrace_core::schema::{Column, TableKind, TableName, TableSchema};
use tailrace_sql::sink::target::{TargetColumn, TargetTable};
use tokio_postgres::{Client, Row};

use crate::discover::load_types;
use crate::error::query_error;
use crate::type_catalog::TypeCatalog;

/// Ordinary and partitioned tables, foreign tables, and views, which may have triggers that write.
const RELATION: &str = "
SELECT c.oid
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'f', 'v')";

/// Columns in their order.
const COLUMNS: &str = "
SELECT a.attnum, a.attname::text, a.atttypid, a.atttypmod, pg_catalog.format_type(a.atttypid, NULL),
       a.attnotnull OR t.typnotnull, a.attgenerated <> '', a.attidentity = 'a', a.atthasdef OR a.attidentity <> ''
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum";

/// Unique indexes that are checked at once: a deferred one decides no conflict. The columns that an index only carries along are no key.
const UNIQUE_INDEXES: &str = "
SELECT i.indisprimary, i.indpred IS NOT NULL OR i.indexprs IS NOT NULL,
       ARRAY(SELECT k.attnum::int4 FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
             WHERE k.place <= i.indnkeyatts ORDER BY k.place)
FROM pg_catalog.pg_index i
WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate";

/// Tables that foreign keys refer to.
const REFERENCES: &str = "
SELECT DISTINCT n.nspname::text, c.relname::text, k.confrelid = k.conrelid
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.conrelid = $1 AND k.contype = 'f'";

/// The table as it is now; `None` where it is not there.
pub(super) async fn describe(client: &Client, name: &TableName) -> Result<Option<TargetTable>> {
    let wrap = |error| query_error(&error, "look a table up");
    let relation = client
        .query_opt(RELATION, &[&name.schema, &name.table])
        .await
        .map_err(wrap)?;
    let Some(relation) = relation else {
        return Ok(None);
    };
    let oid: u32 = relation.try_get(0).map_err(wrap)?;
    let rows = client.query(COLUMNS, &[&oid]).await.map_err(wrap)?;
    let types: Vec<u32> = rows
        .iter()
        .map(|row| row.try_get(2))
        .collect::<Result<_, _>>()
        .map_err(wrap)?;
    let mut catalog = TypeCatalog::builtin();
    load_types(client, &mut catalog, &types).await?;
    let mut numbers = Vec::new();
    let (mut schema_columns, mut columns) = (Vec::new(), Vec::new());
    for row in &rows {
        let (number, schema_column, column) = column(row, &catalog).map_err(wrap)?;
        numbers.push(number);
        schema_columns.push(schema_column);
        columns.push(column);
    }
    let mut key = Vec::new();
    let (mut unique_keys, mut has_other_unique_index) = (Vec::new(), false);
    for row in client.query(UNIQUE_INDEXES, &[&oid]).await.map_err(wrap)? {
        let (is_primary, is_partial): (bool, bool) = (row.try_get(0).map_err(wrap)?, row.try_get(1).map_err(wrap)?);
        let attributes: Vec<i32> = row.try_get(2).map_err(wrap)?;
        let place = |attribute: &i32| numbers.iter().position(|number| i32::from(*number) == *attribute);
        match attributes.iter().map(place).collect::<Option<Vec<usize>>>() {
            Some(found) if is_primary => key = found,
            Some(found) if !is_partial => unique_keys.push(found),
            Some(_) | None => has_other_unique_index = true,
        }
    }
    let (mut references, mut references_itself) = (Vec::new(), false);
    for row in client.query(REFERENCES, &[&oid]).await.map_err(wrap)? {
        if row.try_get(2).map_err(wrap)? {
            references_itself = true;
        } else {
            references.push(TableName {
                database: String::new(),
                schema: row.try_get(0).map_err(wrap)?,
                table: row.try_get(1).map_err(wrap)?,
            });
        }
    }
    let schema = TableSchema {
        name: name.clone(),
        kind: TableKind::Table,
        columns: schema_columns,
        key,
        documentation: None,
    };
    Ok(Some(TargetTable {
        schema: Arc::new(schema),
        columns,
        unique_keys,
        has_other_unique_index,
        references,
        references_itself,
    }))
}

fn column(row: &Row, types: &TypeCatalog) -> Result<(i16, Column, TargetColumn), tokio_postgres::Error> {
    let known = types.column(row.try_get(2)?, row.try_get(3)?);
    let (is_required, has_default): (bool, bool) = (row.try_get(5)?, row.try_get(8)?);
    let column = Column {
        nullable: !is_required,
        source_type: known.source_type,
        ..Column::new(row.try_get::<_, String>(1)?, known.logical_type)
    };
    let target = TargetColumn {
        type_name: without_length(row.try_get(4)?),
        is_generated: row.try_get(6)?,
        is_identity_always: row.try_get(7)?,
        may_be_left_out: !is_required || has_default,
    };
    Ok((row.try_get(0)?, column, target))
}

/// The name of a type under which a cast cuts nothing: by their SQL names, strings of characters and of bits without a length have one of
/// a single character or bit.
fn without_length(name: &str) -> String {
    let element = name.trim_end_matches("[]");
    let dimensions = name.strip_prefix(element).unwrap_or_default();
    let element = match element {
        "character" => "bpchar",
        "bit" => "\"bit\"",
        other => other,
    };
    format!("{element}{dimensions}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_cut_nothing() {
        for (name, cast) in [
            ("character", "bpchar"),
            ("character[]", "bpchar[]"),
            ("bit", "\"bit\""),
            ("character varying", "character varying"),
            ("bit varying[]", "bit varying[]"),
        ] {
            assert_eq!(without_length(name), cast);
        }
    }
}
