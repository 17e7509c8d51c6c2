//! When a file of the log was opened: what tells it from another of the same name.

use mysql_async::Opts;

use crate::decode::event_type::FORMAT_DESCRIPTION;
use crate::log::dump::{BinlogDump, DumpError, DumpStart};

/// Where the first event of a file is: behind the magic number.
pub(crate) const FIRST_EVENT_OFFSET: u64 = 4;

/// The second in which the server opened a file, from the first event in it. No statement tells it.
pub(crate) async fn file_started_s(options: &Opts, file: &str, server_id: u32) -> Result<u32, DumpError> {
    let start = DumpStart::File {
        file: file.to_owned(),
        offset: FIRST_EVENT_OFFSET,
    };
    let mut dump = BinlogDump::start(options, &start, server_id).await?;
    loop {
        // Before it only comes the artificial event that names the file.
        let event = dump.next().await?;
        if event.header.event_type == FORMAT_DESCRIPTION {
            return Ok(event.header.timestamp_s);
        }
    }
}
