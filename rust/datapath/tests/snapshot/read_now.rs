//! What an image gives without waiting.

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use datapath::block_io::{BlockIo, ReadResult};
use datapath::error::IoError;
use datapath::member::MemoryMember;
use datapath::snapshot::PointRange;

use super::support::*;
use super::threads::{block_on, engine_over};

const CHUNK_SECTORS: u64 = 8;
const SECTORS: u64 = 4 * CHUNK_SECTORS;
const ALL: PointRange = PointRange { first_byte: 0, length_bytes: SECTORS * SECTOR };

/// What happens before a device's next `read_now` looks at its data, once.
type Before = Mutex<Option<Box<dyn FnOnce() + Send>>>;

/// An origin that something happens to just before it is read without waiting.
struct Overtaken {
    device: MemoryMember,
    before: Arc<Before>,
}

impl BlockIo for Overtaken {
    fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }
    fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        let before = self.before.lock().unwrap().take();
        before.into_iter().for_each(|happen| happen());
        self.device.read_now(offset_bytes, buffer)
    }
    async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        self.device.read_at(offset_bytes, buffer).await
    }
    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        self.device.write_at(offset_bytes, data).await
    }
    passes_on_the_rest!();
}

/// The sectors of chunks that each hold one of these stamps.
fn chunks<const COUNT: usize>(stamps: [u64; COUNT]) -> Option<Vec<u64>> {
    Some(stamps.iter().flat_map(|stamp| [*stamp; CHUNK_SECTORS as usize]).collect())
}

#[test]
fn an_image_gives_copies_and_what_was_never_written_over() {
    let catalog = Catalog::default();
    let engine = Arc::new(engine_over(MemoryMember::new("origin", SECTORS * SECTOR), &catalog));
    let write = |chunk: u64, stamp| {
        let at = chunk * CHUNK_SECTORS * SECTOR;
        block_on(engine.write_at(at, stamped(stamp, CHUNK_SECTORS))).unwrap();
    };
    (0..3).for_each(|chunk| write(chunk, 1));
    let epoch = block_on(take_snapshot(&engine, &catalog, ALL, |_| {})).unwrap();
    (1..4).for_each(|chunk| write(chunk, 2));
    let image = engine.image(epoch).unwrap();
    assert_eq!(read_stamps_now(&image, 0, SECTORS), chunks([1, 1, 1, 0]));
    assert_eq!(read_stamps_now(&image, 12, 2), Some(vec![1, 1]));
    let part = PointRange { first_byte: 0, length_bytes: 2 * CHUNK_SECTORS * SECTOR };
    let epoch = block_on(take_snapshot(&engine, &catalog, part, |_| {})).unwrap();
    let image = engine.image(epoch).unwrap();
    assert_eq!(read_stamps_now(&image, 0, 2 * CHUNK_SECTORS), chunks([1, 2]));
    assert_eq!(read_stamps_now(&image, CHUNK_SECTORS, 2 * CHUNK_SECTORS), None);
    block_on(delete_snapshot(&engine, &catalog, epoch));
    assert_eq!(read_stamps_now(&image, 0, 1), None);
}

#[test]
fn an_image_that_is_overtaken_gives_nothing() {
    let (catalog, before) = (Catalog::default(), Arc::<Before>::default());
    let device = MemoryMember::new("origin", SECTORS * SECTOR);
    let origin = Overtaken { device, before: before.clone() };
    let engine = Arc::new(engine_over(origin, &catalog));
    block_on(engine.write_at(0, stamped(1, SECTORS))).unwrap();
    let epoch = block_on(take_snapshot(&engine, &catalog, ALL, |_| {})).unwrap();
    let image = engine.image(epoch).unwrap();
    let writer = engine.clone();
    *before.lock().unwrap() = Some(Box::new(move || {
        block_on(writer.write_at(9 * SECTOR, stamped(2, 1))).unwrap();
    }));
    assert_eq!(read_stamps_now(&image, 0, SECTORS), None);
    assert_eq!(read_stamps_now(&image, 0, SECTORS), chunks([1; 4]));
    let (deleter, catalog) = (engine.clone(), catalog.clone());
    *before.lock().unwrap() = Some(Box::new(move || {
        block_on(delete_snapshot(&deleter, &catalog, epoch));
    }));
    assert_eq!(read_stamps_now(&image, 0, 1), None);
}
