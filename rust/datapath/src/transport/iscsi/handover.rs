//! A connection on its way from whoever did its login to the thread that serves it.

use std::net::TcpStream;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::block_io::BlockIo;
use crate::scsi::{NexusId, Target};

use super::handle::{EndReason, SessionHandle};
use super::parameters::SessionParameters;
use super::serve::serve;
use super::session::Session;
use super::text::TextNegotiator;

/// A connection that is to be served.
pub struct Handover<D: BlockIo> {
    socket: TcpStream,
    parameters: SessionParameters,
    negotiator: Arc<dyn TextNegotiator>,
    received: Bytes,
    attachment: Attachment<D>,
}

/// The session's place at its target; given up when dropped, so also where it never came to serving.
struct Attachment<D: BlockIo> {
    target: Arc<Target<D>>,
    handle: SessionHandle,
    reason: EndReason,
}

impl<D: BlockIo> Handover<D> {
    /// Makes the session known to its target. `parameters` have been validated.
    pub fn new(
        socket: TcpStream,
        parameters: SessionParameters,
        negotiator: Arc<dyn TextNegotiator>,
        target: Arc<Target<D>>,
        nexus: NexusId,
        received: Bytes,
    ) -> Self {
        let handle = SessionHandle::new(nexus);
        target.attach(nexus, Arc::clone(handle.mailbox()));
        let attachment = Attachment { target, handle, reason: EndReason::Closed };
        Self { socket, parameters, negotiator, received, attachment }
    }

    /// Refers to the session.
    pub fn handle(&self) -> SessionHandle {
        self.attachment.handle.clone()
    }

    /// Serves the connection to its end.
    pub async fn serve(self) {
        let Self { socket, parameters, negotiator, received, mut attachment } = self;
        let handle = attachment.handle.clone();
        let counters = Arc::clone(handle.session_counters());
        let target = Arc::clone(&attachment.target);
        let units = Arc::clone(&target);
        let to_solicit = Box::new(move |lun, cdb: &[u8]| units.data_out_to_solicit(lun, cdb));
        let session = Session::new(handle.nexus(), parameters, to_solicit, counters);
        let received = BytesMut::from(&received[..]);
        attachment.reason = serve(socket, session, target, negotiator, &handle, received).await;
    }
}

impl<D: BlockIo> Drop for Attachment<D> {
    fn drop(&mut self) {
        self.target.detach(self.handle.nexus());
        // Orders that came last concern no task any more; who posted them is waiting.
        drop(self.handle.mailbox().take());
        self.handle.set_ended(self.reason);
    }
}
