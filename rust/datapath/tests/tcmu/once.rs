//! Commands that must not be carried out twice, and handlers that are killed before each of their
//! stores: to the ring, to the record file, to the medium.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use datapath::scsi::buffers::BufferPool;
use datapath::scsi::{Completion, NexusId, Request};
use datapath::simulation::death;
use datapath::transport::tcmu::dispatch::{Job, Step};
use datapath::transport::tcmu::{Dispatcher, Records, Ring, layout::*};

use crate::kernel::*;

const ONCE: u8 = 0x89;
const LONG: u8 = 0x83;
const ANY_NUMBER: u8 = 0x2A;
const READ: u8 = 0x28;
/// Long enough to lie over the place of the ticket.
const SENSE: [u8; 64] = [0x5C; 64];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// May be carried out again.
    Plain,
    /// The same; carried out at once.
    Read,
    Once,
    /// Ends with sense data.
    OnceFailing,
    /// The answers of others do not wait for it.
    OnceLong,
}

const KINDS: [Kind; 5] = [Kind::Plain, Kind::Read, Kind::Once, Kind::OnceFailing, Kind::OnceLong];

/// A kernel, a medium, a record file: what outlives the handler.
struct World<'a> {
    kernel: Kernel,
    records: &'a Path,
    kinds: Vec<Kind>,
    /// Which command an identifier stands for.
    names: BTreeMap<u16, usize>,
    /// How often each was carried out.
    carried_out: RefCell<Vec<usize>>,
    answered: BTreeSet<usize>,
}

impl<'a> World<'a> {
    fn new(flags: u16, records: &'a Path) -> Self {
        let mut kernel = Kernel::new(flags, 4096, 8);
        kernel.reuses_identifiers = true;
        std::fs::write(records, []).unwrap();
        let (kinds, names, carried_out, answered) = Default::default();
        Self { kernel, records, kinds, names, carried_out, answered }
    }

