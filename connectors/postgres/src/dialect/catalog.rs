//! What the catalogue says of tables that are polled: who makes their ids and timestamps, what is unique, and which version they are.

use std::collections::{BTreeMap, HashMap};

use tailrace_core::Result;
use tokio_postgres::{Client, Row};

use crate::error::query_error;
use crate::quote::identifier;

/// What is there besides columns and key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TableFacts {
    /// What it is.
    pub(crate) kind: TableKind,
    /// Changes with every change of its definition.
    pub(crate) version: i64,
    /// Tables that inherit from it and are no partitions of it: their rows would be read with its own.
    pub(crate) has_heirs: bool,
    /// Columns that have a default, by name.
    pub(crate) defaults: BTreeMap<String, DefaultFacts>,
    /// Indexes whose order is that of their columns.
    pub(crate) indexes: Vec<IndexFacts>,
    /// Triggers that may change a row before it is written.
    pub(crate) triggers: Vec<TriggerFacts>,
    /// Sequences that are called like the table's or belong to one of its columns, and are no default of it: applications take ids
    /// from such before they insert.
    pub(crate) lone_sequences: Vec<SequenceFacts>,
}

/// What a relation is, as far as polling is concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TableKind {
    /// A table with rows of its own.
    #[default]
    Table,
    /// A table whose rows are in its partitions.
    Partitioned,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A table that is elsewhere.
    Foreign,
}

/// Where values of a column come from that no statement gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefaultFacts {
    /// The server refuses ids of others unless it is overridden: `GENERATED ALWAYS AS IDENTITY`.
    pub(crate) always: bool,
    /// The sequence, where the default is nothing but its next value.
    pub(crate) sequence: Option<SequenceFacts>,
}

/// A sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SequenceFacts {
    /// Object id.
    pub(crate) oid: u32,
    /// Name in full, quoted where needed.
    pub(crate) name: String,
    /// Step.
    pub(crate) increment: i64,
    /// Numbers that each session takes at a time.
    pub(crate) cache: i64,
    /// Begins again at its end.
    pub(crate) cycles: bool,
    /// It belongs to the column, by `OWNED BY` or as an identity.
    pub(crate) owned: bool,
    /// Columns of other tables whose default it is too.
    pub(crate) other_columns: i64,
    /// Our role may ask for its last value.
    pub(crate) readable: bool,
}

/// An index that gives rows in the order of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexFacts {
    /// Tells rows apart.
    pub(crate) unique: bool,
    /// Columns, in the index's order.
    pub(crate) columns: Vec<String>,
}

/// A trigger that may change a row before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TriggerFacts {
    /// Fires for new rows.
    pub(crate) on_insert: bool,
    /// Fires for changed rows.
    pub(crate) on_update: bool,
    /// The function's text and the trigger's arguments.
    pub(crate) text: String,
}

/// One number over all rows of the catalogue that make a table what it is: each has the transaction that wrote it. VACUUM and ANALYZE
/// change statistics in place, and so not these. Planning it takes forty times as long as running it for one table: pages prepare it.
pub(crate) const VERSIONS: &str = "
SELECT r.oid, coalesce((SELECT pg_catalog.hashtextextended(pg_catalog.string_agg(p.part, ' ' ORDER BY p.part), 0::bigint) FROM (
    SELECT pg_catalog.concat_ws(' ', 'r', n.nspname, c.relname, c.relkind, c.relreplident, c.relrowsecurity)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = r.oid
    UNION ALL SELECT pg_catalog.concat_ws(' ', 'a', a.attnum, a.xmin)
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.oid AND a.attnum > 0
    UNION ALL SELECT pg_catalog.concat_ws(' ', 'd', d.adnum, d.xmin) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = r.oid
    UNION ALL SELECT pg_catalog.concat_ws(' ', 'i', i.indexrelid, i.xmin) FROM pg_catalog.pg_index i WHERE i.indrelid = r.oid
    UNION ALL SELECT pg_catalog.concat_ws(' ', 't', t.oid, t.xmin) FROM pg_catalog.pg_trigger t WHERE t.tgrelid = r.oid
    UNION ALL SELECT pg_catalog.concat_ws(' ', 'h', h.inhrelid) FROM pg_catalog.pg_inherits h WHERE h.inhparent = r.oid
    UNION ALL SELECT pg_catalog.concat_ws(' ', 'c', o.objsubid, o.xmin)
    FROM pg_catalog.pg_description o WHERE o.objoid = r.oid AND o.classoid = 'pg_catalog.pg_class'::regclass
    UNION ALL SELECT pg_catalog.concat_ws(' ', 'y', t.oid, t.xmin, e.oid, e.xmin, e.enumsortorder)
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.oid >= 16384
    LEFT JOIN pg_catalog.pg_enum e ON e.enumtypid IN (t.oid, t.typelem)
    WHERE a.attrelid = r.oid
    UNION ALL SELECT pg_catalog.concat_ws(' ', 's', s.seqrelid, s.xmin)
    FROM pg_catalog.pg_attrdef d
    JOIN pg_catalog.pg_depend k ON k.classid = 'pg_catalog.pg_attrdef'::regclass AND k.objid = d.oid
    JOIN pg_catalog.pg_sequence s ON s.seqrelid = k.refobjid
    WHERE d.adrelid = r.oid
    UNION ALL SELECT pg_catalog.concat_ws(' ', 's', s.seqrelid, s.xmin)
    FROM pg_catalog.pg_depend k
    JOIN pg_catalog.pg_sequence s ON s.seqrelid = k.objid
    WHERE k.classid = 'pg_catalog.pg_class'::regclass AND k.refclassid = 'pg_catalog.pg_class'::regclass
      AND k.refobjid = r.oid AND k.refobjsubid > 0
  ) AS p (part)), 0)
