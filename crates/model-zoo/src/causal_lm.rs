use std::ops::Range;

use burn::module::ParamId;
use burn::tensor::{Device, Tensor};
use moe_adapter::Adaptable;
use router::RoutingTape;

use crate::{KvCache, LayerPass, TokenInput};

/// How the positions of a sequence depend on its length, as with rotary embeddings that are scaled
/// by it.
///
/// A pass goes by the length that the longest row has at its end. What is in a cache stays as it
/// was, so that the keys of earlier passes may have been turned by other angles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthDependence {
    /// Sequences longer than so many tokens have other angles than shorter ones.
    pub beyond: usize,
    /// Whether a sequence that becomes longer is computed again from its beginning, as transformers
    /// does where there are two sets of angles (longrope). Else (dynamic NTK, whose angles change
    /// with every token) it goes on with its cache.
    pub restarts: bool,
}

impl LengthDependence {
    /// Whether a sequence of so many tokens, of which the first `past` are in a cache, is computed
    /// again.
    pub fn restarts_at(&self, past: usize, len: usize) -> bool {
        self.restarts && past > 0 && past <= self.beyond && len > self.beyond
    }
}

/// A decoder that predicts each next token.
///
/// Training and generation are written against it. The head is applied separately, so that a
/// trainer can keep only the positions that have a label.
pub trait CausalLm: Adaptable {
    /// The number of tokens, `V`.
    fn vocab_size(&self) -> usize;

    /// The size of a hidden state, `H`.
    fn hidden_size(&self) -> usize;

    /// The number of decoder layers.
    fn num_layers(&self) -> usize;

    /// The parameters of each decoder layer, adapters included.
    fn layer_parameters(&self) -> Vec<Vec<ParamId>>;

    /// The longest sequence that the model was trained for, in tokens.
    fn max_positions(&self) -> usize;

    /// The token that starts a sequence.
    fn bos_token_id(&self) -> Option<u32>;

    /// The tokens that end one.
    fn eos_token_ids(&self) -> &[u32];

    /// The token of padding.
    fn pad_token_id(&self) -> Option<u32>;

    /// Whether anything of the output head trains, also where it shares the embedding's weights.
    fn head_trains(&self) -> bool;

    /// Where the model computes.
    fn device(&self) -> Device;

    /// Where the positions of a sequence depend on how long it is. Default: nowhere.
    fn length_dependence(&self) -> Option<LengthDependence> {
        None
    }

    /// A cache for one batch of sequences. It holds a first pass too, where the model makes one.
    fn new_cache(&self) -> KvCache {
        match self.model_router() {
            None => KvCache::new(self.num_layers()),
            Some(_) => KvCache::with_first_pass(self.num_layers()),
        }
    }

    /// The hidden states after the final norm.
    ///
    /// With a cache, `input` holds only the tokens that follow those cached.
    ///
    /// Where a router decides for the whole model, this is the second of two passes: the tape carries
    /// what the router made of the hidden states of the first, which has no gradients.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, S]`, and `tape` describes the same batch
    /// - result: `[B, S, H]`; at padding, finite and meaningless
    fn hidden_states(
        &self,
        input: &TokenInput,
        mut cache: Option<&mut KvCache>,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let (x, pass) = self.begin(input, cache.as_deref_mut());
        if let Some(router) = self.model_router() {
            let mut first = tape.first_pass(router.first_pass());
            let all = 0..self.num_layers();
            let h = self.layers(all, x.clone(), &pass, cache.as_deref_mut(), &mut first);
            tape.decide(router.decide(self.finish(h).detach(), tape.context()));
        }
        let x = self.layers(0..self.num_layers(), x, &pass, cache.as_deref_mut(), tape);
        if let Some(cache) = cache {
            cache.advance(input.input_ids.dims()[1]);
        }
        self.finish(x)
    }

    /// What enters the first layer, `[B, S, H]`, and what all layers of the pass share.
    fn begin(&self, input: &TokenInput, cache: Option<&mut KvCache>) -> (Tensor<3>, LayerPass);

    /// Some layers of a pass, one after the other: what enters the first of them to what leaves the
    /// last, `[B, S, H]` each.
    fn layers(
        &self,
        range: Range<usize>,
        x: Tensor<3>,
        pass: &LayerPass,
        cache: Option<&mut KvCache>,
        tape: &mut RoutingTape,
    ) -> Tensor<3>;

    /// The first half of a layer of a pass without a cache: its input with the output of attention added.
    ///
    /// # Shapes
    ///
    /// - `x`, result: `[B, S, H]`
    fn attention_half(
        &self,
        layer: usize,
        x: Tensor<3>,
        pass: &LayerPass,
        tape: &mut RoutingTape,
    ) -> Tensor<3>;

    /// The second half of a layer: what leaves it, of what its [first](Self::attention_half) gave.
    ///
    /// # Shapes
    ///
    /// - `h`, result: `[B, S, H]`, or any of the tokens where each stands for itself
    fn feed_forward_half(&self, layer: usize, h: Tensor<3>, tape: &mut RoutingTape) -> Tensor<3>;

    /// Whether each token of the second half of a layer stands for itself, as long as the adapters of its
    /// linears have neither routers nor dropout.
    fn feed_forward_by_tokens(&self, layer: usize) -> bool;

    /// The final norm of what leaves the last layer, `[B, S, H]`.
    fn finish(&self, x: Tensor<3>) -> Tensor<3>;

    /// The scores of all tokens as the next one, in f32.
    ///
    /// # Shapes
    ///
    /// - `hidden`: `[.., H]`
    /// - result: `[.., V]`
    fn logits<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D>;
}
