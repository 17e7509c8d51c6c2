//! How tables are made and changed: the types that values of events get.

use tailrace_core::schema::{Column, TableName};
use tailrace_core::value::{LogicalType, ShapeKind, TextKind};
use tailrace_core::{Error, Result};
use tailrace_sql::Syntax;
use tailrace_sql::sink::session::Definitions;

use crate::quote::{identifier, qualified};

/// The schema of names that are written without one.
const SCHEMA: &str = "public";
/// What a statement begins with that makes a schema.
pub(super) const CREATE_SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS";
/// A time's precision where none is said.
const FULL_PRECISION: u8 = 6;

/// PostgreSQL's types and statements.
pub(crate) struct PostgresDefinitions;

impl Syntax for PostgresDefinitions {
    fn identifier(&self, name: &str) -> String {
        identifier(name)
    }

    fn table(&self, name: &TableName) -> String {
        qualified(&name.schema, &name.table)
    }

    fn default_schema(&self) -> Option<&'static str> {
        Some(SCHEMA)
    }
}

impl Definitions for PostgresDefinitions {
    fn column_type(&self, column: &Column, _is_key: bool) -> Option<String> {
        Some(type_of(&column.logical_type))
    }

    fn wider_type(&self, present: &Column, event: &Column) -> Result<Option<String>> {
        let refused = |why: &str| {
            let message = format!(
                "column {} is {} and the events have {}, {why}; change the column by hand, or leave it out with `transforms`",
                present.name,
                present.source_type,
                type_of(&event.logical_type)
            );
            Err(Error::definite("type_not_wider", message))
        };
        use LogicalType::{Decimal, Float32, Float64, Int16, Int32, Int64, UnsignedInt64};
        let (is, wanted) = (&present.logical_type, &event.logical_type);
        match (is, wanted) {
            (Int16 | Int32 | Int64, Int16 | Int32 | Int64 | UnsignedInt64) => {
                Ok((width(wanted) > width(is)).then(|| type_of(wanted)))
            }
            (
                Int16 | Int32 | Int64,
                Decimal {
                    precision: Some(precision),
                    scale,
                },
            ) => {
                let scale = scale.unwrap_or_default();
                let whole = digits_of(is).max(precision.saturating_sub(scale));
                // Every number of fewer digits than its largest an integer holds.
                let fits = scale == 0 && *precision < digits_of(is);
                Ok((!fits).then(|| format!("numeric({},{scale})", whole + scale)))
            }
            (Int16 | Int32 | Int64, Decimal { precision: None, .. }) => Ok(Some("numeric".to_owned())),
            (Float32, Float64) => Ok(Some(type_of(wanted))),
            (
                Decimal {
                    precision: Some(digits),
                    scale,
                },
                Decimal {
                    precision,
                    scale: wanted_scale,
                },
            ) => {
                let (Some(wanted_digits), Some(wanted_scale)) = (precision, wanted_scale) else {
                    return Ok(Some("numeric".to_owned()));
                };
                let scale = scale.unwrap_or_default();
                let whole = digits
                    .saturating_sub(scale)
                    .max(wanted_digits.saturating_sub(*wanted_scale));
                let scale_of_both = scale.max(*wanted_scale);
                let fits = whole + scale_of_both == *digits && scale_of_both == scale;
                Ok((!fits).then(|| format!("numeric({},{scale_of_both})", whole + scale_of_both)))
            }
            (LogicalType::Timestamp { precision: is }, LogicalType::Timestamp { precision: wanted })
            | (LogicalType::TimestampTz { precision: is }, LogicalType::TimestampTz { precision: wanted })
            | (LogicalType::Time { precision: is }, LogicalType::Time { precision: wanted }) => {
                Ok((wanted > is).then(|| type_of(&event.logical_type)))
            }
            (Float32 | Float64, Decimal { .. } | UnsignedInt64) => refused("whose digits it does not hold"),
            (Int16 | Int32 | Int64, Float32 | Float64 | LogicalType::Text(_)) => {
                refused("which is another kind of value")
            }
            _ => Ok(None),
        }
    }

    fn create_schema(&self, table: &TableName) -> Option<String> {
        let is_ours = table.schema != SCHEMA;
        is_ours.then(|| format!("{CREATE_SCHEMA} {}", identifier(&table.schema)))
    }

    fn retype(&self, table: &TableName, column: &str, column_type: &str, _nullable: bool) -> String {
        format!(
            "ALTER TABLE {} ALTER COLUMN {} TYPE {column_type}",
            self.table(table),
            identifier(column)
        )
    }

    fn table_name(&self, written: &str) -> TableName {
        let (schema, table) = written.split_once('.').unwrap_or((SCHEMA, written));
        TableName {
            database: String::new(),
            schema: schema.to_owned(),
            table: table.to_owned(),
        }
    }
}

fn width(logical_type: &LogicalType) -> u8 {
    match logical_type {
        LogicalType::Int16 => 16,
        LogicalType::Int32 => 32,
        LogicalType::Int64 => 64,
        _ => 65,
    }
}

