use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::ExpertError;

/// What an identity expert adds to the frozen linear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityMode {
    /// Nothing, `f(x) = 0`: what it is weighted with leaves the base model as it is.
    #[default]
    Zero,
    /// Its input, `f(x) = x`, for square layers.
    PassThrough,
}

/// The experts of a layer beside those that a bank trains for routing.
///
/// A router's experts are first the identity experts, then the routed ones. The stacked parameters
/// of a bank are first those of the routed experts, then those of the shared ones.
///
/// Source: identity experts, SLIM, arXiv 2410.07739, section 3; shared experts, DeepSeekMoE, arXiv
/// 2401.06066, section 3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpertSlots {
    /// How many of a router's experts, the first ones, are identity experts. Default 0.
    pub identity_experts: usize,
    /// What they add. Default: nothing.
    pub identity_mode: IdentityMode,
    /// How many trained experts no router chooses: they always have weight 1. Default 0.
    pub shared_experts: usize,
}

impl ExpertSlots {
    /// Checks that a bank of `trained` experts can have these slots.
    pub(crate) fn check(
        &self,
        trained: usize,
        in_features: usize,
        out_features: usize,
    ) -> Result<(), ExpertError> {
        if trained <= self.shared_experts {
            return Err(ExpertError::Slots {
                num_experts: self.identity_experts,
                identity_experts: self.identity_experts,
                shared_experts: self.shared_experts,
                found: trained,
            });
        }
        if self.passes_through() && in_features != out_features {
            return Err(ExpertError::PassThrough { in_features, out_features });
        }
        Ok(())
    }

    /// What a router chooses from, for a bank of `trained` experts.
    pub(crate) fn num_experts(&self, trained: usize) -> usize {
        self.identity_experts + trained - self.shared_experts
    }

    /// The stacked index of a router's expert; `None` for an identity expert. Indices from
    /// [`num_experts`](Self::num_experts) on are the shared experts.
    pub(crate) fn trained_index(&self, expert: usize) -> Option<usize> {
        expert.checked_sub(self.identity_experts)
    }

    /// The columns of the trained experts, `[T, E] -> [T, N]`; those of the shared ones are 1.
    pub(crate) fn trained(&self, weights: Tensor<2>) -> Tensor<2> {
        let [_, experts] = weights.dims();
        let routed = match self.identity_experts {
            0 => weights,
            identity => weights.narrow(1, identity, experts - identity),
        };
        self.with_shared(routed)
    }

    /// The columns of all experts, of which the last are those of the [`trained`](Self::trained) ones.
    pub(crate) fn with_shared(&self, weights: Tensor<2>) -> Tensor<2> {
        if self.shared_experts == 0 {
            return weights;
        }
        let ones = Tensor::<2>::ones([weights.dims()[0], self.shared_experts], &weights.device());
        let ones = ones.cast(weights.dtype());
        Tensor::cat(vec![weights, ones], 1)
    }

    /// `y` with the identity experts' part added; `weights` is `[T, E]`, all 1 where absent.
    pub(crate) fn add_identity(
        &self,
        y: Tensor<2>,
        x: &Tensor<2>,
        weights: Option<&Tensor<2>>,
    ) -> Tensor<2> {
        if !self.passes_through() {
            return y;
        }
        y + match self.through(weights) {
            Ok(share) => x.clone() * share.cast(x.dtype()),
            Err(count) => x.clone() * count,
        }
    }

    /// `y` with one identity expert added in full.
    pub(crate) fn add_one_identity(&self, y: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
        if self.passes_through() { y + x } else { y }
    }

    /// The factor of the input that identity experts add at fixed weights, `[1, E]`, or all 1.
    pub(crate) fn identity(&self, weights: Option<Tensor<2>>) -> f64 {
        if !self.passes_through() {
            return 0.0;
        }
        match self.through(weights.as_ref()) {
            Ok(share) => f64::from(share.into_scalar::<f32>()),
            Err(count) => count,
        }
    }

    /// The identity experts' share of each token `[T, 1]`, or their number.
    fn through(&self, weights: Option<&Tensor<2>>) -> Result<Tensor<2>, f64> {
        let weights = weights.ok_or(self.identity_experts as f64)?;
        Ok(weights.clone().narrow(1, 0, self.identity_experts).sum_dim(1))
    }

    fn passes_through(&self) -> bool {
        self.identity_experts > 0 && self.identity_mode == IdentityMode::PassThrough
    }
}
