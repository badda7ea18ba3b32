use burn::module::Module;
use burn::tensor::Tensor;
use moe_adapter::{Activation, BaseLinear, FeedForwardPaths, GatedFeedForward, Projection};
use router::{RoutingTape, Site};

use super::sparse::SparseFeedForward;
use crate::DecoderConfig;
use crate::parameters::ParameterSource;

const GATE_UP: &str = "mlp.gate_up_proj";
const PATHS: FeedForwardPaths = FeedForwardPaths::LLAMA;

/// The feed-forward block of a layer, `W_d (act(W_g x) * W_u x)`, or a mixture of such blocks.
// There is one of it in a layer.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum FeedForward<P: Projection> {
    /// One linear each for gate and up projection.
    Gated(GatedFeedForward<P>),
    /// One linear for both.
    Fused(FusedFeedForward<P>),
    /// A mixture of experts of the base model.
    Sparse(SparseFeedForward<P>),
}

/// A feed-forward block whose gate and up projections are one linear.
///
/// It cannot have one router for the whole block.
#[derive(Module, Debug)]
pub struct FusedFeedForward<P: Projection> {
    /// `H -> 2 F`: gate, then up projection.
    pub gate_up_proj: P,
    /// `F -> H`.
    pub down_proj: P,
    #[module(skip)]
    activation: Activation,
}

impl<P: Projection> FusedFeedForward<P> {
    pub(super) fn new([gate_up, down]: [BaseLinear; 2], activation: Activation) -> Self {
        let [gate_up_proj, down_proj] = [gate_up, down].map(P::from_linear);
        Self { gate_up_proj, down_proj, activation }
    }

    /// `[B, S, H]` to the same; `paths` are those of the linears inside the layer.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        layer: usize,
        [gate_up, down]: [&'static str; 2],
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let y = self.gate_up_proj.forward(x, Site::new(layer, gate_up), tape);
        let inner = y.dims()[2] / 2;
        let (gate, up) = (y.clone().narrow(2, 0, inner), y.narrow(2, inner, inner));
        let h = self.activation.gate(gate, up);
        self.down_proj.forward(h, Site::new(layer, down), tape)
    }
}

impl<P: Projection> FeedForward<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &DecoderConfig,
        path: &str,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let (hidden, inner, bias) = (config.hidden_size, config.intermediate_size, config.mlp_bias);
        let activation = config.activation;
        if config.fused_projections {
            let gate_up =
                source.projection(&format!("{path}.{GATE_UP}"), hidden, 2 * inner, bias)?;
            let down =
                source.projection(&format!("{path}.{}", PATHS.down_proj), inner, hidden, bias)?;
            return Ok(Self::Fused(FusedFeedForward::new([gate_up, down], activation)));
        }
        let [gate, up] = if config.family.traits().fused_projections {
            source.projections(&format!("{path}.{GATE_UP}"), hidden, [inner, inner], bias)?
        } else {
            [
                source.projection(&format!("{path}.{}", PATHS.gate_proj), hidden, inner, bias)?,
                source.projection(&format!("{path}.{}", PATHS.up_proj), hidden, inner, bias)?,
            ]
        }
        .map(P::from_linear);
        let down =
            source.projection(&format!("{path}.{}", PATHS.down_proj), inner, hidden, bias)?;
        let block = GatedFeedForward::new(gate, up, P::from_linear(down));
        Ok(Self::Gated(block.with_activation(activation)))
    }

    pub(super) fn forward(&self, x: Tensor<3>, layer: usize, tape: &mut RoutingTape) -> Tensor<3> {
        match self {
            Self::Gated(block) => block.forward(x, layer, &PATHS, tape),
            Self::Fused(block) => block.forward(x, layer, [GATE_UP, PATHS.down_proj], tape),
            Self::Sparse(block) => block.forward(x, layer, tape),
        }
    }

    /// The block, where it can have one router.
    pub(super) fn gated(&self) -> Option<&GatedFeedForward<P>> {
        match self {
            Self::Gated(block) => Some(block),
            Self::Fused(_) | Self::Sparse(_) => None,
        }
    }

    /// As [`gated`](Self::gated), to change it.
    pub(super) fn gated_mut(&mut self) -> Option<&mut GatedFeedForward<P>> {
        match self {
            Self::Gated(block) => Some(block),
            Self::Fused(_) | Self::Sparse(_) => None,
        }
    }

    /// The projections in the order of the forward pass, with their paths inside the layer.
    pub(super) fn projections(&self) -> Vec<(&'static str, &P)> {
        match self {
            Self::Gated(block) => vec![
                (PATHS.gate_proj, &block.gate_proj),
                (PATHS.up_proj, &block.up_proj),
                (PATHS.down_proj, &block.down_proj),
            ],
            Self::Fused(block) => {
                vec![(GATE_UP, &block.gate_up_proj), (PATHS.down_proj, &block.down_proj)]
            }
            Self::Sparse(block) => block.projections(),
        }
    }

    /// As [`projections`](Self::projections), to change them.
    pub(super) fn projections_mut(&mut self) -> Vec<(&'static str, &mut P)> {
        match self {
            Self::Gated(block) => vec![
                (PATHS.gate_proj, &mut block.gate_proj),
                (PATHS.up_proj, &mut block.up_proj),
                (PATHS.down_proj, &mut block.down_proj),
            ],
            Self::Fused(block) => {
                vec![(GATE_UP, &mut block.gate_up_proj), (PATHS.down_proj, &mut block.down_proj)]
            }
            Self::Sparse(block) => block.projections_mut(),
        }
    }
}
