//! The sessions of every target of the process.
//!
//! A logical unit may be shown by many targets, each at a LUN of its own. What ends its tasks has to
//! reach all of them, so sessions are found here and units by their numbers, not by LUNs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::logical_unit::UnitNumber;
use super::nexus::{EndToken, Mailbox, Order};
use super::request::NexusId;

/// The registry. Its lock is held for as long as orders are being posted, never while one is
/// carried out.
#[derive(Debug, Default)]
pub struct Sessions {
    mailboxes: Mutex<HashMap<NexusId, Arc<Mailbox>>>,
}

impl Sessions {
    /// Makes a session known.
    pub(super) fn attach(&self, nexus: NexusId, mailbox: Arc<Mailbox>) {
        let before = self.mailboxes().insert(nexus, mailbox);
        assert!(before.is_none(), "a nexus is not used again");
    }

    /// Forgets a session.
    pub(super) fn detach(&self, nexus: NexusId) {
        self.mailboxes().remove(&nexus);
    }

    /// Has every session but `nexus` end its tasks at these units.
    pub(super) fn abort_tasks_of_others(
        &self,
        nexus: NexusId,
        units: &Arc<[UnitNumber]>,
        token: &EndToken,
    ) {
        for (_, mailbox) in self.mailboxes().iter().filter(|(other, _)| **other != nexus) {
            let (units, token) = (Arc::clone(units), token.clone());
            mailbox.post(Order::AbortTasks { units, token });
        }
    }

    /// Has the sessions of `nexuses` end their tasks at these units.
    pub(super) fn abort_tasks_of(
        &self,
        nexuses: &[NexusId],
        units: &Arc<[UnitNumber]>,
        token: &EndToken,
    ) {
        let mailboxes = self.mailboxes();
        for mailbox in nexuses.iter().filter_map(|nexus| mailboxes.get(nexus)) {
            let (units, token) = (Arc::clone(units), token.clone());
            mailbox.post(Order::AbortTasks { units, token });
        }
    }

    /// Has these sessions close their connections and end.
    pub(super) fn close(&self, nexuses: impl Iterator<Item = NexusId>) {
        let mailboxes = self.mailboxes();
        nexuses.filter_map(|nexus| mailboxes.get(&nexus)).for_each(|one| one.post(Order::Close));
    }

    fn mailboxes(&self) -> MutexGuard<'_, HashMap<NexusId, Arc<Mailbox>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
