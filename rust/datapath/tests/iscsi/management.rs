//! Task management, orders, logout, NOP, text.

use bytes::Bytes;
use futures_util::FutureExt;

use datapath::limits::{PEER_GONE_AFTER_S, PING_AFTER_S, TEXT_BYTES_MAX};
use datapath::scsi::nexus::end_token;
use datapath::scsi::slow_path::TaskManagementFunction::*;
use datapath::transport::iscsi::pdu::NO_TAG;
use datapath::transport::iscsi::pdu::initiator::{self, *};
use datapath::transport::iscsi::pdu::target::*;
use datapath::transport::iscsi::session::Violation;
use datapath::transport::iscsi::{SessionParameters, TextAnswer};

use crate::support::*;

fn function_response(response: u8) -> TargetPdu {
    TargetPdu::TaskManagement(TaskManagementResponse { answer: response.into(), task_tag: 0xF000 })
}

/// Finishes the oldest function, whose tasks must have ended.
fn finish(pair: &mut Pair, response: u8) -> Vec<Answer> {
    let mut function = pair.functions.pop_front().unwrap();
    drop(function.of_units.take());
    assert!((&mut function.ended).now_or_never().is_some(), "a task has not ended");
    pair.session.handle_task_management(
        function.task_tag,
        function.immediate,
        Some(response.into()),
    );
    pair.answers()
}

fn reject(reason: RejectReason) -> TargetPdu {
    TargetPdu::Reject(Reject { reason })
}

#[test]
fn abort_task_waits_for_a_running_command_and_drops_its_status() {
    let mut pair = Pair::new(parameters());
    let command = pair.read(512);
    pair.send_command(&command, &[]);
    let answers = pair.function(AbortTask, |request| {
        request.referenced_task_tag = command.task_tag;
    });
    assert!(answers.is_empty());
    assert!((&mut pair.functions[0].ended).now_or_never().is_none());
    // Its tag is still taken.
    let again = pair.command(|again| again.task_tag = command.task_tag);
    assert_eq!(only(&pair.send_command(&again, &[])), &reject(RejectReason::TaskInProgress));
    assert!(pair.complete(data_in(&pattern(512))).is_empty());
    assert_eq!(only(&finish(&mut pair, 0)), &function_response(0));
    assert_eq!(pair.session.held_bytes(), 0);
}

#[test]
fn abort_task_drops_a_command_that_waits_for_data_at_once() {
    let mut pair = Pair::new(parameters());
    let command = pair.write(100_000, true);
    assert!(matches!(only(&pair.send_command(&command, &[])), TargetPdu::R2t(_)));
    pair.function(AbortTask, |request| request.referenced_task_tag = command.task_tag);
    assert_eq!(only(&finish(&mut pair, 0)), &function_response(0));
    // What was under way for it is discarded, even in the middle of a segment.
    assert!(pair.send(&data_out(command.task_tag, 0, 0, 0, true), &pattern(60_000)).is_empty());
    assert_eq!((pair.session.task_count(), pair.session.held_bytes()), (0, 0));
}

#[test]
fn a_command_aborted_while_its_data_is_coming_in() {
    let mut pair = Pair::new(parameters());
    let command = pair.write(60_000, true);
    let answers = pair.send_command(&command, &[]);
    let TargetPdu::R2t(r2t) = only(&answers) else { panic!("{answers:?}") };
    let pdu = data_out(command.task_tag, r2t.transfer_tag, 0, 0, true);
    let bytes = pair.framing.frame(initiator::encode(&pdu), &[], &pattern(60_000));
    pair.try_feed(&bytes[..30_000]).unwrap();
    let (token, ended) = end_token();
    pair.session.abort_tasks(&[0], None, &token);
    drop(token);
    assert!(ended.now_or_never().is_some());
    pair.try_feed(&bytes[30_000..]).unwrap();
    assert!(pair.answers().is_empty() && pair.started.is_empty());
    let command = pair.read(512);
    pair.send_command(&command, &[]);
    assert_eq!(pair.started.len(), 1);
}

