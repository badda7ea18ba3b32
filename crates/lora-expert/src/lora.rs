use burn::module::{Module, Param};
use burn::tensor::Tensor;
use fused_ops::{
    DownPart, ExpertDropout, ExpertSum, add_experts, add_low_rank, down_experts, dropout, few_rows,
    linear_add_experts, linear_routed, runs_kernels, scale_up,
};
use router::Routing;

use crate::factors::{check_factors, check_numbers, expert_scaling, merged_factors};
use crate::merging::MergingMasks;
use crate::{
    BaseLinear, DropoutMask, DynamicMergingConfig, Execution, ExpertBank, ExpertError, ExpertSlots,
    LinearUpdate, PassFactors,
};

/// Configuration of a [`LoraBank`].
#[derive(Debug, Clone, PartialEq)]
pub struct LoraBankConfig {
    /// The factor `s` of the experts' output, as in `lora_alpha / r`.
    pub scaling: f64,
    /// A factor of each expert's scaling, `s_e = s * expert_scaling[e]`. Default: all 1.
    pub expert_scaling: Option<Vec<f64>>,
    /// The probability that an input of the experts is dropped in training. Default 0.
    pub lora_dropout: f64,
    /// Whether experts share the dropout mask. Default: they do.
    pub dropout_mask: DropoutMask,
    /// Identity and shared experts. Default: none.
    pub slots: ExpertSlots,
    /// Dynamic merging. Default: none.
    pub merging: Option<DynamicMergingConfig>,
    /// Tells a layer's fixed masks from those of others. Default 0.
    pub layer_seed: u64,
    /// Which experts compute for which tokens. Default: whichever is faster.
    pub execution: Execution,
}

impl LoraBankConfig {
    /// Plain LoRA experts without dropout.
    pub fn new(scaling: f64) -> Self {
        Self {
            scaling,
            expert_scaling: None,
            lora_dropout: 0.0,
            dropout_mask: DropoutMask::Shared,
            slots: ExpertSlots::default(),
            merging: None,
            layer_seed: 0,
            execution: Execution::Auto,
        }
    }

    /// Sets the dropout of the experts' input.
    pub fn with_dropout(mut self, lora_dropout: f64, mask: DropoutMask) -> Self {
        self.lora_dropout = lora_dropout;
        self.dropout_mask = mask;
        self
    }

    /// Gives each expert a factor of its scaling.
    pub fn with_expert_scaling(mut self, expert_scaling: Option<Vec<f64>>) -> Self {
        self.expert_scaling = expert_scaling;
        self
    }

    /// Sets the identity and shared experts.
    pub fn with_slots(mut self, slots: ExpertSlots) -> Self {
        self.slots = slots;
        self
    }

    /// Sets dynamic merging; `layer_seed` tells a layer's fixed masks from those of others.
    pub fn with_merging(mut self, merging: Option<DynamicMergingConfig>, layer_seed: u64) -> Self {
        self.merging = merging;
        self.layer_seed = layer_seed;
        self
    }

    /// Sets the execution.
    pub fn with_execution(mut self, execution: Execution) -> Self {
        self.execution = execution;
        self
    }

    /// Makes the bank from the factors of its experts, `A` `[N, r, I]` and `B` `[N, O, r]`. An `A`
    /// of `[1, r, I]` is shared by all experts (HydraLoRA).
    ///
    /// # Errors
    ///
    /// [`ExpertError`] when the factors do not fit each other or a value is out of range.
    pub fn init(&self, a: Tensor<3>, b: Tensor<3>) -> Result<LoraBank, ExpertError> {
        check_numbers(self.scaling, self.lora_dropout)?;
        check_factors(&a, &b)?;
        let [experts, out_features, _] = b.dims();
        self.slots.check(experts, a.dims()[2], out_features)?;
        let dropout_per_expert = self.dropout_mask == DropoutMask::PerExpert;
        let shared_a = a.dims()[0] != experts;
        if shared_a && dropout_per_expert {
            return Err(ExpertError::DropoutMask { kind: "hydra" });
        }
        if let Some(merging) = &self.merging {
            if shared_a {
                return Err(ExpertError::Shapes { a: a.dims(), b: b.dims() });
            }
            merging.check()?;
        }
        let factors = [a, b];
        let masks = self.merging.and_then(|merging| merging.fixed(self.layer_seed, &factors));
        let [a, b] = factors;
        let expert_scaling = expert_scaling(self.expert_scaling.as_deref(), experts, &a.device())?;
        let (keep_cols, keep_rows) = masks.map(|masks| (masks.cols, masks.rows)).unzip();
        Ok(LoraBank {
            lora_a: Param::from_tensor(a),
            lora_b: Param::from_tensor(b),
            expert_scaling,
            scaling: self.scaling,
            keep_cols,
            keep_rows,
            lora_dropout: self.lora_dropout,
            dropout_per_expert,
            slots: self.slots,
            merging: self.merging,
            execution: self.execution,
        })
    }
}

