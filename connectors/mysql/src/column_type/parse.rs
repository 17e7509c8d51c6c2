//! `COLUMN_TYPE` as the catalogue prints it, and as statements spell it.

use std::sync::Arc;

use super::{ColumnType, IntegerWidth, TypeError, TypeKind};
use crate::charset::Charset;

/// Digits of a DECIMAL without any declared.
const DECIMAL_DEFAULT: (u8, u8) = (10, 0);
/// Most digits of a DECIMAL, and most after the point.
const DECIMAL_MAX: (u8, u8) = (65, 30);
/// Most bits of a BIT.
const BIT_MAX: u8 = 64;
/// Most fraction digits of a TIME, DATETIME or TIMESTAMP.
const FRACTION_MAX: u8 = 6;
/// From this many binary digits on, FLOAT(p) is a DOUBLE.
const FLOAT_DOUBLE_DIGITS: u8 = 25;

/// Names that statements use for a type, the catalogue's for it, with what comes with it.
const SPELLINGS: [(&str, &str); 24] = [
    ("bool", "tinyint(1)"),
    ("boolean", "tinyint(1)"),
    ("int1", "tinyint"),
    ("int2", "smallint"),
    ("int3", "mediumint"),
    ("middleint", "mediumint"),
    ("int4", "int"),
    ("integer", "int"),
    ("int8", "bigint"),
    ("serial", "bigint unsigned"),
    ("dec", "decimal"),
    ("numeric", "decimal"),
    ("fixed", "decimal"),
    ("number", "decimal"),
    ("float4", "float"),
    ("float8", "double"),
    ("real", "double"),
    ("character", "char"),
    ("nchar", "char"),
    ("nvarchar", "varchar"),
    ("varcharacter", "varchar"),
    ("varchar2", "varchar"),
    ("clob", "longtext"),
    ("raw", "varbinary"),
];

/// A type's parts, in lower case but for its arguments.
#[derive(Debug, PartialEq, Eq)]
struct Declaration<'a> {
    /// The catalogue's name of the type.
    name: String,
    /// What stands in parentheses.
    arguments: Option<&'a str>,
    /// The words behind it.
    attributes: Vec<String>,
}

pub(super) fn parse(column_type: &str, charset: Option<&str>) -> Result<ColumnType, TypeError> {
    let declaration = Declaration::parse(column_type).ok_or_else(|| TypeError::Malformed(column_type.to_owned()))?;
    let kind = declaration.kind(column_type, charset)?;
    Ok(ColumnType::new(kind, declaration.print()))
}

// === impl Declaration ===

