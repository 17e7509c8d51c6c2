//! Text of a character set into UTF-8. Bytes that stand for nothing are refused: a character in their place would be a value that
//! the database does not have.

use encoding_rs::{BIG5, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS};
use tailrace_core::batch::{BatchFull, ChangeBatch};

use super::Charset;
use super::multi_byte::{MultiByte, Peculiarity};
use super::single_byte::{self, HOLE, SWE7, UpperHalf};

/// How to read the characters of one set.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TextEncoding {
    /// UTF-8 already.
    Utf8,
    /// Seven bits.
    Ascii,
    /// Seven bits, ten of them Swedish.
    Swe7,
    /// One byte per character, the lower half as in ASCII.
    SingleByte(&'static UpperHalf),
    /// One to four bytes per character, the lower half as in ASCII.
    MultiByte(MultiByte),
    /// Two bytes, high byte first, without surrogates.
    Ucs2,
    /// Two or four bytes, high byte first.
    Utf16,
    /// Two or four bytes, low byte first.
    Utf16Le,
    /// Four bytes, high byte first.
    Utf32,
}

/// Why text was not pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextError {
    /// The bytes stand for no characters of the set.
    Invalid,
    /// The batch is full.
    BatchFull,
}

// === impl Charset ===

impl Charset {
    /// How to read it.
    pub(crate) fn encoding(self) -> TextEncoding {
        match self {
            // Text in the set `binary` is what clients sent, and they send UTF-8.
            Self::Utf8mb4 | Self::Utf8mb3 | Self::Binary => TextEncoding::Utf8,
            Self::Ascii => TextEncoding::Ascii,
            Self::Swe7 => TextEncoding::Swe7,
            Self::Ucs2 => TextEncoding::Ucs2,
            Self::Utf16 => TextEncoding::Utf16,
            Self::Utf16le => TextEncoding::Utf16Le,
            Self::Utf32 => TextEncoding::Utf32,
            Self::Big5 => multi_byte(BIG5, Peculiarity::Big5),
            Self::Sjis => multi_byte(SHIFT_JIS, Peculiarity::Sjis),
            Self::Cp932 => multi_byte(SHIFT_JIS, Peculiarity::None),
            Self::Ujis => multi_byte(encoding_rs::EUC_JP, Peculiarity::Ujis),
            Self::Eucjpms => multi_byte(encoding_rs::EUC_JP, Peculiarity::Eucjpms),
            Self::Euckr => multi_byte(EUC_KR, Peculiarity::None),
            Self::Gb2312 => multi_byte(GBK, Peculiarity::Gb2312),
            Self::Gbk => multi_byte(GBK, Peculiarity::None),
            Self::Gb18030 => multi_byte(GB18030, Peculiarity::None),
            Self::Armscii8 => TextEncoding::SingleByte(&single_byte::ARMSCII8),
            Self::Cp1250 => TextEncoding::SingleByte(&single_byte::CP1250),
            Self::Cp1251 => TextEncoding::SingleByte(&single_byte::CP1251),
            Self::Cp1256 => TextEncoding::SingleByte(&single_byte::CP1256),
            Self::Cp1257 => TextEncoding::SingleByte(&single_byte::CP1257),
            Self::Cp850 => TextEncoding::SingleByte(&single_byte::CP850),
            Self::Cp852 => TextEncoding::SingleByte(&single_byte::CP852),
            Self::Cp866 => TextEncoding::SingleByte(&single_byte::CP866),
            Self::Dec8 => TextEncoding::SingleByte(&single_byte::DEC8),
            Self::Geostd8 => TextEncoding::SingleByte(&single_byte::GEOSTD8),
            Self::Greek => TextEncoding::SingleByte(&single_byte::GREEK),
            Self::Hebrew => TextEncoding::SingleByte(&single_byte::HEBREW),
            Self::Hp8 => TextEncoding::SingleByte(&single_byte::HP8),
            Self::Keybcs2 => TextEncoding::SingleByte(&single_byte::KEYBCS2),
            Self::Koi8r => TextEncoding::SingleByte(&single_byte::KOI8R),
            Self::Koi8u => TextEncoding::SingleByte(&single_byte::KOI8U),
            Self::Latin1 => TextEncoding::SingleByte(&single_byte::LATIN1),
            Self::Latin2 => TextEncoding::SingleByte(&single_byte::LATIN2),
            Self::Latin5 => TextEncoding::SingleByte(&single_byte::LATIN5),
            Self::Latin7 => TextEncoding::SingleByte(&single_byte::LATIN7),
            Self::Macce => TextEncoding::SingleByte(&single_byte::MACCE),
            Self::Macroman => TextEncoding::SingleByte(&single_byte::MACROMAN),
            Self::Tis620 => TextEncoding::SingleByte(&single_byte::TIS620),
        }
    }

