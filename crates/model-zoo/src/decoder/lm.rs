use std::ops::Range;

use burn::module::{Module, ParamId, list_param_ids};
use burn::nn::Linear;
use burn::tensor::{DType, Device, Tensor};
use fused_ops::linear;
use moe_adapter::{
    Adaptable, AdaptedLinear, AdapterError, AdapterState, BlockVisitor, BlockVisitorMut,
    Projection, TokenModule, TokenRows,
};
use router::{RoutingTape, Site, XLoraClassifier};

use super::feed_forward::FeedForward;
use super::model::DecoderModel;
use super::pass::{LayerPass, soft_cap};
use super::vocabulary::{EMBEDDINGS, HEAD};
use crate::parameters::{ParameterSource, RandomParameters};
use crate::shaped_parameters::ShapedParameters;
use crate::{
    CausalLm, ConfigError, DecoderConfig, KvCache, LengthDependence, RopeConfig, RopeScaling,
    TokenInput,
};

/// A decoder of any [`Family`](crate::Family) with its language-model head.
///
/// The linears of each layer are projections `P`; embeddings, norms and head are not
/// adapted. Parameters have the paths of Hugging Face checkpoints.
///
/// Sources: those of the families, and transformers' `…ForCausalLM` of each.
#[derive(Module, Debug)]
pub struct Decoder<P: Projection = AdaptedLinear> {
    /// Everything below the head.
    pub model: DecoderModel<P>,
    /// `H -> V`; `None` when the head reuses the embedding's weights.
    pub lm_head: Option<Linear>,
    /// The rows that some tokens have in place of those of `lm_head`.
    pub head_tokens: Option<TokenRows>,
    /// Decides for all adapted linears, where the adapter has one router for the whole model.
    pub model_router: Option<XLoraClassifier>,
    #[module(skip)]
    pub(super) config: DecoderConfig,
}

impl<P: Projection> Decoder<P> {
    /// A decoder with random weights, all trainable: matrices from a normal distribution with
    /// standard deviation `initializer_range`, biases 0, factors of norms 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `config` cannot work.
    pub fn init_random(
        config: &DecoderConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let mut source = RandomParameters::new(seed, config.initializer_range, device);
        match Self::build(config, &mut source) {
            Ok(model) => Ok(model),
            Err(never) => match never {},
        }
    }

    /// A decoder whose frozen parameters have shapes and no values, to be counted: nothing is
    /// allocated until one is asked for, which then is 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `config` cannot work.
    pub fn shaped(config: &DecoderConfig, device: &Device) -> Result<Self, ConfigError> {
        config.check()?;
        match Self::build(config, &mut ShapedParameters::new(device)) {
            Ok(model) => Ok(model),
            Err(never) => match never {},
        }
    }

    /// The element type of activations: that of the weights, but f32 where kernels multiply f32
    /// with halves (CPUs).
    pub fn activation_dtype(&self) -> DType {
        self.model.activation_dtype()
    }

    /// The shape of the decoder.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    pub(super) fn build<S: ParameterSource>(
        config: &DecoderConfig,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let model = DecoderModel::build(config, source)?;
        let lm_head = match config.tie_word_embeddings {
            true => None,
            false => {
                let (hidden, vocab) = (config.hidden_size, config.vocab_size);
                Some(source.linear("lm_head", hidden, vocab, false)?)
            }
        };
        Ok(Self { model, lm_head, head_tokens: None, model_router: None, config: config.clone() })
    }
}

impl<P: Projection> CausalLm for Decoder<P> {
    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    fn num_layers(&self) -> usize {
        self.config.num_hidden_layers
    }

    fn layer_parameters(&self) -> Vec<Vec<ParamId>> {
        self.model.layers.iter().map(list_param_ids).collect()
    }