#[test]
fn abort_task_of_no_task() {
    let mut pair = Pair::new(parameters());
    let answers = pair.function(AbortTask, |request| request.referenced_cmd_sn = 99);
    assert_eq!(only(&answers), &function_response(1));
    // A task at another logical unit is not meant.
    let command = pair.read(512);
    pair.send_command(&command, &[]);
    let answers = pair.function(AbortTask, |request| {
        (request.referenced_task_tag, request.lun) = (command.task_tag, 1 << 48);
        request.referenced_cmd_sn = command.cmd_sn;
    });
    assert_eq!(only(&answers), &function_response(1));
}

#[test]
fn abort_task_of_a_command_that_has_not_come_fills_its_place() {
    let mut pair = Pair::new(parameters());
    let missing = pair.command(|_| ());
    let next = pair.command(|_| ());
    pair.send_command(&next, &[]);
    assert!(pair.started.is_empty());
    pair.function(AbortTask, |request| {
        request.referenced_task_tag = missing.task_tag;
        request.referenced_cmd_sn = missing.cmd_sn;
    });
    assert_eq!(pair.started[0].0, next.task_tag);
    assert_eq!(only(&finish(&mut pair, 0)), &function_response(0));
    assert!(pair.send_command(&missing, &[]).is_empty());
    assert_eq!(pair.started.len(), 1);
}

#[test]
fn a_function_that_is_not_known_is_not_supported() {
    let mut pair = Pair::new(parameters());
    let mut bhs = [0; 48];
    (bhs[0], bhs[1]) = (0x02, 0x80 | 13);
    bhs[18] = 0xF0;
    bhs[27] = 100;
    pair.try_feed(&bhs).unwrap();
    let answers = pair.answers();
    assert_eq!(only(&answers), &function_response(5));
    assert_eq!(answers[0].1.exp_cmd_sn, 101);
}

#[test]
fn a_command_set_that_fails_rejects_the_function() {
    let mut pair = Pair::new(parameters());
    pair.function(LogicalUnitReset, |_| ());
    let function = pair.functions.pop_front().unwrap();
    pair.session.handle_task_management(function.task_tag, function.immediate, None);
    assert_eq!(only(&pair.answers()), &function_response(255));
}

#[test]
fn orders_from_another_session_end_tasks() {
    let mut pair = Pair::new(parameters());
    let command = pair.read(512);
    pair.send_command(&command, &[]);
    let (token, mut ended) = end_token();
    pair.session.abort_tasks(&[0], None, &token);
    drop(token);
    assert!((&mut ended).now_or_never().is_none());
    assert!(pair.complete(good()).is_empty());
    assert!(ended.now_or_never().is_some());
}

fn logout(pair: &mut Pair, reason: u8, connection_id: u16) -> Vec<Answer> {
    let request = LogoutRequest {
        immediate: false,
        reason,
        task_tag: 0xE000,
        connection_id,
        cmd_sn: pair.cmd_sn,
        exp_stat_sn: 0,
    };
    pair.cmd_sn += 1;
    pair.send(&InitiatorPdu::Logout(request), &[])
}

#[test]
fn logout_waits_for_what_runs_and_gives_up_what_waits() {
    for reason in [0, 1] {
        let mut pair = Pair::new(SessionParameters { connection_id: 3, ..parameters() });
        let running = pair.read(512);
        pair.send_command(&running, &[]);
        let waiting = pair.write(100_000, true);
        pair.send_command(&waiting, &[]);
        assert!(logout(&mut pair, reason, 3).is_empty() && !pair.closed);
        let late = pair.command(|_| ());
        let answers = pair.send_command(&late, &[]);
        assert_eq!(only(&answers), &reject(RejectReason::WaitingForLogout));
        let answers = pair.complete(data_in(&pattern(512)));
        assert!(matches!(answers[0].0, TargetPdu::DataIn(_)));
        let done = TargetPdu::Logout(LogoutResponse { response: 0, task_tag: 0xE000 });
        assert_eq!(answers[1].0, done);
        assert!(pair.closed && !pair.session.wants_input());
    }
}

