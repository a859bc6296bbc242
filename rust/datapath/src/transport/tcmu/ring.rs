//! The command ring: entries in the kernel's order, answers in any order.
//!
//! Invariants:
//! - `tail <= next <= cmd_head`, going round. Entries before `next` have been looked at; those from
//!   `tail` on that are commands are `slots`, oldest first, the first of them at `tail`.
//! - Each slot's entry carries the identifier of a command that is not answered, and each command that
//!   is not answered has one slot, of which `waiting` tells the number.
//! - A command that has a ticket keeps the entry in which it came until it is answered: while it is
//!   the oldest, answers of younger ones are held.
//! - An answer that is held is of a command whose turn has not come, or that the oldest, which has a
//!   ticket, is in the way of.
//! - cmd_tail in the mailbox is `tail`; it moves when the answer before it is whole.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::entry::{
    self, GOOD, Header, IdentifierFlags, Refusal, Response, Segments, TaskManagement,
};
use super::layout::*;
use super::mailbox::{Capabilities, Mailbox, RingError};
use super::region::Region;
use crate::scsi::Cdb;

/// What the kernel has put into the ring.
#[derive(Debug)]
pub enum Entry {
    /// A command, to be answered by [`Ring::complete`] or [`Ring::complete_filled`].
    Command(Task, Cdb),
    /// A command that cannot be carried out, to be answered all the same.
    Refused(Task, Refusal),
    /// A notification; nothing is to be answered to it.
    TaskManagement(TaskManagement),
}

/// A command that waits for its answer. It is answered once: the answer consumes it.
#[derive(Debug)]
pub struct Task {
    identifier: u16,
    serial: u64,
    data: Segments,
    tickets: [u64; 2],
    is_found: bool,
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

    /// Whether it lay in the ring when the ring was attached.
    pub fn is_found(&self) -> bool {
        self.is_found
    }

    /// Of a command that lay in the ring: the tickets that a former handler may have noted for it.
    /// They are the command's only together with its identifier; zero is none.
    pub fn tickets(&self) -> [u64; 2] {
        self.tickets
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
    /// cmd_head, as it was last found; not before `next`.
    head: u32,
    /// How much of what lay in the ring at first is still before `next`.
    found_bytes: u32,
    slots: VecDeque<Slot>,
    /// The number of the first slot; the others count on from it.
    first: u64,
    /// By identifier; the kernel gives the lowest that is free.
    waiting: Vec<Option<Waiting>>,
    waiting_count: usize,
    held_count: usize,
    serial: u64,
    wake: bool,
    /// Tickets whose commands have been answered, until they are asked for.
    answered_tickets: Vec<u64>,
}

/// A command's entry that lies behind cmd_tail.
#[derive(Debug)]
struct Slot {
    place: u32,
    /// Where the next command's entry begins, or will: filler behind this one goes with it.
    after: u32,
    header: IdentifierFlags,
    /// The ticket of the command.
    ticket: Option<u64>,
    /// Whether it gives way with its ticket.
    gives_way: bool,
    /// The answer, where it has to wait for those of older commands.
    held: Option<Box<Held>>,
}

/// A [`Response`] that is kept.
#[derive(Debug)]
struct Held {
    status: u8,
    read_length: u32,
    sense: Box<[u8]>,
}

/// Where the entry is that a command's identifier stands in, and which [`Task`] may answer it.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    slot: u64,
    serial: u64,
}

impl Ring {
    /// Takes the ring as it stands. Commands that a former handler has not answered come again.
    pub fn attach(region: Region) -> Result<Self, RingError> {
        let Survey { mailbox, tail, bytes } = survey(&region)?;
        Ok(Self {
            region,
            mailbox,
            tail,
            next: tail,
            head: tail,
            found_bytes: bytes,
            slots: VecDeque::new(),
            first: 0,
            waiting: Vec::new(),
            waiting_count: 0,
            held_count: 0,
            serial: 0,
            wake: false,
            answered_tickets: Vec::new(),
        })
    }

