use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::digest::digest_values;
use crate::factors::{exact_svd, randomised_svd};
use crate::host::{HostMatrix, columns};
use crate::{BankShape, ExpertInit, InitError, SvdCache, TripletPlan};

/// Some triplets of the singular value decomposition `W = U S V^T` of a weight, in the `[O, I]`
/// of papers: `W = sum_i sigma_i u_i v_i^T`.
///
/// The signs that a decomposition leaves open are fixed: the component of `u_i` that is largest in
/// size is positive.
#[derive(Debug, Clone, PartialEq)]
pub struct Triplets {
    /// [`weight_digest`](crate::weight_digest) of the weight.
    pub(crate) digest: u64,
    /// Which triplets these are.
    pub(crate) plan: TripletPlan,
    pub(crate) values: Vec<f32>,
    /// One left vector after the other, `[k, O]`.
    pub(crate) left: Vec<f32>,
    /// One right vector after the other, `[k, I]`.
    pub(crate) right: Vec<f32>,
}

impl Triplets {
    /// The digest of the weight that they come from.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Which triplets these are, in order.
    pub fn plan(&self) -> &TripletPlan {
        &self.plan
    }

    /// The singular values, in the order of the plan.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The left singular vector, `[O]`, of the `at`-th triplet of the plan.
    ///
    /// # Panics
    ///
    /// When the plan has no such triplet.
    pub fn left(&self, at: usize) -> &[f32] {
        nth(&self.left, at, self.values.len())
    }

    /// The right singular vector, `[I]`, of the `at`-th triplet of the plan.
    ///
    /// # Panics
    ///
    /// When the plan has no such triplet.
    pub fn right(&self, at: usize) -> &[f32] {
        nth(&self.right, at, self.values.len())
    }
}

fn nth(vectors: &[f32], at: usize, count: usize) -> &[f32] {
    let size = vectors.len() / count;
    &vectors[at * size..][..size]
}

/// Decomposes a weight `[in_features, out_features]`, or takes the triplets from the cache.
///
/// # Errors
///
/// [`InitError`] when the weight is not finite, lacks a triplet, or the cache cannot be used.
pub fn decompose(
    weight: &Tensor<2>,
    plan: &TripletPlan,
    cache: Option<&SvdCache>,
) -> Result<Arc<Triplets>, InitError> {
    let matrix = HostMatrix::read(weight, "weight")?;
    let [rows, cols] = matrix.shape;
    plan.check(rows.min(cols))?;
    let digest = digest_values(&matrix.values, rows, cols);
    if let Some(cache) = cache
        && let Some(triplets) = cache.load(digest, plan, matrix.shape)?
    {
        return Ok(Arc::new(triplets));
    }
    let factors = match plan.randomised_settings() {
        Some(settings) => {
            // Such a plan is of leading triplets, all of them.
            randomised_svd(matrix.transposed(), plan.indices().len(), settings)?
        }
        None => exact_svd(matrix.transposed(), plan.indices())?,
    };
    let triplets = Triplets {
        digest,
        plan: plan.clone(),
        values: factors.values.iter().map(|value| *value as f32).collect(),
        left: columns(&factors.left),
        right: columns(&factors.right),
    };
    if let Some(cache) = cache {
        cache.store(&triplets)?;
    }
    Ok(Arc::new(triplets))
}

/// Prepares what `init` needs of many weights, for [`LayerStatistics::triplets`]: in parallel over
/// the layers, which uses all cores better than one parallel decomposition after the other.
///
/// `progress` is called from any thread after each layer, with how many are done and how many
/// there are. The result is in the order of `jobs`, and `None` where nothing of the weight is
/// needed. The numbers are those that [`ExpertInit::start`] would find itself, and do not
/// depend on the number of threads.
///
/// [`LayerStatistics::triplets`]: crate::LayerStatistics::triplets
///
/// # Errors
///
/// The [`InitError`] of a layer.
pub fn decompose_all<I: ExpertInit + Sync>(
    init: &I,
    jobs: &[(Tensor<2>, BankShape)],
    cache: Option<&SvdCache>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Option<Arc<Triplets>>>, InitError> {
    let done = AtomicUsize::new(0);
    let work = |(weight, shape): &(Tensor<2>, BankShape)| {
        shape.check(weight)?;
        let plan = init.triplets(shape)?;
        let triplets = plan.map(|plan| decompose(weight, &plan, cache)).transpose()?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, jobs.len());
        Ok(triplets)
    };
    jobs.par_iter().map(work).collect()
}
