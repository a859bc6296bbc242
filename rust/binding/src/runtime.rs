//! `Runtime`: the threads of the data path and those of the Python command set.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use datapath::event_signal;
use datapath::scsi::Sessions;
use datapath::transport::Workers;
use pyo3::prelude::*;

use crate::error::Failure;
use crate::slow_path::SlowThreads;

/// What every other object shares.
pub struct Threads {
    pub workers: Workers,
    pub slow: Arc<SlowThreads>,
    /// The sessions of all targets.
    pub sessions: Arc<Sessions>,
}

impl Threads {
    /// Runs a future on the control thread and blocks, without the GIL, until it is done.
    pub fn run<F, T, E>(
        self: &Arc<Self>,
        py: Python<'_>,
        make: impl FnOnce() -> F + Send + 'static,
    ) -> PyResult<T>
    where
        F: Future<Output = Result<T, E>> + 'static,
        T: Send + 'static,
        E: Send + 'static,
        Failure: From<E>,
    {
        py.detach(|| self.workers.run(make))
            .map_err(|stopped| Failure::new("closed", stopped.to_string()))?
            .map_err(|error| Failure::from(error).into())
    }
}

#[pyclass(frozen, module = "scsi_snap._native")]
pub struct Runtime {
    pub threads: Arc<Threads>,
}

#[pymethods]
impl Runtime {
    #[new]
    fn new(py: Python<'_>, threads: usize) -> PyResult<Self> {
        py.detach(|| {
            let workers = Workers::start(threads)?;
            let slow = Arc::new(SlowThreads::start()?);
            let sessions = Arc::default();
            Ok(Self { threads: Arc::new(Threads { workers, slow, sessions }) })
        })
    }

    #[getter]
    fn driver(&self) -> &'static str {
        self.threads.workers.driver().name()
    }

    /// Blocks, without the GIL, until more than `seen` events have been raised since the process
    /// began, or until the time is over. How many it were.
    fn wait_for_events(&self, py: Python<'_>, seen: u64, timeout_s: f64) -> u64 {
        let timeout = Duration::try_from_secs_f64(timeout_s).unwrap_or_default();
        py.detach(|| event_signal::wait(seen, timeout))
    }

    /// Ends `wait_for_events` as an event does.
    fn wake_event_waiter(&self) {
        event_signal::raise();
    }

    /// Sessions first: their commands may still need the command set.
    fn stop(&self, py: Python<'_>) {
        py.detach(|| {
            self.threads.workers.stop();
            self.threads.slow.stop();
        });
    }
}
