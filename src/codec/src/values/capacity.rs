//! What forms have room for: whether a column may have a value that its form cannot hold, and the form that holds all of them.
//!
//! Both go by the column's type, never by a value, so that a column has one schema. Only values that the database itself accepts count: a
//! time of day of PostgreSQL has no 596 hours, and a decimal of MySQL is never NaN.

use tailrace_core::value::LogicalType;

use super::cell::{CellFormat, DecimalForm};
use super::decimal::Rounding;
use super::geometry::PointForm;
use super::number::FloatStyle;
use super::temporal::{Unit, time_unit, timestamp_unit};
use crate::dialect::Dialect;
use crate::format::{Codec, Envelope, Format, IntervalFormat, TimeFormat};

/// Digits before the point that every double has room for.
const DOUBLE_DIGITS: u32 = 308;

/// True where a column of the type may have a value that the form cannot hold.
pub(crate) fn may_refuse(cell: &CellFormat, logical_type: &LogicalType, format: &Format) -> bool {
    let has_types = format.codec == Codec::Avro;
    // Of MySQL and MariaDB: times are amounts of time, and nothing is infinite; but systems of reference have large numbers.
    let is_mysql = format.dialect == Dialect::MySql;
    match cell {
        CellFormat::Long | CellFormat::Symbol(_) => true,
        CellFormat::Decimal(form, _) => !is_mysql && decimal_may_refuse(*form, logical_type),
        CellFormat::Date(time) | CellFormat::TimestampTz(time, _) => *time == TimeFormat::Logical && !is_mysql,
        CellFormat::Time(TimeFormat::Logical, _) => true,
        CellFormat::Time(time, precision) => is_mysql && time_unit(*time, *precision) == Some(Unit::Milliseconds),
        CellFormat::Timestamp(time, precision) => match timestamp_unit(*time, *precision) {
            Some(Unit::Nanoseconds) => true,
            Some(Unit::Microseconds) => !is_mysql,
            Some(Unit::Milliseconds) | None => false,
        },
        CellFormat::Interval(IntervalFormat::Numeric) => true,
        CellFormat::Interval(IntervalFormat::Structured) => has_types,
        CellFormat::Array(form) => match logical_type {
            LogicalType::Array(element) => has_types || may_refuse(&form.element, element, format),
            _ => has_types,
        },
        CellFormat::Point(form) => has_types && is_mysql && *form != PointForm::Numbers,
        CellFormat::Geometry(_) => has_types && is_mysql,
        CellFormat::SparseVector(style) => *style == FloatStyle::Java,
        _ => false,
    }
}

fn decimal_may_refuse(form: DecimalForm, logical_type: &LogicalType) -> bool {
    let LogicalType::Decimal { precision, scale } = logical_type else {
        // Neither money nor a 64-bit integer without a sign is NaN or has digits that are not declared.
        return false;
    };
    match form {
        DecimalForm::Text { .. } => false,
        DecimalForm::Double => scale.is_none() || precision.is_none_or(|digits| digits > DOUBLE_DIGITS),
        DecimalForm::Fixed { rounding, .. } => rounding == Rounding::Exact,
        DecimalForm::Variable => true,
    }
}

