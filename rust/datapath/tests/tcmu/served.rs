//! Rings served on the workers' own threads, over real memory and a real socket.

use std::sync::atomic::Ordering;

use datapath::scsi::nexus::end_token;
use datapath::scsi::slow_path::TaskManagementFunction;
use datapath::scsi::{Completion, NexusId};
use datapath::transport::Driver;
use datapath::transport::tcmu::{EndReason, RingError, layout::*};

use crate::device::*;
use crate::kernel::*;

const ALL: u16 = CAP_OOOC | CAP_READ_LEN | CAP_TMR;
const INQUIRY: [u8; 6] = [0x12, 0, 0, 0, 36, 0];

fn machine(driver: Driver) -> Machine {
    Machine::new(Kernel::with_pages(ALL, 16 << 10, 64, 4096), driver)
}

fn quick() -> Machine {
    machine(Driver::Polling)
}

fn block(fill: u8) -> Vec<u8> {
    (0..512).map(|index| fill.wrapping_mul(31) ^ index as u8).collect()
}

/// Rounds enough to go round the ring some times; buffers in one piece and in many.
#[test]
fn what_was_written_is_read() {
    for driver in drivers() {
        for kernel in
            [Kernel::new(ALL, 8 << 10, 256), Kernel::with_pages(CAP_OOOC, 8 << 10, 32, 4096)]
        {
            let mut machine = Machine::new(kernel, driver);
            let ring = machine.attach_settled();
            let unit = machine.target.unit(LUN).unwrap();
            for round in 0..40u8 {
                unit.device().waits.store(round % 2 == 0, Ordering::Relaxed);
                let depth = 1 + round % 9;
                for lba in 0..depth {
                    let data = block(round ^ lba);
                    machine.queue(&write(lba, 1), Buffer::Out(data)).unwrap();
                }
                assert!(machine.answers(depth.into()).iter().all(|outcome| outcome.status == 0));
                let asked: Vec<_> = (0..depth)
                    .map(|lba| machine.queue(&read(lba, 1), Buffer::In(512)).unwrap())
                    .collect();
                let mut outcomes = machine.answers(depth.into());
                outcomes
                    .sort_by_key(|outcome| asked.iter().position(|id| *id == outcome.identifier));
                for (lba, outcome) in outcomes.iter().enumerate() {
                    assert_eq!(outcome.data_in, block(round ^ lba as u8));
                }
            }
            ring.stop();
            assert_eq!(ring.wait_ended(), EndReason::Stopped);
            assert_eq!(ring.counts().unanswered, 0);
        }
    }
}

/// Then it is read right into its buffer, and counts as any other.
#[test]
fn a_read_that_need_not_wait_does_not() {
    let mut machine = quick();
    machine.attach_settled();
    let unit = machine.target.unit(LUN).unwrap();
    machine.queue(&write(3, 1), Buffer::Out(block(5))).unwrap();
    assert_eq!(machine.answers(1)[0].status, 0);
    for (waits, waited) in [(false, 0), (true, 1)] {
        unit.device().waits.store(waits, Ordering::Relaxed);
        machine.queue(&read(3, 1), Buffer::In(4096)).unwrap();
        let [outcome] = &machine.answers(1)[..] else { panic!() };
        assert_eq!((outcome.status, &outcome.data_in), (0, &block(5)));
        assert_eq!(unit.device().waited.load(Ordering::Relaxed), waited);
    }
    let counts = unit.counts();
    assert_eq!((counts.reads, counts.read_bytes, counts.declined), (2, 1024, 0));
}

