//! Members in sync that failed a change: they may lack what the others have.
//!
//! A member is added where its call fails, before the change that made the call goes on, and the
//! list is emptied with the gate closed. So with the gate closed it is complete.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::set::Fault;
use crate::error::IoError;

/// The suspects, each with the reason.
#[derive(Default)]
pub(super) struct Suspects {
    /// A bit for each, so that looking costs one load.
    mask: AtomicU32,
    reasons: Mutex<BTreeMap<usize, IoError>>,
}

impl Suspects {
    pub(super) fn add(&self, role: usize, reason: &IoError) {
        self.lock().entry(role).or_insert_with(|| reason.clone());
        self.mask.fetch_or(1 << role, Ordering::AcqRel);
    }

    pub(super) fn are_none(&self) -> bool {
        self.mask() == 0
    }

    pub(super) fn mask(&self) -> u32 {
        self.mask.load(Ordering::Acquire)
    }

    /// What all of them did, as one fault.
    pub(super) fn fault(&self) -> Option<Fault> {
        if self.are_none() {
            return None;
        }
        let (members, error) = (self.mask(), self.lock().values().next()?.clone());
        Some(Fault { members, changed: true, error })
    }

    pub(super) fn reason(&self, role: usize) -> Option<IoError> {
        self.lock().get(&role).cloned()
    }

    /// All reasons in one text.
    pub(super) fn reasons(&self) -> Option<String> {
        let reasons: Vec<_> = self.lock().values().map(IoError::to_string).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    pub(super) fn clear(&self) {
        self.mask.store(0, Ordering::Release);
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, IoError>> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
