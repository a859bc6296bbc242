//! Write intents while a checkpoint clears them and a member fails it: a change that begins meanwhile
//! is declared anew, or a cut leaves copies that differ and that nobody compares.

use bytes::Bytes;
use datapath::block_io::BlockIo;
use datapath::member::{Call, Fault, FaultPlan, Faulty, Power, SimulatedMember};
use datapath::pool::Pool;
use datapath::simulation::{Simulation, sleep, spawn};
use datapath::stripe::Level;

use crate::support::*;

const SEEDS: u64 = 24;

/// A raid1 pool whose first region has an intent, then checkpoints and writes at once; one flush of
/// the second member fails.
async fn workload(
    members: Vec<Faulty<SimulatedMember>>,
    seed: u64,
    plan: std::sync::Arc<FaultPlan>,
) {
    let pool = Pool::open(members).await.unwrap();
    write(&**pool.set(), 0, 1, 4096).await;
    plan.script(Call::Flush, 1 + seed % 2, Fault::Error);
    let mut tasks = Vec::new();
    for task in 0..6 {
        let pool = pool.clone();
        tasks.push(spawn(async move {
            sleep(seed / 2 % 3 * task).await;
            match task {
                0..3 => drop(pool.checkpoint().await),
                _ => {
                    let data = Bytes::from(vec![task as u8; 4096]);
                    pool.set().write_at(task * 4096, data).await.unwrap();
                }
            }
        }));
    }
    for task in tasks {
        task.await;
    }
}

#[test]
fn copies_agree_after_a_cut_while_a_member_fails_a_checkpoint() {
    for seed in 0..SEEDS {
        let media = simulated(2, &Power::new());
        let prepared = media.clone();
        run(1, async move { create(media, Level::Raid1).await.close().await.unwrap() });
        for step in 1.. {
            let power = Power::cut_at(step);
            let media: Vec<_> = prepared
                .iter()
                .enumerate()
                .map(|(n, member)| member.copy(&power).with_delays(seed * 2 + n as u64))
                .collect();
            let plans = [FaultPlan::new(), FaultPlan::new()];
            let faulty = media.iter().zip(&plans).map(|(m, plan)| Faulty::new(m.clone(), plan));
            let (faulty, plan) = (faulty.collect(), plans[1].clone());
            let ended = Simulation::new(seed * 1000 + step)
                .run(async move { workload(faulty, seed, plan).await });
            assert!(ended.is_ok() || power.is_off(), "seed {seed}: {ended:?}");
            let after = Power::new();
            let survivors = media
                .iter()
                .enumerate()
                .map(|(n, member)| member.survivor(seed * 31 + step * 7 + n as u64, &after))
                .collect();
            run(1, async move {
                let (pool, _) = Pool::open_available(survivors).await.unwrap();
                assert_eq!(mismatches(&pool).await, [], "seed {seed}, step {step}: copies differ");
            });
            if ended.is_ok() {
                break;
            }
        }
    }
}
