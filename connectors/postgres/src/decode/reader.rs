//! The one place that cuts fields from a frame: each cut is checked against what is left.

use super::DecodeError;

/// Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
pub(crate) const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// What is left of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    message: &'static str,
    rest: &'a [u8],
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Reads `body` as the fields of the message that errors call `message`.
    pub(crate) fn new(message: &'static str, body: &'a [u8]) -> Self {
        Self { message, rest: body }
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
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

    /// A length of four bytes and as many bytes as it says.
    #[inline]
    pub(crate) fn counted(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.i32()?;
        let Ok(length) = usize::try_from(length) else {
            return Err(self.invalid("length", i64::from(length)));
        };
        self.take(length)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    #[inline]
    fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A moment, turned from microseconds since 2000 into microseconds since 1970, UTC.
    pub(crate) fn moment_us(&mut self) -> Result<i64, DecodeError> {
        self.i64()
            .map(|since_2000| since_2000.saturating_add(POSTGRES_EPOCH_US))
    }

    /// The number of the (sub)transaction, which messages carry only inside a stream chunk.
    #[inline]
    pub(crate) fn transaction_id(&mut self, streaming: bool) -> Result<Option<u32>, DecodeError> {
        if streaming { self.u32().map(Some) } else { Ok(None) }
    }

    /// A name that ends with a zero byte.
    pub(crate) fn name(&mut self) -> Result<&'a str, DecodeError> {
        let Some(end) = self.rest.iter().position(|byte| *byte == 0) else {
            return Err(self.truncated(self.rest.len().saturating_add(1)));
        };
        let name = self.take(end)?;
        self.u8()?;
        std::str::from_utf8(name).map_err(|_| DecodeError::InvalidUtf8 { message: self.message })
    }

    /// The message ends here.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes {
                message: self.message,
                left,
            }),
        }
    }

    #[cold]
    pub(crate) fn invalid(&self, field: &'static str, value: i64) -> DecodeError {
        DecodeError::Invalid {
            message: self.message,
            field,
            value,
        }
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        DecodeError::Truncated {
            message: self.message,
            needed,
            left: self.rest.len(),
        }
    }
}