impl<'a> Declaration<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (before, arguments, after) = split_arguments(text.trim())?;
        let words = without_comments(before);
        let mut words: Vec<String> = words.split_whitespace().map(str::to_ascii_lowercase).collect();
        let after = without_comments(after);
        words.extend(after.split_whitespace().map(str::to_ascii_lowercase));
        let mut words = words.into_iter().peekable();
        let mut name = words.next()?;
        if name == "national" {
            name = words.next()?;
        }
        if name == "double" {
            words.next_if(|word| word == "precision");
        }
        if name == "long" {
            // LONG VARCHAR is MEDIUMTEXT, LONG VARBINARY is MEDIUMBLOB.
            match words.next_if(|word| matches!(word.as_str(), "varchar" | "varbinary")) {
                Some(word) if word == "varbinary" => name = "mediumblob".to_owned(),
                _ => name = "mediumtext".to_owned(),
            }
        }
        if matches!(name.as_str(), "char" | "character" | "nchar") && words.next_if_eq("varying").is_some() {
            name = "varchar".to_owned();
        }
        let mut declaration = Self {
            name,
            arguments,
            attributes: words.collect(),
        };
        declaration.respell();
        Some(declaration)
    }

    /// Puts the catalogue's name in place of another spelling.
    fn respell(&mut self) {
        let Some((_, catalogue)) = SPELLINGS.iter().find(|(spelling, _)| *spelling == self.name) else {
            return;
        };
        if let Some((name, _)) = catalogue.split_once('(') {
            name.clone_into(&mut self.name);
            self.arguments = Some("1");
        } else if let Some((name, attribute)) = catalogue.split_once(' ') {
            name.clone_into(&mut self.name);
            self.attributes.insert(0, attribute.to_owned());
        } else {
            (*catalogue).clone_into(&mut self.name);
        }
    }

    /// The declaration as the catalogue prints it.
    fn print(&self) -> String {
        let mut text = self.name.clone();
        let is_list = matches!(self.name.as_str(), "enum" | "set");
        match self.arguments {
            Some(arguments) if is_list => text.push_str(&format!("({arguments})")),
            Some(arguments) => {
                let numbers: Vec<&str> = arguments.split(',').map(str::trim).collect();
                text.push_str(&format!("({})", numbers.join(",")));
            }
            None => text.push_str(self.default_arguments()),
        }
        for attribute in ["unsigned", "zerofill"] {
            let implied = attribute == "unsigned" && self.has("zerofill");
            if self.has(attribute) || implied {
                text.push(' ');
                text.push_str(attribute);
            }
        }
        text
    }

    fn default_arguments(&self) -> &'static str {
        match self.name.as_str() {
            "decimal" => "(10,0)",
            "bit" | "char" | "binary" => "(1)",
            _ => "",
        }
    }

    fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|word| word == attribute)
    }

    fn kind(&self, text: &str, charset: Option<&str>) -> Result<TypeKind, TypeError> {
        if let Some(width) = self.integer_width() {
            let unsigned = self.has("unsigned") || self.has("zerofill");
            return Ok(TypeKind::Integer { width, unsigned });
        }
        let malformed = || TypeError::Malformed(text.to_owned());
        Ok(match self.name.as_str() {
            "decimal" => self.decimal().ok_or_else(malformed)?,
            "float" => self.float().ok_or_else(malformed)?,
            "double" => TypeKind::Double,
            "bit" => TypeKind::Bit {
                length: self.number(1, 1..=BIT_MAX).ok_or_else(malformed)?,
            },
            "year" => TypeKind::Year,
            "date" => TypeKind::Date,
            "time" => TypeKind::Time {
                precision: self.fraction().ok_or_else(malformed)?,
            },
            "datetime" => TypeKind::DateTime {
                precision: self.fraction().ok_or_else(malformed)?,
            },
            "timestamp" => TypeKind::Timestamp {
                precision: self.fraction().ok_or_else(malformed)?,
            },
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => self.characters(text, charset)?,
            "binary" => TypeKind::FixedBytes {
                length: self.number(1, 0..=u8::MAX).ok_or_else(malformed)?,
            },
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => TypeKind::Bytes,
            "enum" => TypeKind::Enum {
                members: self.members().ok_or_else(malformed)?,
                charset: known_charset(text, charset)?,
            },
            "set" => TypeKind::Set {
                members: self.members().ok_or_else(malformed)?,
                charset: known_charset(text, charset)?,
            },
            // MariaDB's catalogue prints longtext; a statement may say json, and then the characters are utf8mb4.
            "json" => TypeKind::Json,
            "point" => TypeKind::Point,
            "geometry" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "geomcollection" => TypeKind::Geometry,
            "vector" => TypeKind::Vector,
            "uuid" => TypeKind::Uuid,
            "inet4" => TypeKind::Inet4,
            "inet6" => TypeKind::Inet6,
            _ => return Err(TypeError::Unknown(text.to_owned())),
        })
    }

    fn integer_width(&self) -> Option<IntegerWidth> {
        Some(match self.name.as_str() {
            "tinyint" => IntegerWidth::Tiny,
            "smallint" => IntegerWidth::Small,
            "mediumint" => IntegerWidth::Medium,
            "int" => IntegerWidth::Regular,
            "bigint" => IntegerWidth::Big,
            _ => return None,
        })
    }

    fn decimal(&self) -> Option<TypeKind> {
        let (precision, scale) = match self.arguments {
            None => DECIMAL_DEFAULT,
            Some(arguments) => match arguments.split_once(',') {
                None => (arguments.trim().parse().ok()?, 0),
                Some((precision, scale)) => (precision.trim().parse().ok()?, scale.trim().parse().ok()?),
            },
        };
        // DECIMAL(0) is the default, as the server has it.
        let precision = if precision == 0 { DECIMAL_DEFAULT.0 } else { precision };
        let valid = precision <= DECIMAL_MAX.0 && scale <= DECIMAL_MAX.1 && scale <= precision;
        valid.then_some(TypeKind::Decimal { precision, scale })
    }

    fn float(&self) -> Option<TypeKind> {
        let Some(arguments) = self.arguments else {
            return Some(TypeKind::Float { widened: false });
        };
        if arguments.contains(',') {
            return Some(TypeKind::Float { widened: true });
        }
        let digits: u8 = arguments.trim().parse().ok()?;
        Some(if digits < FLOAT_DOUBLE_DIGITS {
            TypeKind::Float { widened: false }
        } else {
            TypeKind::Double
        })
    }

    fn characters(&self, text: &str, charset: Option<&str>) -> Result<TypeKind, TypeError> {
        match known_charset(text, charset)? {
            Charset::Binary => Ok(TypeKind::Bytes),
            charset => Ok(TypeKind::Text { charset }),
        }
    }

    fn fraction(&self) -> Option<u8> {
        self.number(0, 0..=FRACTION_MAX)
    }

    /// The only argument, where it is within `range`; `default` without one.
    fn number(&self, default: u8, range: std::ops::RangeInclusive<u8>) -> Option<u8> {
        let number = match self.arguments {
            None => default,
            Some(argument) => argument.trim().parse().ok()?,
        };
        range.contains(&number).then_some(number)
    }

    /// The members in quotes, separated by commas.
    fn members(&self) -> Option<Arc<[String]>> {
        let mut members = Vec::new();
        let mut rest = self.arguments?.trim_start();
        loop {
            let (member, behind) = take_quoted(rest)?;
            members.push(member);
            rest = behind.trim_start();
            match rest.strip_prefix(',') {
                Some(next) => rest = next.trim_start(),
                None => break,
            }
        }
        rest.is_empty().then(|| members.into())
    }
}

