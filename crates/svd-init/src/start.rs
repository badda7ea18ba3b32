use burn::tensor::{Device, Tensor, TensorData};

use crate::InitError;

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

    /// The ranks of all experts together.
    pub(crate) fn total_rank(&self) -> usize {
        self.num_experts * self.rank
    }

    /// The number of triplets of the weight's singular value decomposition.
    pub(crate) fn num_triplets(&self) -> usize {
        self.in_features.min(self.out_features)
    }

    /// An error where `needed` directions of a matrix with `available` are too many.
    pub(crate) fn check_directions(
        &self,
        matrix: &'static str,
        needed: usize,
        available: usize,
    ) -> Result<(), InitError> {
        if needed <= available {
            return Ok(());
        }
        let (num_experts, rank) = (self.num_experts, self.rank);
        Err(InitError::RankTooLarge { matrix, num_experts, rank, needed, available })
    }

    /// The coefficient of the residual: as given, else `1 / E`, the mean weight of an expert.
    pub(crate) fn residual_coefficient(&self, init_cof: Option<f64>) -> f64 {
        init_cof.unwrap_or(1.0 / self.num_experts as f64)
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
    /// A factor of each expert's scaling, `[E]`: `s_e = s * expert_scaling[e]`; `None` for all 1.
    pub expert_scaling: Option<Vec<f64>>,
}

impl ExpertStart {
    /// Factors whose layer keeps its weight and its scaling.
    pub fn unchanged(lora_a: Tensor<3>, lora_b: Tensor<3>) -> Self {
        Self { lora_a, lora_b, residual_coefficient: None, expert_scaling: None }
    }

    /// The same, with `coefficient` of the products taken out of the frozen weight.
    pub fn with_residual(self, coefficient: f64) -> Self {
        Self { residual_coefficient: Some(coefficient), ..self }
    }

    /// Writes all of it, bit by bit, for whoever has the same layer; see [`read`](Self::read).
    pub fn write(&self, to: &mut Vec<u8>) {
        let coefficient: Vec<f64> = self.residual_coefficient.into_iter().collect();
        for values in [coefficient.as_slice(), self.expert_scaling.as_deref().unwrap_or(&[])] {
            to.extend((values.len() as u64).to_le_bytes());
            to.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        for factor in [&self.lora_a, &self.lora_b] {
            to.extend(factor.to_data().iter::<f32>().flat_map(f32::to_le_bytes));
        }
    }

    /// Reads what [`write`](Self::write) has written of a bank of `shape`; `None` where the bytes
    /// are of something else.
    pub fn read(mut bytes: &[u8], shape: &BankShape, device: &Device) -> Option<Self> {
        let BankShape { num_experts, rank, in_features, out_features, .. } = *shape;
        let coefficient = numbers(&mut bytes)?;
        let scaling = numbers(&mut bytes)?;
        let (values, left_over) = bytes.as_chunks::<4>();
        let of_a = num_experts * rank * in_features;
        let complete = values.len() == of_a + num_experts * rank * out_features;
        if !complete || !left_over.is_empty() || ![0, num_experts].contains(&scaling.len()) {
            return None;
        }
        let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let (a, b) = values.split_at(of_a);
        let factor = |values: &[f32], sizes: [usize; 3]| {
            Tensor::from_data(TensorData::new(values.to_vec(), sizes), device)
        };
        Some(Self {
            lora_a: factor(a, [num_experts, rank, in_features]),
            lora_b: factor(b, [num_experts, out_features, rank]),
            residual_coefficient: coefficient.first().copied(),
            expert_scaling: (!scaling.is_empty()).then_some(scaling),
        })
    }
}

/// Takes numbers from the front of bytes, where how many there are stands before them.
fn numbers(bytes: &mut &[u8]) -> Option<Vec<f64>> {
    let (count, rest) = bytes.split_first_chunk::<8>()?;
    let size = usize::try_from(u64::from_le_bytes(*count)).ok()?.checked_mul(8)?;
    let (numbers, rest) = rest.split_at_checked(size)?;
    *bytes = rest;
    let (numbers, _) = numbers.as_chunks::<8>();
    Some(numbers.iter().map(|number| f64::from_le_bytes(*number)).collect())
}