#[test]
fn an_answer_overtakes_those_that_wait_for_the_command_set() {
    for driver in drivers() {
        let mut machine = machine(driver);
        let ring = machine.attach_settled();
        let slow = machine.queue(&INQUIRY, Buffer::In(36)).unwrap();
        let (request, reply) = machine.script.next_command();
        assert_eq!((request.lun, request.nexus, request.repeated), (LUN, machine.nexus(), false));
        assert_eq!((&request.cdb[..6], request.expected.bytes), (&INQUIRY[..], 36));
        let fast = machine.queue(&read(0, 1), Buffer::In(512)).unwrap();
        assert_eq!(machine.answers(1)[0].identifier, fast);
        let data_in = bytes::BytesMut::from(&[9; 36][..]);
        reply.send(Completion { data_in, ..Completion::default() }).unwrap();
        let outcome = machine.answers(1).remove(0);
        assert_eq!((outcome.identifier, outcome.data_in), (slow, vec![9; 36]));
        ring.stop();
        ring.wait_ended();
    }
}

#[test]
fn data_out_reaches_the_command_set_and_stays_as_it_was() {
    let mut machine = quick();
    let _ring = machine.attach_settled();
    let data: Vec<u8> = (0..10_000u32).map(|byte| byte as u8).collect();
    let mut cdb = [0; 10];
    cdb[0] = 0x3B;
    machine.queue(&cdb, Buffer::Out(data.clone())).unwrap();
    let (request, reply) = machine.script.next_command();
    assert_eq!(request.data_out[..], data[..]);
    drop(request);
    reply.send(Completion { data_out_wanted_bytes: 10_000, ..Completion::default() }).unwrap();
    assert_eq!(machine.answers(1)[0].status, 0);
}

#[test]
fn a_command_set_that_fails_is_answered_for() {
    let mut machine = quick();
    let _ring = machine.attach_settled();
    machine.queue(&INQUIRY, Buffer::In(36)).unwrap();
    drop(machine.script.next_command());
    let outcome = machine.answers(1).remove(0);
    assert_eq!((outcome.status, outcome.sense[2], outcome.sense[12]), (2, 0x0B, 0x44));
}

/// What runs is answered, what does not stays for the next handler, who begins with it.
#[test]
fn a_stop_waits_for_what_runs_and_leaves_the_rest() {
    for driver in drivers() {
        let mut machine = machine(driver);
        let ring = machine.attach_settled();
        let running = machine.queue(&INQUIRY, Buffer::In(36)).unwrap();
        let (_, reply) = machine.script.next_command();
        ring.stop();
        assert_eq!(ring.end_reason(), None);
        reply.send(Completion::default()).unwrap();
        assert_eq!(ring.wait_ended(), EndReason::Stopped);
        assert_eq!(machine.script.wait(|asked| asked.lost.pop()), machine.nexus());
        assert_eq!(machine.answers(1)[0].identifier, running);

        let left = machine.queue(&INQUIRY, Buffer::In(36)).unwrap();
        let behind = machine.queue(&write(3, 1), Buffer::Out(block(1))).unwrap();
        let ring = machine.attach();
        let (request, reply) = machine.script.next_command();
        assert_eq!(request.nexus, machine.nexus());
        assert!(!ring.is_settled());
        reply.send(Completion::default()).unwrap();
        let answered: Vec<_> = machine.answers(2).iter().map(|one| one.identifier).collect();
        assert_eq!(answered, [left, behind], "one after another");
        machine.queue(&read(3, 1), Buffer::In(512)).unwrap();
        assert_eq!(machine.answers(1)[0].data_in, block(1));
        assert!(ring.is_settled());
        assert_eq!(ring.counts().found, 2);
        ring.stop();
        ring.wait_ended();
    }
}

#[test]
fn the_end_of_the_workers_stops_a_ring() {
    let mut machine = quick();
    let ring = machine.attach_settled();
    machine.queue(&read(0, 1), Buffer::In(512)).unwrap();
    machine.answers(1);
    machine.stop_workers();
    assert_eq!(ring.end_reason(), Some(EndReason::Stopped));
}

