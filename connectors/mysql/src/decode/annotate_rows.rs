//! text of the statement, to the end

/// The statement behind the rows that follow (MariaDB, `binlog_annotate_row_events`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnnotateRows<'a> {
    /// In the character set of the client that sent it.
    pub(crate) statement: &'a [u8],
}

// === impl AnnotateRows ===

impl<'a> AnnotateRows<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Self {
        Self { statement: body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::parse_body;
    use crate::decode::{Event, event_type};

    #[test]
    fn literal() {
        let statement = b"INSERT INTO t VALUES (1)";
        let expected = Event::AnnotateRows(AnnotateRows { statement });
        assert_eq!(parse_body(event_type::ANNOTATE_ROWS, statement), Ok(expected));
    }
}
