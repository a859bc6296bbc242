//! The seeded executor: one thread, one seed, one order of events.
//!
//! [`Simulation::run`] polls tasks one at a time and picks each next one at random among the ready
//! ones, so that a seed stands for one interleaving, and the same seed replays it. There is no
//! clock: [`sleep`] waits in virtual ticks, and time moves only when nothing else can run.
//!
//! A run that can go no further (no task ready, none asleep) is stuck: [`Stuck`] says so. After a
//! power cut that is the expected end, since the simulated members answer no call any more; before
//! one it is a deadlock.
//!
//! What runs inside may use `tokio::sync`, whose wakers know no runtime. Nothing inside may block
//! the thread, ask the real clock or use another source of random numbers.

pub mod death;
mod random;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use thiserror::Error;

pub use random::Random;

/// Nothing can run any more and the main task has not ended.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("stuck: {waiting} tasks wait and nothing can wake them (seed {seed})")]
pub struct Stuck {
    /// Tasks that have not ended.
    pub waiting: usize,
    /// The seed that replays it.
    pub seed: u64,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;
type TaskIndex = usize;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Shared>>> = const { RefCell::new(None) };
}

/// The ready list is the only thing that wakers touch; they may live on in objects that are `Send`.
type ReadyList = Arc<Mutex<Vec<TaskIndex>>>;

struct Shared {
    random: RefCell<Random>,
    ready: ReadyList,
    tasks: RefCell<Vec<Option<Task>>>,
    sleepers: RefCell<Vec<(u64, Waker)>>,
    now_ticks: RefCell<u64>,
}

/// One seeded run.
pub struct Simulation {
    seed: u64,
    shared: Rc<Shared>,
}

impl Simulation {
    /// A run that `seed` decides.
    pub fn new(seed: u64) -> Self {
        let shared = Shared {
            random: RefCell::new(Random::new(seed)),
            ready: ReadyList::default(),
            tasks: RefCell::default(),
            sleepers: RefCell::default(),
            now_ticks: RefCell::new(0),
        };
        Self { seed, shared: Rc::new(shared) }
    }

    /// Runs `main`, and every task spawned meanwhile, until `main` ends or nothing can run. Tasks
    /// still there when `main` ends are dropped.
    ///
    /// # Panics
    /// When called inside another run.
    pub fn run<T: 'static>(self, main: impl Future<Output = T> + 'static) -> Result<T, Stuck> {
        let guard = Entered::enter(&self.shared);
        let mut main = spawn(main);
        let outcome = loop {
            if let Some(result) = main.take() {
                break Ok(result);
            }
            if !self.shared.step() {
                let waiting = self.shared.tasks.borrow().iter().flatten().count();
                break Err(Stuck { waiting, seed: self.seed });
            }
        };
        self.shared.drop_tasks();
        drop(guard);
        outcome
    }
}

/// Leaves the thread without a current run even when a task panics.
struct Entered;

impl Entered {
    fn enter(shared: &Rc<Shared>) -> Self {
        CURRENT.with_borrow_mut(|current| {
            assert!(current.is_none(), "a simulation runs inside another");
            *current = Some(shared.clone());
        });
        Self
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| *current = None);
    }
}

impl Shared {
    fn current() -> Rc<Self> {
        CURRENT.with_borrow(|current| current.clone()).expect("called inside Simulation::run")
    }

    /// Polls one ready task, or moves the time to the next sleeper; false when neither is there.
    fn step(&self) -> bool {
        let Some(index) = self.pick() else { return self.wake_next_sleeper() };
        let Some(mut task) = self.tasks.borrow_mut()[index].take() else { return true };
        let waker = Waker::from(Arc::new(TaskWaker { index, ready: self.ready.clone() }));
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.tasks.borrow_mut()[index] = Some(task);
        }
        true
    }

    fn pick(&self) -> Option<TaskIndex> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.is_empty() {
            return None;
        }
        let position = self.random.borrow_mut().below(ready.len() as u64);
        Some(ready.swap_remove(position as usize))
    }

    fn wake_next_sleeper(&self) -> bool {
        let mut sleepers = self.sleepers.borrow_mut();
        let Some(earliest) = sleepers.iter().map(|sleeper| sleeper.0).min() else { return false };
        *self.now_ticks.borrow_mut() = earliest;
        sleepers.retain(|(until, waker)| {
            if *until == earliest {
                waker.wake_by_ref();
            }
            *until != earliest
        });
        true
    }

    /// A dropped task may wake or spawn others, so none is dropped while the list is borrowed.
    fn drop_tasks(&self) {
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        drop(tasks);
    }
}

