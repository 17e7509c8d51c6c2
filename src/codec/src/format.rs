//! What events look like: the `format` section as it is written, and what it means once the envelope's defaults are in.
//!
//! Most options default to something else under `debezium` (exactly what Debezium does) than under `entity` (what a
//! person who reads the topic would expect), so they are optional as written and resolved by [`FormatConfig::resolve`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tailrace_core::{Error, Result};

use crate::dialect::Dialect;

/// The text that stands for a large value that the log does not repeat; Debezium's default, which consumers know.
pub const DEFAULT_UNAVAILABLE_VALUE: &str = "__debezium_unavailable_value";

/// Fraction digits of `money`: two, as in most currencies and as Debezium does.
pub const DEFAULT_MONEY_FRACTION_DIGITS: u8 = 2;

/// The shape of an event's value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Envelope {
    /// The row itself: one field per column; a delete is a tombstone. The default, because it is a record that people
    /// can publish as a contract.
    #[default]
    Entity,
    /// Debezium's envelope: before, after, source, op and times.
    Debezium,
}

/// The bytes of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// JSON text, UTF-8. The default: readable with any tool.
    #[default]
    Json,
    /// JSON text behind the number of its JSON Schema, as Confluent's serializers frame it.
    JsonSchema,
    /// Avro behind the number of its schema, as Confluent's serializers frame it.
    Avro,
}

/// What the subject of a schema is called in the registry. Confluent's words for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectStrategy {
    /// After the topic: `{topic}-key` and `{topic}-value`. The default, and the one that clients know by themselves.
    #[default]
    Topic,
    /// After the record: its full name.
    Record,
    /// After both: `{topic}-{record}`.
    TopicRecord,
}

/// How exact decimals (`numeric`, `money`) are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecimalFormat {
    /// Decimal digits in a string, with the value's own scale. Default of `entity`.
    String,
    /// Connect's `Decimal`: base64 of the unscaled value, big-endian two's complement. Without a declared scale a
    /// struct of scale and value. Default of `debezium`. Cannot hold NaN and infinities.
    Precise,
    /// A JSON number, rounded to double precision.
    Double,
    /// Avro's `decimal` where the column declares its digits, and a string of digits where it does not. Default of `entity`
    /// with `codec: avro`, and only for it.
    Logical,
}

/// How 64-bit integers without a sign (`BIGINT UNSIGNED` of MySQL and MariaDB) are written. Debezium's words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BigintUnsignedFormat {
    /// As a signed integer of 64 bits, a JSON number. A value above 9223372036854775807, which Debezium would publish as a
    /// negative number, halts the connector. Default of `debezium`.
    Long,
    /// Every value exactly: under `entity` as `decimal` says, and under `debezium` as Connect's `Decimal`, whatever `decimal` says.
    /// Default of `entity`.
    Precise,
}

/// How dates, times and timestamps are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// ISO 8601 text with as many fraction digits as the column declares; `Z` only where the value is a point in time.
    /// Default of `entity`.
    Iso,
    /// Numbers in the unit that fits the column's precision. Default of `debezium`. With MySQL and MariaDB it is the same as
    /// `adaptive_time_microseconds`: their times reach to 838 hours, which 32 bits of milliseconds cannot hold.
    Adaptive,
    /// As `adaptive`, but times of day always in microseconds.
    AdaptiveTimeMicroseconds,
    /// Kafka Connect's own logical types: days and milliseconds. Finer fractions are cut off; times beyond 596 hours are
    /// refused.
    Connect,
    /// Debezium's ISO 8601 text, where everything ends with `Z`.
    Isostring,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds; timestamps outside of 1677-09-21 to 2262-04-11 are refused.
    Nanoseconds,
    /// Debezium's structs of year, month, day, hour and so on; also turns intervals, and the times of MySQL and MariaDB,
    /// into structs of a duration.
    Structured,
    /// Avro's logical types: `date`, `time-micros`, `local-timestamp-micros` for timestamps without zone, `timestamp-micros` for
    /// points in time. Infinity, and times beyond a day, are refused. Default of `entity` with `codec: avro`, and only for it.
    Logical,
}

/// How intervals are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntervalFormat {
    /// ISO 8601 duration without empty parts: `P1Y2M3DT4H`. Default of `entity`.
    Iso,
    /// Microseconds, a month counted as 365.25 / 12 days. Default of `debezium`.
    Numeric,
    /// Debezium's text with every part: `P1Y2M3DT4H0M0S`.
    String,
    /// Debezium's struct of years, months, days and so on. Default where `time` is `structured`.
    Structured,
}

