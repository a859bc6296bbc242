//! What a handler that died, or a kernel that reset the ring, leaves behind.

use datapath::transport::tcmu::{Answer, Entry, Refusal, Ring, RingError, Task, layout::*};

use crate::kernel::*;

const GOOD: Answer<'_> = Answer { status: 0, sense: &[], data_in: None };
const BUSY: Answer<'_> = Answer { status: 8, sense: &[], data_in: None };
const ENTRY_BYTES: usize = 120;

fn queue(kernel: &mut Kernel, count: usize) -> Vec<u16> {
    (0..count).map(|_| kernel.queue(&[0; 6], Buffer::None).unwrap()).collect()
}

/// All that the ring has: identifier, and whether its request is there.
fn found(ring: &mut Ring) -> Vec<(Task, bool)> {
    let mut found = Vec::new();
    while let Some(entry) = ring.next_entry().unwrap() {
        found.push(match entry {
            Entry::Command(task, _) => (task, true),
            Entry::Refused(task, Refusal::RequestGone) => (task, false),
            other => panic!("{other:?}"),
        });
    }
    found
}

/// A new handler takes the ring over, and answers all that it finds, youngest first. What it found,
/// in the ring's order.
fn take_over(kernel: &mut Kernel) -> Vec<(u16, bool)> {
    let mut ring = Ring::attach(kernel.map()).unwrap();
    let tasks = found(&mut ring);
    let list = tasks.iter().map(|(task, whole)| (task.identifier(), *whole)).collect();
    let outstanding = kernel.outstanding();
    for (task, whole) in tasks.into_iter().rev() {
        ring.complete(task, if whole { &GOOD } else { &BUSY }).unwrap();
    }
    let mut answered: Vec<_> = kernel.take_answers().iter().map(|done| done.identifier).collect();
    answered.sort_unstable();
    assert_eq!(answered, outstanding, "each outstanding command is answered once");
    assert_eq!(kernel.head(), kernel.tail());
    list
}

fn identifier_flags(kernel: &mut Kernel, place: usize, identifier: u16, flags: u8) {
    let entry = kernel.entry(place);
    kernel.put(entry + IDENTIFIER_FLAGS, &identifier.to_ne_bytes());
    kernel.put(entry + IDENTIFIER_FLAGS + 3, &[flags]);
}

#[test]
fn commands_that_nobody_answered_come_again() {
    let mut kernel = Kernel::new(CAP_OOOC, 4096, 8);
    let identifiers = queue(&mut kernel, 3);
    let mut ring = Ring::attach(kernel.map()).unwrap();
    let mut tasks = found(&mut ring);
    ring.complete(tasks.remove(0).0, &GOOD).unwrap();
    drop(ring);
    assert_eq!(kernel.take_answers()[0].identifier, identifiers[0]);
    assert_eq!(take_over(&mut kernel), [(identifiers[1], true), (identifiers[2], true)]);
}

#[test]
fn answers_that_were_held_back_are_lost_and_their_commands_come_again() {
    let mut kernel = Kernel::new(0, 4096, 8);
    let identifiers = queue(&mut kernel, 2);
    let mut ring = Ring::attach(kernel.map()).unwrap();
    let mut tasks = found(&mut ring);
    ring.complete(tasks.remove(1).0, &GOOD).unwrap();
    drop(ring);
    assert_eq!(take_over(&mut kernel), [(identifiers[0], true), (identifiers[1], true)]);
}

#[test]
fn after_answers_out_of_order_the_entries_have_the_identifiers_of_the_others() {
    let mut kernel = Kernel::new(CAP_OOOC, 4096, 8);
    let identifiers = queue(&mut kernel, 4);
    let mut ring = Ring::attach(kernel.map()).unwrap();
    let mut tasks = found(&mut ring);
    ring.complete(tasks.remove(2).0, &GOOD).unwrap();
    ring.complete(tasks.remove(2).0, &GOOD).unwrap();
    drop(ring);
    assert_eq!(kernel.take_answers().len(), 2);
    // The first gave its entry up; the second, in whose entry the fourth is answered, too.
    assert_eq!(take_over(&mut kernel), [(identifiers[0], false), (identifiers[1], false)]);
}

#[test]
fn killed_while_an_answer_was_written() {
    let mut kernel = Kernel::new(CAP_OOOC, 4096, 8);
    let identifiers = queue(&mut kernel, 2);
    identifier_flags(&mut kernel, 0, identifiers[0], REQUEST_GONE | READ_LEN);
    kernel.put(kernel.entry(0) + ANSWER, &[0xFF; 50]);
    assert_eq!(take_over(&mut kernel), [(identifiers[0], false), (identifiers[1], true)]);
}

/// The stores of an answer out of order, one after another, the second command's in the first's entry.
#[test]
fn killed_while_entries_were_exchanged() {
    let mut kernel = Kernel::new(CAP_OOOC, 4096, 8);
    let identifiers = queue(&mut kernel, 3);
    let second = kernel.entry(ENTRY_BYTES);
    let former: [u8; 4] = kernel.get(second + IDENTIFIER_FLAGS);
    let whole: Vec<_> = identifiers.iter().map(|identifier| (*identifier, true)).collect();

    kernel.put(second + FORMER_IDENTIFIER_FLAGS, &former);
    assert_eq!(recovered(&kernel), whole);
    identifier_flags(&mut kernel, ENTRY_BYTES, identifiers[0], REQUEST_GONE);
    assert_eq!(recovered(&kernel), whole, "and undone");
    identifier_flags(&mut kernel, ENTRY_BYTES, identifiers[0], REQUEST_GONE);
    identifier_flags(&mut kernel, 0, identifiers[1], REQUEST_GONE);
    let exchanged = [(identifiers[1], false), (identifiers[0], false), (identifiers[2], true)];
    assert_eq!(recovered(&kernel), exchanged);
    kernel.put(kernel.entry(0) + ANSWER, &[0; ANSWER_BYTES]);
    assert_eq!(take_over(&mut kernel), exchanged);
}

