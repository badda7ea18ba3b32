use burn::tensor::{Tensor, TensorData};
use rand::{Rng, RngExt};

use crate::{BankShape, ExpertInit, ExpertStart, InitError, LayerStatistics};

/// LoRA's own start: `A ~ U(-1/sqrt(I), 1/sqrt(I))` (PyTorch's kaiming-uniform with
/// `a = sqrt(5)`), `B = 0`.
///
/// Every expert starts as nothing, so the model starts as the base model. Source: LoRA, arXiv
/// 2106.09685, as PEFT implements it.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoraInit;

impl ExpertInit for LoraInit {
    fn start(
        &self,
        weight: &Tensor<2>,
        shape: &BankShape,
        _statistics: &LayerStatistics,
        rng: &mut dyn Rng,
    ) -> Result<ExpertStart, InitError> {
        shape.check(weight)?;
        let device = weight.device();
        let BankShape { num_experts, rank, in_features, out_features, .. } = *shape;
        let bound = 1.0 / (in_features as f32).sqrt();
        let values: Vec<f32> = (0..num_experts * rank * in_features)
            .map(|_| rng.random_range(-bound..bound))
            .collect();
        let data = TensorData::new(values, [num_experts, rank, in_features]);
        let lora_b = Tensor::zeros([num_experts, out_features, rank], &device);
        Ok(ExpertStart::unchanged(Tensor::from_data(data, &device), lora_b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    const SHAPE: BankShape =
        BankShape { num_experts: 3, rank: 2, in_features: 16, out_features: 5, scaling: 1.0 };

    fn start(shape: BankShape, seed: u64) -> Result<ExpertStart, InitError> {
        let weight = Tensor::zeros([16, 5], &Device::flex());
        LoraInit.start(
            &weight,
            &shape,
            &LayerStatistics::default(),
            &mut SmallRng::seed_from_u64(seed),
        )
    }

    #[test]
    fn a_is_within_its_bound_and_b_is_zero() {
        let start = start(SHAPE, 0).unwrap();
        let a = start.lora_a.into_data().try_to_vec::<f32>().unwrap();
        assert!(a.iter().all(|v| v.abs() <= 0.25));
        assert!(a.iter().any(|v| v.abs() > 0.2));
        let b = start.lora_b.into_data().try_to_vec::<f32>().unwrap();
        assert!(b.iter().all(|v| *v == 0.0));
    }

    #[test]
    fn same_seed_same_start() {
        let a = |seed| start(SHAPE, seed).unwrap().lora_a.into_data();
        assert_eq!(a(1), a(1));
        assert_ne!(a(1), a(2));
    }

    #[test]
    fn banks_that_do_not_fit_are_refused() {
        let error = start(BankShape { rank: 0, ..SHAPE }, 0).unwrap_err();
        assert_eq!(error, InitError::Zero { field: "r" });
        let error = start(BankShape { num_experts: 0, ..SHAPE }, 0).unwrap_err();
        assert_eq!(error, InitError::Zero { field: "num_experts" });
        let error = start(BankShape { in_features: 4, ..SHAPE }, 0).unwrap_err();
        assert_eq!(error, InitError::WeightShape { expected: [4, 5], found: [16, 5] });
    }
}