/// LoRA experts, stacked: `f_e(x) = s_e * B_e A_e drop(x)`.
///
/// The weighted sum of all experts is two matrix products, with the weights folded in between:
///
/// ```text
/// h   = x A^T                [T, N r]    2 T I N r flops
/// h_e = weights_e * h_e      [T, N r]
/// y   = s * h B^T            [T, O]      2 T O N r flops
/// ```
///
/// No tensor of `[tokens, experts, out_features]` ever exists. Where tokens select few of many
/// experts, each expert can compute for its own tokens only; see [`Execution`].
///
/// With one `A` for all experts (HydraLoRA) `x A^T` is `[T, r]`, computed once.
///
/// Source: LoRA, arXiv 2106.09685; LoRAMoE, arXiv 2312.09979, equation 4; HydraLoRA, arXiv
/// 2404.19245, equation 2; the scaling of each expert: GOAT, arXiv 2502.16894.
#[derive(Module, Debug)]
pub struct LoraBank {
    /// `A`, `[N, r, I]`, or `[1, r, I]` where all experts share it.
    pub lora_a: Param<Tensor<3>>,
    /// `B`, `[N, O, r]`.
    pub lora_b: Param<Tensor<3>>,
    /// `s_e / s`, `[N]`, not trained; absent where all are 1.
    pub expert_scaling: Option<Param<Tensor<1>>>,
    /// `s`.
    pub scaling: f64,
    keep_cols: Option<Tensor<3>>,
    keep_rows: Option<Tensor<3>>,
    lora_dropout: f64,
    dropout_per_expert: bool,
    #[module(skip)]
    slots: ExpertSlots,
    #[module(skip)]
    merging: Option<DynamicMergingConfig>,
    #[module(skip)]
    execution: Execution,
}

impl LoraBank {
    /// The rank of each expert, `r`.
    pub fn rank(&self) -> usize {
        self.lora_a.dims()[1]
    }

    /// Fixes which rows of `B`, `[N, O]`, and columns of `A`, `[N, I]`, are kept, by 1 and 0, in
    /// place of the masks of dynamic merging.
    ///
    /// # Errors
    ///
    /// [`ExpertError::Masks`] when the masks are not of the bank's sizes.
    pub fn with_masks(
        mut self,
        keep_rows: Tensor<2>,
        keep_cols: Tensor<2>,
    ) -> Result<Self, ExpertError> {
        let ([of_a, _, in_features], [experts, out_features, _]) =
            (self.lora_a.dims(), self.lora_b.dims());
        let expected = [[experts, out_features], [of_a, in_features]];
        let found = [keep_rows.dims(), keep_cols.dims()];
        if expected != found {
            return Err(ExpertError::Masks { expected, found });
        }
        self.keep_rows = Some(keep_rows.unsqueeze_dim(2));
        self.keep_cols = Some(keep_cols.unsqueeze_dim(1));
        Ok(self)
    }

    /// The experts' weighted sum without the base, outside of training, `[T, O]`, expert by expert
    /// as the formula reads. It is the reference that the fused execution is tested against.
    pub fn forward_reference(&self, x: Tensor<2>, routing: Option<&Routing>) -> Tensor<2> {
        let [a, b] = self.factors(None);
        let (tokens, [experts, out_features, _]) = (x.dims()[0], b.dims());
        let mut sum: Tensor<2> = Tensor::zeros([tokens, out_features], &x.device());
        for e in 0..self.num_experts() + self.slots.shared_experts {
            let mut y = match self.slots.trained_index(e) {
                None => self.slots.add_one_identity(sum.zeros_like(), x.clone()),
                Some(e) => {
                    let of_a = if a.dims()[0] == experts { e } else { 0 };
                    let a = a.clone().narrow(0, of_a, 1).squeeze_dim::<2>(0);
                    let b = b.clone().narrow(0, e, 1).squeeze_dim::<2>(0);
                    let y = x.clone().matmul(a.transpose()).matmul(b.transpose()) * self.scaling;
                    match self.factors_of_scaling() {
                        None => y,
                        Some(factors) => y * factors.narrow(0, e, 1).reshape([1, 1]),
                    }
                }
            };
            if let Some(routing) = routing.filter(|_| e < self.num_experts()) {
                y = y * routing.weights.clone().narrow(1, e, 1).cast(x.dtype());
            }
            sum = sum + y;
        }
        sum
    }

