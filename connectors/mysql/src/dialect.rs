//! What MySQL and MariaDB answer to a source that asks their tables again and again (`tailrace_sql::polling`).
//!
//! ```text
//!   page:   START TRANSACTION READ ONLY
//!           SELECT 1 FROM t LIMIT 0         nobody can alter the table from here on
//!           columns, as the catalogue has them ──▶ others than known? ROLLBACK, discover anew
//!           SELECT … ORDER BY … LIMIT n     of one read view, rows as in a snapshot (`scan/worker.rs`)
//!           ROLLBACK
//!   gap:    max(id) ─▶ who holds the lock of a writer on the table (`writers`) ─▶ until none of them does any more
//! ```
//!
//! A view is asked like a query of the configuration: nothing says which of its columns are unique, and nobody numbers its rows.

mod catalogue;
mod check;
mod described;
mod facts;
mod literal;
mod open;
mod page;
mod safety;
mod writers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result};
use tailrace_sql::{
    Dialect, Discovery, Fetched, GapReport, IdGeneration, PageRequest, PageWriter, Piece, PolledTable, Statement,
    Syntax, Writers, statement,
};
use tokio::time::Instant;

use crate::config::MySqlConfig;
use crate::connect::{execute, texts};
use crate::error::query_error;
use crate::quote::{identifier, literal as text_literal, qualified};
use crate::server::texts_where_allowed;

use catalogue::{Catalogue, Known, Strictness};
use facts::Facts;
use writers::Elders;

pub(crate) use check::check;
pub(crate) use open::{describe, open};

/// A page only sees that its own table was altered. Tables that come, and keys and indexes, are looked for this often.
const CATALOGUE_INTERVAL: Duration = Duration::from_secs(30);

/// How statements begin that change rows.
const DELETE: &str = "DELETE FROM ";
const UPDATE: &str = "UPDATE ";

/// How names are written.
struct MySqlSyntax;

/// One connection to the server.
pub(crate) struct MySqlDialect {
    connection: Conn,
    config: Arc<MySqlConfig>,
    facts: Facts,
    /// Transactions that are older than this connection.
    elders: Elders,
    /// What is known of each table, by its name in full.
    known: BTreeMap<String, Known>,
    catalogue_due_at: Instant,
    /// Tables were discovered once: later on one may be gone.
    is_open: bool,
}

// === impl MySqlSyntax ===

impl Syntax for MySqlSyntax {
    fn identifier(&self, name: &str) -> String {
        identifier(name)
    }

    fn table(&self, name: &TableName) -> String {
        table(name)
    }
}

/// A table's name in full, quoted; a query of the configuration may be in no schema.
fn table(name: &TableName) -> String {
    if name.schema.is_empty() {
        identifier(&name.table)
    } else {
        qualified(&name.schema, &name.table)
    }
}

// === impl MySqlDialect ===

impl MySqlDialect {
    fn new(connection: Conn, config: Arc<MySqlConfig>, facts: Facts, elders: Elders) -> Self {
        Self {
            connection,
            config,
            facts,
            elders,
            known: BTreeMap::new(),
            catalogue_due_at: Instant::now(),
            is_open: false,
        }
    }

    async fn catalogue(&mut self) -> Result<Catalogue> {
        let strictness = if self.is_open {
            Strictness::MayBeGone
        } else {
            Strictness::All
        };
        let catalogue = catalogue::read(&mut self.connection, &self.config, &self.facts.server, strictness);
        let catalogue = catalogue.await?;
        self.catalogue_due_at = Instant::now() + CATALOGUE_INTERVAL;
        Ok(catalogue)
    }

    /// The statement as text. One that changes rows names its table first, and so the types of its columns are known.
    fn text(&self, statement: &Statement) -> Result<String> {
        let mut changes = self.known.values().filter_map(|known| Change::of(statement, known));
        match changes.next() {
            Some(change) => match change.one_by_one(statement) {
                Some(text) => Ok(text),
                None => Ok(change.by_its_index(&literal::statement(statement, Some(change.known))?)),
            },
            None => literal::statement(statement, None),
        }
    }

