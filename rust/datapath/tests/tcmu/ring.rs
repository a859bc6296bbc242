//! The ring as a whole: order, wrapping, filler, notifications, and what makes it unusable.

use datapath::transport::tcmu::{Answer, Entry, Ring, RingError, Task, TaskManagement, layout::*};

use crate::kernel::*;

const GOOD: Answer<'_> = Answer { status: 0, sense: &[], data_in: None };
const TEST_UNIT_READY: [u8; 6] = [0; 6];
const ENTRY_BYTES: usize = 120;

fn tasks(ring: &mut Ring) -> Vec<Task> {
    let mut tasks = Vec::new();
    while let Some(entry) = ring.next_entry().unwrap() {
        let Entry::Command(task, _) = entry else { panic!("{entry:?}") };
        tasks.push(task);
    }
    tasks
}

fn answered(kernel: &mut Kernel) -> Vec<u16> {
    kernel.take_answers().into_iter().map(|outcome| outcome.identifier).collect()
}

fn pair(flags: u16, ring_bytes: usize) -> (Kernel, Ring) {
    let kernel = Kernel::new(flags, ring_bytes, 8);
    let ring = Ring::attach(kernel.map()).unwrap();
    (kernel, ring)
}

#[test]
fn answers_out_of_order_take_the_oldest_entry() {
    let (mut kernel, mut ring) = pair(CAP_OOOC, 4096);
    for _ in 0..4 {
        kernel.queue(&TEST_UNIT_READY, Buffer::None).unwrap();
    }
    let mut tasks = tasks(&mut ring);
    let identifiers: Vec<_> = tasks.iter().map(Task::identifier).collect();
    assert_eq!(identifiers, kernel.outstanding());
    for (step, (index, identifier)) in
        [(3, identifiers[3]), (1, identifiers[1]), (0, identifiers[0]), (0, identifiers[2])]
            .into_iter()
            .enumerate()
    {
        ring.complete(tasks.remove(index), &GOOD).unwrap();
        assert_eq!(kernel.tail(), (step + 1) * ENTRY_BYTES);
        assert_eq!(answered(&mut kernel), [identifier]);
    }
}

#[test]
fn answers_wait_for_an_older_command_with_a_ticket_that_does_not_give_way() {
    for (gives_way, at_once) in [(false, false), (true, true)] {
        let (mut kernel, mut ring) = pair(CAP_OOOC, 4096);
        for _ in 0..3 {
            kernel.queue(&TEST_UNIT_READY, Buffer::None).unwrap();
        }
        let identifiers = kernel.outstanding();
        let mut tasks = tasks(&mut ring);
        ring.note_ticket(&tasks[0], 7, gives_way).unwrap();
        ring.note_ticket(&tasks[1], 8, false).unwrap();
        // Two tickets do not change places.
        ring.complete(tasks.remove(1), &GOOD).unwrap();
        assert!(answered(&mut kernel).is_empty());
        ring.complete(tasks.remove(1), &GOOD).unwrap();
        let before = if at_once { vec![identifiers[2], identifiers[1]] } else { vec![] };
        assert_eq!(answered(&mut kernel), before);
        ring.complete(tasks.remove(0), &GOOD).unwrap();
        assert_eq!(before.len() + answered(&mut kernel).len(), 3);
    }
}

#[test]
fn without_the_capability_answers_wait_for_their_turn() {
    let (mut kernel, mut ring) = pair(0, 4096);
    for _ in 0..3 {
        kernel.queue(&TEST_UNIT_READY, Buffer::None).unwrap();
    }
    let identifiers = kernel.outstanding();
    let mut tasks = tasks(&mut ring);
    ring.complete(tasks.remove(2), &Answer { status: 8, ..GOOD }).unwrap();
    ring.complete(tasks.remove(1), &GOOD).unwrap();
    assert!(!ring.take_wake());
    assert_eq!((kernel.tail(), ring.unanswered_count()), (0, 3));
    ring.complete(tasks.remove(0), &GOOD).unwrap();
    let outcomes = kernel.take_answers();
    assert_eq!(outcomes.iter().map(|outcome| outcome.status).collect::<Vec<_>>(), [0, 0, 8]);
    assert_eq!(outcomes.iter().map(|done| done.identifier).collect::<Vec<_>>(), identifiers);
    assert_eq!(ring.unanswered_count(), 0);
}

