//! The task router: which logical unit a command is for, and which sessions a target has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::block_io::BlockIo;

use super::buffers::BufferPool;
use super::logical_unit::LogicalUnit;
use super::nexus::{EndToken, Mailbox, Order};
use super::request::{Completion, NexusId, Request};
use super::slow_path::{SlowPath, TaskManagementFunction};

/// Logical units by the eight LUN bytes.
pub type LunMap<D> = HashMap<u64, Arc<LogicalUnit<D>>>;

/// A target: its LUN map, its sessions, and the command set above. The map may change while
/// sessions run; a command goes on with the unit it found.
pub struct Target<D> {
    units: ArcSwap<LunMap<D>>,
    slow_path: Arc<dyn SlowPath>,
    sessions: Mutex<HashMap<NexusId, Arc<Mailbox>>>,
}

impl<D: BlockIo> Target<D> {
    /// A target without logical units.
    pub fn new(slow_path: Arc<dyn SlowPath>) -> Self {
        let (units, sessions) = Default::default();
        Self { units, slow_path, sessions }
    }

    /// Puts `unit` at `lun`; gives back the unit that was there.
    pub fn map(&self, lun: u64, unit: Arc<LogicalUnit<D>>) -> Option<Arc<LogicalUnit<D>>> {
        self.change(|units| units.insert(lun, unit))
    }

    /// Takes the unit at `lun` out. Commands that found it before go on with it.
    pub fn unmap(&self, lun: u64) -> Option<Arc<LogicalUnit<D>>> {
        self.change(|units| units.remove(&lun))
    }

    fn change<R>(&self, change: impl FnOnce(&mut LunMap<D>) -> R) -> R {
        let _one_at_a_time = self.sessions();
        let mut units = LunMap::clone(&self.units.load());
        let result = change(&mut units);
        self.units.store(Arc::new(units));
        result
    }

    /// The unit at `lun`.
    pub fn unit(&self, lun: u64) -> Option<Arc<LogicalUnit<D>>> {
        self.units.load().get(&lun).cloned()
    }

    /// The LUN map as it is now.
    pub fn units(&self) -> Arc<LunMap<D>> {
        self.units.load_full()
    }

    /// Executes a command. `None` where the command set failed to answer.
    pub async fn execute(&self, request: Request, buffers: &BufferPool) -> Option<Completion> {
        if let Some(unit) = self.unit(request.lun)
            && let Some(completion) = unit.execute(&request, buffers).await
        {
            return Some(completion);
        }
        let (reply, answer) = oneshot::channel();
        self.slow_path.submit(request, reply);
        answer.await.ok()
    }

    /// What the command set answers to a task management function whose tasks have ended.
    pub async fn task_management(
        &self,
        nexus: NexusId,
        lun: u64,
        function: TaskManagementFunction,
    ) -> Option<u8> {
        let (reply, answer) = oneshot::channel();
        self.slow_path.task_management(nexus, lun, function, reply);
        answer.await.ok()
    }

    /// Makes a session known.
    pub fn attach(&self, nexus: NexusId, mailbox: Arc<Mailbox>) {
        let before = self.sessions().insert(nexus, mailbox);
        assert!(before.is_none(), "a nexus is not used again");
    }

    /// Forgets a session whose tasks have all ended, and tells the command set.
    pub fn detach(&self, nexus: NexusId) {
        self.sessions().remove(&nexus);
        for unit in self.units.load().values() {
            unit.gate().set_pending(Some(nexus), false);
        }
        self.slow_path.nexus_lost(nexus);
    }

    /// Has every session but `nexus` end its tasks at `lun` (`None`: at every unit).
    pub fn abort_tasks_of_others(&self, nexus: NexusId, lun: Option<u64>, token: &EndToken) {
        for (_, mailbox) in self.sessions().iter().filter(|(other, _)| **other != nexus) {
            mailbox.post(Order::AbortTasks { lun, token: token.clone() });
        }
    }

    /// Has the sessions of `nexuses` end their tasks at `lun`.
    pub fn abort_tasks_of(&self, nexuses: &[NexusId], lun: u64, token: &EndToken) {
        let sessions = self.sessions();
        for mailbox in nexuses.iter().filter_map(|nexus| sessions.get(nexus)) {
            mailbox.post(Order::AbortTasks { lun: Some(lun), token: token.clone() });
        }
    }

    /// Has every session close its connection and end.
    pub fn close_sessions(&self) {
        self.sessions().values().for_each(|mailbox| mailbox.post(Order::Close));
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<NexusId, Arc<Mailbox>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
