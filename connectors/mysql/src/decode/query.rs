//! thread u32 · seconds of execution u32 · length of the database u8 · error u16 · length of the variables u16 · variables · database,
//! zero-terminated · statement, to the end (MariaDB's `QUERY_COMPRESSED`: compressed)
//!
//! Variables are a number u8 and a value whose length the number tells. A number that is not known ends the reading of them, as on
//! a replica: new ones are added at the end.

use std::borrow::Cow;

use super::DecodeError;
use super::compression::inflate;
use super::reader::Reader;

/// Numbers of variables (`Q_…` in the servers' sources).
mod variable {
    pub(super) const FLAGS2: u8 = 0;
    pub(super) const SQL_MODE: u8 = 1;
    pub(super) const CATALOG_ZERO: u8 = 2;
    pub(super) const AUTO_INCREMENT: u8 = 3;
    pub(super) const CHARSET: u8 = 4;
    pub(super) const TIME_ZONE: u8 = 5;
    pub(super) const CATALOG: u8 = 6;
    pub(super) const LC_TIME_NAMES: u8 = 7;
    pub(super) const CHARSET_DATABASE: u8 = 8;
    pub(super) const TABLE_MAP_FOR_UPDATE: u8 = 9;
    pub(super) const MASTER_DATA_WRITTEN: u8 = 10;
    pub(super) const INVOKER: u8 = 11;
    pub(super) const UPDATED_DATABASES: u8 = 12;
    pub(super) const MICROSECONDS: u8 = 13;
    pub(super) const EXPLICIT_DEFAULTS: u8 = 16;
    pub(super) const DDL_XID: u8 = 17;
    pub(super) const DEFAULT_COLLATION_UTF8MB4: u8 = 18;
    pub(super) const REQUIRE_PRIMARY_KEY: u8 = 19;
    pub(super) const DEFAULT_TABLE_ENCRYPTION: u8 = 20;
    pub(super) const MARIADB_MICROSECONDS: u8 = 128;
    pub(super) const MARIADB_XID: u8 = 129;
}

/// So many databases or more are not listed.
const TOO_MANY_DATABASES: u8 = 254;

/// A statement: BEGIN, COMMIT, DDL, or DML in statement format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Query<'a> {
    /// Connection that it came from.
    pub(crate) thread_id: u32,
    /// It failed on the server with this error, and was logged because it had done something.
    pub(crate) error: u16,
    /// Database that was the default one; empty for none.
    pub(crate) schema: &'a str,
    variables: &'a [u8],
    statement: &'a [u8],
    compressed: bool,
}

/// What of its session a statement needs to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct QuerySession {
    /// `sql_mode`, as the server's bits.
    pub(crate) sql_mode: Option<u64>,
    /// Collation of the text of the statement (its number).
    pub(crate) client_collation: Option<u16>,
    /// `collation_connection`: what literals are in.
    pub(crate) connection_collation: Option<u16>,
    /// `collation_server`: what new databases get.
    pub(crate) server_collation: Option<u16>,
    /// `collation_database`: what new tables get.
    pub(crate) database_collation: Option<u16>,
    /// `default_collation_for_utf8mb4` (MySQL 8.0 and later): what `CHARACTER SET utf8mb4` means.
    pub(crate) utf8mb4_collation: Option<u16>,
    /// `explicit_defaults_for_timestamp`: whether a bare TIMESTAMP is nullable. Since MySQL 8.0.
    pub(crate) explicit_defaults_for_timestamp: Option<bool>,
    /// Microseconds of the moment in the header, where the statement used it.
    pub(crate) microseconds: Option<u32>,
}

// === impl Query ===

impl<'a> Query<'a> {
    pub(super) fn parse(body: &'a [u8], compressed: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Query", body);
        let head = Head::parse(&mut reader)?;
        head.finish(reader, compressed)
    }

    /// The statement, in the character set of [`QuerySession::client_collation`].
    pub(crate) fn sql(&self) -> Result<Cow<'a, [u8]>, DecodeError> {
        if !self.compressed {
            return Ok(Cow::Borrowed(self.statement));
        }
        let mut statement = Vec::new();
        inflate("Query_compressed", self.statement, &mut statement).map(|()| Cow::Owned(statement))
    }

    /// What the statement needs of its session.
    pub(crate) fn session(&self) -> Result<QuerySession, DecodeError> {
        let mut reader = Reader::new("variables of a Query", self.variables);
        let mut session = QuerySession::default();
        while !reader.is_empty() {
            if !session.read_variable(&mut reader)? {
                break;
            }
        }
        Ok(session)
    }
}

/// The fixed part, after which EXECUTE_LOAD_QUERY has fields of its own.
pub(super) struct Head {
    thread: u32,
    database_bytes: u8,
    error: u16,
    variables_bytes: u16,
}

// === impl Head ===

impl Head {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let thread = reader.u32()?;
        let _seconds = reader.u32()?;
        Ok(Self {
            thread,
            database_bytes: reader.u8()?,
            error: reader.u16()?,
            variables_bytes: reader.u16()?,
        })
    }

    pub(super) fn finish<'a>(&self, mut reader: Reader<'a>, compressed: bool) -> Result<Query<'a>, DecodeError> {
        let variables = reader.take(usize::from(self.variables_bytes))?;
        let database = reader.take(usize::from(self.database_bytes))?;
        let database = reader.text("database", database)?;
        match reader.u8()? {
            0 => {}
            other => return Err(reader.invalid("end of the database", u64::from(other))),
        }
        Ok(Query {
            thread_id: self.thread,
            error: self.error,
            schema: database,
            variables,
            statement: reader.rest(),
            compressed,
        })
    }
}

// === impl QuerySession ===

