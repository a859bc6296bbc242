//! A scripted initiator, a device in memory, a command set that says what it was asked.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use datapath::block_io::{BlockIo, ReadResult};
use datapath::checksum::{crc32c, crc32c_append};
use datapath::error::IoError;
use datapath::limits::TRANSFER_BYTES_MAX;
use datapath::scsi::data_out;
use datapath::scsi::slow_path::{FunctionAnswer, TaskManagementFunction};
use datapath::scsi::{Completion, NexusId, Request, SlowPath, TaskAttribute};
use datapath::transport::iscsi::pdu::initiator::{self, *};
use datapath::transport::iscsi::pdu::target::{self, *};
use datapath::transport::iscsi::pdu::{
    BHS_BYTES, Bhs, NO_TAG, data_length, padding, set_data_length,
};
use datapath::transport::iscsi::session::{
    Action, DataOutToSolicit, PendingFunction, Session, Violation,
};
use datapath::transport::iscsi::{SessionParameters, TextAnswer, TextNegotiator};

/// A PDU of the target: header, sequence numbers, data segment.
pub type Answer = (TargetPdu, TargetNumbers, Vec<u8>);

/// Frames PDUs of an initiator and takes those of a target apart.
#[derive(Clone, Copy, Default)]
pub struct Framing {
    pub header_digest: bool,
    pub data_digest: bool,
}

impl Framing {
    pub fn frame(self, mut bhs: Bhs, ahs: &[u8], data: &[u8]) -> Vec<u8> {
        bhs[4] = (ahs.len() / 4) as u8;
        set_data_length(&mut bhs, data.len());
        let mut bytes = [&bhs[..], ahs].concat();
        if self.header_digest {
            bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        }
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len() + padding(data.len()), 0);
        if self.data_digest && !data.is_empty() {
            let digest = crc32c_append(crc32c(data), &[0; 3][..padding(data.len())]);
            bytes.extend_from_slice(&digest.to_le_bytes());
        }
        bytes
    }

    /// How long the PDU at the start of `bytes` is; `None` where its header is not whole.
    pub fn length(self, bytes: &[u8]) -> Option<usize> {
        let bhs = bytes.first_chunk::<BHS_BYTES>()?;
        let length = data_length(bhs);
        let digests =
            4 * (usize::from(self.header_digest) + usize::from(self.data_digest && length > 0));
        Some(BHS_BYTES + length + padding(length) + digests)
    }

    /// Takes the first PDU off `bytes`, checking its digests.
    pub fn parse(self, bytes: &mut Vec<u8>) -> Option<Answer> {
        let total = self.length(bytes).filter(|total| *total <= bytes.len())?;
        let pdu: Vec<u8> = bytes.drain(..total).collect();
        let bhs: &Bhs = pdu.first_chunk().unwrap();
        let (mut start, length) = (BHS_BYTES, data_length(bhs));
        if self.header_digest {
            assert_eq!(pdu[start..start + 4], crc32c(bhs).to_le_bytes());
            start += 4;
        }
        if self.data_digest && length > 0 {
            let end = start + length + padding(length);
            assert_eq!(pdu[end..], crc32c(&pdu[start..end]).to_le_bytes());
        }
        let (header, numbers) = target::decode(bhs).unwrap();
        Some((header, numbers, pdu[start..start + length].to_vec()))
    }
}

/// A session with a scripted initiator on one side and a scripted device server on the other.
pub struct Pair {
    pub session: Session,
    pub framing: Framing,
    pub input: BytesMut,
    /// Commands that were started and not completed.
    pub started: VecDeque<(u32, Request)>,
    pub functions: VecDeque<PendingFunction>,
    /// Text requests that were given out, and whether they begin an exchange.
    pub texts: VecDeque<(Bytes, bool)>,
    pub closed: bool,
    pub cmd_sn: u32,
    /// Feed the session one byte at a time.
    pub bytewise: bool,
}

pub fn parameters() -> SessionParameters {
    SessionParameters {
        cmd_sn: 100,
        stat_sn: 7,
        max_receive_segment_bytes: 65536,
        initial_r2t: false,
        ..SessionParameters::default()
    }
}

/// As of a unit with blocks of 512 bytes. A CDB of zeros asks for whatever the initiator expects to
/// send, within what a command may transfer: for tests that are not about CDBs.
fn to_solicit() -> DataOutToSolicit {
    Box::new(|_, cdb| match cdb[0] {
        0 => TRANSFER_BYTES_MAX,
        _ => data_out::to_solicit(cdb, 512),
    })
}

