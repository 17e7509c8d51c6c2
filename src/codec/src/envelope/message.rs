//! Changes that are events already: key, payload and headers go out as they came in.

use tailrace_core::batch::{ChangeView, MessageView, Operation, PayloadView};
use tailrace_core::event::{EncodedBatch, EncodedRecord, HeaderName};

use crate::envelope::headers::{CellHeaders, RecordHeaders, SharedHeaders};
use crate::notation::Notation;
use crate::plan::{RowError, TablePlan, Written};

/// Appends the record of a change that is an event already. Its `op` is always `c`: that the row was there before the log
/// began, or was found by a query, says nothing about the event.
pub(crate) fn write_message<N: Notation>(
    output: &mut EncodedBatch,
    shared: &mut SharedHeaders,
    (plan, topic, is_framed): (&TablePlan, usize, bool),
    (change, message): (ChangeView<'_>, MessageView<'_>),
) -> Result<(), RowError> {
    let key = message.key().map(|key| output.append(key));
    let mut cells = CellHeaders::default();
    let value = match message.payload() {
        // The encoder hands out no record of what is refused.
        PayloadView::Absent | PayloadView::Refused(_) => None,
        PayloadView::Bytes(bytes) => Some(output.append(bytes)),
        PayloadView::Columns(columns) => {
            let start = output.buffer.len();
            if is_framed {
                let name = change.change().topic.as_ref().unwrap_or(&plan.publication.to.topic);
                let frame = plan
                    .routes
                    .payload(columns, name)
                    .ok_or_else(RowError::not_registered)?;
                output.buffer.extend_from_slice(&frame.open);
            }
            let written = match change.after() {
                Some(row) => plan.write_columns::<N>(&mut output.buffer, row, columns)?,
                None => {
                    N::syntax(&mut output.buffer, b"{}");
                    Written::default()
                }
            };
            let end = output.buffer.len();
            cells.unrepresentable = plan.name_unrepresentable(&mut output.buffer, &written);
            Some(start..end)
        }
    };
    let updated_at_us = change.updated_at_us();
    let headers = RecordHeaders {
        operation: Operation::Create,
        ordinal: change.change().ordinal,
        suffix: "",
        updated_at_us,
        cells,
        link: None,
        event_id: message.event_id().map(|id| output.append(id)),
    };
    let mut headers = shared.push(output, headers);
    for (name, value) in message.headers() {
        let name = HeaderName::Written(output.append(name.as_bytes()));
        let value = output.append(value);
        output.headers.push((name, value));
    }
    headers.end = output.headers.len();
    output.records.push(EncodedRecord {
        topic,
        key,
        value,
        headers,
        // Kafka refuses times before 1970; the header has the time itself.
        timestamp_ms: updated_at_us.div_euclid(1000).max(0),
    });
    Ok(())
}
