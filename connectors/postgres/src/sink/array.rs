//! Arrays as parameters: the bytes of the binary protocol, as they are.
//!
//! Source: PostgreSQL's `array_recv`.

use std::error::Error as StdError;

use bytes::BytesMut;
use tailrace_core::Result;
use tailrace_core::error::Error;
use tailrace_sql::sink::work::{Step, StepColumn};
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use super::value::ColumnWriter;

/// Arrays of one dimension begin at 1.
const LOWER_BOUND: i32 = 1;

/// One column of a step.
#[derive(Debug)]
pub(super) struct Array(Vec<u8>);

// === impl Array ===

impl Array {
    /// The values of a column of a step, in the order of its rows.
    ///
    /// # Errors
    /// `Poison`, where the column cannot hold a value.
    pub(super) fn of(step: &Step<'_>, column: &StepColumn<'_>, writer: &ColumnWriter<'_>) -> Result<Self> {
        let rows = i32::try_from(step.rows.len()).map_err(|_| {
            Error::definite(
                "batch_full",
                "a batch has more rows than an array holds; make `batch.rows` smaller",
            )
        })?;
        let mut bytes = Vec::with_capacity(20 + step.rows.len() * 12);
        // Dimensions, whether there are NULLs, type of the elements, length, lower bound.
        bytes.extend(1_i32.to_be_bytes());
        bytes.extend(1_i32.to_be_bytes());
        bytes.extend(writer.element.oid().to_be_bytes());
        bytes.extend(rows.to_be_bytes());
        bytes.extend(LOWER_BOUND.to_be_bytes());
        for row in &step.rows {
            writer.write(step.value(row, column), &mut bytes)?;
        }
        Ok(Self(bytes))
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
