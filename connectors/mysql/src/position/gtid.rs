//! Global transaction identifiers of both dialects in one type, so that everything above asks the same questions of either.

use std::fmt;

use tailrace_core::{Error, Result};

use super::mariadb_gtid::{MariaDbGtid, MariaDbGtidSet};
use super::mysql_gtid::{MySqlGtid, MySqlGtidSet};

/// The identifier of one transaction, the same on every server that it is replicated to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Gtid {
    /// `3e11fa47-71ca-11e1-9e33-c80aa9429562:23`, since MySQL 8.3 also with a tag.
    MySql(MySqlGtid),
    /// `0-1-23`: domain, server, number.
    MariaDb(MariaDbGtid),
}

/// Transactions that were executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GtidSet {
    /// Every single one is in it or not.
    MySql(MySqlGtidSet),
    /// The last of each domain, which stands for all before it.
    MariaDb(MariaDbGtidSet),
}

// === impl Gtid ===

impl fmt::Display for Gtid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(gtid) => gtid.fmt(formatter),
            Self::MariaDb(gtid) => gtid.fmt(formatter),
        }
    }
}

// === impl GtidSet ===

impl GtidSet {
    /// Nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::MySql(set) => set.is_empty(),
            Self::MariaDb(set) => set.is_empty(),
        }
    }

    /// A transaction is in it. One of another dialect never is.
    pub(crate) fn contains(&self, gtid: &Gtid) -> bool {
        match (self, gtid) {
            (Self::MySql(set), Gtid::MySql(gtid)) => set.contains(gtid),
            (Self::MariaDb(set), Gtid::MariaDb(gtid)) => set.contains(gtid),
            (Self::MySql(_), Gtid::MariaDb(_)) | (Self::MariaDb(_), Gtid::MySql(_)) => false,
        }
    }

    /// Every transaction of this set is in the other.
    pub(crate) fn is_subset_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::MySql(set), Self::MySql(other)) => set.is_subset_of(other),
            (Self::MariaDb(set), Self::MariaDb(other)) => set.is_subset_of(other),
            (Self::MySql(_), Self::MariaDb(_)) | (Self::MariaDb(_), Self::MySql(_)) => self.is_empty(),
        }
    }

    /// What is in this set and not in the other, for telling an operator what is missing.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::MySql(set), Self::MySql(other)) => Self::MySql(set.minus(other)),
            (Self::MariaDb(set), Self::MariaDb(other)) => Self::MariaDb(set.minus(other)),
            (Self::MySql(_), Self::MariaDb(_)) | (Self::MariaDb(_), Self::MySql(_)) => self.clone(),
        }
    }

    /// Adds a transaction that was executed completely.
    pub(crate) fn add(&mut self, gtid: &Gtid) -> Result<()> {
        match (self, gtid) {
            (Self::MySql(set), Gtid::MySql(gtid)) => set.add(gtid),
            (Self::MariaDb(set), Gtid::MariaDb(gtid)) => set.add(gtid),
            (set, gtid) => return Err(mixed(set, gtid)),
        }
        Ok(())
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(set) => set.fmt(formatter),
            Self::MariaDb(set) => set.fmt(formatter),
        }
    }
}

fn mixed(set: &GtidSet, other: &Gtid) -> Error {
    Error::definite(
        "gtid_invalid",
        format!("`{other}` and `{set}` are transaction identifiers of different dialects: MySQL's and MariaDB's"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql(text: &str) -> GtidSet {
        GtidSet::MySql(text.parse().unwrap())
    }

    fn mariadb(text: &str) -> GtidSet {
        GtidSet::MariaDb(text.parse().unwrap())
    }

    #[test]
    fn dialects_do_not_mix() {
        let mut set = mysql("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5");
        let other = mariadb("0-1-12");
        assert!(!set.is_subset_of(&other) && !other.is_subset_of(&set));
        assert!(mysql("").is_subset_of(&other));
        assert_eq!(set.minus(&other), set);
        let gtid = Gtid::MariaDb("0-1-13".parse().unwrap());
        assert!(!set.contains(&gtid));
        assert_eq!(set.add(&gtid).unwrap_err().code(), "gtid_invalid");
    }

    #[test]
    fn a_transaction_is_in_the_set_that_it_was_added_to() {
        let mut set = mariadb("0-1-12");
        let gtid = Gtid::MariaDb("0-2-13".parse().unwrap());
        assert!(!set.contains(&gtid));
        set.add(&gtid).unwrap();
        assert!(set.contains(&gtid));
        assert_eq!(set.to_string(), "0-2-13");
    }
}
