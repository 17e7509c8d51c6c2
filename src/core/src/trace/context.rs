//! The trace that something belongs to, as it is handed on: `00-<trace>-<span>-<flags>`, all in lower-case hexadecimal digits.

use std::fmt;

/// The header and property that holds a context.
pub const TRACEPARENT: &str = "traceparent";
/// What systems of tracing add to it for themselves; it is handed on as it is.
pub const TRACESTATE: &str = "tracestate";

/// Bytes of `00-<32 digits>-<16 digits>-<2 digits>`.
const TEXT_BYTES: usize = 55;
/// The lowest bit of the flags.
const SAMPLED: u8 = 1;

/// A trace: never all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// One span of it: never all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

/// The trace and the span that something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span that is the parent of whatever comes.
    pub span: SpanId,
    /// Whether somebody keeps the trace.
    pub is_sampled: bool,
}

// === impl TraceContext ===

impl TraceContext {
    /// A new trace, which is kept.
    pub(super) fn new() -> Self {
        Self {
            trace: TraceId(not_zero()),
            span: SpanId(not_zero()),
            is_sampled: true,
        }
    }

    /// Another span of the same trace.
    pub(super) fn child(self) -> Self {
        Self {
            span: SpanId(not_zero()),
            ..self
        }
    }

    /// Reads a `traceparent`; `None` where it is not one. Of versions that are not known yet what is known is read, as the W3C wants it.
    pub fn parse(text: &str) -> Option<Self> {
        let (version, rest) = text.split_once('-')?;
        let version: [u8; 1] = from_hexadecimal(version)?;
        let is_length_right = match version {
            [0] => text.len() == TEXT_BYTES,
            [0xff] => false,
            _ => text.len() == TEXT_BYTES || text.as_bytes().get(TEXT_BYTES) == Some(&b'-'),
        };
        if !is_length_right {
            return None;
        }
        let mut parts = rest.splitn(4, '-');
        let trace: [u8; 16] = from_hexadecimal(parts.next()?)?;
        let span: [u8; 8] = from_hexadecimal(parts.next()?)?;
        let [flags]: [u8; 1] = from_hexadecimal(parts.next()?)?;
        let is_one = trace != [0; 16] && span != [0; 8];
        is_one.then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            is_sampled: flags & SAMPLED != 0,
        })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("00-")?;
        self.trace
            .0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))?;
        formatter.write_str("-")?;
        self.span
            .0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))?;
        write!(formatter, "-{:02x}", u8::from(self.is_sampled))
    }
}

/// Bytes of twice as many lower-case digits.
fn from_hexadecimal<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != BYTES * 2 || digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16)?;
            *byte = (*byte << 4) | u8::try_from(value).ok()?;
        }
    }
    Some(bytes)
}

/// Random bytes; zeros stand for nothing.
fn not_zero<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes: [u8; BYTES] = std::array::from_fn(|_| rand::random());
    if bytes == [0; BYTES]
        && let Some(last) = bytes.last_mut()
    {
        *last = 1;
    }
    bytes
}
