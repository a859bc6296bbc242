//! The command set above, as the fast path sees it.

use tokio::sync::oneshot;

use super::request::{Completion, NexusId, Request};

/// Task management functions, with the codes of RFC 7143, 11.5.1, and from 9 on of RFC 7144.
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
    /// QUERY TASK.
    QueryTask = 9,
    /// QUERY TASK SET.
    QueryTaskSet = 10,
    /// I_T NEXUS RESET.
    NexusReset = 11,
    /// QUERY ASYNCHRONOUS EVENT.
    QueryAsynchronousEvent = 12,
}

impl TaskManagementFunction {
    /// The function of a code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|function| *function as u8 == code)
    }

    /// Every function, by code.
    pub const ALL: [Self; 12] = [
        Self::AbortTask,
        Self::AbortTaskSet,
        Self::ClearAca,
        Self::ClearTaskSet,
        Self::LogicalUnitReset,
        Self::TargetWarmReset,
        Self::TargetColdReset,
        Self::TaskReassign,
        Self::QueryTask,
        Self::QueryTaskSet,
        Self::NexusReset,
        Self::QueryAsynchronousEvent,
    ];
}

/// The answer to a task management function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionAnswer {
    /// The response code (RFC 7143, 11.6.1; 7 of RFC 7144).
    pub response: u8,
    /// Additional Response Information (RFC 7144), which only QUERY ASYNCHRONOUS EVENT has.
    pub information: [u8; 3],
}

impl From<u8> for FunctionAnswer {
    fn from(response: u8) -> Self {
        Self { response, ..Self::default() }
    }
}

/// Executes what the fast path declines. Called on the threads that serve sessions, so no call may
/// block: it hands the work on and returns.
pub trait SlowPath: Send + Sync + 'static {
    /// Executes a command from its start. Dropping `reply` unanswered means that the target failed
    /// (RFC 7143, 11.4.3: Target Failure).
    fn submit(&self, request: Request, reply: oneshot::Sender<Completion>);

    /// The rest of a task management function, after the tasks it concerns have ended: unit
    /// attentions, reservations. Dropping `reply` unanswered means 255, function rejected.
    fn task_management(
        &self,
        nexus: NexusId,
        lun: u64,
        function: TaskManagementFunction,
        reply: oneshot::Sender<FunctionAnswer>,
    );

    /// The nexus is gone; every command of it has ended.
    fn nexus_lost(&self, nexus: NexusId);
}