/// What a handler finds, which then is killed as well.
fn recovered(kernel: &Kernel) -> Vec<(u16, bool)> {
    let mut ring = Ring::attach(kernel.map()).unwrap();
    found(&mut ring).iter().map(|(task, whole)| (task.identifier(), *whole)).collect()
}

#[test]
fn an_exchanged_entry_can_be_exchanged_again_and_undone() {
    let mut kernel = Kernel::new(CAP_OOOC, 4096, 8);
    let identifiers = queue(&mut kernel, 3);
    let mut ring = Ring::attach(kernel.map()).unwrap();
    let mut tasks = found(&mut ring);
    // The second is answered; its entry is the first's now.
    ring.complete(tasks.remove(1).0, &GOOD).unwrap();
    drop(ring);
    kernel.take_answers();
    // The third begins to take that entry.
    let third = kernel.entry(2 * ENTRY_BYTES);
    let former: [u8; 4] = kernel.get(third + IDENTIFIER_FLAGS);
    kernel.put(third + FORMER_IDENTIFIER_FLAGS, &former);
    identifier_flags(&mut kernel, 2 * ENTRY_BYTES, identifiers[0], REQUEST_GONE);
    assert_eq!(take_over(&mut kernel), [(identifiers[0], false), (identifiers[2], true)]);
}

#[test]
fn a_reset_by_the_kernel_is_noticed_and_taken() {
    let mut kernel = Kernel::new(CAP_OOOC, 4096, 8);
    let mut ring = Ring::attach(kernel.map()).unwrap();
    queue(&mut kernel, 3);
    let mut tasks = found(&mut ring);
    ring.complete(tasks.remove(0).0, &GOOD).unwrap();
    kernel.take_answers();
    assert_eq!(kernel.reset().len(), 2);
    let moved = RingError::TailMoved { found: 0, left: ENTRY_BYTES as u32 };
    assert_eq!(ring.next_entry().unwrap_err(), moved);
    assert_eq!(ring.complete(tasks.remove(0).0, &GOOD), Err(moved));
    assert_eq!(kernel.tail(), 0, "what is not ours is left alone");

    ring.reset().unwrap();
    assert_eq!(ring.unanswered_count(), 0);
    let identifiers = queue(&mut kernel, 1);
    let again = found(&mut ring);
    ring.complete(tasks.remove(0).0, &GOOD).unwrap();
    assert_eq!(kernel.tail(), 0, "a command from before the reset answers nothing");
    for (task, _) in again {
        ring.complete(task, &GOOD).unwrap();
    }
    assert_eq!(kernel.take_answers()[0].identifier, identifiers[0]);
}

#[test]
fn a_reset_of_a_ring_whose_tail_has_not_moved_is_noticed_too() {
    let mut kernel = Kernel::new(CAP_OOOC, 4096, 8);
    let mut ring = Ring::attach(kernel.map()).unwrap();
    queue(&mut kernel, 2);
    let mut tasks = found(&mut ring);
    kernel.reset();
    assert_eq!(ring.complete(tasks.remove(0).0, &GOOD), Err(RingError::Head(0)));
    assert_eq!(ring.next_entry().unwrap_err(), RingError::Head(0));
    assert_eq!(kernel.tail(), 0);
    queue(&mut kernel, 1);
    let head = RingError::Head(ENTRY_BYTES as u32);
    assert_eq!(ring.complete(tasks.remove(0).0, &GOOD), Err(head));
    assert_eq!(kernel.tail(), 0);
}

/// An identifier that the kernel uses again after a reset is another command's.
#[test]
fn an_old_command_does_not_answer_a_new_one_of_the_same_identifier() {
    let mut kernel = Kernel::new(CAP_OOOC, 4096, 8);
    let mut ring = Ring::attach(kernel.map()).unwrap();
    let old = queue(&mut kernel, 1)[0];
    let mut tasks = found(&mut ring);
    kernel.reset();
    ring.reset().unwrap();
    queue(&mut kernel, 1);
    identifier_flags(&mut kernel, 0, old, 0);
    let mut again = found(&mut ring);
    assert_eq!(again[0].0.identifier(), old);
    ring.complete(tasks.remove(0).0, &GOOD).unwrap();
    assert_eq!((kernel.tail(), ring.unanswered_count()), (0, 1));
    ring.complete(again.remove(0).0, &GOOD).unwrap();
    assert_eq!(kernel.tail(), kernel.head());
}

#[test]
fn a_reset_to_a_mailbox_that_cannot_be_changes_nothing() {
    let mut kernel = Kernel::new(CAP_OOOC, 4096, 8);
    let mut ring = Ring::attach(kernel.map()).unwrap();
    let identifiers = queue(&mut kernel, 2);
    let mut tasks = found(&mut ring);
    ring.complete(tasks.remove(0).0, &GOOD).unwrap();
    // The ring is said to end before the tail.
    let size = ENTRY_BYTES as u32 - 8;
    kernel.put(RING_BYTES, &size.to_ne_bytes());
    assert_eq!(ring.reset(), Err(RingError::Tail(ENTRY_BYTES as u32)));
    assert_eq!(ring.unanswered_count(), 1);
    assert!(ring.next_entry().unwrap().is_none());
    ring.complete(tasks.remove(0).0, &GOOD).unwrap();
    assert_eq!(kernel.take_answers()[1].identifier, identifiers[1]);
}
