//! sequence number u64 · domain u32 · flags u8 · by flag 0x02: group commit u64 · by flags 0x40 and 0x80: XA identifier (format
//! u32, length of the global part u8, length of the branch part u8, both parts) · since 10.6, if anything is left: more flags u8
//! and what they announce. Filled with zeros to nineteen bytes.

use super::reader::Reader;
use super::{DecodeError, Xid};

mod flag {
    pub(super) const STANDALONE: u8 = 0x01;
    pub(super) const GROUP_COMMIT: u8 = 0x02;
    pub(super) const TRANSACTIONAL: u8 = 0x04;
    pub(super) const DDL: u8 = 0x20;
    pub(super) const PREPARED_XA: u8 = 0x40;
    pub(super) const COMPLETED_XA: u8 = 0x80;
}

/// Begin of a transaction in MariaDB's log. The server is the one in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MariaDbGtid<'a> {
    /// Number of the transaction in its domain.
    pub(crate) sequence_number: u64,
    /// Replication domain.
    pub(crate) domain: u32,
    /// One statement that is no transaction (DDL) follows, and no end of a transaction.
    pub(crate) standalone: bool,
    /// Transactional engines only: it can be rolled back.
    pub(crate) transactional: bool,
    /// It is DDL.
    pub(crate) ddl: bool,
    /// Number of the group that was committed together.
    pub(crate) group_commit: Option<u64>,
    /// The first or the second phase of an XA transaction.
    pub(crate) xa: Option<XaPhase<'a>>,
}

/// Which phase of an XA transaction it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum XaPhase<'a> {
    /// The rows, up to `XA PREPARE`.
    Prepared(Xid<'a>),
    /// `XA COMMIT` or `XA ROLLBACK` of one that was prepared.
    Completed(Xid<'a>),
}

// === impl MariaDbGtid ===

impl<'a> MariaDbGtid<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Gtid", body);
        let sequence_number = reader.u64()?;
        let domain = reader.u32()?;
        let flags = reader.u8()?;
        let group_commit = if flags & flag::GROUP_COMMIT != 0 {
            Some(reader.u64()?)
        } else {
            None
        };
        let xa = match flags & (flag::PREPARED_XA | flag::COMPLETED_XA) {
            0 => None,
            flag::PREPARED_XA => Some(XaPhase::Prepared(xid(&mut reader)?)),
            _ => Some(XaPhase::Completed(xid(&mut reader)?)),
        };
        Ok(Self {
            sequence_number,
            domain,
            standalone: flags & flag::STANDALONE != 0,
            transactional: flags & flag::TRANSACTIONAL != 0,
            ddl: flags & flag::DDL != 0,
            group_commit,
            xa,
        })
    }
}

fn xid<'a>(reader: &mut Reader<'a>) -> Result<Xid<'a>, DecodeError> {
    let format = reader.u32()?;
    let (global, branch) = (reader.u8()?, reader.u8()?);
    Ok(Xid {
        format,
        global: reader.take(usize::from(global))?,
        branch: reader.take(usize::from(branch))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::{parse_body, parse_strictly};
    use crate::decode::{Event, event_type};

    fn parsed(body: &[u8], fixed: usize) -> MariaDbGtid<'_> {
        match parse_strictly(event_type::MARIADB_GTID, body, fixed) {
            Event::MariaDbGtid(gtid) => gtid,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_statement_and_a_transaction() {
        let gtid = parsed(b"\x07\0\0\0\0\0\0\0\x03\0\0\0\x29\0\0\0\0\0\0", 13);
        assert_eq!((gtid.sequence_number, gtid.domain), (7, 3));
        assert!(gtid.standalone && gtid.ddl && !gtid.transactional);
        let gtid = parsed(b"\x08\0\0\0\0\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0", 13);
        assert!(!gtid.standalone && !gtid.ddl && gtid.transactional);
        assert_eq!((gtid.group_commit, gtid.xa), (None, None));
    }

    #[test]
    fn a_group_commit() {
        let gtid = parsed(b"\x08\0\0\0\0\0\0\0\0\0\0\0\x0e\x2a\0\0\0\0\0\0\0", 21);
        assert_eq!(gtid.group_commit, Some(42));
    }

    #[test]
    fn both_phases_of_an_xa_transaction() {
        let xid = Xid {
            format: 1,
            global: b"trx",
            branch: b"b",
        };
        let body = b"\x08\0\0\0\0\0\0\0\0\0\0\0\x44\x01\0\0\0\x03\x01trxb";
        assert_eq!(parsed(body, body.len()).xa, Some(XaPhase::Prepared(xid)));
        let body = b"\x09\0\0\0\0\0\0\0\0\0\0\0\x82\x05\0\0\0\0\0\0\0\x01\0\0\0\x03\x01trxb";
        let gtid = parsed(body, body.len());
        assert_eq!((gtid.xa, gtid.group_commit), (Some(XaPhase::Completed(xid)), Some(5)));
        assert!(parse_body(event_type::MARIADB_GTID, &body[..20]).is_err());
    }
}
