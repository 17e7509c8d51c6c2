//! Maxwell's tables: of positions, with a row for each server and each `client_id`; and of bootstraps, which are tables that it was asked to read.

use std::collections::BTreeSet;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tailrace_core::{Error, Result};

use super::Noted;
use crate::connect::Texts;
use crate::error::{is_denied, query_error, server_error_number};
use crate::position::FileOffset;
use crate::quote::qualified;
use crate::server::ServerFacts;

const TABLE: &str = "positions";
const BOOTSTRAPS: &str = "bootstrap";
/// The server's numbers of errors.
const NO_SUCH_TABLE: u16 = 1146;
const NO_SUCH_COLUMN: u16 = 1054;

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    server_id: String,
    client_id: String,
    file: Option<String>,
    offset: Option<String>,
    gtids: Option<String>,
}

/// Where Maxwell stopped.
pub(super) async fn read(
    connection: &mut Conn,
    server: &ServerFacts,
    (schema, client_id): (&str, &str),
) -> Result<Noted> {
    let table = qualified(schema, TABLE);
    let query = format!("SELECT server_id, client_id, binlog_file, binlog_position, gtid_set FROM {table}");
    let rows = connection.query::<Texts, _>(query).await;
    let rows = rows.map_err(|error| unreadable(&error, &table))?;
    let rows: Vec<Row> = rows.iter().map(Row::of).collect();
    let mut noted = noted(&rows, server.server_id, client_id)?;
    noted.notes.extend(unfinished(connection, schema, client_id).await?);
    Ok(noted)
}

/// `tailrace check` knows nothing of this table, and of what is missing there.
fn unreadable(error: &mysql_async::Error, table: &str) -> Error {
    let doing = format!("read Maxwell's positions from {table}; its `schema_database` is said with --maxwell-schema");
    match server_error_number(error).filter(|number| is_denied(*number)) {
        Some(_) => Error::definite(
            "insufficient_privilege",
            format!("cannot {doing}: {error}; GRANT SELECT ON {table} to this user"),
        ),
        None => query_error(error, &doing),
    }
}

/// What is to be said of rows that Maxwell was asked to read and has not read to the end.
async fn unfinished(connection: &mut Conn, schema: &str, client_id: &str) -> Result<Option<String>> {
    let table = qualified(schema, BOOTSTRAPS);
    let query = format!("SELECT database_name, table_name, client_id FROM {table} WHERE is_complete = 0");
    match connection.query::<Texts, _>(query).await {
        Ok(rows) => Ok(note_of(&rows, client_id)),
        Err(error) => match server_error_number(&error) {
            // A release that has no bootstraps.
            Some(NO_SUCH_TABLE) => Ok(None),
            Some(number) if is_denied(number) || number == NO_SUCH_COLUMN => Ok(Some(format!(
                "whether Maxwell was reading rows (a bootstrap) could not be seen: look for rows of {table} with is_complete = 0, or GRANT SELECT ON \
                 {table}; the rest of them is not read"
            ))),
            _ => Err(query_error(&error, &format!("read Maxwell's bootstraps from {table}"))),
        },
    }
}

fn note_of(rows: &[Texts], client_id: &str) -> Option<String> {
    let name = |row: &Texts| Some(format!("{}.{}", row.text(0)?, row.text(1)?));
    let own = rows.iter().filter(|row| row.text(2) == Some(client_id));
    let tables: BTreeSet<String> = own.filter_map(name).collect();
    (!tables.is_empty()).then(|| {
        format!(
            "Maxwell had not read to the end the rows that it was asked for (a bootstrap of {}): the rest of them is not read; ask for it with \
             `POST /connectors/{{name}}/snapshots`",
            tables.into_iter().collect::<Vec<_>>().join(", ")
        )
    })
}

