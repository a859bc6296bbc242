//! Copying from device to device, piece by piece.

use bytes::BytesMut;

use crate::block_io::BlockIo;
use crate::error::IoError;
use crate::limits::COPY_BYTES_MAX;

/// Copies `length_bytes`; the destination's snapshots are preserved for as with any write. Where it
/// fails, a part of it may have been written. Overlapping ranges of one device are copied forward, a
/// piece after the other.
pub async fn copy<S: BlockIo, D: BlockIo>(
    source: &S,
    source_offset_bytes: u64,
    destination: &D,
    offset_bytes: u64,
    length_bytes: u64,
) -> Result<(), IoError> {
    let mut done = 0;
    while done < length_bytes {
        let piece = COPY_BYTES_MAX.min(length_bytes - done);
        let buffer = BytesMut::zeroed(piece as usize);
        let (outcome, data) = source.read_at(source_offset_bytes + done, buffer).await;
        outcome?;
        destination.write_at(offset_bytes + done, data.freeze()).await?;
        done += piece;
    }
    Ok(())
}
