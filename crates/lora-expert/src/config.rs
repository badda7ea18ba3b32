use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{
    AnyBank, DoraBankConfig, DropoutMask, DynamicMergingConfig, Execution, ExpertError,
    ExpertSlots, Factors, Ia3BankConfig, LoraBankConfig,
};

/// The experts of a layer as configuration files name them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ExpertsConfig {
    /// LoRA experts; see [`LoraBank`](crate::LoraBank).
    Lora {
        /// Masks what the experts have learned; absent for no masks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        merging: Option<DynamicMergingConfig>,
        /// Which experts compute for which tokens.
        #[serde(default)]
        execution: Execution,
    },
    /// LoRA experts with one `A` for all (HydraLoRA); see [`LoraBank`](crate::LoraBank).
    Hydra {},
    /// DoRA experts; see [`DoraBank`](crate::DoraBank).
    Dora {},
    /// (IA)^3 vectors; see [`Ia3Bank`](crate::Ia3Bank).
    Ia3 {},
}

impl Default for ExpertsConfig {
    fn default() -> Self {
        Self::Lora { merging: None, execution: Execution::Auto }
    }
}

/// What the experts of a layer are beside their kind.
#[derive(Debug, Clone, PartialEq)]
pub struct BankOptions {
    /// What a router chooses from, identity experts included, `E`.
    pub num_experts: usize,
    /// Identity and shared experts.
    pub slots: ExpertSlots,
    /// The factor `s` of low-rank experts.
    pub scaling: f64,
    /// The probability that an input of low-rank experts is dropped in training.
    pub lora_dropout: f64,
    /// Whether experts share the dropout mask.
    pub dropout_mask: DropoutMask,
    /// Tells what is random in this layer, and then stays, from other layers.
    pub layer_seed: u64,
}

impl BankOptions {
    /// How many experts have parameters, `N`: routed and shared ones.
    pub fn trained_experts(&self) -> usize {
        let routed = self.num_experts.saturating_sub(self.slots.identity_experts);
        routed + self.slots.shared_experts
    }

    /// That there are factors of so many experts.
    fn refused(&self, found: usize) -> ExpertError {
        ExpertError::Slots {
            num_experts: self.num_experts,
            identity_experts: self.slots.identity_experts,
            shared_experts: self.slots.shared_experts,
            found,
        }
    }
}

impl ExpertsConfig {
    /// The kind, as in configuration files.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Lora { .. } => "lora",
            Self::Hydra {} => "hydra",
            Self::Dora {} => "dora",
            Self::Ia3 {} => "ia3",
        }
    }

    /// Checks what can be checked without a layer.
    ///
    /// # Errors
    ///
    /// [`ExpertError`] naming the field, the value and what is allowed.
    pub fn check(&self) -> Result<(), ExpertError> {
        match self {
            Self::Lora { merging: Some(merging), .. } => merging.check(),
            _ => Ok(()),
        }
    }

    /// How many `A` and how many `B` a start has to give for `trained` experts; `None` for experts
    /// that are not low-rank.
    pub fn factors(&self, trained: usize) -> Option<(usize, usize)> {
        match self {
            Self::Lora { .. } | Self::Dora {} => Some((trained, trained)),
            Self::Hydra {} => Some((1, trained)),
            Self::Ia3 {} => None,
        }
    }

    /// The number of parameters that train, in a layer with `trained` experts of rank `rank`.
    pub fn trainable_parameters(
        &self,
        trained: usize,
        rank: usize,
        in_features: usize,
        out_features: usize,
    ) -> usize {
        let (of_a, of_b) = self.factors(trained).unwrap_or((0, 0));
        let vectors = match self {
            Self::Lora { .. } | Self::Hydra {} => 0,
            Self::Dora {} | Self::Ia3 {} => trained * out_features,
        };
        rank * (of_a * in_features + of_b * out_features) + vectors
    }

    /// Checks what can be checked of a layer `[I, O]` before its experts are started.
    ///
    /// # Errors
    ///
    /// [`ExpertError`] naming the field, the value and what is allowed.
    pub fn check_layer(
        &self,
        options: &BankOptions,
        [in_features, out_features]: [usize; 2],
    ) -> Result<(), ExpertError> {
        self.check()?;
        let per_expert = options.dropout_mask == DropoutMask::PerExpert;
        if per_expert && matches!(self, Self::Hydra {} | Self::Dora {}) {
            return Err(ExpertError::DropoutMask { kind: self.name() });
        }
        if options.num_experts <= options.slots.identity_experts {
            return Err(options.refused(0));
        }
        options.slots.check(options.trained_experts(), in_features, out_features)
    }

    /// Makes the experts of one layer.
    ///
    /// `factors` is where low-rank experts start, as many as [`factors`](Self::factors) says;
    /// others ignore it. `weight` `[I, O]` is the frozen weight as it will be in the forward pass,
    /// with what the start takes out of it already gone.
    ///
    /// # Errors
    ///
    /// [`ExpertError`] when something is out of range, missing, or does not fit the weight.
    pub fn init(
        &self,
        options: &BankOptions,
        factors: Option<Factors>,
        weight: &Tensor<2>,
    ) -> Result<AnyBank, ExpertError> {
        self.check_layer(options, weight.dims())?;
        let BankOptions { slots, scaling, lora_dropout, dropout_mask, .. } = *options;
        let trained = options.trained_experts();
        let Some((of_a, of_b)) = self.factors(trained) else {
            let bank = Ia3BankConfig { slots }.init(trained, weight.dims(), &weight.device())?;
            return Ok(AnyBank::Ia3(bank));
        };
        let factors = factors.ok_or(ExpertError::NoFactors { kind: self.name() })?;
        let (a, b) = (factors.lora_a.dims(), factors.lora_b.dims());
        if b[0] != of_b {
            return Err(options.refused(b[0]));
        }
        if a[0] != of_a {
            return Err(ExpertError::Shapes { a, b });
        }
        let (expected, found) = ([a[2], b[1]], weight.dims());
        if expected != found {
            return Err(ExpertError::WeightShape { expected, found });
        }
        let Self::Lora { merging, execution } = *self else {
            return match self {
                Self::Dora {} => DoraBankConfig { scaling, lora_dropout, slots }
                    .init(factors, weight)
                    .map(AnyBank::Dora),
                _ => LoraBankConfig::new(scaling)
                    .with_dropout(lora_dropout, dropout_mask)
                    .with_slots(slots)
                    .with_expert_scaling(factors.expert_scaling)
                    .init(factors.lora_a, factors.lora_b)
                    .map(AnyBank::Lora),
            };
        };
        LoraBankConfig::new(scaling)
            .with_dropout(lora_dropout, dropout_mask)
            .with_slots(slots)
            .with_expert_scaling(factors.expert_scaling)
            .with_merging(merging, options.layer_seed)
            .with_execution(execution)
            .init(factors.lora_a, factors.lora_b)
            .map(AnyBank::Lora)
    }
}

#[cfg(test)]
mod tests;
