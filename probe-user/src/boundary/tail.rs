//! The last bytes of a message after a capture gap, kept only until the message ends.

use std::fmt;

/// Bytes kept.
pub(super) const WINDOW: usize = 2048;

/// A window over the last contiguous bytes.
#[derive(Clone, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    /// Adds bytes, forgetting the oldest beyond [`WINDOW`].
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(WINDOW)..];
        let surplus = (self.0.len() + bytes.len()).saturating_sub(WINDOW);
        self.0.drain(..surplus);
        if self.0.capacity() < WINDOW {
            self.0.reserve_exact(WINDOW - self.0.len());
        }
        self.0.extend_from_slice(bytes);
    }

    /// Forgets all, after another gap.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Heap bytes held.
    pub(super) fn retained(&self) -> usize {
        self.0.capacity()
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tail({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Tail, WINDOW};

    #[test]
    fn only_the_last_bytes_stay() {
        let mut tail = Tail::default();
        for i in 0..10_000_u32 {
            tail.push(&[(i % 251) as u8]);
        }
        assert_eq!(tail.bytes().len(), WINDOW);
        assert_eq!(tail.bytes().last(), Some(&((9_999 % 251) as u8)));
        tail.push(&[7; 5000]);
        assert_eq!((tail.bytes(), tail.retained()), (&[7; WINDOW][..], WINDOW));
    }
}
