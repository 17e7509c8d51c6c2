//! Every type vector, through every codec, and back. What is published again is the same bytes; and where a format says what a value
//! is, the cell is the same cell.

use std::sync::Arc;

use tailrace_codec::{Codec, DecimalFormat, DecoderSettings, EncoderSettings, Envelope, EventEncoder};
use tailrace_core::batch::Operation;
use tailrace_core::event::EncodedBatch;
use tailrace_core::ports::Encoder;
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::schema::{Column, SharedSchema};
use tailrace_core::testkit::MemoryRegistry;
use tailrace_core::value::{Datum, LogicalType, TextKind};

use super::support::*;
use crate::support::*;

/// How a value is written beside what its format says.
const WRITTEN: [(Codec, bool); 4] = [
    (Codec::Json, false),
    (Codec::Json, true),
    (Codec::JsonSchema, false),
    (Codec::Avro, false),
];

/// Codes of values that may be several things, and are not guessed.
const UNDECIDED: [&str; 2] = ["time_unit_unknown", "decimal_form_unknown"];

/// A value goes through every codec and comes back.
pub(crate) fn comes_back(logical_type: &LogicalType, datum: &Datum, settings: &EncoderSettings) {
    for (codec, inline_schema) in WRITTEN {
        let mut settings = settings.clone();
        settings.format.codec = codec;
        settings.format.inline_schema = inline_schema;
        if let Some(problem) = differs(logical_type, datum, &settings) {
            panic!(
                "{codec:?} inline {inline_schema} {:?} {logical_type:?} {datum:?}: {problem}",
                settings.format
            );
        }
    }
}

/// What is wrong with what comes back, where anything is.
fn differs(logical_type: &LogicalType, datum: &Datum, settings: &EncoderSettings) -> Option<String> {
    let source = table(vec![column("v", logical_type.clone())], vec![]);
    let mut batch = Batch::new(&source);
    batch.change(Operation::Create, None, Some(&[Cell::Is(datum.clone())]));
    let registry: Arc<dyn SchemaRegistry> = Arc::new(MemoryRegistry::default());
    // A form that the codec does not have, or that has no room for the value.
    let encoded = encode(&batch, settings, &registry)?;
    let decoder = DecoderSettings {
        connector: "mirror".into(),
        envelope: None,
        format: settings.format.clone(),
        registry: Some(registry),
        contract: None,
        key_columns: Vec::new(),
    };
    let has_schema = settings.format.codec != Codec::Json || settings.format.inline_schema;
    let events = decode_with(decoder, Some(&source), &records(&encoded));
    if let Some(refused) = events.refused.first() {
        let is_undecided = !has_schema && UNDECIDED.contains(&refused.refusal.code);
        // A double is no integer of 64 bits any more.
        let is_double =
            *logical_type == LogicalType::UnsignedInt64 && settings.format.decimal == Some(DecimalFormat::Double);
        if is_double {
            return None;
        }
        return (!is_undecided).then(|| refused.refusal.reason.clone());
    }
    let change = events.changes.views().next().unwrap();
    let (read, value) = (change.table().unwrap(), change.after().unwrap().get(0));
    let column = &read.columns[0];
    let value = value.to_datum().unwrap();
    if let Some(problem) = written_again((column, &value), &encoded, (logical_type, settings)) {
        return Some(problem);
    }
    let expected = kept(logical_type, datum, (&column.logical_type, settings));
    (expected.as_ref().is_some_and(|expected| !same(expected, &value)))
        .then(|| format!("{value:?} of {:?} came back, not {expected:?}", column.logical_type))
}

fn encode(batch: &Batch, settings: &EncoderSettings, registry: &Arc<dyn SchemaRegistry>) -> Option<EncodedBatch> {
    let settings = EncoderSettings {
        registry: Some(Arc::clone(registry)),
        ..settings.clone()
    };
    let mut encoder = EventEncoder::new(settings).ok()?.with_clock(clock);
    run(encoder.prepare(&batch.changes)).ok()?;
    encoder.encode(&batch.changes).and_then(EncodedBatch::complete).ok()
}

