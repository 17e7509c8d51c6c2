//! What stands ahead of a statement in statement format:
//!
//! - `INTVAR`: kind u8 (1 LAST_INSERT_ID, 2 the next auto-increment value) · value u64
//! - `RAND`: two seeds u64
//! - `USER_VAR`: length u32 · name · is null u8 · unless null: type u8 · collation u32 · length u32 · value · [flags u8]

use super::DecodeError;
use super::reader::Reader;

/// What a statement in statement format needs besides its text: a sign that such a statement follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatementVariable<'a> {
    /// `LAST_INSERT_ID()`, or what the first row's auto-increment column gets.
    Int {
        /// 1 or 2.
        kind: u8,
        /// The value.
        value: u64,
    },
    /// Seeds of `RAND()`.
    Rand(u64, u64),
    /// `@name`.
    User {
        /// Without the @.
        name: &'a [u8],
        /// In the type's own form.
        value: Option<&'a [u8]>,
    },
}

// === impl StatementVariable ===

impl<'a> StatementVariable<'a> {
    pub(super) fn parse_int(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Intvar", body);
        let (kind, value) = (reader.u8()?, reader.u64()?);
        reader.finish().map(|()| Self::Int { kind, value })
    }

    pub(super) fn parse_rand(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Rand", body);
        let (first, second) = (reader.u64()?, reader.u64()?);
        reader.finish().map(|()| Self::Rand(first, second))
    }

    pub(super) fn parse_user(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("User_var", body);
        let name = reader.counted_by_u32()?;
        if reader.u8()? != 0 {
            return Ok(Self::User { name, value: None });
        }
        let _type = reader.u8()?;
        let _collation = reader.u32()?;
        let value = Some(reader.counted_by_u32()?);
        Ok(Self::User { name, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::{parse_exactly, parse_strictly};
    use crate::decode::{Event, event_type};

    #[test]
    fn literals() {
        assert_eq!(
            parse_exactly(event_type::INTVAR, b"\x02\x05\0\0\0\0\0\0\0"),
            Event::StatementVariable(StatementVariable::Int { kind: 2, value: 5 })
        );
        assert_eq!(
            parse_exactly(event_type::RAND, b"\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0"),
            Event::StatementVariable(StatementVariable::Rand(1, 2))
        );
        let body = b"\x03\0\0\0foo\0\0\x21\0\0\0\x02\0\0\0ab\0";
        let (name, value) = (&b"foo"[..], Some(&b"ab"[..]));
        assert_eq!(
            parse_strictly(event_type::USER_VAR, body, body.len() - 1),
            Event::StatementVariable(StatementVariable::User { name, value })
        );
        let body = b"\x03\0\0\0foo\x01";
        let value = None;
        assert_eq!(
            parse_strictly(event_type::USER_VAR, body, body.len()),
            Event::StatementVariable(StatementVariable::User { name, value })
        );
    }
}
