use std::sync::Arc;

use burn::tensor::Tensor;
use rand::Rng;

use crate::bank::{scaled, stack};
use crate::error::{not_negative, positive};
use crate::{
    BankShape, ExpertInit, ExpertStart, InitError, LayerStatistics, SpectrumSlice, SvdMethod,
    TripletPlan, Triplets, decompose, weight_digest,
};

/// Experts that start from singular triplets of the weight `W = U S V^T`.
///
/// Expert `j` gets triplets `I_j` of [`SpectrumSlice`]: `A_j = sqrt(S / (s rho)) V^T` and
/// `B_j = U sqrt(S / (s rho))`, hence `s B_j A_j = (1 / rho) sum_{i in I_j} sigma_i u_i v_i^T`.
/// The residual is `W - init_cof s sum_j B_j A_j`.
///
/// With `rho = 1`, `init_cof = 1` and one expert, this is PiSSA (arXiv 2404.02948) or MiLoRA
/// (arXiv 2406.09044). With experts, it is what GOAT compares and is (arXiv 2502.16894).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpectrumInit {
    /// Which triplets.
    pub slice: SpectrumSlice,
    /// What the singular values are divided by, beside the scaling. `None`: 1 for a single
    /// expert, as in PiSSA and MiLoRA, and 10 for a mixture, as in GOAT.
    pub rho: Option<f64>,
    /// The coefficient of the residual. `None`: `1 / E`.
    pub init_cof: Option<f64>,
    /// Whether each expert has a scaling of its own (GOAT-s):
    /// `s_j = s sqrt(sum of sigma over I_1 / sum of sigma over I_j)`.
    ///
    /// The singular values are still divided by `s rho`, the same for all. The equivalent
    /// gradient of expert `j` has the size `s_j^2 sigma_j / (s rho)`, so the square root is what
    /// makes all experts learn at the speed of the first.
    pub expert_scaling: bool,
    /// How leading triplets are found.
    pub svd: SvdMethod,
}

impl SpectrumInit {
    /// Checks what can be checked without a weight.
    ///
    /// # Errors
    ///
    /// [`InitError`] naming the key that cannot work.
    pub fn check(&self) -> Result<(), InitError> {
        self.rho.map(|rho| positive("rho", rho)).transpose()?;
        self.init_cof.map(|value| not_negative("init_cof", value)).transpose()?;
        Ok(())
    }

    fn plan(&self, shape: &BankShape) -> Result<TripletPlan, InitError> {
        let indices = self.slice.indices(shape)?;
        Ok(if self.slice == SpectrumSlice::Pissa {
            TripletPlan::leading(indices.len(), shape.num_triplets(), self.svd)
        } else {
            TripletPlan::full(indices)
        })
    }
}

impl ExpertInit for SpectrumInit {
    fn triplets(&self, shape: &BankShape) -> Result<Option<TripletPlan>, InitError> {
        self.plan(shape).map(Some)
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
        let rho = self.rho.unwrap_or(if shape.num_experts == 1 { 1.0 } else { 10.0 });
        let triplets = prepared(weight, &self.plan(shape)?, statistics)?;

        let factor = |index: usize| (f64::from(triplets.values()[index]) / (scaling * rho)).sqrt();
        let (lora_a, lora_b) = stack(
            shape,
            &weight.device(),
            |index, row| scaled(triplets.right(index), factor(index), row),
            |index, column| scaled(triplets.left(index), factor(index), column),
        );
        Ok(ExpertStart {
            lora_a,
            lora_b,
            residual_coefficient: Some(shape.residual_coefficient(self.init_cof)),
            expert_scaling: self.expert_scaling.then(|| expert_scaling(triplets.values(), shape)),
        })
    }
}

/// `sqrt(sum of the first expert's values / sum of the expert's)`, `[E]`.
fn expert_scaling(values: &[f32], shape: &BankShape) -> Vec<f64> {
    let sums = values.chunks(shape.rank).map(|chunk| chunk.iter().copied().map(f64::from).sum());
    let sums: Vec<f64> = sums.collect();
    // An expert without singular values computes nothing, whatever its scaling.
    let ratio = |sum: f64| if sum > 0.0 { (sums[0] / sum).sqrt() } else { 1.0 };
    sums.iter().map(|sum| ratio(*sum)).collect()
}

/// The triplets that were prepared, if they are the ones; else those of a decomposition now.
fn prepared(
    weight: &Tensor<2>,
    plan: &TripletPlan,
    statistics: &LayerStatistics,
) -> Result<Arc<Triplets>, InitError> {
    let Some(triplets) = &statistics.triplets else {
        return decompose(weight, plan, None);
    };
    let (expected, found) = (weight_digest(weight), triplets.digest());
    if expected != found {
        return Err(InitError::ForeignTriplets { expected, found });
    }
    if triplets.plan() != plan {
        return Err(InitError::OtherTriplets);
    }
    Ok(triplets.clone())
}
