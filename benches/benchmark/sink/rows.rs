//! The rows of W4: thirteen columns and about 200 bytes, as events have them and as the limit writes them.
//!
//! Every value follows from the row's number and the pass, so that what the target must hold in the end is known without being asked for.

use std::sync::Arc;

use tailrace_core::Result;
use tailrace_core::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Operation, Transaction};
use tailrace_core::event::time_text;
use tailrace_core::position::{Position, Progress};
use tailrace_core::schema::{Column, SharedSchema, TableKind, TableName, TableSchema};
use tailrace_core::value::{LogicalType, TextKind};

/// The table, in the target too.
pub(super) const TABLE: &str = "parcels";

/// The columns in their order; the first one is the key.
pub(super) const COLUMNS: [&str; 13] = [
    "id",
    "customer",
    "depot",
    "pieces",
    "weight_grams",
    "status",
    "price",
    "updated_on",
    "reference",
    "receiver",
    "street",
    "city",
    "note",
];

/// What is asked of the target to know that it has everything, in both dialects.
pub(super) const TOTALS: &str = "select count(*), sum(pieces), sum(price), sum(weight_grams), count(note) from parcels";

const CITIES: [&str; 6] = [
    "Amsterdam",
    "Braunschweig",
    "Coimbra",
    "Dresden",
    "Edinburgh",
    "Fredrikstad",
];

/// 2024-01-01, microseconds since 1970.
const BEGIN_US: i64 = 1_704_067_200_000_000;

/// An odd prime, and far from any number of rows: steps of it visit every row once, each far from the one before.
const STRIDE: u64 = 2_654_435_761;

/// Which of a row's two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// The target is empty, and rows come in the order of their keys.
    New,
    /// Every row is there and becomes another one, in an order of which the index has nothing.
    Changed,
}

/// One row.
pub(super) struct Parcel {
    id: i64,
    customer: i64,
    depot: i64,
    pieces: i64,
    weight_grams: i64,
    status: i64,
    price_cents: i64,
    updated_on_us: i64,
    reference: String,
    receiver: String,
    street: String,
    city: &'static str,
    note: Option<String>,
}

/// What rows add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) rows: i64,
    pieces: i64,
    price_cents: i64,
    weight_grams: i64,
    notes: i64,
    /// Of their values as text, separators included.
    pub(super) bytes: u64,
}

// === impl Pass ===

impl Pass {
    /// As topics and raw figures have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Pass::New => "new",
            Pass::Changed => "changed",
        }
    }

    /// The rows in the order in which they are written, `rows` in all.
    pub(super) fn parcels(self, rows: u64) -> impl Iterator<Item = Parcel> {
        (0..rows).map(move |number| match self {
            Pass::New => Parcel::new(self, number + 1),
            Pass::Changed => Parcel::new(self, number.wrapping_mul(STRIDE) % rows + 1),
        })
    }
}

// === impl Parcel ===

impl Parcel {
    fn new(pass: Pass, number: u64) -> Parcel {
        let version: i64 = match pass {
            Pass::New => 0,
            Pass::Changed => 1,
        };
        let id = i64::try_from(number).unwrap_or(i64::MAX);
        let mixed = mix(number.wrapping_mul(2).wrapping_add(version.unsigned_abs()));
        let below = |shift: u32, limit: u64| i64::try_from((mixed >> shift) % limit).unwrap_or(0);
        let city = usize::try_from(mixed % 6).ok().and_then(|index| CITIES.get(index));
        let text = mix(mixed);
        Parcel {
            id,
            customer: below(3, 900_000),
            depot: below(11, 400),
            pieces: 1 + below(17, 12),
            weight_grams: 200 + below(23, 30_000),
            status: below(29, 5) + version,
            price_cents: 390 + below(31, 250_000),
            updated_on_us: BEGIN_US + id * 1_370_011 + version * 86_400_000_001,
            reference: format!("{text:016x}{:016x}", mix(text)),
            receiver: format!("Receiver {:016x}", text ^ mixed),
            street: format!("Street of {:016x} {}", mix(mixed ^ 1), below(5, 300)),
            city: city.copied().unwrap_or_default(),
            // Two of three have one.
            note: (!mixed.is_multiple_of(3))
                .then(|| format!("leave with {:016x} at door {:016x}", mix(text ^ 1), mix(text ^ 2))),
        }
    }

    /// Which of so many sessions writes it: always the same one, as with partitions, and neighbours are spread.
    pub(super) fn session(&self, sessions: usize) -> usize {
        let spread = mix(self.id.unsigned_abs());
        usize::try_from(spread >> 1).map_or(0, |spread| spread % sessions.max(1))
    }

    /// The line of PostgreSQL's COPY, text format; no value has anything that must be escaped.
    pub(super) fn write_copy_line(&self, line: &mut String) {
        self.write(line, ("", "\t", "\\N"), &time_text(self.updated_on_us));
        line.push('\n');
    }

