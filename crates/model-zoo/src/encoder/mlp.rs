use burn::module::Module;
use burn::tensor::Tensor;
use moe_adapter::Projection;
use router::{RoutingTape, Site};

use super::{Activation, EncoderPaths};
use crate::parameters::ParameterSource;

/// The feed-forward block of an encoder, `W_2 activation(W_1 x + b_1) + b_2`.
///
/// Source: Vaswani et al., arXiv 1706.03762, equation 2.
#[derive(Module, Debug)]
pub struct Mlp<P: Projection> {
    /// `H -> F`, activated.
    pub up: P,
    /// `F -> H`.
    pub down: P,
    #[module(skip)]
    activation: Activation,
}

impl<P: Projection> Mlp<P> {
    pub(crate) fn build<S: ParameterSource>(
        paths: &EncoderPaths,
        layer: usize,
        hidden_size: usize,
        intermediate_size: usize,
        activation: Activation,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let mut linear = |name: &str, inputs, outputs| {
            let path = format!("{}.{layer}.{name}", paths.layers);
            source.projection(&path, inputs, outputs, true).map(P::from_linear)
        };
        let [up, down] = paths.mlp;
        Ok(Self {
            up: linear(up, hidden_size, intermediate_size)?,
            down: linear(down, intermediate_size, hidden_size)?,
            activation,
        })
    }

    /// `[B, S, H]` to the same.
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        layer: usize,
        paths: &EncoderPaths,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let [up, down] = paths.mlp.map(|path| Site::new(layer, path));
        let h = self.activation.forward(self.up.forward(x, up, tape));
        self.down.forward(h, down, tape)
    }

    pub(crate) fn projections(&self) -> [&P; 2] {
        [&self.up, &self.down]
    }

    pub(crate) fn projections_mut(&mut self) -> [&mut P; 2] {
        [&mut self.up, &mut self.down]
    }
}
