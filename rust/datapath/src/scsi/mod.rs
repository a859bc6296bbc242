//! Floor 6: commands, transport-neutral, and the fast path for plain READ and WRITE.

pub mod request;