    fn max_positions(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn bos_token_id(&self) -> Option<u32> {
        self.config.bos_token_id
    }

    fn eos_token_ids(&self) -> &[u32] {
        &self.config.eos_token_ids
    }

    fn pad_token_id(&self) -> Option<u32> {
        self.config.pad_token_id
    }

    fn device(&self) -> Device {
        self.model.embed_tokens.weight.lazy_device()
    }

    fn length_dependence(&self) -> Option<LengthDependence> {
        let restarts = |rope: &RopeConfig| matches!(rope.scaling, RopeScaling::LongRope(_));
        let ropes = std::iter::once(&self.config.rope).chain(&self.config.local_rope);
        let lengths = ropes.filter_map(|rope| {
            let beyond = match &rope.scaling {
                RopeScaling::LongRope(longrope) => longrope.original_max_position_embeddings,
                RopeScaling::Dynamic { .. } => self.config.max_position_embeddings,
                _ => return None,
            };
            Some(LengthDependence { beyond, restarts: restarts(rope) })
        });
        lengths.min_by_key(|length| length.beyond)
    }

    fn head_trains(&self) -> bool {
        let (weight, rows) = match &self.lm_head {
            Some(head) => (&head.weight, &self.head_tokens),
            None => (&self.model.embed_tokens.weight, &self.model.embed_tokens.token_adapter),
        };
        weight.is_require_grad()
            || rows.as_ref().is_some_and(|rows| rows.trainable_tokens_delta.is_require_grad())
    }

    fn begin(&self, input: &TokenInput, cache: Option<&mut KvCache>) -> (Tensor<3>, LayerPass) {
        self.model.begin(&self.config, input, cache)
    }

    fn layers(
        &self,
        range: Range<usize>,
        x: Tensor<3>,
        pass: &LayerPass,
        cache: Option<&mut KvCache>,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        self.model.layers(range, x, pass, cache, tape)
    }

    fn attention_half(
        &self,
        layer: usize,
        x: Tensor<3>,
        pass: &LayerPass,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        self.model.layers[layer].attention_half(x, layer, pass, None, tape)
    }

    fn feed_forward_half(&self, layer: usize, h: Tensor<3>, tape: &mut RoutingTape) -> Tensor<3> {
        self.model.layers[layer].feed_forward_half(h, layer, tape)
    }

    fn feed_forward_by_tokens(&self, layer: usize) -> bool {
        self.model_router.is_none() && self.model.layers[layer].feed_forward_is_dense()
    }

    fn finish(&self, x: Tensor<3>) -> Tensor<3> {
        self.model.norm.forward(x)
    }

    fn logits<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        let (weight, bias, rows) = match &self.lm_head {
            Some(head) => {
                let bias = head.bias.as_ref().map(|bias| bias.val());
                (head.weight.val(), bias, &self.head_tokens)
            }
            None => {
                let embeddings = &self.model.embed_tokens;
                (embeddings.weight.val().transpose(), None, &embeddings.token_adapter)
            }
        };
        let logits = linear(hidden.clone(), weight, bias);
        let logits = match rows {
            Some(rows) => rows.logits(hidden, logits),
            None => logits,
        }
        .cast(DType::F32);
        let logits = match self.config.logits_scaling {
            1.0 => logits,
            scale => logits / scale,
        };
        match self.config.final_logit_softcapping {
            Some(cap) => soft_cap(logits, cap),
            None => logits,
        }
    }
}

impl<P: Projection> Adaptable for Decoder<P> {
    type Projection = P;

    fn task_type(&self) -> Option<&'static str> {
        Some("CAUSAL_LM")
    }

    fn tied_modules(&self) -> Vec<(&'static str, &'static str)> {
        self.tied()
    }

    fn visit_token_modules_mut(&mut self, visit: &mut dyn FnMut(&str, TokenModule<'_>)) {
        visit(EMBEDDINGS, self.model.embed_tokens.tokens());
        if let Some(head) = &mut self.lm_head {
            let (weight, rows) = (&mut head.weight, &mut self.head_tokens);
            visit(HEAD, TokenModule { weight, by_column: true, rows });
        }
    }

    fn token_shapes(&self) -> Vec<(&'static str, [usize; 2])> {
        let shape = [self.config.vocab_size, self.config.hidden_size];
        let head = self.lm_head.as_ref().map(|_| (HEAD, shape));
        [(EMBEDDINGS, shape)].into_iter().chain(head).collect()
    }

    fn reserve_tokens(&mut self, count: usize) {
        self.resize_embeddings(count, 0);
    }

    fn fit(&mut self, state: &AdapterState) {
        self.fit_vocabulary(state);
    }

    fn first_pass_size(&self) -> Option<usize> {
        Some(self.config.hidden_size)
    }

    fn model_router(&self) -> Option<&XLoraClassifier> {
        self.model_router.as_ref()
    }

    fn replace_model_router(&mut self, router: Option<XLoraClassifier>) {
        self.model_router = router;
    }

    fn fuse_experts(&mut self) -> Result<(), AdapterError> {
        // In place, so that only one layer has its weights twice.
        for layer in &mut self.model.layers {
            layer.fuse_experts()?;
        }
        self.config.fused_experts = self.config.sparse.is_some();
        Ok(())
    }

    fn is_of_expert(&self, path: &str) -> bool {
        self.config.sparse.is_some() && path.contains(".experts.")
    }

    fn visit_projections(&self, visit: &mut dyn FnMut(&str, Site, &P)) {
        for (i, layer) in self.model.layers.iter().enumerate() {
            for (path, projection) in layer.projections() {
                visit(&format!("model.layers.{i}.{path}"), Site::new(i, path), projection);
            }
        }
    }

    fn visit_projections_mut(&mut self, visit: &mut dyn FnMut(&str, Site, &mut P)) {
        for (i, layer) in self.model.layers.iter_mut().enumerate() {
            for (path, projection) in layer.projections_mut() {
                visit(&format!("model.layers.{i}.{path}"), Site::new(i, path), projection);
            }
        }
    }

    fn visit_blocks(&self, visit: &mut BlockVisitor<'_, P>) {
        for (i, layer) in self.model.layers.iter().enumerate() {
            if let Some(block) = layer.mlp.as_ref().and_then(FeedForward::gated) {
                visit(&format!("model.layers.{i}.mlp"), Site::new(i, "mlp"), block);
            }
        }
    }

    fn visit_blocks_mut(&mut self, visit: &mut BlockVisitorMut<'_, P>) {
        for (i, layer) in self.model.layers.iter_mut().enumerate() {
            if let Some(block) = layer.mlp.as_mut().and_then(FeedForward::gated_mut) {
                visit(&format!("model.layers.{i}.mlp"), Site::new(i, "mlp"), block);
            }
        }
    }
}
