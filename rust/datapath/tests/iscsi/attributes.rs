//! Task attributes (SAM-5, clause 8): what starts when.

use proptest::prelude::*;

use datapath::limits::*;
use datapath::scsi::TaskAttribute::{self, *};
use datapath::scsi::nexus::end_token;
use datapath::scsi::slow_path::TaskManagementFunction::AbortTask;
use datapath::transport::iscsi::SessionParameters;
use datapath::transport::iscsi::pdu::initiator::ScsiCommand;
use datapath::transport::iscsi::pdu::target::*;

use crate::support::*;

fn parameters_for_attributes() -> SessionParameters {
    SessionParameters { cmd_sn: 0, max_burst_bytes: TRANSFER_BYTES_MAX - 1, ..parameters() }
}

/// A command without data, whose tag is its number.
fn command(pair: &mut Pair, attribute: TaskAttribute, lun: u64) -> ScsiCommand {
    let command = pair.command(|command| (command.attribute, command.lun) = (attribute, lun));
    ScsiCommand { task_tag: command.cmd_sn, ..command }
}

/// The tags of commands started since the last call.
fn started(pair: &mut Pair) -> Vec<u32> {
    pair.collect();
    pair.started.drain(..).map(|(tag, _)| tag).collect()
}

/// Commands are named a, b, c … in the order of their arrival. A step sends one (`s`imple,
/// `o`rdered, `h`ead of queue, the capital letter at another unit), or names one that ends.
fn run(steps: &[(&str, &str)]) {
    let mut pair = Pair::new(parameters_for_attributes());
    for (step, wanted) in steps {
        let (attribute, lun) = match *step {
            "+s" => (Simple, 0),
            "+o" => (Ordered, 0),
            "+h" => (HeadOfQueue, 0),
            "+a" => (Aca, 0),
            "+S" => (Simple, 1 << 48),
            "+O" => (Ordered, 1 << 48),
            name => {
                let tag = u32::from(name.as_bytes()[0] - b'a');
                pair.session.handle_completion(tag, Some(good()));
                assert_eq!(names(&started(&mut pair)), *wanted, "{step} of {steps:?}");
                continue;
            }
        };
        let command = command(&mut pair, attribute, lun);
        pair.send_command(&command, &[]);
        assert_eq!(names(&started(&mut pair)), *wanted, "{step} of {steps:?}");
    }
    assert_eq!(pair.session.task_count(), 0, "{steps:?} leaves nothing");
}

fn names(tags: &[u32]) -> String {
    tags.iter().map(|tag| char::from(b'a' + *tag as u8)).collect()
}

#[test]
fn what_starts_when() {
    let table: &[&[(&str, &str)]] = &[
        &[("+s", "a"), ("+s", "b"), ("b", ""), ("a", "")],
        &[
            ("+s", "a"),
            ("+s", "b"),
            ("+o", ""),
            ("+s", ""),
            ("b", ""),
            ("a", "c"),
            ("c", "d"),
            ("d", ""),
        ],
        &[("+o", "a"), ("+o", ""), ("+o", ""), ("a", "b"), ("b", "c"), ("c", "")],
        &[
            ("+o", "a"),
            ("+s", ""),
            ("+s", ""),
            ("+o", ""),
            ("a", "bc"),
            ("c", ""),
            ("b", "d"),
            ("d", ""),
        ],
        // A head of the queue starts whatever waits, and what waits then waits for it.
        &[("+s", "a"), ("+o", ""), ("+h", "c"), ("a", ""), ("c", "b"), ("b", "")],
        &[("+h", "a"), ("+s", ""), ("+h", "c"), ("a", ""), ("c", "b"), ("b", "")],
        &[("+o", "a"), ("+s", ""), ("+h", "c"), ("a", ""), ("c", "b"), ("b", "")],
        &[("+h", "a"), ("+o", ""), ("+s", ""), ("a", "b"), ("b", "c"), ("c", "")],
        // Each unit has a task set of its own.
        &[
            ("+o", "a"),
            ("+S", "b"),
            ("+O", ""),
            ("+S", ""),
            ("b", "c"),
            ("c", "d"),
            ("d", ""),
            ("a", ""),
        ],
        // The command set refuses ACA tasks; until then they are like any other.
        &[("+o", "a"), ("+a", ""), ("a", "b"), ("b", "")],
    ];
    table.iter().for_each(|steps| run(steps));
}

