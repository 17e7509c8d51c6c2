//! PostgreSQL's types by OID, and what a column of one means.
//!
//! The built-in types have OIDs that never change. All others (enums, domains, composites, extensions) are inserted by
//! whoever reads `pg_type`; those of extensions are known by their names, because their OIDs differ from database to
//! database. A type that nobody knows is carried as its text form and never as null.
//!
//! Source of OIDs and modifiers: PostgreSQL's `pg_type.dat` and `format_type.c`.

use std::collections::HashMap;
use std::sync::Arc;

use tailrace_core::batch::ChangeBatch;
use tailrace_core::value::{LogicalType, ShapeKind, TextKind};

pub(crate) use crate::decode::cell::CellDecoder;
use crate::decode::cell::{ArrayDecoder, ValueError};
use crate::type_name::{geometry_modifier, quoted_identifier, type_name};

/// One type of the database.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TypeInfo {
    /// OID.
    pub(crate) oid: u32,
    /// Name.
    pub(crate) name: String,
    /// Schema.
    pub(crate) schema: String,
    /// What kind of type it is.
    pub(crate) shape: TypeShape,
}

/// What kind of type it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TypeShape {
    /// A type of its own.
    Base,
    /// One of these symbols, in their declared order.
    Enum(Arc<[String]>),
    /// Another type with constraints.
    Domain {
        /// OID of the other type.
        base: u32,
        /// Its modifier, -1 where there is none.
        typmod: i32,
    },
    /// Several of another type.
    Array {
        /// OID of the other type.
        element: u32,
    },
    /// A row type.
    Composite,
    /// A range of another type.
    Range,
    /// Several ranges of another type.
    Multirange,
    /// No type of columns.
    Pseudo,
}

/// The types that are known.
#[derive(Debug, Clone)]
pub(crate) struct TypeCatalog {
    types: HashMap<u32, TypeInfo>,
}

/// What a column of a type means, and how to read it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ColumnType {
    /// Meaning.
    pub(crate) logical_type: LogicalType,
    /// The type as `format_type` prints it.
    pub(crate) source_type: String,
    /// How to read a cell.
    pub(crate) decoder: CellDecoder,
    /// A snapshot must select `column::text`, because the binary form is not known here, or not safe.
    pub(crate) copy_as_text: bool,
    /// The log may be asked for the binary form.
    pub(crate) binary_supported: bool,
}

/// Domains of domains, and arrays of them, beyond this depth are cut: only a broken catalog has a circle.
const RESOLUTION_DEPTH_MAX: usize = 32;

/// What numeric, varchar and bpchar add to their modifier.
const MODIFIER_HEADER: i32 = 4;

/// Fraction digits of times without a modifier.
const TIME_PRECISION_DEFAULT: u8 = 6;

/// OIDs below are given by PostgreSQL itself.
const FIRST_NORMAL_OID: u32 = 16384;

// === impl TypeCatalog ===

impl TypeCatalog {
    /// The types of every PostgreSQL database.
    pub(crate) fn builtin() -> Self {
        let mut catalog = Self { types: HashMap::new() };
        let mut add = |oid: u32, name: String, shape: TypeShape| {
            let schema = "pg_catalog".to_owned();
            catalog.types.insert(
                oid,
                TypeInfo {
                    oid,
                    name,
                    schema,
                    shape,
                },
            );
        };
        for (oid, array, name) in BUILTIN {
            let shape = match *name {
                multirange if multirange.ends_with("multirange") => TypeShape::Multirange,
                range if range.ends_with("range") => TypeShape::Range,
                _ => TypeShape::Base,
            };
            add(*oid, (*name).to_owned(), shape);
            add(*array, format!("_{name}"), TypeShape::Array { element: *oid });
        }
        catalog
    }

    /// Every OID, in order.
    pub(crate) fn oids(&self) -> Vec<u32> {
        let mut oids: Vec<u32> = self.types.keys().copied().collect();
        oids.sort_unstable();
        oids
    }

