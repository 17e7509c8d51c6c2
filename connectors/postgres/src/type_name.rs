//! The SQL name of a built-in type with its modifier, as `format_type` prints it.

use crate::type_catalog::decimal_modifier;

/// What varchar and bpchar add to their modifier.
const MODIFIER_HEADER: i32 = 4;

/// `interval`: all fields, and no precision.
const INTERVAL_ALL_FIELDS: i32 = 0x7fff;
const INTERVAL_NO_PRECISION: i32 = 0xffff;

/// Fields that an interval is restricted to, by the bits of the modifier's upper half.
const INTERVAL_FIELDS: [(i32, &str); 13] = [
    (0x0004, " year"),
    (0x0002, " month"),
    (0x0008, " day"),
    (0x0400, " hour"),
    (0x0800, " minute"),
    (0x1000, " second"),
    (0x0006, " year to month"),
    (0x0408, " day to hour"),
    (0x0c08, " day to minute"),
    (0x1c08, " day to second"),
    (0x0c00, " hour to minute"),
    (0x1c00, " hour to second"),
    (0x1800, " minute to second"),
];

/// Kinds of figures by PostGIS's numbers.
const GEOMETRY_KINDS: [&str; 16] = [
    "Geometry",
    "Point",
    "LineString",
    "Polygon",
    "MultiPoint",
    "MultiLineString",
    "MultiPolygon",
    "GeometryCollection",
    "CircularString",
    "CompoundCurve",
    "CurvePolygon",
    "MultiCurve",
    "MultiSurface",
    "PolyhedralSurface",
    "Triangle",
    "Tin",
];

/// Name of the built-in type `name` with the modifier `typmod` (-1: none).
pub(crate) fn type_name(name: &str, typmod: i32) -> String {
    let length = |header: i32| typmod.checked_sub(header).filter(|length| *length >= 0);
    let precision = length(0).map(|precision| format!("({precision})")).unwrap_or_default();
    match name {
        "bool" => "boolean".to_owned(),
        "char" => "\"char\"".to_owned(),
        "int2" => "smallint".to_owned(),
        "int4" => "integer".to_owned(),
        "int8" => "bigint".to_owned(),
        "float4" => "real".to_owned(),
        "float8" => "double precision".to_owned(),
        "bpchar" => length(MODIFIER_HEADER).map_or("bpchar".to_owned(), |length| format!("character({length})")),
        "varchar" => {
            let length = length(MODIFIER_HEADER).map(|length| format!("({length})"));
            format!("character varying{}", length.unwrap_or_default())
        }
        "numeric" => match decimal_modifier(typmod) {
            Some((precision, scale)) => format!("numeric({precision},{scale})"),
            None => "numeric".to_owned(),
        },
        "bit" => length(0).map_or("\"bit\"".to_owned(), |length| format!("bit({length})")),
        "varbit" => format!("bit varying{precision}"),
        "time" => format!("time{precision} without time zone"),
        "timetz" => format!("time{precision} with time zone"),
        "timestamp" => format!("timestamp{precision} without time zone"),
        "timestamptz" => format!("timestamp{precision} with time zone"),
        "interval" => interval_name(typmod),
        other => quoted_identifier(other),
    }
}

fn interval_name(typmod: i32) -> String {
    if typmod < 0 {
        return "interval".to_owned();
    }
    let (fields, precision) = (typmod >> 16 & INTERVAL_ALL_FIELDS, typmod & INTERVAL_NO_PRECISION);
    let fields = INTERVAL_FIELDS
        .iter()
        .find(|(bits, _)| *bits == fields)
        .map_or("", |(_, name)| name);
    if precision == INTERVAL_NO_PRECISION {
        format!("interval{fields}")
    } else {
        format!("interval{fields}({precision})")
    }
}

/// PostGIS: `(PointZ,4326)`. Reference system in bits 8 to 28, kind of figure in bits 2 to 7, Z in bit 1, M in bit 0.
pub(crate) fn geometry_modifier(typmod: i32) -> String {
    let system = ((typmod & 0x0fff_ff00) - (typmod & 0x1000_0000)) >> 8;
    let kind = usize::try_from(typmod >> 2 & 0x3f)
        .ok()
        .and_then(|kind| GEOMETRY_KINDS.get(kind));
    if typmod < 0 || (system == 0 && typmod & 0xff == 0) {
        return String::new();
    }
    let z = if typmod & 2 == 0 { "" } else { "Z" };
    let m = if typmod & 1 == 0 { "" } else { "M" };
    let system = if system > 0 {
        format!(",{system}")
    } else {
        String::new()
    };
    format!("({}{z}{m}{system})", kind.unwrap_or(&"Geometry"))
}

/// The identifier, in double quotes where it would not be read back without them. Key words are not looked up.
pub(crate) fn quoted_identifier(name: &str) -> String {
    let starts_plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if starts_plain && name.bytes().all(plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_format_type_prints_them() {
        for (name, typmod, expected) in [
            ("int4", -1, "integer"),
            ("float8", -1, "double precision"),
            ("char", -1, "\"char\""),
            ("bpchar", 14, "character(10)"),
            ("bpchar", -1, "bpchar"),
            ("varchar", 6, "character varying(2)"),
            ("varchar", -1, "character varying"),
            ("numeric", -1, "numeric"),
            ("numeric", (10 << 16) + 2 + 4, "numeric(10,2)"),
            ("numeric", (3 << 16) + 0x7fe + 4, "numeric(3,-2)"),
            ("bit", 3, "bit(3)"),
            ("varbit", -1, "bit varying"),
            ("time", 3, "time(3) without time zone"),
            ("timestamptz", -1, "timestamp with time zone"),
            ("interval", -1, "interval"),
            ("interval", (0x7fff << 16) + 3, "interval(3)"),
            ("interval", (0x1c08 << 16) + 2, "interval day to second(2)"),
            ("interval", (0x0004 << 16) + 0xffff, "interval year"),
            ("jsonb", -1, "jsonb"),
        ] {
            assert_eq!(type_name(name, typmod), expected);
        }
    }

    #[test]
    fn modifiers_of_geometries() {
        assert_eq!(geometry_modifier(-1), "");
        assert_eq!(geometry_modifier((4326 << 8) + (1 << 2)), "(Point,4326)");
        assert_eq!(geometry_modifier((3 << 2) + 1), "(PolygonM)");
        assert_eq!(geometry_modifier((4326 << 8) + 3), "(GeometryZM,4326)");
        assert_eq!(geometry_modifier(63 << 2), "(Geometry)");
    }

    #[test]
    fn identifiers() {
        for (name, expected) in [
            ("mood", "mood"),
            ("Mood", "\"Mood\""),
            ("a b", "\"a b\""),
            ("q\"x", "\"q\"\"x\""),
            ("1st", "\"1st\""),
            ("_x1", "_x1"),
            ("é", "\"é\""),
        ] {
            assert_eq!(quoted_identifier(name), expected);
        }
    }
}
