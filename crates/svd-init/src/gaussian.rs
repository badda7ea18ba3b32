use burn::tensor::{Tensor, TensorData};
use rand::Rng;

use crate::normal::fill_normal;
use crate::{BankShape, ExpertInit, ExpertStart, InitError, LayerStatistics};

/// `A ~ N(0, (1 / r)^2)`, `B = 0`.
///
/// Every expert starts as nothing, so the model starts as the base model. Source: LoRA, arXiv
/// 2106.09685, as PEFT implements its `init_lora_weights = "gaussian"`: the standard deviation,
/// not the variance, is `1 / r`.
#[derive(Debug, Clone, Copy, Default)]
pub struct GaussianInit;

impl ExpertInit for GaussianInit {
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
        let mut values = vec![0.0; num_experts * rank * in_features];
        fill_normal(&mut values, 1.0 / rank as f64, rng);
        let data = TensorData::new(values, [num_experts, rank, in_features]);
        let lora_b = Tensor::zeros([num_experts, out_features, rank], &device);
        Ok(ExpertStart::unchanged(Tensor::from_data(data, &device), lora_b))
    }
}
