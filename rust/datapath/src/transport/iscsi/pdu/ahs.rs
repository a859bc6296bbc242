//! Additional Header Segments (RFC 7143, 11.2.2).
//!
//! ```text
//! byte 0..2  AHSLength: bytes after the third, without padding
//! byte 2     AHSType: 1 Extended CDB, 2 Bidirectional Read Expected Data Transfer Length
//! byte 3     reserved; byte 4.. the rest, padded to a word
//! ```

/// What the Additional Header Segments of a SCSI Command say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdditionalHeaders {
    /// The bytes of the CDB after its sixteenth.
    pub extended_cdb: Vec<u8>,
    /// Set for a bidirectional command: how many bytes it may read.
    pub bidirectional_read_bytes: Option<u32>,
}

const EXTENDED_CDB: u8 = 1;
const BIDIRECTIONAL_READ: u8 = 2;

/// Decodes segments, padded, as they stand between the BHS and the header digest. `None` where one
/// is cut short, repeated, of the wrong length or of an unknown type.
pub fn decode(mut bytes: &[u8]) -> Option<AdditionalHeaders> {
    let mut headers = AdditionalHeaders::default();
    // Ends because each round takes at least four bytes away.
    while !bytes.is_empty() {
        let length = usize::from(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]));
        let segment = bytes.get(3..3 + length)?;
        match *bytes.get(2)? {
            EXTENDED_CDB if length > 1 && headers.extended_cdb.is_empty() => {
                headers.extended_cdb = segment[1..].to_vec();
            }
            BIDIRECTIONAL_READ if length == 5 && headers.bidirectional_read_bytes.is_none() => {
                headers.bidirectional_read_bytes =
                    Some(u32::from_be_bytes(*segment[1..].first_chunk()?));
            }
            _ => return None,
        }
        bytes = bytes.get((3 + length).next_multiple_of(4)..)?;
    }
    Some(headers)
}

/// Encodes segments, padded.
pub fn encode(headers: &AdditionalHeaders) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !headers.extended_cdb.is_empty() {
        let length = 1 + headers.extended_cdb.len() as u16;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&[EXTENDED_CDB, 0]);
        bytes.extend_from_slice(&headers.extended_cdb);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    if let Some(length) = headers.bidirectional_read_bytes {
        bytes.extend_from_slice(&[0, 5, BIDIRECTIONAL_READ, 0]);
        bytes.extend_from_slice(&length.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let table = [
            (vec![], AdditionalHeaders::default()),
            (
                vec![0, 4, 1, 0, 7, 8, 9, 0],
                AdditionalHeaders { extended_cdb: vec![7, 8, 9], bidirectional_read_bytes: None },
            ),
            (
                vec![0, 2, 1, 0, 7, 0, 0, 0, 0, 5, 2, 0, 0, 1, 2, 3],
                AdditionalHeaders {
                    extended_cdb: vec![7],
                    bidirectional_read_bytes: Some(0x1_0203),
                },
            ),
        ];
        for (bytes, headers) in table {
            assert_eq!(encode(&headers), bytes);
            // Padding is part of the length that the BHS counts, so it is there when decoding.
            let mut decoded = headers.clone();
            decoded.extended_cdb = headers.extended_cdb;
            assert_eq!(decode(&bytes), Some(decoded), "{bytes:02X?}");
        }
    }

    #[test]
    fn malformed_ones_are_refused() {
        let table: &[&[u8]] = &[
            &[0],
            &[0, 0, 1, 0],
            &[0, 1, 1, 0],
            &[0, 9, 1, 0, 1, 2, 3, 4],
            &[0, 4, 2, 0, 1, 2, 3, 4],
            &[0, 5, 3, 0, 1, 2, 3, 4],
            &[0xFF, 0xFF, 1, 0, 1, 2, 3, 4],
            &[0, 5, 2, 0, 1, 2, 3, 4, 0, 5, 2, 0, 1, 2, 3, 4],
        ];
        for bytes in table {
            assert_eq!(decode(bytes), None, "{bytes:02X?}");
        }
    }
}
