use burn::nn::Linear;
use burn::tensor::{DType, Tensor};
use fused_ops::{AttentionMask, linear};
use moe_adapter::Projection;
use router::{RoutingTape, Site};

use crate::encoder::{DropoutRates, EncoderPaths, LayerNorm, Mlp, SelfAttention, dropout};

/// The parts of a layer that normalises before each block, under whatever names.
pub(crate) struct PreNorm<'a, P: Projection> {
    pub(crate) before_attention: &'a LayerNorm,
    pub(crate) attention: &'a SelfAttention<P>,
    pub(crate) before_mlp: &'a LayerNorm,
    pub(crate) mlp: &'a Mlp<P>,
}

impl<P: Projection> PreNorm<'_, P> {
    /// `h = x + attention(norm(x))`, then `h + mlp(norm(h))`; `mask` says what is seen.
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        layer: usize,
        paths: &EncoderPaths,
        mask: &AttentionMask,
        rates: DropoutRates,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let h = self.before_attention.forward(x.clone());
        let h = self.attention.forward(h, layer, paths, mask, rates.attention, tape);
        let x = x + dropout(h, rates.hidden, Site::new(layer, "attention.output"), tape);
        let h = self.before_mlp.forward(x.clone());
        let h = self.mlp.forward(h, layer, paths, tape);
        x + dropout(h, rates.hidden, Site::new(layer, "output"), tape)
    }
}

/// Refuses images of another shape than `[channels, height, width]`.
pub(super) fn assert_image(pixel_values: &Tensor<4>, expected: [usize; 3]) {
    let [_, channels, height, width] = pixel_values.dims();
    let found = [channels, height, width];
    assert!(found == expected, "images of {found:?}, but the model reads {expected:?}");
}

/// What a linear head makes of a state: `[B, H]` to `[B, num_labels]`, in f32.
pub(crate) fn label_scores(head: &Linear, x: Tensor<2>) -> Tensor<2> {
    let weight = head.weight.val();
    let x = x.cast(weight.dtype());
    linear(x, weight, head.bias.as_ref().map(|bias| bias.val())).cast(DType::F32)
}
