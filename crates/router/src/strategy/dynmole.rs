use burn::module::Module;
use burn::tensor::{Device, Tensor};
use fused_ops::softmax_rows;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{number, number_of_experts};
use crate::{
    BatchContext, GateConfig, GatedRouter, Read, RouterError, RouterShape, Routing, RoutingExtras,
    Strategy, StrategyConfig, select,
};

/// An entropy of distributions, divided by that of the uniform one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Entropy {
    /// `(1 - sum p^q) / (q - 1)`; Shannon's for `q = 1`.
    Tsallis {
        /// The index, above 0.
        q: f64,
    },
    /// `ln(sum p^q) / (1 - q)`; Shannon's for `q = 1`.
    Renyi {
        /// The index, above 0.
        q: f64,
    },
}

impl Default for Entropy {
    fn default() -> Self {
        Self::Tsallis { q: 1.1 }
    }
}

impl Entropy {
    fn q(&self) -> f64 {
        match *self {
            Self::Tsallis { q } | Self::Renyi { q } => q,
        }
    }

    /// The entropy of each row of `[T, E]`, as `[T, 1]`. `epsilon` is added to each probability.
    pub fn of(&self, probabilities: Tensor<2>, epsilon: f64) -> Tensor<2> {
        let experts = probabilities.dims()[1] as f64;
        let q = self.q();
        let p = probabilities + epsilon;
        // Rounding spoils the differences below where q is almost 1.
        let (entropy, largest) = if (q - 1.0).abs() < 1e-4 {
            ((p.clone() * p.log()).sum_dim(1).neg(), experts.ln())
        } else {
            let sum = p.powf_scalar(q).sum_dim(1);
            match self {
                Self::Tsallis { .. } => {
                    ((sum.neg() + 1.0) / (q - 1.0), (1.0 - experts.powf(1.0 - q)) / (q - 1.0))
                }
                Self::Renyi { .. } => (sum.log() / (1.0 - q), experts.ln()),
            }
        };
        // One expert has the entropy 0.
        if largest > 0.0 { entropy / largest } else { entropy }
    }
}

/// Configuration of a [`Dynmole`] router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DynmoleRouterConfig {
    /// The probability that the selected experts do not exceed, in (0, 1]. Default 0.75.
    pub p: f64,
    /// The number of experts selected in any case. Default 2.
    pub min_experts: usize,
    /// The entropy, divided by the largest possible, above which all experts are selected. In
    /// [0, 1], default 0.9.
    pub entropy_threshold: f64,
    /// Which entropy. Default: Tsallis with `q = 1.1`.
    pub entropy: Entropy,
    /// Added to each probability before its entropy is taken, above 0. Default 1e-5.
    pub epsilon: f64,
    /// Whether the weights are divided by their sum. Default false.
    pub renormalise: bool,
    /// The gate.
    pub gate: GateConfig,
}

impl Default for DynmoleRouterConfig {
    fn default() -> Self {
        Self {
            p: 0.75,
            min_experts: 2,
            entropy_threshold: 0.9,
            entropy: Entropy::default(),
            epsilon: 1e-5,
            renormalise: false,
            gate: GateConfig::default(),
        }
    }
}

impl StrategyConfig for DynmoleRouterConfig {
    type Strategy = Dynmole;

    fn gate(&self) -> &GateConfig {
        &self.gate
    }

    fn check_strategy(&self, shape: &RouterShape) -> Result<(), RouterError> {
        number("p", self.p, |p| p > 0.0 && p <= 1.0, "in (0, 1]")?;
        number_of_experts("min_experts", self.min_experts, shape.num_experts)?;
        let unit = |value| (0.0..=1.0).contains(&value);
        number("entropy_threshold", self.entropy_threshold, unit, "in [0, 1]")?;
        let positive = "a finite number above 0";
        number("entropy.q", self.entropy.q(), |q| q > 0.0, positive)?;
        number("epsilon", self.epsilon, |epsilon| epsilon > 0.0, positive)
    }

    fn init_strategy<R: Rng + ?Sized>(&self, _: &RouterShape, _: &mut R, _: &Device) -> Dynmole {
        Dynmole {
            p: self.p,
            min_experts: self.min_experts,
            entropy_threshold: self.entropy_threshold,
            entropy: self.entropy,
            epsilon: self.epsilon,
            renormalise: self.renormalise,
        }
    }
}

/// All experts where the router is unsure, the most probable ones elsewhere.
///
/// Where the entropy of `p = softmax(logits)` is above the threshold all experts are selected;
/// elsewhere those with the largest probabilities while their sum is at most `p`, and at least
/// `min_experts`. `w = p_e` of the selected. Source: DynMoLE, arXiv 2504.00661. The entropy is in
/// the routing's extras, for the source's entropy loss; `balance_scores` are the weights.
#[derive(Module, Debug)]
pub struct Dynmole {
    /// The probability that the selected experts do not exceed.
    pub p: f64,
    /// The number of experts selected in any case.
    pub min_experts: usize,
    /// The entropy above which all experts are selected.
    pub entropy_threshold: f64,
    /// Which entropy.
    #[module(skip)]
    pub entropy: Entropy,
    /// Added to each probability before its entropy is taken.
    pub epsilon: f64,
    /// Whether the weights are divided by their sum.
    pub renormalise: bool,
}

/// See [`Dynmole`].
pub type DynmoleRouter = GatedRouter<Dynmole>;

impl Strategy for Dynmole {
    fn decide(&self, logits: Tensor<2>, _read: Read, _context: &BatchContext) -> Routing {
        let probabilities = softmax_rows(logits.clone());
        let entropy = self.entropy.of(probabilities.clone(), self.epsilon);
        let unsure = entropy.clone().without_autodiff().greater_elem(self.entropy_threshold);
        let selected = select::top_p(
            probabilities.clone(),
            self.p,
            select::Crossing::Dropped,
            self.min_experts,
        );
        let selected = selected.bool_or(unsure.expand(probabilities.dims()));
        let kept = select::keep(probabilities.clone(), selected.clone());
        let extras = RoutingExtras {
            entropy: Some(entropy.squeeze_dim(1)),
            balance_scores: Some(kept.clone()),
            ..Default::default()
        };
        let weights = match self.renormalise {
            true => select::renormalise(probabilities.clone(), selected.clone()),
            false => kept,
        };
        Routing::dense(logits, probabilities, weights)
            .with_selection(select::as_mask(selected), None)
            .with_extras(extras)
    }
}
