use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::{
    AdamoleRouter, AdamoleRouterConfig, BatchContext, DenseRouter, DenseRouterConfig,
    DynmoleRouter, DynmoleRouterConfig, ExpertChoiceRouter, ExpertChoiceRouterConfig, GateConfig,
    NoisyTopKRouter, NoisyTopKRouterConfig, Reach, Router, RouterError, RouterShape, Routing,
    SigmoidRouter, SigmoidRouterConfig, SlidingClusterRouter, SlidingClusterRouterConfig,
    SparsegenRouter, SparsegenRouterConfig, StrategyConfig, SwitchRouter, SwitchRouterConfig,
    TopKRouter, TopKRouterConfig, TopPRouter, TopPRouterConfig, UniformRouter, XLoraConfig,
};

/// A routing strategy as configuration files name it, apart from the sizes of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum RouterConfig {
    /// [`UniformRouter`]: the same weight for every expert.
    Uniform {},
    /// [`Dense`](crate::Dense): softmax over all experts.
    Dense {
        /// The gate.
        #[serde(default)]
        gate: GateConfig,
    },
    /// [`TopK`](crate::TopK): the most probable experts.
    TopK(TopKRouterConfig),
    /// [`NoisyTopK`](crate::NoisyTopK): top-k with trainable noise.
    NoisyTopK(NoisyTopKRouterConfig),
    /// [`TopP`](crate::TopP): the experts that cover a probability.
    TopP(TopPRouterConfig),
    /// [`Adamole`](crate::Adamole): the experts above a threshold that depends on the token.
    Adamole(AdamoleRouterConfig),
    /// [`Dynmole`](crate::Dynmole): all experts or few, by the entropy.
    Dynmole(DynmoleRouterConfig),
    /// [`Sparsegen`](crate::Sparsegen): the sparse projection onto the simplex.
    Sparsegen(SparsegenRouterConfig),
    /// [`Switch`](crate::Switch): the most probable expert, with a capacity.
    Switch(SwitchRouterConfig),
    /// [`ExpertChoice`](crate::ExpertChoice): experts choose tokens.
    ExpertChoice(ExpertChoiceRouterConfig),
    /// [`Sigmoid`](crate::Sigmoid): sigmoid scores with loss-free balancing.
    Sigmoid(SigmoidRouterConfig),
    /// [`SlidingCluster`](crate::SlidingCluster): LoRA experts yield to identity experts far from
    /// what was trained on.
    SlidingCluster(SlidingClusterRouterConfig),
    /// [`XLoraClassifier`](crate::XLoraClassifier): one classifier for the whole model, on the
    /// hidden states of a first pass. No router of a layer.
    XLora(XLoraConfig),
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self::Dense { gate: GateConfig::default() }
    }
}

impl RouterConfig {
    /// Whether the router can be made for a layer of this shape.
    ///
    /// # Errors
    ///
    /// [`RouterError`] naming the field that cannot work.
    pub fn check(&self, shape: &RouterShape) -> Result<(), RouterError> {
        match self {
            Self::Uniform {} => UniformRouter::new(shape.num_experts).map(|_| ()),
            Self::Dense { gate } => gate.check(shape),
            Self::TopK(config) => config.check(shape),
            Self::NoisyTopK(config) => config.check(shape),
            Self::TopP(config) => config.check(shape),
            Self::Adamole(config) => config.check(shape),
            Self::Dynmole(config) => config.check(shape),
            Self::Sparsegen(config) => config.check(shape),
            Self::Switch(config) => config.check(shape),
            Self::ExpertChoice(config) => config.check(shape),
            Self::Sigmoid(config) => config.check(shape),
            Self::SlidingCluster(config) => config.check(shape),
            Self::XLora(_) => Err(RouterError::WholeModel),
        }
    }

