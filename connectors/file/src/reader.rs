//! Following the log of one topic, from any process, while it is written.
//!
//! A segment is sealed when a later one is there; it never changes again, so that whatever is not whole in it is damage.
//! In the active segment, what is not whole is not written yet. The order is what makes this right: look for a later
//! segment *first*, then read the current one to its end, then move on.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tailrace_core::ports::StartOffset;
use tailrace_core::{Error, Result};

use crate::error::{self, corrupt, newer, unreadable};
use crate::record::{Record, record_of};
use crate::segment::{self, Beginning, Frames, Header, Segment, Step, Tail};

/// Reads one topic from an offset on.
#[derive(Debug)]
pub(crate) struct TopicReader {
    topic: Arc<str>,
    folder: PathBuf,
    /// The first offset that was not handed out.
    next_offset: u64,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    base: u64,
    path: PathBuf,
    frames: Frames,
}

// === impl TopicReader ===

impl TopicReader {
    /// A reader that begins at an offset.
    pub(crate) fn new(topic: &str, folder: PathBuf, next_offset: u64) -> Self {
        Self {
            topic: topic.into(),
            folder,
            next_offset,
            current: None,
        }
    }

    /// The topic's name.
    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The first offset that was not handed out.
    pub(crate) fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Whether nothing was deleted that this reader would begin with.
    pub(crate) fn can_begin(&mut self) -> Result<bool> {
        match self.locate() {
            Ok(_) => Ok(true),
            Err(error) if error.code() == error::OUT_OF_RANGE => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Hands records that are there to `take`, up to a number of records and of bytes: each with its offset, and the bytes
    /// that it lies in. Returns how many there were.
    pub(crate) fn read(
        &mut self,
        limit: usize,
        bytes_max: usize,
        mut take: impl FnMut(&Arc<str>, i64, Record<'_>, &Bytes),
    ) -> Result<usize> {
        let (mut count, mut bytes) = (0, 0);
        while count < limit && bytes < bytes_max {
            let Some(frame) = self.next_frame()? else { break };
            bytes += frame.len();
            let damaged = |finding: &str| self.damaged(&frame, finding);
            let record = record_of(&frame).map_err(|damage| damaged(&damage.to_string()))?;
            let offset = i64::try_from(record.offset);
            let offset = offset.map_err(|_| damaged("its offset is beyond all offsets"))?;
            // Its segment may begin with records that were handed out before.
            if record.offset >= self.next_offset {
                self.next_offset = record.offset + 1;
                take(&self.topic, offset, record, &frame);
                count += 1;
            }
        }
        Ok(count)
    }

    /// The next whole record, whichever segment it is in; `None` where there is none yet.
    fn next_frame(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.current.is_none() && !self.locate()? {
                return Ok(None);
            }
            let Some(current) = self.current.as_mut() else {
                return Ok(None);
            };
            let failed = |error| unreadable(&current.path, error);
            if let Step::Record(frame) = current.frames.next().map_err(failed)? {
                return Ok(Some(frame));
            }
            let failed = |error| unreadable(&self.folder, error);
            let later = segment::list(&self.folder)
                .map_err(failed)?
                .into_iter()
                .find(|later| later.base > current.base);
            // Once more: it may have been written to before the later one was made.
            let failed = |error| unreadable(&current.path, error);
            let end = match current.frames.next().map_err(failed)? {
                Step::Record(frame) => return Ok(Some(frame)),
                end => end,
            };
            if end != Step::End {
                must_be_unfinished(current, &end, later.is_some())?;
            }
            match later {
                None => return Ok(None),
                Some(later) => {
                    let reached = current.frames.next_offset();
                    if !self.enter(later, reached)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Finds the segment that holds the next offset; `false` where there is none yet.
    fn locate(&mut self) -> Result<bool> {
        let mut segments = segment::list(&self.folder).map_err(|error| unreadable(&self.folder, error))?;
        let behind = segments.partition_point(|segment| segment.base <= self.next_offset);
        if segments.is_empty() {
            return Ok(false);
        }
        let wanted = segments.swap_remove(behind.saturating_sub(1));
        self.enter(wanted, self.next_offset)
    }

    /// Begins a segment, where nothing is missing between what was `reached` and its first record; `false` where its
    /// header is not written yet, or where it was deleted this moment.
    fn enter(&mut self, segment: Segment, reached: u64) -> Result<bool> {
        let file = match File::open(&segment.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.current = None;
                return Ok(false);
            }
            Err(error) => return Err(unreadable(&segment.path, error)),
        };
        let Some(header) = header_of(&file, &segment)? else {
            return Ok(false);
        };
        if reached < header.previous_end {
            return Err(self.out_of_range(reached, header.base));
        }
        self.current = Some(Current {
            base: segment.base,
            path: segment.path,
            frames: Frames::new(file, header),
        });
        Ok(true)
    }

    /// The record that was read last is not what was written.
    fn damaged(&self, frame: &Bytes, finding: &str) -> Error {
        let (path, end) = match &self.current {
            Some(current) => (current.path.as_path(), current.frames.position()),
            None => (self.folder.as_path(), 0),
        };
        corrupt(path, end.saturating_sub(length(frame)), finding).error()
    }

    fn out_of_range(&self, wanted: u64, first: u64) -> Error {
        let message = format!(
            "topic {} in {} begins at offset {first} and the consumer is at {wanted}: what lies between was deleted; give \
             the stream a longer retention, and let this consumer begin anew from a snapshot or from offset {first}",
            self.topic,
            self.folder.display()
        );
        Error::definite(error::OUT_OF_RANGE, message)
    }
}

/// The end of the active segment may be a record that is being written, or torn; it may not be damage, and a sealed
/// segment may not have such an end at all.
fn must_be_unfinished(current: &Current, end: &Step, sealed: bool) -> Result<()> {
    let tail = current
        .frames
        .tail(end)
        .map_err(|error| unreadable(&current.path, error))?;
    let finding = match (tail, sealed) {
        (Tail::Damaged(damage), _) => damage.to_string(),
        (Tail::Torn(_), true) => "it ends within a record, although it was finished".to_owned(),
        (Tail::Torn(_) | Tail::Whole, false) | (Tail::Whole, true) => return Ok(()),
    };
    Err(corrupt(&current.path, current.frames.position(), &finding).error())
}

/// The first offset that is there, and the one that the next record will have. Reads the last segment.
pub(crate) fn bounds(folder: &Path) -> Result<Range<u64>> {
    let segments = segment::list(folder).map_err(|error| unreadable(folder, error))?;
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return Ok(0..0);
    };
    Ok(first.base..end_of(last)?)
}

/// The offset that a reader begins at that has none stored.
pub(crate) fn start_offset(folder: &Path, start: StartOffset) -> Result<u64> {
    let segments = segment::list(folder).map_err(|error| unreadable(folder, error))?;
    match start {
        StartOffset::Earliest => Ok(segments.first().map_or(0, |segment| segment.base)),
        StartOffset::Latest => bounds(folder).map(|bounds| bounds.end),
    }
}

/// The offset behind the last whole record of the active segment. What is torn there was never durable; damage is no end, or whoever
/// is behind it would be told that the topic had lost its end.
fn end_of(segment: &Segment) -> Result<u64> {
    let failed = |error| unreadable(&segment.path, error);
    let file = File::open(&segment.path).map_err(failed)?;
    let Some(header) = header_of(&file, segment)? else {
        return Ok(segment.base);
    };
    let mut active = Current {
        base: segment.base,
        path: segment.path.clone(),
        frames: Frames::new(file, header),
    };
    let end = loop {
        match active.frames.next().map_err(failed)? {
            Step::Record(_) => {}
            end => break end,
        }
    };
    must_be_unfinished(&active, &end, false)?;
    Ok(active.frames.next_offset())
}

/// What a segment begins with; `None` where that is not written yet.
fn header_of(file: &File, segment: &Segment) -> Result<Option<Header>> {
    match Header::read(file).map_err(|error| unreadable(&segment.path, error))? {
        Beginning::Header(header) if header.base == segment.base => Ok(Some(header)),
        Beginning::Newer(format) => Err(newer(&segment.path, format).error()),
        Beginning::Header(_) | Beginning::Foreign => {
            Err(corrupt(&segment.path, 0, "its header is not that of this segment").error())
        }
        Beginning::Short(_) => Ok(None),
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
