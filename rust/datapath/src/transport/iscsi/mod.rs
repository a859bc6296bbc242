//! iSCSI, full-feature phase (RFC 7143), one connection a session, error recovery level 0.
//!
//! [`session`] is the protocol: bytes and completions in, actions and bytes out; it knows no socket,
//! no clock and no device. [`serve`] is the loop around it, the one file with a socket. [`handle`]
//! is what is left in the hands of whoever gave the connection here.
//!
//! A short primer. Commands carry a CmdSN and are taken in its order; the target says with ExpCmdSN
//! and MaxCmdSN which it takes. Write data comes with the command (immediate), after it without
//! being asked (unsolicited, up to FirstBurstLength), or when an R2T asks for it. Read data goes out
//! in Data-In PDUs, the last of which may carry the status. Each status takes the next StatSN.

pub mod counters;
pub mod handle;
mod handover;
pub mod outbox;
pub mod parameters;
pub mod pdu;
pub mod receive;
mod serve;
pub mod session;
pub mod task;
pub mod text;
pub mod window;

pub use handle::{EndReason, SessionHandle};
pub(super) use handover::Handover;
pub use parameters::SessionParameters;
pub use text::{TextAnswer, TextNegotiator};
