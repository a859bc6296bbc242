//! The command ring: entries in the kernel's order, answers in any order.
//!
//! Invariants:
//! - `tail <= next <= cmd_head`, going round. Entries before `next` have been looked at; those from
//!   `tail` on that are commands are `slots`, oldest first, the first of them at `tail`.
//! - Each slot's entry carries the identifier of a command that is not answered, and each command that
//!   is not answered has one slot, of which `waiting` tells the number.
//! - cmd_tail in the mailbox is `tail`; it moves when the answer before it is whole.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;

use super::entry::{self, Header, IdentifierFlags, Refusal, Segments, TaskManagement};
use super::layout::*;
use super::mailbox::{Capabilities, Mailbox, RingError};
use super::region::Region;
use crate::scsi::Cdb;

/// What the kernel has put into the ring.
#[derive(Debug)]
pub enum Entry {
    /// A command, to be answered by [`Ring::complete`].
    Command(Task, Cdb),
    /// A command that cannot be carried out, to be answered all the same.
    Refused(Task, Refusal),
    /// A notification; nothing is to be answered to it.
    TaskManagement(TaskManagement),
}

/// A command that waits for its answer. It is answered once: [`Ring::complete`] consumes it.
#[derive(Debug)]
pub struct Task {
    identifier: u16,
    serial: u64,
    data: Segments,
}

impl Task {
    /// What task management calls it by; unique among the commands that are not answered.
    pub fn identifier(&self) -> u16 {
        self.identifier
    }

    /// The length of its buffer, Data-In or Data-Out; at most the data area's.
    pub fn data_bytes(&self) -> usize {
        self.data.bytes()
    }
}

/// The outcome of a command.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status code (SAM-5, 5.3).
    pub status: u8,
    /// Sense data; what is behind [`SENSE_BYTES`] does not come through.
    pub sense: &'a [u8],
    /// What was read, cut to the buffer. `None` where the buffer is not to be touched: it was
    /// Data-Out, or no data goes with the status. A command that ended GOOD with a Data-In buffer
    /// has always some, if only of zero bytes: the kernel would take what lies in the buffer.
    pub data_in: Option<&'a [u8]>,
}

/// The command ring of one device. Belongs to one thread.
#[derive(Debug)]
pub struct Ring {
    region: Region,
    mailbox: Mailbox,
    tail: u32,
    next: u32,
    slots: VecDeque<Slot>,
    /// The number of the first slot; the others count on from it.
    first: u64,
    waiting: HashMap<u16, Waiting>,
    serial: u64,
    wake: bool,
}

/// A command's entry that lies behind cmd_tail.
#[derive(Debug)]
struct Slot {
    place: u32,
    /// Where the next command's entry begins, or will: filler behind this one goes with it.
    after: u32,
    header: IdentifierFlags,
    /// The answer, where it has to wait for those of older commands.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    flags: u8,
    bytes: [u8; ANSWER_BYTES],
}

/// Where the entry is that a command's identifier stands in, and which [`Task`] may answer it.
#[derive(Debug)]
struct Waiting {
    slot: u64,
    serial: u64,
}

impl Ring {
    /// Takes the ring as it stands. Commands that a former handler has not answered come again.
    pub fn attach(region: Region) -> Result<Self, RingError> {
        let (mailbox, tail) = survey(&region)?;
        Ok(Self {
            region,
            mailbox,
            tail,
            next: tail,
            slots: VecDeque::new(),
            first: 0,
            waiting: HashMap::new(),
            serial: 0,
            wake: false,
        })
    }

    /// Reads the mailbox again, after the kernel has reset the ring. Commands from before are
    /// forgotten, and [`Ring::complete`] does nothing for them. An error changes nothing.
    pub fn reset(&mut self) -> Result<(), RingError> {
        (self.mailbox, self.tail) = survey(&self.region)?;
        self.next = self.tail;
        self.first += self.slots.len() as u64;
        self.slots.clear();
        self.waiting.clear();
        Ok(())
    }

