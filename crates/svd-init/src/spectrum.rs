use std::sync::Arc;

use burn::tensor::{Device, Tensor};
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
    /// The rounds `T` of finding factors `P_t = init_cof sum_j s_j B_j A_j` of a weight that is held
    /// quantised, `Q_t = quantise(W - P_t)`. `P_1` are those of the slice; the product of round `t` is
    /// the best one of its rank for what the quantisation before left,
    /// `P_t = SVD_{E r}(W - Q_{t-1})`, expert `j` taking triplets `[j r, (j + 1) r)`.
    ///
    /// For one expert that is QPiSSA's iteration (arXiv 2404.02948 and its code), which is
    /// LoftQ's (arXiv 2310.08659, algorithm 1) from `P_1` on instead of from 0, and ends with a
    /// quantisation. `rho` is of the first round only: `W - Q_t` has no more than `P_t` and the error.
    /// Where `P_1` is small beside the error, as in mixtures with `rho` 10, factors shrink from round to
    /// round in 4 bits: `W` is itself what codes stand for, so `P = 0` leaves no error.
    pub loftq_iter: usize,
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
        match self.loftq_iter {
            0 => Err(InitError::Zero { field: "loftq_iter" }),
            _ => Ok(()),
        }
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

        let (lora_a, lora_b) = factors(&triplets, shape, &weight.device(), |_| scaling * rho);
        Ok(ExpertStart {
            lora_a,
            lora_b,
            residual_coefficient: Some(shape.residual_coefficient(self.init_cof)),
            expert_scaling: self.expert_scaling.then(|| expert_scaling(triplets.values(), shape)),
        })
    }

    fn refined(
        &self,
        mut start: ExpertStart,
        weight: &Tensor<2>,
        shape: &BankShape,
        held: &dyn Fn(&ExpertStart) -> Option<Tensor<2>>,
    ) -> Result<ExpertStart, InitError> {
        let taken = start.residual_coefficient.unwrap_or(0.0) * shape.scaling;
        // Nothing is taken out that could make up for the bits.
        if taken == 0.0 {
            return Ok(start);
        }
        let plan = TripletPlan::leading(shape.total_rank(), shape.num_triplets(), self.svd);
        for _ in 1..self.loftq_iter {
            let Some(held) = held(&start) else { break };
            let triplets = decompose(&(weight.clone() - held), &plan, None)?;
            let own = start.expert_scaling.as_deref();
            let divisor = |expert: usize| taken * own.map_or(1.0, |own| own[expert]);
            let (lora_a, lora_b) = factors(&triplets, shape, &weight.device(), divisor);
            start = ExpertStart { lora_a, lora_b, ..start };
        }
        Ok(start)
    }
}

/// `A_j = sqrt(S / d_j) V^T` and `B_j = U sqrt(S / d_j)` of triplets expert after expert, with the
/// divisor `d_j` of each.
fn factors(
    triplets: &Triplets,
    shape: &BankShape,
    device: &Device,
    divisor: impl Fn(usize) -> f64,
) -> (Tensor<3>, Tensor<3>) {
    let factor = |index: usize| {
        let value = f64::from(triplets.values()[index]);
        (value / divisor(index / shape.rank)).sqrt()
    };
    stack(
        shape,
        device,
        |index, row| scaled(triplets.right(index), factor(index), row),
        |index, column| scaled(triplets.left(index), factor(index), column),
    )
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
