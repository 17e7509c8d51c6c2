//! length u32 · name of the file

use super::DecodeError;
use super::reader::Reader;

/// Oldest file that MariaDB needs for crash recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BinlogCheckpoint<'a> {
    /// Name of the file, without a folder.
    pub(crate) file: &'a str,
}

// === impl BinlogCheckpoint ===

impl<'a> BinlogCheckpoint<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Binlog_checkpoint", body);
        let file = reader.counted_by_u32()?;
        let file = reader.text("file name", file)?;
        reader.finish().map(|()| Self { file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::parse_exactly;
    use crate::decode::{Event, event_type};

    #[test]
    fn literal() {
        let event = parse_exactly(event_type::BINLOG_CHECKPOINT, b"\x12\0\0\0mariadb-bin.000001");
        let file = "mariadb-bin.000001";
        assert_eq!(event, Event::BinlogCheckpoint(BinlogCheckpoint { file }));
    }
}
