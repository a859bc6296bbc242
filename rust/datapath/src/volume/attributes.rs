//! What the floors above keep with a volume: names and values in its record.
//!
//! One name has a meaning here, [`PROVISIONING`], and is fixed when the volume is made.

use std::collections::BTreeMap;

use super::point::volume_record;
use super::volumes::Volumes;
use crate::error::PoolError;
use crate::limits::{
    ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_PER_VOLUME_MAX,
};
use crate::member::Member;
use crate::pool::Provisioning;

/// Whether a volume's space is taken from the members when it is made (`full`) or written (`thin`,
/// and where there is no such attribute).
const PROVISIONING: &str = "provisioning";

impl<M: Member> Volumes<M> {
    /// Replaces the named attributes of a volume; an empty value removes one. Durable when it
    /// returns `Ok`; nothing is changed where it does not.
    pub async fn set_attributes(
        &self,
        volume: &str,
        changes: BTreeMap<String, String>,
    ) -> Result<(), PoolError> {
        let volume = self.get(volume)?;
        let merged = |attributes: &BTreeMap<String, String>| {
            let mut merged = attributes.clone();
            merged.extend(changes.clone());
            merged.retain(|_, value| !value.is_empty());
            merged
        };
        let update = self.pool.update(|catalog| {
            let record = volume_record(catalog, &volume)?;
            let attributes = merged(&record.attributes);
            check_attributes(&attributes)?;
            if provisioning(&attributes) != provisioning(&record.attributes) {
                return Err(PoolError::Invalid(format!(
                    "the attribute {PROVISIONING} of volume {} is fixed since it was made",
                    volume.name
                )));
            }
            record.attributes = attributes;
            Ok(())
        });
        update.await
    }
}

/// What the attributes ask for.
pub(super) fn provisioning(attributes: &BTreeMap<String, String>) -> Provisioning {
    match attributes.get(PROVISIONING) {
        Some(value) if value == "full" => Provisioning::Full,
        _ => Provisioning::Thin,
    }
}

pub(super) fn check_attributes(attributes: &BTreeMap<String, String>) -> Result<(), PoolError> {
    let invalid = |text: String| Err(PoolError::Invalid(text));
    if attributes.len() > ATTRIBUTES_PER_VOLUME_MAX {
        return invalid(format!("a volume has at most {ATTRIBUTES_PER_VOLUME_MAX} attributes"));
    }
    for (name, value) in attributes {
        if name.is_empty() || name.len() > ATTRIBUTE_NAME_BYTES_MAX {
            return invalid(format!(
                "an attribute's name has 1 to {ATTRIBUTE_NAME_BYTES_MAX} bytes, not {}",
                name.len()
            ));
        }
        if value.len() > ATTRIBUTE_VALUE_BYTES_MAX {
            return invalid(format!(
                "the attribute {name} has {} bytes, at most {ATTRIBUTE_VALUE_BYTES_MAX} are kept",
                value.len()
            ));
        }
    }
    match attributes.get(PROVISIONING).map(String::as_str) {
        None | Some("thin" | "full") => Ok(()),
        Some(other) => invalid(format!("{PROVISIONING} is thin or full, not {other:?}")),
    }
}
