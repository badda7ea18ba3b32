use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};
use fused_ops::{
    ExpertDropout, Weight, down_experts, dropout, dropout_linear, gate_experts, linear, matmul,
    scale_up,
};
use router::Routing;

use crate::factors::{check_factors, check_numbers, expert_scaling, merged_factors};
use crate::{BaseLinear, ExpertBank, ExpertError, ExpertSlots, Factors, LinearUpdate};

/// Configuration of a [`DoraBank`].
#[derive(Debug, Clone, PartialEq)]
pub struct DoraBankConfig {
    /// The factor `s` of the low-rank product, as in `lora_alpha / r`.
    pub scaling: f64,
    /// The probability that an input of the experts is dropped in training. Default 0.
    pub lora_dropout: f64,
    /// Identity and shared experts. Default: none.
    pub slots: ExpertSlots,
}

impl DoraBankConfig {
    /// DoRA experts without dropout.
    pub fn new(scaling: f64) -> Self {
        Self { scaling, lora_dropout: 0.0, slots: ExpertSlots::default() }
    }

    /// Makes the bank from the factors of its experts and the frozen weight `[I, O]`, which must be
    /// the one that the bank will run with: its norms are kept.
    ///
    /// # Errors
    ///
    /// [`ExpertError`] when the factors do not fit each other or the weight, or a value is out of
    /// range.
    pub fn init(&self, factors: Factors, weight: &Tensor<2>) -> Result<DoraBank, ExpertError> {
        check_numbers(self.scaling, self.lora_dropout)?;
        let Factors { lora_a, lora_b, expert_scaling: factors } = factors;
        check_factors(&lora_a, &lora_b)?;
        let ([of_a, _, in_features], [experts, out_features, _]) = (lora_a.dims(), lora_b.dims());
        if of_a != experts {
            return Err(ExpertError::Shapes { a: lora_a.dims(), b: lora_b.dims() });
        }
        let (expected, found) = ([in_features, out_features], weight.dims());
        if expected != found {
            return Err(ExpertError::WeightShape { expected, found });
        }
        self.slots.check(experts, in_features, out_features)?;
        let device = weight.device();
        let mut bank = DoraBank {
            lora_a: Param::from_tensor(lora_a),
            lora_b: Param::from_tensor(lora_b),
            lora_magnitude_vector: Param::from_tensor(Tensor::zeros([1, 1], &device)),
            expert_scaling: expert_scaling(factors.as_deref(), experts, &device)?,
            scaling: self.scaling,
            squares: squares(weight),
            lora_dropout: self.lora_dropout,
            slots: self.slots,
        };
        let magnitude = bank.stack().norms(weight.clone().into(), bank.squares.clone());
        bank.lora_magnitude_vector = Param::from_tensor(magnitude.detach());
        Ok(bank)
    }
}

/// DoRA experts, stacked: each gives the frozen weight a direction and a magnitude of its own,
/// `W_e = m_e o (W + s_e B_e A_e) / n_e` with `n_e = ||W + s_e B_e A_e||` for each output, and adds
/// `f_e(x) = W_e x - W x`.
///
/// With `g_e = m_e / n_e` and dropped inputs `d = drop(x)`:
///
/// ```text
/// y = W x + b + (W d) o (weights (g - 1)) + sum_e weights_e g_e o (s_e B_e A_e d)
/// ```
///
/// The norm counts as a constant in the backward pass. `m_e` starts as `n_e`, so that an expert
/// starts as `s_e B_e A_e`, which is nothing for `B = 0`. One expert without routing is DoRA as
/// PEFT computes it, with PEFT's name for `m`; as there, dropout reaches the frozen product too,
/// which then has to be computed for `x` and for `d`.
///
/// The norms need no weight of `[N, I, O]`: for each output,
/// `n^2 = ||W||^2 + 2 s <B, W A^T> + s^2 <B (A A^T), B>`, which costs `2 N r I O` flops, as much as
/// `N r` more tokens in the frozen linear.
///
/// Source: DoRA, arXiv 2402.09353, equations 5 and 11.
#[derive(Module, Debug)]
pub struct DoraBank {
    /// `A`, `[N, r, I]`.
    pub lora_a: Param<Tensor<3>>,
    /// `B`, `[N, O, r]`.
    pub lora_b: Param<Tensor<3>>,
    /// `m`, `[N, O]`.
    pub lora_magnitude_vector: Param<Tensor<2>>,
    /// `s_e / s`, `[N]`, not trained; absent where all are 1.
    pub expert_scaling: Option<Param<Tensor<1>>>,
    /// `s`.
    pub scaling: f64,
    /// `||W||^2`, `[1, O]`.
    squares: Tensor<2>,
    lora_dropout: f64,
    #[module(skip)]
    slots: ExpertSlots,
}

