//! What [`super::gtid`] holds, in the form of MySQL's serialization library (MySQL 8.3 and later, for GTIDs with a tag):
//!
//! version u8 (2) · size of all of it · number of the last field that must be understood · then pairs of field number and value.
//! All numbers are variable-length, those that are signed in the server are doubled (the sign is bit 0); a UUID is sixteen numbers; a
//! tag is a length and as many bytes.
//!
//! A field that is not known has no length, and so whatever follows it is lost: that is an error if it must be understood, and
//! the end otherwise.

use super::DecodeError;
use super::gtid::Gtid;
use super::reader::Reader;

/// The only version there is.
const SERIALIZATION_VERSION: u8 = 2;
/// Longest tag (MySQL manual, "GTID Format").
const TAG_BYTES_MAXIMUM: u64 = 32;

/// Numbers of fields (`libs/mysql/binlog/event/control_events.h`).
mod field {
    pub(super) const FLAGS: u64 = 0;
    pub(super) const SERVER_UUID: u64 = 1;
    pub(super) const NUMBER: u64 = 2;
    pub(super) const TAG: u64 = 3;
    pub(super) const LAST_COMMITTED: u64 = 4;
    pub(super) const SEQUENCE_NUMBER: u64 = 5;
    pub(super) const COMMITTED_AT: u64 = 6;
    pub(super) const ORIGINALLY_COMMITTED_AT: u64 = 7;
    pub(super) const TRANSACTION_BYTES: u64 = 8;
    pub(super) const SERVER_VERSION: u64 = 9;
    pub(super) const ORIGINAL_SERVER_VERSION: u64 = 10;
    pub(super) const COMMIT_GROUP_TICKET: u64 = 11;
}

/// Reads a `GTID_TAGGED_LOG` event.
pub(super) fn parse(body: &[u8]) -> Result<Gtid<'_>, DecodeError> {
    let mut reader = Reader::new("Gtid_tagged", body);
    let version = reader.u8()?;
    if version != SERIALIZATION_VERSION {
        return Err(reader.invalid("version", u64::from(version)));
    }
    let size = reader.variable_length_int()?;
    let last_needed = reader.variable_length_int()?;
    let fields = usize::try_from(size)
        .ok()
        .and_then(|size| size.checked_sub(reader.offset()))
        .ok_or_else(|| reader.invalid("size", size))?;
    let fields = reader.take(fields)?;
    read_fields(Reader::new("Gtid_tagged", fields), last_needed)
}

fn read_fields(mut reader: Reader<'_>, last_needed: u64) -> Result<Gtid<'_>, DecodeError> {
    let mut gtid = Gtid {
        anonymous: false,
        server_uuid: [0; 16],
        tag: None,
        number: 0,
        may_have_statements: false,
        last_committed: 0,
        sequence_number: 0,
        commit_timestamp_us: None,
        original_commit_timestamp_us: None,
        transaction_bytes: None,
        original_server_version: None,
    };
    while !reader.is_empty() {
        match reader.variable_length_int()? {
            field::FLAGS => gtid.may_have_statements = reader.variable_length_int()? & 1 != 0,
            field::SERVER_UUID => gtid.server_uuid = uuid(&mut reader)?,
            field::NUMBER => gtid.number = positive(&mut reader)?,
            field::TAG => gtid.tag = tag(&mut reader)?,
            field::LAST_COMMITTED => gtid.last_committed = positive(&mut reader)?,
            field::SEQUENCE_NUMBER => gtid.sequence_number = positive(&mut reader)?,
            field::COMMITTED_AT => gtid.commit_timestamp_us = Some(reader.variable_length_int()?),
            field::ORIGINALLY_COMMITTED_AT => gtid.original_commit_timestamp_us = Some(reader.variable_length_int()?),
            field::TRANSACTION_BYTES => gtid.transaction_bytes = Some(reader.variable_length_int()?),
            // The original version follows where it is another one.
            field::SERVER_VERSION | field::ORIGINAL_SERVER_VERSION => {
                gtid.original_server_version = u32::try_from(reader.variable_length_int()?).ok();
            }
            field::COMMIT_GROUP_TICKET => {
                reader.variable_length_int()?;
            }
            unknown if unknown <= last_needed => return Err(reader.invalid("field", unknown)),
            _ => break,
        }
    }
    gtid.original_commit_timestamp_us = gtid.original_commit_timestamp_us.or(gtid.commit_timestamp_us);
    match gtid.number {
        0 => Err(reader.invalid("number", 0)),
        _ => Ok(gtid),
    }
}

fn uuid(reader: &mut Reader<'_>) -> Result<[u8; 16], DecodeError> {
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        let number = reader.variable_length_int()?;
        *byte = u8::try_from(number).map_err(|_| reader.invalid("byte of a UUID", number))?;
    }
    Ok(uuid)
}

