//! What users see of a stripe set.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use serde::Serialize;
use uuid::Uuid;

use super::set::{StripeSet, merge};
use crate::error::IoError;
use crate::member::Member;

/// Something that happened by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum SetEvent {
    /// A member was taken out; the set goes on.
    MemberFailed {
        /// Its name.
        member: String,
        /// Why.
        reason: String,
    },
    /// A member was not there when the set was opened; the set goes on.
    MemberMissing {
        /// Its name, or its place where the name is not known.
        member: String,
    },
    /// After an unclean stop, regions were compared and made equal again.
    Resynced {
        /// How many bytes of each member were compared.
        bytes: u64,
    },
    /// A member held what was wrong by its checksum; what is right came from the others and was
    /// written in its place.
    Repaired {
        /// Its name.
        member: String,
        /// Where, from the member's start.
        offset_bytes: u64,
        /// How much was rewritten.
        length_bytes: u64,
    },
    /// Every call fails from now on.
    SetFailed {
        /// Why.
        reason: String,
    },
}

/// How a set stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetState {
    /// All members are in sync.
    Optimal,
    /// Members are missing, and nothing is lost.
    Degraded,
    /// Every call fails.
    Failed,
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// It holds everything.
    InSync,
    /// It was taken out, or it is known not to be what was opened.
    Failed,
    /// It was not given when the set was opened.
    Missing,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// The user's name for it; its place where it is missing.
    pub name: String,
    /// Its identity.
    pub id: Uuid,
    /// Its place in the set, from 0.
    pub role: usize,
    /// How it stands.
    pub state: MemberState,
    /// Calls that it failed since the set was opened.
    pub errors: u64,
    /// Ranges of it that were found wrong and rewritten since the set was opened.
    pub repairs: u64,
}

impl<M: Member> StripeSet<M> {
    /// How the set stands.
    pub fn state(&self) -> SetState {
        match (self.broken.get(), self.failed()) {
            (Some(_), _) => SetState::Failed,
            (None, 0) => SetState::Optimal,
            (None, _) => SetState::Degraded,
        }
    }

    /// How each member stands.
    pub fn member_status(&self) -> Vec<MemberStatus> {
        let failed = self.failed();
        (0..self.geometry.members)
            .map(|role| MemberStatus {
                name: self.name_of(role),
                id: self.identity.members[role],
                role,
                state: match (&self.members[role], failed >> role & 1) {
                    (None, _) => MemberState::Missing,
                    (Some(member), 0) if member.probe().is_ok() => MemberState::InSync,
                    (Some(_), _) => MemberState::Failed,
                },
                errors: self.errors[role].load(Ordering::Relaxed),
                repairs: self.repairs[role].load(Ordering::Relaxed),
            })
            .collect()
    }

    /// The event count that every member in sync has reached, durably. It only grows; a set whose
    /// newest label is older has gone on without these members (`Opening::at_least_event`).
    pub fn event(&self) -> u64 {
        self.event.load(Ordering::Acquire)
    }

    /// The pool's identity.
    pub fn id(&self) -> Uuid {
        self.identity.pool
    }

    /// Takes out members that are known not to be what was opened, as far as the level allows, so
    /// that it shows where nothing is read or written too.
    pub async fn probe(&self) -> Result<(), IoError> {
        self.usable()?;
        match merge(self.in_sync().map(|role| self.member_probe(role))) {
            Ok(()) => Ok(()),
            Err(fault) => self.take_out(fault).await,
        }
    }

    /// What happened since the last call.
    pub fn take_events(&self) -> Vec<SetEvent> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    pub(super) fn name_of(&self, role: usize) -> String {
        match &self.members[role] {
            Some(member) => member.name().to_owned(),
            None => format!("number {role}"),
        }
    }
}
