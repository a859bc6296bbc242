//! Commands whose delivery is in order: numbering, Data-In, Data-Out, residuals.

use bytes::Bytes;

use datapath::limits::{COMMAND_WINDOW, IMMEDIATE_COMMANDS_MAX, TRANSFER_BYTES_MAX};
use datapath::scsi::{Cdb, Completion, ExpectedDirection};
use datapath::transport::iscsi::SessionParameters;
use datapath::transport::iscsi::pdu::initiator::{self, InitiatorPdu, ScsiCommand};
use datapath::transport::iscsi::pdu::target::*;
use datapath::transport::iscsi::pdu::{NO_TAG, ahs};

use crate::support::*;

#[test]
fn a_read_ends_with_its_status_in_the_last_data_in() {
    for digests in [false, true] {
        let mut pair = Pair::new(SessionParameters {
            header_digest: digests,
            data_digest: digests,
            max_send_segment_bytes: 512,
            max_burst_bytes: 1024,
            ..parameters()
        });
        let command = pair.read(1400);
        assert!(pair.send_command(&command, &[]).is_empty());
        assert_eq!(pair.started[0].1.expected.data_in_room_bytes(), 1400);
        let bytes = pattern(1400);
        let answers = pair.complete(data_in(&bytes));
        let wanted: Vec<TargetPdu> = [(0, 0, false), (1, 512, true), (2, 1024, true)]
            .map(|(data_sn, offset_bytes, last)| {
                TargetPdu::DataIn(DataIn {
                    last,
                    status: (data_sn == 2).then_some(0),
                    task_tag: command.task_tag,
                    data_sn,
                    offset_bytes,
                    residual: Residual::None,
                })
            })
            .into();
        assert_eq!(answers.iter().map(|answer| answer.0.clone()).collect::<Vec<_>>(), wanted);
        assert_eq!(answers.iter().flat_map(|answer| answer.2.clone()).collect::<Vec<_>>(), bytes);
        let TargetNumbers { stat_sn, exp_cmd_sn, max_cmd_sn } = answers[2].1;
        assert_eq!((stat_sn, exp_cmd_sn), (7, 101));
        assert_eq!(max_cmd_sn, 101 + COMMAND_WINDOW - 1);
    }
}

#[test]
fn residuals() {
    // Expected length, what the command brings or takes, what the answer says.
    let table = [
        (512, 512, Residual::None),
        (1024, 512, Residual::Underflow(512)),
        (512, 1024, Residual::Overflow(512)),
        (512, 0, Residual::Underflow(512)),
        (0, 512, Residual::Overflow(512)),
    ];
    for (expected, moved, residual) in table {
        let mut pair = Pair::new(parameters());
        let command = pair.read(expected);
        pair.send_command(&command, &[]);
        let answers = pair.complete(data_in(&pattern(moved)));
        match only(&answers) {
            TargetPdu::DataIn(pdu) => assert_eq!(pdu.residual, residual),
            TargetPdu::ScsiResponse(pdu) => assert_eq!(pdu.residual, residual),
            pdu => panic!("{pdu:?}"),
        }
        assert_eq!(answers[0].2, pattern(moved.min(expected as usize)));

        let command = pair.write(expected, true);
        pair.send_command(&command, &pattern(expected as usize));
        assert_eq!(pair.started[0].1.data_out, pattern(expected as usize));
        let answers = pair.complete(wrote(moved as u64));
        let TargetPdu::ScsiResponse(pdu) = only(&answers) else { panic!("{answers:?}") };
        assert_eq!(pdu.residual, residual);
    }
}

#[test]
fn a_check_condition_carries_its_sense_data() {
    let mut pair = Pair::new(parameters());
    let command = pair.read(512);
    pair.send_command(&command, &[]);
    let sense = Bytes::from_static(&[0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0]);
    let completion = Completion { status: 2, sense: sense.clone(), ..Completion::default() };
    let answers = pair.complete(completion);
    let wanted = TargetPdu::ScsiResponse(ScsiResponse {
        response: 0,
        status: 2,
        task_tag: command.task_tag,
        exp_data_sn: 0,
        residual: Residual::Underflow(512),
    });
    assert_eq!(only(&answers), &wanted);
    assert_eq!(answers[0].2, [&[0, 18], &sense[..]].concat());
}

