//! Any bytes as the region of a TCMU device, changed while the ring is worked on: nothing outside of
//! it is touched (the address sanitizer sees that), nothing of the mailbox but cmd_tail is written,
//! and each command that came out counts as unanswered.
//!
//! An input is a script and the region. Each step of the script takes four bytes.
#![no_main]

use std::ptr::NonNull;

use libfuzzer_sys::fuzz_target;

use datapath::transport::tcmu::layout::{TAIL, TMR_IDENTIFIERS};
use datapath::transport::tcmu::{Answer, Entry, Region, Ring, Task};

/// More data than this at once is only more of the same.
const DATA_BYTES_MAX: usize = 64 << 10;

/// The kernel's side of the region: as raw as the handler's.
struct Memory {
    base: *mut u8,
    length: usize,
}

impl Memory {
    fn poke(&self, at: usize, byte: u8) {
        if at < self.length {
            // SAFETY: the offset was checked, the memory outlives the run, and one thread uses it.
            unsafe { self.base.add(at).write(byte) }
        }
    }

    /// All of the mailbox that is the kernel's.
    fn mailbox(&self) -> Vec<u8> {
        let bytes = (0..self.length.min(TAIL)).chain(TAIL + 4..self.length.min(TAIL + 4));
        // SAFETY: as in `poke`.
        bytes.map(|at| unsafe { self.base.add(at).read() }).collect()
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&steps, rest)) = data.split_first() else { return };
    let Some((script, bytes)) = rest.split_at_checked(usize::from(steps) * 4) else { return };
    let mut words: Vec<u64> =
        bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
    let memory = Memory { base: words.as_mut_ptr().cast(), length: words.len() * 8 };
    let Some(base) = NonNull::new(memory.base) else { return };
    // SAFETY: `words` outlives the region, is aligned, and is reached by `base` alone from here on.
    let region = unsafe { Region::new(base, memory.length) };
    let Ok(mut ring) = Ring::attach(region) else { return };
    let mut tasks: Vec<Task> = Vec::new();
    for step in script.chunks_exact(4) {
        let number = u16::from_le_bytes([step[1], step[2]]);
        let mailbox = memory.mailbox();
        match step[0] % 8 {
            0..3 => fetch(&mut ring, &mut tasks, memory.length),
            3..6 if !tasks.is_empty() => {
                let task = tasks.swap_remove(usize::from(number) % tasks.len());
                let data = vec![step[3]; usize::from(number)];
                let data_in = (step[0] & 0x80 == 0).then_some(&data[..]);
                let answer =
                    Answer { status: step[3], sense: &data[..data.len().min(252)], data_in };
                // A quarter of the commands have tickets, which are given back with their answers;
                // every other one of these gives way.
                if step[0] & 0x60 == 0x60 {
                    let _ = ring.note_ticket(&task, u64::from(number) + 1, step[3] & 1 == 1);
                }
                let before = ring.unanswered_count();
                let fill = |room: &mut [u8]| {
                    room.fill(step[3]);
                    Some(room.len())
                };
                let _ = match ring.fill(&task, usize::from(number), fill) {
                    Ok(Some(length)) if step[0] & 0x10 != 0 => ring.complete_filled(task, length),
                    _ => ring.complete(task, &answer),
                };
                assert!(ring.unanswered_count() <= before);
                let tickets = std::iter::from_fn(|| ring.take_answered_ticket()).count();
                assert!(tickets <= before - ring.unanswered_count());
            }
            6 => memory.poke(usize::from(number), step[3]),
            7 => {
                let before = ring.unanswered_count();
                let after = if ring.reset().is_ok() { 0 } else { before };
                assert_eq!(ring.unanswered_count(), after);
                // Half of the times the commands from before are still around.
                if step[3] & 1 == 0 {
                    tasks.clear();
                }
            }
            _ => {}
        }
        if step[0] % 8 != 6 {
            assert_eq!(memory.mailbox(), mailbox);
        }
    }
});

/// One entry comes out, and counts as unanswered where it is to be answered.
fn fetch(ring: &mut Ring, tasks: &mut Vec<Task>, length: usize) {
    let (unanswered, taken) = (ring.unanswered_count(), tasks.len());
    match ring.next_entry() {
        Ok(Some(Entry::Command(task, cdb))) => {
            assert!((16..=260).contains(&cdb.len()));
            assert!(task.data_bytes() <= length);
            let mut data = vec![0; task.data_bytes().min(DATA_BYTES_MAX)];
            assert_eq!(ring.gather(&task, &mut data), data.len());
            tasks.push(task);
        }
        Ok(Some(Entry::Refused(task, _))) => {
            assert_eq!(task.data_bytes(), 0);
            tasks.push(task);
        }
        Ok(Some(Entry::TaskManagement(notified))) => {
            assert!(TMR_IDENTIFIERS + notified.identifiers.len() * 2 <= length);
        }
        Ok(None) | Err(_) => {}
    }
    assert_eq!(ring.unanswered_count() - unanswered, tasks.len() - taken);
}
