//! Floor 2, upper half: a pool is a stripe set with a catalog and free space.
//!
//! - A change of the catalog is written to every member and flushed; only then is it in force. One
//!   change at a time.
//! - Extents are zeroed, durably, before the catalog that gives them to a space is written, and are
//!   free only once the catalog that takes them away is in force.
//!
//! ```text
//! mod            the verbs                     catalog        the records
//! space          extents as an address space   catalog_slot   the records' bytes on a member
//! free_space     what is not taken             inspect        dump and check
//! ```

pub mod catalog;
mod catalog_slot;
mod free_space;
pub mod inspect;
mod recover;
mod space;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

pub use catalog::{
    Catalog, Extent, SnapshotRecord, SnapshotState, SpaceId, StorePolicy, VolumeId, VolumeRecord,
};
pub use space::Space;

use crate::block_io::BlockIo;
use crate::error::{IoError, PoolError};
use crate::limits::NAME_CHARS_MAX;
use crate::member::Member;
use crate::stripe::{Comparison, Level, MemberStatus, Opening, SetEvent, SetState, StripeSet};

/// What a pool is made with.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Its name.
    pub name: String,
    /// Its level.
    pub level: Level,
    /// Bytes of a strip: a power of two from 4 KiB to 1 MiB.
    pub strip_bytes: u64,
}

/// When a space takes room on what the members lie on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provisioning {
    /// As it is written.
    Thin,
    /// When its extents are given to it: no write can want for room.
    Full,
}

/// A pool as users see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: Uuid,
    /// Its level.
    pub level: Level,
    /// Bytes of a strip.
    pub strip_bytes: u64,
    /// The event count that all members in sync have reached: grows with each change of the labels.
    pub event: u64,
    /// How it stands.
    pub state: SetState,
    /// Bytes that spaces may take.
    pub size_bytes: u64,
    /// Bytes that no space has.
    pub free_bytes: u64,
    /// Spaces are multiples of this.
    pub granule_bytes: u64,
    /// The members, by role.
    pub members: Vec<MemberStatus>,
}

/// A pool.
pub struct Pool<M> {
    set: Arc<StripeSet<M>>,
    catalog: ArcSwap<Catalog>,
    /// The sequence number of the catalog in force. Held while a change is made.
    sequence: tokio::sync::Mutex<u64>,
    /// Held from the choice of extents to the catalog that names them.
    allocation: tokio::sync::Mutex<()>,
    spaces: Mutex<HashMap<SpaceId, Weak<Space<M>>>>,
}

impl<M: Member> Pool<M> {
    /// Makes a pool. `PoolError::MemberRefused` where a member is too small or belongs to a pool;
    /// `Invalid` where the level, the strip or the name does not work.
    pub async fn create(members: Vec<M>, options: CreateOptions) -> Result<Arc<Self>, PoolError> {
        check_name(&options.name)?;
        let set = StripeSet::create(members, options.level, options.strip_bytes).await?;
        let pool = Self::over(set, Catalog::new(&options.name), 0);
        pool.clear_slot(0).await?;
        pool.update(|_| Ok(())).await?;
        pool.set.found().await?;
        Ok(Arc::new(pool))
    }

    /// Imports a pool from its members alone, in any order. `MemberRefused` names the first that
    /// cannot be used; `Unavailable` where too many are missing.
    pub async fn open(members: Vec<M>) -> Result<Arc<Self>, PoolError> {
        let opening = Opening { strict: true, at_least_event: 0 };
        Ok(Self::open_as(members, opening).await?.0)
    }

    /// The same, but leaves members out that cannot be used, as far as the level allows: what a
    /// controller does when it starts. Gives the refusals too.
    pub async fn open_available(members: Vec<M>) -> Result<(Arc<Self>, Vec<PoolError>), PoolError> {
        Self::open_as(members, Opening::default()).await
    }

    /// Imports as `opening` asks: `Unavailable`, with nothing written to any member, where the
    /// newest of them is older than `Opening::at_least_event`.
    pub async fn open_as(
        members: Vec<M>,
        opening: Opening,
    ) -> Result<(Arc<Self>, Vec<PoolError>), PoolError> {
        let (pool, refused) = Self::begin_open(members, opening).await?;
        pool.end_open().await?;
        Ok((pool, refused))
    }

