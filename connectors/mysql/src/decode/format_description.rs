//! version u16 (4) · version of the server, 50 bytes filled with zeros · created at u32 · length of headers u8 (19) · per type of
//! event, beginning with 1, the length of its fixed part u8 · since MySQL 5.6.1 and MariaDB 5.3: checksum algorithm u8
//!
//! Since then the event always ends with a checksum of its own, whatever the algorithm of the others is.

use super::DecodeError;
use super::header::HEADER_BYTES;
use super::reader::Reader;

/// The binary log of MySQL 5.0 and later, and of every MariaDB.
const LOG_VERSION: u16 = 4;
const SERVER_VERSION_BYTES: usize = 50;
/// First server that has checksums.
const CHECKSUMS_SINCE: (u32, u32, u32) = (5, 6, 1);
const CHECKSUMS_SINCE_MARIADB: (u32, u32, u32) = (5, 3, 0);

/// What stands behind each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChecksumAlgorithm {
    /// Nothing.
    None,
    /// CRC-32 of header and body, four bytes.
    Crc32,
}

/// Who wrote the file, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FormatDescription<'a> {
    /// As the server names itself, for instance `9.7.4` or `10.11.14-MariaDB-log`.
    pub(crate) server_version: &'a str,
    /// When the server was started, if the file is the first one since then; 0 otherwise, and where a stream begins inside the
    /// file. When the file was begun says the header of the event.
    pub(crate) created_seconds: u32,
    /// What stands behind each other event of the file.
    pub(crate) checksum: ChecksumAlgorithm,
}

// === impl FormatDescription ===

impl<'a> FormatDescription<'a> {
    /// Reads the body with the algorithm and without the checksum of the event itself.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Format_description", body);
        let log_version = reader.u16()?;
        if log_version != LOG_VERSION {
            return Err(reader.invalid("version of the log", u64::from(log_version)));
        }
        let server_version = reader.take(SERVER_VERSION_BYTES)?;
        let server_version = server_version.split(|byte| *byte == 0).next().unwrap_or_default();
        let server_version = reader.text("server version", server_version)?;
        let created_seconds = reader.u32()?;
        let header_bytes = reader.u8()?;
        if usize::from(header_bytes) != HEADER_BYTES {
            return Err(reader.invalid("length of headers", u64::from(header_bytes)));
        }
        let checksum = match reader.rest().last() {
            None => return Err(reader.invalid("number of types", 0)),
            Some(_) if !has_checksums(server_version) => ChecksumAlgorithm::None,
            Some(0) => ChecksumAlgorithm::None,
            Some(1) => ChecksumAlgorithm::Crc32,
            Some(other) => return Err(reader.invalid("checksum algorithm", u64::from(*other))),
        };
        Ok(Self {
            server_version,
            created_seconds,
            checksum,
        })
    }
}

/// Whether the body of a format description, whose end is not known yet, ends with an algorithm and a checksum.
pub(crate) fn ends_with_checksum(body: &[u8]) -> bool {
    let version = body.get(2..2 + SERVER_VERSION_BYTES).unwrap_or_default();
    let version = version.split(|byte| *byte == 0).next().unwrap_or_default();
    std::str::from_utf8(version).is_ok_and(has_checksums)
}

fn has_checksums(server_version: &str) -> bool {
    let mut numbers = server_version
        .split(|character: char| !character.is_ascii_digit())
        .map(|digits| digits.parse::<u32>().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    let version = (next(), next(), next());
    if server_version.contains("MariaDB") {
        version >= CHECKSUMS_SINCE_MARIADB
    } else {
        version >= CHECKSUMS_SINCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::{parse_body, parse_strictly};
    use crate::decode::{Event, event_type};

    fn body(server_version: &str, end: &[u8]) -> Vec<u8> {
        let mut version = server_version.as_bytes().to_vec();
        version.resize(SERVER_VERSION_BYTES, 0);
        [
            b"\x04\0",
            version.as_slice(),
            b"\xfc\x35\xbb\x4a\x13",
            b"\x38\x0d\0\x08",
            end,
        ]
        .concat()
    }

    #[test]
    fn with_checksums() {
        for version in ["9.7.4", "5.6.24-log", "10.11.14-MariaDB-log", "5.5.5-10.6.1-MariaDB"] {
            let body = body(version, b"\x01");
            let expected = FormatDescription {
                server_version: version,
                created_seconds: 0x4abb_35fc,
                checksum: ChecksumAlgorithm::Crc32,
            };
            // Without its end the algorithm is read from a length: 8, 0, 13 are no algorithms, and 56 is none.
            let parsed = parse_strictly(event_type::FORMAT_DESCRIPTION, &body, body.len() - 4);
            assert_eq!(parsed, Event::FormatDescription(expected));
            assert!(ends_with_checksum(&body), "{version}");
        }
    }

    #[test]
    fn without_checksums() {
        for (version, end) in [
            ("9.7.4", &b"\0"[..]),
            ("5.5.62-log", b"\x01"),
            ("5.6.0", b"\x07"),
            ("", b"\x07"),
        ] {
            let body = body(version, end);
            let Ok(Event::FormatDescription(parsed)) = parse_body(event_type::FORMAT_DESCRIPTION, &body) else {
                panic!("{version}")
            };
            assert_eq!(parsed.checksum, ChecksumAlgorithm::None, "{version}");
            assert_eq!(ends_with_checksum(&body), version == "9.7.4");
        }
    }

    #[test]
    fn unknown_forms_are_refused() {
        let good = body("9.7.4", b"\x01");
        for (at, wrong) in [(0, 3), (56, 20), (good.len() - 1, 2)] {
            let mut body = good.clone();
            body[at] = wrong;
            assert!(parse_body(event_type::FORMAT_DESCRIPTION, &body).is_err(), "{at}");
        }
    }
}
