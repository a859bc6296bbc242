//! Real sockets through the workers, with a scripted initiator that has logged in already.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use datapath::scsi::slow_path::TaskManagementFunction;
use datapath::scsi::{LogicalUnit, NexusId, Sessions, Target, TaskAttribute, UnitNumber};
use datapath::transport::iscsi::pdu::NO_TAG;
use datapath::transport::iscsi::pdu::initiator::{self, *};
use datapath::transport::iscsi::pdu::target::*;
use datapath::transport::iscsi::session::Violation;
use datapath::transport::iscsi::{EndReason, SessionHandle, SessionParameters};
use datapath::transport::workers::AdoptError;
use datapath::transport::{Driver, Workers};

use crate::support::*;

/// Longer than anything here takes; only a hang lasts until it.
const LONG: Duration = Duration::from_secs(60);
const DEVICE_BYTES: usize = 8 << 20;

/// A target in memory on workers of its own.
struct Bench {
    workers: Workers,
    sessions: Arc<Sessions>,
    target: Arc<Target<Memory>>,
    unit: Arc<LogicalUnit<Memory>>,
    script: Arc<Script>,
}

fn unit(number: u64, bytes: usize, read_only: bool) -> Arc<LogicalUnit<Memory>> {
    Arc::new(LogicalUnit::new(UnitNumber(number), Memory::new(bytes), 512, read_only))
}

/// Both drivers, where io_uring is permitted.
fn drivers() -> Vec<Driver> {
    let best = Workers::start(1).unwrap().driver();
    if best == Driver::IoUring { vec![best, Driver::Polling] } else { vec![best] }
}

impl Bench {
    fn new(driver: Driver) -> Self {
        let workers = Workers::start_with(2, driver).unwrap();
        let script = Arc::new(Script::default());
        let sessions = Arc::<Sessions>::default();
        let target = Arc::new(Target::new(Arc::clone(&sessions), script.clone()));
        let unit = unit(0, DEVICE_BYTES, false);
        target.map(0, Arc::clone(&unit));
        Self { workers, sessions, target, unit, script }
    }

    fn connect(&self, nexus: u64, parameters: SessionParameters) -> Client {
        self.connect_with(nexus, parameters, &[])
    }

    fn connect_with(&self, nexus: u64, parameters: SessionParameters, early: &[u8]) -> Client {
        self.connect_to(&self.target, nexus, parameters, early)
    }

    fn connect_to(
        &self,
        target: &Arc<Target<Memory>>,
        nexus: u64,
        parameters: SessionParameters,
        early: &[u8],
    ) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let framing = Framing {
            header_digest: parameters.header_digest,
            data_digest: parameters.data_digest,
        };
        let cmd_sn = parameters.cmd_sn;
        let target = Arc::clone(target);
        let early = Bytes::copy_from_slice(early);
        let handle = self
            .workers
            .adopt(accepted.into(), parameters, Arc::new(Echo), target, NexusId(nexus), early)
            .unwrap();
        Client { socket, framing, received: Vec::new(), cmd_sn, handle }
    }
}

struct Client {
    socket: TcpStream,
    framing: Framing,
    received: Vec<u8>,
    cmd_sn: u32,
    handle: SessionHandle,
}

impl Client {
    fn send(&mut self, pdu: &InitiatorPdu, data: &[u8]) {
        let bytes = self.framing.frame(initiator::encode(pdu), &[], data);
        self.socket.write_all(&bytes).unwrap();
    }

