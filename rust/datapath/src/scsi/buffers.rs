//! Data buffers of one session, used again and again.
//!
//! A buffer is zeroed once, when it is made. Handing it out a second time needs neither an
//! allocation nor a pass over its bytes, as long as commands transfer powers of two.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

use crate::limits::POOLED_BYTES_PER_SESSION_MAX;

/// The smallest class: a usual page.
const SMALLEST_SHIFT: u32 = 12;
/// Classes of 4 KiB, 8 KiB … 1 MiB; longer buffers are rare and not kept.
const CLASSES: usize = 9;

/// Buffers of one session; stays on its thread.
#[derive(Debug, Default)]
pub struct BufferPool {
    shelves: RefCell<Shelves>,
}

#[derive(Debug, Default)]
struct Shelves {
    /// Of each class, buffers whose length is the class's size.
    classes: [Vec<BytesMut>; CLASSES],
    bytes: usize,
}

impl BufferPool {
    /// A buffer of `length` bytes. What they are is unspecified: the caller fills them.
    pub fn take(&self, length: usize) -> BytesMut {
        let Some((class, size)) = class_of(length) else { return BytesMut::zeroed(length) };
        let mut shelves = self.shelves.borrow_mut();
        let mut buffer = match shelves.classes[class].pop() {
            Some(buffer) => {
                shelves.bytes -= size;
                buffer
            }
            None => BytesMut::zeroed(size),
        };
        buffer.truncate(length);
        buffer
    }

    /// Takes a buffer back for reuse where nothing else refers to it.
    pub fn give_back(&self, data: Bytes) {
        if data.len() < 1 << SMALLEST_SHIFT {
            return;
        }
        let Ok(mut buffer) = data.try_into_mut() else { return };
        let Some((class, size)) = class_of(buffer.len()) else { return };
        let mut shelves = self.shelves.borrow_mut();
        if buffer.capacity() != size || shelves.bytes + size > POOLED_BYTES_PER_SESSION_MAX {
            return;
        }
        buffer.resize(size, 0);
        shelves.bytes += size;
        shelves.classes[class].push(buffer);
    }
}

/// The class that holds `length` bytes, and its size.
fn class_of(length: usize) -> Option<(usize, usize)> {
    let shift = length.next_power_of_two().trailing_zeros().max(SMALLEST_SHIFT);
    let class = (shift - SMALLEST_SHIFT) as usize;
    (class < CLASSES).then_some((class, 1 << shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back() {
        let pool = BufferPool::default();
        let mut buffer = pool.take(5000);
        assert_eq!(buffer.len(), 5000);
        buffer[0] = 7;
        let address = buffer.as_ptr();
        pool.give_back(buffer.freeze());
        let again = pool.take(8192);
        assert_eq!((again.as_ptr(), again.len()), (address, 8192));
    }

    #[test]
    fn what_is_still_used_is_not_taken() {
        let pool = BufferPool::default();
        let data = pool.take(4096).freeze();
        let kept = data.clone();
        pool.give_back(data);
        assert_ne!(pool.take(4096).as_ptr(), kept.as_ptr());
    }

    #[test]
    fn the_pool_is_bounded() {
        let pool = BufferPool::default();
        for _ in 0..20 {
            pool.give_back(BytesMut::zeroed(1 << 20).freeze());
        }
        assert!(pool.shelves.borrow().bytes <= POOLED_BYTES_PER_SESSION_MAX);
        assert_eq!(pool.take(3 << 20).len(), 3 << 20);
    }
}
