//! Looking at the catalog's slots on one member without using them, for tools.

use bytes::BytesMut;
use serde::Serialize;

use super::catalog::Catalog;
use super::catalog_slot::{self, HEADERS_BYTES, MARK_BYTES};
use super::free_space;
use crate::block_io::BlockIo;
use crate::error::{IoError, PoolError};
use crate::member::Member;
use crate::stripe::Label;
use crate::stripe::inspect::{MemberDump, dump as dump_member};

/// The metadata of one member with its catalog slots, as they are on disk.
#[derive(Clone, Debug, Serialize)]
pub struct Dump {
    /// Label, write intents, journal.
    pub member: MemberDump,
    /// The two slots.
    pub slots: Vec<SlotDump>,
    /// What is wrong; empty where all is well. One damaged slot is what a crash may leave.
    pub problems: Vec<String>,
}

/// One slot of the catalog.
#[derive(Clone, Debug, Serialize)]
pub struct SlotDump {
    /// Where it is.
    pub address: u64,
    /// Its sequence number, where the header is good.
    pub sequence: Option<u64>,
    /// What it holds, where a copy of it is good.
    pub catalog: Option<Catalog>,
    /// The number of the catalog that its mark says was in force.
    pub mark: Option<u64>,
    /// What of it is damaged; a crash may leave that in the slot that was being written.
    pub damage: Vec<String>,
}

/// Everything that a member says about its pool.
pub async fn dump<M: Member>(member: &M) -> Result<Dump, PoolError> {
    let metadata = dump_member(member).await?;
    let mut dump =
        Dump { problems: metadata.problems.clone(), member: metadata, slots: Vec::new() };
    let labels = dump.member.labels.iter().filter_map(|copy| copy.label.clone());
    let Some(label) = labels.max_by_key(|label| label.event) else { return Ok(dump) };
    if member.size_bytes() < label.layout().member_bytes() {
        return Ok(dump);
    }
    for slot in 0..2 {
        let slot = read_slot(member, &label, slot).await?;
        dump.problems.extend(slot.damage.iter().cloned());
        dump.slots.push(slot);
    }
    let marked = dump.slots.iter().filter_map(|slot| slot.mark).max();
    let whole = dump.slots.iter().filter(|slot| slot.catalog.is_some());
    if marked > whole.filter_map(|slot| slot.sequence).max() {
        dump.problems.push("the catalog that was in force is lost on this member".to_owned());
    }
    let newest = dump.slots.iter().filter(|slot| slot.catalog.is_some());
    match newest.max_by_key(|slot| slot.sequence).and_then(|slot| slot.catalog.as_ref()) {
        None => dump.problems.push("neither slot holds a whole catalog".to_owned()),
        Some(catalog) => dump.problems.extend(check(catalog, &label).err()),
    }
    Ok(dump)
}

fn check(catalog: &Catalog, label: &Label) -> Result<(), String> {
    let geometry = label.geometry();
    let granule = free_space::granule_bytes(geometry);
    let size = geometry.data_bytes(label.layout().data_bytes) / granule * granule;
    free_space::check(catalog, size, granule).map_err(|error| error.to_string())
}

async fn read_slot<M: BlockIo>(
    member: &M,
    label: &Label,
    slot: u64,
) -> Result<SlotDump, PoolError> {
    let layout = label.layout();
    let address = catalog_slot::address(layout, slot);
    let mut dump =
        SlotDump { address, sequence: None, catalog: None, mark: None, damage: Vec::new() };
    let mark = read(member, catalog_slot::mark_address(layout, slot), MARK_BYTES).await?;
    dump.mark = catalog_slot::decode_mark(&mark, layout, label.pool, slot);
    if dump.mark.is_none() {
        dump.damage.push(format!("catalog slot {slot}: its mark is damaged"));
    }
    let block = read(member, address, HEADERS_BYTES).await?;
    let headers = catalog_slot::headers(&block, layout, label.pool, slot);
    if block.iter().all(|byte| *byte == 0) {
        return Ok(dump);
    }
    for (copy, header) in headers.iter().enumerate() {
        if header.is_none() {
            dump.damage.push(format!("catalog slot {slot}: copy {copy} of its header is damaged"));
        }
    }
    let newest = headers.into_iter().flatten().max_by_key(|header| header.sequence);
    if let Some(header) = newest {
        dump.sequence = Some(header.sequence);
        let block = read(member, address, header.image_bytes()).await?.freeze();
        let texts = catalog_slot::texts(&block, header);
        for (copy, text) in texts.iter().enumerate() {
            if text.is_none() {
                dump.damage
                    .push(format!("catalog slot {slot}: copy {copy} of its text is damaged"));
            }
        }
        let text = texts.into_iter().flatten().next();
        dump.catalog = text.and_then(|text| serde_json::from_slice(&text).ok());
    }
    Ok(dump)
}

async fn read<M: BlockIo>(member: &M, address: u64, length: u64) -> Result<BytesMut, IoError> {
    let (outcome, block) = member.read_at(address, BytesMut::zeroed(length as usize)).await;
    outcome.map(|()| block)
}
