//! Which command of a ring is carried out when, and what each is answered. No waiting is done here,
//! and no device is known: [`super::serve`] carries out what [`Dispatcher::step`] gives.
//!
//! Commands begin in the ring's order, as far as there is room for them, and end in any. Those that lay
//! in the ring when it was attached are carried out one after another before any other begins: their
//! order is all that is known of who waited for whom. Before the first of them begins all of them have
//! been looked at, so that none is carried out that an initiator has given up meanwhile.
//!
//! What a command is answered that is not carried out:
//!
//! | it | answer |
//! | --- | --- |
//! | has a record with an outcome | that outcome |
//! | is named by a task management notification before it has begun | TASK ABORTED |
//! | has lost its request: a former handler had begun to answer it, or one behind it | BUSY |
//! | the same, and its record says that it was begun | ABORTED COMMAND, internal target failure |
//! | cannot be: see [`Refusal`] | ABORTED COMMAND, command or data phase error |
//! | cannot be recorded, as its file cannot be written | BUSY |

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::limits::{
    COMMANDS_PER_RING_MAX, COMMANDS_WAITING_PER_RING_MAX, DATA_BYTES_PER_RING_MAX,
    TRANSFER_BYTES_MAX,
};
use crate::scsi::buffers::BufferPool;
use crate::scsi::nexus::EndToken;
use crate::scsi::{Cdb, Completion, Expected, ExpectedDirection, NexusId, Request, TaskAttribute};

use super::counters::RingCounters;
use super::entry::{GOOD, Refusal, TaskManagement};
use super::mailbox::RingError;
use super::records::{RecordedOutcome, Records};
use super::ring::{Answer, Entry, Ring, Task};

const CHECK_CONDITION: u8 = 0x02;
const BUSY: u8 = 0x08;
const TASK_ABORTED: u8 = 0x40;

/// What one step has brought.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it arrives")]
pub enum Step {
    /// A command has begun.
    Begun(Job, Request),
    /// A command is answered.
    Answered,
    /// A command has come out of the ring, and waits for its turn.
    Waits,
    /// A task management function has come, of which the commands that wait have taken note.
    Function(TaskManagement),
    /// Nothing has come, or nothing that there is room for.
    Nothing,
}

/// A command that has begun.
#[derive(Debug)]
pub struct Job {
    task: Task,
    ticket: Option<u64>,
    /// What it takes of the ring's limit of data.
    data_bytes: u64,
    /// It is a WRITE: what lies in its buffer is not touched.
    is_write: bool,
    /// Its Data-Out, where it was copied.
    gathered: Option<Bytes>,
    tokens: Vec<EndToken>,
}

impl Job {
    /// What task management calls it by.
    pub fn identifier(&self) -> u16 {
        self.task.identifier()
    }

    /// Keeps a token until it is answered.
    pub fn hold(&mut self, token: EndToken) {
        self.tokens.push(token);
    }
}

/// The operation codes of commands that must not be carried out twice, and whether one may take long.
pub type OnceCodes = HashMap<u8, bool>;

/// Whether a command must not be carried out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Once {
    No,
    /// It must not, and the answers of others can wait for it.
    Quick,
    /// It must not, and may take long.
    Long,
}

/// A command that has not begun.
#[derive(Debug)]
struct Waiting {
    task: Task,
    request: Result<Cdb, Refusal>,
    /// Its ticket, and its outcome if that is known.
    recorded: Option<(u64, Option<RecordedOutcome>)>,
    is_aborted: bool,
    tokens: Vec<EndToken>,
}

/// The commands of one ring.
#[derive(Debug)]
pub struct Dispatcher {
    ring: Ring,
    records: Records,
    /// By operation code.
    once: [Once; 256],
    nexus: NexusId,
    lun: u64,
    counters: Arc<RingCounters>,
    waiting: VecDeque<Waiting>,
    running: usize,
    running_bytes: u64,
    /// Commands that lay in the ring at first and are not answered.
    found: usize,
    /// The slots of commands that are in the ring no more have been freed.
    records_are_tidy: bool,
}

impl Dispatcher {
    /// Serves `ring` as commands of `nexus` for `lun`.
    pub fn new(
        ring: Ring,
        records: Records,
        once: &OnceCodes,
        nexus: NexusId,
        lun: u64,
        counters: Arc<RingCounters>,
    ) -> Self {
        let once = std::array::from_fn(|code| match once.get(&(code as u8)) {
            None => Once::No,
            Some(false) => Once::Quick,
            Some(true) => Once::Long,
        });
        Self {
            ring,
            records,
            once,
            nexus,
            lun,
            counters,
            waiting: VecDeque::new(),
            running: 0,
            running_bytes: 0,
            found: 0,
            records_are_tidy: false,
        }
    }

