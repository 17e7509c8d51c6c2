//! Sets of one to four bytes per character: what the web knows by the same names, and where MySQL reads them otherwise.
//!
//! The differences were found by asking a server for every code of two and three bytes. Where the web knows more characters
//! than the server does, they are read too: the server holds their bytes and can only not convert them.

use encoding_rs::{DecoderResult, Encoding};

/// One set of this kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MultiByte {
    /// As the web reads it.
    pub(super) encoding: &'static Encoding,
    /// Where MySQL does not.
    pub(super) peculiarity: Peculiarity,
}

/// Which codes MySQL reads otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peculiarity {
    /// None.
    None,
    /// Kana, Cyrillic and symbols in places of an older extension.
    Big5,
    /// Seven symbols as in JIS X 0208.
    Sjis,
    /// Seven symbols as in JIS X 0208, and characters of the user's own.
    Ujis,
    /// One symbol, and characters of IBM's extension and of the user's own.
    Eucjpms,
    /// Two symbols.
    Gb2312,
}

/// Runs of codes of big5 that MySQL reads otherwise than the web does: first code, first character, how many.
const BIG5: [(u16, u16, u16); 25] = [
    (0xa145, 0x2022, 1),
    (0xa14e, 0xff64, 1),
    (0xa1c2, 0x203e, 1),
    (0xa1e3, 0x223c, 1),
    (0xa1f2, 0x2641, 1),
    (0xa1f3, 0x2609, 1),
    (0xa241, 0xff0f, 1),
    (0xa242, 0xff3c, 1),
    (0xa244, 0x00a5, 1),
    (0xa246, 0x00a2, 2),
    (0xc6a1, 0x30fe, 1),
    (0xc6a2, 0x309d, 2),
    (0xc6a4, 0x3005, 1),
    (0xc6a5, 0x3041, 83),
    (0xc6f8, 0x30a1, 7),
    (0xc740, 0x30a8, 63),
    (0xc7a1, 0x30e7, 16),
    (0xc7b1, 0x0414, 2),
    (0xc7b3, 0x0401, 1),
    (0xc7b4, 0x0416, 7),
    (0xc7bb, 0x0423, 19),
    (0xc7ce, 0x0451, 1),
    (0xc7cf, 0x0436, 26),
    (0xc7e9, 0x2460, 10),
    (0xc7f3, 0x2474, 10),
];

/// Characters of IBM's extension in eucjpms, from 0x8ff3f3 on; 94 to a row.
const EUCJPMS_IBM: [u16; 106] = [
    0x2170, 0x2171, 0x2172, 0x2173, 0x2174, 0x2175, 0x2176, 0x2177, 0x2178, 0x2179, 0x2160, 0x2161, 0x2162, 0x2163,
    0x2164, 0x2165, 0x2166, 0x2167, 0x2168, 0x2169, 0xff07, 0xff02, 0x3231, 0x2116, 0x2121, 0x70bb, 0x4efc, 0x50f4,
    0x51ec, 0x5307, 0x5324, 0xfa0e, 0x548a, 0x5759, 0xfa0f, 0xfa10, 0x589e, 0x5bec, 0x5cf5, 0x5d53, 0xfa11, 0x5fb7,
    0x6085, 0x6120, 0x654e, 0x663b, 0x6665, 0xfa12, 0xf929, 0x6801, 0xfa13, 0xfa14, 0x6a6b, 0x6ae2, 0x6df8, 0x6df2,
    0x7028, 0xfa15, 0xfa16, 0x7501, 0x7682, 0x769e, 0xfa17, 0x7930, 0xfa18, 0xfa19, 0xfa1a, 0xfa1b, 0x7ae7, 0xfa1c,
    0xfa1d, 0x7da0, 0x7dd6, 0xfa1e, 0x8362, 0xfa1f, 0x85b0, 0xfa20, 0xfa21, 0x8807, 0xfa22, 0x8b7f, 0x8cf4, 0x8d76,
    0xfa23, 0xfa24, 0xfa25, 0x90de, 0xfa26, 0x9115, 0xfa27, 0xfa28, 0x9592, 0xf9dc, 0xfa29, 0x973b, 0x974d, 0x9751,
    0xfa2a, 0xfa2b, 0xfa2c, 0x999e, 0x9ad9, 0x9b72, 0xfa2d, 0x9ed1,
];

/// Rows of 94 characters that belong to the user: ten of two bytes, then ten of three.
const USER_ROWS: std::ops::RangeInclusive<u8> = 0xf5..=0xfe;
const USER_FIRST_OF_TWO_BYTES: u32 = 0xe000;
const USER_FIRST_OF_THREE_BYTES: u32 = 0xe3ac;
const ROW_LENGTH: u32 = 94;

// === impl MultiByte ===

