//! Any CDB to the fast path: it carries out a READ or WRITE within the medium, or declines.
//!
//! The device is 64 blocks in memory. What was carried out is checked against bytes kept beside it.
#![no_main]

use std::cell::RefCell;

use bytes::Bytes;
use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;

use datapath::member::MemoryMember;
use datapath::scsi::buffers::BufferPool;
use datapath::scsi::logical_unit::UnitNumber;
use datapath::scsi::{
    Cdb, Expected, ExpectedDirection, LogicalUnit, NexusId, Request, TaskAttribute,
};

const BLOCK_BYTES: usize = 512;
const DEVICE_BYTES: usize = 64 * BLOCK_BYTES;

/// Blocks that READ and WRITE of each size name, where the operation code is one of theirs.
fn range(cdb: &[u8]) -> Option<(u64, u64)> {
    let number = |from: usize, length: usize| {
        cdb[from..from + length].iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    Some(match cdb[0] {
        0x08 | 0x0A => (number(1, 3) & 0x1F_FFFF, if cdb[4] == 0 { 256 } else { number(4, 1) }),
        0x28 | 0x2A => (number(2, 4), number(7, 2)),
        0xA8 | 0xAA => (number(2, 4), number(6, 4)),
        0x88 | 0x8A => (number(2, 8), number(10, 4)),
        _ => return None,
    })
}

thread_local! {
    static UNIT: (LogicalUnit<MemoryMember>, RefCell<Vec<u8>>) = (
        LogicalUnit::new(UnitNumber(1), MemoryMember::new("m", DEVICE_BYTES as u64), BLOCK_BYTES as u32, false),
        RefCell::new(vec![0; DEVICE_BYTES]),
    );
}

fuzz_target!(|data: &[u8]| {
    let Some((cdb, rest)) = data.split_first_chunk::<16>() else { return };
    let Some((room, data_out)) = rest.split_first() else { return };
    let request = Request {
        nexus: NexusId(1),
        lun: 0,
        cdb: Cdb::Fixed(*cdb),
        attribute: TaskAttribute::Simple,
        data_out: Bytes::copy_from_slice(data_out),
        expected: Expected { direction: ExpectedDirection::Unsaid, bytes: u32::from(*room) * 256 },
        repeated: false,
    };
    UNIT.with(|(unit, model)| {
        let done = unit.execute(&request, &BufferPool::default()).now_or_never();
        let Some(completion) = done.expect("nothing to wait for") else { return };
        let (lba, blocks) = range(cdb).expect("only READ and WRITE are carried out");
        let (start, length) = (lba as usize * BLOCK_BYTES, blocks as usize * BLOCK_BYTES);
        let mut model = model.borrow_mut();
        assert!(start + length <= DEVICE_BYTES);
        if completion.data_out_wanted_bytes > 0 {
            assert_eq!(completion.data_out_wanted_bytes, length as u64);
            model[start..start + length].copy_from_slice(&data_out[..length]);
        } else {
            assert_eq!(completion.data_in[..], model[start..start + length]);
        }
    });
});
