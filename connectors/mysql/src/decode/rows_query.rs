//! length u8 (of no use: it counts modulo 256) · text of the statement, to the end

use super::DecodeError;
use super::reader::Reader;

/// The statement behind the rows that follow (MySQL, `binlog_rows_query_log_events`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowsQuery<'a> {
    /// In the character set of the client that sent it.
    pub(crate) statement: &'a [u8],
}

// === impl RowsQuery ===

impl<'a> RowsQuery<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Rows_query", body);
        reader.u8()?;
        Ok(Self {
            statement: reader.rest(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::parse_strictly;
    use crate::decode::{Event, event_type};

    #[test]
    fn literal() {
        let event = parse_strictly(event_type::ROWS_QUERY, b"\x18INSERT INTO t VALUES (1)", 1);
        let statement = b"INSERT INTO t VALUES (1)";
        assert_eq!(event, Event::RowsQuery(RowsQuery { statement }));
    }
}