    /// Adds or replaces a type. Built-in types stay as they are: their meaning is fixed here.
    pub(crate) fn insert(&mut self, info: TypeInfo) {
        let known = self.contains(info.oid);
        if !(known && info.oid < FIRST_NORMAL_OID) {
            self.types.insert(info.oid, info);
        }
    }

    /// What is known of a type.
    pub(crate) fn get(&self, oid: u32) -> Option<&TypeInfo> {
        self.types.get(&oid)
    }

    /// True for a known type.
    pub(crate) fn contains(&self, oid: u32) -> bool {
        self.types.contains_key(&oid)
    }

    /// What a column of this type and modifier means.
    pub(crate) fn column(&self, oid: u32, typmod: i32) -> ColumnType {
        self.resolve(oid, typmod, RESOLUTION_DEPTH_MAX)
    }

    fn resolve(&self, oid: u32, typmod: i32, depth: usize) -> ColumnType {
        let Some(info) = self.get(oid).filter(|_| depth > 0) else {
            return ColumnType::text_only(TextKind::Opaque, format!("unknown (oid {oid})"));
        };
        match &info.shape {
            TypeShape::Domain { base, typmod: domain } => ColumnType {
                source_type: info.qualified_name(),
                ..self.resolve(*base, *domain, depth - 1)
            },
            TypeShape::Array { element } => self.resolve_array(*element, typmod, depth - 1),
            TypeShape::Enum(symbols) => ColumnType {
                logical_type: LogicalType::Text(TextKind::Enum(Arc::clone(symbols))),
                source_type: info.qualified_name(),
                decoder: CellDecoder::Text,
                copy_as_text: false,
                binary_supported: true,
            },
            TypeShape::Range | TypeShape::Multirange => ColumnType::text_only(TextKind::Range, info.qualified_name()),
            TypeShape::Composite | TypeShape::Pseudo => ColumnType::text_only(TextKind::Opaque, info.qualified_name()),
            TypeShape::Base => base_column(info, typmod),
        }
    }

    fn resolve_array(&self, element: u32, typmod: i32, depth: usize) -> ColumnType {
        let element = self.resolve(element, typmod, depth);
        let binary_supported = element.binary_supported && element.decoder.is_printable();
        ColumnType {
            logical_type: LogicalType::Array(Box::new(element.logical_type)),
            source_type: format!("{}[]", element.source_type),
            copy_as_text: element.copy_as_text || !binary_supported,
            binary_supported,
            decoder: CellDecoder::Array(Box::new(ArrayDecoder {
                delimiter: delimiter(&element.decoder),
                element: element.decoder,
            })),
        }
    }
}

// === impl TypeInfo ===

impl TypeInfo {
    /// As `format_type` prints it with the default search path.
    fn qualified_name(&self) -> String {
        let name = quoted_identifier(&self.name);
        match self.schema.as_str() {
            "pg_catalog" | "public" | "" => name,
            schema => format!("{}.{name}", quoted_identifier(schema)),
        }
    }
}

// === impl ColumnType ===

impl ColumnType {
    /// Pushes a value in the form that COPY was asked for; `None` is NULL. After an error nothing was pushed.
    pub(crate) fn push_copied(&self, value: Option<&[u8]>, batch: &mut ChangeBatch) -> Result<(), ValueError> {
        match value {
            Some(value) if self.copy_as_text => self.decoder.push_text(value, batch),
            Some(value) => self.decoder.push_binary(value, batch),
            None => {
                batch.push_null();
                Ok(())
            }
        }
    }

    fn text_only(kind: TextKind, source_type: String) -> Self {
        Self {
            logical_type: LogicalType::Text(kind),
            source_type,
            decoder: CellDecoder::TextOnly,
            copy_as_text: true,
            binary_supported: false,
        }
    }
}

/// What stands between elements of an array: the comma is a part of boxes, and PostGIS chose the colon.
fn delimiter(element: &CellDecoder) -> u8 {
    match element {
        CellDecoder::Shape(ShapeKind::Box) => b';',
        CellDecoder::Geometry => b':',
        _ => b',',
    }
}