fn known_charset(text: &str, charset: Option<&str>) -> Result<Charset, TypeError> {
    let name = charset.ok_or_else(|| TypeError::NoCharset(text.to_owned()))?;
    Charset::named(name).ok_or_else(|| TypeError::UnknownCharset(name.to_owned()))
}

/// What stands before the outer parentheses, in them and behind them.
fn split_arguments(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let comment = text.find("/*").unwrap_or(text.len());
    let Some(open) = text.find('(').filter(|open| *open < comment) else {
        return Some((text, None, ""));
    };
    let (before, rest) = text.split_at_checked(open)?;
    let inside = rest.strip_prefix('(')?;
    let close = closing_parenthesis(inside)?;
    let (arguments, rest) = inside.split_at_checked(close)?;
    Some((before, Some(arguments), rest.strip_prefix(')')?))
}

/// Offset of the first `)` that is not in quotes.
fn closing_parenthesis(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    text.bytes().position(|byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            // Two quotes in a row close and open again, which comes to the same.
            b'\'' => quoted = !quoted,
            b'\\' if quoted => escaped = true,
            b')' => return !quoted,
            _ => {}
        }
        false
    })
}

/// `'it''s'` and what stands behind it. The server doubles quotes and escapes backslashes, line ends and zero bytes.
fn take_quoted(text: &str) -> Option<(String, &str)> {
    let mut characters = text.strip_prefix('\'')?.chars();
    let mut member = String::new();
    loop {
        match characters.next()? {
            '\'' => match characters.as_str().strip_prefix('\'') {
                Some(rest) => {
                    member.push('\'');
                    characters = rest.chars();
                }
                None => return Some((member, characters.as_str())),
            },
            '\\' => member.push(match characters.next()? {
                '0' => '\0',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'b' => '\u{8}',
                'Z' => '\u{1a}',
                other => other,
            }),
            other => member.push(other),
        }
    }
}

