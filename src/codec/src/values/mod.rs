//! What is written for each value, straight into the batch's buffer and in any [`crate::notation`]: one concept a file,
//! [`cell`] brings them together.

pub(crate) mod bytes;
pub(crate) mod calendar;
pub(crate) mod capacity;
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
    pub(crate) cause: Cause,
}

/// Why a cell cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The value is valid in its database, and its column's form has no room for it: `format.unrepresentable` decides.
    Unrepresentable,
    /// There is no value to write (the log does not carry it), or it is not what its type comes with.
    Missing,
}

impl CellError {
    /// A cell without a value that could be written.
    pub(crate) fn new(problem: &'static str, remedy: &'static str) -> Self {
        Self {
            problem,
            remedy,
            cause: Cause::Missing,
        }
    }

    /// A value that its column's form has no room for.
    pub(crate) fn unrepresentable(problem: &'static str, remedy: &'static str) -> Self {
        Self {
            cause: Cause::Unrepresentable,
            ..Self::new(problem, remedy)
        }
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
