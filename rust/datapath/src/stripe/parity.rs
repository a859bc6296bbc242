//! raid5: strips and a parity strip, the exclusive or of the others of its stripe.
//!
//! - A change of a stripe holds the stripe's lock, so that parity is computed from what is there.
//!   So does a read that has to compute a strip that is missing.
//! - A whole stripe is written without reading. A part of one is written with the parity computed
//!   from the old data and the old parity, or from the rest of the stripe, whichever reads less.
//! - With a member missing, a change that is torn by a power cut would spoil data that nobody
//!   wrote: what the missing member held is known only through the others. So every change goes
//!   through the journal first (`journal`), data and parity together.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use tokio::sync::MutexGuard;

use super::journal_format::Entry;
use super::set::{Fault, STRIPE_LOCKS, StripeSet, Zeroing, merge};
use super::striped::rejoin;
use crate::member::Member;

/// New data within one strip.
struct Part {
    column: usize,
    /// Within the strip.
    at: u64,
    data: Bytes,
}

impl Part {
    fn end(&self) -> u64 {
        self.at + self.data.len() as u64
    }

    fn covers(&self, range: &Range<u64>) -> bool {
        self.at <= range.start && range.end <= self.end()
    }

    /// What of it lies in a range of the strip.
    fn within(&self, range: &Range<u64>) -> Option<Part> {
        let (at, end) = (self.at.max(range.start), self.end().min(range.end));
        (at < end).then(|| {
            let data = self.data.slice((at - self.at) as usize..(end - self.at) as usize);
            Part { column: self.column, at, data }
        })
    }
}

/// A read of one member's data area: role, offset, length.
type Wanted = (usize, u64, u64);

impl<M: Member> StripeSet<M> {
    pub(super) async fn parity_read(
        &self,
        offset_bytes: u64,
        buffer: BytesMut,
    ) -> (Result<(), Fault>, BytesMut) {
        let mut rest = buffer;
        let mut pieces = self.geometry.pieces(offset_bytes, rest.len() as u64).peekable();
        if let Some(piece) = pieces.next_if(|piece| piece.length_bytes == rest.len() as u64) {
            let at = self.geometry.member_offset(piece);
            return self.strip_read(piece.stripe, piece.column, at, rest).await;
        }
        let reads: Vec<_> = pieces
            .map(|piece| {
                let part = rest.split_to(piece.length_bytes as usize);
                let at = self.geometry.member_offset(piece);
                self.strip_read(piece.stripe, piece.column, at, part)
            })
            .collect();
        rejoin(join_all(reads).await)
    }

    async fn strip_read(
        &self,
        stripe: u64,
        column: usize,
        at: u64,
        buffer: BytesMut,
    ) -> (Result<(), Fault>, BytesMut) {
        if let Some(role) = self.strip_to_read(stripe, column) {
            return self.member_read(role, at, buffer).await;
        }
        let _turn = self.lock_stripe(stripe).await;
        if let Err(fault) = self.check_whole() {
            return (Err(fault), buffer);
        }
        self.compute_missing(self.geometry.data_member(stripe, column), at, buffer).await
    }

    /// The member that has a strip of data, unless it has failed.
    pub(super) fn strip_to_read(&self, stripe: u64, column: usize) -> Option<usize> {
        let role = self.geometry.data_member(stripe, column);
        (self.failed() >> role & 1 == 0).then_some(role)
    }

    /// What `role` would hold: the exclusive or of all others. With the stripe locked.
    pub(super) async fn compute_missing(
        &self,
        role: usize,
        at: u64,
        mut buffer: BytesMut,
    ) -> (Result<(), Fault>, BytesMut) {
        let others = (0..self.geometry.members).filter(|other| *other != role);
        let wanted: Vec<_> = others.map(|other| (other, at, buffer.len() as u64)).collect();
        match self.read_all(&wanted).await {
            Ok(found) => {
                buffer.fill(0);
                found.iter().for_each(|part| xor(&mut buffer, part));
                (Ok(()), buffer)
            }
            Err(fault) => (Err(fault), buffer),
        }
    }

