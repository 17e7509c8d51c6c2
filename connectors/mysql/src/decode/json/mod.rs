//! JSON documents: MySQL's binary form, its differences and its text, all to the same compact text.
//!
//! A snapshot sees a document as the server prints it, with a blank behind every comma and colon; the log has it in a binary form.
//! What is published is the server's text without those blanks, from both. So numbers are printed here as the server prints
//! them, members stay in the order that the server keeps them in (by length, then by bytes), and values of SQL types within a
//! document have the server's form: times with six fraction digits, bytes as `base64:type15:yv4=`.

mod change;
mod compact;
mod document;
mod print;

use tailrace_core::batch::ChangeBatch;

use super::cell::CellError;
use document::Node;
use print::Printer;

/// What is wrong with a document. The sentence becomes part of an error that names the column.
pub(crate) type JsonError = &'static str;

/// Pushes the text of a document in binary form.
///
/// # Errors
///
/// The document is not whole.
pub(crate) fn push(document: &[u8], batch: &mut ChangeBatch) -> Result<(), CellError> {
    push_printed(document.len(), batch, |printer| {
        printer.node(Node::of_document(document)?, 0)
    })
}

/// Pushes the text of the document that `before` becomes by the differences in `changes`.
///
/// # Errors
///
/// One of them is not whole, or they are not of this document.
pub(crate) fn push_changed(before: &[u8], changes: &[u8], batch: &mut ChangeBatch) -> Result<(), CellError> {
    let tree = change::changed(before, changes).map_err(CellError::Json)?;
    push_printed(before.len().saturating_add(changes.len()), batch, |printer| {
        printer.tree(&tree, 0)
    })
}

/// Pushes the text of a document that the server has printed, without the blanks between its parts.
///
/// # Errors
///
/// The text is not whole or no UTF-8.
pub(crate) fn push_compacted(printed: &[u8], batch: &mut ChangeBatch) -> Result<(), CellError> {
    let mut result = Ok(());
    batch.push_text_with(|text| result = compact::compact(printed, text))?;
    result.map_err(CellError::Json)
}

fn push_printed(
    length: usize,
    batch: &mut ChangeBatch,
    print: impl FnOnce(&mut Printer<'_>) -> Result<(), JsonError>,
) -> Result<(), CellError> {
    let mut result = Ok(());
    batch.push_text_with(|text| result = print(&mut Printer::new(text, length)))?;
    result.map_err(CellError::Json)
}

#[cfg(test)]
mod tests;
