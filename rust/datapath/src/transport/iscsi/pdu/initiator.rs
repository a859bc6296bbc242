//! What an initiator sends in full-feature phase (RFC 7143, 11.3, 11.5, 11.7, 11.10, 11.14, 11.16,
//! 11.18).

use crate::scsi::TaskAttribute;
use crate::scsi::slow_path::TaskManagementFunction;

use super::{Bhs, FINAL, IMMEDIATE, NO_TAG, half, lun, opcode, opcode_of, put_lun, put_word, word};

/// A PDU of an initiator: its Basic Header Segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitiatorPdu {
    /// 00h.
    NopOut(NopOut),
    /// 01h.
    ScsiCommand(ScsiCommand),
    /// 02h.
    TaskManagement(TaskManagementRequest),
    /// 04h.
    Text(TextRequest),
    /// 05h.
    DataOut(DataOut),
    /// 06h.
    Logout(LogoutRequest),
    /// 10h; nothing of it matters at error recovery level 0.
    Snack,
}

/// Why a header is no PDU that full-feature phase takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A field holds what it may not.
    Field,
    /// A task management function that is not known here.
    Function,
    /// An operation code that initiators may send but not now: a Login Request.
    OutOfPlace,
    /// An operation code that no initiator sends.
    Opcode,
}

/// SCSI Command (11.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScsiCommand {
    /// Immediate delivery: outside the command window.
    pub immediate: bool,
    /// No unsolicited Data-Out follows.
    pub last: bool,
    /// Data-In is expected.
    pub read: bool,
    /// Data-Out is coming.
    pub write: bool,
    /// The task attribute.
    pub attribute: TaskAttribute,
    /// The logical unit.
    pub lun: u64,
    /// Initiator Task Tag.
    pub task_tag: u32,
    /// Expected Data Transfer Length.
    pub expected_bytes: u32,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
    /// The first sixteen bytes of the CDB.
    pub cdb: [u8; 16],
}

/// Task Management Function Request (11.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskManagementRequest {
    /// Immediate delivery.
    pub immediate: bool,
    /// The function.
    pub function: TaskManagementFunction,
    /// The logical unit, where the function has one.
    pub lun: u64,
    /// Initiator Task Tag of the function itself.
    pub task_tag: u32,
    /// The task that ABORT TASK means.
    pub referenced_task_tag: u32,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
    /// CmdSN of the task that ABORT TASK means.
    pub referenced_cmd_sn: u32,
}

/// SCSI Data-Out (11.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataOut {
    /// The last of its sequence.
    pub last: bool,
    /// Initiator Task Tag.
    pub task_tag: u32,
    /// The tag of the R2T that it answers; `NO_TAG` for unsolicited data.
    pub transfer_tag: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
    /// DataSN.
    pub data_sn: u32,
    /// Buffer Offset.
    pub offset_bytes: u32,
}

/// Text Request (11.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextRequest {
    /// Immediate delivery.
    pub immediate: bool,
    /// The initiator has no more to say.
    pub last: bool,
    /// The text goes on in the next PDU.
    pub continued: bool,
    /// Initiator Task Tag.
    pub task_tag: u32,
    /// The tag of our answer that it goes on from.
    pub transfer_tag: u32,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
}

/// Logout Request (11.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutRequest {
    /// Immediate delivery.
    pub immediate: bool,
    /// 0 closes the session, 1 the connection, 2 removes it for recovery.
    pub reason: u8,
    /// Initiator Task Tag.
    pub task_tag: u32,
    /// The connection that is meant.
    pub connection_id: u16,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
}

/// NOP-Out (11.18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NopOut {
    /// Immediate delivery.
    pub immediate: bool,
    /// The logical unit; copied in the answer.
    pub lun: u64,
    /// Initiator Task Tag; `NO_TAG` where no answer is wanted.
    pub task_tag: u32,
    /// The tag of the NOP-In that it answers.
    pub transfer_tag: u32,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
}

