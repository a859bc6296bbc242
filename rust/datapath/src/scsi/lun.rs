//! The eight LUN bytes (SAM-5, 4.7): several forms mean the same unit, and here become one.
//!
//! `scsi_snap.scsi.lun_address` tells which forms there are. The usual one is the peripheral device
//! method for numbers below 256 and the flat space method above.

const FIRST_LEVEL_SHIFT: u32 = 48;
const PERIPHERAL_MAX: u64 = 256;
const FLAT_SPACE: u64 = 0x4000;

/// The usual form of `lun`; one that means no unit here stays as it is.
#[inline]
pub fn usual_form(lun: u64) -> u64 {
    let first_level = lun >> FIRST_LEVEL_SHIFT;
    let is_usual = first_level < PERIPHERAL_MAX;
    if is_usual || first_level >> 15 != 0 || lun << 16 != 0 {
        return lun;
    }
    match first_level & !FLAT_SPACE {
        number if number < PERIPHERAL_MAX => number << FIRST_LEVEL_SHIFT,
        number => (FLAT_SPACE | number) << FIRST_LEVEL_SHIFT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_becomes_the_usual_one() {
        // First level as sent, as it is usual.
        let table: [(u64, u64); 9] = [
            (0x0000, 0x0000),
            (0x00FF, 0x00FF),
            (0x4000, 0x0000),
            (0x40FF, 0x00FF),
            (0x0100, 0x4100),
            (0x4100, 0x4100),
            (0x3FFF, 0x7FFF),
            (0x7FFF, 0x7FFF),
            (0x8005, 0x8005),
        ];
        for (sent, usual) in table {
            assert_eq!(usual_form(sent << 48), usual << 48, "{sent:04X}");
            // A second level names another unit, or none: no form of the first.
            assert_eq!(usual_form(sent << 48 | 1), sent << 48 | 1, "{sent:04X}");
        }
    }
}
