//! What a target sends in full-feature phase (RFC 7143, 11.4, 11.6, 11.7 to 11.9, 11.11, 11.15,
//! 11.17, 11.19; RFC 7144).

use crate::scsi::FunctionAnswer;

use super::{Bhs, FINAL, half, lun, opcode, opcode_of, put_lun, put_word, word};

/// A PDU of a target: its Basic Header Segment, without the sequence numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPdu {
    /// 20h.
    NopIn(NopIn),
    /// 21h.
    ScsiResponse(ScsiResponse),
    /// 22h.
    TaskManagement(TaskManagementResponse),
    /// 24h.
    Text(TextResponse),
    /// 25h.
    DataIn(DataIn),
    /// 26h.
    Logout(LogoutResponse),
    /// 31h.
    R2t(R2t),
    /// 32h.
    AsyncMessage(AsyncMessage),
    /// 3Fh.
    Reject(Reject),
}

/// StatSN, ExpCmdSN and MaxCmdSN, in bytes 24 to 35 of each PDU of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetNumbers {
    /// StatSN.
    pub stat_sn: u32,
    /// ExpCmdSN.
    pub exp_cmd_sn: u32,
    /// MaxCmdSN.
    pub max_cmd_sn: u32,
}

/// What an initiator expected against what the command would have moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residual {
    /// They agree.
    #[default]
    None,
    /// So many bytes fewer were moved than expected.
    Underflow(u32),
    /// So many bytes were not moved for want of room.
    Overflow(u32),
}

/// SCSI Response (11.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScsiResponse {
    /// 0 command completed at the target, 1 target failure.
    pub response: u8,
    /// The SCSI status.
    pub status: u8,
    /// Initiator Task Tag.
    pub task_tag: u32,
    /// How many Data-In and R2T PDUs the command had.
    pub exp_data_sn: u32,
    /// Residual Count and its bits.
    pub residual: Residual,
}

/// Task Management Function Response (11.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskManagementResponse {
    /// The response code (11.6.1) and Additional Response Information (RFC 7144).
    pub answer: FunctionAnswer,
    /// Initiator Task Tag.
    pub task_tag: u32,
}

/// SCSI Data-In (11.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataIn {
    /// The last of its sequence.
    pub last: bool,
    /// Set where the status rides along.
    pub status: Option<u8>,
    /// Initiator Task Tag.
    pub task_tag: u32,
    /// DataSN.
    pub data_sn: u32,
    /// Buffer Offset.
    pub offset_bytes: u32,
    /// Residual Count and its bits, with a status.
    pub residual: Residual,
}

/// Ready To Transfer (11.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct R2t {
    /// The logical unit.
    pub lun: u64,
    /// Initiator Task Tag.
    pub task_tag: u32,
    /// Target Transfer Tag.
    pub transfer_tag: u32,
    /// R2TSN.
    pub r2t_sn: u32,
    /// Buffer Offset.
    pub offset_bytes: u32,
    /// Desired Data Transfer Length.
    pub length_bytes: u32,
}

/// Asynchronous Message (11.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsyncMessage {
    /// The logical unit, for SCSI events.
    pub lun: u64,
    /// 0 SCSI event, 1 logout requested …
    pub event: u8,
    /// AsyncVCode.
    pub vendor_code: u8,
    /// Parameter1, Parameter2, Parameter3.
    pub parameters: [u16; 3],
}

/// Text Response (11.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextResponse {
    /// The negotiation is over.
    pub last: bool,
    /// The text goes on in the next PDU.
    pub continued: bool,
    /// Initiator Task Tag.
    pub task_tag: u32,
    /// Target Transfer Tag.
    pub transfer_tag: u32,
}

/// Logout Response (11.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutResponse {
    /// 0 closed, 1 no such connection, 2 recovery not supported, 3 cleanup failed.
    pub response: u8,
    /// Initiator Task Tag.
    pub task_tag: u32,
}

/// Reject (11.17). The data segment is the rejected header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The reason code.
    pub reason: RejectReason,
}

/// NOP-In (11.19).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NopIn {
    /// The logical unit, copied from a NOP-Out.
    pub lun: u64,
    /// Initiator Task Tag, copied from a NOP-Out; `NO_TAG` in a ping of our own.
    pub task_tag: u32,
    /// Target Transfer Tag of a ping of our own.
    pub transfer_tag: u32,
}

