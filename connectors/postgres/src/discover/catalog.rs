//! The catalogue queries: a fixed number of them, however many tables there are. Every name is qualified or of `pg_catalog`,
//! which is all of our search path.

use tailrace_core::Result;
use tokio_postgres::{Client, Row};

use crate::error::query_error;

/// Anything with a row type that the application made: tables, partitioned tables, views and their like.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Relation {
    /// Object id.
    pub(crate) oid: u32,
    /// Schema.
    pub(crate) schema: String,
    /// Name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: RelationKind,
    /// Which columns of a row the log carries for updates and deletes.
    pub(crate) identity: ReplicaIdentity,
    /// The partitioned table that it is a partition of.
    pub(crate) parent: Option<u32>,
    /// Rows by the last ANALYZE or VACUUM; `None` where there was none.
    pub(crate) rows_estimated: Option<u64>,
    /// Comment.
    pub(crate) comment: Option<String>,
    /// Our role may read it.
    pub(crate) selectable: bool,
    /// Our role may look into its schema.
    pub(crate) schema_usable: bool,
    /// Our role owns it, which it must to publish it.
    pub(crate) owned: bool,
    /// Row-level security would hide rows from our role.
    pub(crate) row_security: bool,
}

/// What a relation is, as far as capturing is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelationKind {
    /// A table with rows of its own and a log.
    Table,
    /// A partitioned table: its rows are in its partitions.
    Partitioned,
    /// Not in the log because it is not crash-safe.
    Unlogged,
    /// View, materialized view or foreign table: not in the log.
    NotATable,
}

/// `REPLICA IDENTITY` of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplicaIdentity {
    /// The primary key, where there is one.
    Default,
    /// The whole row.
    Full,
    /// The columns of a unique index.
    Index,
    /// Nothing.
    Nothing,
}

/// Whether a column is computed by the server from other columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generated {
    /// It is not.
    No,
    /// When the row is written: in the log from PostgreSQL 18 on, where the publication asks for it.
    Stored,
    /// When the row is read: never in the log.
    Virtual,
}

/// One column of one relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attribute {
    /// Relation.
    pub(crate) relation: u32,
    /// Number within the relation; numbers of dropped columns stay unused.
    pub(crate) number: i16,
    /// Name.
    pub(crate) name: String,
    /// Type.
    pub(crate) type_oid: u32,
    /// Type modifier, -1 for none.
    pub(crate) type_modifier: i32,
    /// May hold NULL.
    pub(crate) nullable: bool,
    /// Computed by the server from other columns.
    pub(crate) generated: Generated,
    /// Default expression, as the server prints it.
    pub(crate) default: Option<String>,
    /// Comment.
    pub(crate) comment: Option<String>,
}

/// Primary key, index of the replica identity, or another index that tells rows apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyIndex {
    /// Relation.
    pub(crate) relation: u32,
    /// Of the primary key.
    pub(crate) primary: bool,
    /// Chosen by `REPLICA IDENTITY USING INDEX`.
    pub(crate) identity: bool,
    /// Column numbers in the index's order.
    pub(crate) columns: Vec<i16>,
}

/// Everything that the relations of a capture are made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Details {
    /// Columns, by relation and number.
    pub(crate) attributes: Vec<Attribute>,
    /// Keys.
    pub(crate) keys: Vec<KeyIndex>,
}

/// With a list of relations only they and the partitioned tables above them. Temporary relations are another session's.
const RELATIONS: &str = "
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, c.relreplident::text,
       i.inhparent, c.reltuples::bigint, pg_catalog.obj_description(c.oid, 'pg_class'),
       pg_catalog.has_table_privilege(c.oid, 'SELECT'), pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       pg_catalog.row_security_active(c.oid), pg_catalog.has_schema_privilege(n.oid, 'USAGE')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_inherits i ON c.relispartition AND i.inhrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND ($1::oid[] IS NULL OR c.oid = ANY ($1) OR c.oid IN (
        SELECT a.relid FROM unnest($1::oid[]) AS wanted (oid), LATERAL pg_catalog.pg_partition_ancestors(wanted.oid) AS a (relid)))
ORDER BY n.nspname, c.relname";

/// Dropped columns are gone for the log too. The expression of a generated column is no default.
const ATTRIBUTES: &str = "
SELECT a.attrelid, a.attnum, a.attname::text, a.atttypid, a.atttypmod, NOT a.attnotnull, a.attgenerated::text,
       pg_catalog.pg_get_expr(d.adbin, d.adrelid), pg_catalog.col_description(a.attrelid, a.attnum)
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated = ''
WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum";

