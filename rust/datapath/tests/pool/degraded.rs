//! Data written before, during and after the loss of a member.

use datapath::block_io::BlockIo;
use datapath::error::PoolError;
use datapath::member::{Call, Fault, FaultPlan, Faulty, Power};
use datapath::pool::Pool;
use datapath::stripe::{Level, MemberState, SetEvent, SetState};

use crate::support::*;

const PART: u64 = 24 << 10;

#[test]
fn each_member_may_be_missing_in_turn() {
    for (level, count) in shapes() {
        for lost in 0..count {
            let members = simulated(count, &Power::new());
            let handles = members.clone();
            run(1, async move {
                let pool = create(members, level).await;
                let id = pool.create_space(1 << 20).await.unwrap();
                for part in 0..40 {
                    write(&*pool.space(id).unwrap(), part * PART, part as u8 + 1, PART).await;
                }
                pool.close().await.unwrap();
                let opened = Pool::open(restarted(&handles, &[lost])).await;
                if !level.is_redundant() {
                    let refusal = opened.map(|_| ()).unwrap_err();
                    let unavailable = matches!(refusal, PoolError::Unavailable(_));
                    assert!(unavailable || count == 1, "{level}: {refusal}");
                    return;
                }
                let pool = opened.unwrap();
                assert_eq!(pool.status().state, SetState::Degraded);
                assert_eq!(pool.status().members[lost].state, MemberState::Missing);
                let space = pool.space(id).unwrap();
                for part in 0..40 {
                    let found = read(&*space, part * PART, PART).await;
                    assert!(found.iter().all(|byte| *byte == part as u8 + 1), "{level}, {part}");
                }
            });
        }
    }
}

#[test]
fn a_member_that_fails_at_run_time_is_marked_and_the_set_goes_on() {
    for (level, count) in shapes().into_iter().filter(|(level, _)| level.is_redundant()) {
        for (call, fault) in
            [(Call::Write, Fault::Error), (Call::Write, Fault::Torn), (Call::Flush, Fault::Error)]
        {
            for skip in 0..6 {
                let members = simulated(count, &Power::new());
                let handles = members.clone();
                let plan = FaultPlan::new();
                run(skip, async move {
                    let quiet = FaultPlan::new();
                    let plans = (0..count).map(|role| if role == 1 { &plan } else { &quiet });
                    let faulty =
                        members.into_iter().zip(plans).map(|(m, plan)| Faulty::new(m, plan));
                    let pool = create(faulty.collect::<Vec<_>>(), level).await;
                    plan.script(call, skip, fault);
                    for part in 0..30 {
                        write(&**pool.set(), part * PART, part as u8 + 1, PART).await;
                        pool.set().flush().await.unwrap();
                    }
                    assert_eq!(pool.status().members[1].state, MemberState::Failed);
                    let events = pool.take_events();
                    let failed = matches!(&events[..], [SetEvent::MemberFailed { member, .. }] if member == "m1");
                    assert!(failed, "{events:?}");
                    // The failed member is stale, and the others hold everything.
                    let refused =
                        Pool::open(restarted(&handles, &[])).await.map(|_| ()).unwrap_err();
                    assert!(
                        refused.to_string().contains("m1 is refused: it is stale"),
                        "{refused}"
                    );
                    let (pool, refused) =
                        Pool::open_available(restarted(&handles, &[])).await.unwrap();
                    assert_eq!(refused.len(), 1);
                    for part in 0..30 {
                        let found = read(&**pool.set(), part * PART, PART).await;
                        assert!(
                            found.iter().all(|byte| *byte == part as u8 + 1),
                            "{level}, {part}"
                        );
                    }
                });
            }
        }
    }
}

#[test]
fn past_its_tolerance_a_set_fails_and_never_answers_wrongly() {
    for (level, count) in shapes() {
        let plan = FaultPlan::new();
        let members = simulated(count, &Power::new());
        run(5, async move {
            let faulty = members.into_iter().map(|member| Faulty::new(member, &plan));
            let pool = create(faulty.collect::<Vec<_>>(), level).await;
            write(&**pool.set(), 0, 1, PART).await;
            plan.set_dead(true);
            let (outcome, _) = pool.set().read_at(0, bytes::BytesMut::zeroed(512)).await;
            assert!(outcome.unwrap_err().to_string().contains("member m"), "{level}");
            let data = bytes::Bytes::from(vec![2; PART as usize]);
            assert!(pool.set().write_at(0, data).await.is_err(), "{level}");
            assert!(pool.set().flush().await.is_err(), "{level}");
            assert!(pool.create_space(1 << 20).await.is_err(), "{level}");
        });
    }
}

#[test]
fn copies_may_fail_one_after_the_other_until_one_is_left() {
    for (call, skip) in [(Call::Write, 3), (Call::Flush, 3), (Call::Flush, 4), (Call::Flush, 5)] {
        let members = simulated(3, &Power::new());
        let handles = members.clone();
        run(skip, async move {
            let plans: Vec<_> = (0..3).map(|_| FaultPlan::new()).collect();
            let faulty = members.into_iter().zip(&plans).map(|(m, plan)| Faulty::new(m, plan));
            let pool = create(faulty.collect::<Vec<_>>(), Level::Raid1).await;
            plans[0].die_after(call, skip);
            plans[2].die_after(Call::Flush, 3);
            for part in 0..12 {
                write(&**pool.set(), part * PART, part as u8 + 1, PART).await;
                pool.set().flush().await.unwrap();
            }
            let states: Vec<_> = pool.status().members.iter().map(|one| one.state).collect();
            assert_eq!(states, [MemberState::Failed, MemberState::InSync, MemberState::Failed]);
            let (pool, refused) = Pool::open_available(restarted(&handles, &[])).await.unwrap();
            assert_eq!(refused.len(), 2);
            for part in 0..12 {
                let found = read(&**pool.set(), part * PART, PART).await;
                assert!(found.iter().all(|byte| *byte == part as u8 + 1), "{part}");
            }
        });
    }
}

#[test]
fn a_degraded_stripe_that_could_not_be_completed_is_completed_at_the_next_start() {
    for skip in 0..6 {
        let members = simulated(3, &Power::new());
        let handles = members.clone();
        let plan = FaultPlan::new();
        run(skip, async move {
            let quiet = FaultPlan::new();
            let plans = (0..3).map(|role| if role == 2 { &plan } else { &quiet });
            let faulty = members.into_iter().zip(plans).map(|(m, plan)| Faulty::new(m, plan));
            let pool = create(faulty.collect::<Vec<_>>(), Level::Raid5).await;
            write(&**pool.set(), 0, 1, 10 * PART).await;
            pool.fail_member("m1").await.unwrap();
            plan.die_after(Call::Write, skip);
            let mut failed = false;
            for part in (0..10).chain(0..10) {
                let data = bytes::Bytes::from(vec![2; 512]);
                failed |= pool.set().write_at(part * PART, data).await.is_err();
            }
            assert!(failed);
            let (outcome, _) = pool.set().read_at(0, bytes::BytesMut::zeroed(512)).await;
            assert!(outcome.unwrap_err().to_string().contains("stopped"));
            let pool = Pool::open(restarted(&handles, &[1])).await.unwrap();
            for part in 0..10 {
                let found = read(&**pool.set(), part * PART, PART).await;
                assert!(found[..512].iter().all(|byte| [1, 2].contains(byte)), "{skip}, {part}");
                assert!(found[512..].iter().all(|byte| *byte == 1), "{skip}, {part}");
            }
        });
    }
}