    /// Whether all that lay in the ring at first is answered.
    pub fn is_settled(&self) -> bool {
        self.records_are_tidy && self.found == 0
    }

    pub(super) fn counters(&self) -> &RingCounters {
        &self.counters
    }

    /// Whether the kernel is to be woken; says so once.
    pub fn take_wake(&mut self) -> bool {
        self.ring.take_wake()
    }

    /// Takes the next entry out of the ring, where it `may_fetch`, and begins the command whose turn
    /// it is, or answers it: where it is not to be carried out, or `read_now` carries it out at once.
    /// That puts the Data-In of a READ where it belongs, and says how long it is.
    pub fn step(
        &mut self,
        may_fetch: bool,
        buffers: &BufferPool,
        read_now: impl FnOnce(&Request, &mut [u8]) -> Option<usize>,
    ) -> Result<Step, RingError> {
        let come = match if may_fetch { self.fetch()? } else { None } {
            None => None,
            Some(Entry::Command(task, cdb)) => Some(self.look_up(task, Ok(cdb))),
            Some(Entry::Refused(task, refusal)) => Some(self.look_up(task, Err(refusal))),
            Some(Entry::TaskManagement(function)) => {
                for waiting in &mut self.waiting {
                    waiting.is_aborted |= function.identifiers.contains(&waiting.task.identifier());
                }
                return Ok(Step::Function(function));
            }
        };
        let otherwise = if come.is_some() { Step::Waits } else { Step::Nothing };
        match self.take_turn(come) {
            Some(next) => self.begin_or_answer(next, buffers, read_now),
            None => Ok(otherwise),
        }
    }

    fn fetch(&mut self) -> Result<Option<Entry>, RingError> {
        if !self.ring.has_found() {
            if !self.records_are_tidy {
                self.tidy_records();
            }
            if self.waiting.len() >= COMMANDS_WAITING_PER_RING_MAX {
                return Ok(None);
            }
        }
        self.ring.next_entry()
    }

    /// The command whose turn it is, with the one that has come, if one has, behind those that wait.
    fn take_turn(&mut self, come: Option<Waiting>) -> Option<Waiting> {
        if self.waiting.is_empty() {
            return match come {
                Some(come) if !self.is_its_turn(&come) => {
                    self.waiting.push_back(come);
                    None
                }
                come => come,
            };
        }
        self.waiting.extend(come);
        let next = self.waiting.front()?;
        if self.is_its_turn(next) { self.waiting.pop_front() } else { None }
    }

    /// A command that has come out of the ring, with what is recorded of it.
    fn look_up(&mut self, task: Task, request: Result<Cdb, Refusal>) -> Waiting {
        let mut recorded = None;
        if task.is_found() {
            self.found += 1;
            self.counters.found();
            recorded = self.records.find(task.identifier(), task.tickets());
        }
        self.counters.unanswered(self.ring.unanswered_count());
        let (is_aborted, tokens) = Default::default();
        Waiting { task, request, recorded, is_aborted, tokens }
    }

    fn is_its_turn(&self, next: &Waiting) -> bool {
        let needs_no_room = next.request.is_err() || next.is_answerable();
        self.records_are_tidy && (needs_no_room || self.has_room_for(next))
    }