/// The text without `/* … */`: MariaDB marks types of older versions and compressed columns so.
fn without_comments(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::with_capacity(text.len());
    while let Some((before, comment)) = rest.split_once("/*") {
        kept.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailrace_core::value::{LogicalType, TextKind};

    use crate::column_type::TypePolicy;

    fn parsed(text: &str) -> ColumnType {
        ColumnType::parse(text, Some("utf8mb4")).unwrap()
    }

    fn logical(text: &str) -> LogicalType {
        parsed(text).logical_type(&TypePolicy::default())
    }

    #[test]
    fn the_catalogue_prints_types_as_they_were_read() {
        let printed = [
            "int(10) unsigned zerofill",
            "tinyint(1)",
            "bigint(20) unsigned",
            "mediumint(9)",
            "int",
            "decimal(10,2)",
            "decimal(65,30) unsigned",
            "float(7,3)",
            "double",
            "double(10,3) unsigned",
            "bit(8)",
            "year(4)",
            "date",
            "time(6)",
            "datetime(3)",
            "timestamp",
            "varchar(20)",
            "char(255)",
            "longtext",
            "binary(16)",
            "varbinary(255)",
            "tinyblob",
            "enum('a','it''s','),\\\\(')",
            "set('x','y,z')",
            "json",
            "geometry",
            "point",
            "geomcollection",
            "vector(3)",
            "uuid",
            "inet4",
            "inet6",
        ];
        for text in printed {
            assert_eq!(parsed(text).source_type(), text);
        }
    }

    #[test]
    fn other_spellings_become_the_catalogues() {
        let spellings = [
            ("INTEGER(11)", "int(11)"),
            ("BOOL", "tinyint(1)"),
            ("NUMERIC (5 , 2) UNSIGNED", "decimal(5,2) unsigned"),
            ("decimal", "decimal(10,0)"),
            ("DOUBLE PRECISION", "double"),
            ("CHARACTER VARYING (20)", "varchar(20)"),
            ("NATIONAL CHAR(3)", "char(3)"),
            ("long varbinary", "mediumblob"),
            ("LONG", "mediumtext"),
            ("int zerofill", "int unsigned zerofill"),
            ("SERIAL", "bigint unsigned"),
            ("bit", "bit(1)"),
            ("varchar(1000) /*M!100301 COMPRESSED*/", "varchar(1000)"),
            ("datetime /* mariadb-5.3 */", "datetime"),
            ("uuid /* old */", "uuid"),
            ("ENUM('A' , 'b')", "enum('A' , 'b')"),
        ];
        for (spelling, printed) in spellings {
            assert_eq!(parsed(spelling).source_type(), printed);
        }
    }

    #[test]
    fn what_types_mean() {
        let text = |kind| LogicalType::Text(kind);
        let decimal = |precision, scale| LogicalType::Decimal {
            precision: Some(precision),
            scale: Some(scale),
        };
        let meanings = [
            ("tinyint(3) unsigned", LogicalType::Int16),
            ("tinyint", LogicalType::Int16),
            ("smallint", LogicalType::Int16),
            ("smallint unsigned", LogicalType::Int32),
            ("mediumint unsigned", LogicalType::Int32),
            ("int", LogicalType::Int32),
            ("int zerofill", LogicalType::Int64),
            ("bigint", LogicalType::Int64),
            ("bigint unsigned", LogicalType::UnsignedInt64),
            ("decimal(7)", decimal(7, 0)),
            ("numeric(7,5)", decimal(7, 5)),
            ("float", LogicalType::Float32),
            ("float(24)", LogicalType::Float32),
            ("float(25)", LogicalType::Float64),
            ("float(7,3)", LogicalType::Float64),
            ("double", LogicalType::Float64),
            ("bit(1)", LogicalType::Boolean),
            ("bit(2)", LogicalType::Bits { length: Some(2) }),
            ("year(4)", LogicalType::Year),
            ("time(2)", LogicalType::Time { precision: 2 }),
            ("datetime(3)", LogicalType::Timestamp { precision: 3 }),
            ("timestamp", LogicalType::TimestampTz { precision: 0 }),
            ("text", text(TextKind::Plain)),
            ("binary(4)", LogicalType::Bytes),
            ("json", text(TextKind::Json)),
            ("point", LogicalType::Point),
            ("polygon", LogicalType::Geometry),
            ("vector(3)", LogicalType::FloatVector),
            ("uuid", text(TextKind::Uuid)),
            ("inet6", text(TextKind::Network)),
        ];
        for (printed, expected) in meanings {
            assert_eq!(logical(printed), expected, "{printed}");
        }
        assert_eq!(
            logical(r"enum('a','it''s','\\,\n')"),
            text(TextKind::Enum(["a", "it's", "\\,\n"].map(str::to_owned).into()))
        );
        assert_eq!(logical("set('x')"), text(TextKind::Set(["x".to_owned()].into())));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let refused = [
            "",
            "klingon",
            "decimal(66,2)",
            "decimal(3,4)",
            "bit(65)",
            "bit(0)",
            "time(7)",
            "enum",
            "enum()",
            "enum('a'",
            "enum('a' 'b')",
            "set(a)",
            "varchar(20",
        ];
        for text in refused {
            assert!(ColumnType::parse(text, Some("utf8mb4")).is_err(), "{text}");
        }
        assert!(ColumnType::parse("varchar(5)", None).is_err());
        assert!(ColumnType::parse("varchar(5)", Some("klingon")).is_err());
        assert_eq!(ColumnType::parse("text", Some("binary")).unwrap().kind, TypeKind::Bytes);
    }
}
