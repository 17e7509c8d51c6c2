//! Carrying out a step.
//!
//! An upsert is an `INSERT … ON DUPLICATE KEY UPDATE` of some hundred rows where the primary key is the only unique index. That statement
//! changes whichever row is met, by any unique index; so where there is another one, rows are looked for and locked first, those that are there
//! are updated and the others inserted, and a value that another row has is the error 1062.
//!
//! Such an error may be one of the order: of two rows that swap their values, none can be first. Rows that were refused are
//! tried again when all others of the step are written; where that does not help, their unique values are set to NULL first, if they may be.
//!
//! Measured with rows of 200 bytes, 200 000 of them in transactions of 20 000, server and client on two busy cores, in rows per second,
//! new rows / rows that are there:
//!
//! | way | MySQL 9.7 | MariaDB 10.11 |
//! |---|---|---|
//! | upsert of 100 rows each (20 KB) | 80 K / 106 K | 96 K / 107 K |
//! | upsert of 500 rows each (96 KB) | 91 K / 116 K | 106 K / 137 K |
//! | upsert of 2 000 rows each (400 KB) | 82 K / 74 K | 117 K / 106 K |
//! | upsert of 5 000 rows each (1 MB) | 51 K / 68 K | 121 K / 107 K |
//! | temporary table, then one `INSERT … SELECT` | 56 K / 64 K | 105 K / 81 K |
//! | `LOAD DATA LOCAL … REPLACE` | 194 K / 182 K | 149 K / 222 K |
//! | `UPDATE` of one row each | — / 8 K | — / 9 K |
//! | `UPDATE`s sent together (96 KB), as here | — / 26 K | — / 31 K |
//! | upsert of 96 KB, as here, literals included | 88 K / 97 K | 82 K / 77 K |
//! | the same with another unique index | 74 K / 98 K | 57 K / 87 K |
//!
//! `LOAD DATA` is out of the question: servers have it switched off (`local_infile`), and `REPLACE` deletes rows, with what refers to them.

use mysql_async::Error as ClientError;
use mysql_async::prelude::Queryable;
use tailrace_core::ports::sink::ROW_MISSING;
use tailrace_core::{Error, Result};
use tailrace_sql::sink::work::{Action, Step};

use super::error::{DUPLICATE_KEY, NULL_REFUSED, target_error};
use super::session::MySqlSession;
use super::statement::{Literals, StepStatements};
use crate::error::server_error_number;

/// Literals of so many bytes go into one statement. Larger ones are slower on MySQL, smaller ones on both: see above.
const STATEMENT_BYTES: usize = 96 << 10;
/// At most so many rows are named in one condition.
const STATEMENT_ROWS: usize = 500;

/// Statements that were sent together, one of which failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// How many rows those before it have matched.
    matched: Vec<u64>,
    /// Why.
    pub(super) error: ClientError,
}

/// A row that another row was in the way of.
struct Refused {
    statement: String,
    /// Takes its values out of the way of others.
    park: Option<String>,
    error: ClientError,
}

/// Rows of a step, as far as they are to be written together.
struct Portion<'a, 's> {
    step: &'a Step<'s>,
    statements: &'a StepStatements,
    literals: &'a Literals,
    refused: &'a mut Vec<Refused>,
}

// === impl MySqlSession ===

impl MySqlSession {
    /// Writes the rows of a step.
    pub(super) async fn write_step(&mut self, step: &Step<'_>) -> Result<()> {
        let statements = StepStatements::new(step, self.row_alias)?;
        if step.action == Action::Truncate {
            return self.done(&statements.delete_all(), &statements).await;
        }
        let mut refused = Vec::new();
        let mut literals = Literals::default();
        let most_bytes = STATEMENT_BYTES.min(self.packet_bytes / 2);
        let mut rows = step.rows.iter().peekable();
        while let Some(row) = rows.next() {
            statements.push(step, row, &mut literals)?;
            let is_full = literals.bytes() >= most_bytes || literals.rows() >= STATEMENT_ROWS;
            if !is_full && rows.peek().is_some() {
                continue;
            }
            let portion = Portion {
                step,
                statements: &statements,
                literals: &literals,
                refused: &mut refused,
            };
            self.write_portion(portion).await?;
            literals.clear();
        }
        self.settle(refused, &statements).await
    }

    async fn write_portion(&mut self, portion: Portion<'_, '_>) -> Result<()> {
        let (statements, literals) = (portion.statements, portion.literals);
        let rows: Vec<usize> = (0..literals.rows()).collect();
        match portion.step.action {
            Action::Insert => self.done(&statements.insert(literals, &rows), statements).await,
            Action::Upsert if statements.only_key_collides => self.upserted(portion, &rows).await,
            Action::Upsert => self.split(portion, &rows).await,
            Action::Update { must_exist } => self.update(portion, &rows, must_exist).await,
            Action::Delete => self.done(&statements.delete(literals, &rows), statements).await,
            Action::Truncate => Ok(()),
        }
    }