    pub(super) async fn parity_write(&self, offset_bytes: u64, data: Bytes) -> Result<(), Fault> {
        let stripe_bytes = self.geometry.stripe_bytes();
        let first = offset_bytes / stripe_bytes;
        if offset_bytes % stripe_bytes + data.len() as u64 <= stripe_bytes {
            return self.write_stripe(first, offset_bytes % stripe_bytes, data).await;
        }
        let mut rest = data;
        let mut at = offset_bytes;
        let mut writes = Vec::new();
        while !rest.is_empty() {
            let start = at % stripe_bytes;
            let part = rest.split_to(rest.len().min((stripe_bytes - start) as usize));
            let stripe = at / stripe_bytes;
            at += part.len() as u64;
            writes.push(self.write_stripe(stripe, start, part));
        }
        merge(join_all(writes).await)
    }

    /// Writes within one stripe, `start` bytes of data into it.
    async fn write_stripe(&self, stripe: u64, start: u64, data: Bytes) -> Result<(), Fault> {
        let _turn = self.lock_stripe(stripe).await;
        self.check_whole()?;
        let mut rest = data;
        let parts: Vec<_> = self
            .geometry
            .pieces(start, rest.len() as u64)
            .map(|piece| Part {
                column: piece.column,
                at: piece.within_bytes,
                data: rest.split_to(piece.length_bytes as usize),
            })
            .collect();
        // Two parts leave no contiguous rest of a strip between them: then it is all of it.
        let hull = match &parts[..] {
            [only] => only.at..only.end(),
            _ => 0..self.geometry.strip_bytes,
        };
        match self.failed() {
            0 => self.write_healthy(stripe, &parts, hull).await,
            failed => {
                self.write_degraded(stripe, &parts, hull, failed.trailing_zeros() as usize).await
            }
        }
    }

    async fn write_healthy(
        &self,
        stripe: u64,
        parts: &[Part],
        hull: Range<u64>,
    ) -> Result<(), Fault> {
        let length = hull.end - hull.start;
        let covered = parts.iter().filter(|part| part.covers(&hull)).count();
        let bytes_for_rest = (self.geometry.columns() - covered) as u64 * length;
        let written: u64 = parts.iter().map(|part| part.data.len() as u64).sum();
        let parity = if bytes_for_rest <= written + length {
            self.parity_from_rest(stripe, parts, &hull).await?
        } else {
            self.parity_from_old(stripe, parts, &hull).await?
        };
        let base = stripe * self.geometry.strip_bytes;
        let parity_role = self.geometry.parity_member(stripe);
        let data = parts.iter().map(|part| {
            let role = self.geometry.data_member(stripe, part.column);
            self.member_write(role, base + part.at, part.data.clone())
        });
        let parity = self.member_write(parity_role, base + hull.start, parity.freeze());
        merge(join_all(data.chain([parity])).await)
    }

    /// New parity from the columns that are not written and the new data.
    async fn parity_from_rest(
        &self,
        stripe: u64,
        parts: &[Part],
        hull: &Range<u64>,
    ) -> Result<BytesMut, Fault> {
        let whole = |column| parts.iter().find(|part| part.column == column && part.covers(hull));
        let columns = (0..self.geometry.columns()).filter(|column| whole(*column).is_none());
        let columns: Vec<_> = columns.collect();
        let wanted: Vec<_> =
            columns.iter().map(|column| self.wanted(stripe, *column, hull)).collect();
        let mut found = self.read_all(&wanted).await?;
        let mut parity = BytesMut::zeroed((hull.end - hull.start) as usize);
        for (column, content) in columns.iter().zip(&mut found) {
            overlay(content, parts, *column, hull);
            xor(&mut parity, content);
        }
        for part in parts.iter().filter(|part| part.covers(hull)) {
            xor(&mut parity, &part.data);
        }
        Ok(parity)
    }

