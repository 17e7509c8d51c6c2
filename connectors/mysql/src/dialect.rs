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
mod wall_clock;
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
use crate::server::{Flavour, texts_where_allowed};

use catalogue::{Catalogue, Known, Strictness};
use facts::Facts;
use writers::Elders;

pub(crate) use check::check;
pub(crate) use facts::METADATA_LOCKS;
pub(crate) use open::{describe, open, read, take_over};

/// A page only sees that its own table was altered. Tables that come, and keys and indexes, are looked for this often.
const CATALOGUE_INTERVAL: Duration = Duration::from_secs(30);

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
        literal::statement(statement, self.known.values().find(|known| changes(statement, known)))
    }

    /// Statements in one transaction, sent at once. Gives how many rows they changed together.
    async fn execute_all(&mut self, statements: &[Statement]) -> Result<u64> {
        let texts: Result<Vec<String>> = statements.iter().map(|statement| self.text(statement)).collect();
        let text = format!("START TRANSACTION; {}; COMMIT", texts?.join("; "));
        let changed = affected_rows(&mut self.connection, text).await;
        if changed.is_err() {
            // The first error says more than one that follows from it.
            drop(execute(&mut self.connection, "ROLLBACK", "give up changes of rows").await);
        }
        changed
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

    /// Rows must be looked up by their ids one by one. Left to choose, a server looks at all rows of a small table, or for a long list
    /// of ids: it then waits for every row that somebody has just inserted, and whoever inserts more waits behind it. MariaDB is told by
    /// `sql_safe_updates`; of MySQL only a statement for each row has that effect, whatever index hints or that setting say.
    async fn execute(&mut self, statement: &Statement) -> Result<u64> {
        let one_by_one = match self.facts.server.flavour() {
            Flavour::MySql => one_by_one(statement),
            Flavour::MariaDb => None,
        };
        match one_by_one {
            Some(statements) => self.execute_all(&statements).await,
            None => {
                let text = self.text(statement)?;
                affected_rows(&mut self.connection, text).await
            }
        }
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

/// Whether a statement changes rows of this table: `DELETE FROM t …`, `UPDATE t …`.
fn changes(statement: &Statement, known: &Known) -> bool {
    let Some(Piece::Text(begin)) = statement.pieces.first() else {
        return false;
    };
    let name = qualified(&known.definition.schema, &known.definition.table);
    let rest = begin
        .strip_prefix("DELETE FROM ")
        .or_else(|| begin.strip_prefix("UPDATE "));
    let rest = rest.and_then(|rest| rest.strip_prefix(&name));
    rest.is_some_and(|rest| rest.starts_with(' '))
}

/// `… IN (1, 2) …` as `… = 1 …` and `… = 2 …`; `None` for a statement of another form.
fn one_by_one(statement: &Statement) -> Option<Vec<Statement>> {
    let [Piece::Text(begin), list @ .., Piece::Text(end)] = statement.pieces.as_slice() else {
        return None;
    };
    let (begin, end) = (begin.strip_suffix(" IN (")?, end.strip_prefix(')')?);
    let single = |piece: &Piece| match piece {
        Piece::Value { column, value } => Some(Statement::text(format!("{begin} = ")).value(*column, value).then(end)),
        Piece::Text(_) => None,
    };
    Some(list.iter().filter_map(single).collect())
}

/// Runs statements, separated by semicolons. Gives how many rows they changed together.
async fn affected_rows(connection: &mut Conn, statements: String) -> Result<u64> {
    let failed = |error: mysql_async::Error| query_error(&error, "change rows of a table that is polled");
    let mut result = connection.query_iter(statements).await.map_err(failed)?;
    let mut changed = 0;
    loop {
        changed += result.affected_rows();
        if result.is_empty() {
            break;
        }
        // None of them gives a row: this goes over to the next.
        result.next().await.map_err(failed)?;
    }
    result.drop_result().await.map_err(failed)?;
    Ok(changed)
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
    use crate::table::{ColumnDefinition, TableDefinition};

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
        Known {
            definition,
            origin: Origin::Table,
            transactional: true,
            stamps: BTreeMap::new(),
        }
    }

    #[test]
    fn rows_are_changed_one_by_one_and_their_table_is_known() {
        let known = known();
        let id = |text: &str| CursorValue::Text(text.to_owned());
        let statement = Statement::text("DELETE FROM `shop`.`outbox` WHERE `id` IN (")
            .value(0, &id("00ff"))
            .then(", ")
            .value(0, &id("0100"))
            .then(") AND EXISTS (SELECT 1)");
        let texts: Vec<String> = one_by_one(&statement)
            .unwrap()
            .iter()
            .map(|single| {
                assert!(changes(single, &known));
                literal::statement(single, Some(&known)).unwrap()
            })
            .collect();
        assert_eq!(
            texts,
            [
                "DELETE FROM `shop`.`outbox` WHERE `id` = 0x00ff AND EXISTS (SELECT 1)",
                "DELETE FROM `shop`.`outbox` WHERE `id` = 0x0100 AND EXISTS (SELECT 1)"
            ]
        );
        let lease = Statement::text("UPDATE `shop`.`lease` SET `epoch` = 1 WHERE `name` = 'a'");
        assert!(one_by_one(&lease).is_none() && !changes(&lease, &known));
        assert!(!changes(&Statement::text("UPDATE `shop`.`outbox2` SET a = 1"), &known));
        assert!(changes(&Statement::text("UPDATE `shop`.`outbox` SET a = 1"), &known));
    }

    #[test]
    fn numbers_beyond_63_bits_are_refused() {
        assert_eq!(number("-7").unwrap(), -7);
        assert_eq!(number("18446744073709551615").unwrap_err().code(), "id_too_large");
    }
}