/// OID, OID of its array, name.
const BUILTIN: &[(u32, u32, &str)] = &[
    (16, 1000, "bool"),
    (17, 1001, "bytea"),
    (18, 1002, "char"),
    (19, 1003, "name"),
    (20, 1016, "int8"),
    (21, 1005, "int2"),
    (22, 1006, "int2vector"),
    (23, 1007, "int4"),
    (24, 1008, "regproc"),
    (25, 1009, "text"),
    (26, 1028, "oid"),
    (27, 1010, "tid"),
    (28, 1011, "xid"),
    (29, 1012, "cid"),
    (30, 1013, "oidvector"),
    (114, 199, "json"),
    (142, 143, "xml"),
    (600, 1017, "point"),
    (601, 1018, "lseg"),
    (602, 1019, "path"),
    (603, 1020, "box"),
    (604, 1027, "polygon"),
    (628, 629, "line"),
    (650, 651, "cidr"),
    (700, 1021, "float4"),
    (701, 1022, "float8"),
    (718, 719, "circle"),
    (774, 775, "macaddr8"),
    (790, 791, "money"),
    (829, 1040, "macaddr"),
    (869, 1041, "inet"),
    (1033, 1034, "aclitem"),
    (1042, 1014, "bpchar"),
    (1043, 1015, "varchar"),
    (1082, 1182, "date"),
    (1083, 1183, "time"),
    (1114, 1115, "timestamp"),
    (1184, 1185, "timestamptz"),
    (1186, 1187, "interval"),
    (1266, 1270, "timetz"),
    (1560, 1561, "bit"),
    (1562, 1563, "varbit"),
    (1700, 1231, "numeric"),
    (1790, 2201, "refcursor"),
    (2202, 2207, "regprocedure"),
    (2203, 2208, "regoper"),
    (2204, 2209, "regoperator"),
    (2205, 2210, "regclass"),
    (2206, 2211, "regtype"),
    (2950, 2951, "uuid"),
    (2970, 2949, "txid_snapshot"),
    (3220, 3221, "pg_lsn"),
    (3614, 3643, "tsvector"),
    (3615, 3645, "tsquery"),
    (3642, 3644, "gtsvector"),
    (3734, 3735, "regconfig"),
    (3769, 3770, "regdictionary"),
    (3802, 3807, "jsonb"),
    (3904, 3905, "int4range"),
    (3906, 3907, "numrange"),
    (3908, 3909, "tsrange"),
    (3910, 3911, "tstzrange"),
    (3912, 3913, "daterange"),
    (3926, 3927, "int8range"),
    (4072, 4073, "jsonpath"),
    (4089, 4090, "regnamespace"),
    (4096, 4097, "regrole"),
    (4191, 4192, "regcollation"),
    (4451, 6150, "int4multirange"),
    (4532, 6151, "nummultirange"),
    (4533, 6152, "tsmultirange"),
    (4534, 6153, "tstzmultirange"),
    (4535, 6155, "datemultirange"),
    (4536, 6157, "int8multirange"),
    (5038, 5039, "pg_snapshot"),
    (5069, 271, "xid8"),
];

/// A column of a base type: built in by its OID, of an extension by its name.
fn base_column(info: &TypeInfo, typmod: i32) -> ColumnType {
    let builtin = info.schema == "pg_catalog" && info.oid < FIRST_NORMAL_OID;
    let known = if builtin {
        builtin_meaning(&info.name, typmod)
    } else {
        extension_meaning(&info.name)
    };
    let source_type = if builtin {
        type_name(&info.name, typmod)
    } else {
        extension_type_name(info, typmod)
    };
    let Some((logical_type, decoder)) = known else {
        return ColumnType::text_only(TextKind::Opaque, source_type);
    };
    // Money: the count of fraction digits depends on the server's locale, which only the text form shows. "char": bytes
    // beyond ASCII have no text form before PostgreSQL 16, and must fail alike in both. TextOnly: no binary form is known.
    let unsafe_binary = matches!(decoder, CellDecoder::Money | CellDecoder::TextOnly);
    ColumnType {
        copy_as_text: unsafe_binary || decoder == CellDecoder::InternalChar,
        binary_supported: !unsafe_binary,
        logical_type,
        source_type,
        decoder,
    }
}

