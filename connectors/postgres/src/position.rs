//! PostgreSQL's positions: log sequence numbers, always those of commits.
//!
//! Event LSNs are not ordered and not unique (rows of one COPY share one), and the end of a commit record equals the start
//! of the next record. So positions are only ever commit ends, and a transaction is contained in a position exactly if its
//! commit record *starts* before it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tailrace_core::position::Position;
use tailrace_core::{Error, Result};

/// A log sequence number: a byte position in the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Lsn(pub(crate) u64);

impl Lsn {
    /// The position in the core's terms.
    pub(crate) fn to_position(self) -> Position {
        Position::new(self.to_text())
    }

    /// As PostgreSQL prints it.
    pub(crate) fn to_text(self) -> Arc<str> {
        self.to_string().into()
    }

    /// Reads a position of ours back. One that cannot be read is corruption of the state.
    pub(crate) fn from_position(position: &Position) -> Result<Self> {
        position.as_str().parse().map_err(|()| {
            let message = format!("the stored position `{position}` is no LSN; restore the state file from a backup");
            Error::definite("state_corrupt", message)
        })
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (high, low) = text.split_once('/').ok_or(())?;
        let part = |digits: &str| u32::from_str_radix(digits, 16).map_err(|_| ());
        Ok(Self(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_postgresqls() {
        for text in ["0/0", "0/16B3748", "FFFFFFFF/FFFFFFFF", "1A/2B"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
        for text in ["", "0", "0/", "x/0", "0/1FFFFFFFFF", "-1/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }
}