    /// The first half of an import, for whoever can judge what is in the pool's spaces: nothing is
    /// written to them before [`Self::end_open`] but repairs, by verified reads. Where
    /// [`BlockIo::is_in_doubt`] says so, its resync takes one copy for all.
    pub async fn begin_open(
        members: Vec<M>,
        opening: Opening,
    ) -> Result<(Arc<Self>, Vec<PoolError>), PoolError> {
        let (set, refused) = StripeSet::open(members, opening).await?;
        Ok((Arc::new(Self::recover(set).await?), refused))
    }

    /// Whether something is in doubt until [`Self::end_open`].
    pub fn is_in_doubt(&self) -> bool {
        self.set.needs_resync()
    }

    /// The second half.
    pub async fn end_open(&self) -> Result<(), PoolError> {
        self.set.end_recovery().await
    }

    fn over(set: StripeSet<M>, catalog: Catalog, sequence: u64) -> Self {
        Self {
            set: Arc::new(set),
            catalog: ArcSwap::from_pointee(catalog),
            sequence: tokio::sync::Mutex::new(sequence),
            allocation: tokio::sync::Mutex::new(()),
            spaces: Mutex::default(),
        }
    }

    /// Flushes, clears the write intents and marks the pool clean. Calls after this fail with
    /// `IoError::Closed`.
    pub async fn close(&self) -> Result<(), PoolError> {
        let _change = self.sequence.lock().await;
        self.set.close().await?;
        self.set.release();
        Ok(())
    }

    /// Closes the pool and erases its members' labels. `Busy` while it has volumes.
    pub async fn destroy(&self) -> Result<(), PoolError> {
        let _change = self.sequence.lock().await;
        let catalog = self.catalog();
        if !catalog.volumes.is_empty() {
            return Err(PoolError::Busy(format!(
                "pool {} has {} volumes: delete them first",
                catalog.name,
                catalog.volumes.len()
            )));
        }
        self.set.erase().await?;
        self.set.release();
        Ok(())
    }

    /// The stripe set.
    pub fn set(&self) -> &Arc<StripeSet<M>> {
        &self.set
    }

    /// The pool's identity.
    pub fn id(&self) -> Uuid {
        self.set.id()
    }

    /// What users see.
    pub fn status(&self) -> PoolStatus {
        let catalog = self.catalog();
        let free = free_space::free_runs(&catalog, self.size_bytes());
        PoolStatus {
            name: catalog.name.clone(),
            id: self.id(),
            level: self.set.geometry().level,
            strip_bytes: self.set.geometry().strip_bytes,
            event: self.set.event(),
            state: self.set.state(),
            size_bytes: self.size_bytes(),
            free_bytes: free.iter().map(|run| run.length_bytes).sum(),
            granule_bytes: self.granule_bytes(),
            members: self.set.member_status(),
        }
    }

    /// What happened since the last call, at most `POOL_EVENTS_MAX` of it.
    pub fn take_events(&self) -> Vec<SetEvent> {
        self.set.take_events()
    }

    /// Compares copies and parity, all that is mapped, while I/O goes on; changes nothing.
    /// `IoError::Closed` where the pool is closed before it ends.
    pub async fn compare(&self) -> Result<Comparison, PoolError> {
        Ok(self.set.compare().await?)
    }

    /// Takes out members that are known not to be what was opened: what a controller does now and
    /// then. An error where the pool cannot do without them.
    pub async fn probe(&self) -> Result<(), PoolError> {
        Ok(self.set.probe().await?)
    }

    /// Takes a member out by hand. `Busy` where the pool cannot do without it.
    pub async fn fail_member(&self, name: &str) -> Result<(), PoolError> {
        self.set.fail_member(name).await
    }

    /// Flushes with no change in flight and forgets the write intents.
    pub async fn checkpoint(&self) -> Result<(), PoolError> {
        Ok(self.set.checkpoint().await?)
    }

    /// The catalog in force: a view that does not change any more.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Changes the catalog: durable on all members when it returns `Ok`; not in force when it
    /// returns `Err`. Where writing it failed, a crash may still bring it into force.
    pub async fn update<R>(
        &self,
        change: impl FnOnce(&mut Catalog) -> Result<R, PoolError>,
    ) -> Result<R, PoolError> {
        let mut sequence = self.sequence.lock().await;
        let mut next = Catalog::clone(&self.catalog.load());
        let result = change(&mut next)?;
        free_space::check(&next, self.size_bytes(), self.granule_bytes())?;
        let layout = self.set.layout();
        let bytes = catalog_slot::encode(layout, self.id(), *sequence + 1, &next);
        let bytes = bytes.ok_or_else(|| {
            PoolError::NoSpace(format!(
                "the catalog has no room for more: its slots have {} bytes",
                layout.catalog_slot_bytes
            ))
        })?;
        let address = catalog_slot::address(layout, *sequence + 1);
        if let Err(error) = self.set.write_metadata(address, bytes).await {
            // Members may hold this one; the next must be told from it, and take the same slot.
            *sequence += 2;
            self.supersede(&mut sequence).await;
            return Err(error.into());
        }
        *sequence += 1;
        self.catalog.store(Arc::new(next));
        self.mark(*sequence).await;
        Ok(result)
    }