    async fn counter(&mut self, table: &PolledTable) -> Result<Option<i64>> {
        let name = &table.table.schema.name;
        let query = format!(
            "SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            text_literal(&name.schema),
            text_literal(&name.table)
        );
        let rows = texts(&mut self.connection, &query, "ask for the next id of a table").await?;
        let next = rows.first().and_then(|row| row.text(0)).map(number).transpose()?;
        Ok(next.map(|next| next.saturating_sub(1)).filter(|last| *last > 0))
    }
}

#[async_trait]
impl Dialect for MySqlDialect {
    fn syntax(&self) -> &'static dyn Syntax {
        &MySqlSyntax
    }

    async fn discover(&mut self) -> Result<Discovery> {
        let catalogue = self.catalogue().await?;
        self.is_open = true;
        self.known = catalogue.known;
        Ok(catalogue.discovery)
    }

    async fn fetch(&mut self, request: PageRequest<'_>, page: &mut PageWriter<'_>) -> Result<Fetched> {
        if Instant::now() >= self.catalogue_due_at
            && self.catalogue().await?.discovery.schema_version != request.schema_version
        {
            return Ok(Fetched::SchemaChanged);
        }
        let Some(known) = self.known.get(&request.table.name()) else {
            return Ok(Fetched::SchemaChanged);
        };
        let connection = &mut self.connection;
        execute(connection, "START TRANSACTION READ ONLY", "begin a page of rows").await?;
        let reading = page::Reading {
            known,
            flavour: self.facts.server.flavour(),
            policy: self.config.type_policy(),
        };
        let fetched = reading.read(connection, request, page).await;
        // Of the two errors that follow from a lost connection the first says more.
        let ended = execute(connection, "ROLLBACK", "end a page of rows").await;
        let fetched = fetched?;
        ended?;
        Ok(fetched)
    }

    async fn number(&mut self, statement: &Statement) -> Result<Option<i64>> {
        let text = self.text(statement)?;
        let rows = texts(&mut self.connection, &text, "ask for a number").await?;
        rows.first().and_then(|row| row.text(0)).map(number).transpose()
    }

    async fn execute(&mut self, statement: &Statement) -> Result<u64> {
        let text = self.text(statement)?;
        let done = self.connection.query_drop(text).await;
        done.map_err(|error| query_error(&error, "change rows of a table that is polled"))?;
        Ok(self.connection.affected_rows())
    }

    /// The counter is higher than every id that was ever given, where it outlives a restart.
    async fn highest_id(&mut self, table: &PolledTable) -> Result<Option<i64>> {
        let highest = self.number(&statement::highest_id(&MySqlSyntax, table)).await?;
        if table.id_generation() != IdGeneration::NeverReused {
            return Ok(highest);
        }
        Ok(highest.max(self.counter(table).await?))
    }

    async fn now_us(&mut self) -> Result<i64> {
        const NOW: &str = "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)";
        let rows = texts(&mut self.connection, NOW, "ask for the server's time").await?;
        number(rows.first().and_then(|row| row.text(0)).unwrap_or_default())
    }

    async fn writers(&mut self, table: &PolledTable) -> Result<Writers> {
        let mut sessions = writers::sessions(&mut self.connection, &self.facts, &table.table.schema.name).await?;
        sessions.extend(self.elders.still_open(&mut self.connection).await?);
        // After the sessions: one that is prepared between the two is in both.
        let prepared = writers::prepared(&mut self.connection).await?;
        Ok(Writers { sessions, prepared })
    }

    async fn longest_transaction_us(&mut self) -> Result<Option<i64>> {
        // The view has the server's local time, whatever the session's is.
        const OLDEST: &str = "SELECT MAX(TIMESTAMPDIFF(SECOND, trx_started, CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'SYSTEM'))) \
             FROM information_schema.innodb_trx WHERE trx_mysql_thread_id <> CONNECTION_ID()";
        let Some(rows) = texts_where_allowed(&mut self.connection, OLDEST).await? else {
            return Ok(None);
        };
        let oldest_s = rows.first().and_then(|row| row.text(0)).map(number).transpose()?;
        let longest_s = oldest_s.max(Some(writers::longest_statement_s(&mut self.connection).await?));
        Ok(longest_s.map(|seconds| seconds.saturating_mul(1_000_000)))
    }

    fn gap_safety(&self, table: &PolledTable) -> GapReport {
        safety::gap_safety(&self.facts, self.known.get(&table.name()), table)
    }
}

