//! Decodes the CDBs of plain READ and WRITE (SBC-4, clause 5), or declines.
//!
//! Plain means: no protection information, no rebuild assist, no group number, no NACA, nothing
//! reserved set, at least one block. DPO is advice and is passed over; FUA is kept.

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// READ: Data-In.
    Read,
    /// WRITE: Data-Out.
    Write,
}

/// A plain READ or WRITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCommand {
    /// READ or WRITE.
    pub direction: Direction,
    /// The first logical block.
    pub lba: u64,
    /// How many logical blocks; at least one.
    pub blocks: u32,
    /// Force unit access: the data must be on the medium when the command completes.
    pub fua: bool,
}

const DPO: u8 = 0x10;
const FUA: u8 = 0x08;

/// The plain READ or WRITE that `cdb` is, or `None` where it is anything else.
pub fn decode(cdb: &[u8]) -> Option<BlockCommand> {
    use Direction::{Read, Write};
    match *cdb.first()? {
        0x08 => six(cdb, Read),
        0x0A => six(cdb, Write),
        0x28 => ten(cdb, Read),
        0x2A => ten(cdb, Write),
        0xA8 => twelve(cdb, Read),
        0xAA => twelve(cdb, Write),
        0x88 => sixteen(cdb, Read),
        0x8A => sixteen(cdb, Write),
        _ => None,
    }
}

/// READ(6) and WRITE(6): a transfer length of zero means 256 blocks (SBC-4, 5.14).
fn six(cdb: &[u8], direction: Direction) -> Option<BlockCommand> {
    let cdb: &[u8; 6] = cdb.first_chunk()?;
    if cdb[1] & 0xE0 != 0 || cdb[5] != 0 {
        return None;
    }
    let lba = u64::from(u32::from_be_bytes([0, cdb[1], cdb[2], cdb[3]]));
    let blocks = if cdb[4] == 0 { 256 } else { u32::from(cdb[4]) };
    Some(BlockCommand { direction, lba, blocks, fua: false })
}

fn ten(cdb: &[u8], direction: Direction) -> Option<BlockCommand> {
    let cdb: &[u8; 10] = cdb.first_chunk()?;
    let lba = u64::from(u32::from_be_bytes([cdb[2], cdb[3], cdb[4], cdb[5]]));
    let blocks = u32::from(u16::from_be_bytes([cdb[7], cdb[8]]));
    plain(direction, lba, blocks, cdb[1], cdb[6], cdb[9])
}

fn twelve(cdb: &[u8], direction: Direction) -> Option<BlockCommand> {
    let cdb: &[u8; 12] = cdb.first_chunk()?;
    let lba = u64::from(u32::from_be_bytes([cdb[2], cdb[3], cdb[4], cdb[5]]));
    let blocks = u32::from_be_bytes([cdb[6], cdb[7], cdb[8], cdb[9]]);
    plain(direction, lba, blocks, cdb[1], cdb[10], cdb[11])
}

fn sixteen(cdb: &[u8], direction: Direction) -> Option<BlockCommand> {
    let cdb: &[u8; 16] = cdb.first_chunk()?;
    let lba = u64::from_be_bytes(*cdb[2..].first_chunk()?);
    let blocks = u32::from_be_bytes(*cdb[10..].first_chunk()?);
    plain(direction, lba, blocks, cdb[1], cdb[14], cdb[15])
}

fn plain(
    direction: Direction,
    lba: u64,
    blocks: u32,
    flags: u8,
    group: u8,
    control: u8,
) -> Option<BlockCommand> {
    let unusual = flags & !(DPO | FUA) != 0 || group != 0 || control != 0 || blocks == 0;
    (!unusual).then_some(BlockCommand { direction, lba, blocks, fua: flags & FUA != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lba: u64, blocks: u32, fua: bool) -> Option<BlockCommand> {
        Some(BlockCommand { direction: Direction::Read, lba, blocks, fua })
    }

    fn write(lba: u64, blocks: u32, fua: bool) -> Option<BlockCommand> {
        Some(BlockCommand { direction: Direction::Write, lba, blocks, fua })
    }

    #[test]
    fn plain_commands_decode() {
        let table: &[(&[u8], Option<BlockCommand>)] = &[
            (&[0x08, 0x1F, 0xFF, 0xFE, 3, 0], read(0x1F_FFFE, 3, false)),
            (&[0x08, 0, 0, 0, 0, 0], read(0, 256, false)),
            (&[0x0A, 0x01, 0x02, 0x03, 1, 0], write(0x1_0203, 1, false)),
            (&[0x28, 0, 1, 2, 3, 4, 0, 5, 6, 0], read(0x0102_0304, 0x0506, false)),
            (&[0x28, 0x18, 0, 0, 0, 9, 0, 0, 1, 0], read(9, 1, true)),
            (&[0x2A, 0x10, 0, 0, 0, 9, 0, 0, 1, 0], write(9, 1, false)),
            (&[0xA8, 0, 0, 0, 0, 7, 0, 1, 0, 0, 0, 0], read(7, 0x1_0000, false)),
            (&[0xAA, 0x08, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0], write(7, 2, true)),
            (
                &[0x88, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0],
                read(0x0102_0304_0506_0708, 0x090A_0B0C, false),
            ),
            (&[0x8A, 0x08, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0], write(8, 1, true)),
        ];
        for (cdb, wanted) in table {
            assert_eq!(decode(cdb), *wanted, "{cdb:02X?}");
        }
    }

    #[test]
    fn anything_else_is_declined() {
        let table: &[&[u8]] = &[
            &[],
            &[0x12, 0, 0, 0, 36, 0],
            &[0x08, 0x20, 0, 0, 1, 0],
            &[0x08, 0, 0, 0, 1, 4],
            &[0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0],
            &[0x28, 0x04, 0, 0, 0, 0, 0, 0, 1, 0],
            &[0x28, 0x01, 0, 0, 0, 0, 0, 0, 1, 0],
            &[0x28, 0, 0, 0, 0, 0, 1, 0, 1, 0],
            &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 4],
            &[0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x28, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0xA8, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0],
            &[0x8A, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0x20, 0],
            &[0x8A, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0],
        ];
        for cdb in table {
            assert_eq!(decode(cdb), None, "{cdb:02X?}");
        }
    }
}
