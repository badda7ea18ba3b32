use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::Tensor;
use fused_ops::{dropout_linear, linear, linear_add};
use router::Routing;

use crate::{DropoutMask, ExpertBank, ExpertError};

/// Configuration of a [`LoraBank`].
#[derive(Debug, Clone, PartialEq)]
pub struct LoraBankConfig {
    /// The factor `s` of the experts' output, as in `lora_alpha / r`.
    pub scaling: f64,
    /// The probability that an input of the experts is dropped in training. Default 0.
    pub lora_dropout: f64,
    /// Whether experts share the dropout mask. Default: they do.
    pub dropout_mask: DropoutMask,
}

impl LoraBankConfig {
    /// A bank without dropout.
    pub fn new(scaling: f64) -> Self {
        Self { scaling, lora_dropout: 0.0, dropout_mask: DropoutMask::Shared }
    }

    /// Sets the dropout of the experts' input.
    pub fn with_dropout(mut self, lora_dropout: f64, mask: DropoutMask) -> Self {
        self.lora_dropout = lora_dropout;
        self.dropout_mask = mask;
        self
    }

    /// Makes the bank from the factors of its experts, `A` `[E, r, I]` and `B` `[E, O, r]`.
    ///
    /// # Errors
    ///
    /// [`ExpertError`] when the factors do not fit each other or a value is out of range.
    pub fn init(&self, a: Tensor<3>, b: Tensor<3>) -> Result<LoraBank, ExpertError> {
        if !(0.0..1.0).contains(&self.lora_dropout) {
            return Err(ExpertError::Dropout { value: self.lora_dropout });
        }
        if !self.scaling.is_finite() {
            return Err(ExpertError::Scaling { value: self.scaling });
        }
        let (a_dims, b_dims) = (a.dims(), b.dims());
        let fit = a_dims[0] == b_dims[0] && a_dims[1] == b_dims[2];
        if !fit || a_dims.contains(&0) || b_dims.contains(&0) {
            return Err(ExpertError::Shapes { a: a_dims, b: b_dims });
        }
        Ok(LoraBank {
            lora_a: Param::from_tensor(a),
            lora_b: Param::from_tensor(b),
            scaling: self.scaling,
            lora_dropout: self.lora_dropout,
            dropout_per_expert: self.dropout_mask == DropoutMask::PerExpert,
        })
    }
}

/// LoRA experts, stacked: `f_e(x) = s * B_e A_e drop(x)`.
///
/// The weighted sum of all experts is two matrix products, with the weights folded in between:
///
/// ```text
/// h   = x A^T                [T, E r]    2 T I E r flops
/// h_e = weights_e * h_e      [T, E r]
/// y   = s * h B^T            [T, O]      2 T O E r flops
/// ```
///
/// No tensor of `[tokens, experts, out_features]` ever exists. Source: LoRA, arXiv 2106.09685;
/// LoRAMoE, arXiv 2312.09979, equation 4.
#[derive(Module, Debug)]
pub struct LoraBank {
    /// `A`, `[E, r, I]`.
    pub lora_a: Param<Tensor<3>>,
    /// `B`, `[E, O, r]`.
    pub lora_b: Param<Tensor<3>>,
    /// `s`.
    pub scaling: f64,
    lora_dropout: f64,
    dropout_per_expert: bool,
}

impl LoraBank {
    /// The rank of each expert, `r`.
    pub fn rank(&self) -> usize {
        self.lora_a.dims()[1]
    }

    /// The experts' weighted sum without the base and without dropout, `[T, O]`, expert by expert
    /// as the formula reads. It is the reference that the fused execution is tested against.
    pub fn forward_reference(&self, x: Tensor<2>, routing: Option<&Routing>) -> Tensor<2> {
        let [tokens, in_features] = x.dims();
        let [experts, rank, _] = self.lora_a.dims();
        let out_features = self.lora_b.dims()[1];
        let mut sum: Tensor<2> = Tensor::zeros([tokens, out_features], &x.device());
        for e in 0..experts {
            let a = self.lora_a.val().narrow(0, e, 1).reshape([rank, in_features]);
            let b = self.lora_b.val().narrow(0, e, 1).reshape([out_features, rank]);
            let mut y = x.clone().matmul(a.transpose()).matmul(b.transpose()) * self.scaling;
            if let Some(routing) = routing {
                y = y * routing.weights.clone().narrow(1, e, 1).cast(x.dtype());
            }
            sum = sum + y;
        }
        sum
    }