/// An index that failed to build serves as nothing; columns that are merely included in it are no key. What is unique only
/// now and then (partial, deferrable, or where NULLs do not count) tells no rows apart, and an expression is no column.
const KEYS: &str = "
SELECT i.indrelid, i.indisprimary, i.indisreplident,
       (SELECT pg_catalog.array_agg(k.attnum ORDER BY k.place)
        FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place) WHERE k.place <= i.indnkeyatts)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY ($1) AND i.indisvalid
  AND (i.indisprimary OR i.indisreplident
       OR i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                          WHERE a.attrelid = i.indrelid AND NOT a.attnotnull
                            AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])))
ORDER BY i.indrelid, c.relname";

/// Relations of the database, or only the given ones and what they are partitions of.
pub(crate) async fn relations(client: &Client, only: Option<&[u32]>) -> Result<Vec<Relation>> {
    let rows = client
        .query(RELATIONS, &[&only])
        .await
        .map_err(|error| query_error(&error, "list tables"))?;
    rows.iter()
        .map(|row| relation(row).map_err(|error| query_error(&error, "list tables")))
        .collect()
}

/// Columns and keys of relations.
pub(crate) async fn details(client: &Client, relations: &[u32]) -> Result<Details> {
    let doing = "read the columns of tables";
    let wrap = |error| query_error(&error, doing);
    let attributes = client.query(ATTRIBUTES, &[&relations]).await.map_err(wrap)?;
    let keys = client.query(KEYS, &[&relations]).await.map_err(wrap)?;
    let read = || {
        Ok(Details {
            attributes: attributes.iter().map(attribute).collect::<Result<_, _>>()?,
            keys: keys.iter().map(key_index).collect::<Result<_, _>>()?,
        })
    };
    read().map_err(wrap)
}

fn relation(row: &Row) -> Result<Relation, tokio_postgres::Error> {
    let (kind, persistence): (String, String) = (row.try_get(3)?, row.try_get(4)?);
    let identity: String = row.try_get(5)?;
    let rows: i64 = row.try_get(7)?;
    Ok(Relation {
        oid: row.try_get(0)?,
        schema: row.try_get(1)?,
        name: row.try_get(2)?,
        kind: RelationKind::from_catalog(&kind, &persistence),
        identity: ReplicaIdentity::from_catalog(&identity),
        parent: row.try_get(6)?,
        rows_estimated: estimate(rows),
        comment: row.try_get(8)?,
        selectable: row.try_get(9)?,
        owned: row.try_get(10)?,
        row_security: row.try_get(11)?,
        schema_usable: row.try_get(12)?,
    })
}

/// -1 is "never counted" since PostgreSQL 14; before, 0 says both that and "empty", and so nothing.
fn estimate(rows: i64) -> Option<u64> {
    u64::try_from(rows).ok().filter(|rows| *rows > 0)
}

fn attribute(row: &Row) -> Result<Attribute, tokio_postgres::Error> {
    Ok(Attribute {
        relation: row.try_get(0)?,
        number: row.try_get(1)?,
        name: row.try_get(2)?,
        type_oid: row.try_get(3)?,
        type_modifier: row.try_get(4)?,
        nullable: row.try_get(5)?,
        generated: Generated::from_catalog(row.try_get(6)?),
        default: row.try_get(7)?,
        comment: row.try_get(8)?,
    })
}

fn key_index(row: &Row) -> Result<KeyIndex, tokio_postgres::Error> {
    Ok(KeyIndex {
        relation: row.try_get(0)?,
        primary: row.try_get(1)?,
        identity: row.try_get(2)?,
        columns: row.try_get(3)?,
    })
}

// === impl RelationKind ===

impl RelationKind {
    fn from_catalog(kind: &str, persistence: &str) -> Self {
        match (kind, persistence) {
            ("r", "u") => Self::Unlogged,
            ("r", _) => Self::Table,
            ("p", _) => Self::Partitioned,
            _ => Self::NotATable,
        }
    }

    /// Its rows, or those of its partitions, are in the log.
    pub(crate) fn is_capturable(self) -> bool {
        matches!(self, Self::Table | Self::Partitioned)
    }
}

// === impl ReplicaIdentity ===

impl ReplicaIdentity {
    fn from_catalog(code: &str) -> Self {
        match code {
            "f" => Self::Full,
            "i" => Self::Index,
            "n" => Self::Nothing,
            _ => Self::Default,
        }
    }
}

// === impl Generated ===

impl Generated {
    fn from_catalog(code: &str) -> Self {
        match code {
            "" => Self::No,
            "s" => Self::Stored,
            _ => Self::Virtual,
        }
    }
}
