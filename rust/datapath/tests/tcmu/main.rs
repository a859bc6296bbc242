//! The command ring of the kernel's target against a simulated kernel, which builds entries byte by
//! byte, keeps its own cursors, and takes answers as Linux's target_core_user does.

#![allow(clippy::unwrap_used)]

mod bench;
mod commands;
mod device;
mod hostile;
mod kernel;
mod model;
#[cfg(feature = "simulation")]
mod once;
mod records;
mod restart;
mod ring;
mod served;