/// Publishes what came back: the same bytes, whatever type it came back as. Only where a type is another are they not: figures of
/// PostgreSQL come back as geometries, and decimals as doubles are decimals again.
fn written_again(
    (column, value): (&Column, &Datum),
    encoded: &EncodedBatch,
    (logical_type, settings): (&LogicalType, &EncoderSettings),
) -> Option<String> {
    let (of, read) = (innermost(logical_type), innermost(&column.logical_type));
    let is_figure = |logical_type: &LogicalType| matches!(logical_type, LogicalType::Shape(_));
    let is_other = is_figure(of) != is_figure(read);
    // Text would be written as text: its bytes are those of the text of bytes.
    let is_opaque = *of == LogicalType::Text(TextKind::Opaque);
    // What is text has as many digits as its column declares; what comes back declares six.
    let is_shorter = matches!(
        of,
        LogicalType::TimestampTz { precision } | LogicalType::Time { precision } | LogicalType::TimeTz { precision }
        | LogicalType::Timestamp { precision } if *precision < 6
    );
    // They come back as decimals of another declaration.
    let is_money = matches!(of, LogicalType::Money | LogicalType::UnsignedInt64);
    if is_other || is_opaque || is_shorter || is_money || settings.format.codec == Codec::Avro {
        return None;
    }
    let schema: SharedSchema = table(vec![column.clone()], vec![]);
    let mut again = Batch::new(&schema);
    again.change(Operation::Create, None, Some(&[Cell::Is(value.clone())]));
    let mut settings = settings.clone();
    (settings.format.codec, settings.format.inline_schema) = (Codec::Json, false);
    let registry: Arc<dyn SchemaRegistry> = Arc::new(MemoryRegistry::default());
    let text = |encoded: &EncodedBatch| {
        let value = encoded.records.first()?.value.as_ref()?;
        let text = String::from_utf8_lossy(encoded.slice(value)).into_owned();
        let start = text.find("{\"v\":")?;
        let row = text.get(start..)?;
        let row = row.split_once("},\"source\":").map_or(row, |(row, _)| row);
        Some(row.trim_end_matches('}').to_owned())
    };
    let (first, second) = (
        text(encoded),
        encode(&again, &settings, &registry).and_then(|again| text(&again)),
    );
    (first != second).then(|| format!("{second:?} is published again, not {first:?}"))
}

/// The type of an array's elements, however many dimensions it has.
fn innermost(logical_type: &LogicalType) -> &LogicalType {
    match logical_type {
        LogicalType::Array(element) => innermost(element),
        other => other,
    }
}

/// The cell that must come back: none where the format does not say so much.
fn kept(
    logical_type: &LogicalType,
    datum: &Datum,
    (read, settings): (&LogicalType, &EncoderSettings),
) -> Option<Datum> {
    let is_debezium = settings.format.envelope == Envelope::Debezium;
    if std::mem::discriminant(logical_type) != std::mem::discriminant(read) || !is_default(settings) {
        return None;
    }
    match logical_type {
        // A month is a part of a year there, an offset is UTC's, and zeros at either end are not written.
        LogicalType::Interval | LogicalType::TimeTz { .. } if is_debezium => None,
        LogicalType::Decimal { scale: None, .. } if is_debezium => None,
        LogicalType::Bits { length: None } if is_debezium => None,
        // Finer digits than the column declares are not written.
        LogicalType::Time { precision }
        | LogicalType::TimeTz { precision }
        | LogicalType::Timestamp { precision }
        | LogicalType::TimestampTz { precision }
            if *precision < 6 =>
        {
            None
        }
        LogicalType::Array(element) => match (datum, read) {
            (Datum::Text(_), _) => Some(datum.clone()),
            (_, LogicalType::Array(read)) => kept(element, &Datum::Null, (read, settings)).map(|_| datum.clone()),
            _ => None,
        },
        _ => Some(datum.clone()),
    }
}

/// The format is the envelope's own.
fn is_default(settings: &EncoderSettings) -> bool {
    let format = &settings.format;
    format.time.is_none()
        && format.decimal.is_none()
        && format.interval.is_none()
        && format.hstore.is_none()
        && format.opaque.is_none()
}

/// Equal, and not a number where that is so.
fn same(left: &Datum, right: &Datum) -> bool {
    match (left, right) {
        (Datum::Float32(left), Datum::Float32(right)) => {
            left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
        }
        (Datum::Float64(left), Datum::Float64(right)) => {
            left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
        }
        (Datum::List(left), Datum::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        _ => left == right,
    }
}
