//! How one page of one table is asked for.

use std::sync::Arc;

use tailrace_core::Result;
use tailrace_core::batch::ChangeBatch;
use tailrace_core::ports::Budget;
use tailrace_core::position::{Position, Progress};

use super::Poller;
use super::table::{Page, Question};
use crate::config::QueryMode;
use crate::dialect::{Dialect, Fetched, PageRequest};
use crate::page::{PageRule, PageWriter};
use crate::statement;

impl<D: Dialect> Poller<D> {
    /// The next page of one table; `None` where the schema has changed.
    pub(super) async fn fetch(
        &mut self,
        index: usize,
        now: i64,
        budget: Budget,
        batch: &mut ChangeBatch,
    ) -> Result<Option<Page>> {
        let limit = self.limit(budget);
        let Some(state) = self.tables.get_mut(index) else {
            return Ok(None);
        };
        let after = state.begin(self.cursors.get(&state.name).cloned().unwrap_or_default());
        let question = state.question(self.dialect.syntax(), &after, limit);
        let judge = self
            .judge
            .as_deref_mut()
            .filter(|_| state.plan.mode == QueryMode::Queue);
        let judge = state.judged_by(judge);
        let (table, rule) = state.rule(&question);
        let page = PageWriter::new(batch, table, after, budget, rule);
        let mut page = page.polled_at(now).judged_by(judge);
        let request = PageRequest {
            table,
            statements: &question.statements,
            limit: question.limit,
            schema_version: self.schema_version,
        };
        match self.dialect.fetch(request, &mut page).await? {
            Fetched::Rows(returned) => Ok(Some(Page::of(&mut page, returned, &question))),
            Fetched::SchemaChanged => Ok(None),
        }
    }

    /// The next rows of a table that has timestamps and no id: only whole times, because nothing says where within one the next
    /// page would begin.
    pub(super) async fn fetch_times(
        &mut self,
        index: usize,
        now: i64,
        budget: Budget,
        batch: &mut ChangeBatch,
    ) -> Result<Option<Page>> {
        let limit = self.limit(budget);
        let Some(state) = self.tables.get(index) else {
            return Ok(None);
        };
        let (table, syntax) = (&state.plan, self.dialect.syntax());
        let after = self.cursors.get(&state.name).cloned().unwrap_or_default();
        let question = Question::plain(statement::by_time(syntax, table, &after), Some(limit));
        let mut request = PageRequest {
            table,
            statements: &question.statements,
            limit: question.limit,
            schema_version: self.schema_version,
        };
        let mut page = PageWriter::new(batch, table, after.clone(), budget, PageRule::Plain).polled_at(now);
        let Fetched::Rows(returned) = self.dialect.fetch(request, &mut page).await? else {
            return Ok(None);
        };
        let may_be_cut = page.has_more(returned, question.limit);
        if !may_be_cut || page.leave_newest_time() {
            return Ok(Some(Page::of(&mut page, returned, &question)));
        }
        let (Some(time), Some(column)) = (page.cursor().timestamp.clone(), table.timestamp_column) else {
            return Ok(None);
        };
        let whole = Question::plain(vec![statement::of_time(syntax, table, column, &time)], None);
        (request.statements, request.limit) = (&whole.statements, None);
        *batch = ChangeBatch::new(Arc::clone(&self.identity), Progress::at(Position::new("")));
        let mut page = PageWriter::new(batch, table, after, budget, PageRule::Plain).polled_at(now);
        match self.dialect.fetch(request, &mut page).await? {
            Fetched::Rows(returned) => Ok(Some(Page {
                more: true,
                ..Page::of(&mut page, returned, &whole)
            })),
            Fetched::SchemaChanged => Ok(None),
        }
    }

    pub(super) fn has_id(&self, index: usize) -> bool {
        self.tables
            .get(index)
            .is_some_and(|state| state.plan.id_column.is_some())
    }

    pub(super) fn limit(&self, budget: Budget) -> u32 {
        let room = u32::try_from(budget.changes).unwrap_or(u32::MAX);
        self.config.batch_rows.min(room).max(1)
    }
}