    /// The text that `bytes` are in this set; `None` where they are none.
    pub(crate) fn to_utf8(self, bytes: &[u8]) -> Option<String> {
        let encoding = self.encoding();
        if let Some(text) = encoding.as_utf8(bytes) {
            return Some(text.to_owned());
        }
        let mut text = String::new();
        encoding.append(bytes, &mut text).then_some(text)
    }
}

fn multi_byte(encoding: &'static Encoding, peculiarity: Peculiarity) -> TextEncoding {
    TextEncoding::MultiByte(MultiByte { encoding, peculiarity })
}

// === impl TextEncoding ===

impl TextEncoding {
    /// Pushes the text that `bytes` are in this encoding.
    #[inline]
    pub(crate) fn push(self, bytes: &[u8], batch: &mut ChangeBatch) -> Result<(), TextError> {
        match self.as_utf8(bytes) {
            Some(text) => Ok(batch.push_text(text)?),
            None => self.push_converted(bytes, batch),
        }
    }

    fn push_converted(self, bytes: &[u8], batch: &mut ChangeBatch) -> Result<(), TextError> {
        let mut valid = true;
        batch.push_text_with(|text| valid = self.append(bytes, text))?;
        if valid { Ok(()) } else { Err(TextError::Invalid) }
    }

    /// The bytes themselves, where they are the same in UTF-8.
    #[inline]
    fn as_utf8(self, bytes: &[u8]) -> Option<&str> {
        let same = match self {
            Self::Utf8 => true,
            Self::Ascii | Self::SingleByte(_) | Self::MultiByte(_) => bytes.is_ascii(),
            Self::Swe7 | Self::Ucs2 | Self::Utf16 | Self::Utf16Le | Self::Utf32 => bytes.is_empty(),
        };
        if same { std::str::from_utf8(bytes).ok() } else { None }
    }

    /// Appends the text that `bytes` are; false where they are none, and what was appended then means nothing.
    fn append(self, bytes: &[u8], text: &mut String) -> bool {
        match self {
            // What they would have been is what `as_utf8` says.
            Self::Utf8 | Self::Ascii => false,
            Self::Swe7 => append_all(bytes.iter().map(|byte| swe7(*byte)), text),
            Self::SingleByte(upper_half) => append_all(bytes.iter().map(|byte| single(*byte, upper_half)), text),
            Self::MultiByte(encoding) => encoding.append(bytes, text),
            Self::Ucs2 => {
                let (units, rest) = bytes.as_chunks::<2>();
                let characters = units
                    .iter()
                    .map(|bytes| char::from_u32(u16::from_be_bytes(*bytes).into()));
                rest.is_empty() && append_all(characters, text)
            }
            Self::Utf16 => append_utf16(bytes, u16::from_be_bytes, text),
            Self::Utf16Le => append_utf16(bytes, u16::from_le_bytes, text),
            Self::Utf32 => {
                let (characters, rest) = bytes.as_chunks::<4>();
                let characters = characters
                    .iter()
                    .map(|bytes| char::from_u32(u32::from_be_bytes(*bytes)));
                rest.is_empty() && append_all(characters, text)
            }
        }
    }
}

fn append_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, text: &mut String) -> bool {
    let (units, rest) = bytes.as_chunks::<2>();
    let characters = char::decode_utf16(units.iter().map(|bytes| unit(*bytes))).map(Result::ok);
    rest.is_empty() && append_all(characters, text)
}

fn append_all(characters: impl Iterator<Item = Option<char>>, text: &mut String) -> bool {
    for character in characters {
        match character {
            Some(character) => text.push(character),
            None => return false,
        }
    }
    true
}

#[inline]
fn single(byte: u8, upper_half: &UpperHalf) -> Option<char> {
    let Some(index) = byte.checked_sub(0x80) else {
        return Some(char::from(byte));
    };
    let character = upper_half
        .get(usize::from(index))
        .copied()
        .filter(|character| *character != HOLE)?;
    char::from_u32(u32::from(character))
}