/// The row of one Maxwell on one server.
fn noted(rows: &[Row], server_id: u32, client_id: &str) -> Result<Noted> {
    let missing = |message: String| Err(Error::definite("offsets_missing", message));
    let own: Vec<&Row> = rows.iter().filter(|row| row.client_id == client_id).collect();
    if own.is_empty() {
        let mut known: Vec<&str> = rows.iter().map(|row| row.client_id.as_str()).collect();
        known.sort_unstable();
        known.dedup();
        let known = if known.is_empty() {
            "the table is empty".to_owned()
        } else {
            format!("it has those of {}; choose one with --client-id", known.join(", "))
        };
        return missing(format!(
            "Maxwell's table has no position of a client_id `{client_id}`: {known}"
        ));
    }
    let Some(row) = own.iter().find(|row| row.server_id == server_id.to_string()) else {
        let servers: Vec<&str> = own.iter().map(|row| row.server_id.as_str()).collect();
        return missing(format!(
            "Maxwell's position is of the server with server_id {}, and the connector's has {server_id}: its files and offsets mean nothing here. \
             Have `url` lead to the server that Maxwell reads (its `replication_host`)",
            servers.join(", ")
        ));
    };
    let place = row.file.as_deref().filter(|file| !file.is_empty()).and_then(|file| {
        let offset = row.offset.as_deref()?.parse().ok()?;
        Some(FileOffset::new(file, offset))
    });
    let Some(at) = place else {
        let message = format!("Maxwell's position of the client_id `{client_id}` has no file and offset");
        return Err(Error::definite("offsets_unreadable", message));
    };
    Ok(Noted {
        at,
        gtids: row.gtids.clone().filter(|gtids| !gtids.is_empty()),
        server_id: Some(u64::from(server_id)),
        notes: Vec::new(),
    })
}

// === impl Row ===

impl Row {
    fn of(texts: &Texts) -> Self {
        let owned = |column| texts.text(column).map(str::to_owned);
        Self {
            server_id: owned(0).unwrap_or_default(),
            client_id: owned(1).unwrap_or_default(),
            file: owned(2),
            offset: owned(3),
            gtids: owned(4),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(texts: &[&str]) -> Row {
        Row::of(&Texts::of(texts))
    }

    #[test]
    fn the_row_of_the_server_and_the_client_is_taken() {
        let rows = [
            row(&["1", "maxwell", "b.000003", "1234", ""]),
            row(&["2", "maxwell", "b.000009", "4", ""]),
            row(&[
                "1",
                "other",
                "b.000001",
                "4",
                "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5",
            ]),
        ];
        let taken = noted(&rows, 1, "maxwell").unwrap();
        assert_eq!((taken.at, taken.gtids), (FileOffset::new("b.000003", 1234), None));
        assert!(noted(&rows, 1, "other").unwrap().gtids.is_some());
        let error = noted(&rows, 3, "maxwell").unwrap_err();
        assert!(error.to_string().contains("server_id 1, 2"), "{error}");
        let error = noted(&rows, 1, "maxwel").unwrap_err();
        assert!(error.to_string().contains("maxwell, other"), "{error}");
        assert_eq!(noted(&[], 1, "maxwell").unwrap_err().code(), "offsets_missing");
    }

    #[test]
    fn the_right_that_is_missing_is_named() {
        let refused = |code| {
            let error = mysql_async::Error::Server(mysql_async::ServerError {
                code,
                message: "SELECT command denied".to_owned(),
                state: "42000".to_owned(),
            });
            unreadable(&error, "`maxwell`.`positions`").to_string()
        };
        assert!(
            refused(1142).ends_with("GRANT SELECT ON `maxwell`.`positions` to this user"),
            "{}",
            refused(1142)
        );
        assert!(!refused(NO_SUCH_TABLE).contains("GRANT"), "{}", refused(NO_SUCH_TABLE));
    }

    #[test]
    fn what_was_being_read_is_said_to_be_given_up() {
        let rows = [
            Texts::of(&["shop", "people", "maxwell"]),
            Texts::of(&["shop", "orders", "other"]),
            Texts::of(&["shop", "people", "maxwell"]),
        ];
        let note = note_of(&rows, "maxwell").unwrap();
        assert!(note.contains("(a bootstrap of shop.people)"), "{note}");
        assert_eq!(note_of(&rows, "maxwel"), None);
        assert_eq!(note_of(&[], "maxwell"), None);
    }

    #[test]
    fn a_position_that_is_none_is_refused() {
        for (file, offset) in [("", "4"), ("b.000001", "x"), ("b.000001", "-4")] {
            let error = noted(&[row(&["1", "maxwell", file, offset, ""])], 1, "maxwell").unwrap_err();
            assert_eq!(error.code(), "offsets_unreadable", "{file} {offset}");
        }
    }

    proptest! {
        #[test]
        fn a_row_of_arbitrary_bytes_is_read_or_refused(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 5)) {
            let parts: Vec<String> = parts.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            drop(noted(&[row(&parts)], 1, parts[1]));
        }
    }
}
