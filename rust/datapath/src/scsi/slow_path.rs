//! The command set above, as the fast path sees it.

use tokio::sync::oneshot;

use super::request::{Completion, NexusId, Request};

/// Task management functions, with the codes of RFC 7143, 11.5.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskManagementFunction {
    /// ABORT TASK.
    AbortTask = 1,
    /// ABORT TASK SET.
    AbortTaskSet = 2,
    /// CLEAR ACA.
    ClearAca = 3,
    /// CLEAR TASK SET.
    ClearTaskSet = 4,
    /// LOGICAL UNIT RESET.
    LogicalUnitReset = 5,
    /// TARGET WARM RESET.
    TargetWarmReset = 6,
    /// TARGET COLD RESET.
    TargetColdReset = 7,
    /// TASK REASSIGN.
    TaskReassign = 8,
}

/// Executes what the fast path declines. Called on the threads that serve sessions, so no call may
/// block: it hands the work on and returns.
pub trait SlowPath: Send + Sync + 'static {
    /// Executes a command from its start. Dropping `reply` unanswered means that the target failed
    /// (RFC 7143, 11.4.3: Target Failure).
    fn submit(&self, request: Request, reply: oneshot::Sender<Completion>);

    /// The rest of a task management function, after the tasks it concerns have ended: unit
    /// attentions, reservations. The answer is a response code of RFC 7143, 11.6.1; dropping
    /// `reply` unanswered means 255, function rejected.
    fn task_management(
        &self,
        nexus: NexusId,
        lun: u64,
        function: TaskManagementFunction,
        reply: oneshot::Sender<u8>,
    );

    /// The nexus is gone; every command of it has ended.
    fn nexus_lost(&self, nexus: NexusId);
}