    fn receive(&mut self) -> Answer {
        loop {
            if let Some(answer) = self.framing.parse(&mut self.received) {
                return answer;
            }
            let mut chunk = [0; 65536];
            let length = match self.socket.read(&mut chunk) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                outcome => outcome.unwrap(),
            };
            assert!(length > 0, "the target has closed the connection");
            self.received.extend_from_slice(&chunk[..length]);
        }
    }

    fn at_end(&mut self) -> bool {
        matches!(self.socket.read(&mut [0; 1]), Ok(0) | Err(_))
    }

    fn command(&mut self, cdb: &[u8], read: bool, write: bool, expected_bytes: u32) -> ScsiCommand {
        let mut command = ScsiCommand {
            immediate: false,
            last: true,
            read,
            write,
            attribute: TaskAttribute::Simple,
            lun: 0,
            task_tag: self.cmd_sn,
            expected_bytes,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: 0,
            cdb: [0; 16],
        };
        command.cdb[..cdb.len()].copy_from_slice(cdb);
        self.cmd_sn += 1;
        command
    }

    fn start(&mut self, command: &ScsiCommand, data: &[u8]) {
        self.send(&InitiatorPdu::ScsiCommand(command.clone()), data);
    }

    /// Writes blocks: `immediate` bytes with the command, the rest as R2Ts ask for it.
    fn write(&mut self, lba: u32, bytes: &[u8], immediate: usize, fua: bool) -> ScsiResponse {
        let command =
            self.command(&cdb10(0x2A, lba, bytes.len(), fua), false, true, bytes.len() as u32);
        self.start(&command, &bytes[..immediate]);
        loop {
            match self.receive().0 {
                TargetPdu::ScsiResponse(response) => return response,
                TargetPdu::R2t(r2t) => {
                    let end = r2t.offset_bytes + r2t.length_bytes;
                    let mut offset = r2t.offset_bytes;
                    let mut data_sn = 0;
                    while offset < end {
                        let next = end.min(offset + 65536);
                        let pdu = data_out(
                            command.task_tag,
                            r2t.transfer_tag,
                            data_sn,
                            offset,
                            next == end,
                        );
                        self.send(&pdu, &bytes[offset as usize..next as usize]);
                        (offset, data_sn) = (next, data_sn + 1);
                    }
                }
                pdu => panic!("{pdu:?}"),
            }
        }
    }

    fn read(&mut self, lba: u32, length: usize) -> Vec<u8> {
        let command = self.command(&cdb10(0x28, lba, length, false), true, false, length as u32);
        self.start(&command, &[]);
        let mut bytes = Vec::new();
        loop {
            let (pdu, _, data) = self.receive();
            let TargetPdu::DataIn(pdu) = pdu else { panic!("{pdu:?}") };
            assert_eq!(pdu.offset_bytes as usize, bytes.len());
            bytes.extend_from_slice(&data);
            if pdu.status == Some(0) {
                return bytes;
            }
        }
    }

    /// Gets an answer from the session's thread.
    fn ping(&mut self) {
        self.send(&InitiatorPdu::Snack, &[]);
        assert!(matches!(self.receive().0, TargetPdu::Reject(_)));
    }

    /// The tag of the command whose status comes next.
    fn answered(&mut self) -> u32 {
        loop {
            match self.receive().0 {
                TargetPdu::ScsiResponse(response) => return response.task_tag,
                TargetPdu::TaskManagement(_) => {}
                pdu => panic!("{pdu:?}"),
            }
        }
    }

    fn function(&mut self, function: TaskManagementFunction) {
        let request = self.request(function);
        self.send(&InitiatorPdu::TaskManagement(request), &[]);
    }

    fn request(&self, function: TaskManagementFunction) -> TaskManagementRequest {
        TaskManagementRequest {
            immediate: true,
            function,
            lun: 0,
            task_tag: 0xF000_0000,
            referenced_task_tag: NO_TAG,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: 0,
            referenced_cmd_sn: 0,
        }
    }
}

fn cdb10(opcode: u8, lba: u32, length: usize, fua: bool) -> [u8; 10] {
    let [a, b, c, d] = lba.to_be_bytes();
    let [high, low] = ((length / 512) as u16).to_be_bytes();
    [opcode, if fua { 8 } else { 0 }, a, b, c, d, 0, high, low, 0]
}

#[test]
fn what_is_written_is_read_back() {
    for driver in drivers() {
        let bench = Bench::new(driver);
        for (nexus, digest) in [(1, false), (2, true)] {
            let mut client = bench.connect(
                nexus,
                SessionParameters {
                    header_digest: digest,
                    data_digest: digest,
                    first_burst_bytes: 65_536,
                    max_burst_bytes: 262_144,
                    max_send_segment_bytes: 100_000,
                    ..parameters()
                },
            );
            for (length, immediate) in
                [(512, 512), (4096, 4096), (4096, 0), (65_536, 65_536), (1 << 20, 8192)]
            {
                let mut bytes = pattern(length);
                bytes[0] = nexus as u8;
                let response = client.write(16, &bytes, immediate, false);
                assert_eq!((response.status, response.residual), (0, Residual::None));
                assert!(client.read(16, length) == bytes, "{length} bytes came back changed");
            }
            let counts = client.handle.counts();
            assert_eq!((counts.commands, counts.written_bytes), (10, counts.read_bytes));
        }
        let counts = bench.unit.counts();
        assert_eq!((counts.reads, counts.writes, counts.declined), (10, 10, 0));
        assert!(bench.script.submitted.lock().unwrap().is_empty());
    }
}