FROM pg_catalog.unnest($1::oid[]) AS r (oid)";

/// Which relations there are, as far as patterns of names could find them.
pub(super) const NAMES_VERSION: &str = "
SELECT coalesce(pg_catalog.hashtextextended(pg_catalog.string_agg(
         pg_catalog.concat_ws(' ', c.oid, n.nspname, c.relname, c.relkind, c.relispartition), ' ' ORDER BY c.oid), 0::bigint), 0)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')";

const KINDS: &str = "
SELECT c.oid, c.relkind::text,
       EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class k ON k.oid = i.inhrelid
               WHERE i.inhparent = c.oid AND NOT k.relispartition)
FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1)";

/// A default that takes a number and does something with it is no plain sequence, which its text tells. Partitions of one table
/// share its sequence.
const DEFAULTS: &str = "
SELECT a.attrelid, a.attname::text, a.attidentity = 'a',
       a.attidentity <> '' OR pg_catalog.pg_get_expr(d.adbin, d.adrelid) ~ '^nextval\\(''.*''::regclass\\)$',
       s.seqrelid, s.seqrelid::regclass::text, s.seqincrement, s.seqcache, s.seqcycle,
       EXISTS (SELECT FROM pg_catalog.pg_depend k
               WHERE k.classid = 'pg_catalog.pg_class'::regclass AND k.objid = s.seqrelid AND k.deptype IN ('a', 'i')
                 AND k.refclassid = 'pg_catalog.pg_class'::regclass
                 AND k.refobjid IN (a.attrelid, pg_catalog.pg_partition_root(a.attrelid)) AND k.refobjsubid > 0),
       (SELECT count(*) FROM pg_catalog.pg_depend k JOIN pg_catalog.pg_attrdef o ON o.oid = k.objid
        WHERE k.classid = 'pg_catalog.pg_attrdef'::regclass AND k.refclassid = 'pg_catalog.pg_class'::regclass
          AND k.refobjid = s.seqrelid AND o.adrelid <> a.attrelid
          AND o.adrelid NOT IN (SELECT t.relid FROM pg_catalog.pg_partition_tree(
                coalesce(pg_catalog.pg_partition_root(a.attrelid), a.attrelid)) AS t)),
       pg_catalog.has_sequence_privilege(s.seqrelid, 'USAGE, SELECT')
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN LATERAL (
    SELECT q.* FROM pg_catalog.pg_depend k JOIN pg_catalog.pg_sequence q ON q.seqrelid = k.objid
    WHERE a.attidentity <> '' AND k.classid = 'pg_catalog.pg_class'::regclass AND k.deptype = 'i'
      AND k.refclassid = 'pg_catalog.pg_class'::regclass AND k.refobjsubid = a.attnum
      AND k.refobjid IN (a.attrelid, pg_catalog.pg_partition_root(a.attrelid))
    UNION ALL
    SELECT q.* FROM pg_catalog.pg_depend k JOIN pg_catalog.pg_sequence q ON q.seqrelid = k.refobjid
    WHERE k.classid = 'pg_catalog.pg_attrdef'::regclass AND k.objid = d.oid AND k.refclassid = 'pg_catalog.pg_class'::regclass
    LIMIT 1) s ON true
WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  AND (d.oid IS NOT NULL OR a.attidentity <> '')";

/// A B-tree over whole columns, all in one direction, serves an order by them. What is unique only for some rows, or only at the end
/// of a transaction, is not; NULLs do not matter, because rows without an id are not read.
const INDEXES: &str = "
SELECT i.indrelid, i.indisunique AND i.indimmediate,
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.place)
        FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE k.place <= i.indnkeyatts)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_am m ON m.oid = c.relam AND m.amname = 'btree'
WHERE i.indrelid = ANY ($1) AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
  AND (SELECT count(DISTINCT o.bits & 1) FROM pg_catalog.unnest(i.indoption::int2[]) AS o (bits)) = 1
ORDER BY i.indrelid, c.relname";

/// Row triggers that fire before the write in sessions like the application's.
const TRIGGERS: &str = "
SELECT t.tgrelid, t.tgtype::int & 4 <> 0, t.tgtype::int & 16 <> 0,
       p.prosrc || ' ' || pg_catalog.encode(t.tgargs, 'escape')
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = ANY ($1) AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype::int & 3 = 3";

const LONE_SEQUENCES: &str = "
SELECT c.oid, s.seqrelid, s.seqrelid::regclass::text, s.seqincrement, s.seqcache, s.seqcycle
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_class q ON q.relnamespace = c.relnamespace AND q.relkind = 'S'
JOIN pg_catalog.pg_sequence s ON s.seqrelid = q.oid
WHERE c.oid = ANY ($1)
  AND (q.relname = c.relname || '_seq'
       OR EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND q.relname = c.relname || '_' || a.attname || '_seq'))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend k
                  WHERE k.classid = 'pg_catalog.pg_attrdef'::regclass AND k.refobjid = q.oid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend k
                  WHERE k.classid = 'pg_catalog.pg_class'::regclass AND k.objid = q.oid AND k.deptype = 'i')
ORDER BY c.oid, q.relname";

/// Everything about some relations, by object id.
pub(super) async fn facts(client: &Client, oids: &[u32]) -> Result<HashMap<u32, TableFacts>> {
    let wrap = |error| query_error(&error, "read how tables are defined");
    let ask = async |query: &str| client.query(query, &[&oids]).await.map_err(wrap);
    let mut facts: HashMap<u32, TableFacts> = HashMap::new();
    let answers = [
        (ask(VERSIONS).await?, add_version as Add),
        (ask(KINDS).await?, add_kind),
        (ask(DEFAULTS).await?, add_default),
        (ask(INDEXES).await?, add_index),
        (ask(TRIGGERS).await?, add_trigger),
        (ask(LONE_SEQUENCES).await?, add_lone_sequence),
    ];
    for (rows, add) in &answers {
        for row in rows {
            let oid = row.try_get(0).map_err(wrap)?;
            add(facts.entry(oid).or_default(), row).map_err(wrap)?;
        }
    }
    Ok(facts)
}

/// Takes over what one row of an answer says of its table.
type Add = fn(&mut TableFacts, &Row) -> Result<(), tokio_postgres::Error>;

fn add_version(facts: &mut TableFacts, row: &Row) -> Result<(), tokio_postgres::Error> {
    facts.version = row.try_get(1)?;
    Ok(())
}

fn add_kind(facts: &mut TableFacts, row: &Row) -> Result<(), tokio_postgres::Error> {
    facts.kind = match row.try_get::<_, String>(1)?.as_str() {
        "p" => TableKind::Partitioned,
        "v" => TableKind::View,
        "m" => TableKind::MaterializedView,
        "f" => TableKind::Foreign,
        _ => TableKind::Table,
    };
    facts.has_heirs = row.try_get(2)?;
    Ok(())
}

fn add_default(facts: &mut TableFacts, row: &Row) -> Result<(), tokio_postgres::Error> {
    let oid: Option<u32> = row.try_get(4)?;
    let is_plain: bool = row.try_get(3)?;
    let sequence = match oid.filter(|_| is_plain) {
        Some(oid) => Some(SequenceFacts {
            oid,
            name: row.try_get(5)?,
            increment: row.try_get(6)?,
            cache: row.try_get(7)?,
            cycles: row.try_get(8)?,
            owned: row.try_get(9)?,
            other_columns: row.try_get(10)?,
            readable: row.try_get(11)?,
        }),
        None => None,
    };
    let default = DefaultFacts {
        always: row.try_get(2)?,
        sequence,
    };
    facts.defaults.insert(row.try_get(1)?, default);
    Ok(())
}

