//! The store of preserved chunks is overwritten: nothing of it can be read, and every cut leaves a store
//! that opens.

use bytes::BytesMut;
use datapath::block_io::BlockIo;
use datapath::member::Power;
use datapath::simulation::Simulation;
use datapath::snapshot::PointRange;

use super::support::*;

const CHUNK_BYTES: u64 = 16 << 10;
const CHUNK_SECTORS: u64 = CHUNK_BYTES / SECTOR;
const CHUNKS: u64 = 12;
const RANGE: PointRange = PointRange { first_byte: 0, length_bytes: CHUNKS * CHUNK_BYTES };
const SECRET: u64 = 0x5EC2_E75E_C2E7_5EC2;

/// Everything that the store's medium holds.
async fn holds_secret(rig: &Rig) -> bool {
    let buffer = BytesMut::zeroed(rig.store.size_bytes() as usize);
    let (outcome, bytes) = rig.store.read_at(0, buffer).await;
    outcome.unwrap();
    bytes.chunks(8).any(|word| word == SECRET.to_le_bytes())
}

/// Preserves secrets in several slots and forgets the snapshots; then the power is set to go `cut` steps
/// later, and the store is overwritten. Returns the steps that this took.
fn life(rig: &Rig, power: &std::sync::Arc<Power>, cut: u64, seed: u64) -> Option<u64> {
    let (rig, power) = (rig.clone(), power.clone());
    let outcome = Simulation::new(seed).run(async move {
        let engine = rig.format().await;
        for turn in 0..3 {
            engine.write_at(0, stamped(SECRET, CHUNKS * CHUNK_SECTORS)).await.unwrap();
            let epoch = take_snapshot(&engine, &rig.catalog, RANGE, |_| {}).await.unwrap();
            engine.write_at(0, stamped(7, CHUNKS * CHUNK_SECTORS)).await.unwrap();
            assert!(!engine.erase_store().await.unwrap(), "a live snapshot, turn {turn}");
            delete_snapshot(&engine, &rig.catalog, epoch).await;
        }
        assert!(holds_secret(&rig).await, "there is something to overwrite");
        let began = power.steps();
        power.cut_after(cut);
        assert!(engine.erase_store().await.unwrap());
        let took = power.steps() - began;
        assert!(!holds_secret(&rig).await, "old data in the store");
        // The records tell which chunks were written, and when.
        assert!(!engine.dump().await.unwrap().contains("\n  chunk"), "old records in the log");
        assert_eq!(engine.check().await.unwrap().problems, Vec::<String>::new());
        took
    });
    outcome.ok()
}

fn rig(power: &std::sync::Arc<Power>) -> Rig {
    Rig::new(CHUNKS * CHUNK_BYTES, CHUNK_BYTES, 60, power)
}

#[test]
fn nothing_of_what_was_preserved_is_left() {
    let power = Power::new();
    let rig = rig(&power);
    life(&rig, &power, u64::MAX / 2, 1).unwrap();
    let survivor = rig.survivor(1, &Power::new());
    let read = Simulation::new(1).run(async move { holds_secret(&survivor).await });
    assert!(!read.unwrap(), "it is durable");
}

#[test]
fn every_cut_leaves_a_store_that_opens_and_preserves() {
    let power = Power::new();
    let steps = life(&rig(&power), &power, u64::MAX / 2, 1).unwrap();
    for seed in seeds(3) {
        for cut in 0..steps {
            let _named = Seed("erase", seed, cut);
            let power = Power::new();
            let rig = rig(&power);
            life(&rig, &power, cut, seed);
            let survivor = rig.survivor(seed ^ cut, &Power::new());
            let run = Simulation::new(seed).run(async move {
                let engine = survivor.open().await.unwrap();
                assert_eq!(engine.check().await.unwrap().problems, Vec::<String>::new());
                let catalog = &survivor.catalog;
                let epoch = take_snapshot(&engine, catalog, RANGE, |_| {}).await.unwrap();
                let before = read_stamps(&*engine, 0, CHUNKS * CHUNK_SECTORS).await.unwrap();
                engine.write_at(0, stamped(8, CHUNKS * CHUNK_SECTORS)).await.unwrap();
                let image = engine.image(epoch).unwrap();
                let read = read_stamps(&image, 0, CHUNKS * CHUNK_SECTORS).await.unwrap();
                assert_eq!(read, before);
                delete_snapshot(&engine, catalog, epoch).await;
                assert!(engine.erase_store().await.unwrap());
                assert!(!holds_secret(&survivor).await);
            });
            run.unwrap();
        }
    }
}