#[test]
fn fua_reaches_the_medium_before_the_status() {
    let bench = Bench::new(Driver::Polling);
    let mut client = bench.connect(1, parameters());
    client.write(0, &pattern(512), 512, false);
    assert_eq!(bench.unit.device().flushes.load(Ordering::SeqCst), 0);
    client.write(0, &pattern(512), 512, true);
    assert_eq!(bench.unit.device().flushes.load(Ordering::SeqCst), 1);
}

#[test]
fn what_came_with_the_login_is_served() {
    let bench = Bench::new(Driver::Polling);
    let mut cdb = [0; 16];
    cdb[..10].copy_from_slice(&cdb10(0x28, 0, 512, false));
    let command = ScsiCommand {
        immediate: false,
        last: true,
        read: true,
        write: false,
        attribute: TaskAttribute::Simple,
        lun: 0,
        task_tag: 1,
        expected_bytes: 512,
        cmd_sn: 100,
        exp_stat_sn: 0,
        cdb,
    };
    let bhs = initiator::encode(&InitiatorPdu::ScsiCommand(command));
    let mut client = bench.connect_with(1, parameters(), &bhs[..20]);
    client.socket.write_all(&bhs[20..]).unwrap();
    assert!(matches!(client.receive().0, TargetPdu::DataIn(_)));
    let mut client = bench.connect_with(2, parameters(), &bhs);
    assert!(matches!(client.receive().0, TargetPdu::DataIn(_)));
}

#[test]
fn what_is_unusual_is_declined_to_the_command_set() {
    let bench = Bench::new(Driver::Polling);
    let mut client = bench.connect(1, parameters());
    *bench.script.sense.lock().unwrap() = Some(Bytes::from_static(&[0x70, 0, 5]));
    let end = (DEVICE_BYTES / 512) as u32;
    let declined = |client: &mut Client, write: bool, lba: u32, why: &str| {
        let response = match write {
            true => client.write(lba, &pattern(512), 512, false),
            false => {
                let command = client.command(&cdb10(0x28, lba, 512, false), true, false, 512);
                client.start(&command, &[]);
                let TargetPdu::ScsiResponse(response) = client.receive().0 else { panic!("{why}") };
                response
            }
        };
        assert_eq!(response.status, 2, "{why}");
    };
    declined(&mut client, false, end, "behind the end");
    declined(&mut client, true, end, "behind the end");
    bench.unit.gate().set_pending(Some(NexusId(1)), true);
    declined(&mut client, false, 0, "pending");
    bench.unit.gate().set_pending(Some(NexusId(1)), false);
    bench.unit.device().fail.store(true, Ordering::SeqCst);
    declined(&mut client, false, 0, "the device fails");
    declined(&mut client, true, 0, "the device fails");
    bench.unit.device().fail.store(false, Ordering::SeqCst);
    let unmapped = bench.target.unmap(0).unwrap();
    declined(&mut client, false, 0, "unmapped");
    bench.target.map(0, unit(1, 4096, true));
    declined(&mut client, true, 0, "read-only");
    assert_eq!(client.read(0, 512), vec![0; 512]);
    assert_eq!(unmapped.counts().declined, 5);
}

#[test]
fn a_session_goes_on_while_a_command_is_with_the_command_set() {
    let bench = Bench::new(Driver::Polling);
    let mut client = bench.connect(1, parameters());
    let inquiry = client.command(&[0x12, 0, 0, 0, 36, 0], true, false, 36);
    client.start(&inquiry, &[]);
    bench.script.wait_submitted(1);
    assert_eq!(client.read(0, 512), vec![0; 512]);
    let (request, reply) = bench.script.submitted.lock().unwrap().pop().unwrap();
    assert_eq!((request.cdb[0], request.expected.data_in_room_bytes()), (0x12, 36));
    reply.send(data_in(&[9; 36])).unwrap();
    assert_eq!(client.receive().2, [9; 36]);
}

