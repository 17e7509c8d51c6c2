//! Character sets by the numbers of their collations, and text in them as UTF-8.
//!
//! A column's characters are stored, logged and sent in the column's own set; everything beyond the decoder is UTF-8.

mod encoding;
mod multi_byte;
mod single_byte;

use serde::{Deserialize, Serialize};

pub(crate) use encoding::{TextEncoding, TextError};

/// A character set of MySQL or MariaDB, by the server's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Charset {
    Armscii8,
    Ascii,
    Big5,
    Binary,
    Cp1250,
    Cp1251,
    Cp1256,
    Cp1257,
    Cp850,
    Cp852,
    Cp866,
    Cp932,
    Dec8,
    Eucjpms,
    Euckr,
    Gb18030,
    Gb2312,
    Gbk,
    Geostd8,
    Greek,
    Hebrew,
    Hp8,
    Keybcs2,
    Koi8r,
    Koi8u,
    Latin1,
    Latin2,
    Latin5,
    Latin7,
    Macce,
    Macroman,
    Sjis,
    Swe7,
    Tis620,
    Ucs2,
    Ujis,
    Utf16,
    Utf16le,
    Utf32,
    Utf8mb3,
    Utf8mb4,
}

/// Every set with its name and the bytes of its longest character.
const CHARSETS: [(Charset, &str, u8); 41] = [
    (Charset::Utf8mb4, "utf8mb4", 4),
    (Charset::Utf8mb3, "utf8mb3", 3),
    (Charset::Latin1, "latin1", 1),
    (Charset::Ascii, "ascii", 1),
    (Charset::Binary, "binary", 1),
    (Charset::Armscii8, "armscii8", 1),
    (Charset::Big5, "big5", 2),
    (Charset::Cp1250, "cp1250", 1),
    (Charset::Cp1251, "cp1251", 1),
    (Charset::Cp1256, "cp1256", 1),
    (Charset::Cp1257, "cp1257", 1),
    (Charset::Cp850, "cp850", 1),
    (Charset::Cp852, "cp852", 1),
    (Charset::Cp866, "cp866", 1),
    (Charset::Cp932, "cp932", 2),
    (Charset::Dec8, "dec8", 1),
    (Charset::Eucjpms, "eucjpms", 3),
    (Charset::Euckr, "euckr", 2),
    (Charset::Gb18030, "gb18030", 4),
    (Charset::Gb2312, "gb2312", 2),
    (Charset::Gbk, "gbk", 2),
    (Charset::Geostd8, "geostd8", 1),
    (Charset::Greek, "greek", 1),
    (Charset::Hebrew, "hebrew", 1),
    (Charset::Hp8, "hp8", 1),
    (Charset::Keybcs2, "keybcs2", 1),
    (Charset::Koi8r, "koi8r", 1),
    (Charset::Koi8u, "koi8u", 1),
    (Charset::Latin2, "latin2", 1),
    (Charset::Latin5, "latin5", 1),
    (Charset::Latin7, "latin7", 1),
    (Charset::Macce, "macce", 1),
    (Charset::Macroman, "macroman", 1),
    (Charset::Sjis, "sjis", 2),
    (Charset::Swe7, "swe7", 1),
    (Charset::Tis620, "tis620", 1),
    (Charset::Ucs2, "ucs2", 2),
    (Charset::Ujis, "ujis", 3),
    (Charset::Utf16, "utf16", 4),
    (Charset::Utf16le, "utf16le", 4),
    (Charset::Utf32, "utf32", 4),
];

/// MariaDB numbers the collations without padding like those with it, 1024 higher.
const NO_PAD: std::ops::Range<u32> = 1024..2048;

// === impl Charset ===

