//! The threads of the data path: one runtime each, sessions and rings spread over them, one more thread
//! for everything else.
//!
//! A session or a ring stays on the thread it was given to. What the control plane and the Python command set
//! read and write runs on the control thread, so it can never wait for a session's thread, nor a
//! session for it to be free.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::thread::JoinHandle;

use bytes::Bytes;
use compio::driver::{DriverType, ProactorBuilder};
use compio::runtime::{Runtime, RuntimeBuilder};
use futures_util::FutureExt;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::block_io::BlockIo;
use crate::scsi::nexus::{EndToken, end_token};
use crate::scsi::{NexusId, Target};

use super::iscsi::parameters::ParameterError;
use super::iscsi::{Handover, SessionHandle, SessionParameters, TextNegotiator};
use super::tcmu::{Attachment, RingDevice, RingHandle};

/// How the threads wait for I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring.
    IoUring,
    /// epoll, and a pool of threads for files.
    Polling,
}

impl Driver {
    /// Its name, as shown to users.
    pub fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Polling => "polling",
        }
    }

    fn driver_type(self) -> DriverType {
        match self {
            Self::IoUring => DriverType::IoUring,
            Self::Polling => DriverType::Poll,
        }
    }
}

/// Why a connection was not taken over.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// Login agreed to something that it may not.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// The socket cannot be used.
    #[error("the socket cannot be used: {0}")]
    Socket(#[from] io::Error),
    /// The workers have stopped.
    #[error("the workers have stopped")]
    Stopped,
}

/// The workers have stopped, or the work itself panicked.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the workers have stopped")]
pub struct Stopped;

/// Work for a thread: it starts a task on the thread's runtime. The task holds the token until it is
/// done.
type Job = Box<dyn FnOnce(EndToken) + Send>;

/// The threads. Stopping, or dropping, ends every session first.
pub struct Workers {
    driver: Driver,
    sessions: Vec<Worker>,
    control: Worker,
    handles: Mutex<Vec<SessionHandle>>,
    rings: Mutex<Vec<RingHandle>>,
}

struct Worker {
    /// `None` once stopped.
    jobs: Mutex<Option<mpsc::UnboundedSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Sessions that it serves.
    load: Arc<AtomicUsize>,
}

/// One session's share of a worker's load.
struct Load(Arc<AtomicUsize>);

impl Load {
    fn new(of: &Arc<AtomicUsize>) -> Self {
        of.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(of))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

impl Workers {
    /// Starts `count` threads for sessions (at least one) and one for the control plane, with
    /// io_uring where it is permitted.
    pub fn start(count: usize) -> io::Result<Self> {
        // Where one ring is refused, for whatever reason, all are given up: permission, the kernel's
        // version, locked memory.
        Self::start_with(count, Driver::IoUring)
            .or_else(|_| Self::start_with(count, Driver::Polling))
    }

    /// Starts the threads with a driver of the caller's choice.
    pub fn start_with(count: usize, driver: Driver) -> io::Result<Self> {
        let sessions = (0..count.max(1))
            .map(|index| Worker::start(format!("session-{index}"), driver))
            .collect::<io::Result<_>>()?;
        let control = Worker::start("control".into(), driver)?;
        let (handles, rings) = Default::default();
        Ok(Self { driver, sessions, control, handles, rings })
    }

    /// The driver that runs.
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// Takes over a connection whose login is done. `received` is what came after the login's last
    /// PDU. `nexus` is not used again.
    pub fn adopt<D: BlockIo>(
        &self,
        socket: OwnedFd,
        parameters: SessionParameters,
        negotiator: Arc<dyn TextNegotiator>,
        target: Arc<Target<D>>,
        nexus: NexusId,
        received: Bytes,
    ) -> Result<SessionHandle, AdoptError> {
        parameters.validate()?;
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        let worker = self.least_loaded().ok_or(AdoptError::Stopped)?;
        let connection = Handover::new(socket, parameters, negotiator, target, nexus, received);
        let handle = connection.handle();
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let load = Load::new(&worker.load);
        worker
            .submit(Box::new(move |token| {
                spawn(async move {
                    connection.serve().await;
                    drop((load, token));
                });
            }))
            .map_err(|Stopped| AdoptError::Stopped)?;
        handles.retain(|handle| handle.end_reason().is_none());
        handles.push(handle.clone());
        Ok(handle)
    }

