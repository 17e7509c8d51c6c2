//! Appending to the log of one topic.
//!
//! ```text
//!            committed           size
//!   ┌────────────┼────────────────┼ ─ ─ ─ ─ ─ ─ ┐
//!   │ told durable│ written        │ buffer       │ ─▶ next_offset
//!   └────────────┴────────────────┴ ─ ─ ─ ─ ─ ─ ┘
//! ```
//!
//! *After a failure* everything behind `committed` is cut off, and a new segment begins with offsets that were never
//! given: a reader may have seen the records that are gone, and must not find others in their place. The bytes must go
//! because after a failed sync nobody knows which of them are on the disk, and the next sync would not tell.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tailrace_core::event::{EncodedBatch, EncodedRecord};
use tailrace_core::failpoint;

use crate::error::{Failure, corrupt, newer};
use crate::record;
use crate::segment::{self, Beginning, Frames, HEADER_BYTES, Header, Segment, Step, Tail};
use crate::topic::sync_folder;

/// The active segment of a topic, open for appending.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) folder: PathBuf,
    active: Active,
    next_offset: u64,
    /// Records that were not written yet.
    buffer: Vec<u8>,
    /// Written, but not synced.
    unsynced: bool,
    /// The last rolling back did not succeed: nothing may be written before it does.
    broken: bool,
}

#[derive(Debug)]
struct Active {
    file: File,
    path: PathBuf,
    base: u64,
    /// Bytes written, header included.
    size: u64,
    /// Bytes that batches were told to be durable.
    committed: u64,
}

/// The active segment as it was found, and what follows its last record.
struct Found {
    active: Active,
    next_offset: u64,
}

// === impl Log ===

impl Log {
    /// Opens the log of a topic: repairs a torn tail, and never gives an offset below `floor`.
    pub(crate) fn open(folder: PathBuf, floor: u64) -> Result<Self, Failure> {
        let found = match find_active(&folder)? {
            Some(found) => found,
            None => Found {
                active: begin(
                    &folder,
                    Header {
                        base: floor,
                        previous_end: floor,
                    },
                )?,
                next_offset: floor,
            },
        };
        let Found { active, next_offset } = found;
        let mut log = Self {
            folder,
            active,
            next_offset,
            buffer: Vec::new(),
            unsynced: false,
            broken: false,
        };
        if floor > next_offset {
            tracing::warn!(
                folder = %log.folder.display(),
                end = next_offset,
                floor,
                "a consumer has stored an offset beyond the end of the log: going on behind it"
            );
            log.next_offset = floor;
            log.begin_after(next_offset)?;
        }
        Ok(log)
    }

    /// Makes ready for a group of batches: repairs what is broken, seals the segment when it is full. Says whether it
    /// sealed one.
    pub(crate) fn prepare(&mut self, segment_bytes: u64) -> Result<bool, Failure> {
        if self.broken {
            self.roll_back()?;
        }
        let full = self.active.size >= segment_bytes;
        if full { self.roll().map(|()| true) } else { Ok(false) }
    }

    /// Takes a record; nothing is written yet.
    pub(crate) fn append(&mut self, batch: &EncodedBatch, record: &EncodedRecord) {
        record::append_record(&mut self.buffer, self.next_offset, batch, record);
        self.next_offset += 1;
    }

    /// Writes what was appended.
    pub(crate) fn write(&mut self) -> Result<(), Failure> {
        failpoint!(torn SegmentWrite, {
            let half = self.buffer.get(..self.buffer.len() / 2).unwrap_or_default();
            drop(self.active.file.write_all_at(half, self.active.size));
        });
        let written = self.active.file.write_all_at(&self.buffer, self.active.size);
        written.map_err(|error| self.unwritable(&error))?;
        self.active.size += u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        self.buffer.clear();
        self.unsynced = true;
        Ok(())
    }

    /// Makes what was written survive a power cut.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        if self.unsynced {
            self.active.file.sync_data().map_err(|error| self.unwritable(&error))?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// What was written will be told durable.
    pub(crate) fn commit(&mut self) {
        self.active.committed = self.active.size;
    }

    /// Takes back everything since the last commit; the offsets are gone.
    pub(crate) fn roll_back(&mut self) -> Result<(), Failure> {
        self.buffer.clear();
        self.broken = true;
        let cut = self
            .active
            .file
            .set_len(self.active.committed)
            .and_then(|()| self.active.file.sync_data());
        cut.map_err(|error| self.unwritable(&error))?;
        let end = committed_end(&self.active)?;
        if self.next_offset > end {
            self.begin_after(end)?;
        }
        self.unsynced = false;
        self.broken = false;
        Ok(())
    }