/// Digits of the largest number.
fn digits_of(integer: &LogicalType) -> u32 {
    match integer {
        LogicalType::Int16 => 5,
        LogicalType::Int32 => 10,
        _ => 19,
    }
}

/// The type that holds every value of a meaning. Types of extensions are not used: they may not be there.
fn type_of(logical_type: &LogicalType) -> String {
    let precise = |name: &str, precision: u8, zone: &str| {
        if precision >= FULL_PRECISION {
            format!("{name}{zone}")
        } else {
            format!("{name}({precision}){zone}")
        }
    };
    match logical_type {
        LogicalType::Boolean => "boolean".to_owned(),
        LogicalType::Int16 => "smallint".to_owned(),
        LogicalType::Int32 | LogicalType::Year => "integer".to_owned(),
        LogicalType::Int64 => "bigint".to_owned(),
        LogicalType::UnsignedInt64 => "numeric(20)".to_owned(),
        LogicalType::Float32 => "real".to_owned(),
        LogicalType::Float64 => "double precision".to_owned(),
        LogicalType::Decimal {
            precision: Some(precision),
            scale,
        } => format!("numeric({precision},{})", scale.unwrap_or_default()),
        LogicalType::Decimal { precision: None, .. } | LogicalType::Money => "numeric".to_owned(),
        LogicalType::Text(kind) => text_type(kind).to_owned(),
        LogicalType::Bytes | LogicalType::Geometry | LogicalType::Geography => "bytea".to_owned(),
        LogicalType::Bits { length: Some(length) } => format!("bit varying({length})"),
        LogicalType::Bits { length: None } => "bit varying".to_owned(),
        LogicalType::Date => "date".to_owned(),
        LogicalType::Time { precision } => precise("time", *precision, ""),
        LogicalType::TimeTz { precision } => precise("time", *precision, " with time zone"),
        LogicalType::Timestamp { precision } => precise("timestamp", *precision, ""),
        LogicalType::TimestampTz { precision } => precise("timestamp", *precision, " with time zone"),
        LogicalType::Interval => "interval".to_owned(),
        LogicalType::Array(element) => format!("{}[]", type_of(element)),
        LogicalType::Map => "jsonb".to_owned(),
        LogicalType::Point => "point".to_owned(),
        LogicalType::Line => "line".to_owned(),
        LogicalType::Circle => "circle".to_owned(),
        LogicalType::Shape(ShapeKind::Box) => "box".to_owned(),
        LogicalType::Shape(ShapeKind::LineSegment) => "lseg".to_owned(),
        LogicalType::Shape(ShapeKind::Path) => "path".to_owned(),
        LogicalType::Shape(ShapeKind::Polygon) => "polygon".to_owned(),
        LogicalType::FloatVector => "real[]".to_owned(),
        LogicalType::DoubleVector => "double precision[]".to_owned(),
        LogicalType::SparseVector => "text".to_owned(),
    }
}

fn text_type(kind: &TextKind) -> &'static str {
    match kind {
        TextKind::Json => "jsonb",
        TextKind::Xml => "xml",
        TextKind::Uuid => "uuid",
        TextKind::TsVector => "tsvector",
        TextKind::Plain
        | TextKind::Enum(_)
        | TextKind::Set(_)
        | TextKind::Ltree
        | TextKind::Range
        | TextKind::Network
        | TextKind::Opaque
        | TextKind::Masked => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(logical_type: LogicalType) -> Column {
        Column {
            name: "c".to_owned(),
            source_type: type_of(&logical_type),
            logical_type,
            nullable: true,
            default: None,
            default_is_computed: false,
            documentation: None,
        }
    }

    fn decimal(precision: u32, scale: u32) -> LogicalType {
        LogicalType::Decimal {
            precision: Some(precision),
            scale: Some(scale),
        }
    }

    #[test]
    fn a_wider_type_holds_what_the_column_holds_and_what_the_events_have() {
        let wider = |is, wanted| PostgresDefinitions.wider_type(&column(is), &column(wanted)).unwrap();
        assert_eq!(wider(LogicalType::Int32, LogicalType::Int64).as_deref(), Some("bigint"));
        assert_eq!(wider(LogicalType::Int64, LogicalType::Int32), None);
        assert_eq!(
            wider(LogicalType::Int64, decimal(5, 2)).as_deref(),
            Some("numeric(21,2)")
        );
        assert_eq!(
            wider(LogicalType::Int64, decimal(30, 2)).as_deref(),
            Some("numeric(30,2)")
        );
        assert_eq!(wider(LogicalType::Int64, decimal(18, 0)), None);
        assert_eq!(
            wider(LogicalType::Int32, decimal(10, 0)).as_deref(),
            Some("numeric(10,0)")
        );
        assert_eq!(wider(decimal(10, 2), decimal(8, 4)).as_deref(), Some("numeric(12,4)"));
        assert_eq!(wider(decimal(10, 2), decimal(8, 2)), None);
    }
}
