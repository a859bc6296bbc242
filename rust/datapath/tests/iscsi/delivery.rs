//! Data-Out that goes wrong: the command ends with the sense data of RFC 7143, 11.4.7.2, and only
//! after the sequences that were announced have ended.

use datapath::transport::iscsi::SessionParameters;
use datapath::transport::iscsi::pdu::NO_TAG;
use datapath::transport::iscsi::pdu::initiator::{self, InitiatorPdu};
use datapath::transport::iscsi::pdu::target::*;
use datapath::transport::iscsi::session::Violation;

use crate::support::*;

const UNEXPECTED_UNSOLICITED: [u8; 2] = [0x0C, 0x0C];
const INCORRECT_AMOUNT: [u8; 2] = [0x0C, 0x0D];
const DIGEST: [u8; 2] = [0x47, 0x05];

#[track_caller]
fn assert_fault(answers: &[Answer], code: [u8; 2]) {
    let TargetPdu::ScsiResponse(pdu) = only(answers) else { panic!("{answers:?}") };
    assert_eq!((pdu.response, pdu.status), (0, 2));
    let sense = &answers[0].2[2..];
    assert_eq!((sense[0], sense[2], &sense[12..14]), (0x70, 0x0B, &code[..]));
}

/// After a fault the session serves the next command.
#[track_caller]
fn assert_goes_on(pair: &mut Pair) {
    assert!(pair.started.is_empty());
    let command = pair.read(512);
    pair.send_command(&command, &[]);
    assert_eq!(pair.complete(data_in(&pattern(512)))[0].2, pattern(512));
    assert_eq!((pair.session.task_count(), pair.session.held_bytes()), (0, 0));
}

#[test]
fn immediate_data_that_was_not_agreed_to() {
    let strict =
        SessionParameters { immediate_data: false, first_burst_bytes: 1024, ..parameters() };
    let mut pair = Pair::new(strict);
    let command = pair.write(512, true);
    assert_fault(&pair.send_command(&command, &pattern(512)), UNEXPECTED_UNSOLICITED);
    assert_goes_on(&mut pair);

    let mut pair = Pair::new(parameters());
    let command = pair.read(512);
    assert_fault(&pair.send_command(&command, &pattern(4)), UNEXPECTED_UNSOLICITED);
    assert_goes_on(&mut pair);
}

#[test]
fn more_immediate_data_than_the_first_burst_or_the_command() {
    let mut pair = Pair::new(SessionParameters { first_burst_bytes: 1024, ..parameters() });
    let command = pair.write(4096, true);
    assert_fault(&pair.send_command(&command, &pattern(1025)), INCORRECT_AMOUNT);
    let command = pair.write(512, true);
    assert_fault(&pair.send_command(&command, &pattern(513)), INCORRECT_AMOUNT);
    assert_goes_on(&mut pair);
}

#[test]
fn unsolicited_data_that_was_not_agreed_to() {
    let mut pair = Pair::new(SessionParameters { initial_r2t: true, ..parameters() });
    for immediate in [0, 100] {
        // It is refused at once: nobody knows whether the sequence that it announces ever comes.
        let command = pair.write(1024, false);
        let answers = pair.send_command(&command, &pattern(immediate));
        assert_fault(&answers, UNEXPECTED_UNSOLICITED);
        assert_eq!(pair.session.task_count(), 0);
        // If it does, it is of no task.
        let late = data_out(command.task_tag, NO_TAG, 0, immediate as u32, true);
        assert!(pair.send(&late, &pattern(512)).is_empty());
        assert_goes_on(&mut pair);
    }
}

#[test]
fn unsolicited_sequences_that_are_out_of_order() {
    // DataSN, offset, length of the one Data-Out, after 100 bytes of immediate data.
    for (data_sn, offset, length) in [(1, 100, 10), (0, 99, 10), (0, 101, 10), (0, 100, 925)] {
        let mut pair = Pair::new(SessionParameters { first_burst_bytes: 1024, ..parameters() });
        let command = pair.write(4096, false);
        pair.send_command(&command, &pattern(100));
        let pdu = data_out(command.task_tag, NO_TAG, data_sn, offset, true);
        assert_fault(&pair.send(&pdu, &pattern(length)), INCORRECT_AMOUNT);
        assert_goes_on(&mut pair);
    }
}

fn solicited() -> (Pair, u32, u32) {
    let mut pair = Pair::new(SessionParameters {
        immediate_data: false,
        initial_r2t: true,
        data_digest: true,
        ..parameters()
    });
    let command = pair.write(1024, true);
    let answers = pair.send_command(&command, &[]);
    let TargetPdu::R2t(r2t) = only(&answers) else { panic!("{answers:?}") };
    (pair, command.task_tag, r2t.transfer_tag)
}

#[test]
fn solicited_sequences_that_are_out_of_order() {
    // DataSN, offset, length.
    for (data_sn, offset, length) in [(1, 0, 1024), (0, 4, 1020), (0, 0, 1025), (0, 0, 1023)] {
        let (mut pair, tag, transfer_tag) = solicited();
        let pdu = data_out(tag, transfer_tag, data_sn, offset, true);
        assert_fault(&pair.send(&pdu, &pattern(length)), INCORRECT_AMOUNT);
        assert_goes_on(&mut pair);
    }
}

