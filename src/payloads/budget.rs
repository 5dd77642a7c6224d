//! Bytes held in memory: bounded for each body, and for all together.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Memory is taken in steps that begin with so many bytes and double.
const FIRST_STEP_BYTES: usize = 4 * 1024;

/// The largest step, in bytes.
const LAST_STEP_BYTES: usize = 256 * 1024;

/// A read from the network may lie in a buffer of this size, whatever its own length.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Memory for everything that is held.
#[derive(Debug)]
pub(super) struct Budget {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
}

impl Budget {
    pub(super) fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            used_bytes: AtomicUsize::new(0),
        })
    }
}

/// Memory taken for one thing, given back when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Lease {
    pub(super) fn of(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            bytes: 0,
        }
    }

    /// Takes memory so that this lease covers `bytes`; false when there is not enough.
    pub(super) fn cover(&mut self, bytes: usize) -> bool {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|&more| more > 0) else {
            return true;
        };
        let limit = self.budget.limit_bytes;
        let taken = self
            .budget
            .used_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                used.checked_add(more).filter(|&total| total <= limit)
            })
            .is_ok();
        if taken {
            self.bytes = bytes;
        }
        taken
    }

    fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.budget.used_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// The beginning of a body, at most `max_bytes` of it.
pub struct Kept {
    max_bytes: usize,
    total_bytes: u64,
    held_bytes: usize,
    bytes: Held,
    lease: Lease,
}

enum Held {
    /// Copied out of the passing pieces, which lie in large read buffers. In parts that are never
    /// moved, and all of them full but the last.
    Copied(Vec<Vec<u8>>),
    /// The body that the request holds anyway.
    Shared(Bytes),
    /// There was no room.
    Nothing,
}

impl Kept {
    pub(super) fn new(max_bytes: usize, lease: Lease) -> Self {
        Self {
            max_bytes,
            total_bytes: 0,
            held_bytes: 0,
            bytes: Held::Copied(Vec::new()),
            lease,
        }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.total_bytes += piece.len() as u64;
        let Held::Copied(parts) = &mut self.bytes else {
            return;
        };
        let mut left = &piece[..piece.len().min(self.max_bytes - self.held_bytes)];
        while !left.is_empty() {
            if parts
                .last()
                .is_none_or(|last| last.len() == last.capacity())
            {
                let step = self.held_bytes.clamp(FIRST_STEP_BYTES, LAST_STEP_BYTES);
                let step = step.min(self.max_bytes - self.held_bytes);
                if !self.lease.cover(self.held_bytes + step) {
                    self.bytes = Held::Nothing;
                    self.lease.give_back();
                    return;
                }
                parts.push(Vec::with_capacity(step));
            }
            if let Some(last) = parts.last_mut() {
                let room = last.capacity() - last.len();
                let (now, later) = left.split_at(left.len().min(room));
                last.extend_from_slice(now);
                self.held_bytes += now.len();
                left = later;
            }
        }
    }

    /// Takes a body that somebody else holds too, in place of what was taken so far.
    pub fn share(&mut self, whole: &Bytes) {
        self.total_bytes = whole.len() as u64;
        self.held_bytes = whole.len().min(self.max_bytes);
        self.bytes = Held::Shared(whole.clone());
    }

    /// Makes it stand on its own: nobody else holds it any more. False when there is no room for it.
    pub(super) fn seal(&mut self) -> bool {
        if let Held::Shared(whole) = &self.bytes {
            let kept = self.held_bytes;
            if !self.lease.cover(kept) {
                self.bytes = Held::Nothing;
                return false;
            }
            // What is small may lie in a large read buffer, of what is larger only a part is kept.
            if kept < whole.len() || kept <= READ_BUFFER_BYTES {
                self.bytes = Held::Copied(vec![whole[..kept].to_vec()]);
            }
        }
        !matches!(self.bytes, Held::Nothing)
    }

    /// What was kept.
    pub(super) fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.bytes {
            Held::Copied(parts) => match parts.as_slice() {
                [only] => Cow::Borrowed(only),
                parts => Cow::Owned(parts.concat()),
            },
            Held::Shared(whole) => Cow::Borrowed(&whole[..self.held_bytes]),
            Held::Nothing => Cow::Borrowed(&[]),
        }
    }

    /// How long the whole body was.
    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// How many of its bytes are kept at most.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }
}

/// Without its content, which may be secret.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("held_bytes", &self.held_bytes)
            .field("total_bytes", &self.total_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(budget: &Arc<Budget>, max_bytes: usize) -> Kept {
        Kept::new(max_bytes, Lease::of(budget))
    }

    fn used(budget: &Arc<Budget>) -> usize {
        budget.used_bytes.load(Ordering::Acquire)
    }

    #[test]
    fn the_beginning_is_kept_and_the_whole_is_counted() {
        let budget = Budget::new(1 << 20);
        let mut body = kept(&budget, 10);
        for piece in ["1234", "", "56789", "abcdef", "g"] {
            body.push(piece.as_bytes());
        }
        assert!(body.seal());
        assert_eq!(&*body.bytes(), b"123456789a");
        assert_eq!(body.total_bytes(), 16);
        assert_eq!(used(&budget), 10);
        drop(body);
        assert_eq!(used(&budget), 0);
    }

    #[test]
    fn however_it_is_cut_the_same_is_kept_in_little_more_memory() {
        let budget = Budget::new(1 << 24);
        let whole: Vec<u8> = (0..1_500_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for max_bytes in [1, 5000, 1_000_000, 2_000_000] {
            for size in [1000, 70_000, whole.len()] {
                let mut body = kept(&budget, max_bytes);
                whole.chunks(size).for_each(|piece| body.push(piece));
                assert!(body.seal());
                let expected = max_bytes.min(whole.len());
                assert!(*body.bytes() == whole[..expected], "{max_bytes} by {size}");
                assert!((expected..=expected + LAST_STEP_BYTES).contains(&used(&budget)));
            }
        }
        assert_eq!(used(&budget), 0);
    }

    #[test]
    fn what_finds_no_room_gives_back_what_it_had() {
        let budget = Budget::new(2 * FIRST_STEP_BYTES);
        let mut first = kept(&budget, 1 << 20);
        first.push(&[0; 10]);
        let mut second = kept(&budget, 1 << 20);
        second.push(&[0; 10]);
        second.push(&vec![0; FIRST_STEP_BYTES]);
        assert!(!second.seal());
        assert_eq!(second.total_bytes(), 10 + FIRST_STEP_BYTES as u64);
        assert_eq!(used(&budget), FIRST_STEP_BYTES);
        assert!(first.seal());
    }

    #[test]
    fn a_shared_body_does_not_pin_a_larger_buffer() {
        let budget = Budget::new(1 << 20);
        let read = Bytes::from(vec![7; READ_BUFFER_BYTES * 4]);
        for (length, max_bytes, shared) in [
            (100, 1 << 20, false),
            (READ_BUFFER_BYTES * 2, 1 << 20, true),
            (READ_BUFFER_BYTES * 2, READ_BUFFER_BYTES, false),
        ] {
            let mut body = kept(&budget, max_bytes);
            body.share(&read.slice(..length));
            assert!(body.seal());
            assert_eq!(body.bytes().len(), length.min(max_bytes));
            assert_eq!(body.bytes().as_ptr() == read.as_ptr(), shared, "{length}");
            assert_eq!(used(&budget), length.min(max_bytes));
        }
    }
}
