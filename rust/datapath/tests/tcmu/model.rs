//! Whatever the kernel puts in comes out once and whole, and each command gets its own answer, in any
//! order of completion, round the ring's end, through restarts of the handler and resets.

use std::collections::BTreeMap;

use proptest::prelude::*;

use datapath::transport::tcmu::{Answer, Entry, Refusal, Ring, Task, layout::*};

use crate::kernel::*;

#[derive(Clone, Debug)]
enum Step {
    Queue { cdb: Vec<u8>, buffer: Buffer },
    Notify(usize),
    Unknown(u32, usize),
    Fetch(usize),
    Complete { which: usize, status: u8, length: usize },
    TakeAnswers,
    Kill,
    Reset,
}

fn cdb() -> impl Strategy<Value = Vec<u8>> {
    let plain =
        prop::sample::select(vec![(0x12, 6), (0x28, 10), (0xA8, 12), (0x8A, 16), (0xC1, 10)]);
    let plain = (plain, any::<u8>()).prop_map(|((code, length), fill)| {
        let mut cdb = vec![fill; length];
        cdb[0] = code;
        cdb
    });
    let long = (1u8..8, any::<u8>()).prop_map(|(words, fill)| {
        let mut cdb = vec![fill; 8 + usize::from(words) * 4];
        (cdb[0], cdb[7]) = (0x7F, words * 4);
        cdb
    });
    prop_oneof![4 => plain, 1 => long]
}

fn buffer() -> impl Strategy<Value = Buffer> {
    prop_oneof![
        1 => Just(Buffer::None),
        2 => (1usize..600, any::<u8>())
            .prop_map(|(length, seed)| Buffer::Out((0..length).map(|n| seed ^ n as u8).collect())),
        2 => (1usize..600).prop_map(Buffer::In),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (cdb(), buffer()).prop_map(|(cdb, buffer)| Step::Queue { cdb, buffer }),
        1 => (0usize..9).prop_map(Step::Notify),
        1 => (3u32..8, 1usize..20).prop_map(|(code, words)| Step::Unknown(code, words * 8)),
        4 => (1usize..5).prop_map(Step::Fetch),
        8 => (any::<usize>(), prop::sample::select(vec![0u8, 0, 0, 2, 8]), 0usize..700)
            .prop_map(|(which, status, length)| Step::Complete { which, status, length }),
        4 => Just(Step::TakeAnswers),
        1 => Just(Step::Kill),
        1 => Just(Step::Reset),
    ]
}

struct World {
    kernel: Kernel,
    ring: Ring,
    read_length: bool,
    /// What the initiators sent and have no answer to.
    sent: BTreeMap<u16, (Vec<u8>, Buffer)>,
    /// What the handler works on, with the reason to refuse.
    tasks: Vec<(Task, bool)>,
    /// What it answered, and the kernel has not taken.
    answered: BTreeMap<u16, Outcome>,
    notified: Vec<Vec<u16>>,
}

impl World {
    fn run(&mut self, step: Step) {
        match step {
            Step::Queue { cdb, buffer } => {
                if let Some(identifier) = self.kernel.queue(&cdb, buffer.clone()) {
                    assert!(self.sent.insert(identifier, (cdb, buffer)).is_none());
                }
            }
            Step::Notify(count) => {
                let some: Vec<_> = self.sent.keys().copied().take(count).collect();
                if self.kernel.notify(2, &some).is_some() {
                    self.notified.push(some);
                }
            }
            Step::Unknown(operation, size) => {
                let _ = self.kernel.queue_unknown(operation, size);
            }
            Step::Fetch(count) => {
                let _ = (0..count).all(|_| self.fetch());
            }
            Step::Complete { which, status, length } => self.complete(which, status, length),
            Step::TakeAnswers => self.take_answers(),
            Step::Kill => {
                self.tasks.clear();
                // What was held back in order is not answered.
                self.take_answers();
                self.answered.clear();
                self.ring = Ring::attach(self.kernel.map()).unwrap();
                self.notified.clear();
            }
            Step::Reset => {
                self.kernel.reset();
                self.ring.reset().unwrap();
                self.sent.clear();
                self.answered.clear();
                self.notified.clear();
                // These answer nothing any more.
                for (task, _) in std::mem::take(&mut self.tasks) {
                    let answer = Answer { status: 0, sense: &[], data_in: None };
                    self.ring.complete(task, &answer).unwrap();
                }
            }
        }
    }

