//! Importing: the catalog in force is the newest one that is whole on any member in sync. It is then
//! written to all of them, since a crash may have left it on some only, and a member may have damaged
//! it. Where the marks say that a newer one was in force, it is lost, and an older one is not taken.

use bytes::Bytes;

use super::catalog::Catalog;
use super::catalog_slot::{self, HEADERS_BYTES, MARK_BYTES, SlotHeader};
use super::{Pool, free_space};
use crate::error::PoolError;
use crate::member::Member;
use crate::stripe::StripeSet;

/// A catalog on disk.
struct Found {
    catalog: Catalog,
    sequence: u64,
    /// The slot, as it is to be on every member.
    image: Bytes,
    /// The members in sync on which it is not so, counted among them.
    different: Vec<usize>,
}

/// The marks of all members.
struct Marks {
    /// The highest number that one names.
    highest: Option<u64>,
    /// Those that do not name it.
    different: usize,
}

impl<M: Member> Pool<M> {
    pub(super) async fn recover(set: StripeSet<M>) -> Result<Self, PoolError> {
        let marks = read_marks(&set).await?;
        let found = newest(&set).await?;
        if let Some(marked) = marks.highest.filter(|marked| *marked > found.sequence) {
            return Err(lost(&set, &found, marked).await);
        }
        let was_in_force = marks.highest == Some(found.sequence);
        if !found.different.is_empty() {
            let address = catalog_slot::address(set.layout(), found.sequence);
            let length_bytes = found.image.len() as u64;
            let roles: Vec<usize> = set.in_sync().collect();
            set.write_metadata(address, found.image).await?;
            for index in found.different.iter().filter(|_| was_in_force) {
                set.note_repair(roles[*index], address, length_bytes);
            }
        }
        let pool = Self::over(set, found.catalog, found.sequence);
        free_space::check(&pool.catalog(), pool.size_bytes(), pool.granule_bytes())?;
        if !was_in_force || marks.different > 0 {
            pool.mark(found.sequence).await;
        }
        Ok(pool)
    }
}

/// The newest catalog that is whole on any member in sync.
async fn newest<M: Member>(set: &StripeSet<M>) -> Result<Found, PoolError> {
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
        for block in set.read_metadata(at, HEADERS_BYTES).await? {
            if let Some(version) = catalog_slot::foreign_version(&block, set.id()) {
                return Err(PoolError::Damaged(format!(
                    "the catalog has format version {version}, which this release does not read"
                )));
            }
            let found = catalog_slot::headers(&block, set.layout(), set.id(), slot);
            headers.extend(found.into_iter().flatten());
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
    let blocks = set.read_metadata(at, header.image_bytes()).await?;
    let texts = blocks.iter().flat_map(|block| catalog_slot::texts(block, header));
    let Some(text) = texts.flatten().next() else { return Ok(None) };
    let catalog = serde_json::from_slice(&text)
        .map_err(|error| PoolError::Damaged(format!("the catalog cannot be read: {error}")))?;
    let image = catalog_slot::image(set.layout(), set.id(), header.sequence, &text);
    let Some(image) = image else { return Ok(None) };
    let different = (0..blocks.len()).filter(|index| blocks[*index] != image).collect();
    Ok(Some(Found { catalog, sequence: header.sequence, image, different }))
}

async fn read_marks<M: Member>(set: &StripeSet<M>) -> Result<Marks, PoolError> {
    let mut marks = Vec::new();
    for slot in 0..2 {
        let at = catalog_slot::mark_address(set.layout(), slot);
        for block in set.read_metadata(at, MARK_BYTES).await? {
            marks.push(catalog_slot::decode_mark(&block, set.layout(), set.id(), slot));
        }
    }
    let highest = marks.iter().copied().flatten().max();
    let different = marks.iter().filter(|mark| **mark != highest).count();
    Ok(Marks { highest, different })
}

/// What is lost with a catalog that was in force, of which no member has a whole copy.
async fn lost<M: Member>(set: &StripeSet<M>, older: &Found, marked: u64) -> PoolError {
    let members = set.member_status().len();
    PoolError::Damaged(format!(
        "pool {}: its catalog number {marked} was in force and is damaged on every one of {members} members; \
         number {}, which is whole, is older, and does not say what was made, grown or deleted since: \
         nothing was changed; give a member that was left out, or restore one from a copy of it",
        older.catalog.name, older.sequence
    ))
}
