use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::bank::{scaled, stack};
use crate::error::not_negative;
use crate::host::HostMatrix;
use crate::products::{orthonormalised, projected, widened};
use crate::{BankShape, ExpertInit, ExpertStart, InitError, LayerStatistics, TripletPlan};

/// `W = Q R`; `B = Q[:, :r]`, `A = R[:r]`; with experts, each takes the next `r`.
///
/// The residual is `W - init_cof s sum_j B_j A_j`: as in PEFT the scaling is not divided out, so
/// that `B` is orthonormal. The diagonal of `R` is positive. Only the first `E r` columns of `W`
/// have to be decomposed, `O (E r)^2` operations. Source: OLoRA, arXiv 2406.01775.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OloraConfig {
    /// The coefficient of the residual. Default: `1 / E`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_cof: Option<f64>,
}

impl OloraConfig {
    /// Checks what can be checked without a weight.
    ///
    /// # Errors
    ///
    /// [`InitError`] naming the key that cannot work.
    pub fn check(&self) -> Result<(), InitError> {
        self.init_cof.map(|value| not_negative("init_cof", value)).transpose().map(|_| ())
    }
}

impl ExpertInit for OloraConfig {
    fn triplets(&self, shape: &BankShape) -> Result<Option<TripletPlan>, InitError> {
        shape.check_directions("weight", shape.total_rank(), shape.num_triplets())?;
        Ok(None)
    }

    fn start(
        &self,
        weight: &Tensor<2>,
        shape: &BankShape,
        _statistics: &LayerStatistics,
        _rng: &mut dyn Rng,
    ) -> Result<ExpertStart, InitError> {
        self.check()?;
        shape.check(weight)?;
        self.triplets(shape)?;
        let total = shape.total_rank();
        let host = HostMatrix::read(weight, "weight")?;
        let matrix = host.transposed();
        let q = orthonormalised(widened(matrix.subcols(0, total)));
        let r = projected(q.as_ref(), matrix);
        let sign = |index: usize| if r[(index, index)] < 0.0 { -1.0 } else { 1.0 };
        let (lora_a, lora_b) = stack(
            shape,
            &weight.device(),
            |index, row| {
                scaled(r.row(index).iter(), sign(index), row);
                row[..index].fill(0.0);
            },
            |index, column| scaled(q.col(index).iter(), sign(index), column),
        );
        let residual = shape.residual_coefficient(self.init_cof);
        Ok(ExpertStart::unchanged(lora_a, lora_b).with_residual(residual))
    }
}
