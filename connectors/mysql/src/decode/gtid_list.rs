//! count u32 (its upper four bits are flags) · per entry: domain u32 · server u32 · sequence number u64. An empty list is
//! filled with two zeros.

use super::DecodeError;
use super::reader::Reader;

/// Behind an empty list.
const PADDING_BYTES: usize = 2;
/// The lower 28 bits count.
const COUNT_MASK: u32 = 0x0fff_ffff;

/// What was executed before the file began (MariaDB): the newest transaction of each server in each domain, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GtidList {
    /// Domain, server, sequence number.
    pub(crate) transactions: Vec<(u32, u32, u64)>,
}

// === impl GtidList ===

impl GtidList {
    pub(super) fn parse(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Gtid_list", body);
        let count = reader.u32()? & COUNT_MASK;
        let mut transactions = Vec::new();
        for _ in 0..count {
            transactions.push((reader.u32()?, reader.u32()?, reader.u64()?));
        }
        if count == 0 && reader.len() == PADDING_BYTES {
            reader.take(PADDING_BYTES)?;
        }
        reader.finish().map(|()| Self { transactions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::{parse_body, parse_exactly};
    use crate::decode::{Event, event_type};

    #[test]
    fn literal() {
        let body = b"\x02\0\0\x10\0\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0\x03\0\0\0\x02\0\0\0\x09\0\0\0\0\0\0\0";
        let transactions = vec![(0, 1, 7), (3, 2, 9)];
        assert_eq!(
            parse_exactly(event_type::GTID_LIST, body),
            Event::GtidList(GtidList { transactions })
        );
    }

    #[test]
    fn an_empty_list_is_padded() {
        for body in [&b"\0\0\0\0"[..], b"\0\0\0\0\0\0"] {
            let transactions = Vec::new();
            assert_eq!(
                parse_body(event_type::GTID_LIST, body),
                Ok(Event::GtidList(GtidList { transactions }))
            );
        }
    }
}
