#![allow(unsafe_code)]

/// Memory for packed words that begins where a line of the cache does: rows of tiles and vectors are as long as
/// lines, and each is then within one.
#[derive(Default)]
pub(crate) struct Words(Vec<Line>);

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u32; 16]);

impl Words {
    /// So many words, of which those that are new are zeros.
    pub(crate) fn at_least(&mut self, len: usize) -> &mut [u32] {
        let lines = len.div_ceil(16);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0; 16]));
        }
        // SAFETY: a line is 16 words without anything between them.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }

    /// The words that there are.
    pub(crate) fn all(&self) -> &[u32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), 16 * self.0.len()) }
    }
}
