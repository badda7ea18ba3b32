use std::sync::OnceLock;

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::ops::{ActivationOps, kernels};

/// Cosines and sines of rotary position embeddings, for heads of size `d`.
///
/// Coordinates `i` and `i + d/2` form a pair (as Hugging Face checkpoints order them), which
/// [`rope_heads`] turns.
#[derive(Debug, Clone)]
pub struct RotaryTables {
    /// `[S, d]` or `[B * S, d]`.
    cos: Tensor<2>,
    /// As `cos`.
    sin: Tensor<2>,
    /// `R`, `[d, d]`: maps a pair `(a, b)` to `(-b, a)`. Made where there is no kernel.
    quarter_turn: OnceLock<Tensor<2>>,
}

impl RotaryTables {
    /// Tables `[S, d]` for all rows of a batch, or `[B * S, d]` where rows have positions of their
    /// own; `d` must be even. A factor in both scales what is turned.
    pub fn new(cos: Tensor<2>, sin: Tensor<2>) -> Self {
        Self { cos, sin, quarter_turn: OnceLock::new() }
    }

    fn quarter_turn(&self) -> Tensor<2> {
        let made = || quarter_turn(self.cos.dims()[1], &self.cos.device(), self.cos.dtype());
        self.quarter_turn.get_or_init(made).clone()
    }
}

/// Turns the heads of `x` by their positions and puts the head axis first:
/// `[B, S, heads, d] -> [B, heads, S, d]`.
///
/// `y = x * cos + (x R) * sin`. The gradient is `g * cos + (g * sin) R^T`, in the layout of `x`;
/// nothing but the tables is kept for it. Source: Su et al., arXiv 2104.09864, equation 34.
pub fn rope_heads(x: Tensor<4>, tables: &RotaryTables) -> Tensor<4> {
    let [b, s, _, d] = x.dims();
    let table = tables.cos.dims();
    let fits = (table == [s, d] || table == [b * s, d]) && tables.sin.dims() == table && d % 2 == 0;
    let x = x.into_dispatch();
    let cos = tables.cos.clone().into_dispatch();
    let sin = tables.sin.clone().into_dispatch();
    if fits && kernels(&[&x, &cos, &sin]).is_some() {
        return Tensor::from_dispatch(Dispatch::rope_heads(x, cos, sin));
    }
    rope_heads_composed(Tensor::from_dispatch(x), tables)
}

/// [`rope_heads`] composed of Burn's operations.
///
/// `R` is applied as a product: in a backward pass that costs less than slices and their
/// concatenation.
pub fn rope_heads_composed(x: Tensor<4>, tables: &RotaryTables) -> Tensor<4> {
    let [b, s, heads, d] = x.dims();
    let turned = x.clone().reshape([b * s * heads, d]).matmul(tables.quarter_turn());
    let rows = tables.cos.dims()[0] / s.max(1);
    let table = |t: &Tensor<2>| t.clone().reshape([rows, s, 1, d]);
    let y = x * table(&tables.cos) + turned.reshape([b, s, heads, d]) * table(&tables.sin);
    y.swap_dims(1, 2)
}

fn quarter_turn(d: usize, device: &Device, dtype: DType) -> Tensor<2> {
    let half = d / 2;
    let mut turn = vec![0.0f32; d * d];
    for i in 0..half {
        turn[(half + i) * d + i] = -1.0;
        turn[i * d + half + i] = 1.0;
    }
    Tensor::<2>::from_data(TensorData::new(turn, [d, d]), (device, DType::F32)).cast(dtype)
}