/// Why a PDU is rejected (11.17.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// Data (payload) digest error.
    DataDigest = 0x02,
    /// SNACK reject.
    Snack = 0x03,
    /// Protocol error.
    Protocol = 0x04,
    /// Command not supported.
    NotSupported = 0x05,
    /// Immediate command reject: too many immediate commands.
    TooManyImmediate = 0x06,
    /// Task in progress.
    TaskInProgress = 0x07,
    /// Invalid PDU field.
    InvalidField = 0x09,
    /// Long operation reject: out of resources for it.
    LongOperation = 0x0A,
    /// Waiting for logout.
    WaitingForLogout = 0x0C,
}

/// Encodes a header; its length fields are zero.
pub fn encode(pdu: &TargetPdu, numbers: TargetNumbers) -> Bhs {
    let mut bhs = [0; 48];
    bhs[1] = FINAL;
    put_word(&mut bhs, 16, super::NO_TAG);
    put_word(&mut bhs, 20, super::NO_TAG);
    put_word(&mut bhs, 24, numbers.stat_sn);
    put_word(&mut bhs, 28, numbers.exp_cmd_sn);
    put_word(&mut bhs, 32, numbers.max_cmd_sn);
    match pdu {
        TargetPdu::ScsiResponse(pdu) => {
            bhs[0] = opcode::SCSI_RESPONSE;
            bhs[2] = pdu.response;
            bhs[3] = pdu.status;
            put_word(&mut bhs, 16, pdu.task_tag);
            put_word(&mut bhs, 20, 0);
            put_word(&mut bhs, 36, pdu.exp_data_sn);
            put_residual(&mut bhs, pdu.residual);
        }
        TargetPdu::DataIn(pdu) => {
            bhs[0] = opcode::DATA_IN;
            bhs[1] = if pdu.last { FINAL } else { 0 };
            put_word(&mut bhs, 16, pdu.task_tag);
            put_word(&mut bhs, 36, pdu.data_sn);
            put_word(&mut bhs, 40, pdu.offset_bytes);
            match pdu.status {
                None => put_word(&mut bhs, 24, 0),
                Some(status) => {
                    bhs[1] |= STATUS_PRESENT;
                    bhs[3] = status;
                    put_residual(&mut bhs, pdu.residual);
                }
            }
        }
        TargetPdu::R2t(pdu) => {
            bhs[0] = opcode::R2T;
            put_lun(&mut bhs, pdu.lun);
            put_word(&mut bhs, 16, pdu.task_tag);
            put_word(&mut bhs, 20, pdu.transfer_tag);
            put_word(&mut bhs, 36, pdu.r2t_sn);
            put_word(&mut bhs, 40, pdu.offset_bytes);
            put_word(&mut bhs, 44, pdu.length_bytes);
        }
        TargetPdu::NopIn(pdu) => {
            bhs[0] = opcode::NOP_IN;
            put_lun(&mut bhs, pdu.lun);
            put_word(&mut bhs, 16, pdu.task_tag);
            put_word(&mut bhs, 20, pdu.transfer_tag);
        }
        TargetPdu::TaskManagement(pdu) => {
            bhs[0] = opcode::TASK_MANAGEMENT_RESPONSE;
            bhs[2] = pdu.answer.response;
            bhs[8..11].copy_from_slice(&pdu.answer.information);
            put_word(&mut bhs, 16, pdu.task_tag);
            put_word(&mut bhs, 20, 0);
        }
        TargetPdu::Text(pdu) => {
            bhs[0] = opcode::TEXT_RESPONSE;
            bhs[1] = if pdu.last { FINAL } else { 0 } | if pdu.continued { 0x40 } else { 0 };
            put_word(&mut bhs, 16, pdu.task_tag);
            put_word(&mut bhs, 20, pdu.transfer_tag);
        }
        TargetPdu::Logout(pdu) => {
            bhs[0] = opcode::LOGOUT_RESPONSE;
            bhs[2] = pdu.response;
            put_word(&mut bhs, 16, pdu.task_tag);
            put_word(&mut bhs, 20, 0);
        }
        TargetPdu::AsyncMessage(pdu) => {
            bhs[0] = opcode::ASYNC_MESSAGE;
            put_lun(&mut bhs, pdu.lun);
            put_word(&mut bhs, 20, 0);
            bhs[36] = pdu.event;
            bhs[37] = pdu.vendor_code;
            for (index, parameter) in pdu.parameters.iter().enumerate() {
                bhs[38 + 2 * index..40 + 2 * index].copy_from_slice(&parameter.to_be_bytes());
            }
        }
        TargetPdu::Reject(pdu) => {
            bhs[0] = opcode::REJECT;
            bhs[2] = pdu.reason as u8;
            put_word(&mut bhs, 20, 0);
        }
    }
    bhs
}