impl Pair {
    pub fn new(parameters: SessionParameters) -> Self {
        let framing = Framing {
            header_digest: parameters.header_digest,
            data_digest: parameters.data_digest,
        };
        let cmd_sn = parameters.cmd_sn;
        Self {
            session: Session::new(NexusId(1), parameters, to_solicit(), Default::default()),
            framing,
            input: BytesMut::new(),
            started: VecDeque::new(),
            functions: VecDeque::new(),
            texts: VecDeque::new(),
            closed: false,
            cmd_sn,
            bytewise: false,
        }
    }

    /// Feeds bytes as the loop would: into the direct buffer where there is one.
    pub fn try_feed(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while !bytes.is_empty() {
            let most = if self.bytewise { 1 } else { bytes.len() };
            let taken = match self.session.direct_buffer() {
                Some((buffer, wanted)) => {
                    let taken = most.min(wanted).min(buffer.capacity() - buffer.len());
                    buffer.extend_from_slice(&bytes[..taken]);
                    self.session.handle_direct(taken);
                    taken
                }
                None => {
                    self.input.extend_from_slice(&bytes[..most]);
                    most
                }
            };
            bytes = &bytes[taken..];
            self.session.handle_received(&mut self.input)?;
            self.collect();
        }
        Ok(())
    }

    pub fn collect(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Execute(tag, request) => self.started.push_back((tag, request)),
                Action::TaskManagement(function) => self.functions.push_back(function),
                Action::Text { request, begins } => self.texts.push_back((request, begins)),
                Action::Close => self.closed = true,
            }
        }
    }

    pub fn send(&mut self, pdu: &InitiatorPdu, data: &[u8]) -> Vec<Answer> {
        let bytes = self.framing.frame(initiator::encode(pdu), &[], data);
        self.try_feed(&bytes).unwrap();
        self.answers()
    }

    pub fn answers(&mut self) -> Vec<Answer> {
        let mut bytes = self.session.take_output().to_vec();
        let answers = std::iter::from_fn(|| self.framing.parse(&mut bytes)).collect();
        assert!(bytes.is_empty(), "the session sends whole PDUs");
        answers
    }

    /// Completes the oldest command that was started.
    pub fn complete(&mut self, completion: Completion) -> Vec<Answer> {
        let (tag, _) = self.started.pop_front().expect("a command was started");
        self.session.handle_completion(tag, Some(completion));
        self.collect();
        self.answers()
    }

    /// A command PDU with the next CmdSN.
    pub fn command(&mut self, change: impl FnOnce(&mut ScsiCommand)) -> ScsiCommand {
        let mut command = ScsiCommand {
            immediate: false,
            last: true,
            read: false,
            write: false,
            attribute: TaskAttribute::Simple,
            lun: 0,
            task_tag: 0x1000 + self.cmd_sn,
            expected_bytes: 0,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: 0,
            cdb: [0; 16],
        };
        change(&mut command);
        if !command.immediate && command.cmd_sn == self.cmd_sn {
            self.cmd_sn = self.cmd_sn.wrapping_add(1);
        }
        command
    }

    pub fn read(&mut self, expected_bytes: u32) -> ScsiCommand {
        self.command(|command| (command.read, command.expected_bytes) = (true, expected_bytes))
    }

    pub fn write(&mut self, expected_bytes: u32, last: bool) -> ScsiCommand {
        self.command(|command| {
            (command.write, command.expected_bytes, command.last) = (true, expected_bytes, last);
        })
    }

    pub fn send_command(&mut self, command: &ScsiCommand, data: &[u8]) -> Vec<Answer> {
        self.send(&InitiatorPdu::ScsiCommand(command.clone()), data)
    }

    pub fn function(
        &mut self,
        function: TaskManagementFunction,
        change: impl FnOnce(&mut TaskManagementRequest),
    ) -> Vec<Answer> {
        let mut request = TaskManagementRequest {
            immediate: true,
            function,
            lun: 0,
            task_tag: 0xF000,
            referenced_task_tag: NO_TAG,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: 0,
            referenced_cmd_sn: 0,
        };
        change(&mut request);
        self.send(&InitiatorPdu::TaskManagement(request), &[])
    }
}

/// The PDU of the one answer.
pub fn only(answers: &[Answer]) -> &TargetPdu {
    assert_eq!(answers.len(), 1, "{answers:?}");
    &answers[0].0
}

