//! Every PDU as bytes, both ways. The bytes are written out from the figures of RFC 7143, clause 11.

use datapath::scsi::FunctionAnswer;
use datapath::scsi::TaskAttribute;
use datapath::scsi::slow_path::TaskManagementFunction;
use datapath::transport::iscsi::pdu::initiator::{self, *};
use datapath::transport::iscsi::pdu::target::{self, *};
use datapath::transport::iscsi::pdu::{Bhs, NO_TAG};

/// A header from its twelve words in hexadecimal.
fn bhs(words: &str) -> Bhs {
    let bytes: Vec<u8> = words
        .split_whitespace()
        .flat_map(|word| u32::from_str_radix(word, 16).unwrap().to_be_bytes())
        .collect();
    bytes.try_into().unwrap()
}

#[test]
fn initiator_pdus() {
    let table = [
        (
            "01e20000 00000000 00010000 00000000 00000011 00001000 00000022 00000033 \
             28000000 00000000 08000000 00000000",
            InitiatorPdu::ScsiCommand(ScsiCommand {
                immediate: false,
                last: true,
                read: true,
                write: true,
                attribute: TaskAttribute::Ordered,
                lun: 0x0001_0000_0000_0000,
                task_tag: 0x11,
                expected_bytes: 0x1000,
                cmd_sn: 0x22,
                exp_stat_sn: 0x33,
                cdb: [0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0],
            }),
        ),
        (
            "42850000 00000000 00010000 00000000 00000011 00000044 00000022 00000033 \
             00000021 00000000 00000000 00000000",
            InitiatorPdu::TaskManagement(TaskManagementRequest {
                immediate: true,
                function: TaskManagementFunction::LogicalUnitReset,
                lun: 0x0001_0000_0000_0000,
                task_tag: 0x11,
                referenced_task_tag: 0x44,
                cmd_sn: 0x22,
                exp_stat_sn: 0x33,
                referenced_cmd_sn: 0x21,
            }),
        ),
        (
            "05800000 00000000 00000000 00000000 00000011 00000055 00000000 00000033 \
             00000000 00000002 00002000 00000000",
            InitiatorPdu::DataOut(DataOut {
                last: true,
                task_tag: 0x11,
                transfer_tag: 0x55,
                exp_stat_sn: 0x33,
                data_sn: 2,
                offset_bytes: 0x2000,
            }),
        ),
        (
            "44400000 00000000 00000000 00000000 00000011 ffffffff 00000022 00000033 \
             00000000 00000000 00000000 00000000",
            InitiatorPdu::Text(TextRequest {
                immediate: true,
                last: false,
                continued: true,
                task_tag: 0x11,
                transfer_tag: NO_TAG,
                cmd_sn: 0x22,
                exp_stat_sn: 0x33,
            }),
        ),
        (
            "06810000 00000000 00000000 00000000 00000011 00070000 00000022 00000033 \
             00000000 00000000 00000000 00000000",
            InitiatorPdu::Logout(LogoutRequest {
                immediate: false,
                reason: 1,
                task_tag: 0x11,
                connection_id: 7,
                cmd_sn: 0x22,
                exp_stat_sn: 0x33,
            }),
        ),
        (
            "40800000 00000000 00010000 00000000 00000011 ffffffff 00000022 00000033 \
             00000000 00000000 00000000 00000000",
            InitiatorPdu::NopOut(NopOut {
                immediate: true,
                lun: 0x0001_0000_0000_0000,
                task_tag: 0x11,
                transfer_tag: NO_TAG,
                cmd_sn: 0x22,
                exp_stat_sn: 0x33,
            }),
        ),
        (
            "10800000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 \
             00000000 00000000 00000000 00000000",
            InitiatorPdu::Snack,
        ),
    ];
    for (words, pdu) in table {
        assert_eq!(initiator::encode(&pdu), bhs(words), "{pdu:?}");
        assert_eq!(initiator::decode(&bhs(words)), Ok(pdu));
    }
}

