//! Floors 3 and 4: exception store and snapshot engine.

#![cfg(feature = "simulation")]
#![allow(clippy::unwrap_used)] // A test says by panicking that it failed.

mod crash_points;
mod held_writes;
mod simulation;
mod support;
mod threads;
mod volumes;
