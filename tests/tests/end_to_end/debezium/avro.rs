//! Records of Avro as text: each with its schema around it, as Connect's JSON converter has it with inline schemas.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use apache_avro::Schema;
use tailrace_codec::{parse_avro_schema, read_avro};
use tailrace_tests::servers::Registry;

/// What a record begins with: a zero byte, and the number of its schema.
const FRAME: usize = 5;

/// The schemas of a registry, asked for once each.
pub(super) struct Schemas<'a> {
    registry: &'a Registry,
    known: RefCell<BTreeMap<u32, Rc<Known>>>,
}

struct Known {
    text: String,
    schema: Schema,
}

// === impl Schemas ===

impl<'a> Schemas<'a> {
    pub(super) fn of(registry: &'a Registry) -> Schemas<'a> {
        Schemas {
            registry,
            known: RefCell::default(),
        }
    }

    /// `{"schema": …, "payload": …}` of a key or value.
    pub(super) fn text(&self, bytes: &[u8]) -> String {
        let (frame, payload) = bytes.split_at(FRAME);
        assert_eq!(frame[0], 0, "a record of Avro begins with a zero byte");
        let schema = self.schema(u32::from_be_bytes([frame[1], frame[2], frame[3], frame[4]]));
        let value = read_avro(&schema.schema, None, payload).unwrap();
        format!(r#"{{"schema":{},"payload":{value}}}"#, schema.text)
    }

    fn schema(&self, number: u32) -> Rc<Known> {
        let mut known = self.known.borrow_mut();
        let known = known.entry(number).or_insert_with(|| {
            let text = self.registry.schema(number).unwrap();
            let schema = parse_avro_schema(&text).unwrap();
            Rc::new(Known { text, schema })
        });
        Rc::clone(known)
    }
}