#[test]
fn a_reset_waits_for_the_tasks_of_every_session() {
    for driver in drivers() {
        let bench = Bench::new(driver);
        let mut one = bench.connect(1, parameters());
        let mut two = bench.connect(2, parameters());
        let slow = two.command(&[0x35], false, false, 0);
        two.start(&slow, &[]);
        bench.script.wait_submitted(1);
        one.function(TaskManagementFunction::LogicalUnitReset);
        // Once both threads have been round, the other session knows that its task is to end.
        one.ping();
        two.ping();
        two.ping();
        assert!(bench.script.functions.lock().unwrap().is_empty());
        let (_, reply) = bench.script.submitted.lock().unwrap().pop().unwrap();
        reply.send(good()).unwrap();
        let response = TaskManagementResponse { answer: 0.into(), task_tag: 0xF000_0000 };
        assert_eq!(one.receive().0, TargetPdu::TaskManagement(response));
        let wanted = [(NexusId(1), 0, TaskManagementFunction::LogicalUnitReset)];
        assert_eq!(*bench.script.functions.lock().unwrap(), wanted);
        // The aborted task has no status: the next thing that comes is another command's.
        assert_eq!(two.read(0, 512).len(), 512);
        assert_eq!(two.handle.counts().aborted, 1);
    }
}

/// Another target that shows the unit of the bench at LUN 5 and LUN 6, and one of its own at 0.
fn other_target(bench: &Bench) -> Arc<Target<Memory>> {
    let target = Arc::new(Target::new(Arc::clone(&bench.sessions), bench.script.clone()));
    let other = unit(0, DEVICE_BYTES, false);
    target.map(5 << 48, Arc::clone(&other));
    target.map(6 << 48, other);
    target.map(0, unit(9, DEVICE_BYTES, false));
    target
}

#[test]
fn a_reset_reaches_the_unit_wherever_it_is_and_nothing_else() {
    // Function, which of the tasks in `luns` end.
    let luns = [5 << 48, 6 << 48, 0];
    for (function, ends) in [
        (TaskManagementFunction::LogicalUnitReset, [true, true, false]),
        (TaskManagementFunction::TargetWarmReset, [true, true, false]),
        (TaskManagementFunction::ClearTaskSet, [false; 3]),
        (TaskManagementFunction::AbortTaskSet, [false; 3]),
    ] {
        let bench = Bench::new(Driver::Polling);
        let mut one = bench.connect(1, parameters());
        let mut two = bench.connect_to(&other_target(&bench), 2, parameters(), &[]);
        for lun in luns {
            let mut slow = two.command(&[0x35], false, false, 0);
            slow.lun = lun;
            two.start(&slow, &[]);
        }
        bench.script.wait_submitted(luns.len());
        let response = TaskManagementResponse { answer: 0.into(), task_tag: 0xF000_0000 };
        one.function(function);
        let waits = ends.contains(&true);
        if waits {
            one.ping();
            two.ping();
            two.ping();
            assert!(bench.script.functions.lock().unwrap().is_empty(), "{function:?}");
        } else {
            assert_eq!(one.receive().0, TargetPdu::TaskManagement(response.clone()));
        }
        for (_, reply) in bench.script.submitted.lock().unwrap().drain(..) {
            reply.send(good()).unwrap();
        }
        if waits {
            assert_eq!(one.receive().0, TargetPdu::TaskManagement(response));
        }
        let left = ends.iter().filter(|ends| !**ends).count();
        let mut answered: Vec<u32> = (0..left).map(|_| two.answered()).collect();
        answered.sort_unstable();
        let wanted = (100..).zip(ends).filter(|(_, ends)| !ends).map(|(tag, _)| tag);
        assert_eq!(answered, wanted.collect::<Vec<_>>(), "{function:?}");
        assert_eq!(two.read(0, 512).len(), 512);
    }
}

#[test]
fn a_reset_ends_the_units_own_tasks_at_its_other_luns_but_none_that_came_later() {
    let bench = Bench::new(Driver::Polling);
    let mut two = bench.connect_to(&other_target(&bench), 2, parameters(), &[]);
    let mut slow = two.command(&[0x35], false, false, 0);
    slow.lun = 6 << 48;
    two.start(&slow, &[]);
    bench.script.wait_submitted(1);
    // One piece, so that the later command is there before the reset looks for the unit.
    let mut later = two.command(&[0x35], false, false, 0);
    later.lun = 6 << 48;
    let mut reset = two.request(TaskManagementFunction::LogicalUnitReset);
    (reset.lun, reset.cmd_sn) = (5 << 48, later.cmd_sn);
    let mut bytes =
        two.framing.frame(initiator::encode(&InitiatorPdu::TaskManagement(reset)), &[], &[]);
    bytes.extend(two.framing.frame(initiator::encode(&InitiatorPdu::ScsiCommand(later)), &[], &[]));
    two.socket.write_all(&bytes).unwrap();
    bench.script.wait_submitted(2);
    two.ping();
    for (_, reply) in bench.script.submitted.lock().unwrap().drain(..) {
        reply.send(good()).unwrap();
    }
    let mut answers = [two.receive().0, two.receive().0];
    answers.sort_by_key(|answer| matches!(answer, TargetPdu::ScsiResponse(_)));
    assert!(matches!(answers[0], TargetPdu::TaskManagement(_)), "{answers:?}");
    let TargetPdu::ScsiResponse(response) = &answers[1] else { panic!("{answers:?}") };
    assert_eq!((response.task_tag, two.handle.counts().aborted), (101, 1));
}