    /// Rows that only the primary key can refuse, or that are there.
    async fn upserted(&mut self, portion: Portion<'_, '_>, rows: &[usize]) -> Result<()> {
        let statements = portion.statements;
        let upsert = statements.upsert(portion.literals, rows);
        self.check_size(&upsert, statements)?;
        match self.run(&upsert).await {
            Ok(_) => Ok(()),
            // All of these rows are there, and another one is in the way of one of them.
            Err(failed)
                if server_error_number(&failed.error) == Some(DUPLICATE_KEY) && !statements.only_key_collides =>
            {
                self.update(portion, rows, false).await
            }
            Err(failed) => {
                let error = target_error(&failed.error, &writing(statements));
                let is_collision =
                    server_error_number(&failed.error) == Some(NULL_REFUSED) && statements.compares_keys();
                if !is_collision {
                    return Err(error);
                }
                let message = format!(
                    "a row of {} has a key that the collation of the column takes for that of another row, or NULL where that is refused; give the key a \
                     collation that tells all apart: utf8mb4_0900_bin, or utf8mb4_nopad_bin on MariaDB",
                    statements.table_name
                );
                Err(Error::poison("key_collision", message).with_source(error))
            }
        }
    }

    /// Updates rows that are there and inserts the others.
    async fn split(&mut self, portion: Portion<'_, '_>, rows: &[usize]) -> Result<()> {
        let (statements, literals) = (portion.statements, portion.literals);
        let mut counted = match statements.key_is_unique {
            true => self.counts(&[statements.count(literals, rows)], statements).await?,
            false => Vec::new(),
        };
        let all = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let (present, missing) = match counted.pop() {
            Some(0) => (Vec::new(), rows.to_vec()),
            Some(count) if count == all => (rows.to_vec(), Vec::new()),
            _ => {
                let each: Vec<String> = rows.iter().map(|row| statements.count(literals, &[*row])).collect();
                let counts = self.counts(&each, statements).await?;
                let (present, missing): (Vec<_>, Vec<_>) = rows.iter().zip(counts).partition(|(_, count)| *count > 0);
                let row = |(row, _): (&usize, u64)| *row;
                (
                    present.into_iter().map(row).collect(),
                    missing.into_iter().map(row).collect(),
                )
            }
        };
        let Portion { step, refused, .. } = portion;
        if !present.is_empty() {
            let portion = Portion {
                step,
                statements,
                literals,
                refused: &mut *refused,
            };
            // The primary key is looked up before any other index: a row that is there and locked is the one that is met.
            match statements.key_is_primary {
                true => self.upserted(portion, &present).await?,
                false => self.update(portion, &present, false).await?,
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let insert = statements.insert(literals, &missing);
        self.check_size(&insert, statements)?;
        match self.run(&insert).await {
            Ok(_) => Ok(()),
            Err(failed) if server_error_number(&failed.error) == Some(DUPLICATE_KEY) => {
                for row in missing {
                    let statement = statements.insert(literals, &[row]);
                    self.attempt(statement, None, refused, statements).await?;
                }
                Ok(())
            }
            Err(failed) => Err(target_error(&failed.error, &writing(statements))),
        }
    }

    /// Updates rows, each by a statement of its own, all of them sent together. Those that are refused are left for later.
    async fn update(&mut self, portion: Portion<'_, '_>, rows: &[usize], must_exist: bool) -> Result<()> {
        let (statements, literals) = (portion.statements, portion.literals);
        let mut unmatched = Vec::new();
        let mut waiting: Vec<(usize, String)> = Vec::with_capacity(rows.len());
        for row in rows {
            match statements.update(literals, *row) {
                Some(statement) => waiting.push((*row, statement)),
                None => unmatched.push(*row),
            }
        }
        while !waiting.is_empty() {
            let taken = self.first_that_fit(&waiting, statements)?;
            let together: Vec<&str> = waiting
                .iter()
                .take(taken)
                .map(|(_, statement)| statement.as_str())
                .collect();
            let (matched, error) = match self.run(&together.join(";")).await {
                Ok(matched) => (matched, None),
                Err(failed) => (failed.matched, Some(failed.error)),
            };
            let done = matched.len();
            let none = waiting.iter().zip(&matched).filter(|(_, matched)| **matched == 0);
            unmatched.extend(none.map(|((row, _), _)| *row));
            let mut rest = waiting.drain(..).skip(done);
            if let Some(error) = error {
                if server_error_number(&error) != Some(DUPLICATE_KEY) {
                    return Err(target_error(&error, &writing(statements)));
                }
                if let Some((row, statement)) = rest.next() {
                    portion.refused.push(Refused {
                        statement,
                        park: statements.park(literals, row),
                        error,
                    });
                }
            }
            waiting = rest.collect();
        }
        match must_exist {
            true => self.all_there(&unmatched, literals, statements).await,
            false => Ok(()),
        }
    }

    /// How many statements of a row each go into one packet.
    fn first_that_fit(&self, waiting: &[(usize, String)], statements: &StepStatements) -> Result<usize> {
        let mut bytes = 0;
        let fit = waiting.iter().take_while(|(_, statement)| {
            bytes += statement.len() + 1;
            bytes <= STATEMENT_BYTES
        });
        let fit = fit.count();
        if let (0, Some((_, statement))) = (fit, waiting.first()) {
            self.check_size(statement, statements)?;
        }
        Ok(fit.max(1))
    }

    /// Rows that no update has matched were either left as they are by the guard, or are not there.
    async fn all_there(&mut self, rows: &[usize], literals: &Literals, statements: &StepStatements) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let each: Vec<String> = rows.iter().map(|row| statements.count(literals, &[*row])).collect();
        let counts = self.counts(&each, statements).await?;
        if counts.iter().all(|count| *count > 0) {
            return Ok(());
        }
        let message = format!(
            "a row of {} is to be changed that is not there, and the event does not have all of its columns; take a snapshot, or let the source send \
             whole rows",
            statements.table_name
        );
        Err(Error::poison(ROW_MISSING, message))
    }

    /// Tries rows again that were refused, for as long as that helps.
    async fn settle(&mut self, mut waiting: Vec<Refused>, statements: &StepStatements) -> Result<()> {
        let mut parked = false;
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut refused = Vec::new();
            for row in waiting {
                self.attempt(row.statement, row.park, &mut refused, statements).await?;
            }
            let can_park = !parked && refused.iter().any(|row| row.park.is_some());
            match refused.first() {
                Some(first) if refused.len() == before && !can_park => {
                    return Err(target_error(&first.error, &writing(statements)));
                }
                Some(_) if refused.len() == before => {
                    parked = true;
                    for statement in refused.iter().filter_map(|row| row.park.as_deref()) {
                        self.done(statement, statements).await?;
                    }
                }
                _ => {}
            }
            waiting = refused;
        }
        Ok(())
    }