#[test]
fn a_fault_waits_for_the_end_of_the_sequence() {
    let (mut pair, tag, transfer_tag) = solicited();
    let wrong = data_out(tag, transfer_tag, 7, 0, false);
    assert!(pair.send(&wrong, &pattern(512)).is_empty());
    let last = data_out(tag, transfer_tag, 8, 512, true);
    assert_fault(&pair.send(&last, &pattern(512)), INCORRECT_AMOUNT);
    assert_goes_on(&mut pair);
}

#[test]
fn data_with_a_tag_that_was_not_given_out_faults_the_command() {
    let (mut pair, tag, transfer_tag) = solicited();
    assert!(pair.send(&data_out(tag, transfer_tag + 1, 0, 0, true), &pattern(512)).is_empty());
    let last = data_out(tag, transfer_tag, 0, 0, true);
    assert_fault(&pair.send(&last, &pattern(1024)), INCORRECT_AMOUNT);
    assert_goes_on(&mut pair);
}

#[test]
fn data_of_no_task_is_discarded() {
    let mut pair = Pair::new(parameters());
    assert!(pair.send(&data_out(9, NO_TAG, 0, 0, true), &pattern(60_000)).is_empty());
    assert_goes_on(&mut pair);
}

#[test]
fn a_data_digest_that_does_not_match_fails_the_command() {
    let (mut pair, tag, transfer_tag) = solicited();
    let bhs = initiator::encode(&data_out(tag, transfer_tag, 0, 0, true));
    let mut bytes = pair.framing.frame(bhs, &[], &pattern(1024));
    bytes[48 + 500] ^= 1;
    pair.try_feed(&bytes).unwrap();
    let answers = pair.answers();
    let rejected = TargetPdu::Reject(Reject { reason: RejectReason::DataDigest });
    assert_eq!((&answers[0].0, answers[0].2.as_slice()), (&rejected, &bytes[..48]));
    assert_fault(&answers[1..], DIGEST);
    assert_goes_on(&mut pair);
}

#[test]
fn a_command_whose_immediate_data_is_damaged_has_not_come() {
    let mut pair = Pair::new(SessionParameters { data_digest: true, ..parameters() });
    let command = pair.write(512, true);
    let pdu = InitiatorPdu::ScsiCommand(command.clone());
    let mut bytes = pair.framing.frame(initiator::encode(&pdu), &[], &pattern(512));
    bytes[60] ^= 0x80;
    pair.try_feed(&bytes).unwrap();
    let answers = pair.answers();
    assert_eq!(only(&answers), &TargetPdu::Reject(Reject { reason: RejectReason::DataDigest }));
    assert_eq!(answers[0].1.exp_cmd_sn, command.cmd_sn);
    // The retry fills the gap.
    pair.send_command(&command, &pattern(512));
    assert_eq!(pair.started[0].1.data_out, pattern(512));
}

#[test]
fn a_header_digest_that_does_not_match_ends_the_connection() {
    let mut pair = Pair::new(SessionParameters { header_digest: true, ..parameters() });
    let command = InitiatorPdu::ScsiCommand(pair.read(512));
    let mut bytes = pair.framing.frame(initiator::encode(&command), &[], &[]);
    bytes[17] ^= 1;
    assert_eq!(pair.try_feed(&bytes), Err(Violation::HeaderDigest));
}

#[test]
fn a_segment_longer_than_declared_ends_the_connection() {
    let mut pair = Pair::new(parameters());
    let command = InitiatorPdu::ScsiCommand(pair.write(512, true));
    let bytes = pair.framing.frame(initiator::encode(&command), &[], &pattern(65_537));
    assert_eq!(pair.try_feed(&bytes[..48]), Err(Violation::SegmentTooLong));
}

#[test]
fn data_out_beyond_the_budget_waits_for_its_r2t() {
    use datapath::limits::{DATA_OUT_BYTES_PER_SESSION_MAX, TRANSFER_BYTES_MAX};
    let mut pair = Pair::new(SessionParameters {
        immediate_data: false,
        initial_r2t: true,
        max_burst_bytes: TRANSFER_BYTES_MAX - 1,
        ..parameters()
    });
    let fitting = DATA_OUT_BYTES_PER_SESSION_MAX / u64::from(TRANSFER_BYTES_MAX);
    for index in 0..fitting {
        let command = pair.write(TRANSFER_BYTES_MAX, true);
        let answers = pair.send_command(&command, &[]);
        assert!(matches!(only(&answers), TargetPdu::R2t(_)), "{index}");
    }
    let late = pair.write(512, true);
    assert!(pair.send_command(&late, &[]).is_empty());
    // The first command is given up: its room goes to the one that waits.
    let tag = late.task_tag - fitting as u32;
    let answers = pair
        .function(datapath::scsi::slow_path::TaskManagementFunction::AbortTask, |request| {
            request.referenced_task_tag = tag
        });
    let TargetPdu::R2t(r2t) = only(&answers) else { panic!("{answers:?}") };
    assert_eq!(r2t.task_tag, late.task_tag);
}