/// A statement that changes rows of a table by their ids.
struct Change<'a> {
    known: &'a Known,
    /// It deletes them.
    deletes: bool,
    /// The column of the ids.
    column: Option<&'a str>,
    /// The index that the ids are unique by.
    index: Option<&'a str>,
}

// === impl Change ===

impl<'a> Change<'a> {
    /// `DELETE FROM t …` and `UPDATE t …` of this table.
    fn of(statement: &Statement, known: &'a Known) -> Option<Self> {
        let Some(Piece::Text(begin)) = statement.pieces.first() else {
            return None;
        };
        let name = Self::name(known);
        let begins = |verb: &str| begin.strip_prefix(verb).and_then(|rest| rest.strip_prefix(&name));
        let (deletes, rest) = match begins(DELETE) {
            Some(rest) => (true, rest),
            None => (false, begins(UPDATE)?),
        };
        let column = statement.pieces.iter().find_map(|piece| match piece {
            Piece::Value { column, .. } => known.definition.columns.get(*column),
            Piece::Text(_) => None,
        });
        let mut keys = known.definition.unique_keys.iter();
        let index = keys.find(|key| column.is_some_and(|column| key.columns == [column.name.as_str()]));
        rest.starts_with(' ').then_some(Self {
            known,
            deletes,
            column: column.map(|column| column.name.as_str()),
            index: index.map(|index| index.name.as_str()),
        })
    }

    /// The statement so that its rows are looked up one by one, in the order of a list that is joined to them. With the list in an
    /// `IN`, the server would rather look at all rows as soon as it has a third of the table, wait for whoever has just inserted
    /// one, and have everybody else who inserts wait behind it; a hint to use the index does not keep it from reading the whole of
    /// it. `None` where ids are no whole numbers: a column of a list has a collation that may be none of the table's.
    fn one_by_one(&self, statement: &Statement) -> Option<String> {
        let (index, column) = (identifier(self.index?), identifier(self.column?));
        let name = Self::name(self.known);
        let ids = statement.pieces.iter().filter_map(|piece| match piece {
            Piece::Value { value, .. } => Some(value.as_integer()),
            Piece::Text(_) => None,
        });
        let ids: Vec<i64> = ids.collect::<Option<_>>()?;
        let (Piece::Text(begin), Piece::Text(end)) = (statement.pieces.first()?, statement.pieces.last()?) else {
            return None;
        };
        let conditions = end.strip_prefix(')')?;
        let list: Vec<String> = ids.iter().map(|id| format!("SELECT {id} AS id")).collect();
        let joined = format!(
            "({}) AS acknowledged STRAIGHT_JOIN {name} FORCE INDEX ({index}) ON {name}.{column} = acknowledged.id",
            list.join(" UNION ALL ")
        );
        if self.deletes {
            return Some(format!("DELETE {name} FROM {joined} WHERE TRUE{conditions}"));
        }
        let rest = begin.strip_prefix(UPDATE)?.strip_prefix(&name)?;
        let (set, _) = rest.split_once(" WHERE ")?;
        Some(format!("UPDATE {joined}{set} WHERE TRUE{conditions}"))
    }

    /// The statement with a hint to look its rows up by the index of their ids.
    fn by_its_index(&self, text: &str) -> String {
        let name = Self::name(self.known);
        let begin = if self.deletes { DELETE } else { UPDATE };
        let rest = text.strip_prefix(begin).and_then(|rest| rest.strip_prefix(&name));
        match (rest, self.index.map(identifier)) {
            (Some(rest), Some(index)) if self.deletes => {
                format!("DELETE {name} FROM {name} FORCE INDEX ({index}){rest}")
            }
            (Some(rest), Some(index)) => format!("UPDATE {name} FORCE INDEX ({index}){rest}"),
            _ => text.to_owned(),
        }
    }

    fn name(known: &Known) -> String {
        qualified(&known.definition.schema, &known.definition.table)
    }
}

