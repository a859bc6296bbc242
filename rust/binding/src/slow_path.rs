//! What the fast path declines, executed by the Python command set on threads of its own; and text
//! requests, which Python decides as it decides logins.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::{Bytes, BytesMut};
use datapath::scsi::request::{Completion, NexusId, Request};
use datapath::scsi::slow_path::{FunctionAnswer, SlowPath, TaskManagementFunction};
use datapath::transport::iscsi::{TextAnswer, TextNegotiator};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::sync::oneshot;

/// Threads that execute declined commands: as many may wait for I/O at once.
const THREADS: usize = 8;

enum Job {
    Execute(Request, oneshot::Sender<Completion>),
    Manage(NexusId, u64, TaskManagementFunction, oneshot::Sender<FunctionAnswer>),
    Lost(NexusId),
    Negotiate(Bytes, bool, oneshot::Sender<TextAnswer>),
}

/// A `CommandSet` or `TextNegotiator` object with what it is to do.
struct Errand {
    object: Arc<Py<PyAny>>,
    job: Job,
}

/// The threads, shared by every target. The queue needs no bound of its own: each session's command
/// window and Data-Out limit bound its share.
pub struct SlowThreads {
    queue: Mutex<Option<Sender<Errand>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SlowThreads {
    pub fn start() -> std::io::Result<Self> {
        let (queue, errands) = channel();
        let errands = Arc::new(Mutex::new(errands));
        let threads = (0..THREADS)
            .map(|index| {
                let errands = Arc::clone(&errands);
                std::thread::Builder::new()
                    .name(format!("scsi-slow-{index}"))
                    .spawn(move || work(&errands))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { queue: Mutex::new(Some(queue)), threads: Mutex::new(threads) })
    }

    /// Lets what is queued end, then the threads. The GIL must not be held.
    pub fn stop(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
    }

    /// After `stop` an errand is dropped, and with it its reply: the command fails.
    fn send(&self, errand: Errand) {
        if let Some(queue) = &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            // The receivers live as long as the sender.
            let _ = queue.send(errand);
        }
    }
}

/// Ends when the queue is closed and empty.
fn work(errands: &Mutex<Receiver<Errand>>) {
    loop {
        let next = errands.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(errand) => Python::attach(|py| errand.run(py)),
            Err(_) => return,
        }
    }
}

impl Errand {
    /// An object that raises has a defect: it is reported, and the reply dropped.
    fn run(self, py: Python<'_>) {
        let object = self.object.bind(py);
        let outcome = match self.job {
            Job::Execute(request, reply) => {
                let outcome = execute(object, &request);
                // Its Data-Out may be lent by a ring: it is given back before the command has ended.
                drop(request);
                outcome.map(|done| {
                    // A session that has ended needs no completion.
                    let _ = reply.send(done);
                })
            }
            Job::Manage(nexus, lun, function, reply) => object
                .call_method1("task_management", (nexus.0, lun, function as u8))
                .and_then(|answer| answer.extract())
                .map(|answer: u32| {
                    let [response, information @ ..] = answer.to_le_bytes();
                    let _ = reply.send(FunctionAnswer { response, information });
                }),
            Job::Lost(nexus) => object.call_method1("nexus_lost", (nexus.0,)).map(drop),
            Job::Negotiate(request, begins, reply) => {
                negotiate(object, &request, begins).map(|answer| {
                    // Dropped unanswered, it has the request rejected.
                    answer.map(|answer| reply.send(answer));
                })
            }
        };
        if let Err(error) = outcome {
            error.write_unraisable(py, Some(object));
        }
    }
}

fn execute(set: &Bound<'_, PyAny>, request: &Request) -> PyResult<Completion> {
    let py = set.py();
    let (status, sense, data_in, data_out_wanted_bytes): (
        u8,
        Bound<'_, PyBytes>,
        Bound<'_, PyBytes>,
        u64,
    ) = set
        .call_method1(
            "execute",
            (
                request.nexus.0,
                request.lun,
                PyBytes::new(py, &request.cdb),
                request.attribute as u8,
                PyBytes::new(py, &request.data_out),
                (request.expected.direction as u8, request.expected.bytes),
                request.repeated,
            ),
        )?
        .extract()?;
    Ok(Completion {
        status,
        sense: Bytes::copy_from_slice(sense.as_bytes()),
        data_in: BytesMut::from(data_in.as_bytes()),
        data_out_wanted_bytes,
    })
}

fn negotiate(
    negotiator: &Bound<'_, PyAny>,
    request: &Bytes,
    begins: bool,
) -> PyResult<Option<TextAnswer>> {
    let request = PyBytes::new(negotiator.py(), request);
    let answer: Option<(Bound<'_, PyBytes>, u32)> =
        negotiator.call_method1("negotiate", (request, begins))?.extract()?;
    Ok(answer.map(|(text, max_send_segment_bytes)| TextAnswer {
        text: Bytes::copy_from_slice(text.as_bytes()),
        max_send_segment_bytes,
    }))
}

/// One session's text requests behind the shared threads.
pub struct PythonNegotiator {
    threads: Arc<SlowThreads>,
    negotiator: Arc<Py<PyAny>>,
}

impl PythonNegotiator {
    pub fn new(threads: Arc<SlowThreads>, negotiator: Py<PyAny>) -> Self {
        Self { threads, negotiator: Arc::new(negotiator) }
    }
}

impl TextNegotiator for PythonNegotiator {
    fn submit(&self, request: Bytes, begins: bool, reply: oneshot::Sender<TextAnswer>) {
        let object = Arc::clone(&self.negotiator);
        self.threads.send(Errand { object, job: Job::Negotiate(request, begins, reply) });
    }
}

/// One target's command set behind the shared threads.
pub struct PythonCommandSet {
    threads: Arc<SlowThreads>,
    command_set: Arc<Py<PyAny>>,
}

impl PythonCommandSet {
    pub fn new(threads: Arc<SlowThreads>, command_set: Py<PyAny>) -> Self {
        Self { threads, command_set: Arc::new(command_set) }
    }

    fn send(&self, job: Job) {
        self.threads.send(Errand { object: Arc::clone(&self.command_set), job });
    }
}

impl SlowPath for PythonCommandSet {
    fn submit(&self, request: Request, reply: oneshot::Sender<Completion>) {
        self.send(Job::Execute(request, reply));
    }

    fn task_management(
        &self,
        nexus: NexusId,
        lun: u64,
        function: TaskManagementFunction,
        reply: oneshot::Sender<FunctionAnswer>,
    ) {
        self.send(Job::Manage(nexus, lun, function, reply));
    }

    fn nexus_lost(&self, nexus: NexusId) {
        self.send(Job::Lost(nexus));
    }
}
