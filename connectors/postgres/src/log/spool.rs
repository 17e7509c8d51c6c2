//! Transactions that are still open on the server: their messages, held until they commit, on disk beyond a bound.
//!
//! With protocol version 2 and later the server sends a large transaction while it runs, in chunks, and only at the end says
//! whether it committed. Nothing of it may be published before, an aborted subtransaction's changes never, and the abort
//! message may never come on this connection (its log record is not flushed): a spool is not state, it is dropped with the
//! connection and the server sends everything again.
//!
//! Layout of a spool, in memory and in the file alike: `[subtransaction u32][LSN u64][length u32][message]` one behind the other.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tailrace_core::{Error, Result, failpoint};

use crate::position::Lsn;

/// Of one entry, before the message.
const HEADER_BYTES: usize = 16;
/// Written to a file at a time.
const WRITE_BYTES: usize = 256 * 1024;

/// All open transactions of a connection.
pub(crate) struct Spools {
    open: HashMap<u32, Spool>,
    memory_bytes: usize,
    memory_bytes_maximum: usize,
    folder: PathBuf,
}

/// One open transaction.
#[derive(Default)]
pub(crate) struct Spool {
    tail: Vec<u8>,
    file: Option<File>,
    aborted: HashSet<u32>,
}

/// The messages of a transaction that committed, in order, without those of aborted subtransactions.
pub(crate) struct Replay {
    file: Option<BufReader<File>>,
    tail: std::io::Cursor<Vec<u8>>,
    aborted: HashSet<u32>,
    message: Vec<u8>,
}

/// One message of a replay.
pub(crate) struct Replayed<'a> {
    /// Where it stands in the log.
    pub(crate) lsn: Lsn,
    /// It belongs to a subtransaction that was rolled back: only its table definitions count.
    pub(crate) aborted: bool,
    /// As it came.
    pub(crate) message: &'a [u8],
}

// === impl Spools ===

impl Spools {
    /// Nothing is open.
    pub(crate) fn new(memory_bytes_maximum: usize, folder: &Path) -> Self {
        Self {
            open: HashMap::new(),
            memory_bytes: 0,
            memory_bytes_maximum,
            folder: folder.to_owned(),
        }
    }

    /// No transaction is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Adds a message of a transaction (`top`), sent for one of its subtransactions or itself.
    pub(crate) fn push(&mut self, top: u32, subtransaction: u32, lsn: Lsn, message: &[u8]) -> Result<()> {
        let length = u32::try_from(message.len())
            .map_err(|_| Error::definite("source_protocol", "a message of the log is larger than 4 GiB"))?;
        let tail = &mut self.open.entry(top).or_default().tail;
        tail.extend_from_slice(&subtransaction.to_le_bytes());
        tail.extend_from_slice(&lsn.0.to_le_bytes());
        tail.extend_from_slice(&length.to_le_bytes());
        tail.extend_from_slice(message);
        self.memory_bytes += HEADER_BYTES + message.len();
        if self.memory_bytes > self.memory_bytes_maximum {
            self.spill()?;
        }
        Ok(())
    }

    /// Moves what every transaction holds in memory to its file.
    fn spill(&mut self) -> Result<()> {
        failpoint!(try SpoolSpill);
        for spool in self.open.values_mut() {
            spool.spill(&self.folder)?;
        }
        self.memory_bytes = 0;
        Ok(())
    }

    /// A subtransaction was rolled back, or the whole transaction where both are the same.
    pub(crate) fn abort(&mut self, top: u32, subtransaction: u32) {
        if top == subtransaction {
            if let Some(spool) = self.open.remove(&top) {
                self.memory_bytes = self.memory_bytes.saturating_sub(spool.tail.len());
            }
            return;
        }
        if let Some(spool) = self.open.get_mut(&top) {
            spool.aborted.insert(subtransaction);
        }
    }

    /// The transaction committed: its messages, to be read once. One that nothing was sent for has none.
    pub(crate) fn commit(&mut self, top: u32) -> Result<Replay> {
        let spool = self.open.remove(&top).unwrap_or_default();
        self.memory_bytes = self.memory_bytes.saturating_sub(spool.tail.len());
        spool.replay()
    }
}

// === impl Spool ===