#[test]
fn entries_go_round_with_padding_and_without() {
    // The ring holds 4 entries and 0, 8 and 112 bytes of padding.
    for padding in [0, 8, 112] {
        for flags in [0, CAP_OOOC] {
            let (mut kernel, mut ring) = pair(flags, 4 * ENTRY_BYTES + padding);
            for round in 0..9 {
                while kernel.queue(&TEST_UNIT_READY, Buffer::None).is_some() {}
                let mut tasks = tasks(&mut ring);
                let count = tasks.len();
                assert!((3..=4).contains(&count));
                tasks.rotate_left(round % 3);
                for task in tasks {
                    ring.complete(task, &GOOD).unwrap();
                }
                assert_eq!(answered(&mut kernel).len(), count);
                assert_eq!(kernel.head(), kernel.tail());
            }
        }
    }
}

#[test]
fn notifications_tell_which_commands_are_ended_and_need_no_answer() {
    let (mut kernel, mut ring) = pair(CAP_OOOC | CAP_TMR, 4096);
    kernel.notify(5, &[]).unwrap();
    let Some(Entry::TaskManagement(reset)) = ring.next_entry().unwrap() else { panic!() };
    assert_eq!(reset, TaskManagement { function: 5, identifiers: vec![] });
    assert!(ring.take_wake());
    assert_eq!(kernel.tail(), kernel.head());
    let identifiers: Vec<_> =
        (0..3).map(|_| kernel.queue(&TEST_UNIT_READY, Buffer::None).unwrap()).collect();
    let mut tasks = tasks(&mut ring);
    kernel.notify(1, &identifiers).unwrap();
    let Some(Entry::TaskManagement(abort)) = ring.next_entry().unwrap() else { panic!() };
    assert_eq!(abort, TaskManagement { function: 1, identifiers: identifiers.clone() });
    assert!(!ring.take_wake(), "it is behind the commands");
    for _ in 0..3 {
        ring.complete(tasks.pop().unwrap(), &GOOD).unwrap();
    }
    assert_eq!(kernel.tail(), kernel.head());
    assert_eq!(answered(&mut kernel), identifiers.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn identifiers_that_the_entry_has_no_room_for_are_not_there() {
    let (mut kernel, mut ring) = pair(CAP_TMR, 4096);
    kernel.notify(2, &[1, 2, 3]).unwrap();
    kernel.put(kernel.entry(0) + TMR_COUNT, &u32::MAX.to_ne_bytes());
    let Some(Entry::TaskManagement(abort)) = ring.next_entry().unwrap() else { panic!() };
    assert_eq!(abort.identifiers, [1, 2, 3, 0]);
}

#[test]
fn an_unknown_operation_is_given_back_marked() {
    let (mut kernel, mut ring) = pair(CAP_OOOC, 4096);
    kernel.queue_unknown(3, 8).unwrap();
    kernel.queue(&TEST_UNIT_READY, Buffer::None).unwrap();
    kernel.queue_unknown(7, 64).unwrap();
    let mut tasks = tasks(&mut ring);
    assert_eq!((tasks.len(), kernel.tail()), (1, 8));
    ring.complete(tasks.remove(0), &GOOD).unwrap();
    assert_eq!((answered(&mut kernel).len(), kernel.unknown_operations), (1, 2));
    assert_eq!(kernel.tail(), kernel.head());
}

#[test]
fn a_mailbox_that_is_not_ours_is_refused() {
    let place = |offset: u32, size: u32| RingError::Place { offset, size };
    let length = Kernel::new(0, 4096, 8).length() as u32;
    let table: [(usize, u32, RingError); 12] = [
        (VERSION_FLAGS, 1, RingError::Version(1)),
        (VERSION_FLAGS, 0, RingError::Version(0)),
        (RING_OFFSET, 64, place(64, 4096)),
        (RING_OFFSET, 132, place(132, 4096)),
        (RING_OFFSET, !7, place(!7, 4096)),
        (RING_BYTES, 0, place(128, 0)),
        (RING_BYTES, 4100, place(128, 4100)),
        (RING_BYTES, length - 120, place(128, length - 120)),
        (HEAD, 4096, RingError::Head(4096)),
        (HEAD, 4, RingError::Head(4)),
        (TAIL, 4096, RingError::Tail(4096)),
        (TAIL, 12, RingError::Tail(12)),
    ];
    for (field, value, error) in table {
        let mut kernel = Kernel::new(0, 4096, 8);
        kernel.put(field, &value.to_ne_bytes());
        assert_eq!(Ring::attach(kernel.map()).unwrap_err(), error);
    }
}

#[test]
fn a_region_without_a_mailbox_is_refused() {
    for words in 0..9 {
        let mut memory = vec![0u64; words];
        let base = std::ptr::NonNull::new(memory.as_mut_ptr()).unwrap().cast();
        // SAFETY: the vector outlives the region and is reached by it alone.
        let region = unsafe { datapath::transport::tcmu::Region::new(base, words * 8) };
        assert_eq!(Ring::attach(region).unwrap_err(), RingError::TooShort(words * 8));
    }
}

#[test]
fn an_entry_that_does_not_fit_makes_the_ring_unusable() {
    for (len_op, length) in [
        (OP_PAD, 0),
        (OP_CMD, 0),
        (OP_CMD | 104, 104),
        (OP_CMD | 112, 112),
        (OP_CMD | 128, 128),
        (OP_TMR | 24, 24),
        (!OPERATION_MASK, !OPERATION_MASK),
    ] {
        let (mut kernel, mut ring) = pair(CAP_OOOC, 4096);
        kernel.queue(&TEST_UNIT_READY, Buffer::None).unwrap();
        kernel.put(kernel.entry(0), &len_op.to_ne_bytes());
        for _ in 0..2 {
            assert_eq!(ring.next_entry().unwrap_err(), RingError::Length { at: 0, length });
        }
        assert_eq!(kernel.tail(), 0);
    }
}

#[test]
fn an_entry_may_not_cross_the_end() {
    let (mut kernel, mut ring) = pair(CAP_OOOC, 3 * ENTRY_BYTES + 8);
    for _ in 0..2 {
        for _ in 0..2 {
            kernel.queue(&TEST_UNIT_READY, Buffer::None).unwrap();
        }
        if kernel.head() < 2 * ENTRY_BYTES {
            break;
        }
        for task in tasks(&mut ring) {
            ring.complete(task, &GOOD).unwrap();
        }
        kernel.take_answers();
    }
    // The entry at 240 ends at 360, the padding at 368; now it says that it ends behind.
    let (at, length) = (2 * ENTRY_BYTES as u32, ENTRY_BYTES as u32 + 16);
    kernel.put(kernel.entry(at as usize), &(length | OP_CMD).to_ne_bytes());
    assert_eq!(ring.next_entry().unwrap_err(), RingError::Length { at, length });
}

#[test]
fn a_head_that_goes_back_makes_the_ring_unusable() {
    let (mut kernel, mut ring) = pair(CAP_OOOC, 4096);
    for _ in 0..2 {
        kernel.queue(&TEST_UNIT_READY, Buffer::None).unwrap();
    }
    assert_eq!(tasks(&mut ring).len(), 2);
    kernel.put(HEAD, &(ENTRY_BYTES as u32).to_ne_bytes());
    assert_eq!(ring.next_entry().unwrap_err(), RingError::Head(ENTRY_BYTES as u32));
}

#[test]
fn an_identifier_may_not_come_twice() {
    let (mut kernel, mut ring) = pair(CAP_OOOC, 4096);
    let identifier = kernel.queue(&TEST_UNIT_READY, Buffer::None).unwrap();
    kernel.queue(&TEST_UNIT_READY, Buffer::None).unwrap();
    kernel.put(kernel.entry(ENTRY_BYTES) + IDENTIFIER_FLAGS, &identifier.to_ne_bytes());
    ring.next_entry().unwrap();
    let error = RingError::Identifier { at: ENTRY_BYTES as u32, identifier };
    assert_eq!(ring.next_entry().unwrap_err(), error);
}
