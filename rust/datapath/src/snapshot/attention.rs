//! What a change must heed before it begins, in one word: a change of a quiet volume looks once.
//!
//! ```text
//! bit 63          the volume is sealed
//! bits 32 to 62   exclusive changes wanted or under way
//! bits 0 to 31    the highest epoch that any chunk is needed for
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use crate::units::Epoch;

const SEALED: u64 = 1 << 63;
const ONE_EXCLUSIVE: u64 = 1 << 32;
const NEEDED: u64 = ONE_EXCLUSIVE - 1;

/// The word.
#[derive(Debug, Default)]
pub struct Attention(AtomicU64);

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heed {
    /// Nothing: every change may begin.
    Nothing,
    /// Chunks that are preserved under this epoch or a later one may change; others must be looked at.
    Needed(Epoch),
    /// Only who owns a chunk may change it, or nobody may.
    Owners,
}

/// An exclusive change is wanted; dropped when it has ended.
pub struct Wanted<'a>(&'a Attention);

impl Attention {
    /// One load.
    pub fn heed(&self) -> Heed {
        // Pairs with the changes of the word, which come before the gate is opened again: whoever
        // passes then sees them.
        match self.0.load(Ordering::Acquire) {
            0 => Heed::Nothing,
            word if word <= NEEDED => Heed::Needed(Epoch(word as u32)),
            _ => Heed::Owners,
        }
    }

    /// The highest epoch that is needed; 0 for none. One caller at a time.
    pub fn set_needed(&self, highest: Epoch) {
        let word = self.0.load(Ordering::Relaxed);
        let difference = (word & NEEDED) ^ u64::from(highest.0);
        // The other bits may change meanwhile.
        self.0.fetch_xor(difference, Ordering::AcqRel);
    }

    /// From now on only owners change chunks.
    pub fn want_exclusive(&self) -> Wanted<'_> {
        self.0.fetch_add(ONE_EXCLUSIVE, Ordering::SeqCst);
        Wanted(self)
    }

    /// From now on nobody changes anything.
    pub fn seal(&self) {
        self.0.fetch_or(SEALED, Ordering::SeqCst);
    }

    /// Whether it was sealed.
    pub fn is_sealed(&self) -> bool {
        self.0.load(Ordering::SeqCst) & SEALED != 0
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(ONE_EXCLUSIVE, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_word_do_not_touch_each_other() {
        let attention = Attention::default();
        assert_eq!(attention.heed(), Heed::Nothing);
        attention.set_needed(Epoch(u32::MAX));
        assert_eq!(attention.heed(), Heed::Needed(Epoch(u32::MAX)));
        let (one, two) = (attention.want_exclusive(), attention.want_exclusive());
        attention.set_needed(Epoch(5));
        drop(one);
        assert_eq!(attention.heed(), Heed::Owners);
        drop(two);
        assert_eq!(attention.heed(), Heed::Needed(Epoch(5)));
        attention.set_needed(Epoch(0));
        assert_eq!((attention.heed(), attention.is_sealed()), (Heed::Nothing, false));
        attention.seal();
        attention.set_needed(Epoch(7));
        assert_eq!((attention.heed(), attention.is_sealed()), (Heed::Owners, true));
    }
}
