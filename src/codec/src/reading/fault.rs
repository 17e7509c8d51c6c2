//! What is wrong with a record, for people.

use tailrace_core::batch::{BatchFull, Refusal};
use tailrace_core::record_batch::RecordView;

/// Code of a record that is not what it should be.
pub(crate) const UNREADABLE: &str = "record_unreadable";
/// Code of a value that its field's type cannot have.
pub(crate) const VALUE_UNREADABLE: &str = "value_unreadable";
/// Code of a number that may be several times.
pub(crate) const TIME_UNIT_UNKNOWN: &str = "time_unit_unknown";
/// Code of text that may be several decimals.
pub(crate) const DECIMAL_UNKNOWN: &str = "decimal_form_unknown";
/// Code of a record that its envelope does not fit.
pub(crate) const NO_ENVELOPE: &str = "envelope_missing";
/// Code of a record with neither key nor value.
pub(crate) const EMPTY: &str = "record_empty";
/// Code of a record whose schema nobody knows.
pub(crate) const SCHEMA_UNKNOWN: &str = "schema_unknown";
/// Code of a record whose schema cannot be read.
pub(crate) const SCHEMA_UNUSABLE: &str = "schema_unusable";
/// Code of a batch that has no more room; no fault of a record.
pub(crate) const BATCH_FULL: &str = "batch_full";

/// What is wrong with a record, or with the value of one of its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    /// Continues "the key of the record …", "the value of the record …" or "field … of the value of the record …".
    pub(crate) problem: &'static str,
    /// A whole sentence without a full stop.
    pub(crate) remedy: &'static str,
}

/// The result of reading.
pub(crate) type Read<T> = Result<T, Fault>;

/// What of a record a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
    /// Neither by itself.
    Whole,
}

/// A fault, and the field that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) fault: Fault,
    /// `None` where whoever knows it has not said it yet.
    pub(crate) part: Option<Part>,
    pub(crate) field: Option<Box<str>>,
    /// What else there is to say.
    pub(crate) detail: Option<Box<str>>,
}

pub(crate) const FULL: Fault = Fault {
    code: BATCH_FULL,
    problem: "does not fit into the batch, which holds at most 4 GiB of values",
    remedy: "set batch.bytes of the sink to less",
};
pub(crate) const NO_BOOLEAN: Fault = Fault::value("is neither true nor false");
pub(crate) const OUT_OF_RANGE: Fault = Fault::value("is out of the range of its type");

const WRITER: &str = "correct what writes it, or set the record aside with dead_letters";

// === impl Fault ===

impl Fault {
    /// A value that its type cannot have.
    pub(crate) const fn value(problem: &'static str) -> Self {
        Self {
            code: VALUE_UNREADABLE,
            problem,
            remedy: WRITER,
        }
    }

    /// A record that is not what it should be.
    pub(crate) const fn record(problem: &'static str) -> Self {
        Self {
            code: UNREADABLE,
            problem,
            remedy: WRITER,
        }
    }

    /// With what else there is to say.
    #[cold]
    pub(crate) fn because(self, detail: &str) -> Located {
        Located {
            detail: Some(detail.into()),
            ..self.into()
        }
    }

    /// Of neither key nor value alone.
    #[cold]
    pub(crate) fn of_whole(self) -> Located {
        Located {
            part: Some(Part::Whole),
            ..self.into()
        }
    }

    /// Of a field.
    #[cold]
    pub(crate) fn of(self, field: &str) -> Located {
        Located {
            field: Some(field.into()),
            ..self.into()
        }
    }
}

impl From<BatchFull> for Fault {
    fn from(_: BatchFull) -> Self {
        FULL
    }
}

// === impl Located ===

impl From<Fault> for Located {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            part: None,
            field: None,
            detail: None,
        }
    }
}

impl Located {
    /// In a part of the record, where nobody has said another.
    #[cold]
    pub(crate) fn within(mut self, part: Part) -> Self {
        self.part.get_or_insert(part);
        self
    }

    /// The sentence: what, where, remedy.
    #[cold]
    pub(crate) fn refusal(&self, record: RecordView<'_>) -> Refusal {
        let partition = record.partition();
        let place = format!(
            "the record of topic {}, partition {}, offset {}",
            partition.topic,
            partition.partition,
            record.offset()
        );
        let part = match self.part {
            Some(Part::Key) => "the key of ",
            Some(Part::Value) => "the value of ",
            Some(Part::Whole) | None => "",
        };
        let what = match &self.field {
            Some(field) => format!("field {field} of {part}{place}"),
            None => format!("{part}{place}"),
        };
        let detail = self
            .detail
            .as_ref()
            .map(|detail| format!(" ({detail})"))
            .unwrap_or_default();
        Refusal {
            code: self.fault.code,
            reason: format!("{what} {}{detail}; {}", self.fault.problem, self.fault.remedy),
        }
    }
}