#[test]
fn logouts_that_are_not_granted() {
    let mut pair = Pair::new(parameters());
    let answer = |response| TargetPdu::Logout(LogoutResponse { response, task_tag: 0xE000 });
    assert_eq!(only(&logout(&mut pair, 1, 9)), &answer(1));
    assert_eq!(only(&logout(&mut pair, 2, 0)), &answer(2));
    assert_eq!(only(&logout(&mut pair, 3, 0)), &reject(RejectReason::InvalidField));
    assert!(!pair.closed);
}

fn nop_out(pair: &Pair, task_tag: u32, immediate: bool) -> InitiatorPdu {
    InitiatorPdu::NopOut(NopOut {
        immediate,
        lun: 5,
        task_tag,
        transfer_tag: NO_TAG,
        cmd_sn: pair.cmd_sn,
        exp_stat_sn: 0,
    })
}

#[test]
fn a_ping_is_answered_with_its_data() {
    let mut pair = Pair::new(SessionParameters { max_send_segment_bytes: 512, ..parameters() });
    let ping = nop_out(&pair, 77, true);
    let answers = pair.send(&ping, &pattern(600));
    let pong = TargetPdu::NopIn(NopIn { lun: 5, task_tag: 77, transfer_tag: NO_TAG });
    assert_eq!((only(&answers), answers[0].2.as_slice()), (&pong, &pattern(600)[..512]));
    assert_eq!(answers[0].1.exp_cmd_sn, 100);
    let ping = nop_out(&pair, 78, false);
    assert_eq!(pair.send(&ping, &[])[0].1.exp_cmd_sn, 101);
    let answer_to_ours = nop_out(&pair, NO_TAG, true);
    assert!(pair.send(&answer_to_ours, &[]).is_empty());
}

#[test]
fn a_silent_initiator_is_pinged_and_then_given_up() {
    let mut pair = Pair::new(parameters());
    let ping = nop_out(&pair, NO_TAG, true);
    pair.send(&ping, &[]);
    assert_eq!(pair.session.handle_tick(1000), Ok(()));
    assert_eq!(pair.session.handle_tick(1000 + PING_AFTER_S - 1), Ok(()));
    assert!(pair.answers().is_empty());
    assert_eq!(pair.session.handle_tick(1000 + PING_AFTER_S), Ok(()));
    let answers = pair.answers();
    let TargetPdu::NopIn(ping) = only(&answers) else { panic!("{answers:?}") };
    assert!(ping.task_tag == NO_TAG && ping.transfer_tag != NO_TAG);
    assert_eq!(answers[0].1.stat_sn, 7);
    let gone = 1000 + PING_AFTER_S + PEER_GONE_AFTER_S;
    assert_eq!(pair.session.handle_tick(gone - 1), Ok(()));
    assert!(pair.answers().is_empty());
    assert_eq!(pair.session.handle_tick(gone), Err(Violation::Silent));
}

#[test]
fn async_messages() {
    let mut pair = Pair::new(parameters());
    pair.session.request_logout(20);
    pair.session.report_event(1 << 48, &bytes::Bytes::from_static(&[0x70, 0, 6]));
    let answers = pair.answers();
    let message = |lun, event, parameters| {
        TargetPdu::AsyncMessage(AsyncMessage { lun, event, vendor_code: 0, parameters })
    };
    assert_eq!(answers[0].0, message(0, 1, [0, 0, 20]));
    assert_eq!(answers[1].0, message(1 << 48, 0, [0; 3]));
    assert_eq!(answers[1].2, [0, 3, 0x70, 0, 6]);
    assert_eq!((answers[0].1.stat_sn, answers[1].1.stat_sn), (7, 8));
}

fn text(pair: &mut Pair, transfer_tag: u32, last: bool, continued: bool) -> InitiatorPdu {
    pair.cmd_sn += 1;
    InitiatorPdu::Text(TextRequest {
        immediate: false,
        last,
        continued,
        task_tag: 0xD000,
        transfer_tag,
        cmd_sn: pair.cmd_sn - 1,
        exp_stat_sn: 0,
    })
}