#[test]
fn an_older_command_that_collects_its_data_is_waited_for() {
    let mut pair = Pair::new(parameters_for_attributes());
    let write = pair.write(512, true);
    let answers = pair.send_command(&write, &[]);
    let TargetPdu::R2t(r2t) = only(&answers) else { panic!("{answers:?}") };
    let ordered = command(&mut pair, Ordered, 0);
    pair.send_command(&ordered, &[]);
    assert!(started(&mut pair).is_empty());
    pair.send(&data_out(write.task_tag, r2t.transfer_tag, 0, 0, true), &pattern(512));
    assert_eq!(started(&mut pair), [write.task_tag]);
    pair.session.handle_completion(write.task_tag, Some(wrote(512)));
    assert_eq!(started(&mut pair), [ordered.task_tag]);
}

#[test]
fn a_command_asks_for_its_data_when_its_turn_has_come() {
    let mut pair = Pair::new(parameters_for_attributes());
    let first = command(&mut pair, Simple, 0);
    pair.send_command(&first, &[]);
    let mut write = pair.write(1024, true);
    write.attribute = Ordered;
    assert!(pair.send_command(&write, &pattern(512)).is_empty());
    pair.session.handle_completion(first.task_tag, Some(good()));
    let answers = pair.answers();
    let TargetPdu::R2t(r2t) = &answers[0].0 else { panic!("{answers:?}") };
    assert_eq!((r2t.offset_bytes, r2t.length_bytes), (512, 512));
    pair.send(&data_out(write.task_tag, r2t.transfer_tag, 0, 512, true), &pattern(512));
    assert_eq!(started(&mut pair), [first.task_tag, write.task_tag]);
}

#[test]
fn a_command_that_waits_can_be_aborted_and_one_that_is_waited_for_still_runs() {
    let mut pair = Pair::new(parameters_for_attributes());
    let tags: Vec<u32> = [Simple, Ordered, Simple, Ordered]
        .map(|attribute| {
            let command = command(&mut pair, attribute, 0);
            pair.send_command(&command, &[]);
            command.task_tag
        })
        .into();
    let abort = |pair: &mut Pair, tag| {
        pair.function(AbortTask, |request| request.referenced_task_tag = tag);
        started(pair)
    };
    assert_eq!(started(&mut pair), [tags[0]]);
    // Without the ORDERED command between them, the SIMPLE ones are free.
    assert_eq!(abort(&mut pair, tags[1]), [tags[2]]);
    assert!(abort(&mut pair, tags[0]).is_empty());
    pair.session.handle_completion(tags[2], Some(good()));
    // The aborted command still changes the medium.
    assert!(started(&mut pair).is_empty());
    pair.session.handle_completion(tags[0], Some(good()));
    assert_eq!(started(&mut pair), [tags[3]]);
}

#[test]
fn none_is_enabled_by_a_function_that_ends_it_too() {
    let mut pair = Pair::new(parameters_for_attributes());
    let first = command(&mut pair, HeadOfQueue, 0);
    pair.send_command(&first, &[]);
    for attribute in [Simple, Ordered, Simple, HeadOfQueue, Ordered] {
        let mut write = pair.write(512, true);
        write.attribute = attribute;
        pair.send_command(&write, &[]);
    }
    let (token, _ended) = end_token();
    pair.session.abort_tasks(&[0], None, &token);
    assert!(pair.answers().is_empty(), "no R2T for a command that is gone");
    assert_eq!((started(&mut pair), pair.session.task_count()), (vec![first.task_tag], 1));
}

