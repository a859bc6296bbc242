//! A logical unit's fast path: range check, then floor 5.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::block_io::BlockIo;
use crate::limits::TRANSFER_BYTES_MAX;

use super::buffers::BufferPool;
use super::cdb::{self, BlockCommand, Direction};
use super::counters::{UnitCounters, UnitCounts};
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
    gate: Gate,
    counters: Arc<UnitCounters>,
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
        let (gate, counters) = Default::default();
        Self { number, device, block_bytes, read_only, gate, counters }
    }

    /// Which unit it is.
    pub fn number(&self) -> UnitNumber {
        self.number
    }

    /// Counts there: units of several targets over one device are one logical unit.
    pub fn counting_in(mut self, counters: Arc<UnitCounters>) -> Self {
        self.counters = counters;
        self
    }

    /// The device below.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Whether something unusual is pending.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What the fast path has done.
    pub fn counts(&self) -> UnitCounts {
        self.counters.counts()
    }

    /// Executes a plain READ or WRITE that succeeds; `None` declines. A WRITE that is declined may
    /// have been executed in part: executing it again gives the same bytes, or the sense data.
    pub async fn execute(&self, request: &Request, buffers: &BufferPool) -> Option<Completion> {
        let begin = Instant::now();
        let completion = match self.transfer(request) {
            None => None,
            Some(transfer) => match transfer.command.direction {
                Direction::Read => self.read(transfer, buffers).await,
                Direction::Write => self.write(transfer, &request.data_out).await,
            },
        };
        match &completion {
            None => self.counters.declined(request.nexus),
            Some(done) => {
                let (direction, bytes) = match done.data_out_wanted_bytes {
                    0 => (Direction::Read, done.data_in.len() as u64),
                    written => (Direction::Write, written),
                };
                self.counters.completed(request.nexus, direction, bytes, begin.elapsed());
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
            Direction::Read => u64::from(request.data_in_room_bytes),
            Direction::Write if self.read_only => return None,
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

    async fn write(&self, transfer: Transfer, data_out: &Bytes) -> Option<Completion> {
        let data = data_out.slice(..transfer.length_bytes);
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