/// Decodes a header of a target, for initiators. `None` where it is none.
pub fn decode(bhs: &Bhs) -> Option<(TargetPdu, TargetNumbers)> {
    let last = bhs[1] & FINAL != 0;
    let (task_tag, transfer_tag) = (word(bhs, 16), word(bhs, 20));
    let pdu = match opcode_of(bhs) {
        opcode::SCSI_RESPONSE => TargetPdu::ScsiResponse(ScsiResponse {
            response: bhs[2],
            status: bhs[3],
            task_tag,
            exp_data_sn: word(bhs, 36),
            residual: residual(bhs),
        }),
        opcode::DATA_IN => {
            let status = (bhs[1] & STATUS_PRESENT != 0).then_some(bhs[3]);
            TargetPdu::DataIn(DataIn {
                last,
                status,
                task_tag,
                data_sn: word(bhs, 36),
                offset_bytes: word(bhs, 40),
                residual: status.map_or(Residual::None, |_| residual(bhs)),
            })
        }
        opcode::R2T => TargetPdu::R2t(R2t {
            lun: lun(bhs),
            task_tag,
            transfer_tag,
            r2t_sn: word(bhs, 36),
            offset_bytes: word(bhs, 40),
            length_bytes: word(bhs, 44),
        }),
        opcode::NOP_IN => TargetPdu::NopIn(NopIn { lun: lun(bhs), task_tag, transfer_tag }),
        opcode::TASK_MANAGEMENT_RESPONSE => {
            let answer =
                FunctionAnswer { response: bhs[2], information: [bhs[8], bhs[9], bhs[10]] };
            TargetPdu::TaskManagement(TaskManagementResponse { answer, task_tag })
        }
        opcode::TEXT_RESPONSE => TargetPdu::Text(TextResponse {
            last,
            continued: bhs[1] & 0x40 != 0,
            task_tag,
            transfer_tag,
        }),
        opcode::LOGOUT_RESPONSE => TargetPdu::Logout(LogoutResponse { response: bhs[2], task_tag }),
        opcode::ASYNC_MESSAGE => TargetPdu::AsyncMessage(AsyncMessage {
            lun: lun(bhs),
            event: bhs[36],
            vendor_code: bhs[37],
            parameters: [half(bhs, 38), half(bhs, 40), half(bhs, 42)],
        }),
        opcode::REJECT => TargetPdu::Reject(Reject { reason: reject_reason(bhs[2])? }),
        _ => return None,
    };
    let numbers = TargetNumbers {
        stat_sn: word(bhs, 24),
        exp_cmd_sn: word(bhs, 28),
        max_cmd_sn: word(bhs, 32),
    };
    Some((pdu, numbers))
}

const STATUS_PRESENT: u8 = 0x01;
const UNDERFLOW: u8 = 0x02;
const OVERFLOW: u8 = 0x04;

fn put_residual(bhs: &mut Bhs, residual: Residual) {
    let (bit, count) = match residual {
        Residual::None => return,
        Residual::Underflow(count) => (UNDERFLOW, count),
        Residual::Overflow(count) => (OVERFLOW, count),
    };
    bhs[1] |= bit;
    put_word(bhs, 44, count);
}

fn residual(bhs: &Bhs) -> Residual {
    match bhs[1] & (UNDERFLOW | OVERFLOW) {
        UNDERFLOW => Residual::Underflow(word(bhs, 44)),
        OVERFLOW => Residual::Overflow(word(bhs, 44)),
        _ => Residual::None,
    }
}

fn reject_reason(code: u8) -> Option<RejectReason> {
    use RejectReason::{
        DataDigest, InvalidField, LongOperation, NotSupported, Protocol, Snack, TaskInProgress,
        TooManyImmediate, WaitingForLogout,
    };
    [
        DataDigest,
        Snack,
        Protocol,
        NotSupported,
        TooManyImmediate,
        TaskInProgress,
        InvalidField,
        LongOperation,
        WaitingForLogout,
    ]
    .into_iter()
    .find(|reason| *reason as u8 == code)
}
