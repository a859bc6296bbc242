//! A device in memory, a command set that waits for the test, a device of the kernel that is served.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tempfile::TempDir;
use tokio::sync::oneshot;

use datapath::block_io::{BlockIo, ReadResult};
use datapath::error::IoError;
use datapath::scsi::slow_path::{FunctionAnswer, TaskManagementFunction};
use datapath::scsi::{
    Completion, LogicalUnit, NexusId, Request, Sessions, SlowPath, Target, UnitNumber,
};
use datapath::transport::tcmu::{Mapping, Records, RingDevice, RingHandle};
use datapath::transport::{Driver, Workers};

use crate::kernel::*;

/// Longer than anything here takes; only a hang lasts until it.
const LONG: Duration = Duration::from_secs(60);
pub const DEVICE_BYTES: usize = 1 << 20;
pub const LUN: u64 = 7 << 48;
pub const COMPARE_AND_WRITE: u8 = 0x89;

/// A device that is read at once, or only after waiting.
pub struct Memory {
    bytes: Mutex<Vec<u8>>,
    pub waits: AtomicBool,
    pub waited: AtomicUsize,
}

impl BlockIo for Memory {
    fn size_bytes(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        let start = offset_bytes as usize;
        buffer.copy_from_slice(&self.bytes.lock().unwrap()[start..start + buffer.len()]);
        !self.waits.load(Ordering::Relaxed)
    }

    async fn read_at(&self, offset_bytes: u64, mut buffer: BytesMut) -> ReadResult {
        self.waited.fetch_add(1, Ordering::Relaxed);
        let start = offset_bytes as usize;
        let length = buffer.len();
        buffer.copy_from_slice(&self.bytes.lock().unwrap()[start..start + length]);
        (Ok(()), buffer)
    }

    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        let start = offset_bytes as usize;
        self.bytes.lock().unwrap()[start..start + data.len()].copy_from_slice(&data);
        Ok(())
    }

    async fn flush(&self) -> Result<(), IoError> {
        Ok(())
    }

    async fn discard(&self, _offset_bytes: u64, _length_bytes: u64) -> Result<(), IoError> {
        Ok(())
    }

    async fn write_zeroes(&self, _offset: u64, _length: u64) -> Result<(), IoError> {
        Ok(())
    }
}

#[derive(Default)]
pub struct Asked {
    pub commands: VecDeque<(Request, oneshot::Sender<Completion>)>,
    pub functions: Vec<(NexusId, u64, TaskManagementFunction)>,
    pub lost: Vec<NexusId>,
}

/// A command set that keeps what it is asked until the test answers.
#[derive(Default)]
pub struct Script {
    asked: Mutex<Asked>,
    changed: Condvar,
}

impl Script {
    /// Waits until what was asked is as wanted, and gives something of it.
    pub fn wait<T>(&self, mut wanted: impl FnMut(&mut Asked) -> Option<T>) -> T {
        let mut asked = self.asked.lock().unwrap();
        loop {
            if let Some(found) = wanted(&mut asked) {
                return found;
            }
            let waited = self.changed.wait_timeout(asked, LONG).unwrap();
            assert!(!waited.1.timed_out(), "the command set was not asked");
            asked = waited.0;
        }
    }

    pub fn next_command(&self) -> (Request, oneshot::Sender<Completion>) {
        self.wait(|asked| asked.commands.pop_front())
    }

    fn ask(&self, ask: impl FnOnce(&mut Asked)) {
        ask(&mut self.asked.lock().unwrap());
        self.changed.notify_all();
    }
}

impl SlowPath for Script {
    fn submit(&self, request: Request, reply: oneshot::Sender<Completion>) {
        self.ask(|asked| asked.commands.push_back((request, reply)));
    }

    fn task_management(
        &self,
        nexus: NexusId,
        lun: u64,
        function: TaskManagementFunction,
        reply: oneshot::Sender<FunctionAnswer>,
    ) {
        self.ask(|asked| asked.functions.push((nexus, lun, function)));
        let _ = reply.send(0.into());
    }

    fn nexus_lost(&self, nexus: NexusId) {
        self.ask(|asked| asked.lost.push(nexus));
    }
}

