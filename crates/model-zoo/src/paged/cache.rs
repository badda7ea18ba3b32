use std::sync::Arc;

use fused_ops::{BLOCK, PagedRow};

use super::BlockTable;
use super::blocks::Blocks;
use crate::{CausalLm, KvCache};

/// The keys and values of many sequences, in blocks of 16 tokens from one pool for each layer.
///
/// A sequence has a [`BlockTable`], and takes a block when it grows into it; nothing is padded. The
/// beginning of one can be [shared](Self::share) by others: whole blocks are held by both, and the
/// last one is copied where it is not full, since both go on in it.
///
/// The rows of a pass have any numbers of new tokens: `[1, S]` for one row, `[T, 1]` for all new
/// tokens of several, one row after the other. To whatever decides token by token that is the same.
///
/// Source: Kwon et al., arXiv 2309.06180, section 4.
#[derive(Debug)]
pub struct PagedCache {
    cache: KvCache,
    blocks: Blocks,
}

impl PagedCache {
    /// The tokens of a block.
    pub const BLOCK: usize = BLOCK;

    /// An empty cache for a model with room for so many tokens.
    pub fn new<M: CausalLm>(model: &M, tokens: usize) -> Self {
        let blocks = Blocks::new(tokens.div_ceil(BLOCK));
        Self { cache: model.new_cache().into_paged(), blocks }
    }

    /// How many blocks a sequence of so many tokens needs.
    pub fn blocks_for(tokens: usize) -> usize {
        tokens.div_ceil(BLOCK)
    }

    /// All blocks.
    pub fn total_blocks(&self) -> usize {
        self.blocks.total()
    }

    /// The blocks that nobody holds.
    pub fn free_blocks(&self) -> usize {
        self.blocks.free()
    }

    /// Takes the blocks that a sequence needs for so many more tokens; returns whether there are
    /// so many, and takes none where there are not.
    #[must_use]
    pub fn reserve(&mut self, table: &mut BlockTable, additional: usize) -> bool {
        let needed = Self::blocks_for(table.len + additional).saturating_sub(table.blocks.len());
        if needed > self.blocks.free() {
            return false;
        }
        table.blocks.extend((0..needed).filter_map(|_| self.blocks.take()));
        true
    }

    /// A sequence that begins with the first `len` tokens of another. `None` where the block for its
    /// last tokens, of which it needs a copy, is missing.
    ///
    /// # Panics
    ///
    /// When the other has fewer tokens.
    pub fn share(&mut self, table: &BlockTable, len: usize) -> Option<BlockTable> {
        assert!(len <= table.len, "share: {len} of {} tokens", table.len);
        let (whole, rest) = (len / BLOCK, len % BLOCK);
        let mut blocks = table.blocks[..whole].to_vec();
        if rest > 0 {
            let own = self.blocks.take()?;
            let sizes = [self.blocks.touched(), self.blocks.total()];
            for layer in self.cache.paged_layers() {
                layer.sizes = sizes;
                layer.copy(table.blocks[whole], own, rest);
            }
            blocks.push(own);
        }
        table.blocks[..whole].iter().for_each(|block| self.blocks.hold(*block));
        Some(BlockTable { blocks, len })
    }

    /// The tokens of a sequence as they are now, to be [shared](Self::share) later: it holds the
    /// same blocks, and nothing may be added to it.
    pub fn keep(&mut self, table: &BlockTable) -> BlockTable {
        let blocks = table.blocks[..Self::blocks_for(table.len)].to_vec();
        blocks.iter().for_each(|block| self.blocks.hold(*block));
        BlockTable { blocks, len: table.len }
    }

    /// Gives the blocks of a sequence back.
    pub fn release(&mut self, table: BlockTable) {
        table.blocks.into_iter().for_each(|block| self.blocks.give_back(block));
    }

    /// The cache for a pass that adds so many tokens to each of these sequences, which count as
    /// there from now on.
    ///
    /// # Panics
    ///
    /// When one has no blocks for them; see [`reserve`](Self::reserve).
    pub fn pass<'a>(
        &mut self,
        rows: impl IntoIterator<Item = (&'a mut BlockTable, usize)>,
    ) -> &mut KvCache {
        let rows = rows.into_iter().map(|(table, new)| {
            let past = table.len;
            table.len += new;
            assert!(table.len <= table.blocks.len() * BLOCK, "pass: a row without blocks");
            PagedRow { past, new, blocks: table.blocks.clone() }
        });
        let rows: Arc<[PagedRow]> = rows.collect();
        let sizes = [self.blocks.touched(), self.blocks.total()];
        for layer in self.cache.paged_layers() {
            layer.rows = Arc::clone(&rows);
            layer.sizes = sizes;
        }
        &mut self.cache
    }
}
