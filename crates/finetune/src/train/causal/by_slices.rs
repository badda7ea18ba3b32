use std::ops::Range;

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use fused_ops::with_gradient;
use model_zoo::{CausalLm, LayerPass};
use router::RoutingTape;

use crate::train::PassGradients;

/// The second half of layers by slices of tokens, so that its activations, the widest of a layer, are those
/// of a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slices {
    /// The tokens of a slice; all where absent.
    pub(super) tokens: Option<usize>,
}

impl Slices {
    /// Whether layers are one whose second half can be cut by tokens.
    pub(super) fn apply_to<M: CausalLm>(self, model: &M, layers: &Range<usize>) -> bool {
        self.tokens.is_some() && layers.len() == 1 && model.feed_forward_by_tokens(layers.start)
    }

    /// [`CausalLm::layers`] without a cache.
    pub(super) fn layers<M: CausalLm>(
        self,
        model: &M,
        layers: Range<usize>,
        mut x: Tensor<3>,
        pass: &LayerPass,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        for layer in layers {
            if !self.apply_to(model, &(layer..layer + 1)) {
                x = model.layers(layer..layer + 1, x, pass, None, tape);
                continue;
            }
            let h = model.attention_half(layer, x, pass, tape);
            let dims = h.dims();
            let parts = self.cut(h).into_iter();
            let parts = parts.map(|h| model.feed_forward_half(layer, h, tape)).collect();
            x = Tensor::cat(parts, 1).reshape(dims);
        }
        x
    }

    /// Differentiates the second half of a layer slice by slice: of its input `h` and the gradient of its
    /// output, the gradient of `h`. Those of parameters are added to `gradients`.
    pub(super) fn differentiate<M: CausalLm>(
        self,
        model: &M,
        layer: usize,
        (h, gradient): (Tensor<3>, Tensor<3>),
        tape: &RoutingTape,
        gradients: &mut PassGradients<'_>,
    ) -> Tensor<3> {
        let dims = h.dims();
        let slices = self.cut(h).into_iter().zip(self.cut(gradient));
        let parts = slices.map(|(h, gradient)| {
            let h = Tensor::from_inner(h).require_grad();
            let y = model.feed_forward_half(layer, h.clone(), &mut tape.blank());
            let grads = with_gradient(y, Tensor::from_inner(gradient)).backward();
            let part = h.grad(&grads).unwrap_or_else(|| h.inner().zeros_like());
            gradients.add(model, GradientsParams::from_grads(grads, model));
            part
        });
        Tensor::cat(parts.collect(), 1).reshape(dims)
    }

    /// `[B, S, H]` as slices `[1, tokens, H]`, the last of what is left.
    fn cut(self, x: Tensor<3>) -> Vec<Tensor<3>> {
        let [batch, seq, hidden] = x.dims();
        let all = batch * seq;
        x.reshape([1, all, hidden]).split(self.tokens.unwrap_or(all), 1)
    }
}
