//! One change of a batch by itself, with nothing of the values of the others.

use std::sync::Arc;

use super::{BatchFull, ChangeBatch, ChangeView, Message, MessageIndex, Payload, PayloadView, Row, RowView};
use crate::value::Value;

impl ChangeView<'_> {
    /// A batch of the one change: what it is encoded as in its own batch it is encoded as in this one.
    ///
    /// # Errors
    /// [`BatchFull`] never, as it found room in the batch that it is of.
    pub fn excerpt(&self) -> Result<ChangeBatch, BatchFull> {
        let mut one = ChangeBatch::new(Arc::clone(&self.batch.identity), self.batch.progress.clone());
        one.is_incremental = self.batch.is_incremental;
        // All versions of the tables, so that whoever keeps something by them keeps all of it.
        one.tables.clone_from(&self.batch.tables);
        let mut change = self.change.clone();
        if let Some(transaction) = self.transaction() {
            change.transaction = one.push_transaction(transaction.clone());
        }
        change.before = self.before().map(|row| one.push_row(row)).transpose()?;
        change.after = self.after().map(|row| one.push_row(row)).transpose()?;
        change.message = one.push_message_of(self)?;
        one.changes.push(change);
        Ok(one)
    }
}

impl ChangeBatch {
    fn push_row(&mut self, row: RowView<'_>) -> Result<Row, BatchFull> {
        self.begin_row()?;
        for value in row.iter() {
            self.push_value(value)?;
        }
        self.end_row()
    }

    fn push_value(&mut self, value: Value<'_>) -> Result<(), BatchFull> {
        match value {
            Value::Null => self.push_null(),
            Value::Unchanged => self.push_unchanged(),
            Value::Boolean(value) => self.push_boolean(value),
            Value::Int(value) => self.push_int(value),
            Value::Float32(value) => self.push_float32(value),
            Value::Float64(value) => self.push_float64(value),
            Value::TimeTz(value) => self.push_time_tz(value),
            Value::Interval(value) => self.push_interval(value)?,
            Value::Text(value) => self.push_text(value)?,
            Value::Bytes(value) => self.push_bytes(value)?,
            Value::List(values) => {
                self.begin_list();
                for value in values.iter() {
                    self.push_value(value)?;
                }
                self.end_list()?;
            }
        }
        Ok(())
    }

    fn push_message_of(&mut self, view: &ChangeView<'_>) -> Result<Option<MessageIndex>, BatchFull> {
        let Some(message) = view.message() else {
            return Ok(None);
        };
        let mut part = |bytes: &[u8]| self.write_part(|out| out.extend_from_slice(bytes));
        let key = message.key().map(&mut part).transpose()?;
        let event_id = message.event_id().map(&mut part).transpose()?;
        let payload = match message.payload() {
            PayloadView::Absent => Payload::Absent,
            PayloadView::Refused(refusal) => Payload::Refused(refusal.clone().into()),
            PayloadView::Bytes(bytes) => Payload::Part(part(bytes)?),
            PayloadView::Columns(columns) => Payload::Columns(columns.into()),
        };
        let headers = message
            .headers()
            .map(|(name, value)| Ok((part(name.as_bytes())?, part(value)?)));
        let headers = headers.collect::<Result<Vec<_>, BatchFull>>()?;
        for (name, value) in headers {
            self.push_message_header(name, value);
        }
        let message = Message { key, payload, event_id };
        self.push_message(message).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BeforeImage, Change, Operation, Transaction};
    use crate::position::{Position, Progress};
    use crate::value::Interval;

    fn transaction(position: &str) -> Transaction {
        Transaction {
            id: None,
            committed_at_us: 7,
            position: position.into(),
            log_position: None,
            previous_log_position: None,
            binlog: None,
        }
    }

    fn push_row(batch: &mut ChangeBatch, text: &str) -> Row {
        batch.begin_row().unwrap();
        batch.push_text(text).unwrap();
        batch.push_bytes(&[0, 255]).unwrap();
        batch
            .push_interval(Interval {
                months: 1,
                days: 2,
                microseconds: 3,
            })
            .unwrap();
        batch.push_unchanged();
        batch.begin_list();
        batch.push_text("element").unwrap();
        batch.begin_list();
        batch.push_int(4);
        batch.end_list().unwrap();
        batch.end_list().unwrap();
        batch.end_row().unwrap()
    }

    #[test]
    fn a_change_by_itself_is_the_same_and_takes_nothing_of_the_others() {
        let mut batch = ChangeBatch::new("test".into(), Progress::at(Position::new("9")));
        let large = "x".repeat(1 << 20);
        for (position, text) in [("1", &*large), ("2", "one"), ("3", &*large)] {
            let transaction = batch.push_transaction(transaction(position));
            let (before, after) = (push_row(&mut batch, text), push_row(&mut batch, text));
            let name = batch.write_part(|out| out.extend_from_slice(b"name")).unwrap();
            let value = batch.part_of(after, 0).unwrap();
            batch.push_message_header(name, value);
            let message = batch.push_message(Message {
                key: batch.part_of(after, 0),
                payload: Payload::Part(batch.part_of(after, 1).unwrap()),
                event_id: None,
            });
            batch.changes.push(Change {
                operation: Operation::Update,
                table: 0,
                transaction,
                before: Some(before),
                before_image: BeforeImage::Full,
                after: Some(after),
                ordinal: 5,
                log_position: None,
                updated_at_us: None,
                topic: None,
                message: Some(message.unwrap()),
            });
        }
        let chosen = batch.views().nth(1).unwrap();
        let one = chosen.excerpt().unwrap();
        assert!(one.size_bytes() < 4096, "{} bytes", one.size_bytes());
        assert!(one.has_unchanged());
        let copy = one.views().next().unwrap();
        for (copy, row) in [(copy.before(), chosen.before()), (copy.after(), chosen.after())] {
            let (copy, row) = (copy.unwrap(), row.unwrap());
            assert_eq!(copy.iter().collect::<Vec<_>>(), row.iter().collect::<Vec<_>>());
        }
        assert_eq!(
            copy.transaction().unwrap().position,
            chosen.transaction().unwrap().position
        );
        let (copy, message) = (copy.message().unwrap(), chosen.message().unwrap());
        assert_eq!((copy.key(), copy.payload()), (message.key(), message.payload()));
        assert_eq!(
            copy.headers().collect::<Vec<_>>(),
            message.headers().collect::<Vec<_>>()
        );
    }
}