fn builtin_meaning(name: &str, typmod: i32) -> Option<(LogicalType, CellDecoder)> {
    let text = LogicalType::Text;
    Some(match name {
        "bool" => (LogicalType::Boolean, CellDecoder::Boolean),
        "int2" => (LogicalType::Int16, CellDecoder::Int16),
        "int4" => (LogicalType::Int32, CellDecoder::Int32),
        "int8" => (LogicalType::Int64, CellDecoder::Int64),
        "oid" => (LogicalType::Int64, CellDecoder::Oid),
        "float4" => (LogicalType::Float32, CellDecoder::Float32),
        "float8" => (LogicalType::Float64, CellDecoder::Float64),
        "numeric" => (decimal(typmod), CellDecoder::Numeric),
        "money" => (LogicalType::Money, CellDecoder::Money),
        "text" | "varchar" | "bpchar" | "name" => (text(TextKind::Plain), CellDecoder::Text),
        "char" => (text(TextKind::Plain), CellDecoder::InternalChar),
        "json" => (text(TextKind::Json), CellDecoder::Text),
        "jsonb" => (text(TextKind::Json), CellDecoder::VersionedText),
        "xml" => (text(TextKind::Xml), CellDecoder::Text),
        "uuid" => (text(TextKind::Uuid), CellDecoder::Uuid),
        "tsvector" => (text(TextKind::TsVector), CellDecoder::TextOnly),
        "inet" | "cidr" => (text(TextKind::Network), CellDecoder::NetworkAddress),
        "macaddr" | "macaddr8" => (text(TextKind::Network), CellDecoder::HardwareAddress),
        "bytea" => (LogicalType::Bytes, CellDecoder::Bytea),
        "bit" | "varbit" => (
            LogicalType::Bits {
                length: u32::try_from(typmod).ok(),
            },
            CellDecoder::Bits,
        ),
        "date" => (LogicalType::Date, CellDecoder::Date),
        "time" => (
            LogicalType::Time {
                precision: precision(typmod),
            },
            CellDecoder::Time,
        ),
        "timetz" => (
            LogicalType::TimeTz {
                precision: precision(typmod),
            },
            CellDecoder::TimeTz,
        ),
        "timestamp" => (
            LogicalType::Timestamp {
                precision: precision(typmod),
            },
            CellDecoder::Timestamp,
        ),
        "timestamptz" => (
            LogicalType::TimestampTz {
                precision: precision(typmod),
            },
            CellDecoder::TimestampTz,
        ),
        "interval" => (LogicalType::Interval, CellDecoder::Interval),
        "point" => (LogicalType::Point, CellDecoder::Point),
        "line" => (LogicalType::Line, CellDecoder::Line),
        "circle" => (LogicalType::Circle, CellDecoder::Circle),
        "box" => shape(ShapeKind::Box),
        "lseg" => shape(ShapeKind::LineSegment),
        "path" => shape(ShapeKind::Path),
        "polygon" => shape(ShapeKind::Polygon),
        _ => return None,
    })
}

fn extension_meaning(name: &str) -> Option<(LogicalType, CellDecoder)> {
    let plain = LogicalType::Text(TextKind::Plain);
    Some(match name {
        "citext" => (plain, CellDecoder::Text),
        "isbn" | "isbn13" | "issn" | "issn13" | "ismn" | "ismn13" | "ean13" | "upc" => (plain, CellDecoder::TextOnly),
        "ltree" => (LogicalType::Text(TextKind::Ltree), CellDecoder::VersionedText),
        "hstore" => (LogicalType::Map, CellDecoder::Map),
        "geometry" => (LogicalType::Geometry, CellDecoder::Geometry),
        "geography" => (LogicalType::Geography, CellDecoder::Geometry),
        "vector" => (LogicalType::DoubleVector, CellDecoder::Vector),
        "halfvec" => (LogicalType::FloatVector, CellDecoder::HalfVector),
        "sparsevec" => (LogicalType::SparseVector, CellDecoder::SparseVector),
        _ => return None,
    })
}