    /// Takes the next entry, if there is one.
    fn fetch(&mut self) -> bool {
        match self.ring.next_entry().unwrap() {
            None => return false,
            Some(Entry::Command(task, cdb)) => {
                let (sent, buffer) = &self.sent[&task.identifier()];
                let mut padded = sent.clone();
                padded.resize(sent.len().max(16), 0);
                assert_eq!(cdb[..], padded[..]);
                let mut data = vec![0; task.data_bytes()];
                assert_eq!(self.ring.gather(&task, &mut data), data.len());
                match buffer {
                    Buffer::None => assert!(data.is_empty()),
                    Buffer::Out(sent) => assert_eq!(data, *sent),
                    Buffer::In(length) => assert_eq!(data.len(), *length),
                }
                self.tasks.push((task, true));
            }
            Some(Entry::Refused(task, Refusal::RequestGone)) => self.tasks.push((task, false)),
            // One from before a restart may come again.
            Some(Entry::TaskManagement(notified)) => {
                if let Some(at) = self.notified.iter().position(|ids| *ids == notified.identifiers)
                {
                    self.notified.remove(at);
                }
            }
            Some(Entry::Refused(_, refusal)) => panic!("{refusal}"),
        }
        let mut held: Vec<_> = self.tasks.iter().map(|(task, _)| task.identifier()).collect();
        held.sort_unstable();
        held.dedup();
        assert_eq!(held.len(), self.tasks.len(), "none comes twice");
        true
    }

    fn complete(&mut self, which: usize, status: u8, length: usize) {
        if self.tasks.is_empty() {
            return;
        }
        let (task, whole) = self.tasks.remove(which % self.tasks.len());
        let identifier = task.identifier();
        let status = if whole { status } else { 8 };
        let data: Vec<u8> = (0..length).map(|n| identifier as u8 ^ (n as u8)).collect();
        let room = match self.sent[&identifier].1 {
            Buffer::In(room) if whole && status == 0 => Some(room),
            _ => None,
        };
        let sense = if status == 2 { vec![identifier as u8; 18] } else { vec![] };
        let data_in = room.map(|_| &data[..]);
        self.ring.complete(task, &Answer { status, sense: &sense, data_in }).unwrap();
        let room = room.unwrap_or(0);
        let mut wanted = data[..length.min(room)].to_vec();
        if !self.read_length || wanted.is_empty() {
            wanted.resize(room, 0);
        }
        let mut sense = sense;
        sense.resize(if status == 2 { SENSE_BYTES } else { 0 }, 0);
        let outcome = Outcome { identifier, status, data_in: wanted, sense };
        assert!(self.answered.insert(identifier, outcome).is_none());
    }

    fn take_answers(&mut self) {
        for outcome in self.kernel.take_answers() {
            assert!(self.sent.remove(&outcome.identifier).is_some());
            assert_eq!(Some(&outcome), self.answered.remove(&outcome.identifier).as_ref());
        }
    }

    /// Everything is answered in the end, and the ring is empty.
    fn settle(&mut self) {
        while self.fetch() {}
        while !self.tasks.is_empty() {
            self.complete(self.tasks.len() / 2, 0, 10);
        }
        self.take_answers();
        assert!(self.sent.is_empty() && self.answered.is_empty() && self.notified.is_empty());
        assert_eq!(self.kernel.head(), self.kernel.tail());
        assert_eq!(self.ring.unanswered_count(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn each_command_comes_once_and_gets_its_answer(
        flags in prop::sample::select(vec![0, CAP_OOOC, CAP_READ_LEN, CAP_OOOC | CAP_READ_LEN]),
        ring_words in 40usize..200,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let kernel = Kernel::new(flags, ring_words * 8, 48);
        let ring = Ring::attach(kernel.map()).unwrap();
        let read_length = flags & CAP_READ_LEN != 0;
        let mut world = World {
            kernel, ring, read_length,
            sent: BTreeMap::new(), tasks: vec![], answered: BTreeMap::new(), notified: vec![],
        };
        for step in steps {
            world.run(step);
        }
        world.settle();
    }
}
