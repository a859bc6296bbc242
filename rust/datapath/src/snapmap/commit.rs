//! Who commits: group commit without a task of its own.
//!
//! Whoever comes while no batch is being written leads: it takes along everything that waits, writes
//! the batch and answers all. Whoever comes meanwhile waits. The leader then hands over to the first
//! that waits, so nobody leads longer than his own batch takes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::layout::Record;
use crate::error::IoError;

/// What a waiting caller is told.
#[derive(Debug)]
pub enum Turn {
    /// Its records were in a batch, with this outcome.
    Done(Result<(), IoError>),
    /// It leads now; here are its records back.
    Lead(Vec<Record>),
}

struct Waiting {
    records: Vec<Record>,
    reply: oneshot::Sender<Turn>,
}

#[derive(Default)]
struct State {
    led: bool,
    waiting: VecDeque<Waiting>,
}

/// The records that wait for a batch.
#[derive(Default)]
pub struct CommitQueue {
    state: Mutex<State>,
}

/// The records of one batch and who waits for them.
pub struct Batch {
    /// The leader's records first, the others in the order they came.
    pub records: Vec<Record>,
    followers: Vec<oneshot::Sender<Turn>>,
}

impl CommitQueue {
    /// Brings `records`: the caller leads (`Err` gives them back), or waits for its turn.
    pub fn join(&self, records: Vec<Record>) -> Result<oneshot::Receiver<Turn>, Vec<Record>> {
        let mut state = self.lock();
        if !state.led {
            state.led = true;
            return Err(records);
        }
        let (reply, turn) = oneshot::channel();
        state.waiting.push_back(Waiting { records, reply });
        Ok(turn)
    }

    /// The leader's batch: its own `records` and everything that waits.
    pub fn take(&self, mut records: Vec<Record>) -> Batch {
        let waiting = std::mem::take(&mut self.lock().waiting);
        let mut followers = Vec::with_capacity(waiting.len());
        for one in waiting {
            records.extend(one.records);
            followers.push(one.reply);
        }
        Batch { records, followers }
    }

    /// Ends the caller's lead: the first that waits leads, or nobody.
    pub fn hand_over(&self) {
        let mut state = self.lock();
        while let Some(next) = state.waiting.pop_front() {
            if next.reply.send(Turn::Lead(next.records)).is_ok() {
                return;
            }
        }
        state.led = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    /// Tells the followers the outcome.
    pub fn answer(self, outcome: &Result<(), IoError>) {
        for follower in self.followers {
            // A follower that is gone lost power; there is nobody to tell.
            let _ = follower.send(Turn::Done(outcome.clone()));
        }
    }
}
