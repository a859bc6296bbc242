//! One session of one connection: login with what common initiators offer, then commands at depth.
//!
//! What is sent collects in a buffer and goes out in one write when everything received has been
//! dealt with, so that a batch of completions is answered by a batch of commands.

use crate::pdu::{self, Header};
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// No answer for so long means that the target hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a data segment that we take, and the bursts offered: open-iscsi's and libiscsi's.
const SEGMENT_BYTES: usize = 262_144;
/// A task tag, or target transfer tag, that names nothing.
const NO_TAG: u32 = 0xFFFF_FFFF;

/// What came of a command.
pub struct Completion {
    pub tag: u32,
    pub status: u8,
}

/// A command to issue: its CDB, its task tag, and the data it moves.
pub struct Command<'a> {
    pub tag: u32,
    pub cdb: [u8; 16],
    pub data_out: &'a [u8],
    pub data_in_bytes: usize,
}

pub struct Connection {
    input: BufReader<TcpStream>,
    output: Vec<u8>,
    received: Vec<u8>,
    lun: [u8; 8],
    cmd_sn: u32,
    max_cmd_sn: u32,
    exp_stat_sn: u32,
    peer: Negotiated,
}

/// What the target said at login.
struct Negotiated {
    segment_bytes: usize,
    first_burst_bytes: usize,
    initial_r2t: bool,
    immediate_data: bool,
}

impl Connection {
    /// Connects and logs in. `number` tells the sessions of one initiator apart (its ISID).
    pub fn login(portal: &str, target: &str, lun: u64, number: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(portal)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut connection = Self {
            input: BufReader::with_capacity(1 << 16, stream),
            output: Vec::new(),
            received: Vec::new(),
            lun: lun_field(lun),
            cmd_sn: 1,
            max_cmd_sn: 1,
            exp_stat_sn: 0,
            peer: Negotiated {
                segment_bytes: 8192,
                first_burst_bytes: 65536,
                initial_r2t: true,
                immediate_data: true,
            },
        };
        connection.negotiate(target, number)?;
        Ok(connection)
    }

    fn negotiate(&mut self, target: &str, number: u16) -> io::Result<()> {
        // Two clients of one name and ISID would end each other's session (RFC 7143, 6.3.5).
        let process = std::process::id();
        let mut keys = format!(
            "InitiatorName=iqn.2026-11.org.example:bench-{process}\0TargetName={target}\0\
             SessionType=Normal\0HeaderDigest=None\0DataDigest=None\0InitialR2T=No\0\
             ImmediateData=Yes\0MaxRecvDataSegmentLength={SEGMENT_BYTES}\0\
             MaxBurstLength={SEGMENT_BYTES}\0FirstBurstLength={SEGMENT_BYTES}\0\
             MaxOutstandingR2T=1\0MaxConnections=1\0ErrorRecoveryLevel=0\0\
             DefaultTime2Wait=2\0DefaultTime2Retain=0\0"
        );
        let isid = [0x80, 0x5C, 0x51, 0x5A, (number >> 8) as u8, number as u8];
        // Two answers do; a target that never ends the stage must not hold us.
        for _ in 0..8 {
            // Transit from operational negotiation (1) to full feature (3).
            let header = Header::new(pdu::LOGIN_REQUEST | 0x40, 0x87)
                .with(8, &isid)
                .with_u32(24, self.cmd_sn)
                .with_u32(28, self.exp_stat_sn);
            self.put(header, keys.as_bytes());
            keys.clear();
            self.send()?;
            let answer = pdu::read_pdu(&mut self.input, &mut self.received)?;
            if answer.opcode() != pdu::LOGIN_RESPONSE || answer.0[36] != 0 {
                let (class, detail) = (answer.0[36], answer.0[37]);
                return Err(failure(&format!("login refused: status {class:02x}{detail:02x}h")));
            }
            self.exp_stat_sn = answer.u32(24).wrapping_add(1);
            self.cmd_sn = answer.u32(28);
            self.max_cmd_sn = answer.u32(32);
            let text = self.received[..answer.data_length()].to_vec();
            self.peer.learn(&text);
            if answer.0[1] & 0x83 == 0x83 {
                return Ok(());
            }
        }
        Err(failure("login does not end"))
    }

    /// Whether the target's command window has room for one more command.
    pub fn window_is_open(&self) -> bool {
        (self.max_cmd_sn.wrapping_sub(self.cmd_sn) as i32) >= 0
    }

    /// Queues a command with what data may go unasked for; `complete` sends it.
    pub fn issue(&mut self, command: &Command) {
        let total = command.data_out.len();
        let unsolicited = total.min(self.peer.first_burst_bytes);
        let immediate =
            if self.peer.immediate_data { unsolicited.min(self.peer.segment_bytes) } else { 0 };
        let more = !self.peer.initial_r2t && unsolicited > immediate;
        let direction = match (command.data_in_bytes, total) {
            (0, 0) => 0x00,
            (0, _) => 0x20,
            _ => 0x40,
        };
        let flags = direction | 0x01 | if more { 0 } else { 0x80 };
        let transfer = total.max(command.data_in_bytes);
        let header = Header::new(pdu::SCSI_COMMAND, flags)
            .with(8, &self.lun)
            .with_u32(16, command.tag)
            .with_u32(20, u32::try_from(transfer).unwrap_or(u32::MAX))
            .with_u32(24, self.cmd_sn)
            .with_u32(28, self.exp_stat_sn)
            .with(32, &command.cdb);
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        self.put(header, &command.data_out[..immediate]);
        if more {
            self.put_data(
                command.tag,
                NO_TAG,
                immediate,
                &command.data_out[immediate..unsolicited],
            );
        }
    }

