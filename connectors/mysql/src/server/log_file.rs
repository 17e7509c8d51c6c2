//! How a file of the log begins: what tells it from another of the same name, and what was executed before.

use tailrace_core::Result;

use crate::decode::{self, Event, event_type};
use crate::log::dump::{BinlogDump, DumpError, DumpStart};
use crate::log::dumps::Dumps;

/// Behind the magic number of a file.
pub(crate) const FIRST_EVENT_OFFSET: u64 = 4;

const DOING: &str = "read the beginning of a file of the log";

/// What the first events of a file say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileHead {
    /// The second in which the server opened the file.
    pub(crate) started_s: u32,
    /// It is the first file since the server was started: the one before was ended by a shutdown or a crash.
    pub(crate) begins_a_run: bool,
    /// What was executed before (MariaDB); `None` where the file ends before it says so.
    pub(crate) executed: Option<decode::GtidList>,
}

/// The second in which the server opened a file, from the first event in it. No statement tells it.
pub(crate) async fn file_started_s(dumps: &Dumps, file: &str) -> Result<u32> {
    let mut dump = dumps.start(&at_its_beginning(file), DOING).await?;
    let head = head(&mut dump, false).await;
    let head = head.map_err(|error| dumps.error(&error, dump.replica(), DOING))?;
    Ok(head.started_s)
}

/// Everything that a file of MariaDB's says before its first transaction.
pub(crate) async fn file_head(dumps: &Dumps, file: &str) -> Result<FileHead> {
    let mut dump = dumps.start(&at_its_beginning(file), DOING).await?;
    let head = head(&mut dump, true).await;
    head.map_err(|error| dumps.error(&error, dump.replica(), DOING))
}

pub(crate) fn at_its_beginning(file: &str) -> DumpStart {
    DumpStart::File {
        file: file.to_owned(),
        offset: FIRST_EVENT_OFFSET,
    }
}

async fn head(dump: &mut BinlogDump, wants_list: bool) -> Result<FileHead, DumpError> {
    let mut head: Option<FileHead> = None;
    loop {
        let event = dump.next().await?;
        // Before the description only comes the artificial event that names the file.
        match (event.header.event_type, &mut head) {
            (event_type::FORMAT_DESCRIPTION, None) => {
                let created = match decode::parse(&event.header, &event.body)? {
                    Event::FormatDescription(description) => description.created_seconds,
                    _ => 0,
                };
                let described = FileHead {
                    started_s: event.header.timestamp_s,
                    begins_a_run: created != 0,
                    executed: None,
                };
                if !wants_list {
                    return Ok(described);
                }
                head = Some(described);
            }
            (event_type::GTID_LIST, Some(head)) => {
                if let Event::GtidList(list) = decode::parse(&event.header, &event.body)? {
                    head.executed = Some(list);
                }
                return Ok(head.clone());
            }
            // A transaction, or another file: there is no list.
            (event_type::MARIADB_GTID | event_type::ROTATE, Some(head)) => return Ok(head.clone()),
            _ => {}
        }
    }
}