impl Charset {
    /// The set that the catalogue calls `name`, in any case. `utf8` is what older servers call `utf8mb3`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("utf8") {
            return Some(Self::Utf8mb3);
        }
        let known = CHARSETS.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name));
        known.map(|(charset, ..)| *charset)
    }

    /// The set of a collation by its name: `latin1_swedish_ci` is of latin1.
    pub(crate) fn of_collation_named(collation: &str) -> Option<Self> {
        let (charset, _) = collation.split_once('_').unwrap_or((collation, ""));
        Self::named(charset)
    }

    /// The set of a collation by its number, as `information_schema.COLLATIONS` lists them.
    pub(crate) fn of_collation(collation: u32) -> Option<Self> {
        let collation = if NO_PAD.contains(&collation) {
            collation - NO_PAD.start
        } else {
            collation
        };
        Some(match collation {
            45 | 46 | 224..=247 | 255..=323 | 608..=639 | 2304..=2559 => Self::Utf8mb4,
            33 | 76 | 83 | 192..=223 | 576..=607 | 2048..=2303 => Self::Utf8mb3,
            5 | 8 | 15 | 31 | 47..=49 | 94 => Self::Latin1,
            63 => Self::Binary,
            11 | 65 => Self::Ascii,
            1 | 84 => Self::Big5,
            2 | 9 | 21 | 27 | 77 => Self::Latin2,
            3 | 69 => Self::Dec8,
            4 | 80 => Self::Cp850,
            6 | 72 => Self::Hp8,
            7 | 74 => Self::Koi8r,
            10 | 82 => Self::Swe7,
            12 | 91 => Self::Ujis,
            13 | 88 => Self::Sjis,
            14 | 23 | 50..=52 => Self::Cp1251,
            16 | 71 => Self::Hebrew,
            18 | 89 => Self::Tis620,
            19 | 85 => Self::Euckr,
            20 | 41 | 42 | 79 => Self::Latin7,
            22 | 75 => Self::Koi8u,
            24 | 86 => Self::Gb2312,
            25 | 70 => Self::Greek,
            26 | 34 | 44 | 66 | 99 => Self::Cp1250,
            28 | 87 => Self::Gbk,
            29 | 58 | 59 => Self::Cp1257,
            30 | 78 => Self::Latin5,
            32 | 64 => Self::Armscii8,
            35 | 90 | 128..=159 | 640..=671 | 2560..=2815 => Self::Ucs2,
            36 | 68 => Self::Cp866,
            37 | 73 => Self::Keybcs2,
            38 | 43 => Self::Macce,
            39 | 53 => Self::Macroman,
            40 | 81 => Self::Cp852,
            54 | 55 | 101..=124 | 672..=703 | 2816..=3071 => Self::Utf16,
            56 | 62 => Self::Utf16le,
            57 | 67 => Self::Cp1256,
            60 | 61 | 160..=183 | 736..=767 | 3072..=3327 => Self::Utf32,
            92 | 93 => Self::Geostd8,
            95 | 96 => Self::Cp932,
            97 | 98 => Self::Eucjpms,
            248..=250 => Self::Gb18030,
            _ => return None,
        })
    }

    /// The server's name for it.
    pub(crate) fn name(self) -> &'static str {
        self.entry().1
    }

    /// Bytes of its longest character: a length in bytes divided by it is one in characters.
    pub(crate) fn character_max_bytes(self) -> u8 {
        self.entry().2
    }

    fn entry(self) -> &'static (Self, &'static str, u8) {
        const UNLISTED: (Charset, &str, u8) = (Charset::Binary, "binary", 1);
        let known = CHARSETS.iter().find(|(charset, ..)| *charset == self);
        known.unwrap_or(const { &UNLISTED })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_found_by_its_name() {
        for (charset, name, longest) in CHARSETS {
            assert_eq!(Charset::named(name), Some(charset));
            assert_eq!(Charset::named(&name.to_ascii_uppercase()), Some(charset));
            assert_eq!((charset.name(), charset.character_max_bytes()), (name, longest));
        }
        assert_eq!(Charset::named("utf8"), Some(Charset::Utf8mb3));
        assert_eq!(Charset::named("klingon"), None);
    }

    #[test]
    fn collations_of_both_servers_name_their_set() {
        let collations = [
            (8, Charset::Latin1),
            (33, Charset::Utf8mb3),
            (45, Charset::Utf8mb4),
            (63, Charset::Binary),
            (255, Charset::Utf8mb4),
            (309, Charset::Utf8mb4),
            (1069, Charset::Utf8mb4),
            (2048, Charset::Utf8mb3),
            (2304, Charset::Utf8mb4),
            (608, Charset::Utf8mb4),
        ];
        for (number, charset) in collations {
            assert_eq!(Charset::of_collation(number), Some(charset), "{number}");
        }
        assert_eq!(Charset::of_collation(0), None);
        assert_eq!(Charset::of_collation(17), None);
        assert_eq!(Charset::of_collation_named("latin1_swedish_ci"), Some(Charset::Latin1));
        assert_eq!(Charset::of_collation_named("binary"), Some(Charset::Binary));
    }
}