/// Decodes a header.
pub fn decode(bhs: &Bhs) -> Result<InitiatorPdu, Malformed> {
    let (immediate, last) = (bhs[0] & IMMEDIATE != 0, bhs[1] & FINAL != 0);
    let (task_tag, transfer_tag) = (word(bhs, 16), word(bhs, 20));
    let (cmd_sn, exp_stat_sn) = (word(bhs, 24), word(bhs, 28));
    let is_answered_by_tag = matches!(
        opcode_of(bhs),
        opcode::SCSI_COMMAND
            | opcode::TASK_MANAGEMENT_REQUEST
            | opcode::TEXT_REQUEST
            | opcode::LOGOUT_REQUEST
    );
    if is_answered_by_tag && task_tag == NO_TAG {
        return Err(Malformed::Field);
    }
    Ok(match opcode_of(bhs) {
        opcode::SCSI_COMMAND => InitiatorPdu::ScsiCommand(ScsiCommand {
            immediate,
            last,
            read: bhs[1] & 0x40 != 0,
            write: bhs[1] & 0x20 != 0,
            attribute: attribute(bhs[1] & 0x07).ok_or(Malformed::Field)?,
            lun: lun(bhs),
            task_tag,
            expected_bytes: word(bhs, 20),
            cmd_sn,
            exp_stat_sn,
            cdb: *bhs[32..].first_chunk().expect("a header has sixteen bytes of CDB"),
        }),
        opcode::DATA_OUT => InitiatorPdu::DataOut(DataOut {
            last,
            task_tag,
            transfer_tag,
            exp_stat_sn,
            data_sn: word(bhs, 36),
            offset_bytes: word(bhs, 40),
        }),
        opcode::NOP_OUT => InitiatorPdu::NopOut(NopOut {
            immediate,
            lun: lun(bhs),
            task_tag,
            transfer_tag,
            cmd_sn,
            exp_stat_sn,
        }),
        opcode::TASK_MANAGEMENT_REQUEST => InitiatorPdu::TaskManagement(TaskManagementRequest {
            immediate,
            function: TaskManagementFunction::from_code(bhs[1] & 0x7F)
                .ok_or(Malformed::Function)?,
            lun: lun(bhs),
            task_tag,
            referenced_task_tag: word(bhs, 20),
            cmd_sn,
            exp_stat_sn,
            referenced_cmd_sn: word(bhs, 32),
        }),
        opcode::TEXT_REQUEST => InitiatorPdu::Text(TextRequest {
            immediate,
            last,
            continued: bhs[1] & 0x40 != 0,
            task_tag,
            transfer_tag,
            cmd_sn,
            exp_stat_sn,
        }),
        opcode::LOGOUT_REQUEST => InitiatorPdu::Logout(LogoutRequest {
            immediate,
            reason: bhs[1] & 0x7F,
            task_tag,
            connection_id: half(bhs, 20),
            cmd_sn,
            exp_stat_sn,
        }),
        opcode::SNACK_REQUEST => InitiatorPdu::Snack,
        opcode::LOGIN_REQUEST => return Err(Malformed::OutOfPlace),
        _ => return Err(Malformed::Opcode),
    })
}

/// Encodes a header; its length fields are zero.
pub fn encode(pdu: &InitiatorPdu) -> Bhs {
    let mut bhs = [0; 48];
    match pdu {
        InitiatorPdu::ScsiCommand(pdu) => {
            let flags = bit(pdu.last, FINAL) | bit(pdu.read, 0x40) | bit(pdu.write, 0x20);
            common(&mut bhs, opcode::SCSI_COMMAND, pdu.immediate, pdu.task_tag);
            bhs[1] = flags | pdu.attribute as u8;
            put_lun(&mut bhs, pdu.lun);
            words(&mut bhs, [pdu.expected_bytes, pdu.cmd_sn, pdu.exp_stat_sn]);
            bhs[32..].copy_from_slice(&pdu.cdb);
        }
        InitiatorPdu::DataOut(pdu) => {
            common(&mut bhs, opcode::DATA_OUT, false, pdu.task_tag);
            bhs[1] = bit(pdu.last, FINAL);
            words(&mut bhs, [pdu.transfer_tag, 0, pdu.exp_stat_sn]);
            put_word(&mut bhs, 36, pdu.data_sn);
            put_word(&mut bhs, 40, pdu.offset_bytes);
        }
        InitiatorPdu::NopOut(pdu) => {
            common(&mut bhs, opcode::NOP_OUT, pdu.immediate, pdu.task_tag);
            bhs[1] = FINAL;
            put_lun(&mut bhs, pdu.lun);
            words(&mut bhs, [pdu.transfer_tag, pdu.cmd_sn, pdu.exp_stat_sn]);
        }
        InitiatorPdu::TaskManagement(pdu) => {
            common(&mut bhs, opcode::TASK_MANAGEMENT_REQUEST, pdu.immediate, pdu.task_tag);
            bhs[1] = FINAL | pdu.function as u8;
            put_lun(&mut bhs, pdu.lun);
            words(&mut bhs, [pdu.referenced_task_tag, pdu.cmd_sn, pdu.exp_stat_sn]);
            put_word(&mut bhs, 32, pdu.referenced_cmd_sn);
        }
        InitiatorPdu::Text(pdu) => {
            common(&mut bhs, opcode::TEXT_REQUEST, pdu.immediate, pdu.task_tag);
            bhs[1] = bit(pdu.last, FINAL) | bit(pdu.continued, 0x40);
            words(&mut bhs, [pdu.transfer_tag, pdu.cmd_sn, pdu.exp_stat_sn]);
        }
        InitiatorPdu::Logout(pdu) => {
            common(&mut bhs, opcode::LOGOUT_REQUEST, pdu.immediate, pdu.task_tag);
            bhs[1] = FINAL | pdu.reason;
            words(&mut bhs, [u32::from(pdu.connection_id) << 16, pdu.cmd_sn, pdu.exp_stat_sn]);
        }
        InitiatorPdu::Snack => {
            bhs[0] = opcode::SNACK_REQUEST;
            bhs[1] = FINAL;
        }
    }
    bhs
}

fn common(bhs: &mut Bhs, opcode: u8, immediate: bool, task_tag: u32) {
    bhs[0] = opcode | bit(immediate, IMMEDIATE);
    put_word(bhs, 16, task_tag);
}

/// The words from byte 20: one of the operation code's, CmdSN, ExpStatSN.
fn words(bhs: &mut Bhs, values: [u32; 3]) {
    for (index, value) in values.into_iter().enumerate() {
        put_word(bhs, 20 + 4 * index, value);
    }
}

fn bit(set: bool, mask: u8) -> u8 {
    if set { mask } else { 0 }
}

fn attribute(code: u8) -> Option<TaskAttribute> {
    use TaskAttribute::{Aca, HeadOfQueue, Ordered, Simple, Untagged};
    [Untagged, Simple, Ordered, HeadOfQueue, Aca].into_iter().find(|value| *value as u8 == code)
}
