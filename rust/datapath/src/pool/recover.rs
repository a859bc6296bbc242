//! Importing: the catalog in force is the newest valid one on any member in sync. It is then
//! written to all of them, since a crash may have left it on some only.

use bytes::Bytes;

use super::catalog::Catalog;
use super::catalog_slot::{self, HEADER_BYTES, SlotHeader};
use super::{Pool, free_space};
use crate::error::PoolError;
use crate::limits::SECTOR_BYTES;
use crate::member::Member;
use crate::stripe::StripeSet;

/// A catalog on disk.
pub(super) struct Found {
    pub(super) catalog: Catalog,
    pub(super) sequence: u64,
    /// Slot and text, as they are to be on every member.
    bytes: Bytes,
    /// Whether they are.
    everywhere: bool,
}

impl<M: Member> Pool<M> {
    pub(super) async fn recover(set: StripeSet<M>) -> Result<Self, PoolError> {
        let found = newest(&set).await?;
        if !found.everywhere {
            let address = catalog_slot::address(set.layout(), found.sequence);
            set.write_metadata(address, found.bytes).await?;
        }
        let pool = Self::over(set, found.catalog, found.sequence);
        free_space::check(&pool.catalog(), pool.size_bytes(), pool.granule_bytes())?;
        Ok(pool)
    }
}

/// The newest valid catalog on any member in sync.
pub(super) async fn newest<M: Member>(set: &StripeSet<M>) -> Result<Found, PoolError> {
    for header in headers(set).await? {
        if let Some(found) = read_slot(set, header).await? {
            return Ok(found);
        }
    }
    Err(PoolError::Damaged("no member has a whole catalog".to_owned()))
}

/// The valid slot headers of all members, the newest first.
async fn headers<M: Member>(set: &StripeSet<M>) -> Result<Vec<SlotHeader>, PoolError> {
    let mut headers = Vec::new();
    for slot in 0..2 {
        let at = catalog_slot::address(set.layout(), slot);
        for block in set.read_metadata(at, HEADER_BYTES).await? {
            headers.extend(catalog_slot::decode_header(&block, set.layout(), set.id(), at));
        }
    }
    headers.sort_by_key(|header| std::cmp::Reverse(header.sequence));
    headers.dedup();
    Ok(headers)
}

async fn read_slot<M: Member>(
    set: &StripeSet<M>,
    header: SlotHeader,
) -> Result<Option<Found>, PoolError> {
    let at = catalog_slot::address(set.layout(), header.sequence);
    let length = HEADER_BYTES + header.length_bytes.next_multiple_of(SECTOR_BYTES);
    let blocks = set.read_metadata(at, length).await?;
    let is_whole = |block: &&Bytes| {
        catalog_slot::decode_header(block, set.layout(), set.id(), at) == Some(header)
            && catalog_slot::payload(block, header).is_some()
    };
    let Some(block) = blocks.iter().find(is_whole) else { return Ok(None) };
    let text = catalog_slot::payload(block, header).unwrap_or_default();
    let catalog = serde_json::from_slice(&text)
        .map_err(|error| PoolError::Damaged(format!("the catalog cannot be read: {error}")))?;
    let everywhere = blocks.iter().all(|other| other == block);
    Ok(Some(Found { catalog, sequence: header.sequence, bytes: block.clone(), everywhere }))
}
