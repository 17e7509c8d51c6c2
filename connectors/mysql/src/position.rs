//! Positions in the binary log: always between two transactions.
//!
//! ```text
//!   mysql-bin.000003:1234;started=1700000000;mysql_gtids=3e11fa47-…:1-77;xa=1.6162.@mysql-bin.000002:530
//!   └ start of the next transaction         └ executed so far           └ prepared, not yet decided, and where
//!                        └ fingerprint of the file
//! ```
//!
//! The server streams the tail of a transaction without a word if it is asked to begin in the middle, and rows without the description
//! of their table in front of them cannot be read. So a position is only ever where a transaction starts.
//!
//! File names come again after `RESET MASTER`, and an offset of the old log may by chance begin an event of the new one. So the
//! second in which the server opened the file, which its first event carries, is part of the position.
//!
//! Rows of an XA transaction are in the log where it was prepared; whether they count is only said later, at its commit or
//! rollback. Until then the position says where to find them again.

pub(crate) mod gtid;
pub(crate) mod mariadb_gtid;
pub(crate) mod mysql_gtid;
pub(crate) mod start;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tailrace_core::position::Position;
use tailrace_core::{Error, Result};

use crate::position::gtid::GtidSet;

/// A byte in the log: a file and the offset in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileOffset {
    /// Name of the file as `SHOW BINARY LOGS` prints it.
    pub(crate) file: String,
    /// Bytes from its beginning.
    pub(crate) offset: u64,
}

/// How far a binary log has been carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BinlogPosition {
    /// Where the next transaction starts.
    pub(crate) at: FileOffset,
    /// When the server opened that file, seconds since 1970; `None` before an event of the file was seen.
    pub(crate) file_started_s: Option<u32>,
    /// Everything that was executed before, where the server has global transaction identifiers.
    pub(crate) gtids: Option<GtidSet>,
    /// XA transactions that are prepared and not yet decided, in the order of the log.
    pub(crate) pending: Vec<PendingXa>,
}

/// A prepared XA transaction whose rows wait for its commit or rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PendingXa {
    /// Its name.
    pub(crate) xid: Xid,
    /// Where its group of events starts.
    pub(crate) at: FileOffset,
}

/// The name that an application gave an XA transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Xid {
    /// Format identifier; 1 where the application names none.
    pub(crate) format: u32,
    /// Global part.
    pub(crate) global: Vec<u8>,
    /// Branch.
    pub(crate) branch: Vec<u8>,
}

// === impl FileOffset ===

impl FileOffset {
    /// A place in a file.
    pub(crate) fn new(file: impl Into<String>, offset: u64) -> Self {
        Self {
            file: file.into(),
            offset,
        }
    }
}

impl PartialOrd for FileOffset {
    /// By the number of the file, then by the offset; files of different base names are in no order.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let files = compare_files(&self.file, &other.file)?;
        Some(files.then(self.offset.cmp(&other.offset)))
    }
}

impl fmt::Display for FileOffset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", escape(&self.file), self.offset)
    }
}

impl FromStr for FileOffset {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (file, offset) = text.rsplit_once(':').ok_or(())?;
        let file = unescape(file).filter(|file| !file.is_empty()).ok_or(())?;
        Ok(Self {
            file,
            offset: digits(offset)?.parse().map_err(drop)?,
        })
    }
}

/// `mysql-bin.1000000` comes after `mysql-bin.999999`, which it does not by its letters. `None` where the base names differ or there
/// is no number.
pub(crate) fn compare_files(left: &str, right: &str) -> Option<Ordering> {
    let (left_base, left_number) = split_number(left)?;
    let (right_base, right_number) = split_number(right)?;
    (left_base == right_base).then(|| left_number.cmp(&right_number))
}

fn split_number(file: &str) -> Option<(&str, u64)> {
    let (base, number) = file.rsplit_once('.')?;
    Some((base, digits(number).ok()?.parse().ok()?))
}

