//! The one place that cuts fields from an event or a row: each cut is checked against what is left. Numbers are
//! little-endian unless their name says otherwise.

use super::DecodeError;

/// What is left of an event, a row or a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    what: &'static str,
    length: usize,
    rest: &'a [u8],
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Reads `bytes` as the fields of what errors call `what`.
    #[inline]
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            what,
            length: bytes.len(),
            rest: bytes,
        }
    }

    /// What is left.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing is left.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes that are left.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    /// Bytes that were read.
    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.length.saturating_sub(self.rest.len())
    }

    /// The next `N` bytes.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.truncated(N));
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// The next `length` bytes.
    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.truncated(length));
        };
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u24(&mut self) -> Result<u32, DecodeError> {
        self.array().map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u48(&mut self) -> Result<u64, DecodeError> {
        self.array()
            .map(|[a, b, c, d, e, f]| u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    #[inline]
    pub(crate) fn u56(&mut self) -> Result<u64, DecodeError> {
        self.array()
            .map(|[a, b, c, d, e, f, g]| u64::from_le_bytes([a, b, c, d, e, f, g, 0]))
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    pub(crate) fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_le_bytes)
    }

    #[inline]
    pub(crate) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_le_bytes)
    }

    /// Three bytes, sign extended.
    #[inline]
    pub(crate) fn i24(&mut self) -> Result<i32, DecodeError> {
        self.array().map(|[a, b, c]| i32::from_le_bytes([0, a, b, c]) >> 8)
    }

    #[inline]
    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_le_bytes)
    }

    /// A number of one, three, four or nine bytes, by its first byte. 251 (NULL) and 255 are no numbers.
    #[inline]
    pub(crate) fn length_encoded_int(&mut self) -> Result<u64, DecodeError> {
        match self.u8()? {
            small @ 0..=250 => Ok(u64::from(small)),
            252 => self.u16().map(u64::from),
            253 => self.u24().map(u64::from),
            254 => self.u64(),
            other => Err(self.invalid("length-encoded number", u64::from(other))),
        }
    }

    /// A length-encoded number that counts bytes or things in memory.
    #[inline]
    pub(crate) fn length(&mut self) -> Result<usize, DecodeError> {
        let length = self.length_encoded_int()?;
        usize::try_from(length).map_err(|_| self.invalid("length", length))
    }

    /// A length-encoded length, and as many bytes.
    #[inline]
    pub(crate) fn counted(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    /// A length of one byte, and as many bytes.
    #[inline]
    pub(crate) fn counted_by_u8(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A length of four bytes, and as many bytes.
    pub(crate) fn counted_by_u32(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u32()?;
        let Ok(length) = usize::try_from(length) else {
            return Err(self.invalid("length", u64::from(length)));
        };
        self.take(length)
    }

    /// A length of one byte, as many bytes, and a zero byte behind them.
    #[inline]
    pub(crate) fn name(&mut self) -> Result<&'a [u8], DecodeError> {
        let name = self.counted_by_u8()?;
        match self.u8()? {
            0 => Ok(name),
            other => Err(self.invalid("end of a name", u64::from(other))),
        }
    }

    /// A number as MySQL's serialization library writes it: as many ones at the low end of the first byte as bytes follow it.
    pub(crate) fn variable_length_int(&mut self) -> Result<u64, DecodeError> {
        let Some(first) = self.rest.first() else {
            return Err(self.truncated(1));
        };
        let more = first.trailing_ones();
        if more == 8 {
            self.u8()?;
            return self.u64();
        }
        let mut raw = 0u64;
        let bytes = self.take(usize::try_from(more).unwrap_or_default() + 1)?;
        for (shift, byte) in bytes.iter().enumerate() {
            raw |= u64::from(*byte) << (8 * shift);
        }
        Ok(raw >> (more + 1))
    }

    /// The bytes as UTF-8: names and texts of the server's own.
    pub(crate) fn text(&self, field: &'static str, bytes: &'a [u8]) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(bytes).map_err(|_| DecodeError::InvalidUtf8 { what: self.what, field })
    }

    /// What was read ends here.
    #[inline]
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes { what: self.what, left }),
        }
    }

    /// The field that was just read has an impossible value.
    #[cold]
    pub(crate) fn invalid(&self, field: &'static str, value: u64) -> DecodeError {
        DecodeError::Invalid {
            what: self.what,
            field,
            value,
            offset: self.offset(),
        }
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        DecodeError::Truncated {
            what: self.what,
            needed,
            left: self.rest.len(),
            offset: self.offset(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader<'_> {
        Reader::new("test", bytes)
    }

    #[test]
    fn little_endian_numbers() {
        let bytes = [0x81, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x88];
        assert_eq!(reader(&bytes).u8(), Ok(0x81));
        assert_eq!(reader(&bytes).i8(), Ok(-127));
        assert_eq!(reader(&bytes).u16(), Ok(0x0281));
        assert_eq!(reader(&bytes).u24(), Ok(0x0003_0281));
        assert_eq!(reader(&bytes).u32(), Ok(0x0403_0281));
        assert_eq!(reader(&bytes).u48(), Ok(0x0605_0403_0281));
        assert_eq!(reader(&bytes).u56(), Ok(0x07_0605_0403_0281));
        assert_eq!(reader(&bytes).u64(), Ok(0x8807_0605_0403_0281));
        assert_eq!(reader(&bytes).i64(), Ok(-0x77f8_f9fa_fbfc_fd7f));
        assert_eq!(reader(&[0xff, 0xff, 0xff]).i24(), Ok(-1));
        assert_eq!(reader(&[0x00, 0x00, 0x80]).i24(), Ok(-8_388_608));
        assert_eq!(reader(&[0xff, 0xff, 0x7f]).i24(), Ok(8_388_607));
        assert_eq!(reader(&[0xfe, 0xff]).i16(), Ok(-2));
        assert_eq!(reader(&[0xfe, 0xff, 0xff, 0xff]).i32(), Ok(-2));
    }

    #[test]
    fn length_encoded_numbers_and_their_truncations() {
        for (bytes, expected) in [
            (&[0u8][..], 0),
            (&[250], 250),
            (&[252, 0xfb, 0], 251),
            (&[253, 1, 0, 1], 65_537),
            (&[254, 1, 0, 0, 0, 0, 0, 0, 1], 0x0100_0000_0000_0001),
        ] {
            assert_eq!(reader(bytes).length_encoded_int(), Ok(expected));
            for end in 0..bytes.len() {
                assert!(reader(&bytes[..end]).length_encoded_int().is_err());
            }
        }
        assert!(reader(&[251]).length_encoded_int().is_err());
        assert!(reader(&[255, 1, 1, 1, 1, 1, 1, 1, 1]).length_encoded_int().is_err());
    }

    #[test]
    fn variable_length_numbers_of_the_serialization_library() {
        for (bytes, expected) in [
            (&[0b0000_0000u8][..], 0),
            (&[0b1111_1110], 127),
            (&[0b0000_0001, 0b0000_0010], 128),
            (&[0b1111_1101, 0xff], 16_383),
            (&[0xff, 1, 0, 0, 0, 0, 0, 0, 0x80], 0x8000_0000_0000_0001),
            (&[0x7f, 1, 0, 0, 0, 0, 0, 0x80], 0x0080_0000_0000_0001),
        ] {
            assert_eq!(reader(bytes).variable_length_int(), Ok(expected), "{bytes:?}");
            for end in 0..bytes.len() {
                assert!(reader(&bytes[..end]).variable_length_int().is_err());
            }
        }
    }

    #[test]
    fn an_error_says_where() {
        let mut reader = reader(&[3, b'a', b'b']);
        assert_eq!(
            reader.counted().unwrap_err().to_string(),
            "test is cut off at byte 1: 3 more bytes announced, 2 there"
        );
        assert_eq!(reader.finish().unwrap_err().to_string(), "test has 2 bytes too many");
    }

    #[test]
    fn a_name_ends_with_a_zero_byte() {
        assert_eq!(reader(b"\x02ab\0").name(), Ok(&b"ab"[..]));
        assert!(reader(b"\x02abc").name().is_err());
        assert!(reader(b"\x02ab").name().is_err());
    }
}
