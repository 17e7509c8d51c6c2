//! Frames of the client/server protocol: length u24 · sequence number u8 · payload. A payload of 16 MiB less one byte or more comes in several
//! frames, of which only the last is shorter than that.
//!
//! Payloads are pieces of the read buffer, without a copy; only one of several frames is put together.

use bytes::{Buf, Bytes, BytesMut};
use mysql_async::{DriverError, Error};

/// Length of the frame that says that another one follows.
const FRAME_BYTES_MAXIMUM: usize = 0x00ff_ffff;
const HEADER_BYTES: usize = 4;
/// No payload is longer: the largest event, a gibibyte, and a little for the protocol.
const PAYLOAD_BYTES_MAXIMUM: usize = (1 << 30) + 1024;
/// Room for one read: large reads are what keeps the cost per event low.
const READ_BYTES: usize = 256 * 1024;

/// Cuts payloads from what was read.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    received: BytesMut,
    /// Frames of a payload that is not complete.
    joined: BytesMut,
    /// Sequence number of the next frame, from either side.
    sequence: u8,
}

// === impl Packets ===

impl Packets {
    /// The next payload; `None` where more must be read for it.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some([a, b, c, sequence]) = self.received.first_chunk::<HEADER_BYTES>().copied() else {
                return Ok(None);
            };
            let length = usize::try_from(u32::from_le_bytes([a, b, c, 0])).unwrap_or(usize::MAX);
            if self.received.len() - HEADER_BYTES < length {
                return Ok(None);
            }
            if sequence != self.sequence {
                return Err(Error::Driver(DriverError::PacketOutOfOrder));
            }
            self.sequence = self.sequence.wrapping_add(1);
            self.received.advance(HEADER_BYTES);
            let frame = self.received.split_to(length);
            if length < FRAME_BYTES_MAXIMUM && self.joined.is_empty() {
                return Ok(Some(frame.freeze()));
            }
            if self.joined.len() + length > PAYLOAD_BYTES_MAXIMUM {
                return Err(Error::Driver(DriverError::PacketTooLarge));
            }
            self.joined.extend_from_slice(&frame);
            if length < FRAME_BYTES_MAXIMUM {
                return Ok(Some(self.joined.split().freeze()));
            }
        }
    }

    /// Where to read into, with room for a large read and for the rest of the frame that has begun.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        let frame = match self.received.first_chunk::<3>() {
            Some([a, b, c]) => usize::try_from(u32::from_le_bytes([*a, *b, *c, 0])).unwrap_or_default(),
            None => 0,
        };
        let missing = (frame + HEADER_BYTES).saturating_sub(self.received.len());
        if self.received.capacity() - self.received.len() < missing.max(HEADER_BYTES) {
            self.received.reserve(missing.max(READ_BYTES));
        }
        &mut self.received
    }

    /// The next frame begins a command.
    pub(super) fn begin_command(&mut self) {
        self.sequence = 0;
    }

    /// A payload of ours as a frame.
    pub(super) fn frame(&mut self, payload: &[u8]) -> Result<Vec<u8>, Error> {
        let length = match u32::try_from(payload.len()) {
            Ok(length) if payload.len() < FRAME_BYTES_MAXIMUM => length,
            _ => return Err(Error::Driver(DriverError::PacketTooLarge)),
        };
        let [a, b, c, _] = length.to_le_bytes();
        let header = [a, b, c, self.sequence];
        self.sequence = self.sequence.wrapping_add(1);
        Ok([&header, payload].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let mut packets = Packets {
            sequence,
            ..Packets::default()
        };
        packets.frame(payload).unwrap()
    }

    #[test]
    fn payloads_come_out_however_the_bytes_come_in() {
        let bytes = [frame(0, b"one"), frame(1, b""), frame(2, b"three")].concat();
        for size in 1..bytes.len() {
            let mut packets = Packets::default();
            let mut payloads = Vec::new();
            for piece in bytes.chunks(size) {
                packets.buffer().extend_from_slice(piece);
                while let Some(payload) = packets.next().unwrap() {
                    payloads.push(payload);
                }
            }
            assert_eq!(payloads, [&b"one"[..], b"", b"three"]);
        }
    }

    #[test]
    fn a_long_payload_is_put_together() {
        let long: Vec<u8> = (0..FRAME_BYTES_MAXIMUM * 2 + 5).map(|at| at.to_le_bytes()[0]).collect();
        let mut packets = Packets::default();
        for (sequence, piece) in (0..).zip(long.chunks(FRAME_BYTES_MAXIMUM)) {
            assert_eq!(packets.next().unwrap(), None);
            let header = u32::try_from(piece.len()).unwrap().to_le_bytes();
            packets
                .buffer()
                .extend_from_slice(&[header[0], header[1], header[2], sequence]);
            packets.buffer().extend_from_slice(piece);
        }
        assert_eq!(packets.next().unwrap().unwrap(), long);
        assert_eq!(packets.next().unwrap(), None);
    }

    #[test]
    fn a_payload_of_exactly_one_full_frame_ends_with_an_empty_one() {
        let mut packets = Packets::default();
        packets.buffer().extend_from_slice(b"\xff\xff\xff\0");
        packets.buffer().extend_from_slice(&vec![7; FRAME_BYTES_MAXIMUM]);
        assert_eq!(packets.next().unwrap(), None);
        packets.buffer().extend_from_slice(b"\0\0\0\x01");
        assert_eq!(packets.next().unwrap().unwrap().len(), FRAME_BYTES_MAXIMUM);
    }

    #[test]
    fn a_lost_frame_is_noticed() {
        let mut packets = Packets::default();
        packets.buffer().extend_from_slice(&frame(1, b"x"));
        assert!(matches!(
            packets.next(),
            Err(Error::Driver(DriverError::PacketOutOfOrder))
        ));
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut packets = Packets {
            sequence: 255,
            ..Packets::default()
        };
        packets
            .buffer()
            .extend_from_slice(&[frame(255, b"a"), frame(0, b"b")].concat());
        assert_eq!(packets.next().unwrap().unwrap(), "a");
        assert_eq!(packets.next().unwrap().unwrap(), "b");
    }
}