#[test]
fn headers_that_are_no_pdu_of_an_initiator() {
    let with = |opcode: u8, flags: u8| {
        let mut bhs = [0; 48];
        (bhs[0], bhs[1]) = (opcode, flags);
        initiator::decode(&bhs)
    };
    assert_eq!(with(0x01, 0x85), Err(Malformed::Field));
    assert_eq!(with(0x02, 0x80), Err(Malformed::Function));
    assert_eq!(with(0x02, 0x8D), Err(Malformed::Function));
    assert_eq!(with(0x03, 0x87), Err(Malformed::OutOfPlace));
    // The tag that is none: of what is answered by its tag. NOP-Out may have it, and with a SNACK or
    // a Data-Out there is nothing that it could mean.
    for (opcode, refused) in
        [(0x01, true), (0x02, true), (0x04, true), (0x06, true), (0x00, false), (0x05, false)]
    {
        let mut bhs = [0; 48];
        (bhs[0], bhs[1]) = (opcode, 0x81);
        bhs[16..20].fill(0xFF);
        let decoded = initiator::decode(&bhs);
        assert_eq!(decoded == Err(Malformed::Field), refused, "{opcode:02X}");
    }
    for opcode in [0x07, 0x0F, 0x11, 0x20, 0x21, 0x31, 0x3F] {
        assert_eq!(with(opcode, 0x80), Err(Malformed::Opcode), "{opcode:02X}");
    }
}

#[test]
fn target_pdus() {
    let numbers = TargetNumbers { stat_sn: 0xA1, exp_cmd_sn: 0xB2, max_cmd_sn: 0xC3 };
    let table = [
        (
            "21820002 00000000 00000000 00000000 00000011 00000000 000000a1 000000b2 \
             000000c3 00000004 00000000 00000200",
            TargetPdu::ScsiResponse(ScsiResponse {
                response: 0,
                status: 2,
                task_tag: 0x11,
                exp_data_sn: 4,
                residual: Residual::Underflow(0x200),
            }),
        ),
        (
            "25850000 00000000 00000000 00000000 00000011 ffffffff 000000a1 000000b2 \
             000000c3 00000003 00001000 00000010",
            TargetPdu::DataIn(DataIn {
                last: true,
                status: Some(0),
                task_tag: 0x11,
                data_sn: 3,
                offset_bytes: 0x1000,
                residual: Residual::Overflow(0x10),
            }),
        ),
        (
            "31800000 00000000 00010000 00000000 00000011 00000066 000000a1 000000b2 \
             000000c3 00000001 00004000 00002000",
            TargetPdu::R2t(R2t {
                lun: 0x0001_0000_0000_0000,
                task_tag: 0x11,
                transfer_tag: 0x66,
                r2t_sn: 1,
                offset_bytes: 0x4000,
                length_bytes: 0x2000,
            }),
        ),
        (
            "22800700 00000000 16290700 00000000 00000011 00000000 000000a1 000000b2 \
             000000c3 00000000 00000000 00000000",
            TargetPdu::TaskManagement(TaskManagementResponse {
                answer: FunctionAnswer { response: 7, information: [0x16, 0x29, 0x07] },
                task_tag: 0x11,
            }),
        ),
        (
            "24400000 00000000 00000000 00000000 00000011 00000077 000000a1 000000b2 \
             000000c3 00000000 00000000 00000000",
            TargetPdu::Text(TextResponse {
                last: false,
                continued: true,
                task_tag: 0x11,
                transfer_tag: 0x77,
            }),
        ),
        (
            "26800100 00000000 00000000 00000000 00000011 00000000 000000a1 000000b2 \
             000000c3 00000000 00000000 00000000",
            TargetPdu::Logout(LogoutResponse { response: 1, task_tag: 0x11 }),
        ),
        (
            "32800000 00000000 00010000 00000000 ffffffff 00000000 000000a1 000000b2 \
             000000c3 01020003 00040005 00000000",
            TargetPdu::AsyncMessage(AsyncMessage {
                lun: 0x0001_0000_0000_0000,
                event: 1,
                vendor_code: 2,
                parameters: [3, 4, 5],
            }),
        ),
        (
            "3f800900 00000000 00000000 00000000 ffffffff 00000000 000000a1 000000b2 \
             000000c3 00000000 00000000 00000000",
            TargetPdu::Reject(Reject { reason: RejectReason::InvalidField }),
        ),
        (
            "20800000 00000000 00010000 00000000 ffffffff 00000088 000000a1 000000b2 \
             000000c3 00000000 00000000 00000000",
            TargetPdu::NopIn(NopIn {
                lun: 0x0001_0000_0000_0000,
                task_tag: NO_TAG,
                transfer_tag: 0x88,
            }),
        ),
    ];
    for (words, pdu) in table {
        assert_eq!(target::encode(&pdu, numbers), bhs(words), "{pdu:?}");
        assert_eq!(target::decode(&bhs(words)), Some((pdu, numbers)));
    }
}