/// A whole number as the server prints it.
fn number(text: &str) -> Result<i64> {
    text.parse().map_err(|_| {
        Error::definite(
            "id_too_large",
            format!(
                "the server says `{text}` where a whole number up to {} is expected: ids of BIGINT UNSIGNED columns beyond that cannot be \
                 polled; read the binary log of such a table instead",
                i64::MAX
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use tailrace_sql::CursorValue;

    use super::*;
    use crate::column_type::ColumnType;
    use crate::dialect::catalogue::Origin;
    use crate::table::{ColumnDefinition, TableDefinition, UniqueKey};

    fn known() -> Known {
        let mut definition = TableDefinition::unknown("shop", "outbox");
        definition.columns = vec![ColumnDefinition {
            name: "id".to_owned(),
            column_type: ColumnType::parse("binary(2)", None).unwrap(),
            nullable: false,
            default: None,
            generated: false,
            documentation: None,
        }];
        definition.unique_keys = vec![UniqueKey {
            name: "PRIMARY".to_owned(),
            columns: vec!["id".to_owned()],
        }];
        Known {
            definition,
            origin: Origin::Table,
            transactional: true,
            stamps: BTreeMap::new(),
        }
    }

    fn written(begin: &str, known: &Known) -> Option<String> {
        let id = CursorValue::Text("00ff".to_owned());
        let statement = Statement::text(begin).value(0, &id).then(")");
        let change = Change::of(&statement, known)?;
        Some(change.by_its_index(&literal::statement(&statement, Some(known)).unwrap()))
    }

    #[test]
    fn rows_are_changed_by_the_index_of_their_ids() {
        let mut known = known();
        assert_eq!(
            written("DELETE FROM `shop`.`outbox` WHERE `id` IN (", &known).unwrap(),
            "DELETE `shop`.`outbox` FROM `shop`.`outbox` FORCE INDEX (`PRIMARY`) WHERE `id` IN (0x00ff)"
        );
        assert_eq!(
            written(
                "UPDATE `shop`.`outbox` SET `done` = CURRENT_TIMESTAMP WHERE `id` IN (",
                &known
            )
            .unwrap(),
            "UPDATE `shop`.`outbox` FORCE INDEX (`PRIMARY`) SET `done` = CURRENT_TIMESTAMP WHERE `id` IN (0x00ff)"
        );
        assert_eq!(written("DELETE FROM `shop`.`outbox2` WHERE `id` IN (", &known), None);
        known.definition.unique_keys.clear();
        let plain = "DELETE FROM `shop`.`outbox` WHERE `id` IN (0x00ff)";
        assert_eq!(
            written("DELETE FROM `shop`.`outbox` WHERE `id` IN (", &known).unwrap(),
            plain
        );
    }

    #[test]
    fn rows_with_whole_numbers_are_joined_to_a_list_of_them() {
        let known = known();
        let joined = |begin: &str, end: &str| {
            let (one, other) = (CursorValue::Integer(7), CursorValue::Integer(-9));
            let statement = Statement::text(begin)
                .value(0, &one)
                .then(", ")
                .value(0, &other)
                .then(end);
            Change::of(&statement, &known)?.one_by_one(&statement)
        };
        let list = "(SELECT 7 AS id UNION ALL SELECT -9 AS id) AS acknowledged STRAIGHT_JOIN `shop`.`outbox` \
                    FORCE INDEX (`PRIMARY`) ON `shop`.`outbox`.`id` = acknowledged.id";
        assert_eq!(
            joined("DELETE FROM `shop`.`outbox` WHERE `id` IN (", ") AND EXISTS (SELECT 1)").unwrap(),
            format!("DELETE `shop`.`outbox` FROM {list} WHERE TRUE AND EXISTS (SELECT 1)")
        );
        assert_eq!(
            joined(
                "UPDATE `shop`.`outbox` SET `done` = CURRENT_TIMESTAMP WHERE `id` IN (",
                ") AND `done` IS NULL"
            )
            .unwrap(),
            format!("UPDATE {list} SET `done` = CURRENT_TIMESTAMP WHERE TRUE AND `done` IS NULL")
        );
    }

    #[test]
    fn numbers_beyond_63_bits_are_refused() {
        assert_eq!(number("-7").unwrap(), -7);
        assert_eq!(number("18446744073709551615").unwrap_err().code(), "id_too_large");
    }
}