/// Answers the request that is being decided on.
fn answer_text(pair: &mut Pair, text: &[u8], max_send_segment_bytes: u32) -> Vec<Answer> {
    let text = Bytes::copy_from_slice(text);
    pair.session.handle_text_answer(Some(TextAnswer { text, max_send_segment_bytes }));
    pair.collect();
    pair.answers()
}

fn given_out(pair: &mut Pair) -> (Vec<u8>, bool) {
    let (request, begins) = pair.texts.pop_front().expect("a text request was given out");
    assert!(pair.texts.is_empty());
    (request.to_vec(), begins)
}

#[test]
fn text_is_decided_above() {
    let mut pair = Pair::new(parameters());
    for round in 0..2 {
        let request = text(&mut pair, NO_TAG, true, false);
        assert_eq!(pair.send(&request, b"SendTargets=\0"), []);
        assert_eq!(given_out(&mut pair), (b"SendTargets=\0".to_vec(), true));
        let answers = answer_text(&mut pair, b"TargetName=x\0", 8192);
        let wanted =
            TextResponse { last: true, continued: false, task_tag: 0xD000, transfer_tag: NO_TAG };
        let answered = (&TargetPdu::Text(wanted), b"TargetName=x\0".as_slice());
        assert_eq!((only(&answers), answers[0].2.as_slice()), answered);
        assert_eq!((answers[0].1.stat_sn, answers[0].1.exp_cmd_sn), (7 + round, 101 + round));
    }
}

#[test]
fn text_goes_on_over_several_pdus_both_ways() {
    let mut pair = Pair::new(parameters());
    let request = text(&mut pair, NO_TAG, false, true);
    let answers = pair.send(&request, b"MaxRecvDataSegmentLength=512\0Send");
    let TargetPdu::Text(answer) = only(&answers) else { panic!("{answers:?}") };
    assert!(!answer.last && !answer.continued && answers[0].2.is_empty());
    let request = text(&mut pair, answer.transfer_tag, true, false);
    assert_eq!(pair.send(&request, b"Targets=\0"), []);
    let whole = b"MaxRecvDataSegmentLength=512\0SendTargets=\0";
    assert_eq!(given_out(&mut pair), (whole.to_vec(), true));
    let long: Vec<u8> = (0..1100).map(|index| b'a' + (index % 26) as u8).collect();
    let mut answers = answer_text(&mut pair, &long, 512);
    let mut said = answers[0].2.clone();
    while let TargetPdu::Text(TextResponse { last: false, continued, transfer_tag, .. }) =
        only(&answers)
    {
        assert!(*continued && answers[0].2.len() == 512);
        let request = text(&mut pair, *transfer_tag, true, false);
        answers = pair.send(&request, &[]);
        said.extend_from_slice(&answers[0].2);
    }
    assert_eq!(said, long);
    assert!(pair.texts.is_empty());
}

#[test]
fn an_exchange_goes_on_until_the_initiator_ends_it() {
    let mut pair = Pair::new(parameters());
    let request = text(&mut pair, NO_TAG, false, false);
    assert_eq!(pair.send(&request, b"X-a=1\0"), []);
    assert_eq!(given_out(&mut pair), (b"X-a=1\0".to_vec(), true));
    let answers = answer_text(&mut pair, b"X-a=NotUnderstood\0", 8192);
    let TargetPdu::Text(answer) = only(&answers) else { panic!("{answers:?}") };
    assert!(!answer.last && !answer.continued && answer.transfer_tag != NO_TAG);
    let request = text(&mut pair, answer.transfer_tag, true, false);
    assert_eq!(pair.send(&request, b"X-b=1\0"), []);
    assert_eq!(given_out(&mut pair), (b"X-b=1\0".to_vec(), false));
    let answers = answer_text(&mut pair, b"", 8192);
    assert!(matches!(only(&answers), TargetPdu::Text(TextResponse { last: true, .. })));
    // Its tag is of no use any more.
    let request = text(&mut pair, answer.transfer_tag, true, false);
    assert_eq!(only(&pair.send(&request, &[])), &reject(RejectReason::Protocol));
}

