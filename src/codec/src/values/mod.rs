//! What is written for each value, straight into the batch's buffer and in any [`crate::notation`]: one concept a file,
//! [`cell`] brings them together.

pub(crate) mod bytes;
pub(crate) mod calendar;
pub(crate) mod cell;
pub(crate) mod decimal;
pub(crate) mod geometry;
pub(crate) mod interval;
pub(crate) mod late;
pub(crate) mod number;
pub(crate) mod placeholder;
pub(crate) mod structured;
pub(crate) mod temporal;
pub(crate) mod text;
pub(crate) mod vector;

/// What a cell cannot be written as, and what to do about it. The encoder adds table, column and event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CellError {
    /// Continues "the value …".
    pub(crate) problem: &'static str,
    /// A whole sentence without a full stop.
    pub(crate) remedy: &'static str,
}

impl CellError {
    pub(crate) fn new(problem: &'static str, remedy: &'static str) -> Self {
        Self { problem, remedy }
    }

    /// A value whose kind is not the one that its logical type comes with: a bug in a decoder, not in the data.
    pub(crate) fn mismatch() -> Self {
        Self::new(
            "does not have the kind that its column type comes with",
            "please report this as a bug, with the column's type",
        )
    }
}

/// The result of writing a cell.
pub(crate) type CellResult = Result<(), CellError>;
