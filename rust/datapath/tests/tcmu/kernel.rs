//! The kernel's side of a ring: what puts commands in and takes answers out.
//!
//! It trusts nothing in the region but answers, as the kernel does: which commands are outstanding,
//! where their pages are and how far it has cleaned are kept beside it.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use datapath::transport::tcmu::{Region, layout::*};

pub const RING_OFFSET_BYTES: usize = 128;
/// Small pages, so that buffers are scattered.
pub const PAGE_BYTES: usize = 64;
/// What pages hold of a former command, which must not be seen by the next.
const STALE: u8 = 0xEE;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Buffer {
    None,
    Out(Vec<u8>),
    In(usize),
}

/// What an initiator has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub identifier: u16,
    pub status: u8,
    pub data_in: Vec<u8>,
    pub sense: Vec<u8>,
}

struct Outstanding {
    pages: Vec<usize>,
    buffer: Buffer,
}

pub struct Kernel {
    /// A file in memory, so that handlers can map it as they map a device.
    memory: OwnedFd,
    base: *mut u8,
    length: usize,
    page_bytes: usize,
    ring_bytes: usize,
    head: usize,
    cleaned: usize,
    next_identifier: u16,
    outstanding: BTreeMap<u16, Outstanding>,
    pages: Vec<bool>,
    /// Pages are taken from here on, so that neighbours are not always free.
    hand: usize,
    /// Gives the lowest identifier that is free, as Linux does; else they go round.
    pub reuses_identifiers: bool,
    pub unknown_operations: usize,
}

// SAFETY: the memory belongs to the process, not to a thread.
unsafe impl Send for Kernel {}

impl Drop for Kernel {
    fn drop(&mut self) {
        // SAFETY: it was mapped so, and handlers have mappings of their own or do not outlive it.
        unsafe { libc::munmap(self.base.cast(), self.length) };
    }
}

impl Kernel {
    pub fn new(flags: u16, ring_bytes: usize, pages: usize) -> Self {
        Self::with_pages(flags, ring_bytes, pages, PAGE_BYTES)
    }

    pub fn with_pages(flags: u16, ring_bytes: usize, pages: usize, page_bytes: usize) -> Self {
        let length = RING_OFFSET_BYTES + ring_bytes + pages * page_bytes;
        let (memory, base) = shared_memory(length);
        let mut kernel = Self {
            memory,
            base,
            length,
            page_bytes,
            ring_bytes,
            head: 0,
            cleaned: 0,
            next_identifier: 1,
            outstanding: BTreeMap::new(),
            pages: vec![false; pages],
            hand: 0,
            reuses_identifiers: false,
            unknown_operations: 0,
        };
        kernel.put(VERSION_FLAGS, &VERSION.to_ne_bytes());
        kernel.put(VERSION_FLAGS + 2, &flags.to_ne_bytes());
        kernel.put(RING_OFFSET, &(RING_OFFSET_BYTES as u32).to_ne_bytes());
        kernel.put(RING_BYTES, &(ring_bytes as u32).to_ne_bytes());
        for page in 0..pages {
            kernel.put(kernel.page_offset(page), &vec![STALE; page_bytes]);
        }
        kernel
    }

    /// A handler's mapping of the region; it must not outlive the kernel.
    pub fn map(&self) -> Region {
        // SAFETY: the mapping's bytes are aligned and live as long as `self`; these tests are of one
        // thread, and reach them by the same raw pointer.
        unsafe { Region::new(NonNull::new(self.base).unwrap(), self.length()) }
    }

    pub fn length(&self) -> usize {
        self.length
    }

