//! Which members may join: a set is put together from labels alone, in any order.
//!
//! What is refused, by name: what has no label, or a damaged one, or one of another version; a
//! member of another pool; a member given twice; one that has become too small; and a stale one,
//! which the newest label calls failed or which was not there at a commit that has settled. Two
//! members that call each other failed are refused together: each may hold what the other lacks.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use super::label::{Label, LabelFault};
use super::layout::{LABEL_ADDRESSES, LABEL_BYTES};
use crate::error::PoolError;
use crate::member::Member;

/// A member with its label.
pub(super) struct Candidate<M> {
    pub(super) member: M,
    pub(super) label: Label,
}

/// What came of looking at members.
pub(super) struct Admission<M> {
    pub(super) accepted: Vec<Candidate<M>>,
    pub(super) refused: Vec<PoolError>,
}

impl<M: Member> Admission<M> {
    /// Reads the labels and sorts the members.
    pub(super) async fn of(members: Vec<M>) -> Self {
        let mut admission = Self { accepted: Vec::new(), refused: Vec::new() };
        for member in members {
            match read_label(&member).await {
                Ok(label) => admission.accepted.push(Candidate { member, label }),
                Err(reason) => admission.refuse(&member, reason),
            }
        }
        admission.refuse_foreign();
        admission.refuse_twins();
        admission.refuse_stale();
        admission
    }

    /// The newest label of those accepted.
    pub(super) fn newest(&self) -> Option<&Label> {
        self.accepted.iter().map(|one| &one.label).max_by_key(|label| label.event)
    }

    fn refuse(&mut self, member: &M, reason: String) {
        self.refused.push(PoolError::MemberRefused { member: member.name().to_owned(), reason });
    }

    fn refuse_where(&mut self, reason: impl Fn(&Candidate<M>) -> Option<String>) {
        for candidate in std::mem::take(&mut self.accepted) {
            match reason(&candidate) {
                None => self.accepted.push(candidate),
                Some(reason) => self.refuse(&candidate.member, reason),
            }
        }
    }

    /// The pool is the one that most members belong to, the first given among equals.
    fn refuse_foreign(&mut self) {
        let mut counts = BTreeMap::<Uuid, usize>::new();
        for candidate in &self.accepted {
            *counts.entry(candidate.label.pool).or_default() += 1;
        }
        let most = counts.values().max().copied();
        let pools = self.accepted.iter().map(|candidate| candidate.label.pool);
        let Some(pool) = pools.into_iter().find(|pool| counts.get(pool).copied() == most) else {
            return;
        };
        self.refuse_where(|candidate| {
            let other = candidate.label.pool;
            (other != pool).then(|| format!("it is foreign: it belongs to pool {other}"))
        });
    }

    fn refuse_twins(&mut self) {
        let mut seen = BTreeMap::<Uuid, String>::new();
        for candidate in std::mem::take(&mut self.accepted) {
            let own = candidate.label.members[candidate.label.role];
            if let Some(twin) = seen.get(&own) {
                let reason = format!("it is a duplicate: {twin} has the same identity");
                self.refuse(&candidate.member, reason);
                continue;
            }
            seen.insert(own, candidate.member.name().to_owned());
            self.accepted.push(candidate);
        }
    }

    fn refuse_stale(&mut self) {
        let Some(newest) = self.newest().cloned() else { return };
        let rival = self
            .accepted
            .iter()
            .find(|one| newest.is_failed(one.label.role) && one.label.is_failed(newest.role));
        if let Some(rival) = rival {
            let (name, label) = (rival.member.name().to_owned(), rival.label.clone());
            let reason = format!(
                "it and {name} call each other failed; give one of them only, the other's changes \
                 are lost"
            );
            // All that went on without the rival, not the newest alone: each has changes of its own.
            self.refuse_where(|one| label.is_failed(one.label.role).then(|| reason.clone()));
        }
        self.refuse_where(|one| {
            let label = &one.label;
            if label.members != newest.members || label.geometry() != newest.geometry() {
                return Some("its label tells of another set of members".to_owned());
            }
            if newest.is_failed(label.role) {
                return Some("it is stale: it failed, and the pool went on without it".to_owned());
            }
            (label.event < newest.settled_event).then(|| {
                let (event, newest) = (label.event, newest.event);
                format!("it is stale: its event count is {event}, the pool's is {newest}")
            })
        });
    }
}

/// A member's newest good label, or why there is none.
pub(super) async fn read_label<M: Member>(member: &M) -> Result<Label, String> {
    let mut best: Option<Label> = None;
    let mut worst = LabelFault::Absent;
    for address in LABEL_ADDRESSES {
        match label_at(member, address).await? {
            Ok(label) => {
                let newer = best.as_ref().is_none_or(|best| label.event > best.event);
                best = if newer { Some(label) } else { best };
            }
            Err(LabelFault::Absent) => {}
            Err(fault) => worst = fault,
        }
    }
    let label = best.ok_or_else(|| match worst {
        LabelFault::Absent => "it is not a member of a pool: it has no label".to_owned(),
        LabelFault::Damaged => "both copies of its label are damaged".to_owned(),
        LabelFault::Version(version) => format!("its label has format version {version}"),
    })?;
    let (needed, found) = (label.layout().member_bytes(), member.size_bytes());
    if found < needed {
        return Err(format!("it is too small: it has {found} bytes, {needed} belong to the pool"));
    }
    Ok(label)
}

/// What is at one of a label's addresses; the outer error is an I/O error in words.
pub(super) async fn label_at<M: Member>(
    member: &M,
    address: u64,
) -> Result<Result<Label, LabelFault>, String> {
    if member.size_bytes() < address + LABEL_BYTES {
        return Ok(Err(LabelFault::Absent));
    }
    let (outcome, block) = member.read_at(address, BytesMut::zeroed(LABEL_BYTES as usize)).await;
    outcome.map_err(|error| error.to_string())?;
    let block: Bytes = block.freeze();
    Ok(Label::decode(&block, address))
}
