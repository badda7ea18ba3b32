use burn::module::Module;
use burn::tensor::Tensor;
use fused_ops::silu_mul;
use moe_adapter::Projection;
use router::{RoutingTape, Site};

use crate::LlamaConfig;
use crate::parameters::ParameterSource;

/// The gated feed-forward layer, `W_down (silu(W_gate x) * W_up x)`.
///
/// Source: Shazeer, arXiv 2002.05202, equation 6 (SwiGLU).
#[derive(Module, Debug)]
pub struct LlamaMlp<P: Projection> {
    /// `H -> intermediate_size`, activated.
    pub gate_proj: P,
    /// `H -> intermediate_size`.
    pub up_proj: P,
    /// `intermediate_size -> H`.
    pub down_proj: P,
}

impl<P: Projection> LlamaMlp<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &LlamaConfig,
        path: &str,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let mut linear = |name: &str, inputs, outputs| {
            let path = format!("{path}.{name}");
            source.linear(&path, inputs, outputs, config.mlp_bias).map(P::from_linear)
        };
        Ok(Self {
            gate_proj: linear("gate_proj", hidden, inner)?,
            up_proj: linear("up_proj", hidden, inner)?,
            down_proj: linear("down_proj", inner, hidden)?,
        })
    }

    pub(super) fn forward(&self, x: Tensor<3>, layer: usize, tape: &mut RoutingTape) -> Tensor<3> {
        let gate = self.gate_proj.forward(x.clone(), Site::new(layer, "mlp.gate_proj"), tape);
        let up = self.up_proj.forward(x, Site::new(layer, "mlp.up_proj"), tape);
        self.down_proj.forward(silu_mul(gate, up), Site::new(layer, "mlp.down_proj"), tape)
    }
}
