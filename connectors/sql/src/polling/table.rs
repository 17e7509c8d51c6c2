//! One table that is polled, and one page of it.

use tailrace_core::ports::RowJudge;
use tokio::time::Instant;

use super::queue::Queue;
use crate::config::QueryMode;
use crate::cursor::{Cursor, CursorValue};
use crate::dialect::{GapReport, Syntax};
use crate::ledger::{GapLedger, Reach};
use crate::page::{PageRule, PageWriter};
use crate::plan::PolledTable;
use crate::seen::Seen;
use crate::statement::{self, Statement};

/// What is known of a table that is polled.
pub(super) struct TableState {
    pub(super) plan: PolledTable,
    pub(super) name: String,
    pub(super) due_at: Instant,
    /// Everything that was visible at this time was handed out, microseconds since 1970.
    pub(super) caught_up_us: Option<i64>,
    /// Everything that was visible at this time is handed out, or is in the page that is about to be.
    pub(super) complete_until_us: Option<i64>,
    /// When the last page of a whole was read that may not be handed out yet.
    pub(super) whole_read_us: Option<i64>,
    /// Everything that was there at the first poll was handed out, as far as this process knows.
    pub(super) drained: bool,
    /// Whether rows can be skipped.
    pub(super) gap: GapReport,
    pub(super) ledger: GapLedger,
    /// Since when rows wait behind a gap.
    pub(super) waiting_since: Option<Instant>,
    pub(super) queue: Queue,
    /// The rows of the poll before, where only changes of them are published.
    pub(super) seen: Option<Seen>,
}

/// What came of asking for a page.
pub(super) struct Page {
    /// The cursor after its last row.
    pub(super) cursor: Cursor,
    /// There is more that could be read at once.
    pub(super) more: bool,
    /// Rows are behind ids that are missing.
    pub(super) before_gap: bool,
    /// Rows are too young to be taken.
    pub(super) before_its_time: bool,
    /// Every id up to here was read or will never come.
    pub(super) settled_until: Option<i64>,
    /// Ids of its rows, of a queue.
    pub(super) ids: Vec<CursorValue>,
    /// Rows were held back.
    pub(super) held: bool,
}

/// How a page is asked for.
pub(super) struct Question {
    pub(super) statements: Vec<Statement>,
    pub(super) limit: Option<u32>,
    /// No id beyond is asked for, and none up to it is waited for.
    pub(super) until: Option<i64>,
    contiguous: bool,
}

// === impl TableState ===

impl TableState {
    pub(super) fn new(plan: PolledTable, gap: GapReport, changes_only: bool) -> Self {
        Self {
            name: plan.name(),
            seen: (changes_only && plan.mode == QueryMode::Bulk).then(Seen::default),
            plan,
            due_at: Instant::now(),
            caught_up_us: None,
            complete_until_us: None,
            whole_read_us: None,
            drained: false,
            gap,
            ledger: GapLedger::default(),
            waiting_since: None,
            queue: Queue::default(),
        }
    }

    /// Where the next page begins.
    pub(super) fn begin(&self, cursor: Cursor) -> Cursor {
        match (self.plan.mode, self.queue.round()) {
            (QueryMode::Queue, Some(round)) => round.clone(),
            (QueryMode::Queue, None) => Cursor::default(),
            _ => cursor,
        }
    }

    /// The question for the page after a cursor.
    pub(super) fn question(&self, syntax: &dyn Syntax, after: &Cursor, limit: u32) -> Question {
        let plan = &self.plan;
        let id = after.id.as_ref();
        let limit = plan.id_column.is_some().then_some(limit);
        if plan.timestamp_column.is_some() {
            return Question::plain(statement::by_time(syntax, plan, after), limit);
        }
        if plan.mode != QueryMode::Incrementing || !self.gap.ledger {
            return Question::plain(statement::by_id(syntax, plan, id, None), limit);
        }
        let until = match self.ledger.reach(id.and_then(CursorValue::as_integer)) {
            Reach::Until(until) => Some(until),
            Reach::Contiguous => None,
        };
        Question {
            statements: statement::by_id(syntax, plan, id, until),
            limit,
            until,
            contiguous: until.is_none(),
        }
    }

    /// Tells the judge of a queue where a round begins.
    pub(super) fn judged_by<'a>(
        &self,
        judge: Option<&'a mut (dyn RowJudge + 'static)>,
    ) -> Option<&'a mut (dyn RowJudge + 'static)> {
        let judge = judge?;
        if self.queue.round().is_none() {
            judge.begin_round(&self.plan.table.schema);
        }
        Some(judge)
    }

    /// What decides about the rows of the answer.
    pub(super) fn rule(&mut self, question: &Question) -> (&PolledTable, PageRule<'_>) {
        let rule = match (&mut self.seen, self.plan.mode) {
            (Some(seen), _) => PageRule::News(seen),
            (None, QueryMode::Queue) => PageRule::Without(self.queue.in_flight()),
            (None, _) if question.contiguous => PageRule::Contiguous,
            (None, _) => PageRule::Plain,
        };
        (&self.plan, rule)
    }
}

// === impl Question ===

impl Question {
    /// Nothing but statements.
    pub(super) fn plain(statements: Vec<Statement>, limit: Option<u32>) -> Self {
        Self {
            statements,
            limit,
            until: None,
            contiguous: false,
        }
    }
}

// === impl Page ===

impl Page {
    /// What a page has become, of whose statements the database gave `returned` rows.
    pub(super) fn of(page: &mut PageWriter<'_>, returned: u32, question: &Question) -> Self {
        Self {
            cursor: page.cursor().clone(),
            more: page.has_more(returned, question.limit),
            before_gap: page.is_before_gap(),
            before_its_time: page.is_before_its_time(),
            settled_until: question.until,
            ids: page.take_ids(),
            held: page.has_held(),
        }
    }
}
