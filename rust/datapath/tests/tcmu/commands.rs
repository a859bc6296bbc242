//! One command at a time: what comes out of its entry, and what its answer becomes.

use datapath::scsi::Cdb;
use datapath::transport::tcmu::{Answer, Entry, Refusal, Ring, RingError, Task, layout::*};

use crate::kernel::*;

const ALL: u16 = CAP_OOOC | CAP_READ_LEN | CAP_TMR | CAP_KEEP_BUF;
const READ: [u8; 10] = [0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0];

fn pair(flags: u16) -> (Kernel, Ring) {
    let kernel = Kernel::new(flags, 4096, 64);
    let ring = Ring::attach(kernel.map()).unwrap();
    (kernel, ring)
}

fn command(ring: &mut Ring) -> (Task, Cdb) {
    match ring.next_entry().unwrap() {
        Some(Entry::Command(task, cdb)) => (task, cdb),
        other => panic!("{other:?}"),
    }
}

fn refused(ring: &mut Ring) -> Refusal {
    match ring.next_entry().unwrap() {
        Some(Entry::Refused(task, refusal)) => {
            ring.complete(task, &Answer { status: 2, sense: &[0x70], data_in: None }).unwrap();
            refusal
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_ring_has_nothing() {
    let (kernel, mut ring) = pair(ALL);
    assert!(ring.next_entry().unwrap().is_none());
    assert!(!ring.take_wake());
    assert_eq!((kernel.head(), kernel.tail()), (0, 0));
    let capabilities = ring.capabilities();
    assert!(capabilities.out_of_order && capabilities.read_length && capabilities.task_management);
}

#[test]
fn data_out_is_gathered() {
    let (mut kernel, mut ring) = pair(ALL);
    let data: Vec<u8> = (0..300u32).map(|byte| byte as u8).collect();
    let cdb = [0x2A, 0, 0, 0, 0, 1, 0, 0, 1, 0];
    let identifier = kernel.queue(&cdb, Buffer::Out(data.clone())).unwrap();
    let (task, given) = command(&mut ring);
    assert_eq!((task.identifier(), task.data_bytes()), (identifier, 300));
    assert_eq!(given, Cdb::Fixed([0x2A, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]));
    let mut longer = vec![0xAA; 310];
    assert_eq!(ring.gather(&task, &mut longer), 300);
    assert_eq!((&longer[..300], &longer[300..]), (&data[..], &[0xAA; 10][..]));
    let mut shorter = vec![0; 100];
    assert_eq!(ring.gather(&task, &mut shorter), 100);
    assert_eq!(shorter, data[..100]);
    assert_eq!(ring.unanswered_count(), 1);
    ring.complete(task, &Answer { status: 0, sense: &[], data_in: None }).unwrap();
    assert!(ring.take_wake() && !ring.take_wake());
    let outcome = Outcome { identifier, status: 0, data_in: vec![], sense: vec![] };
    assert_eq!(kernel.take_answers(), [outcome]);
    assert_eq!((ring.unanswered_count(), kernel.head()), (0, kernel.tail()));
}

/// Status, Data-In, what the initiator gets with READ_LEN, and without.
#[test]
fn data_in_is_scattered_and_never_shows_what_was_there() {
    let data: Vec<u8> = (1..=200).collect();
    let filled = |length: usize| [&data[..length], &vec![0; 200 - length]].concat();
    let table = [
        (0, Some(200), data.clone(), data.clone()),
        (0, Some(100), data[..100].to_vec(), filled(100)),
        (0, Some(64), data[..64].to_vec(), filled(64)),
        (0, Some(0), filled(0), filled(0)),
        (2, Some(50), data[..50].to_vec(), vec![]),
        (2, None, vec![], vec![]),
        (8, None, vec![], vec![]),
    ];
    for (status, length, told, untold) in table {
        for (flags, wanted) in [(ALL, &told), (CAP_OOOC, &untold)] {
            let (mut kernel, mut ring) = pair(flags);
            for _ in 0..2 {
                kernel.queue(&READ, Buffer::In(200)).unwrap();
                let (task, _) = command(&mut ring);
                let data_in = length.map(|length| &data[..length]);
                let sense = [0x72; 20];
                let sense = if status == 2 { &sense[..] } else { &[] };
                ring.complete(task, &Answer { status, sense, data_in }).unwrap();
                let [outcome] = &kernel.take_answers()[..] else { panic!() };
                assert_eq!((outcome.status, &outcome.data_in), (status, wanted), "{length:?}");
                if status == 2 {
                    assert_eq!(outcome.sense, [&[0x72; 20][..], &[0; 76]].concat());
                }
            }
        }
    }
}

/// Data-In that is put right where it belongs: what the initiator gets with READ_LEN, and without.
#[test]
fn data_in_is_filled_in_place() {
    for (flags, behind) in [(ALL, 0), (CAP_OOOC, 140)] {
        let mut kernel = Kernel::with_pages(flags, 4096, 8, 4096);
        let mut ring = Ring::attach(kernel.map()).unwrap();
        kernel.queue(&READ, Buffer::In(200)).unwrap();
        let (task, _) = command(&mut ring);
        assert_eq!(ring.fill(&task, 200, |_| None), Ok(None));
        let filled = ring.fill(&task, 200, |room| {
            assert_eq!(room.len(), 200);
            room[..60].fill(9);
            Some(60)
        });
        assert_eq!(filled, Ok(Some(60)));
        ring.complete_filled(task, 60).unwrap();
        let [outcome] = &kernel.take_answers()[..] else { panic!() };
        let wanted = [vec![9; 60], vec![0; behind]].concat();
        assert_eq!((outcome.status, &outcome.data_in), (0, &wanted));
    }
}

#[test]
fn what_is_in_pieces_or_gone_is_not_filled() {
    let (mut kernel, mut ring) = pair(ALL);
    kernel.queue(&READ, Buffer::In(200)).unwrap();
    kernel.queue(&READ, Buffer::In(PAGE_BYTES)).unwrap();
    let (pieces, _) = command(&mut ring);
    let (whole, _) = command(&mut ring);
    assert_eq!(ring.fill(&pieces, 200, |_| panic!("they lie apart")), Ok(None));
    assert_eq!(ring.fill(&pieces, PAGE_BYTES, |room| Some(room.len())), Ok(Some(PAGE_BYTES)));
    kernel.reset();
    let fill = |_: &mut [u8]| panic!("its pages may be others' by now");
    assert_eq!(ring.fill(&whole, PAGE_BYTES, fill), Err(RingError::Head(0)));
    ring.reset().unwrap();
    assert_eq!(ring.fill(&whole, PAGE_BYTES, fill), Ok(None));
    ring.complete_filled(whole, PAGE_BYTES).unwrap();
    assert!(kernel.take_answers().is_empty());
}

#[test]
fn more_data_than_the_buffer_holds_is_cut() {
    let (mut kernel, mut ring) = pair(ALL);
    kernel.queue(&READ, Buffer::In(100)).unwrap();
    kernel.queue(&READ, Buffer::In(100)).unwrap();
    let (first, _) = command(&mut ring);
    let (second, _) = command(&mut ring);
    let data = [7; 400];
    ring.complete(first, &Answer { status: 0, sense: &[], data_in: Some(&data) }).unwrap();
    ring.complete(second, &Answer { status: 0, sense: &[], data_in: Some(&[8; 100]) }).unwrap();
    let got: Vec<_> = kernel.take_answers().into_iter().map(|outcome| outcome.data_in).collect();
    assert_eq!(got, [vec![7; 100], vec![8; 100]]);
}

#[test]
fn long_sense_data_is_cut() {
    let (mut kernel, mut ring) = pair(ALL);
    kernel.queue(&READ, Buffer::None).unwrap();
    kernel.queue(&READ, Buffer::None).unwrap();
    let (task, _) = command(&mut ring);
    ring.complete(task, &Answer { status: 2, sense: &[0x5A; 252], data_in: None }).unwrap();
    assert_eq!(kernel.take_answers()[0].sense, [0x5A; 96]);
    command(&mut ring);
}

#[test]
fn a_cdb_is_as_long_as_its_operation_code_says() {
    // Operation code, bytes that the kernel passes on.
    let table = [
        (0x00, 6),
        (0x1F, 6),
        (0x28, 10),
        (0x5F, 10),
        (0x60, 12),
        (0x7E, 12),
        (0x88, 16),
        (0x9F, 16),
        (0xA8, 12),
        (0xBF, 12),
        (0xC0, 10),
        (0xC1, 10),
        (0xFF, 10),
    ];
    for (code, length) in table {
        let (mut kernel, mut ring) = pair(ALL);
        let mut cdb = [0xFF; 16];
        cdb[0] = code;
        kernel.queue(&cdb, Buffer::None).unwrap();
        cdb[length..].fill(0);
        assert_eq!(command(&mut ring).1, Cdb::Fixed(cdb), "{code:02X}");
    }
}

#[test]
fn a_cdb_of_variable_length_comes_whole() {
    for additional in [0x00, 0x08, 0x18, 0xFC] {
        let (mut kernel, mut ring) = pair(ALL);
        let mut cdb = vec![0x5A; 8 + additional];
        (cdb[0], cdb[7]) = (0x7F, additional as u8);
        kernel.queue(&cdb, Buffer::None).unwrap();
        let (_, given) = command(&mut ring);
        cdb.resize(cdb.len().max(16), 0);
        assert_eq!(given[..], cdb[..]);
    }
    // No CDB is that long.
    let (mut kernel, mut ring) = pair(ALL);
    let mut cdb = vec![0x5A; 8 + 0xFD];
    (cdb[0], cdb[7]) = (0x7F, 0xFD);
    kernel.queue(&cdb, Buffer::None).unwrap();
    assert_eq!(refused(&mut ring), Refusal::Cdb);
    // It says that it is longer than the entry.
    cdb.truncate(32);
    kernel.queue(&cdb, Buffer::None).unwrap();
    assert_eq!(refused(&mut ring), Refusal::Cdb);
}

/// What is wrong with one command ends that command: field, value, refusal.
#[test]
fn a_request_that_cannot_be_is_refused_and_answered() {
    let length = Kernel::new(ALL, 4096, 64).length() as u64;
    let data = (RING_OFFSET_BYTES + 4096) as u64;
    let table: [(usize, &[u8], Refusal); 15] = [
        (IOV_BIDI_COUNT, &1u32.to_ne_bytes(), Refusal::Bidirectional),
        (IOV_DIF_COUNT, &1u32.to_ne_bytes(), Refusal::Protection),
        (IOV_COUNT, &u32::MAX.to_ne_bytes(), Refusal::Iovecs),
        (IOV_COUNT, &6u32.to_ne_bytes(), Refusal::Iovecs),
        // Five iovecs leave no place for the CDB where it is.
        (IOV_COUNT, &5u32.to_ne_bytes(), Refusal::Cdb),
        (CDB_OFFSET, &0u64.to_ne_bytes(), Refusal::Cdb),
        (CDB_OFFSET, &u64::MAX.to_ne_bytes(), Refusal::Cdb),
        (CDB_OFFSET, &(RING_OFFSET_BYTES as u64).to_ne_bytes(), Refusal::Cdb),
        (CDB_OFFSET, &data.to_ne_bytes(), Refusal::Cdb),
        (CDB_OFFSET, &(RING_OFFSET_BYTES as u64 + 126).to_ne_bytes(), Refusal::Cdb),
        (IOVECS, &(data - 1).to_ne_bytes(), Refusal::Data),
        (IOVECS, &0u64.to_ne_bytes(), Refusal::Data),
        (IOVECS, &(length - 63).to_ne_bytes(), Refusal::Data),
        (IOVECS + 8, &u64::MAX.to_ne_bytes(), Refusal::Data),
        (IOVECS + 8, &(64 * 64 + 1u64).to_ne_bytes(), Refusal::Data),
    ];
    for (field, value, refusal) in table {
        let (mut kernel, mut ring) = pair(ALL);
        // One iovec and ten bytes of CDB: 128 bytes, with room for five iovecs.
        let identifier = kernel.queue(&READ, Buffer::In(64)).unwrap();
        kernel.queue(&READ, Buffer::None).unwrap();
        kernel.put(kernel.entry(0) + field, value);
        assert_eq!(refused(&mut ring), refusal, "{field} {value:?}");
        assert_eq!(kernel.take_answers()[0].identifier, identifier);
        command(&mut ring);
    }
}

#[test]
fn pages_named_twice_are_refused_where_they_exceed_the_data_area() {
    let mut kernel = Kernel::new(ALL, 4096, 4);
    let mut ring = Ring::attach(kernel.map()).unwrap();
    let area = (RING_OFFSET_BYTES + 4096) as u64;
    // The data area's 256 bytes, and then none or one more of them.
    for more in 0..2u64 {
        let entry = kernel.entry(kernel.head());
        kernel.queue(&READ, Buffer::In(128)).unwrap();
        kernel.put(entry + IOV_COUNT, &2u32.to_ne_bytes());
        for (index, value) in [area, 256, area, more].into_iter().enumerate() {
            kernel.put(entry + IOVECS + index * 8, &value.to_ne_bytes());
        }
    }
    assert_eq!(command(&mut ring).0.data_bytes(), 256);
    assert_eq!(refused(&mut ring), Refusal::Data);
}
