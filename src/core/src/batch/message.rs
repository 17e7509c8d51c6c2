//! A change that is an event already, because a row of an outbox says what to publish: key, payload and headers are parts of
//! the batch's own buffers, and the encoder hands them on byte for byte.

use std::sync::Arc;

use super::{BatchFull, Cell, ChangeBatch, ChangeView, Row, Span, index};

/// A run of bytes in one of a batch's buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part(Place);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Text(Span),
    Bytes(Span),
}

/// Why a change cannot be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable name in snake case.
    pub code: &'static str,
    /// What, where, remedy, in a sentence.
    pub reason: String,
}

/// What an event's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: a tombstone.
    Absent,
    /// There is none, because the row is no event.
    Refused(Arc<Refusal>),
    /// These bytes.
    Part(Part),
    /// An object of these columns of the change's row after, by index, encoded like any other row.
    Columns(Arc<[usize]>),
}

/// What is published for a change in place of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The record's key; without one the record has none.
    pub key: Option<Part>,
    /// The record's value.
    pub payload: Payload,
    /// What the event calls itself; without it, it is known by the position of its change.
    pub event_id: Option<Part>,
}

/// Where a change's message is kept in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageIndex(u32);

/// Messages of a batch, and the headers of all of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Messages {
    messages: Vec<Stored>,
    headers: Vec<(Part, Part)>,
}

#[derive(Debug, Clone)]
struct Stored {
    message: Message,
    /// Index of the first header after the message's own.
    headers_end: usize,
}

/// The message of a change.
#[derive(Debug, Clone, Copy)]
pub struct MessageView<'a> {
    batch: &'a ChangeBatch,
    message: &'a Message,
    headers: &'a [(Part, Part)],
}

