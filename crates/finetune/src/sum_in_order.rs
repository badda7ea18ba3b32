use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use ranks::{Ranks, RanksError};

/// The numbers of a message between ranks, whose counts may be 32 bits wide.
const TOGETHER: usize = 1 << 24;

/// Adds up what each item gives, in the order of the items, with the items shared out among ranks:
/// all have the bits that one rank has. `keys` are those that an item may give, the same on all.
///
/// Nothing is kept but the sums and what one item gives, so each matrix crosses ranks once for each
/// item. It pays where an item takes longer than its matrices take to all ranks.
pub(crate) fn sum_in_order<T, K: Ord + Clone>(
    ranks: &dyn Ranks,
    items: &[T],
    keys: &[K],
    device: &Device,
    mut of_item: impl FnMut(&T) -> BTreeMap<K, Tensor<2>>,
) -> Result<BTreeMap<K, Tensor<2>>, RanksError> {
    let mut sums: BTreeMap<K, Tensor<2>> = BTreeMap::new();
    let mut add = |key: &K, matrix: Tensor<2>| {
        let sum = match sums.remove(key) {
            Some(sum) => sum + matrix,
            None => matrix,
        };
        sums.insert(key.clone(), sum);
    };
    for together in items.chunks(ranks.size()) {
        let mut own = together.get(ranks.rank()).map(&mut of_item).unwrap_or_default();
        if ranks.size() == 1 {
            own.into_iter().for_each(|(key, matrix)| add(&key, matrix));
            continue;
        }
        for key in keys {
            for (shape, values) in gathered(ranks, own.remove(key))? {
                add(key, Tensor::from_data(TensorData::new(values, shape), device));
            }
        }
    }
    Ok(sums)
}

/// The shape and the values of a matrix.
type Matrix = ([usize; 2], Vec<f32>);

/// The matrices of all ranks, in their order, of those that have one.
fn gathered(ranks: &dyn Ranks, own: Option<Tensor<2>>) -> Result<Vec<Matrix>, RanksError> {
    let shape = own.as_ref().map(|own| own.dims());
    let values: Vec<f32> =
        own.map(|own| own.into_data().iter::<f32>().collect()).unwrap_or_default();
    let numbers = shape.iter().flatten().flat_map(|size| (*size as u64).to_le_bytes());
    let shapes: Vec<Option<[usize; 2]>> =
        ranks.gather(&numbers.collect::<Vec<u8>>())?.iter().map(|bytes| shape_of(bytes)).collect();
    let count = |shape: &[usize; 2]| shape[0] * shape[1];
    let most = shapes.iter().flatten().map(count).max().unwrap_or(0);
    let mut all: Vec<Vec<f32>> = vec![Vec::new(); shapes.len()];
    for from in (0..most).step_by(TOGETHER) {
        let (from, to) = (from.min(values.len()), (from + TOGETHER).min(values.len()));
        let bytes: Vec<u8> =
            values[from..to].iter().flat_map(|value| value.to_le_bytes()).collect();
        for (of_rank, bytes) in all.iter_mut().zip(ranks.gather(&bytes)?) {
            of_rank.extend(bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)));
        }
    }
    let found = shapes.into_iter().zip(all).filter_map(|(shape, values)| Some((shape?, values)));
    // Whoever sends another number of values than it says is no rank of this program.
    Ok(found.filter(|(shape, values)| count(shape) == values.len()).collect())
}

fn shape_of(bytes: &[u8]) -> Option<[usize; 2]> {
    match bytes.as_chunks::<8>().0 {
        [rows, cols] => Some([rows, cols].map(|size| u64::from_le_bytes(*size) as usize)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ranks::{Alone, ThreadRanks};

    use super::*;

    #[test]
    fn sums_have_the_bits_of_one_rank_whatever_their_number() {
        let device = Device::flex();
        let items: Vec<u32> = (0..7).collect();
        let keys = ["a", "b", "never"];
        // Not every item gives everything.
        let of_item = |item: &u32| {
            let value = |at: usize| (1.0 + *item as f32).sqrt() * 10f32.powi(at as i32);
            let matrix = |rows: usize| {
                let values: Vec<f32> = (0..rows * 3).map(value).collect();
                Tensor::<2>::from_data(TensorData::new(values, [rows, 3]), &device)
            };
            let mut found = BTreeMap::from([("a", matrix(2))]);
            if item % 3 != 1 {
                found.insert("b", matrix(1));
            }
            found
        };
        let sums = |ranks: &dyn Ranks| {
            let sums = sum_in_order(ranks, &items, &keys, &device, of_item).unwrap();
            sums.into_iter().map(|(key, sum)| (key, sum.into_data())).collect::<Vec<_>>()
        };
        let alone = sums(&Alone);
        assert_eq!(alone.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["a", "b"]);
        for (key, sum) in &alone {
            let each = items.iter().filter_map(|item| of_item(item).remove(key));
            let expected = each.reduce(|sum, matrix| sum + matrix).unwrap().into_data();
            assert_eq!(*sum, expected, "{key}");
        }
        for size in [2, 3, 8] {
            let found = ThreadRanks::run(size, Duration::from_secs(60), |ranks| sums(&ranks));
            assert!(found.iter().all(|found| *found == alone), "{size} ranks");
        }
    }
}
