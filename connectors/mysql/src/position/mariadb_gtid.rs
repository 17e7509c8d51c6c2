//! MariaDB's transaction identifiers: `domain-server-sequence`. A position holds the last of each domain, which stands for all
//! before it in that domain, whatever server they are from.
//!
//! Within a domain the log is in the order of the sequence, as `gtid_strict_mode` enforces. A server without it can log a lower number
//! after a higher one: the highest is kept, so that a reconnect there repeats transactions and never passes one over.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// One transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MariaDbGtid {
    /// `gtid_domain_id`: independent streams of transactions.
    pub(crate) domain: u32,
    /// `server_id` of the server where it was executed first.
    pub(crate) server: u32,
    /// Grows within the domain.
    pub(crate) sequence: u64,
}

/// The last transaction of each domain, as `gtid_binlog_pos` prints it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MariaDbGtidSet {
    last: BTreeMap<u32, MariaDbGtid>,
}

/// The last transaction of each server in each domain, as `gtid_binlog_state` prints it: what tells two histories of a
/// domain apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MariaDbGtidState {
    last: BTreeMap<(u32, u32), u64>,
}

/// A text is no identifier, or no list of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no list of MariaDB's transaction identifiers")]
pub(crate) struct InvalidGtid(String);

// === impl MariaDbGtid ===

impl fmt::Display for MariaDbGtid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}-{}", self.domain, self.server, self.sequence)
    }
}

impl FromStr for MariaDbGtid {
    type Err = InvalidGtid;

    fn from_str(text: &str) -> Result<Self, InvalidGtid> {
        parse_gtid(text.trim()).ok_or_else(|| InvalidGtid(text.to_owned()))
    }
}

fn parse_gtid(text: &str) -> Option<MariaDbGtid> {
    let mut parts = text.split('-');
    let gtid = MariaDbGtid {
        domain: digits(parts.next()?)?.parse().ok()?,
        server: digits(parts.next()?)?.parse().ok()?,
        sequence: digits(parts.next()?)?.parse().ok()?,
    };
    parts.next().is_none().then_some(gtid)
}

/// No sign, which the standard parser would accept.
fn digits(text: &str) -> Option<&str> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)
}

/// A comma-separated list.
fn parse_list(text: &str) -> Result<Vec<MariaDbGtid>, InvalidGtid> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let gtids: Option<Vec<MariaDbGtid>> = parts.map(parse_gtid).collect();
    gtids.ok_or_else(|| InvalidGtid(text.to_owned()))
}

// === impl MariaDbGtidSet ===

impl MariaDbGtidSet {
    /// Nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// The last of each domain.
    pub(crate) fn iter(&self) -> impl Iterator<Item = MariaDbGtid> {
        self.last.values().copied()
    }

    /// A transaction is not after the last of its domain.
    pub(crate) fn contains(&self, gtid: &MariaDbGtid) -> bool {
        self.last
            .get(&gtid.domain)
            .is_some_and(|last| gtid.sequence <= last.sequence)
    }

    /// Adds one transaction; one that is before the last of its domain changes nothing.
    pub(crate) fn add(&mut self, gtid: &MariaDbGtid) {
        let last = self.last.entry(gtid.domain).or_insert(*gtid);
        if gtid.sequence > last.sequence {
            *last = *gtid;
        }
    }

    /// The last transactions of this set that are not in the other.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        let left = self.last.iter().filter(|(_, gtid)| !other.contains(gtid));
        Self {
            last: left.map(|(domain, gtid)| (*domain, *gtid)).collect(),
        }
    }

    /// Every transaction of this set is in the other.
    pub(crate) fn is_subset_of(&self, other: &Self) -> bool {
        self.iter().all(|gtid| other.contains(&gtid))
    }
}

impl fmt::Display for MariaDbGtidSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, gtid) in self.last.values().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            write!(formatter, "{separator}{gtid}")?;
        }
        Ok(())
    }
}

impl FromStr for MariaDbGtidSet {
    type Err = InvalidGtid;

    fn from_str(text: &str) -> Result<Self, InvalidGtid> {
        let mut set = Self::default();
        parse_list(text)?.iter().for_each(|gtid| set.add(gtid));
        Ok(set)
    }
}

