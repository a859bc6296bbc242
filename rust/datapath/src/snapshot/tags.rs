//! `last(c)`: the highest tag under which each chunk was preserved, as a tree of atomics.
//!
//! Looking up is four loads and no lock. Nodes are made when a chunk under them is first preserved, so
//! an untouched volume costs some hundred bytes, and a chunk far from all others 3 KiB and its row.
//! Rows double in length, so that the tree has a place for every chunk that a volume can grow to, and
//! a volume grows without anything being moved.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::units::{ChunkIndex, Epoch};

const LEAF_CHUNKS: usize = 256;
const BRANCH_LEAVES: usize = 128;
const BRANCH_CHUNKS: usize = LEAF_CHUNKS * BRANCH_LEAVES;
/// Row r has 2^r branches: these have 2^17 - 1, and the last chunk of 2^32 is in the row after them.
const ROWS: usize = 18;

type Leaf = Box<[AtomicU32; LEAF_CHUNKS]>;
type Branch = Box<[OnceLock<Leaf>; BRANCH_LEAVES]>;
type Row = Box<[OnceLock<Branch>]>;

/// The tags of a volume's chunks; 0 where a chunk was never preserved.
#[derive(Debug, Default)]
pub struct Tags {
    rows: [OnceLock<Row>; ROWS],
}

impl Tags {
    /// The tag of `chunk`. Whoever sees it sees its exception, too: `Acquire` pairs with `raise`.
    pub fn get(&self, chunk: ChunkIndex) -> Epoch {
        let index = chunk.0 as usize;
        let (row, within) = place(index / BRANCH_CHUNKS);
        let leaf = self.rows[row]
            .get()
            .and_then(|row| row[within].get())
            .and_then(|branch| branch[index % BRANCH_CHUNKS / LEAF_CHUNKS].get());
        Epoch(leaf.map_or(0, |leaf| leaf[index % LEAF_CHUNKS].load(Ordering::Acquire)))
    }

    /// Sets the tag of `chunk` to `tag` unless it is higher already.
    pub fn raise(&self, chunk: ChunkIndex, tag: Epoch) {
        let index = chunk.0 as usize;
        let (row, within) = place(index / BRANCH_CHUNKS);
        let branches = || (0..1 << row).map(|_| OnceLock::new()).collect();
        let branch = self.rows[row].get_or_init(branches)[within]
            .get_or_init(|| Box::new([const { OnceLock::new() }; BRANCH_LEAVES]));
        let leaf = branch[index % BRANCH_CHUNKS / LEAF_CHUNKS]
            .get_or_init(|| Box::new([const { AtomicU32::new(0) }; LEAF_CHUNKS]));
        leaf[index % LEAF_CHUNKS].fetch_max(tag.0, Ordering::Release);
    }
}

/// The row of a branch, and its place there.
fn place(branch: usize) -> (usize, usize) {
    let row = (branch + 1).ilog2();
    (row as usize, branch + 1 - (1 << row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_kept_per_chunk_up_to_the_last_one() {
        let tags = Tags::default();
        let chunks = [0, 1, 255, 256, (1 << 15) - 1, 1 << 15, 3 << 15, u32::MAX];
        for (number, chunk) in chunks.into_iter().enumerate() {
            assert_eq!(tags.get(ChunkIndex(chunk)), Epoch(0));
            tags.raise(ChunkIndex(chunk), Epoch(number as u32 + 1));
        }
        tags.raise(ChunkIndex(256), Epoch(1));
        let read = chunks.map(|chunk| tags.get(ChunkIndex(chunk)).0);
        assert_eq!(read, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
