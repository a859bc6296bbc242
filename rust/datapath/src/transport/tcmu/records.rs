//! The record of commands that must not be carried out twice, kept in a file beside each ring.
//!
//! Such a command gets a *ticket*, a number that no other has had. Before it is begun, its ticket and
//! identifier are noted here, and the ticket in its entry of the ring; when it has ended, its outcome is
//! noted; when it is answered, its slot is freed. A handler that takes the ring over compares: an entry
//! and a slot belong together where identifier and ticket are the same. The format, and what is true
//! at each moment, is in `docs/formats/tcmu-records.md`.
//!
//! Each step is one positional write of one aligned slot, which lies within a page: a process that is
//! killed has made it or not. What the process wrote the kernel keeps; after a power cut there is no
//! ring that it could belong to, so nothing is ever flushed. A file that cannot be understood is begun
//! anew: its commands then count as not recorded.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::limits::RECORDS_PER_RING;

use super::layout::SENSE_BYTES;

const MAGIC: [u8; 8] = *b"scsiTCMU";
const VERSION: u32 = 1;
/// A slot's size, and the header's.
const SLOT_BYTES: usize = 128;
const FILE_BYTES: usize = SLOT_BYTES * (1 + RECORDS_PER_RING);

const BEGUN: u8 = 1;
const ENDED: u8 = 2;

/// How a recorded command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedOutcome {
    /// The status code.
    pub status: u8,
    /// Sense data, as much as a ring can take.
    pub sense: Vec<u8>,
}

/// A slot that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    ticket: u64,
    identifier: u16,
    outcome: Option<RecordedOutcome>,
}

/// The record file of one ring.
#[derive(Debug)]
pub struct Records {
    file: File,
    slots: Vec<Option<Record>>,
    next_ticket: u64,
    was_damaged: bool,
}

impl Records {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut bytes = vec![0; FILE_BYTES];
        let length = file.metadata()?.len();
        let is_whole = length == FILE_BYTES as u64;
        if is_whole {
            file.read_exact_at(&mut bytes, 0)?;
        }
        let understood = if is_whole { decode(&bytes) } else { None };
        let was_damaged = understood.is_none() && length > 0;
        let slots = match understood {
            Some(slots) => slots,
            None => {
                file.set_len(0)?;
                // Written whole, so that its room is taken and no later write wants for any.
                file.write_all_at(&empty(), 0)?;
                vec![None; RECORDS_PER_RING]
            }
        };
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        Ok(Self { file, slots, next_ticket: high ^ low, was_damaged })
    }

    /// Whether a file was there that could not be understood.
    pub fn was_damaged(&self) -> bool {
        self.was_damaged
    }

    /// The ticket and the outcome, if there is one yet, of the command that has this identifier and
    /// one of these tickets.
    pub fn find(
        &self,
        identifier: u16,
        tickets: [u64; 2],
    ) -> Option<(u64, Option<RecordedOutcome>)> {
        let is_meant =
            |record: &&Record| record.identifier == identifier && tickets.contains(&record.ticket);
        let record = self.slots.iter().flatten().find(is_meant)?;
        Some((record.ticket, record.outcome.clone()))
    }

    /// Commands that were begun and whose slots are not free again.
    pub fn in_use(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Whether one more command can be begun.
    pub fn has_room(&self) -> bool {
        self.slots.iter().any(Option::is_none)
    }

    /// Notes that a command is about to begin; there is room. Its ticket.
    pub fn begin(&mut self, identifier: u16) -> io::Result<u64> {
        let index = self.slots.iter().position(Option::is_none).expect("who begins asks for room");
        let ticket = self.take_ticket();
        self.write(index, Some(Record { ticket, identifier, outcome: None }))?;
        Ok(ticket)
    }

    /// Notes how a command that was begun has ended.
    pub fn end(&mut self, ticket: u64, outcome: RecordedOutcome) -> io::Result<()> {
        let Some(index) = self.index(ticket) else { return Ok(()) };
        let record = self.slots[index].clone();
        self.write(index, record.map(|record| Record { outcome: Some(outcome), ..record }))
    }

    /// Frees the slot of a command that has been answered.
    pub fn free(&mut self, ticket: u64) -> io::Result<()> {
        self.index(ticket).map_or(Ok(()), |index| self.write(index, None))
    }

    /// Frees every slot but those of these tickets.
    pub fn keep(&mut self, tickets: &[u64]) -> io::Result<()> {
        let others: Vec<u64> = self.slots.iter().flatten().map(|record| record.ticket).collect();
        others
            .into_iter()
            .filter(|ticket| !tickets.contains(ticket))
            .try_for_each(|ticket| self.free(ticket))
    }

    fn index(&self, ticket: u64) -> Option<usize> {
        self.slots.iter().position(|slot| slot.as_ref().is_some_and(|one| one.ticket == ticket))
    }

    /// Zero is no ticket, and what a former process has left is not given again.
    fn take_ticket(&mut self) -> u64 {
        loop {
            let ticket = self.next_ticket;
            self.next_ticket = ticket.wrapping_add(1);
            if ticket != 0 && self.index(ticket).is_none() {
                return ticket;
            }
        }
    }

    /// Nothing changes where the file cannot be written: a slot that was to come free stays taken, and
    /// so is never mistaken for another's.
    fn write(&mut self, index: usize, record: Option<Record>) -> io::Result<()> {
        #[cfg(feature = "simulation")]
        crate::simulation::death::before_store();
        let at = (SLOT_BYTES * (1 + index)) as u64;
        self.file.write_all_at(&encode(record.as_ref()), at)?;
        self.slots[index] = record;
        Ok(())
    }
}

fn empty() -> Vec<u8> {
    let mut bytes = vec![0; FILE_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&(RECORDS_PER_RING as u32).to_le_bytes());
    bytes
}

/// The slots of a file of the right size. `None` where it is not such a file, or a slot of it cannot
/// have been written by [`encode`].
fn decode(bytes: &[u8]) -> Option<Vec<Option<Record>>> {
    let (header, slots) = bytes.split_at(SLOT_BYTES);
    if header != &empty()[..SLOT_BYTES] {
        return None;
    }
    slots.chunks_exact(SLOT_BYTES).map(decode_slot).collect()
}

fn decode_slot(slot: &[u8]) -> Option<Option<Record>> {
    let ticket = u64::from_le_bytes(*slot.first_chunk()?);
    let identifier = u16::from_le_bytes([slot[8], slot[9]]);
    let (phase, status, length) = (slot[10], slot[11], usize::from(slot[12]));
    let outcome = match phase {
        0 => return Some(None),
        BEGUN => None,
        ENDED if length <= SENSE_BYTES => {
            Some(RecordedOutcome { status, sense: slot[16..16 + length].to_vec() })
        }
        _ => return None,
    };
    (ticket != 0).then_some(Some(Record { ticket, identifier, outcome }))
}

fn encode(record: Option<&Record>) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    let Some(Record { ticket, identifier, outcome }) = record else { return slot };
    slot[..8].copy_from_slice(&ticket.to_le_bytes());
    slot[8..10].copy_from_slice(&identifier.to_le_bytes());
    slot[10] = BEGUN;
    if let Some(RecordedOutcome { status, sense }) = outcome {
        let length = sense.len().min(SENSE_BYTES);
        (slot[10], slot[11], slot[12]) = (ENDED, *status, length as u8);
        slot[16..16 + length].copy_from_slice(&sense[..length]);
    }
    slot
}
