//! The types of columns, looked up with everything that they are made of: bases of domains, elements of arrays, labels of enums.

use std::sync::Arc;

use tailrace_core::Result;
use tokio_postgres::{Client, Row};

use crate::discover::catalog::Details;
use crate::error::query_error;
use crate::type_catalog::{TypeCatalog, TypeInfo, TypeShape};

/// A domain over a domain over an array …: deeper than anybody nests them, and an end for a catalogue that is broken.
const DEPTH_MAXIMUM: usize = 32;

/// `int2vector` and `oidvector` have elements and are no arrays: they print their elements with spaces.
const TYPES: &str = "
SELECT t.oid, t.typname::text, n.nspname::text,
       CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 AND t.typlen = -1 AND t.oid NOT IN (22, 30) THEN 'array'
            ELSE t.typtype::text END,
       t.typelem, t.typbasetype, t.typtypmod,
       ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid = ANY ($1)";

/// The types of all columns of these relations.
pub(super) async fn types_of(client: &Client, details: &Details) -> Result<TypeCatalog> {
    let mut types = TypeCatalog::builtin();
    let oids: Vec<u32> = details.attributes.iter().map(|attribute| attribute.type_oid).collect();
    load_types(client, &mut types, &oids).await?;
    Ok(types)
}

/// Adds what is not known yet. A type that was dropped in the meantime stays unknown: its values are carried as text.
pub(crate) async fn load_types(client: &Client, types: &mut TypeCatalog, oids: &[u32]) -> Result<()> {
    let mut wanted: Vec<u32> = oids.to_vec();
    for _ in 0..DEPTH_MAXIMUM {
        wanted.retain(|oid| !types.contains(*oid));
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            break;
        }
        let wrap = |error| query_error(&error, "look types up");
        let rows = client.query(TYPES, &[&wanted]).await.map_err(wrap)?;
        wanted.clear();
        for row in &rows {
            let info = type_info(row).map_err(wrap)?;
            wanted.extend(made_of(&info.shape));
            types.insert(info);
        }
    }
    Ok(())
}

fn made_of(shape: &TypeShape) -> Option<u32> {
    match shape {
        TypeShape::Domain { base, .. } => Some(*base),
        TypeShape::Array { element } => Some(*element),
        TypeShape::Base
        | TypeShape::Enum(_)
        | TypeShape::Composite
        | TypeShape::Range
        | TypeShape::Multirange
        | TypeShape::Pseudo => None,
    }
}

fn type_info(row: &Row) -> Result<TypeInfo, tokio_postgres::Error> {
    let kind: String = row.try_get(3)?;
    let shape = match kind.as_str() {
        "array" => TypeShape::Array {
            element: row.try_get(4)?,
        },
        "d" => TypeShape::Domain {
            base: row.try_get(5)?,
            typmod: row.try_get(6)?,
        },
        "e" => TypeShape::Enum(Arc::from(row.try_get::<_, Vec<String>>(7)?)),
        "c" => TypeShape::Composite,
        "r" => TypeShape::Range,
        "m" => TypeShape::Multirange,
        "p" => TypeShape::Pseudo,
        _ => TypeShape::Base,
    };
    Ok(TypeInfo {
        oid: row.try_get(0)?,
        name: row.try_get(1)?,
        schema: row.try_get(2)?,
        shape,
    })
}
