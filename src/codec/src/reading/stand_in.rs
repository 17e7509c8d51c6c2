//! What stands for a large value that did not change, in the bytes of a notation: the inverse of [`crate::values::placeholder`].

use tailrace_core::value::{LogicalType, ShapeKind, TextKind};

use super::cell::{Binary, CellForm, Element};
use crate::format::{BinaryFormat, HstoreFormat};
use crate::notation::{Avro, Json, Optionality};
use crate::values::cell::{ArrayForm, CellFormat, DecimalForm};
use crate::values::decimal::Rounding;
use crate::values::geometry::WkbForm;
use crate::values::number::FloatStyle;
use crate::values::placeholder::unavailable;

/// In which notation something stands, and what stands for a value that did not change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notated<'a> {
    is_avro: bool,
    placeholder: &'a str,
}

// === impl Notated ===

impl<'a> Notated<'a> {
    pub(crate) fn json(placeholder: &'a str) -> Self {
        Self {
            is_avro: false,
            placeholder,
        }
    }

    pub(crate) fn avro(placeholder: &'a str) -> Self {
        Self {
            is_avro: true,
            placeholder,
        }
    }

    fn write(self, format: &CellFormat) -> Option<Vec<u8>> {
        match self.is_avro {
            true => unavailable::<Avro>(format, self.placeholder),
            false => unavailable::<Json>(format, self.placeholder),
        }
    }
}

/// Everything that stands for an unchanged value in a column; nothing where its type has no room for it.
pub(crate) fn stand_ins(form: &CellForm, logical_type: &LogicalType, notated: Notated<'_>) -> Vec<Vec<u8>> {
    if notated.placeholder.is_empty() {
        return Vec::new();
    }
    if let CellForm::Branch(form) = form {
        // Only Avro has unions, and the number of the first branch is a byte.
        let stand_ins = stand_ins(form, logical_type, notated).into_iter();
        return stand_ins.map(|stand_in| [vec![0], stand_in].concat()).collect();
    }
    let formats = formats(form, logical_type);
    formats.iter().filter_map(|format| notated.write(format)).collect()
}

/// The forms that are written with a placeholder where this one is read.
fn formats(form: &CellForm, logical_type: &LogicalType) -> Vec<CellFormat> {
    let text = || CellFormat::Text(TextKind::Plain);
    let plain_bytes = || CellFormat::Bytes(BinaryFormat::Bytes);
    match form {
        CellForm::Text if *logical_type == LogicalType::Text(TextKind::Json) => {
            vec![text(), CellFormat::Map(HstoreFormat::Json)]
        }
        CellForm::Text | CellForm::Symbol(_) => vec![text()],
        CellForm::Bytes | CellForm::Decimal(_, Binary::Prefixed) | CellForm::Bits(_) => vec![plain_bytes()],
        CellForm::VariableDecimal(_) => vec![CellFormat::Decimal(DecimalForm::Variable, FloatStyle::Java)],
        CellForm::Map(_) => vec![CellFormat::Map(HstoreFormat::Map)],
        CellForm::Geometry(_) => geometries(),
        CellForm::FloatVector => vec![CellFormat::FloatVector(FloatStyle::Java)],
        CellForm::DoubleVector => vec![CellFormat::DoubleVector(FloatStyle::Java)],
        CellForm::Array(element) => arrays(element, logical_type),
        // What has no schema may be written in any form.
        CellForm::Typed(_) => match logical_type {
            LogicalType::Map => vec![
                text(),
                CellFormat::Map(HstoreFormat::Map),
                CellFormat::Map(HstoreFormat::Json),
            ],
            LogicalType::Text(TextKind::Json) => vec![text(), CellFormat::Map(HstoreFormat::Json)],
            LogicalType::Text(_) => vec![text()],
            LogicalType::Bytes | LogicalType::Bits { .. } => vec![text(), plain_bytes()],
            LogicalType::Decimal { .. } | LogicalType::Money => {
                let fixed = DecimalForm::Fixed {
                    precision: None,
                    scale: 0,
                    rounding: Rounding::Exact,
                };
                vec![
                    text(),
                    CellFormat::Decimal(fixed, FloatStyle::Java),
                    CellFormat::Decimal(DecimalForm::Variable, FloatStyle::Java),
                ]
            }
            LogicalType::Shape(_) => geometries(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn geometries() -> Vec<CellFormat> {
    let shapes = [
        ShapeKind::Box,
        ShapeKind::LineSegment,
        ShapeKind::Path,
        ShapeKind::Polygon,
    ];
    let geometries = [CellFormat::Geometry(WkbForm::Extended), CellFormat::Geography];
    geometries.into_iter().chain(shapes.map(CellFormat::Shape)).collect()
}

/// The forms of arrays; elements may be null where they may be so in what is read.
fn arrays(element: &Element, logical_type: &LogicalType) -> Vec<CellFormat> {
    let LogicalType::Array(of_elements) = logical_type else {
        return Vec::new();
    };
    let array = |format| {
        CellFormat::Array(ArrayForm {
            element: Box::new(format),
            nullable: element.optionality != Optionality::Required,
        })
    };
    elements(&element.form, of_elements).into_iter().map(array).collect()
}

fn elements(form: &CellForm, logical_type: &LogicalType) -> Vec<CellFormat> {
    let text = || CellFormat::Text(TextKind::Plain);
    match (form, logical_type) {
        (_, LogicalType::Int16 | LogicalType::Int32 | LogicalType::Int64) => vec![CellFormat::Int64],
        (_, LogicalType::Float32) => vec![CellFormat::Float32(FloatStyle::Java)],
        (_, LogicalType::Float64) => vec![CellFormat::Float64(FloatStyle::Java)],
        (_, LogicalType::Text(TextKind::Uuid)) => vec![CellFormat::Text(TextKind::Uuid), text()],
        (
            CellForm::DateText
            | CellForm::TimeText
            | CellForm::TimeTzText
            | CellForm::TimestampText
            | CellForm::IntervalText,
            _,
        ) => vec![text()],
        (CellForm::Time(_) | CellForm::Timestamp(_), _) => vec![CellFormat::Int64],
        (CellForm::Int32, LogicalType::Date) => vec![CellFormat::Int64],
        (
            CellForm::Typed(_),
            LogicalType::Date
            | LogicalType::Time { .. }
            | LogicalType::Timestamp { .. }
            | LogicalType::TimestampTz { .. },
        ) => vec![CellFormat::Int64, text()],
        (CellForm::Typed(_), LogicalType::TimeTz { .. } | LogicalType::Interval) => vec![text()],
        (form, logical_type) => formats(form, logical_type),
    }
}
