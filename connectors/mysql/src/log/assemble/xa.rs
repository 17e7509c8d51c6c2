//! XA transactions: their rows stand where they were prepared, and count where they are decided.

use bytes::Bytes;
use tailrace_core::{Error, Result, failpoint};

use super::{Assembler, Next, no_transaction};
use crate::decode::{Event, EventHeader};
use crate::position::{FileOffset, PendingXa, Xid};

impl Assembler {
    /// An event of a transaction that was prepared earlier, read again: only its rows count.
    pub(super) fn prepared(&mut self, event: &Event<'_>, body: &Bytes, place: &FileOffset) -> Result<Next> {
        match event {
            Event::TableMap(map) => self.tables.define(map, body),
            Event::Rows(rows) => self.begin_rows(rows, body, place)?,
            Event::TransactionPayload(payload) => self.begin_payload(payload, body, place)?,
            Event::XaPrepare(_) => {
                self.reads_prepared = false;
                self.idle_payload = self.payload.take().or(self.idle_payload.take());
                let end = self.at.clone();
                let open = self.open.take().ok_or_else(|| no_transaction(&end))?;
                self.close(open, end)?;
                return Ok(Next::PreparedWasRead);
            }
            _ => {}
        }
        Ok(Next::Continue)
    }

    /// The transaction waits for its decision; the position says where.
    pub(super) fn finish_prepare(&mut self, header: &EventHeader) -> Result<()> {
        let end = self.end_of(header);
        let Some(open) = self.open.take() else {
            return Err(no_transaction(&end));
        };
        let Some(xid) = open.prepared.clone() else {
            return Err(no_transaction(&end));
        };
        failpoint!(try InTransaction);
        self.position.pending.push(PendingXa {
            xid,
            at: open.start.clone(),
        });
        self.close(open, end)
    }

    pub(super) fn rolled_back_prepared(&mut self, xid: Xid, header: &EventHeader) -> Result<()> {
        if let Some(open) = &mut self.open {
            open.decides = Some(xid);
        }
        self.finish(header)
    }

    /// The rows stand where the transaction was prepared.
    pub(super) fn decided(&mut self, xid: &Xid, start: &FileOffset) -> Result<Next> {
        let pending = self.position.pending.iter().find(|pending| pending.xid == *xid);
        let Some(prepared) = pending else {
            return Err(Error::definite(
                "xa_unknown",
                format!(
                    "the XA transaction {xid} is committed at {start} and was prepared before the log was begun, so that its rows are not known; \
                     `tailrace forget` the connector to read the tables anew"
                ),
            ));
        };
        let at = prepared.at.clone();
        if let Some(open) = &mut self.open {
            open.decides = Some(xid.clone());
        }
        self.reads_prepared = true;
        Ok(Next::ReadPrepared(at))
    }

    /// Its rows were passed over, because nothing said at their start that it would not be prepared first.
    pub(super) fn commit_in_one_phase(&mut self) -> Next {
        match &mut self.open {
            Some(open) if open.prepared.is_some() => {
                open.prepared = None;
                self.reads_prepared = true;
                Next::ReadPrepared(open.start.clone())
            }
            _ => Next::Continue,
        }
    }
}
