use burn::module::Param;
use burn::tensor::{DType, Device, Int, Tensor};
use fused_ops::Draw;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{at_least_one, number};
use crate::padding::spread;
use crate::{BatchContext, RouterError, RouterShape, random};

/// What is routed as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scope {
    /// Each token by its own activation.
    #[default]
    Token,
    /// All tokens of a sample alike, by the mean of its real tokens. This is not causal: in training
    /// the mean includes the tokens to be predicted. At generation it is of the tokens of one pass:
    /// the prompt, then each new token alone.
    Sequence,
    /// All tokens of a sample alike, by its task type alone: the logits are a row of a learned
    /// table. Where no task types are given, as at generation, they are the mean of its rows. A
    /// sample whose type is not below `num_tasks` has logits of 0 (or the bias).
    Task {
        /// The number of task types, which are 0, 1, ...
        num_tasks: usize,
    },
}

/// How the weight of a gate starts. Biases start at 0.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GateInit {
    /// `U(-1/sqrt(I), 1/sqrt(I))`: PyTorch's kaiming-uniform with `a = sqrt(5)`, as in LoRAMoE.
    #[default]
    KaimingUniform,
    /// `N(0, std^2)`, as in MixLoRA with 0.02.
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// Zeros: all experts start alike, and selections take the first ones until the gate has
    /// learned.
    Zeros,
}

/// The part that all gated routers share: how activations become logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateConfig {
    /// What is routed as one. Default: each token.
    pub scope: Scope,
    /// Divides the logits: above 1 spreads, below 1 sharpens. Default 1.
    pub temperature: f64,
    /// Whether the logits have a learned bias. Default false.
    pub bias: bool,
    /// How the weight starts. Default: kaiming-uniform.
    pub init: GateInit,
    /// `eps` of the factors `U[1 - eps, 1 + eps)` on what the gate reads, in training only (Switch
    /// Transformer, arXiv 2101.03961). In [0, 1), default 0.
    pub input_jitter: f64,
    /// The probability that a value that the gate reads is dropped, in training only. In [0, 1),
    /// default 0.
    pub input_dropout: f64,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            scope: Scope::Token,
            temperature: 1.0,
            bias: false,
            init: GateInit::KaimingUniform,
            input_jitter: 0.0,
            input_dropout: 0.0,
        }
    }
}

impl GateConfig {
    /// Sets the temperature.
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// Sets what is routed as one.
    pub fn with_scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Sets how the weight starts.
    pub fn with_init(mut self, init: GateInit) -> Self {
        self.init = init;
        self
    }

    /// Whether the gate can be made.
    ///
    /// # Errors
    ///
    /// [`RouterError`] naming the field that cannot work.
    pub fn check(&self, shape: &RouterShape) -> Result<(), RouterError> {
        at_least_one("hidden_size", shape.hidden_size)?;
        at_least_one("num_experts", shape.num_experts)?;
        let below_one = |value| (0.0..1.0).contains(&value);
        let positive = "a finite number above 0";
        number("gate.temperature", self.temperature, |value| value > 0.0, positive)?;
        number("gate.input_jitter", self.input_jitter, below_one, "in [0, 1)")?;
        number("gate.input_dropout", self.input_dropout, below_one, "in [0, 1)")?;
        if let GateInit::Normal { std } = self.init {
            number("gate.init.normal.std", std, |value| value > 0.0, positive)?;
        }
        match self.scope {
            Scope::Task { num_tasks } => at_least_one("gate.scope.task.num_tasks", num_tasks),
            Scope::Token | Scope::Sequence => Ok(()),
        }
    }

    /// The number of values that the gate reads, `F`: the size of an activation, or the number of
    /// tasks.
    pub fn num_features(&self, shape: &RouterShape) -> usize {
        match self.scope {
            Scope::Token | Scope::Sequence => shape.hidden_size,
            Scope::Task { num_tasks } => num_tasks,
        }
    }

    /// The weight at the start, `[E, F]`.
    pub(crate) fn weight<R: Rng + ?Sized>(
        &self,
        shape: &RouterShape,
        rng: &mut R,
        device: &Device,
    ) -> Param<Tensor<2>> {
        let features = self.num_features(shape);
        let dims = [shape.num_experts, features];
        Param::from_tensor(match self.init {
            GateInit::KaimingUniform => {
                let bound = 1.0 / (features as f32).sqrt();
                random::uniform(dims, -bound, bound, rng, device)
            }
            GateInit::Normal { std } => random::normal(dims, std, rng, device),
            GateInit::Zeros => Tensor::zeros(dims, device),
        })
    }

    /// Whether the gate reads the tokens' activations as they are.
    pub(crate) fn reads_tokens(&self, context: &BatchContext) -> bool {
        let changed = self.input_jitter > 0.0 || self.input_dropout > 0.0;
        self.scope == Scope::Token && !(changed && context.training_seed.is_some())
    }

    /// What the gate reads: one row for all tokens that are routed as one.
    pub(crate) fn read(&self, x: Tensor<2>, context: &BatchContext) -> Read {
        let tokens = x.cast(DType::F32);
        let device = tokens.device();
        let (mut rows, tokens_per_row) = match self.scope {
            Scope::Token => (tokens.clone(), 1),
            Scope::Sequence => (context.sample_means(tokens.clone()), context.seq_len),
            Scope::Task { num_tasks } => match &context.task_types {
                Some(types) => (one_hot(types.clone(), num_tasks), context.seq_len),
                None => {
                    let mean = Tensor::full([1, num_tasks], 1.0 / num_tasks as f64, &device);
                    (mean, context.num_tokens())
                }
            },
        };
        if let Some(seed) = context.training_seed {
            if self.input_jitter > 0.0 {
                let eps = self.input_jitter;
                let factors = Draw::Uniform { low: 1.0 - eps, high: 1.0 + eps };
                rows = rows.clone() * random::drawn(&rows, factors, seed, "router input jitter");
            }
            if self.input_dropout > 0.0 {
                let kept = random::dropout(self.input_dropout);
                rows = rows.clone() * random::drawn(&rows, kept, seed, "router input dropout");
            }
        }
        Read { tokens, rows, tokens_per_row }
    }
}

/// `[B]` to `[B, tasks]`.
fn one_hot(types: Tensor<1, Int>, tasks: usize) -> Tensor<2> {
    let [samples] = types.dims();
    let index = Tensor::<1, Int>::arange(0..tasks as i64, &types.device());
    let index = index.unsqueeze_dim::<2>(0).expand([samples, tasks]);
    types.unsqueeze_dim::<2>(1).expand([samples, tasks]).equal(index).float()
}

/// What a gate reads of a batch.
#[derive(Debug, Clone)]
pub struct Read {
    /// The tokens' activations, `[T, I]`, in f32.
    pub tokens: Tensor<2>,
    /// What is routed, `[R, F]`: tokens, means of samples, or one-hot task types, with jitter and
    /// dropout.
    pub rows: Tensor<2>,
    /// How many tokens, one after the other, each row stands for.
    pub tokens_per_row: usize,
}

impl Read {
    /// Gives each token the values of its row: `[R, n]` to `[T, n]`.
    pub fn spread(&self, rows: Tensor<2>) -> Tensor<2> {
        spread(rows, self.tokens_per_row)
    }
}