    /// `drop(x) A^T`, `[T, E r]`.
    fn down(&self, x: Tensor<2>, training_seed: Option<u64>) -> Tensor<2> {
        let [experts, rank, in_features] = self.lora_a.dims();
        let a = self.lora_a.val();
        match training_seed.filter(|_| self.lora_dropout > 0.0) {
            None => linear(x, a.reshape([experts * rank, in_features]).transpose(), None),
            Some(seed) if self.dropout_per_expert => {
                let parts = (0..experts).map(|e| {
                    let a = a.clone().narrow(0, e, 1).reshape([rank, in_features]);
                    dropout_linear(x.clone(), a, self.lora_dropout, seed.wrapping_add(e as u64))
                });
                Tensor::cat(parts.collect(), 1)
            }
            Some(seed) => {
                let a = a.reshape([experts * rank, in_features]);
                dropout_linear(x, a, self.lora_dropout, seed)
            }
        }
    }

    /// `weights_e * (drop(x) A^T)_e`, `[T, E r]`.
    fn gated(
        &self,
        x: Tensor<2>,
        routing: Option<&Routing>,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        let tokens = x.dims()[0];
        let [experts, rank, _] = self.lora_a.dims();
        let hidden = self.down(x, training_seed);
        let Some(routing) = routing else { return hidden };
        let weights = routing.weights.clone().cast(hidden.dtype());
        let weights = weights.reshape([tokens, experts, 1]);
        let gated = hidden.reshape([tokens, experts, rank]) * weights;
        gated.reshape([tokens, experts * rank])
    }

    /// `s * B^T`, `[E r, O]`: the scaling is applied to the smallest of the operands.
    fn up(&self) -> Tensor<2> {
        let [experts, out_features, rank] = self.lora_b.dims();
        let b = self.lora_b.val().swap_dims(1, 2).reshape([experts * rank, out_features]);
        b * self.scaling
    }
}

impl ExpertBank for LoraBank {
    fn num_experts(&self) -> usize {
        self.lora_a.dims()[0]
    }

    fn forward(
        &self,
        base: &Linear,
        x: Tensor<2>,
        routing: Option<&Routing>,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        let bias = base.bias.as_ref().map(|bias| bias.val());
        let gated = self.gated(x.clone(), routing, training_seed);
        linear_add(x, base.weight.val(), bias, gated, self.up())
    }

    fn expert_forward(
        &self,
        expert: usize,
        _base: &Linear,
        base_output: Tensor<2>,
        x: Tensor<2>,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        let [_, rank, in_features] = self.lora_a.dims();
        let out_features = self.lora_b.dims()[1];
        let a = self.lora_a.val().narrow(0, expert, 1).reshape([rank, in_features]);
        let b = self.lora_b.val().narrow(0, expert, 1).reshape([out_features, rank]);
        let hidden = match training_seed.filter(|_| self.lora_dropout > 0.0) {
            None => linear(x, a.transpose(), None),
            Some(seed) => {
                let seed = if self.dropout_per_expert { seed + expert as u64 } else { seed };
                dropout_linear(x, a, self.lora_dropout, seed)
            }
        };
        base_output + linear(hidden, b.transpose() * self.scaling, None)
    }

