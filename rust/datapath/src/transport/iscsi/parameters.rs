//! What login negotiated, as the full-feature phase needs it.

use thiserror::Error;

use crate::limits::{
    FIRST_BURST_BYTES_MAX, OUTSTANDING_R2T_MAX, RECEIVE_SEGMENT_BYTES_MAX, SEGMENT_BYTES,
};

/// The outcome of a login (RFC 7143, clause 13), and where its numbers stand.
#[derive(Clone, Debug)]
pub struct SessionParameters {
    /// The connection's CID.
    pub connection_id: u16,
    /// The CmdSN that the next command has.
    pub cmd_sn: u32,
    /// The StatSN that our next status has.
    pub stat_sn: u32,
    /// HeaderDigest=CRC32C.
    pub header_digest: bool,
    /// DataDigest=CRC32C.
    pub data_digest: bool,
    /// Our MaxRecvDataSegmentLength.
    pub max_receive_segment_bytes: u32,
    /// The initiator's MaxRecvDataSegmentLength.
    pub max_send_segment_bytes: u32,
    /// MaxBurstLength.
    pub max_burst_bytes: u32,
    /// FirstBurstLength.
    pub first_burst_bytes: u32,
    /// InitialR2T.
    pub initial_r2t: bool,
    /// ImmediateData.
    pub immediate_data: bool,
    /// MaxOutstandingR2T.
    pub max_outstanding_r2t: u16,
    /// iSCSIProtocolLevel: from 2 on the functions of RFC 7144 may be asked for.
    pub protocol_level: u8,
}

/// A value that login may not have agreed to.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{key} is out of range")]
pub struct ParameterError {
    /// The text key.
    pub key: &'static str,
}

impl Default for SessionParameters {
    /// The defaults of RFC 7143, clause 13.
    fn default() -> Self {
        Self {
            connection_id: 0,
            cmd_sn: 1,
            stat_sn: 1,
            header_digest: false,
            data_digest: false,
            max_receive_segment_bytes: 8192,
            max_send_segment_bytes: 8192,
            max_burst_bytes: 262_144,
            first_burst_bytes: 65_536,
            initial_r2t: true,
            immediate_data: true,
            max_outstanding_r2t: 1,
            protocol_level: 1,
        }
    }
}

impl SessionParameters {
    /// Checks what the session relies on: the ranges of RFC 7143 and the limits of this target.
    pub fn validate(&self) -> Result<(), ParameterError> {
        let table = [
            ("MaxRecvDataSegmentLength", {
                (512..=RECEIVE_SEGMENT_BYTES_MAX).contains(&self.max_receive_segment_bytes)
                    && SEGMENT_BYTES.contains(&self.max_send_segment_bytes)
            }),
            ("MaxBurstLength", SEGMENT_BYTES.contains(&self.max_burst_bytes)),
            ("FirstBurstLength", {
                (512..=FIRST_BURST_BYTES_MAX).contains(&self.first_burst_bytes)
                    && self.first_burst_bytes <= self.max_burst_bytes
            }),
            ("MaxOutstandingR2T", (1..=OUTSTANDING_R2T_MAX).contains(&self.max_outstanding_r2t)),
        ];
        match table.iter().find(|(_, valid)| !valid) {
            Some((key, _)) => Err(ParameterError { key }),
            None => Ok(()),
        }
    }
}