#[test]
fn a_cold_reset_ends_every_session_of_the_target() {
    let bench = Bench::new(Driver::Polling);
    let mut one = bench.connect(1, parameters());
    let mut two = bench.connect(2, parameters());
    let mut three = bench.connect_to(&other_target(&bench), 3, parameters(), &[]);
    one.function(TaskManagementFunction::TargetColdReset);
    let response = TaskManagementResponse { answer: 0.into(), task_tag: 0xF000_0000 };
    assert_eq!(one.receive().0, TargetPdu::TaskManagement(response));
    assert!(one.at_end());
    assert_eq!(three.read(0, 512).len(), 512);
    assert!(one.handle.wait_ended(Some(LONG)) && two.handle.wait_ended(Some(LONG)));
    assert_eq!(two.handle.end_reason(), Some(EndReason::Closed));
    assert!(two.at_end());
}

#[test]
fn closing_waits_for_running_commands_and_frees_the_nexus() {
    let bench = Bench::new(Driver::Polling);
    let mut client = bench.connect(1, parameters());
    bench.unit.gate().set_pending(Some(NexusId(1)), true);
    let slow = client.command(&[0x35], false, false, 0);
    client.start(&slow, &[]);
    bench.script.wait_submitted(1);
    client.handle.close();
    // The peer sees it at once, though a command still runs.
    assert!(client.at_end());
    assert_eq!(client.handle.end_reason(), None);
    assert!(bench.script.lost.lock().unwrap().is_empty());
    let (_, reply) = bench.script.submitted.lock().unwrap().pop().unwrap();
    reply.send(good()).unwrap();
    assert!(client.handle.wait_ended(Some(LONG)));
    assert_eq!(client.handle.end_reason(), Some(EndReason::Closed));
    assert_eq!(*bench.script.lost.lock().unwrap(), [NexusId(1)]);
    assert!(bench.unit.gate().is_clear(NexusId(1)));
    client.handle.close();
    // The same I_T nexus logs in again, under a new name of ours.
    assert_eq!(bench.connect(3, parameters()).read(0, 512).len(), 512);
}

#[test]
fn ends_of_a_session_and_their_reasons() {
    let bench = Bench::new(Driver::Polling);
    let ended = |handle: &SessionHandle| {
        assert!(handle.wait_ended(Some(LONG)));
        handle.end_reason().unwrap()
    };
    let client = bench.connect(1, parameters());
    drop(client.socket);
    assert_eq!(ended(&client.handle), EndReason::PeerClosed);

    let mut client = bench.connect(2, parameters());
    client.socket.write_all(&[0x3F; 48]).unwrap();
    assert!(client.at_end());
    // 3F3F3Fh bytes are announced.
    assert_eq!(ended(&client.handle), EndReason::Violation(Violation::SegmentTooLong));

    let mut client = bench.connect(3, parameters());
    let request = LogoutRequest {
        immediate: true,
        reason: 0,
        task_tag: 1,
        connection_id: 0,
        cmd_sn: 100,
        exp_stat_sn: 0,
    };
    client.send(&InitiatorPdu::Logout(request), &[]);
    assert!(matches!(client.receive().0, TargetPdu::Logout(LogoutResponse { response: 0, .. })));
    assert!(client.at_end());
    assert_eq!(ended(&client.handle), EndReason::LoggedOut);
    // Nobody else was harmed.
    assert_eq!(bench.connect(4, parameters()).read(0, 512).len(), 512);
}

#[test]
fn many_commands_at_once_over_several_sessions() {
    for driver in drivers() {
        let bench = Bench::new(driver);
        std::thread::scope(|scope| {
            for nexus in 1..=4u32 {
                let mut client = bench.connect(u64::from(nexus), parameters());
                scope.spawn(move || {
                    let bytes = vec![nexus as u8; 4096];
                    let base = nexus * 1024;
                    for index in 0..64 {
                        let cdb = cdb10(0x2A, base + index * 8, 4096, false);
                        let command = client.command(&cdb, false, true, 4096);
                        client.start(&command, &bytes);
                    }
                    for _ in 0..64 {
                        let (pdu, ..) = client.receive();
                        assert!(matches!(pdu, TargetPdu::ScsiResponse(pdu) if pdu.status == 0));
                    }
                    assert_eq!(client.read(base, 64 * 4096 / 2), vec![nexus as u8; 64 * 4096 / 2]);
                });
            }
        });
    }
}