/// How raw bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BinaryFormat {
    /// Connect's `bytes`, which is base64 in JSON. Default of `debezium`.
    Bytes,
    /// A string of base64. Default of `entity`.
    Base64,
    /// A string of base64 in the alphabet for URLs.
    Base64UrlSafe,
    /// A string of lower-case hexadecimal digits.
    Hex,
}

/// How key-value columns (`hstore`) are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HstoreFormat {
    /// A string that holds a JSON object. Default of `debezium`.
    Json,
    /// An object. Default of `entity`.
    Map,
}

/// How types are written that have no mapping of their own (composites, `tsquery`, `pg_lsn` …).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpaqueFormat {
    /// The database's own text. The default.
    Text,
    /// The bytes of that text, written as `binary` says: what Debezium does with `include.unknown.datatypes`.
    Binary,
}

/// What becomes of a truncate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TruncateFormat {
    /// It is published. The default of both envelopes, because nothing is dropped unasked.
    Publish,
    /// It is left out, as Debezium does by default.
    Skip,
}

/// What becomes of a value that is valid in its database and that the form of its column cannot hold: an infinite date where dates
/// are numbers, NaN where decimals have declared digits, a symbol that an enum does not declare, a number of 64 bits without a sign
/// where it is written as one that has one. Such a value is never wrapped, cut off or rounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unrepresentable {
    /// The event is refused, with the column and the reason: `dead_letters` says whether it is set aside or the connector halts. The
    /// default, because nothing else shows every reader what the database has.
    #[default]
    Refuse,
    /// The cell is null, and the header `unrepresentable` names the column, as a JSON array (`unrepresentable_before` where it is
    /// in Debezium's `before`). Schemas allow null for every column that such a value may be in. A key is never null: in a column
    /// of the key such a value is refused.
    AsNull,
    /// A column that such a value may be in is a string in every event, and so is its schema: decimal digits or `NaN`, ISO 8601 or
    /// `infinity`, the symbol. In Avro arrays are such columns, too, because there is no schema for any number of dimensions: they
    /// are strings of JSON. Nothing is refused.
    AsString,
}

/// The `format` section of a connector, as written. What is left out is what the envelope says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FormatConfig {
    /// The shape of an event's value.
    pub envelope: Envelope,
    /// The bytes of an event.
    pub codec: Codec,
    /// Puts Kafka Connect's schema into each key and value: `{"schema": …, "payload": …}`, as its JSON converter does
    /// with `schemas.enable`. Off by default: it makes events many times larger. Only with `codec: json`.
    pub inline_schema: bool,
    /// The registry that schemas are published in, one of `registries`; without it the embedded one. Only with a codec that has
    /// schemas.
    pub registry: Option<String>,
    /// What the subjects of schemas are called; `topic` where left out. Only with a codec that has schemas.
    pub subjects: Option<SubjectStrategy>,
    /// How exact decimals are written.
    pub decimal: Option<DecimalFormat>,
    /// How 64-bit integers without a sign are written.
    pub bigint_unsigned: Option<BigintUnsignedFormat>,
    /// How dates, times and timestamps are written.
    pub time: Option<TimeFormat>,
    /// How intervals are written.
    pub interval: Option<IntervalFormat>,
    /// How raw bytes are written.
    pub binary: Option<BinaryFormat>,
    /// How key-value columns are written.
    pub hstore: Option<HstoreFormat>,
    /// How types without a mapping are written.
    pub opaque: Option<OpaqueFormat>,
    /// Fraction digits that `money` is rounded to where `decimal` is `precise`; 2 where left out.
    pub money_fraction_digits: Option<u8>,
    /// Whether a Debezium delete is followed by a tombstone, so that compaction forgets the key; true where left out.
    pub tombstones: Option<bool>,
    /// The text that stands for a large value that did not change; `__debezium_unavailable_value` where left out.
    pub unavailable_value: Option<String>,
    /// What becomes of a truncate.
    pub truncate: Option<TruncateFormat>,
    /// What becomes of a value that the form of its column cannot hold.
    pub unrepresentable: Unrepresentable,
}

/// The `format` section as meant: every option decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// Whose events they are.
    pub dialect: Dialect,
    /// The shape of an event's value.
    pub envelope: Envelope,
    /// The bytes of an event.
    pub codec: Codec,
    /// Connect's schema in each key and value.
    pub inline_schema: bool,
    /// What the subjects of schemas are called.
    pub subjects: SubjectStrategy,
    /// How exact decimals are written.
    pub decimal: DecimalFormat,
    /// How 64-bit integers without a sign are written.
    pub bigint_unsigned: BigintUnsignedFormat,
    /// How dates, times and timestamps are written.
    pub time: TimeFormat,
    /// How intervals are written.
    pub interval: IntervalFormat,
    /// How raw bytes are written.
    pub binary: BinaryFormat,
    /// How key-value columns are written.
    pub hstore: HstoreFormat,
    /// How types without a mapping are written.
    pub opaque: OpaqueFormat,
    /// Fraction digits of `money` where decimals are precise.
    pub money_fraction_digits: u8,
    /// Whether a Debezium delete is followed by a tombstone.
    pub tombstones: bool,
    /// The text that stands for a large value that did not change.
    pub unavailable_value: String,
    /// What becomes of a truncate.
    pub truncate: TruncateFormat,
    /// What becomes of a value that the form of its column cannot hold.
    pub unrepresentable: Unrepresentable,
}