#[test]
fn there_is_one_text_request_at_a_time() {
    let mut pair = Pair::new(parameters());
    let request = text(&mut pair, NO_TAG, true, false);
    assert_eq!(pair.send(&request, b"X-a=1\0"), []);
    let second = text(&mut pair, NO_TAG, true, false);
    let answers = pair.send(&second, b"X-b=1\0");
    assert_eq!(only(&answers), &reject(RejectReason::Protocol));
    assert_eq!(answers[0].1.exp_cmd_sn, 102);
    assert_eq!(given_out(&mut pair), (b"X-a=1\0".to_vec(), true));
    assert!(matches!(only(&answer_text(&mut pair, b"", 8192)), TargetPdu::Text(_)));
    // One that is late is nobody's.
    assert_eq!(answer_text(&mut pair, b"", 8192), []);
}

#[test]
fn a_logout_does_not_wait_for_text() {
    let mut pair = Pair::new(parameters());
    let request = text(&mut pair, NO_TAG, true, false);
    pair.send(&request, b"X-a=1\0");
    assert!(matches!(only(&logout(&mut pair, 0, 0)), TargetPdu::Logout(_)));
    assert_eq!(answer_text(&mut pair, b"", 8192), []);
}

#[test]
fn text_that_is_refused() {
    let long = vec![b'a'; TEXT_BYTES_MAX + 1];
    let table: [(u32, bool, bool, &[u8], RejectReason); 3] = [
        (NO_TAG, true, true, b"a=b\0", RejectReason::InvalidField),
        (5, true, false, b"a=b\0", RejectReason::Protocol),
        (NO_TAG, true, false, &long, RejectReason::LongOperation),
    ];
    for (transfer_tag, last, continued, data, reason) in table {
        let mut pair = Pair::new(parameters());
        let request = text(&mut pair, transfer_tag, last, continued);
        let answers = pair.send(&request, data);
        assert_eq!(only(&answers), &reject(reason));
        assert_eq!(answers[0].1.exp_cmd_sn, 101);
        assert!(pair.texts.is_empty());
    }
}

#[test]
fn text_that_is_refused_above_ends_its_exchange() {
    let mut pair = Pair::new(parameters());
    let request = text(&mut pair, NO_TAG, true, false);
    pair.send(&request, b"no pair\0");
    pair.session.handle_text_answer(None);
    let answers = pair.answers();
    assert_eq!(only(&answers), &reject(RejectReason::Protocol));
    assert_eq!(answers[0].2[0] & 0x3F, 0x04);
}

#[test]
fn no_new_text_before_all_of_the_answer_was_fetched() {
    let mut pair = Pair::new(parameters());
    let request = text(&mut pair, NO_TAG, true, false);
    pair.send(&request, b"X-a=1\0");
    let answers = answer_text(&mut pair, &[b'a'; 600], 512);
    let TargetPdu::Text(answer) = only(&answers) else { panic!("{answers:?}") };
    let request = text(&mut pair, answer.transfer_tag, true, false);
    assert_eq!(only(&pair.send(&request, b"X-b=1\0")), &reject(RejectReason::Protocol));
}

#[test]
fn other_pdus_that_are_rejected() {
    let mut pair = Pair::new(parameters());
    assert_eq!(only(&pair.send(&InitiatorPdu::Snack, &[])), &reject(RejectReason::Snack));
    let mut login = [0; 48];
    (login[0], login[1]) = (0x43, 0x87);
    pair.try_feed(&login).unwrap();
    assert_eq!(only(&pair.answers()), &reject(RejectReason::Protocol));
    let mut unknown = initiator::encode(&InitiatorPdu::ScsiCommand(pair.command(|_| ())));
    unknown[1] |= 0x07;
    pair.try_feed(&unknown).unwrap();
    let answers = pair.answers();
    assert_eq!(only(&answers), &reject(RejectReason::InvalidField));
    assert_eq!(answers[0].1.exp_cmd_sn, 101);
    let mut response = [0; 48];
    response[0] = 0x21;
    assert_eq!(pair.try_feed(&response), Err(Violation::Opcode));
}
