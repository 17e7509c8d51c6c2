//! The group of events that is read now: a transaction, or a statement that commits by itself.

use std::sync::Arc;

use crate::decode::{self, EventHeader, XaPhase};
use crate::position::gtid::Gtid;
use crate::position::mariadb_gtid::MariaDbGtid;
use crate::position::mysql_gtid::{GtidSource, MySqlGtid};
use crate::position::{FileOffset, Xid};

/// The group of events that is being read.
pub(super) struct OpenTransaction {
    /// Where its first event starts.
    pub(super) start: FileOffset,
    pub(super) gtid: Option<Gtid>,
    /// Its identifier, or else the place of its first event.
    pub(super) name: Arc<str>,
    pub(super) committed_at_us: i64,
    pub(super) server_id: u32,
    pub(super) thread_id: Option<u32>,
    /// A BEGIN was seen: it ends with a COMMIT of some kind.
    pub(super) begun: bool,
    /// The rows stand for a prepare: they are handed out when it is decided.
    pub(super) prepared: Option<Xid>,
    /// It commits or rolls back this prepared transaction.
    pub(super) decides: Option<Xid>,
    /// Ordinals below are covered already.
    pub(super) covered: u64,
    /// Rows events so far.
    pub(super) row_events: u64,
    /// Ordinal after the last row that was handed out or passed over.
    pub(super) done: u64,
    /// Rows of it were handed out.
    pub(super) emitted: bool,
    /// A sink wrote it that is left out.
    pub(super) left_out: bool,
    /// Its index in the batch that is being filled.
    pub(super) index: Option<usize>,
}

/// What the first event of a group says.
pub(super) struct Group {
    pub(super) gtid: Option<Gtid>,
    pub(super) committed_at_us: i64,
    pub(super) server_id: u32,
    pub(super) prepared: Option<Xid>,
    pub(super) begun: bool,
}

// === impl Group ===

impl Group {
    /// Servers without identifiers: the transaction begins with its BEGIN.
    pub(super) fn of_header(header: &EventHeader) -> Self {
        Self {
            gtid: None,
            committed_at_us: i64::from(header.timestamp_s) * 1_000_000,
            server_id: header.server_id,
            prepared: None,
            begun: false,
        }
    }

    /// The time of the commit on the server where it was first made, to the microsecond where that server says so (8.0.1 and later).
    pub(super) fn of_mysql(gtid: &decode::Gtid<'_>, header: &EventHeader) -> Self {
        let microseconds = gtid.original_commit_timestamp_us.or(gtid.commit_timestamp_us);
        let microseconds = microseconds.and_then(|at| i64::try_from(at).ok());
        let plain = Self::of_header(header);
        Self {
            gtid: (!gtid.anonymous).then(|| Gtid::MySql(mysql_gtid(gtid))),
            committed_at_us: microseconds.unwrap_or(plain.committed_at_us),
            ..plain
        }
    }

    pub(super) fn of_mariadb(gtid: &decode::MariaDbGtid<'_>, header: &EventHeader) -> Self {
        Self {
            gtid: Some(Gtid::MariaDb(MariaDbGtid {
                domain: gtid.domain,
                server: header.server_id,
                sequence: gtid.sequence_number,
            })),
            prepared: match gtid.xa {
                Some(XaPhase::Prepared(xid)) => Some(owned_xid(xid)),
                Some(XaPhase::Completed(_)) | None => None,
            },
            // Its first event is the group's BEGIN as well.
            begun: !gtid.standalone,
            ..Self::of_header(header)
        }
    }
}

fn mysql_gtid(gtid: &decode::Gtid<'_>) -> MySqlGtid {
    MySqlGtid {
        source: GtidSource {
            uuid: gtid.server_uuid,
            tag: gtid.tag.unwrap_or_default().to_owned(),
        },
        number: gtid.number,
    }
}

/// The name of an XA transaction, to be kept.
pub(super) fn owned_xid(xid: decode::Xid<'_>) -> Xid {
    Xid {
        format: xid.format,
        global: xid.global.to_vec(),
        branch: xid.branch.to_vec(),
    }
}
