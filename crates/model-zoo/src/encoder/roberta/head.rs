use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use fused_ops::linear;
use router::{RoutingTape, Site};

use super::RobertaConfig;
use crate::encoder::dropout;
use crate::parameters::ParameterSource;

/// The classification head, `W_o tanh(W_d x + b_d) + b_o` of the state `x` of the first token.
#[derive(Module, Debug)]
pub struct RobertaHead {
    /// `H -> H`.
    pub dense: Linear,
    /// `H -> num_labels`.
    pub out_proj: Linear,
    dropout: f64,
}

impl RobertaHead {
    pub(super) fn build<S: ParameterSource>(
        config: &RobertaConfig,
        path: &str,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let (hidden, labels) = (config.hidden_size, config.task.num_labels());
        Ok(Self {
            dense: source.linear(&format!("{path}.dense"), hidden, hidden, true)?,
            out_proj: source.linear(&format!("{path}.out_proj"), hidden, labels, true)?,
            dropout: config.head_dropout(),
        })
    }

    /// `[B, H]` to `[B, num_labels]`.
    pub(super) fn forward(&self, x: Tensor<2>, tape: &RoutingTape) -> Tensor<2> {
        let apply = |linear_: &Linear, x, name| {
            let x = dropout(x, self.dropout, Site::new(0, name), tape);
            linear(x, linear_.weight.val(), linear_.bias.as_ref().map(|bias| bias.val()))
        };
        let h = apply(&self.dense, x, "classifier.dense").tanh();
        apply(&self.out_proj, h, "classifier.out_proj")
    }
}
