//! A produce response that says an error instead: what a broker answers whose followers are gone, which one broker alone
//! never does.
//!
//! Only the two bytes of each partition's error code change (protocol guide, "Produce API"), so the records stay
//! written, as with NOT_ENOUGH_REPLICAS_AFTER_APPEND. From version 9 on the protocol is the flexible one, whose lengths
//! are varints one too high.

use bytes::{Bytes, BytesMut};

/// From this version on arrays and strings have compact lengths, and structures end with tagged fields.
const FLEXIBLE: i16 = 9;
/// Topics have ids instead of names from the next version on, which is not read here.
const NEWEST: i16 = 12;
/// What follows a partition's error code before the record errors: base offset, append time, log start offset.
const OFFSETS_BYTES: usize = 24;
/// Before this version there is no log start offset and there are no record errors.
const OLDEST: i16 = 8;

/// A place in a response; `None` where it is not as the protocol says.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    flexible: bool,
}

/// The response with this error for every partition; `None` where it cannot be read.
pub(super) fn with_error(response: &Bytes, version: i16, error_code: i16) -> Option<Bytes> {
    if !(OLDEST..=NEWEST).contains(&version) {
        return None;
    }
    let places = places_of_errors(response, version >= FLEXIBLE)?;
    let mut changed = BytesMut::from(&response[..]);
    for place in places {
        changed
            .get_mut(place..place + 2)?
            .copy_from_slice(&error_code.to_be_bytes());
    }
    Some(changed.freeze())
}

fn places_of_errors(response: &[u8], flexible: bool) -> Option<Vec<usize>> {
    let mut cursor = Cursor {
        bytes: response,
        at: 8,
        flexible,
    };
    cursor.tags()?;
    let mut places = Vec::new();
    for _topic in 0..cursor.array()? {
        cursor.string()?;
        for _partition in 0..cursor.array()? {
            cursor.skip(4)?;
            places.push(cursor.at);
            cursor.skip(2 + OFFSETS_BYTES)?;
            for _error in 0..cursor.array()? {
                cursor.skip(4)?;
                cursor.string()?;
                cursor.tags()?;
            }
            cursor.string()?;
            cursor.tags()?;
        }
        cursor.tags()?;
    }
    Some(places)
}

// === impl Cursor ===

impl Cursor<'_> {
    fn skip(&mut self, length: usize) -> Option<()> {
        self.at = self.at.checked_add(length)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0_usize;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// How many elements follow; a null array has none.
    fn array(&mut self) -> Option<usize> {
        if self.flexible {
            return Some(self.varint()?.saturating_sub(1));
        }
        let count = i32::from_be_bytes(*self.bytes.get(self.at..)?.first_chunk()?);
        self.skip(4)?;
        Some(usize::try_from(count).unwrap_or(0))
    }

    /// A string, or null.
    fn string(&mut self) -> Option<()> {
        if self.flexible {
            let length = self.varint()?.saturating_sub(1);
            return self.skip(length);
        }
        let length = i16::from_be_bytes(*self.bytes.get(self.at..)?.first_chunk()?);
        self.skip(2)?;
        self.skip(usize::try_from(length).unwrap_or(0))
    }

    fn tags(&mut self) -> Option<()> {
        if !self.flexible {
            return Some(());
        }
        for _tag in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.skip(length)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Length, correlation id 5, then what `body` is: topic `ab` with partitions 0 and 3.
    fn framed(body: &[u8]) -> Bytes {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&length.to_be_bytes()[..], &[0, 0, 0, 5], body].concat().into()
    }

    fn partition(number: u8, tail: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, number, 0, 0][..], &[9; OFFSETS_BYTES], tail].concat()
    }

    #[test]
    fn the_error_is_in_every_partition_of_an_inflexible_response() {
        let tail = [0, 0, 0, 0, 255, 255];
        let (first, second) = (partition(0, &tail), partition(3, &tail));
        let head = [0, 0, 0, 1, 0, 2, b'a', b'b', 0, 0, 0, 2];
        let response = framed(&[&head[..], &first, &second, &[0; 4]].concat());
        let changed = with_error(&response, 8, 20).unwrap();
        let different: Vec<usize> = (0..changed.len()).filter(|at| changed[*at] != response[*at]).collect();
        let begin = 8 + head.len();
        assert_eq!(different, [begin + 5, begin + first.len() + 5]);
        assert_eq!(changed[begin + 5], 20);
    }

    #[test]
    fn the_error_is_in_every_partition_of_a_flexible_response() {
        let tail = [1, 0, 0];
        let head = [0, 2, 3, b'a', b'b', 3];
        let response = framed(
            &[
                &head[..],
                &partition(0, &tail),
                &partition(3, &tail),
                &[0, 0, 0, 0, 0, 0],
            ]
            .concat(),
        );
        let changed = with_error(&response, 10, 20).unwrap();
        assert_eq!(changed.iter().filter(|byte| **byte == 20).count(), 2);
        for length in 0..response.len() - 6 {
            // Never a panic, whatever is missing.
            assert!(
                with_error(&response.slice(..length), 10, 20).is_none(),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn versions_that_are_not_known_are_left_alone() {
        assert!(with_error(&framed(&[0; 40]), 13, 20).is_none());
        assert!(with_error(&framed(&[0; 40]), 3, 20).is_none());
    }
}