/// A form that holds every value of a type: text, and JSON where a value has parts. An array is text only where it has to be.
pub(crate) fn text_form(logical_type: &LogicalType, format: &Format) -> CellFormat {
    let plain = Format {
        dialect: format.dialect,
        ..Format::defaults(Envelope::Entity)
    };
    match CellFormat::of(logical_type, &plain) {
        array @ CellFormat::Array(_) if format.codec != Codec::Avro => array,
        parts @ (CellFormat::Array(_)
        | CellFormat::Point(_)
        | CellFormat::Geometry(_)
        | CellFormat::SparseVector(_)) => CellFormat::Document(Box::new(parts)),
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tailrace_core::value::TextKind;

    use super::*;
    use crate::format::FormatConfig;

    fn format(dialect: Dialect, json: &str) -> Format {
        let config: FormatConfig = serde_json::from_str(json).unwrap();
        config.resolve_for(dialect).unwrap()
    }

    fn refuses(logical_type: &LogicalType, dialect: Dialect, json: &str) -> bool {
        let format = format(dialect, json);
        may_refuse(&CellFormat::of(logical_type, &format), logical_type, &format)
    }

    const AVRO: &str = r#"{"codec":"avro"}"#;
    const DEBEZIUM: &str = r#"{"envelope":"debezium"}"#;

    fn decimal(precision: Option<u32>, scale: Option<u32>) -> LogicalType {
        LogicalType::Decimal { precision, scale }
    }

    fn one_of(symbol: &str) -> LogicalType {
        LogicalType::Text(TextKind::Enum(Arc::from([symbol.to_owned()])))
    }

    fn array(element: LogicalType) -> LogicalType {
        LogicalType::Array(Box::new(element))
    }

    #[test]
    fn text_holds_everything() {
        let types = [
            decimal(Some(5), Some(2)),
            decimal(None, None),
            LogicalType::UnsignedInt64,
            LogicalType::Date,
            LogicalType::Time { precision: 6 },
            LogicalType::Timestamp { precision: 6 },
            LogicalType::TimestampTz { precision: 6 },
            LogicalType::Interval,
            LogicalType::SparseVector,
            LogicalType::Point,
            LogicalType::Geometry,
            array(array(LogicalType::Date)),
            one_of("new"),
        ];
        for dialect in [Dialect::Common, Dialect::MySql] {
            for logical_type in &types {
                assert!(!refuses(logical_type, dialect, "{}"), "{logical_type:?}");
                for json in [AVRO, DEBEZIUM, r#"{"codec":"avro","envelope":"debezium"}"#] {
                    let format = format(dialect, json);
                    let text = text_form(logical_type, &format);
                    assert!(!may_refuse(&text, logical_type, &format), "{logical_type:?} {json}");
                }
            }
        }
    }

    #[test]
    fn columns_that_hold_every_value_stay() {
        use Dialect::{Common, MySql};
        // What each holds alone depends on the database: only one of the two has such values.
        let differ = [
            (decimal(Some(5), Some(2)), AVRO),
            (LogicalType::Date, AVRO),
            (LogicalType::TimestampTz { precision: 6 }, AVRO),
            (LogicalType::Timestamp { precision: 6 }, DEBEZIUM),
        ];
        for (logical_type, json) in differ {
            assert!(refuses(&logical_type, Common, json), "{logical_type:?}");
            assert!(!refuses(&logical_type, MySql, json), "{logical_type:?}");
        }
        let time = LogicalType::Time { precision: 0 };
        assert!(refuses(&time, MySql, r#"{"time":"connect"}"#));
        assert!(!refuses(&time, Common, r#"{"time":"connect"}"#));
        for dialect in [Common, MySql] {
            assert!(refuses(&time, dialect, AVRO));
            assert!(refuses(&one_of("new"), dialect, AVRO));
            assert!(!refuses(&one_of("so-so"), dialect, AVRO));
            assert!(refuses(&LogicalType::UnsignedInt64, dialect, DEBEZIUM));
            assert!(!refuses(&LogicalType::UnsignedInt64, dialect, AVRO));
            assert!(!refuses(&LogicalType::Money, dialect, DEBEZIUM));
            assert!(!refuses(&LogicalType::Timestamp { precision: 3 }, dialect, DEBEZIUM));
            assert!(refuses(&array(LogicalType::Int32), dialect, AVRO));
            assert!(!refuses(&array(LogicalType::Int32), dialect, DEBEZIUM));
            for logical_type in [LogicalType::Int32, LogicalType::Float64, LogicalType::Bytes] {
                assert!(!refuses(&logical_type, dialect, AVRO));
                assert!(!refuses(&logical_type, dialect, DEBEZIUM));
            }
        }
    }

    #[test]
    fn doubles_have_room_for_as_many_digits_as_are_declared() {
        let double = |precision, scale| refuses(&decimal(precision, scale), Dialect::Common, r#"{"decimal":"double"}"#);
        assert!(!double(Some(308), Some(0)));
        assert!(double(Some(309), Some(0)));
        assert!(double(None, None));
    }
}
