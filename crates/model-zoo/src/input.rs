use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use fused_ops::{Documents, sent};
use router::BatchContext;

use crate::TokenTree;
use crate::placement::Link;

/// Where shorter sequences of a batch are filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaddingSide {
    /// Before the tokens: for generation, where the last position must be real.
    Left,
    /// After the tokens: usual in training.
    Right,
}

/// A batch of token sequences.
#[derive(Debug, Clone)]
pub struct TokenInput {
    /// The tokens, `[B, S]`.
    pub input_ids: Tensor<2, Int>,
    /// `[B, S]`, true for a real token; `None` when no position is padding, which is faster.
    pub attention_mask: Option<Tensor<2, Bool>>,
    /// `[B, S]`, which token each one follows, where that is not the one before it.
    pub(crate) links: Option<Vec<Link>>,
    /// The sequences of each row, where rows hold several.
    pub(crate) documents: Option<Documents>,
}

impl TokenInput {
    /// A batch `[B, S]` without padding.
    pub fn new(input_ids: Tensor<2, Int>) -> Self {
        Self { input_ids, attention_mask: None, links: None, documents: None }
    }

    /// Marks padding: `mask` is `[B, S]`, true for a real token.
    pub fn with_attention_mask(mut self, mask: Tensor<2, Bool>) -> Self {
        self.attention_mask = Some(mask);
        self
    }

    /// Rows that hold several sequences one after the other (packing): in a decoder, positions
    /// count from the start of each, and none attends to another. For passes without a cache.
    pub fn with_documents(mut self, documents: Documents) -> Self {
        self.documents = Some(documents);
        self
    }

    /// Pads sequences to the length of the longest.
    pub fn from_sequences(
        sequences: &[impl AsRef<[u32]>],
        pad_token_id: u32,
        side: PaddingSide,
        device: &Device,
    ) -> Self {
        let longest = sequences.iter().map(|s| s.as_ref().len()).max().unwrap_or(0);
        let shape = [sequences.len(), longest];
        let mut ids = Vec::with_capacity(sequences.len() * longest);
        let mut mask = Vec::with_capacity(ids.capacity());
        for sequence in sequences.iter().map(AsRef::as_ref) {
            let padding = longest - sequence.len();
            let before = if side == PaddingSide::Left { padding } else { 0 };
            let pad = i64::from(pad_token_id);
            ids.extend(std::iter::repeat_n(pad, before));
            ids.extend(sequence.iter().map(|id| i64::from(*id)));
            ids.extend(std::iter::repeat_n(pad, padding - before));
            mask.extend(std::iter::repeat_n(false, before));
            mask.extend(std::iter::repeat_n(true, sequence.len()));
            mask.extend(std::iter::repeat_n(false, padding - before));
        }
        let padded = mask.contains(&false);
        let input = Self::new(Tensor::from_data(sent(TensorData::new(ids, shape)), device));
        if padded {
            input.with_attention_mask(Tensor::from_data(sent(TensorData::new(mask, shape)), device))
        } else {
            input
        }
    }

    /// A batch of rows that are trees, padded to the size of the largest.
    ///
    /// Places count along each sequence, from what a cache holds on, and never padding. With a
    /// cache that has padding of its own, all of it must be of such rows.
    pub fn from_trees(
        trees: &[TokenTree],
        pad_token_id: u32,
        side: PaddingSide,
        device: &Device,
    ) -> Self {
        let rows: Vec<&[u32]> = trees.iter().map(TokenTree::tokens).collect();
        let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let mut links = Vec::with_capacity(rows.len() * longest);
        for tree in trees {
            let padding = longest - tree.tokens().len();
            let before = if side == PaddingSide::Left { padding } else { 0 };
            links.extend(std::iter::repeat_n(Link::Padding, before));
            let shifted = |parent: &usize| Link::After(before + parent);
            links.extend(tree.parents().iter().map(|p| p.as_ref().map_or(Link::Start, shifted)));
            links.extend(std::iter::repeat_n(Link::Padding, padding - before));
        }
        let input = Self::from_sequences(&rows, pad_token_id, side, device);
        Self { links: Some(links), ..input }
    }

    /// What routers and losses may know of this batch; task types and training are left to the
    /// caller.
    pub fn context(&self) -> BatchContext {
        let [batch_size, seq_len] = self.input_ids.dims();
        let context = BatchContext::new(batch_size, seq_len);
        match &self.attention_mask {
            Some(mask) => context.with_token_mask(mask.clone()),
            None => context,
        }
    }
}
