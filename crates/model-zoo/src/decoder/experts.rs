use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::Tensor;
use moe_adapter::{
    Activation, AdapterError, BaseLinear, FeedForwardPaths, GatedFeedForward, Projection,
};
use router::{RoutingTape, Site};

use super::feed_forward::FusedFeedForward;
use super::storage::joined;
use crate::DecoderConfig;
use crate::config::{ExpertNames, SparseConfig};
use crate::parameters::ParameterSource;

/// The experts of a base model's layer, by the names that files have for their linears.
#[derive(Module, Debug)]
pub enum Experts<P: Projection> {
    /// `mlp.experts.<e>.gate_proj` and so on.
    Gated(Vec<GatedFeedForward<P>>),
    /// `block_sparse_moe.experts.<e>.w1` and so on.
    Mixtral(Vec<MixtralExpert<P>>),
    /// Those of a parameter `mlp.experts.gate_up_proj` and one `mlp.experts.down_proj`, as
    /// transformers has them in memory.
    Fused(Vec<FusedFeedForward<P>>),
}

/// An expert of Mixtral, `W_2 (act(W_1 x) * W_3 x)`.
#[derive(Module, Debug)]
pub struct MixtralExpert<P: Projection> {
    /// `H -> F`, activated.
    pub w1: P,
    /// `F -> H`.
    pub w2: P,
    /// `H -> F`.
    pub w3: P,
}

const QWEN: &str = "mlp";
const MIXTRAL: &str = "block_sparse_moe";
/// The layer of fused experts, in every family.
const FUSED: &str = "mlp (fused)";

