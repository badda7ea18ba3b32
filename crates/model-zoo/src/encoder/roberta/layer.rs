use burn::module::Module;
use burn::tensor::Tensor;
use fused_ops::AttentionMask;
use moe_adapter::Projection;
use router::{RoutingTape, Site};

use super::RobertaConfig;
use super::attention::{RobertaAttention, RobertaNorm};
use super::model::PATHS;
use crate::encoder::{DropoutRates, LayerNorm, Mlp, SelfAttention, dropout};
use crate::parameters::ParameterSource;

/// One encoder layer: `h = norm(x + attention(x))`, then `norm(h + mlp(h))`.
#[derive(Module, Debug)]
pub struct RobertaLayer<P: Projection> {
    /// Attention and its norm.
    pub attention: RobertaAttention<P>,
    /// The feed-forward block.
    pub mlp: Mlp<P>,
    /// The norm of the sum of the block's input and output.
    pub output: RobertaNorm,
}

impl<P: Projection> RobertaLayer<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &RobertaConfig,
        layer: usize,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
        let inner = config.intermediate_size;
        let attention = SelfAttention::build(&PATHS, layer, hidden, heads, true, source)?;
        let mlp = Mlp::build(&PATHS, layer, hidden, inner, config.hidden_act, source)?;
        let mut norm = |name: &str| {
            let path = format!("{}.{layer}.{name}.LayerNorm", PATHS.layers);
            LayerNorm::build(&path, hidden, config.layer_norm_eps, source)
                .map(|norm| RobertaNorm { LayerNorm: norm })
        };
        Ok(Self {
            attention: RobertaAttention { attention, output: norm("attention.output")? },
            mlp,
            output: norm("output")?,
        })
    }

    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        layer: usize,
        mask: &AttentionMask,
        rates: DropoutRates,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let attention = &self.attention;
        let h = attention.attention.forward(x.clone(), layer, &PATHS, mask, rates.attention, tape);
        let h = dropout(h, rates.hidden, Site::new(layer, "attention.output"), tape);
        let x = attention.output.LayerNorm.forward(x + h);
        let h = self.mlp.forward(x.clone(), layer, &PATHS, tape);
        let h = dropout(h, rates.hidden, Site::new(layer, "output"), tape);
        self.output.LayerNorm.forward(x + h)
    }
}
