//! A logical unit's fast path: range check, then floor 5.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::BytesMut;

use crate::block_io::BlockIo;
use crate::gate::Gate as WriteGate;
use crate::limits::TRANSFER_BYTES_MAX;

use super::buffers::BufferPool;
use super::cdb::{self, BlockCommand, Direction};
use super::counters::{UnitCounters, UnitCounts};
use super::data_out;
use super::gate::Gate;
use super::request::{Completion, Request, TaskAttribute};

/// Which logical unit: the same number in every target that shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnitNumber(pub u64);

/// A logical unit over a device of floor 5.
#[derive(Debug)]
pub struct LogicalUnit<D> {
    number: UnitNumber,
    device: D,
    block_bytes: u32,
    read_only: bool,
    writes_declined: AtomicBool,
    gate: Gate,
    shared: Arc<UnitShared>,
}

/// What a unit has once, however many targets show it.
#[derive(Debug, Default)]
pub struct UnitShared {
    counters: UnitCounters,
    /// WRITEs are behind it from before they look at the unit's gate until they have ended.
    writes: WriteGate,
}

impl UnitShared {
    /// What the fast path has done.
    pub fn counts(&self) -> UnitCounts {
        self.counters.counts()
    }

    /// Waits until the WRITEs that have passed the unit's gates have ended. Who closed those before
    /// knows then that the fast path changes nothing until they are opened.
    pub async fn wait_for_writes(&self) {
        let held = self.writes.holder().await.close();
        held.drain().await;
    }
}

/// A READ or WRITE in bytes of the device.
struct Transfer {
    command: BlockCommand,
    offset_bytes: u64,
    length_bytes: usize,
}

impl<D: BlockIo> LogicalUnit<D> {
    /// `block_bytes` is the logical block length, a multiple of 512. A unit that is read-only
    /// declines every WRITE.
    pub fn new(number: UnitNumber, device: D, block_bytes: u32, read_only: bool) -> Self {
        assert!(block_bytes > 0 && block_bytes.is_multiple_of(512), "a block is whole sectors");
        let (gate, shared) = Default::default();
        let writes_declined = AtomicBool::new(false);
        Self { number, device, block_bytes, read_only, writes_declined, gate, shared }
    }

    /// Which unit it is.
    pub fn number(&self) -> UnitNumber {
        self.number
    }

    /// Shares with others: units of several targets over one device are one logical unit.
    pub fn sharing(mut self, shared: Arc<UnitShared>) -> Self {
        self.shared = shared;
        self
    }

    /// The device below.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// How many bytes of Data-Out are to be solicited for `cdb`.
    pub fn data_out_to_solicit(&self, cdb: &[u8]) -> u32 {
        data_out::to_solicit(cdb, self.block_bytes)
    }

    /// Whether every WRITE is declined; a unit that is read-only declines them in any case.
    pub fn decline_writes(&self, declined: bool) {
        self.writes_declined.store(declined, Ordering::SeqCst);
    }

    /// Whether something unusual is pending.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What the fast path has done.
    pub fn counts(&self) -> UnitCounts {
        self.shared.counts()
    }

    /// Executes a plain READ, into the first bytes of `room`, that succeeds without waiting: how many
    /// bytes it has put there. `None` declines.
    pub fn read_now(&self, request: &Request, room: &mut [u8]) -> Option<usize> {
        let begin = Instant::now();
        let transfer = self.transfer(request)?;
        let is_plain = transfer.command.direction == Direction::Read && !transfer.command.fua;
        let part = room.get_mut(..transfer.length_bytes).filter(|_| is_plain)?;
        self.device.read_now(transfer.offset_bytes, part).then(|| {
            let (bytes, took) = (part.len() as u64, begin.elapsed());
            self.shared.counters.completed(request.nexus, Direction::Read, bytes, took);
            part.len()
        })
    }

