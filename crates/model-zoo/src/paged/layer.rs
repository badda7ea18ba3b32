use std::sync::Arc;

use burn::tensor::Tensor;
use fused_ops::{BLOCK, PagedPass, PagedRow, paged_attention};

/// The blocks that a pool begins with, unless it needs more.
const FIRST: usize = 64;

/// The blocks of one layer, and the rows of the pass that runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct PagedLayer {
    /// Keys `[N, heads, head_dim, BLOCK]` and values `[N, heads, BLOCK, head_dim]`.
    pool: Option<[Tensor<4>; 2]>,
    /// The blocks that there have to be, and the most that there may be.
    pub(super) sizes: [usize; 2],
    pub(super) rows: Arc<[PagedRow]>,
}

impl PagedLayer {
    /// Adds the keys and values of new tokens, and attends to all of each row:
    /// `[B, heads, S, head_dim]` each, to `[B, S, heads, head_dim]`.
    pub(crate) fn attend(
        &mut self,
        q: Tensor<4>,
        kv: [Tensor<4>; 2],
        window: Option<usize>,
        soft_cap: Option<f64>,
    ) -> Tensor<4> {
        let [batch, heads, len, depth] = q.dims();
        let flat = |tensor: Tensor<4>| {
            let [_, heads, ..] = tensor.dims();
            tensor.swap_dims(1, 2).reshape([batch * len, heads, depth])
        };
        let pool = self.pool.take();
        let pool = self.with_room(pool, &kv);
        let pass = PagedPass { rows: Arc::clone(&self.rows), window, soft_cap };
        let (y, pool) = paged_attention(flat(q), kv.map(flat), pool, &pass);
        self.pool = Some(pool);
        y.reshape([batch, len, heads, depth])
    }

    /// The rows of the pass that runs.
    pub(crate) fn rows(&self) -> Arc<[PagedRow]> {
        Arc::clone(&self.rows)
    }

    /// The first tokens of one block as those of another.
    pub(super) fn copy(&mut self, from: u32, to: u32, tokens: usize) {
        // A block that was just taken may lie beyond the pool.
        let Some(pool) = self.pool.take() else { return };
        let [keys, values] = self.grown(pool);
        let [_, heads, depth, _] = keys.dims();
        let place = |block: u32| block as usize..block as usize + 1;
        let of_keys = |block| [place(block), 0..heads, 0..depth, 0..tokens];
        let of_values = |block| [place(block), 0..heads, 0..tokens, 0..depth];
        // Multiplied, so that they are no views of the pool: only a tensor with one owner is changed
        // in place.
        let k = keys.clone().slice(of_keys(from)) * 1.0;
        let v = values.clone().slice(of_values(from)) * 1.0;
        let keys = keys.slice_assign(of_keys(to), k);
        self.pool = Some([keys, values.slice_assign(of_values(to), v)]);
    }

    /// The pool with all blocks that there have to be. It grows by half at least, so that blocks are
    /// not copied often.
    fn with_room(&self, pool: Option<[Tensor<4>; 2]>, like: &[Tensor<4>; 2]) -> [Tensor<4>; 2] {
        let [needed, most] = self.sizes;
        if let Some(pool) = pool {
            return self.grown(pool);
        }
        let [_, heads, _, depth] = like[0].dims();
        let options = (&like[0].device(), like[0].dtype());
        let count = FIRST.min(most).max(needed);
        [[count, heads, depth, BLOCK], [count, heads, BLOCK, depth]]
            .map(|shape| Tensor::zeros(shape, options))
    }

    /// The pool with all blocks that there have to be, where it has fewer.
    fn grown(&self, pool: [Tensor<4>; 2]) -> [Tensor<4>; 2] {
        let [needed, most] = self.sizes;
        let there = pool[0].dims()[0];
        if there >= needed {
            return pool;
        }
        let more = needed.max(there + there / 2).min(most) - there;
        pool.map(|old| {
            let [_, a, b, c] = old.dims();
            let new = Tensor::zeros([more, a, b, c], (&old.device(), old.dtype()));
            Tensor::cat(vec![old, new], 0)
        })
    }
}