struct TaskWaker {
    index: TaskIndex,
    ready: ReadyList,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if !ready.contains(&self.index) {
            ready.push(self.index);
        }
    }
}

/// Starts a task in the current run. Dropping the handle leaves the task running.
///
/// # Panics
/// Outside of a run, as all functions here.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let slot = Rc::new(RefCell::new(JoinSlot { result: None, waiter: None }));
    let handle = JoinHandle { slot: slot.clone() };
    let task = Box::pin(async move {
        let result = future.await;
        let mut slot = slot.borrow_mut();
        slot.result = Some(result);
        if let Some(waiter) = slot.waiter.take() {
            waiter.wake();
        }
    });
    let shared = Shared::current();
    let index = {
        let mut tasks = shared.tasks.borrow_mut();
        tasks.push(Some(task));
        tasks.len() - 1
    };
    shared.ready.lock().unwrap_or_else(PoisonError::into_inner).push(index);
    handle
}

struct JoinSlot<T> {
    result: Option<T>,
    waiter: Option<Waker>,
}

/// Waits for a task's result.
pub struct JoinHandle<T> {
    slot: Rc<RefCell<JoinSlot<T>>>,
}

impl<T> JoinHandle<T> {
    fn take(&mut self) -> Option<T> {
        self.slot.borrow_mut().result.take()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.slot.borrow_mut();
        match slot.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                slot.waiter = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Lets the other ready tasks go on first. Works under any executor.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(move |context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits `ticks` of virtual time.
pub async fn sleep(ticks: u64) {
    let until = now_ticks() + ticks;
    std::future::poll_fn(move |context| {
        let shared = Shared::current();
        if *shared.now_ticks.borrow() >= until {
            return Poll::Ready(());
        }
        shared.sleepers.borrow_mut().push((until, context.waker().clone()));
        Poll::Pending
    })
    .await;
}

/// The virtual time of the current run.
pub fn now_ticks() -> u64 {
    *Shared::current().now_ticks.borrow()
}

/// Draws from the run's own random source.
pub fn random_below(bound: u64) -> u64 {
    Shared::current().random.borrow_mut().below(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order_of(seed: u64) -> Vec<usize> {
        let log = Rc::new(RefCell::new(Vec::new()));
        let written = log.clone();
        Simulation::new(seed)
            .run(async move {
                let tasks = (0..6).map(|id| {
                    let log = log.clone();
                    spawn(async move {
                        for _ in 0..3 {
                            log.borrow_mut().push(id);
                            yield_now().await;
                        }
                    })
                });
                for task in tasks.collect::<Vec<_>>() {
                    task.await;
                }
            })
            .unwrap();
        written.take()
    }

    #[test]
    fn a_seed_is_one_order_and_seeds_differ() {
        assert_eq!(order_of(1), order_of(1));
        assert_ne!(order_of(1), order_of(2));
    }

    #[test]
    fn virtual_time_moves_only_when_nothing_else_can_run() {
        let woken = Simulation::new(3).run(async {
            let early = spawn(async {
                sleep(5).await;
                now_ticks()
            });
            sleep(1_000_000).await;
            (early.await, now_ticks())
        });
        assert_eq!(woken, Ok((5, 1_000_000)));
    }

    #[test]
    fn a_deadlock_is_reported_with_its_seed() {
        let stuck = Simulation::new(9).run(std::future::pending::<()>());
        assert_eq!(stuck, Err(Stuck { waiting: 1, seed: 9 }));
    }
}