// === impl FormatConfig ===

impl FormatConfig {
    /// Fills in what the envelope says, for a source of the common dialect.
    ///
    /// # Errors
    /// As [`Self::resolve_for`].
    pub fn resolve(&self) -> Result<Format> {
        self.resolve_for(Dialect::Common)
    }

    /// Fills in what the envelope says, for a source of a dialect.
    ///
    /// # Errors
    /// `format_contradiction` where two options cannot both hold; whether there is one does not depend on the dialect.
    pub fn resolve_for(&self, dialect: Dialect) -> Result<Format> {
        self.refuse_contradictions()?;
        let tombstones = self.tombstones.unwrap_or(true);
        if self.envelope == Envelope::Entity && !tombstones {
            return Err(Error::definite(
                "format_contradiction",
                "format.tombstones: false does not go with envelope: entity, where the tombstone is the delete; leave it out, or use envelope: debezium",
            ));
        }
        let base = Format::defaults_of(self.envelope, self.codec);
        let time = match (dialect, self.time.unwrap_or(base.time)) {
            (Dialect::MySql, TimeFormat::Adaptive) => TimeFormat::AdaptiveTimeMicroseconds,
            (_, time) => time,
        };
        let interval = match time {
            TimeFormat::Structured => IntervalFormat::Structured,
            _ => base.interval,
        };
        Ok(Format {
            dialect,
            codec: self.codec,
            inline_schema: self.inline_schema,
            subjects: self.subjects.unwrap_or_default(),
            decimal: self.decimal.unwrap_or(base.decimal),
            bigint_unsigned: self.bigint_unsigned.unwrap_or(base.bigint_unsigned),
            time,
            interval: self.interval.unwrap_or(interval),
            binary: self.binary.unwrap_or(base.binary),
            hstore: self.hstore.unwrap_or(base.hstore),
            opaque: self.opaque.unwrap_or(base.opaque),
            money_fraction_digits: self.money_fraction_digits.unwrap_or(base.money_fraction_digits),
            tombstones,
            unavailable_value: self.unavailable_value.clone().unwrap_or(base.unavailable_value),
            truncate: self.truncate.unwrap_or(base.truncate),
            unrepresentable: self.unrepresentable,
            envelope: self.envelope,
        })
    }

    /// True where the codec's schemas are in a registry.
    pub fn has_registered_schemas(&self) -> bool {
        self.codec != Codec::Json
    }

    fn refuse_contradictions(&self) -> Result<()> {
        let contradiction = |sentence| Err(Error::definite("format_contradiction", sentence));
        let plain = self.codec == Codec::Json;
        if !plain && self.inline_schema {
            return contradiction(
                "format.inline_schema: true does not go with a codec whose schemas are in a registry; leave it out, or use codec: json",
            );
        }
        if plain && (self.registry.is_some() || self.subjects.is_some()) {
            return contradiction(
                "format.registry and format.subjects go only with a codec that has schemas; leave them out, or use codec: avro (or json_schema)",
            );
        }
        let logical = self.decimal == Some(DecimalFormat::Logical) || self.time == Some(TimeFormat::Logical);
        if logical && !(self.codec == Codec::Avro && self.envelope == Envelope::Entity) {
            return contradiction(
                "format.decimal: logical and format.time: logical go only with codec: avro and envelope: entity; choose another form",
            );
        }
        Ok(())
    }
}

// === impl Format ===

impl Format {
    /// True where rows are published as plain Avro records, which have types of their own.
    pub(crate) fn writes_rows_in_avro(&self) -> bool {
        self.envelope == Envelope::Entity && self.codec == Codec::Avro
    }

    /// True where every event has exactly the fields of its schema.
    pub(crate) fn has_registered_schemas(&self) -> bool {
        self.codec != Codec::Json
    }

    /// What an envelope and a codec mean where nothing else is written, for a source of the common dialect.
    pub fn defaults_of(envelope: Envelope, codec: Codec) -> Self {
        let base = Self {
            codec,
            ..Self::defaults(envelope)
        };
        if !base.writes_rows_in_avro() {
            return base;
        }
        Self {
            decimal: DecimalFormat::Logical,
            time: TimeFormat::Logical,
            binary: BinaryFormat::Bytes,
            ..base
        }
    }