fn swe7(byte: u8) -> Option<char> {
    let swedish = SWE7
        .iter()
        .find(|(code, _)| *code == byte)
        .map(|(_, character)| *character);
    swedish.or((byte < 0x7f).then_some(char::from(byte)))
}

// === impl TextError ===

impl From<BatchFull> for TextError {
    fn from(_: BatchFull) -> Self {
        Self::BatchFull
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_every_kind_of_set() {
        let texts: [(Charset, &[u8], &str); 26] = [
            (Charset::Utf8mb4, "žluťoučký 🐎".as_bytes(), "žluťoučký 🐎"),
            (Charset::Ascii, b"plain", "plain"),
            (Charset::Latin1, b"caf\xe9 \x80\x81\x00", "café €\u{81}\0"),
            (Charset::Latin2, b"\xbe\xb9", "žš"),
            (Charset::Cp1250, b"\x9e\x9a", "žš"),
            (Charset::Cp1251, b"\xcf\xf0\xe8\xe2\xe5\xf2", "Привет"),
            (Charset::Koi8r, b"\xf0\xd2\xc9\xd7\xc5\xd4", "Привет"),
            (Charset::Cp866, b"\x8f\xe0\xa8\xa2\xa5\xe2", "Привет"),
            (Charset::Greek, b"\xc1\xe8", "Αθ"),
            (Charset::Hebrew, b"\xf9\xec\xe5\xed", "שלום"),
            (Charset::Latin5, b"\xfe\xd0", "şĞ"),
            (Charset::Tis620, b"\xa1\xd2", "กา"),
            (Charset::Macroman, b"\x8e\xdb", "é€"),
            (Charset::Swe7, b"A@[", "AÉÄ"),
            (Charset::Sjis, b"\x93\xfa\x96{\x81\x60\xb1\\", "日本〜ｱ\\"),
            (Charset::Cp932, b"\x93\xfa\x96{\x81\x60", "日本～"),
            (Charset::Ujis, b"a\xc6\xfc\xa1\xc1\xf5\xa1", "a日〜\u{e000}"),
            (
                Charset::Eucjpms,
                b"\xc6\xfc\xa1\xc1\x8f\xf3\xf3\x8f\xf5\xa1",
                "日～ⅰ\u{e3ac}",
            ),
            (Charset::Euckr, b"\xc7\xd1\xb1\xdb", "한글"),
            (Charset::Gb2312, b"\xd6\xd0\xa1\xa4\xa1\xaa", "中・―"),
            (Charset::Gbk, b"\xd6\xd0\xa1\xa4", "中·"),
            (Charset::Gb18030, b"\xd6\xd0\x94\x39\xca\x38", "中🐎"),
            (Charset::Big5, b"\xa4\xa4\xa4\xe5\xc6\xa5", "中文ぁ"),
            (Charset::Ucs2, b"\x00a\x01\x7e", "až"),
            (Charset::Utf16, b"\xd8\x3d\xdc\x0e", "🐎"),
            (Charset::Utf16le, b"\x3d\xd8\x0e\xdc", "🐎"),
        ];
        for (charset, bytes, text) in texts {
            assert_eq!(charset.to_utf8(bytes).as_deref(), Some(text), "{charset:?}");
        }
        assert_eq!(Charset::Utf32.to_utf8(b"\x00\x01\xf4\x0e").as_deref(), Some("🐎"));
    }

    #[test]
    fn bytes_that_stand_for_nothing_are_refused() {
        let invalid: [(Charset, &[u8]); 14] = [
            (Charset::Utf8mb4, b"caf\xe9"),
            (Charset::Ascii, b"\x80"),
            (Charset::Swe7, b"\x7f"),
            (Charset::Cp1251, b"\x98"),
            (Charset::Hebrew, b"\xa1"),
            (Charset::Sjis, b"a\x93"),
            (Charset::Ujis, b"\xa1"),
            (Charset::Gbk, b"\x81"),
            (Charset::Big5, b"\xa4"),
            (Charset::Ucs2, b"\x00"),
            (Charset::Ucs2, b"\xd8\x3d\xdc\x0e"),
            (Charset::Utf16, b"\xd8\x3d"),
            (Charset::Utf32, b"\x00\x11\x00\x00"),
            (Charset::Utf32, b"\x00\x00\x00"),
        ];
        for (charset, bytes) in invalid {
            assert_eq!(charset.to_utf8(bytes), None, "{charset:?} {bytes:x?}");
        }
    }
}