    /// Sends what is queued and waits for a command to end. `data_of` gives the Data-Out of a task
    /// tag, for the target's R2Ts.
    pub fn complete<'a>(&mut self, data_of: impl Fn(u32) -> &'a [u8]) -> io::Result<Completion> {
        loop {
            if self.input.buffer().is_empty() {
                self.send()?;
                self.input.fill_buf()?;
            }
            let header = pdu::read_pdu(&mut self.input, &mut self.received)?;
            self.max_cmd_sn = header.u32(32);
            let tag = header.task_tag();
            match header.opcode() {
                pdu::SCSI_RESPONSE => {
                    self.exp_stat_sn = header.u32(24).wrapping_add(1);
                    if header.0[2] != 0 {
                        return Err(failure("the target failed to carry out a command"));
                    }
                    return Ok(Completion { tag, status: header.0[3] });
                }
                pdu::DATA_IN if header.0[1] & 0x01 != 0 => {
                    self.exp_stat_sn = header.u32(24).wrapping_add(1);
                    return Ok(Completion { tag, status: header.0[3] });
                }
                pdu::DATA_IN => {}
                pdu::R2T => {
                    let (offset, length) = (header.u32(40) as usize, header.u32(44) as usize);
                    let data = data_of(tag)
                        .get(offset..offset + length)
                        .ok_or_else(|| failure("R2T for data that the command has not"))?;
                    self.put_data(tag, header.u32(20), offset, data);
                }
                pdu::NOP_IN => self.answer_ping(&header),
                other => return Err(failure(&format!("unexpected PDU {other:02x}h"))),
            }
        }
    }

    /// Data-In of the command that `complete` returned last, where one PDU held it all.
    pub fn data_in(&self) -> &[u8] {
        &self.received
    }

    /// Asks to close the session, and waits for the answer.
    pub fn logout(mut self) -> io::Result<()> {
        let header = Header::new(pdu::LOGOUT_REQUEST | 0x40, 0x80)
            .with_u32(24, self.cmd_sn)
            .with_u32(28, self.exp_stat_sn);
        self.put(header, &[]);
        self.send()?;
        pdu::read_pdu(&mut self.input, &mut self.received)?;
        Ok(())
    }

    /// A sequence of Data-Out PDUs of at most the target's segment length.
    fn put_data(&mut self, tag: u32, transfer_tag: u32, offset: usize, data: &[u8]) {
        let segment = self.peer.segment_bytes;
        let count = data.len().div_ceil(segment);
        for (index, piece) in data.chunks(segment).enumerate() {
            let header = Header::new(pdu::DATA_OUT, if index + 1 == count { 0x80 } else { 0 })
                .with(8, &self.lun)
                .with_u32(16, tag)
                .with_u32(20, transfer_tag)
                .with_u32(28, self.exp_stat_sn)
                .with_u32(36, u32::try_from(index).unwrap_or(u32::MAX))
                .with_u32(40, u32::try_from(offset + index * segment).unwrap_or(u32::MAX));
            self.put(header, piece);
        }
    }

    fn answer_ping(&mut self, ping: &Header) {
        if ping.u32(20) == NO_TAG {
            return;
        }
        let header = Header::new(pdu::NOP_OUT | 0x40, 0x80)
            .with(8, &ping.0[8..16])
            .with_u32(16, NO_TAG)
            .with_u32(20, ping.u32(20))
            .with_u32(24, self.cmd_sn)
            .with_u32(28, self.exp_stat_sn);
        self.put(header, &[]);
    }

    fn put(&mut self, header: Header, data: &[u8]) {
        self.output.extend_from_slice(&header.with_data_length(data.len()).0);
        self.output.extend_from_slice(data);
        self.output.resize(self.output.len() + pdu::padded(data.len()) - data.len(), 0);
    }

    fn send(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.input.get_mut().write_all(&self.output)?;
            self.output.clear();
        }
        Ok(())
    }
}

impl Negotiated {
    fn learn(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        for (key, value) in text.split('\0').filter_map(|pair| pair.split_once('=')) {
            match key {
                "MaxRecvDataSegmentLength" => {
                    self.segment_bytes = value.parse().unwrap_or(self.segment_bytes);
                }
                "FirstBurstLength" => {
                    self.first_burst_bytes = value.parse().unwrap_or(self.first_burst_bytes);
                }
                "InitialR2T" => self.initial_r2t = value == "Yes",
                "ImmediateData" => self.immediate_data = value == "Yes",
                _ => {}
            }
        }
    }
}

/// A LUN in the eight-byte form: peripheral addressing below 256, flat space above (SAM-5, 4.7).
fn lun_field(lun: u64) -> [u8; 8] {
    let mut field = [0; 8];
    if lun < 256 {
        field[1] = lun as u8;
    } else {
        field[..2].copy_from_slice(&(0x4000 | lun as u16).to_be_bytes());
    }
    field
}

/// An error of this program's own, or of the target's.
pub fn failure(message: &str) -> io::Error {
    io::Error::other(message.to_owned())
}
