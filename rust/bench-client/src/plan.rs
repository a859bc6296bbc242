//! Which address comes next: one plan shared by all sessions.

use std::sync::atomic::{AtomicU64, Ordering};

/// Positions in the order in which they are visited, round after round.
pub struct Plan {
    order: Vec<u32>,
    next: AtomicU64,
    end: u64,
    stride: u64,
    shift: u64,
}

impl Plan {
    /// A plan over `positions` addresses, `stride` bytes apart, of at most `end` commands.
    #[must_use]
    pub fn new(positions: u32, shuffled: Option<u64>, end: u64, stride: u64, shift: u64) -> Self {
        let mut order: Vec<u32> = (0..positions).collect();
        if let Some(seed) = shuffled {
            shuffle(&mut order, seed);
        }
        Self { order, next: AtomicU64::new(0), end, stride, shift }
    }

    /// The next address in bytes; None when the plan has been carried out.
    pub fn next(&self) -> Option<u64> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        if index >= self.end {
            return None;
        }
        let position = self.order[usize::try_from(index % self.order.len() as u64).ok()?];
        Some(u64::from(position) * self.stride + self.shift)
    }
}

/// Fisher and Yates' shuffle by an xorshift generator: the same order for the same seed.
fn shuffle(order: &mut [u32], seed: u64) {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for index in (1..order.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let other = usize::try_from(state % (index as u64 + 1)).unwrap_or(0);
        order.swap(index, other);
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn each_address_is_visited_once_a_round() {
        let plan = Plan::new(100, Some(7), 200, 65536, 512);
        let round = |_| {
            let mut seen: Vec<u64> =
                (0..100).map(|_| plan.next().expect("within the plan")).collect();
            let in_order = seen.is_sorted();
            seen.sort_unstable();
            (in_order, seen)
        };
        let expected: Vec<u64> = (0..100).map(|position| position * 65536 + 512).collect();
        assert_eq!(round(1), (false, expected.clone()));
        assert_eq!(round(2), (false, expected));
        assert_eq!(plan.next(), None);
    }

    #[test]
    fn without_a_seed_addresses_ascend() {
        let plan = Plan::new(3, None, 4, 10, 0);
        let visited: Vec<u64> = std::iter::from_fn(|| plan.next()).collect();
        assert_eq!(visited, [0, 10, 20, 0]);
    }
}
