//! Looking at a member's metadata without using it: `dump` and `check` of each format, for tools.
//!
//! Nothing is written here, and damaged structures are described instead of refused.

use bytes::BytesMut;
use serde::Serialize;

use super::admission::label_at;
use super::intent_format;
use super::journal_format::{self, Entry, HEADER_BYTES, Place};
use super::label::{Label, LabelFault};
use super::layout::{INTENTS_ADDRESS, INTENTS_BYTES, LABEL_ADDRESSES, Layout};
use crate::error::{IoError, PoolError};
use crate::member::Member;

/// The metadata of one member, as it is on disk.
#[derive(Clone, Debug, Serialize)]
pub struct MemberDump {
    /// The two copies of the label.
    pub labels: Vec<LabelDump>,
    /// Where things are, by the newest good label.
    pub layout: Option<Layout>,
    /// Regions with a write intent.
    pub dirty_regions: Vec<usize>,
    /// The journal, where the level has one.
    pub journal: Option<JournalDump>,
    /// What is wrong; empty where all is well.
    pub problems: Vec<String>,
}

/// One copy of a label.
#[derive(Clone, Debug, Serialize)]
pub struct LabelDump {
    /// Where it is.
    pub address: u64,
    /// What it says.
    pub label: Option<Label>,
    /// Why it says nothing.
    pub fault: Option<String>,
}

/// A journal.
#[derive(Clone, Debug, Serialize)]
pub struct JournalDump {
    /// Its generation; `None` where its header is damaged.
    pub generation: Option<u64>,
    /// The records that count.
    pub records: Vec<RecordDump>,
}

/// A record of a journal.
#[derive(Clone, Debug, Serialize)]
pub struct RecordDump {
    /// Where it stands.
    pub place: Place,
    /// What it changes.
    pub changes: Vec<ChangeDump>,
}

/// One change of a record.
#[derive(Clone, Debug, Serialize)]
pub struct ChangeDump {
    /// The member's role.
    pub member: usize,
    /// From the start of the member's data area.
    pub offset_bytes: u64,
    /// How many bytes.
    pub length_bytes: u64,
    /// Whether they become zeros; else the record holds them.
    pub zeros: bool,
}

/// Everything that a member's metadata says.
pub async fn dump<M: Member>(member: &M) -> Result<MemberDump, PoolError> {
    let mut dump = MemberDump {
        labels: Vec::new(),
        layout: None,
        dirty_regions: Vec::new(),
        journal: None,
        problems: Vec::new(),
    };
    for address in LABEL_ADDRESSES {
        let found = label_at(member, address).await.map_err(IoError::failed)?;
        dump.labels.push(describe(address, found));
    }
    for copy in &dump.labels {
        let fault = copy.fault.as_ref();
        dump.problems.extend(fault.map(|fault| format!("label at {}: {fault}", copy.address)));
    }
    let labels = dump.labels.iter().filter_map(|copy| copy.label.clone());
    let Some(label) = labels.max_by_key(|label| label.event) else { return Ok(dump) };
    let layout = label.layout();
    dump.layout = Some(layout);
    if member.size_bytes() < layout.member_bytes() {
        dump.problems.push(format!("the member has fewer than {} bytes", layout.member_bytes()));
        return Ok(dump);
    }
    let regions = layout.data_bytes.div_ceil(layout.region_bytes) as usize;
    let block = read(member, INTENTS_ADDRESS, INTENTS_BYTES).await?;
    dump.dirty_regions = intent_format::decode(&block, label.pool, regions);
    for sector in intent_format::damaged_sectors(&block, label.pool) {
        dump.problems.push(format!("write intents: sector {sector} is damaged"));
    }
    if layout.journal_bytes > 0 {
        let journal = dump_journal(member, &label, layout).await?;
        if journal.generation.is_none() {
            dump.problems.push("journal: the header is damaged".to_owned());
        }
        dump.journal = Some(journal);
    }
    Ok(dump)
}

fn describe(address: u64, found: Result<Label, LabelFault>) -> LabelDump {
    let fault = found.as_ref().err().map(|fault| match fault {
        LabelFault::Absent => "there is none".to_owned(),
        LabelFault::Damaged => "it is damaged".to_owned(),
        LabelFault::Version(version) => format!("it has format version {version}"),
    });
    LabelDump { address, label: found.ok(), fault }
}

async fn dump_journal<M: Member>(
    member: &M,
    label: &Label,
    layout: Layout,
) -> Result<JournalDump, PoolError> {
    let ring = read(member, layout.journal_address, layout.journal_bytes).await?.freeze();
    let header = &ring[..HEADER_BYTES as usize];
    let own = label.members[label.role];
    let decoded = journal_format::decode_header(header, layout.journal_address, own);
    let records = decoded.map_or_else(Vec::new, |(generation, previous)| {
        let first = Place {
            address: layout.journal_address + HEADER_BYTES,
            generation,
            journal: previous,
            sequence: 0,
            previous,
        };
        let records = journal_format::decode_records(ring.slice(HEADER_BYTES as usize..), first);
        records.map(|(place, entries)| describe_record(place, &entries)).collect()
    });
    Ok(JournalDump { generation: decoded.map(|found| found.0), records })
}

fn describe_record(place: Place, entries: &[Entry]) -> RecordDump {
    let changes = entries.iter().map(|entry| ChangeDump {
        member: entry.member,
        offset_bytes: entry.offset_bytes,
        length_bytes: entry.length_bytes,
        zeros: entry.image.is_none(),
    });
    RecordDump { place, changes: changes.collect() }
}

async fn read<M: Member>(member: &M, address: u64, length: u64) -> Result<BytesMut, IoError> {
    let (outcome, block) = member.read_at(address, BytesMut::zeroed(length as usize)).await;
    outcome.map(|()| block)
}
