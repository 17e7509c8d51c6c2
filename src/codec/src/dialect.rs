//! Whose events are made: Debezium's connectors differ not only in their `source` but also in how they write some types.

/// A family of databases that Debezium writes alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL, and every database that Debezium has no connector for.
    #[default]
    Common,
    /// MySQL and MariaDB: times are amounts of time, points and geometries know their reference system, bits fill whole
    /// bytes, and symbols with a comma in them are escaped.
    MySql,
}

impl Dialect {
    /// The dialect of a source, by what it calls itself (see [`crate::EncoderSettings::source_kind`]).
    pub fn of(source_kind: &str) -> Self {
        match source_kind {
            "mysql" | "mariadb" => Self::MySql,
            _ => Self::Common,
        }
    }
}
