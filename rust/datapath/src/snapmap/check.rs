//! Every invariant of the format, for tests and for the CLI; and the map in words.

use std::fmt::Write;

use serde::Serialize;
use uuid::Uuid;

use super::copies::Copied;
use super::errors::ChecksumErrors;
use super::layout::{Place, Record};
use super::log::Log;
use super::recover::{MapError, UnverifiedMap};
use super::store::{ExceptionStore, StoreUse};
use crate::block_io::Growable;
use crate::error::IoError;
use crate::units::{ChunkSize, Epoch};

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// Log blocks in the chain.
    pub log_blocks: u64,
    /// Preserved chunks whose data was read and compared with its CRC.
    pub exceptions: u64,
    /// How full the store is.
    pub usage: StoreUse,
    /// Failed checksums since the store was opened, with those that this check found.
    pub checksum_errors: ChecksumErrors,
    /// Exceptions whose data no copy has right.
    #[serde(skip)]
    pub damaged: Vec<Record>,
    /// What is wrong, or was until now; empty where all is well.
    pub problems: Vec<String>,
}

impl<S: Growable> ExceptionStore<S> {
    /// Reads the map from disk again, compares it with what is in memory, and verifies the data of
    /// every exception. Batches wait for that long; reads and writes of clean chunks do not. What is
    /// damaged is written anew where another copy, parity or memory has it.
    pub async fn check(&self, origin_chunks: u64) -> Result<CheckReport, IoError> {
        let mut log = self.log.lock().await;
        let mut problems = Vec::new();
        match UnverifiedMap::read(&*self.space, self.chunk, self.id).await {
            Ok(on_disk) => {
                self.errors.add(on_disk.repaired.len() as u64, 0);
                let repaired = on_disk.repaired.iter();
                problems.extend(repaired.map(|what| format!("{what} was damaged")));
                let missing = on_disk.missing.iter();
                problems
                    .extend(missing.map(|block| format!("block {block} of the log is damaged")));
                self.compare(&on_disk, &log, &mut problems);
            }
            Err(MapError::Io(error)) => return Err(error),
            Err(error) => problems.push(error.to_string()),
        }
        if !problems.is_empty() {
            problems.push(self.write_anew(&mut log).await);
        }
        let mut records = Vec::new();
        self.map.for_each(|record| records.push(record));
        records.sort_unstable_by_key(|record| (record.chunk, record.tag));
        let damaged = self.check_records(&records, origin_chunks, &mut problems).await?;
        Ok(CheckReport {
            log_blocks: log.blocks,
            exceptions: records.len() as u64,
            usage: self.usage(),
            checksum_errors: self.checksum_errors(),
            damaged,
            problems,
        })
    }

    /// Replaces a log that is damaged on disk by what is in memory; says what came of it.
    async fn write_anew(&self, log: &mut Log) -> String {
        match self.checkpoint(log).await {
            Ok(()) => {
                self.errors.add(1, 0);
                "the log was written anew from memory".into()
            }
            Err(error) => format!("the log could not be written anew: {error}"),
        }
    }

    /// The map on disk in words; see [`dump`].
    pub async fn dump(&self) -> Result<String, MapError> {
        let _still = self.log.lock().await;
        dump(&*self.space, self.chunk, self.id).await
    }

    fn compare(&self, on_disk: &UnverifiedMap, log: &Log, problems: &mut Vec<String>) {
        let end = on_disk.end(self.chunk);
        if (end.sequence, end.address) != (log.tail.sequence + 1, Some(log.tail.next_address)) {
            problems.push("the log on disk does not end where it ends in memory".into());
        }
        let expected = on_disk.live_map(&self.live());
        expected.for_each(|record| {
            if !self.map.contains(&record) && self.is_live(&record) {
                problems.push(format!("{} is on disk and not in memory", describe(&record)));
            }
        });
        self.map.for_each(|record| {
            if !expected.contains(&record) {
                problems.push(format!("{} is in memory and not on disk", describe(&record)));
            }
        });
        let records = on_disk.blocks.iter().flat_map(|block| &block.records);
        let highest = records.map(|record| record.tag).max().unwrap_or_default();
        if highest > self.highest_tag() {
            problems.push(format!("tag {} is above the highest tag", highest.0));
        }
        self.check_order(on_disk, problems);
    }

    /// Live records of one chunk rise in the order of the log.
    fn check_order(&self, on_disk: &UnverifiedMap, problems: &mut Vec<String>) {
        let mut highest = std::collections::BTreeMap::new();
        for record in on_disk.blocks.iter().flat_map(|block| &block.records) {
            if !self.map.contains(record) {
                continue;
            }
            let before = highest.insert(record.chunk, record.tag);
            if before.is_some_and(|before| before >= record.tag) {
                problems.push(format!("{} comes after a higher tag", describe(record)));
            }
        }
    }

    /// Gives the records whose data is lost.
    async fn check_records(
        &self,
        records: &[Record],
        origin_chunks: u64,
        problems: &mut Vec<String>,
    ) -> Result<Vec<Record>, IoError> {
        let mut used = std::collections::BTreeSet::new();
        let mut damaged = Vec::new();
        let mut buffer = self.buffers().take();
        for record in records {
            if u64::from(record.chunk.0) >= origin_chunks {
                problems.push(format!("{} lies outside the volume", describe(record)));
            }
            if let Place::At(slot) = record.place
                && !used.insert(slot)
            {
                problems.push(format!("slot {} has two uses", slot.0));
            }
            let (outcome, back) = self.read_copy(record, 0, buffer).await;
            buffer = back;
            match outcome {
                Ok(Copied::Right) => {}
                Ok(Copied::Repaired) => {
                    problems
                        .push(format!("the data of {} was damaged on a member", describe(record)));
                }
                Ok(Copied::Damaged) => {
                    problems.push(format!("the data of {} is damaged", describe(record)));
                    damaged.push(*record);
                }
                // A sweep has ended the exception since it was listed.
                Err(IoError::SnapshotInvalid) => {}
                Err(error) => return Err(error),
            }
        }
        self.buffers().put(buffer);
        Ok(damaged)
    }

    fn is_live(&self, record: &Record) -> bool {
        self.live().keeps(record.chunk, Epoch(0), record.tag)
    }
}

/// The map in `space` in words, a line for the root, each block and each record, whether or not it
/// could be opened.
pub async fn dump<S: Growable>(space: &S, chunk: ChunkSize, id: Uuid) -> Result<String, MapError> {
    let map = UnverifiedMap::read(space, chunk, id).await?;
    let mut text = format!("{:?}\n", map.root);
    for sequence in &map.missing {
        let _ = writeln!(text, "block {sequence} is damaged");
    }
    for block in &map.blocks {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "block {} at {}: {} records, {} more in its batch",
            block.header.sequence,
            block.header.address,
            block.records.len(),
            block.header.remaining
        );
        for record in &block.records {
            let _ = writeln!(
                text,
                "  {} {:?} crc {:08x}",
                describe(record),
                record.place,
                record.data_crc
            );
        }
    }
    Ok(text)
}

fn describe(record: &Record) -> String {
    format!("chunk {} tag {}", record.chunk.0, record.tag.0)
}