/// What younger commands hold unasked must not keep an older one, that they wait for, from its data.
#[test]
fn room_held_by_commands_that_wait_is_no_reason_to_wait() {
    let mut pair = Pair::new(SessionParameters {
        first_burst_bytes: FIRST_BURST_BYTES_MAX,
        max_receive_segment_bytes: FIRST_BURST_BYTES_MAX,
        ..parameters_for_attributes()
    });
    // Collects unsolicited data first, so that it asks for room only when the others are there.
    let older = pair.write(TRANSFER_BYTES_MAX, false);
    pair.send_command(&older, &[]);
    let burst = pattern(FIRST_BURST_BYTES_MAX as usize);
    for _ in 0..COMMAND_WINDOW - 2 {
        let mut write = pair.write(FIRST_BURST_BYTES_MAX, true);
        write.attribute = Ordered;
        pair.send_command(&write, &burst);
    }
    assert!(
        pair.session.held_bytes() + u64::from(TRANSFER_BYTES_MAX) > DATA_OUT_BYTES_PER_SESSION_MAX
    );
    let answers = pair.send(&data_out(older.task_tag, u32::MAX, 0, 0, true), &burst);
    assert!(matches!(only(&answers), TargetPdu::R2t(_)));
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Send(TaskAttribute, u64),
    End(usize),
    Abort(usize),
}

/// The rules of SAM-5, 8.6, told over a list: age, attribute, unit, whether enabled.
#[derive(Default)]
struct Model(Vec<(u32, TaskAttribute, u64, bool)>);

impl Model {
    /// Enables what may be; says which.
    fn enable(&mut self) -> Vec<u32> {
        let mut enabled = Vec::new();
        for index in 0..self.0.len() {
            let (tag, attribute, lun, already) = self.0[index];
            let same = |task: &&(u32, TaskAttribute, u64, bool)| task.2 == lun;
            let mut older = self.0[..index].iter().filter(same);
            let no_head = self.0.iter().filter(same).all(|task| task.1 != HeadOfQueue);
            let may_start = match attribute {
                HeadOfQueue => true,
                Ordered => no_head && older.next().is_none(),
                _ => no_head && older.all(|task| task.1 != Ordered),
            };
            if may_start && !already {
                self.0[index].3 = true;
                enabled.push(tag);
            }
        }
        enabled
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_follows_the_rules(moves in prop::collection::vec(prop_oneof![
        3 => (prop::sample::select(vec![Simple, Simple, Untagged, Ordered, HeadOfQueue]), 0u64..2)
            .prop_map(|(attribute, lun)| Move::Send(attribute, lun)),
        2 => (0usize..8).prop_map(Move::End),
        1 => (0usize..8).prop_map(Move::Abort),
    ], 1..60)) {
        let (mut pair, mut model) = (Pair::new(parameters_for_attributes()), Model::default());
        for next in moves {
            match next {
                Move::Send(attribute, lun) => {
                    let command = command(&mut pair, attribute, lun);
                    model.0.push((command.task_tag, attribute, lun, false));
                    pair.send_command(&command, &[]);
                }
                Move::End(index) => {
                    let enabled: Vec<u32> = model.0.iter().filter(|t| t.3).map(|t| t.0).collect();
                    let Some(tag) = enabled.get(index) else { continue };
                    model.0.retain(|task| task.0 != *tag);
                    pair.session.handle_completion(*tag, Some(good()));
                }
                Move::Abort(index) => {
                    let Some(&(tag, _, lun, enabled)) = model.0.get(index) else { continue };
                    // An enabled one has started, and so ends when its outcome comes.
                    if !enabled {
                        model.0.remove(index);
                    }
                    pair.function(AbortTask, |request| {
                        (request.referenced_task_tag, request.lun, request.immediate) =
                            (tag, lun, true);
                    });
                    let function = pair.functions.pop_back().unwrap();
                    pair.session.handle_task_management(function.task_tag, true, Some(0.into()));
                }
            }
            let (mut fresh, mut wanted) = (started(&mut pair), model.enable());
            fresh.sort_unstable();
            wanted.sort_unstable();
            prop_assert_eq!(fresh, wanted);
            prop_assert_eq!(pair.session.task_count(), model.0.len());
        }
    }
}
