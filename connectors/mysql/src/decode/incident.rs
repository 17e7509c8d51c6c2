//! incident u16 · length u8 · message

use std::borrow::Cow;

use super::DecodeError;
use super::reader::Reader;

/// Something happened on the server that is not in the log: changes are lost (`LOST_EVENTS`, 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incident<'a> {
    /// What kind.
    pub(crate) kind: u16,
    /// The server's words.
    pub(crate) text: Cow<'a, str>,
}

// === impl Incident ===

impl<'a> Incident<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Incident", body);
        let kind = reader.u16()?;
        let text = String::from_utf8_lossy(reader.counted_by_u8()?);
        reader.finish().map(|()| Self { kind, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::parse_exactly;
    use crate::decode::{Event, event_type};

    #[test]
    fn literal() {
        let event = parse_exactly(event_type::INCIDENT, b"\x01\0\x0edisk was full!");
        let text = "disk was full!".into();
        assert_eq!(event, Event::Incident(Incident { kind: 1, text }));
    }
}
