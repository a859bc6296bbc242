//! Task attributes (SAM-5, clause 8): which tasks of a logical unit may start.
//!
//! Each I_T nexus has a task set of its own at each unit (TST 001b), so a session knows all that
//! matters. SIMPLE tasks start in any order. An ORDERED task starts when every older one has ended,
//! and the younger wait for it. A HEAD OF QUEUE task starts at once, and what has not started waits
//! for it. A task that waits is *dormant*, one that does not is *enabled* for good: it asks for its
//! Data-Out and starts.
//!
//! A set is kept only while it has an ORDERED or HEAD OF QUEUE task or one that waits: where there
//! are none, nothing is counted.

use std::collections::{HashMap, VecDeque};

use crate::scsi::TaskAttribute;

use super::super::task::Task;
use super::Session;

/// The task sets of a session in which order matters, by LUN.
#[derive(Debug, Default)]
pub(super) struct TaskSets(HashMap<u64, TaskSet>);

#[derive(Debug, Default)]
struct TaskSet {
    /// Tasks that are enabled and have not ended.
    enabled: usize,
    /// HEAD OF QUEUE tasks among them.
    heads: usize,
    /// Whether one of them is ORDERED; there is never a second.
    ordered: bool,
    /// Tasks that wait, oldest first.
    dormant: VecDeque<(u32, TaskAttribute)>,
}

impl TaskSet {
    /// Whether the next task of this attribute may be enabled, none being dormant before it.
    fn lets_start(&self, attribute: TaskAttribute) -> bool {
        match attribute {
            TaskAttribute::HeadOfQueue => true,
            TaskAttribute::Ordered => self.enabled == 0,
            _ => self.heads == 0 && !self.ordered,
        }
    }

    fn enable(&mut self, attribute: TaskAttribute) {
        self.enabled += 1;
        self.heads += usize::from(attribute == TaskAttribute::HeadOfQueue);
        self.ordered |= attribute == TaskAttribute::Ordered;
    }

    fn disable(&mut self, attribute: TaskAttribute) {
        self.enabled -= 1;
        self.heads -= usize::from(attribute == TaskAttribute::HeadOfQueue);
        self.ordered &= attribute != TaskAttribute::Ordered;
    }
}

impl Session {
    /// A task has been admitted: enables it, or has it wait.
    pub(super) fn enter_task_set(&mut self, tag: u32) {
        let Some(task) = self.tasks.get(&tag) else { return };
        let (lun, attribute) = (task.lun, task.attribute);
        let matters = matches!(attribute, TaskAttribute::Ordered | TaskAttribute::HeadOfQueue);
        if !matters && !self.task_sets.0.contains_key(&lun) {
            return;
        }
        let tasks = &self.tasks;
        let set = self.task_sets.0.entry(lun).or_insert_with(|| {
            let is_older = |task: &Task| task.lun == lun && task.admitted;
            let older = tasks.values().filter(|task| is_older(task)).count() - 1;
            TaskSet { enabled: older, ..TaskSet::default() }
        });
        let may_start = attribute == TaskAttribute::HeadOfQueue || set.dormant.is_empty();
        if may_start && set.lets_start(attribute) {
            return set.enable(attribute);
        }
        set.dormant.push_back((tag, attribute));
        if let Some(task) = self.tasks.get_mut(&tag) {
            task.dormant = true;
        }
    }

    /// A task has ended: enables those that waited for it.
    pub(super) fn leave_task_set(&mut self, tag: u32, task: &Task) {
        let Some(set) = self.task_sets.0.get_mut(&task.lun) else { return };
        match task.dormant {
            true => set.dormant.retain(|(other, _)| *other != tag),
            false => set.disable(task.attribute),
        }
        // Ends because each round takes a task out of the queue, and none can come in.
        while let Some(tag) = self.next_enabled(task.lun) {
            if let Some(task) = self.tasks.get_mut(&tag) {
                task.dormant = false;
            }
            self.progress(tag);
        }
    }

    /// The oldest dormant task at `lun`, where it may start now. Drops a set that orders nothing.
    fn next_enabled(&mut self, lun: u64) -> Option<u32> {
        let set = self.task_sets.0.get_mut(&lun)?;
        let Some(&(tag, attribute)) = set.dormant.front() else {
            if set.heads == 0 && !set.ordered {
                self.task_sets.0.remove(&lun);
            }
            return None;
        };
        if !set.lets_start(attribute) {
            return None;
        }
        set.dormant.pop_front();
        set.enable(attribute);
        Some(tag)
    }
}

impl TaskSets {
    /// Whether no order matters anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