/// A device of the kernel, a target that it can be served for, and workers.
pub struct Machine {
    pub kernel: Kernel,
    doorbell: UnixDatagram,
    other_end: UnixDatagram,
    directory: TempDir,
    pub target: Arc<Target<Memory>>,
    pub script: Arc<Script>,
    workers: Workers,
    nexus: u64,
}

/// Both drivers, where io_uring is permitted.
pub fn drivers() -> Vec<Driver> {
    let best = Workers::start(1).unwrap().driver();
    if best == Driver::IoUring { vec![best, Driver::Polling] } else { vec![best] }
}

impl Machine {
    pub fn new(kernel: Kernel, driver: Driver) -> Self {
        let script = Arc::new(Script::default());
        let target = Arc::new(Target::new(Arc::<Sessions>::default(), script.clone()));
        let bytes = Mutex::new(vec![0; DEVICE_BYTES]);
        let (waits, waited) = Default::default();
        let memory = Memory { bytes, waits, waited };
        target.map(LUN, Arc::new(LogicalUnit::new(UnitNumber(1), memory, 512, false)));
        let (doorbell, other_end) = UnixDatagram::pair().unwrap();
        doorbell.set_read_timeout(Some(LONG)).unwrap();
        let workers = Workers::start_with(2, driver).unwrap();
        let directory = tempfile::tempdir().unwrap();
        Self { kernel, doorbell, other_end, directory, target, script, workers, nexus: 0 }
    }

    /// Serves the device, by a nexus that no other had.
    pub fn attach(&mut self) -> RingHandle {
        self.nexus += 1;
        let doorbell: OwnedFd = self.other_end.try_clone().unwrap().into();
        let device = RingDevice {
            mapping: Mapping::map(self.kernel.memory().as_fd(), self.kernel.length()).unwrap(),
            doorbell,
            records: Records::open(&self.directory.path().join("records")).unwrap(),
            once: [(COMPARE_AND_WRITE, false)].into(),
            lun: LUN,
        };
        self.workers.attach_ring(device, Arc::clone(&self.target), NexusId(self.nexus)).unwrap()
    }

    /// Serves the device, and waits until what comes next was not in the ring before.
    pub fn attach_settled(&mut self) -> RingHandle {
        let ring = self.attach();
        while !ring.is_settled() {
            std::thread::yield_now();
        }
        ring
    }

    pub fn nexus(&self) -> NexusId {
        NexusId(self.nexus)
    }

    /// Puts a command in and tells the handler.
    pub fn queue(&mut self, cdb: &[u8], buffer: Buffer) -> Option<u16> {
        let identifier = self.kernel.queue(cdb, buffer)?;
        self.ring();
        Some(identifier)
    }

    pub fn notify(&mut self, function: u8, identifiers: &[u16]) {
        self.kernel.notify(function, identifiers).unwrap();
        self.ring();
    }

    pub fn ring(&self) {
        self.doorbell.send(&1u32.to_ne_bytes()).unwrap();
    }

    /// Waits until `count` commands have been answered.
    pub fn answers(&mut self, count: usize) -> Vec<Outcome> {
        let mut outcomes = self.kernel.take_answers();
        while outcomes.len() < count {
            let mut word = [0; 4];
            assert_eq!(self.doorbell.recv(&mut word).expect("no answer came"), 4);
            outcomes.extend(self.kernel.take_answers());
        }
        assert_eq!(outcomes.len(), count);
        outcomes
    }

    /// Waits until some have been answered; how many.
    pub fn some_answers(&mut self) -> usize {
        loop {
            let count = self.kernel.take_answers().len();
            if count > 0 {
                return count;
            }
            self.doorbell.recv(&mut [0; 4]).expect("no answer came");
        }
    }

    pub fn stop_workers(&self) {
        self.workers.stop();
    }
}

pub fn read(lba: u8, blocks: u8) -> [u8; 10] {
    [0x28, 0, 0, 0, 0, lba, 0, 0, blocks, 0]
}

pub fn write(lba: u8, blocks: u8) -> [u8; 10] {
    [0x2A, 0, 0, 0, 0, lba, 0, 0, blocks, 0]
}
