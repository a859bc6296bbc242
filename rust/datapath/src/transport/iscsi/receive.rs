//! Cuts the byte stream into PDUs.
//!
//! What can be judged from framing alone is judged here: lengths within limits, header digests, the
//! data digests of whole segments. Data that is complete in the receive buffer is handed on as a
//! slice of it. Longer data goes straight from the socket to where it belongs: a Data-Out to its
//! command's buffer, anything else to a buffer of its own.

use bytes::{Buf, Bytes, BytesMut};

use crate::checksum::{crc32c, crc32c_append};

use super::pdu::{
    BHS_BYTES, Bhs, DIGEST_BYTES, ahs_length, data_length, opcode, opcode_of, padding,
};
use super::session::Violation;

/// A segment up to this long is waited for in the receive buffer; the rest of a longer one is
/// received where it belongs.
pub const GATHER_BYTES: usize = 16 << 10;

/// A whole PDU, not of Data-Out.
#[derive(Debug)]
pub struct Pdu {
    /// The Basic Header Segment.
    pub bhs: Bhs,
    /// The Additional Header Segments.
    pub ahs: Vec<u8>,
    /// The data segment.
    pub data: Bytes,
    /// Whether the data digest, if there is one, matched.
    pub data_intact: bool,
}

/// What came next in the stream.
#[derive(Debug)]
pub enum Step {
    /// More has to be received.
    More,
    /// A whole PDU.
    Pdu(Pdu),
    /// The header of a Data-Out; its data follows.
    DataOut(Bhs),
    /// So many bytes of the Data-Out's data are at the start of the input; the caller takes them.
    Data(usize),
    /// The Data-Out is over; what came after its data.
    DataOutEnd(Tail),
}

/// Padding and digest of a data segment.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    padding: [u8; 3],
    padding_length: usize,
    digest: Option<u32>,
}

impl Tail {
    /// Whether the digest, where there is one, is that of `data` and the padding.
    pub fn matches(&self, data: &[u8]) -> bool {
        let padding = &self.padding[..self.padding_length];
        self.digest.is_none_or(|digest| digest == crc32c_append(crc32c(data), padding))
    }
}

/// Where in a PDU the stream is.
#[derive(Debug)]
pub struct Receiver {
    header_digest: bool,
    data_digest: bool,
    segment_bytes_max: usize,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Before a header.
    Header,
    /// In the data of a Data-Out, so many bytes before its end.
    DataOut { length: usize, remaining: usize },
    /// Before the padding and digest of a Data-Out's data.
    DataOutTail { length: usize },
    /// In the data of another PDU.
    Segment { bhs: Bhs, ahs: Vec<u8>, data: BytesMut, length: usize },
}

impl Receiver {
    /// At the start of a stream.
    pub fn new(header_digest: bool, data_digest: bool, segment_bytes_max: u32) -> Self {
        let segment_bytes_max = segment_bytes_max as usize;
        Self { header_digest, data_digest, segment_bytes_max, stage: Stage::Header }
    }

    /// Takes the next step from `input`, which keeps what is not used up.
    pub fn step(&mut self, input: &mut BytesMut) -> Result<Step, Violation> {
        match &mut self.stage {
            Stage::Header => self.header(input),
            Stage::DataOut { length, remaining: 0 } => {
                self.stage = Stage::DataOutTail { length: *length };
                self.data_out_tail(input)
            }
            Stage::DataOut { remaining, .. } => {
                let available = input.len().min(*remaining);
                *remaining -= available;
                Ok(if available == 0 { Step::More } else { Step::Data(available) })
            }
            Stage::DataOutTail { .. } => self.data_out_tail(input),
            Stage::Segment { .. } => Ok(self.segment(input)),
        }
    }

