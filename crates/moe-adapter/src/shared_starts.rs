use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use ranks::{Ranks, RanksError};
use svd_init::{
    BankShape, ExpertInit, ExpertStart, InitConfig, InitError, LayerStatistics, SvdCache,
    decompose_all,
};

use crate::AdapterError;

/// A start of a layer, by the layer's number, with the weight of both.
pub(crate) type Refined<'a> =
    dyn Fn(usize, ExpertStart, &Tensor<2>) -> Result<ExpertStart, InitError> + 'a;

/// What the starts of many layers follow from, by the number of a layer.
pub(crate) struct Layers<'a> {
    /// The sizes of its bank.
    pub(crate) shapes: &'a [BankShape],
    /// What is known of it beside its weight.
    pub(crate) statistics: &'a [LayerStatistics],
    /// Reads its weight, which only the rank does that finds its start.
    pub(crate) weight: &'a dyn Fn(usize) -> Tensor<2>,
    /// Fits a start of its weight to how that is held.
    pub(crate) refined: &'a Refined<'a>,
    /// Where its experts are to be.
    pub(crate) device: &'a Device,
}

/// The starts of many layers, shared out among ranks: each finds its own, and all have all, in the
/// order of the layers. The numbers are those of one rank.
///
/// Only for starts that draw no numbers.
pub(crate) fn shared_starts(
    ranks: &dyn Ranks,
    init: &InitConfig,
    layers: &Layers<'_>,
    cache: Option<&SvdCache>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<ExpertStart>, AdapterError> {
    let (rank, size) = (ranks.rank(), ranks.size());
    let order = by_size(layers.shapes);
    let own: Vec<usize> = order.iter().copied().skip(rank).step_by(size).collect();
    let mut found = starts(init, layers, &own, cache, progress)?.into_iter();
    let mut all = vec![None; order.len()];
    // One of each rank at a time, so that messages stay small.
    for together in order.chunks(size) {
        let start = found.next();
        if size == 1 {
            all[together[0]] = start;
            continue;
        }
        let mut bytes = Vec::new();
        if let Some(start) = start {
            start.write(&mut bytes);
        }
        for (at, bytes) in together.iter().zip(ranks.gather(&bytes)?) {
            all[*at] = Some(read(&bytes, &layers.shapes[*at], layers.device)?);
        }
    }
    Ok(all.into_iter().flatten().collect())
}

/// The starts of the layers `own`, in that order.
fn starts(
    init: &InitConfig,
    layers: &Layers<'_>,
    own: &[usize],
    cache: Option<&SvdCache>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<ExpertStart>, AdapterError> {
    let Layers { shapes, statistics, weight, refined, .. } = layers;
    let mut prepared = Vec::new();
    if let Some(first) = own.first()
        && init.triplets(&shapes[*first])?.is_some()
    {
        let jobs: Vec<_> = own.iter().map(|at| (weight(*at), shapes[*at])).collect();
        prepared = decompose_all(init, &jobs, cache, progress)?;
    }
    let told = !prepared.is_empty();
    let mut prepared = prepared.into_iter();
    // Nothing is drawn from it.
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut found = Vec::with_capacity(own.len());
    for (done, at) in own.iter().enumerate() {
        let triplets = prepared.next().flatten();
        let statistics = LayerStatistics { triplets, ..statistics[*at].clone() };
        let weight = weight(*at);
        let start = init.start(&weight, &shapes[*at], &statistics, &mut rng)?;
        found.push(refined(*at, start, &weight)?);
        if !told {
            progress(done + 1, own.len());
        }
    }
    Ok(found)
}

fn read(bytes: &[u8], shape: &BankShape, device: &Device) -> Result<ExpertStart, AdapterError> {
    ExpertStart::read(bytes, shape, device).ok_or_else(|| {
        let message = "a rank sent the start of another layer".to_owned();
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
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::time::Duration;

    use burn::tensor::TensorData;
    use ranks::{Alone, ThreadRanks};

    use super::*;

    /// Weights of several sizes; the sizes of the last two are equal.
    const SIZES: [[usize; 2]; 5] = [[12, 9], [30, 20], [8, 16], [14, 14], [14, 14]];

    /// All starts that draw nothing.
    const STARTS: [&str; 9] = [
        "pissa",
        "milora",
        "pissa_milora",
        "goat",
        "goat_mini",
        "olora",
        "lora_ga",
        "corda",
        "eva",
    ];

    fn matrix(at: usize, [rows, cols]: [usize; 2]) -> Tensor<2> {
        let value = |i: usize| (((i * 37 + at * 11) % 101) as f32 / 50.0).sin();
        let values: Vec<f32> = (0..rows * cols).map(value).collect();
        Tensor::from_data(TensorData::new(values, [rows, cols]), &Device::flex())
    }

    fn statistics(at: usize) -> LayerStatistics {
        let inputs = matrix(at + 7, [64, SIZES[at][0]]);
        LayerStatistics {
            gradient: Some(matrix(at + 5, SIZES[at])),
            input_covariance: Some(inputs.clone().transpose().matmul(inputs) / 64.0),
            triplets: None,
        }
    }

    /// All bits of all starts, and which weights were read.
    fn found(ranks: &dyn Ranks, init: &InitConfig) -> (Vec<Vec<u8>>, BTreeSet<usize>) {
        let shapes = SIZES.map(|[in_features, out_features]| BankShape {
            num_experts: 2,
            rank: 2,
            in_features,
            out_features,
            scaling: 1.0,
        });
        let statistics: Vec<_> = (0..SIZES.len()).map(statistics).collect();
        let seen = Mutex::new(BTreeSet::new());
        let weight = |at: usize| {
            seen.lock().unwrap().insert(at);
            matrix(at, SIZES[at])
        };
        let layers = Layers {
            shapes: &shapes,
            statistics: &statistics,
            weight: &weight,
            refined: &|_, start, _| Ok(start),
            device: &Device::flex(),
        };
        let starts = shared_starts(ranks, init, &layers, None, &|_, _| {}).unwrap();
        let bytes = |start: &ExpertStart| {
            let mut bytes = Vec::new();
            start.write(&mut bytes);
            bytes
        };
        (starts.iter().map(bytes).collect(), seen.into_inner().unwrap())
    }

    #[test]
    fn ranks_find_each_start_once_and_have_what_one_has() {
        for name in STARTS {
            let init: InitConfig =
                serde_json::from_str(&format!(r#"{{"type": "{name}"}}"#)).unwrap();
            assert!(!init.draws());
            let (alone, _) = found(&Alone, &init);
            assert_eq!(alone.len(), SIZES.len());
            for size in [2, 3, 4, 7] {
                let all =
                    ThreadRanks::run(size, Duration::from_secs(60), |ranks| found(&ranks, &init));
                let reads: Vec<usize> = all.iter().flat_map(|(_, seen)| seen.clone()).collect();
                assert_eq!(reads.len(), SIZES.len(), "{name}: a weight is read by two of {size}");
                assert!(all.iter().all(|(starts, _)| *starts == alone), "{name}: {size} ranks");
            }
        }
    }
}
