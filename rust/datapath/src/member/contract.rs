//! What any `BlockIo` must do, as a function that tests of every floor call.
//!
//! [`check`] runs one task under whatever executor polls it; [`check_concurrent`] keeps several
//! calls in flight at once. Both compare with plain bytes, leave arbitrary data behind, and panic
//! on the first difference, naming the seed.

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;

use crate::block_io::{BlockIo, mapped_runs};
use crate::limits::SECTOR_BYTES;
use crate::simulation::Random;

/// The most that one call of these checks transfers.
const CALL_BYTES_MAX: u64 = 1 << 20;
/// How much of a large device is used.
const WINDOW_BYTES: u64 = 6 << 20;

/// Random calls, one after the other, against a model; `rounds` of them.
pub async fn check<B: BlockIo>(device: &B, seed: u64, rounds: u32) {
    let size = device.size_bytes();
    assert!(size > 0 && size.is_multiple_of(SECTOR_BYTES), "size {size} is not whole sectors");
    let mut random = Random::new(seed);
    borders(device, &mut random).await;
    let mut model = read(device, 0, size.min(WINDOW_BYTES)).await.to_vec();
    for round in 0..rounds {
        let (offset, length) = range(&mut random, model.len() as u64);
        let part = offset as usize..(offset + length) as usize;
        match random.below(9) {
            0..=3 => {
                random.fill(&mut model[part.clone()]);
                let data = Bytes::copy_from_slice(&model[part]);
                device.write_at(offset, data).await.expect("write");
            }
            4 => {
                device.discard(offset, length).await.expect("discard");
                model[part].fill(0);
            }
            5 => {
                device.write_zeroes(offset, length).await.expect("write zeroes");
                model[part].fill(0);
            }
            6 => device.flush().await.expect("flush"),
            7 => {
                let (mapped, run) = mapped_run(device, offset, length).await;
                let run = &model[offset as usize..(offset + run) as usize];
                let zeros = run.iter().all(|byte| *byte == 0);
                assert!(mapped || zeros, "seed {seed}, round {round}: {offset} is deallocated");
            }
            _ => {
                let found = read(device, offset, length).await;
                assert!(found == model[part], "seed {seed}, round {round}: {length} at {offset}");
            }
        }
    }
    let found = read(device, 0, model.len() as u64).await;
    let difference = found.iter().zip(&model).position(|(found, wanted)| found != wanted);
    assert_eq!(difference, None, "seed {seed}: the first byte that differs");
    assert_eq!(device.size_bytes(), size, "the size changed by itself");
}

/// Rounds of calls in flight together, on ranges that do not overlap.
pub async fn check_concurrent<B: BlockIo>(device: &B, seed: u64, rounds: u32) {
    const WRITERS: u64 = 12;
    let mut random = Random::new(seed);
    let share = device.size_bytes().min(WINDOW_BYTES) / WRITERS / SECTOR_BYTES * SECTOR_BYTES;
    let base = random.below(device.size_bytes() - share * WRITERS + 1);
    let base = base / SECTOR_BYTES * SECTOR_BYTES;
    let mut model = read(device, base, share * WRITERS).await.to_vec();
    for round in 0..rounds {
        let calls = model.chunks_mut(share as usize).enumerate().map(|(index, part)| {
            let start = base + index as u64 * share;
            one_call(device, start, part, random.next_u64())
        });
        join_all(calls.collect::<Vec<_>>()).await;
        let found = read(device, base, share * WRITERS).await;
        assert!(found == model, "seed {seed}, round {round}");
    }
}

async fn one_call<B: BlockIo>(device: &B, start: u64, model: &mut [u8], seed: u64) {
    let mut random = Random::new(seed);
    let (offset, length) = range(&mut random, model.len() as u64);
    let part = &mut model[offset as usize..(offset + length) as usize];
    match random.below(6) {
        0 => device.discard(start + offset, length).await.expect("discard"),
        1 => device.write_zeroes(start + offset, length).await.expect("write zeroes"),
        _ => {
            random.fill(part);
            let data = Bytes::copy_from_slice(part);
            return device.write_at(start + offset, data).await.expect("write");
        }
    }
    part.fill(0);
}