impl QuerySession {
    /// Reads one variable; false where it is not known.
    fn read_variable(&mut self, reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
        match reader.u8()? {
            variable::SQL_MODE => self.sql_mode = Some(reader.u64()?),
            variable::CHARSET => {
                self.client_collation = Some(reader.u16()?);
                self.connection_collation = Some(reader.u16()?);
                self.server_collation = Some(reader.u16()?);
            }
            variable::CHARSET_DATABASE => self.database_collation = Some(reader.u16()?),
            variable::DEFAULT_COLLATION_UTF8MB4 => self.utf8mb4_collation = Some(reader.u16()?),
            variable::EXPLICIT_DEFAULTS => self.explicit_defaults_for_timestamp = Some(reader.u8()? != 0),
            variable::MICROSECONDS | variable::MARIADB_MICROSECONDS => self.microseconds = Some(reader.u24()?),
            other => return skip_variable(other, reader),
        }
        Ok(true)
    }
}

fn skip_variable(number: u8, reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match number {
        variable::FLAGS2 | variable::AUTO_INCREMENT | variable::MASTER_DATA_WRITTEN => reader.take(4)?,
        variable::TABLE_MAP_FOR_UPDATE | variable::DDL_XID | variable::MARIADB_XID => reader.take(8)?,
        variable::LC_TIME_NAMES => reader.take(2)?,
        variable::REQUIRE_PRIMARY_KEY | variable::DEFAULT_TABLE_ENCRYPTION => reader.take(1)?,
        variable::TIME_ZONE | variable::CATALOG => reader.counted_by_u8()?,
        variable::CATALOG_ZERO => reader.name()?,
        variable::INVOKER => {
            reader.counted_by_u8()?;
            reader.counted_by_u8()?
        }
        variable::UPDATED_DATABASES => {
            skip_databases(reader)?;
            &[]
        }
        _ => return Ok(false),
    };
    Ok(true)
}

fn skip_databases(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let count = reader.u8()?;
    if count >= TOO_MANY_DATABASES {
        return Ok(());
    }
    for _ in 0..count {
        while reader.u8()? != 0 {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::compression::deflate;
    use crate::decode::testing::{parse_body, parse_strictly};
    use crate::decode::{Event, event_type};

    /// `flags2`, `sql_mode`, catalogue, character sets: as MySQL 5.0 wrote them.
    const VARIABLES: &[u8] = b"\0\0\x40\0\0\x01\0\0\x20\0\0\0\0\0\x06\x03std\x04\x08\0\x21\0\xff\0";

    fn body(variables: &[u8], statement: &[u8]) -> Vec<u8> {
        let variables_bytes = u16::try_from(variables.len()).unwrap().to_le_bytes();
        [
            b"\x04\0\0\0\x01\0\0\0\x04\0\0".as_slice(),
            &variables_bytes,
            variables,
            b"test\0",
            statement,
        ]
        .concat()
    }

    fn parsed(event_type: u8, body: &[u8]) -> Query<'_> {
        match parse_body(event_type, body) {
            Ok(Event::Query(query)) => query,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn literal() {
        let statement = b"create table t1(a int) engine= innodb";
        let body = body(VARIABLES, statement);
        let fixed = body.len() - statement.len();
        let Event::Query(query) = parse_strictly(event_type::QUERY, &body, fixed) else {
            panic!()
        };
        assert_eq!((query.thread_id, query.error, query.schema), (4, 0, "test"));
        assert_eq!(query.sql().unwrap(), statement.as_slice());
        let expected = QuerySession {
            sql_mode: Some(0x0020_0000),
            client_collation: Some(8),
            connection_collation: Some(33),
            server_collation: Some(255),
            ..QuerySession::default()
        };
        assert_eq!(query.session(), Ok(expected));
    }

    #[test]
    fn every_variable_is_passed_over_and_cut_off() {
        let variables = [
            VARIABLES,
            b"\x02\x03std\0\x03\x01\0\x01\0\x05\x06SYSTEM\x07\x01\0\x08\x2d\0",
            b"\x09\x01\0\0\0\0\0\0\0\x0a\x01\0\0\0\x0b\x01u\x01h\x0c\x02a\0bc\0\x0d\x40\xe2\x01",
            b"\x10\x01\x11\x01\0\0\0\0\0\0\0\x12\xff\0\x13\x01\x14\x01\x81\x01\0\0\0\0\0\0\0\x80\x41\xe2\x01",
        ]
        .concat();
        let body = body(&variables, b"BEGIN");
        let session = parsed(event_type::QUERY, &body).session().unwrap();
        assert_eq!(session.database_collation, Some(45));
        assert_eq!(session.utf8mb4_collation, Some(255));
        assert_eq!(session.explicit_defaults_for_timestamp, Some(true));
        assert_eq!(session.microseconds, Some(123_457));
        // Cut inside of a variable is an error, cut between two is not; unknown ones end the reading.
        let cut = Query {
            variables: &variables[..variables.len() - 1],
            ..parsed(event_type::QUERY, &body)
        };
        assert!(cut.session().is_err());
        let unknown = Query {
            variables: b"\xf0\x08",
            ..cut
        };
        assert_eq!(unknown.session(), Ok(QuerySession::default()));
    }

    #[test]
    fn compressed() {
        let statement = b"INSERT INTO t VALUES (1, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaa')";
        let whole = body(VARIABLES, &deflate(statement));
        let query = parsed(event_type::QUERY_COMPRESSED, &whole);
        assert_eq!(query.sql().unwrap(), statement.as_slice());
        assert!(query.session().is_ok());
        let cut = parsed(event_type::QUERY_COMPRESSED, &whole[..whole.len() - 1]);
        assert!(cut.sql().is_err());
    }
}
