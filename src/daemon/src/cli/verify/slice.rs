//! Parts of all keys, for topics that say more than memory holds.
//!
//! What a topic says last of a key is known at its end alone, so that keys are kept until then. Where they become too many the reading goes on
//! with half of them, and the topic is read again for the others: a key's hash says which half it is in. Keys in order would not do, because
//! nobody knows where the middle is before they are read.

use std::hash::{DefaultHasher, Hash, Hasher};

use tailrace_sql::verify::pairing::Key;

/// Keys whose hash begins with these bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Slice {
    bits: u32,
    /// The first `bits` bits, at the lower end.
    beginning: u64,
}

// === impl Slice ===

impl Slice {
    /// Whether the key is in it.
    pub(super) fn has(self, key: &Key) -> bool {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let rest = u64::BITS - self.bits;
        self.bits == 0 || hasher.finish().checked_shr(rest).unwrap_or_default() == self.beginning
    }

    /// Becomes its first half; false where it has none.
    pub(super) fn halve(&mut self) -> bool {
        if self.bits == u64::BITS {
            return false;
        }
        self.bits += 1;
        self.beginning <<= 1;
        true
    }

    /// The slice of the keys behind this one's; `None` where this is the last.
    pub(super) fn next(self) -> Option<Self> {
        let mut next = self;
        // The second half of the largest slice whose first half ends here.
        while next.bits > 0 {
            if next.beginning & 1 == 0 {
                next.beginning |= 1;
                return Some(next);
            }
            next.beginning >>= 1;
            next.bits -= 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<Key> {
        (0..1_000).map(|number| vec![number.to_string()]).collect()
    }

    #[test]
    fn slices_have_every_key_once_however_they_are_halved() {
        let mut found = vec![0; keys().len()];
        let (mut slice, mut slices) = (Some(Slice::default()), 0);
        while let Some(mut now) = slice {
            // Another depth each time, as it is where keys are not alike.
            while now.bits < 2 + slices % 3 {
                assert!(now.halve());
            }
            for (key, found) in keys().iter().zip(&mut found) {
                *found += usize::from(now.has(key));
            }
            slices += 1;
            slice = now.next();
        }
        assert!(slices >= 4, "{slices}");
        assert!(found.iter().all(|times| *times == 1), "{found:?}");
    }

    #[test]
    fn half_a_slice_has_about_half_its_keys() {
        let mut slice = Slice::default();
        assert!(slice.halve());
        let had = keys().iter().filter(|key| slice.has(key)).count();
        assert!((400..600).contains(&had), "{had}");
    }
}
