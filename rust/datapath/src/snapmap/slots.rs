//! Which slots of the store space are in use: one bit each, in memory only.

use super::layout::Slot;

/// The slots of a store.
#[derive(Debug)]
pub struct SlotMap {
    /// A set bit is a slot in use.
    words: Vec<u64>,
    capacity: u64,
    used: u64,
    /// No word before this one has a free slot.
    cursor: usize,
    /// Slots that stay in use for now, whoever gives them back.
    pinned: Vec<Pin>,
}

/// A slot that stays in use.
#[derive(Debug)]
struct Pin {
    slot: Slot,
    holders: usize,
    released: bool,
}

impl SlotMap {
    /// `capacity` free slots.
    pub fn new(capacity: u64) -> Self {
        let mut slots =
            Self { words: Vec::new(), capacity: 0, used: 0, cursor: 0, pinned: Vec::new() };
        slots.extend(capacity);
        slots
    }

    /// Makes the space larger: `capacity` slots in all.
    pub fn extend(&mut self, capacity: u64) {
        assert!(capacity >= self.capacity, "a space only grows");
        self.words.resize(capacity.div_ceil(64) as usize, 0);
        self.capacity = capacity;
    }

    /// Slots in all.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Slots in use.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Slots not in use.
    pub fn free(&self) -> u64 {
        self.capacity - self.used
    }

    /// Takes the lowest free slot: what the space has touched before is used again first, so that
    /// members that are thin stay so.
    pub fn take(&mut self) -> Option<Slot> {
        for word in self.cursor..self.words.len() {
            let bit = self.words[word].trailing_ones();
            let slot = word as u64 * 64 + u64::from(bit);
            if bit < 64 && slot < self.capacity {
                self.cursor = word;
                self.words[word] |= 1 << bit;
                self.used += 1;
                return Some(Slot(slot as u32));
            }
        }
        None
    }

    /// Takes this slot; false when it is taken already, or there is no such slot.
    #[must_use]
    pub fn claim(&mut self, slot: Slot) -> bool {
        let (word, bit) = (slot.0 as usize / 64, 1 << (slot.0 % 64));
        let free = u64::from(slot.0) < self.capacity && self.words[word] & bit == 0;
        if free {
            self.words[word] |= bit;
            self.used += 1;
        }
        free
    }

    /// Gives a slot back.
    pub fn release(&mut self, slot: Slot) {
        let (word, bit) = (slot.0 as usize / 64, 1 << (slot.0 % 64));
        assert!(self.words[word] & bit != 0, "slot {} is freed twice", slot.0);
        if let Some(pin) = self.pinned.iter_mut().find(|pin| pin.slot == slot) {
            assert!(!pin.released, "slot {} is freed twice", slot.0);
            pin.released = true;
            return;
        }
        self.words[word] &= !bit;
        self.used -= 1;
        self.cursor = self.cursor.min(word);
    }

    /// From now on the slot, in use or not, is not given out after it is given back.
    pub fn pin(&mut self, slot: Slot) {
        match self.pinned.iter_mut().find(|pin| pin.slot == slot) {
            Some(pin) => pin.holders += 1,
            None => self.pinned.push(Pin { slot, holders: 1, released: false }),
        }
    }

    /// Ends one [`Self::pin`]; after the last the slot is free if it was given back.
    pub fn unpin(&mut self, slot: Slot) {
        let index = self.pinned.iter().position(|pin| pin.slot == slot);
        let index = index.expect("a slot is unpinned as often as it was pinned");
        self.pinned[index].holders -= 1;
        if self.pinned[index].holders == 0 && self.pinned.swap_remove(index).released {
            self.release(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_taken_once_and_comes_back() {
        let mut slots = SlotMap::new(70);
        let taken: std::collections::BTreeSet<Slot> = std::iter::from_fn(|| slots.take()).collect();
        assert_eq!((taken.len(), slots.free()), (70, 0));
        slots.release(Slot(3));
        assert_eq!((slots.take(), slots.take()), (Some(Slot(3)), None));
        slots.extend(71);
        assert_eq!((slots.take(), slots.take()), (Some(Slot(70)), None));
        assert!(!slots.claim(Slot(5)) && !slots.claim(Slot(71)));
        slots.release(Slot(5));
        assert!(slots.claim(Slot(5)));
    }

    #[test]
    fn a_pinned_slot_is_free_when_it_was_given_back_and_nobody_holds_it() {
        let mut slots = SlotMap::new(1);
        let slot = slots.take().unwrap();
        slots.pin(slot);
        slots.pin(slot);
        slots.release(slot);
        slots.unpin(slot);
        assert_eq!(slots.take(), None);
        slots.unpin(slot);
        assert_eq!(slots.take(), Some(slot));
        slots.pin(slot);
        slots.unpin(slot);
        assert_eq!(slots.take(), None, "it was not given back");
    }
}