#[test]
fn a_command_set_that_fails_is_a_target_failure() {
    let mut pair = Pair::new(parameters());
    let command = pair.read(512);
    pair.send_command(&command, &[]);
    pair.session.handle_completion(command.task_tag, None);
    let answers = pair.answers();
    let TargetPdu::ScsiResponse(pdu) = only(&answers) else { panic!("{answers:?}") };
    assert_eq!(pdu.response, 1);
}

#[test]
fn write_data_comes_immediate_then_unsolicited_then_solicited() {
    for (bytewise, digests) in [(false, false), (false, true), (true, true)] {
        let mut pair = Pair::new(SessionParameters {
            first_burst_bytes: 1024,
            max_burst_bytes: 1536,
            max_outstanding_r2t: 1,
            header_digest: digests,
            data_digest: digests,
            ..parameters()
        });
        pair.bytewise = bytewise;
        let bytes = pattern(4001);
        let command = pair.write(4001, false);
        let tag = command.task_tag;
        assert!(pair.send_command(&command, &bytes[..300]).is_empty());
        let unsolicited = |sn, at, last| data_out(tag, NO_TAG, sn, at, last);
        assert!(pair.send(&unsolicited(0, 300, false), &bytes[300..400]).is_empty());
        let answers = pair.send(&unsolicited(1, 400, true), &bytes[400..1024]);
        let mut r2t = r2t_of(only(&answers));
        let mut sequences = vec![(r2t.r2t_sn, r2t.offset_bytes, r2t.length_bytes)];
        loop {
            let (start, end) = (r2t.offset_bytes, r2t.offset_bytes + r2t.length_bytes);
            let middle = start + 100;
            let first = data_out(tag, r2t.transfer_tag, 0, start, false);
            assert!(pair.send(&first, &bytes[start as usize..middle as usize]).is_empty());
            let second = data_out(tag, r2t.transfer_tag, 1, middle, true);
            let answers = pair.send(&second, &bytes[middle as usize..end as usize]);
            if answers.is_empty() {
                break;
            }
            r2t = r2t_of(only(&answers));
            sequences.push((r2t.r2t_sn, r2t.offset_bytes, r2t.length_bytes));
        }
        assert_eq!(sequences, [(0, 1024, 1536), (1, 2560, 1441)]);
        assert_eq!(pair.started[0].1.data_out, bytes);
        let answers = pair.complete(wrote(4001));
        let TargetPdu::ScsiResponse(pdu) = only(&answers) else { panic!("{answers:?}") };
        assert_eq!((pdu.exp_data_sn, pdu.residual), (2, Residual::None));
        assert_eq!(pair.session.held_bytes(), 0);
    }
}

fn r2t_of(pdu: &TargetPdu) -> R2t {
    let TargetPdu::R2t(r2t) = pdu else { panic!("{pdu:?}") };
    r2t.clone()
}

#[test]
fn several_r2ts_are_outstanding_where_that_was_agreed() {
    let mut pair = Pair::new(SessionParameters {
        max_burst_bytes: 512,
        first_burst_bytes: 512,
        max_outstanding_r2t: 3,
        initial_r2t: true,
        immediate_data: false,
        ..parameters()
    });
    let bytes = pattern(2048);
    let command = pair.write(2048, true);
    let mut waiting: Vec<R2t> =
        pair.send_command(&command, &[]).iter().map(|answer| r2t_of(&answer.0)).collect();
    assert_eq!(waiting.len(), 3);
    while !waiting.is_empty() {
        let r2t = waiting.remove(0);
        let (start, end) =
            (r2t.offset_bytes as usize, (r2t.offset_bytes + r2t.length_bytes) as usize);
        let pdu = data_out(command.task_tag, r2t.transfer_tag, 0, r2t.offset_bytes, true);
        let answers = pair.send(&pdu, &bytes[start..end]);
        waiting.extend(answers.iter().map(|answer| r2t_of(&answer.0)));
    }
    assert_eq!(pair.started[0].1.data_out, bytes);
}