impl MultiByte {
    /// Appends the text that `bytes` are; false where they are none.
    pub(super) fn append(self, bytes: &[u8], text: &mut String) -> bool {
        if self.peculiarity == Peculiarity::None {
            return self.append_as_the_web(bytes, text);
        }
        // What both read alike is read in runs.
        let mut run = bytes;
        let mut length = 0;
        while let Some(rest) = run.get(length..).filter(|rest| !rest.is_empty()) {
            let (code, after) = rest.split_at_checked(self.code_length(rest)).unwrap_or((rest, &[]));
            let Some(character) = self.peculiarity.read(code) else {
                length += code.len();
                continue;
            };
            if !self.append_as_the_web(run.get(..length).unwrap_or_default(), text) {
                return false;
            }
            text.push(character);
            (run, length) = (after, 0);
        }
        self.append_as_the_web(run, text)
    }

    fn append_as_the_web(self, bytes: &[u8], text: &mut String) -> bool {
        let mut decoder = self.encoding.new_decoder_without_bom_handling();
        let Some(room) = decoder.max_utf8_buffer_length_without_replacement(bytes.len()) else {
            return false;
        };
        text.reserve(room);
        let (result, _) = decoder.decode_to_string_without_replacement(bytes, text, true);
        result == DecoderResult::InputEmpty
    }

    /// Bytes of the code at the beginning of `bytes`, by its first byte.
    fn code_length(self, bytes: &[u8]) -> usize {
        match (self.peculiarity, bytes.first().copied().unwrap_or_default()) {
            (_, 0..=0x7f) => 1,
            (Peculiarity::Sjis, 0xa1..=0xdf) => 1,
            (Peculiarity::Ujis | Peculiarity::Eucjpms, 0x8f) => 3,
            _ => 2,
        }
    }
}

// === impl Peculiarity ===

impl Peculiarity {
    /// What a code stands for in MySQL, where the web reads it otherwise.
    fn read(self, code: &[u8]) -> Option<char> {
        let character = match (self, code) {
            (Self::Big5, [first, second]) => big5(u16::from_be_bytes([*first, *second]))?,
            (Self::Sjis, [0x81, second]) => u32::from(match second {
                0x5f => '\\',
                0x60 => '〜',
                0x61 => '‖',
                0x7c => '−',
                0x91 => '¢',
                0x92 => '£',
                0xca => '¬',
                _ => return None,
            }),
            (Self::Ujis, [0x8f, 0xa2, 0xb7]) => u32::from('~'),
            (Self::Ujis, [0xa2, 0xcc]) => u32::from('¬'),
            (Self::Ujis, [0xa1, second]) => u32::from(match second {
                0xc0 => '\\',
                0xc1 => '〜',
                0xc2 => '‖',
                0xdd => '−',
                0xf1 => '¢',
                0xf2 => '£',
                _ => return None,
            }),
            (Self::Eucjpms, [0x8f, 0xa2, 0xc3]) => u32::from('￤'),
            (Self::Eucjpms, [0x8f, row @ (0xf3 | 0xf4), cell]) => ibm(*row, *cell)?,
            (Self::Ujis | Self::Eucjpms, [row, cell]) => user(USER_FIRST_OF_TWO_BYTES, *row, *cell)?,
            (Self::Ujis | Self::Eucjpms, [0x8f, row, cell]) => user(USER_FIRST_OF_THREE_BYTES, *row, *cell)?,
            (Self::Gb2312, [0xa1, 0xa4]) => u32::from('・'),
            (Self::Gb2312, [0xa1, 0xaa]) => u32::from('―'),
            _ => return None,
        };
        char::from_u32(character)
    }
}

fn big5(code: u16) -> Option<u32> {
    let run = BIG5.iter().take_while(|(first, ..)| *first <= code).last();
    let (first, character, count) = run?;
    let offset = code.checked_sub(*first).filter(|offset| offset < count)?;
    Some(u32::from(*character) + u32::from(offset))
}

fn ibm(row: u8, cell: u8) -> Option<u32> {
    let code = u16::from_be_bytes([row, cell]);
    // The first row has only its last twelve cells.
    let index = match row {
        0xf3 => code.checked_sub(0xf3f3)?,
        _ => code.checked_sub(0xf4a1)?.checked_add(12)?,
    };
    EUCJPMS_IBM.get(usize::from(index)).copied().map(u32::from)
}

fn user(first: u32, row: u8, cell: u8) -> Option<u32> {
    let within = USER_ROWS.contains(&row) && (0xa1..=0xfe).contains(&cell);
    let row = u32::from(row).checked_sub(u32::from(*USER_ROWS.start()))?;
    let cell = u32::from(cell).checked_sub(0xa1)?;
    within.then_some(first + row * ROW_LENGTH + cell)
}
