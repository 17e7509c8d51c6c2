//! Why a value cannot be carried.

use tailrace_core::batch::BatchFull;

use crate::charset::TextError;
use crate::decode::DecodeError;

/// Why a value cannot be carried. Never contains the value; whoever knows the table, the column and the position adds them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CellError {
    /// The bytes end before the value does.
    #[error(transparent)]
    Cut(#[from] DecodeError),
    /// Not in the form that the type has.
    #[error("the value is not in the form of {0}")]
    Malformed(&'static str),
    /// Bytes that are no characters.
    #[error(
        "the value has bytes that stand for nothing in the column's character set {0}; \
         correct the row, or change the column to VARBINARY or BLOB"
    )]
    NotInCharset(&'static str),
    /// A date that no calendar has.
    #[error("the value is a date that no calendar has; correct the row, or set invalid_dates to null_or_epoch or text")]
    InvalidDate,
    /// A number of an ENUM or a bit of a SET that is more than there are members.
    #[error("the value is number {number} of a type with {members} members, so the definition is not the row's")]
    UnknownMember {
        /// Number or bit, from 1.
        number: u64,
        /// How many there are.
        members: usize,
    },
    /// A JSON document that is not whole.
    #[error("the value is not a whole JSON document: {0}")]
    Json(&'static str),
    /// The definition has another type than the bytes.
    #[error("the log has {logged} there, which is not that type's")]
    Mismatch {
        /// What the log has.
        logged: &'static str,
    },
    /// A form that is known, but not read.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The batch is full.
    #[error(transparent)]
    BatchFull(#[from] BatchFull),
}

pub(crate) type Result<T> = std::result::Result<T, CellError>;

/// The error of text in a set of characters.
#[cold]
pub(super) fn text_error(error: TextError, charset: &'static str) -> CellError {
    match error {
        TextError::Invalid => CellError::NotInCharset(charset),
        TextError::BatchFull => CellError::BatchFull(BatchFull),
    }
}