#[test]
fn long_segments_go_straight_to_their_buffers() {
    for digests in [false, true] {
        let mut pair = Pair::new(SessionParameters {
            max_receive_segment_bytes: 1 << 20,
            first_burst_bytes: 262_144,
            data_digest: digests,
            ..parameters()
        });
        let bytes = pattern(400_001);
        let command = pair.write(400_001, true);
        let pdu = InitiatorPdu::ScsiCommand(command.clone());
        let stream = pair.framing.frame(initiator::encode(&pdu), &[], &bytes[..200_002]);
        for part in stream.chunks(60_000) {
            pair.try_feed(part).unwrap();
        }
        let r2t = r2t_of(only(&pair.answers()));
        assert_eq!((r2t.offset_bytes, r2t.length_bytes), (200_002, 199_999));
        let pdu = data_out(command.task_tag, r2t.transfer_tag, 0, 200_002, true);
        let stream = pair.framing.frame(initiator::encode(&pdu), &[], &bytes[200_002..]);
        pair.try_feed(&stream[..100]).unwrap();
        assert!(pair.session.direct_buffer().is_some());
        for part in stream[100..].chunks(50_000) {
            pair.try_feed(part).unwrap();
        }
        assert_eq!(pair.started[0].1.data_out, bytes);
    }
}

/// WRITE (16) at LBA 0.
fn write_16(pair: &mut Pair, blocks: u32, expected_bytes: u32) -> ScsiCommand {
    pair.command(|command| {
        (command.write, command.expected_bytes) = (true, expected_bytes);
        command.cdb[0] = 0x8A;
        command.cdb[10..14].copy_from_slice(&blocks.to_be_bytes());
    })
}

/// Answers every R2T; how much they asked for.
fn answer_r2ts(pair: &mut Pair, command: &ScsiCommand, mut answers: Vec<Answer>) -> u32 {
    let mut solicited = 0;
    while !answers.is_empty() {
        let r2t = r2t_of(only(&answers));
        solicited += r2t.length_bytes;
        let mut at = 0;
        while at < r2t.length_bytes {
            let length = (r2t.length_bytes - at).min(65_536);
            let (offset, last) = (r2t.offset_bytes + at, at + length == r2t.length_bytes);
            let pdu = data_out(command.task_tag, r2t.transfer_tag, at / 65_536, offset, last);
            answers = pair.send(&pdu, &pattern(length as usize));
            at += length;
        }
    }
    solicited
}

