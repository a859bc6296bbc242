//! Every task management function of RFC 7143 and RFC 7144: what it ends and what it answers.

use futures_util::FutureExt;

use datapath::scsi::slow_path::TaskManagementFunction::{self, *};
use datapath::scsi::{FunctionAnswer, TaskAttribute};
use datapath::transport::iscsi::SessionParameters;
use datapath::transport::iscsi::pdu::target::*;

use crate::support::*;

const OTHER_LUN: u64 = 1 << 48;

/// What a function does to the commands of [`busy`].
struct Row {
    function: TaskManagementFunction,
    level: u8,
    /// Which of them end.
    ends: &'static str,
    /// The unit whose tasks end in other sessions: `Some(None)` for all of the target.
    of_units: Option<Option<u64>>,
    /// The answer that the command set is not asked for.
    at_once: Option<u8>,
}

const fn row(function: TaskManagementFunction, ends: &'static str) -> Row {
    Row { function, level: 2, ends, of_units: None, at_once: None }
}

const fn answers(function: TaskManagementFunction, level: u8, response: u8) -> Row {
    Row { function, level, ends: "", of_units: None, at_once: Some(response) }
}

const TABLE: &[Row] = &[
    row(AbortTask, "a"),
    row(AbortTaskSet, "abc"),
    row(ClearAca, ""),
    // The task set is that of the nexus (TST 001b).
    row(ClearTaskSet, "abc"),
    Row { of_units: Some(Some(0)), ..row(LogicalUnitReset, "abc") },
    Row { of_units: Some(None), ..row(TargetWarmReset, "abcd") },
    Row { of_units: Some(None), ..row(TargetColdReset, "abcd") },
    answers(TaskReassign, 2, 4),
    answers(QueryTask, 2, 7),
    answers(QueryTaskSet, 2, 7),
    row(NexusReset, "abcd"),
    row(QueryAsynchronousEvent, ""),
    answers(QueryTask, 1, 5),
    answers(QueryTaskSet, 1, 5),
    answers(NexusReset, 1, 5),
    answers(QueryAsynchronousEvent, 1, 5),
];

fn at_level(protocol_level: u8) -> Pair {
    Pair::new(SessionParameters { protocol_level, ..parameters() })
}

/// A session with four commands: `a` runs at LUN 0, `b` collects its data there, `c` waits there by
/// its task attribute, `d` runs at another LUN. Their tags, in this order.
fn busy(level: u8) -> (Pair, [u32; 4]) {
    let mut pair = at_level(level);
    let running = pair.read(512);
    pair.send_command(&running, &[]);
    let collecting = pair.write(512, true);
    pair.send_command(&collecting, &[]);
    let waiting = pair.command(|command| command.attribute = TaskAttribute::Ordered);
    pair.send_command(&waiting, &[]);
    let elsewhere = pair.command(|command| command.lun = OTHER_LUN);
    pair.send_command(&elsewhere, &[]);
    let tags = [running, collecting, waiting, elsewhere].map(|command| command.task_tag);
    (pair, tags)
}

fn answer_to(answers: &[Answer]) -> FunctionAnswer {
    let TargetPdu::TaskManagement(response) = only(answers) else { panic!("{answers:?}") };
    response.answer
}

/// Whether the tasks of the oldest function have ended; those of other sessions count as ended.
fn have_ended(pair: &mut Pair) -> bool {
    let function = &mut pair.functions[0];
    drop(function.of_units.take());
    (&mut function.ended).now_or_never().is_some()
}

#[test]
fn what_a_function_ends_and_answers() {
    let covered =
        TaskManagementFunction::ALL.map(|one| TABLE.iter().any(|row| row.function == one));
    assert_eq!(covered, [true; 12]);
    for Row { function, level, ends, of_units, at_once } in TABLE {
        let (mut pair, tags) = busy(*level);
        let answered = pair.function(*function, |request| request.referenced_task_tag = tags[0]);
        if let Some(response) = at_once {
            assert_eq!(answer_to(&answered), (*response).into(), "{function:?}");
            assert!(pair.functions.is_empty() && pair.session.task_count() == 4);
            continue;
        }
        assert!(answered.is_empty(), "{function:?}");
        let scope = pair.functions[0].of_units.as_ref().map(|tasks| tasks.lun);
        assert_eq!(scope, *of_units, "{function:?}");
        // Tasks that run hold the function up; the others are gone.
        let ends_running = ends.contains('a');
        assert_eq!(have_ended(&mut pair), !ends_running, "{function:?}");
        let gone = ends.chars().filter(|name| "bc".contains(*name)).count();
        assert_eq!(pair.session.task_count(), 4 - gone, "{function:?}");
        for name in ["a", "d"] {
            let answers = pair.complete(good());
            assert_eq!(answers.is_empty(), ends.contains(name), "{name} of {function:?}");
        }
        assert!(!ends_running || have_ended(&mut pair), "{function:?}");
        let pending = pair.functions.pop_front().unwrap();
        assert_eq!((pending.function, pending.lun), (*function, 0));
        pair.session.handle_task_management(pending.task_tag, true, Some(0.into()));
        assert_eq!(answer_to(&pair.answers()), 0.into());
        if ends.contains("abc") {
            assert_eq!((pair.session.task_count(), pair.session.held_bytes()), (0, 0));
        }
    }
}