fn shape(kind: ShapeKind) -> (LogicalType, CellDecoder) {
    (LogicalType::Shape(kind), CellDecoder::Shape(kind))
}

/// `precision << 16 | scale & 0x7ff`, plus 4; the scale is signed, 11 bits. A negative scale (PostgreSQL 15) rounds before
/// the point: such a value has no fraction, and as many more digits.
fn decimal(typmod: i32) -> LogicalType {
    let Some((precision, scale)) = decimal_modifier(typmod) else {
        return LogicalType::Decimal {
            precision: None,
            scale: None,
        };
    };
    let whole = u32::try_from(-scale).unwrap_or(0);
    LogicalType::Decimal {
        precision: Some(precision + whole),
        scale: Some(u32::try_from(scale).unwrap_or(0)),
    }
}

/// Declared precision and scale of `numeric(p,s)`.
pub(crate) fn decimal_modifier(typmod: i32) -> Option<(u32, i32)> {
    let modifier = typmod.checked_sub(MODIFIER_HEADER).filter(|modifier| *modifier >= 0)?;
    let scale = (modifier & 0x7ff ^ 0x400) - 0x400;
    let precision = u32::try_from(modifier >> 16 & 0xffff).ok()?;
    Some((precision, scale))
}

fn precision(typmod: i32) -> u8 {
    u8::try_from(typmod)
        .ok()
        .filter(|precision| *precision <= 6)
        .unwrap_or(TIME_PRECISION_DEFAULT)
}