    /// Reads the mailbox again, after the kernel has reset the ring. Commands from before are
    /// forgotten, and [`Ring::complete`] does nothing for them. An error changes nothing.
    pub fn reset(&mut self) -> Result<(), RingError> {
        let Survey { mailbox, tail, bytes } = survey(&self.region)?;
        (self.mailbox, self.found_bytes) = (mailbox, bytes);
        (self.tail, self.next, self.head) = (tail, tail, tail);
        self.first += self.slots.len() as u64;
        self.slots.clear();
        self.waiting.clear();
        self.answered_tickets.clear();
        (self.waiting_count, self.held_count) = (0, 0);
        Ok(())
    }

    /// What the kernel's side can do.
    pub fn capabilities(&self) -> Capabilities {
        self.mailbox.capabilities
    }

    /// Commands that are not answered.
    pub fn unanswered_count(&self) -> usize {
        self.waiting_count
    }

    /// Whether some of what lay in the ring when it was attached has not come out yet.
    pub fn has_found(&self) -> bool {
        self.found_bytes > 0
    }

    /// The ticket of a command that was answered since; each comes once.
    pub fn take_answered_ticket(&mut self) -> Option<u64> {
        self.answered_tickets.pop()
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

    /// The first `length` bytes of a command's Data-Out as they lie there. `None` where they are not
    /// in one piece or cannot be lent: [`Ring::gather`] copies them. The command is not answered
    /// before they are given back.
    pub fn lend(&self, task: &Task, length: usize) -> Option<Bytes> {
        self.region.lend(task.data.one_piece(length).filter(|piece| !piece.is_empty())?)
    }

    /// Has `fill` put Data-In right into the first `length` bytes of a command's buffer, and returns
    /// what it returns. `None` also where those are not in one piece, or some of the buffer is lent,
    /// or the ring was reset since the command came.
    pub fn fill(
        &mut self,
        task: &Task,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<Option<usize>, RingError> {
        self.check_cursors()?;
        let room = task.data.one_piece(length).filter(|_| task.data.lent(&self.region).is_none());
        let room = room.filter(|_| self.slot_of(task).is_some());
        Ok(room.and_then(|room| self.region.fill(&room, fill)))
    }

    /// Notes a ticket in a command's entry, and that it has one: from then on until it is answered a
    /// handler that attaches finds it with the command. Where it gives way the answers of younger
    /// commands do not wait for its own, at the price of its request. Nothing happens where the ring
    /// was reset since it came.
    pub fn note_ticket(
        &mut self,
        task: &Task,
        ticket: u64,
        gives_way: bool,
    ) -> Result<(), RingError> {
        self.check_cursors()?;
        if let Some(index) = self.slot_of(task) {
            let slot = &mut self.slots[index];
            (slot.ticket, slot.gives_way) = (Some(ticket), gives_way);
            entry::write_ticket(&self.region, self.mailbox.offset(slot.place), ticket);
        }
        Ok(())
    }

    /// Answers a command. Nothing happens where the ring was reset since it came.
    pub fn complete(&mut self, task: Task, answer: &Answer<'_>) -> Result<(), RingError> {
        self.check_cursors()?;
        let Some(index) = self.slot_of(&task) else { return Ok(()) };
        let read_length = match answer.data_in {
            Some(data) => self.put_data_in(&task.data, data)?,
            None => 0,
        };
        let (status, sense) = (answer.status, answer.sense);
        self.give_back_or_hold(index, Response { status, read_length, sense })
    }

    /// Answers a command GOOD whose buffer [`Ring::fill`] has put `length` bytes into.
    pub fn complete_filled(&mut self, task: Task, length: usize) -> Result<(), RingError> {
        self.check_cursors()?;
        let Some(index) = self.slot_of(&task) else { return Ok(()) };
        let read_length = self.tell_length(&task.data, length);
        self.give_back_or_hold(index, Response { status: GOOD, read_length, sense: &[] })
    }

    fn give_back_or_hold(&mut self, index: usize, response: Response<'_>) -> Result<(), RingError> {
        if !self.may_take_oldest_entry(index) {
            let Response { status, read_length, sense } = response;
            let held = Held { status, read_length, sense: sense.into() };
            self.slots[index].held = Some(Box::new(held));
            self.held_count += 1;
            return Ok(());
        }
        self.take_oldest_entry(index);
        self.give_back(response)?;
        self.give_back_held()
    }

    /// Gives back the answers that nothing is in the way of any more.
    fn give_back_held(&mut self) -> Result<(), RingError> {
        while self.held_count > 0 {
            let held = |slot: &Slot| slot.held.is_some();
            let index = self.slots.iter().position(held).expect("as many as were counted");
            if !self.may_take_oldest_entry(index) {
                break;
            }
            let held = self.slots[index].held.take().expect("it was there above");
            self.held_count -= 1;
            self.take_oldest_entry(index);
            let Held { status, read_length, sense } = *held;
            self.give_back(Response { status, read_length, sense: &sense })?;
        }
        Ok(())
    }

    /// Whether the answer of this slot's command can be given now: it is in the oldest entry, or may
    /// put that entry's command into its own, where it would be without its request.
    fn may_take_oldest_entry(&self, index: usize) -> bool {
        let oldest = &self.slots[0];
        // An entry has room for one ticket, which stays with the command that does not move.
        let gives_way =
            oldest.ticket.is_none() || oldest.gives_way && self.slots[index].ticket.is_none();
        index == 0 || self.mailbox.capabilities.out_of_order && gives_way
    }

    /// cmd_head, where both cursors are as the invariants say. A reset by the kernel shows in one of
    /// them at least, until as much as was taken has been put in again.
    fn check_cursors(&mut self) -> Result<u32, RingError> {
        self.mailbox.check_tail(&self.region, self.tail)?;
        let head = self.mailbox.head(&self.region)?;
        if head != self.head {
            let taken = self.mailbox.distance(self.tail, self.next);
            if taken > self.mailbox.distance(self.tail, head) {
                return Err(RingError::Head(head));
            }
            self.head = head;
        }
        Ok(head)
    }

    /// The CMD entry of `length` bytes at `next`.
    fn command(&mut self, at: u32, length: u32) -> Result<Entry, RingError> {
        let offset = self.mailbox.offset(at);
        let header = IdentifierFlags::read(&self.region, offset);
        let identifier = header.identifier;
        if self.waiting(identifier).is_some() {
            return Err(RingError::Identifier { at, identifier });
        }
        let is_found = self.found_bytes > 0;
        let tickets = match is_found {
            true => entry::read_tickets(&self.region, offset, header.request_is_gone()),
            false => [0; 2],
        };
        let request = match header.request_is_gone() {
            true => Err(Refusal::RequestGone),
            false => {
                let data_area = self.mailbox.data_area(&self.region);
                entry::read_request(&self.region, offset, length as usize, data_area)
            }
        };
        self.serial += 1;
        let slot = self.first + self.slots.len() as u64;
        self.set_waiting(identifier, Waiting { slot, serial: self.serial });
        self.move_next(length);
        let (place, after) = (at, self.next);
        self.slots.push_back(Slot {
            place,
            after,
            header,
            ticket: None,
            gives_way: false,
            held: None,
        });
        let task = |data| Task { identifier, serial: self.serial, data, tickets, is_found };
        Ok(match request {
            Ok((cdb, data)) => Entry::Command(task(data), cdb),
            Err(refusal) => Entry::Refused(task(Segments::default()), refusal),
        })
    }

    /// Leaves an entry behind that nothing is answered to; it is the kernel's again when all before
    /// it is.
    fn pass_filler(&mut self, length: u32) -> Result<(), RingError> {
        self.move_next(length);
        match self.slots.back_mut() {
            Some(youngest) => youngest.after = self.next,
            None => self.move_tail(self.next)?,
        }
        Ok(())
    }

    fn move_next(&mut self, length: u32) {
        self.next = self.mailbox.after(self.next, length);
        self.found_bytes = self.found_bytes.saturating_sub(length);
    }

    /// Writes Data-In, and returns how long it is where the kernel is to be told.
    fn put_data_in(&self, buffer: &Segments, data: &[u8]) -> Result<u32, RingError> {
        if let Some(at) = buffer.lent(&self.region) {
            return Err(RingError::Data { at });
        }
        let length = buffer.scatter(&self.region, data);
        Ok(self.tell_length(buffer, length))
    }

    /// What the kernel is told of the length of Data-In; where it takes it to be all of the buffer,
    /// the rest is zeroed.
    fn tell_length(&self, buffer: &Segments, length: usize) -> u32 {
        match u32::try_from(length) {
            Ok(told) if told > 0 && self.mailbox.capabilities.read_length => told,
            _ => {
                buffer.zero_behind(&self.region, length);
                0
            }
        }
    }

    /// Puts the command of this slot into the oldest entry; the command that has it gets this one's.
    /// A ticket is there first: from the moment on that an entry has the identifier of a command with
    /// a ticket it has the ticket too. Before, it has it with another identifier, where it is nobody's.
    fn take_oldest_entry(&mut self, index: usize) {
        if index == 0 {
            return;
        }
        let (oldest, identifier) = (self.slots[0].header, self.slots[index].header.identifier);
        let (former_ticket, gives_way) = (self.slots[0].ticket, self.slots[0].gives_way);
        let oldest_offset = self.mailbox.offset(self.slots[0].place);
        let younger = &mut self.slots[index];
        let offset = self.mailbox.offset(younger.place);
        let ticket = std::mem::replace(&mut younger.ticket, former_ticket);
        younger.gives_way = gives_way;
        if let Some(ticket) = ticket {
            entry::write_ticket(&self.region, oldest_offset, ticket);
        }
        if let Some(ticket) = former_ticket {
            entry::write_ticket(&self.region, offset, ticket);
        }
        let former = younger.header.word();
        self.region.store_u32(offset + FORMER_IDENTIFIER_FLAGS, former, Ordering::Relaxed);
        younger.header = younger.header.of(oldest.identifier).flagged(REQUEST_GONE);
        younger.header.write(&self.region, offset);
        self.slots[0].header = oldest.of(identifier);
        self.slots[0].ticket = ticket;
        for (identifier, index) in [(oldest.identifier, index), (identifier, 0)] {
            if let Some(waiting) = &mut self.waiting[usize::from(identifier)] {
                waiting.slot = self.first + index as u64;
            }
        }
    }

    /// Writes the answer of the command in the oldest entry, and gives the entry to the kernel.
    fn give_back(&mut self, response: Response<'_>) -> Result<(), RingError> {
        let oldest = self.slots.pop_front().expect("the command has an entry");
        self.first += 1;
        self.waiting[usize::from(oldest.header.identifier)] = None;
        self.waiting_count -= 1;
        let offset = self.mailbox.offset(oldest.place);
        let told = if response.read_length > 0 { READ_LEN } else { 0 };
        oldest.header.flagged(REQUEST_GONE | told).write(&self.region, offset);
        entry::write_response(&self.region, offset, oldest.ticket, response);
        self.move_tail(oldest.after)?;
        self.answered_tickets.extend(oldest.ticket);
        Ok(())
    }

    fn move_tail(&mut self, to: u32) -> Result<(), RingError> {
        self.mailbox.move_tail(&self.region, self.tail, to)?;
        self.tail = to;
        self.wake = true;
        Ok(())
    }

    fn waiting(&self, identifier: u16) -> Option<Waiting> {
        *self.waiting.get(usize::from(identifier))?
    }

    fn set_waiting(&mut self, identifier: u16, waiting: Waiting) {
        let index = usize::from(identifier);
        if index >= self.waiting.len() {
            self.waiting.resize(index + 1, None);
        }
        self.waiting[index] = Some(waiting);
        self.waiting_count += 1;
    }

    /// The index of the slot of a command that has come since the last reset.
    fn slot_of(&self, task: &Task) -> Option<usize> {
        let waiting = self.waiting(task.identifier)?;
        (waiting.serial == task.serial).then(|| (waiting.slot - self.first) as usize)
    }
}

/// A ring whose entries can be gone through.
struct Survey {
    mailbox: Mailbox,
    tail: u32,
    /// From cmd_tail to cmd_head.
    bytes: u32,
}

/// Goes through the ring once. The entry that a handler was killed in the middle of exchanging gets
/// its own identifier back: it is the one that has the same as an older one.
fn survey(region: &Region) -> Result<Survey, RingError> {
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
    let bytes = mailbox.distance(tail, head);
    Ok(Survey { mailbox, tail, bytes })
}
