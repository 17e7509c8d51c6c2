//! One rows event on its way into batches: it may hold more rows than a batch should.
//!
//! Per row: for an insert the row, for a delete the row before, for an update both. An image is a bitmap of the columns that are
//! NULL, one bit per column that is present, followed by the values of the others. (MySQL source documentation, "Rows_event".)

use std::sync::Arc;

use bytes::Bytes;
use tailrace_core::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Operation, Row};
use tailrace_core::schema::SharedSchema;
use tailrace_core::{Error, Result};

use crate::decode::cell::CellDecoder;
use crate::decode::reader::Reader;
use crate::decode::{self, RowsKind};

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
        Ok(Self {
            plan,
            kind: rows.kind,
            images: rows.images(body).map_err(|error| undecodable(&plan, &error))?,
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
        let plan = Arc::clone(&self.plan);
        let images = self.images.clone();
        let mut reader = Reader::new("row", images.get(self.at..).unwrap_or_default());
        let number = if self.kind == RowsKind::Update { 2 } else { 1 };
        for image in 0..number {
            let options = self.partial && image == 1;
            plan.skip(&mut reader, options).map_err(|error| undecodable(&plan, &error))?;
        }
        self.advance(reader.len());
        Ok(())
    }

    fn advance(&mut self, left: usize) {
        self.at = self.images.len().saturating_sub(left);
        self.ordinal += 1;
    }

    /// Reads a row into the batch.
    pub(crate) fn read_row(&mut self, batch: &mut ChangeBatch, transaction: usize) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        let images = self.images.clone();
        let mut reader = Reader::new("row", images.get(self.at..).unwrap_or_default());
        let mut row = |before| plan.row(&mut reader, batch, before, self.ordinal);
        let (operation, before, after) = match self.kind {
            RowsKind::Write => (Operation::Create, None, Some(row(None)?)),
            RowsKind::Delete => (Operation::Delete, Some(row(None)?), None),
            RowsKind::Update => {
                let before = row(None)?;
                let after = row(self.partial.then_some(before))?;
                (Operation::Update, Some(before), Some(after))
            }
        };
        let left = reader.len();
        let change = Change {
            operation,
            table: batch.table_index(&plan.schema),
            transaction,
            before,
            before_image: if before.is_some() { BeforeImage::Full } else { BeforeImage::None },
            after,
            ordinal: self.ordinal,
            log_position: Some(self.log_position),
            updated_at_us: None,
            topic: None,
        };
        batch.changes.push(change);
        self.advance(left);
        Ok(())
    }
}