    /// What an envelope means in JSON where nothing else is written, for a source of the common dialect.
    pub fn defaults(envelope: Envelope) -> Self {
        let entity = envelope == Envelope::Entity;
        let pick = |for_entity, for_debezium| if entity { for_entity } else { for_debezium };
        Self {
            dialect: Dialect::Common,
            envelope,
            codec: Codec::Json,
            inline_schema: false,
            subjects: SubjectStrategy::Topic,
            decimal: if entity {
                DecimalFormat::String
            } else {
                DecimalFormat::Precise
            },
            bigint_unsigned: if entity {
                BigintUnsignedFormat::Precise
            } else {
                BigintUnsignedFormat::Long
            },
            time: if entity { TimeFormat::Iso } else { TimeFormat::Adaptive },
            interval: if entity {
                IntervalFormat::Iso
            } else {
                IntervalFormat::Numeric
            },
            binary: pick(BinaryFormat::Base64, BinaryFormat::Bytes),
            hstore: if entity { HstoreFormat::Map } else { HstoreFormat::Json },
            opaque: OpaqueFormat::Text,
            money_fraction_digits: DEFAULT_MONEY_FRACTION_DIGITS,
            tombstones: true,
            unavailable_value: DEFAULT_UNAVAILABLE_VALUE.to_owned(),
            truncate: TruncateFormat::Publish,
            unrepresentable: Unrepresentable::Refuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> FormatConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn nothing_written_means_entity_and_its_defaults() {
        let format = config("{}").resolve().unwrap();
        assert_eq!(format, Format::defaults(Envelope::Entity));
        assert_eq!(format.decimal, DecimalFormat::String);
        assert_eq!(format.time, TimeFormat::Iso);
        assert_eq!(format.bigint_unsigned, BigintUnsignedFormat::Precise);
    }

    #[test]
    fn debezium_means_debeziums_defaults() {
        let format = config(r#"{"envelope":"debezium"}"#).resolve().unwrap();
        assert_eq!(format.decimal, DecimalFormat::Precise);
        assert_eq!(format.time, TimeFormat::Adaptive);
        assert_eq!(format.interval, IntervalFormat::Numeric);
        assert_eq!(format.binary, BinaryFormat::Bytes);
        assert_eq!(format.hstore, HstoreFormat::Json);
        assert_eq!(format.bigint_unsigned, BigintUnsignedFormat::Long);
    }

    #[test]
    fn structured_time_takes_intervals_along_unless_told_otherwise() {
        let format = config(r#"{"envelope":"debezium","time":"structured"}"#)
            .resolve()
            .unwrap();
        assert_eq!(format.interval, IntervalFormat::Structured);
        let format = config(r#"{"time":"structured","interval":"iso"}"#).resolve().unwrap();
        assert_eq!(format.interval, IntervalFormat::Iso);
    }

    #[test]
    fn times_of_mysql_are_never_milliseconds_unless_connect_asks_for_them() {
        for (format, expected) in [
            (r#"{"envelope":"debezium"}"#, TimeFormat::AdaptiveTimeMicroseconds),
            (r#"{"time":"adaptive"}"#, TimeFormat::AdaptiveTimeMicroseconds),
            (r#"{"time":"connect"}"#, TimeFormat::Connect),
            ("{}", TimeFormat::Iso),
        ] {
            assert_eq!(config(format).resolve_for(Dialect::MySql).unwrap().time, expected);
        }
        assert_eq!(Dialect::of("mariadb"), Dialect::MySql);
        assert_eq!(Dialect::of("postgresql"), Dialect::Common);
    }

    #[test]
    fn an_entity_without_tombstones_is_refused() {
        let error = config(r#"{"tombstones":false}"#).resolve().unwrap_err();
        assert_eq!(error.code(), "format_contradiction");
        assert!(
            config(r#"{"envelope":"debezium","tombstones":false}"#)
                .resolve()
                .is_ok()
        );
    }

    #[test]
    fn what_cannot_be_held_is_refused_unless_something_else_is_written() {
        assert_eq!(config("{}").unrepresentable, Unrepresentable::Refuse);
        let format = config(r#"{"unrepresentable":"as_null"}"#).resolve().unwrap();
        assert_eq!(format.unrepresentable, Unrepresentable::AsNull);
        // In YAML a bare null is no word; it must not pass for the default.
        assert!(serde_json::from_str::<FormatConfig>(r#"{"unrepresentable":null}"#).is_err());
    }

    #[test]
    fn an_unknown_option_is_refused() {
        assert!(serde_json::from_str::<FormatConfig>(r#"{"decimals":"string"}"#).is_err());
    }
}
