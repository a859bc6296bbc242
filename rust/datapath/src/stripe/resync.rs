//! After an unclean stop: regions with a write intent are made equal again before the set is used.
//!
//! Copies are taken from the first member in sync: what differs between copies was never flushed,
//! so either is right, as long as it stays the same from now on. Parity is computed from the data.
//! Only what differs is written, so that sparse members stay sparse.

use std::ops::Range;

use bytes::BytesMut;

use super::Level;
use super::intent_format;
use super::layout::{INTENTS_ADDRESS, INTENTS_BYTES};
use super::parity::xor;
use super::set::{Fault, StripeSet, merge};
use crate::member::Member;

/// How much is compared at a time.
const STEP_BYTES: u64 = 1 << 20;

impl<M: Member> StripeSet<M> {
    /// The regions with an intent on any member in sync.
    pub(super) async fn dirty_regions(&self) -> Result<Vec<usize>, Fault> {
        let regions = self.layout.data_bytes.div_ceil(self.layout.region_bytes) as usize;
        let mut dirty = Vec::new();
        for role in self.in_sync() {
            let block = self.meta_read(role, INTENTS_ADDRESS, INTENTS_BYTES).await?;
            dirty.extend(intent_format::decode(&block, self.identity.pool, regions));
        }
        dirty.sort_unstable();
        dirty.dedup();
        Ok(dirty)
    }

    /// Makes members equal in those regions; gives the bytes compared on each.
    pub(super) async fn resync(&self, regions: &[usize]) -> Result<u64, Fault> {
        let mut compared = 0;
        for region in regions {
            let start = *region as u64 * self.layout.region_bytes;
            let end = self.layout.data_bytes.min(start + self.layout.region_bytes);
            for at in (start..end).step_by(STEP_BYTES as usize) {
                let range = at..end.min(at + STEP_BYTES);
                compared += range.end - range.start;
                self.resync_range(range).await?;
            }
        }
        self.flush_members().await?;
        Ok(compared)
    }

    async fn resync_range(&self, range: Range<u64>) -> Result<(), Fault> {
        match self.geometry.level {
            Level::Raid0 => Ok(()),
            Level::Raid1 | Level::Raid10 => {
                for column in 0..self.geometry.columns() {
                    self.resync_copies(column, &range).await?;
                }
                Ok(())
            }
            Level::Raid5 => self.resync_parity(&range).await,
        }
    }

    async fn resync_copies(&self, column: usize, range: &Range<u64>) -> Result<(), Fault> {
        let copies = self.geometry.copies(column);
        let roles: Vec<_> = self.in_sync().filter(|role| copies.contains(role)).collect();
        let length = range.end - range.start;
        let wanted: Vec<_> = roles.iter().map(|role| (*role, range.start, length)).collect();
        let contents = self.read_all(&wanted).await?;
        let first = contents[0].clone().freeze();
        for (role, content) in roles.iter().zip(&contents) {
            if content[..] != first[..] {
                self.member_write(*role, range.start, first.clone()).await?;
            }
        }
        Ok(())
    }

    /// Steps are whole strips, each with one parity member.
    async fn resync_parity(&self, range: &Range<u64>) -> Result<(), Fault> {
        let strip = self.geometry.strip_bytes;
        for stripe in range.start / strip..range.end / strip {
            let roles = 0..self.geometry.members;
            let wanted: Vec<_> = roles.map(|role| (role, stripe * strip, strip)).collect();
            let mut contents = self.read_all(&wanted).await?;
            let role = self.geometry.parity_member(stripe);
            let old = contents.swap_remove(role);
            let mut parity = BytesMut::zeroed(strip as usize);
            contents.iter().for_each(|content| xor(&mut parity, content));
            if parity != old {
                let write = self.member_write(role, stripe * strip, parity.freeze()).await;
                merge([write])?;
            }
        }
        Ok(())
    }
}