    /// Executes a plain READ or WRITE that succeeds; `None` declines. A WRITE that is declined may
    /// have been executed in part: executing it again gives the same bytes, or the sense data.
    pub async fn execute(&self, request: &Request, buffers: &BufferPool) -> Option<Completion> {
        let begin = Instant::now();
        let completion = match self.transfer(request) {
            None => None,
            Some(transfer) => match transfer.command.direction {
                Direction::Read => self.read(transfer, buffers).await,
                Direction::Write => self.write(transfer, request).await,
            },
        };
        match &completion {
            None => self.shared.counters.declined(request.nexus),
            Some(done) => {
                let (direction, bytes) = match done.data_out_wanted_bytes {
                    0 => (Direction::Read, done.data_in.len() as u64),
                    written => (Direction::Write, written),
                };
                self.shared.counters.completed(request.nexus, direction, bytes, begin.elapsed());
            }
        }
        completion
    }

    fn transfer(&self, request: &Request) -> Option<Transfer> {
        if request.attribute == TaskAttribute::Aca || !self.gate.is_clear(request.nexus) {
            return None;
        }
        let command = cdb::decode(&request.cdb)?;
        let block_bytes = u64::from(self.block_bytes);
        let end_block = command.lba.checked_add(u64::from(command.blocks))?;
        let length_bytes = u64::from(command.blocks) * block_bytes;
        let room_bytes = match command.direction {
            Direction::Read => u64::from(request.expected.data_in_room_bytes()),
            Direction::Write if !self.takes_writes() => return None,
            Direction::Write => request.data_out.len() as u64,
        };
        let fits = end_block <= self.device.size_bytes() / block_bytes
            && length_bytes <= u64::from(TRANSFER_BYTES_MAX)
            && length_bytes <= room_bytes;
        fits.then(|| Transfer {
            command,
            offset_bytes: command.lba * block_bytes,
            length_bytes: length_bytes as usize,
        })
    }

    /// A READ with FUA reads what the medium holds, so what was written goes there first (SBC-4,
    /// 4.15).
    async fn read(&self, transfer: Transfer, buffers: &BufferPool) -> Option<Completion> {
        if transfer.command.fua {
            self.device.flush().await.ok()?;
        }
        let buffer = buffers.take(transfer.length_bytes);
        let (outcome, data_in) = self.device.read_at(transfer.offset_bytes, buffer).await;
        outcome.ok()?;
        Some(Completion { data_in, ..Completion::default() })
    }

    fn takes_writes(&self) -> bool {
        !self.read_only && !self.writes_declined.load(Ordering::SeqCst)
    }

