//! Whatever the region's bytes become while the handler works, nothing outside is touched, nothing
//! goes on for ever, and nothing panics.

use proptest::prelude::*;

use datapath::transport::tcmu::{Answer, Entry, Ring, layout::*};

use crate::kernel::*;

const RING_BYTES_SMALL: usize = 1024;

fn kernel(flags: u16) -> Kernel {
    let mut kernel = Kernel::new(flags, RING_BYTES_SMALL, 16);
    kernel.queue(&[0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0], Buffer::In(200)).unwrap();
    kernel.queue(&[0x2A, 0, 0, 0, 0, 1, 0, 0, 1, 0], Buffer::Out(vec![5; 300])).unwrap();
    kernel.notify(1, &[2, 3]).unwrap();
    kernel.queue_unknown(5, 16).unwrap();
    kernel.queue(&[0; 6], Buffer::None).unwrap();
    kernel
}

/// Fetches and completes until there is nothing more or an error. As many entries at most as have
/// room in the ring come out.
fn work(ring: &mut Ring, mut interfere: impl FnMut(usize)) {
    let mut tasks = Vec::new();
    for turn in 0.. {
        assert!(turn <= RING_BYTES_SMALL, "it does not end");
        interfere(turn);
        match ring.next_entry() {
            Err(_) | Ok(None) => break,
            Ok(Some(Entry::TaskManagement(_))) => {}
            Ok(Some(Entry::Command(task, _) | Entry::Refused(task, _))) => {
                let mut data = vec![0; task.data_bytes().min(1 << 20)];
                ring.gather(&task, &mut data);
                tasks.push(task);
            }
        }
    }
    while let Some(task) = tasks.pop() {
        interfere(tasks.len());
        let answer = Answer { status: 0, sense: &[1; 96], data_in: Some(&[9; 300]) };
        if ring.complete(task, &answer).is_err() {
            break;
        }
    }
}

#[test]
fn any_byte_before_the_data_may_be_any_other() {
    for flags in [0, CAP_OOOC | CAP_READ_LEN] {
        for at in 0..RING_OFFSET_BYTES + RING_BYTES_SMALL {
            for change in [0x01, 0x04, 0x08, 0x40, 0x80, 0xFF] {
                let mut kernel = kernel(flags);
                let [byte] = kernel.get(at);
                kernel.put(at, &[byte ^ change]);
                if let Ok(mut ring) = Ring::attach(kernel.map()) {
                    work(&mut ring, |_| {});
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn bytes_may_change_at_any_time(
        flags in prop::sample::select(vec![0, CAP_OOOC, CAP_OOOC | CAP_READ_LEN]),
        changes in prop::collection::vec(
            (0usize..12, 0usize..RING_OFFSET_BYTES + RING_BYTES_SMALL, any::<u8>()), 1..30),
    ) {
        let mut kernel = kernel(flags);
        let mut ring = Ring::attach(kernel.map()).unwrap();
        for _ in 0..3 {
            work(&mut ring, |turn| {
                for &(when, at, byte) in &changes {
                    if when == turn {
                        kernel.put(at, &[byte]);
                    }
                }
            });
            let _ = ring.reset();
        }
    }
}