/// The first and the last sector, and a read of exactly the buffer's length.
async fn borders<B: BlockIo>(device: &B, random: &mut Random) {
    for offset in [0, device.size_bytes() - SECTOR_BYTES] {
        let mut data = vec![0; SECTOR_BYTES as usize];
        random.fill(&mut data);
        device.write_at(offset, Bytes::copy_from_slice(&data)).await.expect("write");
        assert!(read(device, offset, SECTOR_BYTES).await == data, "the sector at {offset}");
        let mut roomy = BytesMut::with_capacity(4 * SECTOR_BYTES as usize);
        roomy.resize(SECTOR_BYTES as usize, 0);
        let (outcome, roomy) = device.read_at(offset, roomy).await;
        outcome.expect("read");
        assert!(roomy == data, "a buffer with spare capacity is filled to its length only");
    }
    device.flush().await.expect("flush");
}

async fn read<B: BlockIo>(device: &B, offset: u64, length: u64) -> BytesMut {
    let mut now = vec![0xA5; length as usize];
    let is_filled = device.read_now(offset, &mut now);
    let (outcome, buffer) = device.read_at(offset, BytesMut::zeroed(length as usize)).await;
    outcome.expect("read");
    assert!(!is_filled || now == buffer, "what is read now is not what is read");
    assert_eq!(buffer.len() as u64, length, "the buffer came back with another length");
    buffer
}

async fn mapped_run<B: BlockIo>(device: &B, offset: u64, length: u64) -> (bool, u64) {
    let (mapped, run) = device.mapped_run(offset, length).await.expect("what is mapped");
    let whole = run > 0 && run <= length && run.is_multiple_of(SECTOR_BYTES);
    assert!(whole, "a run of {run} bytes in {length} at {offset}");
    (mapped, run)
}

/// What is discarded in whole granules is deallocated, what is written is mapped, and what shares a
/// granule with data reads as zeros all the same. For devices that give space back.
pub async fn check_discards<B: BlockIo>(device: &B, seed: u64, rounds: u32) {
    let mut random = Random::new(seed);
    let granule = device.unmap_granularity_bytes();
    let granules = device.size_bytes().min(WINDOW_BYTES) / granule;
    assert!(granule.is_multiple_of(SECTOR_BYTES) && granules > 2, "granules of {granule} bytes");
    for round in 0..rounds {
        let first = random.below(granules - 2);
        let count = 1 + random.below((granules - first - 1).min(40));
        let (offset, length) = (first * granule, count * granule);
        let mut data = vec![0; (length + granule) as usize];
        random.fill(&mut data);
        device.write_at(offset, Bytes::from(data)).await.expect("write");
        let runs = mapped_runs(device, offset, length + granule).await.expect("what is mapped");
        assert_eq!(runs, [(length + granule, true)], "seed {seed}, round {round}: written");
        // The last sector of the last granule stays, so the granule does.
        let cut = length + granule - SECTOR_BYTES;
        device.discard(offset, cut).await.expect("discard");
        assert!(read(device, offset, cut).await.iter().all(|byte| *byte == 0));
        let runs = mapped_runs(device, offset, length + granule).await.expect("what is mapped");
        assert_eq!(runs[0], (length, false), "seed {seed}, round {round}: {runs:?}");
        assert!(runs.last().is_some_and(|last| last.1), "the data at the end: {runs:?}");
    }
}

/// A range of whole sectors within `size`: often short, sometimes long.
fn range(random: &mut Random, size: u64) -> (u64, u64) {
    let sectors = size / SECTOR_BYTES;
    let longest = [8, 64, CALL_BYTES_MAX / SECTOR_BYTES][random.below(3) as usize];
    let length = 1 + random.below(longest.min(sectors));
    let offset = random.below(sectors - length + 1);
    (offset * SECTOR_BYTES, length * SECTOR_BYTES)
}
