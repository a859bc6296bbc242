//! Text negotiation in full-feature phase (RFC 7143, 6.2): whoever did the login decides it too, by
//! the same table of keys.

use bytes::Bytes;
use tokio::sync::oneshot;

/// What a whole text request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextAnswer {
    /// The key=value pairs to send, each ended by a zero byte.
    pub text: Bytes,
    /// The initiator's MaxRecvDataSegmentLength from now on: 512 to 2^24 - 1.
    pub max_send_segment_bytes: u32,
}

/// Decides the text requests of one session, one at a time.
pub trait TextNegotiator: Send + Sync + 'static {
    /// Called on the threads that serve sessions, so it may not block: it hands the work on and
    /// returns. `begins`: the request is the first of an exchange. Dropping `reply` unanswered means
    /// that the request is rejected, and the exchange over.
    fn submit(&self, request: Bytes, begins: bool, reply: oneshot::Sender<TextAnswer>);
}