    /// Serves the ring of a TCMU device. `nexus` is not used again.
    pub fn attach_ring<D: BlockIo>(
        &self,
        device: RingDevice,
        target: Arc<Target<D>>,
        nexus: NexusId,
    ) -> Result<RingHandle, Stopped> {
        let worker = self.least_loaded().ok_or(Stopped)?;
        let attachment = Attachment::new(device, target, nexus);
        let handle = attachment.handle();
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let load = Load::new(&worker.load);
        worker.submit(Box::new(move |token| {
            spawn(async move {
                attachment.serve().await;
                drop((load, token));
            });
        }))?;
        rings.retain(|handle| handle.end_reason().is_none());
        rings.push(handle.clone());
        Ok(handle)
    }

    fn least_loaded(&self) -> Option<&Worker> {
        self.sessions.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed))
    }

    /// Runs a future on the control thread and blocks until it is done. Never to be called on one of
    /// the workers' own threads.
    pub fn run<F, T>(&self, make: impl FnOnce() -> F + Send + 'static) -> Result<T, Stopped>
    where
        F: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        assert!(!IS_WORKER.get(), "a worker's thread must not block");
        let (sender, receiver) = blocking::sync_channel(1);
        self.control.submit(Box::new(move |token| {
            spawn(async move {
                let outcome = AssertUnwindSafe(async move { make().await }).catch_unwind().await;
                // Whoever waited may have gone with its thread; then nobody wants the outcome.
                let _ = sender.send(outcome);
                drop(token);
            });
        }))?;
        match receiver.recv().map_err(|_| Stopped)? {
            Ok(outcome) => Ok(outcome),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Closes every session, stops every ring, waits until their commands have ended, then ends the threads. The
    /// control thread ends last, as the command set may need it until then.
    pub fn stop(&self) {
        assert!(!IS_WORKER.get(), "a worker's thread must not block");
        // With the jobs closed no session can be added any more.
        let threads: Vec<_> = self.sessions.iter().map(Worker::close).collect();
        let handles =
            std::mem::take(&mut *self.handles.lock().unwrap_or_else(PoisonError::into_inner));
        handles.iter().for_each(SessionHandle::close);
        let rings = std::mem::take(&mut *self.rings.lock().unwrap_or_else(PoisonError::into_inner));
        rings.iter().for_each(RingHandle::stop);
        threads.into_iter().flatten().for_each(join);
        self.control.close().into_iter().for_each(join);
    }
}

impl Drop for Workers {
    /// A thread that unwinds leaves the workers running: compio ends the process when such a thread
    /// wakes one, and the panic would go unseen.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

impl Worker {
    fn start(name: String, driver: Driver) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::unbounded_channel();
        let (ready, is_ready) = blocking::sync_channel(1);
        let load = Arc::new(AtomicUsize::new(0));
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            IS_WORKER.set(true);
            let runtime = match runtime(driver) {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            if ready.send(Ok(())).is_ok() {
                runtime.block_on(work(waiting));
            }
        })?;
        is_ready.recv().map_err(|_| io::Error::other("a worker ended at its start"))??;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)), load })
    }

    fn submit(&self, job: Job) -> Result<(), Stopped> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().ok_or(Stopped)?.send(job).map_err(|_| Stopped)
    }

    /// Takes no more jobs; gives the thread, to be joined, the first time.
    fn close(&self) -> Option<JoinHandle<()>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Starts jobs until no more can come, then waits for the last to be done.
async fn work(mut jobs: mpsc::UnboundedReceiver<Job>) {
    let (token, ended) = end_token();
    while let Some(job) = jobs.recv().await {
        job(token.clone());
    }
    drop(token);
    ended.await;
}

/// Starts a task of its own. A panic in it is a broken invariant, and the end of the process: what
/// it left half done must not be served on.
fn spawn(task: impl Future<Output = ()> + 'static) {
    let guarded = async move {
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            std::process::abort();
        }
    };
    compio::runtime::spawn(guarded).detach();
}

fn join(thread: JoinHandle<()>) {
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn runtime(driver: Driver) -> io::Result<Runtime> {
    let mut proactor = ProactorBuilder::new();
    proactor.driver_type(driver.driver_type());
    RuntimeBuilder::new().with_proactor(proactor).build()
}
