use burn::module::Module;
use burn::tensor::{DType, Tensor, activation};
use fused_ops::softmax_rows;

use super::XLoraConfig;
use crate::{Affine, BatchContext, Decided, Routing, Site, random, select};

/// Decides for all adapted linears of a model at once, from the hidden states of a first pass.
///
/// The first pass is that of the model in which every expert has the weight
/// [`scaling_pass_value`](XLoraConfig::scaling_pass_value), by default 0. Of its last hidden states
/// `h`, after the final norm, a classifier of `xlora_depth` layers makes a score for each expert,
/// or for each expert of each linear:
///
/// ```text
/// z = L_n(.. relu(L_1 h)),   p = softmax(z / temperature)
/// w = global_scaling_weight * p,   of the top_k_lora largest where that is given
/// ```
///
/// The second pass, whose output counts, uses these weights; gradients reach the classifier through
/// them alone. As a hidden state depends on the tokens before it only, so do the weights of a token:
/// at generation they are decided once, when the token comes.
///
/// Source: X-LoRA, arXiv 2402.07148; PEFT's `peft.tuners.xlora`.
#[derive(Module, Debug)]
pub struct XLoraClassifier {
    /// `[size, H]`, ..., `[experts, size]`, or with `layerwise_scalings` `[linears * experts, size]`.
    pub layers: Vec<Affine>,
    /// The experts of each linear, `E`.
    pub num_experts: usize,
    #[module(skip)]
    pub(super) sites: Vec<Site>,
    #[module(skip)]
    pub(super) config: XLoraConfig,
}

impl XLoraClassifier {
    /// What it was configured with.
    pub fn config(&self) -> &XLoraConfig {
        &self.config
    }

    /// The linears that it decides for, in the order in which it does.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// What is decided in the first pass.
    pub fn first_pass(&self) -> Decided {
        match self.config.scaling_pass_value * self.config.global_scaling_weight {
            0.0 => Decided::Nothing,
            weight => Decided::Constant(weight),
        }
    }

    /// What is decided in the second pass.
    ///
    /// # Shapes
    ///
    /// - `hidden`: `[B, S, H]`, the hidden states of the first pass over the batch of `context`
    pub fn decide(&self, hidden: Tensor<3>, context: &BatchContext) -> Decided {
        let [batch, seq, size] = hidden.dims();
        let hidden = hidden.reshape([batch * seq, size]).cast(DType::F32);
        let logits = self.logits(hidden, context);
        if !self.config.layerwise_scalings {
            return Decided::Same(Box::new(self.routing(logits)));
        }
        let of_site = |(index, site): (usize, &Site)| {
            let of_linear = logits.clone().narrow(1, index * self.num_experts, self.num_experts);
            (*site, self.routing(of_linear))
        };
        Decided::BySite(self.sites.iter().enumerate().map(of_site).collect())
    }

    /// `[T, H]` to `[T, E]`, or to `[T, linears * E]`.
    fn logits(&self, mut x: Tensor<2>, context: &BatchContext) -> Tensor<2> {
        let last = self.layers.len().saturating_sub(1);
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x);
            if index == last || !self.config.enable_relu_and_dropout {
                continue;
            }
            x = activation::relu(x);
            let p = self.config.xlora_dropout_p;
            if let Some(seed) = context.training_seed.filter(|_| p > 0.0) {
                let purpose = format!("x-lora dropout {index}");
                x = x.clone() * random::drawn(&x, random::dropout(p), seed, &purpose);
            }
        }
        x
    }

    /// What the scores of a linear's experts, `[T, E]`, amount to.
    fn routing(&self, logits: Tensor<2>) -> Routing {
        let config = &self.config;
        let scaled = match config.softmax_temperature {
            1.0 => logits.clone(),
            temperature => logits.clone() / temperature,
        };
        let probabilities = softmax_rows(scaled);
        let scalings = if config.enable_softmax { probabilities.clone() } else { logits.clone() };
        let selection = config.top_k_lora.filter(|k| *k < self.num_experts).map(|k| {
            let selected = select::top_k(scalings.clone(), k);
            (selected, k)
        });
        let weights = match &selection {
            Some((selected, _)) if config.enable_softmax_topk => {
                select::masked_softmax(scalings, selected.clone())
            }
            Some((selected, _)) => select::keep(scalings, selected.clone()),
            None if config.enable_softmax_topk => softmax_rows(scalings),
            None => scalings,
        };
        let weights = match config.global_scaling_weight {
            1.0 => weights,
            factor => weights * factor,
        };
        let routing = Routing::dense(logits, probabilities, weights);
        match selection {
            Some((selected, k)) => routing.with_selection(select::as_mask(selected), Some(k)),
            None => routing,
        }
    }
}
