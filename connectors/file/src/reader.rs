//! Following the log of one topic, from any process, while it is written.
//!
//! A segment is sealed when a later one is there; it never changes again, so that whatever is not whole in it is damage.
//! In the active segment, what is not whole is not written yet. The order is what makes this right: look for a later
//! segment *first*, then read the current one to its end, then move on.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tailrace_core::event::StreamRecord;
use tailrace_core::ports::StartOffset;
use tailrace_core::{Error, Result};

use crate::error::{self, corrupt, unreadable};
use crate::record::parse_record;
use crate::segment::{self, Frames, Header, Segment, Step, Tail};

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

    /// Adds records that are there, up to a number of records and of bytes.
    pub(crate) fn read(&mut self, limit: usize, bytes_max: usize, records: &mut Vec<StreamRecord>) -> Result<()> {
        let mut bytes = 0;
        while records.len() < limit && bytes < bytes_max {
            let Some(frame) = self.next_frame()? else { break };
            bytes += frame.len();
            if let Some(record) = self.record(&frame)? {
                records.push(record);
            }
        }
        Ok(())
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
        let header = match Header::read(&file).map_err(|error| unreadable(&segment.path, error))? {
            Ok(Some(header)) if header.base == segment.base => header,
            Ok(_) => return Err(corrupt(&segment.path, 0, "its header is not that of this segment").error()),
            Err(_) => return Ok(false),
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

    /// The record, where it was not handed out before.
    fn record(&mut self, frame: &Bytes) -> Result<Option<StreamRecord>> {
        let path = self
            .current
            .as_ref()
            .map_or(self.folder.as_path(), |current| current.path.as_path());
        let at_byte = self
            .current
            .as_ref()
            .map_or(0, |current| current.frames.position())
            .saturating_sub(length(frame));
        let parsed = parse_record(frame).map_err(|damage| corrupt(path, at_byte, &damage.to_string()).error())?;
        let Some((record, _)) = parsed.filter(|(record, _)| record.offset >= self.next_offset) else {
            return Ok(None);
        };
        let offset = i64::try_from(record.offset);
        let offset = offset.map_err(|_| corrupt(path, at_byte, "its offset is beyond all offsets").error())?;
        let headers = record
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), frame.slice_ref(value)));
        self.next_offset = record.offset + 1;
        Ok(Some(StreamRecord {
            topic: Arc::clone(&self.topic),
            partition: 0,
            offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(|key| frame.slice_ref(key)),
            value: record.value.map(|value| frame.slice_ref(value)),
            headers: headers.collect(),
        }))
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

/// The offset that a reader begins at that has none stored.
pub(crate) fn start_offset(folder: &Path, start: StartOffset) -> Result<u64> {
    let segments = segment::list(folder).map_err(|error| unreadable(folder, error))?;
    match start {
        StartOffset::Earliest => Ok(segments.first().map_or(0, |segment| segment.base)),
        StartOffset::Latest => match segments.last() {
            None => Ok(0),
            Some(last) => end_of(last).map_err(|error| unreadable(&last.path, error)),
        },
    }
}

/// The offset behind the last whole record of a segment.
fn end_of(segment: &Segment) -> io::Result<u64> {
    let file = File::open(&segment.path)?;
    let Ok(Some(header)) = Header::read(&file)? else {
        return Ok(segment.base);
    };
    let mut frames = Frames::new(file, header);
    while let Step::Record(_) = frames.next()? {}
    Ok(frames.next_offset())
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