    fn header(&mut self, input: &mut BytesMut) -> Result<Step, Violation> {
        let Some(bhs) = input.first_chunk::<BHS_BYTES>().copied() else { return Ok(Step::More) };
        let (ahs_length, length) = (ahs_length(&bhs), data_length(&bhs));
        if length > self.segment_bytes_max {
            return Err(Violation::SegmentTooLong);
        }
        let digest_length = if self.header_digest { DIGEST_BYTES } else { 0 };
        let header_length = BHS_BYTES + ahs_length + digest_length;
        if input.len() < header_length {
            return Ok(Step::More);
        }
        if self.header_digest {
            let (header, digest) = input[..header_length].split_at(BHS_BYTES + ahs_length);
            if crc32c(header).to_le_bytes() != digest {
                return Err(Violation::HeaderDigest);
            }
        }
        if opcode_of(&bhs) == opcode::DATA_OUT {
            input.advance(header_length);
            self.stage = Stage::DataOut { length, remaining: length };
            return Ok(Step::DataOut(bhs));
        }
        let whole = input.len() >= header_length + length + self.tail_length(length);
        if !whole && length <= GATHER_BYTES {
            return Ok(Step::More);
        }
        let ahs = input[BHS_BYTES..BHS_BYTES + ahs_length].to_vec();
        input.advance(header_length);
        if whole {
            let data = if length == 0 { Bytes::new() } else { input.split_to(length).freeze() };
            return Ok(self.finish(bhs, ahs, data, input));
        }
        let mut data = BytesMut::with_capacity(length);
        let available = input.len().min(length);
        data.extend_from_slice(&input[..available]);
        input.advance(available);
        self.stage = Stage::Segment { bhs, ahs, data, length };
        Ok(self.segment(input))
    }

    fn segment(&mut self, input: &mut BytesMut) -> Step {
        let Stage::Segment { data, length, .. } = &mut self.stage else { return Step::More };
        let length = *length;
        let available = input.len().min(length - data.len());
        data.extend_from_slice(&input[..available]);
        input.advance(available);
        if data.len() < length || input.len() < self.tail_length(length) {
            return Step::More;
        }
        match std::mem::replace(&mut self.stage, Stage::Header) {
            Stage::Segment { bhs, ahs, data, .. } => self.finish(bhs, ahs, data.freeze(), input),
            _ => Step::More,
        }
    }

    fn data_out_tail(&mut self, input: &mut BytesMut) -> Result<Step, Violation> {
        let Stage::DataOutTail { length } = self.stage else { return Ok(Step::More) };
        if input.len() < self.tail_length(length) {
            return Ok(Step::More);
        }
        self.stage = Stage::Header;
        Ok(Step::DataOutEnd(self.take_tail(length, input)))
    }

    fn finish(&self, bhs: Bhs, ahs: Vec<u8>, data: Bytes, input: &mut BytesMut) -> Step {
        let data_intact = self.take_tail(data.len(), input).matches(&data);
        Step::Pdu(Pdu { bhs, ahs, data, data_intact })
    }

    /// Takes padding and digest of a segment.
    fn take_tail(&self, length: usize, input: &mut BytesMut) -> Tail {
        let padding_length = padding(length);
        let mut padding = [0; 3];
        input.copy_to_slice(&mut padding[..padding_length]);
        let digest = (self.data_digest && length > 0).then(|| input.get_u32_le());
        Tail { padding, padding_length, digest }
    }

    fn tail_length(&self, length: usize) -> usize {
        let digest = self.data_digest && length > 0;
        padding(length) + if digest { DIGEST_BYTES } else { 0 }
    }

    /// How many bytes of a Data-Out's data the socket still has to give.
    pub fn data_out_remaining(&self) -> Option<usize> {
        match self.stage {
            Stage::DataOut { remaining, .. } if remaining > 0 => Some(remaining),
            _ => None,
        }
    }

    /// The buffer of another PDU's data, and how much it still lacks.
    pub fn segment_buffer(&mut self) -> Option<(&mut BytesMut, usize)> {
        match &mut self.stage {
            Stage::Segment { data, length, .. } if data.len() < *length => {
                let lacking = *length - data.len();
                Some((data, lacking))
            }
            _ => None,
        }
    }

    /// `length` bytes of a Data-Out's data went straight to their command.
    pub fn data_out_received(&mut self, length: usize) {
        if let Stage::DataOut { remaining, .. } = &mut self.stage {
            *remaining -= length;
        }
    }
}
