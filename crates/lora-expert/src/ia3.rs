use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use fused_ops::matmul;
use router::Routing;

use crate::{BaseLinear, ExpertBank, ExpertError, ExpertSlots, LinearUpdate};

/// Configuration of an [`Ia3Bank`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ia3BankConfig {
    /// Identity and shared experts. Default: none.
    pub slots: ExpertSlots,
}

impl Ia3BankConfig {
    /// Makes the vectors of `experts` experts for a layer `[in_features, out_features]`, all 1.
    ///
    /// # Errors
    ///
    /// [`ExpertError`] when a size is 0 or does not fit the slots.
    pub fn init(
        &self,
        experts: usize,
        [in_features, out_features]: [usize; 2],
        device: &Device,
    ) -> Result<Ia3Bank, ExpertError> {
        for (field, value) in [("experts", experts), ("out_features", out_features)] {
            if value == 0 {
                return Err(ExpertError::Zero { field });
            }
        }
        self.slots.check(experts, in_features, out_features)?;
        let ia3_l = Param::from_tensor(Tensor::ones([experts, out_features], device));
        Ok(Ia3Bank { ia3_l, slots: self.slots })
    }
}

/// (IA)^3 experts: each is a vector that rescales the outputs of the frozen linear,
/// `f_e(x) = (l_e - 1) o (W x + b)`.
///
/// Where the weights sum to 1 that is `y = (W x + b) o sum_e weights_e l_e`, the mixture of vectors
/// (MoV); one expert without routing is (IA)^3, `y = (W x + b) o l`. The vectors start as 1, so the
/// experts start as nothing, whatever the weights. The sum of the vectors costs `2 T N O` flops.
///
/// Source: (IA)^3, arXiv 2205.05638, section 3.3; MoV, arXiv 2309.05444, section 2.2.
#[derive(Module, Debug)]
pub struct Ia3Bank {
    /// `l`, `[N, O]`.
    pub ia3_l: Param<Tensor<2>>,
    #[module(skip)]
    slots: ExpertSlots,
}

impl Ia3Bank {
    /// `sum_e weights_e (l_e - 1)`, `[T, O]`, or `[1, O]` without weights.
    fn change(&self, weights: Option<&Tensor<2>>) -> Tensor<2> {
        let vectors = self.ia3_l.val() - 1.0;
        match weights {
            None => vectors.sum_dim(0),
            Some(weights) => {
                let trained = self.slots.trained(weights.clone());
                matmul(trained.cast(vectors.dtype()), vectors)
            }
        }
    }
}

impl ExpertBank for Ia3Bank {
    fn num_experts(&self) -> usize {
        self.slots.num_experts(self.ia3_l.dims()[0])
    }

    fn shared_experts(&self) -> usize {
        self.slots.shared_experts
    }

    fn forward(
        &self,
        base: &BaseLinear,
        x: Tensor<2>,
        routing: Option<&Routing>,
        _training_seed: Option<u64>,
    ) -> Tensor<2> {
        let base_output = base.forward(x.clone());
        let weights = routing.map(|routing| &routing.weights);
        let y = base_output * (self.change(weights) + 1.0);
        self.slots.add_identity(y, &x, weights)
    }

    fn expert_forward(
        &self,
        expert: usize,
        _base: &BaseLinear,
        base_output: Tensor<2>,
        x: Tensor<2>,
        _training_seed: Option<u64>,
    ) -> Tensor<2> {
        match self.slots.trained_index(expert) {
            None => self.slots.add_one_identity(base_output, x),
            Some(e) => base_output * self.ia3_l.val().narrow(0, e, 1),
        }
    }

    fn parameters(&self) -> Vec<Tensor<3>> {
        vec![self.ia3_l.val().unsqueeze_dim(2)]
    }

    fn update(&self, _base: &BaseLinear, weights: Option<Tensor<1>>) -> Option<LinearUpdate> {
        let weights = weights.map(|weights| weights.unsqueeze::<2>());
        let scale: Tensor<1> = (self.change(weights.as_ref()) + 1.0).squeeze_dim(0);
        Some(LinearUpdate {
            scale: Some(scale.clone()),
            bias_scale: Some(scale),
            factors: None,
            identity: self.slots.identity(weights),
        })
    }
}

#[cfg(test)]
mod tests;