#[test]
fn commands_that_were_aborted_meanwhile_are_not_carried_out() {
    let mut machine = quick();
    machine.kernel.queue(&write(0, 1), Buffer::Out(block(1))).unwrap();
    let aborted = machine.kernel.queue(&write(0, 1), Buffer::Out(block(2))).unwrap();
    machine.kernel.notify(1, &[aborted]).unwrap();
    let ring = machine.attach();
    let outcomes = machine.answers(2);
    let status = |outcome: &Outcome| (outcome.identifier == aborted, outcome.status);
    assert_eq!(outcomes.iter().map(status).collect::<Vec<_>>(), [(false, 0), (true, 0x40)]);
    machine.queue(&read(0, 1), Buffer::In(512)).unwrap();
    assert_eq!(machine.answers(1)[0].data_in, block(1));
    let counts = ring.counts();
    assert_eq!((counts.aborted, counts.functions, counts.found), (1, 1, 2));
}

/// The command set hears of a reset when the commands have ended that it names, and of what is behind
/// it after that.
#[test]
fn a_reset_of_the_unit_waits_for_its_commands() {
    let mut machine = quick();
    let _ring = machine.attach_settled();
    let named = machine.queue(&INQUIRY, Buffer::In(36)).unwrap();
    let (_, reply) = machine.script.next_command();
    machine.notify(5, &[named]);
    machine.queue(&INQUIRY, Buffer::In(36)).unwrap();
    assert!(machine.script.wait(|asked| Some(asked.functions.is_empty())));
    reply.send(Completion::default()).unwrap();
    let (_, reply) = machine.script.next_command();
    // By then it has heard of the reset.
    let function = machine.script.wait(|asked| Some(asked.functions.pop()));
    let reset = TaskManagementFunction::LogicalUnitReset;
    assert_eq!(function, Some((machine.nexus(), LUN, reset)));
    assert_eq!(machine.answers(1)[0].identifier, named);
    reply.send(Completion::default()).unwrap();
    machine.answers(1);
}

/// An order from another session: the ring's commands go on, and whoever waits for them does.
#[test]
fn who_ends_the_units_tasks_waits_for_the_rings() {
    let mut machine = quick();
    let _ring = machine.attach_settled();
    machine.queue(&INQUIRY, Buffer::In(36)).unwrap();
    let (_, reply) = machine.script.next_command();
    let (token, ended) = end_token();
    let units = machine.target.numbers(None);
    machine.target.abort_tasks_of_others(NexusId(99), &units, &token);
    drop(token);
    machine.queue(&read(0, 1), Buffer::In(512)).unwrap();
    machine.answers(1);
    let (sender, waited) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        ended.wait();
        sender.send(()).unwrap();
    });
    assert!(waited.try_recv().is_err());
    reply.send(Completion::default()).unwrap();
    waited.recv().unwrap();
    assert_eq!(machine.answers(1)[0].status, 0);
    waiting.join().unwrap();
}

#[test]
fn more_commands_than_can_be_recorded_wait() {
    let mut machine = Machine::new(Kernel::new(ALL, 32 << 10, 8), Driver::Polling);
    let _ring = machine.attach_settled();
    let mut cdb = [0; 16];
    cdb[0] = COMPARE_AND_WRITE;
    for _ in 0..70 {
        machine.queue(&cdb, Buffer::None).unwrap();
    }
    // Behind them, so it waits too.
    machine.queue(&INQUIRY, Buffer::None).unwrap();
    machine.script.wait(|asked| (asked.commands.len() == 64).then_some(()));
    for _ in 0..71 {
        machine.script.next_command().1.send(Completion::default()).unwrap();
    }
    machine.answers(71);
}

#[test]
fn a_transfer_that_is_too_long_is_answered() {
    let kernel = Kernel::with_pages(ALL, 16 << 10, 5, 4 << 20);
    let mut machine = Machine::new(kernel, Driver::Polling);
    let _ring = machine.attach_settled();
    machine.queue(&[0x2A, 0, 0, 0, 0, 0, 0, 0x90, 0, 0], Buffer::Out(vec![1; 18 << 20])).unwrap();
    let (request, reply) = machine.script.next_command();
    assert_eq!(request.data_out.len(), 16 << 20);
    drop(request);
    reply.send(Completion { status: 2, ..Completion::default() }).unwrap();
    assert_eq!(machine.answers(1)[0].status, 2);
}

