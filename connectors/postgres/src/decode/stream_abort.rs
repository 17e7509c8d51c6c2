//! `A` · transaction u32 · subtransaction u32 · with protocol version 4 and `streaming = parallel`: abort LSN u64 · abort time i64

use super::DecodeError;
use super::reader::Reader;

pub(super) const TAG: u8 = b'A';

/// A streamed transaction, or one of its subtransactions, is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamAbort {
    /// The top-level transaction.
    pub(crate) transaction_id: u32,
    /// What is rolled back; the same number where it is all of the transaction.
    pub(crate) subtransaction_id: u32,
    /// Position of the rollback, where the server says it.
    pub(crate) abort_lsn: Option<u64>,
    /// When it was rolled back, microseconds since 1970, UTC, where the server says it.
    pub(crate) aborted_at_us: Option<i64>,
}

// === impl StreamAbort ===

impl StreamAbort {
    pub(super) fn parse(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("StreamAbort", body);
        let mut abort = Self {
            transaction_id: reader.u32()?,
            subtransaction_id: reader.u32()?,
            abort_lsn: None,
            aborted_at_us: None,
        };
        if !reader.rest().is_empty() {
            abort.abort_lsn = Some(reader.u64()?);
            abort.aborted_at_us = Some(reader.moment_us()?);
        }
        reader.finish().map(|()| abort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Message, parse};

    const SHORT: &[u8; 9] = b"A\0\0\x02\xe1\0\0\x02\xe3";
    const LONG: &[u8; 25] = b"A\0\0\x02\xe1\0\0\x02\xe1\0\0\0\0\0\0\0\x2a\0\0\0\0\0\0\0\x05";

    #[test]
    fn literal() {
        let mut expected = StreamAbort {
            transaction_id: 737,
            subtransaction_id: 739,
            abort_lsn: None,
            aborted_at_us: None,
        };
        assert_eq!(parse(SHORT, false), Ok(Message::StreamAbort(expected)));
        expected.subtransaction_id = 737;
        expected.abort_lsn = Some(42);
        expected.aborted_at_us = Some(946_684_800_000_005);
        assert_eq!(parse(LONG, false), Ok(Message::StreamAbort(expected)));
    }

    #[test]
    fn every_other_length_is_refused() {
        for length in (0..LONG.len()).filter(|length| *length != SHORT.len()) {
            assert!(parse(&LONG[..length], false).is_err());
        }
        assert!(parse(&[LONG.as_slice(), b"\0"].concat(), false).is_err());
    }
}