    async fn write(&self, transfer: Transfer, request: &Request) -> Option<Completion> {
        let _pass = self.shared.writes.enter().await;
        // Looked at again: what was closed since may have been told that no WRITE is under way.
        if !self.gate.is_clear(request.nexus) || !self.takes_writes() {
            return None;
        }
        let data = request.data_out.slice(..transfer.length_bytes);
        self.device.write_at(transfer.offset_bytes, data).await.ok()?;
        if transfer.command.fua {
            self.device.flush().await.ok()?;
        }
        let data_out_wanted_bytes = transfer.length_bytes as u64;
        Some(Completion {
            data_in: BytesMut::new(),
            data_out_wanted_bytes,
            ..Completion::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Mutex;

    use bytes::Bytes;
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;
    use crate::block_io::ReadResult;
    use crate::error::IoError;
    use crate::scsi::request::{Cdb, Expected, ExpectedDirection, NexusId};

    /// A device whose writes begin at once and end when they are told to.
    #[derive(Debug)]
    struct Slow(Mutex<Option<oneshot::Receiver<()>>>);

    impl BlockIo for Slow {
        fn size_bytes(&self) -> u64 {
            1 << 20
        }

        fn read_now(&self, _offset_bytes: u64, buffer: &mut [u8]) -> bool {
            buffer.fill(7);
            true
        }

        async fn read_at(&self, _offset_bytes: u64, buffer: BytesMut) -> ReadResult {
            (Ok(()), buffer)
        }

        async fn write_at(&self, _offset_bytes: u64, _data: Bytes) -> Result<(), IoError> {
            let told = self.0.lock().unwrap().take();
            if let Some(told) = told {
                told.await.unwrap();
            }
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

    fn slow_unit() -> (LogicalUnit<Slow>, oneshot::Sender<()>) {
        let (tell, told) = oneshot::channel();
        let device = Slow(Mutex::new(Some(told)));
        (LogicalUnit::new(UnitNumber(1), device, 512, false), tell)
    }

    fn request(cdb: [u8; 16]) -> Request {
        Request {
            nexus: NexusId(1),
            lun: 0,
            cdb: Cdb::Fixed(cdb),
            attribute: TaskAttribute::Simple,
            data_out: Bytes::from_static(&[0; 512]),
            expected: Expected { direction: ExpectedDirection::Unsaid, bytes: 512 },
            repeated: false,
        }
    }

    /// WRITE (10) of one block at LBA 0.
    fn write() -> Request {
        request([0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    }

    /// READ (10) of one block at LBA 0.
    fn read() -> Request {
        request([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    }

    #[test]
    fn waiting_for_writes_ends_with_the_last_that_passed_the_gate() {
        let (unit, tell) = slow_unit();
        let buffers = BufferPool::default();
        let (running, late) = (write(), write());
        let mut running = pin!(unit.execute(&running, &buffers));
        assert!(running.as_mut().now_or_never().is_none());
        unit.gate().set_pending(None, true);
        let mut waiting = pin!(unit.shared.wait_for_writes());
        assert!(waiting.as_mut().now_or_never().is_none());
        // One that comes now is declined, and is not waited for.
        assert!(unit.execute(&late, &buffers).now_or_never().unwrap().is_none());
        tell.send(()).unwrap();
        assert!(running.now_or_never().unwrap().is_some());
        assert!(waiting.now_or_never().is_some());
    }

    #[test]
    fn a_write_that_waited_meanwhile_looks_at_the_gate_again() {
        let (unit, _tell) = slow_unit();
        let buffers = BufferPool::default();
        let request = write();
        let held = unit.shared.writes.holder().now_or_never().unwrap().close();
        let mut waiting = pin!(unit.execute(&request, &buffers));
        assert!(waiting.as_mut().now_or_never().is_none());
        unit.gate().set_pending(None, true);
        drop(held);
        assert!(waiting.now_or_never().unwrap().is_none());
    }

    #[test]
    fn only_a_plain_read_is_carried_out_at_once() {
        let (unit, _tell) = slow_unit();
        let with = |at: usize, byte: u8| {
            let Cdb::Fixed(mut cdb) = read().cdb else { unreachable!() };
            cdb[at] = byte;
            request(cdb)
        };
        let mut room = [0; 1024];
        let declined = [
            write(),
            with(0, 0x25), // READ CAPACITY (10)
            with(1, 0x08), // FUA
            with(4, 0x08), // the block behind the last
            with(8, 2),    // two blocks, and room for one
            Request { attribute: TaskAttribute::Aca, ..read() },
        ];
        for request in declined {
            assert_eq!(unit.read_now(&request, &mut room), None, "{request:?}");
        }
        assert_eq!(unit.read_now(&read(), &mut room[..511]), None);
        unit.gate().set_pending(None, true);
        assert_eq!(unit.read_now(&read(), &mut room), None);
        assert_eq!((room, unit.counts().reads), ([0; 1024], 0));
        unit.gate().set_pending(None, false);
        assert_eq!(unit.read_now(&read(), &mut room), Some(512));
        assert_eq!((room[511], room[512], unit.counts().reads), (7, 0, 1));
    }

    #[test]
    fn a_unit_that_declines_writes_is_read() {
        let (unit, tell) = slow_unit();
        tell.send(()).unwrap();
        let buffers = BufferPool::default();
        let execute = |request: Request| {
            unit.execute(&request, &buffers).now_or_never().expect("the device is quick").is_some()
        };
        unit.decline_writes(true);
        assert!(execute(read()) && !execute(write()));
        unit.decline_writes(false);
        assert!(execute(read()) && execute(write()));
    }
}
