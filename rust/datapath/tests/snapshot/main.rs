//! Floors 3 and 4: exception store and snapshot engine.

#![cfg(feature = "simulation")]

mod crash_points;
mod held_writes;
mod simulation;
mod support;
mod threads;
mod volumes;