/// A signed number that cannot be negative.
fn positive(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let number = reader.variable_length_int()?;
    match number & 1 {
        0 => Ok(number >> 1),
        _ => Err(reader.invalid("negative number", number)),
    }
}

/// A tag, as it also stands in encoded sets; an empty one is none.
pub(super) fn tag<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a str>, DecodeError> {
    let length = reader.variable_length_int()?;
    if length > TAG_BYTES_MAXIMUM {
        return Err(reader.invalid("length of a tag", length));
    }
    let bytes = reader.take(usize::try_from(length).unwrap_or_default())?;
    let tag = reader.text("tag", bytes)?;
    Ok(Some(tag).filter(|tag| !tag.is_empty()))
}

#[cfg(test)]
mod tests {
    use crate::decode::testing::{parse_body, parse_strictly};
    use crate::decode::{Event, event_type};

    /// A number of one or two bytes.
    fn number(value: u16) -> Vec<u8> {
        match value {
            0..=127 => vec![u8::try_from(value << 1).unwrap()],
            _ => (value << 2 | 1).to_le_bytes().to_vec(),
        }
    }

    fn body(fields: &[&[u8]], last_needed: u16) -> Vec<u8> {
        let fields = fields.concat();
        let size = number(u16::try_from(fields.len() + 3).unwrap());
        let size = if size.len() == 2 {
            number(u16::try_from(fields.len() + 4).unwrap())
        } else {
            size
        };
        [vec![2], size, number(last_needed), fields].concat()
    }

    fn fields() -> Vec<Vec<u8>> {
        let uuid: Vec<u8> = (240..=255u16).flat_map(number).collect();
        vec![
            [number(0), number(1)].concat(),
            [number(1), uuid].concat(),
            [number(2), number(23 << 1)].concat(),
            [number(3), number(5), b"audit".to_vec()].concat(),
            [number(4), number(5 << 1)].concat(),
            [number(5), number(6 << 1)].concat(),
            [number(6), number(9000)].concat(),
            [number(8), number(300)].concat(),
            [number(9), number(9070)].concat(),
        ]
    }

    #[test]
    fn all_fields() {
        let fields = fields();
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let body = body(&fields, 9);
        let Event::Gtid(gtid) = parse_strictly(event_type::GTID_TAGGED, &body, body.len()) else {
            panic!()
        };
        assert_eq!(gtid.to_string(), "f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff:audit:23");
        assert_eq!((gtid.last_committed, gtid.sequence_number), (5, 6));
        assert_eq!(
            (gtid.commit_timestamp_us, gtid.original_commit_timestamp_us),
            (Some(9000), Some(9000))
        );
        assert_eq!(
            (gtid.transaction_bytes, gtid.original_server_version),
            (Some(300), Some(9070))
        );
        assert!(gtid.may_have_statements && !gtid.anonymous);
    }

    #[test]
    fn fields_that_are_not_known() {
        let mut all = fields();
        all.push([number(77), vec![0xff; 20]].concat());
        let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        assert!(parse_body(event_type::GTID_TAGGED, &body(&all, 9)).is_ok());
        assert!(parse_body(event_type::GTID_TAGGED, &body(&all, 77)).is_err());
    }

    #[test]
    fn impossible_values() {
        for fields in [
            // No number, a negative number, a byte of a UUID above 255, a tag of 33 bytes.
            [number(0), number(0)].concat(),
            [number(2), number(47)].concat(),
            [number(1), (300..316u16).flat_map(number).collect()].concat(),
            [number(3), number(33), vec![b'x'; 33]].concat(),
        ] {
            assert!(parse_body(event_type::GTID_TAGGED, &body(&[&fields], 0)).is_err());
        }
        assert!(parse_body(event_type::GTID_TAGGED, b"\x01\x06\0").is_err());
        assert!(parse_body(event_type::GTID_TAGGED, b"\x02\x02\0").is_err());
    }
}
