use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::bank::{scaled, stack};
use crate::error::{not_negative, positive};
use crate::factors::leading_triplets;
use crate::host::HostMatrix;
use crate::{
    BankShape, ExpertInit, ExpertStart, InitError, LayerStatistics, StatisticsNeeded, SvdMethod,
    TripletPlan,
};

/// Experts whose first step is the best that their rank allows towards full fine-tuning's.
///
/// With `G = U S V^T` the gradient of the loss with respect to the weight, `[O, I]`, each expert
/// takes the next `2 r` triplets; one half gives `A` and the other `B`, times
/// `O^(1/4) / sqrt(gamma)`, which keeps outputs and gradients of a size whatever `O` and `r` are.
/// For one expert `B B^T G + G A^T A` is then a multiple of the best approximation of `G` of rank
/// `2 r`. The residual is `W - init_cof s sum_j B_j A_j`.
///
/// Source: LoRA-GA, arXiv 2407.05000, theorems 3.1 and 3.2. Needs the gradient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraGaConfig {
    /// `gamma`, of the stable scaling. Default: 16.
    pub stable_gamma: f64,
    /// Which half of the triplets gives `A`. Default: `a2r_br`.
    pub direction: GradientDirection,
    /// The coefficient of the residual. Default: `1 / E`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_cof: Option<f64>,
    /// How the triplets are found.
    pub svd: SvdMethod,
}

impl Default for LoraGaConfig {
    fn default() -> Self {
        Self {
            stable_gamma: 16.0,
            direction: GradientDirection::default(),
            init_cof: None,
            svd: SvdMethod::default(),
        }
    }
}

/// Which half of an expert's `2 r` gradient triplets gives which factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GradientDirection {
    /// The first `r` give `B`, the others `A`: the paper.
    #[default]
    A2rBr,
    /// The first `r` give `A`, the others `B`: the default of the published code and of PEFT.
    ArB2r,
}

impl LoraGaConfig {
    /// Checks what can be checked without a weight.
    ///
    /// # Errors
    ///
    /// [`InitError`] naming the key that cannot work.
    pub fn check(&self) -> Result<(), InitError> {
        positive("stable_gamma", self.stable_gamma)?;
        self.init_cof.map(|value| not_negative("init_cof", value)).transpose().map(|_| ())
    }
}

impl ExpertInit for LoraGaConfig {
    fn needs(&self) -> StatisticsNeeded {
        StatisticsNeeded { gradient: true, ..StatisticsNeeded::default() }
    }

    fn triplets(&self, shape: &BankShape) -> Result<Option<TripletPlan>, InitError> {
        shape.check_directions("gradient", 2 * shape.total_rank(), shape.num_triplets())?;
        Ok(None)
    }

    fn start(
        &self,
        weight: &Tensor<2>,
        shape: &BankShape,
        statistics: &LayerStatistics,
        _rng: &mut dyn Rng,
    ) -> Result<ExpertStart, InitError> {
        self.check()?;
        shape.check(weight)?;
        self.triplets(shape)?;
        let count = 2 * shape.total_rank();
        let gradient = statistics.gradient("lora_ga", weight.dims())?;
        let host = HostMatrix::read(gradient, "gradient")?;
        let triplets = leading_triplets(host.transposed(), count, self.svd)?;

        let size = (shape.out_features as f64).powf(0.25) / self.stable_gamma.sqrt();
        let rank = shape.rank;
        let of_half = |half: usize, index: usize| (2 * (index / rank) + half) * rank + index % rank;
        let (a, b) = match self.direction {
            GradientDirection::A2rBr => (1, 0),
            GradientDirection::ArB2r => (0, 1),
        };
        let (lora_a, lora_b) = stack(
            shape,
            &weight.device(),
            |index, row| {
                scaled(triplets.right.col(of_half(a, index)).iter(), size, row);
            },
            |index, column| {
                scaled(triplets.left.col(of_half(b, index)).iter(), size, column);
            },
        );
        let residual = shape.residual_coefficient(self.init_cof);
        Ok(ExpertStart::unchanged(lora_a, lora_b).with_residual(residual))
    }
}
