//! Reads whose caller can tell right from wrong: metadata and preserved data, by their checksums.
//!
//! What one way to read gives wrongly, another may give rightly: the copies of a mirror, and in
//! raid5 a strip as its member holds it or as the others of its stripe compute it. The ways are
//! tried with the gate closed, so that nothing changes under the comparison; then every member that
//! holds something else is rewritten in place. A strip computed by way of parity is rewritten
//! without touching parity, which was right.
//!
//! Members may be wrong in different places of one range. So contents are exchanged piece by piece
//! and cell by cell, one and two exchanges at a time; how many are tried is bounded.

use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};

use super::Level;
use super::geometry::Piece;
use super::set::{Fault, StripeSet};
use super::status::SetEvent;
use crate::block_io::{Verdict, VerifiedRead};
use crate::member::Member;

/// What is exchanged besides whole pieces: no more than a strip, no less than a page.
const CELL_BYTES: usize = 4096;
/// Contents that are judged before a range is given up: a mebibyte takes some 100 us each.
const TRIALS_MAX: usize = 1024;

/// A way to read a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// What the member holds.
    Member(usize),
    /// What the other members of a parity stripe say that this one should hold.
    Computed(usize),
}

/// A piece of the range, and what each way to read it gives.
struct Found {
    piece: Piece,
    /// Its first byte within the range.
    start: usize,
    contents: Vec<(Way, BytesMut)>,
}

impl<M: Member> StripeSet<M> {
    /// What `BlockIo::read_verified` does where the first read was not right.
    pub(crate) async fn read_otherwise(
        &self,
        offset_bytes: u64,
        buffer: BytesMut,
        is_right: impl Fn(&[u8]) -> bool,
    ) -> VerifiedRead {
        let mut buffer = buffer;
        if !self.geometry.level.is_redundant() {
            return (Ok(Verdict::Wrong), buffer);
        }
        let closed = self.gate.close().await;
        loop {
            if let Err(error) = self.take_out_suspects(&closed).await {
                return (Err(error), buffer);
            }
            let fault = match self.correct(offset_bytes, &mut buffer, &is_right).await {
                Ok(verdict) => return (Ok(verdict), buffer),
                Err(fault) => fault,
            };
            if let Err(error) = self.take_out_behind(&closed, fault).await {
                return (Err(error), buffer);
            }
        }
    }

    /// With the gate closed: finds the right content, and writes it where something else is.
    async fn correct(
        &self,
        offset_bytes: u64,
        buffer: &mut BytesMut,
        is_right: &impl Fn(&[u8]) -> bool,
    ) -> Result<Verdict, Fault> {
        let found = self.read_each_way(offset_bytes, buffer.len() as u64).await?;
        let Some(right) = choose(&found, is_right) else { return Ok(Verdict::Wrong) };
        buffer.copy_from_slice(&right);
        let right = Bytes::from(right);
        let mut verdict = Verdict::Right;
        for Found { piece, start, contents } in &found {
            let part = right.slice(*start..*start + piece.length_bytes as usize);
            for (way, content) in contents {
                if let Way::Member(role) = way
                    && content[..] != part[..]
                {
                    self.repair(*role, self.geometry.member_offset(*piece), part.clone()).await?;
                    verdict = Verdict::Repaired;
                }
            }
        }
        Ok(verdict)
    }

    async fn repair(&self, role: usize, at: u64, part: Bytes) -> Result<(), Fault> {
        let length_bytes = part.len() as u64;
        self.member_write(role, at, part).await?;
        self.note_repair(role, self.layout.data_address + at, length_bytes);
        Ok(())
    }

    /// Counts a range of a member, from its start, that was wrong and was rewritten.
    pub(crate) fn note_repair(&self, role: usize, offset_bytes: u64, length_bytes: u64) {
        self.repairs[role].fetch_add(1, Ordering::Relaxed);
        let member = self.name_of(role);
        self.announce(SetEvent::Repaired { member, offset_bytes, length_bytes });
    }

    async fn read_each_way(&self, offset: u64, length: u64) -> Result<Vec<Found>, Fault> {
        let mut all = Vec::new();
        let mut start = 0;
        for piece in self.geometry.pieces(offset, length) {
            let mut contents = Vec::new();
            for way in self.ways(piece) {
                contents.push((way, self.read_by(way, piece).await?));
            }
            all.push(Found { piece, start, contents });
            start += piece.length_bytes as usize;
        }
        Ok(all)
    }

    fn ways(&self, piece: Piece) -> Vec<Way> {
        if self.geometry.level != Level::Raid5 {
            return self.live_copies(piece.column).map(Way::Member).collect();
        }
        let role = self.geometry.data_member(piece.stripe, piece.column);
        match self.failed() {
            0 => vec![Way::Member(role), Way::Computed(role)],
            failed if failed == 1 << role => vec![Way::Computed(role)],
            _ => vec![Way::Member(role)],
        }
    }

    async fn read_by(&self, way: Way, piece: Piece) -> Result<BytesMut, Fault> {
        let at = self.geometry.member_offset(piece);
        let buffer = BytesMut::zeroed(piece.length_bytes as usize);
        let (outcome, content) = match way {
            Way::Member(role) => self.member_read(role, at, buffer).await,
            Way::Computed(role) => self.compute_missing(role, at, buffer).await,
        };
        outcome.map(|()| content)
    }
}

/// The first combination of contents that is right: each way alone, then with one exchange, then
/// with two.
fn choose(found: &[Found], is_right: &impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let ways = found.iter().map(|one| one.contents.len()).max().unwrap_or(0);
    let base = assemble(found, 0);
    let exchanges = exchanges(found);
    let singles = exchanges.iter().map(|one| vec![one]);
    let pairs = exchanges
        .iter()
        .enumerate()
        .flat_map(|(index, one)| exchanges[index + 1..].iter().map(move |other| vec![one, other]));
    (0..ways)
        .map(|way| assemble(found, way))
        .chain(singles.chain(pairs).map(|chosen| exchanged(&base, &chosen)))
        .take(TRIALS_MAX)
        .find(|content| is_right(content))
}

/// The whole range, each piece by that way or the last one it has.
fn assemble(found: &[Found], way: usize) -> Vec<u8> {
    let pieces = found.iter().filter_map(|one| {
        let last = one.contents.len().checked_sub(1)?;
        Some(&one.contents[way.min(last)].1[..])
    });
    pieces.collect::<Vec<_>>().concat()
}

/// Content to put at a place of the range.
type Exchange<'a> = (usize, &'a [u8]);

/// What another way gives otherwise than the first one: pieces, then the cells of those that are
/// longer.
fn exchanges(found: &[Found]) -> Vec<Exchange<'_>> {
    let mut pieces = Vec::new();
    let mut cells = Vec::new();
    for one in found {
        let Some(((_, first), others)) = one.contents.split_first() else { continue };
        for (_, other) in others.iter().filter(|(_, other)| other != first) {
            pieces.push((one.start, &other[..]));
            let parts = first.chunks(CELL_BYTES).zip(other.chunks(CELL_BYTES)).enumerate();
            let differing = parts.filter(|(_, (first, other))| first != other);
            let places =
                differing.map(|(index, (_, other))| (one.start + index * CELL_BYTES, other));
            cells.extend(places.filter(|_| first.len() > CELL_BYTES));
        }
    }
    pieces.append(&mut cells);
    pieces
}

fn exchanged(base: &[u8], chosen: &[&Exchange<'_>]) -> Vec<u8> {
    let mut content = base.to_vec();
    for (at, part) in chosen {
        content[*at..*at + part.len()].copy_from_slice(part);
    }
    content
}
