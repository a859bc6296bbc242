//! A decorator that makes a member misbehave as its plan says.
//!
//! Faults are kept apart by kind of call. An *error* fails the call before it reaches the member; a
//! *torn* write reaches it with its first half only and then fails; a *lost* write is acknowledged
//! and never reaches it. [`FaultPlan`] is shared: a test keeps a handle and changes it while the
//! member is in use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::Member;
use crate::block_io::{BlockIo, ReadResult};
use crate::error::IoError;
use crate::limits::SECTOR_BYTES;
use crate::simulation::{Random, yield_now};

/// What a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Reads.
    Read,
    /// Writes, discards and zeroings.
    Write,
    /// Flushes.
    Flush,
    /// Takings of space, which find none.
    Allocate,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and has no effect.
    Error,
    /// The first half of a write arrives; it fails.
    Torn,
    /// A write succeeds and has no effect.
    Lost,
}

/// Faults to come.
#[derive(Default)]
pub struct FaultPlan {
    state: Mutex<PlanState>,
}

#[derive(Default)]
struct PlanState {
    /// Strikes once, at the call of its kind that many calls from now.
    scripted: Vec<(Call, u64, Fault)>,
    /// Every call fails.
    dead: bool,
    /// Every call fails from that call on.
    dies_after: Option<(Call, u64)>,
    /// Writes fail from so many on; all else goes well.
    full_after: Option<u64>,
    /// Strikes one call out of so many.
    seeded: Option<(Random, u64)>,
    delays: Option<Random>,
}

impl FaultPlan {
    /// No faults yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Strikes the call of that kind after `skip` more of them.
    pub fn script(&self, call: Call, skip: u64, fault: Fault) {
        self.lock().scripted.push((call, skip, fault));
    }

    /// From now on every call fails (or, with false, none any more).
    pub fn set_dead(&self, dead: bool) {
        self.lock().dead = dead;
    }

    /// Every call fails from the call of that kind after `skip` more of them on.
    pub fn die_after(&self, call: Call, skip: u64) {
        self.lock().dies_after = Some((call, skip));
    }

    /// Writes fail after `skip` more of them, as on a file system that has run full.
    pub fn full_after(&self, skip: u64) {
        self.lock().full_after = Some(skip);
    }

    /// Fails one call out of `out_of`, as `seed` says.
    pub fn errors(&self, seed: u64, out_of: u64) {
        self.lock().seeded = Some((Random::new(seed), out_of));
    }

    /// Lets other tasks run before each call, as `seed` says.
    pub fn delays(&self, seed: u64) {
        self.lock().delays = Some(Random::new(seed));
    }

    fn strike(&self, call: Call) -> Option<Fault> {
        let mut state = self.lock();
        if let Some((kind, skip)) = &mut state.dies_after
            && *kind == call
        {
            match skip.checked_sub(1) {
                Some(rest) => *skip = rest,
                None => state.dead = true,
            }
        }
        if state.dead {
            return Some(Fault::Error);
        }
        if call == Call::Write
            && let Some(left) = &mut state.full_after
        {
            match left.checked_sub(1) {
                Some(rest) => *left = rest,
                None => return Some(Fault::Error),
            }
        }
        let mut struck = None;
        state.scripted.retain_mut(|(kind, skip, fault)| {
            if *kind != call {
                return true;
            }
            if *skip > 0 {
                *skip -= 1;
                return true;
            }
            struck = Some(*fault);
            false
        });
        let by_chance =
            state.seeded.as_mut().is_some_and(|(random, out_of)| random.chance(1, *out_of));
        struck.or(by_chance.then_some(Fault::Error))
    }

    async fn delay(&self) {
        let turns = self.lock().delays.as_mut().map_or(0, |random| random.below(6));
        for _ in 0..turns {
            yield_now().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, PlanState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A member with faults.
pub struct Faulty<M> {
    member: M,
    plan: Arc<FaultPlan>,
}

impl<M: Member> Faulty<M> {
    /// `member`, with the faults of `plan`.
    pub fn new(member: M, plan: &Arc<FaultPlan>) -> Self {
        Self { member, plan: plan.clone() }
    }

    fn injected(&self, call: Call) -> IoError {
        IoError::failed(format!("member {}: injected {call:?} fault", self.name()))
    }

    async fn zero(&self, offset: u64, length: u64, discard: bool) -> Result<(), IoError> {
        self.plan.delay().await;
        let struck = self.plan.strike(Call::Write);
        let reaching = match struck {
            None => length,
            Some(Fault::Torn) => half(length),
            Some(Fault::Error | Fault::Lost) => 0,
        };
        if reaching > 0 && discard {
            self.member.discard(offset, reaching).await?;
        } else if reaching > 0 {
            self.member.write_zeroes(offset, reaching).await?;
        }
        match struck {
            None | Some(Fault::Lost) => Ok(()),
            Some(Fault::Torn | Fault::Error) => Err(self.injected(Call::Write)),
        }
    }
}

impl<M: Member> BlockIo for Faulty<M> {
    fn size_bytes(&self) -> u64 {
        self.member.size_bytes()
    }

    async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        self.plan.delay().await;
        match self.plan.strike(Call::Read) {
            None => self.member.read_at(offset_bytes, buffer).await,
            Some(_) => (Err(self.injected(Call::Read)), buffer),
        }
    }

    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        self.plan.delay().await;
        match self.plan.strike(Call::Write) {
            None => self.member.write_at(offset_bytes, data).await,
            Some(Fault::Lost) => Ok(()),
            Some(Fault::Error) => Err(self.injected(Call::Write)),
            Some(Fault::Torn) => {
                let first = data.slice(..half(data.len() as u64) as usize);
                if !first.is_empty() {
                    self.member.write_at(offset_bytes, first).await?;
                }
                Err(self.injected(Call::Write))
            }
        }
    }

    async fn flush(&self) -> Result<(), IoError> {
        self.plan.delay().await;
        match self.plan.strike(Call::Flush) {
            None => self.member.flush().await,
            Some(_) => Err(self.injected(Call::Flush)),
        }
    }

    async fn discard(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.zero(offset_bytes, length_bytes, true).await
    }

    async fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.zero(offset_bytes, length_bytes, false).await
    }

    async fn mapped_run(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(bool, u64), IoError> {
        self.plan.delay().await;
        match self.plan.strike(Call::Read) {
            None => self.member.mapped_run(offset_bytes, length_bytes).await,
            Some(_) => Err(self.injected(Call::Read)),
        }
    }

    fn unmap_granularity_bytes(&self) -> u64 {
        self.member.unmap_granularity_bytes()
    }
}

impl<M: Member> Member for Faulty<M> {
    fn name(&self) -> &str {
        self.member.name()
    }

    async fn allocate(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.plan.delay().await;
        match self.plan.strike(Call::Allocate) {
            None => self.member.allocate(offset_bytes, length_bytes).await,
            Some(_) => Err(IoError::NoSpace),
        }
    }
}

fn half(length: u64) -> u64 {
    length / 2 / SECTOR_BYTES * SECTOR_BYTES
}
