//! Where something holds: `postgres`, `postgres 15+`, `postgres 13-14`, `mysql 5.6`, `mariadb`, `sqlite`, `kafka`, `file`.

use std::ops::RangeInclusive;

use super::{Setting, StreamKind};
use crate::engine::Target;
use crate::servers::{Result, ServerError};

/// One of the words of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Database {
        name: String,
        versions: RangeInclusive<u16>,
    },
    Stream(StreamKind),
}

// === impl Condition ===

impl Condition {
    /// A list, separated by commas.
    pub(super) fn list(text: &str) -> Result<Vec<Condition>> {
        text.split(',').map(|item| Condition::parse(item.trim())).collect()
    }

    fn parse(text: &str) -> Result<Condition> {
        if let Some(stream) = StreamKind::named(text) {
            return Ok(Condition::Stream(stream));
        }
        let (name, versions) = text.split_once(' ').unwrap_or((text, "0+"));
        let unknown = || ServerError::new(format!("`{text}` is no database and no stream"));
        if !Target::all().iter().any(|target| target.database == name) {
            return Err(unknown());
        }
        let number = |text: &str| Target::version_number(text).ok_or_else(unknown);
        let versions = match (versions.strip_suffix('+'), versions.split_once('-')) {
            (Some(first), _) => number(first)?..=u16::MAX,
            (None, Some((first, last))) => number(first)?..=number(last)?,
            (None, None) => number(versions)?..=number(versions)?,
        };
        Ok(Condition::Database {
            name: name.to_owned(),
            versions,
        })
    }

    pub(super) fn allows_target(&self, target: Target) -> bool {
        match self {
            Condition::Database { name, versions } => name == target.database && versions.contains(&target.version),
            Condition::Stream(_) => false,
        }
    }

    pub(super) fn holds_on(&self, setting: Setting) -> bool {
        match self {
            Condition::Database { .. } => self.allows_target(setting.target),
            Condition::Stream(stream) => *stream == setting.stream,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_holds_where_one_of_it_does() {
        let list = Condition::list("postgres 13-14, postgres 17+, sqlite, file").unwrap();
        let on = |database, version, stream| {
            let target = Target { database, version };
            list.iter()
                .any(|condition| condition.holds_on(Setting { target, stream }))
        };
        assert!(on("postgres", 14, StreamKind::Kafka));
        assert!(!on("postgres", 15, StreamKind::Kafka));
        assert!(on("postgres", 15, StreamKind::File));
        assert!(on("postgres", 18, StreamKind::Kafka));
        assert!(on("sqlite", 0, StreamKind::Kafka));
    }

    #[test]
    fn versions_of_mysql_have_two_numbers() {
        let list = Condition::list("mysql 5.7+, mariadb 10.11").unwrap();
        let on = |database, version| {
            let target = Target { database, version };
            list.iter().any(|condition| condition.allows_target(target))
        };
        assert!(!on("mysql", 506));
        assert!(on("mysql", 907));
        assert!(on("mariadb", 1011));
        assert!(!on("postgres", 17));
    }

    #[test]
    fn what_is_nothing_is_refused() {
        for text in ["oracle", "postgres x", "postgres 13+, ", "postgres -"] {
            assert!(Condition::list(text).is_err(), "{text}");
        }
    }
}
