use burn::module::{Module, ModuleDisplay, Param};
use burn::tensor::{DType, Device, Tensor};
use fused_ops::few_rows;
use rand::Rng;

use crate::affine::{affine, with_bias};
use crate::gate::Read;
use crate::{BatchContext, GateConfig, Reach, Router, RouterError, RouterShape, Routing, Scope};

/// What a gated router makes of its logits: scoring, selection and weights.
///
/// It is a Burn module, so a strategy may have parameters and running state of its own.
pub trait Strategy: Module + ModuleDisplay + Sync + 'static {
    /// What its decision for a token depends on, outside of training. Default: on the token alone.
    fn reach(&self) -> Reach {
        Reach::Token
    }

    /// Decides the routing of all tokens.
    ///
    /// # Shapes
    ///
    /// - `logits`: `[T, E]`, in f32
    /// - `read`: what they were computed from
    /// - the tensors of the result: `[T, E]`
    fn decide(&self, logits: Tensor<2>, read: Read, context: &BatchContext) -> Routing;

    /// What [`decide`](Self::decide) gives outside of training for few tokens on a CPU, each routed
    /// by its own activation, `[T, I]`, in one loop over their numbers. Default: `None`, and `decide`
    /// is asked.
    fn decide_few(&self, logits: &Tensor<2>, tokens: &Tensor<2>) -> Option<Routing> {
        let _ = (logits, tokens);
        None
    }
}

/// The configuration of a [`Strategy`] and of the gate that it works with.
pub trait StrategyConfig {
    /// What it configures.
    type Strategy: Strategy;

    /// The gate.
    fn gate(&self) -> &GateConfig;

    /// Whether the values of the strategy work for a layer of this shape; the gate is checked
    /// apart.
    ///
    /// # Errors
    ///
    /// [`RouterError`] naming the field that cannot work.
    fn check_strategy(&self, shape: &RouterShape) -> Result<(), RouterError>;

    /// Makes the strategy, from values that were checked.
    fn init_strategy<R: Rng + ?Sized>(
        &self,
        shape: &RouterShape,
        rng: &mut R,
        device: &Device,
    ) -> Self::Strategy;

    /// Whether a router of this configuration can be made for a layer of this shape.
    ///
    /// # Errors
    ///
    /// [`RouterError`] naming the field that cannot work.
    fn check(&self, shape: &RouterShape) -> Result<(), RouterError> {
        self.gate().check(shape)?;
        self.check_strategy(shape)
    }

    /// Makes the router, with random numbers from `rng`: the same on every device.
    ///
    /// # Errors
    ///
    /// [`RouterError`] naming the field that cannot work.
    fn init<R: Rng + ?Sized>(
        &self,
        shape: &RouterShape,
        rng: &mut R,
        device: &Device,
    ) -> Result<GatedRouter<Self::Strategy>, RouterError> {
        self.check(shape)?;
        let weight = self.gate().weight(shape, rng, device);
        let bias = self
            .gate()
            .bias
            .then(|| Param::from_tensor(Tensor::zeros([shape.num_experts], device)));
        let strategy = self.init_strategy(shape, rng, device);
        Ok(GatedRouter { weight, bias, strategy, gate: self.gate().clone() })
    }
}

/// A gate, `(G x + b) / temperature` in f32, and a strategy that decides by its logits.
#[derive(Module, Debug)]
pub struct GatedRouter<S: Strategy> {
    /// `G`, `[num_experts, F]`; `F` is `hidden_size`, or the number of tasks in the scope of tasks.
    pub weight: Param<Tensor<2>>,
    /// `b`, `[num_experts]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// What decides by the logits.
    pub strategy: S,
    #[module(skip)]
    gate: GateConfig,
}

impl<S: Strategy> GatedRouter<S> {
    /// What the gate was configured with.
    pub fn gate(&self) -> &GateConfig {
        &self.gate
    }
}

impl<S: Strategy> Router for GatedRouter<S> {
    fn num_experts(&self) -> usize {
        self.weight.dims()[0]
    }

    fn reach(&self) -> Reach {
        let gate = match self.gate.scope {
            Scope::Sequence => Reach::Sample,
            Scope::Token | Scope::Task { .. } => Reach::Token,
        };
        gate.max(self.strategy.reach())
    }

    fn route(&self, x: Tensor<2>, context: &BatchContext) -> Routing {
        let read = self.gate.read(x, context);
        let logits = affine(read.rows.clone(), &self.weight, self.bias.as_ref());
        self.decided(logits, read, context)
    }

    fn begins_with(&self, context: &BatchContext) -> Option<Tensor<2>> {
        self.gate.reads_tokens(context).then(|| self.weight.val().cast(DType::F32))
    }

    fn route_from(&self, x: Tensor<2>, product: Tensor<2>, context: &BatchContext) -> Routing {
        let read = self.gate.read(x, context);
        self.decided(with_bias(product, self.bias.as_ref()), read, context)
    }
}

impl<S: Strategy> GatedRouter<S> {
    /// By the logits of the rows that were read, before the temperature.
    fn decided(&self, mut logits: Tensor<2>, read: Read, context: &BatchContext) -> Routing {
        if self.gate.temperature != 1.0 {
            logits = logits / self.gate.temperature;
        }
        let logits = read.spread(logits);
        let few = !context.is_training() && self.gate.scope == Scope::Token && few_rows(&logits);
        if let Some(routing) =
            few.then(|| self.strategy.decide_few(&logits, &read.tokens)).flatten()
        {
            return routing;
        }
        self.strategy.decide(logits, read, context)
    }
}
