//! From members to a stripe set: making one, and importing one from its labels.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use uuid::Uuid;

use super::admission::{Admission, label_at};
use super::gate::Gate;
use super::intents::Intents;
use super::journal::Journal;
use super::label::Label;
use super::layout::{LABEL_ADDRESSES, LABEL_BYTES};
use super::set::{STRIPE_LOCKS, StripeSet};
use super::status::SetEvent;
use super::suspects::Suspects;
use super::{Geometry, Level, mark};
use crate::error::PoolError;
use crate::limits::{MEMBER_BYTES_MIN, STRIP_BYTES_MAX, STRIP_BYTES_MIN};
use crate::member::Member;

/// What an import asks of the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// A member that is refused is an error; else it is left out as far as the level allows.
    pub strict: bool,
    /// The event count of the newest label must have reached this. 0 takes any.
    pub at_least_event: u64,
}

impl<M: Member> StripeSet<M> {
    /// Makes a set whose labels are not yet written: nothing is a member before [`Self::found`].
    pub(crate) async fn create(
        members: Vec<M>,
        level: Level,
        strip_bytes: u64,
    ) -> Result<Self, PoolError> {
        level.check_members(members.len())?;
        let strips = STRIP_BYTES_MIN..=STRIP_BYTES_MAX;
        if !strip_bytes.is_power_of_two() || !strips.contains(&strip_bytes) {
            return Err(PoolError::Invalid(format!(
                "a strip has a power of two of bytes, {STRIP_BYTES_MIN} to {STRIP_BYTES_MAX}; \
                 {strip_bytes} was given"
            )));
        }
        for member in &members {
            check_free(member).await?;
        }
        let label = Label {
            pool: Uuid::new_v4(),
            role: 0,
            members: members.iter().map(|_| Uuid::new_v4()).collect(),
            failed: 0,
            event: 0,
            settled_event: 0,
            clean: false,
            level,
            strip_bytes,
            member_bytes: members.iter().map(M::size_bytes).min().unwrap_or_default(),
        };
        let set = Self::assemble(members.into_iter().map(Some).collect(), label);
        set.forget_intents().await?;
        if level == Level::Raid5 {
            set.replay_journal().await?;
        }
        Ok(set)
    }

    /// Writes the first labels, durable: the set exists.
    pub(crate) async fn found(&self) -> Result<(), PoolError> {
        let mut label = self.label.lock().await;
        let next = label.clone();
        Ok(self.commit_label(&mut label, next).await?)
    }

    /// Imports the set that `members` belong to; what was refused comes back beside it. Nothing may be
    /// written to the data area before [`Self::end_recovery`].
    pub(crate) async fn open(
        members: Vec<M>,
        opening: Opening,
    ) -> Result<(Self, Vec<PoolError>), PoolError> {
        let admission = Admission::of(members).await;
        if let Some(refusal) = admission.refused.first().filter(|_| opening.strict) {
            return Err(refusal.clone());
        }
        let Some(newest) = admission.newest().cloned() else {
            let first = admission.refused.into_iter().next();
            return Err(first.unwrap_or(PoolError::Invalid("no members were given".to_owned())));
        };
        let mut places: Vec<Option<M>> = newest.members.iter().map(|_| None).collect();
        for candidate in admission.accepted {
            places[candidate.label.role] = Some(candidate.member);
        }
        let set = Self::assemble(places, newest.clone());
        set.check_enough()?;
        set.check_age(opening.at_least_event)?;
        set.begin_recovery(&newest).await?;
        Ok((set, admission.refused))
    }

    fn assemble(members: Vec<Option<M>>, label: Label) -> Self {
        let geometry = label.geometry();
        let layout = label.layout();
        let missing = members.iter().enumerate().filter(|(_, member)| member.is_none());
        let failed = missing.fold(label.failed, |mask, (role, _)| mask | 1 << role);
        Self {
            failed: AtomicU32::new(failed),
            suspects: Suspects::default(),
            broken: OnceLock::new(),
            unsynced: Mutex::default(),
            closed: AtomicBool::new(false),
            gate: Gate::default(),
            stripe_locks: stripe_locks(geometry),
            intents: Intents::new(label.pool, layout.data_bytes, layout.region_bytes),
            journal: Journal::default(),
            errors: members.iter().map(|_| AtomicU64::new(0)).collect(),
            repairs: members.iter().map(|_| AtomicU64::new(0)).collect(),
            events: Mutex::new(VecDeque::new()),
            identity: label.clone(),
            event: AtomicU64::new(label.settled_event),
            label: tokio::sync::Mutex::new(label),
            geometry,
            layout,
            members,
        }
    }

    fn check_enough(&self) -> Result<(), PoolError> {
        if self.geometry.level.tolerates(self.geometry.members, self.failed()) {
            return Ok(());
        }
        let lacking: Vec<_> = (0..self.geometry.members)
            .filter(|role| self.failed() >> role & 1 == 1)
            .map(|role| role.to_string())
            .collect();
        Err(PoolError::Unavailable(format!(
            "{} of {} members cannot do without number {}",
            self.geometry.level,
            self.geometry.members,
            lacking.join(" and number ")
        )))
    }

