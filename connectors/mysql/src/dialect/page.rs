//! One page of rows, of one read view, decoded as a snapshot decodes them.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value};
use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result};
use tailrace_sql::page::batch_full;
use tailrace_sql::{Admission, CursorValue, Fetched, PageRequest, PageWriter, PolledTable, RowKey};

use super::catalogue::{Known, Origin};
use super::{described, literal};
use crate::charset::Charset;
use crate::column_type::{InvalidDates, TypeKind, TypePolicy};
use crate::decode::cell::{TextDecoder, place_in_time_us};
use crate::discover::columns_of;
use crate::error::{query_error, server_error_number};
use crate::quote::identifier;
use crate::server::Flavour;

/// A table that is gone or is another one by now: ER_TABLE_DEF_CHANGED, ER_NO_SUCH_TABLE, ER_BAD_FIELD_ERROR, ER_VIEW_INVALID.
const CHANGED_TABLE: [u16; 4] = [1412, 1146, 1054, 1356];

/// How a table is read.
pub(super) struct Reading<'a> {
    pub(super) known: &'a Known,
    pub(super) flavour: Flavour,
    pub(super) policy: TypePolicy,
}

/// How rows of one page become cells and cursor values.
struct RowReader<'a> {
    table: &'a PolledTable,
    known: &'a Known,
    decoders: Vec<TextDecoder>,
    id: Option<(usize, IdForm)>,
    timestamp: Option<usize>,
    /// Dates that no calendar has are no error.
    invalid_dates: bool,
}

/// How an id is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdForm {
    /// As a number.
    Integer,
    /// As the server prints it.
    Printed,
    /// Its characters.
    Characters(Charset),
    /// Its bytes in hexadecimal.
    Bytes,
}

/// Whether rows of a table can be followed by its cursor columns.
///
/// # Errors
/// `timestamp_column_type`, `id_column_type` where a column is of a type that nothing can be followed by.
pub(super) fn verify(known: &Known, table: &PolledTable, policy: TypePolicy) -> Result<()> {
    RowReader::new(known, policy, table).map(drop)
}

// === impl Reading ===

impl Reading<'_> {
    /// Reads the rows of a page, inside a transaction.
    pub(super) async fn read(
        &self,
        connection: &mut Conn,
        request: PageRequest<'_>,
        page: &mut PageWriter<'_>,
    ) -> Result<Fetched> {
        let reader = RowReader::new(self.known, self.policy, request.table)?;
        if !self.is_unchanged(connection).await? {
            return Ok(Fetched::SchemaChanged);
        }
        let columns = self.columns();
        let mut returned = 0;
        for statement in request.statements {
            let left = request.limit.map(|limit| limit.saturating_sub(returned));
            let limit = left.map_or_else(String::new, |left| format!(" LIMIT {left}"));
            if left == Some(0) {
                break;
            }
            let rest = literal::statement(statement, Some(self.known))?;
            let text = format!("SELECT {columns} {rest}{limit}");
            let (rows, is_over) = reader.read(connection, text, page).await?;
            returned += rows;
            if is_over {
                break;
            }
        }
        Ok(Fetched::Rows(returned))
    }

    /// Whether the columns are those that are known. From here to the end of the transaction nobody can alter them.
    async fn is_unchanged(&self, connection: &mut Conn) -> Result<bool> {
        let definition = &self.known.definition;
        if let Origin::Query { sql, key } = &self.known.origin {
            let name = self.name().qualified();
            let described = described::describe(connection, &name, sql, key).await?;
            return Ok(described == *definition);
        }
        let table = super::table(&self.name());
        match connection.query_drop(format!("SELECT 1 FROM {table} LIMIT 0")).await {
            Ok(()) => {}
            Err(error) if server_error_number(&error).is_some_and(|code| CHANGED_TABLE.contains(&code)) => {
                return Ok(false);
            }
            Err(error) => return Err(query_error(&error, &format!("read {}", self.name().qualified()))),
        }
        let columns = columns_of(connection, &definition.schema, &definition.table, self.flavour).await?;
        Ok(columns.as_ref() == Some(&definition.columns))
    }

    fn name(&self) -> TableName {
        TableName {
            database: String::new(),
            schema: self.known.definition.schema.clone(),
            table: self.known.definition.table.clone(),
        }
    }

    fn columns(&self) -> String {
        let columns = self.known.definition.columns.iter();
        let columns: Vec<String> = columns
            .map(|column| column.column_type.select_expression(&identifier(&column.name)))
            .collect();
        columns.join(", ")
    }
}