    /// `A` and `B` with the masks of the pass.
    fn factors(&self, training_seed: Option<u64>) -> [Tensor<3>; 2] {
        let factors = [self.lora_a.val(), self.lora_b.val()];
        let masks = match (&self.keep_cols, &self.keep_rows) {
            (Some(cols), Some(rows)) => {
                Some(MergingMasks { cols: cols.clone(), rows: rows.clone() })
            }
            _ => self.merging.and_then(|merging| merging.fresh(training_seed, &factors)),
        };
        match masks {
            None => factors,
            Some(masks) => masks.apply(factors),
        }
    }

    /// `s_e / s`.
    fn factors_of_scaling(&self) -> Option<Tensor<1>> {
        self.expert_scaling.as_ref().map(|factors| factors.val())
    }

    /// [`forward_onto`](ExpertBank::forward_onto) outside of training, for few tokens.
    fn few_onto(&self, y: Tensor<2>, x: Tensor<2>, routing: Option<&Routing>) -> Tensor<2> {
        let weights = routing.map(|routing| self.slots.trained(routing.weights.clone()));
        let weights = match (weights, self.factors_of_scaling()) {
            (weights, None) => weights,
            (Some(weights), Some(factors)) => Some(weights * factors.unsqueeze_dim(0)),
            (None, Some(factors)) => Some(factors.unsqueeze_dim::<2>(0).repeat_dim(0, x.dims()[0])),
        };
        let y = add_low_rank(y, x.clone(), self.factors(None), weights, self.scaling);
        self.slots.add_identity(y, &x, routing.map(|routing| &routing.weights))
    }

    /// Probability and seed of the dropout, where it is active.
    fn dropout(&self, training_seed: Option<u64>) -> Option<(f64, u64)> {
        training_seed.filter(|_| self.lora_dropout > 0.0).map(|seed| (self.lora_dropout, seed))
    }

    /// `A` with what is dropped of what it reads.
    fn down(&self, a: Tensor<3>, training_seed: Option<u64>) -> DownPart {
        let experts = self.dropout_per_expert.then_some(a.dims()[0]);
        let dropout = self.dropout(training_seed);
        DownPart { a, dropout: dropout.map(|(p, seed)| ExpertDropout { p, seed, experts }) }
    }

    /// What all experts add for all tokens, from `x A^T`.
    fn sum(&self, hidden: Tensor<2>, b: Tensor<3>, routing: Option<&Routing>) -> ExpertSum {
        ExpertSum {
            hidden,
            weights: routing.map(|routing| self.slots.with_shared(routing.weights.clone())),
            b,
            scaling: self.scaling,
            factors: self.factors_of_scaling(),
        }
    }

    /// [`forward_onto`](ExpertBank::forward_onto), each expert for its own tokens only.
    fn routed_onto(
        &self,
        y: Tensor<2>,
        x: Tensor<2>,
        [a, b]: [Tensor<3>; 2],
        routing: &Routing,
        selected: Tensor<2>,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        let [experts, out_features, rank] = b.dims();
        let up = scale_up(b, self.scaling, self.factors_of_scaling());
        let up = up.reshape([experts, rank, out_features]);
        let inputs = match self.dropout(training_seed) {
            None => x.clone(),
            Some((p, seed)) => dropout(x.clone(), p, seed),
        };
        let weights = self.slots.trained(routing.weights.clone()).cast(x.dtype());
        let y = linear_routed(y, inputs, a, up, weights, selected);
        self.slots.add_identity(y, &x, Some(&routing.weights))
    }

    /// Which tokens an expert computes for, `[T, N]` of 1 and 0, by a routing; `None` where all do.
    fn sparse<'a>(
        &self,
        x: &Tensor<2>,
        routing: Option<&'a Routing>,
    ) -> Option<(&'a Routing, Tensor<2>)> {
        if self.execution == Execution::Dense
            || (self.dropout_per_expert && self.lora_dropout > 0.0)
        {
            return None;
        }
        let routing = routing?;
        let selection = routing.selection.as_ref()?;
        let [experts, _, rank] = self.lora_b.dims();
        if self.lora_a.dims()[0] != experts || !runs_kernels(x) {
            return None;
        }
        if self.execution == Execution::Auto {
            let active = routing.top_k? + self.slots.shared_experts;
            if !sparse_is_faster(x.dims()[0], experts, active, rank) {
                return None;
            }
        }
        Some((routing, self.slots.trained(selection.clone())))
    }
}