    /// After a catalog that could not be written: tries once to put the one in force over it, so that
    /// no crash can bring it into force.
    async fn supersede(&self, sequence: &mut u64) {
        let (layout, next) = (self.set.layout(), *sequence + 1);
        let Some(bytes) = catalog_slot::encode(layout, self.id(), next, &self.catalog.load())
        else {
            return;
        };
        let written = self.set.write_metadata(catalog_slot::address(layout, next), bytes).await;
        // Where it failed, its number is used up and its slot stays the next one's.
        *sequence += if written.is_ok() { 1 } else { 2 };
        if written.is_ok() {
            self.mark(next).await;
        }
    }

    /// Overwrites what somebody may have left where a slot of a new pool has its headers.
    async fn clear_slot(&self, slot: u64) -> Result<(), PoolError> {
        let address = catalog_slot::address(self.set.layout(), slot);
        let zeros = Bytes::from(vec![0; catalog_slot::HEADERS_BYTES as usize]);
        Ok(self.set.write_metadata(address, zeros).await?)
    }

    /// Writes, unflushed, that the catalog of that number is in force: the next flush of whatever makes
    /// it durable. It is only ever looked at where the catalog itself is damaged.
    async fn mark(&self, sequence: u64) {
        for slot in 0..2 {
            let mark = catalog_slot::encode_mark(self.set.layout(), self.id(), slot, sequence);
            let address = catalog_slot::mark_address(self.set.layout(), slot);
            self.set.write_metadata_unflushed(address, mark).await;
        }
    }

    /// Makes a space of at least `size_bytes`, which may be 0; it reads as zeros.
    pub async fn create_space(&self, size_bytes: u64) -> Result<SpaceId, PoolError> {
        self.create_space_with(size_bytes, Provisioning::Thin, |_, _| Ok(())).await
    }

    /// The same, with the space's room taken or not; `name` puts its number into the catalog in the
    /// update that makes it, so that it is at no moment a space without an owner.
    pub async fn create_space_with(
        &self,
        size_bytes: u64,
        provisioning: Provisioning,
        name: impl FnOnce(&mut Catalog, SpaceId) -> Result<(), PoolError>,
    ) -> Result<SpaceId, PoolError> {
        let _turn = self.allocation.lock().await;
        let extents = self.prepare_extents(size_bytes, None, provisioning).await?;
        self.update(|catalog| {
            let id = SpaceId(catalog.next_space);
            catalog.next_space += 1;
            catalog.spaces.insert(id, extents);
            name(catalog, id)?;
            Ok(id)
        })
        .await
    }

    /// Gives a space's extents back; I/O on it fails with `IoError::Closed` from then on.
    pub async fn delete_space(self: &Arc<Self>, id: SpaceId) -> Result<(), PoolError> {
        let space = self.space(id)?;
        let _nobody_inside = space.gate.close().await;
        space.set_closed(true);
        let outcome = self.update(|catalog| {
            let removed = catalog.spaces.remove(&id);
            removed.map(|_| ()).ok_or_else(|| no_space_of_number(id))
        });
        let outcome = outcome.await;
        match outcome {
            Ok(()) => self.spaces.lock().unwrap_or_else(PoisonError::into_inner).remove(&id),
            Err(_) => {
                space.set_closed(!self.catalog().spaces.contains_key(&id));
                None
            }
        };
        outcome
    }

    /// The space of that number; the same object for every caller.
    pub fn space(self: &Arc<Self>, id: SpaceId) -> Result<Arc<Space<M>>, PoolError> {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(space) = spaces.get(&id).and_then(Weak::upgrade) {
            return Ok(space);
        }
        let catalog = self.catalog();
        let extents = catalog.spaces.get(&id).ok_or_else(|| no_space_of_number(id))?;
        let space = Arc::new(Space::new(id, self.clone(), extents));
        spaces.retain(|_, space| space.strong_count() > 0);
        spaces.insert(id, Arc::downgrade(&space));
        Ok(space)
    }

