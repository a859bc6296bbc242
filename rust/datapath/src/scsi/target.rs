//! The task router: which logical unit a command is for, and which sessions a target has.
//!
//! A target here is what one set of initiators sees: its LUNs are its own, its units may be shown by
//! others too.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::block_io::BlockIo;

use super::buffers::BufferPool;
use super::logical_unit::{LogicalUnit, UnitNumber};
use super::nexus::{EndToken, Mailbox};
use super::request::{Completion, NexusId, Request};
use super::sessions::Sessions;
use super::slow_path::{FunctionAnswer, SlowPath, TaskManagementFunction};

/// Logical units by the eight LUN bytes.
pub type LunMap<D> = BTreeMap<u64, Arc<LogicalUnit<D>>>;

/// A target: its LUN map, its sessions, and the command set above. The map may change while
/// sessions run; a command goes on with the unit it found.
pub struct Target<D> {
    units: ArcSwap<LunMap<D>>,
    slow_path: Arc<dyn SlowPath>,
    sessions: Arc<Sessions>,
    nexuses: Mutex<HashSet<NexusId>>,
}

impl<D: BlockIo> Target<D> {
    /// A target without logical units. `sessions` are those of all targets.
    pub fn new(sessions: Arc<Sessions>, slow_path: Arc<dyn SlowPath>) -> Self {
        let (units, nexuses) = Default::default();
        Self { units, slow_path, sessions, nexuses }
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
        let _one_at_a_time = self.nexuses();
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

    /// The unit at `lun`, or all of them.
    pub fn numbers(&self, lun: Option<u64>) -> Arc<[UnitNumber]> {
        let units = self.units.load();
        let meant = units.iter().filter(|(at, _)| lun.is_none_or(|lun| lun == **at));
        meant.map(|(_, unit)| unit.number()).collect()
    }

    /// Every LUN at which one of `units` is; a unit may be at several.
    pub fn luns_of(&self, units: &[UnitNumber]) -> Vec<u64> {
        let all = self.units.load();
        let meant = all.iter().filter(|(_, unit)| units.contains(&unit.number()));
        meant.map(|(lun, _)| *lun).collect()
    }

    /// How many bytes of Data-Out are to be solicited for a command; none where there is no unit.
    pub fn data_out_to_solicit(&self, lun: u64, cdb: &[u8]) -> u32 {
        self.units.load().get(&lun).map_or(0, |unit| unit.data_out_to_solicit(cdb))
    }

    /// Executes a READ that needs no waiting, into `room`; see [`LogicalUnit::read_now`].
    pub fn read_now(&self, request: &Request, room: &mut [u8]) -> Option<usize> {
        self.units.load().get(&request.lun)?.read_now(request, room)
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
    ) -> Option<FunctionAnswer> {
        let (reply, answer) = oneshot::channel();
        self.slow_path.task_management(nexus, lun, function, reply);
        answer.await.ok()
    }

    /// Makes a session known.
    pub fn attach(&self, nexus: NexusId, mailbox: Arc<Mailbox>) {
        self.sessions.attach(nexus, mailbox);
        self.nexuses().insert(nexus);
    }

    /// Forgets a session whose tasks have all ended, and tells the command set.
    pub fn detach(&self, nexus: NexusId) {
        self.nexuses().remove(&nexus);
        self.sessions.detach(nexus);
        for unit in self.units.load().values() {
            unit.gate().set_pending(Some(nexus), false);
        }
        self.slow_path.nexus_lost(nexus);
    }

    /// Has every session but `nexus`, of whatever target, end its tasks at `units`.
    pub fn abort_tasks_of_others(
        &self,
        nexus: NexusId,
        units: &Arc<[UnitNumber]>,
        token: &EndToken,
    ) {
        self.sessions.abort_tasks_of_others(nexus, units, token);
    }

    /// Has the sessions of `nexuses` end their tasks at the unit that this target has at `lun`.
    pub fn abort_tasks_of(&self, nexuses: &[NexusId], lun: u64, token: &EndToken) {
        self.sessions.abort_tasks_of(nexuses, &self.numbers(Some(lun)), token);
    }

    /// Has every session of this target but `nexus` close its connection and end.
    pub fn close_other_sessions(&self, nexus: NexusId) {
        self.sessions.close(self.nexuses().iter().copied().filter(|other| *other != nexus));
    }

    fn nexuses(&self) -> MutexGuard<'_, HashSet<NexusId>> {
        self.nexuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