fn add_index(facts: &mut TableFacts, row: &Row) -> Result<(), tokio_postgres::Error> {
    facts.indexes.push(IndexFacts {
        unique: row.try_get(1)?,
        columns: row.try_get(2)?,
    });
    Ok(())
}

fn add_trigger(facts: &mut TableFacts, row: &Row) -> Result<(), tokio_postgres::Error> {
    facts.triggers.push(TriggerFacts {
        on_insert: row.try_get(1)?,
        on_update: row.try_get(2)?,
        text: row.try_get(3)?,
    });
    Ok(())
}

fn add_lone_sequence(facts: &mut TableFacts, row: &Row) -> Result<(), tokio_postgres::Error> {
    facts.lone_sequences.push(SequenceFacts {
        oid: row.try_get(1)?,
        name: row.try_get(2)?,
        increment: row.try_get(3)?,
        cache: row.try_get(4)?,
        cycles: row.try_get(5)?,
        owned: false,
        other_columns: 0,
        readable: false,
    });
    Ok(())
}

// === impl TableFacts ===

impl TableFacts {
    /// Columns each of which is unique by itself. Of a view or a table that is elsewhere the database does not know, and of a
    /// partitioned table only its own numbering can say it, because its unique indexes have the partition key in them.
    pub(crate) fn unique_columns(&self, columns: &[&str]) -> Vec<String> {
        if self.kind == TableKind::View || self.kind == TableKind::Foreign {
            return columns.iter().map(|column| (*column).to_owned()).collect();
        }
        let indexed = self.indexes.iter().filter(|index| index.unique);
        let mut unique: Vec<String> = indexed
            .filter_map(|index| match index.columns.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            })
            .collect();
        let numbered = self.defaults.iter().filter(|(_, default)| default.numbers_rows());
        if self.kind == TableKind::Partitioned {
            unique.extend(numbered.map(|(column, _)| column.clone()));
        }
        unique
    }

    /// Whether an index itself says that a column is unique.
    pub(crate) fn has_unique_index(&self, column: &str) -> bool {
        self.indexes
            .iter()
            .any(|index| index.unique && index.columns == [column])
    }

    /// Whether a trigger or a default gives a column a value in new rows.
    pub(crate) fn sets_on_insert(&self, column: &str) -> bool {
        let trigger = |trigger: &TriggerFacts| trigger.on_insert && trigger.mentions(column);
        self.defaults.contains_key(column) || self.triggers.iter().any(trigger)
    }

    /// Whether a trigger gives a column a value in changed rows.
    pub(crate) fn sets_on_update(&self, column: &str) -> bool {
        let trigger = |trigger: &TriggerFacts| trigger.on_update && trigger.mentions(column);
        self.triggers.iter().any(trigger)
    }
}

// === impl DefaultFacts ===

impl DefaultFacts {
    /// The database's own sequence, used for nothing else and never begun again.
    fn numbers_rows(&self) -> bool {
        self.sequence
            .as_ref()
            .is_some_and(|sequence| sequence.owned && !sequence.cycles && sequence.other_columns == 0)
    }
}

// === impl SequenceFacts ===

impl SequenceFacts {
    /// Why it must be readable, with the statement that makes it so.
    pub(crate) fn unreadable(&self, role: &str) -> String {
        format!(
            "the role \"{role}\" may not ask for the last number of {}, and nothing else tells a table whose newest rows were deleted \
             from one that went back: {}",
            self.name,
            self.grant(role)
        )
    }

    /// The statement that makes it readable.
    pub(crate) fn grant(&self, role: &str) -> String {
        format!("GRANT SELECT ON SEQUENCE {} TO {}", self.name, identifier(role))
    }
}

// === impl TriggerFacts ===

impl TriggerFacts {
    /// Its function names the column, or is told it. What a function does cannot be known without running it.
    fn mentions(&self, column: &str) -> bool {
        self.text.to_lowercase().contains(&column.to_lowercase())
    }
}

// === impl TableKind ===

impl TableKind {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Table | Self::Partitioned => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::Foreign => "foreign table",
        }
    }

    /// `LOCK TABLE` knows it.
    pub(super) fn lockable(self) -> bool {
        matches!(self, Self::Table | Self::Partitioned | Self::View)
    }
}
