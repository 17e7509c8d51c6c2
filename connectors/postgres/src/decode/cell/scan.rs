//! Walks over the text form of a value: takes what it expects or says no, and never looks past the end.

use super::number::float64_from_text;
use super::{Result, ValueError};

/// What is left of a text form, and what errors call it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan<'a> {
    rest: &'a [u8],
    what: &'static str,
}

// === impl Scan ===

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// The next byte, which stays.
    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes the next byte.
    #[inline]
    pub(super) fn next(&mut self) -> Result<u8> {
        let Some((first, rest)) = self.rest.split_first() else {
            return Err(self.malformed());
        };
        self.rest = rest;
        Ok(*first)
    }

    /// Takes `byte` where it is next.
    #[inline]
    pub(super) fn accept(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes `literal`, which must be next.
    pub(super) fn expect(&mut self, literal: &[u8]) -> Result<()> {
        let Some(rest) = self.rest.strip_prefix(literal) else {
            return Err(self.malformed());
        };
        self.rest = rest;
        Ok(())
    }

    /// Takes bytes up to one that `stops`, which stays; at least one.
    #[inline]
    pub(super) fn until(&mut self, stops: impl Fn(u8) -> bool) -> Result<&'a [u8]> {
        let end = self
            .rest
            .iter()
            .position(|byte| stops(*byte))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        if taken.is_empty() {
            return Err(self.malformed());
        }
        self.rest = rest;
        Ok(taken)
    }

    /// Takes a number up to a delimiter of geometric types, vectors and the like.
    pub(super) fn float(&mut self) -> Result<f64> {
        float64_from_text(self.until(|byte| matches!(byte, b',' | b')' | b']' | b'}' | b'>'))?)
    }

    /// Takes a quoted string whose opening quote was taken: as it stands where nothing in it is escaped by a backslash,
    /// else copied into `scratch`.
    pub(super) fn quoted<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8]>
    where
        'a: 's,
    {
        let end = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
        if let Some((taken, [b'"', rest @ ..])) = end.and_then(|end| self.rest.split_at_checked(end)) {
            self.rest = rest;
            return Ok(taken);
        }
        scratch.clear();
        loop {
            match self.next()? {
                b'"' => return Ok(scratch),
                b'\\' => scratch.push(self.next()?),
                byte => scratch.push(byte),
            }
        }
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed())
        }
    }

    #[cold]
    pub(super) fn malformed(&self) -> ValueError {
        ValueError::Malformed(self.what)
    }
}
