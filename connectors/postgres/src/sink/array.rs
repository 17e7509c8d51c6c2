//! Arrays as parameters: the bytes of the binary protocol, as they are.
//!
//! Source: PostgreSQL's `array_recv`.

use std::error::Error as StdError;

use bytes::BytesMut;
use tailrace_core::Result;
use tailrace_core::error::Error;
use tailrace_sql::sink::work::Step;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use super::value::{ColumnWriter, Element};

/// Arrays of one dimension begin at 1.
const LOWER_BOUND: i32 = 1;
/// What a value takes with its length, where it is a number or a time.
const VALUE_BYTES: usize = 12;

/// One column of a step.
#[derive(Debug)]
pub(super) struct Array(Vec<u8>);

/// The columns of a step, each with its values in the order of the rows. Rows are gone through once: each is looked up once, and its values lie
/// side by side.
///
/// # Errors
/// `Poison`, where a column cannot hold a value.
pub(super) fn arrays(step: &Step<'_>, writers: &[ColumnWriter<'_>]) -> Result<Vec<Array>> {
    let rows = i32::try_from(step.rows.len()).map_err(|_| {
        Error::definite(
            "batch_full",
            "a batch has more rows than an array holds; make `batch.rows` smaller",
        )
    })?;
    let mut arrays: Vec<Array> = writers.iter().map(|writer| Array::new(writer.element, rows)).collect();
    for row in &step.rows {
        let values = step.values(row);
        for ((column, writer), array) in step.columns.iter().zip(writers).zip(&mut arrays) {
            writer.write(values.get(column.place), &mut array.0)?;
        }
    }
    Ok(arrays)
}

// === impl Array ===

impl Array {
    /// Without its values. Dimensions, whether there are NULLs, type of the elements, length, lower bound.
    fn new(element: Element, rows: i32) -> Self {
        let length = usize::try_from(rows).unwrap_or_default();
        let mut bytes = Vec::with_capacity(20 + length * VALUE_BYTES);
        bytes.extend(1_i32.to_be_bytes());
        bytes.extend(1_i32.to_be_bytes());
        bytes.extend(element.oid().to_be_bytes());
        bytes.extend(rows.to_be_bytes());
        bytes.extend(LOWER_BOUND.to_be_bytes());
        Self(bytes)
    }
}

impl ToSql for Array {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Binary
    }

    fn to_sql_checked(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.to_sql(of, out)
    }
}
