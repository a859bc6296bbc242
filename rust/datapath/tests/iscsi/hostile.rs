//! Whatever a peer sends, the session neither panics nor holds more than its limits.

use proptest::prelude::*;

use datapath::limits::*;
use datapath::scsi::lun::usual_form;
use datapath::scsi::{Completion, TaskAttribute};
use datapath::transport::iscsi::SessionParameters;
use datapath::transport::iscsi::pdu::initiator::{self, *};
use datapath::transport::iscsi::pdu::{NO_TAG, ahs, target};

use crate::support::*;

/// The most that a session may hold at any time: both budgets, the unsolicited data of a window, and
/// answers (the last batch of commands may go past the mark at which reading stops).
const HELD_BYTES_MAX: u64 = DATA_OUT_BYTES_PER_SESSION_MAX
    + DATA_IN_BYTES_PER_SESSION_MAX
    + FIRST_BURST_BYTES_MAX as u64 * (COMMAND_WINDOW + IMMEDIATE_COMMANDS_MAX) as u64
    + 2 * OUTBOX_BYTES_MAX as u64;

fn check(pair: &Pair) {
    assert!(pair.session.held_bytes() <= HELD_BYTES_MAX);
    assert!(pair.session.queued_count() <= pair.session.task_count());
    assert!(pair.session.task_count() <= (COMMAND_WINDOW * 2 + IMMEDIATE_COMMANDS_MAX) as usize);
}

#[derive(Clone, Debug)]
enum Move {
    Pdu(InitiatorPdu, usize),
    Ahs(InitiatorPdu, Vec<u8>),
    Flip(InitiatorPdu, usize),
    Complete(usize, u8),
    Abort,
    Tick(u64),
}

fn tag() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..6, Just(NO_TAG), any::<u32>()]
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 95u32..140, 1 => any::<u32>()]
}

fn pdu() -> impl Strategy<Value = InitiatorPdu> {
    let length = prop_oneof![Just(0u32), 1u32..5000, 60_000u32..70_000, any::<u32>()];
    let attribute = prop::sample::select(vec![
        TaskAttribute::Simple,
        TaskAttribute::Simple,
        TaskAttribute::Ordered,
        TaskAttribute::HeadOfQueue,
    ]);
    let command = (any::<[bool; 4]>(), tag(), length, number(), 0u64..2, attribute).prop_map(
        |(flags, task_tag, expected_bytes, cmd_sn, lun, attribute)| {
            let [immediate, last, read, write] = flags;
            InitiatorPdu::ScsiCommand(ScsiCommand {
                immediate,
                last,
                read,
                write,
                attribute,
                lun,
                task_tag,
                expected_bytes,
                cmd_sn,
                exp_stat_sn: 0,
                cdb: [if write { 0 } else { 0x28 }; 16],
            })
        },
    );
    let offset = prop_oneof![0u32..3, 0u32..5000, any::<u32>()];
    let data_out = (tag(), tag(), 0u32..3, offset, any::<bool>()).prop_map(
        |(task, transfer, data_sn, offset, last)| data_out(task, transfer, data_sn, offset, last),
    );
    let other = (0usize..5, any::<bool>(), tag(), tag(), number(), 1u8..13).prop_map(
        |(kind, immediate, task_tag, other_tag, cmd_sn, code)| {
            let has_tag = kind == 0 || task_tag != NO_TAG;
            let task_tag = if has_tag { task_tag } else { 0 };
            let mut bhs = initiator::encode(&InitiatorPdu::NopOut(NopOut {
                immediate,
                lun: 0,
                task_tag,
                transfer_tag: other_tag,
                cmd_sn,
                exp_stat_sn: 0,
            }));
            bhs[0] = (bhs[0] & 0x40) | [0x00, 0x02, 0x04, 0x10, 0x02][kind];
            bhs[1] = 0x80 | if kind == 1 || kind == 4 { code } else { 0 };
            initiator::decode(&bhs).unwrap()
        },
    );
    prop_oneof![4 => command, 4 => data_out, 1 => other]
}

/// Every LUN that a command of `pdu` can have, a bit of it flipped or not.
fn luns() -> Vec<u64> {
    let flips = std::iter::once(0).chain((0..64).map(|bit| 1 << bit));
    flips.flat_map(|flip| [flip, 1 ^ flip].map(usual_form)).collect()
}

