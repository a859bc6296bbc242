//! What a served ring costs, without the medium: `cargo test --release -p datapath --test tcmu -- \
//! --ignored --nocapture bench`. The simulated kernel, which copies and checks, is on a thread of its
//! own and often the slower side; so the time that the ring's thread ran is told beside the rate.

use std::time::Instant;

use datapath::transport::tcmu::layout::*;

use crate::device::*;
use crate::kernel::*;

const DEPTH: usize = 32;

/// How long the threads of sessions and rings have run, in nanoseconds.
fn ran_ns() -> u64 {
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap();
        if name.starts_with("session-") {
            let stat = std::fs::read_to_string(path.join("schedstat")).unwrap();
            total += stat.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    total
}

#[test]
#[ignore = "a measurement"]
fn bench() {
    for driver in drivers() {
        for (blocks, commands) in [(8u8, 100_000), (128, 20_000)] {
            for is_read in [true, false] {
                let kernel = Kernel::with_pages(CAP_OOOC | CAP_READ_LEN, 1 << 20, DEPTH, 128 * 512);
                let mut machine = Machine::new(kernel, driver);
                let ring = machine.attach_settled();
                let length = usize::from(blocks) * 512;
                let (start, ran, mut answered, mut queued) = (Instant::now(), ran_ns(), 0, 0);
                while answered < commands {
                    let mut room = DEPTH - (queued - answered);
                    while queued < commands && room > 0 {
                        let queued_one = match is_read {
                            true => machine.kernel.queue(&read(0, blocks), Buffer::In(length)),
                            false => {
                                let data = Buffer::Out(vec![1; length]);
                                machine.kernel.queue(&write(0, blocks), data)
                            }
                        };
                        queued_one.unwrap();
                        (queued, room) = (queued + 1, room - 1);
                    }
                    machine.ring();
                    answered += machine.some_answers();
                }
                let (took, ran) = (start.elapsed(), ran_ns() - ran);
                println!(
                    "{driver:?} {} of {} KiB: {:.0} commands/s, {} ns each on the ring's thread",
                    if is_read { "READ" } else { "WRITE" },
                    length / 1024,
                    commands as f64 / took.as_secs_f64(),
                    ran / commands as u64,
                );
                ring.stop();
                ring.wait_ended();
            }
        }
    }
}
