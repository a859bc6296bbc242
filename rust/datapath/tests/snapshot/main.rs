//! Floors 3 and 4: exception store and snapshot engine.

#![cfg(feature = "simulation")]
#![allow(clippy::unwrap_used)] // A test says by panicking that it failed.

mod atomic;
mod atomic_faults;
mod catalog_faults;
mod crash_points;
mod erase;
mod exclusive;
mod full_store;
mod held_writes;
mod points;
mod read_now;
mod resize;
mod rot;
mod simulation;
mod support;
mod threads;
mod volumes;
