//! The one place where errors cross into Python: each becomes `NativeError` with its stable code.

use datapath::error::{IoError, PoolError};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

pyo3::create_exception!(
    _native,
    NativeError,
    PyException,
    "The data path failed a call; `code` is stable, the text is for people."
);

/// An error on its way to Python.
pub struct Failure {
    code: &'static str,
    message: String,
}

impl Failure {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Io(error) => error.into(),
            error => Self::new(error.code(), error.to_string()),
        }
    }
}

impl From<IoError> for Failure {
    fn from(error: IoError) -> Self {
        let code = match &error {
            IoError::Failed(_) => "io-error",
            IoError::ReadOnly => "read-only",
            IoError::NoSpace => "no-space",
            IoError::StoreFull => "store-full",
            IoError::SnapshotInvalid => "snapshot-invalid",
            IoError::OutsideSnapshot => "outside-snapshot",
            IoError::Closed => "closed",
        };
        Self::new(code, error.to_string())
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        let error = NativeError::new_err(failure.message);
        Python::attach(|py| match error.value(py).setattr("code", failure.code) {
            Ok(()) => error,
            Err(failed) => failed,
        })
    }
}
