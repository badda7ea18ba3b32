use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::bank::{scaled, stack};
use crate::factors::leading_triplets;
use crate::host::HostMatrix;
use crate::{
    BankShape, ExpertInit, ExpertStart, InitError, LayerStatistics, StatisticsNeeded, SvdMethod,
    TripletPlan,
};

/// `A` is the directions in which the layer's inputs vary most, `B = 0`.
///
/// The rows of `A` are the leading eigenvectors of the inputs' second moment `mean(x x^T)`, which
/// are the right singular vectors of the matrix of inputs; with experts, each takes the next `r`.
/// The paper's redistribution of ranks over the layers is not part of it. Source: EVA, arXiv
/// 2410.07170. Needs the input covariance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaConfig {
    /// How the eigenvectors are found.
    pub svd: SvdMethod,
}

impl ExpertInit for EvaConfig {
    fn needs(&self) -> StatisticsNeeded {
        StatisticsNeeded { input_covariance: true, ..StatisticsNeeded::default() }
    }

    fn triplets(&self, shape: &BankShape) -> Result<Option<TripletPlan>, InitError> {
        shape.check_directions("input covariance", shape.total_rank(), shape.in_features)?;
        Ok(None)
    }

    fn start(
        &self,
        weight: &Tensor<2>,
        shape: &BankShape,
        statistics: &LayerStatistics,
        _rng: &mut dyn Rng,
    ) -> Result<ExpertStart, InitError> {
        shape.check(weight)?;
        self.triplets(shape)?;
        let total = shape.total_rank();
        let covariance = statistics.input_covariance("eva", shape.in_features)?;
        let host = HostMatrix::read(covariance, "input covariance")?;
        let triplets = leading_triplets(host.transposed(), total, self.svd)?;
        let (lora_a, lora_b) = stack(
            shape,
            &weight.device(),
            |index, row| scaled(triplets.right.col(index).iter(), 1.0, row),
            |_, column| column.fill(0.0),
        );
        Ok(ExpertStart::unchanged(lora_a, lora_b))
    }
}
