//! PDUs on their way out: framed, digested, waiting for the socket.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Bytes, BytesMut};

use crate::checksum::{crc32c, crc32c_append};
use crate::scsi::buffers::BufferPool;

use super::pdu::{BHS_BYTES, Bhs, DIGEST_BYTES, padding, set_data_length};

/// The queue of outgoing PDUs.
#[derive(Debug)]
pub struct Outbox {
    pdus: VecDeque<Framed>,
    /// Bytes of the first PDU that have gone.
    sent: usize,
    bytes: usize,
    header_digest: bool,
    data_digest: bool,
}

#[derive(Debug)]
struct Framed {
    head: [u8; BHS_BYTES + DIGEST_BYTES],
    head_length: u8,
    data: Bytes,
    /// Padding and data digest.
    tail: [u8; 3 + DIGEST_BYTES],
    tail_length: u8,
}

impl Framed {
    fn parts(&self) -> [&[u8]; 3] {
        let head = &self.head[..usize::from(self.head_length)];
        [head, &self.data, &self.tail[..usize::from(self.tail_length)]]
    }

    fn length(&self) -> usize {
        usize::from(self.head_length) + self.data.len() + usize::from(self.tail_length)
    }
}

impl Outbox {
    /// An empty queue; the digests are as login negotiated them.
    pub fn new(header_digest: bool, data_digest: bool) -> Self {
        Self { pdus: VecDeque::new(), sent: 0, bytes: 0, header_digest, data_digest }
    }

    /// Queues a PDU. The data segment's length is set here.
    pub fn push(&mut self, mut bhs: Bhs, data: Bytes) {
        set_data_length(&mut bhs, data.len());
        let mut head = [0; BHS_BYTES + DIGEST_BYTES];
        head[..BHS_BYTES].copy_from_slice(&bhs);
        let mut head_length = BHS_BYTES;
        if self.header_digest {
            head[BHS_BYTES..].copy_from_slice(&crc32c(&bhs).to_le_bytes());
            head_length += DIGEST_BYTES;
        }
        let mut tail = [0; 3 + DIGEST_BYTES];
        let mut tail_length = padding(data.len());
        if self.data_digest && !data.is_empty() {
            let digest = crc32c_append(crc32c(&data), &tail[..tail_length]);
            tail[tail_length..tail_length + DIGEST_BYTES].copy_from_slice(&digest.to_le_bytes());
            tail_length += DIGEST_BYTES;
        }
        let framed = Framed {
            head,
            head_length: head_length as u8,
            data,
            tail,
            tail_length: tail_length as u8,
        };
        self.bytes += framed.length();
        self.pdus.push_back(framed);
    }

    /// Bytes that have not gone.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether everything has gone.
    pub fn is_empty(&self) -> bool {
        self.pdus.is_empty()
    }

    /// Fills `slices` from its start with what is to go next; says how many it filled.
    pub fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = self.pdus.iter().flat_map(Framed::parts);
        let mut skip = self.sent;
        let mut count = 0;
        for part in parts {
            if count == slices.len() {
                break;
            }
            let skipped = skip.min(part.len());
            skip -= skipped;
            if skipped < part.len() {
                slices[count] = IoSlice::new(&part[skipped..]);
                count += 1;
            }
        }
        count
    }

    /// `length` bytes have gone; buffers that are done with return to `buffers`.
    pub fn advance(&mut self, length: usize, buffers: &BufferPool) {
        self.bytes -= length;
        self.sent += length;
        while let Some(first) = self.pdus.front()
            && self.sent >= first.length()
        {
            self.sent -= first.length();
            if let Some(first) = self.pdus.pop_front() {
                buffers.give_back(first.data);
            }
        }
    }

    /// Everything as one run of bytes, taken out; for tests and scripted peers.
    pub fn take_bytes(&mut self) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(self.bytes);
        for part in self.pdus.iter().flat_map(Framed::parts) {
            bytes.extend_from_slice(part);
        }
        let rest = bytes.split_off(self.sent);
        (self.pdus, self.sent, self.bytes) = Default::default();
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(outbox: &Outbox, room: usize) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(&[]); room];
        let count = outbox.gather(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn what_goes_in_pieces_is_what_was_queued() {
        for (header_digest, data_digest) in [(false, false), (true, true)] {
            let fill = || {
                let mut outbox = Outbox::new(header_digest, data_digest);
                outbox.push([1; BHS_BYTES], Bytes::from_static(b"hello"));
                outbox.push([2; BHS_BYTES], Bytes::new());
                outbox.push([3; BHS_BYTES], Bytes::from_static(b"four"));
                outbox
            };
            let whole = fill().take_bytes();
            let (mut outbox, buffers) = (fill(), BufferPool::default());
            assert_eq!((gathered(&outbox, 99), outbox.bytes()), (whole.to_vec(), whole.len()));
            let mut pieces = Vec::new();
            while !outbox.is_empty() {
                let piece = gathered(&outbox, 2);
                let length = piece.len().min(7);
                pieces.extend_from_slice(&piece[..length]);
                outbox.advance(length, &buffers);
            }
            assert_eq!((pieces, outbox.bytes()), (whole.to_vec(), 0));
        }
    }

    /// RFC 3720, B.4: 32 bytes of zeros have the digest AAh 36h 91h 8Ah.
    #[test]
    fn digests_have_their_least_significant_byte_first() {
        let mut outbox = Outbox::new(false, true);
        outbox.push([0; BHS_BYTES], Bytes::from_static(&[0; 32]));
        assert_eq!(outbox.take_bytes()[BHS_BYTES + 32..], [0xAA, 0x36, 0x91, 0x8A]);
    }
}