/// `||W||^2` of each output, `[1, O]`.
fn squares(weight: &Tensor<2>) -> Tensor<2> {
    weight.clone().detach().cast(DType::F32).powi_scalar(2).sum_dim(0)
}

/// The parameters of some experts of a bank.
struct Stack {
    /// `A`, `[n, r, I]`.
    a: Tensor<3>,
    /// `s_e B_e^T`, `[n, r, O]`.
    up: Tensor<3>,
    /// `m`, `[n, O]`.
    magnitude: Tensor<2>,
}

impl Stack {
    /// `||W + s_e B_e A_e||`, `[n, O]`, in f32 and as a constant, from `W` and `||W||^2` `[1, O]`.
    fn norms(&self, weight: Weight, squares: Tensor<2>) -> Tensor<2> {
        let [a, up] = [&self.a, &self.up].map(|x| x.clone().detach().cast(DType::F32));
        let [experts, rank, in_features] = a.dims();
        let weight = match weight {
            Weight::Dense(weight) | Weight::Frozen(weight) => {
                weight.detach().cast(DType::F32).into()
            }
            quantized => quantized,
        };
        let crossed = linear(a.clone().reshape([experts * rank, in_features]), weight, None);
        let gram = matmul(a.clone(), a.swap_dims(1, 2));
        let along = crossed.reshape(up.dims()) * 2.0 + matmul(gram, up.clone());
        let added = (up * along).sum_dim(1).squeeze_dim::<2>(1);
        // Rounding may leave a direction of length 0 below it.
        (added + squares.detach()).clamp_min(1e-30).sqrt()
    }
}

/// What experts with gains `g` do to a linear.
struct Gained {
    /// `sum_e weights_e (g_e - 1)`, `[T, O]`, or `[1, O]` without weights.
    gain: Tensor<2>,
    /// `g_e o s_e B_e`, `[n r, O]`.
    up: Tensor<2>,
}

impl DoraBank {
    /// Replaces the frozen weight that the bank runs with, `[I, O]`; its magnitudes stay.
    pub fn rebase(&mut self, weight: &Tensor<2>) {
        self.squares = squares(weight);
    }

    /// The parameters of all experts.
    fn stack(&self) -> Stack {
        let [experts, out_features, rank] = self.lora_b.dims();
        let factors = self.expert_scaling.as_ref().map(|factors| factors.val());
        let up = scale_up(self.lora_b.val(), self.scaling, factors);
        Stack {
            a: self.lora_a.val(),
            up: up.reshape([experts, rank, out_features]),
            magnitude: self.lora_magnitude_vector.val(),
        }
    }

    /// The parameters of one expert.
    fn one(&self, expert: usize) -> Stack {
        let factors = self.expert_scaling.as_ref().map(|f| f.val().narrow(0, expert, 1));
        let up = scale_up(self.lora_b.val().narrow(0, expert, 1), self.scaling, factors);
        Stack {
            a: self.lora_a.val().narrow(0, expert, 1),
            up: up.unsqueeze(),
            magnitude: self.lora_magnitude_vector.val().narrow(0, expert, 1),
        }
    }