    /// What the kernel's side can do.
    pub fn capabilities(&self) -> Capabilities {
        self.mailbox.capabilities
    }

    /// Commands that are not answered.
    pub fn unanswered_count(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the kernel is to be woken, since something was given back to it; says so once.
    pub fn take_wake(&mut self) -> bool {
        std::mem::take(&mut self.wake)
    }

    /// The next entry, or `None` where there is none yet. Ends because each turn comes nearer to
    /// cmd_head as it was at first.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, RingError> {
        let head = self.check_cursors()?;
        while self.next != head {
            let (at, offset) = (self.next, self.mailbox.offset(self.next));
            let header = Header::read(&self.region, &self.mailbox, at, head)?;
            match header.operation {
                OP_CMD => return self.command(at, header.length).map(Some),
                OP_TMR => {
                    let length = header.length as usize;
                    let notified = entry::read_task_management(&self.region, offset, length);
                    self.pass_filler(header.length)?;
                    return Ok(Some(Entry::TaskManagement(notified)));
                }
                OP_PAD => {}
                _ => IdentifierFlags::read(&self.region, offset)
                    .flagged(UNKNOWN_OP)
                    .write(&self.region, offset),
            }
            self.pass_filler(header.length)?;
        }
        Ok(None)
    }

    /// Fills `into` with the first bytes of a command's buffer; how many there were.
    pub fn gather(&self, task: &Task, into: &mut [u8]) -> usize {
        task.data.gather(&self.region, into)
    }

    /// Answers a command. Nothing happens where the ring was reset since it came.
    pub fn complete(&mut self, task: Task, answer: &Answer<'_>) -> Result<(), RingError> {
        self.check_cursors()?;
        match self.waiting.get(&task.identifier) {
            Some(waiting) if waiting.serial == task.serial => {}
            _ => return Ok(()),
        }
        let read_length = answer.data_in.map_or(0, |data| self.put_data_in(&task.data, data));
        let held = Held {
            flags: if read_length > 0 { READ_LEN } else { 0 },
            bytes: entry::answer_bytes(answer.status, read_length, answer.sense),
        };
        if self.mailbox.capabilities.out_of_order {
            self.take_oldest_entry(task.identifier);
            self.give_back(held)
        } else {
            let slot = self.slot_of(task.identifier);
            self.slots[slot].held = Some(held);
            while let Some(held) = self.slots.front_mut().and_then(|oldest| oldest.held.take()) {
                self.give_back(held)?;
            }
            Ok(())
        }
    }

    /// cmd_head, where both cursors are as the invariants say. A reset by the kernel shows in one of
    /// them at least, until as much as was taken has been put in again.
    fn check_cursors(&self) -> Result<u32, RingError> {
        self.mailbox.check_tail(&self.region, self.tail)?;
        let head = self.mailbox.head(&self.region)?;
        let taken = self.mailbox.distance(self.tail, self.next);
        let put = self.mailbox.distance(self.tail, head);
        (taken <= put).then_some(head).ok_or(RingError::Head(head))
    }

    /// The CMD entry of `length` bytes at `next`.
    fn command(&mut self, at: u32, length: u32) -> Result<Entry, RingError> {
        let offset = self.mailbox.offset(at);
        let header = IdentifierFlags::read(&self.region, offset);
        let identifier = header.identifier;
        if self.waiting.contains_key(&identifier) {
            return Err(RingError::Identifier { at, identifier });
        }
        let request = match header.request_is_gone() {
            true => Err(Refusal::RequestGone),
            false => {
                let data_area = self.mailbox.data_area(&self.region);
                entry::read_request(&self.region, offset, length as usize, data_area)
            }
        };
        self.serial += 1;
        let slot = self.first + self.slots.len() as u64;
        self.waiting.insert(identifier, Waiting { slot, serial: self.serial });
        self.next = self.mailbox.after(at, length);
        self.slots.push_back(Slot { place: at, after: self.next, header, held: None });
        let task = |data| Task { identifier, serial: self.serial, data };
        Ok(match request {
            Ok((cdb, data)) => Entry::Command(task(data), cdb),
            Err(refusal) => Entry::Refused(task(Segments::default()), refusal),
        })
    }