    async fn attempt(
        &mut self,
        statement: String,
        park: Option<String>,
        refused: &mut Vec<Refused>,
        statements: &StepStatements,
    ) -> Result<()> {
        match self.run(&statement).await {
            Ok(_) => Ok(()),
            Err(failed) if server_error_number(&failed.error) == Some(DUPLICATE_KEY) => {
                refused.push(Refused {
                    statement,
                    park,
                    error: failed.error,
                });
                Ok(())
            }
            Err(failed) => Err(target_error(&failed.error, &writing(statements))),
        }
    }

    /// Runs a statement whose every error is one.
    async fn done(&mut self, statement: &str, statements: &StepStatements) -> Result<()> {
        self.check_size(statement, statements)?;
        let run = self.run(statement).await;
        run.map(drop)
            .map_err(|failed| target_error(&failed.error, &writing(statements)))
    }

    /// Runs statements that give one number each.
    async fn counts(&mut self, each: &[String], statements: &StepStatements) -> Result<Vec<u64>> {
        let doing = format!("look for rows in {}", statements.table_name);
        let mut counts = Vec::with_capacity(each.len());
        for together in each.chunks(STATEMENT_ROWS) {
            let asked = async {
                let mut result = self.connection.query_iter(together.join(";")).await?;
                for _ in together {
                    let rows: Vec<u64> = result.collect().await?;
                    counts.push(rows.first().copied().unwrap_or_default());
                }
                result.drop_result().await
            };
            asked.await.map_err(|error| target_error(&error, &doing))?;
        }
        Ok(counts)
    }

    /// Runs statements that are sent together, and tells how many rows each has matched.
    pub(super) async fn run(&mut self, statements: &str) -> Result<Vec<u64>, Failed> {
        let mut matched = Vec::new();
        let run = async {
            let mut result = self.connection.query_iter(statements).await?;
            matched.push(result.affected_rows());
            while !result.is_empty() {
                result.next().await?;
                matched.push(result.affected_rows());
            }
            result.drop_result().await
        };
        match run.await {
            Ok(()) => Ok(matched),
            Err(error) => {
                // The client tells of an error of any statement but the first only when it is asked for what is behind it: until then
                // the number is that of the statement before.
                matched.pop();
                Err(Failed { matched, error })
            }
        }
    }

    /// A larger packet ends the connection.
    fn check_size(&self, statement: &str, statements: &StepStatements) -> Result<()> {
        // The command's number is before it.
        if statement.len() < self.packet_bytes {
            return Ok(());
        }
        let message = format!(
            "a row of {} takes {} bytes as a statement, and the server takes {}; raise max_allowed_packet there, up to 1G",
            statements.table_name,
            statement.len(),
            self.packet_bytes
        );
        Err(Error::poison("row_too_large", message))
    }
}

fn writing(statements: &StepStatements) -> String {
    format!("write rows into {}", statements.table_name)
}
