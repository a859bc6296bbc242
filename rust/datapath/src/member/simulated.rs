//! A member that keeps what was flushed apart from what was only written, and can lose power.
//!
//! All members of one [`Power`] lose it together. Every write, zeroing and flush is a step; the cut
//! comes at a step that the test names, or whenever it calls [`Power::cut`]. From then on no call
//! ever completes. [`SimulatedMember::survivor`] then gives what the medium kept: everything
//! flushed, and of each other write all, nothing or some of its 512-byte sectors, as the seed says.
//!
//! A flush covers what was completed before it was called; writes still in flight may or may not be
//! covered.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::Member;
use super::image::{Image, PAGE_BYTES};
use crate::block_io::{BlockIo, ReadResult};
use crate::error::IoError;
use crate::limits::SECTOR_BYTES;
use crate::simulation::{Random, yield_now};

/// The power supply of one or more members.
#[derive(Debug)]
pub struct Power {
    steps: AtomicU64,
    cut_at_step: AtomicU64,
    off: AtomicBool,
}

impl Power {
    /// Power that stays on until it is cut.
    pub fn new() -> Arc<Self> {
        Self::cut_at(u64::MAX)
    }

    /// Power that goes at step `step`, the first being 1: a write at that step is left unflushed,
    /// a flush at that step has made nothing durable.
    pub fn cut_at(step: u64) -> Arc<Self> {
        Arc::new(Self {
            steps: AtomicU64::new(0),
            cut_at_step: AtomicU64::new(step),
            off: AtomicBool::new(false),
        })
    }

    /// Sets the cut to the step after `steps` more.
    pub fn cut_after(&self, steps: u64) {
        self.cut_at_step.store(self.steps() + steps + 1, Ordering::SeqCst);
    }

    /// Cuts the power now.
    pub fn cut(&self) {
        self.off.store(true, Ordering::SeqCst);
    }

    /// Whether it was cut.
    pub fn is_off(&self) -> bool {
        self.off.load(Ordering::SeqCst)
    }

    /// Writes, zeroings and flushes so far.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    /// Counts a step; true when the power goes in it.
    fn step(&self) -> bool {
        let step = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
        let cut = step >= self.cut_at_step.load(Ordering::SeqCst);
        if cut {
            self.cut();
        }
        cut
    }
}

/// What changed and is not flushed: bytes, or zeros where there is no `data`.
struct Change {
    offset_bytes: u64,
    length_bytes: u64,
    data: Option<Bytes>,
}

struct Unflushed {
    change: Change,
    completed: bool,
}

struct State {
    /// What survives for certain.
    durable: Image,
    /// What reads see.
    current: Image,
    /// The changes between the two, in the order they were made, counted from `first_unflushed`.
    unflushed: VecDeque<Unflushed>,
    first_unflushed: u64,
    delays: Option<Random>,
    writes: u64,
    flushes: u64,
}

/// A member in memory, for tests. A clone is another handle of the same medium.
#[derive(Clone)]
pub struct SimulatedMember {
    name: Arc<str>,
    power: Arc<Power>,
    state: Arc<Mutex<State>>,
    size_bytes: u64,
}

impl SimulatedMember {
    /// An empty medium of `size_bytes`.
    pub fn new(name: &str, size_bytes: u64, power: &Arc<Power>) -> Self {
        Self::over(name, Image::new(size_bytes), power)
    }

    fn over(name: &str, image: Image, power: &Arc<Power>) -> Self {
        let size_bytes = image.size_bytes();
        let state = State {
            durable: image.clone(),
            current: image,
            unflushed: VecDeque::new(),
            first_unflushed: 0,
            delays: None,
            writes: 0,
            flushes: 0,
        };
        let state = Arc::new(Mutex::new(state));
        Self { name: name.into(), power: power.clone(), state, size_bytes }
    }

    /// Each call lets other tasks run a few times, as `seed` says, before and after its effect.
    pub fn with_delays(self, seed: u64) -> Self {
        self.lock().delays = Some(Random::new(seed));
        self
    }

    /// What the medium holds after a power cut: a member of its own on `power`.
    pub fn survivor(&self, seed: u64, power: &Arc<Power>) -> Self {
        let state = self.lock();
        let mut random = Random::new(seed);
        let mut image = state.durable.clone();
        for entry in &state.unflushed {
            survive(&mut image, &entry.change, &mut random);
        }
        Self::over(&self.name, image, power)
    }

    /// The medium as it reads now, as a member of its own on `power`: a restart without a cut.
    pub fn copy(&self, power: &Arc<Power>) -> Self {
        Self::over(&self.name, self.lock().current.clone(), power)
    }

    /// Writes and zeroings so far.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Flushes so far.
    pub fn flushes(&self) -> u64 {
        self.lock().flushes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn delay(&self) {
        let turns = self.lock().delays.as_mut().map_or(0, |random| random.below(4));
        for _ in 0..turns {
            yield_now().await;
        }
        self.while_powered().await;
    }

    /// Never returns once the power is off.
    async fn while_powered(&self) {
        if self.power.is_off() {
            std::future::pending::<()>().await;
        }
    }

    async fn change(&self, change: Change) -> Result<(), IoError> {
        self.delay().await;
        let number = {
            let mut state = self.lock();
            state.writes += 1;
            apply(&mut state.current, &change);
            state.unflushed.push_back(Unflushed { change, completed: false });
            state.first_unflushed + state.unflushed.len() as u64 - 1
        };
        self.power.step();
        self.delay().await;
        let mut state = self.lock();
        // A flush in between may have covered it already.
        if let Some(index) = number.checked_sub(state.first_unflushed) {
            state.unflushed[index as usize].completed = true;
        }
        Ok(())
    }
}

impl BlockIo for SimulatedMember {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    async fn read_at(&self, offset_bytes: u64, mut buffer: BytesMut) -> ReadResult {
        self.delay().await;
        self.lock().current.read(offset_bytes, &mut buffer);
        self.delay().await;
        (Ok(()), buffer)
    }

    fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        let mut state = self.lock();
        let waits = state.delays.as_mut().is_some_and(|random| random.below(2) == 0);
        if waits || self.power.is_off() {
            return false;
        }
        state.current.read(offset_bytes, buffer);
        true
    }

    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        let length_bytes = data.len() as u64;
        self.change(Change { offset_bytes, length_bytes, data: Some(data) }).await
    }

    async fn flush(&self) -> Result<(), IoError> {
        let end = {
            let state = self.lock();
            let covered = state.unflushed.iter().rposition(|entry| entry.completed);
            covered.map_or(0, |last| state.first_unflushed + last as u64 + 1)
        };
        self.delay().await;
        let cut = self.power.step();
        self.while_powered().await;
        debug_assert!(!cut, "a flush in which the power goes does not return");
        {
            let mut state = self.lock();
            state.flushes += 1;
            while state.first_unflushed < end {
                let entry = state.unflushed.pop_front().expect("numbers run without gaps");
                apply(&mut state.durable, &entry.change);
                state.first_unflushed += 1;
            }
        }
        self.delay().await;
        Ok(())
    }

    async fn discard(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.change(Change { offset_bytes, length_bytes, data: None }).await
    }

    async fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.change(Change { offset_bytes, length_bytes, data: None }).await
    }

    async fn mapped_run(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(bool, u64), IoError> {
        self.delay().await;
        let run = self.lock().current.mapped_run(offset_bytes, length_bytes);
        self.delay().await;
        Ok(run)
    }

    fn unmap_granularity_bytes(&self) -> u64 {
        PAGE_BYTES as u64
    }
}

impl Member for SimulatedMember {
    fn name(&self) -> &str {
        &self.name
    }
}

fn apply(image: &mut Image, change: &Change) {
    match &change.data {
        Some(data) => image.write(change.offset_bytes, data),
        None => image.zero(change.offset_bytes, change.length_bytes),
    }
}

/// Applies all, nothing, or a random choice of the sectors of `change`.
fn survive(image: &mut Image, change: &Change, random: &mut Random) {
    match random.below(3) {
        0 => {}
        1 => apply(image, change),
        _ => {
            for start in (0..change.length_bytes).step_by(SECTOR_BYTES as usize) {
                if random.chance(1, 2) {
                    apply(image, &change.sector(start));
                }
            }
        }
    }
}

impl Change {
    /// The part of the change that is the sector `start` bytes into it.
    fn sector(&self, start: u64) -> Self {
        let part = start as usize..(start + SECTOR_BYTES) as usize;
        Self {
            offset_bytes: self.offset_bytes + start,
            length_bytes: SECTOR_BYTES,
            data: self.data.as_ref().map(|data| data.slice(part)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::Simulation;

    const SIZE_BYTES: u64 = 64 << 10;

    fn first_byte(member: &SimulatedMember, offset_bytes: u64) -> u8 {
        let member = member.clone();
        let read = Simulation::new(0)
            .run(async move { member.read_at(offset_bytes, BytesMut::zeroed(512)).await });
        read.unwrap().1[0]
    }

    #[test]
    fn flushed_data_survives_and_unflushed_data_may_not() {
        let power = Power::new();
        let member = SimulatedMember::new("a", SIZE_BYTES, &power);
        let handle = member.clone();
        Simulation::new(1)
            .run(async move {
                member.write_at(0, Bytes::from(vec![1; 4096])).await.unwrap();
                member.flush().await.unwrap();
                member.write_at(0, Bytes::from(vec![2; 4096])).await.unwrap();
            })
            .unwrap();
        let mut seen = std::collections::BTreeSet::new();
        let mut torn = false;
        for seed in 0..64 {
            let survivor = handle.survivor(seed, &Power::new());
            let bytes: Vec<u8> = (0..8).map(|sector| first_byte(&survivor, sector * 512)).collect();
            torn |= bytes.iter().any(|byte| *byte != bytes[0]);
            seen.extend(bytes);
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 2]);
        assert!(torn, "some seed tears the write");
    }

    #[test]
    fn no_call_completes_after_the_cut() {
        let power = Power::cut_at(2);
        let member = SimulatedMember::new("a", SIZE_BYTES, &power);
        let handle = member.clone();
        let outcome = Simulation::new(1).run(async move {
            member.write_at(0, Bytes::from(vec![1; 512])).await.unwrap();
            member.flush().await.unwrap();
        });
        assert!(outcome.is_err() && power.is_off());
        let lost = (0..32).any(|seed| first_byte(&handle.survivor(seed, &Power::new()), 0) == 0);
        assert!(lost, "the flush that was cut made nothing durable");
    }
}