// === impl MariaDbGtidState ===

impl MariaDbGtidState {
    /// The transaction itself is in the log, or was before its files were purged: not just one of the same number by another server.
    pub(crate) fn has_executed(&self, gtid: &MariaDbGtid) -> bool {
        self.last
            .get(&(gtid.domain, gtid.server))
            .is_some_and(|sequence| gtid.sequence <= *sequence)
    }

    /// Some transaction of the same server in the same domain is.
    pub(crate) fn knows_server(&self, gtid: &MariaDbGtid) -> bool {
        self.last.contains_key(&(gtid.domain, gtid.server))
    }
}

impl FromStr for MariaDbGtidState {
    type Err = InvalidGtid;

    fn from_str(text: &str) -> Result<Self, InvalidGtid> {
        let mut last = BTreeMap::new();
        for gtid in parse_list(text)? {
            let sequence = last.entry((gtid.domain, gtid.server)).or_insert(gtid.sequence);
            *sequence = gtid.sequence.max(*sequence);
        }
        Ok(Self { last })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> MariaDbGtidSet {
        text.parse().unwrap()
    }

    #[test]
    fn text_is_mariadbs() {
        for (text, normal) in [
            ("", ""),
            ("0-1-12", "0-1-12"),
            ("2-3-4, 0-1-12", "0-1-12,2-3-4"),
            ("0-1-12,0-2-11", "0-1-12"),
            (
                "4294967295-4294967295-18446744073709551615",
                "4294967295-4294967295-18446744073709551615",
            ),
        ] {
            assert_eq!(set(text).to_string(), normal, "{text}");
        }
        for text in [
            "0-1",
            "0-1-2-3",
            "0-1-x",
            "0--1",
            "-0-1-2",
            "+0-1-2",
            "4294967296-1-1",
            "uuid:1",
        ] {
            assert!(text.parse::<MariaDbGtidSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_domain_goes_on_by_itself() {
        let mut carried = set("0-1-12,1-1-5");
        carried.add(&"0-2-13".parse().unwrap());
        carried.add(&"1-1-4".parse().unwrap());
        assert_eq!(carried, set("0-2-13,1-1-5"));
        assert!(carried.contains(&"0-9-13".parse().unwrap()) && !carried.contains(&"0-2-14".parse().unwrap()));
        assert!(!carried.contains(&"7-1-1".parse().unwrap()));
        assert_eq!(set("0-1-14,1-1-1,2-1-1").minus(&carried), set("0-1-14,2-1-1"));
    }

    #[test]
    fn the_state_knows_which_server_it_was() {
        let state: MariaDbGtidState = "0-1-12,0-2-20,1-1-3".parse().unwrap();
        let executed = |text: &str| state.has_executed(&text.parse().unwrap());
        assert!(executed("0-1-12") && executed("0-2-13") && executed("0-1-5"));
        // Server 1 never reached 15: the number is server 2's.
        assert!(!executed("0-1-15") && !executed("0-3-1") && !executed("2-1-1"));
    }

    prop_compose! {
        fn any_set()(gtids in prop::collection::vec((0_u32..4, 1_u32..3, 1_u64..30), 0..8)) -> MariaDbGtidSet {
            let mut set = MariaDbGtidSet::default();
            for (domain, server, sequence) in gtids {
                set.add(&MariaDbGtid { domain, server, sequence });
            }
            set
        }
    }

    proptest! {
        #[test]
        fn arithmetic_is_that_of_prefixes(a in any_set(), b in any_set(), domain in 0_u32..4, sequence in 1_u64..30) {
            prop_assert_eq!(a.to_string().parse::<MariaDbGtidSet>().unwrap(), a.clone());
            prop_assert_eq!(a.is_subset_of(&b), a.minus(&b).is_empty());
            let mut united = a.clone();
            b.iter().for_each(|gtid| united.add(&gtid));
            prop_assert!(a.is_subset_of(&united) && b.is_subset_of(&united));
            let gtid = MariaDbGtid { domain, server: 9, sequence };
            prop_assert_eq!(united.contains(&gtid), a.contains(&gtid) || b.contains(&gtid));
        }
    }
}