    /// Seals the active segment and begins the next; does nothing where it has no records.
    pub(crate) fn roll(&mut self) -> Result<(), Failure> {
        if self.next_offset == self.active.base {
            return Ok(());
        }
        // Readers trust a sealed segment: it is synced whatever the policy is.
        self.sync()?;
        self.begin_after(self.next_offset)
    }

    /// When the active segment was last written to; `None` where it has no records.
    pub(crate) fn last_write(&self) -> Option<SystemTime> {
        let written = self.active.size > HEADER_BYTES;
        written
            .then(|| {
                self.active
                    .file
                    .metadata()
                    .and_then(|metadata| metadata.modified())
                    .ok()
            })
            .flatten()
    }

    fn begin_after(&mut self, previous_end: u64) -> Result<(), Failure> {
        self.active = begin(
            &self.folder,
            Header {
                base: self.next_offset,
                previous_end,
            },
        )?;
        Ok(())
    }

    fn unwritable(&self, error: &io::Error) -> Failure {
        Failure::unwritable(&self.active.path, error)
    }
}

/// The offset behind the last committed record: counted anew, because it is needed only after a failure.
fn committed_end(active: &Active) -> Result<u64, Failure> {
    let unwritable = |error: io::Error| Failure::unwritable(&active.path, &error);
    let file = File::open(&active.path).map_err(unwritable)?;
    let mut frames = Frames::new(
        file,
        Header {
            base: active.base,
            previous_end: active.base,
        },
    );
    while let Step::Record(_) = frames.next().map_err(unwritable)? {}
    Ok(frames.next_offset())
}

/// Makes a new segment, with its name and header on the disk.
fn begin(folder: &Path, header: Header) -> Result<Active, Failure> {
    let path = segment::path_of(folder, header.base);
    let made = (|| {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        failpoint!(SegmentRoll);
        file.write_all_at(&header.encode(), 0)?;
        file.sync_all()?;
        sync_folder(folder)?;
        Ok(file)
    })();
    match made {
        Ok(file) => Ok(Active {
            file,
            path,
            base: header.base,
            size: HEADER_BYTES,
            committed: HEADER_BYTES,
        }),
        Err(error) => {
            // Best effort: a half-made segment is removed at the next start too.
            fs::remove_file(&path).ok();
            Err(Failure::unwritable(&path, &error))
        }
    }
}

/// The newest segment with a header, scanned to its end; half-made ones are removed.
fn find_active(folder: &Path) -> Result<Option<Found>, Failure> {
    let mut segments = segment::list(folder).map_err(|error| Failure::unwritable(folder, &error))?;
    while let Some(Segment { base, path }) = segments.pop() {
        let unwritable = |error: io::Error| Failure::unwritable(&path, &error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(unwritable)?;
        match Header::read(&file).map_err(unwritable)? {
            Beginning::Header(header) if header.base == base => return scan(file, path, header).map(Some),
            Beginning::Newer(format) => return Err(newer(&path, format)),
            Beginning::Header(_) | Beginning::Foreign => {
                return Err(corrupt(&path, 0, "its header is not that of this segment"));
            }
            Beginning::Short(length) => {
                tracing::warn!(segment = %path.display(), length, "a segment that was never finished is removed");
                fs::remove_file(&path)
                    .and_then(|()| sync_folder(folder))
                    .map_err(unwritable)?;
            }
        }
    }
    Ok(None)
}

/// Reads the active segment to its end and cuts off a torn tail.
fn scan(file: File, path: PathBuf, header: Header) -> Result<Found, Failure> {
    let unwritable = |error: io::Error| Failure::unwritable(&path, &error);
    let mut frames = Frames::new(file.try_clone().map_err(unwritable)?, header);
    let end = loop {
        match frames.next().map_err(unwritable)? {
            Step::Record(_) => {}
            end => break end,
        }
    };
    let size = frames.position();
    match frames.tail(&end).map_err(unwritable)? {
        Tail::Whole => {}
        Tail::Torn(bytes) => {
            tracing::warn!(segment = %path.display(), at_byte = size, bytes, "a torn tail is cut off: it was never durable");
            file.set_len(size).and_then(|()| file.sync_all()).map_err(unwritable)?;
        }
        Tail::Damaged(damage) => return Err(corrupt(&path, size, &damage.to_string())),
    }
    let next_offset = frames.next_offset();
    Ok(Found {
        active: Active {
            file,
            path,
            base: header.base,
            size,
            committed: size,
        },
        next_offset,
    })
}
