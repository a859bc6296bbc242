//! What the tests of this folder share.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use datapath::block_io::BlockIo;
use datapath::member::{Member, Power, SimulatedMember};
use datapath::pool::{CreateOptions, Pool};
use datapath::simulation::Simulation;
use datapath::stripe::{Level, Mismatch};

pub const MEMBER_BYTES: u64 = 8 << 20;

pub fn options(level: Level, strip_bytes: u64) -> CreateOptions {
    CreateOptions { name: "tank".to_owned(), level, strip_bytes }
}

pub fn simulated(count: usize, power: &Arc<Power>) -> Vec<SimulatedMember> {
    (0..count).map(|n| SimulatedMember::new(&format!("m{n}"), MEMBER_BYTES, power)).collect()
}

/// Every level with its fewest members, and some with more.
pub fn shapes() -> Vec<(Level, usize)> {
    let fewest = Level::all().map(|level| (level, level.members_min()));
    fewest.chain([(Level::Raid0, 3), (Level::Raid1, 3), (Level::Raid5, 5)]).collect()
}

pub fn run<T: 'static>(seed: u64, main: impl Future<Output = T> + 'static) -> T {
    Simulation::new(seed).run(main).unwrap()
}

pub async fn read(device: &impl BlockIo, offset: u64, length: u64) -> Bytes {
    let (outcome, buffer) = device.read_at(offset, BytesMut::zeroed(length as usize)).await;
    outcome.unwrap();
    buffer.freeze()
}

pub async fn write(device: &impl BlockIo, offset: u64, byte: u8, length: u64) {
    device.write_at(offset, Bytes::from(vec![byte; length as usize])).await.unwrap();
}

/// The members again, as after a restart without a cut, without those in `without`.
pub fn restarted(members: &[SimulatedMember], without: &[usize]) -> Vec<SimulatedMember> {
    let power = Power::new();
    let kept = members.iter().enumerate().filter(|(index, _)| !without.contains(index));
    kept.map(|(_, member)| member.copy(&power)).collect()
}

pub async fn create<M: Member>(members: Vec<M>, level: Level) -> Arc<Pool<M>> {
    Pool::create(members, options(level, 16 << 10)).await.unwrap()
}

/// Where copies or parity disagree.
pub async fn mismatches<M: Member>(pool: &Pool<M>) -> Vec<Mismatch> {
    pool.compare().await.unwrap().mismatches
}