#[test]
fn a_broken_ring_ends_and_its_commands_end_silently() {
    for driver in drivers() {
        let mut machine = machine(driver);
        let ring = machine.attach_settled();
        machine.queue(&INQUIRY, Buffer::In(36)).unwrap();
        let (_, reply) = machine.script.next_command();
        let tail = machine.kernel.tail();
        let next = machine.kernel.entry(machine.kernel.head());
        machine.kernel.queue(&INQUIRY, Buffer::None).unwrap();
        machine.kernel.put(next, &(8 | OP_CMD).to_ne_bytes());
        machine.ring();
        // It is seen before the first has ended, or the other way round.
        reply.send(Completion::default()).unwrap();
        let EndReason::Broken(RingError::Length { length: 8, .. }) = ring.wait_ended() else {
            panic!("{:?}", ring.end_reason());
        };
        assert!(machine.kernel.tail() <= tail + 128);
        assert_eq!(machine.script.wait(|asked| asked.lost.pop()), machine.nexus());
        assert!(ring.end_reason().unwrap().to_string().contains("broken"));

        machine.kernel.reset();
        let again = machine.attach_settled();
        machine.queue(&read(0, 1), Buffer::In(512)).unwrap();
        assert_eq!(machine.answers(1)[0].status, 0);
        again.stop();
        again.wait_ended();
    }
}

#[test]
fn a_mailbox_that_is_not_ours_ends_the_ring_at_once() {
    let mut machine = quick();
    machine.kernel.put(VERSION_FLAGS, &[9]);
    let ring = machine.attach();
    assert_eq!(ring.wait_ended(), EndReason::Broken(RingError::Version(9)));
    assert!(!ring.is_settled());
}

/// Data-Out that is lent is not written over, whatever the ring says.
#[test]
fn the_same_pages_cannot_be_written_while_they_are_lent() {
    let mut machine = quick();
    let ring = machine.attach_settled();
    // Out of range, so the command set gets it.
    let far = [0x2A, 0, 0xFF, 0, 0, 0, 0, 0, 8, 0];
    machine.queue(&far, Buffer::Out(vec![7; 4096])).unwrap();
    let (request, reply) = machine.script.next_command();
    let first = machine.kernel.entry(0);
    let start: [u8; 8] = machine.kernel.get(first + IOVECS);
    let second = machine.kernel.entry(machine.kernel.head());
    machine.kernel.queue(&read(0, 1), Buffer::In(512)).unwrap();
    machine.kernel.put(second + IOVECS, &start);
    machine.ring();
    let at = u64::from_ne_bytes(start) as usize;
    reply.send(Completion::default()).unwrap();
    assert_eq!(ring.wait_ended(), EndReason::Broken(RingError::Data { at }));
    assert_eq!(request.data_out[..], [7; 4096]);
}

/// A function that waits for commands which have not begun must not keep a ring from stopping.
#[test]
fn a_ring_stops_with_a_reset_under_way() {
    let mut machine = Machine::new(Kernel::new(ALL, 32 << 10, 8), Driver::Polling);
    let ring = machine.attach_settled();
    let mut cdb = [0; 16];
    cdb[0] = COMPARE_AND_WRITE;
    let queued: Vec<_> = (0..66).map(|_| machine.queue(&cdb, Buffer::None).unwrap()).collect();
    machine.script.wait(|asked| (asked.commands.len() == 64).then_some(()));
    machine.notify(5, &queued);
    while ring.counts().functions == 0 {
        std::thread::yield_now();
    }
    ring.stop();
    for _ in 0..64 {
        machine.script.next_command().1.send(Completion::default()).unwrap();
    }
    assert_eq!(ring.wait_ended(), EndReason::Stopped);
    // Those that waited may have been answered before the stop was seen.
    let answered = machine.kernel.take_answers().len();
    assert!(answered >= 64);
    assert_eq!(answered + machine.kernel.outstanding().len(), 66);
}
