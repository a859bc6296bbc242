//! iSCSI's full-feature phase against a scripted initiator: the session alone, byte for byte, and
//! real sockets through the workers.

#![allow(clippy::unwrap_used)]

mod attributes;
mod commands;
mod delivery;
mod functions;
mod hostile;
mod loopback;
mod management;
mod pdus;
mod support;
