//! What travels inside CopyData while a slot is streamed.
//!
//! - from the server: `w` · start u64 · end u64 · sent at i64 · payload; `k` · end u64 · sent at i64 · reply wanted u8
//! - to the server: `r` · written u64 · flushed u64 · applied u64 · sent at i64 · reply wanted u8

use super::DecodeError;
use super::reader::{POSTGRES_EPOCH_US, Reader};

const XLOG_DATA_TAG: u8 = b'w';
const KEEPALIVE_TAG: u8 = b'k';
const STATUS_UPDATE_TAG: u8 = b'r';

/// Length of a standby status update, bytes.
pub(crate) const STATUS_UPDATE_BYTES: usize = 34;

/// One frame from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplicationFrame<'a> {
    /// A piece of the log: one message of the output plugin.
    XLogData(XLogData<'a>),
    /// A sign of life.
    Keepalive(Keepalive),
}

/// One message of the output plugin, with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct XLogData<'a> {
    /// Position of the record that the message stands for; 0 for messages that stand for none.
    pub(crate) start_lsn: u64,
    /// End of the server's log at the time of sending.
    pub(crate) end_lsn: u64,
    /// When it was sent, microseconds since 1970, UTC.
    pub(crate) sent_at_us: i64,
    /// The message, for [`super::parse`].
    pub(crate) payload: &'a [u8],
}

/// The server says how far it is, and perhaps asks the same of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keepalive {
    /// Up to here everything was sent.
    pub(crate) end_lsn: u64,
    /// When it was sent, microseconds since 1970, UTC.
    pub(crate) sent_at_us: i64,
    /// Answer at once, or the server will hang up.
    pub(crate) reply_requested: bool,
}

/// How far we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatusUpdate {
    /// Received up to here.
    pub(crate) written_lsn: u64,
    /// Durable up to here: what the slot may forget.
    pub(crate) flushed_lsn: u64,
    /// Applied up to here.
    pub(crate) applied_lsn: u64,
    /// Our clock, microseconds since 1970, UTC.
    pub(crate) sent_at_us: i64,
    /// Ask the server to answer with a keepalive.
    pub(crate) reply_requested: bool,
}

/// Reads the content of one CopyData message of a replication stream.
pub(crate) fn parse(frame: &[u8]) -> Result<ReplicationFrame<'_>, DecodeError> {
    match frame.split_first() {
        Some((&XLOG_DATA_TAG, body)) => XLogData::parse(body).map(ReplicationFrame::XLogData),
        Some((&KEEPALIVE_TAG, body)) => Keepalive::parse(body).map(ReplicationFrame::Keepalive),
        Some((&tag, _)) => Err(DecodeError::Invalid {
            message: "replication",
            field: "tag",
            value: i64::from(tag),
        }),
        None => Err(DecodeError::empty("replication")),
    }
}

// === impl XLogData ===

impl<'a> XLogData<'a> {
    #[inline]
    fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("XLogData", body);
        Ok(Self {
            start_lsn: reader.u64()?,
            end_lsn: reader.u64()?,
            sent_at_us: reader.moment_us()?,
            payload: reader.rest(),
        })
    }
}

// === impl Keepalive ===

impl Keepalive {
    fn parse(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("keepalive", body);
        let keepalive = Self {
            end_lsn: reader.u64()?,
            sent_at_us: reader.moment_us()?,
            reply_requested: reader.u8()? != 0,
        };
        reader.finish().map(|()| keepalive)
    }
}

// === impl StatusUpdate ===

impl StatusUpdate {
    /// Content of the CopyData message that carries it.
    pub(crate) fn encode(&self) -> [u8; STATUS_UPDATE_BYTES] {
        let sent_at = self.sent_at_us.saturating_sub(POSTGRES_EPOCH_US).to_be_bytes();
        let mut frame = [0; STATUS_UPDATE_BYTES];
        let parts = [
            [STATUS_UPDATE_TAG].as_slice(),
            &self.written_lsn.to_be_bytes(),
            &self.flushed_lsn.to_be_bytes(),
            &self.applied_lsn.to_be_bytes(),
            &sent_at,
            &[u8::from(self.reply_requested)],
        ];
        frame.iter_mut().zip(parts.concat()).for_each(|(to, from)| *to = from);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xlog_data() {
        let frame = b"w\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x20\0\0\0\0\0\0\0\x05E";
        let expected = XLogData {
            start_lsn: 16,
            end_lsn: 32,
            sent_at_us: 946_684_800_000_005,
            payload: b"E",
        };
        assert_eq!(parse(frame), Ok(ReplicationFrame::XLogData(expected)));
        for end in 0..frame.len() - 1 {
            assert!(parse(&frame[..end]).is_err(), "accepted {end} bytes");
        }
    }

    #[test]
    fn keepalive() {
        let frame = b"k\0\0\0\0\0\0\0\x20\0\0\0\0\0\0\0\x05\x01";
        let expected = Keepalive {
            end_lsn: 32,
            sent_at_us: 946_684_800_000_005,
            reply_requested: true,
        };
        assert_eq!(parse(frame), Ok(ReplicationFrame::Keepalive(expected)));
        for end in 0..frame.len() {
            assert!(parse(&frame[..end]).is_err(), "accepted {end} bytes");
        }
        assert!(parse(&[frame.as_slice(), b"\0"].concat()).is_err());
        assert!(parse(b"z").is_err());
    }

    #[test]
    fn status_update() {
        let update = StatusUpdate {
            written_lsn: 3,
            flushed_lsn: 2,
            applied_lsn: 1,
            sent_at_us: 946_684_800_000_007,
            reply_requested: false,
        };
        let expected = b"r\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x07\0";
        assert_eq!(&update.encode(), expected);
    }
}