    /// Lets go of the commands that wait; they stay in the ring, for the next handler.
    pub fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Has the commands that wait and were aborted keep a token until they are answered.
    pub fn hold_aborted(&mut self, function: &TaskManagement, token: &EndToken) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.is_aborted) {
            if function.identifiers.contains(&waiting.task.identifier()) {
                waiting.tokens.push(token.clone());
            }
        }
    }

    /// Answers a command that has ended; `None` where the command set failed to answer it.
    pub fn finish(
        &mut self,
        job: Job,
        completion: Option<Completion>,
        buffers: &BufferPool,
    ) -> Result<(), RingError> {
        let Job { task, ticket, data_bytes, is_write, gathered, tokens } = job;
        self.running -= 1;
        self.running_bytes -= data_bytes;
        let completion = completion.unwrap_or_else(|| {
            let (status, sense) =
                (CHECK_CONDITION, Bytes::copy_from_slice(&INTERNAL_TARGET_FAILURE));
            Completion { status, sense, ..Completion::default() }
        });
        let Completion { status, sense, data_in, data_out_wanted_bytes } = completion;
        if let Some(ticket) = ticket {
            let outcome = RecordedOutcome { status, sense: sense.to_vec() };
            self.note_failure(|records| records.end(ticket, outcome));
        }
        let has_data_in =
            !is_write && data_out_wanted_bytes == 0 && (status == GOOD || !data_in.is_empty());
        let data = has_data_in.then_some(&data_in[..]);
        self.answer(task, &Answer { status, sense: &sense, data_in: data })?;
        drop(tokens);
        buffers.give_back(data_in.freeze());
        gathered.into_iter().for_each(|data| buffers.give_back(data));
        Ok(())
    }

    fn has_room_for(&self, next: &Waiting) -> bool {
        let alone = self.running == 0;
        let data_bytes = self.running_bytes + data_bytes(&next.task) as u64;
        let fits = self.running < COMMANDS_PER_RING_MAX && data_bytes <= DATA_BYTES_PER_RING_MAX;
        let is_its_turn = self.found == 0;
        let can_be_recorded =
            next.recorded.is_some() || self.once(next) == Once::No || self.records.has_room();
        (alone || is_its_turn && fits) && can_be_recorded
    }

    fn once(&self, next: &Waiting) -> Once {
        let code = next.request.as_ref().map(|cdb| cdb[0]);
        code.map_or(Once::No, |code| self.once[usize::from(code)])
    }

    fn begin_or_answer(
        &mut self,
        next: Waiting,
        buffers: &BufferPool,
        read_now: impl FnOnce(&Request, &mut [u8]) -> Option<usize>,
    ) -> Result<Step, RingError> {
        let once = self.once(&next);
        let gives_way = once == Once::Long;
        let Waiting { task, request, recorded, is_aborted, tokens } = next;
        // Kept by the command, so that the slot is freed when it is answered.
        if let Some((ticket, _)) = recorded {
            self.ring.note_ticket(&task, ticket, gives_way)?;
        }
        let cdb = match (request, &recorded) {
            (_, Some((_, Some(outcome)))) => {
                self.counters.answered_from_record();
                let RecordedOutcome { status, sense } = outcome;
                self.answer(task, &Answer { status: *status, sense, data_in: None })?;
                return Ok(Step::Answered);
            }
            (Err(refusal), recorded) => {
                self.counters.refused();
                self.answer(task, &answer_to(refusal, recorded.is_some()))?;
                return Ok(Step::Answered);
            }
            (Ok(_), _) if is_aborted => {
                self.counters.aborted();
                self.answer(task, &Answer { status: TASK_ABORTED, sense: &[], data_in: None })?;
                return Ok(Step::Answered);
            }
            (Ok(cdb), _) => cdb,
        };
        let repeated = recorded.is_some();
        let mut ticket = recorded.map(|(ticket, _)| ticket);
        if once != Once::No && ticket.is_none() {
            match self.records.begin(task.identifier()) {
                Ok(new) => {
                    self.ring.note_ticket(&task, new, gives_way)?;
                    ticket = Some(new);
                }
                Err(_) => {
                    self.counters.record_failed();
                    self.answer(task, &Answer { status: BUSY, sense: &[], data_in: None })?;
                    return Ok(Step::Answered);
                }
            }
        }
        self.counters.begun(repeated);
        let (length, is_write) = (data_bytes(&task), is_write(cdb[0]));
        let (data_out, gathered) = self.data_out(&task, &cdb, length, buffers);
        let request = Request {
            nexus: self.nexus,
            lun: self.lun,
            cdb,
            attribute: TaskAttribute::Simple,
            data_out,
            expected: Expected {
                direction: ExpectedDirection::Unsaid,
                bytes: u32::try_from(task.data_bytes()).unwrap_or(u32::MAX),
            },
            repeated,
        };
        if is_read(request.cdb[0])
            && let Some(filled) = self.ring.fill(&task, length, |room| read_now(&request, room))?
        {
            let is_found = task.is_found();
            self.ring.complete_filled(task, filled)?;
            self.note_answered(is_found);
            return Ok(Step::Answered);
        }
        self.running += 1;
        self.running_bytes += length as u64;
        let data_bytes = length as u64;
        let job = Job { task, ticket, data_bytes, is_write, gathered, tokens };
        Ok(Step::Begun(job, request))
    }

    /// The Data-Out of a command that may have some, and the copy of it if it had to be copied. Only
    /// a WRITE's is lent: of others it is not known here whether their buffer is Data-In, which is
    /// written when they have ended.
    fn data_out(
        &self,
        task: &Task,
        cdb: &Cdb,
        length: usize,
        buffers: &BufferPool,
    ) -> (Bytes, Option<Bytes>) {
        if length == 0 || is_read(cdb[0]) {
            return (Bytes::new(), None);
        }
        if is_write(cdb[0])
            && let Some(lent) = self.ring.lend(task, length)
        {
            return (lent, None);
        }
        let mut data: BytesMut = buffers.take(length);
        let there = self.ring.gather(task, &mut data);
        assert!(there == length, "a buffer has as many bytes as it says");
        let data = data.freeze();
        (data.clone(), Some(data))
    }

    fn answer(&mut self, task: Task, answer: &Answer<'_>) -> Result<(), RingError> {
        let is_found = task.is_found();
        self.ring.complete(task, answer)?;
        self.note_answered(is_found);
        Ok(())
    }

    fn note_answered(&mut self, was_found: bool) {
        if was_found {
            self.found -= 1;
        }
        self.counters.unanswered(self.ring.unanswered_count());
        while let Some(ticket) = self.ring.take_answered_ticket() {
            self.note_failure(|records| records.free(ticket));
        }
    }

    /// All that lay in the ring has been looked at: what has a slot and is not among it was answered.
    fn tidy_records(&mut self) {
        let tickets = self.waiting.iter().filter_map(|waiting| waiting.recorded.as_ref());
        let tickets: Vec<u64> = tickets.map(|(ticket, _)| *ticket).collect();
        self.note_failure(|records| records.keep(&tickets));
        self.records_are_tidy = true;
    }

    /// A step that cannot be noted any more is counted; the command goes on.
    fn note_failure(&mut self, step: impl FnOnce(&mut Records) -> std::io::Result<()>) {
        if step(&mut self.records).is_err() {
            self.counters.record_failed();
        }
    }
}

