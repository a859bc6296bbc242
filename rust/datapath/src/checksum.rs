//! CRC-32C (Castagnoli), for iSCSI digests (RFC 7143, 13.1) and every on-disk format.

/// The CRC-32C of `data`.
pub fn crc32c(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
}

/// Goes on from the CRC-32C `crc` of what came before `data`.
pub fn crc32c_append(crc: u32, data: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, data)
}