    /// Adds at least `additional_bytes` to a space, and changes the catalog as `also` says in the
    /// same update; gives all its extents.
    async fn grow_space(
        &self,
        id: SpaceId,
        additional_bytes: u64,
        provisioning: Provisioning,
        also: impl FnOnce(&mut Catalog) -> Result<(), PoolError>,
    ) -> Result<Vec<Extent>, PoolError> {
        let _turn = self.allocation.lock().await;
        let extents = self.catalog().spaces.get(&id).cloned();
        let mut extents = extents.ok_or_else(|| no_space_of_number(id))?;
        let after = extents.last().map(|last| last.end_bytes());
        let more = self.prepare_extents(additional_bytes, after, provisioning).await?;
        free_space::append(&mut extents, &more);
        let grown = extents.clone();
        let outcome = self.update(|catalog| {
            let list = catalog.spaces.get_mut(&id).ok_or_else(|| no_space_of_number(id))?;
            *list = grown;
            also(catalog)
        });
        outcome.await?;
        Ok(extents)
    }

    /// Chooses free extents and zeroes them, durably. With `allocation` held: while the members take
    /// room in advance, no other space is made or grows.
    async fn prepare_extents(
        &self,
        length_bytes: u64,
        after: Option<u64>,
        provisioning: Provisioning,
    ) -> Result<Vec<Extent>, PoolError> {
        let free = free_space::free_runs(&self.catalog(), self.size_bytes());
        let rounded = length_bytes.checked_next_multiple_of(self.granule_bytes());
        let chosen = rounded.and_then(|length| free_space::allocate(&free, length, after));
        let extents = chosen.ok_or_else(|| {
            let free: u64 = free.iter().map(|run| run.length_bytes).sum();
            PoolError::NoSpace(format!("{length_bytes} bytes are wanted, {free} are free"))
        })?;
        for extent in &extents {
            self.set.discard(extent.offset_bytes, extent.length_bytes).await?;
        }
        if provisioning == Provisioning::Full {
            self.take_room(&extents).await?;
        }
        if !extents.is_empty() {
            self.set.flush().await?;
        }
        Ok(extents)
    }

    /// Takes the room of extents that are zeroed; all of it or none.
    async fn take_room(&self, extents: &[Extent]) -> Result<(), PoolError> {
        for extent in extents {
            let Err(error) = self.set.allocate(extent.offset_bytes, extent.length_bytes).await
            else {
                continue;
            };
            for extent in extents {
                // What cannot be given back now is zeroed again when it is next given to a space.
                drop(self.set.discard(extent.offset_bytes, extent.length_bytes).await);
            }
            return Err(match error {
                IoError::NoSpace => {
                    let bytes: u64 = extents.iter().map(|extent| extent.length_bytes).sum();
                    let text = "the file systems of the pool's members have no room for";
                    PoolError::NoSpace(format!("{text} {bytes} bytes"))
                }
                other => other.into(),
            });
        }
        Ok(())
    }

    fn granule_bytes(&self) -> u64 {
        free_space::granule_bytes(self.set.geometry())
    }

    /// Whole granules of the data area.
    fn size_bytes(&self) -> u64 {
        self.set.size_bytes() / self.granule_bytes() * self.granule_bytes()
    }
}

/// A name is what a user can type in `pool/volume@snapshot`.
fn check_name(name: &str) -> Result<(), PoolError> {
    let allowed = |c: char| !c.is_control() && !c.is_whitespace() && !"/@".contains(c);
    if (1..=NAME_CHARS_MAX).contains(&name.chars().count()) && name.chars().all(allowed) {
        return Ok(());
    }
    Err(PoolError::Invalid(format!(
        "a name has 1 to {NAME_CHARS_MAX} characters, no space, slash or at sign: {name:?}"
    )))
}

fn no_space_of_number(id: SpaceId) -> PoolError {
    PoolError::NotFound(format!("space {}", id.0))
}

/// A verb's failure where a call on a device needed the verb.
pub(crate) fn io_error(error: PoolError) -> IoError {
    match error {
        PoolError::Io(error) => error,
        PoolError::NoSpace(_) => IoError::NoSpace,
        PoolError::NotFound(_) => IoError::Closed,
        other => IoError::failed(other.to_string()),
    }
}