impl Waiting {
    /// Whether it is answered without being carried out.
    fn is_answerable(&self) -> bool {
        let has_outcome = self.recorded.as_ref().is_some_and(|(_, outcome)| outcome.is_some());
        self.is_aborted || has_outcome
    }
}

/// How much of a command's buffer is moved: all, but no more than a transfer may have. A command with
/// more than that asks for too much, and is told so.
fn data_bytes(task: &Task) -> usize {
    task.data_bytes().min(TRANSFER_BYTES_MAX as usize)
}

/// READ (6), (10), (12) and (16): their buffer is Data-In, as long as it may be, and what is in it
/// matters to nobody.
fn is_read(operation_code: u8) -> bool {
    matches!(operation_code, 0x08 | 0x28 | 0xA8 | 0x88)
}

/// WRITE (6), (10), (12) and (16): their buffer is Data-Out.
fn is_write(operation_code: u8) -> bool {
    matches!(operation_code, 0x0A | 0x2A | 0xAA | 0x8A)
}

const fn aborted_command(code: u8) -> [u8; 18] {
    let mut sense = [0; 18];
    (sense[0], sense[2], sense[7], sense[12]) = (0x70, 0x0B, 10, code);
    sense
}

/// Sense data that the transport alone can make, in fixed format: ABORTED COMMAND with an additional
/// sense code.
const INTERNAL_TARGET_FAILURE: [u8; 18] = aborted_command(0x44);
const COMMAND_PHASE_ERROR: [u8; 18] = aborted_command(0x4A);
const DATA_PHASE_ERROR: [u8; 18] = aborted_command(0x4B);

fn answer_to(refusal: Refusal, was_begun: bool) -> Answer<'static> {
    let sense: &[u8] = match refusal {
        Refusal::RequestGone if !was_begun => {
            return Answer { status: BUSY, sense: &[], data_in: None };
        }
        Refusal::RequestGone => &INTERNAL_TARGET_FAILURE,
        Refusal::Cdb => &COMMAND_PHASE_ERROR,
        Refusal::Bidirectional | Refusal::Protection | Refusal::Iovecs | Refusal::Data => {
            &DATA_PHASE_ERROR
        }
    };
    Answer { status: CHECK_CONDITION, sense, data_in: None }
}
