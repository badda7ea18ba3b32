use burn::tensor::Tensor;
use thiserror::Error;

/// The sizes of a bank of experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BankShape {
    /// The number of experts, `E`.
    pub num_experts: usize,
    /// The rank of each expert, `r`.
    pub rank: usize,
    /// `I`, the size of an input.
    pub in_features: usize,
    /// `O`, the size of an output.
    pub out_features: usize,
    /// The factor `s` that the layer applies to the experts' output.
    pub scaling: f64,
}

impl BankShape {
    /// Whether the bank fits a weight `[in_features, out_features]`.
    ///
    /// # Errors
    ///
    /// [`InitError`] when a size is 0 or differs from the weight's.
    pub fn check(&self, weight: &Tensor<2>) -> Result<(), InitError> {
        for (field, value) in [("num_experts", self.num_experts), ("r", self.rank)] {
            if value == 0 {
                return Err(InitError::Zero { field });
            }
        }
        let found = weight.dims();
        let expected = [self.in_features, self.out_features];
        if found != expected {
            return Err(InitError::WeightShape { expected, found });
        }
        Ok(())
    }
}

/// The first values of a layer's experts.
#[derive(Debug, Clone)]
pub struct ExpertStart {
    /// `A` of every expert, `[E, r, I]`.
    pub lora_a: Tensor<3>,
    /// `B` of every expert, `[E, O, r]`.
    pub lora_b: Tensor<3>,
    /// The coefficient `c` of what is taken out of the frozen weight, so that the model's expected
    /// output at the start is the base model's: `W_res = W - c sum_e s_e B_e A_e`. `None` leaves
    /// the weight as it is.
    pub residual_coefficient: Option<f64>,
    /// Replaces the layer's scaling; `None` leaves it as it is.
    pub scaling: Option<f64>,
    /// A factor of each expert's scaling, `[E]`: `s_e = s * expert_scaling[e]`; `None` for all 1.
    pub expert_scaling: Option<Vec<f64>>,
}

/// A start that cannot be made.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum InitError {
    /// There is nothing to initialise.
    #[error("initialisation: `{field}` is 0, but must be at least 1")]
    Zero {
        /// The field at fault.
        field: &'static str,
    },
    /// The bank is for another weight.
    #[error(
        "initialisation: the experts are for a weight [in, out] of {expected:?}, but it is {found:?}"
    )]
    WeightShape {
        /// What the bank is for.
        expected: [usize; 2],
        /// What it was given.
        found: [usize; 2],
    },
}
