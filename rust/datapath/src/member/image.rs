//! The bytes of a member kept in memory: pages that were never written cost nothing, and a copy
//! shares its pages with the original until one of them changes.

use std::sync::Arc;

pub(crate) const PAGE_BYTES: usize = 4096;
type Page = [u8; PAGE_BYTES];

/// A sparse array of bytes, zeros at first.
#[derive(Clone)]
pub(crate) struct Image {
    size_bytes: u64,
    pages: Vec<Option<Arc<Page>>>,
}

impl Image {
    pub(crate) fn new(size_bytes: u64) -> Self {
        let count = usize::try_from(size_bytes).expect("fits memory").div_ceil(PAGE_BYTES);
        Self { size_bytes, pages: vec![None; count] }
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(crate) fn read(&self, offset_bytes: u64, buffer: &mut [u8]) {
        for (page, within, part) in self.parts(offset_bytes, buffer.len()) {
            match &self.pages[page] {
                Some(bytes) => buffer[part.clone()].copy_from_slice(&bytes[within..][..part.len()]),
                None => buffer[part].fill(0),
            }
        }
    }

    pub(crate) fn write(&mut self, offset_bytes: u64, data: &[u8]) {
        for (page, within, part) in self.parts(offset_bytes, data.len()) {
            let bytes = self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(bytes)[within..][..part.len()].copy_from_slice(&data[part]);
        }
    }

    /// Zeroes a range; whole pages are given back.
    pub(crate) fn zero(&mut self, offset_bytes: u64, length_bytes: u64) {
        let length = usize::try_from(length_bytes).expect("fits memory");
        for (page, within, part) in self.parts(offset_bytes, length) {
            if part.len() == PAGE_BYTES {
                self.pages[page] = None;
            } else if let Some(bytes) = &mut self.pages[page] {
                Arc::make_mut(bytes)[within..][..part.len()].fill(0);
            }
        }
    }

    /// Whether the page of `offset_bytes` is there, and how many bytes from there on are alike.
    pub(crate) fn mapped_run(&self, offset_bytes: u64, length_bytes: u64) -> (bool, u64) {
        let length = usize::try_from(length_bytes).expect("fits memory");
        let mut parts = self.parts(offset_bytes, length);
        let (first, _, part) = parts.next().expect("the range is not empty");
        let mapped = self.pages[first].is_some();
        let alike = parts.take_while(|(page, ..)| self.pages[*page].is_some() == mapped);
        (mapped, alike.last().map_or(part.end, |(_, _, last)| last.end) as u64)
    }

    /// Cuts a range at page borders: page, offset within it, range within the caller's buffer.
    fn parts(
        &self,
        offset_bytes: u64,
        length: usize,
    ) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> + use<> {
        assert!(
            offset_bytes.checked_add(length as u64).is_some_and(|end| end <= self.size_bytes),
            "{length} bytes at {offset_bytes} lie outside a member of {} bytes",
            self.size_bytes
        );
        let offset = offset_bytes as usize;
        let mut done = 0;
        std::iter::from_fn(move || {
            let (page, within) = ((offset + done) / PAGE_BYTES, (offset + done) % PAGE_BYTES);
            let step = (length - done).min(PAGE_BYTES - within);
            let part = done..done + step;
            done += step;
            (step > 0).then_some((page, within, part))
        })
    }
}