impl<P: Projection> Experts<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &DecoderConfig,
        names: &ExpertNames,
        sparse: &SparseConfig,
        layer_path: &str,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let (hidden, inner) = (config.hidden_size, sparse.moe_intermediate_size);
        if config.fused_experts {
            let experts = (0..sparse.num_experts).map(|expert| {
                let paths = expert_paths(FUSED, expert);
                let mut linear = |path: &str, inputs, outputs| {
                    source.projection(&format!("{layer_path}.{path}"), inputs, outputs, false)
                };
                let gate_up = linear(paths.gate_proj, hidden, 2 * inner)?;
                let down = linear(paths.down_proj, inner, hidden)?;
                Ok(FusedFeedForward::new([gate_up, down], config.activation))
            });
            return experts.collect::<Result<_, _>>().map(Self::Fused);
        }
        let mut experts = Vec::with_capacity(sparse.num_experts);
        let stacked = format!("{layer_path}.mlp.experts");
        if source.holds(&format!("{stacked}.gate_up_proj")) {
            let count = sparse.num_experts;
            for expert in 0..count {
                let name = format!("{stacked}.gate_up_proj");
                let [gate, up] = source.stacked(&name, expert, count, hidden, [inner, inner])?;
                let name = format!("{stacked}.down_proj");
                let [down] = source.stacked(&name, expert, count, inner, [hidden])?;
                experts.push([gate, up, down].map(P::from_linear));
            }
        } else {
            for expert in 0..sparse.num_experts {
                let path = format!("{layer_path}.{}.experts.{expert}", names.block);
                let mut linear = |name: &str, inputs, outputs| {
                    source.projection(&format!("{path}.{name}"), inputs, outputs, false)
                };
                let gate = linear(names.gate_proj, hidden, inner)?;
                let up = linear(names.up_proj, hidden, inner)?;
                let down = linear(names.down_proj, inner, hidden)?;
                experts.push([gate, up, down].map(P::from_linear));
            }
        }
        let experts = experts.into_iter();
        Ok(match names.block {
            MIXTRAL => {
                Self::Mixtral(experts.map(|[w1, w3, w2]| MixtralExpert { w1, w2, w3 }).collect())
            }
            _ => Self::Gated(
                experts
                    .map(|[gate, up, down]| {
                        GatedFeedForward::new(gate, up, down).with_activation(config.activation)
                    })
                    .collect(),
            ),
        })
    }

    /// The output of one expert for some tokens, `[1, N, H]` each.
    pub(super) fn forward(
        &self,
        expert: usize,
        x: Tensor<3>,
        layer: usize,
        activation: Activation,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let paths = self.paths(expert);
        match self {
            Self::Gated(experts) => experts[expert].forward(x, layer, &paths, tape),
            Self::Mixtral(experts) => {
                let MixtralExpert { w1, w2, w3 } = &experts[expert];
                let gate = w1.forward(x.clone(), Site::new(layer, paths.gate_proj), tape);
                let up = w3.forward(x, Site::new(layer, paths.up_proj), tape);
                let h = activation.gate(gate, up);
                w2.forward(h, Site::new(layer, paths.down_proj), tape)
            }
            Self::Fused(experts) => {
                experts[expert].forward(x, layer, [paths.gate_proj, paths.down_proj], tape)
            }
        }
    }

    /// The same experts with one linear for gate and up projection each; their adapters are dropped.
    pub(super) fn fused(&self, activation: Activation) -> Result<Self, AdapterError> {
        let fuse = |expert: usize, [gate, up, down]: [&P; 3]| {
            let path = expert_paths(FUSED, expert).gate_proj;
            let [gate, up] = [gate.linear(), up.linear()];
            if [gate, up].iter().any(|part| matches!(part, BaseLinear::Quantized(_))) {
                return Err(AdapterError::Quantized { path: path.to_owned() });
            }
            Ok(FusedFeedForward::new([joined(&[gate, up]), down.linear().clone()], activation))
        };
        let experts: Result<Vec<_>, _> = match self {
            Self::Fused(_) => return Ok(self.clone()),
            Self::Gated(experts) => {
                let parts = experts.iter().map(|e| [&e.gate_proj, &e.up_proj, &e.down_proj]);
                parts.enumerate().map(|(expert, parts)| fuse(expert, parts)).collect()
            }
            Self::Mixtral(experts) => {
                let parts = experts.iter().map(|e| [&e.w1, &e.w3, &e.w2]);
                parts.enumerate().map(|(expert, parts)| fuse(expert, parts)).collect()
            }
        };
        experts.map(Self::Fused)
    }

    /// The linears of fused experts as files have them, one expert after the other, with their paths
    /// inside the layer; none where they are not fused.
    pub(super) fn unfused(&self, names: &ExpertNames) -> Vec<(String, BaseLinear)> {
        let Self::Fused(experts) = self else { return Vec::new() };
        let of_expert = |(expert, block): (usize, &FusedFeedForward<P>)| {
            let path = |name: &str| format!("{}.experts.{expert}.{name}", names.block);
            let gate_up = block.gate_up_proj.linear();
            let inner = gate_up.dims()[1] / 2;
            let half = |start: usize| {
                let weight = gate_up.weight().narrow(1, start, inner);
                BaseLinear::from(Linear { weight: Param::from_tensor(weight), bias: None })
            };
            [
                (path(names.gate_proj), half(0)),
                (path(names.up_proj), half(inner)),
                (path(names.down_proj), block.down_proj.linear().clone()),
            ]
        };
        experts.iter().enumerate().flat_map(of_expert).collect()
    }

    fn block(&self) -> &'static str {
        match self {
            Self::Gated(_) => QWEN,
            Self::Mixtral(_) => MIXTRAL,
            Self::Fused(_) => FUSED,
        }
    }

    pub(super) fn projections(&self) -> Vec<(&'static str, &P)> {
        let with_paths = |expert: usize, [gate, up, down]: [_; 3]| {
            let paths = self.paths(expert);
            [(paths.gate_proj, gate), (paths.up_proj, up), (paths.down_proj, down)]
        };
        match self {
            Self::Gated(experts) => {
                let parts = experts.iter().map(|e| [&e.gate_proj, &e.up_proj, &e.down_proj]);
                parts.enumerate().flat_map(|(i, parts)| with_paths(i, parts)).collect()
            }
            Self::Mixtral(experts) => {
                let parts = experts.iter().map(|e| [&e.w1, &e.w3, &e.w2]);
                parts.enumerate().flat_map(|(i, parts)| with_paths(i, parts)).collect()
            }
            Self::Fused(experts) => {
                let parts = experts.iter().map(|e| [&e.gate_up_proj, &e.down_proj]);
                let with_paths = |(expert, [gate_up, down]): (usize, [_; 2])| {
                    let paths = self.paths(expert);
                    [(paths.gate_proj, gate_up), (paths.down_proj, down)]
                };
                parts.enumerate().flat_map(with_paths).collect()
            }
        }
    }

    pub(super) fn projections_mut(&mut self) -> Vec<(&'static str, &mut P)> {
        let block = self.block();
        let with_paths = |expert: usize, [gate, up, down]: [_; 3]| {
            let paths = expert_paths(block, expert);
            [(paths.gate_proj, gate), (paths.up_proj, up), (paths.down_proj, down)]
        };
        match self {
            Self::Gated(experts) => {
                let parts = experts
                    .iter_mut()
                    .map(|e| [&mut e.gate_proj, &mut e.up_proj, &mut e.down_proj]);
                parts.enumerate().flat_map(|(i, parts)| with_paths(i, parts)).collect()
            }
            Self::Mixtral(experts) => {
                let parts = experts.iter_mut().map(|e| [&mut e.w1, &mut e.w3, &mut e.w2]);
                parts.enumerate().flat_map(|(i, parts)| with_paths(i, parts)).collect()
            }
            Self::Fused(experts) => {
                let parts = experts.iter_mut().map(|e| [&mut e.gate_up_proj, &mut e.down_proj]);
                let with_paths = |(expert, [gate_up, down]): (usize, [_; 2])| {
                    let paths = expert_paths(block, expert);
                    [(paths.gate_proj, gate_up), (paths.down_proj, down)]
                };
                parts.enumerate().flat_map(with_paths).collect()
            }
        }
    }

    fn paths(&self, expert: usize) -> FeedForwardPaths {
        expert_paths(self.block(), expert)
    }
}

/// The paths of an expert's linears inside their layer. Places of a tape have static names, so each
/// name is made once, and stays.
fn expert_paths(block: &'static str, expert: usize) -> FeedForwardPaths {
    static KNOWN: OnceLock<Mutex<HashMap<(&str, usize), FeedForwardPaths>>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default).lock();
    let mut known = known.unwrap_or_else(std::sync::PoisonError::into_inner);
    *known.entry((block, expert)).or_insert_with(|| {
        let (layer, names) = match block {
            MIXTRAL => (block, [".w1", ".w3", ".w2"]),
            FUSED => (QWEN, [".gate_up_proj", ".gate_up_proj", ".down_proj"]),
            _ => (block, [".gate_proj", ".up_proj", ".down_proj"]),
        };
        let path = |name: &str| -> &'static str {
            Box::leak(format!("{layer}.experts.{expert}{name}").into_boxed_str())
        };
        let [gate_proj, up_proj, down_proj] = names.map(path);
        FeedForwardPaths { block: path(""), gate_proj, up_proj, down_proj }
    })
}
