use std::sync::Arc;

use burn::tensor::Tensor;
use ranks::{Ranks, RanksError};
use svd_init::{BankShape, ExpertInit, InitConfig, SvdCache, TripletPlan, Triplets, decompose_all};

use crate::AdapterError;

/// What a start needs of the weights of many layers, shared out among ranks: each decomposes its own,
/// and all have all, in the order of the jobs.
///
/// `weight` reads the weight of a job, which only the rank does that decomposes it. The numbers are
/// those of one rank.
pub(crate) fn decompose_shared(
    ranks: &dyn Ranks,
    init: &InitConfig,
    shapes: &[BankShape],
    weight: impl Fn(usize) -> Tensor<2>,
    cache: Option<&SvdCache>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Option<Arc<Triplets>>>, AdapterError> {
    let (rank, size) = (ranks.rank(), ranks.size());
    let order = by_size(shapes);
    let own: Vec<usize> = order.iter().copied().skip(rank).step_by(size).collect();
    let jobs: Vec<_> = own.iter().map(|at| (weight(*at), shapes[*at])).collect();
    let found = decompose_all(init, &jobs, cache, progress)?;
    drop(jobs);
    let mut all = vec![None; shapes.len()];
    // One of each rank at a time, so that messages stay small.
    for (round, together) in order.chunks(size).enumerate() {
        let mut bytes = Vec::new();
        if let Some(Some(triplets)) = found.get(round) {
            triplets.write(&mut bytes);
        }
        if size == 1 {
            all[together[0]] = found[round].clone();
            continue;
        }
        for (at, bytes) in together.iter().zip(ranks.gather(&bytes)?) {
            let plan = init.triplets(&shapes[*at])?;
            all[*at] = plan.map(|plan| read(plan, &bytes, &shapes[*at])).transpose()?;
        }
    }
    Ok(all)
}

fn read(plan: TripletPlan, bytes: &[u8], shape: &BankShape) -> Result<Arc<Triplets>, AdapterError> {
    let found = Triplets::read(plan, bytes, [shape.in_features, shape.out_features]);
    found.map(Arc::new).ok_or_else(|| {
        let message = "a rank sent the decomposition of another weight".to_owned();
        AdapterError::Ranks(RanksError::Unavailable(message))
    })
}

/// The largest first, so that no rank gets only these.
fn by_size(shapes: &[BankShape]) -> Vec<usize> {
    let work = |at: &usize| {
        let BankShape { in_features, out_features, .. } = shapes[*at];
        in_features * out_features * in_features.min(out_features)
    };
    let mut order: Vec<usize> = (0..shapes.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(work(at)));
    order
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use burn::tensor::{Device, TensorData};
    use ranks::{Alone, ThreadRanks};
    use svd_init::GoatConfig;

    use super::*;

    /// Weights of several sizes; the sizes of the last two are equal.
    const SIZES: [[usize; 2]; 5] = [[12, 9], [30, 20], [8, 16], [14, 14], [14, 14]];

    fn weight(at: usize) -> Tensor<2> {
        let [rows, cols] = SIZES[at];
        let value = |i: usize| (((i * 37 + at * 11) % 101) as f32 / 50.0).sin();
        let values: Vec<f32> = (0..rows * cols).map(value).collect();
        Tensor::from_data(TensorData::new(values, [rows, cols]), &Device::flex())
    }

    #[test]
    fn ranks_decompose_each_weight_once_and_have_what_one_has() {
        let init = InitConfig::Goat(GoatConfig::default());
        let shapes = SIZES.map(|[in_features, out_features]| BankShape {
            num_experts: 2,
            rank: 2,
            in_features,
            out_features,
            scaling: 1.0,
        });
        let silent = |_: usize, _: usize| {};
        let alone = decompose_shared(&Alone, &init, &shapes, weight, None, &silent).unwrap();
        assert!(alone.iter().all(Option::is_some));
        for size in [2, 3, 7] {
            let read = AtomicUsize::new(0);
            let found = ThreadRanks::run(size, Duration::from_secs(60), |ranks| {
                let weight = |at: usize| {
                    read.fetch_add(1, Ordering::Relaxed);
                    weight(at)
                };
                decompose_shared(&ranks, &init, &shapes, weight, None, &silent).unwrap()
            });
            assert_eq!(read.into_inner(), SIZES.len());
            assert!(found.iter().all(|found| *found == alone), "{size} ranks");
        }
    }
}