/// Whether the sparse execution, in which a token has `active` experts, is the faster one.
///
/// For each token and feature the dense execution does `E r` multiplications. The sparse one does
/// `active r`, and takes as long as 64 more to visit the result once more, and as 12 for each
/// expert to copy rows; for few tokens it is all overhead. The rule and its measurement on a CPU
/// are in `docs/src/experts.md`.
fn sparse_is_faster(tokens: usize, experts: usize, active: usize, rank: usize) -> bool {
    tokens >= 32 && 64 + active * (rank + 12) < experts * rank
}

impl ExpertBank for LoraBank {
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
        if training_seed.is_none() && few_rows(&x) {
            return self.few_onto(base.forward(x.clone()), x, routing);
        }
        let [a, b] = self.factors(training_seed);
        if let Some((routing, selected)) = self.sparse(&x, routing) {
            let y = base.forward(x.clone());
            return self.routed_onto(y, x, [a, b], routing, selected, training_seed);
        }
        let DownPart { a, dropout } = self.down(a, training_seed);
        let sum = self.sum(down_experts(x.clone(), a, dropout), b, routing);
        let y = linear_add_experts(x.clone(), base.factor(), base.bias(), sum);
        self.slots.add_identity(y, &x, routing.map(|routing| &routing.weights))
    }

    fn begins_with(&self, training_seed: Option<u64>) -> Option<PassFactors> {
        let [a, b] = self.factors(training_seed);
        Some(PassFactors { down: self.down(a, training_seed), b })
    }

    fn forward_from(
        &self,
        _base: &BaseLinear,
        base_output: Tensor<2>,
        x: Tensor<2>,
        (product, b): (Tensor<2>, Tensor<3>),
        routing: Option<&Routing>,
        _training_seed: Option<u64>,
    ) -> Tensor<2> {
        let y = add_experts(base_output, self.sum(product, b, routing));
        self.slots.add_identity(y, &x, routing.map(|routing| &routing.weights))
    }

    fn expert_forward(
        &self,
        expert: usize,
        _base: &BaseLinear,
        base_output: Tensor<2>,
        x: Tensor<2>,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        let Some(e) = self.slots.trained_index(expert) else {
            return self.slots.add_one_identity(base_output, x);
        };
        let [a, b] = self.factors(training_seed);
        let of_a = if a.dims()[0] == b.dims()[0] { e } else { 0 };
        let dropout = self.dropout(training_seed).map(|(p, seed)| {
            let own = if self.dropout_per_expert { e as u64 } else { 0 };
            ExpertDropout { p, seed: seed.wrapping_add(own), experts: None }
        });
        let sum = ExpertSum {
            hidden: down_experts(x, a.narrow(0, of_a, 1), dropout),
            weights: None,
            b: b.narrow(0, e, 1),
            scaling: self.scaling,
            factors: self.factors_of_scaling().map(|factors| factors.narrow(0, e, 1)),
        };
        add_experts(base_output, sum)
    }

    fn forward_onto(
        &self,
        _base: &BaseLinear,
        base_output: Tensor<2>,
        x: Tensor<2>,
        routing: &Routing,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        if training_seed.is_none() && few_rows(&x) {
            return self.few_onto(base_output, x, Some(routing));
        }
        let [a, b] = self.factors(training_seed);
        if let Some((routing, selected)) = self.sparse(&x, Some(routing)) {
            return self.routed_onto(base_output, x, [a, b], routing, selected, training_seed);
        }
        let DownPart { a, dropout } = self.down(a, training_seed);
        let sum = self.sum(down_experts(x.clone(), a, dropout), b, Some(routing));
        let y = add_experts(base_output, sum);
        self.slots.add_identity(y, &x, Some(&routing.weights))
    }

    fn parameters(&self) -> Vec<Tensor<3>> {
        vec![self.lora_a.val(), self.lora_b.val()]
    }

    fn update(&self, _base: &BaseLinear, weights: Option<Tensor<1>>) -> Option<LinearUpdate> {
        let weights = weights.map(|weights| weights.unsqueeze::<2>());
        let [a, b] = self.factors(None);
        let experts = b.dims()[0];
        let up = scale_up(b, self.scaling, self.factors_of_scaling());
        let trained = weights.clone().map(|weights| self.slots.trained(weights));
        Some(LinearUpdate {
            scale: None,
            bias_scale: None,
            factors: Some(merged_factors(a, up, trained, experts)),
            identity: self.slots.identity(weights),
        })
    }
}

#[cfg(test)]
mod tests;