    /// Initialises the router of one layer with random numbers from `rng`.
    ///
    /// # Errors
    ///
    /// [`RouterError`] naming the field that cannot work.
    pub fn init<R: Rng + ?Sized>(
        &self,
        shape: &RouterShape,
        rng: &mut R,
        device: &Device,
    ) -> Result<AnyRouter, RouterError> {
        Ok(match self {
            Self::Uniform {} => AnyRouter::Uniform(UniformRouter::new(shape.num_experts)?),
            Self::Dense { gate } => {
                let config = DenseRouterConfig::new(shape.hidden_size, shape.num_experts);
                AnyRouter::Dense(config.with_gate(gate.clone()).init(rng, device)?)
            }
            Self::TopK(config) => AnyRouter::TopK(config.init(shape, rng, device)?),
            Self::NoisyTopK(config) => AnyRouter::NoisyTopK(config.init(shape, rng, device)?),
            Self::TopP(config) => AnyRouter::TopP(config.init(shape, rng, device)?),
            Self::Adamole(config) => AnyRouter::Adamole(config.init(shape, rng, device)?),
            Self::Dynmole(config) => AnyRouter::Dynmole(config.init(shape, rng, device)?),
            Self::Sparsegen(config) => AnyRouter::Sparsegen(config.init(shape, rng, device)?),
            Self::Switch(config) => AnyRouter::Switch(config.init(shape, rng, device)?),
            Self::ExpertChoice(config) => AnyRouter::ExpertChoice(config.init(shape, rng, device)?),
            Self::Sigmoid(config) => AnyRouter::Sigmoid(config.init(shape, rng, device)?),
            Self::SlidingCluster(config) => {
                AnyRouter::SlidingCluster(config.init(shape, rng, device)?)
            }
            Self::XLora(_) => return Err(RouterError::WholeModel),
        })
    }
}

/// Any router of this crate, for choosing at run time.
// A model has at most a few hundred routers, so the space of the small ones does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum AnyRouter {
    /// See [`UniformRouter`].
    Uniform(UniformRouter),
    /// See [`Dense`](crate::Dense).
    Dense(DenseRouter),
    /// See [`TopK`](crate::TopK).
    TopK(TopKRouter),
    /// See [`NoisyTopK`](crate::NoisyTopK).
    NoisyTopK(NoisyTopKRouter),
    /// See [`TopP`](crate::TopP).
    TopP(TopPRouter),
    /// See [`Adamole`](crate::Adamole).
    Adamole(AdamoleRouter),
    /// See [`Dynmole`](crate::Dynmole).
    Dynmole(DynmoleRouter),
    /// See [`Sparsegen`](crate::Sparsegen).
    Sparsegen(SparsegenRouter),
    /// See [`Switch`](crate::Switch).
    Switch(SwitchRouter),
    /// See [`ExpertChoice`](crate::ExpertChoice).
    ExpertChoice(ExpertChoiceRouter),
    /// See [`Sigmoid`](crate::Sigmoid).
    Sigmoid(SigmoidRouter),
    /// See [`SlidingCluster`](crate::SlidingCluster).
    SlidingCluster(SlidingClusterRouter),
}

/// Does the same with whatever gated router it is; the second expression is for the uniform one.
macro_rules! match_gated {
    ($router:expr, $gated:ident => $body:expr, $uniform:ident => $other:expr) => {
        match $router {
            AnyRouter::Uniform($uniform) => $other,
            AnyRouter::Dense($gated) => $body,
            AnyRouter::TopK($gated) => $body,
            AnyRouter::NoisyTopK($gated) => $body,
            AnyRouter::TopP($gated) => $body,
            AnyRouter::Adamole($gated) => $body,
            AnyRouter::Dynmole($gated) => $body,
            AnyRouter::Sparsegen($gated) => $body,
            AnyRouter::Switch($gated) => $body,
            AnyRouter::ExpertChoice($gated) => $body,
            AnyRouter::Sigmoid($gated) => $body,
            AnyRouter::SlidingCluster($gated) => $body,
        }
    };
}

impl AnyRouter {
    /// The weight of the gate, `[E, F]`; `None` for a router without one.
    pub fn gate_weight(&self) -> Option<&Param<Tensor<2>>> {
        match_gated!(self, router => Some(&router.weight), _uniform => None)
    }

    /// The weight of the gate, to replace it; `None` for a router without one.
    pub fn gate_weight_mut(&mut self) -> Option<&mut Param<Tensor<2>>> {
        match_gated!(self, router => Some(&mut router.weight), _uniform => None)
    }
}

impl Router for AnyRouter {
    fn num_experts(&self) -> usize {
        match_gated!(self, router => router.num_experts(), uniform => uniform.num_experts())
    }

    fn reach(&self) -> Reach {
        match_gated!(self, router => router.reach(), uniform => uniform.reach())
    }

    fn route(&self, x: Tensor<2>, context: &BatchContext) -> Routing {
        match_gated!(self, router => router.route(x, context), uniform => uniform.route(x, context))
    }

    fn begins_with(&self, context: &BatchContext) -> Option<Tensor<2>> {
        match_gated!(self, router => router.begins_with(context), _uniform => None)
    }

    fn route_from(&self, x: Tensor<2>, product: Tensor<2>, context: &BatchContext) -> Routing {
        match_gated!(
            self,
            router => router.route_from(x, product, context),
            uniform => uniform.route(x, context)
        )
    }
}