// === impl RowReader ===

impl<'a> RowReader<'a> {
    fn new(known: &'a Known, policy: TypePolicy, table: &'a PolledTable) -> Result<Self> {
        let kind = |column: usize| {
            let column = known.definition.columns.get(column);
            column.map(|column| (&column.column_type.kind, column.column_type.source_type()))
        };
        if let Some((kind, source_type)) = table.timestamp_column.and_then(kind)
            && !is_moment(kind)
        {
            let message = format!(
                "column {} of {} is of type {source_type}, which holds no time; a timestamp column is a TIMESTAMP, DATETIME or DATE",
                table.timestamp_name(),
                table.name()
            );
            return Err(Error::definite("timestamp_column_type", message));
        }
        let id = match table.id_column {
            Some(column) => Some((column, id_form(table, kind(column))?)),
            None => None,
        };
        let columns = known.definition.columns.iter();
        Ok(Self {
            table,
            known,
            decoders: columns.map(|column| TextDecoder::new(column, &policy)).collect(),
            id,
            timestamp: table.timestamp_column,
            invalid_dates: policy.invalid_dates != InvalidDates::Halt,
        })
    }

    /// The rows of one statement. Gives their number, and whether the page ends with them.
    async fn read(&self, connection: &mut Conn, text: String, page: &mut PageWriter<'_>) -> Result<(u32, bool)> {
        let doing = || format!("read {}", self.table.name());
        let mut rows = connection
            .query_iter(text)
            .await
            .map_err(|error| query_error(&error, &doing()))?;
        let mut returned = 0;
        let mut outcome = Ok(Admission::Take);
        while let Some(row) = rows.next().await.map_err(|error| query_error(&error, &doing()))? {
            returned += 1;
            outcome = match self.take(&row.unwrap(), page) {
                // What comes before a bad row goes out; the next page begins with it and says what is wrong.
                Err(_) if page.has_rows() => {
                    page.stop();
                    Ok(Admission::Stop)
                }
                outcome => outcome,
            };
            if !matches!(outcome, Ok(Admission::Take | Admission::Skip)) {
                break;
            }
        }
        // What else the server sends of this answer must be off the connection before the next.
        let ended = rows.drop_result().await;
        let is_over = outcome? == Admission::Stop;
        ended.map_err(|error| query_error(&error, &doing()))?;
        Ok((returned, is_over))
    }

    /// One row: its key first, and its cells only where the page wants it.
    fn take(&self, values: &[Value], page: &mut PageWriter<'_>) -> Result<Admission> {
        let key = self.key(values)?;
        let admission = page.admit(&key)?;
        if admission == Admission::Take {
            page.batch.begin_row().map_err(batch_full)?;
            for (index, decoder) in self.decoders.iter().enumerate() {
                let decoded = decoder.decode(self.bytes(values, index)?, page.batch);
                decoded.map_err(|error| self.poison(index, &key, &error))?;
            }
            let row = page.batch.end_row().map_err(batch_full)?;
            page.take(row, key);
        }
        Ok(admission)
    }

    fn key(&self, values: &[Value]) -> Result<RowKey> {
        let id = match self.id {
            Some((column, form)) => {
                let stored = self.bytes(values, column)?.and_then(|bytes| form.value(bytes));
                Some(stored.ok_or_else(|| self.no_cursor_value(values, column))?)
            }
            None => None,
        };
        let timestamp = match self.timestamp {
            Some(column) => {
                let stored = self.bytes(values, column)?.and_then(|bytes| self.time(bytes));
                Some(stored.ok_or_else(|| self.no_cursor_value(values, column))?)
            }
            None => None,
        };
        Ok(RowKey { id, timestamp })
    }

    fn time(&self, bytes: &[u8]) -> Option<(CursorValue, i64)> {
        let microseconds = place_in_time_us(bytes, self.invalid_dates)?;
        Some((CursorValue::Text(printed(bytes)?), microseconds))
    }

