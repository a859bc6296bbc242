//! Floor 2 over simulated members: contract, degraded operation, import, failures at run time, and
//! power cuts at every step.
#![cfg(feature = "simulation")]
#![allow(clippy::unwrap_used)]

mod compare;
mod contract;
mod crash;
mod cut;
mod degraded;
mod import;
mod inspect;
mod intents;
mod journal_rot;
mod support;
mod threads;
mod together;
mod verified;