/// No sign, which the standard parser would accept.
fn digits(text: &str) -> Result<&str, ()> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text)
    } else {
        Err(())
    }
}

// === impl BinlogPosition ===

impl BinlogPosition {
    /// A place in the log of which nothing else is known.
    pub(crate) fn at(at: FileOffset) -> Self {
        Self {
            at,
            file_started_s: None,
            gtids: None,
            pending: Vec::new(),
        }
    }

    /// The position in the core's terms.
    pub(crate) fn to_position(&self) -> Position {
        Position::new(self.to_string())
    }

    /// Reads a position of ours back. One that cannot be read is corruption of the state.
    pub(crate) fn from_position(position: &Position) -> Result<Self> {
        position.as_str().parse().map_err(|()| {
            let message = format!(
                "the stored position `{position}` is none of a binary log; restore the state file from a backup"
            );
            Error::definite("state_corrupt", message)
        })
    }

    /// From where on the log must still be on the server: here, or where the first undecided XA transaction was prepared.
    pub(crate) fn needed_from(&self) -> &FileOffset {
        let pending = self.pending.iter().map(|pending| &pending.at);
        pending.fold(&self.at, |first, at| if at < first { at } else { first })
    }
}

impl fmt::Display for BinlogPosition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.at)?;
        if let Some(started_s) = self.file_started_s {
            write!(formatter, ";started={started_s}")?;
        }
        match &self.gtids {
            Some(GtidSet::MySql(set)) => write!(formatter, ";mysql_gtids={set}")?,
            Some(GtidSet::MariaDb(set)) => write!(formatter, ";mariadb_gtids={set}")?,
            None => {}
        }
        for pending in &self.pending {
            write!(formatter, ";xa={}@{}", pending.xid, pending.at)?;
        }
        Ok(())
    }
}

impl FromStr for BinlogPosition {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(';');
        let mut position = Self::at(parts.next().ok_or(())?.parse()?);
        for part in parts {
            position.set(part)?;
        }
        Ok(position)
    }
}

impl BinlogPosition {
    fn set(&mut self, part: &str) -> Result<(), ()> {
        let (key, value) = part.split_once('=').ok_or(())?;
        match key {
            "started" if self.file_started_s.is_none() => {
                self.file_started_s = Some(digits(value)?.parse().map_err(drop)?);
            }
            "mysql_gtids" if self.gtids.is_none() => {
                self.gtids = Some(GtidSet::MySql(value.parse().map_err(drop)?));
            }
            "mariadb_gtids" if self.gtids.is_none() => {
                self.gtids = Some(GtidSet::MariaDb(value.parse().map_err(drop)?));
            }
            "xa" => {
                let (xid, at) = value.split_once('@').ok_or(())?;
                self.pending.push(PendingXa {
                    xid: xid.parse()?,
                    at: at.parse()?,
                });
            }
            _ => return Err(()),
        }
        Ok(())
    }
}

// === impl Xid ===

impl fmt::Display for Xid {
    /// `format.global.branch`, the latter two in hexadecimal: they may hold any bytes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.", self.format)?;
        self.global
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))?;
        formatter.write_str(".")?;
        self.branch.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl FromStr for Xid {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let xid = Self {
            format: digits(parts.next().ok_or(())?)?.parse().map_err(drop)?,
            global: bytes(parts.next().ok_or(())?).ok_or(())?,
            branch: bytes(parts.next().ok_or(())?).ok_or(())?,
        };
        parts.next().is_none().then_some(xid).ok_or(())
    }
}

// === parts of the text ===

/// Bytes of a name that are more than letters, digits, `.`, `_` and `-` as `%XX`, so that they are not taken for separators.
fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        name.extend(bytes(code)?);
        name.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(name).ok()
}

