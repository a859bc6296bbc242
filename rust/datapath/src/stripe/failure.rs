//! Taking a member out.
//!
//! The order is what makes it safe: no change is in flight; the survivors are flushed, so that
//! parity and copies are durable as they are; the survivors' labels say that the member failed,
//! durable; only then does anything go on without it. So nothing that the member lacks is ever
//! acknowledged while a label still calls it in sync, and a label that says so proves that nothing
//! else was wrong then. What the level cannot bear is not committed: the labels stay as they were,
//! with the write intents, and the next open settles what was half changed or refuses.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::future::join_all;

use super::Level;
use super::gate::Closed;
use super::label::Label;
use super::layout::LABEL_ADDRESSES;
use super::set::{Fault, StripeSet, merge};
use super::status::SetEvent;
use crate::error::{IoError, PoolError};
use crate::event_signal;
use crate::limits::POOL_EVENTS_MAX;
use crate::member::Member;

impl<M: Member> StripeSet<M> {
    /// Goes on without the members that failed, or says why it cannot. After `Ok` the call is to be
    /// tried again.
    pub(super) async fn take_out(&self, fault: Fault) -> Result<(), IoError> {
        if !self.geometry.level.is_redundant() {
            return Err(fault.error);
        }
        let closed = self.gate.close().await;
        self.take_out_behind(&closed, fault).await
    }

    /// The same for a caller that holds the gate closed. All suspects go together: labels never
    /// call a member in sync that left a stripe half changed.
    pub(super) async fn take_out_behind(
        &self,
        _closed: &Closed<'_>,
        fault: Fault,
    ) -> Result<(), IoError> {
        if !self.geometry.level.is_redundant() || self.needs_resync() {
            return Err(fault.error);
        }
        self.usable()?;
        let failed = self.failed();
        let suspects = self.suspects.mask() & !failed;
        if (fault.members | suspects) & !failed == 0 && fault.members != 0 {
            return Ok(());
        }
        let accepted = self.tolerable(self.tolerable(failed, suspects), fault.members & !failed);
        // A stripe that two members failed while it changed has no parity to trust, nor have two
        // stripes of which each was failed by another member.
        let spoiled = suspects & !accepted != 0 || fault.changed && fault.members & !accepted != 0;
        if self.geometry.level == Level::Raid5 && spoiled {
            return Err(self.break_set(&fault.error));
        }
        if accepted != failed {
            self.commit_failure(accepted, &fault.error).await?;
        }
        // What is left of them is each the only copy of its data.
        self.suspects.clear();
        if accepted == failed || fault.members & !accepted != 0 { Err(fault.error) } else { Ok(()) }
    }

    /// With the gate closed: takes out whoever failed a change that nobody has reported yet.
    pub(super) async fn take_out_suspects(&self, closed: &Closed<'_>) -> Result<(), IoError> {
        self.usable()?;
        match self.suspects.fault() {
            Some(fault) => self.take_out_behind(closed, fault).await,
            None => Ok(()),
        }
    }

    /// Takes a member out by hand.
    pub async fn fail_member(&self, name: &str) -> Result<(), PoolError> {
        let role = self.role_named(name)?;
        let closed = self.gate.close().await;
        self.take_out_suspects(&closed).await?;
        let failed = self.failed();
        let wanted = failed | 1 << role;
        if wanted == failed {
            return Ok(());
        }
        if self.tolerable(failed, 1 << role) == failed {
            return Err(PoolError::Busy(format!("the pool cannot do without member {name}")));
        }
        self.commit_failure(wanted, &IoError::failed("taken out by hand")).await?;
        Ok(())
    }

    fn role_named(&self, name: &str) -> Result<usize, PoolError> {
        let position = |member: &Option<M>| member.as_ref().is_some_and(|m| m.name() == name);
        self.members
            .iter()
            .position(position)
            .ok_or_else(|| PoolError::NotFound(format!("member {name}")))
    }

    /// As many of `fresh` as the level can do without, besides `failed`.
    fn tolerable(&self, failed: u32, fresh: u32) -> u32 {
        let members = self.geometry.members;
        (0..members).map(|role| 1 << role).filter(|bit| fresh & bit != 0).fold(
            failed,
            |mask, bit| {
                if self.geometry.level.tolerates(members, mask | bit) { mask | bit } else { mask }
            },
        )
    }

    /// With the gate closed: flush, labels, mask, event. Survivors that fail on the way go too, as
    /// far as the level allows.
    async fn commit_failure(&self, wanted: u32, reason: &IoError) -> Result<(), IoError> {
        let before = self.failed();
        let mut wanted = wanted;
        while let Err(fault) = self.flush_and_label(wanted).await {
            let more = self.tolerable(wanted, fault.members & !wanted);
            if more == wanted {
                return Err(self.break_set(&fault.error));
            }
            wanted = more;
        }
        self.failed.store(wanted, Ordering::Release);
        for role in (0..self.geometry.members).filter(|role| (wanted & !before) >> role & 1 == 1) {
            self.announce(SetEvent::MemberFailed {
                member: self.name_of(role),
                reason: self.suspects.reason(role).unwrap_or_else(|| reason.clone()).to_string(),
            });
        }
        Ok(())
    }

    async fn flush_and_label(&self, wanted: u32) -> Result<(), Fault> {
        let survivors = (0..self.geometry.members).filter(|role| wanted >> role & 1 == 0);
        merge(join_all(survivors.map(|role| self.member_flush(role))).await)?;
        let mut label = self.label.lock().await;
        let next = Label { failed: wanted, clean: false, ..label.clone() };
        self.commit_label(&mut label, next).await
    }

    /// Writes `next` with the next event count to every member it calls in sync: the first copies,
    /// a flush, the second copies, a flush, so that one copy is always whole.
    pub(super) async fn commit_label(&self, label: &mut Label, next: Label) -> Result<(), Fault> {
        let next = Label { event: label.event + 1, ..next };
        // Taken even where it fails: an event count stands for one content only.
        label.event = next.event;
        for address in LABEL_ADDRESSES {
            let roles = (0..self.geometry.members).filter(|role| !next.is_failed(*role));
            let writes = roles.map(|role| {
                let copy = Label { role, ..next.clone() }.encode(address);
                async move {
                    self.meta_write(role, address, Bytes::from(copy)).await?;
                    self.member_flush(role).await
                }
            });
            merge(join_all(writes).await)?;
        }
        *label = Label { settled_event: next.event, ..next };
        self.event.store(label.settled_event, Ordering::Release);
        Ok(())
    }

    /// From now on every call fails, for this reason.
    fn break_set(&self, cause: &IoError) -> IoError {
        let reasons = self.suspects.reasons().unwrap_or_else(|| cause.to_string());
        let text =
            format!("the stripe set stopped, more members failed than it can miss: {reasons}");
        let reason = self.broken.get_or_init(|| IoError::failed(text)).clone();
        self.announce(SetEvent::SetFailed { reason: reason.to_string() });
        reason
    }

    pub(super) fn announce(&self, event: SetEvent) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() == POOL_EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(event);
        drop(events);
        event_signal::raise();
    }
}