#[test]
fn what_is_not_there_is_for_the_command_set_to_answer() {
    for function in [QueryTask, QueryTaskSet] {
        // No task; one elsewhere; one that is being aborted.
        for (lun, aborted) in [(None, false), (Some(OTHER_LUN), false), (Some(0), true)] {
            let mut pair = at_level(2);
            let command = pair.command(|command| command.lun = lun.unwrap_or(0));
            if lun.is_some() {
                pair.send_command(&command, &[]);
            }
            if aborted {
                pair.function(AbortTaskSet, |_| ());
                pair.functions.clear();
            }
            let tag = command.task_tag;
            assert!(
                pair.function(function, |request| request.referenced_task_tag = tag).is_empty()
            );
            assert_eq!(pair.functions.len(), 1, "{function:?} {lun:?}");
        }
    }
}

#[test]
fn the_answer_carries_what_the_command_set_adds() {
    let mut pair = at_level(2);
    assert!(pair.function(QueryAsynchronousEvent, |_| ()).is_empty());
    let function = pair.functions.pop_front().unwrap();
    let answer = FunctionAnswer { response: 7, information: [0x16, 0x29, 0x00] };
    pair.session.handle_task_management(function.task_tag, true, Some(answer));
    assert_eq!(answer_to(&pair.answers()), answer);
}

#[test]
fn a_function_ends_what_came_before_it_and_nothing_later() {
    for (function, immediate) in [LogicalUnitReset, AbortTaskSet, NexusReset]
        .map(|one| [(one, false), (one, true)])
        .as_flattened()
    {
        let mut pair = at_level(2);
        let missing = pair.command(|_| ());
        let older = pair.command(|_| ());
        pair.send_command(&older, &[]);
        let cmd_sn = pair.cmd_sn;
        if !immediate {
            pair.cmd_sn += 1;
        }
        let younger = pair.command(|_| ());
        pair.send_command(&younger, &[]);
        // Both commands are held, as one before them is missing; so is a numbered function.
        pair.function(*function, |request| {
            (request.immediate, request.cmd_sn) = (*immediate, cmd_sn);
        });
        assert_eq!(pair.functions.len(), usize::from(*immediate));
        pair.send_command(&missing, &[]);
        let ended = pair.session.task_count();
        let started: Vec<u32> = pair.started.iter().map(|(tag, _)| *tag).collect();
        assert_eq!(pair.functions.len(), 1);
        if *immediate {
            // What is missing has come too late to be found.
            assert_eq!(started, [missing.task_tag, younger.task_tag]);
        } else {
            assert_eq!((started, ended), (vec![younger.task_tag], 1), "{function:?}");
        }
    }
}

#[test]
fn functions_that_wait_for_no_task_and_may_be_numbered() {
    let mut pair = at_level(1);
    let unknown = pair.function(AbortTask, |request| request.immediate = false);
    assert_eq!(answer_to(&unknown), 1.into());
    assert_eq!(unknown[0].1.exp_cmd_sn, 101);
}

#[test]
fn every_form_of_a_lun_means_the_same_unit() {
    // As the command has it, as the function has it, as the command set sees it.
    let table = [
        (0x0005u64, 0x4005u64, 0x0005u64),
        (0x4005, 0x0005, 0x0005),
        (0x0100, 0x4100, 0x4100),
        (0x4100, 0x0100, 0x4100),
    ];
    for (sent, asked, usual) in table {
        let mut pair = at_level(2);
        let mut write = pair.write(512, true);
        write.lun = sent << 48;
        let answers = pair.send_command(&write, &[]);
        // An R2T names the unit as its command does.
        let TargetPdu::R2t(r2t) = only(&answers) else { panic!("{answers:?}") };
        assert_eq!(r2t.lun, sent << 48);
        pair.function(LogicalUnitReset, |request| request.lun = asked << 48);
        assert_eq!(pair.session.task_count(), 0, "{sent:04X} {asked:04X}");
        assert_eq!(pair.functions[0].lun, usual << 48);
    }
}