    fn bytes<'v>(&self, values: &'v [Value], column: usize) -> Result<Option<&'v [u8]>> {
        match values.get(column) {
            Some(Value::NULL) => Ok(None),
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            _ => Err(Error::definite(
                "source_query",
                format!(
                    "the rows of {} do not come as text, which was asked for",
                    self.table.name()
                ),
            )),
        }
    }

    fn no_cursor_value(&self, values: &[Value], column: usize) -> Error {
        let definition = self.known.definition.columns.get(column);
        let name = definition.map_or("?", |column| column.name.as_str());
        let value = values.get(column).map_or_else(String::new, |value| value.as_sql(true));
        Error::definite(
            "cursor_value",
            format!(
                "column {name} of {} holds {value}, which cannot say where a poll continues: a whole number of at most {}, text, or a time that a \
                 calendar has is needed; correct the row, or name another column",
                self.table.name(),
                i64::MAX
            ),
        )
    }

    fn poison(&self, column: usize, key: &RowKey, error: &dyn std::fmt::Display) -> Error {
        let definition = self.known.definition.columns.get(column);
        let name = definition.map_or("?", |column| column.name.as_str());
        let row = key
            .id
            .as_ref()
            .map_or_else(String::new, |id| format!(" in the row {id}"));
        let message = format!(
            "column \"{name}\" of {} holds a value{row} that cannot be carried: {error}",
            self.table.name()
        );
        Error::poison("value_undecodable", message)
    }
}

fn is_moment(kind: &TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::Date | TypeKind::DateTime { .. } | TypeKind::Timestamp { .. }
    )
}

fn id_form(table: &PolledTable, column: Option<(&TypeKind, &str)>) -> Result<IdForm> {
    let (kind, source_type) = column.unwrap_or((&TypeKind::Json, "unknown"));
    Ok(match kind {
        TypeKind::Integer { .. } | TypeKind::Year => IdForm::Integer,
        TypeKind::Text { charset } => IdForm::Characters(*charset),
        TypeKind::FixedBytes { .. } | TypeKind::Bytes => IdForm::Bytes,
        TypeKind::Decimal { .. }
        | TypeKind::Float { .. }
        | TypeKind::Double
        | TypeKind::Date
        | TypeKind::Time { .. }
        | TypeKind::DateTime { .. }
        | TypeKind::Timestamp { .. }
        | TypeKind::Uuid
        | TypeKind::Inet4
        | TypeKind::Inet6 => IdForm::Printed,
        // Sorted otherwise than they compare with a literal, or not sorted at all.
        TypeKind::Bit { .. }
        | TypeKind::Enum { .. }
        | TypeKind::Set { .. }
        | TypeKind::Json
        | TypeKind::Point
        | TypeKind::Geometry
        | TypeKind::Vector => {
            let message = format!(
                "column {} of {} is of type {source_type}, by whose values rows cannot be followed; name another id_column",
                table.id_name(),
                table.name()
            );
            return Err(Error::definite("id_column_type", message));
        }
    })
}

fn printed(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

// === impl IdForm ===

impl IdForm {
    fn value(self, bytes: &[u8]) -> Option<CursorValue> {
        match self {
            Self::Integer => std::str::from_utf8(bytes).ok()?.parse().ok().map(CursorValue::Integer),
            Self::Printed => printed(bytes).map(CursorValue::Text),
            Self::Characters(charset) => charset.to_utf8(bytes).map(CursorValue::Text),
            Self::Bytes => {
                let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
                Some(CursorValue::Text(digits.collect()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_kept_so_that_they_can_be_written_again() {
        let text = |text: &str| Some(CursorValue::Text(text.to_owned()));
        assert_eq!(IdForm::Integer.value(b"42"), Some(CursorValue::Integer(42)));
        // Beyond 63 bits.
        assert_eq!(IdForm::Integer.value(b"9223372036854775808"), None);
        assert_eq!(IdForm::Characters(Charset::Latin1).value(b"caf\xe9"), text("café"));
        assert_eq!(IdForm::Bytes.value(&[0, 255]), text("00ff"));
        assert_eq!(IdForm::Printed.value(b"1.50"), text("1.50"));
    }
}