#[test]
fn a_peer_that_reads_late_gets_everything() {
    const COMMANDS: u32 = 100;
    const LENGTH: usize = 256 << 10;
    for driver in drivers() {
        let bench = Bench::new(driver);
        let segments = SessionParameters { max_send_segment_bytes: 65_536, ..parameters() };
        let mut client = bench.connect(1, segments);
        bench.unit.device().bytes.lock().unwrap().copy_from_slice(&pattern(DEVICE_BYTES));
        // More than the session may keep for it and the sockets take.
        for index in 0..COMMANDS {
            let cdb = cdb10(0x28, index, LENGTH, false);
            let command = client.command(&cdb, true, false, LENGTH as u32);
            client.start(&command, &[]);
        }
        for index in 0..COMMANDS {
            let mut bytes = Vec::new();
            while bytes.len() < LENGTH {
                let (pdu, _, data) = client.receive();
                assert!(matches!(pdu, TargetPdu::DataIn(pdu) if pdu.task_tag == 100 + index));
                bytes.extend_from_slice(&data);
            }
            let start = index as usize * 512;
            assert!(bytes == bench.unit.device().bytes.lock().unwrap()[start..start + LENGTH]);
        }
    }
}

#[test]
fn parameters_that_login_may_not_agree_to_are_refused() {
    let bench = Bench::new(Driver::Polling);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let wrong = SessionParameters { max_outstanding_r2t: 0, ..parameters() };
    let target = Arc::clone(&bench.target);
    let outcome = bench
        .workers
        .adopt(socket.into(), wrong, Arc::new(Echo), target, NexusId(1), Bytes::new())
        .map(|_| ());
    let Err(AdoptError::Parameters(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.key, "MaxOutstandingR2T");
}

#[test]
fn text_is_answered_by_whoever_decides_it() {
    for driver in drivers() {
        let bench = Bench::new(driver);
        let mut client = bench.connect(1, parameters());
        for (text, answered) in [("X-a=1\0", true), ("no pair", false), ("X-b=1\0", true)] {
            let request = InitiatorPdu::Text(TextRequest {
                immediate: false,
                last: true,
                continued: false,
                task_tag: 7,
                transfer_tag: NO_TAG,
                cmd_sn: client.cmd_sn,
                exp_stat_sn: 0,
            });
            client.cmd_sn += 1;
            client.send(&request, text.as_bytes());
            let (pdu, _, data) = client.receive();
            match pdu {
                TargetPdu::Text(_) => assert!(answered && data == text.as_bytes()),
                other => assert!(!answered && matches!(other, TargetPdu::Reject(_)), "{other:?}"),
            }
        }
    }
}

#[test]
fn work_on_the_control_thread_is_waited_for_and_runs_side_by_side() {
    for driver in drivers() {
        let workers = Workers::start_with(1, driver).unwrap();
        let (sender, receiver) = oneshot::channel();
        std::thread::scope(|scope| {
            let first = scope.spawn(|| workers.run(move || async move { receiver.await.unwrap() }));
            let second = workers.run(move || async move { sender.send(7).unwrap() });
            assert_eq!((second, first.join().unwrap()), (Ok(()), Ok(7)));
        });
        workers.stop();
        assert!(workers.run(|| async {}).is_err());
    }
}

#[test]
fn stopping_ends_every_session_after_its_commands() {
    let bench = Bench::new(Driver::Polling);
    let mut client = bench.connect(1, parameters());
    let slow = client.command(&[0x35], false, false, 0);
    client.start(&slow, &[]);
    bench.script.wait_submitted(1);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| bench.workers.stop());
        assert!(client.at_end());
        // The command set may still use the control thread.
        assert_eq!(bench.workers.run(|| async { 5 }), Ok(5));
        let (_, reply) = bench.script.submitted.lock().unwrap().pop().unwrap();
        reply.send(good()).unwrap();
        stopping.join().unwrap();
    });
    assert_eq!(client.handle.end_reason(), Some(EndReason::Closed));
    assert_eq!(*bench.script.lost.lock().unwrap(), [NexusId(1)]);
}
