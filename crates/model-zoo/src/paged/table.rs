/// The blocks in which the keys and values of a sequence lie, in its order.
///
/// They belong to a [`PagedCache`](crate::PagedCache), which has to be given them back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BlockTable {
    pub(super) blocks: Vec<u32>,
    pub(super) len: usize,
}

impl BlockTable {
    /// The tokens that are there.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The blocks that it holds.
    pub fn num_blocks(&self) -> usize {
        self.blocks.len()
    }
}