    /// New parity from the old one, the old data and the new.
    async fn parity_from_old(
        &self,
        stripe: u64,
        parts: &[Part],
        hull: &Range<u64>,
    ) -> Result<BytesMut, Fault> {
        let base = stripe * self.geometry.strip_bytes;
        let length = hull.end - hull.start;
        let mut wanted = vec![(self.geometry.parity_member(stripe), base + hull.start, length)];
        wanted.extend(
            parts.iter().map(|part| self.wanted(stripe, part.column, &(part.at..part.end()))),
        );
        let mut found = self.read_all(&wanted).await?.into_iter();
        let mut parity = found.next().unwrap_or_default();
        for (part, old) in parts.iter().zip(found) {
            let target = &mut parity[(part.at - hull.start) as usize..][..old.len()];
            xor(target, &old);
            xor(target, &part.data);
        }
        Ok(parity)
    }

    /// Writes a stripe of which member `lost` is missing: slice by slice, each through the journal.
    async fn write_degraded(
        &self,
        stripe: u64,
        parts: &[Part],
        hull: Range<u64>,
        lost: usize,
    ) -> Result<(), Fault> {
        let step = self.journal_slice_bytes();
        let mut start = hull.start;
        while start < hull.end {
            let slice = start..(start + step).min(hull.end);
            let parts: Vec<_> = parts.iter().filter_map(|part| part.within(&slice)).collect();
            start = slice.end;
            if !parts.is_empty() {
                self.write_degraded_slice(stripe, &parts, &slice, lost).await?;
            }
        }
        Ok(())
    }

    async fn write_degraded_slice(
        &self,
        stripe: u64,
        parts: &[Part],
        slice: &Range<u64>,
        lost: usize,
    ) -> Result<(), Fault> {
        let base = stripe * self.geometry.strip_bytes;
        let entry = |member, at: u64, image: Bytes| Entry {
            member,
            offset_bytes: base + at,
            length_bytes: image.len() as u64,
            image: Some(image),
        };
        let mut entries: Vec<_> = parts
            .iter()
            .map(|part| (self.geometry.data_member(stripe, part.column), part))
            .filter(|(role, _)| *role != lost)
            .map(|(role, part)| entry(role, part.at, part.data.clone()))
            .collect();
        let parity_role = self.geometry.parity_member(stripe);
        if parity_role != lost {
            let parity = self.parity_without(stripe, parts, slice, lost).await?;
            entries.push(entry(parity_role, slice.start, parity.freeze()));
        }
        let in_place = self.journal_append(entries.clone()).await?;
        let outcome = self.apply_entries(entries, Zeroing::WriteZeroes).await;
        in_place.end(&outcome);
        outcome
    }

    /// New parity where the data member `lost` is missing.
    async fn parity_without(
        &self,
        stripe: u64,
        parts: &[Part],
        slice: &Range<u64>,
        lost: usize,
    ) -> Result<BytesMut, Fault> {
        let columns = self.geometry.columns();
        let lost_column = (0..columns)
            .find(|column| self.geometry.data_member(stripe, *column) == lost)
            .expect("the missing member holds data of this stripe");
        let mut wanted: Vec<_> = (0..columns)
            .filter(|column| *column != lost_column)
            .map(|column| self.wanted(stripe, column, slice))
            .collect();
        let at = stripe * self.geometry.strip_bytes + slice.start;
        wanted.push((self.geometry.parity_member(stripe), at, slice.end - slice.start));
        let mut contents = self.read_all(&wanted).await?;
        let parity = contents.pop().expect("the parity was read last");
        let missing = contents.iter().fold(parity, |mut sum, part| {
            xor(&mut sum, part);
            sum
        });
        contents.insert(lost_column, missing);
        let mut parity = BytesMut::zeroed((slice.end - slice.start) as usize);
        for (column, content) in contents.iter_mut().enumerate() {
            overlay(content, parts, column, slice);
            xor(&mut parity, content);
        }
        Ok(parity)
    }

    pub(super) async fn parity_zero(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
        how: Zeroing,
    ) -> Result<(), Fault> {
        let stripe_bytes = self.geometry.stripe_bytes();
        let end = offset_bytes + length_bytes;
        let (first, last) = (offset_bytes.div_ceil(stripe_bytes), end / stripe_bytes);
        if first >= last {
            return self.parity_write(offset_bytes, zeros(length_bytes)).await;
        }
        let head = first * stripe_bytes - offset_bytes;
        if head > 0 {
            self.parity_write(offset_bytes, zeros(head)).await?;
        }
        for start in (first..last).step_by(STRIPE_LOCKS) {
            let stripes = start..last.min(start + STRIPE_LOCKS as u64);
            self.zero_stripes(stripes, how).await?;
        }
        let tail = end - last * stripe_bytes;
        if tail > 0 { self.parity_write(end - tail, zeros(tail)).await } else { Ok(()) }
    }