    /// `(1,'text',NULL)`
    pub(super) fn write_literals(&self, statement: &mut String) {
        let time = time_text(self.updated_on_us);
        statement.push('(');
        self.write(statement, ("'", ",", "NULL"), time.trim_end_matches('Z'));
        statement.push(')');
    }

    fn write(&self, out: &mut String, (quote, separator, null): (&str, &str, &str), time: &str) {
        for number in [
            self.id,
            self.customer,
            self.depot,
            self.pieces,
            self.weight_grams,
            self.status,
        ] {
            out.push_str(&format!("{number}{separator}"));
        }
        out.push_str(&decimal(self.price_cents));
        for text in [time, &self.reference, &self.receiver, &self.street, self.city] {
            out.extend([separator, quote, text, quote]);
        }
        match &self.note {
            Some(note) => out.extend([separator, quote, note, quote]),
            None => out.extend([separator, null]),
        }
    }

    /// As a source hands it out.
    fn push(&self, batch: &mut ChangeBatch) -> Result<(), BatchFull> {
        for number in [
            self.id,
            self.customer,
            self.depot,
            self.pieces,
            self.weight_grams,
            self.status,
        ] {
            batch.push_int(number);
        }
        batch.push_text(&decimal(self.price_cents))?;
        batch.push_int(self.updated_on_us);
        for text in [&*self.reference, &self.receiver, &self.street, self.city] {
            batch.push_text(text)?;
        }
        match &self.note {
            Some(note) => batch.push_text(note),
            None => {
                batch.push_null();
                Ok(())
            }
        }
    }
}

// === impl Totals ===

impl Totals {
    /// Of `rows` rows of a pass.
    pub(super) fn of(pass: Pass, rows: u64) -> Totals {
        let mut totals = Totals::default();
        let mut line = String::new();
        for parcel in pass.parcels(rows) {
            line.clear();
            parcel.write_copy_line(&mut line);
            totals.rows += 1;
            totals.pieces += parcel.pieces;
            totals.price_cents += parcel.price_cents;
            totals.weight_grams += parcel.weight_grams;
            totals.notes += i64::from(parcel.note.is_some());
            totals.bytes += line.len() as u64;
        }
        totals
    }

    /// As [`TOTALS`] answers.
    pub(super) fn answer(&self) -> Vec<Option<String>> {
        let cells = [
            self.rows.to_string(),
            self.pieces.to_string(),
            decimal(self.price_cents),
            self.weight_grams.to_string(),
            self.notes.to_string(),
        ];
        cells.map(Some).to_vec()
    }
}

/// The table as the source has it.
pub(super) fn schema() -> SharedSchema {
    let decimal = LogicalType::Decimal {
        precision: Some(12),
        scale: Some(2),
    };
    let logical_type = |name: &str| match name {
        "id" => LogicalType::Int64,
        "customer" | "depot" | "pieces" | "weight_grams" | "status" => LogicalType::Int32,
        "price" => decimal.clone(),
        "updated_on" => LogicalType::TimestampTz { precision: 6 },
        _ => LogicalType::Text(TextKind::Plain),
    };
    let columns = COLUMNS.map(|name| Column {
        nullable: name == "note",
        ..Column::new(name, logical_type(name))
    });
    Arc::new(TableSchema {
        name: TableName {
            database: "shop".to_owned(),
            schema: "public".to_owned(),
            table: TABLE.to_owned(),
        },
        kind: TableKind::Table,
        columns: columns.to_vec(),
        key: vec![0],
        documentation: None,
    })
}

/// Rows as one transaction of a source.
pub(super) fn changes(pass: Pass, table: &SharedSchema, parcels: &[Parcel]) -> Result<ChangeBatch, BatchFull> {
    let mut batch = ChangeBatch::new("pg-7311-shop".into(), Progress::at(Position::new("0/16E9018")));
    let table = batch.table_index(table);
    let first = parcels.first().map_or(0, |parcel| parcel.id.unsigned_abs());
    let transaction = batch.push_transaction(Transaction {
        id: Some(7000 + first),
        committed_at_us: parcels.last().map_or(BEGIN_US, |parcel| parcel.updated_on_us),
        position: format!("0/{:X}", 24_000_000 + first).into(),
        log_position: Some(24_000_000 + first),
        previous_log_position: Some(23_999_999 + first),
        binlog: None,
    });
    for (parcel, ordinal) in parcels.iter().zip(0..) {
        batch.begin_row()?;
        parcel.push(&mut batch)?;
        let after = Some(batch.end_row()?);
        batch.changes.push(Change {
            operation: match pass {
                Pass::New => Operation::Create,
                Pass::Changed => Operation::Update,
            },
            table,
            transaction,
            before: None,
            before_image: BeforeImage::None,
            after,
            ordinal,
            log_position: Some(24_000_000 + first + ordinal),
            updated_at_us: None,
            topic: None,
            message: None,
        });
    }
    Ok(batch)
}

fn decimal(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Every number becomes another one that looks like nothing (the finalizer of SplitMix64).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
