//! position u64 · name of the file, to the end

use super::DecodeError;
use super::reader::Reader;

/// The log goes on in another file; also the first thing that a server says, artificially, to name the file it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rotate<'a> {
    /// Offset of the next event in it; 4 at the beginning of a file.
    pub(crate) offset: u64,
    /// Name of the file, without a folder.
    pub(crate) file: &'a str,
}

// === impl Rotate ===

impl<'a> Rotate<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Rotate", body);
        let offset = reader.u64()?;
        let file = reader.text("file name", reader.rest())?;
        if file.is_empty() {
            return Err(reader.invalid("length of the file name", 0));
        }
        Ok(Self { offset, file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::parse_strictly;
    use crate::decode::{Event, event_type};

    #[test]
    fn literal() {
        let event = parse_strictly(event_type::ROTATE, b"\x04\0\0\0\0\0\0\0mysql-bin.000002", 9);
        let file = "mysql-bin.000002";
        assert_eq!(event, Event::Rotate(Rotate { offset: 4, file }));
    }

    #[test]
    fn a_file_name_is_text() {
        use crate::decode::testing::parse_body;
        assert!(parse_body(event_type::ROTATE, b"\x04\0\0\0\0\0\0\0mysql\xff").is_err());
    }
}