    /// Refuses a set of which newer members are known. Its labels alone cannot tell: the members
    /// that are here may be those that failed, and the pool went on without them.
    fn check_age(&self, at_least_event: u64) -> Result<(), PoolError> {
        let newest = self.identity.event;
        if newest >= at_least_event {
            return Ok(());
        }
        let away = (0..self.geometry.members).filter(|role| self.members[*role].is_none());
        let away: Vec<_> = away.map(|role| role.to_string()).collect();
        let away = match away.len() {
            0 => String::new(),
            _ => format!("; not among these members is number {}", away.join(" and number ")),
        };
        Err(PoolError::Unavailable(format!(
            "the pool is older than it was: the newest event count of these members is {newest}, \
             and the pool has reached {at_least_event}{away}"
        )))
    }

    /// Finds what an unclean stop left behind. Labels and intents stay as they are: whatever happens up
    /// to the end of the recovery, the next open finds the same.
    async fn begin_recovery(&self, newest: &Label) -> Result<(), PoolError> {
        let dirty = self.dirty_regions().await?;
        let missing_anew = self.failed() & !newest.failed;
        if self.geometry.level == Level::Raid5 {
            if missing_anew != 0 && !dirty.is_empty() {
                return Err(PoolError::Unavailable(format!(
                    "the pool was not closed in order and member number {} is missing in addition: \
                     what it held cannot be computed from parity that may be half written; give \
                     that member too",
                    missing_anew.trailing_zeros()
                )));
            }
            self.replay_journal().await?;
        }
        let journaled = self.geometry.level == Level::Raid5 && self.failed() != 0;
        if !journaled && self.geometry.level.is_redundant() {
            *self.unsynced() = dirty;
        }
        Ok(())
    }

    fn unsynced(&self) -> MutexGuard<'_, Vec<usize>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether regions have to be made equal at the end of the recovery. Until then no member is taken
    /// out: a failure ends the opening.
    pub(crate) fn needs_resync(&self) -> bool {
        !self.unsynced().is_empty()
    }

    /// Makes equal what may differ, then marks the set as in use. Whoever can judge what is in it has
    /// had it repaired before: a resync takes one copy for all, and parity from the data.
    pub(crate) async fn end_recovery(&self) -> Result<(), PoolError> {
        let regions = self.unsynced().clone();
        if !regions.is_empty() {
            let bytes = self.resync(&regions).await?;
            self.announce(SetEvent::Resynced { bytes });
        }
        {
            let mut label = self.label.lock().await;
            let next = Label { failed: self.failed(), clean: false, ..label.clone() };
            self.commit_label(&mut label, next).await?;
        }
        self.forget_intents().await?;
        self.unsynced().clear();
        for role in (0..self.geometry.members).filter(|role| self.failed() >> role & 1 == 1) {
            self.announce(SetEvent::MemberMissing { member: self.name_of(role) });
        }
        Ok(())
    }

    /// Flushes, forgets the write intents and marks the set clean. Calls after this fail with
    /// `IoError::Closed`.
    pub(crate) async fn close(&self) -> Result<(), PoolError> {
        let closed = self.gate.close().await;
        self.settle(&closed).await?;
        let mut label = self.label.lock().await;
        let next = Label { clean: true, ..label.clone() };
        self.commit_label(&mut label, next).await?;
        self.closed.store(true, Ordering::Release);
        Ok(())
    }

    /// Closes the set and replaces its labels by the mark that every member that is here is free.
    pub(crate) async fn erase(&self) -> Result<(), PoolError> {
        self.close().await?;
        let free = Bytes::from(mark::encode_free(self.identity.pool));
        let [first, second] = LABEL_ADDRESSES;
        for member in self.members.iter().flatten() {
            member.write_at(second, Bytes::from(vec![0; LABEL_BYTES as usize])).await?;
            member.write_at(first, free.clone()).await?;
            member.flush().await?;
        }
        Ok(())
    }

    /// Lets others have the members of a closed set, whoever still holds the object.
    pub(crate) fn release(&self) {
        assert!(self.closed.load(Ordering::Acquire), "a set is released when it is closed");
        self.members.iter().flatten().for_each(Member::release);
    }
}

/// Refuses what is too small, or holds somebody's data as a member of a pool.
async fn check_free<M: Member>(member: &M) -> Result<(), PoolError> {
    let refused =
        |reason: String| PoolError::MemberRefused { member: member.name().to_owned(), reason };
    let size = member.size_bytes();
    if size < MEMBER_BYTES_MIN {
        let reason = format!("it is too small: it has {size} bytes, {MEMBER_BYTES_MIN} are needed");
        return Err(refused(reason));
    }
    for address in LABEL_ADDRESSES {
        if let Ok(label) = label_at(member, address).await.map_err(refused)? {
            let pool = label.pool;
            return Err(refused(format!(
                "it belongs to pool {pool}; to use it anew, overwrite its first MiB with zeros"
            )));
        }
    }
    Ok(())
}

fn stripe_locks(geometry: Geometry) -> Box<[tokio::sync::Mutex<()>]> {
    let count = if geometry.level == Level::Raid5 { STRIPE_LOCKS } else { 0 };
    (0..count).map(|_| tokio::sync::Mutex::new(())).collect()
}
