//! One rows event on its way into batches: it may hold more rows than a batch should.
//!
//! Per row: for an insert the row, for a delete the row before, for an update both. An image is a bitmap of the columns that are
//! NULL, one bit per column that is present, followed by the values of the others. (MySQL source documentation, "Rows_event".)

use std::sync::Arc;

use bytes::Bytes;
use tailrace_core::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Operation, Row};
use tailrace_core::schema::SharedSchema;
use tailrace_core::{Error, Result};

use crate::decode::cell::{CellDecoder, CellError};
use crate::decode::reader::Reader;
use crate::decode::{self, RowsKind, has_column};

/// Options of a row whose event may have differences: at least one of its documents is written so.
const PARTIAL_JSON_UPDATES: u64 = 1;

/// How rows of one version of a table are read.
pub(crate) struct RowPlan {
    pub(crate) schema: SharedSchema,
    pub(crate) qualified_name: String,
    /// One per column, in the order of the log.
    pub(crate) decoders: Vec<CellDecoder>,
}

/// Rows that are not read yet.
pub(crate) struct RowsInProgress {
    plan: Arc<RowPlan>,
    kind: RowsKind,
    images: Bytes,
    /// JSON documents may be written as differences from the row before.
    partial: bool,
    /// Where the next row starts.
    at: usize,
    ordinal: u64,
    log_position: u64,
}

// === impl RowsInProgress ===

impl RowsInProgress {
    /// The rows of an event, numbered from `first_ordinal`.
    pub(crate) fn new(
        plan: Arc<RowPlan>,
        rows: &decode::Rows<'_>,
        body: &Bytes,
        first_ordinal: u64,
        log_position: u64,
    ) -> Result<Self> {
        if !rows.is_full_image() || rows.columns != plan.decoders.len() {
            return Err(Error::definite(
                "row_image",
                format!(
                    "a row of {} in the log has only some of its columns: SET GLOBAL binlog_row_image = 'FULL', and make sure that no session sets another",
                    plan.qualified_name
                ),
            ));
        }
        let images = rows
            .images(body)
            .map_err(|error| undecodable(&plan, log_position, &error))?;
        Ok(Self {
            plan,
            kind: rows.kind,
            images,
            partial: rows.partial,
            at: 0,
            ordinal: first_ordinal,
            log_position,
        })
    }

    /// Every row was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.images.len()
    }

    /// Ordinal of the next row; after the last, of what would follow.
    pub(crate) fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Passes over a row that is covered already.
    pub(crate) fn skip_row(&mut self) -> Result<()> {
        let images = self.images.clone();
        let mut reader = self.reader(&images);
        let plan = &self.plan;
        let skipped = match self.kind {
            RowsKind::Write | RowsKind::Delete => plan.skip(&mut reader),
            // A difference stands behind a length, as a document does.
            RowsKind::Update => plan.skip(&mut reader).and_then(|()| {
                Differences::read(plan, self.partial, &mut reader)?;
                plan.skip(&mut reader)
            }),
        };
        let left = reader.len();
        skipped.map_err(|error| self.cut(&error))?;
        self.advance(left);
        Ok(())
    }

    fn reader<'i>(&self, images: &'i Bytes) -> Reader<'i> {
        Reader::new("row", images.get(self.at..).unwrap_or_default())
    }

    fn cut(&self, error: &dyn std::fmt::Display) -> Error {
        undecodable(&self.plan, self.log_position, error)
    }

    fn advance(&mut self, left: usize) {
        self.at = self.images.len().saturating_sub(left);
        self.ordinal += 1;
    }

    /// Reads a row into the batch.
    pub(crate) fn read_row(&mut self, batch: &mut ChangeBatch, transaction: usize) -> Result<()> {
        let images = self.images.clone();
        let mut reader = self.reader(&images);
        let (operation, before, after) = match self.kind {
            RowsKind::Write => (Operation::Create, None, Some(self.row(&mut reader, batch)?)),
            RowsKind::Delete => (Operation::Delete, Some(self.row(&mut reader, batch)?), None),
            RowsKind::Update => {
                let mut stored = reader;
                let before = self.row(&mut reader, batch)?;
                let after = if self.partial {
                    self.changed_row(&mut stored, &mut reader, batch)?
                } else {
                    self.row(&mut reader, batch)?
                };
                (Operation::Update, Some(before), Some(after))
            }
        };
        let change = Change {
            operation,
            table: batch.table_index(&self.plan.schema),
            transaction,
            before,
            before_image: if before.is_some() {
                BeforeImage::Full
            } else {
                BeforeImage::None
            },
            after,
            ordinal: self.ordinal,
            log_position: Some(self.log_position),
            updated_at_us: None,
            topic: None,
            message: None,
        };
        batch.changes.push(change);
        self.advance(reader.len());
        Ok(())
    }

    fn row(&self, reader: &mut Reader<'_>, batch: &mut ChangeBatch) -> Result<Row> {
        let plan = &self.plan;
        let nulls = plan.nulls(reader).map_err(|error| self.cut(&error))?;
        batch.begin_row().map_err(full)?;
        for (column, decoder) in plan.decoders.iter().enumerate() {
            if has_column(nulls, column) {
                batch.push_null();
            } else {
                decoder
                    .decode(reader, batch)
                    .map_err(|error| self.poison(column, &error))?;
            }
        }
        batch.end_row().map_err(full)
    }

    /// The row after, of which documents may be written as differences from those of the row before, which `stored` is at.
    fn changed_row(&self, stored: &mut Reader<'_>, reader: &mut Reader<'_>, batch: &mut ChangeBatch) -> Result<Row> {
        let plan = &self.plan;
        let before = plan.stored(stored).map_err(|error| self.cut(&error))?;
        let differences = Differences::read(plan, true, reader).map_err(|error| self.cut(&error))?;
        let nulls = plan.nulls(reader).map_err(|error| self.cut(&error))?;
        batch.begin_row().map_err(full)?;
        for (column, decoder) in plan.decoders.iter().enumerate() {
            let document = before.get(column).copied().flatten();
            let decoded = match document {
                _ if has_column(nulls, column) => {
                    batch.push_null();
                    Ok(())
                }
                Some(document) if differences.has(column) => decoder.decode_partial(document, reader, batch),
                _ => decoder.decode(reader, batch),
            };
            decoded.map_err(|error| self.poison(column, &error))?;
        }
        batch.end_row().map_err(full)
    }

    fn poison(&self, column: usize, error: &CellError) -> Error {
        let (plan, place) = (&self.plan, self.log_position);
        if let CellError::Cut(_) = error {
            return undecodable(plan, place, error);
        }
        let name = plan
            .schema
            .columns
            .get(column)
            .map_or("?", |column| column.name.as_str());
        Error::poison(
            "value_undecodable",
            format!(
                "column \"{name}\" of {} in the event at offset {place} holds a value that cannot be carried: {error}",
                plan.qualified_name
            ),
        )
    }
}