    /// The memory as a descriptor that can be mapped.
    pub fn memory(&self) -> &OwnedFd {
        &self.memory
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.length());
        // SAFETY: the range was checked.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(at), bytes.len()) }
    }

    pub fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        self.copy_out(at, &mut bytes);
        bytes
    }

    fn copy_out(&self, at: usize, into: &mut [u8]) {
        assert!(at + into.len() <= self.length());
        // SAFETY: the range was checked.
        unsafe { std::ptr::copy_nonoverlapping(self.base.add(at), into.as_mut_ptr(), into.len()) }
    }

    pub fn get_u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.get(at))
    }

    pub fn tail(&self) -> usize {
        self.cursor(TAIL).load(Ordering::Acquire) as usize
    }

    fn cursor(&self, at: usize) -> &AtomicU32 {
        // SAFETY: both cursors lie in the mapping, aligned, and nothing but them does there.
        unsafe { AtomicU32::from_ptr(self.base.add(at).cast()) }
    }

    pub fn head(&self) -> usize {
        self.head
    }

    pub fn outstanding(&self) -> Vec<u16> {
        self.outstanding.keys().copied().collect()
    }

    /// Where an entry at this place of the ring is in the region.
    pub fn entry(&self, place: usize) -> usize {
        RING_OFFSET_BYTES + place
    }

    /// Puts a command in. `None` where the ring or the data area has no room.
    pub fn queue(&mut self, cdb: &[u8], buffer: Buffer) -> Option<u16> {
        let length = match &buffer {
            Buffer::None => 0,
            Buffer::Out(data) => data.len(),
            Buffer::In(length) => *length,
        };
        let pages = self.free_pages(length.div_ceil(self.page_bytes))?;
        let iovecs = self.iovecs(&pages, length);
        let base = (IOVECS + iovecs.len() * IOVEC_BYTES).max(ANSWERED_TICKET);
        let size = base + cdb.len().next_multiple_of(8);
        let place = self.make_room(size)?;
        let identifier = self.give_identifier();
        for &page in &pages {
            self.pages[page] = true;
        }
        if let Buffer::Out(data) = &buffer {
            for (page, bytes) in pages.iter().zip(data.chunks(self.page_bytes)) {
                self.put(self.page_offset(*page), bytes);
            }
        }
        let entry = self.entry(place);
        self.put(entry, &vec![0; size]);
        self.put(entry, &(size as u32 | OP_CMD).to_ne_bytes());
        self.put(entry + IDENTIFIER_FLAGS, &identifier.to_ne_bytes());
        self.put(entry + IOV_COUNT, &(iovecs.len() as u32).to_ne_bytes());
        self.put(entry + CDB_OFFSET, &((entry + base) as u64).to_ne_bytes());
        for (index, (start, length)) in iovecs.into_iter().enumerate() {
            self.put(entry + IOVECS + index * IOVEC_BYTES, &(start as u64).to_ne_bytes());
            self.put(entry + IOVECS + index * IOVEC_BYTES + 8, &(length as u64).to_ne_bytes());
        }
        self.put(entry + base, cdb);
        self.move_head(size);
        self.outstanding.insert(identifier, Outstanding { pages, buffer });
        Some(identifier)
    }

    /// Notifies of task management.
    pub fn notify(&mut self, function: u8, identifiers: &[u16]) -> Option<()> {
        let size = (TMR_IDENTIFIERS + identifiers.len() * 2).next_multiple_of(8);
        let place = self.make_room(size)?;
        let entry = self.entry(place);
        self.put(entry, &vec![0; size]);
        self.put(entry, &(size as u32 | OP_TMR).to_ne_bytes());
        self.put(entry + TMR_TYPE, &[function]);
        self.put(entry + TMR_COUNT, &(identifiers.len() as u32).to_ne_bytes());
        for (index, identifier) in identifiers.iter().enumerate() {
            self.put(entry + TMR_IDENTIFIERS + index * 2, &identifier.to_ne_bytes());
        }
        self.move_head(size);
        Some(())
    }

    /// Puts an entry in that no handler of today knows.
    pub fn queue_unknown(&mut self, operation: u32, size: usize) -> Option<usize> {
        let place = self.make_room(size)?;
        let entry = self.entry(place);
        self.put(entry, &vec![0; size]);
        self.put(entry, &(size as u32 | operation).to_ne_bytes());
        self.move_head(size);
        Some(place)
    }

    /// Takes what the handler has given back, up to its tail.
    pub fn take_answers(&mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while self.cleaned != self.tail() {
            let entry = self.entry(self.cleaned);
            let len_op = self.get_u32(entry);
            match len_op & OPERATION_MASK {
                OP_PAD | OP_TMR => {}
                OP_CMD => outcomes.push(self.take_answer(entry)),
                _ => {
                    let [user] = self.get(entry + IDENTIFIER_FLAGS + 3);
                    assert_eq!(user & UNKNOWN_OP, UNKNOWN_OP);
                    self.unknown_operations += 1;
                }
            }
            self.cleaned = (self.cleaned + (len_op & !OPERATION_MASK) as usize) % self.ring_bytes;
        }
        outcomes
    }

    /// What writing 1 to `action/reset_ring` does: all commands end BUSY.
    pub fn reset(&mut self) -> Vec<u16> {
        (self.head, self.cleaned) = (0, 0);
        self.put(HEAD, &[0; 4]);
        self.put(TAIL, &[0; 4]);
        self.pages.fill(false);
        std::mem::take(&mut self.outstanding).into_keys().collect()
    }

    fn take_answer(&mut self, entry: usize) -> Outcome {
        let identifier = u16::from_ne_bytes(self.get(entry + IDENTIFIER_FLAGS));
        let command = self.outstanding.remove(&identifier).expect("cmd_id not found: broken ring");
        let [user] = self.get(entry + IDENTIFIER_FLAGS + 3);
        assert_eq!(user & UNKNOWN_OP, 0);
        let [status] = self.get(entry + ANSWER);
        let told = self.get_u32(entry + ANSWER + 4) as usize;
        let told = (user & READ_LEN != 0 && told != 0).then_some(told);
        let mut data_in = Vec::new();
        if let Buffer::In(length) = command.buffer
            && (status == 0 || status == 2 && told.is_some())
        {
            for page in &command.pages {
                let mut bytes = vec![0; self.page_bytes];
                self.copy_out(self.page_offset(*page), &mut bytes);
                data_in.extend(bytes);
            }
            data_in.truncate(told.unwrap_or(length).min(length));
        }
        let sense = self.get::<SENSE_BYTES>(entry + ANSWER + 8);
        for page in command.pages {
            self.pages[page] = false;
            self.put(self.page_offset(page), &vec![STALE; self.page_bytes]);
        }
        let sense = if status == 2 { sense.to_vec() } else { Vec::new() };
        Outcome { identifier, status, data_in, sense }
    }

    /// A place for an entry of `size` bytes, behind a PAD where it would cross the ring's end.
    fn make_room(&mut self, size: usize) -> Option<usize> {
        let to_end = self.ring_bytes - self.head;
        let used = (self.head + self.ring_bytes - self.cleaned) % self.ring_bytes;
        let needed = if to_end >= size { size } else { size + to_end };
        if self.ring_bytes - used - 1 < needed {
            return None;
        }
        if to_end < size {
            let entry = self.entry(self.head);
            self.put(entry, &(to_end as u32 | OP_PAD).to_ne_bytes());
            self.put(entry + IDENTIFIER_FLAGS, &[0; 4]);
            self.move_head(to_end);
        }
        Some(self.head)
    }

    fn move_head(&mut self, bytes: usize) {
        self.head = (self.head + bytes) % self.ring_bytes;
        self.cursor(HEAD).store(self.head as u32, Ordering::Release);
    }

    fn give_identifier(&mut self) -> u16 {
        if self.reuses_identifiers {
            return (1..).find(|free| !self.outstanding.contains_key(free)).unwrap();
        }
        self.next_identifier = self.next_identifier % (u16::MAX - 1) + 1;
        self.next_identifier
    }

    fn free_pages(&mut self, count: usize) -> Option<Vec<usize>> {
        let all = self.pages.len();
        let free = |page: &usize| !self.pages[*page];
        // Small pages are taken here and there, large ones side by side.
        let step = if self.page_bytes == PAGE_BYTES { 3 } else { 1 };
        let pages: Vec<_> = (0..all).map(|n| (self.hand + n * step) % all).filter(free).collect();
        let mut found: Vec<usize> = Vec::new();
        for page in pages {
            if found.len() < count && !found.contains(&page) {
                found.push(page);
            }
        }
        self.hand = (self.hand + 1) % all.max(1);
        (found.len() == count).then_some(found)
    }

    /// Neighbouring pages share an iovec.
    fn iovecs(&self, pages: &[usize], length: usize) -> Vec<(usize, usize)> {
        let mut iovecs: Vec<(usize, usize)> = Vec::new();
        for (index, page) in pages.iter().enumerate() {
            let (start, bytes) =
                (self.page_offset(*page), (length - index * self.page_bytes).min(self.page_bytes));
            match iovecs.last_mut() {
                Some((from, so_far)) if *from + *so_far == start => *so_far += bytes,
                _ => iovecs.push((start, bytes)),
            }
        }
        iovecs
    }

    fn page_offset(&self, page: usize) -> usize {
        RING_OFFSET_BYTES + self.ring_bytes + page * self.page_bytes
    }
}

fn shared_memory(length: usize) -> (OwnedFd, *mut u8) {
    // SAFETY: calls that touch no memory of ours; what they return is checked.
    unsafe {
        let descriptor = libc::memfd_create(c"region".as_ptr(), libc::MFD_CLOEXEC);
        assert!(descriptor >= 0);
        let memory = OwnedFd::from_raw_fd(descriptor);
        assert_eq!(libc::ftruncate(memory.as_raw_fd(), length as libc::off_t), 0);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let base = libc::mmap(
            std::ptr::null_mut(),
            length,
            access,
            libc::MAP_SHARED,
            memory.as_raw_fd(),
            0,
        );
        assert_ne!(base, libc::MAP_FAILED);
        (memory, base.cast())
    }
}
