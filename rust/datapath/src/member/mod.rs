//! Floor 1: members, the devices under a stripe set.
//!
//! A member is a [`BlockIo`] with a name. Decorators and the simulated member serve tests and
//! searches and exist only with the feature `simulation`.

use std::future::Future;

use crate::block_io::BlockIo;
use crate::error::IoError;

#[cfg(feature = "simulation")]
pub mod contract;
#[cfg(feature = "simulation")]
mod faulty;
mod file;
mod file_open;
mod image;
mod memory;
#[cfg(feature = "simulation")]
mod simulated;

#[cfg(feature = "simulation")]
pub use faulty::{Call, Fault, FaultPlan, Faulty};
pub use file::FileMember;
pub use file_open::TAIL_BYTES;
pub use memory::MemoryMember;
#[cfg(feature = "simulation")]
pub use simulated::{Power, SimulatedMember};

/// A device in a stripe set.
pub trait Member: BlockIo {
    /// The user's name for it, for messages.
    fn name(&self) -> &str;

    /// Takes the space of a range from what the member lies on, so that writing there cannot want
    /// for any. What the range holds stays, also where this fails: with `IoError::NoSpace` where
    /// there is not enough.
    fn allocate(
        &self,
        _offset_bytes: u64,
        _length_bytes: u64,
    ) -> impl Future<Output = Result<(), IoError>> {
        async { Ok(()) }
    }

    /// An error where it is known, without a call that may wait, that it is not what was opened.
    fn probe(&self) -> Result<(), IoError> {
        Ok(())
    }

    /// Lets others have it, once nothing is read from it or written to it any more, though the
    /// object lives on in somebody's hands.
    fn release(&self) {}
}

#[cfg(feature = "simulation")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::Simulation;

    fn with_runtime(member: &impl Member) {
        let runtime = compio::runtime::Runtime::new().unwrap();
        runtime.block_on(contract::check(member, 1, 60));
        runtime.block_on(contract::check_concurrent(member, 2, 4));
        runtime.block_on(contract::check_discards(member, 3, 20));
    }

    #[test]
    fn files_on_disk_keep_the_contract() {
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        with_runtime(&FileMember::create(directory.path().join("member"), 8 << 20).unwrap());
    }

    #[test]
    fn files_in_memory_keep_the_contract() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        with_runtime(&FileMember::create(directory.path().join("member"), 8 << 20).unwrap());
    }

    #[test]
    fn memory_keeps_the_contract() {
        with_runtime(&MemoryMember::new("memory", 8 << 20));
    }

    #[test]
    fn simulated_members_keep_the_contract() {
        for seed in 0..4 {
            let member = SimulatedMember::new("a", 8 << 20, &Power::new()).with_delays(seed);
            let run = Simulation::new(seed).run(async move {
                contract::check(&member, seed, 100).await;
                contract::check_concurrent(&member, seed, 5).await;
                contract::check_discards(&member, seed, 10).await;
            });
            run.unwrap();
        }
    }
}
