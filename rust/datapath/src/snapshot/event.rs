//! What happened to a volume's snapshots that somebody may want to know.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event_signal;
use crate::limits::EVENTS_MAX;
use crate::units::Epoch;

/// An event of one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// Snapshots were given up, and why.
    SnapshotsDropped {
        /// Their epochs.
        epochs: Vec<Epoch>,
        /// In words.
        reason: String,
    },
    /// Parts of the snapshot map or the atomic log were damaged, and are written anew.
    MapRepaired {
        /// In words.
        what: String,
    },
    /// The store is full and cannot grow; the volume's policy was followed.
    StoreFull,
    /// The store's use has reached so many per cent of what it may take.
    StoreThreshold {
        /// One of `limits::STORE_THRESHOLDS_PERCENT`.
        percent: u8,
    },
}

/// Events that wait to be fetched. The oldest are lost when nobody fetches them.
#[derive(Debug, Default)]
pub struct EventQueue {
    events: Mutex<VecDeque<EngineEvent>>,
}

impl EventQueue {
    /// Adds an event; one that repeats the last says nothing new.
    pub fn push(&self, event: EngineEvent) {
        let mut events = self.lock();
        if events.back() == Some(&event) {
            return;
        }
        if events.len() == EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(event);
        drop(events);
        event_signal::raise();
    }

    /// Takes all events, oldest first.
    pub fn take(&self) -> Vec<EngineEvent> {
        std::mem::take(&mut *self.lock()).into()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<EngineEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