/// Bytes that are written as two hexadecimal digits each.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn files_are_in_the_order_of_their_numbers() {
        for (left, right, order) in [
            ("mysql-bin.000001", "mysql-bin.000002", Some(Ordering::Less)),
            ("mysql-bin.999999", "mysql-bin.1000000", Some(Ordering::Less)),
            ("mysql-bin.000010", "mysql-bin.10", Some(Ordering::Equal)),
            ("my.log.000002", "my.log.000001", Some(Ordering::Greater)),
            ("mysql-bin.000001", "binlog.000001", None),
            ("mysql-bin", "mysql-bin", None),
            ("mysql-bin.+1", "mysql-bin.1", None),
        ] {
            assert_eq!(compare_files(left, right), order, "{left} {right}");
        }
        assert!(FileOffset::new("b.000009", 900) < FileOffset::new("b.000010", 4));
        assert!(FileOffset::new("b.000010", 4) < FileOffset::new("b.000010", 5));
    }

    #[test]
    fn text_and_position_are_the_same() {
        for text in [
            "mysql-bin.000003:1234".to_owned(),
            "mysql-bin.000003:1234;started=1700000000".to_owned(),
            format!("mysql-bin.000003:1234;started=1700000000;mysql_gtids={UUID}:1-5:7:tag:1-3"),
            "mariadb-bin.000001:4;mariadb_gtids=0-1-12,1-2-5".to_owned(),
            "b.000001:4;mysql_gtids=".to_owned(),
            "b.000009:4;mariadb_gtids=;xa=1.6162.@b.000002:530;xa=4294967295..00ff@b.000003:4".to_owned(),
            "odd%3Bname%3A.000001:4".to_owned(),
        ] {
            let position = BinlogPosition::from_position(&Position::new(text.clone())).unwrap();
            assert_eq!(position.to_string(), text);
        }
        let odd: BinlogPosition = "odd%3Bname%3A.000001:4".parse().unwrap();
        assert_eq!(odd.at.file, "odd;name:.000001");
    }

    #[test]
    fn what_is_no_position_is_corruption() {
        for text in [
            "",
            "b.000001",
            "b.000001:",
            ":4",
            "b.000001:-4",
            "b.000001:+4",
            "b.000001:4;",
            "b.000001:4;started=x",
            "b.000001:4;started=1;started=1",
            "b.000001:4;mysql_gtids=0-1-2",
            "b.000001:4;other=1",
            "b.000001:4;xa=1.61@b.000001:4",
            "b.000001:4;xa=1.6.@b.000001:4",
            "b.000001:4;xa=1.61.",
            "b%.000001:4",
            "b%zz.000001:4",
            "b.000001:4;mysql_gtids=;mariadb_gtids=",
            "0/16B3748",
        ] {
            let error = BinlogPosition::from_position(&Position::new(text)).unwrap_err();
            assert_eq!(error.code(), "state_corrupt", "{text}");
        }
    }

    #[test]
    fn the_log_is_needed_from_the_first_undecided_transaction_on() {
        let position: BinlogPosition = "b.1000000:4;xa=1.61.@b.999999:530;xa=1.62.@b.1000000:4"
            .parse()
            .unwrap();
        assert_eq!(position.needed_from(), &FileOffset::new("b.999999", 530));
        let position = BinlogPosition::at(FileOffset::new("b.000002", 4));
        assert_eq!(position.needed_from(), &position.at);
    }

    proptest! {
        #[test]
        fn every_position_comes_back(
            file in "[ -~ä]{1,12}\\.[0-9]{1,7}",
            offset: u64,
            started: Option<u32>,
            format: u32,
            global in prop::collection::vec(any::<u8>(), 0..8),
            branch in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            let at = FileOffset { file, offset };
            let pending = vec![PendingXa { xid: Xid { format, global, branch }, at: at.clone() }];
            let position = BinlogPosition { at, file_started_s: started, gtids: None, pending };
            prop_assert_eq!(BinlogPosition::from_position(&position.to_position()).unwrap(), position);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
            if let Ok(position) = text.parse::<BinlogPosition>() {
                prop_assert_eq!(position.to_string().parse::<BinlogPosition>().unwrap(), position);
            }
        }
    }
}
