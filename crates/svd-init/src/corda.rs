use burn::tensor::Tensor;
use faer::Side;
use faer::linalg::solvers::{Llt, Solve};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::bank::{scaled, stack};
use crate::error::{not_negative, positive};
use crate::factors::{exact_svd, leading_triplets};
use crate::host::HostMatrix;
use crate::products::{product, widened};
use crate::{
    BankShape, ExpertInit, ExpertStart, InitError, LayerStatistics, StatisticsNeeded, SvdMethod,
    TripletPlan,
};

/// Experts from the directions of the weight that matter for the calibration data.
///
/// With `C = mean(x x^T) + damp mean(diag) 1` and `W C = U S V^T`, the weight is
/// `W = U S (V^T C^-1)`. Experts take triplets as in PiSSA (`ipm`) or MiLoRA (`kpm`):
/// `A_j = sqrt(S / s) V^T C^-1`, `B_j = U sqrt(S / s)`. The residual is
/// `W - init_cof s sum_j B_j A_j`.
///
/// Source: CorDA, arXiv 2406.05223. Needs the input covariance. The size of `C` does not change
/// the products, but how they are shared between `A` and `B`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CordaConfig {
    /// Which triplets. Default: `ipm`.
    pub method: CordaMethod,
    /// What is added to the diagonal of the covariance, relative to its mean. Default: 0.01.
    pub damp: f64,
    /// The coefficient of the residual. Default: `1 / E`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_cof: Option<f64>,
    /// How the leading triplets of `ipm` are found; `kpm` takes the full decomposition.
    pub svd: SvdMethod,
}

impl Default for CordaConfig {
    fn default() -> Self {
        Self {
            method: CordaMethod::default(),
            damp: 0.01,
            init_cof: None,
            svd: SvdMethod::default(),
        }
    }
}

/// Which directions CorDA trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CordaMethod {
    /// Instruction-previewed: those that matter most for data of the new task.
    #[default]
    Ipm,
    /// Knowledge-preserved: those that matter least for data whose knowledge is to be kept.
    Kpm,
}

impl CordaConfig {
    /// Checks what can be checked without a weight.
    ///
    /// # Errors
    ///
    /// [`InitError`] naming the key that cannot work.
    pub fn check(&self) -> Result<(), InitError> {
        not_negative("damp", self.damp)?;
        self.init_cof.map(|value| not_negative("init_cof", value)).transpose().map(|_| ())
    }
}

impl ExpertInit for CordaConfig {
    fn needs(&self) -> StatisticsNeeded {
        StatisticsNeeded { input_covariance: true, ..StatisticsNeeded::default() }
    }

    fn triplets(&self, shape: &BankShape) -> Result<Option<TripletPlan>, InitError> {
        shape.check_directions("weight", shape.total_rank(), shape.num_triplets())?;
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
        let scaling = positive("scaling", shape.scaling)?;
        self.triplets(shape)?;
        let (total, available) = (shape.total_rank(), shape.num_triplets());
        let covariance = statistics.input_covariance("corda", shape.in_features)?;
        let mut covariance = HostMatrix::read(covariance, "input covariance")?;
        self.add_damping(&mut covariance, shape.in_features);

        let host = HostMatrix::read(weight, "weight")?;
        // In f64: the condition of a covariance is beyond f32.
        let damped = widened(covariance.transposed());
        let oriented = product(widened(host.transposed()).as_ref(), damped.as_ref());
        let triplets = match self.method {
            CordaMethod::Ipm => leading_triplets(oriented.as_ref(), total, self.svd)?,
            CordaMethod::Kpm => {
                let least: Vec<usize> = (available - total..available).collect();
                exact_svd(oriented.as_ref(), &least)?
            }
        };
        let inverse = Llt::new(damped.as_ref(), Side::Lower)
            .map_err(|_| InitError::Singular { damp: self.damp })?;
        let right = inverse.solve(&triplets.right);

        let factor = |index: usize| (triplets.values[index] / scaling).sqrt();
        let (lora_a, lora_b) = stack(
            shape,
            &weight.device(),
            |index, row| scaled(right.col(index).iter(), factor(index), row),
            |index, column| scaled(triplets.left.col(index).iter(), factor(index), column),
        );
        let residual = shape.residual_coefficient(self.init_cof);
        Ok(ExpertStart::unchanged(lora_a, lora_b).with_residual(residual))
    }
}

impl CordaConfig {
    fn add_damping(&self, covariance: &mut HostMatrix, size: usize) {
        let diagonal = || (0..size).map(|index| index * (size + 1));
        let mean = diagonal().map(|at| f64::from(covariance.values[at])).sum::<f64>() / size as f64;
        for at in diagonal() {
            covariance.values[at] += (self.damp * mean) as f32;
        }
    }
}