/// What an event's value is, with its bytes at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadView<'a> {
    /// Nothing: a tombstone.
    Absent,
    /// There is none, because the row is no event.
    Refused(&'a Refusal),
    /// These bytes.
    Bytes(&'a [u8]),
    /// An object of these columns of the change's row after, by index.
    Columns(&'a [usize]),
}

// === impl Messages ===

impl Messages {
    /// Memory that they take beside the values, bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.messages.len() * size_of::<Stored>() + self.headers.len() * size_of::<(Part, Part)>()
    }

    fn headers_begin(&self, index: usize) -> usize {
        let before = index.checked_sub(1).and_then(|before| self.messages.get(before));
        before.map_or(0, |before| before.headers_end)
    }
}

// === impl ChangeBatch ===

impl ChangeBatch {
    /// The bytes of a cell that holds characters or raw bytes, where they are; `None` for any other cell.
    pub fn part_of(&self, row: Row, column: usize) -> Option<Part> {
        match self.row_cells(row).get(column)? {
            Cell::Text(span) => Some(Part(Place::Text(*span))),
            Cell::Bytes(span) => Some(Part(Place::Bytes(*span))),
            _ => None,
        }
    }

    /// Bytes that `write` appends to the batch's byte buffer, for what is made and not in a row.
    ///
    /// # Errors
    /// [`BatchFull`] where the batch has no room for them.
    pub fn write_part(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<Part, BatchFull> {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let span = Span::of(start, self.bytes.len().saturating_sub(start))?;
        Ok(Part(Place::Bytes(span)))
    }

    /// The bytes of a part of this batch.
    pub fn part(&self, part: Part) -> &[u8] {
        match part.0 {
            Place::Text(span) => self.text.as_bytes().get(span.range()).unwrap_or_default(),
            Place::Bytes(span) => self.bytes.get(span.range()).unwrap_or_default(),
        }
    }

    /// A header of the message that is pushed next. A name that is not UTF-8 leaves the header out.
    pub fn push_message_header(&mut self, name: Part, value: Part) {
        self.messages.headers.push((name, value));
    }

    /// Forgets the headers that were pushed for a message that is not.
    pub fn abandon_message(&mut self) {
        let kept = self.messages.headers_begin(self.messages.messages.len());
        self.messages.headers.truncate(kept);
    }

    /// Adds a message, with the headers that were pushed since the one before.
    ///
    /// # Errors
    /// [`BatchFull`] where there are 2³² already.
    pub fn push_message(&mut self, message: Message) -> Result<MessageIndex, BatchFull> {
        let at = index(self.messages.messages.len())?;
        let headers_end = self.messages.headers.len();
        self.messages.messages.push(Stored { message, headers_end });
        Ok(MessageIndex(at))
    }
}

// === impl ChangeView ===

impl<'a> ChangeView<'a> {
    /// What is published in place of the row, where the change is an event already.
    pub fn message(&self) -> Option<MessageView<'a>> {
        let at = self.change.message?.0 as usize;
        let messages = &self.batch.messages;
        let stored = messages.messages.get(at)?;
        let headers = messages.headers.get(messages.headers_begin(at)..stored.headers_end);
        Some(MessageView {
            batch: self.batch,
            message: &stored.message,
            headers: headers.unwrap_or_default(),
        })
    }
}

// === impl MessageView ===

impl<'a> MessageView<'a> {
    /// The record's key.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.message.key.map(|part| self.batch.part(part))
    }

    /// The record's value.
    pub fn payload(&self) -> PayloadView<'a> {
        match &self.message.payload {
            Payload::Absent => PayloadView::Absent,
            Payload::Refused(refusal) => PayloadView::Refused(refusal),
            Payload::Part(part) => PayloadView::Bytes(self.batch.part(*part)),
            Payload::Columns(columns) => PayloadView::Columns(columns),
        }
    }

    /// What the event calls itself.
    pub fn event_id(&self) -> Option<&'a [u8]> {
        self.message.event_id.map(|part| self.batch.part(part))
    }

    /// The message's own headers, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let batch = self.batch;
        self.headers.iter().filter_map(move |(name, value)| {
            let name = std::str::from_utf8(batch.part(*name)).ok()?;
            Some((name, batch.part(*value)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BeforeImage, Change, Operation};
    use crate::position::{Position, Progress};

    fn change(row: Row, message: MessageIndex) -> Change {
        Change {
            operation: Operation::Create,
            table: 0,
            transaction: 0,
            before: None,
            before_image: BeforeImage::None,
            after: Some(row),
            ordinal: 0,
            log_position: None,
            updated_at_us: None,
            topic: None,
            message: Some(message),
        }
    }

    #[test]
    fn messages_keep_their_headers_apart() {
        let mut batch = ChangeBatch::new("test".into(), Progress::at(Position::new("0")));
        for text in ["one", "two"] {
            batch.begin_row().unwrap();
            batch.push_text(text).unwrap();
            batch.push_bytes(&[0, 255]).unwrap();
            batch.push_int(7);
            let row = batch.end_row().unwrap();
            let name = batch.write_part(|out| out.extend_from_slice(b"name")).unwrap();
            let value = batch.part_of(row, 0).unwrap();
            batch.push_message_header(name, value);
            batch.abandon_message();
            batch.push_message_header(name, value);
            let message = batch.push_message(Message {
                key: batch.part_of(row, 0),
                payload: Payload::Part(batch.part_of(row, 1).unwrap()),
                event_id: batch.part_of(row, 2),
            });
            batch.changes.push(change(row, message.unwrap()));
        }
        let read: Vec<_> = batch
            .views()
            .map(|change| {
                let message = change.message().unwrap();
                let headers: Vec<_> = message.headers().collect();
                (message.key(), message.payload(), message.event_id(), headers)
            })
            .collect();
        let expected = |text: &'static str| {
            let headers = vec![("name", text.as_bytes())];
            (Some(text.as_bytes()), PayloadView::Bytes(&[0, 255]), None, headers)
        };
        assert_eq!(read, [expected("one"), expected("two")]);
    }
}