fn moves() -> impl Strategy<Value = Move> {
    let length = prop_oneof![Just(0usize), 1usize..3000, 20_000usize..65_536];
    prop_oneof![
        8 => (pdu(), length).prop_map(|(pdu, length)| Move::Pdu(pdu, length)),
        1 => (pdu(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(pdu, mut bytes)| {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            Move::Ahs(pdu, bytes)
        }),
        1 => (pdu(), 0usize..48 * 8).prop_map(|(pdu, bit)| Move::Flip(pdu, bit)),
        4 => (0usize..4, any::<u8>()).prop_map(|(index, status)| Move::Complete(index, status)),
        1 => Just(Move::Abort),
        1 => (0u64..20).prop_map(Move::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_pdus(
        moves in prop::collection::vec(moves(), 1..120),
        strict in any::<bool>(),
        digest in any::<bool>(),
    ) {
        let mut pair = Pair::new(SessionParameters {
            initial_r2t: strict,
            immediate_data: !strict,
            data_digest: digest,
            first_burst_bytes: 4096,
            max_outstanding_r2t: 2,
            protocol_level: 2,
            ..parameters()
        });
        let data = pattern(65_536);
        let mut now_s = 0;
        for next in moves {
            let (pdu, ahs, length, flip) = match next {
                Move::Pdu(pdu, length) => (pdu, Vec::new(), length, None),
                Move::Ahs(pdu, ahs) => (pdu, ahs, 0, None),
                Move::Flip(pdu, bit) => (pdu, Vec::new(), 0, Some(bit)),
                Move::Complete(index, status) => {
                    if let Some((tag, request)) = pair.started.remove(index) {
                        let completion = Completion {
                            status: status & 2,
                            data_in: bytes::BytesMut::zeroed(
                                request.expected.data_in_room_bytes().min(9000) as usize,
                            ),
                            ..Completion::default()
                        };
                        pair.session.handle_completion(tag, Some(completion));
                        pair.collect();
                    }
                    continue;
                }
                Move::Abort => {
                    let (token, _ended) = datapath::scsi::nexus::end_token();
                    pair.session.abort_tasks(&[0], None, &token);
                    continue;
                }
                Move::Tick(seconds) => {
                    now_s += seconds;
                    if pair.session.handle_tick(now_s).is_err() {
                        break;
                    }
                    continue;
                }
            };
            let mut bytes = pair.framing.frame(initiator::encode(&pdu), &ahs, &data[..length]);
            if let Some(bit) = flip {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            if pair.try_feed(&bytes).is_err() {
                break;
            }
            check(&pair);
            pair.answers();
        }
        // Whatever was started ends, and then nothing is held for it.
        let (token, _ended) = datapath::scsi::nexus::end_token();
        pair.session.abort_tasks(&luns(), None, &token);
        while let Some((tag, _)) = pair.started.pop_front() {
            pair.session.handle_completion(tag, None);
        }
        pair.answers();
        prop_assert_eq!((pair.session.task_count(), pair.session.held_bytes()), (0, 0));
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        let mut pair = Pair::new(parameters());
        let _ = pair.try_feed(&bytes);
        check(&pair);
        let _ = ahs::decode(&bytes);
        if let Some(bhs) = bytes.first_chunk() {
            let _ = initiator::decode(bhs);
            let _ = target::decode(bhs);
        }
    }

    #[test]
    fn any_cdb(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        if let Some(command) = datapath::scsi::cdb::decode(&bytes) {
            prop_assert!(command.blocks > 0);
        }
    }
}

#[test]
fn a_peer_that_does_not_read_its_answers_is_not_read_from() {
    let mut pair = Pair::new(SessionParameters { max_send_segment_bytes: 65_536, ..parameters() });
    let ping = InitiatorPdu::NopOut(NopOut {
        immediate: true,
        lun: 0,
        task_tag: 1,
        transfer_tag: NO_TAG,
        cmd_sn: 100,
        exp_stat_sn: 0,
    });
    let bytes = pair.framing.frame(initiator::encode(&ping), &[], &pattern(65_536));
    let mut pings = 0;
    while pair.session.wants_input() {
        pair.try_feed(&bytes).unwrap();
        pings += 1;
    }
    assert_eq!(pings, OUTBOX_BYTES_MAX.div_ceil(65_536 + 48));
    let command = pair.read(512);
    pair.try_feed(&pair.framing.frame(
        initiator::encode(&InitiatorPdu::ScsiCommand(command)),
        &[],
        &[],
    ))
    .unwrap();
    assert!(pair.started.is_empty(), "no command is started for it");
    pair.answers();
    pair.collect();
    assert_eq!(pair.started.len(), 1);
}

#[test]
fn reads_beyond_the_budget_wait_to_be_started() {
    let mut pair = Pair::new(parameters());
    let fitting = DATA_IN_BYTES_PER_SESSION_MAX / u64::from(TRANSFER_BYTES_MAX);
    for _ in 0..=fitting {
        let command = pair.read(TRANSFER_BYTES_MAX);
        pair.send_command(&command, &[]);
    }
    assert_eq!(pair.started.len() as u64, fitting);
    pair.complete(data_in(&[1; 512]));
    assert_eq!(pair.started.len() as u64, fitting);
}

#[test]
fn commands_given_up_leave_nothing_in_the_queues() {
    let mut pair = Pair::new(SessionParameters { immediate_data: false, ..parameters() });
    for _ in 0..2 {
        let command = pair.read(TRANSFER_BYTES_MAX);
        pair.send_command(&command, &[]);
        let command = pair.write(TRANSFER_BYTES_MAX, true);
        pair.send_command(&command, &[]);
    }
    for round in 0..1000 {
        let command = if round % 2 == 0 { pair.read(512) } else { pair.write(512, true) };
        assert!(pair.send_command(&command, &[]).is_empty());
        assert_eq!((pair.session.queued_count(), pair.session.task_count()), (1, 5));
        pair.function(datapath::scsi::slow_path::TaskManagementFunction::AbortTask, |request| {
            request.referenced_task_tag = command.task_tag;
        });
        let function = pair.functions.pop_front().unwrap();
        pair.session.handle_task_management(function.task_tag, true, Some(0.into()));
        pair.answers();
        assert_eq!((pair.session.queued_count(), pair.session.task_count()), (0, 4));
    }
}