    /// The gains of experts, applied.
    fn gained(&self, stack: &Stack, base: &BaseLinear, weights: Option<Tensor<2>>) -> Gained {
        let [experts, rank, out_features] = stack.up.dims();
        let norms = stack.norms(base.factor(), self.squares.clone());
        let gains = stack.magnitude.clone() / norms.cast(stack.magnitude.dtype());
        let up = stack.up.clone() * gains.clone().reshape([experts, 1, out_features]);
        let gains = gains - 1.0;
        let gain = match weights {
            None => gains.sum_dim(0),
            Some(weights) => matmul(weights.cast(gains.dtype()), gains),
        };
        Gained { gain, up: up.reshape([experts * rank, out_features]) }
    }

    /// What experts add to the linear, from its output without a bias.
    fn added(
        &self,
        stack: Stack,
        base: &BaseLinear,
        product: Tensor<2>,
        x: Tensor<2>,
        weights: Option<Tensor<2>>,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        let [_, rank, _] = stack.up.dims();
        let active = training_seed.filter(|_| self.lora_dropout > 0.0);
        let active = active.map(|seed| (self.lora_dropout, seed));
        let product = match active {
            None => product,
            Some((p, seed)) => match base.factor() {
                Weight::Dense(weight) | Weight::Frozen(weight) => {
                    dropout_linear(x.clone(), weight.transpose(), p, seed)
                }
                quantized => linear(dropout(x.clone(), p, seed), quantized, None),
            },
        };
        let Gained { gain, up } = self.gained(&stack, base, weights.clone());
        let dropout = active.map(|(p, seed)| ExpertDropout { p, seed, experts: None });
        let hidden = down_experts(x, stack.a, dropout);
        let gated = match weights {
            None => hidden,
            Some(weights) => {
                let dtype = hidden.dtype();
                gate_experts(hidden, weights.cast(dtype), rank)
            }
        };
        linear(gated, up, None) + product * gain
    }
}

impl ExpertBank for DoraBank {
    fn num_experts(&self) -> usize {
        self.slots.num_experts(self.lora_b.dims()[0])
    }

    fn shared_experts(&self) -> usize {
        self.slots.shared_experts
    }

    fn forward(
        &self,
        base: &BaseLinear,
        x: Tensor<2>,
        routing: Option<&Routing>,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        let product = linear(x.clone(), base.factor(), None);
        let weights = routing.map(|routing| self.slots.trained(routing.weights.clone()));
        let added =
            self.added(self.stack(), base, product.clone(), x.clone(), weights, training_seed);
        let y = match base.bias() {
            None => product + added,
            Some(bias) => product + added + bias.unsqueeze(),
        };
        self.slots.add_identity(y, &x, routing.map(|routing| &routing.weights))
    }

    fn expert_forward(
        &self,
        expert: usize,
        base: &BaseLinear,
        base_output: Tensor<2>,
        x: Tensor<2>,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        let Some(e) = self.slots.trained_index(expert) else {
            return self.slots.add_one_identity(base_output, x);
        };
        let product = match base.bias() {
            None => base_output.clone(),
            Some(bias) => base_output.clone() - bias.unsqueeze(),
        };
        base_output + self.added(self.one(e), base, product, x, None, training_seed)
    }

    fn parameters(&self) -> Vec<Tensor<3>> {
        vec![
            self.lora_a.val(),
            self.lora_b.val(),
            self.lora_magnitude_vector.val().unsqueeze_dim(2),
        ]
    }

    fn update(&self, base: &BaseLinear, weights: Option<Tensor<1>>) -> Option<LinearUpdate> {
        let weights = weights.map(|weights| weights.unsqueeze::<2>());
        let experts = self.lora_b.dims()[0];
        let trained = weights.clone().map(|weights| self.slots.trained(weights));
        let Gained { gain, up } = self.gained(&self.stack(), base, trained.clone());
        Some(LinearUpdate {
            scale: Some((gain + 1.0).squeeze_dim(0)),
            bias_scale: None,
            factors: Some(merged_factors(self.lora_a.val(), up, trained, experts)),
            identity: self.slots.identity(weights),
        })
    }
}

#[cfg(test)]
mod tests;