    fn parameters(&self) -> Vec<Tensor<3>> {
        vec![self.lora_a.val(), self.lora_b.val()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::LinearConfig;
    use burn::tensor::activation::softmax;
    use burn::tensor::{Device, Distribution, Tolerance};

    const T: usize = 7;
    const E: usize = 3;
    const R: usize = 2;
    const I: usize = 5;
    const O: usize = 6;

    fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
    }

    fn routing(logits: Tensor<2>) -> Routing {
        let probabilities = softmax(logits.clone(), 1);
        Routing::dense(logits, probabilities.clone(), probabilities)
    }

    fn bank(dropout: f64, mask: DropoutMask, device: &Device) -> LoraBank {
        LoraBankConfig::new(1.5)
            .with_dropout(dropout, mask)
            .init(random([E, R, I], device), random([E, O, R], device))
            .unwrap()
    }

    /// A base that gives zero, so that only the experts show.
    fn nothing(device: &Device) -> Linear {
        let mut base = LinearConfig::new(I, O).with_bias(false).init(device);
        base.weight = Param::from_tensor(Tensor::zeros([I, O], device));
        base
    }

    #[test]
    fn fused_execution_equals_the_plain_one_in_values_and_gradients() {
        let device = Device::flex().autodiff();
        for bias in [false, true] {
            let base = LinearConfig::new(I, O).with_bias(bias).init(&device);
            let bank = bank(0.0, DropoutMask::Shared, &device);
            let x = random([T, I], &device).require_grad();
            let logits = random([T, E], &device).require_grad();
            let out_weights = random([T, O], &device);
            let run = |result: &dyn Fn(Tensor<2>, &Routing) -> Tensor<2>| {
                let y = result(x.clone(), &routing(logits.clone()));
                let grads = (y.clone() * out_weights.clone()).sum().backward();
                let bias = base.bias.as_ref().map(|bias| bias.val().grad(&grads).unwrap());
                let mut all = vec![
                    y.into_data(),
                    x.grad(&grads).unwrap().into_data(),
                    logits.grad(&grads).unwrap().into_data(),
                    base.weight.val().grad(&grads).unwrap().into_data(),
                    bank.lora_a.val().grad(&grads).unwrap().into_data(),
                    bank.lora_b.val().grad(&grads).unwrap().into_data(),
                ];
                all.extend(bias.map(Tensor::into_data));
                all
            };
            let plain = run(&|x, r| base.forward(x.clone()) + bank.forward_reference(x, Some(r)));
            let fused = run(&|x, r| bank.forward(&base, x, Some(r), Some(0)));
            let one_by_one = run(&|x, r| {
                let base_output = base.forward(x.clone());
                let sum = (0..E).map(|e| {
                    let y = bank.expert_forward(e, &base, base_output.clone(), x.clone(), None);
                    (y - base_output.clone()) * r.weights.clone().narrow(1, e, 1)
                });
                sum.reduce(|a, b| a + b).unwrap() + base_output.clone()
            });
            for (i, plain) in plain.iter().enumerate() {
                fused[i].assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-5, 1e-5));
                one_by_one[i].assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-5, 1e-5));
            }
        }
    }

    #[test]
    fn without_routing_every_expert_counts_once() {
        let device = Device::flex();
        let bank = bank(0.0, DropoutMask::Shared, &device);
        let x = random([T, I], &device);
        let fused = bank.forward(&nothing(&device), x.clone(), None, None).into_data();
        let plain = bank.forward_reference(x, None).into_data();
        fused.assert_approx_eq::<f32>(&plain, Tolerance::rel_abs(1e-5, 1e-5));
    }

    #[test]
    fn dropout_is_active_in_training_only_and_keeps_the_expectation() {
        let device = Device::flex();
        let base = nothing(&device);
        for mask in [DropoutMask::Shared, DropoutMask::PerExpert] {
            let bank = bank(0.5, mask, &device);
            let x = random([T, I], &device);
            let plain = bank.forward_reference(x.clone(), None);
            let evaluated = bank.forward(&base, x.clone(), None, None).into_data();
            evaluated.assert_approx_eq::<f32>(
                &plain.clone().into_data(),
                Tolerance::rel_abs(1e-5, 1e-5),
            );
            let rounds = 3000;
            let mut sum = Tensor::zeros([T, O], &device);
            for round in 0..rounds {
                sum = sum + bank.forward(&base, x.clone(), None, Some(97 * round));
            }
            let scale = plain.clone().abs().max().into_scalar::<f32>();
            let error = (sum / rounds as f64 - plain).abs().max().into_scalar::<f32>();
            assert!(error < 0.15 * scale, "{mask:?}: {error} of {scale}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let device = Device::flex();
        let init = |config: LoraBankConfig, b: [usize; 3]| {
            config.init(random([E, R, I], &device), random(b, &device)).unwrap_err()
        };
        let config = LoraBankConfig::new(1.0).with_dropout(1.0, DropoutMask::Shared);
        assert_eq!(init(config, [E, O, R]), ExpertError::Dropout { value: 1.0 });
        let error = init(LoraBankConfig::new(f64::INFINITY), [E, O, R]);
        assert_eq!(error, ExpertError::Scaling { value: f64::INFINITY });
        let error = init(LoraBankConfig::new(1.0), [E, O, R + 1]);
        assert_eq!(error, ExpertError::Shapes { a: [E, R, I], b: [E, O, R + 1] });
    }
}
