//! one phase u8 · format u32 · length of the global part u32 · length of the branch part u32 · both parts

use super::DecodeError;
use super::reader::Reader;

/// Longest part of an XA identifier (X/Open XA, MAXGTRIDSIZE and MAXBQUALSIZE).
const PART_BYTES_MAXIMUM: u32 = 64;

/// The first phase of an XA transaction (`XA PREPARE`), or its only one (`XA COMMIT … ONE PHASE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct XaPrepare<'a> {
    /// Committed at once: no second phase follows.
    pub(crate) one_phase: bool,
    /// Which transaction.
    pub(crate) xid: Xid<'a>,
}

/// Identifier of an XA transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Xid<'a> {
    /// Format of the identifier; 1 unless the client says otherwise.
    pub(crate) format: u32,
    /// `gtrid`.
    pub(crate) global: &'a [u8],
    /// `bqual`.
    pub(crate) branch: &'a [u8],
}

// === impl XaPrepare ===

impl<'a> XaPrepare<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("XA_prepare", body);
        let one_phase = reader.u8()? != 0;
        let format = reader.u32()?;
        let global = part_length(&mut reader)?;
        let branch = part_length(&mut reader)?;
        let xid = Xid {
            format,
            global: reader.take(global)?,
            branch: reader.take(branch)?,
        };
        reader.finish().map(|()| Self { one_phase, xid })
    }
}

fn part_length(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let length = reader.u32()?;
    match usize::try_from(length) {
        Ok(bytes) if length <= PART_BYTES_MAXIMUM => Ok(bytes),
        _ => Err(reader.invalid("length of an XA identifier", u64::from(length))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::{parse_body, parse_exactly};
    use crate::decode::{Event, event_type};

    #[test]
    fn literal() {
        let body = b"\0\x01\0\0\0\x05\0\0\0\x02\0\0\0trx-1b1";
        let expected = XaPrepare {
            one_phase: false,
            xid: Xid {
                format: 1,
                global: b"trx-1",
                branch: b"b1",
            },
        };
        assert_eq!(parse_exactly(event_type::XA_PREPARE, body), Event::XaPrepare(expected));
    }

    #[test]
    fn identifiers_have_a_limit() {
        let body = [&b"\x01\x01\0\0\0\x41\0\0\0\0\0\0\0"[..], &[b'x'; 65]].concat();
        assert!(parse_body(event_type::XA_PREPARE, &body).is_err());
    }
}