#[test]
fn what_the_cdb_asks_for_is_solicited_within_what_is_expected() {
    use Residual::{None, Overflow, Underflow};
    const MOST: u32 = TRANSFER_BYTES_MAX;
    const OVER: u32 = MOST / 512 + 1;
    // Expected length, blocks of the WRITE, immediate data; what is solicited, and the residual.
    let table = [
        (0, 8, 0, 0, Overflow(4096)),
        (512, 8, 0, 512, Overflow(3584)),
        (512, 8, 512, 0, Overflow(3584)),
        (4096, 8, 0, 4096, None),
        (8192, 8, 0, 4096, Underflow(4096)),
        (8192, 8, 8192, 0, Underflow(4096)),
        (MOST + 1, 8, 0, 4096, Underflow(MOST + 1 - 4096)),
        (u32::MAX, 8, 0, 4096, Underflow(u32::MAX - 4096)),
        (u32::MAX, 8, 512, 3584, Underflow(u32::MAX - 4096)),
        (u32::MAX, 8, 5000, 0, Underflow(u32::MAX - 4096)),
        (u32::MAX, 0, 0, 0, Underflow(u32::MAX)),
        (MOST, MOST / 512, 1000, MOST - 1000, None),
        // More than a command may transfer is not asked for: the command set refuses it.
        (MOST + 512, OVER, 0, 0, Underflow(MOST + 512)),
        (MOST + 512, OVER, 1000, 0, Underflow(MOST - 488)),
        (512, OVER, 512, 0, Overflow(MOST)),
    ];
    for (expected, blocks, immediate, solicited, residual) in table {
        let mut pair = Pair::new(SessionParameters { max_burst_bytes: 1 << 20, ..parameters() });
        let command = write_16(&mut pair, blocks, expected);
        let answers = pair.send_command(&command, &pattern(immediate as usize));
        let case = (expected, blocks, immediate);
        assert_eq!(answer_r2ts(&mut pair, &command, answers), solicited, "{case:?}");
        let (_, request) = &pair.started[0];
        assert_eq!(request.data_out.len(), (immediate + solicited) as usize, "{case:?}");
        assert!(pair.session.held_bytes() <= u64::from(MOST));
        let answers = pair.complete(wrote(u64::from(blocks) * 512));
        let TargetPdu::ScsiResponse(pdu) = only(&answers) else { panic!("{answers:?}") };
        assert_eq!(pdu.residual, residual, "{case:?}");
        assert_eq!(pair.session.held_bytes(), 0);
    }
}

#[test]
fn a_command_without_data_out_is_not_asked_for_any() {
    for code in [0x28, 0x35] {
        let mut pair = Pair::new(parameters());
        let command = pair.command(|command| {
            (command.write, command.expected_bytes) = (true, u32::MAX);
            (command.cdb[0], command.cdb[8]) = (code, 1);
        });
        assert!(pair.send_command(&command, &[]).is_empty());
        assert_eq!(pair.started[0].1.expected.data_in_room_bytes(), 0);
        let answers = pair.complete(good());
        let TargetPdu::ScsiResponse(pdu) = only(&answers) else { panic!("{answers:?}") };
        assert_eq!(pdu.residual, Residual::Underflow(u32::MAX));
    }
}

#[test]
fn commands_out_of_order_wait_for_their_turn() {
    let mut pair = Pair::new(parameters());
    let bytes = pattern(512);
    let first = pair.command(|_| ());
    let second = pair.write(512, false);
    let third = pair.command(|_| ());
    pair.send_command(&third, &[]);
    pair.send_command(&second, &[]);
    // Its data may come before its turn.
    pair.send(&data_out(second.task_tag, NO_TAG, 0, 0, true), &bytes);
    assert!(pair.started.is_empty());
    pair.send_command(&first, &[]);
    let order: Vec<u32> = pair.started.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(order, [first.task_tag, second.task_tag, third.task_tag]);
    assert_eq!(pair.started[1].1.data_out, bytes);
}

#[test]
fn commands_outside_the_window_are_ignored() {
    let mut pair = Pair::new(parameters());
    for cmd_sn in [99, 100 + COMMAND_WINDOW, 100 + (1 << 31)] {
        let command = pair.command(|command| command.cmd_sn = cmd_sn);
        assert!(pair.send_command(&command, &[]).is_empty());
    }
    assert!(pair.started.is_empty());
    assert_eq!(pair.session.task_count(), 0);
    let command = pair.command(|_| ());
    pair.send_command(&command, &[]);
    let again = pair.command(|again| (again.cmd_sn, again.task_tag) = (command.cmd_sn, 5));
    assert!(pair.send_command(&again, &[]).is_empty());
    assert_eq!(pair.started.len(), 1);
}

