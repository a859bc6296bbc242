//! The record file by itself: what it keeps, and what it does not take for its own.

use std::os::unix::fs::FileExt;
use std::path::Path;

use datapath::transport::tcmu::records::{RecordedOutcome, Records};

const SLOTS: usize = 64;

fn path(directory: &tempfile::TempDir) -> std::path::PathBuf {
    directory.path().join("records")
}

fn outcome(length: usize) -> RecordedOutcome {
    RecordedOutcome { status: 2, sense: vec![0x5A; length] }
}

#[test]
fn what_was_noted_is_there_for_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let mut records = Records::open(&path(&directory)).unwrap();
    let begun = records.begin(7).unwrap();
    let ended = records.begin(8).unwrap();
    let freed = records.begin(9).unwrap();
    records.end(ended, outcome(96)).unwrap();
    records.free(freed).unwrap();

    let mut records = Records::open(&path(&directory)).unwrap();
    assert!(!records.was_damaged());
    assert_eq!(records.find(7, [begun, 0]), Some((begun, None)));
    assert_eq!(records.find(8, [0, ended]), Some((ended, Some(outcome(96)))));
    assert_eq!(records.find(9, [freed, 0]), None);
    assert_eq!(records.find(8, [begun, 0]), None, "both numbers count");
    assert_eq!(records.find(7, [ended, freed]), None);
    assert_eq!(records.find(7, [0, 0]), None);
    records.keep(&[ended]).unwrap();
    assert_eq!(records.in_use(), 1);
    assert_eq!(Records::open(&path(&directory)).unwrap().in_use(), 1);
}

#[test]
fn there_is_room_for_so_many_and_tickets_differ() {
    let directory = tempfile::tempdir().unwrap();
    let mut records = Records::open(&path(&directory)).unwrap();
    let mut tickets: Vec<u64> = (0..SLOTS).map(|_| records.begin(1).unwrap()).collect();
    assert!(!records.has_room());
    records.free(tickets[40]).unwrap();
    tickets.push(records.begin(1).unwrap());
    assert!(!records.has_room());
    tickets.sort_unstable();
    tickets.dedup();
    assert_eq!(tickets.len(), SLOTS + 1);
    assert!(!tickets.contains(&0));
}

fn damaged(change: impl FnOnce(&Path)) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let path = path(&directory);
    Records::open(&path).unwrap().begin(3).unwrap();
    change(&path);
    let mut records = Records::open(&path).unwrap();
    assert_eq!(records.in_use(), usize::from(!records.was_damaged()));
    records.begin(4).unwrap();
    let again = Records::open(&path).unwrap();
    assert_eq!((again.was_damaged(), again.in_use()), (false, records.in_use()));
    records.was_damaged()
}

#[test]
fn a_file_that_is_not_understood_is_begun_anew() {
    let put = |at: u64, byte: u8| {
        move |path: &Path| {
            let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            file.write_all_at(&[byte], at).unwrap();
        }
    };
    assert!(!damaged(|_| {}));
    assert!(damaged(put(0, b'x')), "magic");
    assert!(damaged(put(8, 2)), "version");
    assert!(damaged(put(12, 65)), "slots");
    assert!(damaged(put(128 + 10, 3)), "phase");
    assert!(damaged(|path| {
        put(128 + 10, 2)(path);
        put(128 + 12, 97)(path);
    }));
    assert!(damaged(put(8320, 0)), "length");
    assert!(damaged(|path| {
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(100).unwrap();
    }));
}