    fn queue(&mut self, kind: Kind) {
        let index = self.kinds.len();
        let code = match kind {
            Kind::Plain => ANY_NUMBER,
            Kind::Read => READ,
            Kind::Once | Kind::OnceFailing => ONCE,
            Kind::OnceLong => LONG,
        };
        // The first bytes of a CDB lie where an answer leaves the ticket.
        let cdb = [code, 0, 0, 0, 0, index as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (length, buffer) = match kind {
            Kind::Plain => (10, Buffer::None),
            Kind::Read => (10, Buffer::In(PAGE_BYTES)),
            Kind::Once | Kind::OnceFailing | Kind::OnceLong => (16, Buffer::None),
        };
        let identifier = self.kernel.queue(&cdb[..length], buffer).unwrap();
        assert!(self.names.insert(identifier, index).is_none());
        self.kinds.push(kind);
        self.carried_out.borrow_mut().push(0);
    }

    /// A handler from its start until nothing is left to do, or until it is killed. Commands that come
    /// when it has settled run side by side; they end in the order that `choices` picks.
    fn serve(&mut self, come: &[Kind], choices: &[usize]) {
        let ring = Ring::attach(self.kernel.map()).unwrap();
        let records = Records::open(self.records).unwrap();
        let counters = Arc::default();
        let codes = [(ONCE, false), (LONG, true)].into();
        let mut dispatcher = Dispatcher::new(ring, records, &codes, NexusId(1), 0, counters);
        let buffers = BufferPool::default();
        let mut running: Vec<(Job, usize, bool)> = Vec::new();
        let (mut come, mut choices) = (Some(come), choices.iter());
        loop {
            loop {
                let read_now = |request: &Request, room: &mut [u8]| {
                    self.carried_out.borrow_mut()[usize::from(request.cdb[5])] += 1;
                    room.fill(request.cdb[5]);
                    Some(room.len())
                };
                match dispatcher.step(true, &buffers, read_now).unwrap() {
                    Step::Begun(job, request) => {
                        running.push((job, usize::from(request.cdb[5]), request.repeated));
                    }
                    Step::Answered | Step::Waits => {}
                    Step::Nothing => break,
                    Step::Function(function) => panic!("{function:?} was not sent"),
                }
            }
            if running.is_empty() {
                assert!(dispatcher.is_settled());
                match come.take() {
                    Some(kinds) => kinds.iter().for_each(|kind| self.queue(*kind)),
                    None => break,
                }
                continue;
            }
            let choice = choices.next().unwrap_or(&0) % running.len();
            let (job, index, repeated) = running.remove(choice);
            let completion = self.carry_out(index, repeated);
            dispatcher.finish(job, Some(completion), &buffers).unwrap();
        }
    }

    /// What the command set does: it finds out whether a repeated command has been carried out.
    fn carry_out(&self, index: usize, repeated: bool) -> Completion {
        let is_done = self.carried_out.borrow()[index] > 0;
        if !(repeated && is_done) {
            death::before_store();
            self.carried_out.borrow_mut()[index] += 1;
        }
        let sense = Bytes::from_static(&SENSE);
        match self.kinds[index] {
            Kind::OnceFailing => Completion { status: 2, sense, ..Completion::default() },
            _ => Completion::default(),
        }
    }

    fn take_answers(&mut self) {
        for outcome in self.kernel.take_answers() {
            let index = self.names.remove(&outcome.identifier).unwrap();
            assert!(self.answered.insert(index), "answered twice");
            let carried_out = self.carried_out.borrow()[index];
            match (self.kinds[index], outcome.status) {
                (Kind::Plain, 0) => assert!(carried_out >= 1),
                (Kind::Read, 0) => assert_eq!(outcome.data_in, [index as u8; PAGE_BYTES]),
                // It comes again.
                (Kind::Plain | Kind::Read, 8) => {}
                (Kind::Once | Kind::OnceLong, 0) => assert_eq!(carried_out, 1),
                // It has begun, and nobody knows how it ended.
                (Kind::OnceLong, 2) => {
                    assert!(carried_out <= 1);
                    assert_eq!(outcome.sense[..3], [0x70, 0, 0x0B]);
                }
                (Kind::OnceFailing, 2) => {
                    assert_eq!((carried_out, &outcome.sense[..64]), (1, &SENSE[..]));
                }
                (kind, status) => panic!("{kind:?} was answered {status:02X}"),
            }
        }
    }

    fn check_end(&mut self) {
        self.take_answers();
        assert_eq!(self.answered.len(), self.kinds.len());
        let records = Records::open(self.records).unwrap();
        assert_eq!((records.was_damaged(), records.in_use()), (false, 0));
    }
}

fn orders() -> impl Iterator<Item = [usize; 2]> {
    (0..3).flat_map(|first| (0..2).map(move |second| [first, second]))
}

fn patterns() -> impl Iterator<Item = [Kind; 3]> {
    let all = move || KINDS.into_iter();
    all().flat_map(move |a| all().flat_map(move |b| all().map(move |c| [a, b, c])))
}

/// Every mix of three commands, every order of their ends, a kill before every store; the next handler
/// goes on to the end, with new commands that have the identifiers of those that were answered.
#[test]
fn no_kill_has_a_command_lost_or_carried_out_twice() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let records = directory.path().join("records");
    for (flags, order) in orders().map(|order| (CAP_OOOC, order)).chain([(0, [2, 1])]) {
        for pattern in patterns() {
            for stores in 0.. {
                let mut world = World::new(flags, &records);
                let has_ended = death::after(stores, || world.serve(&pattern, &order));
                world.take_answers();
                world.queue(Kind::Once);
                world.queue(Kind::OnceFailing);
                world.serve(&[], &[]);
                world.check_end();
                if has_ended {
                    assert!(stores > 10);
                    break;
                }
            }
        }
    }
}

/// The handler that takes over is killed as well, before each of its stores.
#[test]
fn nor_has_a_second_kill() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let records = directory.path().join("records");
    let mixes = [
        [Kind::Plain, Kind::OnceFailing, Kind::Once],
        [Kind::Once, Kind::Plain, Kind::OnceFailing],
        [Kind::OnceLong, Kind::Once, Kind::Plain],
    ];
    for (pattern, order) in mixes.into_iter().zip([[2, 1], [1, 0], [2, 1]]) {
        for first in 0.. {
            let mut first_has_ended = false;
            for second in 0.. {
                let mut world = World::new(CAP_OOOC, &records);
                first_has_ended = death::after(first, || world.serve(&pattern, &order));
                world.take_answers();
                let come = [Kind::Once, Kind::Plain];
                let second_has_ended = death::after(second, || world.serve(&come, &[0, 0, 1]));
                world.take_answers();
                world.queue(Kind::OnceFailing);
                world.serve(&[], &[]);
                world.check_end();
                if second_has_ended {
                    break;
                }
            }
            if first_has_ended {
                break;
            }
        }
    }
}