impl Spool {
    fn spill(&mut self, folder: &Path) -> Result<()> {
        if self.tail.is_empty() {
            return Ok(());
        }
        let full = |error: std::io::Error| {
            let message = format!(
                "a large transaction cannot be held in {}; free some space or set `spill_path`",
                folder.display()
            );
            Error::transient("spill_unwritable", message).with_source(error)
        };
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(unnamed_file(folder).map_err(full)?),
        };
        for part in self.tail.chunks(WRITE_BYTES) {
            file.write_all(part).map_err(full)?;
        }
        // Given back to the system, not kept for the next chunk: the bound is for all transactions together.
        self.tail = Vec::new();
        Ok(())
    }

    fn replay(mut self) -> Result<Replay> {
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        }
        Ok(Replay {
            file: self.file.map(|file| BufReader::with_capacity(WRITE_BYTES, file)),
            tail: std::io::Cursor::new(self.tail),
            aborted: self.aborted,
            message: Vec::new(),
        })
    }
}

/// A file without a name is gone with the process, however that ends.
fn unnamed_file(folder: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!(
        "tailrace-{}-{:x}.spill",
        std::process::id(),
        tailrace_core::telemetry::now_us()
    ));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn unreadable(error: std::io::Error) -> Error {
    Error::transient(
        "spill_unreadable",
        "a large transaction that was held on disk cannot be read back",
    )
    .with_source(error)
}

// === impl Replay ===

impl Replay {
    /// The next message; `None` after the last.
    pub(crate) fn next_message(&mut self) -> Result<Option<Replayed<'_>>> {
        let mut header = [0; HEADER_BYTES];
        if !self.read_header(&mut header)? {
            return Ok(None);
        }
        let [s0, s1, s2, s3, lsn @ .., l0, l1, l2, l3] = header;
        let subtransaction = u32::from_le_bytes([s0, s1, s2, s3]);
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        self.message.resize(usize::try_from(length).unwrap_or_default(), 0);
        match &mut self.file {
            Some(file) => file.read_exact(&mut self.message),
            None => self.tail.read_exact(&mut self.message),
        }
        .map_err(unreadable)?;
        Ok(Some(Replayed {
            lsn: Lsn(u64::from_le_bytes(lsn)),
            aborted: self.aborted.contains(&subtransaction),
            message: &self.message,
        }))
    }

    /// Reads from the file first, then from the tail that never left memory. False at the end of both.
    fn read_header(&mut self, header: &mut [u8; HEADER_BYTES]) -> Result<bool> {
        if let Some(file) = &mut self.file {
            match file.read_exact(header) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => self.file = None,
                Err(error) => return Err(unreadable(error)),
            }
        }
        match self.tail.read_exact(header) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(unreadable(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(mut replay: Replay) -> Vec<(u64, bool, Vec<u8>)> {
        let mut messages = Vec::new();
        while let Some(replayed) = replay.next_message().unwrap() {
            messages.push((replayed.lsn.0, replayed.aborted, replayed.message.to_vec()));
        }
        messages
    }

    #[test]
    fn order_survives_the_way_over_disk() {
        for memory_bytes_maximum in [0, 100, 1 << 20] {
            let folder = tempfile::tempdir().unwrap();
            let mut spools = Spools::new(memory_bytes_maximum, folder.path());
            let expected: Vec<_> = (0..100_u64)
                .map(|n| (n, n % 3 == 1, vec![7; usize::try_from(n).unwrap()]))
                .collect();
            for (lsn, aborted, message) in &expected {
                let subtransaction = if *aborted { 11 } else { 10 };
                spools.push(10, subtransaction, Lsn(*lsn), message).unwrap();
                spools.push(20, 20, Lsn(*lsn), b"other").unwrap();
            }
            spools.abort(10, 11);
            spools.abort(20, 20);
            assert_eq!(messages(spools.commit(10).unwrap()), expected);
            assert!(spools.is_empty());
            assert_eq!(spools.memory_bytes, 0);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_transaction_without_messages_is_empty() {
        let mut spools = Spools::new(0, Path::new("/nonexistent"));
        assert!(messages(spools.commit(7).unwrap()).is_empty());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let mut spools = Spools::new(0, Path::new("/proc/nonexistent"));
        let error = spools.push(1, 1, Lsn(1), b"x").unwrap_err();
        assert!(error.report().contains("/proc/nonexistent"), "{}", error.report());
    }
}
