//! What a member says it is, without opening the set: a member of a pool, or of a pool that was
//! destroyed. See `docs/formats/pool-label.md`.

use bytes::BytesMut;
use uuid::Uuid;

use super::admission::read_label;
use super::bytes_at::{bytes_at, is_sealed, put, seal, u32_at, u64_at};
use super::layout::{LABEL_ADDRESSES, LABEL_BYTES};
use crate::error::PoolError;
use crate::member::Member;

const MAGIC: [u8; 8] = *b"SSNAPFRE";
const VERSION: u32 = 1;

/// Read from a member's label, or from what a destruction left in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It belongs to a pool.
    Label {
        /// The pool.
        pool: Uuid,
        /// The member.
        member: Uuid,
        /// The event count of its label.
        event: u64,
    },
    /// Its pool was destroyed: what is on it may be overwritten.
    Free {
        /// The pool that was.
        pool: Uuid,
    },
    /// Something else, or nothing.
    None,
}

/// Reads the mark; nothing is written.
pub async fn read<M: Member>(member: &M) -> Result<Mark, PoolError> {
    if let Ok(label) = read_label(member).await {
        let own = label.members[label.role];
        return Ok(Mark::Label { pool: label.pool, member: own, event: label.event });
    }
    if member.size_bytes() < LABEL_BYTES {
        return Ok(Mark::None);
    }
    let block = BytesMut::zeroed(LABEL_BYTES as usize);
    let (outcome, block) = member.read_at(LABEL_ADDRESSES[0], block).await;
    outcome?;
    Ok(decode_free(&block).map_or(Mark::None, |pool| Mark::Free { pool }))
}

/// What takes the place of the first copy of a label when `pool` is destroyed. It is as long as a
/// label: whatever is made over it later overwrites a part of it, and it counts no more.
pub(super) fn encode_free(pool: Uuid) -> Vec<u8> {
    let mut block = vec![0; LABEL_BYTES as usize];
    put(&mut block, 0, MAGIC);
    put(&mut block, 8, VERSION.to_le_bytes());
    put(&mut block, 12, (LABEL_BYTES as u32).to_le_bytes());
    put(&mut block, 16, LABEL_ADDRESSES[0].to_le_bytes());
    put(&mut block, 40, pool.into_bytes());
    seal(&mut block);
    block
}

fn decode_free(block: &[u8]) -> Option<Uuid> {
    let known = block[..8] == MAGIC && u32_at(block, 8) == VERSION && is_sealed(block);
    let here = known && u64_at(block, 16) == LABEL_ADDRESSES[0];
    here.then(|| Uuid::from_bytes(bytes_at(block, 40)))
}
