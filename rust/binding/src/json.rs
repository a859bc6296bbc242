//! Answers that Python parses, as text.

use pyo3::PyResult;
use serde::Serialize;

use crate::error::Failure;

pub fn text(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| Failure::new("damaged", error.to_string()).into())
}
