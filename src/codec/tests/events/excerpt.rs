//! A change that is encoded by itself, for people who look.

use tailrace_core::batch::Operation;
use tailrace_core::ports::Encoder;

use super::support::{Batch, customers, encoder, int, text};

const FORMAT: &str = r#"{"envelope": "debezium", "codec": "json"}"#;

#[test]
fn it_is_the_same_by_itself_and_leaves_no_trace_in_the_encoder() {
    let mut batch = Batch::new(&customers());
    for id in 0..500 {
        batch.change(Operation::Create, None, Some(&[int(id), text("Ada"), text("x")]));
    }
    let batch = batch.changes;
    let mut encoder = encoder(FORMAT);
    drop(encoder.encode(&batch).unwrap());
    let before = encoder.encode(&batch).unwrap();
    let one = batch.views().nth(7).unwrap().excerpt().unwrap();
    let shown = encoder.encode(&one).unwrap();
    let value = |encoded: &tailrace_core::event::EncodedBatch, index: usize| {
        let record = &encoded.records[index];
        encoded.slice(record.value.as_ref().unwrap()).to_vec()
    };
    assert_eq!(value(&shown, 0), value(&before, 7));
    let after = encoder.encode(&batch).unwrap();
    assert_eq!(
        after.buffer.capacity(),
        before.buffer.capacity(),
        "as much room as before"
    );
}
