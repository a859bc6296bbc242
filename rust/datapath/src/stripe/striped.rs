//! raid0, raid1 and raid10: columns of strips, each held by one member or by several.
//!
//! A run within one strip, or within the only column, goes straight to its members, with the
//! caller's own buffer. Longer ones are cut at strip borders and all their parts go out at once; a
//! part is never gathered with another by copying, since a copy costs more than a call.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;

use super::geometry::Piece;
use super::set::{Fault, StripeSet, Zeroing, merge};
use crate::error::IoError;
use crate::member::Member;

/// Reads of neighbouring megabytes go to different copies, those within one to the same.
const READ_BALANCE_SHIFT: u32 = 20;

impl<M: Member> StripeSet<M> {
    pub(super) async fn striped_read(
        &self,
        offset_bytes: u64,
        buffer: BytesMut,
    ) -> (Result<(), Fault>, BytesMut) {
        if let Some((column, at)) = self.single_run(offset_bytes, buffer.len() as u64) {
            return self.column_read(column, at, buffer).await;
        }
        let mut rest = buffer;
        let pieces = self.geometry.pieces(offset_bytes, rest.len() as u64);
        let reads: Vec<_> = pieces
            .map(|piece| {
                let part = rest.split_to(piece.length_bytes as usize);
                self.column_read(piece.column, self.geometry.member_offset(piece), part)
            })
            .collect();
        rejoin(join_all(reads).await)
    }

    pub(super) async fn striped_write(&self, offset_bytes: u64, data: Bytes) -> Result<(), Fault> {
        if let Some((column, at)) = self.single_run(offset_bytes, data.len() as u64) {
            return self.column_write(column, at, data).await;
        }
        let mut rest = data;
        let pieces = self.geometry.pieces(offset_bytes, rest.len() as u64);
        let writes: Vec<_> = pieces
            .map(|piece: Piece| {
                let part = rest.split_to(piece.length_bytes as usize);
                self.column_write(piece.column, self.geometry.member_offset(piece), part)
            })
            .collect();
        merge(join_all(writes).await)
    }

    pub(super) async fn striped_zero(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
        how: Zeroing,
    ) -> Result<(), Fault> {
        let mut calls = Vec::new();
        for column in 0..self.geometry.columns() {
            let range = self.geometry.column_range(offset_bytes, length_bytes, column);
            if !range.is_empty() {
                let copies = self.live_copies(column);
                calls.extend(copies.map(|role| self.member_zero(role, range.clone(), how)));
            }
        }
        merge(join_all(calls).await)
    }

    /// Where a range is one run of one column.
    pub(super) fn single_run(&self, offset_bytes: u64, length_bytes: u64) -> Option<(usize, u64)> {
        if self.geometry.columns() == 1 {
            return Some((0, offset_bytes));
        }
        let first = self.geometry.pieces(offset_bytes, length_bytes).next()?;
        let whole = first.length_bytes == length_bytes;
        whole.then(|| (first.column, self.geometry.member_offset(first)))
    }

    async fn column_read(
        &self,
        column: usize,
        at: u64,
        buffer: BytesMut,
    ) -> (Result<(), Fault>, BytesMut) {
        match self.copy_to_read(column, at) {
            Some(role) => self.member_read(role, at, buffer).await,
            None => (Err(no_copy_left(column)), buffer),
        }
    }

    /// Which of a column's copies a read goes to, if one is left. Not for raid5, which has none.
    pub(super) fn copy_to_read(&self, column: usize, at: u64) -> Option<usize> {
        let copies: Range<usize> = self.geometry.copies(column);
        if copies.len() == 1 {
            return Some(copies.start);
        }
        let live = self.live_copies(column).count();
        let turn = (at >> READ_BALANCE_SHIFT) as usize % live.max(1);
        self.live_copies(column).nth(turn)
    }

    async fn column_write(&self, column: usize, at: u64, data: Bytes) -> Result<(), Fault> {
        let copies: Range<usize> = self.geometry.copies(column);
        if copies.len() == 1 {
            return self.member_write(copies.start, at, data).await;
        }
        let writes = self.live_copies(column).map(|role| self.member_write(role, at, data.clone()));
        merge(join_all(writes).await)
    }

    pub(super) fn live_copies(&self, column: usize) -> impl Iterator<Item = usize> + use<M> {
        let failed = self.failed();
        self.geometry.copies(column).filter(move |role| failed >> role & 1 == 0)
    }
}

/// Puts the parts of a buffer together again: no copy, since they were cut from one.
pub(super) fn rejoin(
    parts: impl IntoIterator<Item = (Result<(), Fault>, BytesMut)>,
) -> (Result<(), Fault>, BytesMut) {
    let mut whole = BytesMut::new();
    let mut outcome = Ok(());
    for (part_outcome, part) in parts {
        whole.unsplit(part);
        outcome = merge([outcome, part_outcome]);
    }
    (outcome, whole)
}

fn no_copy_left(column: usize) -> Fault {
    let error = IoError::failed(format!("every copy of column {column} has failed"));
    Fault { members: 0, changed: false, error }
}