fn full(error: BatchFull) -> Error {
    Error::definite("batch_full", error.to_string())
}

fn undecodable(plan: &RowPlan, place: u64, error: &dyn std::fmt::Display) -> Error {
    Error::definite(
        "source_protocol",
        format!(
            "the rows of {} in the event at offset {place} are not what the log says of the table: {error}",
            plan.qualified_name
        ),
    )
}

// === impl RowPlan ===

impl RowPlan {
    fn nulls<'i>(&self, reader: &mut Reader<'i>) -> Result<&'i [u8], CellError> {
        Ok(reader.take(self.decoders.len().div_ceil(8))?)
    }

    /// The bytes of each value of an image; `None` for NULL.
    fn stored<'i>(&self, reader: &mut Reader<'i>) -> Result<Vec<Option<&'i [u8]>>, CellError> {
        let nulls = self.nulls(reader)?;
        let columns = self.decoders.iter().enumerate();
        columns
            .map(|(column, decoder)| {
                if has_column(nulls, column) {
                    Ok(None)
                } else {
                    decoder.stored(reader).map(Some)
                }
            })
            .collect()
    }

    fn skip(&self, reader: &mut Reader<'_>) -> Result<(), CellError> {
        self.stored(reader).map(drop)
    }
}

/// Which documents of a row are written as differences.
struct Differences<'i> {
    /// Columns that can be, in the table's order.
    columns: Vec<usize>,
    /// Which of these are, a bit each.
    bits: &'i [u8],
}

// === impl Differences ===

impl<'i> Differences<'i> {
    /// What stands before the image of the row after.
    fn read(plan: &RowPlan, partial: bool, reader: &mut Reader<'i>) -> Result<Self, CellError> {
        let none = Self {
            columns: Vec::new(),
            bits: &[],
        };
        if !partial || reader.length_encoded_int()? & PARTIAL_JSON_UPDATES == 0 {
            return Ok(none);
        }
        let columns = plan.decoders.iter().enumerate();
        let columns: Vec<usize> = columns
            .filter(|(_, decoder)| decoder.may_be_partial())
            .map(|(column, _)| column)
            .collect();
        let bits = reader.take(columns.len().div_ceil(8))?;
        Ok(Self { columns, bits })
    }

    fn has(&self, column: usize) -> bool {
        let place = self.columns.iter().position(|candidate| *candidate == column);
        place.is_some_and(|place| has_column(self.bits, place))
    }
}