#[test]
fn the_window_closes_while_commands_run() {
    let mut pair = Pair::new(parameters());
    for _ in 0..COMMAND_WINDOW {
        let command = pair.command(|_| ());
        pair.send_command(&command, &[]);
    }
    let over = pair.command(|_| ());
    pair.send_command(&over, &[]);
    assert_eq!(pair.started.len() as u32, COMMAND_WINDOW);
    let answers = pair.complete(good());
    let numbers = answers[0].1;
    assert_eq!((numbers.exp_cmd_sn, numbers.max_cmd_sn), (over.cmd_sn, over.cmd_sn));
    pair.send_command(&over, &[]);
    assert_eq!(pair.started.len() as u32, COMMAND_WINDOW);
}

#[test]
fn immediate_commands_have_a_limit_of_their_own() {
    let mut pair = Pair::new(parameters());
    for tag in 0..=IMMEDIATE_COMMANDS_MAX {
        let command = pair.command(|command| (command.immediate, command.task_tag) = (true, tag));
        let answers = pair.send_command(&command, &[]);
        let rejected = TargetPdu::Reject(Reject { reason: RejectReason::TooManyImmediate });
        match tag == IMMEDIATE_COMMANDS_MAX {
            true => assert_eq!(only(&answers), &rejected),
            false => assert!(answers.is_empty()),
        }
    }
    let answers = pair.complete(good());
    assert_eq!(answers[0].1.exp_cmd_sn, 100);
}

#[test]
fn a_long_cdb_is_put_together() {
    let mut pair = Pair::new(parameters());
    let command = pair.command(|command| command.cdb[0] = 0x7F);
    let headers =
        ahs::AdditionalHeaders { extended_cdb: (16..32).collect(), bidirectional_read_bytes: None };
    let bhs = initiator::encode(&InitiatorPdu::ScsiCommand(command.clone()));
    let bytes = pair.framing.frame(bhs, &ahs::encode(&headers), &[]);
    pair.try_feed(&bytes).unwrap();
    let wanted = [&command.cdb[..], &(16..32).collect::<Vec<u8>>()].concat();
    assert_eq!(pair.started[0].1.cdb, Cdb::Long(wanted.into()));
}

#[test]
fn a_bidirectional_command_is_refused_and_the_session_goes_on() {
    let mut pair = Pair::new(parameters());
    let command = pair.command(|command| (command.read, command.write) = (true, true));
    let bhs = initiator::encode(&InitiatorPdu::ScsiCommand(command));
    let headers =
        ahs::AdditionalHeaders { extended_cdb: Vec::new(), bidirectional_read_bytes: Some(512) };
    let bytes = pair.framing.frame(bhs, &ahs::encode(&headers), &[]);
    pair.try_feed(&bytes).unwrap();
    let answers = pair.answers();
    let refused = TargetPdu::Reject(Reject { reason: RejectReason::InvalidField });
    assert_eq!(only(&answers), &refused);
    assert_eq!((answers[0].1.exp_cmd_sn, answers[0].2.as_slice()), (101, &bytes[..48]));
    let command = pair.command(|_| ());
    pair.send_command(&command, &[]);
    assert_eq!(pair.started.len(), 1);
}

/// RFC 7143, 11.3.1: where one of the two lengths is zero. The length is that of the Data-Out.
#[test]
fn both_bits_may_be_set() {
    for expected in [0, 512] {
        let mut pair = Pair::new(parameters());
        let command = pair.command(|command| {
            (command.read, command.write, command.expected_bytes) = (true, true, expected);
        });
        pair.send_command(&command, &pattern(expected as usize));
        let request = &pair.started[0].1;
        assert_eq!((request.data_out.len(), request.expected.bytes), (expected as usize, expected));
        assert_eq!(request.expected.direction, ExpectedDirection::Out);
    }
}

#[test]
fn the_tag_that_is_none_is_no_command_s() {
    let mut pair = Pair::new(parameters());
    let command = pair.command(|command| command.task_tag = NO_TAG);
    let answers = pair.send_command(&command, &[]);
    let refused = TargetPdu::Reject(Reject { reason: RejectReason::InvalidField });
    assert_eq!((only(&answers), answers[0].1.exp_cmd_sn), (&refused, command.cmd_sn + 1));
    assert!(pair.started.is_empty());
}