    /// Zeroes whole stripes: zeros are the parity of zeros.
    async fn zero_stripes(&self, stripes: Range<u64>, how: Zeroing) -> Result<(), Fault> {
        let _turns = self.lock_stripes(&stripes).await;
        self.check_whole()?;
        let strip = self.geometry.strip_bytes;
        let range = stripes.start * strip..stripes.end * strip;
        let entries: Vec<_> = self
            .in_sync()
            .map(|member| Entry {
                member,
                offset_bytes: range.start,
                length_bytes: range.end - range.start,
                image: None,
            })
            .collect();
        let in_place = match self.failed() {
            0 => None,
            _ => Some(self.journal_append(entries.clone()).await?),
        };
        let outcome = self.apply_entries(entries, how).await;
        if let Some(in_place) = in_place {
            in_place.end(&outcome);
        }
        outcome
    }

    /// Makes the changes that entries describe, in place.
    pub(super) async fn apply_entries(
        &self,
        entries: Vec<Entry>,
        how: Zeroing,
    ) -> Result<(), Fault> {
        let calls = entries.into_iter().map(|entry| async move {
            let Entry { member, offset_bytes, length_bytes, image } = entry;
            match image {
                Some(image) => self.member_write(member, offset_bytes, image).await,
                None => {
                    let range = offset_bytes..offset_bytes + length_bytes;
                    self.member_zero(member, range, how).await
                }
            }
        });
        merge(join_all(calls).await)
    }

    fn wanted(&self, stripe: u64, column: usize, range: &Range<u64>) -> Wanted {
        let at = stripe * self.geometry.strip_bytes + range.start;
        (self.geometry.data_member(stripe, column), at, range.end - range.start)
    }

    pub(super) async fn read_all(&self, wanted: &[Wanted]) -> Result<Vec<BytesMut>, Fault> {
        let reads = wanted.iter().map(|(role, at, length)| {
            self.member_read(*role, *at, BytesMut::zeroed(*length as usize))
        });
        let (outcomes, buffers): (Vec<_>, Vec<_>) = join_all(reads).await.into_iter().unzip();
        merge(outcomes).map(|()| buffers)
    }

    /// With a stripe locked, before anything is computed from it: no change has left it half made.
    fn check_whole(&self) -> Result<(), Fault> {
        self.suspects.fault().map_or(Ok(()), Err)
    }

    async fn lock_stripe(&self, stripe: u64) -> MutexGuard<'_, ()> {
        self.stripe_locks[stripe as usize % STRIPE_LOCKS].lock().await
    }

    /// Locks in one order, so that two of these cannot wait for each other; all other callers hold
    /// one lock at a time.
    async fn lock_stripes(&self, stripes: &Range<u64>) -> Vec<MutexGuard<'_, ()>> {
        let mut slots: Vec<_> =
            stripes.clone().map(|stripe| stripe as usize % STRIPE_LOCKS).collect();
        slots.sort_unstable();
        slots.dedup();
        let mut turns = Vec::with_capacity(slots.len());
        for slot in slots {
            turns.push(self.stripe_locks[slot].lock().await);
        }
        turns
    }
}

/// Puts the new data of `column` over what was read of it.
fn overlay(content: &mut BytesMut, parts: &[Part], column: usize, range: &Range<u64>) {
    for part in parts.iter().filter(|part| part.column == column) {
        let at = (part.at - range.start) as usize;
        content[at..at + part.data.len()].copy_from_slice(&part.data);
    }
}

pub(super) fn xor(target: &mut [u8], source: &[u8]) {
    assert_eq!(target.len(), source.len(), "strips of one stripe are equally long");
    for (target, source) in target.iter_mut().zip(source) {
        *target ^= source;
    }
}

fn zeros(length_bytes: u64) -> Bytes {
    Bytes::from(vec![0; length_bytes as usize])
}