/// pgvector's modifier is the count of dimensions, PostGIS's the kind of figure and its reference system; other
/// extensions' modifiers are not known here.
fn extension_type_name(info: &TypeInfo, typmod: i32) -> String {
    let name = info.qualified_name();
    match info.name.as_str() {
        "vector" | "halfvec" | "sparsevec" if typmod > 0 => format!("{name}({typmod})"),
        "geometry" | "geography" => format!("{name}{}", geometry_modifier(typmod)),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOOD: u32 = 16400;
    const POSITIVE: u32 = 16401;
    const NARROWED: u32 = 16402;
    const NUMERIC_8_3: i32 = (8 << 16) + 3 + 4;

    fn catalog() -> TypeCatalog {
        let mut catalog = TypeCatalog::builtin();
        let mut add = |oid, schema: &str, name: &str, shape| {
            catalog.insert(TypeInfo {
                oid,
                name: name.to_owned(),
                schema: schema.to_owned(),
                shape,
            });
        };
        let domain = |base, typmod| TypeShape::Domain { base, typmod };
        add(
            MOOD,
            "other",
            "Mood",
            TypeShape::Enum(Arc::from(["sad".to_owned(), "ok".to_owned()])),
        );
        add(POSITIVE, "public", "positive", domain(1700, NUMERIC_8_3));
        add(NARROWED, "public", "narrowed", domain(POSITIVE, -1));
        add(16403, "public", "numbers", domain(1007, -1));
        add(16404, "public", "_positive", TypeShape::Array { element: POSITIVE });
        add(16405, "extensions", "hstore", TypeShape::Base);
        add(16406, "public", "pair", TypeShape::Composite);
        add(16407, "public", "loop", domain(16407, -1));
        add(16408, "public", "_boxes", TypeShape::Array { element: 16409 });
        add(16409, "public", "boxes", domain(603, -1));
        add(16410, "public", "int4", TypeShape::Base);
        add(23, "public", "int4", TypeShape::Composite);
        catalog
    }

    fn decimal(precision: u32, scale: u32) -> LogicalType {
        LogicalType::Decimal {
            precision: Some(precision),
            scale: Some(scale),
        }
    }

    #[test]
    fn modifiers_become_lengths_and_precisions() {
        let catalog = TypeCatalog::builtin();
        let logical = |oid, typmod| catalog.column(oid, typmod).logical_type;
        assert_eq!(logical(1700, (10 << 16) + 2 + 4), decimal(10, 2));
        assert_eq!(logical(1700, (3 << 16) + 0x7fe + 4), decimal(5, 0));
        assert_eq!(logical(1700, (3 << 16) + 5 + 4), decimal(3, 5));
        let unlimited = LogicalType::Decimal {
            precision: None,
            scale: None,
        };
        assert_eq!(logical(1700, -1), unlimited);
        assert_eq!(logical(1560, 1), LogicalType::Bits { length: Some(1) });
        assert_eq!(logical(1562, -1), LogicalType::Bits { length: None });
        assert_eq!(logical(1114, 3), LogicalType::Timestamp { precision: 3 });
        assert_eq!(logical(1083, -1), LogicalType::Time { precision: 6 });
        assert_eq!(
            logical(1231, (10 << 16) + 2 + 4),
            LogicalType::Array(Box::new(decimal(10, 2)))
        );
    }

    #[test]
    fn domains_are_their_base_with_their_own_modifier() {
        let narrowed = catalog().column(NARROWED, -1);
        assert_eq!(narrowed.logical_type, decimal(8, 3));
        assert_eq!(
            (narrowed.source_type.as_str(), narrowed.decoder),
            ("narrowed", CellDecoder::Numeric)
        );
        let numbers = catalog().column(16403, -1);
        assert_eq!(numbers.logical_type, LogicalType::Array(Box::new(LogicalType::Int32)));
        let several = catalog().column(16404, -1);
        assert_eq!(
            (several.logical_type, several.source_type.as_str()),
            (LogicalType::Array(Box::new(decimal(8, 3))), "positive[]")
        );
        // Delimited like the arrays of their base.
        let CellDecoder::Array(boxes) = catalog().column(16408, -1).decoder else {
            panic!()
        };
        assert_eq!(boxes.delimiter, b';');
    }

    #[test]
    fn other_types() {
        let mood = catalog().column(MOOD, -1);
        assert_eq!(mood.source_type, "other.\"Mood\"");
        assert!(matches!(mood.logical_type, LogicalType::Text(TextKind::Enum(symbols)) if symbols.len() == 2));
        assert_eq!(catalog().column(16405, -1).logical_type, LogicalType::Map);
        assert_eq!(
            catalog().column(16406, -1).logical_type,
            LogicalType::Text(TextKind::Opaque)
        );
        assert_eq!(
            catalog().column(3904, -1).logical_type,
            LogicalType::Text(TextKind::Range)
        );
    }

    #[test]
    fn an_unknown_type_is_text() {
        let unknown = catalog().column(99_999, 5);
        assert_eq!(unknown.logical_type, LogicalType::Text(TextKind::Opaque));
        assert!(unknown.copy_as_text && !unknown.binary_supported);
        assert_eq!(unknown.source_type, "unknown (oid 99999)");
        // A circle of domains ends, and a user's own "int4" is not the server's.
        assert_eq!(
            catalog().column(16407, -1).logical_type,
            LogicalType::Text(TextKind::Opaque)
        );
        assert_eq!(
            catalog().column(16410, -1).logical_type,
            LogicalType::Text(TextKind::Opaque)
        );
    }

    #[test]
    fn built_in_types_cannot_be_replaced() {
        let catalog = catalog();
        assert_eq!(catalog.column(23, -1).logical_type, LogicalType::Int32);
        assert_eq!(catalog.get(23).unwrap().schema, "pg_catalog");
        assert!(catalog.contains(MOOD) && !catalog.contains(99_999));
    }

    #[test]
    fn what_is_not_safe_in_binary_form_is_cast() {
        let catalog = TypeCatalog::builtin();
        let forms = |oid| {
            let column = catalog.column(oid, -1);
            (column.copy_as_text, column.binary_supported)
        };
        assert_eq!(forms(23), (false, true));
        assert_eq!(forms(1007), (false, true));
        assert_eq!(forms(790), (true, false), "money depends on the locale");
        assert_eq!(forms(791), (true, false));
        assert_eq!(forms(3614), (true, false), "tsvector is known as text only");
        assert_eq!(forms(600), (false, true));
        assert_eq!(
            forms(1017),
            (true, false),
            "an array of points that does not begin at 1 cannot be printed"
        );
        assert_eq!(forms(869), (false, true), "inet::text is not what the log prints");
    }
}