    /// Leaves an entry behind that nothing is answered to; it is the kernel's again when all before
    /// it is.
    fn pass_filler(&mut self, length: u32) -> Result<(), RingError> {
        self.next = self.mailbox.after(self.next, length);
        match self.slots.back_mut() {
            Some(youngest) => youngest.after = self.next,
            None => self.move_tail(self.next)?,
        }
        Ok(())
    }

    /// Writes Data-In, and returns how long it is where the kernel is to be told.
    fn put_data_in(&self, buffer: &Segments, data: &[u8]) -> u32 {
        let length = buffer.scatter(&self.region, data);
        match u32::try_from(length) {
            Ok(told) if told > 0 && self.mailbox.capabilities.read_length => told,
            _ => {
                buffer.zero_behind(&self.region, length);
                0
            }
        }
    }

    /// Puts the command into the oldest entry; the command that has it gets this one's.
    fn take_oldest_entry(&mut self, identifier: u16) {
        let index = self.slot_of(identifier);
        if index == 0 {
            return;
        }
        let oldest = self.slots[0].header.identifier;
        let younger = &mut self.slots[index];
        let offset = self.mailbox.offset(younger.place);
        let former = younger.header.word();
        self.region.store_u32(offset + FORMER_IDENTIFIER_FLAGS, former, Ordering::Relaxed);
        younger.header = younger.header.of(oldest).flagged(REQUEST_GONE);
        younger.header.write(&self.region, offset);
        self.slots[0].header = self.slots[0].header.of(identifier);
        for (identifier, index) in [(oldest, index), (identifier, 0)] {
            if let Some(waiting) = self.waiting.get_mut(&identifier) {
                waiting.slot = self.first + index as u64;
            }
        }
    }

    /// Writes the answer of the command in the oldest entry, and gives the entry to the kernel.
    fn give_back(&mut self, answer: Held) -> Result<(), RingError> {
        let oldest = self.slots.pop_front().expect("the command has an entry");
        self.first += 1;
        self.waiting.remove(&oldest.header.identifier);
        let offset = self.mailbox.offset(oldest.place);
        oldest.header.flagged(REQUEST_GONE | answer.flags).write(&self.region, offset);
        entry::write_answer(&self.region, offset, &answer.bytes);
        self.move_tail(oldest.after)
    }

    fn move_tail(&mut self, to: u32) -> Result<(), RingError> {
        self.mailbox.move_tail(&self.region, self.tail, to)?;
        self.tail = to;
        self.wake = true;
        Ok(())
    }

    fn slot_of(&self, identifier: u16) -> usize {
        (self.waiting[&identifier].slot - self.first) as usize
    }
}

/// The mailbox, and the tail of a ring whose entries can be gone through. The entry that a handler
/// was killed in the middle of exchanging gets its own identifier back: it is the one that has the
/// same as an older one.
fn survey(region: &Region) -> Result<(Mailbox, u32), RingError> {
    let mailbox = Mailbox::read(region)?;
    let (tail, head) = (mailbox.tail(region)?, mailbox.head(region)?);
    let (mut at, mut seen) = (tail, HashSet::new());
    while at != head {
        let header = Header::read(region, &mailbox, at, head)?;
        let offset = mailbox.offset(at);
        at = mailbox.after(at, header.length);
        if header.operation != OP_CMD {
            continue;
        }
        let found = IdentifierFlags::read(region, offset);
        if !seen.insert(found.identifier) && found.request_is_gone() {
            let former = region.load_u32(offset + FORMER_IDENTIFIER_FLAGS, Ordering::Relaxed);
            IdentifierFlags::from_word(former).write(region, offset);
        }
    }
    Ok((mailbox, tail))
}