pub fn good() -> Completion {
    Completion::default()
}

pub fn wrote(bytes: u64) -> Completion {
    Completion { data_out_wanted_bytes: bytes, ..Completion::default() }
}

pub fn data_in(bytes: &[u8]) -> Completion {
    Completion { data_in: BytesMut::from(bytes), ..Completion::default() }
}

pub fn data_out(
    tag: u32,
    transfer_tag: u32,
    data_sn: u32,
    offset: u32,
    last: bool,
) -> InitiatorPdu {
    InitiatorPdu::DataOut(DataOut {
        last,
        task_tag: tag,
        transfer_tag,
        exp_stat_sn: 0,
        data_sn,
        offset_bytes: offset,
    })
}

/// Bytes that differ from place to place.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + index / 251) as u8).collect()
}

/// A device in memory.
pub struct Memory {
    pub bytes: Mutex<Vec<u8>>,
    pub fail: AtomicBool,
    pub flushes: std::sync::atomic::AtomicUsize,
}

impl Memory {
    pub fn new(size: usize) -> Self {
        Self { bytes: Mutex::new(vec![0; size]), fail: false.into(), flushes: 0.into() }
    }

    fn check(&self) -> Result<(), IoError> {
        match self.fail.load(Ordering::SeqCst) {
            true => Err(IoError::failed("scripted")),
            false => Ok(()),
        }
    }
}

impl BlockIo for Memory {
    fn size_bytes(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    async fn read_at(&self, offset_bytes: u64, mut buffer: BytesMut) -> ReadResult {
        let (start, length) = (offset_bytes as usize, buffer.len());
        buffer.copy_from_slice(&self.bytes.lock().unwrap()[start..start + length]);
        (self.check(), buffer)
    }

    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        self.check()?;
        let start = offset_bytes as usize;
        self.bytes.lock().unwrap()[start..start + data.len()].copy_from_slice(&data);
        Ok(())
    }

    async fn flush(&self) -> Result<(), IoError> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        self.check()
    }

    async fn discard(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.write_zeroes(offset_bytes, length_bytes).await
    }

    async fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        let range = offset_bytes as usize..(offset_bytes + length_bytes) as usize;
        self.bytes.lock().unwrap()[range].fill(0);
        Ok(())
    }
}

/// Answers text with itself, and rejects `no pair`; from another thread, as it is in earnest.
pub struct Echo;

impl TextNegotiator for Echo {
    fn submit(&self, request: Bytes, _begins: bool, reply: oneshot::Sender<TextAnswer>) {
        std::thread::spawn(move || {
            if request != b"no pair"[..] {
                // A session that has ended needs no answer.
                let _ = reply.send(TextAnswer { text: request, max_send_segment_bytes: 8192 });
            }
        });
    }
}

/// A command set that keeps what it is asked until the test answers.
#[derive(Default)]
pub struct Script {
    pub submitted: Mutex<Vec<(Request, oneshot::Sender<Completion>)>>,
    pub functions: Mutex<Vec<(NexusId, u64, TaskManagementFunction)>>,
    pub lost: Mutex<Vec<NexusId>>,
    /// Answer commands at once with CHECK CONDITION and this sense data.
    pub sense: Mutex<Option<Bytes>>,
    pub changed: std::sync::Condvar,
}

impl Script {
    /// Waits until `count` commands have been submitted; they stay.
    pub fn wait_submitted(&self, count: usize) {
        let submitted = self.submitted.lock().unwrap();
        drop(self.changed.wait_while(submitted, |all| all.len() < count).unwrap());
    }
}

impl SlowPath for Script {
    fn submit(&self, request: Request, reply: oneshot::Sender<Completion>) {
        if let Some(sense) = self.sense.lock().unwrap().clone() {
            let _ = reply.send(Completion { status: 2, sense, ..Completion::default() });
            return;
        }
        self.submitted.lock().unwrap().push((request, reply));
        self.changed.notify_all();
    }

    fn task_management(
        &self,
        nexus: NexusId,
        lun: u64,
        function: TaskManagementFunction,
        reply: oneshot::Sender<FunctionAnswer>,
    ) {
        self.functions.lock().unwrap().push((nexus, lun, function));
        let _ = reply.send(0.into());
    }

    fn nexus_lost(&self, nexus: NexusId) {
        self.lost.lock().unwrap().push(nexus);
    }
}
