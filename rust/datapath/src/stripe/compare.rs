//! Whether copies and parity agree, compared while the set is in use.
//!
//! A step is read and compared without holding anything up. Where it differs, a change may be in
//! flight: the gate is closed and the step compared again, so that what is reported is on the
//! members. What is mapped on no member is skipped: zeros agree, and are the parity of zeros.
//!
//! A comparison says where members disagree, not which of them is right: that only a checksum can
//! tell (`verified`). It changes nothing.

use std::ops::Range;

use bytes::BytesMut;
use futures_util::future::join_all;
use serde::Serialize;

use super::Level;
use super::parity::xor;
use super::set::{Fault, StripeSet};
use crate::error::IoError;
use crate::limits::MISMATCHES_MAX;
use crate::member::Member;

/// How much of each member is compared at a time: whole strips of any size.
const STEP_BYTES: u64 = 1 << 20;
/// What is reported is a multiple of this.
const CELL_BYTES: usize = 4096;

/// A range in which members disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Bytes from each of these members' start.
    pub address: u64,
    /// How many bytes.
    pub length_bytes: u64,
    /// Those that hold different copies, or that make up a stripe with wrong parity.
    pub members: Vec<String>,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Bytes of each member that were compared; what is mapped on none of them is left out. 0 where
    /// there is nothing to compare with: raid0, and raid5 without a member.
    pub compared_bytes: u64,
    /// Bytes of members' ranges in which they disagree.
    pub mismatched_bytes: u64,
    /// The first `MISMATCHES_MAX` of these ranges.
    pub mismatches: Vec<Mismatch>,
}

impl Comparison {
    fn add(&mut self, mismatch: Mismatch) {
        self.mismatched_bytes += mismatch.length_bytes;
        if self.mismatches.len() < MISMATCHES_MAX {
            self.mismatches.push(mismatch);
        }
    }
}

/// Members that must agree with one another.
struct Group {
    roles: Vec<usize>,
    /// Whether they add up to zeros; else they are equal.
    parity: bool,
}

impl<M: Member> StripeSet<M> {
    /// Compares all that is mapped. I/O goes on; `IoError::Closed` once the set is closed.
    pub async fn compare(&self) -> Result<Comparison, IoError> {
        let mut comparison = Comparison::default();
        let mut at = 0;
        while at < self.layout.data_bytes {
            self.usable()?;
            let groups = self.groups();
            if groups.is_empty() {
                break;
            }
            let holes = self.unmapped_everywhere(at).await;
            if holes > 0 {
                at += holes;
                continue;
            }
            let range = at..self.layout.data_bytes.min(at + STEP_BYTES);
            self.compare_step(&groups, &range, &mut comparison).await?;
            comparison.compared_bytes += range.end - range.start;
            at = range.end;
        }
        Ok(comparison)
    }

    async fn compare_step(
        &self,
        groups: &[Group],
        range: &Range<u64>,
        comparison: &mut Comparison,
    ) -> Result<(), IoError> {
        for group in groups {
            // A member that fails a read is taken out by the next step's, or by I/O.
            let differing = match self.differing(group, range).await {
                Ok(cells) if cells.is_empty() => continue,
                Ok(_) => {
                    let closed = self.gate.close().await;
                    self.take_out_suspects(&closed).await?;
                    if group.roles.iter().any(|role| self.failed() >> role & 1 == 1) {
                        continue;
                    }
                    self.differing(group, range).await
                }
                Err(fault) => Err(fault),
            };
            match differing {
                Ok(cells) => self.describe(group, range.start, &cells, comparison),
                Err(fault) => self.take_out(fault).await?,
            }
        }
        Ok(())
    }

    /// The ranges within a step in which the members of a group disagree.
    async fn differing(
        &self,
        group: &Group,
        range: &Range<u64>,
    ) -> Result<Vec<Range<usize>>, Fault> {
        let length = range.end - range.start;
        let wanted: Vec<_> = group.roles.iter().map(|role| (*role, range.start, length)).collect();
        let mut contents = self.read_all(&wanted).await?;
        let Some(mut first) = contents.pop() else { return Ok(Vec::new()) };
        if group.parity {
            contents.iter().for_each(|content| xor(&mut first, content));
            contents = vec![BytesMut::zeroed(first.len())];
        }
        Ok(differing_cells(&first, &contents))
    }

    fn describe(
        &self,
        group: &Group,
        start: u64,
        cells: &[Range<usize>],
        comparison: &mut Comparison,
    ) {
        for cell in cells {
            comparison.add(Mismatch {
                address: self.layout.data_address + start + cell.start as u64,
                length_bytes: cell.len() as u64,
                members: group.roles.iter().map(|role| self.name_of(*role)).collect(),
            });
        }
    }

    fn groups(&self) -> Vec<Group> {
        match self.geometry.level {
            Level::Raid0 => Vec::new(),
            Level::Raid5 if self.failed() != 0 => Vec::new(),
            Level::Raid5 => vec![Group { roles: self.in_sync().collect(), parity: true }],
            Level::Raid1 | Level::Raid10 => (0..self.geometry.columns())
                .map(|column| Group { roles: self.live_copies(column).collect(), parity: false })
                .filter(|group| group.roles.len() > 1)
                .collect(),
        }
    }

    /// How many bytes from `at` on are mapped on no member in sync: whole steps.
    async fn unmapped_everywhere(&self, at: u64) -> u64 {
        let rest = self.layout.data_bytes - at;
        let runs = self
            .in_sync()
            .map(|role| self.member(role).mapped_run(self.layout.data_address + at, rest));
        let lengths = join_all(runs).await.into_iter().map(|run| match run {
            Ok((false, length)) => length,
            // What cannot be told is read.
            Ok((true, _)) | Err(_) => 0,
        });
        let least = lengths.min().unwrap_or(0);
        if least == rest { rest } else { least / STEP_BYTES * STEP_BYTES }
    }
}

/// Where any of `others` differs from `first`: neighbouring cells are one range.
fn differing_cells(first: &[u8], others: &[BytesMut]) -> Vec<Range<usize>> {
    if others.iter().all(|other| other[..] == *first) {
        return Vec::new();
    }
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for start in (0..first.len()).step_by(CELL_BYTES) {
        let cell = start..first.len().min(start + CELL_BYTES);
        if others.iter().all(|other| other[cell.clone()] == first[cell.clone()]) {
            continue;
        }
        match ranges.last_mut() {
            Some(last) if last.end == cell.start => last.end = cell.end,
            _ => ranges.push(cell),
        }
    }
    ranges
}
